//! One thread's part of a parallel loop: it claims pieces and runs them, item by item.

use std::cell::Cell;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use rayon::prelude::*;

use super::panics::{Failures, fenced};
use super::pool;
use super::schedule::{Piece, Queue, Schedule, Source, Table};
use super::space::Space;

/// What a loop does with its items.
pub(super) trait Task<Item>: Sync {
    /// What is gathered over one piece.
    type State;

    fn begin(&self) -> Self::State;

    fn step(&self, state: &mut Self::State, position: usize, item: Item);

    /// Called for the pieces of which all items were stepped over.
    fn end(&self, piece: Range<usize>, state: Self::State);

    /// Items from this position on are not wanted any more.
    fn limit(&self) -> usize {
        usize::MAX
    }
}

/// Runs all items and returns when they are done; unwinds if iterations did.
pub(super) fn run_space<S: Space>(
    items: S,
    schedule: Schedule,
    chunk: Option<usize>,
    task: &impl Task<S::Item>,
) {
    crate::interrupt::check();
    let total = items.remaining();
    if total == 0 {
        return;
    }
    let names = items.names();
    let failures = Failures::new();
    let threads = rayon::current_num_threads();
    if schedule == Schedule::Static {
        let table = Table::new(items, chunk, threads);
        on_each_thread(threads, |k| take_part(&table.hand(k), task, &failures));
    } else {
        let queue = Queue::new(items, schedule, chunk, threads);
        on_free_threads(threads.min(total), |_| take_part(&queue, task, &failures));
    }
    failures.raise(total, &names);
}

/// As [`run_space`], from a source that ends when it pleases.
pub(super) fn run_source<Q: Source>(
    source: &Q,
    taken: impl Fn() -> usize,
    task: &impl Task<<Q::Items as Iterator>::Item>,
) {
    crate::interrupt::check();
    let failures = Failures::new();
    on_free_threads(rayon::current_num_threads(), |_| take_part(source, task, &failures));
    failures.raise(taken(), &|position| position.to_string());
}

/// Calls `part` with 0, 1, … `n - 1`, each on a thread that is free. These are rayon's own jobs:
/// what no other thread takes up the caller does itself, so loops nest, and never wait for a
/// thread that is not there.
fn on_free_threads(n: usize, part: impl Fn(usize) + Sync) {
    (0..n).into_par_iter().with_max_len(1).for_each(&part);
}

/// Calls `part` with each thread's index, on that thread, if all of them can be waited for.
///
/// `broadcast` is the one call of rayon that names threads, and it waits for all. Every thread of
/// a pool looks after broadcasts whenever it waits within rayon, except a cell's, which is busy
/// with other things while nobody waits for the loop there: hence not from the pool's other
/// threads. Nor from within a loop: the thread would wait until the others have done everything
/// else, and begin whatever else there is meanwhile.
fn on_each_thread(threads: usize, part: impl Fn(usize) + Sync) {
    if INSIDE.get() || pool::current_is_worker() {
        return on_free_threads(threads, part);
    }
    rayon::broadcast(|thread| part(thread.index()));
}

thread_local! {
    /// Whether this thread takes part in a loop.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Claims and runs pieces until there are none. Does not unwind.
fn take_part<Q: Source, T>(source: &Q, task: &T, failures: &Failures)
where
    T: Task<<Q::Items as Iterator>::Item>,
{
    let outside = INSIDE.replace(true);
    fenced(failures, || {
        let mut pace = Pace::new();
        while !failures.ended()
            && let Some(piece) = source.claim(|| task.limit())
        {
            run_piece(piece, task, failures, &mut pace);
        }
    });
    INSIDE.set(outside);
}

fn run_piece<S: Space>(
    Piece { first, mut items }: Piece<S>,
    task: &impl Task<S::Item>,
    failures: &Failures,
    pace: &mut Pace,
) {
    let end = first + items.remaining();
    let mut state = task.begin();
    let mut complete = true;
    let mut rest = Some(Walk { position: first, run: items.cut(0), later: items });
    while let Some(walk) = rest.take() {
        let going = Going { walk, leave: Some(&mut rest) };
        match catch_unwind(AssertUnwindSafe(|| going.on(&mut state, task, failures, pace))) {
            Ok(to_the_end) => complete &= to_the_end,
            Err(payload) => {
                complete = false;
                let failed = rest.as_mut().expect("a walk that unwinds leaves its rest");
                failures.iteration(failed.position, payload);
                failed.position += 1;
                if failures.ended() {
                    return;
                }
            }
        }
    }
    if complete {
        task.end(first..end, state);
    }
}

/// A walk that leaves its rest behind when an item unwinds. It is owned while it goes on, not
/// borrowed, so that the compiler keeps it in registers.
#[derive(Debug)]
struct Going<'a, S: Space> {
    walk: Walk<S>,
    leave: Option<&'a mut Option<Walk<S>>>,
}

impl<S: Space> Drop for Going<'_, S> {
    #[inline]
    fn drop(&mut self) {
        if let Some(leave) = self.leave.take() {
            let Walk { position, run, later } = &mut self.walk;
            let (run, later) = (run.cut(usize::MAX), later.cut(usize::MAX));
            *leave = Some(Walk { position: *position, run, later });
        }
    }
}

impl<S: Space> Going<'_, S> {
    /// Walks on; true if that came to the end of the piece.
    #[inline]
    fn on<T: Task<S::Item>>(
        mut self,
        state: &mut T::State,
        task: &T,
        failures: &Failures,
        pace: &mut Pace,
    ) -> bool {
        let walk = &mut self.walk;
        let to_the_end = loop {
            for item in walk.run.by_ref() {
                task.step(state, walk.position, item);
                walk.position += 1;
            }
            if walk.later.remaining() == 0 {
                break true;
            }
            if failures.ended() || walk.position >= task.limit() {
                break false;
            }
            walk.run = walk.later.cut(pace.next_run());
        };
        self.leave = None;
        to_the_end
    }
}

/// Where a thread is in its piece.
#[derive(Debug)]
struct Walk<S> {
    /// Of the item that runs or comes next.
    position: usize,
    /// What runs before the thread looks up again.
    run: S,
    /// What comes after that.
    later: S,
}

/// Decides how many iterations run before the thread looks whether to end: one, or, where they
/// are so short that looking would be felt, [`RUN`]. So an interrupt waits for one iteration, and
/// in the worst case, short iterations that suddenly become long, for [`RUN`].
#[derive(Debug)]
struct Pace {
    run: usize,
    /// Runs until the next look at the clock.
    runs: usize,
    since: Option<Instant>,
}

/// Short iterations run so many at a time: a multiple of the machine's vector lengths.
const RUN: usize = 16;
/// An iteration that takes less is short.
const SHORT: Duration = Duration::from_micros(1);
/// Runs between two looks at the clock, which costs some 30 ns, for long and for short iterations.
const RUNS: [usize; 2] = [16, 256];

impl Pace {
    fn new() -> Pace {
        Pace { run: 1, runs: 0, since: None }
    }

    #[inline]
    fn next_run(&mut self) -> usize {
        if self.runs == 0 {
            self.look_at_the_clock();
        }
        self.runs -= 1;
        self.run
    }

    #[inline(never)]
    fn look_at_the_clock(&mut self) {
        let now = Instant::now();
        let short = |since| {
            let iterations = if self.run == 1 { RUNS[0] } else { RUNS[1] * RUN };
            now.duration_since(since).as_nanos() < SHORT.as_nanos() * iterations as u128
        };
        let short = self.since.is_some_and(short);
        *self = Pace {
            run: if short { RUN } else { 1 },
            runs: RUNS[usize::from(short)],
            since: Some(now),
        };
    }
}
