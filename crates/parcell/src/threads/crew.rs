//! Which thread takes a task: the members of the pool, the one that waits for it, or a spare.
//!
//! A task keeps the stack of its thread until it ends, so a task started on top of another one
//! that waits would bury it: if the upper needs something of the lower, neither goes on. Hence the
//! one rule here: a thread starts tasks at the bottom of its stack, or those that it waits for.
//!
//! A member that blocks in a wait of this library is lost to the pool for that time. If that
//! leaves tasks without a thread, a *spare* thread, which is no member, takes them: at once if no
//! member is left that runs, and after some patience if others run but do not get to it.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread::Builder;
use std::time::Duration;

use super::{default_size, interactive, nthreads, pool};

/// More threads than this are not started to replace blocked ones.
const MOST_SPARES: usize = 1000;
/// A spare thread without work ends after this time.
const IDLE: Duration = Duration::from_secs(2);

/// Something that has tasks to run.
pub(super) trait Source: Send + Sync {
    /// Runs its tasks until none is left that has not been started. Does not unwind.
    fn drain(&self);
    /// Whether it has tasks that have not been started.
    fn has_work(&self) -> bool;
}

/// All sources that may have work.
static SOURCES: Mutex<Vec<Arc<dyn Source>>> = Mutex::new(Vec::new());
/// Members of the cells' pool that are blocked in a wait of this library, and members of others.
static BLOCKED_MEMBERS: [AtomicUsize; 2] = [AtomicUsize::new(0), AtomicUsize::new(0)];
/// Loops that wait for every member of their pool.
static AWAIT_ALL: AtomicUsize = AtomicUsize::new(0);
/// Spares that run a task or are about to look for one.
static RUNNING_SPARES: AtomicUsize = AtomicUsize::new(0);
/// Grows whenever a task is started by whoever drains a source.
static STARTS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static DEPTH: Cell<usize> = const { Cell::new(0) };
    static LOCALS: RefCell<Locals> = const { RefCell::new(Locals::new()) };
    /// Whether `LOCALS` may hold anything, which is faster to look at.
    static HAS_LOCALS: Cell<bool> = const { Cell::new(false) };
    static IS_SPARE: Cell<bool> = const { Cell::new(false) };
    static IS_CALLER: Cell<bool> = const { Cell::new(false) };
    static BOTTOM: Cell<usize> = const { Cell::new(0) };
    static THREAD: usize = {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        THREADS.fetch_add(1, Ordering::Relaxed)
    };
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lets spares find a source.
pub(super) fn register(source: Arc<dyn Source>) {
    locked(&SOURCES).push(source);
}

/// Undoes [`register`].
pub(super) fn forget<S: Source>(source: &Arc<S>) {
    locked(&SOURCES).retain(|s| !std::ptr::addr_eq(Arc::as_ptr(s), Arc::as_ptr(source)));
}

fn source_with_work() -> Option<Arc<dyn Source>> {
    locked(&SOURCES).iter().find(|source| source.has_work()).cloned()
}

/// Marks the current thread as the one that made its pool: below whatever rayon runs on it there
/// is always the caller's own code.
pub(super) fn mark_caller() {
    IS_CALLER.set(true);
}

/// A task as seen from its thread. Tasks never change threads, so the pair is unique among those
/// that live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    thread: usize,
    depth: usize,
}

impl Identity {
    /// The task that runs now, or the thread's own code if none does.
    pub(super) fn current() -> Identity {
        Identity { thread: THREAD.with(|t| *t), depth: DEPTH.get() }
    }

    /// Whether the two are the same or this one lies below the other on the same stack.
    pub(super) fn is_or_carries(self, other: Identity) -> bool {
        self.thread == other.thread && self.depth <= other.depth
    }
}

/// Whether a task runs on this thread.
pub(crate) fn in_task() -> bool {
    DEPTH.try_with(Cell::get).is_ok_and(|depth| depth > 0)
}

/// Whether so many tasks lie on this thread's stack that no other should be put on top.
pub(super) fn deep() -> bool {
    DEPTH.get() >= 100
}

/// Values of the current task by the number of their [`TaskLocal`](super::TaskLocal).
pub(super) type Locals = BTreeMap<usize, Box<dyn Any>>;

/// Takes a value of the current task.
pub(super) fn take_local(key: usize) -> Option<Box<dyn Any>> {
    LOCALS.with_borrow_mut(|locals| locals.remove(&key))
}

/// Gives a value to the current task; returns what it replaces.
pub(super) fn put_local(key: usize, value: Box<dyn Any>) -> Option<Box<dyn Any>> {
    HAS_LOCALS.set(true);
    LOCALS.with_borrow_mut(|locals| locals.insert(key, value))
}

/// While this lives the thread is in a task of its own.
pub(super) struct Frame {
    /// The values of the task below, if it has any.
    below: Option<Locals>,
}

impl Frame {
    pub(super) fn enter() -> Frame {
        DEPTH.set(DEPTH.get() + 1);
        Frame { below: HAS_LOCALS.take().then(|| LOCALS.take()) }
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        if HAS_LOCALS.get() {
            // Dropped while the task still is the current one, and outside the borrow.
            drop(LOCALS.take());
        }
        HAS_LOCALS.set(self.below.is_some());
        if let Some(below) = self.below.take() {
            LOCALS.set(below);
        }
        DEPTH.set(DEPTH.get() - 1);
    }
}

/// Notes that a task was started.
pub(super) fn started() {
    STARTS.fetch_add(1, Ordering::Relaxed);
}

/// Asks the pool of this thread for a member to drain the source.
pub(super) fn ask_pool(source: Arc<dyn Source>) {
    match interactive::is_member().then(pool::default_pool).flatten() {
        Some(pool) => pool.spawn(move || serve(&*source)),
        None => rayon::spawn(move || serve(&*source)),
    }
}

/// [`ask_pool`] for a thread outside all pools: the cells' pool is asked, and if all its members are
/// blocked, or its only one is the thread that runs the cells, a spare.
pub(super) fn ask_from_outside(source: Arc<dyn Source>) {
    if nobody_runs() {
        return call_spare();
    }
    match pool::default_pool() {
        Some(pool) if pool.current_num_threads() > 1 => pool.spawn(move || serve(&*source)),
        Some(_) => call_spare(),
        None => rayon::spawn(move || serve(&*source)),
    }
}

/// What a member runs for [`ask_pool`]. Never inlined, so that its place on the stack tells
/// whether rayon called it from the bottom of a thread or from inside somebody's wait.
#[inline(never)]
fn serve(source: &dyn Source) {
    let mark = 0_u8;
    let here = &raw const mark as usize;
    BOTTOM.set(BOTTOM.get().max(here));
    if BOTTOM.get() == here && !IS_CALLER.get() && !in_task() {
        source.drain();
    } else if source.has_work() {
        call_spare();
    }
}

/// Drains all sources on this thread, which has nothing else on its stack that others wait for.
pub(super) fn drain_all() -> bool {
    let source = source_with_work();
    source.inspect(|source| source.drain()).is_some()
}

/// Those that are counted with this thread if it is a member of a pool.
fn blocked_members() -> Option<&'static AtomicUsize> {
    if interactive::is_member() {
        return None;
    }
    rayon::current_thread_index()?;
    let of_another = !IS_CALLER.get() && !pool::current_is_worker();
    Some(&BLOCKED_MEMBERS[usize::from(of_another)])
}

fn all_blocked_members() -> usize {
    BLOCKED_MEMBERS.iter().map(|blocked| blocked.load(Ordering::SeqCst)).sum()
}

/// While this lives a loop waits for every member of its pool: those that wait for something else
/// look after it now and then.
pub(super) struct AwaitsAll(());

impl AwaitsAll {
    /// `None` while a member waits for something: for that it may take until after the loop.
    pub(super) fn begin() -> Option<AwaitsAll> {
        if all_blocked_members() > 0 {
            return None;
        }
        AWAIT_ALL.fetch_add(1, Ordering::SeqCst);
        Some(AwaitsAll(()))
    }
}

impl Drop for AwaitsAll {
    fn drop(&mut self) {
        AWAIT_ALL.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A thread that waits; a member is missed by its pool meanwhile.
pub(super) struct Blocked {
    starts: usize,
    patience: usize,
}

impl Blocked {
    pub(super) fn enter() -> Blocked {
        Blocked::count_in();
        let blocked = Blocked { starts: STARTS.load(Ordering::Relaxed), patience: 0 };
        if nobody_runs() && source_with_work().is_some() {
            call_spare();
        }
        blocked
    }

    fn count_in() {
        if let Some(blocked) = blocked_members() {
            blocked.fetch_add(1, Ordering::SeqCst);
        }
        if IS_SPARE.get() {
            RUNNING_SPARES.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn count_out() {
        if let Some(blocked) = blocked_members() {
            blocked.fetch_sub(1, Ordering::SeqCst);
        }
        if IS_SPARE.get() {
            RUNNING_SPARES.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// To be called now and then during the wait.
    pub(super) fn glance(&mut self) {
        if interactive::is_member() {
            // The tasks behind this one must not wait for what it waits for.
            rayon::yield_now();
            return;
        }
        if AWAIT_ALL.load(Ordering::SeqCst) > 0 {
            // This member's own jobs only, which is where broadcasts come.
            Blocked::lend_to_rayon(rayon::yield_local);
        }
        if spares_may_wait_for_this_pool() {
            Blocked::lend_to_rayon(rayon::yield_now);
        }
        let work_waits = source_with_work().is_some();
        if nobody_runs() {
            return if work_waits {
                call_spare();
            } else {
                Blocked::lend_to_rayon(rayon::yield_now);
            };
        }
        let starts = STARTS.load(Ordering::Relaxed);
        let stale = work_waits && starts == self.starts;
        self.starts = starts;
        self.patience = if stale { self.patience + 1 } else { 0 };
        let spares = locked(&SPARES.state).alive;
        let missed = all_blocked_members() > RUNNING_SPARES.load(Ordering::Relaxed);
        // The more spares there are, the less probable is it that one more will help.
        if missed && self.patience > spares * spares {
            self.patience = 0;
            call_spare();
        }
    }

    /// The last resort where nothing else runs: what the wait needs may be a plain rayon job in
    /// the queue of a blocked member. Runs one job at most.
    fn lend_to_rayon(run_one: fn() -> Option<rayon::Yield>) {
        Blocked::count_out();
        let back = Back;
        run_one();
        drop(back);
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        Blocked::count_out();
    }
}

/// Counts the thread as blocked again, also if what it was lent to unwinds.
struct Back;

impl Drop for Back {
    fn drop(&mut self) {
        Blocked::count_in();
    }
}

/// Whether no member runs, of this thread's pool or else of the cells', and no spare.
fn nobody_runs() -> bool {
    let blocked = blocked_members().unwrap_or(&BLOCKED_MEMBERS[0]);
    let size = if interactive::is_member() { default_size() } else { nthreads() };
    blocked.load(Ordering::SeqCst) >= size && RUNNING_SPARES.load(Ordering::Relaxed) == 0
}

/// Whether this is a member of rayon's global pool, which spares give their loops to and then wait
/// for, and all its members are blocked.
fn spares_may_wait_for_this_pool() -> bool {
    let others = &BLOCKED_MEMBERS[1];
    blocked_members().is_some_and(|blocked| std::ptr::eq(blocked, others))
        && others.load(Ordering::SeqCst) >= rayon::current_num_threads()
}

#[derive(Debug, Default)]
struct SpareState {
    alive: usize,
    idle: usize,
    called: usize,
}

#[derive(Debug, Default)]
struct Spares {
    state: Mutex<SpareState>,
    call: Condvar,
}

static SPARES: LazyLock<Spares> = LazyLock::new(Spares::default);

/// Has one more thread look for work. Where the system refuses a thread, nothing happens: the next
/// glance asks again.
pub(super) fn call_spare() {
    let mut state = locked(&SPARES.state);
    if state.idle > state.called {
        state.called += 1;
        RUNNING_SPARES.fetch_add(1, Ordering::Relaxed);
        return SPARES.call.notify_one();
    }
    if state.alive >= MOST_SPARES {
        return;
    }
    let name = format!("parcell-spare-{}", state.alive + 1);
    if Builder::new().name(name).stack_size(pool::STACK).spawn(be_spare).is_ok() {
        state.alive += 1;
        RUNNING_SPARES.fetch_add(1, Ordering::Relaxed);
    }
}

fn be_spare() {
    IS_SPARE.set(true);
    super::release_from_core();
    loop {
        while drain_all() {}
        RUNNING_SPARES.fetch_sub(1, Ordering::Relaxed);
        let mut state = locked(&SPARES.state);
        state.idle += 1;
        let waited = SPARES.call.wait_timeout_while(state, IDLE, |state| state.called == 0);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.idle -= 1;
        if state.called == 0 {
            state.alive -= 1;
            return;
        }
        state.called -= 1;
    }
}
