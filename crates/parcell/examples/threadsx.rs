//! What each function that parcell adds to rayon is worth: the best of several runs in
//! milliseconds, beside the serial call and beside the plain way in rayon, and how many times as
//! fast it is as these.
//!
//! `cargo run --release -p parcell --example threadsx`

use std::collections::HashSet;
use std::hash::Hash;
use std::hint::black_box;
use std::time::{Duration, Instant};

use parcell::prelude::*;
use parcell::rand::rngs::StdRng;
use parcell::rand::{Rng, SeedableRng};

const RUNS: usize = 5;

fn main() {
    println!("{} threads, milliseconds; times as fast as serial and rayon", nthreads());
    println!(
        "{:<38}{:>9}{:>9}{:>9}{:>9}{:>9}",
        "", "parcell", "serial", "rayon", "serial", "rayon"
    );
    unique();
    sorted();
    extremes();
    scans();
    counting();
    maps();
}

fn random(n: usize, below: u64) -> Vec<u64> {
    let mut rng = StdRng::seed_from_u64(4);
    (0..n).map(|_| rng.random_range(0..below)).collect()
}

fn floats(n: usize) -> Vec<f64> {
    random(n, 1 << 53).into_iter().map(|x| x as f64).collect()
}

fn unique() {
    let n = 4_000_000;
    for distinct in [100, 100_000, 1 << 60] {
        let numbers = random(n, distinct);
        unique_of(&format!("unique, 4e6 u64 below {distinct:.0e}"), &numbers);
    }
    let words: Vec<String> =
        random(1_000_000, 10_000).iter().map(|x| format!("word {x}")).collect();
    unique_of("unique, 1e6 strings", &words);
}

fn unique_of<T: Clone + Eq + Hash + Send + Sync>(name: &str, items: &[T]) {
    let serial = || {
        let mut seen = HashSet::new();
        items.iter().filter(|x| seen.insert(*x)).cloned().collect::<Vec<T>>()
    };
    // Not in the order of the slice.
    let rayon = || items.par_iter().cloned().collect::<HashSet<T>>();
    compare(name, || items.par_unique(), serial, Some(rayon));
}

fn sorted() {
    let numbers: Vec<u64> = (0..20_000_000).collect();
    let rayon = || numbers.par_windows(2).all(|w| w[0] <= w[1]);
    compare("is_sorted, 2e7 u64", || numbers.par_is_sorted(), || numbers.is_sorted(), Some(rayon));
    let floats = numbers.iter().map(|&x| x as f64).collect::<Vec<_>>();
    let rayon = || floats.par_windows(2).all(|w| w[0] <= w[1]);
    compare("is_sorted, 2e7 f64", || floats.par_is_sorted(), || floats.is_sorted(), Some(rayon));
}

fn extremes() {
    let numbers = floats(20_000_000);
    let widen = |(a, b): (f64, f64), &x: &f64| (a.min(x), b.max(x));
    let start = (f64::INFINITY, f64::NEG_INFINITY);
    let rayon = || {
        let pieces = numbers.par_iter().fold(|| start, widen);
        pieces.reduce(|| start, |a, b| (a.0.min(b.0), a.1.max(b.1)))
    };
    compare(
        "extrema, 2e7 f64",
        || numbers.par_iter().copied().extrema(),
        || numbers.iter().fold(start, widen),
        Some(rayon),
    );
    let (serial, pairs) = (numbers.iter().enumerate(), numbers.par_iter().enumerate());
    compare(
        "argmax, 2e7 f64",
        || numbers.par_iter().argmax(),
        || serial.clone().max_by(|a, b| a.1.total_cmp(b.1)),
        Some(|| pairs.clone().max_by(|a, b| a.1.total_cmp(b.1))),
    );
}

fn scans() {
    let numbers = floats(20_000_000);
    let serial = || {
        let mut total = 0.0;
        numbers
            .iter()
            .map(|x| {
                total += x;
                total
            })
            .collect::<Vec<f64>>()
    };
    compare("scan, 2e7 f64", || numbers.par_scan(|a, b| a + b), serial, none());
    let (mut ours, mut theirs) = (numbers.clone(), numbers.clone());
    let serial = || {
        let mut total = 0.0;
        theirs.iter_mut().for_each(|x| {
            total += *x;
            *x = total
        });
    };
    compare("scan in place, 2e7 f64", || ours.par_scan_mut(|a, b| a + b), serial, none());
    let (mut ours, mut theirs) = (numbers.clone(), numbers.clone());
    let op = |a: &f64, b: &f64| (a + b).sin();
    let serial = || {
        let mut total = 0.0;
        theirs[..2_000_000].iter_mut().for_each(|x| {
            total = op(&total, x);
            *x = total
        });
    };
    compare("scan in place, sine, 2e6", || ours[..2_000_000].par_scan_mut(op), serial, none());
}

fn counting() {
    let n = 10_000_000;
    for divisor in [n as u64 / 256, 1000, 32, 8, 4] {
        let numbers: Vec<i32> = random(n, n as u64 / divisor).iter().map(|&x| x as i32).collect();
        let sorted = |sort: fn(&mut Vec<i32>)| {
            let mut items = numbers.clone();
            let start = Instant::now();
            sort(&mut items);
            start.elapsed()
        };
        compare_timed(
            &format!("counting sort, 1e7 i32 below n/{divisor}"),
            || sorted(|x| x.par_sort_counting()),
            || sorted(|x| x.sort_unstable()),
            Some(|| sorted(|x| x.par_sort_unstable())),
        );
    }
}

fn maps() {
    for (name, n, steps) in
        [("0.1 ms", 500, 100_000), ("1 us", 50_000, 1000), ("0.1 us", 500_000, 100)]
    {
        let work = |seed: u64| (0..steps).fold(seed, |x, _| black_box(x.wrapping_mul(x) + 1));
        let source = || (0..n).map(black_box);
        let serial = || source().map(work).collect::<Vec<u64>>();
        let rayon = || {
            let mut pairs: Vec<_> =
                source().enumerate().par_bridge().map(|(i, x)| (i, work(x))).collect();
            pairs.sort_unstable_by_key(|pair| pair.0);
            pairs
        };
        let ours = || source().par_map(work).collect::<Vec<u64>>();
        compare(&format!("par_map, {n} items of {name}"), ours, serial, Some(rayon));
    }
}

fn none() -> Option<fn()> {
    None
}

fn compare<A, B, C>(
    name: &str,
    mut ours: impl FnMut() -> A,
    mut serial: impl FnMut() -> B,
    rayon: Option<impl FnMut() -> C>,
) {
    let rayon = rayon.map(|mut rayon| move || time(&mut rayon));
    compare_timed(name, || time(&mut ours), || time(&mut serial), rayon);
}

/// Times all in turn, so that whatever else the machine does meets all.
fn compare_timed(
    name: &str,
    mut ours: impl FnMut() -> Duration,
    mut serial: impl FnMut() -> Duration,
    mut rayon: Option<impl FnMut() -> Duration>,
) {
    let mut best = [Duration::MAX; 3];
    for _ in 0..RUNS {
        best[0] = best[0].min(ours());
        best[1] = best[1].min(serial());
        if let Some(rayon) = &mut rayon {
            best[2] = best[2].min(rayon());
        }
    }
    let [ours, serial, other] = best.map(|time| time.as_secs_f64() * 1e3);
    print!("{name:<38}{ours:>9.2}{serial:>9.2}");
    match rayon {
        Some(_) => println!("{other:>9.2}{:>9.2}{:>9.2}", serial / ours, other / ours),
        None => println!("{:>9}{:>9.2}{:>9}", "", serial / ours, ""),
    }
}

/// The time until the result is there; to drop it is not counted.
fn time<R>(work: &mut impl FnMut() -> R) -> Duration {
    let start = Instant::now();
    let result = black_box(work());
    let time = start.elapsed();
    drop(result);
    time
}
