//! What a distributed loop runs over, and how it is cut into the portions that workers get.

use std::iter::{Rev, StepBy};
use std::ops::{Range, RangeInclusive};

use serde::{Deserialize, Serialize};

use super::portable::Portable;
use crate::threads::{Integer, Integers, IntoSpace, Schedule, Space};

/// Consecutive items of a loop, as they travel to a worker.
pub trait Portion: Portable {
    /// What an iteration gets.
    type Item: Send;
    /// The items where they are run.
    type Space: Space<Item = Self::Item>;

    /// The items, ready to be dealt to threads.
    fn into_space(self) -> Self::Space;
}

/// All items of a loop that have not been cut off yet.
pub trait Whole: Send + 'static {
    /// What is cut off.
    type Portion: Portion;

    /// How many items are left.
    fn left(&self) -> usize;

    /// Takes the first `n` items off, or all if there are fewer.
    fn cut(&mut self, n: usize) -> Self::Portion;
}

/// What [`distributed!`](crate::distributed!) runs over: ranges of integers, also reversed or
/// stepped; vectors, slices and arrays of values that can be sent, of which iterations get copies.
#[diagnostic::on_unimplemented(
    message = "a distributed loop cannot run over a `{Self}`",
    label = "cannot be dealt to workers",
    note = "it runs over ranges of integers (also `.rev()` and `.step_by(n)`), vectors, slices and \
            arrays: collect other things first, `iterator.collect::<Vec<_>>()`"
)]
pub trait Loopable {
    /// What an iteration gets.
    type Item;
    /// What a worker gets.
    type Portion: Portion<Item = Self::Item>;
    /// All of it.
    type Whole: Whole<Portion = Self::Portion>;

    /// All items.
    fn whole(self) -> Self::Whole;
}

/// Consecutive integers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consecutive<T> {
    first: T,
    count: usize,
}

impl<T: Integer + Portable> Portion for Consecutive<T> {
    type Item = T;
    type Space = Integers<T>;

    fn into_space(self) -> Integers<T> {
        Integers::from_first(self.first, self.count)
    }
}

impl<T: Integer + Portable> Whole for Consecutive<T> {
    type Portion = Consecutive<T>;

    fn left(&self) -> usize {
        self.count
    }

    fn cut(&mut self, n: usize) -> Consecutive<T> {
        let count = n.min(self.count);
        let front = Consecutive { first: self.first, count };
        *self = Consecutive { first: self.first.plus(count), count: self.count - count };
        front
    }
}

/// Integers at equal distances, up or down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Strided<T> {
    first: T,
    count: usize,
    distance: usize,
    down: bool,
}

impl<T: Integer> Strided<T> {
    /// What an iterator gives that is known to give integers at equal distances.
    #[track_caller]
    fn of(mut items: impl Iterator<Item = T>, none: T) -> Strided<T> {
        let count = items.size_hint().1;
        let count = count.unwrap_or_else(|| panic!("a loop has at most {} iterations", usize::MAX));
        let first = items.next().unwrap_or(none);
        let second = items.next().unwrap_or(first);
        let down = second < first;
        let distance = if down { second.up_to(first) } else { first.up_to(second) };
        Strided { first, count, distance, down }
    }

    #[inline]
    fn at(&self, position: usize) -> T {
        let away = position.wrapping_mul(self.distance);
        if self.down { self.first.minus(away) } else { self.first.plus(away) }
    }
}

impl<T: Integer> Iterator for Strided<T> {
    type Item = T;

    #[inline]
    fn next(&mut self) -> Option<T> {
        if self.count == 0 {
            return None;
        }
        let next = self.first;
        self.first = self.at(1);
        self.count -= 1;
        Some(next)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.count, Some(self.count))
    }
}

impl<T: Integer> Space for Strided<T> {
    fn remaining(&self) -> usize {
        self.count
    }

    fn cut(&mut self, n: usize) -> Strided<T> {
        let count = n.min(self.count);
        let front = Strided { count, ..*self };
        (self.first, self.count) = (self.at(count), self.count - count);
        front
    }

    fn names(&self) -> Box<dyn Fn(usize) -> String + Send> {
        let all = Strided { ..*self };
        Box::new(move |position| all.at(position).to_string())
    }
}

impl<T: Integer + Portable> Portion for Strided<T> {
    type Item = T;
    type Space = Strided<T>;

    fn into_space(self) -> Strided<T> {
        self
    }
}

impl<T: Integer + Portable> Whole for Strided<T> {
    type Portion = Strided<T>;

    fn left(&self) -> usize {
        self.count
    }

    fn cut(&mut self, n: usize) -> Strided<T> {
        Space::cut(self, n)
    }
}

macro_rules! ranges {
    ($($range:ident),*) => {$(
        impl<T: Integer + Portable> Loopable for $range<T> {
            type Item = T;
            type Portion = Consecutive<T>;
            type Whole = Consecutive<T>;

            #[track_caller]
            fn whole(self) -> Consecutive<T> {
                let mut space = self.into_space();
                let count = space.remaining();
                // Of no items it does not matter where they would begin.
                Consecutive { first: space.next().unwrap_or_else(T::any), count }
            }
        }
    )*};
}

/// Ranges whose integers are not next to each other, or go down.
macro_rules! strided {
    ($([$($range:tt)*])*) => {$(
        impl<T: Integer + Portable> Loopable for $($range)*
        where
            Range<T>: DoubleEndedIterator<Item = T>,
            RangeInclusive<T>: DoubleEndedIterator<Item = T>,
        {
            type Item = T;
            type Portion = Strided<T>;
            type Whole = Strided<T>;

            #[track_caller]
            fn whole(self) -> Strided<T> {
                Strided::of(self, T::any())
            }
        }
    )*};
}

ranges!(Range, RangeInclusive);
strided!([Rev<Range<T>>] [Rev<RangeInclusive<T>>] [StepBy<Range<T>>] [StepBy<RangeInclusive<T>>]
    [StepBy<Rev<Range<T>>>] [StepBy<Rev<RangeInclusive<T>>>]);

impl<T: Portable> Portion for Vec<T> {
    type Item = T;
    type Space = std::vec::IntoIter<T>;

    fn into_space(self) -> std::vec::IntoIter<T> {
        self.into_iter()
    }
}

impl<T: Portable> Whole for std::vec::IntoIter<T> {
    type Portion = Vec<T>;

    fn left(&self) -> usize {
        self.len()
    }

    fn cut(&mut self, n: usize) -> Vec<T> {
        self.by_ref().take(n).collect()
    }
}

macro_rules! lists {
    ($([$($size:tt)*] $list:ty: $owned:ident),*) => {$(
        impl<T: Portable + Clone, $($size)*> Loopable for $list {
            type Item = T;
            type Portion = Vec<T>;
            type Whole = std::vec::IntoIter<T>;

            fn whole(self) -> std::vec::IntoIter<T> {
                self.$owned().into_iter()
            }
        }
    )*};
}

lists!([] &[T]: to_vec, [] &Vec<T>: to_vec, [const N: usize] &[T; N]: to_vec);

impl<T: Portable> Loopable for Vec<T> {
    type Item = T;
    type Portion = Vec<T>;
    type Whole = std::vec::IntoIter<T>;

    fn whole(self) -> std::vec::IntoIter<T> {
        self.into_iter()
    }
}

impl<T: Portable, const N: usize> Loopable for [T; N] {
    type Item = T;
    type Portion = Vec<T>;
    type Whole = std::vec::IntoIter<T>;

    fn whole(self) -> std::vec::IntoIter<T> {
        Vec::from(self).into_iter()
    }
}

/// How many items the next portion has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Size {
    /// The same for all.
    Fixed(usize),
    /// A part of what is left.
    Guided { least: usize, divisor: usize },
}

impl Size {
    /// The sizes of a schedule in which workers that are free take the next portion.
    pub(crate) fn of(
        schedule: Schedule,
        chunk: Option<usize>,
        total: usize,
        threads: usize,
    ) -> Size {
        match schedule {
            Schedule::Static | Schedule::Dynamic => {
                Size::Fixed(chunk.unwrap_or_else(|| total.div_ceil(8 * threads).max(1)))
            }
            Schedule::Guided => Size::Guided { least: chunk.unwrap_or(1), divisor: 2 * threads },
            Schedule::Greedy => Size::Fixed(chunk.unwrap_or(1)),
        }
    }

    pub(crate) fn next(self, left: usize) -> usize {
        match self {
            Size::Fixed(n) => n,
            Size::Guided { least, divisor } => least.max(left.div_ceil(divisor)),
        }
    }
}

/// Lengths of the portions of `total` items for so many workers: the first ones are one longer, and
/// none is empty.
pub(crate) fn shares(total: usize, workers: usize) -> Vec<usize> {
    let share = |k| total / workers + usize::from(k < total % workers);
    (0..workers).map(share).take_while(|n| *n > 0).collect()
}

/// The portions of each worker, with their numbers, when they are dealt beforehand.
pub(crate) fn deal<W: Whole>(
    mut whole: W,
    chunk: Option<usize>,
    workers: usize,
) -> Vec<Vec<(usize, W::Portion)>> {
    let mut hands: Vec<Vec<_>> = (0..workers).map(|_| Vec::new()).collect();
    let total = whole.left();
    let sizes = match chunk {
        Some(n) => vec![n; total.div_ceil(n)],
        None => shares(total, workers),
    };
    for (number, size) in sizes.into_iter().enumerate() {
        hands[number % workers].push((number, whole.cut(size)));
    }
    hands
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items<L: Loopable>(list: L) -> Vec<Vec<Vec<L::Item>>> {
        let hands = deal(list.whole(), None, 3);
        let run = |(_, portion): (usize, L::Portion)| portion.into_space().collect();
        hands.into_iter().map(|hand| hand.into_iter().map(run).collect()).collect()
    }

    #[test]
    fn shares_are_contiguous_and_the_first_are_longer() {
        assert_eq!(shares(11, 3), [4, 4, 3]);
        assert_eq!(shares(3, 4), [1, 1, 1]);
        assert_eq!(shares(7, 4), [2, 2, 2, 1]);
        assert!(shares(0, 4).is_empty());
        assert_eq!(items(-1..4_i8), [[vec![-1, 0]], [vec![1, 2]], [vec![3]]]);
        assert_eq!(items(250..=255_u8), [[vec![250, 251]], [vec![252, 253]], [vec![254, 255]]]);
    }

    #[test]
    fn ranges_may_go_down_and_by_steps() {
        assert_eq!(items((0..5_u64).rev()), [[vec![4, 3]], [vec![2, 1]], [vec![0]]]);
        assert_eq!(items((0..=9_i32).step_by(4)), [[vec![0]], [vec![4]], [vec![8]]]);
        assert_eq!(items((-9..0_i64).rev().step_by(4)), [[vec![-1]], [vec![-5]], [vec![-9]]]);
        assert!(items((5..5_usize).rev()).iter().all(Vec::is_empty));
    }

    #[test]
    fn lists_are_dealt_by_value() {
        let words = vec!["a".to_owned(), "b".to_owned()];
        assert_eq!(items(&words), [vec![vec!["a".to_owned()]], vec![vec!["b".to_owned()]], vec![]]);
        assert_eq!(items([1.5, 2.5, 3.5]), [[vec![1.5]], [vec![2.5]], [vec![3.5]]]);
    }

    #[test]
    fn chunks_go_to_the_workers_in_turn() {
        let hands = deal((0..10).whole(), Some(3), 2);
        let numbers = |hand: &Vec<(usize, Consecutive<i32>)>| -> Vec<(usize, i32)> {
            hand.iter().map(|(number, portion)| (*number, portion.first)).collect()
        };
        assert_eq!(numbers(&hands[0]), [(0, 0), (2, 6)]);
        assert_eq!(numbers(&hands[1]), [(1, 3), (3, 9)]);
    }

    #[test]
    fn sizes_follow_the_schedule() {
        let size = |schedule, chunk| Size::of(schedule, chunk, 160, 2);
        assert_eq!(size(Schedule::Dynamic, None).next(160), 10);
        assert_eq!(size(Schedule::Greedy, None).next(160), 1);
        assert_eq!(size(Schedule::Guided, Some(5)).next(160), 40);
        assert_eq!(size(Schedule::Guided, Some(5)).next(7), 5);
    }
}
