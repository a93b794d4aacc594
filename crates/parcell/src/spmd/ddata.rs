//! One value per process.

use std::fmt;
use std::ops::Deref;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::distributed::{
    LocalInit, Portable, RemoteFuture, WorkerLocal, fetch_all, remotecall, remotecall_fetch,
};

/// One value of any type on each of several processes: a [`WorkerLocal`] whose values can be gathered.
/// All that a `WorkerLocal` can do, it can: [`with`](WorkerLocal::with) looks at this process's value,
/// [`with_mut`](WorkerLocal::with_mut) changes it. Copies are handles to the same values.
///
/// ```no_run
/// use parcell::prelude::*;
///
/// addprocs(2);
/// let d = ddata(|| vec![myid(); 2]);
/// spmd(remote!(|c: Spmd| d.with_mut(|v| v[0] = 10 * c.rank())));
/// assert_eq!(d.gather(), [vec![0, 2], vec![10, 3]]);
/// ```
///
/// # Source
/// `ddata`, `gather(d)`, Julia's DistributedArrays.
pub struct DData<T>(WorkerLocal<T>);

/// A value on each worker, or on this process if there are none, made there by `init`: a function
/// without arguments, a closure that captures nothing, or `remote!(|| …)`. Blocks until all are made;
/// one message to each process.
///
/// # Panics
/// As [`WorkerLocal::new_on`].
///
/// ```
/// use parcell::prelude::*;
///
/// let d = ddata(|| String::from("a"));
/// d.with_mut(|s| s.push('b'));
/// assert_eq!(d.gather(), ["ab"]);
/// ```
///
/// # Source
/// `ddata(init = …)`, Julia's DistributedArrays.
#[track_caller]
#[must_use]
pub fn ddata<T: Send + 'static>(init: impl LocalInit<T>) -> DData<T> {
    DData::on(&super::default_processes(), init)
}

impl<T: Send + 'static> DData<T> {
    /// As [`ddata`], on these processes.
    ///
    /// # Panics
    /// As [`WorkerLocal::new_on`].
    #[track_caller]
    #[must_use]
    pub fn on(processes: &[usize], init: impl LocalInit<T>) -> DData<T> {
        DData(WorkerLocal::new_on(processes, init))
    }
}

impl<T: Portable + Clone> DData<T> {
    /// Copies of all values, in the order of their processes. One side is enough. Blocks for one round
    /// trip to all at once; the bytes are those of all values.
    ///
    /// # Panics
    /// With [`RemoteError`](crate::distributed::RemoteError), or
    /// [`CompositeError`](crate::distributed::CompositeError), if a process is gone.
    ///
    /// # Source
    /// `gather(d)`, Julia's DistributedArrays.
    #[track_caller]
    #[must_use]
    pub fn gather(&self) -> Vec<T> {
        let start = |process| remotecall(DData::copied, process, (self.clone(),));
        let calls: Vec<RemoteFuture<T>> = self.procs().into_iter().map(start).collect();
        fetch_all(&calls)
    }

    /// A copy of a process's value. One side is enough. Blocks for one round trip.
    ///
    /// # Panics
    /// With [`RemoteError`](crate::distributed::RemoteError) if the process is gone or has no value.
    ///
    /// # Source
    /// `d[i]`, Julia's DistributedArrays, with the process instead of its index.
    #[track_caller]
    #[must_use]
    pub fn get(&self, process: usize) -> T {
        remotecall_fetch(DData::copied, process, (self.clone(),))
    }

    fn copied(self) -> T {
        self.0.with(T::clone)
    }
}

impl<T> Deref for DData<T> {
    type Target = WorkerLocal<T>;

    fn deref(&self) -> &WorkerLocal<T> {
        &self.0
    }
}

impl<T> Clone for DData<T> {
    fn clone(&self) -> DData<T> {
        DData(self.0.clone())
    }
}

impl<T> fmt::Debug for DData<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DData(on processes {:?})", self.procs())
    }
}

impl<T> Serialize for DData<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(to)
    }
}

impl<'de, T> Deserialize<'de> for DData<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<DData<T>, D::Error> {
        WorkerLocal::deserialize(from).map(DData)
    }
}
