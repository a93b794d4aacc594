//! How the items of a parallel loop are dealt to threads.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use super::space::Space;

/// Guided chunks are what is left, divided by this and the number of threads.
const GUIDED: usize = 2;
/// Dynamic chunks are this many for each thread, unless told otherwise.
const CHUNKS_PER_THREAD: usize = 8;

/// How the iterations of a [`par_for`](super::par_for()) are dealt to threads.
///
/// ```
/// use parcell::prelude::*;
///
/// let mut squares = [0; 100];
/// par_for(&mut squares).schedule(Schedule::Guided).chunk(4).for_each(|x| *x += 1);
/// assert_eq!(squares, [1; 100]);
/// ```
///
/// # Source
/// `Threads.@threads` with `:static`, `:dynamic` and `:greedy`, julia, `base/threadingconstructs.jl`;
/// guided and the meaning of chunks are OpenMP's `schedule` clause.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Schedule {
    /// Each thread of the pool gets one block of consecutive iterations, thread `k` block `k`.
    /// The blocks are equally long, up to one item more in the first ones. With a chunk size `n`
    /// the threads get chunks of `n` in turn instead. For iterations that cost the same, and for
    /// state that belongs to threads.
    ///
    /// The loop waits for every thread of the pool, also for one that is busy with other work, and
    /// an interrupt ends that wait only when it ends the other work. A loop inside another parallel
    /// loop, or on a pool thread whose work nobody waits for, must not: the thread it would wait
    /// for may be the cell's, which comes back to the pool when it pleases. Nor does one that begins
    /// while a task on a pool thread waits, say for a channel. There the blocks are the same, and
    /// each goes as a whole to a thread that is free.
    Static,
    /// Threads that are free take the next chunk. A chunk has `n / (8 × threads)` iterations
    /// unless told otherwise. The default: for iterations whose costs differ somewhat.
    #[default]
    Dynamic,
    /// As dynamic, but chunks become smaller to the end: each is `1 / (2 × threads)` of what is
    /// left, and not smaller than the chunk size, which is 1 unless told otherwise. For
    /// iterations whose costs differ a lot.
    Guided,
    /// Threads that are free take the next iteration, or as many as the chunk size says. For
    /// few iterations that take long.
    Greedy,
}

/// A piece of a loop: consecutive items and the position of the first.
#[derive(Debug)]
pub(super) struct Piece<S> {
    pub(super) first: usize,
    pub(super) items: S,
}

/// Where threads take pieces from.
pub(super) trait Source: Sync {
    type Items: Space;

    /// The next piece; `None` when none is left that begins before `limit`. Pieces come in order.
    fn claim(&self, limit: &dyn Fn() -> usize) -> Option<Piece<Self::Items>>;
}

/// What the threads that are free take pieces from. A lock per piece.
#[derive(Debug)]
pub(super) struct Queue<S> {
    rest: Mutex<Piece<S>>,
    size: PieceSize,
}

#[derive(Debug)]
enum PieceSize {
    Fixed(usize),
    Guided { least: usize, divisor: usize },
}

impl<S: Space> Queue<S> {
    pub(super) fn new(items: S, schedule: Schedule, chunk: Option<usize>, threads: usize) -> Self {
        let total = items.remaining();
        let size = match schedule {
            Schedule::Static | Schedule::Dynamic => {
                let default = || total.div_ceil(CHUNKS_PER_THREAD * threads).max(1);
                PieceSize::Fixed(chunk.unwrap_or_else(default))
            }
            Schedule::Guided => {
                PieceSize::Guided { least: chunk.unwrap_or(1), divisor: GUIDED * threads }
            }
            Schedule::Greedy => PieceSize::Fixed(chunk.unwrap_or(1)),
        };
        Queue { rest: Mutex::new(Piece { first: 0, items }), size }
    }
}

impl<S: Space> Source for Queue<S> {
    type Items = S;

    fn claim(&self, limit: &dyn Fn() -> usize) -> Option<Piece<S>> {
        let mut rest = self.rest.lock().unwrap_or_else(PoisonError::into_inner);
        let left = rest.items.remaining();
        if left == 0 || rest.first >= limit() {
            return None;
        }
        let n = match self.size {
            PieceSize::Fixed(n) => n,
            PieceSize::Guided { least, divisor } => least.max(left.div_ceil(divisor)),
        };
        Some(rest.cut(n))
    }
}

/// What a static loop deals from: piece after piece, to one thread after the other.
#[derive(Debug)]
pub(super) struct Table<S>(Mutex<Deal<S>>);

#[derive(Debug)]
struct Deal<S> {
    rest: Piece<S>,
    /// Pieces that were dealt to each thread and that it did not take yet.
    hands: Vec<VecDeque<Piece<S>>>,
    /// The thread that gets the next piece.
    next: usize,
    /// Items of a piece, but one more for so many first threads.
    size: usize,
    longer: usize,
}

/// What one thread of a static loop gets.
#[derive(Debug)]
pub(super) struct Hand<'a, S> {
    table: &'a Table<S>,
    thread: usize,
}

impl<S: Space> Table<S> {
    pub(super) fn new(items: S, chunk: Option<usize>, threads: usize) -> Table<S> {
        let total = items.remaining();
        let block = (total / threads, total % threads);
        let (size, longer) = chunk.map_or(block, |size| (size, 0));
        let hands = (0..threads).map(|_| VecDeque::new()).collect();
        Table(Mutex::new(Deal { rest: Piece { first: 0, items }, hands, next: 0, size, longer }))
    }

    pub(super) fn hand(&self, thread: usize) -> Hand<'_, S> {
        Hand { table: self, thread }
    }
}

impl<S: Space> Source for Hand<'_, S> {
    type Items = S;

    fn claim(&self, limit: &dyn Fn() -> usize) -> Option<Piece<S>> {
        let mut deal = self.table.0.lock().unwrap_or_else(PoisonError::into_inner);
        while deal.hands[self.thread].is_empty() && deal.rest.items.remaining() > 0 {
            deal.deal();
        }
        let piece = deal.hands[self.thread].pop_front()?;
        (piece.first < limit()).then_some(piece)
    }
}

impl<S: Space> Deal<S> {
    fn deal(&mut self) {
        let piece = self.rest.cut(self.size + usize::from(self.next < self.longer));
        self.hands[self.next].push_back(piece);
        self.next = (self.next + 1) % self.hands.len();
    }
}

impl<S: Space> Piece<S> {
    /// Takes the first `n` items off.
    fn cut(&mut self, n: usize) -> Piece<S> {
        let (first, items) = (self.first, self.items.cut(n));
        self.first += items.remaining();
        Piece { first, items }
    }
}

/// An iterator that threads take items from. Its `next` runs under the lock.
#[derive(Debug)]
pub(super) struct Tap<I> {
    items: Mutex<(usize, I)>,
    chunk: usize,
}

impl<I> Tap<I> {
    pub(super) fn new(items: I, chunk: usize) -> Tap<I> {
        Tap { items: Mutex::new((0, items)), chunk }
    }

    /// How many items were taken.
    pub(super) fn taken(&self) -> usize {
        self.items.lock().unwrap_or_else(PoisonError::into_inner).0
    }
}

impl<I: Iterator<Item: Send> + Send> Source for Tap<I> {
    type Items = std::vec::IntoIter<I::Item>;

    fn claim(&self, limit: &dyn Fn() -> usize) -> Option<Piece<Self::Items>> {
        // An iterator that panicked is not asked again.
        let mut tap = self.items.lock().ok()?;
        if tap.0 >= limit() {
            return None;
        }
        let items: Vec<I::Item> = tap.1.by_ref().take(self.chunk).collect();
        let first = tap.0;
        tap.0 += items.len();
        (!items.is_empty()).then(|| Piece { first, items: items.into_iter() })
    }
}

impl<T: Send> Space for std::vec::IntoIter<T> {
    #[inline]
    fn remaining(&self) -> usize {
        self.len()
    }

    fn cut(&mut self, n: usize) -> Self {
        if n >= self.len() {
            return std::mem::take(self);
        }
        self.by_ref().take(n).collect::<Vec<T>>().into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::threads::IntoSpace;

    fn sizes(source: &impl Source) -> Vec<usize> {
        let claims = std::iter::from_fn(|| source.claim(&|| usize::MAX));
        claims.map(|piece| piece.items.remaining()).collect()
    }

    fn queue(n: usize, schedule: Schedule, chunk: Option<usize>) -> Vec<usize> {
        sizes(&Queue::new((0..n).into_space(), schedule, chunk, 4))
    }

    #[test]
    fn dynamic_pieces_have_one_size() {
        assert_eq!(queue(10, Schedule::Dynamic, Some(4)), [4, 4, 2]);
        assert_eq!(queue(320, Schedule::Dynamic, None), [10; 32]);
        assert_eq!(queue(3, Schedule::Dynamic, None), [1, 1, 1]);
        assert_eq!(queue(3, Schedule::Greedy, None), [1, 1, 1]);
        assert_eq!(queue(0, Schedule::Dynamic, None), []);
    }

    #[test]
    fn guided_pieces_shrink_to_the_chunk_size() {
        assert_eq!(queue(20, Schedule::Guided, None), [3, 3, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1]);
        assert_eq!(queue(40, Schedule::Guided, Some(4)), [5, 5, 4, 4, 4, 4, 4, 4, 4, 2]);
    }

    #[test]
    fn static_hands_differ_by_one_item_and_follow_each_other() {
        let dealt = |n: usize, chunk| -> Vec<Vec<Vec<usize>>> {
            let table = Table::new((0..n).into_space(), chunk, 3);
            // The last thread comes first: what it passes by stays for the others.
            let hands = [2, 1, 0].map(|thread| table.hand(thread));
            let pieces = hands.map(|hand| {
                let claims = std::iter::from_fn(|| hand.claim(&|| usize::MAX));
                claims.map(|piece| piece.items.collect()).collect()
            });
            pieces.into_iter().rev().collect()
        };
        assert_eq!(dealt(8, None), [[vec![0, 1, 2]], [vec![3, 4, 5]], [vec![6, 7]]]);
        assert_eq!(dealt(2, None), [vec![vec![0]], vec![vec![1]], vec![]]);
        assert_eq!(dealt(0, None), [const { Vec::<Vec<usize>>::new() }; 3]);
        let in_turn = [vec![vec![0, 1], vec![6, 7]], vec![vec![2, 3]], vec![vec![4, 5]]];
        assert_eq!(dealt(8, Some(2)), in_turn);
    }

    #[test]
    fn a_tap_counts_what_it_gives() {
        let tap = Tap::new("abcde".chars().filter(|c| *c != 'c'), 3);
        let firsts: Vec<_> = std::iter::from_fn(|| tap.claim(&|| usize::MAX))
            .map(|piece| (piece.first, piece.items.collect::<String>()))
            .collect();
        assert_eq!(firsts, [(0, "abd".to_owned()), (3, "e".to_owned())]);
        assert_eq!(tap.taken(), 4);
    }
}
