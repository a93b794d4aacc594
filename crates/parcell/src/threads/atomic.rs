//! Numbers that many threads may change at once, as Julia's `Threads.Atomic`.

use std::fmt;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{
    AtomicBool, AtomicI8, AtomicI16, AtomicI32, AtomicI64, AtomicIsize, AtomicU8, AtomicU16,
    AtomicU32, AtomicU64, AtomicUsize,
};

use portable_atomic::{AtomicF32, AtomicF64, AtomicI128, AtomicU128};

/// A number or truth value that threads read and change without a lock: `T` is any integer type,
/// `bool`, `f32` or `f64`.
///
/// All operations are sequentially consistent; [`Atomic::inner`] gives the atomic of the standard
/// library or of `portable-atomic` for other orderings. What changes the value returns the *old*
/// one, as in Julia. Nothing blocks. An uncontended change of an integer costs about 5 ns; many
/// threads that change the same value wait for each other's cache, some 50 ns each, so let threads
/// sum up on their own where you can. Floats, 128-bit integers and [`Atomic::update`] may have to
/// try again when another thread was faster.
///
/// ```
/// use parcell::prelude::*;
///
/// let hits = Atomic::new(0_u32);
/// (0..1000).into_par_iter().for_each(|_| {
///     hits.fetch_add(1);
/// });
/// assert_eq!(hits.load(), 1000);
/// ```
#[derive(Default)]
pub struct Atomic<T: AtomicValue>(T::Cell);

/// Types that [`Atomic`] can hold. Implemented here only.
pub trait AtomicValue: Copy + sealed::Sealed {
    /// The atomic that holds it.
    type Cell: Default + Send + Sync;
    #[doc(hidden)]
    fn cell(self) -> Self::Cell;
    #[doc(hidden)]
    fn load(cell: &Self::Cell) -> Self;
    #[doc(hidden)]
    fn store(cell: &Self::Cell, value: Self);
    #[doc(hidden)]
    fn swap(cell: &Self::Cell, value: Self) -> Self;
    #[doc(hidden)]
    fn compare_exchange(cell: &Self::Cell, current: Self, new: Self) -> Result<Self, Self>;
    #[doc(hidden)]
    fn into_value(cell: Self::Cell) -> Self;
}

/// Numbers in an [`Atomic`]. Implemented here only.
pub trait AtomicNumber: AtomicValue {
    #[doc(hidden)]
    fn fetch_add(cell: &Self::Cell, value: Self) -> Self;
    #[doc(hidden)]
    fn fetch_sub(cell: &Self::Cell, value: Self) -> Self;
    #[doc(hidden)]
    fn fetch_max(cell: &Self::Cell, value: Self) -> Self;
    #[doc(hidden)]
    fn fetch_min(cell: &Self::Cell, value: Self) -> Self;
}

/// Integers and `bool` in an [`Atomic`]. Implemented here only.
pub trait AtomicBits: AtomicValue {
    #[doc(hidden)]
    fn fetch_and(cell: &Self::Cell, value: Self) -> Self;
    #[doc(hidden)]
    fn fetch_nand(cell: &Self::Cell, value: Self) -> Self;
    #[doc(hidden)]
    fn fetch_or(cell: &Self::Cell, value: Self) -> Self;
    #[doc(hidden)]
    fn fetch_xor(cell: &Self::Cell, value: Self) -> Self;
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! forward {
    ($($name:ident)+) => {
        $(#[inline] fn $name(cell: &Self::Cell, value: Self) -> Self { cell.$name(value, SeqCst) })+
    };
}

macro_rules! values {
    ($($value:ty: $cell:ty),+ $(,)?) => { $(
        impl sealed::Sealed for $value {}
        impl AtomicValue for $value {
            type Cell = $cell;
            #[inline]
            fn cell(self) -> $cell { <$cell>::new(self) }
            #[inline]
            fn load(cell: &$cell) -> $value { cell.load(SeqCst) }
            #[inline]
            fn store(cell: &$cell, value: $value) { cell.store(value, SeqCst) }
            forward!(swap);
            #[inline]
            fn compare_exchange(cell: &$cell, current: $value, new: $value) -> Result<$value, $value> {
                cell.compare_exchange(current, new, SeqCst, SeqCst)
            }
            #[inline]
            fn into_value(cell: $cell) -> $value { cell.into_inner() }
        }
    )+ };
}

macro_rules! numbers {
    ($($value:ty),+) => {
        $(impl AtomicNumber for $value { forward!(fetch_add fetch_sub fetch_max fetch_min); })+
    };
}

macro_rules! bits {
    ($($value:ty),+) => {
        $(impl AtomicBits for $value { forward!(fetch_and fetch_nand fetch_or fetch_xor); })+
    };
}

values!(
    bool: AtomicBool,
    i8: AtomicI8, i16: AtomicI16, i32: AtomicI32, i64: AtomicI64, i128: AtomicI128,
    isize: AtomicIsize,
    u8: AtomicU8, u16: AtomicU16, u32: AtomicU32, u64: AtomicU64, u128: AtomicU128,
    usize: AtomicUsize,
    f32: AtomicF32, f64: AtomicF64,
);
numbers!(i8, i16, i32, i64, i128, isize, u8, u16, u32, u64, u128, usize, f32, f64);
bits!(bool, i8, i16, i32, i64, i128, isize, u8, u16, u32, u64, u128, usize);

impl<T: AtomicValue> Atomic<T> {
    /// An atomic with a first value. Follows Julia's `Atomic{T}(value)`.
    ///
    /// ```
    /// assert_eq!(parcell::threads::Atomic::new(0.5).load(), 0.5);
    /// ```
    pub fn new(value: T) -> Atomic<T> {
        Atomic(value.cell())
    }

    /// The present value. Follows Julia's `x[]`.
    ///
    /// ```
    /// assert!(parcell::threads::Atomic::new(true).load());
    /// ```
    #[inline]
    #[must_use]
    pub fn load(&self) -> T {
        T::load(&self.0)
    }

    /// Replaces the value. Follows Julia's `x[] = value`.
    ///
    /// ```
    /// let x = parcell::threads::Atomic::new(1);
    /// x.store(2);
    /// assert_eq!(x.load(), 2);
    /// ```
    #[inline]
    pub fn store(&self, value: T) {
        T::store(&self.0, value);
    }

    /// Replaces the value; returns the old one. Follows Julia's `atomic_xchg!`.
    ///
    /// ```
    /// let x = parcell::threads::Atomic::new(1);
    /// assert_eq!((x.swap(2), x.load()), (1, 2));
    /// ```
    #[inline]
    pub fn swap(&self, value: T) -> T {
        T::swap(&self.0, value)
    }

    /// Replaces the value if it is `current`; returns the old value either way. Floats are compared
    /// by their bits. Follows Julia's `atomic_cas!`.
    ///
    /// # Errors
    /// The value, if it is not `current`; it stays then.
    ///
    /// ```
    /// let x = parcell::threads::Atomic::new(1);
    /// assert_eq!(x.compare_exchange(1, 5), Ok(1));
    /// assert_eq!(x.compare_exchange(1, 7), Err(5));
    /// ```
    #[inline]
    pub fn compare_exchange(&self, current: T, new: T) -> Result<T, T> {
        T::compare_exchange(&self.0, current, new)
    }

    /// Replaces the value by a function of it, in one step as seen from other threads; returns the
    /// old one. The function is called again whenever another thread was faster. Follows Julia's
    /// `@atomic`, which can apply any function.
    ///
    /// ```
    /// let x = parcell::threads::Atomic::new(3);
    /// assert_eq!((x.update(|x| x * x), x.load()), (3, 9));
    /// ```
    pub fn update(&self, mut change: impl FnMut(T) -> T) -> T {
        let mut current = self.load();
        loop {
            match self.compare_exchange(current, change(current)) {
                Ok(old) => return old,
                Err(now) => current = now,
            }
        }
    }

    /// The atomic inside, for orderings weaker than sequential consistency.
    ///
    /// ```
    /// use std::sync::atomic::Ordering;
    ///
    /// let x = parcell::threads::Atomic::new(1_u64);
    /// x.inner().fetch_add(1, Ordering::Relaxed);
    /// assert_eq!(x.load(), 2);
    /// ```
    #[inline]
    pub fn inner(&self) -> &T::Cell {
        &self.0
    }

    /// Gives the value back.
    ///
    /// ```
    /// assert_eq!(parcell::threads::Atomic::new(1).into_inner(), 1);
    /// ```
    pub fn into_inner(self) -> T {
        T::into_value(self.0)
    }
}

impl<T: AtomicNumber> Atomic<T> {
    /// Adds; returns the old value. Integers wrap around. Follows Julia's `atomic_add!`.
    ///
    /// ```
    /// let x = parcell::threads::Atomic::new(1.5);
    /// assert_eq!((x.fetch_add(2.0), x.load()), (1.5, 3.5));
    /// ```
    #[inline]
    pub fn fetch_add(&self, value: T) -> T {
        T::fetch_add(&self.0, value)
    }

    /// Subtracts; returns the old value. Integers wrap around. Follows Julia's `atomic_sub!`.
    ///
    /// ```
    /// let x = parcell::threads::Atomic::new(5);
    /// assert_eq!((x.fetch_sub(2), x.load()), (5, 3));
    /// ```
    #[inline]
    pub fn fetch_sub(&self, value: T) -> T {
        T::fetch_sub(&self.0, value)
    }

    /// Takes the greater of the two; returns the old value. Of a float and NaN it is the float.
    /// Follows Julia's `atomic_max!`.
    ///
    /// ```
    /// let x = parcell::threads::Atomic::new(5);
    /// assert_eq!((x.fetch_max(9), x.load()), (5, 9));
    /// ```
    #[inline]
    pub fn fetch_max(&self, value: T) -> T {
        T::fetch_max(&self.0, value)
    }

    /// Takes the smaller of the two; returns the old value. Of a float and NaN it is the float.
    /// Follows Julia's `atomic_min!`.
    ///
    /// ```
    /// let x = parcell::threads::Atomic::new(5);
    /// assert_eq!((x.fetch_min(2), x.load()), (5, 2));
    /// ```
    #[inline]
    pub fn fetch_min(&self, value: T) -> T {
        T::fetch_min(&self.0, value)
    }
}

impl<T: AtomicBits> Atomic<T> {
    /// Combines by `and`; returns the old value. Follows Julia's `atomic_and!`.
    ///
    /// ```
    /// let x = parcell::threads::Atomic::new(0b110);
    /// assert_eq!((x.fetch_and(0b011), x.load()), (0b110, 0b010));
    /// ```
    #[inline]
    pub fn fetch_and(&self, value: T) -> T {
        T::fetch_and(&self.0, value)
    }

    /// Combines by `not and`; returns the old value. Follows Julia's `atomic_nand!`.
    ///
    /// ```
    /// let x = parcell::threads::Atomic::new(true);
    /// assert_eq!((x.fetch_nand(true), x.load()), (true, false));
    /// ```
    #[inline]
    pub fn fetch_nand(&self, value: T) -> T {
        T::fetch_nand(&self.0, value)
    }

    /// Combines by `or`; returns the old value. Follows Julia's `atomic_or!`.
    ///
    /// ```
    /// let x = parcell::threads::Atomic::new(false);
    /// assert_eq!((x.fetch_or(true), x.load()), (false, true));
    /// ```
    #[inline]
    pub fn fetch_or(&self, value: T) -> T {
        T::fetch_or(&self.0, value)
    }

    /// Combines by `xor`; returns the old value. Follows Julia's `atomic_xor!`.
    ///
    /// ```
    /// let x = parcell::threads::Atomic::new(0b110);
    /// assert_eq!((x.fetch_xor(0b011), x.load()), (0b110, 0b101));
    /// ```
    #[inline]
    pub fn fetch_xor(&self, value: T) -> T {
        T::fetch_xor(&self.0, value)
    }
}

impl<T: AtomicValue> From<T> for Atomic<T> {
    fn from(value: T) -> Atomic<T> {
        Atomic::new(value)
    }
}

/// Shows the present value.
impl<T: AtomicValue + fmt::Debug> fmt::Debug for Atomic<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.load().fmt(f)
    }
}

/// Shows the present value.
impl<T: AtomicValue + fmt::Display> fmt::Display for Atomic<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.load().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::threads::sync;
    use std::thread;

    /// Adds from all threads at once must not be lost, whatever the type.
    macro_rules! counts_exactly {
        ($($name:ident: $value:ty),+ $(,)?) => { $(
            #[test]
            fn $name() {
                let sum = Atomic::new(0 as $value);
                let least = Atomic::new(100 as $value);
                let greatest = Atomic::new(0 as $value);
                thread::scope(|s| {
                    for k in 1..=4_u8 {
                        let (sum, least, greatest) = (&sum, &least, &greatest);
                        s.spawn(move || {
                            for _ in 0..25 {
                                sum.fetch_add(k as $value);
                                sum.fetch_sub((k - 1) as $value);
                                least.fetch_min(k as $value);
                                greatest.fetch_max(k as $value);
                            }
                        });
                    }
                });
                assert_eq!(sum.load(), 100 as $value);
                assert_eq!((least.load(), greatest.load()), (1 as $value, 4 as $value));
            }
        )+ };
    }

    counts_exactly!(
        counts_i8: i8, counts_i16: i16, counts_i32: i32, counts_i64: i64, counts_i128: i128,
        counts_isize: isize, counts_u8: u8, counts_u16: u16, counts_u32: u32, counts_u64: u64,
        counts_u128: u128, counts_usize: usize, counts_f32: f32, counts_f64: f64,
    );

    #[test]
    fn integers_wrap_as_in_julia() {
        let x = Atomic::new(i8::MAX);
        assert_eq!(x.fetch_add(1), i8::MAX);
        assert_eq!(x.load(), i8::MIN);
    }

    #[test]
    fn every_change_returns_the_old_value() {
        let x = Atomic::new(6_u32);
        let old = [x.fetch_and(3), x.fetch_or(8), x.fetch_xor(1), x.fetch_nand(9), x.swap(1)];
        assert_eq!(old, [6, 2, 10, 11, !9]);
        assert_eq!(x.compare_exchange(2, 3), Err(1));
        let flag = Atomic::new(false);
        assert_eq!((flag.fetch_or(true), flag.fetch_xor(true), flag.load()), (false, true, false));
    }

    #[test]
    fn an_update_loses_nothing_under_contention() {
        crate::interrupt::testing::quiet();
        let x = Atomic::new(0.0_f64);
        sync(|s| {
            for _ in 0..8 {
                s.spawn(|| {
                    for _ in 0..1000 {
                        x.update(|x| x + 0.5);
                    }
                });
            }
        });
        assert_eq!(x.into_inner(), 4000.0);
    }

    #[test]
    fn an_atomic_is_shown_as_its_value() {
        let x = Atomic::new(1.5);
        assert_eq!(format!("{x} {x:?} {x:.2}"), "1.5 1.5 1.50");
    }
}
