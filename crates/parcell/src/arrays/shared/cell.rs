//! Elements that any process may read and write at any time.
//!
//! # Invariants
//! 1. All accesses to the memory of a cell of type `T` are atomic accesses of [`word`]`::<T>()`
//!    bytes, from the cell's start on, so that no two accesses race in the sense of the language:
//!    not within this process, and not with others, which have the same code. [`fill`]
//!    writes several of these at a time, which to others is the same.
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

/// Replaces the values of many cells: what a loop of [`SharedCell::set`] does, which compilers do
/// not make wide stores of, since it is one of atomic ones.
pub(super) fn fill<T: Plain>(cells: &[SharedCell<T>], value: T) {
    let rest = match words_of(cells, &value) {
        Some((words, bits, rest)) => {
            fill_words(words, bits);
            rest
        }
        None => [cells, &[]],
    };
    rest.into_iter().flatten().for_each(|cell| cell.set(value));
}

/// Fewer bytes are not worth it.
const MANY: usize = 1 << 10;

type Words<'a, T> = (&'a [AtomicU64], u64, [&'a [SharedCell<T>]; 2]);

/// The cells as words of 8 bytes that are all alike, the word, and the cells before and after
/// those; `None` where cells do not make up such words.
fn words_of<'a, T: Plain>(cells: &'a [SharedCell<T>], value: &T) -> Option<Words<'a, T>> {
    let size = size_of::<T>();
    let before = cells.as_ptr().cast::<u8>().align_offset(8);
    // Elsewhere words are written as what they are, so must be the cells' own.
    let fits = if cfg!(target_arch = "x86_64") {
        matches!(size, 1 | 2 | 4 | 8)
    } else {
        size == 8 && word::<T>() == 8
    };
    if !fits || size_of_val(cells) < MANY || !before.is_multiple_of(size) {
        return None;
    }
    let (head, cells) = cells.split_at(before / size);
    let words = size_of_val(cells) / 8;
    let (body, tail) = cells.split_at(words * 8 / size);
    let mut bits = [0; 8];
    bits.chunks_exact_mut(size).for_each(|part| part.copy_from_slice(bytemuck::bytes_of(value)));
    // SAFETY: the memory of `body`, aligned as was seen to; every pattern of bits is a value of
    // both.
    let words = unsafe { std::slice::from_raw_parts(body.as_ptr().cast::<AtomicU64>(), words) };
    Some((words, u64::from_ne_bytes(bits), [head, tail]))
}

#[cfg(target_arch = "x86_64")]
fn fill_words(words: &[AtomicU64], bits: u64) {
    // SAFETY: writes the words and nothing else, each as a whole: to other threads it is a loop of
    // relaxed stores. The direction flag is clear, as it always is between functions.
    unsafe {
        std::arch::asm!(
            "rep stosq",
            inout("rcx") words.len() => _,
            inout("rdi") words.as_ptr() => _,
            in("rax") bits,
            options(nostack, preserves_flags)
        );
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn fill_words(words: &[AtomicU64], bits: u64) {
    words.iter().for_each(|word| word.store(bits, Relaxed));
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

    fn fills<T: Plain + PartialEq + fmt::Debug>(old: T, new: T) {
        for n in [0, 1, 7, 100, 1000, 5003] {
            for skipped in [0, 1, 3] {
                let cells: Vec<_> = (0..n + skipped + 1).map(|_| cell(old)).collect();
                fill(&cells[skipped..n + skipped], new);
                for (k, cell) in cells.iter().enumerate() {
                    let inside = (skipped..n + skipped).contains(&k);
                    assert_eq!(cell.get(), if inside { new } else { old }, "{k} of {n}");
                }
            }
        }
    }

    #[test]
    fn many_are_filled_and_no_others() {
        fills(1_u8, 2);
        fills([1_u8, 2], [3, 4]);
        fills([1_u8, 2, 3], [4, 5, 6]);
        fills([1_u8, 2, 3, 4], [5, 6, 7, 8]);
        fills(-1_i16, 300);
        fills(1.5_f32, -2.5);
        fills(1.5_f64, -2.5);
        fills([1_u16, 2, 3, 4], [5, 6, 7, 8]);
        fills(Complex::new(1.0_f64, 2.0), Complex::new(3.0, 4.0));
        fills((), ());
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
