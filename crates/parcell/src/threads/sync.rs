//! `sync`: a block that ends when all tasks spawned in it have ended, as Julia's `@sync`.

use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_queue::SegQueue;

use super::crew::{self, Frame, Source};
use super::monitor::Monitor;
use super::task::TaskError;
use crate::interrupt::{self, Interrupted};

/// Some tasks of a [`sync`] block failed: all of them, in the order of spawning.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} of {spawned} tasks failed:{}", failures.len(), lines(failures))]
#[non_exhaustive]
pub struct SyncError {
    /// The tasks that failed.
    pub failures: Vec<TaskFailure>,
    /// The number of tasks that the block spawned.
    pub spawned: usize,
}

/// One task of a [`sync`] block that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TaskFailure {
    /// Which task: 0 is the first that the block spawned.
    pub index: usize,
    /// What became of it.
    pub error: TaskError,
}

impl fmt::Display for TaskFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "task {}: {}", self.index, self.error)
    }
}

fn lines(failures: &[TaskFailure]) -> String {
    failures.iter().map(|failure| format!("\n  {failure}")).collect()
}

/// Runs the block, waits for all tasks that it spawned with [`Scope::spawn`], and returns the
/// block's value. The tasks may borrow what lives outside the block, and may spawn more tasks
/// into it.
///
/// Blocks until all tasks have ended, also if some fail; the waiting thread runs tasks of this
/// block. The first call costs some microseconds, each task a tenth of one.
///
/// Follows Julia's `@sync`.
///
/// # Panics
/// If tasks panicked, with the text of a [`SyncError`] that lists them all. With the block's own
/// panic if it panicked. An interrupt drops tasks that have not begun and unwinds when those that
/// run have ended, at their next [check](interrupt::check) or wait.
///
/// ```
/// use parcell::prelude::*;
///
/// let words = ["one", "two", "three"];
/// let letters = Atomic::new(0);
/// sync(|s| {
///     for word in &words {
///         s.spawn(|| {
///             letters.fetch_add(word.len());
///         });
///     }
/// });
/// assert_eq!(letters.load(), 11);
/// ```
#[track_caller]
pub fn sync<'env, R, F>(block: F) -> R
where
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> R,
{
    match try_sync(block) {
        Ok(value) => value,
        Err(error) => panic!("{error}"),
    }
}

/// [`sync`], with the tasks' failures as an error.
///
/// # Errors
/// [`SyncError`] if tasks panicked.
///
/// # Panics
/// With the block's own panic if it panicked. After an interrupt as [`sync`].
///
/// ```
/// use parcell::threads::try_sync;
///
/// let error = try_sync(|s| {
///     s.spawn(|| ());
///     s.spawn(|| panic!("no luck"));
/// })
/// .unwrap_err();
/// assert_eq!((error.failures[0].index, error.spawned), (1, 2));
/// assert!(error.to_string().contains("no luck"));
/// ```
pub fn try_sync<'env, R, F>(block: F) -> Result<R, SyncError>
where
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> R,
{
    match gather(block) {
        (_, Outcome::Interrupted(payload)) | (Err(payload), _) => resume_unwind(payload),
        (Ok(_), Outcome::Failed(error)) => Err(error),
        (Ok(value), Outcome::Succeeded) => Ok(value),
    }
}

/// Calls `work` with 0, 1, … `n - 1`, in turn; meanwhile other threads may do so, too, with some of
/// these. Blocks until no call is running. `work` must not unwind.
///
/// The caller takes up no other work while it waits, unlike in a wait for rayon: what it took up
/// could wait for a task that some other thread has begun, and that thread likewise for the task
/// that the caller is in.
pub(super) fn with_help(n: usize, work: impl Fn(usize) + Sync) {
    let work = &work;
    // After an interrupt others do not begin. The caller knows by itself whether to go on.
    let _ = gather(|scope| {
        (1..n).for_each(|k| scope.spawn(move || work(k)));
        (0..n).for_each(work);
    });
}

/// Runs the block and waits for the tasks that it spawned.
fn gather<'env, R, F>(block: F) -> (Result<R, Payload>, Outcome)
where
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> R,
{
    let scope = Scope { group: Arc::new(Group::new()), scope: PhantomData, env: PhantomData };
    // Tasks borrow from the caller, whose frame must outlive them.
    let must_wait = AbortOnUnwind;
    let value = catch_unwind(AssertUnwindSafe(|| block(&scope)));
    scope.group.wait_for_all();
    std::mem::forget(must_wait);
    (value, scope.group.outcome())
}

struct AbortOnUnwind;

impl Drop for AbortOnUnwind {
    fn drop(&mut self) {
        eprintln!("the wait for the tasks of a `sync` block failed; they would use freed memory");
        std::process::abort();
    }
}

/// What the block of a [`sync`] spawns its tasks with.
pub struct Scope<'scope, 'env: 'scope> {
    group: Arc<Group>,
    // Both lifetimes invariant, as those of `std::thread::Scope`.
    scope: PhantomData<&'scope mut &'scope ()>,
    env: PhantomData<&'env mut &'env ()>,
}

impl<'scope> Scope<'scope, '_> {
    /// Runs a closure as a task that ends before the block does. Returns at once.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let mut halves = [0, 0];
    /// let [left, right] = &mut halves;
    /// sync(|s| {
    ///     s.spawn(|| *left = 1);
    ///     s.spawn(|| *right = 2);
    /// });
    /// assert_eq!(halves, [1, 2]);
    /// ```
    #[track_caller]
    pub fn spawn<F: FnOnce() + Send + 'scope>(&'scope self, work: F) {
        Group::push(&self.group, erased::erase(Box::new(work)), Location::caller());
    }
}

impl fmt::Debug for Scope<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spawned = self.group.spawned.load(Ordering::Relaxed);
        f.debug_struct("Scope").field("spawned", &spawned).finish_non_exhaustive()
    }
}

/// The one place where a lifetime is given up.
mod erased {
    /// Work of a scope, to be called or dropped before the scope ends.
    pub(super) struct Work(Box<dyn FnOnce() + Send + 'static>);

    impl Work {
        pub(super) fn call(self) {
            (self.0)();
        }
    }

    pub(super) fn erase<'scope>(work: Box<dyn FnOnce() + Send + 'scope>) -> Work {
        // SAFETY: only the lifetime changes. `'scope` contains the whole call of `gather`, which
        // returns only after `wait_for_all` has seen every pushed piece of work called or dropped:
        // `Group::push` counts it before any thread can see it, `Group::drain` counts it as ended
        // after `call` or `drop` has consumed it, and in between `gather` cannot unwind. What
        // outlives the scope, tokens in rayon's queue, holds the group, whose queue is empty then.
        Work(unsafe {
            std::mem::transmute::<
                Box<dyn FnOnce() + Send + 'scope>,
                Box<dyn FnOnce() + Send + 'static>,
            >(work)
        })
    }
}

struct Job {
    work: erased::Work,
    index: usize,
    place: &'static Location<'static>,
}

struct Group {
    queue: SegQueue<Job>,
    spawned: AtomicUsize,
    ended: AtomicUsize,
    /// Members that were asked for help and have not finished it.
    helpers: AtomicUsize,
    most_helpers: usize,
    known_to_crew: AtomicBool,
    failures: Mutex<Vec<(usize, &'static Location<'static>, Payload)>>,
    /// Changes when `ended` does, and with new tasks if `waits` says that somebody looks at it.
    end: Monitor<()>,
    waits: AtomicBool,
}

type Payload = Box<dyn Any + Send>;

enum Outcome {
    Succeeded,
    Failed(SyncError),
    Interrupted(Payload),
}

impl Group {
    fn new() -> Group {
        let is_member = rayon::current_thread_index().is_some();
        Group {
            queue: SegQueue::new(),
            spawned: AtomicUsize::new(0),
            ended: AtomicUsize::new(0),
            helpers: AtomicUsize::new(0),
            most_helpers: rayon::current_num_threads() - usize::from(is_member),
            known_to_crew: AtomicBool::new(false),
            failures: Mutex::default(),
            end: Monitor::new(()),
            waits: AtomicBool::new(false),
        }
    }

    fn push(group: &Arc<Group>, work: erased::Work, place: &'static Location<'static>) {
        let index = group.spawned.fetch_add(1, Ordering::Relaxed);
        group.queue.push(Job { work, index, place });
        if !group.known_to_crew.load(Ordering::Relaxed)
            && !group.known_to_crew.swap(true, Ordering::Relaxed)
        {
            crew::register(group.clone());
        }
        if group.helpers.load(Ordering::SeqCst) < group.most_helpers {
            crew::ask_pool(Arc::new(Helper::join(group.clone())));
        }
        if group.waits.load(Ordering::SeqCst) {
            group.end.change(|()| ());
        }
    }

    /// Runs tasks of this group and counts them as ended. Does not unwind.
    fn run_all(&self) {
        let mut ran = 0;
        while let Some(job) = self.queue.pop() {
            self.run(job);
            ran += 1;
        }
        if ran > 0 {
            crew::started();
            // Releases what the tasks wrote to who waits.
            self.ended.fetch_add(ran, Ordering::Release);
            self.end.change(|()| ());
        }
    }

    fn run(&self, Job { work, index, place }: Job) {
        let run = || {
            interrupt::check();
            let _frame = Frame::enter();
            work.call();
        };
        if let Err(payload) = catch_unwind(AssertUnwindSafe(run)) {
            let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
            failures.push((index, place, payload));
        }
    }

    fn all_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire) == self.spawned.load(Ordering::Relaxed)
    }

    /// Blocks until all tasks have ended, also through an interrupt. Does not unwind.
    fn wait_for_all(self: &Arc<Self>) {
        loop {
            self.run_all();
            if self.all_ended() {
                break;
            }
            self.waits.store(true, Ordering::SeqCst);
            self.end.wait_out(|()| (self.all_ended() || self.has_work()).then_some(()));
            self.waits.store(false, Ordering::SeqCst);
        }
        if self.known_to_crew.load(Ordering::Relaxed) {
            crew::forget(self);
        }
    }

    fn outcome(&self) -> Outcome {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = failures.iter().position(|(_, _, p)| p.is::<Interrupted>()) {
            return Outcome::Interrupted(failures.swap_remove(index).2);
        }
        if failures.is_empty() {
            return Outcome::Succeeded;
        }
        failures.sort_by_key(|(index, ..)| *index);
        let told = |(index, place, payload): (usize, &'static Location<'static>, Payload)| {
            TaskFailure { index, error: TaskError::new(&*payload, place) }
        };
        let failures = failures.drain(..).map(told).collect();
        Outcome::Failed(SyncError { failures, spawned: self.spawned.load(Ordering::Relaxed) })
    }
}

impl Source for Group {
    fn drain(&self) {
        self.run_all();
    }

    fn has_work(&self) -> bool {
        !self.queue.is_empty()
    }
}

/// A member's place among the helpers of a group.
struct Helper {
    group: Arc<Group>,
    left: AtomicBool,
}

impl Helper {
    fn join(group: Arc<Group>) -> Helper {
        group.helpers.fetch_add(1, Ordering::SeqCst);
        Helper { group, left: AtomicBool::new(false) }
    }

    fn leave(&self) {
        if !self.left.swap(true, Ordering::Relaxed) {
            self.group.helpers.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

impl Source for Helper {
    fn drain(&self) {
        self.group.run_all();
        self.leave();
        // What was spawned just before that, when this member still counted as a helper.
        self.group.run_all();
    }

    fn has_work(&self) -> bool {
        self.group.has_work()
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.leave();
    }
}
