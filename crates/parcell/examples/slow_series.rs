//! The slow series on worker processes, outside any notebook:
//!
//! ```console
//! $ cargo run --release --example slow_series -- 4
//! ```
//!
//! It is the sum of 1/k over all k up to n whose decimal digits do not contain 9.

use std::time::Instant;

use parcell::prelude::*;

const N: u64 = 100_000_000;

/// One term: nothing if a digit of `k` is 9.
fn term(k: u64) -> f64 {
    let mut digits = k;
    while digits > 0 {
        if digits % 10 == 9 {
            return 0.0;
        }
        digits /= 10;
    }
    1.0 / k as f64
}

fn main() {
    // In a worker, which is this program started again, this does not return.
    parcell::distributed::init();
    let n = std::env::args().nth(1).map_or(2, |word| word.parse().expect("a number of workers"));

    let start = Instant::now();
    let serial: f64 = (1..=N).map(term).sum();
    let serial_time = start.elapsed();
    println!("1 process:  {serial:.10} in {:.3} s", serial_time.as_secs_f64());

    let ids = addprocs(n);
    let start = Instant::now();
    let parallel = distributed!(+, for k in 1..=N { term(k) });
    let time = start.elapsed();
    let speedup = serial_time.as_secs_f64() / time.as_secs_f64();
    println!(
        "{} workers:  {parallel:.10} in {:.3} s, {speedup:.2} times as fast",
        ids.len(),
        time.as_secs_f64()
    );
    everywhere!(&ids, println!("done: {}", std::process::id()));
    rmprocs(&ids);
}
