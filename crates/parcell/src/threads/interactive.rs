//! The interactive pool: a few threads that do not compute, so that a server, a progress bar or a
//! timer is answered while all threads of the default pool are busy.

use std::cell::Cell;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rayon::{ThreadPool, ThreadPoolBuilder};

use super::{AttachError, pin};

/// Threads that the interactive pool gets unless told otherwise.
pub(crate) const DEFAULT_SIZE: usize = 1;

struct Interactive {
    size: usize,
    /// Started by the first task.
    pool: Option<Arc<ThreadPool>>,
}

static INTERACTIVE: Mutex<Interactive> = Mutex::new(Interactive { size: DEFAULT_SIZE, pool: None });

thread_local! {
    static MEMBER: Cell<bool> = const { Cell::new(false) };
}

fn interactive() -> MutexGuard<'static, Interactive> {
    INTERACTIVE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Number of threads of the interactive pool; 1 unless told otherwise, by `%threads N,M`. They
/// start with the pool's first task.
///
/// ```
/// assert_eq!(parcell::threads::interactive_threads(), 1);
/// ```
///
/// # Source
/// `Threads.threadpoolsize(:interactive)`, julia, `base/threadingconstructs.jl`.
#[must_use]
pub fn interactive_threads() -> usize {
    interactive().size
}

/// Gives the interactive pool `n` threads; with 0 its tasks go to the default pool. Does not
/// block: threads of another size end after the tasks that they were given.
///
/// ```standalone_crate
/// use parcell::threads::{interactive_threads, set_interactive_threads};
///
/// set_interactive_threads(2);
/// assert_eq!(interactive_threads(), 2);
/// ```
pub fn set_interactive_threads(n: usize) {
    let mut interactive = interactive();
    if interactive.size != n {
        *interactive = Interactive { size: n, pool: None };
    }
}

/// Whether this thread belongs to the interactive pool.
pub(super) fn is_member() -> bool {
    MEMBER.get()
}

/// The pool, started if it was not; `None` if it has no threads.
pub(super) fn pool() -> Result<Option<Arc<ThreadPool>>, AttachError> {
    let mut interactive = interactive();
    if interactive.size > 0 && interactive.pool.is_none() {
        interactive.pool = Some(Arc::new(start(interactive.size)?));
    }
    Ok(interactive.pool.clone())
}

fn start(n: usize) -> Result<ThreadPool, AttachError> {
    let builder = ThreadPoolBuilder::new()
        .num_threads(n)
        .thread_name(|index| format!("interactive-{index}"))
        .panic_handler(super::pool::report_panic)
        .start_handler(|_| {
            MEMBER.set(true);
            // Where the system refuses, the thread stays on its maker's core.
            let _ = pin::release();
        });
    builder.build().map_err(|source| AttachError::Refused { wanted: n, source })
}
