//! Parallel loops with a choice of schedule.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::lanes::Enumerated;
use super::reduce::MapReduce;
use super::run::{Task, run_source, run_space};
use super::schedule::{Schedule, Tap};
use super::space::{IntoSpace, Space};

/// A parallel loop over a range of any integers, a slice (shared or mutable), a grid of two counts
/// or ranges, or ndarray's `outer_iter_mut()`, `axis_iter(Axis(1))` and the like. Nothing runs before one of the [methods](ParFor) that say what to do.
///
/// The loop runs on the rayon pool of the calling thread and blocks until all iterations are
/// done, helping meanwhile. It may stand within other parallel loops, rayon's included, and
/// begins no threads. Iterations run in any order and must not wait for each other.
///
/// Cost: half a microsecond, a few more if threads must be woken, and a lock per chunk; on each
/// iteration as good as nothing: the compiler makes of simple bodies the same loops as of rayon's.
///
/// # Interrupts
/// An interrupt ends the loop by unwinding, as [`interrupt::check`](crate::interrupt::check) does.
/// It waits for the iterations that run, and where they are short for a block of them: as many as
/// took up to 20 µs just before, at most 8192. So it is heeded within 0.2 s unless an iteration
/// itself takes longer or, from one block to the next, iterations become ten thousand times as long
/// and longer than 20 µs; such bodies had better call `interrupt::check` themselves.
///
/// # Panics
/// A panic ends its own iteration; all others still run, unless 64 have panicked. Then the loop
/// unwinds: with the panic itself if there was one, else with a message that tells their number
/// and the first eight with the iterations' indices. Panics also if there are more than
/// `usize::MAX` items.
///
/// ```
/// use parcell::prelude::*;
/// use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
///
/// let sum = AtomicU64::new(0);
/// par_for(0..1000_u64).for_each(|i| { sum.fetch_add(i, Relaxed); });
/// assert_eq!(sum.into_inner(), 499_500);
///
/// let mut squares = vec![1, 2, 3];
/// par_for(&mut squares).schedule(Schedule::Static).for_each(|x| *x *= *x);
/// assert_eq!(squares, [1, 4, 9]);
///
/// let below_diagonal = par_for((100, 100)).map_reduce(|(i, j)| u32::from(j < i), |a, b| a + b, 0);
/// assert_eq!(below_diagonal, 4950);
/// ```
///
/// # Source
/// `Threads.@threads`, julia, `base/threadingconstructs.jl`. There a chunk ends at its first error.
pub fn par_for<I: IntoSpace>(items: I) -> ParFor<I::Space> {
    ParFor { items: items.into_space(), schedule: Schedule::default(), chunk: None }
}

/// A parallel loop over items that are ready to be cut.
pub(crate) fn par_for_space<S: Space>(items: S) -> ParFor<S> {
    ParFor { items, schedule: Schedule::default(), chunk: None }
}

/// A parallel loop over the items of any iterator, also an endless one: free threads take the
/// next item under a lock, as [`Schedule::Greedy`] does. Otherwise as [`par_for`].
///
/// The iterator's `next` runs on one thread at a time and must not call rayon. What it panics
/// with ends the loop at once.
///
/// Cost: a lock and a small allocation per item, or per chunk.
///
/// ```
/// use parcell::prelude::*;
///
/// let words = "a loop over words of unknown number".split_whitespace();
/// let longest = par_for_iter(words).map_reduce(str::len, usize::max, 0);
/// assert_eq!(longest, 7);
///
/// // The first power of 3 above a million: the loop ends once it is found.
/// let powers = std::iter::successors(Some(1_u64), |x| x.checked_mul(3));
/// let found = par_for_iter(powers).try_for_each(|x| if x > 1_000_000 { Err(x) } else { Ok(()) });
/// assert_eq!(found, Err(1_594_323));
/// ```
///
/// # Source
/// `Threads.@threads :greedy` and `Threads.foreach`, julia, `base/threadingconstructs.jl`.
pub fn par_for_iter<I: IntoIterator<IntoIter: Send, Item: Send>>(
    items: I,
) -> ParForIter<I::IntoIter> {
    ParForIter { items: items.into_iter(), chunk: 1 }
}

/// Made by [`par_for`].
#[derive(Debug, Clone)]
#[must_use = "a loop does nothing until it is told what to do with each item"]
pub struct ParFor<S> {
    items: S,
    schedule: Schedule,
    chunk: Option<usize>,
}

/// Made by [`par_for_iter`].
#[derive(Debug, Clone)]
#[must_use = "a loop does nothing until it is told what to do with each item"]
pub struct ParForIter<I> {
    items: I,
    chunk: usize,
}

impl<S: Space> ParFor<S> {
    /// How iterations are dealt to threads; [`Schedule::Dynamic`] unless told.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// // The thread that fills a block of the array is the one that reads it later.
    /// let mut data = vec![0.0; 10_000];
    /// par_for(&mut data).schedule(Schedule::Static).for_each(|x| *x = 1.0);
    /// let sum = par_for(&data).schedule(Schedule::Static).map_reduce(|x| *x, |a, b| a + b, 0.0);
    /// assert_eq!(sum, 10_000.0);
    /// ```
    pub fn schedule(self, schedule: Schedule) -> ParFor<S> {
        ParFor { schedule, ..self }
    }

    /// How many consecutive iterations a thread takes at once, see [`Schedule`].
    ///
    /// # Panics
    /// If `n` is 0.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// par_for(0..100).schedule(Schedule::Dynamic).chunk(10).for_each(|_| ());
    /// ```
    #[track_caller]
    pub fn chunk(self, n: usize) -> ParFor<S> {
        ParFor { chunk: Some(at_least_one(n)), ..self }
    }
}

impl<S: Space> ParFor<S> {
    /// Gives each iteration its item's position, from 0, beside the item.
    ///
    /// ```
    /// use parcell::ndarray::Array2;
    /// use parcell::prelude::*;
    ///
    /// let mut squares = vec![0; 10];
    /// par_for(&mut squares).enumerate().for_each(|(i, x)| *x = i * i);
    /// assert_eq!(squares[9], 81);
    ///
    /// let mut table = Array2::zeros((3, 4));
    /// par_for(table.outer_iter_mut()).enumerate().for_each(|(i, mut row)| row.fill(i));
    /// assert_eq!(table[[2, 3]], 2);
    /// ```
    pub fn enumerate(self) -> ParFor<Enumerated<S>> {
        let ParFor { items, schedule, chunk } = self;
        ParFor { items: Enumerated::new(items), schedule, chunk }
    }
}

impl<I> ParForIter<I> {
    /// How many items a thread takes at once; 1 unless told.
    ///
    /// # Panics
    /// If `n` is 0.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let odd = (0..100_u32).filter(|n| n % 2 == 1);
    /// let sum = par_for_iter(odd).chunk(8).map_reduce(|n| n, |a, b| a + b, 0);
    /// assert_eq!(sum, 2500);
    /// ```
    #[track_caller]
    pub fn chunk(self, n: usize) -> ParForIter<I> {
        ParForIter { chunk: at_least_one(n), ..self }
    }
}

#[track_caller]
fn at_least_one(n: usize) -> usize {
    assert!(n > 0, "a chunk has at least 1 iteration, 0 were asked for");
    n
}

/// What both kinds of loops can do.
macro_rules! verbs {
    ($loop:ident<$items:ident>, [$($bound:tt)+], $example:literal) => {
        impl<$items: $($bound)+> $loop<$items>
        where
            $items::Item: Send,
        {
            /// Calls `f` with each item and blocks until all calls have returned.
            ///
            /// # Panics
            /// As [`par_for`] says.
            ///
            /// ```
            /// use parcell::prelude::*;
            /// use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
            ///
            /// let count = AtomicUsize::new(0);
            #[doc = concat!($example, ".for_each(|_| { count.fetch_add(1, Relaxed); });")]
            /// assert_eq!(count.into_inner(), 10);
            /// ```
            ///
            /// # Source
            /// `Threads.@threads`, julia, `base/threadingconstructs.jl`.
            pub fn for_each(self, f: impl Fn($items::Item) + Sync) {
                self.run(&Each(f));
            }

            /// Calls `f` with each item until a call fails, and blocks until no call is running.
            /// The error is that of the first item for which `f` fails: those before it all ran,
            /// of those after it some.
            ///
            /// # Errors
            /// The first of `f`'s, by the order of the items.
            ///
            /// # Panics
            /// As [`par_for`] says; a panic counts for more than an error.
            ///
            /// ```
            /// use parcell::prelude::*;
            ///
            #[doc = concat!("let first_above_5 = ", $example)]
            ///     .try_for_each(|i| if i > 5 { Err(i) } else { Ok(()) });
            /// assert_eq!(first_above_5, Err(6));
            /// ```
            ///
            /// # Source
            /// `rayon::iter::ParallelIterator::try_for_each`, but the first error and not any.
            pub fn try_for_each<E: Send>(
                self,
                f: impl Fn($items::Item) -> Result<(), E> + Sync,
            ) -> Result<(), E> {
                let task = TryEach { f, limit: AtomicUsize::new(usize::MAX), first: Mutex::new(None) };
                self.run(&task);
                let first = task.first.into_inner().unwrap_or_else(PoisonError::into_inner);
                first.map_or(Ok(()), |(_, error)| Err(error))
            }

            /// Combines what `f` makes of the items, in their order, beginning with `init`: the
            /// answer of a serial loop for every associative `op`. Without items it is `init`.
            /// Blocks until it is known.
            ///
            /// `init` is used once. Sums of floats, which are not quite associative, depend on
            /// the sizes of the chunks, so on schedule and number of threads, but on nothing else.
            ///
            /// Cost: `op` is called once per item, and once per chunk on one thread at a time.
            ///
            /// # Panics
            /// As [`par_for`] says; a panic in `op` between chunks ends the loop at once.
            ///
            /// ```
            /// use parcell::prelude::*;
            ///
            #[doc = concat!("let digits = ", $example)]
            ///     .map_reduce(|i| i.to_string(), |a, b| a + &b, String::new());
            /// assert_eq!(digits, "0123456789");
            /// ```
            ///
            /// # Source
            /// `ThreadsX.mapreduce`, ThreadsX.jl, `src/reduce.jl`.
            pub fn map_reduce<R: Send>(
                self,
                f: impl Fn($items::Item) -> R + Sync,
                op: impl Fn(R, R) -> R + Sync,
                init: R,
            ) -> R {
                let task = MapReduce::new(f, op, init);
                self.run(&task);
                task.result()
            }
        }
    };
}

verbs!(ParFor<S>, [Space], "par_for(0..10)");
verbs!(ParForIter<I>, [Iterator + Send], "par_for_iter(0..10)");

impl<S: Space<Item: Send>> ParFor<S> {
    /// As `map_reduce`, without a value to begin with; `None` if there are no items.
    pub(crate) fn map_reduce_nonempty<R: Send>(
        self,
        f: impl Fn(S::Item) -> R + Sync,
        op: impl Fn(R, R) -> R + Sync,
    ) -> Option<R> {
        let task = MapReduce::without_init(f, op);
        self.run(&task);
        task.result_if_any()
    }
}

impl<S: Space> ParFor<S> {
    fn run(self, task: &impl Task<S::Item>) {
        run_space(self.items, self.schedule, self.chunk, task);
    }
}

impl<I: Iterator<Item: Send> + Send> ParForIter<I> {
    fn run(self, task: &impl Task<I::Item>) {
        let tap = Tap::new(self.items, self.chunk);
        run_source(&tap, || tap.taken(), task);
    }
}

/// Calls a function for its effects.
struct Each<F>(F);

impl<T, F: Fn(T) + Sync> Task<T> for Each<F> {
    type State = ();

    fn begin(&self) {}

    #[inline]
    fn steps(&self, (): &mut (), _first: usize, items: impl Iterator<Item = T>) {
        for item in items {
            (self.0)(item);
        }
    }

    fn end(&self, _piece: std::ops::Range<usize>, (): ()) {}
}

/// Calls a function that may fail.
struct TryEach<F, E> {
    f: F,
    /// Position of the first error so far.
    limit: AtomicUsize,
    first: Mutex<Option<(usize, E)>>,
}

impl<T, E: Send, F: Fn(T) -> Result<(), E> + Sync> Task<T> for TryEach<F, E> {
    type State = ();

    fn begin(&self) {}

    #[inline]
    fn steps(&self, (): &mut (), first: usize, items: impl Iterator<Item = T>) {
        for (position, item) in (first..).zip(items) {
            if position < self.limit()
                && let Err(error) = (self.f)(item)
            {
                self.note(position, error);
            }
        }
    }

    fn end(&self, _piece: std::ops::Range<usize>, (): ()) {}

    #[inline]
    fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }
}

impl<F, E> TryEach<F, E> {
    #[cold]
    fn note(&self, position: usize, error: E) {
        self.limit.fetch_min(position, Ordering::Relaxed);
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        if first.as_ref().is_none_or(|(earlier, _)| position < *earlier) {
            *first = Some((position, error));
        }
    }
}
