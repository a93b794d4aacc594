//! The least and the greatest item, and where they are.

use rayon::prelude::*;

use crate::interrupt;

/// Whether the item is comparable with itself: no NaN.
fn is_ordered<T: PartialOrd>(item: &T) -> bool {
    item.partial_cmp(item).is_some()
}

/// The least and the greatest item; twice the first NaN if there is one.
pub(super) fn extrema<T: PartialOrd + Clone + Send>(
    items: impl ParallelIterator<Item = T>,
) -> Option<(T, T)> {
    interrupt::check();
    let step = |sofar: Option<(T, T)>, item: T| {
        interrupt::check();
        Some(match sofar {
            None => (item.clone(), item),
            // Most items come to this line.
            Some((least, greatest)) if least <= item && item <= greatest => (least, greatest),
            Some(both) => widened(both, item),
        })
    };
    let join = |a: Option<(T, T)>, b: Option<(T, T)>| match (a, b) {
        (Some(a), Some((least, greatest))) => Some(widened(widened(a, least), greatest)),
        (a, b) => a.or(b),
    };
    items.fold(|| None, step).reduce(|| None, join)
}

fn widened<T: PartialOrd + Clone>((least, greatest): (T, T), item: T) -> (T, T) {
    if !is_ordered(&least) || (least <= item && item <= greatest) {
        (least, greatest)
    } else if item < least {
        (item, greatest)
    } else if item > greatest {
        (least, item)
    } else {
        (item.clone(), item)
    }
}

/// Position and value of the first item that no other beats, in the sense of `keeps(best, other)`:
/// true if the first stays the best beside a later one. The first NaN beats all.
pub(super) fn first_best<T: PartialOrd + Send>(
    items: impl IndexedParallelIterator<Item = T>,
    keeps: impl Fn(&T, &T) -> bool + Sync,
) -> Option<(usize, T)> {
    interrupt::check();
    let better = |best: (usize, T), item: (usize, T)| {
        if keeps(&best.1, &item.1) || !is_ordered(&best.1) { best } else { item }
    };
    let step = |best: Option<(usize, T)>, item: (usize, T)| {
        interrupt::check();
        Some(match best {
            None => item,
            // Most items come to this line.
            Some(best) if keeps(&best.1, &item.1) => best,
            Some(best) => better(best, item),
        })
    };
    let join = |a: Option<(usize, T)>, b: Option<(usize, T)>| match (a, b) {
        (Some(a), Some(b)) => Some(better(a, b)),
        (a, b) => a.or(b),
    };
    items.enumerate().fold(|| None, step).reduce(|| None, join)
}
