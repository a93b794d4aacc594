//! Locks, semaphores and events whose waits an interrupt ends, and which block only the task that
//! waits: other tasks go on, also in a pool of one thread.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, TryLockError};
use std::time::Instant;

use super::crew::Identity;
use super::monitor::Monitor;
use crate::interrupt::Seconds;

/// Lets at most so many tasks through at a time, as Julia's `Base.Semaphore`.
///
/// ```
/// use parcell::prelude::*;
/// use parcell::threads::Semaphore;
///
/// let seats = Semaphore::new(2);
/// let guests = Atomic::new(0);
/// sync(|s| {
///     for _ in 0..10 {
///         s.spawn(|| {
///             let _seat = seats.acquire();
///             assert!(guests.fetch_add(1) < 2);
///             guests.fetch_sub(1);
///         });
///     }
/// });
/// ```
#[derive(Debug)]
pub struct Semaphore(Monitor<usize>);

impl Semaphore {
    /// A semaphore with `permits` permits.
    ///
    /// # Panics
    /// If `permits` is 0.
    ///
    /// ```
    /// assert_eq!(parcell::threads::Semaphore::new(2).available(), 2);
    /// ```
    #[must_use]
    pub fn new(permits: usize) -> Semaphore {
        assert!(permits > 0, "a semaphore needs at least 1 permit, 0 were given");
        Semaphore(Monitor::new(permits))
    }

    /// Takes a permit, which the guard gives back when dropped. Blocks until there is one.
    ///
    /// # Panics
    /// Unwinds within 0.1 s of an interrupt.
    ///
    /// ```
    /// let semaphore = parcell::threads::Semaphore::new(2);
    /// let permit = semaphore.acquire();
    /// assert_eq!(semaphore.available(), 1);
    /// drop(permit);
    /// assert_eq!(semaphore.available(), 2);
    /// ```
    pub fn acquire(&self) -> Permit<'_> {
        self.acquire_until(None).expect("there is no deadline")
    }

    /// Takes a permit if there is one. Does not block.
    ///
    /// ```
    /// let semaphore = parcell::threads::Semaphore::new(1);
    /// let permit = semaphore.try_acquire();
    /// assert!(permit.is_some() && semaphore.try_acquire().is_none());
    /// ```
    pub fn try_acquire(&self) -> Option<Permit<'_>> {
        self.0.change(take_one).map(|()| Permit(self))
    }

    /// Takes a permit; blocks for a time only, in seconds or as a
    /// [`Duration`](std::time::Duration).
    ///
    /// # Panics
    /// Unwinds within 0.1 s of an interrupt.
    ///
    /// ```
    /// let semaphore = parcell::threads::Semaphore::new(1);
    /// let permit = semaphore.acquire();
    /// assert!(semaphore.acquire_within(0.01).is_none());
    /// # drop(permit);
    /// ```
    pub fn acquire_within(&self, time: impl Into<Seconds>) -> Option<Permit<'_>> {
        self.acquire_until(time.into().deadline())
    }

    fn acquire_until(&self, deadline: Option<Instant>) -> Option<Permit<'_>> {
        self.0.wait(deadline, take_one).map(|()| Permit(self))
    }

    /// Permits that could be taken now. Does not block.
    ///
    /// ```
    /// assert_eq!(parcell::threads::Semaphore::new(3).available(), 3);
    /// ```
    #[must_use]
    pub fn available(&self) -> usize {
        self.0.look(|permits| *permits)
    }
}

fn take_one(permits: &mut usize) -> Option<()> {
    *permits = permits.checked_sub(1)?;
    Some(())
}

/// A permit of a [`Semaphore`], given back when dropped.
#[derive(Debug)]
#[must_use = "the permit is given back as soon as this is dropped"]
pub struct Permit<'a>(&'a Semaphore);

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.0.0.change(|permits| *permits += 1);
    }
}

/// A gate that tasks wait at until it is notified, as Julia's `Base.Event`.
///
/// It stays open until [`reset`](Event::reset); one made by [`Event::autoreset`] lets one waiter
/// through for each notification, and remembers one if nobody waits.
///
/// ```
/// use parcell::prelude::*;
/// use parcell::threads::Event;
///
/// let start = Event::new();
/// let ran = Atomic::new(0);
/// sync(|s| {
///     for _ in 0..4 {
///         s.spawn(|| {
///             start.wait();
///             ran.fetch_add(1);
///         });
///     }
///     assert_eq!(ran.load(), 0);
///     start.notify();
/// });
/// assert_eq!(ran.load(), 4);
/// ```
#[derive(Debug)]
pub struct Event {
    is_set: Monitor<bool>,
    autoreset: bool,
}

impl Event {
    /// A closed gate that stays open once notified.
    ///
    /// ```
    /// assert!(!parcell::threads::Event::new().is_set());
    /// ```
    #[must_use]
    #[expect(clippy::new_without_default, reason = "a gate is either kind by its constructor")]
    pub const fn new() -> Event {
        Event { is_set: Monitor::new(false), autoreset: false }
    }

    /// A closed gate that lets one waiter through for each notification.
    ///
    /// ```
    /// let event = parcell::threads::Event::autoreset();
    /// event.notify();
    /// event.wait();
    /// assert!(!event.is_set());
    /// ```
    #[must_use]
    pub const fn autoreset() -> Event {
        Event { is_set: Monitor::new(false), autoreset: true }
    }

    /// Blocks until the event is set.
    ///
    /// # Panics
    /// Unwinds within 0.1 s of an interrupt.
    ///
    /// ```
    /// let event = parcell::threads::Event::new();
    /// event.notify();
    /// event.wait();
    /// ```
    pub fn wait(&self) {
        self.wait_until(None);
    }

    /// Blocks until the event is set, but for a time only, in seconds or as a
    /// [`Duration`](std::time::Duration); whether it was set.
    ///
    /// # Panics
    /// Unwinds within 0.1 s of an interrupt.
    ///
    /// ```
    /// assert!(!parcell::threads::Event::new().wait_within(0.01));
    /// ```
    #[must_use]
    pub fn wait_within(&self, time: impl Into<Seconds>) -> bool {
        self.wait_until(time.into().deadline())
    }

    fn wait_until(&self, deadline: Option<Instant>) -> bool {
        let pass = |is_set: &mut bool| {
            let open = *is_set;
            *is_set = open && !self.autoreset;
            open.then_some(())
        };
        self.is_set.wait(deadline, pass).is_some()
    }

    /// Sets the event. Does not block.
    ///
    /// ```
    /// let event = parcell::threads::Event::new();
    /// event.notify();
    /// assert!(event.is_set());
    /// ```
    pub fn notify(&self) {
        self.is_set.change(|is_set| *is_set = true);
    }

    /// Unsets the event. Does not block.
    ///
    /// ```
    /// let event = parcell::threads::Event::new();
    /// event.notify();
    /// event.reset();
    /// assert!(!event.is_set());
    /// ```
    pub fn reset(&self) {
        self.is_set.change(|is_set| *is_set = false);
    }

    /// Whether a wait would pass now. Does not block.
    ///
    /// ```
    /// assert!(!parcell::threads::Event::new().is_set());
    /// ```
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.is_set.look(|is_set| *is_set)
    }
}

/// A value that one task at a time can reach, as Julia's `Lockable`.
///
/// Unlike [`std::sync::Mutex`] an interrupt ends the wait for it, tasks go on while one waits, and
/// a panic of the holder does not poison it. Not reentrant: a task that locks it again waits until
/// an interrupt.
///
/// ```
/// use parcell::prelude::*;
/// use parcell::threads::Lock;
///
/// let words = Lock::new(Vec::new());
/// sync(|s| {
///     for word in ["a", "b", "c"] {
///         let words = &words;
///         s.spawn(move || words.lock().push(word));
///     }
/// });
/// assert_eq!(words.into_inner().len(), 3);
/// ```
#[derive(Default)]
pub struct Lock<T> {
    held: Monitor<bool>,
    /// Locked only by who has set `held`, so never contended.
    value: Mutex<T>,
}

impl<T> Lock<T> {
    /// An open lock around a value.
    ///
    /// ```
    /// assert_eq!(*parcell::threads::Lock::new(7).lock(), 7);
    /// ```
    pub const fn new(value: T) -> Lock<T> {
        Lock { held: Monitor::new(false), value: Mutex::new(value) }
    }

    /// Locks; the guard reaches the value and unlocks when dropped. Blocks while another holds it.
    ///
    /// # Panics
    /// Unwinds within 0.1 s of an interrupt.
    ///
    /// ```
    /// let lock = parcell::threads::Lock::new(1);
    /// *lock.lock() += 1;
    /// assert_eq!(lock.into_inner(), 2);
    /// ```
    pub fn lock(&self) -> LockGuard<'_, T> {
        self.held.wait(None, hold).expect("there is no deadline");
        self.guard()
    }

    /// Locks if nobody holds it. Does not block.
    ///
    /// ```
    /// let lock = parcell::threads::Lock::new(1);
    /// let guard = lock.lock();
    /// assert!(lock.try_lock().is_none());
    /// # drop(guard);
    /// ```
    pub fn try_lock(&self) -> Option<LockGuard<'_, T>> {
        self.held.change(hold).map(|()| self.guard())
    }

    fn guard(&self) -> LockGuard<'_, T> {
        let value = match self.value.try_lock() {
            Ok(value) => value,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => unreachable!("its holder unlocks it first"),
        };
        LockGuard { value: Some(value), lock: self }
    }

    /// Whether somebody holds it now. Does not block.
    ///
    /// ```
    /// assert!(!parcell::threads::Lock::new(1).is_locked());
    /// ```
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.held.look(|held| *held)
    }

    /// Gives the value back.
    ///
    /// ```
    /// assert_eq!(parcell::threads::Lock::new(1).into_inner(), 1);
    /// ```
    pub fn into_inner(self) -> T {
        self.value.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn hold(held: &mut bool) -> Option<()> {
    let free = !*held;
    *held = true;
    free.then_some(())
}

impl<T: fmt::Debug> fmt::Debug for Lock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.try_lock() {
            Some(value) => write!(f, "Lock({:?})", *value),
            None => write!(f, "Lock(<locked>)"),
        }
    }
}

/// Reaches the value of a [`Lock`], and unlocks it when dropped.
#[must_use = "the lock is opened as soon as this is dropped"]
pub struct LockGuard<'a, T> {
    value: Option<MutexGuard<'a, T>>,
    lock: &'a Lock<T>,
}

impl<'a, T> LockGuard<'a, T> {
    /// What it has locked.
    pub(super) fn owner(&self) -> &'a Lock<T> {
        self.lock
    }
}

impl<T> Deref for LockGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value.as_deref().expect("only `drop` empties it")
    }
}

impl<T> DerefMut for LockGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.value.as_deref_mut().expect("only `drop` empties it")
    }
}

impl<T> Drop for LockGuard<'_, T> {
    fn drop(&mut self) {
        drop(self.value.take());
        self.lock.held.change(|held| *held = false);
    }
}

impl<T: fmt::Debug> fmt::Debug for LockGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// A lock that its holder may lock again, as Julia's `ReentrantLock`. It guards no value of its
/// own: holders could reach it twice.
///
/// The holder is a task; outside tasks it is the thread. rayon may run other work on a thread that
/// waits for rayon: such work counts as the task below it, so call no rayon function while you
/// hold the lock.
///
/// ```
/// use parcell::threads::ReentrantLock;
///
/// let lock = ReentrantLock::new();
/// let outer = lock.lock();
/// let inner = lock.lock();
/// drop(outer);
/// assert!(lock.is_locked());
/// drop(inner);
/// assert!(!lock.is_locked());
/// ```
#[derive(Debug, Default)]
pub struct ReentrantLock(Monitor<Option<(Identity, usize)>>);

impl ReentrantLock {
    /// An open lock.
    ///
    /// ```
    /// assert!(!parcell::threads::ReentrantLock::new().is_locked());
    /// ```
    #[must_use]
    pub const fn new() -> ReentrantLock {
        ReentrantLock(Monitor::new(None))
    }

    /// Locks, once more if this task holds it; each guard unlocks once when dropped. Blocks while
    /// another task holds it.
    ///
    /// # Panics
    /// Unwinds within 0.1 s of an interrupt.
    ///
    /// ```
    /// let lock = parcell::threads::ReentrantLock::new();
    /// let _outer = lock.lock();
    /// let _inner = lock.lock();
    /// ```
    pub fn lock(&self) -> ReentrantGuard<'_> {
        let me = Identity::current();
        self.0.wait(None, |holder| enter(holder, me)).expect("there is no deadline");
        ReentrantGuard { lock: self, thread: PhantomData }
    }

    /// Locks, unless another task holds it. Does not block.
    ///
    /// ```
    /// assert!(parcell::threads::ReentrantLock::new().try_lock().is_some());
    /// ```
    pub fn try_lock(&self) -> Option<ReentrantGuard<'_>> {
        let me = Identity::current();
        let entered = self.0.change(|holder| enter(holder, me));
        entered.map(|()| ReentrantGuard { lock: self, thread: PhantomData })
    }

    /// Whether somebody holds it now. Does not block.
    ///
    /// ```
    /// assert!(!parcell::threads::ReentrantLock::new().is_locked());
    /// ```
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.0.look(Option::is_some)
    }
}

fn enter(holder: &mut Option<(Identity, usize)>, me: Identity) -> Option<()> {
    let (by, times) = holder.get_or_insert((me, 0));
    *times += usize::from(*by == me);
    (*by == me).then_some(())
}

/// One hold of a [`ReentrantLock`], given up when dropped. Stays on its thread.
#[derive(Debug)]
#[must_use = "the lock is given up as soon as this is dropped"]
pub struct ReentrantGuard<'a> {
    lock: &'a ReentrantLock,
    thread: PhantomData<*const ()>,
}

impl Drop for ReentrantGuard<'_> {
    fn drop(&mut self) {
        self.lock.0.change(|holder| {
            if let Some((_, times)) = holder {
                *times -= 1;
                if *times == 0 {
                    *holder = None;
                }
            }
        });
    }
}
