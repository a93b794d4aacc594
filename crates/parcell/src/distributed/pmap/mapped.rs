//! The results of a map.

use std::fmt;
use std::ops::Deref;
use std::time::Duration;

use crate::display::{Span, Timeline, timeline};

/// When and where an item was computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ItemTime {
    /// The item's position in the input, from 0.
    pub item: usize,
    /// The process that computed it, at last.
    pub worker: usize,
    /// When it began, after the map did.
    pub began: Duration,
    /// How long it took there.
    pub took: Duration,
}

/// The results of [`pmap`](super::pmap()), as a slice, with the times that they took.
///
/// ```
/// use parcell::prelude::*;
///
/// let squares = pmap(|x: u64| x * x, 1..=3).collect();
/// assert_eq!(squares, [1, 4, 9]);
/// assert_eq!(squares.iter().sum::<u64>(), 14);
/// assert_eq!(squares.times().len(), 3);
/// ```
///
/// # Source
/// `AsyncMapResult` and its `serial_time`, `wall_time`, ipyparallel.
#[derive(Clone)]
pub struct Mapped<R> {
    pub(super) values: Vec<R>,
    pub(super) times: Vec<ItemTime>,
    pub(super) wall: Duration,
}

impl<R> Mapped<R> {
    /// The results alone.
    #[must_use]
    pub fn into_vec(self) -> Vec<R> {
        self.values
    }

    /// When and where each result was computed, in the order of the results.
    #[must_use]
    pub fn times(&self) -> &[ItemTime] {
        &self.times
    }

    /// The process that computed each result.
    #[must_use]
    pub fn workers(&self) -> Vec<usize> {
        self.times.iter().map(|time| time.worker).collect()
    }

    /// How long all items took together, without the time for sending them.
    #[must_use]
    pub fn serial_time(&self) -> Duration {
        self.times.iter().map(|time| time.took).sum()
    }

    /// How long the map took.
    #[must_use]
    pub fn wall_time(&self) -> Duration {
        self.wall
    }

    /// How many times as long as the map its items took together.
    #[must_use]
    pub fn speedup(&self) -> f64 {
        self.serial_time().as_secs_f64() / self.wall.as_secs_f64()
    }

    /// A picture of who computed what when.
    ///
    /// ```no_run
    /// use parcell::prelude::*;
    ///
    /// show(&pmap(|x: f64| { sleep(x); x }, [0.1, 0.2, 0.1]).collect().timeline());
    /// ```
    pub fn timeline(&self) -> Timeline {
        let span = |time: &ItemTime| {
            let (start, end) = (time.began, time.began + time.took);
            Span { lane: time.worker, label: time.item, start, end }
        };
        timeline(self.times.iter().map(span)).title("Items on the workers")
    }
}

impl<R> Deref for Mapped<R> {
    type Target = [R];

    fn deref(&self) -> &[R] {
        &self.values
    }
}

impl<R> IntoIterator for Mapped<R> {
    type Item = R;
    type IntoIter = std::vec::IntoIter<R>;

    fn into_iter(self) -> std::vec::IntoIter<R> {
        self.values.into_iter()
    }
}

impl<'a, R> IntoIterator for &'a Mapped<R> {
    type Item = &'a R;
    type IntoIter = std::slice::Iter<'a, R>;

    fn into_iter(self) -> std::slice::Iter<'a, R> {
        self.values.iter()
    }
}

impl<R> From<Mapped<R>> for Vec<R> {
    fn from(mapped: Mapped<R>) -> Vec<R> {
        mapped.values
    }
}

impl<R: fmt::Debug> fmt::Debug for Mapped<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.values.fmt(f)
    }
}

impl<R: PartialEq> PartialEq for Mapped<R> {
    /// Times do not count.
    fn eq(&self, other: &Mapped<R>) -> bool {
        self.values == other.values
    }
}

macro_rules! equal {
    ($([$($size:tt)*] $list:ty),*) => {$(
        impl<R: PartialEq, $($size)*> PartialEq<$list> for Mapped<R> {
            fn eq(&self, other: &$list) -> bool {
                self.values[..] == other[..]
            }
        }

        impl<R: PartialEq, $($size)*> PartialEq<Mapped<R>> for $list {
            fn eq(&self, other: &Mapped<R>) -> bool {
                other == self
            }
        }
    )*};
}

equal!([] Vec<R>, [] [R], [] &[R], [const N: usize] [R; N]);
