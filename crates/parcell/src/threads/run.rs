//! One thread's part of a parallel loop: it claims pieces and runs them, item by item.

use std::cell::Cell;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use rayon::prelude::*;

use super::crew;
use super::panics::{Failures, fenced};
use super::pool;
use super::schedule::{Piece, Queue, Schedule, Source, Table};
use super::space::Space;
use super::sync;

/// What a loop does with its items.
pub(super) trait Task<Item>: Sync {
    /// What is gathered over one piece.
    type State;

    fn begin(&self) -> Self::State;

    /// Takes all items, of which `first` is the first one's position. When an item unwinds, the
    /// state may be lost: nothing is made of a piece that is not complete.
    fn steps(&self, state: &mut Self::State, first: usize, items: impl Iterator<Item = Item>);

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
        on_each_thread(threads, &|k| take_part(&table.hand(k), task, &failures));
    } else {
        let queue = Queue::new(items, schedule, chunk, threads);
        on_free_threads(threads.min(total), &|_| take_part(&queue, task, &failures));
    }
    failures.raise(total, &names);
}

/// As [`run_space`], from a source that ends when it pleases.
pub(super) fn run_source<S: Space>(
    source: &dyn Source<Items = S>,
    taken: impl Fn() -> usize,
    task: &impl Task<S::Item>,
) {
    crate::interrupt::check();
    let failures = Failures::new();
    on_free_threads(rayon::current_num_threads(), &|_| take_part(source, task, &failures));
    failures.raise(taken(), &|position| position.to_string());
}

/// Calls `part` with 0, 1, … `n - 1`, on threads that are free. These are rayon's own jobs: what no
/// other thread takes up the caller does itself, so loops nest, and never wait for a thread that is
/// not there. In a task the caller takes up nothing else while it waits, for which see
/// [`sync::with_help`]; some parts may then be called for twice. Not generic, like what follows, so
/// that it is compiled once and not in every cell.
fn on_free_threads(n: usize, part: &(dyn Fn(usize) + Sync)) {
    if n == 1 {
        part(0);
    } else if crew::in_task() {
        sync::with_help(n, part);
    } else {
        (0..n).into_par_iter().with_max_len(1).for_each(part);
    }
}

/// Calls `part` with each thread's index, on that thread, if all of them can be waited for.
///
/// `broadcast` is the one call of rayon that names threads, and it waits for all. Every thread of
/// a pool looks after broadcasts whenever it waits within rayon, except a cell's, which is busy
/// with other things while nobody waits for the loop there: hence not from the pool's other
/// threads. Nor from within a loop: the thread would wait until the others have done everything
/// else, and begin whatever else there is meanwhile. Nor while a member of the pool is in a wait,
/// which may be for something that this thread does after the loop.
fn on_each_thread(threads: usize, part: &(dyn Fn(usize) + Sync)) {
    let all_come = !INSIDE.get() && !pool::current_is_worker();
    match all_come.then(crew::AwaitsAll::begin).flatten() {
        Some(_awaits_all) => _ = rayon::broadcast(|thread| part(thread.index())),
        None => on_free_threads(threads, part),
    }
}

thread_local! {
    /// Whether this thread takes part in a loop.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Claims and runs pieces until there are none. Does not unwind.
fn take_part<S: Space>(
    source: &dyn Source<Items = S>,
    task: &impl Task<S::Item>,
    failures: &Failures,
) {
    let outside = INSIDE.replace(true);
    fenced(failures, || {
        let mut pace = Pace::new();
        while !failures.ended()
            && let Some(piece) = source.claim(&|| task.limit())
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
    let mut rest = Some(Walk { first, end, block: items.cut(0), later: items });
    while let Some(walk) = rest.take() {
        let going = Going { walk, leave: Some(&mut rest) };
        match catch_unwind(AssertUnwindSafe(|| going.on(&mut state, task, failures, pace))) {
            Ok(to_the_end) => complete &= to_the_end,
            Err(payload) => {
                complete = false;
                let walk = rest.as_ref().expect("a walk that unwinds leaves its rest");
                failures.iteration(walk.position() - 1, payload);
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

/// Where a thread is in its piece.
#[derive(Debug)]
struct Walk<S> {
    /// The positions of the piece's first item and after its last.
    first: usize,
    end: usize,
    /// What runs before the thread looks up again.
    block: S,
    /// What comes after that.
    later: S,
}

impl<S: Space> Walk<S> {
    /// Of the item that comes next. While an item runs it is no longer among those to come.
    #[inline]
    fn position(&self) -> usize {
        self.end - self.later.remaining() - self.block.remaining()
    }

    /// How many of the piece's items came before.
    #[inline]
    fn done(&self) -> usize {
        self.position() - self.first
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
            let Walk { first, end, block, later } = &mut self.walk;
            let (block, later) = (block.cut(usize::MAX), later.cut(usize::MAX));
            *leave = Some(Walk { first: *first, end: *end, block, later });
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
            task.steps(state, walk.position(), walk.block.by_ref());
            if walk.later.remaining() == 0 {
                break true;
            }
            if failures.ended() || walk.position() >= task.limit() {
                break false;
            }
            walk.block = walk.later.cut(pace.next_block(walk.done()));
        };
        self.leave = None;
        to_the_end
    }
}

/// Decides how many iterations make a block, which runs without a look at the interrupt flag so
/// that the compiler can make one plain loop of it. One at first; then as many as take from
/// [`QUICK`] to [`SLOW`], by the clock, but at most [`MOST`].
#[derive(Debug)]
struct Pace {
    /// A power of 2.
    block: usize,
    /// Blocks from one look at the clock to the next.
    every: u32,
    /// Of these, so many are to come.
    left: u32,
    since: Option<Instant>,
}

/// Blocks that take less grow: for them a look at the clock, some 25 ns, would be felt.
const QUICK: Duration = Duration::from_nanos(2500);
/// By this factor, so to what takes not longer than [`SLOW`].
const GROWTH: usize = 8;
/// Blocks that take longer shrink. An interrupt waits for a block that has begun: should its
/// iterations take ten thousand times as long as those before, for 0.2 s.
const SLOW: Duration = Duration::from_micros(20);
/// No block is larger: an interrupt waits less than 0.2 s whatever came before, as long as
/// iterations take less than 25 µs. Between blocks of so many the looks are not felt any more.
const MOST: usize = 8192;
/// Blocks of that size that are still quick are timed together, but not more than this.
const TOGETHER: u32 = 64;

impl Pace {
    fn new() -> Pace {
        Pace { block: 1, every: 1, left: 0, since: None }
    }

    /// The size of the next block, after so many iterations of a piece. Blocks end at multiples
    /// of their size, so that those of an array begin as well aligned as the piece does.
    #[inline]
    fn next_block(&mut self, done: usize) -> usize {
        if self.left == 0 {
            self.look_at_the_clock();
        }
        self.left -= 1;
        self.block - (done & (self.block - 1))
    }

    #[inline(never)]
    fn look_at_the_clock(&mut self) {
        let now = Instant::now();
        if let Some(since) = self.since {
            self.adapt(now.duration_since(since) / self.every);
        }
        self.left = self.every;
        self.since = Some(now);
    }

    /// Chooses the size of the next blocks; one of those before took `time`.
    fn adapt(&mut self, time: Duration) {
        self.every = 1;
        if time < QUICK {
            if self.block == MOST {
                let as_long_as_one = QUICK.subsec_nanos() / time.subsec_nanos().max(1);
                self.every = as_long_as_one.min(TOGETHER);
            }
            self.block = (self.block * GROWTH).min(MOST);
        } else if time > SLOW {
            let times_too_long = time.as_nanos().div_ceil(SLOW.as_nanos());
            let halvings = times_too_long.ilog2() + 1;
            self.block = self.block.checked_shr(halvings).unwrap_or(0).max(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adapted(block: usize, times: &[Duration]) -> Vec<usize> {
        let mut pace = Pace { block, ..Pace::new() };
        let adapt = |time: &Duration| {
            pace.adapt(*time);
            pace.block
        };
        times.iter().map(adapt).collect()
    }

    #[test]
    fn blocks_grow_while_they_are_quick() {
        let nothing = [Duration::ZERO; 6];
        assert_eq!(adapted(1, &nothing), [8, 64, 512, 4096, 8192, 8192]);
        assert_eq!(adapted(1, &[QUICK; 3]), [1, 1, 1]);
        assert_eq!(adapted(64, &[SLOW; 3]), [64, 64, 64]);
    }

    #[test]
    fn blocks_that_became_slow_shrink_below_the_time_allowed() {
        assert_eq!(adapted(512, &[SLOW * 5 / 4, SLOW * 4]), [128, 16]);
        assert_eq!(adapted(MOST, &[Duration::from_secs(1)]), [1]);
        assert_eq!(adapted(1, &[Duration::from_secs(1)]), [1]);
        assert_eq!(adapted(MOST, &[Duration::MAX, Duration::ZERO]), [1, 8]);
    }

    #[test]
    fn blocks_are_timed_together_only_if_that_is_soon_over() {
        let every = |time| {
            let mut pace = Pace { block: MOST, ..Pace::new() };
            pace.adapt(time);
            pace.every
        };
        let times = [Duration::ZERO, QUICK / 10, QUICK * 2 / 3, QUICK, SLOW * 2];
        assert_eq!(times.map(every), [TOGETHER, 10, 1, 1, 1]);
    }

    #[test]
    fn blocks_end_at_multiples_of_their_size() {
        let mut pace = Pace { block: 64, every: 9, left: 9, since: None };
        assert_eq!([0, 1, 63, 64, 100].map(|done| pace.next_block(done)), [64, 63, 1, 64, 28]);
    }
}
