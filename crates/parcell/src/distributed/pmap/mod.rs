//! A function of many items, computed by all workers.

mod inputs;
mod mapped;
mod plan;
mod run;

use std::collections::VecDeque;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use super::blob::{BlobReader, BlobWriter, DecodeError, EncodeError};
use super::clock;
use super::error::{OrRaise, RemoteError};
use super::pool::WorkerPool;
use super::portable::Portable;
use super::remote::{Remote, RemoteFunction};
use crate::display::ProgressBar;
use crate::interrupt::Seconds;
use run::{Crew, Items, Run, Settings};

pub use inputs::Inputs;
pub use mapped::{ItemTime, Mapped};

/// Applies a function to many items on all workers: each takes what comes next whenever it is free,
/// and the results stand in the order of the items.
///
/// The function is a `fn`, a closure that captures nothing, or [`remote!`](crate::remote!)`(|x| …)`;
/// it is sent to each worker once, and a worker with several threads computes as many items at a
/// time. Items may come from anything that can be iterated over, also without end; they are taken
/// when they are needed. Two or three collections side by side, for functions of two or three
/// arguments, are a tuple: `pmap(f, (xs, ys))`. Without workers the threads of this process compute.
/// Works on workers, too.
///
/// Nothing runs before [`collect`](Pmap::collect), [`try_collect`](Pmap::try_collect) or a loop over
/// it. Cost: some microseconds for each item, and a message for each batch; batches have as many
/// items as take about a millisecond, see [`batch_size`](Pmap::batch_size).
///
/// ```no_run
/// use parcell::prelude::*;
///
/// fn slow(n: u64) -> u64 { (0..n).map(|k| k * k % 7).sum() }
///
/// addprocs(2);
/// let sums = pmap(slow, [30_000_000, 10_000_000, 20_000_000]).collect();
/// println!("{sums:?}, {:.1} times as fast as one process", sums.speedup());
///
/// let factor = 0.5;
/// let halves = pmap(remote!(|x: f64| x * factor), (0..10).map(f64::from)).collect();
/// assert_eq!(halves[9], 4.5);
/// ```
///
/// # Source
/// `pmap`, Julia's Distributed.
#[track_caller]
pub fn pmap<'a, A: Portable, R: Portable>(
    function: impl RemoteFunction<A, R>,
    items: impl Inputs<'a, A>,
) -> Pmap<'a, A, R> {
    Pmap {
        function: function.into_remote(),
        place: Location::caller(),
        settings: Settings::default(),
        ordered: true,
        distributed: true,
        progress: false,
        pool: None,
        rows: Rows {
            input: items.arguments(),
            rows: VecDeque::new(),
            first: 0,
            retry_check: None,
            on_error: None,
        },
    }
}

/// Made by [`pmap`].
#[must_use = "a map computes nothing until its results are collected or iterated over"]
pub struct Pmap<'a, A, R> {
    function: Remote<A, R>,
    place: &'static Location<'static>,
    settings: Settings,
    ordered: bool,
    distributed: bool,
    progress: bool,
    pool: Option<WorkerPool>,
    rows: Rows<'a, A, R>,
}

impl<'a, A: Portable, R: Portable> Pmap<'a, A, R> {
    /// Sends `n` items at a time. Unless told, batches adapt to how long items take.
    ///
    /// # Panics
    /// If `n` is 0.
    #[track_caller]
    pub fn batch_size(mut self, n: usize) -> Self {
        assert!(n > 0, "a batch has at least 1 item, 0 were asked for");
        self.settings.batch_size = Some(n);
        self
    }

    /// Tries an item that fails up to `n` times more, each time on another worker if there is one
    /// that has not tried it yet; also the items of a worker that died. If all have died that were
    /// there when the map began, those go on that came later. Unless told, the first failure ends
    /// the map.
    ///
    /// ```no_run
    /// use parcell::prelude::*;
    ///
    /// let lucky = || assert!(rand::random_bool(0.5), "bad luck");
    /// # let _ = lucky;
    /// let tried = pmap(|x: i32| { assert!(rand::random_bool(0.5)); x }, 0..10).retries(100).collect();
    /// assert_eq!(tried.len(), 10);
    /// ```
    pub fn retries(mut self, n: usize) -> Self {
        self.settings.retries = n;
        self
    }

    /// Waits before each further try, in seconds or as [`Duration`]s; there are as many tries as
    /// delays, unless [`retries`](Pmap::retries) says so afterwards.
    ///
    /// ```no_run
    /// use parcell::prelude::*;
    ///
    /// let pages = pmap(|n: u32| n, 0..10).retry_delays(ExponentialBackOff::new(3)).collect();
    /// ```
    pub fn retry_delays(mut self, delays: impl IntoIterator<Item: Into<Seconds>>) -> Self {
        self.settings.delays = delays.into_iter().map(|d| Duration::from(d.into())).collect();
        self.settings.retries = self.settings.delays.len();
        self
    }

    /// Asks, on this process, whether an item is to be tried again after this failure.
    pub fn retry_check(mut self, check: impl FnMut(&RemoteError) -> bool + 'a) -> Self {
        self.rows.retry_check = Some(Box::new(check));
        self
    }

    /// Finds, on this process, a value for an item that failed and is not tried again.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let halves = pmap(|n: i32| { assert!(n % 2 == 0); n / 2 }, 0..4).on_error(|_| -1).collect();
    /// assert_eq!(halves, [0, -1, 1, -1]);
    /// ```
    pub fn on_error(mut self, value: impl FnMut(RemoteError) -> R + 'a) -> Self {
        self.rows.on_error = Some(Box::new(value));
        self
    }

    /// With `false` results stand in the order in which they were ready.
    /// [`Mapped::times`] tells which item each belongs to.
    pub fn ordered(mut self, ordered: bool) -> Self {
        self.ordered = ordered;
        self
    }

    /// With `false` the threads of this process compute.
    pub fn distributed(mut self, distributed: bool) -> Self {
        self.distributed = distributed;
        self
    }

    /// The workers of this pool compute.
    pub fn pool(mut self, pool: &WorkerPool) -> Self {
        self.pool = Some(pool.clone());
        self
    }

    /// Shows a progress bar.
    pub fn progress(mut self) -> Self {
        self.progress = true;
        self
    }

    /// Computes all items and waits for them.
    ///
    /// # Panics
    /// With the [`RemoteError`] of the first item that failed. Unwinds with an interrupt. Either ends
    /// what still runs.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let lengths = pmap(|word: String| word.len(), ["a", "bcd"].map(str::to_owned)).collect();
    /// assert_eq!(lengths, [1, 3]);
    /// ```
    #[track_caller]
    pub fn collect(self) -> Mapped<R> {
        self.try_collect().or_raise()
    }

    /// As [`Pmap::collect`].
    ///
    /// # Errors
    /// With that of the first item that failed.
    pub fn try_collect(self) -> Result<Mapped<R>, RemoteError> {
        let mut going = self.start();
        let mut mapped = Mapped { values: Vec::new(), times: Vec::new(), wall: Duration::ZERO };
        while going.run.step(&mut going.rows, usize::MAX)? {
            going.show_progress();
            mapped.times.extend(going.run.ended.drain(..));
        }
        if going.ordered {
            mapped.times.sort_by_key(|time| time.item);
        }
        let values = mapped.times.iter().map(|time| going.rows.take(time.item));
        mapped.values = values.collect();
        mapped.wall = Duration::from_nanos(clock::now() - going.run.began);
        Ok(mapped)
    }

    fn start(mut self) -> Going<'a, A, R> {
        self.settings.crew = match (self.distributed, self.pool.take()) {
            (false, _) => Crew::Here,
            (true, Some(pool)) => Crew::Pool(pool),
            (true, None) => Crew::All,
        };
        let left = self.rows.left().map(|left| left as u64);
        let bar = self.progress.then(|| ProgressBar::new(left));
        Going {
            run: Run::new(Arc::clone(self.function.shared()), self.settings, self.place),
            rows: self.rows,
            ordered: self.ordered,
            bar,
        }
    }
}

impl<A, R> fmt::Debug for Pmap<'_, A, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pmap(not begun: .collect() computes it)")
    }
}

/// The results as they come, one after another. Items are taken some batches ahead.
impl<'a, A: Portable, R: Portable> IntoIterator for Pmap<'a, A, R> {
    type Item = R;
    type IntoIter = PmapResults<'a, A, R>;

    fn into_iter(self) -> PmapResults<'a, A, R> {
        PmapResults { going: Some(self.start()), given: 0 }
    }
}

/// A map that runs.
struct Going<'a, A, R> {
    run: Run,
    rows: Rows<'a, A, R>,
    ordered: bool,
    bar: Option<ProgressBar>,
}

impl<A, R> Going<'_, A, R> {
    fn show_progress(&mut self) {
        if let Some(bar) = &self.bar {
            bar.inc(self.run.ended.len() as u64);
        }
    }
}

/// Results of a map as they come. Made by iterating over what [`pmap`] returns. Dropping it ends the
/// map.
pub struct PmapResults<'a, A, R> {
    going: Option<Going<'a, A, R>>,
    /// Results that were given out.
    given: usize,
}

impl<A, R> fmt::Debug for PmapResults<'_, A, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PmapResults({} so far)", self.given)
    }
}

impl<A: Portable, R: Portable> Iterator for PmapResults<'_, A, R> {
    type Item = R;

    /// Blocks until there is a result.
    ///
    /// # Panics
    /// As [`Pmap::collect`].
    #[track_caller]
    fn next(&mut self) -> Option<R> {
        // A map that failed gives nothing more.
        let mut going = self.going.take()?;
        loop {
            if let Some(value) = going.next_value(self.given) {
                self.given += 1;
                self.going = Some(going);
                return Some(value);
            }
            let ahead = self.given.saturating_add(going.run.look_ahead());
            if !going.run.step(&mut going.rows, ahead).or_raise() {
                return None;
            }
        }
    }
}

impl<A: Portable, R: Portable> Going<'_, A, R> {
    /// The next result, if it is there.
    fn next_value(&mut self, given: usize) -> Option<R> {
        let at = match self.ordered {
            true => self.run.ended.iter().position(|time| time.item == given)?,
            false => 0,
        };
        let time = self.run.ended.remove(at)?;
        if let Some(bar) = &self.bar {
            bar.inc(1);
        }
        Some(self.rows.take(time.item))
    }
}

/// An item and its value.
enum Row<A, R> {
    Item(A),
    Value(R),
    /// Given out.
    Gone,
}

type RetryCheck<'a> = Box<dyn FnMut(&RemoteError) -> bool + 'a>;

/// The items that were taken and whose values were not given out.
struct Rows<'a, A, R> {
    input: Box<dyn Iterator<Item = A> + 'a>,
    rows: VecDeque<Row<A, R>>,
    /// Position of the first row.
    first: usize,
    retry_check: Option<RetryCheck<'a>>,
    on_error: Option<Box<dyn FnMut(RemoteError) -> R + 'a>>,
}

impl<A, R> Rows<'_, A, R> {
    fn take(&mut self, index: usize) -> R {
        let row = std::mem::replace(&mut self.rows[index - self.first], Row::Gone);
        while matches!(self.rows.front(), Some(Row::Gone)) {
            self.rows.pop_front();
            self.first += 1;
        }
        match row {
            Row::Value(value) => value,
            _ => unreachable!("items are given out once, when they have their values"),
        }
    }
}

impl<A: Portable, R: Portable> Items for Rows<'_, A, R> {
    fn advance(&mut self) -> bool {
        let item = self.input.next();
        let more = item.is_some();
        self.rows.extend(item.map(Row::Item));
        more
    }

    fn left(&self) -> Option<usize> {
        let (least, most) = self.input.size_hint();
        most.filter(|most| *most == least)
    }

    fn write(&self, index: usize, to: &mut BlobWriter) -> Result<(), EncodeError> {
        match &self.rows[index - self.first] {
            Row::Item(item) => to.write(item),
            _ => unreachable!("an item is sent until it has its value"),
        }
    }

    fn read(&mut self, index: usize, from: &mut BlobReader<'_>) -> Result<(), DecodeError> {
        self.rows[index - self.first] = Row::Value(from.read()?);
        Ok(())
    }

    fn again(&mut self, error: &RemoteError) -> bool {
        self.retry_check.as_mut().is_none_or(|check| check(error))
    }

    fn give_up(&mut self, index: usize, error: RemoteError) -> Result<(), RemoteError> {
        let value = self.on_error.as_mut().ok_or(error.clone())?(error);
        self.rows[index - self.first] = Row::Value(value);
        Ok(())
    }
}
