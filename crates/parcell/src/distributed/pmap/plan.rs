//! What is sent to whom: sizes of batches, and items that are tried again. No processes here.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// A batch is to take so long, in nanoseconds: far longer than a message, and short enough that
/// nobody waits long for the last one.
const WORK: f64 = 1e6;
/// Items are never taken to cost less: what sends and receives them has its own work with each.
const LEAST: f64 = 1e3;
/// A batch has at most so many times the items of the largest one that was measured.
const GROWTH: usize = 4;
/// Where items take longer, in nanoseconds, workers get no second batch before they have ended the
/// first: another might be free earlier.
const LONG: f64 = 5e6;

/// How many items a batch has.
#[derive(Debug, Clone)]
pub(crate) struct Pace {
    fixed: Option<usize>,
    /// Items of the largest batch that came back.
    seen: usize,
    /// Nanoseconds for an item, as of late.
    item: Option<f64>,
}

impl Pace {
    pub(crate) fn new(fixed: Option<usize>) -> Pace {
        Pace { fixed, seen: 0, item: None }
    }

    /// A batch came back.
    pub(crate) fn measured(&mut self, items: usize, nanoseconds: u64) {
        let now = nanoseconds as f64 / items.max(1) as f64;
        self.seen = self.seen.max(items);
        self.item = Some(self.item.map_or(now, |before| 0.5 * (before + now)));
    }

    /// How many items to send next, if `left` are left (or nobody knows) and `hands` batches run at
    /// a time.
    pub(crate) fn batch(&self, left: Option<usize>, hands: usize) -> usize {
        if let Some(n) = self.fixed {
            return n;
        }
        let in_time = self.item.map_or(1.0, |item| WORK / item.max(LEAST));
        let size = (in_time as usize).min(self.seen.max(1).saturating_mul(GROWTH));
        // To the end everybody is to have something.
        let fair = left.map_or(usize::MAX, |left| left.div_ceil(hands.max(1)));
        size.min(fair).max(1)
    }

    /// How many batches a worker of so many threads has at a time.
    pub(crate) fn depth(&self, threads: usize) -> usize {
        match self.item {
            Some(item) if item < LONG => 2 * threads,
            _ => threads,
        }
    }
}

/// An item that failed and will be tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Again {
    index: usize,
    due: Instant,
}

/// What was tried of an item that failed.
#[derive(Debug, Clone, Default)]
struct Tries {
    failures: usize,
    /// The workers on which it failed, since all had been tried the last time.
    on: Vec<u32>,
}

/// Items that failed.
#[derive(Debug, Default)]
pub(crate) struct Retries {
    tries: HashMap<usize, Tries>,
    waiting: Vec<Again>,
}

impl Retries {
    /// An item failed on a worker; how often it has by now.
    pub(crate) fn failed(&mut self, index: usize, worker: u32) -> usize {
        let tries = self.tries.entry(index).or_default();
        tries.failures += 1;
        if !tries.on.contains(&worker) {
            tries.on.push(worker);
        }
        tries.failures
    }

    /// It is to be tried again, but not before then.
    pub(crate) fn again(&mut self, index: usize, due: Instant) {
        self.waiting.push(Again { index, due });
    }

    /// It came to something.
    pub(crate) fn forget(&mut self, index: usize) {
        if !self.tries.is_empty() {
            self.tries.remove(&index);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// How many items wait to be tried again.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// An item for this worker, one of `live`: not one that failed on it, unless it did on all.
    pub(crate) fn take(&mut self, worker: u32, live: &[u32], now: Instant) -> Option<usize> {
        let fits = |tries: &mut HashMap<usize, Tries>, again: &Again| {
            let Some(tries) = tries.get_mut(&again.index) else { return true };
            if live.iter().all(|id| tries.on.contains(id)) {
                let last = tries.on.last().copied().filter(|_| live.len() > 1);
                tries.on = last.into_iter().collect();
            }
            !tries.on.contains(&worker)
        };
        let tries = &mut self.tries;
        let at = self.waiting.iter().position(|again| again.due <= now && fits(tries, again))?;
        Some(self.waiting.remove(at).index)
    }

    /// When the next item is due that is not yet.
    pub(crate) fn next_due(&self, now: Instant) -> Option<Duration> {
        let later = self.waiting.iter().filter(|again| again.due > now);
        later.map(|again| again.due - now).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_grow_to_a_millisecond_of_work_and_shrink_to_the_end() {
        let mut pace = Pace::new(None);
        assert_eq!(pace.batch(Some(1000), 4), 1);
        pace.measured(1, 20_000);
        assert_eq!(pace.batch(Some(1000), 4), 4);
        pace.measured(4, 80_000);
        assert_eq!(pace.batch(Some(1000), 4), 16);
        pace.measured(16, 320_000);
        assert_eq!(pace.batch(None, 4), 50);
        assert_eq!(pace.batch(Some(100), 4), 25);
        assert_eq!(pace.batch(Some(3), 4), 1);
        pace.measured(50, 50_000_000_000);
        assert_eq!(pace.batch(None, 4), 1);
        assert_eq!(Pace::new(Some(7)).batch(Some(3), 4), 7);
    }

    #[test]
    fn only_short_items_are_sent_ahead() {
        let mut pace = Pace::new(None);
        assert_eq!(pace.depth(3), 3);
        pace.measured(10, 1000);
        assert_eq!(pace.depth(3), 6);
        pace.measured(1, 1_000_000_000);
        assert_eq!(pace.depth(3), 3);
    }

    #[test]
    fn an_item_goes_to_a_worker_on_which_it_did_not_fail() {
        let now = Instant::now();
        let mut retries = Retries::default();
        assert_eq!(retries.failed(5, 2), 1);
        retries.again(5, now);
        assert_eq!(retries.take(2, &[2, 3, 4], now), None);
        assert_eq!(retries.take(3, &[2, 3, 4], now), Some(5));
        assert_eq!(retries.failed(5, 3), 2);
        retries.again(5, now);
        // Worker 4 is gone: all others have had it, and the one that had it last waits.
        assert_eq!(retries.take(3, &[2, 3], now), None);
        assert_eq!(retries.take(2, &[2, 3], now), Some(5));
        assert!(retries.is_empty());
    }

    #[test]
    fn the_only_worker_gets_it_again_when_it_is_due() {
        let now = Instant::now();
        let mut retries = Retries::default();
        retries.failed(0, 2);
        retries.again(0, now + Duration::from_secs(1));
        assert_eq!(retries.take(2, &[2], now), None);
        assert_eq!(retries.next_due(now), Some(Duration::from_secs(1)));
        assert_eq!(retries.take(2, &[2], now + Duration::from_secs(1)), Some(0));
    }
}
