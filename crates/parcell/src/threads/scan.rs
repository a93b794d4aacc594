//! Running totals: each item becomes the total of all items up to it.
//!
//! A stretch of the slice is cut into one piece more than there are threads. While the first
//! thread already writes the running totals of piece 0, the others only add up theirs; then all
//! pieces but the first are left, each with its start known. So two threads read 4/3 of the slice
//! and need 2/3 of the time. A stretch fits the caches: the second reading does not go to memory.

use rayon::prelude::*;

use crate::interrupt;

/// A piece has so many bytes at most, and at least one item.
const PIECE: usize = 1 << 19;
/// Items between two looks at the interrupt flag: few, as an operation may take long.
const BLOCK: usize = 16;

/// Replaces each item by the total of all items up to it.
pub(super) fn scan<T: Clone + Send + Sync>(items: &mut [T], op: &(impl Fn(&T, &T) -> T + Sync)) {
    let pieces = rayon::current_num_threads() + 1;
    let most = (PIECE / size_of::<T>().max(1)).max(1);
    let length = items.len().div_ceil(pieces).min(most);
    let mut rest = items;
    let mut before: Option<&T> = None;
    while !rest.is_empty() {
        let (stretch, later) = rest.split_at_mut(rest.len().min(pieces * length));
        if pieces == 2 {
            scan_piece(stretch, before, op);
        } else {
            scan_stretch(stretch, before, length, op);
        }
        let stretch: &[T] = stretch;
        (before, rest) = (stretch.last(), later);
    }
}

fn scan_stretch<T: Clone + Send + Sync>(
    stretch: &mut [T],
    before: Option<&T>,
    length: usize,
    op: &(impl Fn(&T, &T) -> T + Sync),
) {
    let (first, others) = stretch.split_at_mut(stretch.len().min(length));
    let inner = &others[..others.len().saturating_sub(1) / length * length];
    let ((), totals) = rayon::join(
        || scan_piece(first, before, op),
        || {
            inner
                .par_chunks(length)
                .with_max_len(1)
                .map(|piece| total(piece, op))
                .collect::<Vec<_>>()
        },
    );
    let mut starts: Vec<T> = Vec::with_capacity(totals.len());
    for piece in &totals {
        let start = starts.last().or(first.last()).expect("a stretch is not empty");
        starts.push(op(start, piece));
    }
    let starts: Vec<&T> = first.last().into_iter().chain(&starts).collect();
    others
        .par_chunks_mut(length)
        .zip(starts)
        .with_max_len(1)
        .for_each(|(piece, start)| scan_piece(piece, Some(start), op));
}

fn scan_piece<T: Clone>(piece: &mut [T], before: Option<&T>, op: &impl Fn(&T, &T) -> T) {
    let Some((first, others)) = piece.split_first_mut() else { return };
    if let Some(before) = before {
        *first = op(before, first);
    }
    let mut total = first.clone();
    for block in others.chunks_mut(BLOCK) {
        interrupt::check();
        for item in block {
            total = op(&total, item);
            item.clone_from(&total);
        }
    }
}

/// What a piece comes to, which is not empty.
fn total<T: Clone>(piece: &[T], op: &impl Fn(&T, &T) -> T) -> T {
    let (first, others) = piece.split_first().expect("a piece is not empty");
    others.chunks(BLOCK).fold(first.clone(), |total, block| {
        interrupt::check();
        block.iter().fold(total, |total, item| op(&total, item))
    })
}
