//! The thread pool that rayon uses in every cell.
//!
//! The thread that runs the cells is member 0 of the pool, so a cell's rayon calls use the pool
//! without moving anything to another thread: variables need not be `Send`. The other members are
//! threads named `parcell-1`, `parcell-2`, …
//!
//! Threads that a cell starts with `std::thread::spawn`, and tokio's, are not members. rayon gives
//! all those its *global* pool, which starts when the first of them needs it and then has as many
//! threads as the cells' pool had at that time; it cannot be resized later.
//!
//! The *interactive* pool beside it serves [`spawn_interactive`]. rayon's calls in its tasks use that
//! pool's threads alone; what they [`spawn`] goes to the pool that computes.
//!
//! In a pool of one thread nobody else can take up what `rayon::spawn` leaves behind: it runs when
//! the cell next waits for rayon, or at the cell's end.
//!
//! ```
//! use parcell::prelude::*;
//!
//! let ids: Vec<usize> = (0..100).into_par_iter().map(|_| threadid()).collect();
//! assert!(ids.iter().all(|&id| id < nthreads()));
//! ```

mod atomic;
mod channel;
mod condition;
pub(crate) mod cores;
mod counting;
mod crew;
mod extrema;
mod global;
mod interactive;
mod iterators;
mod lanes;
mod locks;
mod monitor;
#[cfg(test)]
mod nesting_tests;
mod padded;
mod panics;
mod par_for;
#[cfg(test)]
mod par_for_tests;
mod par_map;
mod pin;
mod pool;
mod reduce;
mod run;
mod scan;
mod schedule;
mod scratch;
mod slices;
mod sorted;
mod space;
mod sync;
mod task;
#[cfg(test)]
mod task_tests;
pub mod threadsx;
#[cfg(test)]
mod threadsx_tests;
mod unique;
mod waits;

use std::sync::atomic::{AtomicUsize, Ordering};

pub use atomic::{Atomic, AtomicBits, AtomicNumber, AtomicValue};
pub use channel::{Channel, Closed, Items, PutError, TakeError};
pub use condition::Condition;
pub use cores::{Cores, available, default_threads};
pub use interactive::{interactive_threads, set_interactive_threads};
pub use iterators::{IndexedParallelIteratorExt, ParallelIteratorExt};
pub use lanes::{Enumerated, Lanes};
pub use locks::{Event, Lock, LockGuard, Permit, ReentrantGuard, ReentrantLock, Semaphore};
pub use padded::Padded;
pub use par_for::{ParFor, ParForIter, par_for, par_for_iter};
pub use par_map::{ParMap, ParallelMap};
pub use pin::{Pin, placement};
pub use pool::{AttachError, Pool, Shortage};
pub use schedule::Schedule;
pub use scratch::{PerThread, TaskLocal};
pub use slices::{ParallelSliceExt, ParallelSliceMutExt};
pub use space::{Axis, Grid, Integer, Integers, IntoSpace, Space};
pub use sync::{Scope, SyncError, TaskFailure, sync, try_sync};
pub use task::{Task, TaskError, errormonitor, spawn, spawn_detached, spawn_interactive};
pub use waits::{Waited, timedwait, waitall, waitall_failfast, waitany};

pub(crate) use crew::in_task;
pub(crate) use monitor::Monitor;
pub(crate) use par_for::par_for_space;
pub(crate) use pool::serve_globally;
pub(crate) use task::spawn_job;

use crate::display::{Bundle, Table};

/// Size of the pool that was attached last; 0 before the first.
static SIZE: AtomicUsize = AtomicUsize::new(0);

/// Number of threads in the pool.
///
/// In a program without a parcell pool this is the size of rayon's global pool.
///
/// ```
/// assert!(parcell::threads::nthreads() >= 1);
/// ```
#[must_use]
pub fn nthreads() -> usize {
    if rayon::current_thread_index().is_some() {
        return rayon::current_num_threads();
    }
    default_size()
}

/// Index of the current thread in its pool, from 0; 0 for the cell's own thread and for threads
/// outside any pool.
///
/// ```
/// assert_eq!(parcell::threads::threadid(), 0);
/// ```
#[must_use]
pub fn threadid() -> usize {
    rayon::current_thread_index().unwrap_or(0)
}

/// What `%threads` shows: the pool and everything that limits its default size.
///
/// ```
/// let report = parcell::threads::report();
/// assert!(report.get("text/plain").unwrap().contains("logical cores"));
/// ```
#[must_use]
pub fn report() -> Bundle {
    let cores = available();
    let count = |n: Option<usize>| n.map_or_else(|| "–".to_owned(), |n| n.to_string());
    let quota = cores.cgroup.map_or_else(|| "–".to_owned(), |q| format!("{q}"));
    let rows = [
        ("threads in the pool", nthreads().to_string()),
        ("threads in the interactive pool", interactive_threads().to_string()),
        ("default number of threads", cores.default_threads().to_string()),
        ("logical cores", cores.logical.to_string()),
        ("cores in the affinity mask", count(cores.affinity)),
        ("cores by cgroup quota", quota),
        ("SLURM_CPUS_PER_TASK", count(cores.slurm)),
        ("PARCELL_NUM_THREADS", count(cores.parcell)),
        ("RAYON_NUM_THREADS", count(cores.rayon)),
    ];
    let rows = rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
    crate::display::Rich::bundle(&Table::plain(["", "count"], rows))
}

/// Lets a thread that a pinned one started run wherever its process may. Where the system refuses,
/// it stays where it is.
pub(crate) fn release_from_core() {
    let _ = pin::release();
}

/// Size of the pool that computes, also for threads outside of it.
fn default_size() -> usize {
    match SIZE.load(Ordering::Relaxed) {
        0 => rayon::current_num_threads(),
        attached => attached,
    }
}

/// Runs what `rayon::spawn` left to this thread if no other member could: see the
/// [module's](self) last words on pools of one thread.
pub(crate) fn finish_spawned() {
    if rayon::current_thread_index().is_none() || rayon::current_num_threads() > 1 {
        return;
    }
    let ran_one = || rayon::yield_local() == Some(rayon::Yield::Executed) || crew::drain_all();
    while !crate::interrupt::pending() && ran_one() {}
}
