//! Methods of slices in rayon's style that rayon does not have.

use std::hash::Hash;

use rayon::prelude::*;

use super::space::Integer;
use super::{counting, scan, sorted, unique};
use crate::interrupt;

/// What rayon's methods of slices lack beside ThreadsX. In the prelude.
///
/// All block until done, helping meanwhile.
pub trait ParallelSliceExt<T: Sync> {
    #[doc(hidden)]
    fn items(&self) -> &[T];

    /// The different items in the order of their first occurrence.
    ///
    /// Cost: each item is hashed once and compared with equals; only the result is cloned. Up to
    /// 50 bytes of memory per item, and little where few are different. Floats have no hash: take
    /// [`par_unique_by_key`](Self::par_unique_by_key) with `|x| x.to_bits()`.
    ///
    /// # Panics
    /// Unwinds with an interrupt, and with what hashing or comparing panics with.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// assert_eq!(["b", "a", "b", "c", "a"].par_unique(), ["b", "a", "c"]);
    /// ```
    ///
    /// # Source
    /// `ThreadsX.unique`, ThreadsX.jl, `src/reduce.jl`.
    fn par_unique(&self) -> Vec<T>
    where
        T: Clone + Eq + Hash + Send,
    {
        self.par_unique_by_key(|item| item)
    }

    /// The items whose key no item before them has, in order. The key is computed once for each
    /// item and may borrow from it; otherwise as [`par_unique`](Self::par_unique).
    ///
    /// # Panics
    /// Unwinds with an interrupt, and with what the closure panics with.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let words = ["one", "two", "three", "four", "five", "six"];
    /// assert_eq!(words.par_unique_by_key(|word| word.len()), ["one", "three", "four"]);
    /// // Julia's `unique` of floats: all NaN are one, and 0.0 is not -0.0.
    /// let floats = [0.5, f64::NAN, -0.0, 0.0, f64::NAN];
    /// assert_eq!(floats.par_unique_by_key(|x| x.to_bits()).len(), 4);
    /// ```
    ///
    /// # Source
    /// `ThreadsX.unique(f, v)`, ThreadsX.jl, `src/reduce.jl`.
    fn par_unique_by_key<'a, K, F>(&'a self, key: F) -> Vec<T>
    where
        T: Clone + Send + 'a,
        K: Hash + Eq + Send + Sync,
        F: Fn(&'a T) -> K + Sync,
    {
        unique::unique_by_key(self.items(), key).into_par_iter().cloned().collect()
    }

    /// Whether no item is greater than the next. False if one is not comparable with a neighbour,
    /// as NaN. Ends early. Cost: a comparison for each item, about half of what
    /// `par_windows(2).all(…)` takes.
    ///
    /// # Panics
    /// Unwinds with an interrupt.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// assert!([1, 2, 2, 9].par_is_sorted());
    /// assert!(![1.0, f64::NAN].par_is_sorted());
    /// ```
    ///
    /// # Source
    /// `ThreadsX.issorted`, ThreadsX.jl; NaN as in [`slice::is_sorted`].
    fn par_is_sorted(&self) -> bool
    where
        T: PartialOrd,
    {
        sorted::is_sorted(self.items(), |block| block.is_sorted())
    }

    /// Whether the closure is true for each item and the next. Ends early.
    ///
    /// # Panics
    /// Unwinds with an interrupt, and with what the closure panics with.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// assert!([9, 5, 1].par_is_sorted_by(|a, b| a > b));
    /// assert!([1.0, f64::NAN].par_is_sorted_by(|a, b| a.total_cmp(b).is_le()));
    /// ```
    ///
    /// # Source
    /// `ThreadsX.issorted(v; lt)`, ThreadsX.jl; [`slice::is_sorted_by`].
    fn par_is_sorted_by(&self, in_order: impl Fn(&T, &T) -> bool + Sync) -> bool {
        let in_order = |a: &T, b: &T| {
            interrupt::check();
            in_order(a, b)
        };
        sorted::is_sorted(self.items(), |block| block.is_sorted_by(in_order))
    }

    /// Whether no item's key is greater than the next one's. Ends early. The key is computed once
    /// for each item, twice for one in 4096.
    ///
    /// # Panics
    /// Unwinds with an interrupt, and with what the closure panics with.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// assert!(["a", "bb", "ccc"].par_is_sorted_by_key(|word| word.len()));
    /// assert!([3, 2, 1].par_is_sorted_by_key(|&x| std::cmp::Reverse(x)));
    /// ```
    ///
    /// # Source
    /// `ThreadsX.issorted(v; by)`, ThreadsX.jl; [`slice::is_sorted_by_key`].
    fn par_is_sorted_by_key<K: PartialOrd>(&self, key: impl Fn(&T) -> K + Sync) -> bool {
        let key = |item: &T| {
            interrupt::check();
            key(item)
        };
        sorted::is_sorted(self.items(), |block| block.is_sorted_by_key(key))
    }

    /// Running totals: item `i` of the result is the total of the items `0..=i`.
    ///
    /// The operation must be associative; it need not be commutative. The sums of floats may
    /// differ in the last bits from those of a loop, and between pools of different size. Cost:
    /// each item is cloned, and the operation is applied twice to most; so with `p` threads it
    /// takes at best `2 / (p + 1)` of a loop's time. It wins where the operation costs more than to
    /// fetch an item from memory: with two threads, not for a plain sum.
    ///
    /// # Panics
    /// Unwinds with an interrupt, and with what the operation panics with.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// assert_eq!([1, 2, 3, 4].par_scan(|a, b| a + b), [1, 3, 6, 10]);
    /// assert_eq!([3, 1, 4, 1, 5].par_scan(|a, b| *a.max(b)), [3, 3, 4, 4, 5]);
    /// let words = ["a".to_owned(), "b".to_owned(), "c".to_owned()];
    /// assert_eq!(words.par_scan(|a, b| format!("{a}{b}")), ["a", "ab", "abc"]);
    /// ```
    ///
    /// # Source
    /// `accumulate(op, v)`, julia, `base/accumulate.jl`, which ThreadsX does not have.
    fn par_scan(&self, op: impl Fn(&T, &T) -> T + Sync) -> Vec<T>
    where
        T: Clone + Send,
    {
        let mut items: Vec<T> = self.items().par_iter().cloned().collect();
        scan::scan(&mut items, &op);
        items
    }
}

impl<T: Sync> ParallelSliceExt<T> for [T] {
    fn items(&self) -> &[T] {
        self
    }
}

/// What rayon's methods of mutable slices lack beside ThreadsX. In the prelude.
///
/// All block until done, helping meanwhile.
pub trait ParallelSliceMutExt<T: Send> {
    #[doc(hidden)]
    fn items_mut(&mut self) -> &mut [T];

    /// Replaces each item by the total of all items up to it. Otherwise as
    /// [`par_scan`](ParallelSliceExt::par_scan).
    ///
    /// # Panics
    /// Unwinds with an interrupt, and with what the operation panics with. Some items are replaced
    /// then, and some are not.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let mut counts = vec![2, 0, 5];
    /// counts.par_scan_mut(|a, b| a + b);
    /// assert_eq!(counts, [2, 2, 7]);
    /// ```
    ///
    /// # Source
    /// `accumulate!(op, v, v)`, julia, `base/accumulate.jl`, which ThreadsX does not have.
    fn par_scan_mut(&mut self, op: impl Fn(&T, &T) -> T + Sync)
    where
        T: Clone + Sync,
    {
        scan::scan(self.items_mut(), &op);
    }

    /// Sorts integers, by counting if their range is less than a quarter of their number, else as
    /// `par_sort_unstable`.
    ///
    /// Cost: one pass to find the range; then to count takes a half to a sixth of the time of sorting,
    /// and 8 bytes of memory for each possible value and thread.
    ///
    /// # Panics
    /// Unwinds with an interrupt while it counts; the slice is as it was then.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let mut throws: Vec<i32> = (0..1000).map(|i| i * i % 7 - 3).collect();
    /// throws.par_sort_counting();
    /// assert!(throws.par_is_sorted());
    /// ```
    ///
    /// # Source
    /// `ThreadsX.sort!` of narrow integers, ThreadsX.jl, `src/countingsort.jl`: it counts if the
    /// range is less than half the number.
    fn par_sort_counting(&mut self)
    where
        T: Integer,
    {
        counting::sort(self.items_mut());
    }
}

impl<T: Send> ParallelSliceMutExt<T> for [T] {
    fn items_mut(&mut self) -> &mut [T] {
        self
    }
}
