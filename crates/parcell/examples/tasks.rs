//! What an empty task costs: `sync` beside rayon's own `scope`. Prints the ratio of the best times.
//!
//! Run with `cargo run --release -p parcell --example tasks`.

use std::time::{Duration, Instant};

use parcell::prelude::*;
use parcell::threads::Pool;

const TASKS: usize = 100_000;
const ROUNDS: usize = 40;

fn time(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

fn main() {
    let threads = std::env::args().nth(1).and_then(|n| n.parse().ok());
    let threads = threads.unwrap_or_else(parcell::threads::default_threads);
    let pool = Pool::attach_current(threads).expect("the main thread is in no pool yet");
    let ours = || sync(|s| (0..TASKS).for_each(|_| s.spawn(|| ())));
    let rayons = || parcell::rayon::in_place_scope(|s| (0..TASKS).for_each(|_| s.spawn(|_| ())));
    let mut best = [Duration::MAX; 2];
    for _ in 0..ROUNDS {
        best[0] = best[0].min(time(ours));
        best[1] = best[1].min(time(rayons));
    }
    println!("{TASKS} empty tasks on {threads} threads: sync {:?}, rayon {:?}", best[0], best[1]);
    println!("ratio {:.2}", best[0].as_secs_f64() / best[1].as_secs_f64());
    pool.close();
}
