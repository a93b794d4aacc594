//! Workers that share a kind of work.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, OnceLock};

use super::demand::Waiting;
use super::error::{OrRaise, RemoteError};
use super::node::{Node, me, node};
use super::procs;
use crate::threads::Monitor;

/// Some of the workers, to be taken and given back one at a time, in the order in which they became
/// free. Calls to a pool take the next free one for as long as they run: `spawn_at!(&pool, …)`,
/// `remotecall(f, &pool, …)` and the like block until there is one. It is also a choice of workers
/// for [`pmap`](super::pmap()) and `distributed!`, which use all of them, free or not. Copies are the
/// same pool. Workers that are gone leave it when they would be taken.
///
/// ```no_run
/// use parcell::prelude::*;
///
/// let pool = WorkerPool::new(&addprocs(2));
/// let answer = fetch_from!(&pool, 6 * 7);
/// let squares = pmap(|x: i32| x * x, 0..10).pool(&pool).collect();
/// assert_eq!((answer, squares[3]), (42, 9));
/// ```
///
/// # Source
/// `WorkerPool`, Julia's Distributed. Unlike there, a pool does not travel to other processes.
#[derive(Clone)]
pub struct WorkerPool {
    state: Arc<Monitor<State>>,
}

/// Julia's name for a pool that keeps functions on its workers: here each of them does, until the
/// last handle of a function is dropped, so it is the same type.
///
/// # Source
/// `CachingPool`, Julia's Distributed.
pub type CachingPool = WorkerPool;

/// The pool of all workers of this process, those included that join later; of this process while
/// there are none. Always the same one.
///
/// ```
/// use parcell::distributed::{default_worker_pool, myid};
///
/// assert_eq!(default_worker_pool().workers(), [myid()]);
/// ```
///
/// # Source
/// `default_worker_pool()`, Julia's Distributed. There workers use that of process 1.
#[must_use]
pub fn default_worker_pool() -> WorkerPool {
    static POOL: OnceLock<WorkerPool> = OnceLock::new();
    let all = || State { follows: true, ..State::default() };
    POOL.get_or_init(|| WorkerPool { state: Arc::new(Monitor::new(all())) }).clone()
}

#[derive(Debug, Default)]
struct State {
    workers: Vec<u32>,
    free: VecDeque<u32>,
    /// Whoever becomes a worker is in it.
    follows: bool,
}

/// A worker that was taken, for a call; dropping this gives it back.
#[derive(Debug)]
pub(crate) struct GiveBack {
    pool: WorkerPool,
    pub(crate) worker: u32,
}

impl Drop for GiveBack {
    fn drop(&mut self) {
        self.pool.state.change(|state| state.give_back(self.worker));
    }
}

impl State {
    fn add(&mut self, id: u32) {
        if !self.workers.contains(&id) {
            self.workers.push(id);
            self.free.push_back(id);
        }
    }

    fn give_back(&mut self, id: u32) {
        if self.workers.contains(&id) && !self.free.contains(&id) {
            self.free.push_back(id);
        }
    }

    /// Drops those that are gone, and adds those that came.
    fn refresh(&mut self, node: &Node) {
        if self.follows {
            let workers = super::deal::workers();
            self.workers.retain(|id| workers.contains(id));
            workers.into_iter().for_each(|id| self.add(id));
        }
        let lives = |id: &u32| *id == node.id || node.peers.is_alive(*id);
        self.workers.retain(lives);
        self.free.retain(|id| self.workers.contains(id));
    }
}

impl WorkerPool {
    /// A pool of these workers, all free.
    ///
    /// # Panics
    /// With [`RemoteError::NoSuchProcess`].
    #[must_use]
    #[track_caller]
    pub fn new(ids: &[usize]) -> WorkerPool {
        let pool = WorkerPool { state: Arc::new(Monitor::new(State::default())) };
        for id in ids {
            pool.push(*id);
        }
        pool
    }

    /// Adds a worker, which is free. Does nothing if it is in the pool already.
    ///
    /// # Panics
    /// With [`RemoteError::NoSuchProcess`].
    #[track_caller]
    pub fn push(&self, id: usize) {
        let id = procs::checked(node(), id).or_raise();
        self.state.change(|state| state.add(id));
    }

    /// Takes the worker that has been free for longest. Blocks until one is free.
    ///
    /// # Panics
    /// If no worker of the pool lives. Unwinds soon after an interrupt.
    #[must_use]
    #[track_caller]
    pub fn take(&self) -> usize {
        self.try_take().or_raise()
    }

    /// As [`WorkerPool::take`].
    ///
    /// # Errors
    /// [`RemoteError::Refused`] if no worker of the pool lives.
    pub fn try_take(&self) -> Result<usize, RemoteError> {
        self.when_free(|state| state.free.pop_front())
    }

    /// Takes a worker for a call.
    pub(crate) fn lend(&self) -> Result<GiveBack, RemoteError> {
        let worker = self.when_free(|state| state.free.pop_front())?;
        let worker = u32::try_from(worker).expect("ids of processes are short");
        Ok(GiveBack { pool: self.clone(), worker })
    }

    /// Gives a worker back.
    ///
    /// # Panics
    /// If it is not in the pool, or free already.
    #[track_caller]
    pub fn put(&self, id: usize) {
        let problem = self.state.change(|state| {
            let short = u32::try_from(id).ok().filter(|id| state.workers.contains(id));
            match short {
                None => Some("is not in the pool"),
                Some(id) if state.free.contains(&id) => Some("is free already"),
                Some(id) => {
                    state.free.push_back(id);
                    None
                }
            }
        });
        if let Some(problem) = problem {
            panic!("worker {id} {problem}");
        }
    }

    /// Blocks until a worker is free, and leaves it so.
    ///
    /// # Panics
    /// As [`WorkerPool::take`].
    #[track_caller]
    pub fn wait(&self) {
        self.when_free(|state| state.free.front().copied()).map(drop).or_raise();
    }

    fn when_free(
        &self,
        mut pick: impl FnMut(&mut State) -> Option<u32>,
    ) -> Result<usize, RemoteError> {
        let node = node();
        let mut waits = None;
        let picked = self.state.wait(None, |state| {
            state.refresh(node);
            if state.workers.is_empty() {
                let what = "no active worker in the pool".to_owned();
                return Some(Err(RemoteError::Refused { worker: me() as usize, what }));
            }
            let picked = pick(state);
            if picked.is_none() && state.follows && waits.is_none() {
                waits = Some(Waiting::one());
            }
            picked.map(|id| Ok(id as usize))
        });
        picked.expect("without a deadline a wait ends with a worker")
    }

    /// Whether a worker is free.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let node = node();
        self.state.change(|state| {
            state.refresh(node);
            !state.free.is_empty()
        })
    }

    /// The number of workers, free or not.
    #[must_use]
    pub fn len(&self) -> usize {
        self.workers().len()
    }

    /// Whether no worker of the pool lives.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The ids of the workers, free or not.
    #[must_use]
    pub fn workers(&self) -> Vec<usize> {
        self.live().into_iter().map(|id| id as usize).collect()
    }

    /// Whether whoever becomes a worker is in it.
    pub(crate) fn follows(&self) -> bool {
        self.state.look(|state| state.follows)
    }

    pub(crate) fn live(&self) -> Vec<u32> {
        let node = node();
        self.state.change(|state| {
            state.refresh(node);
            state.workers.clone()
        })
    }
}

impl PartialEq for WorkerPool {
    fn eq(&self, other: &WorkerPool) -> bool {
        Arc::ptr_eq(&self.state, &other.state)
    }
}

impl Eq for WorkerPool {}

impl fmt::Debug for WorkerPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.state.look(|state| {
            write!(f, "WorkerPool(workers {:?}, free {:?})", state.workers, state.free)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distributed::remotecall_fetch;

    #[test]
    fn workers_are_taken_in_the_order_in_which_they_became_free() {
        let here = me() as usize;
        let pool = WorkerPool::new(&[here]);
        pool.push(here);
        assert_eq!((pool.len(), pool.is_ready()), (1, true));
        assert_eq!(pool.take(), here);
        assert!(!pool.is_ready());
        pool.put(here);
        pool.wait();
        assert_eq!(pool.workers(), [here]);
    }

    #[test]
    fn a_call_gives_its_worker_back_when_it_has_ended() {
        let pool = WorkerPool::new(&[me() as usize]);
        let lent = pool.lend().unwrap();
        assert!(!pool.is_ready());
        let sum = || remotecall_fetch(|a: i32, b: i32| a + b, &pool, (1, 2));
        drop(lent);
        assert_eq!((sum(), sum()), (3, 3));
        assert!(pool.is_ready());
    }

    #[test]
    fn a_pool_without_workers_says_so() {
        let error = WorkerPool::new(&[]).try_take().unwrap_err();
        assert!(error.to_string().contains("no active worker in the pool"), "{error}");
    }
}
