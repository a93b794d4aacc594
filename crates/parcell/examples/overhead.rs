//! What a parallel loop costs beside rayon's own: the best of many runs of each over a million
//! short iterations, in microseconds, and their ratio.
//!
//! `cargo run --release -p parcell --example overhead`

use std::hint::black_box;
use std::time::{Duration, Instant};

use parcell::prelude::*;

const N: usize = 1_000_000;

fn main() {
    let mut numbers = vec![1.0_f64; N];
    println!("{} threads; {:<22}{:>9}{:>9}{:>7}", nthreads(), "", "par_for", "rayon", "ratio");
    compare(
        "nothing",
        || par_for(0..N).for_each(|_| ()),
        || (0..N).into_par_iter().for_each(|_| ()),
    );
    compare(
        "black_box",
        || par_for(0..N).for_each(|i| _ = black_box(i)),
        || (0..N).into_par_iter().for_each(|i| _ = black_box(i)),
    );
    for schedule in [Schedule::Static, Schedule::Guided] {
        compare(
            &format!("black_box, {schedule:?}"),
            || par_for(0..N).schedule(schedule).for_each(|i| _ = black_box(i)),
            || (0..N).into_par_iter().for_each(|i| _ = black_box(i)),
        );
    }
    let mut others = numbers.clone();
    compare(
        "add to each",
        || par_for(&mut numbers).for_each(|x| *x += 1.0),
        || others.par_iter_mut().for_each(|x| *x += 1.0),
    );
    compare(
        "sum",
        || _ = black_box(par_for(0..N).map_reduce(black_box, |a, b| a + b, 0)),
        || _ = black_box((0..N).into_par_iter().map(black_box).reduce(|| 0, |a, b| a + b)),
    );
}

/// Times both in turn, so that whatever else the machine does meets both.
fn compare(name: &str, mut ours: impl FnMut(), mut rayons: impl FnMut()) {
    let mut best = [Duration::MAX; 2];
    for _ in 0..300 {
        best[0] = best[0].min(time(&mut ours));
        best[1] = best[1].min(time(&mut rayons));
    }
    let [ours, rayons] = best.map(|time| time.as_secs_f64() * 1e6);
    println!("           {name:<22}{ours:>9.1}{rayons:>9.1}{:>7.2}", ours / rayons);
}

fn time(work: &mut impl FnMut()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}
