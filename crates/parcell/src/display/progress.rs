//! Progress bars: count, rate and remaining time, updated in place.

use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::{Bundle, DisplayHandle, Rich, show, update};
use crate::{interrupt, link};

/// A bar is redrawn at most so often.
const PAUSE: Duration = Duration::from_millis(100);
/// Characters of a bar in text.
const WIDTH: u64 = 20;

/// Shows a live bar while the items are taken: percent, count, rate and remaining time; for
/// iterators of unknown length count and rate. The bar appears with the first item.
///
/// # Panics
/// Each item is an [`interrupt::check`]: an interrupt ends the loop by unwinding.
///
/// ```
/// use parcell::prelude::*;
///
/// let mut sum = 0;
/// for i in progress(0..1000) {
///     sum += i;
/// }
/// assert_eq!(sum, 499_500);
/// ```
pub fn progress<I: IntoIterator>(items: I) -> Progress<I::IntoIter> {
    Progress { items: items.into_iter(), bar: None }
}

/// A bar to be moved by hand, from one thread or many. It appears at once, and shows its final
/// state when dropped.
///
/// ```
/// use parcell::prelude::*;
///
/// let bar = progress_bar(1000);
/// let sum: u64 = (0..1000_u64).into_par_iter().inspect(|_| bar.inc(1)).sum();
/// assert_eq!((sum, bar.count()), (499_500, 1000));
/// ```
#[must_use]
pub fn progress_bar(len: u64) -> ProgressBar {
    ProgressBar::new(Some(len))
}

/// Made by [`progress`].
#[derive(Debug)]
pub struct Progress<I> {
    items: I,
    bar: Option<ProgressBar>,
}

impl<I: Iterator> Iterator for Progress<I> {
    type Item = I::Item;

    fn next(&mut self) -> Option<I::Item> {
        let (least, most) = self.items.size_hint();
        let len = (most == Some(least)).then_some(least as u64);
        match &self.bar {
            None => self.bar = Some(ProgressBar::new(len)),
            Some(bar) if bar.finished.load(Ordering::Relaxed) => {}
            Some(bar) => bar.inc(1),
        }
        let item = self.items.next();
        if let (None, Some(bar)) = (&item, &self.bar) {
            bar.finish();
        }
        item
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.items.size_hint()
    }
}

impl<I: ExactSizeIterator> ExactSizeIterator for Progress<I> {}

/// Made by [`progress_bar`].
#[derive(Debug)]
pub struct ProgressBar {
    total: Option<u64>,
    count: AtomicU64,
    start: Instant,
    /// Milliseconds after the start when the bar may be redrawn.
    due: AtomicU64,
    finished: AtomicBool,
    face: Face,
}

impl ProgressBar {
    pub(crate) fn new(total: Option<u64>) -> ProgressBar {
        let start = Instant::now();
        let state = State { count: 0, total, elapsed: Duration::ZERO, finished: false };
        ProgressBar {
            total,
            count: AtomicU64::new(0),
            start,
            due: AtomicU64::new(millis(PAUSE)),
            finished: AtomicBool::new(false),
            face: Face::new(&state),
        }
    }

    /// Moves the bar on by `n`. May be called from many threads at once; only the one that finds
    /// the bar due to be redrawn does more than count.
    ///
    /// # Panics
    /// Unwinds if an interrupt is pending, as [`interrupt::check`] does; rayon carries that to the
    /// cell.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let bar = progress_bar(2);
    /// bar.inc(1);
    /// assert_eq!(bar.count(), 1);
    /// ```
    pub fn inc(&self, n: u64) {
        interrupt::check();
        self.count.fetch_add(n, Ordering::Relaxed);
        let now = self.start.elapsed();
        let due = self.due.load(Ordering::Relaxed);
        let next = millis(now + PAUSE);
        let claim =
            |due| self.due.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed);
        if millis(now) >= due && claim(due).is_ok() {
            self.face.change(&self.state(now, false));
        }
    }

    /// How far the bar is.
    ///
    /// ```
    /// assert_eq!(parcell::display::progress_bar(2).count(), 0);
    /// ```
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Shows the final state. Happens on drop, too; only the first time counts.
    ///
    /// ```
    /// let bar = parcell::display::progress_bar(2);
    /// bar.inc(2);
    /// bar.finish();
    /// ```
    pub fn finish(&self) {
        if !self.finished.swap(true, Ordering::Relaxed) {
            self.face.change(&self.state(self.start.elapsed(), true));
        }
    }

    fn state(&self, elapsed: Duration, finished: bool) -> State {
        State { count: self.count(), total: self.total, elapsed, finished }
    }
}

impl Drop for ProgressBar {
    fn drop(&mut self) {
        self.finish();
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Where a bar is drawn: a display in a notebook; in a plain program standard error, redrawn if
/// it is a terminal.
#[derive(Debug)]
enum Face {
    Notebook(DisplayHandle),
    Terminal,
    Log,
}

impl Face {
    fn new(state: &State) -> Face {
        if link::connected() {
            return Face::Notebook(show(state));
        }
        let face = if std::io::stderr().is_terminal() { Face::Terminal } else { Face::Log };
        face.change(state);
        face
    }

    fn change(&self, state: &State) {
        let text = || state.text();
        let written = match self {
            Face::Notebook(handle) => return update(handle.id(), state),
            Face::Terminal => {
                let end = if state.finished { "\n" } else { "" };
                write!(std::io::stderr(), "\r{}\x1b[K{end}", text())
            }
            Face::Log if state.finished => writeln!(std::io::stderr(), "{}", text()),
            Face::Log => Ok(()),
        };
        // Nobody looks at the bar when standard error is closed.
        written.unwrap_or(());
    }
}

/// What a bar shows at one moment.
#[derive(Debug, Clone, Copy)]
struct State {
    count: u64,
    total: Option<u64>,
    elapsed: Duration,
    finished: bool,
}

impl State {
    /// Items per second; `None` before anything happened.
    #[expect(clippy::cast_precision_loss, reason = "rates are shown with three digits")]
    fn rate(&self) -> Option<f64> {
        let seconds = self.elapsed.as_secs_f64();
        (self.count > 0 && seconds > 0.0).then(|| self.count as f64 / seconds)
    }

    fn rate_text(&self) -> String {
        self.rate().map_or_else(|| "?/s".to_owned(), |rate| format!("{}/s", short(rate)))
    }

    /// Time to go at the present rate.
    #[expect(clippy::cast_precision_loss, reason = "remaining times are estimates")]
    fn remaining(&self) -> Option<Duration> {
        let left = self.total?.saturating_sub(self.count) as f64;
        Duration::try_from_secs_f64(left / self.rate()?).ok()
    }

    /// `45/100 [00:03<00:04, 12.3/s]`, or `45 [00:03, 12.3/s]`.
    fn numbers(&self) -> String {
        let (elapsed, rate) = (clock(self.elapsed), self.rate_text());
        match self.total {
            Some(total) if !self.finished => {
                let remaining = self.remaining().map_or_else(|| "?".to_owned(), clock);
                format!("{}/{total} [{elapsed}<{remaining}, {rate}]", self.count)
            }
            Some(total) => format!("{}/{total} [{elapsed}, {rate}]", self.count),
            None => format!("{} [{elapsed}, {rate}]", self.count),
        }
    }

    /// Whole percents, never 100 before the end; an empty loop is done from the start.
    fn percent(&self) -> Option<u64> {
        let (count, total) = (u128::from(self.count), u128::from(self.total?));
        let percent = (count * 100).checked_div(total).unwrap_or(100);
        Some(u64::try_from(percent.min(100)).unwrap_or(100))
    }

    /// ` 45%|█████████           | 45/100 [00:03<00:04, 12.3/s]`
    fn text(&self) -> String {
        let numbers = self.numbers();
        let Some(percent) = self.percent() else { return numbers };
        let filled = percent * WIDTH / 100;
        let bar: String = (0..WIDTH).map(|i| if i < filled { '█' } else { ' ' }).collect();
        format!("{percent:3}%|{bar}| {numbers}")
    }

    fn html(&self) -> String {
        let bar = match (self.percent(), self.finished) {
            (Some(percent), _) => format!("value=\"{percent}\" max=\"100\""),
            (None, true) => "value=\"1\" max=\"1\"".to_owned(),
            (None, false) => String::new(),
        };
        let percent = self.percent().map(|p| format!("{p}% ")).unwrap_or_default();
        let numbers = super::escape(&self.numbers());
        format!(
            "<div><progress {bar} style=\"width: 20em; vertical-align: middle\"></progress> \
             <code>{percent}{numbers}</code></div>"
        )
    }
}

impl Rich for State {
    fn bundle(&self) -> Bundle {
        Bundle::text(self.text()).with("text/html", self.html())
    }
}

/// `01:02`, or `1:01:02` from an hour on.
fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes:02}:{seconds:02}")
    }
}

/// Three digits and a suffix: `12.3`, `4.56k`, `7.89M`.
fn short(number: f64) -> impl Display {
    let suffixes = ["", "k", "M", "G", "T"];
    let mut scaled = number;
    let mut suffix = 0;
    while scaled >= 999.5 && suffix + 1 < suffixes.len() {
        scaled /= 1000.0;
        suffix += 1;
    }
    let digits = if scaled < 9.995 { 2 } else { usize::from(scaled < 99.95) };
    format!("{scaled:.digits$}{}", suffixes[suffix])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(count: u64, total: Option<u64>, seconds: u64, finished: bool) -> State {
        State { count, total, elapsed: Duration::from_secs(seconds), finished }
    }

    #[test]
    fn the_text_tells_percent_count_time_and_rate() {
        let running = state(45, Some(100), 9, false).text();
        assert_eq!(running, " 45%|█████████           | 45/100 [00:09<00:11, 5.00/s]");
        let done = state(100, Some(100), 20, true).text();
        assert_eq!(done, "100%|████████████████████| 100/100 [00:20, 5.00/s]");
        let first = state(0, Some(100), 0, false).text();
        assert_eq!(first, "  0%|                    | 0/100 [00:00<?, ?/s]");
        assert_eq!(state(7000, None, 2, false).text(), "7000 [00:02, 3.50k/s]");
        assert!(state(0, Some(0), 0, true).text().starts_with("100%"));
        assert!(state(999, Some(1000), 1, false).text().starts_with(" 99%"));
    }

    #[test]
    fn the_html_has_a_bar_and_is_escaped() {
        let html = state(45, Some(100), 9, false).html();
        assert!(html.contains("<progress value=\"45\" max=\"100\""), "{html}");
        assert!(html.contains("00:09&lt;00:11"), "{html}");
        assert!(state(4, None, 9, false).html().contains("<progress  style"));
    }

    #[test]
    fn times_and_rates_are_short() {
        assert_eq!(clock(Duration::from_secs(62)), "01:02");
        assert_eq!(clock(Duration::from_secs(3662)), "1:01:02");
        let rates = [0.0123, 9.999, 99.96, 999.7, 4560.0, 7.89e6].map(|r| short(r).to_string());
        assert_eq!(rates, ["0.01", "10.0", "100", "1.00k", "4.56k", "7.89M"]);
    }

    #[test]
    fn counts_are_right_at_the_end_and_after_a_break() {
        crate::interrupt::testing::quiet();
        let mut all = progress(0..10);
        assert_eq!(all.by_ref().count(), 10);
        assert_eq!(all.next(), None);
        let bar = all.bar.as_ref().unwrap();
        assert_eq!((bar.count(), bar.finished.load(Ordering::Relaxed)), (10, true));
        let mut some = progress([1, 2, 3]);
        some.next();
        some.next();
        assert_eq!(some.len(), 1);
        assert_eq!(some.bar.as_ref().unwrap().count(), 1, "the second item is not done yet");
        let mut odd = progress((0..10).filter(|i| i % 2 == 1));
        assert_eq!(odd.by_ref().count(), 5);
        let bar = odd.bar.as_ref().unwrap();
        assert_eq!((bar.total, bar.count()), (None, 5));
    }
}
