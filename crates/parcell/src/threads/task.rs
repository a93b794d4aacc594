//! Tasks: work that runs beside its spawner and leaves a result, as Julia's `Threads.@spawn`.
//!
//! A task is taken by a thread of the pool, in the order of spawning, or by the thread that
//! fetches it if no other has begun it by then: so tasks may wait for tasks, also in a pool of one
//! thread. A task that blocks keeps its thread; others take over its part of the work.
//!
//! A task that calls rayon may, while it waits for rayon there, have an iteration of some other
//! loop put on top of it. Should that iteration wait for this very task, it cannot end, and is told
//! so by a panic. The loops of [`par_for`](super::par_for()) take up nothing else in a task.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use crossbeam_queue::SegQueue;

use super::crew::{self, Frame, Identity, Source};
use super::interactive;
use super::monitor::Monitor;
use super::waits::{Bell, ring};
use crate::interrupt::{Interrupted, Seconds};
use crate::rt;

/// Why a task has no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TaskError {
    /// The task panicked.
    #[error("the task spawned at {place} panicked: {message}")]
    Panicked {
        /// What it panicked with.
        message: String,
        /// Where it was spawned: `[cell 3, line 1]`, or `file:line`.
        place: String,
    },
    /// An interrupt ended the task.
    #[error("the task spawned at {place} was interrupted")]
    Interrupted {
        /// Where it was spawned: `[cell 3, line 1]`, or `file:line`.
        place: String,
    },
}

impl TaskError {
    pub(super) fn new(payload: &(dyn Any + Send), place: &Location<'_>) -> TaskError {
        let place = rt::place_in_words(place.file(), place.line());
        if payload.is::<Interrupted>() {
            return TaskError::Interrupted { place };
        }
        TaskError::Panicked { message: rt::message_of(payload), place }
    }
}

#[cold]
fn waits_for_itself(place: &Location<'_>) -> ! {
    let place = rt::place_in_words(place.file(), place.line());
    panic!("the task spawned at {place} waits for itself")
}

const MOVED_OUT: &str = "the result of this task was already moved out";

type Payload = Box<dyn Any + Send>;
type AtEnd = Box<dyn FnOnce(Option<&TaskError>) + Send>;

/// Work that was spawned, and its result once there is one. Dropping it changes nothing for the
/// work: it runs to its end, and a failure stays unseen unless [`errormonitor`] was called.
///
/// ```
/// use parcell::prelude::*;
///
/// let task: Task<u64> = spawn(|| (1..=10).sum());
/// assert_eq!(task.fetch(), 55);
/// ```
pub struct Task<T> {
    core: Arc<Core<T>>,
}

struct Core<T> {
    stage: Monitor<Stage<T>>,
    place: &'static Location<'static>,
    /// Whether only threads of the interactive pool may run it.
    interactive: bool,
}

enum Stage<T> {
    Waiting {
        work: Box<dyn FnOnce() -> T + Send>,
        after: After,
    },
    Running {
        by: Identity,
        after: After,
    },
    Done(T),
    Failed {
        error: TaskError,
        payload: Option<Payload>,
    },
    /// The result was moved out.
    Taken,
}

/// Who is told of a task's end.
#[derive(Default)]
struct After {
    wakers: Vec<Waker>,
    calls: Vec<AtEnd>,
    bells: Vec<Arc<Bell>>,
}

impl<T> Stage<T> {
    fn after(&mut self) -> Option<&mut After> {
        match self {
            Stage::Waiting { after, .. } | Stage::Running { after, .. } => Some(after),
            _ => None,
        }
    }

    fn ended(&self) -> bool {
        matches!(self, Stage::Done(_) | Stage::Failed { .. } | Stage::Taken)
    }
}

/// Tasks that nobody has begun, oldest first; among them some that their fetchers have.
static SPAWNED: LazyLock<Arc<Spawned>> = LazyLock::new(|| {
    let spawned = Arc::new(Spawned(SegQueue::new()));
    crew::register(spawned.clone());
    spawned
});

struct Spawned(SegQueue<Arc<dyn Run>>);

impl Source for Spawned {
    fn drain(&self) {
        while let Some(task) = self.0.pop() {
            task.run();
        }
    }

    fn has_work(&self) -> bool {
        !self.0.is_empty()
    }
}

trait Run: Send + Sync {
    /// Runs the task if nobody has begun it; whether it did.
    fn run(&self) -> bool;
}

impl<T: Send> Run for Core<T> {
    fn run(&self) -> bool {
        let frame = Frame::enter();
        let Some(work) = self.claim() else { return false };
        crew::started();
        let result = catch_unwind(AssertUnwindSafe(work));
        drop(frame);
        self.end(result);
        true
    }
}

impl<T> Core<T> {
    fn new<F>(work: F, place: &'static Location<'static>, interactive: bool) -> Arc<Core<T>>
    where
        F: FnOnce() -> T + Send + 'static,
    {
        let stage = Stage::Waiting { work: Box::new(work), after: After::default() };
        Arc::new(Core { stage: Monitor::new(stage), place, interactive })
    }

    /// Whether a thread that waits for the task may run it itself.
    fn may_run_here(&self) -> bool {
        !crew::deep() && (!self.interactive || interactive::is_member())
    }

    fn claim(&self) -> Option<Box<dyn FnOnce() -> T + Send>> {
        self.stage.change(|stage| match std::mem::replace(stage, Stage::Taken) {
            Stage::Waiting { work, after } => {
                *stage = Stage::Running { by: Identity::current(), after };
                Some(work)
            }
            other => {
                *stage = other;
                None
            }
        })
    }

    fn end(&self, result: Result<T, Payload>) {
        let (next, error) = match result {
            Ok(value) => (Stage::Done(value), None),
            Err(payload) => {
                let error = TaskError::new(&*payload, self.place);
                (Stage::Failed { error: error.clone(), payload: Some(payload) }, Some(error))
            }
        };
        let mut before = self.stage.change(|stage| std::mem::replace(stage, next));
        let Some(After { wakers, calls, bells }) = before.after().map(std::mem::take) else {
            return;
        };
        calls.into_iter().for_each(|call| call(error.as_ref()));
        wakers.into_iter().for_each(Waker::wake);
        bells.into_iter().for_each(|bell| ring(&bell, error.is_some()));
    }

    /// Calls back when the task has ended, at once if it has.
    fn at_end(&self, call: AtEnd) {
        let mut call = Some(call);
        let error = self.stage.change(|stage| {
            if let Some(after) = stage.after() {
                after.calls.extend(call.take());
            }
            match stage {
                Stage::Failed { error, .. } => Some(error.clone()),
                _ => None,
            }
        });
        if let Some(call) = call {
            call(error.as_ref());
        }
    }

    /// The payload of a failure: the original the first time, then its text.
    fn failure(stage: &mut Stage<T>) -> Option<Payload> {
        let Stage::Failed { error, payload } = stage else { return None };
        Some(match (payload.take(), &*error) {
            (Some(payload), TaskError::Panicked { .. }) => payload,
            (_, TaskError::Panicked { message, .. }) => Box::new(message.clone()),
            (_, TaskError::Interrupted { .. }) => Box::new(error.to_string()),
        })
    }
}

/// Runs a closure as a task of its own, beside the caller. Returns at once.
///
/// The task starts when a thread of the pool is free, or when it is fetched; tasks start in the
/// order of spawning. In a pool of one thread that is at the next wait or at the cell's end. To
/// borrow from the caller use [`sync`](super::sync()). Costs about a microsecond.
///
/// The task has its thread until it ends and never moves to another. It is not ended with its
/// cell; an interrupt ends it at its next [check](crate::interrupt::check) or wait.
///
/// Follows Julia's `Threads.@spawn`.
///
/// ```
/// use parcell::prelude::*;
///
/// let tasks: Vec<_> = (0..4_u64).map(|i| spawn(move || i * i)).collect();
/// let squares: Vec<u64> = tasks.iter().map(Task::fetch).collect();
/// assert_eq!(squares, [0, 1, 4, 9]);
/// ```
#[track_caller]
pub fn spawn<T, F>(work: F) -> Task<T>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    let core = Core::new(work, Location::caller(), false);
    enqueue(core.clone());
    Task { core }
}

/// [`spawn`] for a thread that is no member of the pool and never waits for the work.
#[track_caller]
pub(crate) fn spawn_job(work: Box<dyn FnOnce() + Send>) {
    SPAWNED.0.push(Core::new(work, Location::caller(), false));
    crew::ask_from_outside(SPAWNED.clone());
}

/// Not generic, so that it is compiled once and not in every cell.
fn enqueue(task: Arc<dyn Run>) {
    SPAWNED.0.push(task);
    crew::ask_pool(SPAWNED.clone());
}

/// [`spawn`] for work that must be answered soon although all threads compute: a server, a progress
/// bar, a timer. Returns at once.
///
/// The task runs on a thread of the interactive pool, never on one that fetches it, and keeps that
/// thread until it ends or waits in this library. Without an interactive pool, after `%threads N,0`,
/// it is a task like others.
///
/// Follows Julia's `Threads.@spawn :interactive`.
///
/// ```
/// use parcell::prelude::*;
/// use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
/// use std::sync::Arc;
///
/// let go = Arc::new(AtomicBool::new(false));
/// let signal = spawn_interactive({ let go = go.clone(); move || go.store(true, Relaxed) });
/// // All threads of the pool are busy until the signal comes.
/// par_for(0..nthreads()).chunk(1).for_each(|_| while !go.load(Relaxed) {});
/// signal.wait();
/// ```
#[track_caller]
pub fn spawn_interactive<T, F>(work: F) -> Task<T>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    // Where the system refuses threads, the pool that computes serves.
    let pool = interactive::pool().ok().flatten();
    let core = Core::new(work, Location::caller(), pool.is_some());
    match pool {
        Some(pool) => enqueue_in(&pool, core.clone()),
        None => enqueue(core.clone()),
    }
    Task { core }
}

fn enqueue_in(pool: &rayon::ThreadPool, task: Arc<dyn Run>) {
    pool.spawn(move || _ = task.run());
}

/// [`spawn`] for work that nobody fetches: a failure is printed to standard error, with its place.
/// Returns at once.
///
/// Follows Julia's `errormonitor(Threads.@spawn …)`.
///
/// ```
/// use parcell::threads::spawn_detached;
///
/// let greeting = spawn_detached(|| println!("hello from the background"));
/// greeting.wait();
/// ```
#[track_caller]
pub fn spawn_detached<F: FnOnce() + Send + 'static>(work: F) -> Task<()> {
    errormonitor(spawn(work))
}

/// Has a failure of the task printed to standard error, with its place; gives the task back.
/// Does not block. An interrupted task is not reported.
///
/// Follows Julia's `errormonitor`.
///
/// ```
/// use parcell::prelude::*;
/// use parcell::threads::errormonitor;
///
/// let task = errormonitor(spawn(|| 1 + 1));
/// assert_eq!(task.fetch(), 2);
/// ```
pub fn errormonitor<T>(task: Task<T>) -> Task<T> {
    task.core.at_end(Box::new(|error| {
        if let Some(error @ TaskError::Panicked { message, .. }) = error {
            let place = rt::place_of_noticed(message);
            let at = place.map(|place| format!(" at {place}")).unwrap_or_default();
            eprintln!("unhandled failure{at}: {error}");
        }
    }));
    task
}

impl<T: Send> Task<T> {
    /// The task's result; may be asked for again and again. Blocks until the task has ended; runs
    /// it here if nobody has begun it.
    ///
    /// Follows Julia's `fetch(::Task)`. For results that cannot be cloned see [`Task::join`].
    ///
    /// # Panics
    /// With the task's own panic if it panicked. If the task waits for itself. Unwinds within
    /// 0.1 s of an interrupt.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let task = spawn(|| "done".to_owned());
    /// assert_eq!(task.fetch(), "done");
    /// assert_eq!(task.fetch(), "done");
    /// ```
    pub fn fetch(&self) -> T
    where
        T: Clone,
    {
        self.wait_for_end(None);
        self.result_or_panic(|stage| match stage {
            Stage::Done(value) => Some(value.clone()),
            _ => None,
        })
    }

    /// As [`Task::fetch`], with the task's panic as an error.
    ///
    /// # Errors
    /// [`TaskError`] if the task panicked or was interrupted.
    ///
    /// # Panics
    /// If the task waits for itself. Unwinds within 0.1 s of an interrupt.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let task = spawn(|| -> u32 { panic!("no number today") });
    /// let error = task.try_fetch().unwrap_err();
    /// assert!(error.to_string().ends_with("panicked: no number today"));
    /// ```
    pub fn try_fetch(&self) -> Result<T, TaskError>
    where
        T: Clone,
    {
        self.wait_for_end(None);
        self.core.stage.look(|stage| match stage {
            Stage::Done(value) => Ok(value.clone()),
            Stage::Failed { error, .. } => Err(error.clone()),
            _ => panic!("{MOVED_OUT}"),
        })
    }

    /// Moves the result out. Blocks as [`Task::fetch`] does.
    ///
    /// # Panics
    /// As [`Task::fetch`].
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let numbers: Vec<u32> = spawn(|| vec![1, 2, 3]).join();
    /// assert_eq!(numbers, [1, 2, 3]);
    /// ```
    pub fn join(self) -> T {
        self.wait_for_end(None);
        self.take_result()
    }

    /// As [`Task::join`], with the task's panic as an error.
    ///
    /// # Errors
    /// [`TaskError`] if the task panicked or was interrupted.
    ///
    /// # Panics
    /// If the task waits for itself. Unwinds within 0.1 s of an interrupt.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// assert_eq!(spawn(|| vec![1, 2]).try_join(), Ok(vec![1, 2]));
    /// assert!(spawn(|| panic!("no result")).try_join().is_err());
    /// ```
    pub fn try_join(self) -> Result<T, TaskError> {
        self.wait_for_end(None);
        let failure = self.core.stage.look(|stage| match stage {
            Stage::Failed { error, .. } => Some(error.clone()),
            _ => None,
        });
        failure.map_or_else(|| Ok(self.take_result()), Err)
    }

    /// Blocks until the task has ended, however it ended; runs it here if nobody has begun it.
    ///
    /// Follows Julia's `wait(t; throw=false)`.
    ///
    /// # Panics
    /// If the task waits for itself. Unwinds within 0.1 s of an interrupt.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let task = spawn(|| ());
    /// task.wait();
    /// assert!(task.is_done());
    /// ```
    pub fn wait(&self) {
        self.wait_for_end(None);
    }

    /// Blocks until the task has ended, but not longer than this, in seconds or as a
    /// [`Duration`](std::time::Duration); whether it has. Does not run the task here.
    ///
    /// # Panics
    /// If the task waits for itself. Unwinds within 0.1 s of an interrupt.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let gate = Channel::new(1);
    /// let task = spawn({ let gate = gate.clone(); move || gate.take() });
    /// assert!(!task.wait_within(0.01));
    /// gate.put("open");
    /// assert_eq!(task.fetch(), "open");
    /// ```
    #[must_use]
    pub fn wait_within(&self, time: impl Into<Seconds>) -> bool {
        self.wait_for_end(Some(time.into().deadline()))
    }

    /// `None` waits without end; `Some(None)` as good as, for times beyond the clock.
    fn wait_for_end(&self, deadline: Option<Option<Instant>>) -> bool {
        if deadline.is_none() && self.core.may_run_here() && self.core.run() {
            crate::interrupt::check();
            return true;
        }
        let me = Identity::current();
        let ended = |stage: &mut Stage<T>| match stage {
            Stage::Running { by, .. } if by.is_or_carries(me) => Some(Err(self.core.place)),
            stage => stage.ended().then_some(Ok(())),
        };
        let end = self.core.stage.wait(deadline.flatten(), ended);
        // The task may have been faster than this thread to end by the same interrupt.
        crate::interrupt::check();
        match end {
            Some(Ok(())) => true,
            Some(Err(place)) => waits_for_itself(place),
            None => false,
        }
    }

    /// Has the bell rung when the task ends, at once if it has ended.
    pub(super) fn hang(&self, bell: &Arc<Bell>) {
        let me = Identity::current();
        let state = self.core.stage.change(|stage| {
            if matches!(stage, Stage::Running { by, .. } if by.is_or_carries(me)) {
                return Err(());
            }
            let pending = stage.after().map(|after| after.bells.push(bell.clone())).is_some();
            Ok((pending, matches!(stage, Stage::Failed { .. })))
        });
        match state {
            Ok((true, _)) => {}
            Ok((false, failed)) => ring(bell, failed),
            Err(()) => waits_for_itself(self.core.place),
        }
    }

    /// Undoes [`Task::hang`].
    pub(super) fn unhang(&self, bell: &Arc<Bell>) {
        self.core.stage.change(|stage| {
            if let Some(after) = stage.after() {
                after.bells.retain(|other| !Arc::ptr_eq(other, bell));
            }
        });
    }

    fn take_result(&self) -> T {
        self.result_or_panic(|stage| match std::mem::replace(stage, Stage::Taken) {
            Stage::Done(value) => Some(value),
            other => {
                *stage = other;
                None
            }
        })
    }

    fn result_or_panic(&self, result: impl FnOnce(&mut Stage<T>) -> Option<T>) -> T {
        let found = self.core.stage.change(|stage| match Core::failure(stage) {
            Some(payload) => Err(payload),
            None => Ok(result(stage)),
        });
        match found {
            Ok(Some(value)) => value,
            Ok(None) => panic!("{MOVED_OUT}"),
            Err(payload) => {
                // Where the user has interrupted, that is what ends the caller, too.
                crate::interrupt::check();
                resume_unwind(payload)
            }
        }
    }
}

impl<T> Task<T> {
    /// Whether the task has ended, with a result or by a panic. Does not block.
    ///
    /// Follows Julia's `istaskdone`.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let task = spawn(|| 7);
    /// task.wait();
    /// assert!(task.is_done());
    /// ```
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.core.stage.look(Stage::ended)
    }

    /// Whether the task has ended by a panic or an interrupt. Does not block.
    ///
    /// Follows Julia's `istaskfailed`.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let task = spawn(|| -> () { panic!("meant to fail") });
    /// task.wait();
    /// assert!(task.is_failed());
    /// ```
    #[must_use]
    pub fn is_failed(&self) -> bool {
        self.core.stage.look(|stage| matches!(stage, Stage::Failed { .. }))
    }

    /// Has a closure called when the task has ended, on the thread that ends it.
    pub(super) fn at_end(&self, call: impl FnOnce(Option<&TaskError>) + Send + 'static) {
        self.core.at_end(Box::new(call));
    }
}

/// `task.await` gives the task's result, and panics with the task's panic. Awaiting blocks no
/// thread. A result can be awaited once; `fetch` afterwards panics.
///
/// ```
/// use parcell::prelude::*;
///
/// # let runtime = parcell::tokio::runtime::Builder::new_current_thread().build().unwrap();
/// # runtime.block_on(async {
/// let answer = spawn(|| 42).await;
/// assert_eq!(answer, 42);
/// # });
/// ```
impl<T: Send> Future for Task<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let begun = self.core.stage.change(|stage| {
            let begun = !matches!(stage, Stage::Waiting { .. });
            let after = stage.after()?;
            if !after.wakers.iter().any(|w| w.will_wake(context.waker())) {
                after.wakers.push(context.waker().clone());
            }
            Some(begun)
        });
        match begun {
            None => return Poll::Ready(self.take_result()),
            Some(true) => {}
            // The runtime will block this thread, and its pool may have no other.
            Some(false) if super::nthreads() == 1 => crew::call_spare(),
            Some(false) => {}
        }
        Poll::Pending
    }
}

impl<T> fmt::Debug for Task<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = self.core.stage.look(|stage| match stage {
            Stage::Waiting { .. } => "waiting",
            Stage::Running { .. } => "running",
            Stage::Done(_) | Stage::Taken => "done",
            Stage::Failed { .. } => "failed",
        });
        let place = rt::place_in_words(self.core.place.file(), self.core.place.line());
        write!(f, "Task({stage}, spawned at {place})")
    }
}
