//! Rows, columns and other parts of ndarray's arrays as the items of a loop; and items with their
//! positions.

use ndarray::Dimension;
use ndarray::iter::{AxisChunksIter, AxisChunksIterMut, AxisIter, AxisIterMut};

use super::space::{IntoSpace, Space};

/// The parts of an array that one of ndarray's iterators gives.
#[derive(Debug)]
pub struct Lanes<I>(
    /// `None` only while it is being cut.
    Option<I>,
);

impl<I: Iterator> Iterator for Lanes<I> {
    type Item = I::Item;

    #[inline]
    fn next(&mut self) -> Option<I::Item> {
        self.0.as_mut()?.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.as_ref().map_or((0, Some(0)), Iterator::size_hint)
    }
}

macro_rules! lanes {
    ($($iterator:ident, $bound:ident;)*) => {$(
        impl<'a, A: $bound, D: Dimension> Space for Lanes<$iterator<'a, A, D>>
        where
            $iterator<'a, A, D>: ExactSizeIterator<Item: Send> + Send,
        {
            fn remaining(&self) -> usize {
                self.0.as_ref().map_or(0, ExactSizeIterator::len)
            }

            fn cut(&mut self, n: usize) -> Self {
                let n = n.min(self.remaining());
                let parts = self.0.take().map(|lanes| lanes.split_at(n));
                let (front, rest) = parts.unzip();
                self.0 = rest;
                Lanes(front)
            }
        }

        impl<'a, A: $bound, D: Dimension> IntoSpace for $iterator<'a, A, D>
        where
            $iterator<'a, A, D>: ExactSizeIterator<Item: Send> + Send,
        {
            type Item = <$iterator<'a, A, D> as Iterator>::Item;
            type Space = Lanes<$iterator<'a, A, D>>;

            fn into_space(self) -> Self::Space {
                Lanes(Some(self))
            }
        }
    )*};
}

lanes! {
    AxisIter, Sync;
    AxisIterMut, Send;
    AxisChunksIter, Sync;
    AxisChunksIterMut, Send;
}

/// Items with their positions, from 0. Made by [`ParFor::enumerate`](super::ParFor::enumerate).
#[derive(Debug, Clone)]
pub struct Enumerated<S> {
    next: usize,
    items: S,
}

impl<S: Space> Enumerated<S> {
    pub(super) fn new(items: S) -> Enumerated<S> {
        Enumerated { next: 0, items }
    }
}

impl<S: Space> Iterator for Enumerated<S> {
    type Item = (usize, S::Item);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let item = self.items.next()?;
        let position = self.next;
        self.next += 1;
        Some((position, item))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.items.size_hint()
    }
}

impl<S: Space> Space for Enumerated<S> {
    #[inline]
    fn remaining(&self) -> usize {
        self.items.remaining()
    }

    #[inline]
    fn cut(&mut self, n: usize) -> Self {
        let front = Enumerated { next: self.next, items: self.items.cut(n) };
        self.next += front.remaining();
        front
    }

    fn names(&self) -> Box<dyn Fn(usize) -> String + Send> {
        self.items.names()
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, Axis};

    use crate::threads::{Schedule, par_for};

    #[test]
    fn rows_and_columns_and_chunks_are_items() {
        let mut array = Array2::<usize>::zeros((7, 5));
        for schedule in [Schedule::Static, Schedule::Dynamic, Schedule::Guided, Schedule::Greedy] {
            let rows = par_for(array.outer_iter_mut()).schedule(schedule).enumerate();
            rows.for_each(|(i, mut row)| row.iter_mut().for_each(|x| *x = i));
            let expected = Array2::from_shape_fn((7, 5), |(i, _)| i);
            assert_eq!(array, expected);
            let columns = par_for(array.axis_iter_mut(Axis(1))).schedule(schedule).enumerate();
            columns.for_each(|(j, mut column)| column += j);
            assert_eq!(array, Array2::from_shape_fn((7, 5), |(i, j)| i + j));
        }
        let rows = par_for(array.axis_chunks_iter(Axis(0), 2));
        assert_eq!(rows.map_reduce(|part| part.sum(), |a, b| a + b, 0), array.sum());
        let mut empty = Array2::<usize>::zeros((0, 5));
        par_for(empty.outer_iter_mut()).for_each(|_| unreachable!());
    }

    #[test]
    fn positions_follow_the_items() {
        let letters: Vec<char> = ('a'..='z').collect();
        for chunk in [1, 3, 26] {
            let pairs = par_for(&letters).chunk(chunk).enumerate();
            let text = pairs.map_reduce(|(i, c)| format!("{c}{i}"), |a, b| a + &b, String::new());
            let expected: String =
                letters.iter().zip(0..).map(|(c, i)| format!("{c}{i}")).collect();
            assert_eq!(text, expected);
        }
    }
}
