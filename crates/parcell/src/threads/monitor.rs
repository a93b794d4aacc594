//! The one way in which tasks of this library wait: a state under a mutex, whose waiters look
//! again when it changes, when the user interrupts, and now and then for the crew's sake.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::crew::Blocked;
use crate::interrupt::{self, GLANCE};

#[derive(Debug, Default)]
pub(crate) struct Monitor<S> {
    shared: Mutex<Shared<S>>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Shared<S> {
    state: S,
    waiting: usize,
}

impl<S> Monitor<S> {
    pub(crate) const fn new(state: S) -> Monitor<S> {
        Monitor { shared: Mutex::new(Shared { state, waiting: 0 }), changed: Condvar::new() }
    }

    fn shared(&self) -> MutexGuard<'_, Shared<S>> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the state without waking anybody.
    pub(crate) fn look<R>(&self, look: impl FnOnce(&S) -> R) -> R {
        look(&self.shared().state)
    }

    /// Changes the state and lets all waiters look at it.
    pub(crate) fn change<R>(&self, change: impl FnOnce(&mut S) -> R) -> R {
        let mut shared = self.shared();
        let result = change(&mut shared.state);
        let waiting = shared.waiting > 0;
        drop(shared);
        if waiting {
            self.changed.notify_all();
        }
        result
    }

    /// Blocks until `ready` gives something, without end if there is no deadline; what `ready`
    /// changes is shown to other waiters once it has given something. `None` after the deadline.
    ///
    /// # Panics
    /// Unwinds with [`interrupt::Interrupted`] within 50 ms of an interrupt.
    pub(crate) fn wait<R>(
        &self,
        deadline: Option<Instant>,
        ready: impl FnMut(&mut S) -> Option<R>,
    ) -> Option<R> {
        self.wait_checking(deadline, interrupt::check, ready)
    }

    /// As [`Monitor::wait`], but goes on through interrupts: for what must be over before the
    /// caller may end.
    pub(crate) fn wait_out<R>(&self, ready: impl FnMut(&mut S) -> Option<R>) -> R {
        self.wait_checking(None, || (), ready).expect("without a deadline a wait ends with success")
    }

    fn wait_checking<R>(
        &self,
        deadline: Option<Instant>,
        check: fn(),
        mut ready: impl FnMut(&mut S) -> Option<R>,
    ) -> Option<R> {
        // Also where there is nothing to wait for: a loop of such calls must end, too.
        check();
        if let Some(result) = self.change_if(&mut ready) {
            return Some(result);
        }
        let mut blocked = Blocked::enter();
        loop {
            check();
            let left = deadline.map_or(GLANCE, |d| d.saturating_duration_since(Instant::now()));
            let silent = self.sleep_unless(left.min(GLANCE), &mut ready);
            match silent {
                Ok(result) => return Some(result),
                Err(_) if left.is_zero() => return None,
                Err(Silence(true)) => blocked.glance(),
                Err(Silence(false)) => {}
            }
        }
    }

    fn change_if<R>(&self, ready: &mut impl FnMut(&mut S) -> Option<R>) -> Option<R> {
        let mut shared = self.shared();
        let result = ready(&mut shared.state);
        let tell = result.is_some() && shared.waiting > 0;
        drop(shared);
        if tell {
            self.changed.notify_all();
        }
        result
    }

    /// Sleeps until a change, at most for `time`, if `ready` gives nothing now; then asks again.
    fn sleep_unless<R>(
        &self,
        time: Duration,
        ready: &mut impl FnMut(&mut S) -> Option<R>,
    ) -> Result<R, Silence> {
        let mut shared = self.shared();
        if let Some(result) = ready(&mut shared.state) {
            let tell = shared.waiting > 0;
            drop(shared);
            if tell {
                self.changed.notify_all();
            }
            return Ok(result);
        }
        shared.waiting += 1;
        let woken = self.changed.wait_timeout(shared, time);
        let (mut shared, timeout) = woken.unwrap_or_else(PoisonError::into_inner);
        shared.waiting -= 1;
        drop(shared);
        self.change_if(ready).ok_or(Silence(timeout.timed_out()))
    }
}

/// Whether nothing changed during a sleep.
struct Silence(bool);
