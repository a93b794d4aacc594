//! Workers that share a kind of work.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use super::error::{OrRaise, RemoteError};
use super::node::{Node, me, node};
use super::procs;
use crate::threads::Monitor;

/// Some of the workers, to be taken and given back one at a time, in the order in which they became
/// free; also a choice of workers for [`pmap`](super::pmap()) and `distributed!`. Copies are the same
/// pool. Workers that are gone leave it when they would be taken.
///
/// ```no_run
/// use parcell::prelude::*;
///
/// let pool = WorkerPool::new(&addprocs(2));
/// let worker = pool.take();
/// let answer = fetch_from!(worker, 6 * 7);
/// pool.put(worker);
/// let squares = pmap(|x: i32| x * x, 0..10).pool(&pool).collect();
/// assert_eq!((answer, squares[3]), (42, 9));
/// ```
///
/// # Source
/// `WorkerPool`, Julia's Distributed. Unlike there, a pool does not travel to other processes. Nor is
/// a `CachingPool` needed: every worker keeps the functions that were sent to it until their last
/// handle is dropped.
#[derive(Clone)]
pub struct WorkerPool {
    state: Arc<Monitor<State>>,
}

#[derive(Debug, Default)]
struct State {
    workers: Vec<u32>,
    free: VecDeque<u32>,
}

impl State {
    /// Drops those that are gone.
    fn refresh(&mut self, node: &Node) {
        let lives = |id: &u32| *id == node.id || node.peers.is_alive(*id);
        self.workers.retain(lives);
        self.free.retain(lives);
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
        self.state.change(|state| {
            if !state.workers.contains(&id) {
                state.workers.push(id);
                state.free.push_back(id);
            }
        });
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
        let picked = self.state.wait(None, |state| {
            state.refresh(node);
            if state.workers.is_empty() {
                let what = "no active worker in the pool".to_owned();
                return Some(Err(RemoteError::Refused { worker: me() as usize, what }));
            }
            pick(state).map(|id| Ok(id as usize))
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

    pub(crate) fn live(&self) -> Vec<u32> {
        let node = node();
        self.state.change(|state| {
            state.refresh(node);
            state.workers.clone()
        })
    }
}

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
    fn a_pool_without_workers_says_so() {
        let error = WorkerPool::new(&[]).try_take().unwrap_err();
        assert!(error.to_string().contains("no active worker in the pool"), "{error}");
    }
}
