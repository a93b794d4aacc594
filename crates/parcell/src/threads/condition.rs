//! Waits for a change of what a lock guards.

use std::collections::BTreeSet;

use super::locks::LockGuard;
use super::monitor::Monitor;
use crate::interrupt::Seconds;

/// What tasks wait at for a change of the value in a [`Lock`](super::Lock), as Julia's
/// `Threads.Condition`.
///
/// Unlike with [`std::sync::Condvar`] an interrupt ends the wait, other tasks go on meanwhile, no
/// wait ends without a notification, and the first to wait is the first to be notified. Still,
/// another task may have changed the value before a notified one has the lock:
/// [`wait_while`](Condition::wait_while) looks again.
///
/// ```
/// use parcell::prelude::*;
/// use parcell::threads::{Condition, Lock};
///
/// let (level, rises) = (Lock::new(0), Condition::new());
/// sync(|s| {
///     s.spawn(|| {
///         let level = rises.wait_while(level.lock(), |level| *level < 3);
///         assert_eq!(*level, 3);
///     });
///     for _ in 0..3 {
///         *level.lock() += 1;
///         rises.notify_all();
///     }
/// });
/// ```
#[derive(Debug, Default)]
pub struct Condition(Monitor<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    /// The tickets of those that wait; the first to come has the smallest.
    tickets: BTreeSet<u64>,
    next: u64,
}

impl Condition {
    /// A condition that nobody waits for.
    ///
    /// ```
    /// assert_eq!(parcell::threads::Condition::new().notify_all(), 0);
    /// ```
    #[must_use]
    pub const fn new() -> Condition {
        Condition(Monitor::new(Waiting { tickets: BTreeSet::new(), next: 0 }))
    }

    /// Unlocks, blocks until notified, and locks again.
    ///
    /// # Panics
    /// Unwinds, without the lock, within 0.1 s of an interrupt.
    ///
    /// ```
    /// use parcell::prelude::*;
    /// use parcell::threads::{Condition, Lock};
    ///
    /// let (ready, changed) = (Lock::new(false), Condition::new());
    /// sync(|s| {
    ///     let guard = ready.lock();
    ///     s.spawn(|| {
    ///         *ready.lock() = true; // not before the wait has unlocked it
    ///         changed.notify_one();
    ///     });
    ///     assert!(*changed.wait(guard));
    /// });
    /// ```
    pub fn wait<'a, T>(&self, guard: LockGuard<'a, T>) -> LockGuard<'a, T> {
        self.wait_until(guard, None).0
    }

    /// As [`Condition::wait`], for a time only, in seconds or as a
    /// [`Duration`](std::time::Duration); and whether it was notified. The lock is waited for
    /// without end.
    ///
    /// # Panics
    /// Unwinds, without the lock, within 0.1 s of an interrupt.
    ///
    /// ```
    /// use parcell::threads::{Condition, Lock};
    ///
    /// let (value, never) = (Lock::new(7), Condition::new());
    /// let (guard, notified) = never.wait_within(value.lock(), 0.01);
    /// assert_eq!((*guard, notified), (7, false));
    /// ```
    pub fn wait_within<'a, T>(
        &self,
        guard: LockGuard<'a, T>,
        time: impl Into<Seconds>,
    ) -> (LockGuard<'a, T>, bool) {
        self.wait_until(guard, time.into().deadline())
    }

    /// Waits as long as the condition holds for the value. Looks at it at once and after each
    /// notification, with the lock.
    ///
    /// # Panics
    /// As [`Condition::wait`], and with the condition's own panic.
    ///
    /// ```
    /// use parcell::threads::{Condition, Lock};
    ///
    /// let (value, changed) = (Lock::new(7), Condition::new());
    /// assert_eq!(*changed.wait_while(value.lock(), |value| *value == 0), 7);
    /// ```
    pub fn wait_while<'a, T>(
        &self,
        mut guard: LockGuard<'a, T>,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> LockGuard<'a, T> {
        while condition(&mut guard) {
            guard = self.wait(guard);
        }
        guard
    }

    fn wait_until<'a, T>(
        &self,
        guard: LockGuard<'a, T>,
        deadline: Option<std::time::Instant>,
    ) -> (LockGuard<'a, T>, bool) {
        let lock = guard.owner();
        // Before the lock is given up: no notification can be missed.
        let ticket = Ticket { of: self, number: self.0.change(Waiting::join) };
        drop(guard);
        let called = |waiting: &mut Waiting| !waiting.tickets.contains(&ticket.number);
        let notified = self.0.wait(deadline, |waiting| called(waiting).then_some(())).is_some();
        // One that comes just after the time is not lost, either.
        let notified = notified | !ticket.give_back();
        (lock.lock(), notified)
    }

    /// Lets the task that waits longest go on; whether any waited. Does not block. Whoever changes
    /// the value must have locked it, whoever notifies need not.
    ///
    /// ```
    /// assert!(!parcell::threads::Condition::new().notify_one());
    /// ```
    pub fn notify_one(&self) -> bool {
        self.0.change(|waiting| waiting.tickets.pop_first().is_some())
    }

    /// Lets all tasks go on that wait; how many did. Does not block.
    ///
    /// ```
    /// assert_eq!(parcell::threads::Condition::new().notify_all(), 0);
    /// ```
    pub fn notify_all(&self) -> usize {
        self.0.change(|waiting| std::mem::take(&mut waiting.tickets).len())
    }
}

impl Waiting {
    fn join(&mut self) -> u64 {
        self.next += 1;
        self.tickets.insert(self.next);
        self.next
    }
}

/// A place among those that wait, also given back when the wait unwinds: notifications are for
/// those that are there.
struct Ticket<'a> {
    of: &'a Condition,
    number: u64,
}

impl Ticket<'_> {
    /// Whether it was still there.
    fn give_back(&self) -> bool {
        self.of.0.change(|waiting| waiting.tickets.remove(&self.number))
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.give_back();
    }
}
