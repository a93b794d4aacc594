//! Interrupts: the front end's stop button sets a flag for the whole process, and code that checks
//! it unwinds to the end of its cell. Variables survive. Code that never checks runs on until the
//! kernel ends the process.
//!
//! Long computations cooperate by checking now and then, on any thread; rayon carries the unwinding
//! from its threads to the cell:
//!
//! ```
//! use parcell::interrupt;
//! use parcell::prelude::*;
//!
//! let sum: u64 = (0..1_000_u64)
//!     .into_par_iter()
//!     .map(|row| {
//!         interrupt::check();
//!         (0..1_000).map(|column| row ^ column).sum::<u64>()
//!     })
//!     .sum();
//! assert_eq!(sum, 511_213_536);
//! ```

use std::panic::resume_unwind;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

static PENDING: AtomicBool = AtomicBool::new(false);

/// Whoever sleeps or waits looks this often whether it was interrupted.
pub(crate) const GLANCE: Duration = Duration::from_millis(20);

/// What [`check`] unwinds with. The driver knows an interrupted cell by it; to others it is opaque.
#[derive(Debug)]
pub struct Interrupted(());

/// Asks all running cells' code to stop. Async-signal-safe: one atomic store.
///
/// ```standalone_crate
/// use parcell::interrupt;
///
/// interrupt::raise();
/// assert!(interrupt::pending());
/// interrupt::clear();
/// assert!(!interrupt::pending());
/// ```
pub fn raise() {
    PENDING.store(true, Ordering::Relaxed);
}

/// Forgets an interrupt. The driver does so before each cell.
///
/// ```standalone_crate
/// parcell::interrupt::clear();
/// assert!(!parcell::interrupt::pending());
/// ```
pub fn clear() {
    match FORGET.get() {
        Some(forget) if PENDING.load(Ordering::Relaxed) => forget(),
        _ => forget_here(),
    }
}

/// How an interrupt is forgotten that other processes may have to be told of first.
static FORGET: OnceLock<fn()> = OnceLock::new();

/// Sets how a pending interrupt is forgotten; `forget` ends with [`forget_here`].
pub(crate) fn forget_by(forget: fn()) {
    FORGET.get_or_init(|| forget);
}

pub(crate) fn forget_here() {
    PENDING.store(false, Ordering::Relaxed);
}

/// Whether the cell was asked to stop: for code that tidies up and returns instead of unwinding.
///
/// ```
/// let mut steps = 0;
/// while steps < 10 && !parcell::interrupt::pending() {
///     steps += 1;
/// }
/// assert_eq!(steps, 10);
/// ```
#[must_use]
#[inline]
pub fn pending() -> bool {
    #[cfg(test)]
    testing::quiet_in_tests();
    PENDING.load(Ordering::Relaxed)
}

/// Stops here if the cell was asked to stop. Costs one atomic load otherwise. Does nothing on a
/// thread that is already unwinding, so it may stand in `drop`.
///
/// # Panics
/// Unwinds with [`Interrupted`], without a message, if an interrupt is pending.
///
/// ```standalone_crate
/// use parcell::interrupt;
///
/// interrupt::check();
/// interrupt::raise();
/// let stopped = std::panic::catch_unwind(interrupt::check).unwrap_err();
/// assert!(stopped.is::<interrupt::Interrupted>());
/// # interrupt::clear();
/// ```
#[inline]
pub fn check() {
    if pending() && !std::thread::panicking() {
        stop();
    }
}

#[cold]
fn stop() {
    resume_unwind(Box::new(Interrupted(())))
}

/// A time span given as seconds or as a [`Duration`].
///
/// ```
/// use parcell::interrupt::Seconds;
/// use std::time::Duration;
///
/// assert_eq!(Seconds::from(0.5), Seconds::from(Duration::from_millis(500)));
/// assert_eq!(Seconds::from(2), Seconds::from(2.0));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seconds(Duration);

impl Seconds {
    /// When this time is over; `None` if that is beyond what the clock can tell.
    pub(crate) fn deadline(self) -> Option<Instant> {
        Instant::now().checked_add(self.0)
    }

    pub(crate) fn is_zero(self) -> bool {
        self.0.is_zero()
    }
}

impl From<Seconds> for Duration {
    fn from(Seconds(duration): Seconds) -> Duration {
        duration
    }
}

impl From<Duration> for Seconds {
    fn from(duration: Duration) -> Seconds {
        Seconds(duration)
    }
}

impl From<f64> for Seconds {
    /// Negative numbers and NaN become zero, numbers too large for a [`Duration`] its maximum.
    fn from(seconds: f64) -> Seconds {
        let longest = if seconds > 0.0 { Duration::MAX } else { Duration::ZERO };
        Seconds(Duration::try_from_secs_f64(seconds).unwrap_or(longest))
    }
}

impl From<i32> for Seconds {
    /// Negative numbers become zero.
    fn from(seconds: i32) -> Seconds {
        Seconds(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
    }
}

/// Waits: `sleep(0.5)`, `sleep(2)` or `sleep(Duration)`. Blocks this thread only.
///
/// # Panics
/// Unwinds with [`Interrupted`] within 50 ms of an interrupt.
///
/// ```
/// use parcell::prelude::*;
///
/// let start = std::time::Instant::now();
/// sleep(0.05);
/// assert!(start.elapsed().as_secs_f64() >= 0.05);
/// ```
pub fn sleep(time: impl Into<Seconds>) {
    let Seconds(time) = time.into();
    let start = Instant::now();
    loop {
        check();
        match time.checked_sub(start.elapsed()) {
            None | Some(Duration::ZERO) => return,
            Some(left) => std::thread::sleep(left.min(GLANCE)),
        }
    }
}

/// The same items, with a [`check`] before each.
///
/// # Panics
/// The iterator unwinds with [`Interrupted`] when an interrupt is pending.
///
/// ```
/// use parcell::interrupt::interruptible;
///
/// let mut sum = 0;
/// for i in interruptible(0..1_000_000_u64) {
///     sum += i;
/// }
/// assert_eq!(sum, 499_999_500_000);
/// ```
pub fn interruptible<I: IntoIterator>(items: I) -> Interruptible<I::IntoIter> {
    Interruptible(items.into_iter())
}

/// Made by [`interruptible`].
#[derive(Debug, Clone)]
pub struct Interruptible<I>(I);

impl<I: Iterator> Iterator for Interruptible<I> {
    type Item = I::Item;

    fn next(&mut self) -> Option<I::Item> {
        check();
        self.0.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl<I: DoubleEndedIterator> DoubleEndedIterator for Interruptible<I> {
    fn next_back(&mut self) -> Option<I::Item> {
        check();
        self.0.next_back()
    }
}

impl<I: ExactSizeIterator> ExactSizeIterator for Interruptible<I> {}

/// Keeps apart the tests that raise the flag of the process and those that it would end.
#[cfg(test)]
pub(crate) mod testing {
    use std::cell::RefCell;
    use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

    static RAISED: RwLock<()> = RwLock::new(());

    enum Part {
        Quiet(
            #[expect(dead_code, reason = "held until the test's thread ends")]
            RwLockReadGuard<'static, ()>,
        ),
        Alone,
    }

    thread_local! {
        static PART: RefCell<Option<Part>> = const { RefCell::new(None) };
    }

    /// From now until its end no other test interrupts this one. A test whose own thread looks at the
    /// flag needs not call this.
    pub(crate) fn quiet() {
        let known = PART.with_borrow(Option::is_some);
        if !known {
            let guard = RAISED.read().unwrap_or_else(PoisonError::into_inner);
            PART.set(Some(Part::Quiet(guard)));
        }
    }

    /// No test that could be interrupted runs until the guard is dropped.
    pub(crate) fn alone() -> RwLockWriteGuard<'static, ()> {
        PART.set(None);
        let guard = RAISED.write().unwrap_or_else(PoisonError::into_inner);
        PART.set(Some(Part::Alone));
        guard
    }

    /// `quiet`, on the thread of a test: those have the test's path as their name.
    pub(super) fn quiet_in_tests() {
        if std::thread::current().name().is_some_and(|name| name.contains("::")) {
            quiet();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::mpsc::channel;

    fn interrupted(work: impl FnOnce()) -> bool {
        let stopped = catch_unwind(AssertUnwindSafe(work));
        stopped.is_err_and(|payload| payload.is::<Interrupted>())
    }

    #[test]
    fn a_sleep_of_hours_ends_soon_after_an_interrupt() {
        let _alone = crate::interrupt::testing::alone();
        let (started, has_started) = channel();
        let sleeper = std::thread::spawn(move || {
            started.send(()).unwrap();
            interrupted(|| sleep(3600))
        });
        has_started.recv().unwrap();
        let raised = Instant::now();
        raise();
        assert!(sleeper.join().unwrap());
        assert!(raised.elapsed() < Duration::from_secs(1));
        clear();
    }

    #[test]
    fn an_iterator_stops_between_items() {
        let _alone = crate::interrupt::testing::alone();
        let mut seen = 0;
        let stopped = interrupted(|| {
            for i in interruptible(0..) {
                seen = i;
                if i == 3 {
                    raise();
                }
            }
        });
        clear();
        assert!(stopped);
        assert_eq!(seen, 3);
    }

    #[test]
    fn rayon_carries_an_interrupt_to_the_caller() {
        let _alone = crate::interrupt::testing::alone();
        raise();
        let stopped = interrupted(|| {
            rayon::join(check, check);
        });
        clear();
        assert!(stopped);
    }

    #[test]
    fn absurd_times_are_no_panic() {
        assert_eq!(Seconds::from(-1.0), Seconds::from(0));
        assert_eq!(Seconds::from(f64::NAN), Seconds::from(0));
        assert_eq!(Seconds::from(f64::INFINITY), Seconds(Duration::MAX));
        assert_eq!(Seconds::from(-5), Seconds::from(0));
    }
}
