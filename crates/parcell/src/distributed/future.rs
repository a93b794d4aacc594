//! Values to come: what a remote call will return, wherever it is computed.

use std::fmt;
use std::future::Future as StdFuture;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::blob::{Blob, BlobWriter, Incoming};
use super::calls::Ended;
use super::error::{OrRaise, RemoteError};
use super::function::{AnyValue, hold};
use super::handles::{Handle, Known, Lent};
use super::jobs::not_written;
use super::message::{Answer, Ask};
use super::node::node;
use super::portable::Portable;
use super::store::{Future, Thing};
use super::value;
use super::waiting::unexpected;
use crate::interrupt::Seconds;

/// A value that a process computes or holds. Copies are handles to the same value, and may be sent
/// to other processes in remote calls; the value is freed when no handle is left anywhere.
///
/// The value stays where it was computed until somebody fetches it. The first fetch on a process
/// brings it there and keeps it for the others; the computing process then frees it, if nobody else
/// holds a handle.
///
/// ```no_run
/// use parcell::prelude::*;
///
/// let sum: RemoteFuture<u64> = spawn_at!(2, (1..=10_u64).sum());
/// assert_eq!(sum.fetch(), 55);
/// ```
///
/// # Source
/// `Future`, Julia's Distributed. (Rust's own `Future` is a trait, which this type implements.)
pub struct RemoteFuture<T> {
    handle: Arc<Handle>,
    value: PhantomData<fn() -> T>,
}

impl<T> RemoteFuture<T> {
    pub(crate) fn from_handle(handle: Arc<Handle>) -> RemoteFuture<T> {
        RemoteFuture { handle, value: PhantomData }
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Whether the call is known to have ended. Never asks.
    pub(crate) fn has_ended(&self) -> bool {
        self.handle
            .future
            .look(|known| !matches!(known, Known::Nothing | Known::Coming | Known::Fetching))
    }

    /// The id of the process that computes or holds the value.
    #[must_use]
    pub fn worker(&self) -> usize {
        self.handle.id.owner as usize
    }
}

impl<T> Clone for RemoteFuture<T> {
    fn clone(&self) -> RemoteFuture<T> {
        RemoteFuture::from_handle(Arc::clone(&self.handle))
    }
}

impl<T: Portable> RemoteFuture<T> {
    /// A future without a call: somebody will [`put`](RemoteFuture::put) its value, once. It lives on
    /// process `id`. Does not block.
    ///
    /// # Panics
    /// With [`RemoteError::NoSuchProcess`].
    ///
    /// ```
    /// use parcell::distributed::{RemoteFuture, myid};
    ///
    /// let answer = RemoteFuture::new(myid());
    /// assert!(!answer.is_ready());
    /// answer.put(42);
    /// assert_eq!(answer.fetch(), 42);
    /// ```
    ///
    /// # Source
    /// `Future(pid)`, Julia's Distributed.
    #[track_caller]
    #[must_use]
    pub fn new(id: usize) -> RemoteFuture<T> {
        let node = node();
        let owner = super::procs::checked(node, id).or_raise();
        let id = node.new_id(owner);
        if owner == node.id {
            node.store.promise(id, node.id);
        } else {
            let hold = super::message::Message::Hold { id, process: node.id };
            node.send(owner, hold, Blob::default()).or_raise();
        }
        RemoteFuture::from_handle(node.handles.new_handle(id, Known::Nothing))
    }

    /// Gives the future its value. Blocks for one round trip.
    ///
    /// # Panics
    /// If it has one already; if its process is gone.
    ///
    /// # Source
    /// `put!(::Future, v)`, Julia's Distributed.
    #[track_caller]
    pub fn put(&self, value: T) {
        self.try_put(value).or_raise();
    }

    /// As [`RemoteFuture::put`].
    ///
    /// # Errors
    /// [`RemoteError::Refused`] if it has a value already, or [`RemoteError::ProcessExited`].
    pub fn try_put(&self, value: T) -> Result<(), RemoteError> {
        let id = self.handle.id;
        // Held until the answer is there, also if somebody fetches meanwhile.
        let _held = Lent::of(&self.handle);
        let known =
            self.handle.future.look(|known| matches!(known, Known::Here(_) | Known::Failed(_)));
        if known {
            // Its owner may have freed it, and with it the knowledge that it had a value.
            return Err(super::questions::given_already(id.owner));
        }
        let mut writer = BlobWriter::default();
        writer.write_owned(Arc::new(value)).map_err(not_written)?;
        node().ask_and_wait(id.owner, Ask::Fulfil { id }, writer.finish()).result.map(drop)
    }

    /// The value. Blocks until it is there, as long as the call takes; after that it costs a clone.
    ///
    /// The first fetch costs one message there and the value back, nothing if the value was small and
    /// came with the end of the call.
    ///
    /// # Panics
    /// With [`RemoteError`] if the call panicked, was interrupted, or its process is gone. Unwinds
    /// soon after an interrupt.
    ///
    /// ```no_run
    /// use parcell::prelude::*;
    ///
    /// let n = 3;
    /// let future = spawn_at!(2, n * 2);
    /// assert_eq!((future.fetch(), future.fetch()), (6, 6));
    /// ```
    ///
    /// # Source
    /// `fetch(::Future)`, Julia's Distributed.
    #[track_caller]
    pub fn fetch(&self) -> T
    where
        T: Clone,
    {
        self.try_fetch().or_raise()
    }

    /// As [`RemoteFuture::fetch`].
    ///
    /// # Errors
    /// [`RemoteError`] if the call panicked, was interrupted, or its process is gone.
    pub fn try_fetch(&self) -> Result<T, RemoteError>
    where
        T: Clone,
    {
        let value = self.bring()?;
        match Arc::clone(&value).as_any().downcast::<T>() {
            Ok(same) => Ok((*same).clone()),
            Err(_) => value::copy(&value),
        }
    }

    /// The value itself, without a clone if this is the only handle on this process. Blocks as
    /// [`RemoteFuture::fetch`] does.
    ///
    /// # Panics
    /// As [`RemoteFuture::fetch`].
    #[track_caller]
    pub fn join(self) -> T {
        self.try_join().or_raise()
    }

    /// As [`RemoteFuture::join`].
    ///
    /// # Errors
    /// As [`RemoteFuture::try_fetch`].
    pub fn try_join(self) -> Result<T, RemoteError> {
        let value = self.bring()?;
        drop(self);
        value::Item::Own(value).into_value()
    }

    /// The value as this process holds it, together with all who fetched it here: not a clone.
    pub(crate) fn try_share(&self) -> Result<Arc<T>, RemoteError> {
        let value = self.bring()?;
        match Arc::clone(&value).as_any().downcast::<T>() {
            Ok(same) => Ok(same),
            Err(_) => value::copy(&value).map(Arc::new),
        }
    }

    /// Blocks until the call has ended, however it ended. The value stays where it is.
    ///
    /// # Source
    /// `wait(::Future)`, Julia's Distributed, which throws what the call threw: for that see
    /// [`RemoteFuture::try_wait`].
    pub fn wait(&self) {
        // How it ended is for those who fetch.
        let _ = self.try_wait();
    }

    /// Blocks until the call has ended.
    ///
    /// # Errors
    /// As [`RemoteFuture::try_fetch`].
    pub fn try_wait(&self) -> Result<(), RemoteError> {
        match self.settled_by(None) {
            Some(result) => result,
            None => unreachable!("without a deadline a wait ends with the end"),
        }
    }

    /// Blocks until the call has ended, but not longer than this, in seconds or as a
    /// [`Duration`](std::time::Duration); whether it has.
    pub fn wait_timeout(&self, time: impl Into<Seconds>) -> bool {
        self.settled_by(time.into().deadline()).is_some()
    }

    /// Whether the call has ended. Costs a round trip if the future came from another process,
    /// otherwise nothing.
    ///
    /// # Source
    /// `isready(::Future)`, Julia's Distributed.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let id = self.handle.id;
        let known = self.handle.future.look(|known| match known {
            Known::Nothing => None,
            Known::Coming | Known::Fetching => Some(false),
            Known::Ready | Known::Arrived(_) | Known::Here(_) | Known::Failed(_) => Some(true),
        });
        known.unwrap_or_else(|| {
            let answer = node().ask_and_wait(id.owner, Ask::IsReady { id }, Blob::default());
            // What is lost will not change any more.
            !matches!(answer.result, Ok(Answer::Flag(false)))
        })
    }

    /// Waits until the future is known to have ended.
    fn settled_by(&self, deadline: Option<Instant>) -> Option<Result<(), RemoteError>> {
        self.listen();
        self.handle.future.wait(deadline, |known| match known {
            Known::Nothing | Known::Coming | Known::Fetching => None,
            Known::Ready | Known::Arrived(_) | Known::Here(_) => Some(Ok(())),
            Known::Failed(error) => Some(Err(error.clone())),
        })
    }

    /// Has the owner tell when there is a value, unless that is on its way.
    pub(crate) fn listen(&self) {
        let first = self.handle.future.change(|known| {
            let first = matches!(known, Known::Nothing);
            if first {
                *known = Known::Coming;
            }
            first
        });
        if first {
            let id = self.handle.id;
            node().ask(
                id.owner,
                Ask::Future { id, value: false },
                Blob::default(),
                told(&self.handle),
            );
        }
    }

    /// The value on this process.
    fn bring(&self) -> Result<Arc<dyn AnyValue>, RemoteError> {
        self.listen();
        let step = self.handle.future.wait(None, Step::of);
        match step.expect("without a deadline a wait ends with a value") {
            Step::Done(result) => result,
            Step::Read(blob) => self.keep(value::read::<T>(blob).map(hold)),
            Step::Fetch => {
                let guard = Refetch(&self.handle);
                let result = self.ask_value();
                std::mem::forget(guard);
                self.keep(result)
            }
        }
    }

    fn ask_value(&self) -> Result<Arc<dyn AnyValue>, RemoteError> {
        let node = node();
        let id = self.handle.id;
        if id.owner == node.id {
            return match node.store.settled(id) {
                Some(settled) => settled,
                None => Err(RemoteError::Freed { worker: node.id as usize }),
            };
        }
        let ended = node.ask_and_wait(id.owner, Ask::Future { id, value: true }, Blob::default());
        match ended.result? {
            Answer::Value => value::read::<T>(ended.blob).map(hold),
            _ => Err(unexpected(id.owner, "a fetch")),
        }
    }

    /// Keeps what was fetched; the owner may free it.
    fn keep(
        &self,
        result: Result<Arc<dyn AnyValue>, RemoteError>,
    ) -> Result<Arc<dyn AnyValue>, RemoteError> {
        self.handle.become_known(Known::settled(result.clone()));
        self.handle.let_go();
        result
    }
}

/// What fetching takes.
enum Step {
    Done(Result<Arc<dyn AnyValue>, RemoteError>),
    Read(Incoming),
    Fetch,
}

impl Step {
    fn of(known: &mut Known) -> Option<Step> {
        match known {
            Known::Here(value) => Some(Step::Done(Ok(Arc::clone(value)))),
            Known::Failed(error) => Some(Step::Done(Err(error.clone()))),
            Known::Nothing | Known::Coming | Known::Fetching => None,
            Known::Ready | Known::Arrived(_) => match std::mem::replace(known, Known::Fetching) {
                Known::Arrived(blob) => Some(Step::Read(blob)),
                _ => Some(Step::Fetch),
            },
        }
    }
}

/// A fetch that was interrupted leaves the value to the next.
struct Refetch<'a>(&'a Handle);

impl Drop for Refetch<'_> {
    fn drop(&mut self) {
        self.0.become_known(Known::Ready);
    }
}

/// What notes the end of a call in its future.
pub(crate) fn told(handle: &Arc<Handle>) -> super::calls::Done {
    let handle = Arc::downgrade(handle);
    Box::new(move |ended: Ended| {
        let Some(handle) = handle.upgrade() else { return };
        handle.become_known(match ended.result {
            Ok(Answer::Value) => Known::Arrived(ended.blob),
            Ok(_) => Known::Ready,
            Err(error) => Known::Failed(error),
        });
    })
}

/// `future.await` gives the value, and panics as [`RemoteFuture::fetch`] does. Awaiting blocks no
/// thread.
impl<T: Portable + Clone> StdFuture for RemoteFuture<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        self.listen();
        self.handle.wake_later(context.waker());
        // A value that is ready elsewhere takes one round trip to come.
        if self.has_ended() { Poll::Ready(self.fetch()) } else { Poll::Pending }
    }
}

impl<T> PartialEq for RemoteFuture<T> {
    fn eq(&self, other: &RemoteFuture<T>) -> bool {
        self.handle.id == other.handle.id
    }
}

impl<T> Eq for RemoteFuture<T> {}

impl<T> fmt::Debug for RemoteFuture<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.handle.future.look(|known| match known {
            Known::Nothing => "elsewhere",
            Known::Coming => "running",
            Known::Ready | Known::Arrived(_) | Known::Fetching => "ready",
            Known::Here(_) => "fetched",
            Known::Failed(_) => "failed",
        });
        write!(f, "RemoteFuture({state}, on process {})", self.worker())
    }
}

impl<T> Serialize for RemoteFuture<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        // Lent first: what is fetched after that stays with its owner until it has arrived.
        let lent = Lent::of(&self.handle);
        match rehomed(&self.handle) {
            Some(moved) => super::handles::send_along(&moved, to),
            None => super::handles::send_lent(lent, to),
        }
    }
}

impl<'de, T> Deserialize<'de> for RemoteFuture<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<RemoteFuture<T>, D::Error> {
        super::handles::come_along(from).map(RemoteFuture::from_handle)
    }
}

/// A handle that others can use: if the value was fetched, its first owner may have freed it, and
/// this process holds it for them.
fn rehomed(handle: &Handle) -> Option<Arc<Handle>> {
    let settled = handle.future.look(|known| match known {
        Known::Here(value) => Some(Ok(Arc::clone(value))),
        Known::Failed(error) => Some(Err(error.clone())),
        _ => None,
    });
    let settled = settled?;
    let moved = handle.moved.get_or_init(|| {
        let node = node();
        let id = node.new_id(node.id);
        node.store.put(id, node.id, Thing::Future(Future::Settled(settled.clone())));
        node.handles.new_handle(id, Known::settled(settled))
    });
    Some(Arc::clone(moved))
}
