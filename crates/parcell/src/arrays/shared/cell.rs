//! Elements that any process may read and write at any time.
//!
//! # Invariants
//! 1. All accesses to the memory of a cell of type `T` are atomic accesses of [`word`]`::<T>()`
//!    bytes, from the cell's start on, so that no two accesses race in the sense of the language:
//!    not within this process, and not with others, which have the same code.
//! 2. `T` is [`Plain`]: words that come from different writes make a wrong value, but a value.

use std::cell::UnsafeCell;
use std::fmt;
use std::mem::MaybeUninit;
use std::ops::Add;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64};

/// What a [`SharedArray`](super::SharedArray) may hold: plain data, of which every pattern of bits
/// is a value and which has no padding. Integers, floats, complex numbers and arrays of such are;
/// an own type of such fields becomes so by a derive. Nothing is implemented by hand.
///
/// ```
/// use parcell::bytemuck::{Pod, Zeroable};
/// use parcell::prelude::*;
///
/// #[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
/// # #[bytemuck(crate = "parcell::bytemuck")]
/// #[repr(C)]
/// struct Body {
///     position: [f64; 3],
///     mass: f64,
/// }
///
/// let bodies = SharedVector::<Body>::zeros(10);
/// bodies.set(3, Body { position: [1.0; 3], mass: 2.0 });
/// assert_eq!(bodies.get(3).mass, 2.0);
/// ```
///
/// # Source
/// `isbitstype`, Julia's Base.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an element of a `SharedArray`",
    label = "an element must be plain data: every pattern of bits a value, and no padding",
    note = "numbers, complex numbers and arrays `[T; N]` of them are; for `bool` take `u8`, for text, \
            vectors and other types with memory of their own take a `DArray`",
    note = "your own type: put `#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]` and \
            `#[repr(C)]` before its definition"
)]
pub trait Plain: bytemuck::Pod + Send + Sync {}

#[diagnostic::do_not_recommend]
impl<T: bytemuck::Pod + Send + Sync> Plain for T {}

/// An element of a [`SharedArray`](super::SharedArray), where it lies: read and written by any
/// thread of any process, without a lock and without order between elements.
///
/// A value of one word, such as any number of at most 8 bytes, is read and written as a whole. A
/// value of several words, such as a complex number, may be read while half of it is written; the
/// result is then a wrong number, never anything worse.
#[repr(transparent)]
pub struct SharedCell<T>(UnsafeCell<T>);

// SAFETY: all accesses are atomic (invariant 1), and the values may be sent.
unsafe impl<T: Plain> Sync for SharedCell<T> {}

/// How many bytes are read or written at a time.
const fn word<T>() -> usize {
    if align_of::<T>() < 8 { align_of::<T>() } else { 8 }
}

/// An atomic word.
trait Word {
    type Value;
    fn load(&self) -> Self::Value;
    fn store(&self, value: Self::Value);
    fn exchange(&self, current: Self::Value, new: Self::Value) -> Result<Self::Value, Self::Value>;
}

macro_rules! words {
    ($($atomic:ty: $value:ty),+) => { $(
        impl Word for $atomic {
            type Value = $value;

            #[inline(always)]
            fn load(&self) -> $value {
                self.load(Relaxed)
            }

            #[inline(always)]
            fn store(&self, value: $value) {
                self.store(value, Relaxed);
            }

            #[inline(always)]
            fn exchange(&self, current: $value, new: $value) -> Result<$value, $value> {
                self.compare_exchange(current, new, SeqCst, SeqCst)
            }
        }
    )+ };
}

words!(AtomicU8: u8, AtomicU16: u16, AtomicU32: u32, AtomicU64: u64);

/// # Safety
/// `from` is the memory of a cell, `to` is writable, both for the size of `T`; both are aligned for
/// `T`, and so for `W`, whose size is `word::<T>()`.
#[inline(always)]
unsafe fn load<T, W: Word>(from: *const T, to: *mut T) {
    for k in 0..size_of::<T>() / size_of::<W>() {
        // SAFETY: the caller's promise; word `k` lies within both, and the cell's words are only
        // accessed as such (invariant 1).
        unsafe { to.cast::<W::Value>().add(k).write((*from.cast::<W>().add(k)).load()) };
    }
}

/// # Safety
/// As [`load`], in the other direction.
#[inline(always)]
unsafe fn store<T, W: Word>(from: *const T, to: *mut T) {
    for k in 0..size_of::<T>() / size_of::<W>() {
        // SAFETY: as in `load`.
        unsafe { (*to.cast::<W>().add(k)).store(from.cast::<W::Value>().add(k).read()) };
    }
}

/// # Safety
/// As [`load`], and `T` has the size of `W`.
#[inline(always)]
unsafe fn exchange<T: Plain, W: Word>(at: *mut T, current: &T, new: &T) -> Result<T, T> {
    let bits = |value: &T| -> W::Value {
        // SAFETY: `T` is plain, has the size of a word and its alignment.
        unsafe { std::ptr::from_ref(value).cast::<W::Value>().read() }
    };
    let value = |bits: W::Value| -> T {
        // SAFETY: every pattern of bits is a value of a plain type; size and alignment as above.
        unsafe { std::ptr::from_ref(&bits).cast::<T>().read() }
    };
    // SAFETY: the caller's promise.
    let done = unsafe { (*at.cast::<W>()).exchange(bits(current), bits(new)) };
    done.map(value).map_err(value)
}

impl<T: Plain> SharedCell<T> {
    /// The value. Costs no more than an ordinary read. Never blocks.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let s = SharedVector::<f64>::zeros(3);
    /// assert_eq!(s.cells()[2].get(), 0.0);
    /// ```
    #[inline]
    #[must_use]
    pub fn get(&self) -> T {
        let mut value = MaybeUninit::<T>::uninit();
        let (from, to) = (self.0.get().cast_const(), value.as_mut_ptr());
        // SAFETY: both are memory for a `T`; the word has the size that is chosen by. All words
        // are written, and every pattern of bits is a value of a plain type.
        unsafe {
            match word::<T>() {
                1 => load::<T, AtomicU8>(from, to),
                2 => load::<T, AtomicU16>(from, to),
                4 => load::<T, AtomicU32>(from, to),
                _ => load::<T, AtomicU64>(from, to),
            }
            value.assume_init()
        }
    }

    /// Replaces the value. Costs no more than an ordinary write. Never blocks.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let s = SharedVector::<f64>::zeros(3);
    /// s.local().iter().for_each(|cell| cell.set(1.5));
    /// assert_eq!(s.sum(), 4.5);
    /// ```
    #[inline]
    pub fn set(&self, value: T) {
        let (from, to) = (std::ptr::from_ref(&value), self.0.get());
        // SAFETY: as in `get`; cells are only given out of memory that may be written.
        unsafe {
            match word::<T>() {
                1 => store::<T, AtomicU8>(from, to),
                2 => store::<T, AtomicU16>(from, to),
                4 => store::<T, AtomicU32>(from, to),
                _ => store::<T, AtomicU64>(from, to),
            }
        }
    }

    /// Replaces the value if it is `current`, in one step as seen from all threads of all
    /// processes. Values are compared by their bits. For types of one word; of others it does not
    /// compile. Never blocks.
    ///
    /// # Errors
    /// The value, if it is not `current`; it stays then.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let s = SharedVector::<u32>::zeros(1);
    /// assert_eq!(s.cells()[0].compare_exchange(0, 5), Ok(0));
    /// assert_eq!(s.cells()[0].compare_exchange(0, 7), Err(5));
    /// ```
    #[inline]
    pub fn compare_exchange(&self, current: T, new: T) -> Result<T, T> {
        const {
            assert!(
                size_of::<T>() == word::<T>(),
                "only values of one word, of 1, 2, 4 or 8 bytes, can be changed in one step"
            );
        };
        let at = self.0.get();
        // SAFETY: as in `set`, and the size was checked.
        unsafe {
            match word::<T>() {
                1 => exchange::<T, AtomicU8>(at, &current, &new),
                2 => exchange::<T, AtomicU16>(at, &current, &new),
                4 => exchange::<T, AtomicU32>(at, &current, &new),
                _ => exchange::<T, AtomicU64>(at, &current, &new),
            }
        }
    }

    /// Replaces the value by a function of it, in one step as seen from all threads of all
    /// processes; returns the old one. The function is called again whenever another was faster.
    /// For types of one word; of others it does not compile.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let s = SharedVector::<u64>::from_fn(1, |_: usize| 3);
    /// assert_eq!(s.cells()[0].update(|x| x * x), 3);
    /// assert_eq!(s.get(0), 9);
    /// ```
    #[inline]
    pub fn update(&self, mut change: impl FnMut(T) -> T) -> T {
        let mut current = self.get();
        loop {
            match self.compare_exchange(current, change(current)) {
                Ok(old) => return old,
                Err(now) => current = now,
            }
        }
    }

    /// Adds to the value, in one step as seen from all threads of all processes; returns the old
    /// one. For types of one word; of others it does not compile. Integers that grow too large do
    /// what `+` does. Many that add to the same element wait for each other's cache: let each
    /// process sum up on its own where you can.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let hits = SharedVector::<u64>::zeros(10);
    /// (0..1000).into_par_iter().for_each(|i| { hits.cells()[i % 10].fetch_add(1); });
    /// assert_eq!(hits.get(7), 100);
    /// ```
    #[inline]
    pub fn fetch_add(&self, value: T) -> T
    where
        T: Add<Output = T>,
    {
        self.update(|old| old + value)
    }
}

impl<T: Plain + fmt::Debug> fmt::Debug for SharedCell<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use num_complex::Complex;
    use std::thread;

    fn cell<T: Plain>(value: T) -> SharedCell<T> {
        SharedCell(UnsafeCell::new(value))
    }

    fn goes_and_comes<T: Plain + PartialEq + fmt::Debug>(a: T, b: T) {
        let cell = cell(a);
        assert_eq!(cell.get(), a);
        cell.set(b);
        assert_eq!(cell.get(), b);
    }

    #[test]
    fn values_of_all_sizes_go_and_come() {
        goes_and_comes(1_u8, 2);
        goes_and_comes(-1_i16, 2);
        goes_and_comes(1.5_f32, -2.5);
        goes_and_comes(1.5_f64, -2.5);
        goes_and_comes(u128::MAX - 5, 7);
        goes_and_comes([1_u8, 2, 3], [4, 5, 6]);
        goes_and_comes([1_u16; 5], [2; 5]);
        goes_and_comes(Complex::new(1.0_f32, 2.0), Complex::new(3.0, 4.0));
        goes_and_comes(Complex::new(1.0_f64, 2.0), Complex::new(3.0, 4.0));
        goes_and_comes([[0.5_f64; 3]; 2], [[1.5; 3]; 2]);
        goes_and_comes((), ());
        goes_and_comes([0_u64; 0], []);
    }

    #[test]
    fn a_race_shows_as_values_that_were_written() {
        let cell = cell(0_u64);
        thread::scope(|scope| {
            for value in [0x1111_1111_1111_1111, 0x2222_2222_2222_2222] {
                let cell = &cell;
                scope.spawn(move || (0..100_000).for_each(|_| cell.set(value)));
            }
            for _ in 0..100_000 {
                let seen = cell.get();
                let known = [0, 0x1111_1111_1111_1111, 0x2222_2222_2222_2222];
                assert!(known.contains(&seen), "{seen:x}");
            }
        });
    }

    #[test]
    fn changes_in_one_step_lose_nothing() {
        let (ints, floats, small) = (cell(0_u64), cell(0.0_f64), cell(0_u8));
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..25_000 {
                        ints.fetch_add(1);
                        floats.fetch_add(0.5);
                        small.update(|x| x.wrapping_add(1));
                    }
                });
            }
        });
        assert_eq!((ints.get(), floats.get()), (100_000, 50_000.0));
        assert_eq!(small.get(), (100_000 % 256) as u8);
        assert_eq!(ints.compare_exchange(1, 2), Err(100_000));
        assert_eq!(ints.compare_exchange(100_000, 2), Ok(100_000));
        assert_eq!(format!("{ints:?}"), "2");
    }
}
