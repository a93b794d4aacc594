//! What a parallel loop costs beside rayon's own: the best of many runs of each over a million
//! short iterations, in microseconds, and their ratio.
//!
//! `cargo run --release -p parcell --example overhead [THREADS]`

use std::cell::RefCell;
use std::hint::black_box;
use std::time::{Duration, Instant};

use parcell::prelude::*;
use parcell::threads::Pool;

const N: usize = 1_000_000;
const ROUNDS: usize = 2000;

fn main() {
    let threads = std::env::args().nth(1).and_then(|n| n.parse().ok());
    let threads = threads.unwrap_or_else(parcell::threads::default_threads);
    println!("{:<24}{:>9}{:>9}{:>7}", format!("{threads} threads"), "par_for", "rayon", "ratio");
    let pool = Pool::attach_current(threads).expect("the main thread is in no pool yet");
    schedules();
    bodies();
    pool.close();
}

/// What the loop itself costs: nothing is done in it. rayon's the compiler removes.
fn schedules() {
    compare(
        "nothing",
        || par_for(0..N).for_each(|_| ()),
        || (0..N).into_par_iter().for_each(|_| ()),
    );
    for schedule in [Schedule::Static, Schedule::Guided] {
        compare(
            &format!("nothing, {schedule:?}"),
            || par_for(0..N).schedule(schedule).for_each(|_| ()),
            || (0..N).into_par_iter().for_each(|_| ()),
        );
    }
}

/// Whether the compiler makes of the iterations what it makes of rayon's.
fn bodies() {
    compare(
        "black_box",
        || par_for(0..N).for_each(|i| _ = black_box(i)),
        || (0..N).into_par_iter().for_each(|i| _ = black_box(i)),
    );
    // The same memory for both: other memory may be slower.
    let numbers = RefCell::new(vec![1.0_f64; N]);
    compare(
        "add to each",
        || par_for(&mut **numbers.borrow_mut()).for_each(|x| *x += 1.0),
        || numbers.borrow_mut().par_iter_mut().for_each(|x| *x += 1.0),
    );
    compare(
        "sum of black_box",
        || _ = black_box(par_for(0..N).map_reduce(black_box, |a, b| a + b, 0)),
        || _ = black_box((0..N).into_par_iter().map(black_box).reduce(|| 0, |a, b| a + b)),
    );
    let integers: Vec<u64> = (0..N as u64).collect();
    compare(
        "sum of a slice",
        || _ = black_box(par_for(&integers).map_reduce(|x| *x, |a, b| a + b, 0)),
        || _ = black_box(integers.par_iter().copied().reduce(|| 0, |a, b| a + b)),
    );
}

/// Times both in turn, so that whatever else the machine does meets both.
fn compare(name: &str, mut ours: impl FnMut(), mut rayons: impl FnMut()) {
    let mut best = [Duration::MAX; 2];
    for _ in 0..ROUNDS {
        best[0] = best[0].min(time(&mut ours));
        best[1] = best[1].min(time(&mut rayons));
    }
    let [ours, rayons] = best.map(|time| time.as_secs_f64() * 1e6);
    println!("{name:<24}{ours:>9.1}{rayons:>9.1}{:>7.2}", ours / rayons);
}

fn time(work: &mut impl FnMut()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}
