//! How much work waits for a free worker: what adaptive workers grow by.

use std::sync::atomic::{AtomicUsize, Ordering};

/// The calls that wait, of all maps and pools of this process.
static WAITING: AtomicUsize = AtomicUsize::new(0);

/// How many calls wait for a free worker.
pub(crate) fn waiting() -> usize {
    WAITING.load(Ordering::Relaxed)
}

/// Calls of one map or pool that wait, until this is dropped.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    calls: usize,
}

impl Waiting {
    /// One call that waits.
    pub(crate) fn one() -> Waiting {
        let mut waiting = Waiting::default();
        waiting.set(1);
        waiting
    }

    /// Now so many wait.
    pub(crate) fn set(&mut self, calls: usize) {
        // Modulo the width of the number, so that either order of two changes is right at the end.
        WAITING.fetch_add(calls.wrapping_sub(self.calls), Ordering::Relaxed);
        self.calls = calls;
    }

    /// How many wait.
    pub(crate) fn calls(&self) -> usize {
        self.calls
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.set(0);
    }
}
