//! What participants keep between runs.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::error::SpmdError;
use crate::distributed::local::Local;
use crate::distributed::{RemoteFuture, WorkerLocal, myid, remotecall};

/// Room on each of several processes for values with names, which runs in this context share: what
/// one run keeps there, the next one finds. Copies are handles to the same context, and may be sent.
///
/// The values are freed by [`close`](Context::close), and when the last handle is dropped anywhere.
///
/// ```no_run
/// use parcell::prelude::*;
///
/// let context = Context::new();
/// let count = || Spmd::with(&context).run(|c: Spmd| {
///     c.stored("visits", || 0, |visits: &mut i32| { *visits += 1; *visits })
/// });
/// count();
/// assert!(count().iter().all(|visits| *visits == 2));
/// ```
///
/// # Source
/// `context(pids)`, `context_local_storage()`, `DistributedArrays.SPMD`, Julia.
#[derive(Clone, Serialize, Deserialize)]
pub struct Context {
    all: WorkerLocal<Storage>,
}

/// The values of one process.
#[derive(Default)]
pub(super) struct Storage {
    values: HashMap<String, Arc<Local>>,
    closed: bool,
}

impl Storage {
    pub(super) fn find(&self, name: &str) -> Result<Option<Arc<Local>>, SpmdError> {
        if self.closed {
            return Err(SpmdError::ContextClosed);
        }
        Ok(self.values.get(name).cloned())
    }

    /// Keeps a value unless another thread was faster; the one that is kept.
    pub(super) fn keep(&mut self, name: &str, value: Local) -> Result<Arc<Local>, SpmdError> {
        if let Some(there) = self.find(name)? {
            return Ok(there);
        }
        let value = Arc::new(value);
        self.values.insert(name.to_owned(), Arc::clone(&value));
        Ok(value)
    }
}

impl Context {
    /// A context on all workers, or on this process if there are none. Blocks for one round trip to
    /// all at once; one message to each.
    ///
    /// # Panics
    /// With [`RemoteError`](crate::distributed::RemoteError) if a process is gone.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// assert_eq!(Context::new().procs(), workers());
    /// ```
    #[track_caller]
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it is made on other processes, which may fail")]
    pub fn new() -> Context {
        Context::on(&super::default_processes())
    }

    /// A context on these processes. Runs in it may take place on some of them.
    ///
    /// # Panics
    /// As [`Context::new`], and if there is no such process.
    #[track_caller]
    #[must_use]
    pub fn on(processes: &[usize]) -> Context {
        Context { all: WorkerLocal::new_on(processes, Storage::default) }
    }

    /// The processes that it is on, ascending.
    #[must_use]
    pub fn procs(&self) -> Vec<usize> {
        self.all.procs()
    }

    /// Frees all values on all processes, whoever has a handle; runs in it fail from then on with
    /// [`SpmdError::ContextClosed`]. One side is enough. Blocks for one round trip to all at once. Does
    /// nothing if it is closed already; processes that are gone have nothing to free.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let context = Context::on(&[myid()]);
    /// context.close();
    /// assert!(Spmd::with(&context).try_run(|c: Spmd| c.stored("n", || 0, |n: &mut i32| *n)).is_err());
    /// ```
    pub fn close(&self) {
        let close = |context: Context| context.close_here();
        let start = |process| remotecall(close, process, (self.clone(),));
        let there = self.procs().into_iter().filter(|process| super::is_there(*process));
        let calls: Vec<RemoteFuture<()>> = there.map(start).collect();
        // Who has died meanwhile keeps nothing.
        calls.into_iter().for_each(|call| drop(call.try_wait()));
    }

    fn close_here(&self) {
        let values = self.change(|storage| {
            storage.closed = true;
            std::mem::take(&mut storage.values)
        });
        drop(values);
    }

    pub(super) fn change<R>(&self, change: impl FnOnce(&mut Storage) -> R) -> R {
        self.all.with_mut(change)
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Context(on processes {:?}, seen from {})", self.procs(), myid())
    }
}
