//! Sorting integers by counting how often each occurs.

use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use super::space::Integer;
use crate::interrupt;

/// Items that are written, or looked through for their range, at a time.
const BLOCK: usize = 1 << 15;
/// Counting is done from so many items for each possible value on. With half as many it takes about
/// as long as sorting, as the counts do not fit the caches.
const ITEMS_PER_VALUE: usize = 4;

/// How often each of `0..bins` occurs as an item's distance from the least.
fn count_each<T: Integer>(items: &[T], least: T, bins: usize) -> Vec<usize> {
    let free = Mutex::new(Vec::new());
    items.par_chunks(BLOCK).for_each_init(
        || Counts::take(&free, bins),
        |counts, block| {
            interrupt::check();
            let counts = counts.counts.as_mut_slice();
            block.iter().for_each(|&item| counts[least.up_to(item)] += 1);
        },
    );
    let all = free.into_inner().unwrap_or_else(PoisonError::into_inner);
    let sum = all.into_iter().reduce(|mut sum, counts| {
        sum.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        sum
    });
    sum.unwrap_or_else(|| vec![0; bins])
}

/// One job's counts. They go on to the next job, so that there are only as many as are worked on
/// at a time.
struct Counts<'a> {
    counts: Vec<usize>,
    free: &'a Mutex<Vec<Vec<usize>>>,
}

impl<'a> Counts<'a> {
    fn take(free: &'a Mutex<Vec<Vec<usize>>>, bins: usize) -> Self {
        let used = free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Counts { counts: used.unwrap_or_else(|| vec![0; bins]), free }
    }
}

impl Drop for Counts<'_> {
    fn drop(&mut self) {
        let counts = std::mem::take(&mut self.counts);
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(counts);
    }
}

/// Sorts by counting if there are few possible values, else as `par_sort_unstable`.
pub(super) fn sort<T: Integer>(items: &mut [T]) {
    interrupt::check();
    let Some((least, greatest)) = range(items) else { return };
    match width(least, greatest) {
        Some(width) if width < items.len() / ITEMS_PER_VALUE => {
            let counts = count_each(items, least, width + 1);
            write(items, least, counts);
        }
        _ => items.par_sort_unstable(),
    }
}

fn range<T: Integer>(items: &[T]) -> Option<(T, T)> {
    let of_block = |block: &[T]| {
        interrupt::check();
        Some((*block.iter().min()?, *block.iter().max()?))
    };
    let blocks = items.par_chunks(BLOCK).filter_map(of_block);
    blocks.reduce_with(|a, b| (a.0.min(b.0), a.1.max(b.1)))
}

/// How much the greatest is above the least; `None` if no index could be.
fn width<T: Integer>(least: T, greatest: T) -> Option<usize> {
    let too_wide = size_of::<T>() > size_of::<usize>() && greatest > least.plus(usize::MAX);
    (!too_wide).then(|| least.up_to(greatest))
}

/// Overwrites the items by as many of each value as there were. From here on no interrupt is
/// heeded: the slice shall hold the same items as before in any case.
fn write<T: Integer>(items: &mut [T], least: T, counts: Vec<usize>) {
    let mut ends = counts;
    let mut end = 0;
    for count in &mut ends {
        end += *count;
        *count = end;
    }
    items.par_chunks_mut(BLOCK).enumerate().for_each(|(i, block)| {
        let (first, mut done) = (i * BLOCK, 0);
        let mut value = ends.partition_point(|&end| end <= first);
        while done < block.len() {
            let end = (ends[value] - first).min(block.len());
            block[done..end].fill(least.plus(value));
            (done, value) = (end, value + 1);
        }
    });
}
