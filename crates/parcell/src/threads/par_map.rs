//! A parallel map over iterators that cannot be split, with its results in order.

use std::iter::{Flatten, FusedIterator};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{fmt, vec};

use crate::interrupt;

/// A round is cut into so many pieces for each thread.
const PIECES_PER_THREAD: usize = 8;
/// Rounds shorter than this are followed by longer ones: each ends with threads waiting for the
/// slowest.
const LONG: Duration = Duration::from_millis(10);
/// No round has more items, unless told otherwise.
const LOOK_AHEAD: usize = 1 << 14;

/// Gives all iterators a parallel map, as rayon's `ParallelBridge` gives them `par_bridge`. In the
/// prelude.
pub trait ParallelMap: Iterator + Sized {
    /// Applies the closure to the items on all threads; an iterator over the results, in order.
    ///
    /// For iterators that cannot be split: lines of a file, random numbers, a series. Only the
    /// thread that asks for results takes items from the source, which therefore need not be
    /// `Send`; the other threads work on them meanwhile. Where items can be split,
    /// `into_par_iter().map(f)` costs less, and where the order does not matter, `par_bridge()`.
    ///
    /// It works in rounds, when a result is asked for that is not there, and blocks for one round.
    /// The first has as many items as the pool has threads. Rounds double to eight times that, and
    /// further while they take less than 10 ms, up to 16 384 items: so far it looks ahead of what
    /// was asked for, also into an endless source. Cost: some microseconds per round and
    /// a rayon task for each of its at most 8 pieces per thread; at the end of a round threads wait
    /// for the last piece.
    ///
    /// # Panics
    /// `next` unwinds with an interrupt, and with what source or closure panic with. There are no
    /// further results then.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let text = "lines of\nsome file\nwith words";
    /// let counts: Vec<usize> = text.lines().par_map(|line| line.split(' ').count()).collect();
    /// assert_eq!(counts, [2, 2, 2]);
    ///
    /// let squares: Vec<u64> = (1..).par_map(|x: u64| x * x).take(4).collect();
    /// assert_eq!(squares, [1, 4, 9, 16]);
    /// ```
    ///
    /// # Source
    /// `ThreadsX.mapi`, ThreadsX.jl, `src/docs/mapi.md`, which collects all results at once.
    fn par_map<F, R>(self, f: F) -> ParMap<Self, F, R>
    where
        Self::Item: Send,
        F: Fn(Self::Item) -> R + Sync,
        R: Send,
    {
        ParMap {
            source: Some(self),
            f,
            ready: Vec::new().into_iter().flatten(),
            round: 0,
            look_ahead: LOOK_AHEAD,
        }
    }
}

impl<I: Iterator> ParallelMap for I {}

/// An iterator over results in order, made by [`par_map`](ParallelMap::par_map). Dropping it drops
/// the results that were computed ahead.
#[must_use = "does nothing unless results are asked for"]
pub struct ParMap<I, F, R> {
    /// `None` once it has ended, or something has panicked.
    source: Option<I>,
    f: F,
    ready: Flatten<vec::IntoIter<Vec<R>>>,
    /// Items of the last round.
    round: usize,
    look_ahead: usize,
}

impl<I, F, R> ParMap<I, F, R> {
    /// Takes at most so many items from the source, and at least one, before their results are
    /// asked for.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let mut source = 0..100;
    /// let firsts: Vec<i32> = source.by_ref().par_map(|x| 2 * x).look_ahead(1).take(3).collect();
    /// assert_eq!((firsts, source.next()), (vec![0, 2, 4], Some(3)));
    /// ```
    pub fn look_ahead(mut self, items: usize) -> Self {
        self.look_ahead = items.max(1);
        self
    }
}

impl<I, F, R> ParMap<I, F, R>
where
    I: Iterator<Item: Send>,
    F: Fn(I::Item) -> R + Sync,
    R: Send,
{
    /// Maps the next items. The source is given back only if nothing panicked.
    fn refill(&mut self) {
        interrupt::check();
        let Some(mut source) = self.source.take() else { return };
        let threads = rayon::current_num_threads();
        let round = self.round.max(threads).min(self.look_ahead);
        let start = Instant::now();
        let (results, ended) = map_round(&mut source, &self.f, round);
        self.ready = results.into_iter().flatten();
        let short = start.elapsed() < LONG || round < PIECES_PER_THREAD * threads;
        self.round = if short { round.saturating_mul(2) } else { round };
        self.source = (!ended).then_some(source);
    }
}

/// Maps the next `round` items, in pieces: this thread takes them from the source, and all work on
/// them. True if the source has ended.
fn map_round<T: Send, R: Send>(
    source: &mut impl Iterator<Item = T>,
    f: &(impl Fn(T) -> R + Sync),
    round: usize,
) -> (Vec<Vec<R>>, bool) {
    let size = round.div_ceil(PIECES_PER_THREAD * rayon::current_num_threads());
    let pieces: Vec<Mutex<Vec<R>>> = (0..round.div_ceil(size)).map(|_| Mutex::default()).collect();
    let mut ended = false;
    rayon::in_place_scope(|scope| {
        for (k, piece) in pieces.iter().enumerate() {
            interrupt::check();
            let size = size.min(round - k * size);
            let items: Vec<T> = source.take(size).collect();
            ended = items.len() < size;
            scope.spawn(move |_| {
                let checked = interrupt::interruptible(items);
                let results = checked.map(f).collect();
                *piece.lock().unwrap_or_else(PoisonError::into_inner) = results;
            });
            if ended {
                break;
            }
        }
    });
    let results =
        pieces.into_iter().map(|p| p.into_inner().unwrap_or_else(PoisonError::into_inner));
    (results.collect(), ended)
}

impl<I, F, R> Iterator for ParMap<I, F, R>
where
    I: Iterator<Item: Send>,
    F: Fn(I::Item) -> R + Sync,
    R: Send,
{
    type Item = R;

    fn next(&mut self) -> Option<R> {
        if let Some(result) = self.ready.next() {
            return Some(result);
        }
        self.refill();
        self.ready.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let (least_ready, most_ready) = self.ready.size_hint();
        let (least, most) = self.source.as_ref().map_or((0, Some(0)), Iterator::size_hint);
        let most = most.zip(most_ready).and_then(|(a, b)| a.checked_add(b));
        (least.saturating_add(least_ready), most)
    }
}

impl<I, F, R> FusedIterator for ParMap<I, F, R>
where
    I: Iterator<Item: Send>,
    F: Fn(I::Item) -> R + Sync,
    R: Send,
{
}

impl<I, F, R> fmt::Debug for ParMap<I, F, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ended = self.source.is_none();
        f.debug_struct("ParMap").field("ended", &ended).finish_non_exhaustive()
    }
}
