//! How long things take: [`btime!`](crate::btime) and [`bench!`](crate::bench) in a cell, and
//! what `%timeit` runs.

use std::fmt;
use std::hint::black_box;
use std::time::{Duration, Instant};

use crate::allocations;
pub use crate::allocations::Allocations;
use crate::display::{Bundle, Rich};
use crate::interrupt;

/// [`btime!`](crate::btime) and [`bench!`](crate::bench) measure for about so long.
const TIME: Duration = Duration::from_secs(1);
/// They stop earlier after so many samples.
const SAMPLES: usize = 10_000;
/// A sample lasts at least this long, so that reading the clock does not count.
const SAMPLE: Duration = Duration::from_micros(10);
/// Runs that are repeated to count their allocations.
const COUNTED_RUNS: usize = 3;
/// `%timeit` chooses its number of loops so that a run lasts at least this long.
const TIMEIT_RUN: Duration = Duration::from_millis(200);
/// Runs of `%timeit`.
const TIMEIT_RUNS: usize = 7;

/// Runs an expression many times, prints the shortest time, and returns the value of the last run.
///
/// It takes about a second, or one run if that is longer. The result is hidden from the optimiser;
/// to keep it from computing on known inputs, wrap those in [`std::hint::black_box`]. The
/// expression is the body of a closure that is called again and again: it cannot move variables
/// of the cell away.
///
/// ```
/// use parcell::prelude::*;
///
/// let data: Vec<u64> = (0..1000).collect();
/// let sum = btime!(data.iter().sum::<u64>()); // prints e.g. "  58.123 ns (minimum of 160,000 runs; 0 allocations)"
/// assert_eq!(sum, 499_500);
/// ```
#[macro_export]
macro_rules! btime {
    ($expression:expr $(,)?) => {
        $crate::timing::btime(|| $expression)
    };
}

/// Runs an expression many times and returns [`Stats`](crate::timing::Stats), which a cell shows
/// with a histogram. It takes about a second, or one run if that is longer; see
/// [`btime!`](crate::btime) for what the expression may do.
///
/// ```
/// use parcell::prelude::*;
///
/// let data: Vec<u64> = (0..1000).collect();
/// let stats = bench!(data.iter().sum::<u64>());
/// assert!(stats.min <= stats.median);
/// println!("{stats}");
/// ```
#[macro_export]
macro_rules! bench {
    ($expression:expr $(,)?) => {
        $crate::timing::bench(|| $expression)
    };
}

/// Run times of one piece of code. Times are in seconds per run.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Stats {
    /// The shortest.
    pub min: f64,
    /// Half of the samples were shorter.
    pub median: f64,
    /// The average.
    pub mean: f64,
    /// The standard deviation of the samples.
    pub deviation: f64,
    /// Runs in all: samples times loops.
    pub runs: u64,
    /// Runs in each sample.
    pub loops: u64,
    /// The samples in the order they were taken, each the mean over its loops.
    pub samples: Vec<f64>,
    /// What one run allocates: the least of a few runs, since everything that the process does
    /// meanwhile counts. `None` in a program built without the feature `count-allocations`.
    pub allocations: Option<Allocations>,
}

impl Stats {
    /// Statistics of at least one sample.
    #[expect(clippy::cast_precision_loss, reason = "there are at most some thousand samples")]
    fn of(samples: Vec<f64>, loops: u64) -> Stats {
        let count = samples.len() as f64;
        let mean = samples.iter().sum::<f64>() / count;
        let variance = samples.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / count;
        let mut sorted = samples.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        let upper = sorted[middle];
        let median =
            if sorted.len() % 2 == 1 { upper } else { f64::midpoint(sorted[middle - 1], upper) };
        let runs = loops * samples.len() as u64;
        Stats {
            min: sorted[0],
            median,
            mean,
            deviation: variance.sqrt(),
            runs,
            loops,
            samples,
            allocations: None,
        }
    }

    /// One line as `%timeit` prints it.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let line = bench!(std::hint::black_box(1) + 1).per_loop();
    /// assert!(line.contains("per loop (mean ± std. dev. of "));
    /// ```
    #[must_use]
    pub fn per_loop(&self) -> String {
        format!(
            "{} ± {} per loop (mean ± std. dev. of {}, {} each; minimum {}, median {})",
            short(self.mean),
            short(self.deviation),
            counted(self.samples.len() as u64, "run"),
            counted(self.loops, "loop"),
            short(self.min),
            short(self.median),
        )
    }

    /// A histogram of the samples from the shortest to the 99th percentile, as svg.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "pixels and bin numbers are small and not negative"
    )]
    fn histogram(&self) -> String {
        const BINS: usize = 40;
        let mut sorted = self.samples.clone();
        sorted.sort_by(f64::total_cmp);
        let most = sorted[(sorted.len() - 1) * 99 / 100];
        let width = (most - self.min) / BINS as f64;
        let mut bins = [0_u32; BINS];
        for sample in sorted.iter().filter(|s| **s <= most) {
            let bin = if width > 0.0 { ((sample - self.min) / width) as usize } else { 0 };
            bins[bin.min(BINS - 1)] += 1;
        }
        let highest = f64::from(bins.iter().copied().max().unwrap_or(1).max(1));
        let bar = |(index, count): (usize, &u32)| {
            let height = 60.0 * f64::from(*count) / highest;
            format!(
                r#"<rect x="{}" y="{:.1}" width="7" height="{height:.1}"/>"#,
                index * 8,
                60.0 - height
            )
        };
        let bars: String = bins.iter().enumerate().map(bar).collect();
        format!(
            r##"<svg width="320" height="76"><g fill="#4682b4">{bars}</g><g fill="currentColor" font-size="11"><text x="0" y="74">{}</text><text x="320" y="74" text-anchor="end">{}</text></g></svg>"##,
            exact(self.min),
            exact(most),
        )
    }
}

impl fmt::Display for Stats {
    /// Four aligned lines, a fifth where allocations were counted, the last without a newline.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "minimum    {}", exact(self.min))?;
        writeln!(f, "median     {}", exact(self.median))?;
        writeln!(f, "mean       {} ± {}", exact(self.mean), exact(self.deviation))?;
        let samples = counted(self.samples.len() as u64, "sample");
        write!(f, "runs       {} ({samples})", thousands(self.runs))?;
        match self.allocations {
            Some(allocations) => write!(f, "\nallocated  {allocations}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Allocations {
    /// `2 allocations: 8.05 KiB`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", counted(self.count, "allocation"))?;
        if self.bytes > 0 {
            write!(f, ": {}", in_binary_units(self.bytes))?;
        }
        Ok(())
    }
}

impl Rich for Stats {
    fn bundle(&self) -> Bundle {
        let text = self.to_string();
        let html = format!("<div>{}<pre>{text}</pre></div>", self.histogram());
        Bundle::text(text).with("text/html", html)
    }
}

/// What [`btime!`](crate::btime) expands to.
///
/// ```
/// assert_eq!(parcell::timing::btime(|| 6 * 7), 42);
/// ```
pub fn btime<T>(f: impl FnMut() -> T) -> T {
    let (stats, value) = measure(f);
    let allocations = stats.allocations.map(|a| format!("; {a}")).unwrap_or_default();
    println!("  {} (minimum of {}{allocations})", exact(stats.min), counted(stats.runs, "run"));
    value
}

/// What [`bench!`](crate::bench) expands to.
///
/// ```
/// assert!(parcell::timing::bench(|| 6 * 7).runs > 0);
/// ```
pub fn bench<T>(f: impl FnMut() -> T) -> Stats {
    measure(f).0
}

/// What `%timeit` runs: `r` runs (7) of `n` loops each (as many as fill 0.2 s). Prints one line.
#[doc(hidden)]
pub fn timeit<T>(mut f: impl FnMut() -> T, n: Option<u64>, r: Option<usize>) -> Stats {
    let loops = n.unwrap_or_else(|| auto_loops(&mut f)).max(1);
    let runs = r.unwrap_or(TIMEIT_RUNS).max(1);
    let samples = (0..runs).map(|_| per_run(time(&mut f, loops).0, loops)).collect();
    let stats = Stats::of(samples, loops);
    println!("{}", stats.per_loop());
    stats
}

/// The first of 1, 2, 5, 10, 20, … loops that lasts long enough.
fn auto_loops<T>(f: &mut impl FnMut() -> T) -> u64 {
    let mut loops = 1;
    loop {
        for factor in [1, 2, 5] {
            if time(f, loops * factor).0 >= TIMEIT_RUN {
                return loops * factor;
            }
        }
        loops *= 10;
    }
}

/// Measures for about [`TIME`]; what does not fill a [`SAMPLE`] is run in loops.
fn measure<T>(mut f: impl FnMut() -> T) -> (Stats, T) {
    let start = Instant::now();
    let mut loops = 1;
    let ((mut duration, mut value), mut allocations) = allocations::count(|| time(&mut f, 1));
    let slow = duration >= TIME / 10;
    while duration < SAMPLE {
        loops *= 2;
        (duration, value) = time(&mut f, loops);
    }
    let mut samples = vec![per_run(duration, loops)];
    while start.elapsed() < TIME && samples.len() < SAMPLES {
        (duration, value) = time(&mut f, loops);
        samples.push(per_run(duration, loops));
    }
    // The first run may have set up what later ones only use; a slow one is not repeated for that.
    for _ in 0..if slow { 0 } else { COUNTED_RUNS } {
        allocations = allocations.min(allocations::count(|| black_box(f())).1);
    }
    (Stats { allocations, ..Stats::of(samples, loops) }, value)
}

/// The time of some runs, and the last one's value. Of a single run its value is dropped outside
/// the measured time.
fn time<T>(f: &mut impl FnMut() -> T, loops: u64) -> (Duration, T) {
    interrupt::check();
    let start = Instant::now();
    for _ in 1..loops {
        black_box(f());
    }
    let value = black_box(f());
    (start.elapsed(), value)
}

#[expect(clippy::cast_precision_loss, reason = "loops beyond 2^53 would last for months")]
fn per_run(duration: Duration, loops: u64) -> f64 {
    duration.as_secs_f64() / loops as f64
}

/// A unit for this many seconds, and the number in that unit.
fn scaled(seconds: f64) -> (f64, &'static str) {
    let units = [(1.0, "s"), (1e-3, "ms"), (1e-6, "μs")];
    let fits = units.into_iter().find(|(size, _)| seconds >= *size);
    let (size, unit) = fits.unwrap_or((1e-9, "ns"));
    (seconds / size, unit)
}

/// With three decimals, as Julia prints times: `1.234 μs`.
fn exact(seconds: f64) -> String {
    let (number, unit) = scaled(seconds);
    format!("{number:.3} {unit}")
}

/// With three significant digits, as IPython prints times: `1.23 ms`, `45 μs`, `1min 5s`.
fn short(seconds: f64) -> String {
    if seconds >= 60.0 {
        let minutes = (seconds / 60.0).floor();
        return format!("{minutes}min {:.0}s", (seconds - minutes * 60.0).floor());
    }
    let (number, unit) = scaled(seconds);
    let decimals = [(9.995, 2), (99.95, 1)].into_iter().find(|(limit, _)| number < *limit);
    let digits = format!("{number:.*}", decimals.map_or(0, |d| d.1));
    let digits = match digits.contains('.') {
        true => digits.trim_end_matches('0').trim_end_matches('.'),
        false => &digits,
    };
    format!("{digits} {unit}")
}

/// `80 bytes`, `8.05 KiB`, as Julia prints sizes.
pub(crate) fn in_binary_units(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let size = bytes as f64;
    let units = [(1_u64 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    #[expect(clippy::cast_precision_loss, reason = "powers of two are exact")]
    let scaled = |(unit, name): (u64, &str)| format!("{:.2} {name}", size / unit as f64);
    let fitting = units.into_iter().find(|(unit, _)| bytes >= *unit);
    fitting.map_or_else(|| counted(bytes, "byte"), scaled)
}

/// `1 run`, `10,000 runs`.
fn counted(n: u64, what: &str) -> String {
    format!("{} {what}{}", thousands(n), if n == 1 { "" } else { "s" })
}

fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_in_ipython_and_julia() {
        let short_ones = [1.234e-3, 45e-6, 2.5e-10, 0.1234, 65.4, 9.999, 0.0].map(short);
        assert_eq!(
            short_ones,
            ["1.23 ms", "45 μs", "0.25 ns", "123 ms", "1min 5s", "10 s", "0 ns"]
        );
        assert_eq!(exact(1.2344e-6), "1.234 μs");
        assert_eq!(exact(61.0), "61.000 s");
        assert_eq!([1, 999, 1000, 1_234_567].map(thousands), ["1", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn allocations_read_as_in_julia() {
        let told = |count, bytes| Allocations { count, bytes }.to_string();
        assert_eq!(told(0, 0), "0 allocations");
        assert_eq!(told(1, 80), "1 allocation: 80 bytes");
        assert_eq!(told(2, 8243), "2 allocations: 8.05 KiB");
        assert_eq!(told(1_200_000, 3 << 30), "1,200,000 allocations: 3.00 GiB");
    }

    #[test]
    fn statistics_are_those_of_the_samples() {
        let stats = Stats::of(vec![3.0, 1.0, 2.0, 6.0], 10);
        assert_eq!((stats.min, stats.median, stats.mean, stats.runs), (1.0, 2.5, 3.0, 40));
        assert!((stats.deviation - 3.5_f64.sqrt()).abs() < 1e-12);
        let line = "3 s ± 1.87 s per loop (mean ± std. dev. of 4 runs, 10 loops each; minimum 1 s, \
                    median 2.5 s)";
        assert_eq!(stats.per_loop(), line);
        assert!(Stats::of(vec![1e-3], 1).per_loop().contains("of 1 run, 1 loop each;"));
    }

    #[test]
    fn the_number_of_calls_is_what_is_told() {
        crate::interrupt::testing::quiet();
        let mut calls = 0;
        let stats = timeit(|| calls += 1, Some(10), Some(3));
        assert_eq!((calls, stats.runs, stats.samples.len()), (30, 30, 3));
        let slow = || std::thread::sleep(Duration::from_millis(2));
        let (stats, ()) = measure(slow);
        assert!(stats.min >= 2e-3 && stats.loops == 1 && stats.samples.len() < 1000);
    }

    #[test]
    fn the_histogram_counts_all_but_the_slowest() {
        let samples = (0..200).map(|i| 1e-6 * (1.0 + f64::from(i) / 100.0)).collect();
        let svg = Stats::of(samples, 1).histogram();
        assert_eq!(svg.matches("<rect").count(), 40);
        assert!(svg.contains("1.000 μs") && svg.contains("2.970 μs"), "{svg}");
        let equal = Stats::of(vec![1.0; 5], 1).histogram();
        assert!(equal.contains("height=\"60.0\""));
    }
}
