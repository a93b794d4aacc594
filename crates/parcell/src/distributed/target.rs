//! Where a call goes.

use super::error::RemoteError;
use super::node::Node;
use super::procs;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The process that a call goes to.
///
/// ```
/// use parcell::distributed::Target;
///
/// assert_eq!(Target::from(2), Target::Process(2));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The process with this id.
    Process(usize),
    /// The worker that has the fewest calls of this process to end; this process if there is no
    /// worker.
    Any,
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
    /// The process that is meant.
    pub(crate) fn choose(self, node: &Node) -> Result<u32, RemoteError> {
        match self {
            Target::Process(id) => procs::checked(node, id),
            Target::Any => Ok(least_loaded(node)),
        }
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
