//! One pool: its threads are started before rayon sees them, so that a machine that refuses
//! threads leaves a smaller pool instead of a broken one.

use std::any::Any;
use std::cell::Cell;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::{Builder, JoinHandle};

use rayon::{ThreadBuilder, ThreadPool, ThreadPoolBuilder};

use super::{Pin, SIZE, global, pin};
use crate::interrupt::Interrupted;

/// Address space for each member's stack, as a program's main thread has it. Only touched pages
/// take memory.
pub(super) const STACK: usize = 8 << 20;

/// Why no pool could be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttachError {
    /// A pool needs a thread.
    #[error("a pool needs at least 1 thread, 0 were asked for")]
    NoThreads,
    /// rayon allows a thread one pool, for as long as the thread lives.
    #[error("the current thread is already thread {index} of a pool of {size}")]
    AlreadyMember {
        /// The thread's index in its pool.
        index: usize,
        /// The number of threads of that pool.
        size: usize,
    },
    /// rayon refused.
    #[error("rayon cannot build a pool of {wanted} threads")]
    Refused {
        /// The number of threads.
        wanted: usize,
        /// What rayon said.
        source: rayon::ThreadPoolBuildError,
    },
}

/// A pool has fewer threads than asked for.
#[derive(Debug, thiserror::Error)]
#[error("only {started} of {wanted} threads could be started ({source}); see `ulimit -u`")]
pub struct Shortage {
    /// Threads that were asked for.
    pub wanted: usize,
    /// Threads that the pool has.
    pub started: usize,
    /// What the system said when the next was to be started.
    pub source: io::Error,
}

/// The pool whose member 0 is the thread that made it. Dropping it ends its other threads, each
/// after the call that it is running; the maker stays registered with the ended pool and must
/// not call rayon again.
#[derive(Debug)]
pub struct Pool {
    pool: Arc<ThreadPool>,
    workers: Vec<JoinHandle<()>>,
    shortage: Option<Shortage>,
    unpinned: Option<io::Error>,
}

/// The pool that was attached last, for threads that are not its members.
static DEFAULT: Mutex<Weak<ThreadPool>> = Mutex::new(Weak::new());

/// The pool that was attached last, if it lives.
pub(super) fn default_pool() -> Option<Arc<ThreadPool>> {
    DEFAULT.lock().unwrap_or_else(PoisonError::into_inner).upgrade()
}

impl Pool {
    /// Makes the current thread member 0 of a new pool of `n` threads: its rayon calls, and
    /// those of nobody else, use the pool from now on. Where the system refuses to start so many
    /// threads the pool is smaller, see [`Pool::shortage`].
    ///
    /// rayon keeps the few kilobytes that describe the pool for the life of the process.
    ///
    /// # Errors
    /// [`AttachError`] if `n` is 0 or the current thread already is a member of a pool.
    ///
    /// ```
    /// use parcell::threads::{Pool, nthreads};
    ///
    /// let in_pool = std::thread::spawn(|| {
    ///     let pool = Pool::attach_current(3).unwrap();
    ///     let threads = nthreads();
    ///     pool.close();
    ///     threads
    /// });
    /// assert_eq!(in_pool.join().unwrap(), 3);
    /// ```
    pub fn attach_current(n: usize) -> Result<Pool, AttachError> {
        Pool::attach_pinned(n, Pin::Off)
    }

    /// [`Pool::attach_current`] with each thread on a core of its own, thread 0, the current one,
    /// first. Cores are those that the process may use; where there are more threads, they share.
    /// Threads and programs that a pinned thread starts by itself inherit its place. Where the
    /// system refuses the threads run unpinned, see [`Pool::unpinned`]. With [`Pin::Off`] the
    /// current thread is let go.
    ///
    /// # Errors
    /// As [`Pool::attach_current`].
    ///
    /// ```
    /// use parcell::threads::{Pin, Pool, nthreads};
    ///
    /// let in_pool = std::thread::spawn(|| {
    ///     let pool = Pool::attach_pinned(2, Pin::Compact).unwrap();
    ///     let threads = nthreads();
    ///     pool.close();
    ///     threads
    /// });
    /// assert_eq!(in_pool.join().unwrap(), 2);
    /// ```
    ///
    /// # Source
    /// OpenMP 5.2 §11.2 `OMP_PROC_BIND`: compact is `close` on cores, spread is `spread`;
    /// `pinthreads(:cores)`, ThreadPinning.jl.
    pub fn attach_pinned(n: usize, pin: Pin) -> Result<Pool, AttachError> {
        if let Some(index) = rayon::current_thread_index() {
            let size = rayon::current_num_threads();
            return Err(AttachError::AlreadyMember { index, size });
        }
        let others = n.checked_sub(1).ok_or(AttachError::NoThreads)?;
        let (idle, failure) = start_workers(others.min(rayon::max_num_threads() - 1), pin);
        let size = idle.len() + 1;
        let mut idle = idle.into_iter();
        let workers = Mutex::new(Vec::with_capacity(others));
        let pool = ThreadPoolBuilder::new()
            .num_threads(size)
            .use_current_thread()
            .panic_handler(report_panic)
            .spawn_handler(|member| employ(idle.next(), member, &workers))
            .build()
            .map_err(|source| AttachError::Refused { wanted: n, source })?;
        let pool = Arc::new(pool);
        *DEFAULT.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(&pool);
        SIZE.store(size, Ordering::Relaxed);
        super::crew::mark_caller();
        global::prefer(size);
        let shortage = failure.map(|source| Shortage { wanted: n, started: size, source });
        let workers = workers.into_inner().unwrap_or_else(PoisonError::into_inner);
        let unpinned = pin::place(pin, 0).err();
        Ok(Pool { pool, workers, shortage, unpinned })
    }

    /// Number of threads, the maker's included.
    #[must_use]
    pub fn size(&self) -> usize {
        self.pool.current_num_threads()
    }

    /// Why the pool has fewer threads than asked for, if it has.
    #[must_use]
    pub fn shortage(&self) -> Option<&Shortage> {
        self.shortage.as_ref()
    }

    /// Why its threads are not pinned although that was asked for.
    #[must_use]
    pub fn unpinned(&self) -> Option<&io::Error> {
        self.unpinned.as_ref()
    }

    /// Ends the pool and blocks until its threads have ended, each after the call it is running.
    pub fn close(self) {
        let Pool { pool, workers, .. } = self;
        drop(pool);
        for worker in workers {
            worker.join().unwrap_or_else(report_panic);
        }
    }
}

/// Makes the pool of a process in which nobody runs cells: all its threads take what comes from
/// outside, and all threads of the process use it.
///
/// # Errors
/// [`AttachError`] if there is such a pool already.
pub(crate) fn serve_globally(n: usize, pin: Pin) -> Result<(), AttachError> {
    let (idle, _) = start_workers(n.max(1), pin);
    let size = idle.len();
    let mut idle = idle.into_iter();
    let workers = Mutex::new(Vec::with_capacity(size));
    let built = ThreadPoolBuilder::new()
        .num_threads(size)
        .panic_handler(report_panic)
        .spawn_handler(|member| employ(idle.next(), member, &workers))
        .build_global();
    built.map_err(|source| AttachError::Refused { wanted: n, source })?;
    SIZE.store(size, Ordering::Relaxed);
    Ok(())
}

thread_local! {
    static WORKER: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread shares its pool with a thread that made it and comes back to it only now
/// and then.
pub(super) fn current_is_worker() -> bool {
    WORKER.get()
}

/// A started thread that waits to be told which member it is.
struct Idle {
    assign: Sender<ThreadBuilder>,
    thread: JoinHandle<()>,
}

/// Starts up to `n` threads, blocks until each is at its place, and says why there are not more.
fn start_workers(n: usize, pin: Pin) -> (Vec<Idle>, Option<io::Error>) {
    let (placed, placements) = channel();
    let mut idle = Vec::with_capacity(n);
    let mut failure = None;
    for index in 1..=n {
        match start_worker(index, pin, placed.clone()) {
            Ok(worker) => idle.push(worker),
            Err(error) => {
                failure = Some(error);
                break;
            }
        }
    }
    placements.into_iter().take(idle.len()).for_each(drop);
    (idle, failure)
}

fn start_worker(index: usize, pin: Pin, placed: Sender<()>) -> io::Result<Idle> {
    let (assign, assignment) = channel::<ThreadBuilder>();
    let thread =
        Builder::new().name(format!("parcell-{index}")).stack_size(STACK).spawn(move || {
            // A refusal is reported by the maker, whose own pinning is refused as well.
            let _ = pin::place(pin, index);
            let _ = placed.send(());
            if let Ok(member) = assignment.recv() {
                WORKER.set(true);
                member.run();
            }
        })?;
    Ok(Idle { assign, thread })
}

fn employ(
    idle: Option<Idle>,
    member: ThreadBuilder,
    workers: &Mutex<Vec<JoinHandle<()>>>,
) -> io::Result<()> {
    let gone = || io::Error::other("a pool thread ended before its work began");
    let Idle { assign, thread } = idle.ok_or_else(gone)?;
    assign.send(member).map_err(|_| gone())?;
    workers.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
    Ok(())
}

/// Panics of `rayon::spawn`ed work reach no caller; without this they would end the process.
pub(super) fn report_panic(payload: Box<dyn Any + Send>) {
    if payload.is::<Interrupted>() {
        return;
    }
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let text = text.unwrap_or("a panic whose payload is not text");
    eprintln!("spawned work panicked on thread {}: {text}", super::threadid());
}

/// Tests that make pools take this lock: some count their threads in /proc.
#[cfg(test)]
pub(super) static POOLS: Mutex<()> = Mutex::new(());

#[cfg(test)]
mod tests {
    use super::*;
    use rayon::prelude::*;
    use std::collections::HashSet;
    use std::time::{Duration, Instant};

    /// How many threads of this process are called `parcell-1`, `parcell-2`, … Other tests run
    /// beside this one, so the count of all threads would not tell.
    fn members() -> usize {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        let name = |t: std::fs::DirEntry| std::fs::read_to_string(t.path().join("comm"));
        let is_member = |name: &String| {
            let index = name.trim().strip_prefix("parcell-");
            index.is_some_and(|i| i.len() == 1 && i.parse::<u8>().is_ok())
        };
        tasks.filter_map(|t| name(t.ok()?).ok()).filter(is_member).count()
    }

    fn on_fresh_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
        std::thread::spawn(work).join().unwrap()
    }

    #[test]
    fn a_hundred_resizes_leave_no_thread_behind() {
        let _alone = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
        await_end_of_members();
        for round in 0..100 {
            on_fresh_thread(move || {
                let n = 1 + round % 5;
                let pool = Pool::attach_current(n).unwrap();
                assert_eq!((pool.size(), super::super::nthreads()), (n, n));
                assert_eq!((0..1000_u64).into_par_iter().sum::<u64>(), 499_500);
                // Threads name themselves: each has begun once it has taken part.
                assert_eq!(rayon::broadcast(|c| c.num_threads()), vec![n; n]);
                assert_eq!(members(), n - 1);
                pool.close();
                await_end_of_members();
            });
        }
    }

    fn await_end_of_members() {
        // A joined thread may stay in /proc for an instant.
        let deadline = Instant::now() + Duration::from_secs(10);
        while members() > 0 {
            assert!(Instant::now() < deadline, "{} threads remain", members());
            std::thread::yield_now();
        }
    }

    #[test]
    fn values_that_are_not_send_stay_usable_beside_the_pool() {
        let _alone = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
        let ids = on_fresh_thread(|| {
            let pool = Pool::attach_current(4).unwrap();
            let local = std::rc::Rc::new(7);
            let seen: HashSet<_> = rayon::broadcast(|c| c.index()).into_iter().collect();
            assert_eq!((*local, super::super::threadid()), (7, 0));
            pool.close();
            seen
        });
        assert_eq!(ids, (0..4).collect());
    }

    #[test]
    fn a_member_cannot_join_again_and_zero_is_refused() {
        let _alone = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
        on_fresh_thread(|| {
            let none = Pool::attach_current(0).unwrap_err();
            assert_eq!(none.to_string(), "a pool needs at least 1 thread, 0 were asked for");
            let pool = Pool::attach_current(2).unwrap();
            let again = Pool::attach_current(2).unwrap_err();
            assert_eq!(again.to_string(), "the current thread is already thread 0 of a pool of 2");
            pool.close();
        });
    }

    #[test]
    fn spawned_work_runs_in_a_pool_of_one() {
        let _alone = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
        on_fresh_thread(|| {
            let pool = Pool::attach_current(1).unwrap();
            let (done, is_done) = channel();
            rayon::spawn(move || done.send(()).unwrap());
            assert!(is_done.try_recv().is_err());
            super::super::finish_spawned();
            assert!(is_done.try_recv().is_ok());
            pool.close();
        });
    }

    #[test]
    fn a_panic_in_spawned_work_leaves_the_pool_alive() {
        let _alone = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
        on_fresh_thread(|| {
            let pool = Pool::attach_current(2).unwrap();
            let (ended, has_ended) = channel::<()>();
            rayon::spawn(move || {
                let _ended = ended;
                panic!("meant to happen in this test");
            });
            assert!(has_ended.recv().is_err(), "the sender is dropped by the unwinding");
            assert_eq!((0..100).into_par_iter().sum::<i32>(), 4950);
            pool.close();
        });
    }
}
