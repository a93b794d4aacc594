//! What a loop can run over and cut into pieces: ranges, slices, grids.

use std::fmt::Display;
use std::iter::FusedIterator;
use std::ops::{Range, RangeInclusive};
use std::slice;

/// The items of a loop, in order, with a length and the ability to be cut. Pieces go to other
/// threads, so each item belongs to one piece alone.
pub trait Space: Iterator + Send {
    /// How many items are left.
    fn remaining(&self) -> usize;

    /// Takes the first `n` items off, or all if there are fewer. Constant time.
    #[must_use]
    fn cut(&mut self, n: usize) -> Self;

    /// What the items are called in messages, by their position.
    fn names(&self) -> Box<dyn Fn(usize) -> String + Send> {
        Box::new(|position| position.to_string())
    }
}

/// What [`par_for`](super::par_for()) accepts: ranges of integers, references to slices, arrays
/// and vectors, pairs of counts or ranges, and the iterators of ndarray along an axis.
///
/// ```
/// use parcell::prelude::*;
/// use parcell::threads::IntoSpace;
///
/// /// Runs over anything that a parallel loop runs over.
/// fn count(items: impl IntoSpace) -> usize {
///     par_for(items).map_reduce(|_| 1, |a, b| a + b, 0)
/// }
/// assert_eq!([count(-3..3_i8), count(&['a', 'b']), count((4, 5))], [6, 2, 20]);
/// ```
pub trait IntoSpace {
    /// What is handed to each iteration.
    type Item: Send;
    /// The items, ready to be cut.
    type Space: Space<Item = Self::Item>;

    /// The items.
    ///
    /// # Panics
    /// If there are more than `usize::MAX`.
    fn into_space(self) -> Self::Space;
}

/// The integer types, as ends of ranges.
pub trait Integer: Copy + Ord + Display + Send + Sync + 'static {
    /// The number of integers from `self` up to `end`, not included; 0 if `end` is not greater.
    ///
    /// # Panics
    /// If it is more than `usize::MAX`.
    fn up_to(self, end: Self) -> usize;

    /// `self + n`, which the caller knows to fit, or to be never looked at.
    #[must_use]
    fn plus(self, n: usize) -> Self;

    /// `self - n`, which the caller knows to fit, or to be never looked at.
    #[must_use]
    fn minus(self, n: usize) -> Self;

    /// Some integer.
    #[must_use]
    fn any() -> Self;
}

macro_rules! integers {
    ($($integer:ident as $distance:ident),*) => {$(
        impl Integer for $integer {
            fn up_to(self, end: Self) -> usize {
                if end <= self {
                    return 0;
                }
                let distance = end.wrapping_sub(self) as $distance;
                usize::try_from(distance).unwrap_or_else(|_| too_many())
            }

            #[inline]
            fn plus(self, n: usize) -> Self {
                self.wrapping_add(n as $integer)
            }

            #[inline]
            fn minus(self, n: usize) -> Self {
                self.wrapping_sub(n as $integer)
            }

            #[inline]
            fn any() -> Self {
                0
            }
        }
    )*};
}

integers!(
    u8 as u8,
    u16 as u16,
    u32 as u32,
    u64 as u64,
    u128 as u128,
    usize as usize,
    i8 as u8,
    i16 as u16,
    i32 as u32,
    i64 as u64,
    i128 as u128,
    isize as usize
);

#[cold]
fn too_many() -> ! {
    panic!("a loop has at most {} iterations, this range is longer", usize::MAX)
}

/// Consecutive integers. Unlike a `Range` it can hold those up to the type's greatest.
#[derive(Debug, Clone)]
pub struct Integers<T> {
    next: T,
    left: usize,
}

impl<T: Integer> Integers<T> {
    /// So many integers, beginning with this one.
    pub(crate) fn from_first(next: T, left: usize) -> Integers<T> {
        Integers { next, left }
    }
}

impl<T: Integer> Iterator for Integers<T> {
    type Item = T;

    #[inline]
    fn next(&mut self) -> Option<T> {
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        let next = self.next;
        self.next = next.plus(1);
        Some(next)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<T: Integer> FusedIterator for Integers<T> {}

impl<T: Integer> Space for Integers<T> {
    #[inline]
    fn remaining(&self) -> usize {
        self.left
    }

    #[inline]
    fn cut(&mut self, n: usize) -> Self {
        let left = n.min(self.left);
        let front = Integers { next: self.next, left };
        *self = Integers { next: self.next.plus(left), left: self.left - left };
        front
    }

    fn names(&self) -> Box<dyn Fn(usize) -> String + Send> {
        let first = self.next;
        Box::new(move |position| first.plus(position).to_string())
    }
}

impl<T: Integer> IntoSpace for Range<T> {
    type Item = T;
    type Space = Integers<T>;

    fn into_space(self) -> Integers<T> {
        Integers { next: self.start, left: self.start.up_to(self.end) }
    }
}

impl<T: Integer> IntoSpace for RangeInclusive<T> {
    type Item = T;
    type Space = Integers<T>;

    fn into_space(self) -> Integers<T> {
        let (start, end) = (*self.start(), *self.end());
        // A range that was iterated to its end says so here only.
        if self.is_empty() {
            return Integers { next: start, left: 0 };
        }
        let left = start.up_to(end).checked_add(1).unwrap_or_else(|| too_many());
        Integers { next: start, left }
    }
}

impl<'a, T: Sync> Space for slice::Iter<'a, T> {
    #[inline]
    fn remaining(&self) -> usize {
        self.len()
    }

    #[inline]
    fn cut(&mut self, n: usize) -> Self {
        let (front, rest): (&'a [T], &'a [T]) = self.as_slice().split_at(n.min(self.len()));
        *self = rest.iter();
        front.iter()
    }
}

impl<T: Send> Space for slice::IterMut<'_, T> {
    #[inline]
    fn remaining(&self) -> usize {
        self.len()
    }

    #[inline]
    fn cut(&mut self, n: usize) -> Self {
        let all = std::mem::take(self).into_slice();
        let (front, rest) = all.split_at_mut(n.min(all.len()));
        *self = rest.iter_mut();
        front.iter_mut()
    }
}

/// Shared and mutable references to things that are slices underneath.
macro_rules! slices {
    ($([$($size:tt)*] $list:ty),*) => {$(
        impl<'a, T: Sync, $($size)*> IntoSpace for &'a $list {
            type Item = &'a T;
            type Space = slice::Iter<'a, T>;

            fn into_space(self) -> slice::Iter<'a, T> {
                self.iter()
            }
        }

        impl<'a, T: Send, $($size)*> IntoSpace for &'a mut $list {
            type Item = &'a mut T;
            type Space = slice::IterMut<'a, T>;

            fn into_space(self) -> slice::IterMut<'a, T> {
                self.iter_mut()
            }
        }
    )*};
}

slices!([] [T], [] Vec<T>, [const N: usize] [T; N]);

/// One side of a grid: a count `n`, which stands for `0..n`, or a range.
pub trait Axis {
    /// What the indices along this side are.
    type Index: Integer;

    /// The indices along this side.
    fn indices(self) -> Integers<Self::Index>;
}

impl Axis for usize {
    type Index = usize;

    fn indices(self) -> Integers<usize> {
        Integers { next: 0, left: self }
    }
}

impl<T: Integer> Axis for Range<T> {
    type Index = T;

    fn indices(self) -> Integers<T> {
        self.into_space()
    }
}

impl<T: Integer> Axis for RangeInclusive<T> {
    type Index = T;

    fn indices(self) -> Integers<T> {
        self.into_space()
    }
}

/// Pairs of indices, row by row.
#[derive(Debug, Clone)]
pub struct Grid<R, C> {
    row: R,
    column: C,
    first_column: C,
    columns: usize,
    /// Columns left in this row.
    row_left: usize,
    left: usize,
}

impl<R: Integer, C: Integer> Iterator for Grid<R, C> {
    type Item = (R, C);

    #[inline]
    fn next(&mut self) -> Option<(R, C)> {
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        let pair = (self.row, self.column);
        self.column = self.column.plus(1);
        self.row_left -= 1;
        if self.row_left == 0 {
            self.row = self.row.plus(1);
            self.column = self.first_column;
            self.row_left = self.columns;
        }
        Some(pair)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<R: Integer, C: Integer> FusedIterator for Grid<R, C> {}

impl<R: Integer, C: Integer> Grid<R, C> {
    /// Skips `n` of the pairs that are left.
    fn advance(&mut self, n: usize) {
        self.left -= n;
        if n < self.row_left {
            self.column = self.column.plus(n);
            self.row_left -= n;
            return;
        }
        let beyond = n - self.row_left;
        let (rows, columns) = (beyond / self.columns, beyond % self.columns);
        self.row = self.row.plus(1 + rows);
        self.column = self.first_column.plus(columns);
        self.row_left = self.columns - columns;
    }
}

impl<R: Integer, C: Integer> Space for Grid<R, C> {
    #[inline]
    fn remaining(&self) -> usize {
        self.left
    }

    #[inline]
    fn cut(&mut self, n: usize) -> Self {
        let left = n.min(self.left);
        let front = Grid { left, ..self.clone() };
        if left > 0 {
            self.advance(left);
        }
        front
    }

    fn names(&self) -> Box<dyn Fn(usize) -> String + Send> {
        let whole = self.clone();
        Box::new(move |position| {
            let mut at = whole.clone();
            at.advance(position);
            format!("({}, {})", at.row, at.column)
        })
    }
}

impl<R: Axis, C: Axis> IntoSpace for (R, C) {
    type Item = (R::Index, C::Index);
    type Space = Grid<R::Index, C::Index>;

    fn into_space(self) -> Grid<R::Index, C::Index> {
        let (rows, columns) = (self.0.indices(), self.1.indices());
        Grid {
            row: rows.next,
            column: columns.next,
            first_column: columns.next,
            columns: columns.left,
            row_left: columns.left,
            left: rows.left.checked_mul(columns.left).unwrap_or_else(|| too_many()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cuts pieces of the given sizes off; together they are what the space held.
    #[track_caller]
    fn check<S: Space<Item: PartialEq + std::fmt::Debug>>(mut space: S, expected: Vec<S::Item>) {
        assert_eq!(space.remaining(), expected.len());
        let mut items = Vec::new();
        for n in [0, 1, 2, 5, 3, 7, usize::MAX] {
            let piece = space.cut(n);
            let len = piece.remaining();
            items.extend(piece);
            assert_eq!((items.len() + space.remaining(), len <= n), (expected.len(), true));
        }
        assert_eq!(items, expected);
    }

    #[test]
    fn every_space_is_the_sum_of_its_pieces() {
        check((-3..20_i32).into_space(), (-3..20).collect());
        check(Range { start: 5, end: 2_u8 }.into_space(), vec![]);
        check((250..=255_u8).into_space(), (250..=255).collect());
        check((i8::MIN..=i8::MAX).into_space(), (i8::MIN..=i8::MAX).collect());
        check((i128::MAX - 3..i128::MAX).into_space(), (i128::MAX - 3..i128::MAX).collect());
        let letters = ['a', 'b', 'c', 'd'];
        check((&letters).into_space(), letters.iter().collect());
        let (mut one, mut other) = ([1, 2, 3, 4, 5], [1, 2, 3, 4, 5]);
        check((&mut one).into_space(), other.iter_mut().collect());
    }

    #[test]
    fn grids_go_row_by_row() {
        let pairs = |rows: Range<i32>, columns: Range<u8>| -> Vec<(i32, u8)> {
            rows.flat_map(|i| columns.clone().map(move |j| (i, j))).collect()
        };
        check((-2..3, 1..=7_u8).into_space(), pairs(-2..3, 1..8));
        check(
            (-2..40, 254..=255_u8).into_space(),
            (-2..40).flat_map(|i| [(i, 254), (i, 255)]).collect(),
        );
        check((0..3, 0..1_u8).into_space(), pairs(0..3, 0..1));
        check((0..3, 4..4_u8).into_space(), vec![]);
        check((0..0, 0..4_u8).into_space(), vec![]);
        check((3, 2).into_space(), vec![(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)]);
    }

    #[test]
    fn positions_have_the_names_of_their_items() {
        assert_eq!((-3..20_i32).into_space().names()(1), "-2");
        assert_eq!((1..=3, 5..7).into_space().names()(3), "(2, 6)");
        assert_eq!((&[7, 8, 9]).into_space().names()(1), "1");
    }

    #[test]
    fn the_longest_ranges_are_counted_and_longer_ones_refused() {
        assert_eq!((i64::MIN..i64::MAX).into_space().remaining(), usize::MAX);
        let refused = std::panic::catch_unwind(|| (0..=u64::MAX).into_space()).unwrap_err();
        assert!(crate::rt::message_of(refused.as_ref()).contains("this range is longer"));
        assert!(std::panic::catch_unwind(|| (0..u128::MAX).into_space()).is_err());
        assert!(std::panic::catch_unwind(|| (usize::MAX, 2).into_space()).is_err());
    }
}
