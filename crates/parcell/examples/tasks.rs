//! What an empty task costs beside rayon's own: the best of many runs of each over 100,000 of
//! them, in nanoseconds per task, and their ratio.
//!
//! `cargo run --release -p parcell --example tasks [THREADS]`

use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use parcell::prelude::*;
use parcell::rayon;
use parcell::threads::Pool;

const TASKS: usize = 100_000;
const ROUNDS: usize = 40;

fn main() {
    let threads = std::env::args().nth(1).and_then(|n| n.parse().ok());
    let threads = threads.unwrap_or_else(parcell::threads::default_threads);
    let pool = Pool::attach_current(threads).expect("the main thread is in no pool yet");
    println!("{:<24}{:>9}{:>9}{:>7}", format!("{threads} threads"), "parcell", "rayon", "ratio");
    compare(
        "sync, scope",
        || sync(|s| (0..TASKS).for_each(|_| s.spawn(|| ()))),
        || rayon::in_place_scope(|s| (0..TASKS).for_each(|_| s.spawn(|_| ()))),
    );
    compare("spawn, wait for all", spawn_and_wait, spawn_and_wait_with_rayon);
    pool.close();
}

fn spawn_and_wait() {
    let tasks: Vec<Task<()>> = (0..TASKS).map(|_| spawn(|| ())).collect();
    tasks.iter().for_each(Task::wait);
}

/// rayon's spawned work leaves no result and cannot be waited for: a channel each stands in.
fn spawn_and_wait_with_rayon() {
    let spawn = |_| {
        let (send, result) = channel();
        rayon::spawn(move || send.send(()).expect("the result is waited for"));
        result
    };
    let results: Vec<Receiver<()>> = (0..TASKS).map(spawn).collect();
    results.into_iter().for_each(await_result);
}

fn await_result(result: Receiver<()>) {
    while result.try_recv().is_err() {
        // The caller helps, as `Task::wait` does.
        rayon::yield_now();
    }
}

/// Times both in turn, so that whatever else the machine does meets both.
fn compare(name: &str, ours: impl Fn(), rayons: impl Fn()) {
    let mut best = [Duration::MAX; 2];
    for _ in 0..ROUNDS {
        best[0] = best[0].min(time(&ours));
        best[1] = best[1].min(time(&rayons));
    }
    let [ours, rayons] = best.map(|time| time.as_secs_f64() * 1e9 / TASKS as f64);
    println!("{name:<24}{ours:>9.1}{rayons:>9.1}{:>7.2}", ours / rayons);
}

fn time(work: &impl Fn()) -> Duration {
    let start = Instant::now();
    work();
    let time = start.elapsed();
    // What is left in this thread's queue, though its work is done, must not burden the next.
    while rayon::yield_local() == Some(rayon::Yield::Executed) {}
    time
}
