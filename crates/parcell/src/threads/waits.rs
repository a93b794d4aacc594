//! Waits for several tasks at once, and for any condition for a time.

use std::sync::Arc;

use super::monitor::Monitor;
use super::task::Task;
use crate::interrupt::Seconds;

/// What became of several tasks that were waited for: their places in the order in which they were
/// given, from 0, each list ascending.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Waited {
    /// Tasks that have ended, however they ended.
    pub done: Vec<usize>,
    /// Those of them that panicked or were interrupted; [`Task::try_fetch`] tells more.
    pub failed: Vec<usize>,
    /// Tasks that have not ended.
    pub remaining: Vec<usize>,
}

/// Blocks until one of the tasks has ended, however it ended. Returns at once if there are none.
///
/// The waiting thread runs none of them. Cost: a lock per task.
///
/// # Panics
/// If one of the tasks is the caller, or lies below it on its stack. Unwinds within 0.1 s of an
/// interrupt.
///
/// ```
/// use parcell::prelude::*;
/// use parcell::threads::waitany;
///
/// let gate = Channel::new(1);
/// let slow = spawn({ let gate = gate.clone(); move || gate.take() });
/// let tasks = [slow, spawn(|| 7)];
/// assert_eq!(waitany(&tasks).done, [1]);
/// gate.put(1);
/// assert_eq!(tasks[0].fetch(), 1);
/// ```
///
/// # Source
/// `waitany(tasks; throw=false)`, julia, `base/task.jl`.
pub fn waitany<'a, T: Send + 'a>(tasks: impl IntoIterator<Item = &'a Task<T>>) -> Waited {
    let tasks: Vec<&Task<T>> = tasks.into_iter().collect();
    listen(&tasks, |rung| rung.ended > 0);
    Waited::among(&tasks)
}

/// Blocks until all of the tasks have ended, however they ended; runs here those that nobody has
/// begun.
///
/// # Panics
/// If one of the tasks waits for itself. Unwinds within 0.1 s of an interrupt.
///
/// ```
/// use parcell::prelude::*;
/// use parcell::threads::waitall;
///
/// let tasks: Vec<Task<u32>> = (0..4).map(|i| spawn(move || 12 / (i % 3))).collect();
/// assert_eq!(waitall(&tasks).failed, [0, 3]); // which divided by 0
/// ```
///
/// # Source
/// `waitall(tasks; failfast=false, throw=false)`, julia, `base/task.jl`.
pub fn waitall<'a, T: Send + 'a>(tasks: impl IntoIterator<Item = &'a Task<T>>) -> Waited {
    let tasks: Vec<&Task<T>> = tasks.into_iter().collect();
    tasks.iter().for_each(|task| task.wait());
    Waited::among(&tasks)
}

/// Blocks until all of the tasks have ended, or one of them has failed. The others then go on.
///
/// The waiting thread runs none of them. Cost: a lock per task.
///
/// # Panics
/// As [`waitany`].
///
/// ```
/// use parcell::prelude::*;
/// use parcell::threads::waitall_failfast;
///
/// let gate: Channel<()> = Channel::new(1);
/// let slow = spawn({ let gate = gate.clone(); move || gate.take() });
/// let tasks = [slow, spawn(|| panic!("at once"))];
/// let waited = waitall_failfast(&tasks);
/// assert_eq!((waited.failed, waited.remaining), (vec![1], vec![0]));
/// gate.put(());
/// ```
///
/// # Source
/// `waitall(tasks; failfast=true, throw=false)`, julia, `base/task.jl`.
pub fn waitall_failfast<'a, T: Send + 'a>(tasks: impl IntoIterator<Item = &'a Task<T>>) -> Waited {
    let tasks: Vec<&Task<T>> = tasks.into_iter().collect();
    listen(&tasks, |rung| rung.failed || rung.ended == tasks.len());
    Waited::among(&tasks)
}

/// Blocks until the condition holds, but not longer than this, in seconds or as a
/// [`Duration`](std::time::Duration); whether it held. Looks at least once, and then every 20 ms.
///
/// # Panics
/// With the condition's own panic. Unwinds within 0.1 s of an interrupt.
///
/// ```
/// use parcell::prelude::*;
/// use parcell::threads::timedwait;
///
/// let task = spawn(|| 7);
/// assert!(timedwait(|| task.is_done(), 10));
/// assert!(!timedwait(|| false, 0.01));
/// ```
///
/// # Source
/// `timedwait(testcb, timeout)`, julia, `base/asyncevent.jl`.
#[must_use]
pub fn timedwait(mut condition: impl FnMut() -> bool, time: impl Into<Seconds>) -> bool {
    let deadline = time.into().deadline();
    Monitor::new(()).wait(deadline, |()| condition().then_some(())).is_some()
}

impl Waited {
    fn among<T>(tasks: &[&Task<T>]) -> Waited {
        // Looked at once: a task may end meanwhile.
        let (done, remaining): (Vec<_>, _) = (0..tasks.len()).partition(|i| tasks[*i].is_done());
        let failed = done.iter().copied().filter(|i| tasks[*i].is_failed()).collect();
        Waited { done, failed, remaining }
    }
}

/// Rings when a task ends.
pub(super) type Bell = Monitor<Rung>;

#[derive(Debug, Default)]
pub(super) struct Rung {
    ended: usize,
    failed: bool,
}

/// To be called when a task has ended.
pub(super) fn ring(bell: &Bell, failed: bool) {
    bell.change(|rung| {
        rung.ended += 1;
        rung.failed |= failed;
    });
}

/// Blocks until enough of the tasks have ended.
fn listen<T: Send>(tasks: &[&Task<T>], enough: impl Fn(&Rung) -> bool) {
    if tasks.is_empty() {
        return;
    }
    let hung = Hung { tasks, bell: Arc::default() };
    tasks.iter().for_each(|task| task.hang(&hung.bell));
    hung.bell.wait(None, |rung| enough(rung).then_some(()));
    // The tasks may have been faster than this thread to end by the same interrupt.
    crate::interrupt::check();
}

/// Takes the bell down again, so that a long task does not gather them.
struct Hung<'a, T: Send> {
    tasks: &'a [&'a Task<T>],
    bell: Arc<Bell>,
}

impl<T: Send> Drop for Hung<'_, T> {
    fn drop(&mut self) {
        self.tasks.iter().for_each(|task| task.unhang(&self.bell));
    }
}
