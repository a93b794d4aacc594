//! Whether a slice is sorted.

use rayon::prelude::*;

use crate::interrupt;

/// Items that are looked at between two looks at whether to go on.
const BLOCK: usize = 1 << 12;

/// Whether each block is, together with the item after it.
pub(super) fn is_sorted<T: Sync>(items: &[T], block_is: impl Fn(&[T]) -> bool + Sync) -> bool {
    let blocks = items.len().div_ceil(BLOCK);
    (0..blocks).into_par_iter().all(|i| {
        interrupt::check();
        block_is(&items[i * BLOCK..items.len().min((i + 1) * BLOCK + 1)])
    })
}
