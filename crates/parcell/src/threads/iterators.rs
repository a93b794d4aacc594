//! Methods of parallel iterators that rayon does not have.

use rayon::prelude::*;

use super::extrema;

/// What rayon's parallel iterators lack beside ThreadsX. In the prelude.
pub trait ParallelIteratorExt: ParallelIterator {
    /// The least and the greatest item in one pass; `None` if there is none.
    ///
    /// An item that is not comparable with itself, as NaN, becomes both. Blocks until done, helping
    /// meanwhile. Cost: two comparisons for each item, and a look at the interrupt flag.
    ///
    /// # Panics
    /// Unwinds with an interrupt.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// assert_eq!([3, 1, 2].into_par_iter().extrema(), Some((1, 3)));
    /// assert_eq!((-10..10).into_par_iter().map(|x| x * x).extrema(), Some((0, 100)));
    /// let (least, greatest) = [1.0, f64::NAN, 2.0].into_par_iter().extrema().unwrap();
    /// assert!(least.is_nan() && greatest.is_nan());
    /// ```
    ///
    /// # Source
    /// `ThreadsX.extrema`, ThreadsX.jl, `src/reduce.jl`.
    fn extrema(self) -> Option<(Self::Item, Self::Item)>
    where
        Self::Item: PartialOrd + Clone,
    {
        extrema::extrema(self)
    }
}

impl<I: ParallelIterator> ParallelIteratorExt for I {}

/// What rayon's parallel iterators of known length lack. In the prelude.
///
/// The first of equal items counts, and the first item that is not comparable with itself, as NaN,
/// counts more than any other, for the greatest and for the least. All block until done, helping
/// meanwhile. Cost: a comparison for each item, and a look at the interrupt flag.
pub trait IndexedParallelIteratorExt: IndexedParallelIterator {
    /// Index and value of the greatest item; `None` if there is none. See the
    /// [trait](IndexedParallelIteratorExt) for equal items, NaN and cost.
    ///
    /// # Panics
    /// Unwinds with an interrupt.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let numbers = [1.0, 7.0, 3.0, 7.0];
    /// assert_eq!(numbers.par_iter().find_max(), Some((1, &7.0)));
    /// assert_eq!(numbers.par_iter().map(|x| -x).find_max(), Some((0, -1.0)));
    /// assert_eq!([1.0, f64::NAN, 3.0].par_iter().find_max().unwrap().0, 1);
    /// ```
    ///
    /// # Source
    /// `findmax`, julia, `base/reduce.jl`.
    fn find_max(self) -> Option<(usize, Self::Item)>
    where
        Self::Item: PartialOrd,
    {
        extrema::first_best(self, |best, item| item <= best)
    }

    /// Index and value of the least item; `None` if there is none. See the
    /// [trait](IndexedParallelIteratorExt) for equal items, NaN and cost.
    ///
    /// # Panics
    /// Unwinds with an interrupt.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// assert_eq!(["b", "a", "c", "a"].par_iter().find_min(), Some((1, &"a")));
    /// ```
    ///
    /// # Source
    /// `findmin`, julia, `base/reduce.jl`.
    fn find_min(self) -> Option<(usize, Self::Item)>
    where
        Self::Item: PartialOrd,
    {
        extrema::first_best(self, |best, item| item >= best)
    }

    /// Index of the greatest item, as [`find_max`](Self::find_max).
    ///
    /// # Panics
    /// Unwinds with an interrupt.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// assert_eq!([2, 5, 5].par_iter().argmax(), Some(1));
    /// ```
    ///
    /// # Source
    /// `argmax`, julia, `base/reduce.jl`.
    fn argmax(self) -> Option<usize>
    where
        Self::Item: PartialOrd,
    {
        self.find_max().map(|(index, _)| index)
    }

    /// Index of the least item, as [`find_min`](Self::find_min).
    ///
    /// # Panics
    /// Unwinds with an interrupt.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// assert_eq!([2, 5, 2].par_iter().argmin(), Some(0));
    /// ```
    ///
    /// # Source
    /// `argmin`, julia, `base/reduce.jl`.
    fn argmin(self) -> Option<usize>
    where
        Self::Item: PartialOrd,
    {
        self.find_min().map(|(index, _)| index)
    }
}

impl<I: IndexedParallelIterator> IndexedParallelIteratorExt for I {}
