//! Where a call goes.

use super::error::RemoteError;
use super::node::Node;
use super::pool::{GiveBack, WorkerPool};
use super::procs;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The process that a call goes to.
///
/// ```
/// use parcell::distributed::Target;
///
/// assert_eq!(Target::from(2), Target::Process(2));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The process with this id.
    Process(usize),
    /// The worker that has the fewest calls of this process to end; this process if there is no
    /// worker.
    Any,
    /// The worker of the pool that has been free for longest. A call to a pool blocks until one is
    /// free, and gives it back when the call has ended.
    Pool(WorkerPool),
}

/// The process that was chosen.
pub(crate) struct Chosen {
    pub(crate) process: u32,
    /// Dropped when the call has ended.
    pub(crate) back: Option<GiveBack>,
}

impl From<&WorkerPool> for Target {
    fn from(pool: &WorkerPool) -> Target {
        Target::Pool(pool.clone())
    }
}

impl From<WorkerPool> for Target {
    fn from(pool: WorkerPool) -> Target {
        Target::Pool(pool)
    }
}

macro_rules! from_integer {
    ($($integer:ty),*) => { $(
        impl From<$integer> for Target {
            fn from(id: $integer) -> Target {
                // A negative id is as unknown as one that is too large.
                Target::Process(usize::try_from(id).unwrap_or(usize::MAX))
            }
        }

        impl From<&$integer> for Target {
            fn from(id: &$integer) -> Target {
                Target::from(*id)
            }
        }
    )* };
}

from_integer!(i32, i64, isize, u32, u64, usize);

impl Target {
    /// The process that is meant. Blocks until a pool has one that is free.
    pub(crate) fn choose(self, node: &Node) -> Result<Chosen, RemoteError> {
        let process = match self {
            Target::Process(id) => procs::checked(node, id)?,
            Target::Any => least_loaded(node),
            Target::Pool(pool) => {
                let back = pool.lend()?;
                return Ok(Chosen { process: back.worker, back: Some(back) });
            }
        };
        Ok(Chosen { process, back: None })
    }
}

fn least_loaded(node: &Node) -> u32 {
    // Among equals the next after the one that was chosen last.
    static TURN: AtomicUsize = AtomicUsize::new(0);
    let workers = node.peers.workers();
    let turn = TURN.fetch_add(1, Ordering::Relaxed);
    let rotated = (0..workers.len()).map(|i| workers[(turn + i) % workers.len()]);
    rotated.min_by_key(|id| node.calls.open(*id)).unwrap_or(node.id)
}
