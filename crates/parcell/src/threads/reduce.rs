//! Results of a loop's pieces, put together in the order of the pieces.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::run::Task;

/// Applies a function to each item and combines the results.
#[derive(Debug)]
pub(super) struct MapReduce<F, O, R> {
    map: F,
    combine: O,
    line: Mutex<Line<R>>,
}

/// The pieces in a row. A piece joins the result as soon as all before it have, in this order
/// whatever the threads do: a sum of floats comes out the same whenever the pieces are the same.
#[derive(Debug)]
struct Line<R> {
    /// What all pieces up to `end` came to; `None` while a thread combines it with the next.
    result: Option<R>,
    end: usize,
    /// Pieces that some piece before them is missing for: ends and results. Where the pieces lie
    /// here is known by their starts, in a table that is not generic: cells need not compile it.
    waiting: Vec<Option<(usize, R)>>,
    places: Places,
}

/// Where pieces wait, by their starts, and places that became free.
#[derive(Debug, Default)]
struct Places {
    by_start: BTreeMap<usize, usize>,
    free: Vec<usize>,
}

impl Places {
    /// A place for the piece that starts there, of which `used` are in use or free.
    #[inline(never)]
    fn assign(&mut self, start: usize, used: usize) -> usize {
        let place = self.free.pop().unwrap_or(used);
        self.by_start.insert(start, place);
        place
    }

    /// Where the piece waits that starts there; the place becomes free.
    #[inline(never)]
    fn vacate(&mut self, start: usize) -> Option<usize> {
        let place = self.by_start.remove(&start)?;
        self.free.push(place);
        Some(place)
    }
}

impl<R> Line<R> {
    fn add(&mut self, piece: Range<usize>, result: R) {
        let place = self.places.assign(piece.start, self.waiting.len());
        if place == self.waiting.len() {
            self.waiting.push(None);
        }
        self.waiting[place] = Some((piece.end, result));
    }

    /// The result and the piece that follows it, if both are here.
    fn take_next(&mut self) -> Option<(R, R)> {
        self.result.as_ref()?;
        let place = self.places.vacate(self.end)?;
        let (end, next) = self.waiting[place].take()?;
        self.end = end;
        Some((self.result.take()?, next))
    }
}

impl<F, O, R> MapReduce<F, O, R> {
    pub(super) fn new(map: F, combine: O, init: R) -> MapReduce<F, O, R> {
        let (waiting, places) = (Vec::new(), Places::default());
        let line = Line { result: Some(init), end: 0, waiting, places };
        MapReduce { map, combine, line: Mutex::new(line) }
    }

    /// The result begins with the first item's.
    pub(super) fn without_init(map: F, combine: O) -> MapReduce<F, O, R> {
        let (waiting, places) = (Vec::new(), Places::default());
        let line = Line { result: None, end: 0, waiting, places };
        MapReduce { map, combine, line: Mutex::new(line) }
    }

    /// What all items came to, after a loop that went through.
    pub(super) fn result(self) -> R {
        self.result_if_any().expect("a loop that went through has combined all its pieces")
    }

    /// As [`MapReduce::result`]; `None` if there was no item and no value to begin with.
    pub(super) fn result_if_any(self) -> Option<R> {
        self.line.into_inner().unwrap_or_else(PoisonError::into_inner).result
    }

    fn line(&self) -> MutexGuard<'_, Line<R>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T, R, F, O> Task<T> for MapReduce<F, O, R>
where
    R: Send,
    F: Fn(T) -> R + Sync,
    O: Fn(R, R) -> R + Sync,
{
    type State = Option<R>;

    fn begin(&self) -> Option<R> {
        None
    }

    /// The result so far is a local while the items run: it stays in registers.
    #[inline]
    fn steps(&self, state: &mut Option<R>, _first: usize, items: impl Iterator<Item = T>) {
        let mut results = items.map(&self.map);
        if let Some(result) = state.take().or_else(|| results.next()) {
            *state = Some(results.fold(result, &self.combine));
        }
    }

    /// Only one thread combines at a time, outside the lock: the others leave their pieces to it.
    fn end(&self, piece: Range<usize>, state: Option<R>) {
        let Some(result) = state else { return };
        let mut line = self.line();
        if piece.start == 0 && line.result.is_none() {
            // There is no value to begin with.
            (line.result, line.end) = (Some(result), piece.end);
        } else {
            line.add(piece, result);
        }
        while let Some((before, next)) = line.take_next() {
            drop(line);
            let both = (self.combine)(before, next);
            line = self.line();
            line.result = Some(both);
        }
    }
}
