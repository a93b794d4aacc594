// What `processes.py` runs in cells.

use std::time::Instant;

/// The median microseconds of a round trip to worker 2.
fn round_trip(times: usize) -> f64 {
    let mut all: Vec<f64> = (0..times)
        .map(|_| {
            let start = Instant::now();
            std::hint::black_box(fetch_from!(2, 1));
            start.elapsed().as_secs_f64()
        })
        .collect();
    all.sort_by(f64::total_cmp);
    all[times / 2] * 1e6
}

/// Items a second of a map that does nothing.
fn empty_map(items: usize) -> f64 {
    let start = Instant::now();
    let all = pmap(|i: usize| i, 0..items).collect();
    assert_eq!(all.len(), items);
    items as f64 / start.elapsed().as_secs_f64()
}

/// Seconds to fetch an array of so many bytes that a worker has ready.
fn fetch(bytes: usize) -> f64 {
    let array = spawn_at!(2, vec![1.5_f64; bytes / 8]);
    array.wait();
    let start = Instant::now();
    let array = array.join();
    let time = start.elapsed().as_secs_f64();
    assert_eq!(array.len(), bytes / 8);
    time
}

/// Whether none of its decimal digits is 9.
fn is_slow(mut k: u64) -> bool {
    while k > 0 {
        if k % 10 == 9 {
            return false;
        }
        k /= 10;
    }
    true
}

fn term(k: u64) -> f64 {
    if is_slow(k) { 1.0 / k as f64 } else { 0.0 }
}

/// Seconds of the slow series on all workers.
fn on_workers(n: u64) -> f64 {
    let start = Instant::now();
    let sum = distributed!(+, for k in 1..=n { term(k) });
    assert!(sum > 1.0);
    start.elapsed().as_secs_f64()
}

/// Seconds of the slow series on all threads.
fn on_threads(n: u64) -> f64 {
    let start = Instant::now();
    let sum = par_for(1..n + 1).map_reduce(term, |a, b| a + b, 0.0);
    assert!(sum > 1.0);
    start.elapsed().as_secs_f64()
}

/// Seconds to start workers, to call all of them (the shortest of several), to end them.
fn crowd(n: usize) -> (f64, f64, f64) {
    let start = Instant::now();
    let ids = addprocs(n);
    let started = start.elapsed().as_secs_f64();
    let call = || {
        let start = Instant::now();
        everywhere!(());
        start.elapsed().as_secs_f64()
    };
    let called = (0..20).map(|_| call()).fold(f64::MAX, f64::min);
    let start = Instant::now();
    rmprocs(&ids);
    (started, called, start.elapsed().as_secs_f64())
}

/// Makes, fetches and drops futures, a thousand at a time.
fn futures(times: usize) {
    for _ in 0..times / 1000 {
        let all: Vec<_> = (0..1000).map(|i| spawn_at!(2 + i % 2, i)).collect();
        assert_eq!(all.iter().map(|f| f.fetch()).sum::<usize>(), 499_500);
    }
}
