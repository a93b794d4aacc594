//! State that stays on each process: made there, used there, never sent.

use std::fmt;
use std::marker::PhantomData;
use std::panic::Location;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::blob::{Blob, BlobReader, BlobWriter, DecodeError, RefId};
use super::call::{self, Outgoing};
use super::capture::conjure;
use super::error::{OrRaise, RemoteError, raise_all};
use super::function::{AnyValue, Callable, Preparation, Prepared, Trampoline, hold};
use super::handles::{self, Handle, Known};
use super::jobs::not_written;
use super::local::Local;
use super::message::{Answer, Message};
use super::node::{Node, node};
use super::portable::Portable;
use super::procs;
use super::remote::Remote;
use super::store::Thing;
use super::waiting::{Slot, unexpected};

/// A value on each of several processes, which stays there: a cache, a counter, a random generator,
/// a table that was read from a file. It is made where it stays, so it needs not be one that can be
/// sent. What travels is the `WorkerLocal` itself, a handle to all the values: code on a process uses
/// that process's own.
///
/// The values are freed when no handle is left anywhere, or when the process that made the
/// `WorkerLocal` is gone.
///
/// ```no_run
/// use parcell::prelude::*;
///
/// let words = WorkerLocal::new_on(&workers(), Vec::<String>::new);
/// let n = fetch_from!(2, words.with_mut(|w| { w.push("a".to_string()); w.len() }));
/// assert_eq!(n, 1);
/// assert_eq!(fetch_from!(3, words.with(|w| w.len())), 0); // another value
/// ```
///
/// # Source
/// Julia keeps such state in globals that `@everywhere` defines.
pub struct WorkerLocal<T> {
    /// What holds the values, on the process that made this.
    all: Arc<Handle>,
    /// The values' ids, up to their owner.
    base: RefId,
    processes: Arc<[u32]>,
    value: PhantomData<fn() -> T>,
}

/// What makes the values of a [`WorkerLocal`]: a function without arguments, a closure that captures
/// nothing, or `remote!(|| …)`, whose value must be one that can be sent.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot make the values of a `WorkerLocal`",
    label = "not a function without arguments that another process could call",
    note = "pass a function, a closure that captures nothing, or `remote!(|| …)`; to give it a value \
            of this process, use `WorkerLocal::new_from(&processes, value, |value| …)`"
)]
pub trait LocalInit<T> {
    /// The code and what it needs.
    #[doc(hidden)]
    fn prepare(self, base: RefId) -> Preparation;
}

impl<T: Send + 'static, F: Fn() -> T + Copy + Send + Sync + 'static> LocalInit<T> for F {
    fn prepare(self, base: RefId) -> Preparation {
        let trampoline: Trampoline = |captures| Ok(making(captures.read()?, || (conjure::<F>())()));
        prepared(trampoline, |to| to.write(&base))
    }
}

impl<T: Portable> LocalInit<T> for Remote<(), T> {
    fn prepare(self, base: RefId) -> Preparation {
        let trampoline: Trampoline = |captures| {
            let (base, function) = (captures.read()?, captures.read::<Remote<(), T>>()?);
            Ok(making(base, move || function.call(())))
        };
        prepared(trampoline, |to| to.write(&base).and_then(|()| to.write(&self)))
    }
}

fn prepared(
    trampoline: Trampoline,
    write: impl FnOnce(&mut BlobWriter) -> Result<(), super::blob::EncodeError>,
) -> Preparation {
    let mut writer = BlobWriter::default();
    write(&mut writer).map_err(not_written)?;
    Ok(Prepared { trampoline, captures: writer.finish() })
}

fn making<T: Send + 'static>(
    base: RefId,
    init: impl Fn() -> T + Send + Sync + 'static,
) -> Arc<dyn Callable> {
    Arc::new(Making { base, make: Box::new(move || Local::new(init())) })
}

/// Makes a value and keeps it.
struct Making {
    base: RefId,
    make: Box<dyn Fn() -> Local + Send + Sync>,
}

impl Callable for Making {
    fn call(&self, _: &mut BlobReader<'_>) -> Result<Arc<dyn AnyValue>, DecodeError> {
        let node = node();
        let id = RefId { owner: node.id, ..self.base };
        let local = Arc::new((self.make)());
        node.store.fill(id, Thing::Local(local));
        Ok(hold(()))
    }
}

impl<T: Send + 'static> WorkerLocal<T> {
    /// Makes a value on each of these processes, in parallel, by calling `init` there. Blocks until
    /// all are made.
    ///
    /// # Panics
    /// With [`RemoteError`], or [`CompositeError`](super::CompositeError) if several fail: where
    /// `init` panicked, or which process is gone. Then no value stays.
    ///
    /// ```
    /// use parcell::distributed::{WorkerLocal, myid};
    ///
    /// let counter = WorkerLocal::new_on(&[myid()], || 0);
    /// counter.with_mut(|n| *n += 1);
    /// assert_eq!(counter.with(|n| *n), 1);
    /// ```
    #[track_caller]
    #[must_use]
    pub fn new_on(processes: &[usize], init: impl LocalInit<T>) -> WorkerLocal<T> {
        WorkerLocal::make(processes, Location::caller(), |base| init.prepare(base))
    }

    /// A value on every process that there is now, this one included.
    ///
    /// # Panics
    /// As [`WorkerLocal::new_on`].
    ///
    /// ```
    /// use parcell::distributed::{WorkerLocal, procs};
    ///
    /// let cache = WorkerLocal::new(std::collections::HashMap::<u64, f64>::new);
    /// assert_eq!(cache.procs(), procs());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn new(init: impl LocalInit<T>) -> WorkerLocal<T> {
        WorkerLocal::make(&procs::procs(), Location::caller(), |base| init.prepare(base))
    }

    /// As [`WorkerLocal::new_on`], with a value of this process that each `init` gets a copy of.
    /// `init` is a function or a closure that captures nothing.
    ///
    /// # Panics
    /// As [`WorkerLocal::new_on`]; if the value cannot be sent.
    ///
    /// ```
    /// use parcell::distributed::WorkerLocal;
    ///
    /// let size = 3;
    /// let buffer = WorkerLocal::new_from(&[1], size, |size| vec![0.0; size]);
    /// assert_eq!(buffer.with(|b| b.len()), 3);
    /// ```
    #[track_caller]
    #[must_use]
    pub fn new_from<A, F>(processes: &[usize], value: A, _init: F) -> WorkerLocal<T>
    where
        A: Portable + Clone,
        F: Fn(A) -> T + Copy + Send + Sync + 'static,
    {
        let trampoline: Trampoline = |captures| {
            let (base, value) = (captures.read()?, captures.read::<A>()?);
            Ok(making(base, move || (conjure::<F>())(value.clone())))
        };
        WorkerLocal::make(processes, Location::caller(), |base| {
            prepared(trampoline, |to| to.write(&base).and_then(|()| to.write(&value)))
        })
    }

    #[track_caller]
    fn make(
        processes: &[usize],
        place: &Location<'_>,
        prepare: impl FnOnce(RefId) -> Preparation,
    ) -> WorkerLocal<T> {
        let node = node();
        let base = node.new_id(node.id);
        let checked = processes.iter().map(|id| procs::checked(node, *id));
        let mut processes: Vec<u32> = checked.collect::<Result<_, _>>().or_raise();
        processes.sort_unstable();
        processes.dedup();
        let parts = match make_parts(node, &processes, place, prepare(base).or_raise(), base) {
            Ok(parts) => parts,
            Err(errors) => raise_all(errors),
        };
        let id = node.new_id(node.id);
        node.store.put(id, node.id, Thing::Group(parts));
        let all = node.handles.new_handle(id, Known::Nothing);
        WorkerLocal { all, base, processes: processes.into(), value: PhantomData }
    }

    /// Changes this process's value. Blocks while other threads use it; then nobody else does until
    /// `change` returns. If `change` panics, the value stays as it was at that moment, and whoever
    /// comes next gets it so.
    ///
    /// # Panics
    /// With [`RemoteError::Refused`] if this process has no value, or if this thread uses it already
    /// (inside of another `with` or `with_mut`); with [`RemoteError::Freed`] if the process that made
    /// this `WorkerLocal` is gone. Unwinds soon after an interrupt while it blocks.
    #[track_caller]
    pub fn with_mut<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        let local = self.local().or_raise();
        local.with_mut(change).map_err(|why| refused(why.to_string())).or_raise()
    }

    /// Looks at this process's value; other threads may at the same time. Blocks while one changes it.
    ///
    /// # Panics
    /// As [`WorkerLocal::with_mut`], but may be called inside of another `with`.
    #[track_caller]
    pub fn with<R>(&self, look: impl FnOnce(&T) -> R) -> R
    where
        T: Sync,
    {
        let local = self.local().or_raise();
        local.with(look).map_err(|why| refused(why.to_string())).or_raise()
    }
}

impl<T> WorkerLocal<T> {
    /// The processes that have a value, ascending.
    #[must_use]
    pub fn procs(&self) -> Vec<usize> {
        self.processes.iter().map(|id| *id as usize).collect()
    }

    fn local(&self) -> Result<Arc<Local>, RemoteError> {
        let node = node();
        if !self.processes.contains(&node.id) {
            let list = self.procs().iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let what = format!(
                "this process has no value of the `WorkerLocal`, which was made for {list}; workers \
                 that were added later get none"
            );
            return Err(refused(what));
        }
        let id = RefId { owner: node.id, ..self.base };
        node.store.local(id).ok_or(RemoteError::Freed { worker: node.id as usize })
    }
}

fn refused(what: String) -> RemoteError {
    RemoteError::Refused { worker: procs::myid(), what }
}

/// Makes the values; handles to them, or what failed. Handles that are dropped free their values.
fn make_parts(
    node: &Node,
    processes: &[u32],
    place: &Location<'_>,
    prepared: Prepared,
    base: RefId,
) -> Result<Vec<Arc<Handle>>, Vec<RemoteError>> {
    let mut parts = Vec::new();
    let mut slots = Vec::new();
    let mut errors = Vec::new();
    // The part on this process comes last, so that the others need not wait for it.
    let others = processes.iter().filter(|process| **process != node.id);
    for process in others.chain(processes.iter().filter(|process| **process == node.id)) {
        match begin(node, *process, base, &prepared, place) {
            Ok((part, slot)) => {
                parts.push(part);
                slots.push((*process, slot));
            }
            Err(error) => errors.push(error),
        }
    }
    for (process, slot) in slots {
        match slot.wait(|| ()).result {
            Ok(Answer::Value) => {}
            Ok(_) => errors.push(unexpected(process, "a call")),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok(parts) } else { Err(errors) }
}

/// Has a process make its value, which this process holds from now on.
fn begin(
    node: &Node,
    process: u32,
    base: RefId,
    prepared: &Prepared,
    place: &Location<'_>,
) -> Result<(Arc<Handle>, Slot), RemoteError> {
    let id = RefId { owner: process, ..base };
    let outgoing = Outgoing::new(Ok(prepared.clone()))?;
    node.send(process, Message::Hold { id, process: node.id }, Blob::default())?;
    let part = node.handles.new_handle(id, Known::Nothing);
    let slot = Slot::new();
    call::fetch_later(process, outgoing, place, slot.filler());
    Ok((part, slot))
}

impl<T> Clone for WorkerLocal<T> {
    fn clone(&self) -> WorkerLocal<T> {
        WorkerLocal {
            all: Arc::clone(&self.all),
            base: self.base,
            processes: Arc::clone(&self.processes),
            value: PhantomData,
        }
    }
}

impl<T> fmt::Debug for WorkerLocal<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WorkerLocal(on processes {:?})", self.processes)
    }
}

impl<T> Serialize for WorkerLocal<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let all = Travelling(Arc::clone(&self.all));
        (all, self.base, &*self.processes).serialize(to)
    }
}

impl<'de, T> Deserialize<'de> for WorkerLocal<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<WorkerLocal<T>, D::Error> {
        let (Travelling(all), base, processes) =
            <(Travelling, RefId, Vec<u32>)>::deserialize(from)?;
        Ok(WorkerLocal { all, base, processes: processes.into(), value: PhantomData })
    }
}

/// The handle as a part of what is sent.
struct Travelling(Arc<Handle>);

impl Serialize for Travelling {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        handles::send_along(&self.0, to)
    }
}

impl<'de> Deserialize<'de> for Travelling {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Travelling, D::Error> {
        handles::come_along(from).map(Travelling)
    }
}
