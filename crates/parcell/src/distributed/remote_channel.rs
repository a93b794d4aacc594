//! Channels that several processes share: queues that live on one of them.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::blob::Blob;
use super::channel_waits::{self, Given, Limit, mailbox};
use super::error::{OrRaise, RemoteError};
use super::handles::{Handle, Known};
use super::mailbox::{Mailbox, Wish};
use super::message::{Answer, Ask, ChannelOperation, Wait};
use super::node::node;
use super::portable::Portable;
use super::store::Thing;
use super::value::{self, Item};
use super::waiting::unexpected;
use crate::interrupt::Seconds;

/// A queue that any number of processes use, first in, first out. Its values are on one of them;
/// copies of the channel are handles to it and may be sent anywhere, in calls, in values and
/// through other channels. It is freed, with what is in it, when no handle is left anywhere.
///
/// [`put`](RemoteChannel::put), [`take`](RemoteChannel::take), [`fetch`](RemoteChannel::fetch) and
/// [`wait`](RemoteChannel::wait) block and panic once the channel is closed or its process is gone;
/// their `try_` forms return that as an error instead, and block too; the `_timeout` forms block for
/// a time only. On the process where the channel lives a value goes through it as it is; from
/// elsewhere each operation costs one round trip, and a large plain array is sent from where it
/// lies. Who waits lends the thread to other tasks and unwinds soon after an interrupt; what was
/// on its way to somebody who has given up goes back to the front of the queue.
///
/// ```no_run
/// use parcell::prelude::*;
///
/// let jobs = RemoteChannel::<u64>::new(10, 1);
/// let results = RemoteChannel::<u64>::new(10, 1);
/// let workers = (2..=3).map(|id| {
///     spawn_at!(id, for n in &jobs {
///         results.put(n * n);
///     })
/// });
/// let workers: Vec<RemoteFuture<()>> = workers.collect();
/// (1..=4).for_each(|n| jobs.put(n));
/// jobs.close();
/// workers.iter().for_each(|worker| worker.fetch());
/// results.close();
/// assert_eq!(results.iter().sum::<u64>(), 30);
/// ```
///
/// # Source
/// `RemoteChannel(() -> Channel{T}(capacity), id)`, Julia's Distributed.
pub struct RemoteChannel<T> {
    handle: Arc<Handle>,
    values: PhantomData<fn(T) -> T>,
}

impl<T> RemoteChannel<T> {
    fn from_handle(handle: Arc<Handle>) -> RemoteChannel<T> {
        RemoteChannel { handle, values: PhantomData }
    }

    /// The id of the process on which the channel lives.
    ///
    /// ```
    /// use parcell::distributed::RemoteChannel;
    ///
    /// assert_eq!(RemoteChannel::<f64>::new(1, 1).worker(), 1);
    /// ```
    #[must_use]
    pub fn worker(&self) -> usize {
        self.handle.id.owner as usize
    }
}

impl<T: Portable> RemoteChannel<T> {
    /// A channel on process `id` that holds up to `capacity` values;
    /// [`put`](RemoteChannel::put) blocks while it is full. With 0 it holds none: each `put` blocks
    /// until its value is taken. Blocks for one round trip if that is another process.
    ///
    /// # Panics
    /// With [`RemoteError::NoSuchProcess`] or [`RemoteError::ProcessExited`].
    ///
    /// ```
    /// use parcell::distributed::{RemoteChannel, myid};
    ///
    /// let channel = RemoteChannel::new(2, myid());
    /// channel.put(1.5);
    /// channel.put(2.5);
    /// assert_eq!((channel.take(), channel.take()), (1.5, 2.5));
    /// ```
    ///
    /// # Source
    /// `RemoteChannel(() -> Channel{T}(capacity), id)`, Julia's Distributed.
    #[track_caller]
    #[must_use]
    pub fn new(capacity: usize, id: usize) -> RemoteChannel<T> {
        RemoteChannel::from_handle(make(Some(capacity), id).or_raise())
    }

    /// A channel on process `id` that is never full.
    ///
    /// # Panics
    /// As [`RemoteChannel::new`].
    ///
    /// ```
    /// use parcell::distributed::RemoteChannel;
    ///
    /// let channel = RemoteChannel::unbounded(1);
    /// (0..1000).for_each(|i| channel.put(i));
    /// assert_eq!(channel.len(), 1000);
    /// ```
    ///
    /// # Source
    /// `RemoteChannel(() -> Channel{T}(Inf), id)`, Julia's Distributed.
    #[track_caller]
    #[must_use]
    pub fn unbounded(id: usize) -> RemoteChannel<T> {
        RemoteChannel::from_handle(make(None, id).or_raise())
    }

    /// Puts a value in. Blocks while the channel is full; without capacity until it is taken.
    ///
    /// # Panics
    /// With [`RemoteError::Closed`] if the channel is closed, or is closed meanwhile: then the value
    /// is not in. With [`RemoteError::ProcessExited`] if its process is gone. Unwinds soon after an
    /// interrupt; whether the value is in is not known then.
    ///
    /// ```
    /// use parcell::distributed::RemoteChannel;
    ///
    /// let channel = RemoteChannel::new(1, 1);
    /// channel.put("in".to_string());
    /// assert_eq!(channel.take(), "in");
    /// ```
    ///
    /// # Source
    /// `put!(::RemoteChannel, v)`, Julia's Distributed.
    #[track_caller]
    pub fn put(&self, value: T) {
        self.try_put(value).or_raise();
    }

    /// As [`RemoteChannel::put`].
    ///
    /// # Errors
    /// [`RemoteError::Closed`], [`RemoteError::ProcessExited`], or [`RemoteError::NotPortable`] if the
    /// value cannot be written down.
    pub fn try_put(&self, value: T) -> Result<(), RemoteError> {
        channel_waits::put(&self.handle, Item::own(value), None)
    }

    /// As [`RemoteChannel::put`], but waits for room no longer than this, in seconds or as a
    /// [`Duration`](std::time::Duration). With a time of 0 it does not wait: without capacity the
    /// value is taken if somebody waits for one.
    ///
    /// # Errors
    /// [`RemoteError::TimedOut`]: then the value is not in, and is dropped; otherwise as
    /// [`RemoteChannel::try_put`].
    ///
    /// ```
    /// use parcell::distributed::{RemoteChannel, RemoteError};
    ///
    /// let channel = RemoteChannel::new(1, 1);
    /// assert!(channel.put_timeout('a', 0).is_ok());
    /// assert!(matches!(channel.put_timeout('b', 0.01), Err(RemoteError::TimedOut { .. })));
    /// ```
    pub fn put_timeout(&self, value: T, time: impl Into<Seconds>) -> Result<(), RemoteError> {
        channel_waits::put(&self.handle, Item::own(value), Some(time.into()))
    }

    /// Takes the oldest value out. Blocks while there is none.
    ///
    /// # Panics
    /// With [`RemoteError::Closed`] if the channel is closed and nothing is left in it. With
    /// [`RemoteError::ProcessExited`] if its process is gone. Unwinds soon after an interrupt; the
    /// value then is left to others.
    ///
    /// # Source
    /// `take!(::RemoteChannel)`, Julia's Distributed.
    #[track_caller]
    pub fn take(&self) -> T {
        self.try_take().or_raise()
    }

    /// As [`RemoteChannel::take`].
    ///
    /// # Errors
    /// [`RemoteError::Closed`], [`RemoteError::ProcessExited`], or [`RemoteError::NotPortable`] if the
    /// value cannot be read.
    ///
    /// ```
    /// use parcell::distributed::{RemoteChannel, RemoteError};
    ///
    /// let channel = RemoteChannel::new(1, 1);
    /// channel.put(7);
    /// channel.close();
    /// assert_eq!(channel.try_take(), Ok(7));
    /// assert_eq!(channel.try_take(), Err(RemoteError::Closed { worker: 1 }));
    /// ```
    pub fn try_take(&self) -> Result<T, RemoteError> {
        self.get(Wish::Take, None)
    }

    /// As [`RemoteChannel::take`], but waits no longer than this, in seconds or as a
    /// [`Duration`](std::time::Duration). With a time of 0 it does not wait.
    ///
    /// # Errors
    /// [`RemoteError::TimedOut`], otherwise as [`RemoteChannel::try_take`].
    ///
    /// ```
    /// use parcell::distributed::{RemoteChannel, RemoteError};
    ///
    /// let channel = RemoteChannel::<f64>::new(1, 1);
    /// assert!(matches!(channel.take_timeout(0.01), Err(RemoteError::TimedOut { worker: 1, .. })));
    /// ```
    pub fn take_timeout(&self, time: impl Into<Seconds>) -> Result<T, RemoteError> {
        self.get(Wish::Take, Some(time.into()))
    }

    /// A copy of the oldest value, which stays. Blocks while there is none; without capacity until
    /// somebody offers one.
    ///
    /// # Panics
    /// As [`RemoteChannel::take`].
    ///
    /// ```
    /// use parcell::distributed::RemoteChannel;
    ///
    /// let channel = RemoteChannel::new(1, 1);
    /// channel.put(3);
    /// assert_eq!((channel.fetch(), channel.take()), (3, 3));
    /// ```
    ///
    /// # Source
    /// `fetch(::RemoteChannel)`, Julia's Distributed.
    #[track_caller]
    pub fn fetch(&self) -> T {
        self.try_fetch().or_raise()
    }

    /// As [`RemoteChannel::fetch`].
    ///
    /// # Errors
    /// As [`RemoteChannel::try_take`].
    pub fn try_fetch(&self) -> Result<T, RemoteError> {
        self.get(Wish::Fetch, None)
    }

    /// As [`RemoteChannel::fetch`], but waits no longer than this, in seconds or as a
    /// [`Duration`](std::time::Duration).
    ///
    /// # Errors
    /// As [`RemoteChannel::take_timeout`].
    pub fn fetch_timeout(&self, time: impl Into<Seconds>) -> Result<T, RemoteError> {
        self.get(Wish::Fetch, Some(time.into()))
    }

    fn get(&self, wish: Wish, limit: Limit) -> Result<T, RemoteError> {
        match channel_waits::get(&self.handle, wish, limit)? {
            Given::Own(item) => item.into_value(),
            Given::Come(blob) => value::read(blob),
            Given::Nothing => Err(unexpected(self.handle.id.owner, "a channel's value")),
        }
    }

    /// The values, each taken out when its turn comes; ends when the channel is closed and nothing
    /// is left in it. Blocks before each. `for x in &channel` is the same.
    ///
    /// # Panics
    /// The iterator panics with [`RemoteError::ProcessExited`] if the channel's process is gone.
    ///
    /// ```
    /// use parcell::distributed::RemoteChannel;
    ///
    /// let channel = RemoteChannel::unbounded(1);
    /// (1..=4).for_each(|i| channel.put(i));
    /// channel.close();
    /// assert_eq!(channel.iter().sum::<i32>(), 10);
    /// ```
    ///
    /// # Source
    /// `iterate(::RemoteChannel)`, Julia's Distributed.
    #[must_use]
    pub fn iter(&self) -> RemoteValues<'_, T> {
        RemoteValues(self)
    }
}

impl<T> RemoteChannel<T> {
    /// Blocks until there is a value to take.
    ///
    /// # Panics
    /// As [`RemoteChannel::take`].
    ///
    /// # Source
    /// `wait(::RemoteChannel)`, Julia's Distributed.
    #[track_caller]
    pub fn wait(&self) {
        self.try_wait().or_raise();
    }

    /// As [`RemoteChannel::wait`].
    ///
    /// # Errors
    /// [`RemoteError::Closed`] if the channel is closed and nothing is left in it, or
    /// [`RemoteError::ProcessExited`].
    pub fn try_wait(&self) -> Result<(), RemoteError> {
        channel_waits::get(&self.handle, Wish::Wait, None).map(drop)
    }

    /// As [`RemoteChannel::wait`], but no longer than this, in seconds or as a
    /// [`Duration`](std::time::Duration).
    ///
    /// # Errors
    /// [`RemoteError::TimedOut`], otherwise as [`RemoteChannel::try_wait`].
    pub fn wait_timeout(&self, time: impl Into<Seconds>) -> Result<(), RemoteError> {
        channel_waits::get(&self.handle, Wish::Wait, Some(time.into())).map(drop)
    }

    /// How many values there are to take, those included whose `put` still waits for room. Blocks
    /// for one round trip. Others may put and take meanwhile.
    ///
    /// # Panics
    /// With [`RemoteError::ProcessExited`].
    ///
    /// ```
    /// use parcell::distributed::RemoteChannel;
    ///
    /// let channel = RemoteChannel::new(3, 1);
    /// channel.put(0);
    /// assert_eq!((channel.len(), channel.is_ready(), channel.is_empty()), (1, true, false));
    /// ```
    #[track_caller]
    #[must_use]
    pub fn len(&self) -> usize {
        self.try_len().or_raise()
    }

    /// As [`RemoteChannel::len`].
    ///
    /// # Errors
    /// [`RemoteError::ProcessExited`].
    pub fn try_len(&self) -> Result<usize, RemoteError> {
        match self.ask(ChannelOperation::Length, |here| Answer::Count(here.len() as u64))? {
            Answer::Count(count) => Ok(usize::try_from(count).unwrap_or(usize::MAX)),
            _ => Err(unexpected(self.handle.id.owner, "the length of a channel")),
        }
    }

    /// Whether there is a value to take. Blocks for one round trip.
    ///
    /// # Panics
    /// As [`RemoteChannel::len`].
    ///
    /// # Source
    /// `isready(::RemoteChannel)`, Julia's Distributed.
    #[track_caller]
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.is_empty()
    }

    /// Whether there is no value to take. Blocks for one round trip.
    ///
    /// # Panics
    /// As [`RemoteChannel::len`].
    ///
    /// # Source
    /// `isempty(::RemoteChannel)`, Julia's Distributed.
    #[track_caller]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether values can still be put: not if it was closed, and not if its process is gone. Blocks
    /// for one round trip.
    ///
    /// # Source
    /// `isopen(::RemoteChannel)`, Julia's Distributed.
    #[must_use]
    pub fn is_open(&self) -> bool {
        let answer = self.ask(ChannelOperation::IsOpen, |here| Answer::Flag(here.is_open()));
        matches!(answer, Ok(Answer::Flag(true)))
    }

    /// Closes the channel: what is in it may still be taken, nothing more can be put, and those who
    /// wait for room are told. Does nothing if it is closed already, or gone with its process. Blocks
    /// for one round trip.
    ///
    /// ```
    /// use parcell::distributed::RemoteChannel;
    ///
    /// let channel = RemoteChannel::new(1, 1);
    /// channel.put(1);
    /// channel.close();
    /// assert!(!channel.is_open() && channel.try_put(2).is_err() && channel.is_ready());
    /// ```
    ///
    /// # Source
    /// `close(::RemoteChannel)`, Julia's Distributed.
    pub fn close(&self) {
        let close = |here: &Mailbox| {
            here.close();
            Answer::Done
        };
        // What is gone takes no more values either.
        let _ = self.ask(ChannelOperation::Close, close);
    }

    /// Something that is answered at once.
    fn ask(
        &self,
        operation: ChannelOperation,
        here: impl FnOnce(&Mailbox) -> Answer,
    ) -> Result<Answer, RemoteError> {
        let (node, id) = (node(), self.handle.id);
        if id.owner == node.id {
            return mailbox(node, &self.handle).map(|mailbox| here(&mailbox));
        }
        let ask = Ask::Channel { id, operation, wait: Wait::For(0) };
        node.ask_and_wait(id.owner, ask, Blob::default()).result
    }
}

fn make(capacity: Option<usize>, id: usize) -> Result<Arc<Handle>, RemoteError> {
    let node = node();
    let owner = super::procs::checked(node, id)?;
    let id = node.new_id(owner);
    if owner == node.id {
        node.store.put(id, node.id, Thing::Channel(Arc::new(Mailbox::new(capacity))));
        return Ok(node.handles.new_handle(id, Known::Nothing));
    }
    // If the wait is interrupted, dropping the handle frees the channel.
    let handle = node.handles.new_handle(id, Known::Nothing);
    let capacity = capacity.map(|capacity| capacity as u64);
    let made = node.ask_and_wait(owner, Ask::NewChannel { id, capacity }, Blob::default());
    made.result.map(|_| handle)
}

/// What [`RemoteChannel::iter`] gives.
pub struct RemoteValues<'a, T>(&'a RemoteChannel<T>);

impl<T: Portable> Iterator for RemoteValues<'_, T> {
    type Item = T;

    #[track_caller]
    fn next(&mut self) -> Option<T> {
        match self.0.try_take() {
            Err(RemoteError::Closed { .. }) => None,
            other => Some(other.or_raise()),
        }
    }
}

impl<T> fmt::Debug for RemoteValues<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RemoteValues").field(self.0).finish()
    }
}

impl<'a, T: Portable> IntoIterator for &'a RemoteChannel<T> {
    type Item = T;
    type IntoIter = RemoteValues<'a, T>;

    fn into_iter(self) -> RemoteValues<'a, T> {
        self.iter()
    }
}

impl<T> Clone for RemoteChannel<T> {
    fn clone(&self) -> RemoteChannel<T> {
        RemoteChannel::from_handle(Arc::clone(&self.handle))
    }
}

/// Two handles to the same channel are equal.
impl<T> PartialEq for RemoteChannel<T> {
    fn eq(&self, other: &RemoteChannel<T>) -> bool {
        self.handle.id == other.handle.id
    }
}

impl<T> Eq for RemoteChannel<T> {}

impl<T> Hash for RemoteChannel<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.handle.id.hash(state);
    }
}

impl<T> fmt::Debug for RemoteChannel<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RemoteChannel(on process {})", self.worker())
    }
}

impl<T> Serialize for RemoteChannel<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        super::handles::send_along(&self.handle, to)
    }
}

impl<'de, T> Deserialize<'de> for RemoteChannel<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<RemoteChannel<T>, D::Error> {
        super::handles::come_along(from).map(RemoteChannel::from_handle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn waits_that_are_given_up_lose_and_double_nothing() {
        const VALUES: u64 = 2000;
        let channel = RemoteChannel::new(2, 1);
        let take = || {
            let mut sum = 0;
            loop {
                match channel.take_timeout(1e-5) {
                    Ok(value) => sum += value,
                    Err(RemoteError::TimedOut { .. }) => {}
                    Err(_) => return sum,
                }
            }
        };
        let sum: u64 = thread::scope(|scope| {
            let takers: Vec<_> = (0..3).map(|_| scope.spawn(take)).collect();
            let put = |value| while channel.put_timeout(value, 1e-5).is_err() {};
            (1..=VALUES).for_each(put);
            channel.close();
            takers.into_iter().map(|taker| taker.join().expect("takers do not panic")).sum()
        });
        assert_eq!(sum, VALUES * (VALUES + 1) / 2);
    }

    #[test]
    fn a_value_goes_through_as_it_is() {
        let channel = RemoteChannel::new(1, 1);
        let value = vec![1.0; 3];
        let address = value.as_ptr();
        channel.put(value);
        assert_eq!(channel.fetch(), [1.0; 3], "a copy");
        let taken = channel.take();
        assert_eq!(taken.as_ptr(), address, "the very vector");
    }

    #[test]
    #[expect(clippy::mutable_key_type, reason = "equality looks at the id alone, which stays")]
    fn equal_is_what_leads_to_the_same() {
        let (one, other) = (RemoteChannel::<i32>::new(1, 1), RemoteChannel::<i32>::new(1, 1));
        assert_eq!((one == one.clone(), one == other), (true, false));
        let set: std::collections::HashSet<_> = [one.clone(), one, other].into();
        assert_eq!(set.len(), 2);
    }

    #[test]
    fn a_channel_that_was_sent_through_itself_is_the_same() {
        let channel = RemoteChannel::new(1, 1);
        let through = RemoteChannel::new(1, 1);
        through.put(vec![Some(channel.clone())]);
        let came = through.take().remove(0).expect("one was put");
        came.put(3);
        assert_eq!((came == channel, channel.take()), (true, 3));
    }

    #[test]
    fn there_is_no_channel_on_a_process_that_is_not_there() {
        let made = std::panic::catch_unwind(|| RemoteChannel::<i32>::new(1, 77));
        let error = made.expect_err("there is no process 77");
        assert!(matches!(error.downcast_ref(), Some(RemoteError::NoSuchProcess { id: 77, .. })));
    }
}
