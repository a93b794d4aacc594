//! What arrays in shared memory cost beside a vector of one process: the best of several runs of
//! each on two workers, and on two threads, in milliseconds, and their ratio.
//!
//! `cargo run --release -p parcell --example shared_arrays`

use std::hint::black_box;
use std::time::Instant;

use parcell::distributed::init;
use parcell::prelude::*;
use parcell::threads::Pool;

const N: usize = 100_000_000;
const ROUNDS: usize = 5;
const CHUNK: usize = 1 << 15;

fn main() {
    init();
    let pool = Pool::attach_current(2).expect("the main thread is in no pool yet");
    addprocs(2);
    println!("{:<24}{:>11}{:>11}{:>7}", "", "2 workers", "2 threads", "ratio");
    let shared = SharedVector::<f64>::zeros(N);
    let mut local = vec![0.0; N];
    let fill_local = |local: &mut [f64]| local.par_chunks_mut(CHUNK).for_each(|c| c.fill(1.5));
    let first = Instant::now();
    shared.fill(1.5);
    let there = first.elapsed().as_secs_f64() * 1e3;
    let first = Instant::now();
    fill_local(&mut local);
    let here = first.elapsed().as_secs_f64() * 1e3;
    print("first fill, 800 MB", there, here);
    compare("fill, 800 MB", || shared.fill(2.5), || fill_local(&mut local));
    let sum = || black_box(local.par_chunks(CHUNK).map(|c| c.iter().sum::<f64>()).sum::<f64>());
    compare("sum, 800 MB", || _ = black_box(shared.sum()), || _ = sum());
    let tiny = SharedVector::<f64>::zeros(10);
    compare("fill, 80 bytes", || tiny.fill(1.0), || black_box(&mut [0.0; 10]).fill(1.0));
    pool.close();
}

/// The best of several runs, in milliseconds.
fn best(mut run: impl FnMut()) -> f64 {
    let time = |()| {
        let start = Instant::now();
        run();
        start.elapsed().as_secs_f64() * 1e3
    };
    std::iter::repeat_n((), ROUNDS).map(time).fold(f64::INFINITY, f64::min)
}

fn compare(what: &str, there: impl FnMut(), here: impl FnMut()) {
    print(what, best(there), best(here));
}

fn print(what: &str, there: f64, here: f64) {
    println!("{what:<24}{there:>11.2}{here:>11.2}{:>7.2}", there / here);
}
