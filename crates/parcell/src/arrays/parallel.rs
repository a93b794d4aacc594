//! Loops over a piece with the threads of its process. How a piece is cut into chunks depends on
//! its length alone, so that results do not depend on the number of threads.
//!
//! # Invariants
//! 1. [`each_chunk`] calls its body once with each of the ranges that [`chunks`] gives, which do not
//!    overlap and lie within `0..n`.
//! 2. `Slots::filled` counts the slots from the first on that have been written.

use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::threads::par_for;

/// Chunks of so many elements make up for what it costs to deal them out, and fit a cache.
const LARGEST: usize = 1 << 15;
/// Short pieces, whose elements may each take long, are cut into so many chunks.
const CHUNKS: usize = 64;

fn grain(n: usize) -> usize {
    (n / CHUNKS).clamp(1, LARGEST)
}

/// How many chunks `n` elements make.
fn chunks(n: usize, grain: usize) -> usize {
    n.div_ceil(grain)
}

fn chunk(number: usize, n: usize, grain: usize) -> Range<usize> {
    number * grain..((number + 1) * grain).min(n)
}

/// Calls `body` with the ranges of all chunks, on the threads of this process's pool.
fn each_chunk(n: usize, grain: usize, body: &(dyn Fn(Range<usize>) + Sync)) {
    match chunks(n, grain) {
        0 => {}
        1 => body(0..n),
        many => par_for(0..many).chunk(1).for_each(|number| body(chunk(number, n, grain))),
    }
}

/// A mutable slice that threads share, each taking other parts of it.
struct Cut<'a, T> {
    start: *mut T,
    len: usize,
    slice: PhantomData<&'a mut [T]>,
}

// SAFETY: gives out parts of a `&mut [T]`, each to one thread, which `T: Send` allows.
unsafe impl<T: Send> Sync for Cut<'_, T> {}

impl<'a, T> Cut<'a, T> {
    fn new(slice: &'a mut [T]) -> Cut<'a, T> {
        Cut { start: slice.as_mut_ptr(), len: slice.len(), slice: PhantomData }
    }

    /// # Safety
    /// No range that is asked for overlaps another.
    #[expect(clippy::mut_from_ref, reason = "parts are disjoint")]
    unsafe fn part(&self, range: Range<usize>) -> &mut [T] {
        assert!(range.start <= range.end && range.end <= self.len);
        // SAFETY: within the slice, as was checked, which is borrowed for 'a; and by the caller's
        // promise nobody else has these elements.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }
}

/// The places of a chunk's results.
pub struct Slots<'a, R> {
    slots: &'a mut [MaybeUninit<R>],
    filled: usize,
}

impl<R> Slots<'_, R> {
    /// Fills the next places; what does not find a place is dropped.
    #[inline]
    pub fn extend(&mut self, values: impl Iterator<Item = R>) {
        let mut filled = 0;
        for (slot, value) in self.slots[self.filled..].iter_mut().zip(values) {
            slot.write(value);
            filled += 1;
        }
        self.filled += filled;
    }

    /// How many places are left.
    pub fn left(&self) -> usize {
        self.slots.len() - self.filled
    }
}

/// A vector of `n` values, which `fill` makes for each chunk. Blocks until done; interruptible.
pub(crate) fn make<R: Send>(
    n: usize,
    fill: impl Fn(Range<usize>, &mut Slots<'_, R>) + Sync,
) -> Vec<R> {
    make_by(n, grain(n), fill)
}

fn make_by<R: Send>(
    n: usize,
    grain: usize,
    fill: impl Fn(Range<usize>, &mut Slots<'_, R>) + Sync,
) -> Vec<R> {
    let mut all = Vec::with_capacity(n);
    let filled = AtomicUsize::new(0);
    let places = Cut::new(&mut all.spare_capacity_mut()[..n]);
    each_chunk(n, grain, &|range| {
        // SAFETY: chunks do not overlap (invariant 1).
        let mut slots = Slots { slots: unsafe { places.part(range.clone()) }, filled: 0 };
        fill(range, &mut slots);
        filled.fetch_add(slots.filled, Ordering::Relaxed);
    });
    assert_eq!(filled.into_inner(), n, "every chunk fills its places");
    // SAFETY: each of the `n` places was written (invariants 1 and 2, and the count).
    unsafe { all.set_len(n) };
    all
}

/// What `part` makes of each chunk, in their order.
pub(crate) fn parts<P: Send>(n: usize, part: impl Fn(Range<usize>) -> P + Sync) -> Vec<P> {
    let grain = grain(n);
    make_by(chunks(n, grain), 1, |numbers, slots| {
        slots.extend(numbers.map(|number| part(chunk(number, n, grain))));
    })
}

/// Changes elements: `change` gets each chunk, and where it is.
pub(crate) fn change<T: Send>(elements: &mut [T], change: impl Fn(Range<usize>, &mut [T]) + Sync) {
    let n = elements.len();
    let elements = Cut::new(elements);
    // SAFETY: chunks do not overlap (invariant 1).
    each_chunk(n, grain(n), &|range| change(range.clone(), unsafe { elements.part(range) }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn chunks_cover_everything_once() {
        for n in [0, 1, 63, 64, 65, 1000, 100_000, 5_000_001] {
            let mut seen = vec![0_u8; n];
            change(&mut seen, |_, part| part.iter_mut().for_each(|times| *times += 1));
            assert!(seen.iter().all(|times| *times == 1), "{n}");
            let squares = make(n, |range, slots| slots.extend(range.map(|i| i * i)));
            assert!(squares.iter().enumerate().all(|(i, square)| i * i == *square), "{n}");
            assert_eq!(parts(n, |range| range.len()).into_iter().sum::<usize>(), n);
        }
    }

    #[test]
    fn parts_come_in_order() {
        let starts = parts(100_000, |range| range.start);
        assert!(starts.len() > 1 && starts.is_sorted());
    }

    #[test]
    fn a_panic_unwinds_and_drops_nothing_twice() {
        let value = Arc::new(());
        let fill = |range: Range<usize>, slots: &mut Slots<'_, Arc<()>>| {
            slots.extend(range.map(|i| {
                assert!(i != 500, "stop");
                Arc::clone(&value)
            }));
        };
        let made = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| make(1000, fill)));
        assert!(made.is_err());
        assert!(Arc::strong_count(&value) >= 1);
    }

    #[test]
    #[should_panic(expected = "every chunk fills its places")]
    fn a_chunk_that_is_not_filled_is_noticed() {
        make(10, |range, slots| slots.extend(range.filter(|i| *i != 3)));
    }
}
