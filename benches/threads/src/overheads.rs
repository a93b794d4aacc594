// What loops and tasks cost, in cells alone.

use std::hint::black_box;
use std::ops::DerefMut;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::{AcqRel, Acquire};

const ITEMS: usize = 1_000_000;
const TASKS: usize = 100_000;
const INCREMENTS: usize = 20_000;
const ROUNDS: usize = 500;

fn empty_rayon() {
    (0..ITEMS).into_par_iter().for_each(|_| ());
}

fn empty_par_for() {
    par_for(0..ITEMS).for_each(|_| ());
}

/// A body that the compiler cannot leave out.
fn tiny_rayon() {
    (0..ITEMS).into_par_iter().for_each(|i| _ = black_box(i));
}

fn tiny_par_for() {
    par_for(0..ITEMS).for_each(|i| _ = black_box(i));
}

fn tasks_rayon() {
    rayon::scope(|s| (0..TASKS).for_each(|_| s.spawn(|_| ())));
}

fn tasks_sync() {
    sync(|s| (0..TASKS).for_each(|_| s.spawn(|| ())));
}

fn tasks_spawn() {
    let tasks: Vec<Task<()>> = (0..TASKS).map(|_| spawn(|| ())).collect();
    tasks.into_iter().for_each(Task::join);
}

/// Waits in a loop until all threads have come for the `time`-th time.
fn meet(arrived: &AtomicUsize, time: usize) {
    arrived.fetch_add(1, AcqRel);
    while arrived.load(Acquire) < time * nthreads() {
        std::hint::spin_loop();
    }
}

/// Each thread adds up in a counter of its own, in memory: the median time of some short rounds in
/// seconds. A round begins when all threads are there, so that they run at the same time; in some
/// one thread has the cache line for itself by chance, hence not the shortest.
fn count_up<C: DerefMut<Target = u64> + Send>(counters: &mut [C]) -> f64 {
    let arrived = AtomicUsize::new(0);
    let mut rounds = par_for(&mut *counters).schedule(Schedule::Static).map_reduce(
        |counter| {
            let timed = |round| {
                meet(&arrived, 2 * round + 1);
                let begin = std::time::Instant::now();
                for _ in 0..INCREMENTS {
                    *black_box(&mut **counter) += 1;
                }
                meet(&arrived, 2 * round + 2);
                begin.elapsed().as_secs_f64()
            };
            (0..ROUNDS).map(timed).collect()
        },
        |a: Vec<f64>, b| [a, b].concat(),
        Vec::new(),
    );
    assert!(counters.iter().all(|n| **n == (ROUNDS * INCREMENTS) as u64));
    *rounds.select_nth_unstable_by(ROUNDS, f64::total_cmp).1
}

/// Prints the times with counters on one cache line, and with padded ones.
fn false_sharing() {
    let mut neighbours = vec![0; nthreads()];
    let mut neighbours: Vec<&mut u64> = neighbours.iter_mut().collect();
    let mut padded = vec![Padded::new(0); nthreads()];
    println!("{} {}", count_up(&mut neighbours), count_up(&mut padded));
}

/// Prints the shortest time of each call in seconds. They take turns.
fn shortest_of<const N: usize>(calls: [fn(); N], times: usize) {
    let mut shortest = [f64::INFINITY; N];
    for _ in 0..times {
        for (call, shortest) in calls.iter().zip(&mut shortest) {
            let begin = std::time::Instant::now();
            call();
            *shortest = shortest.min(begin.elapsed().as_secs_f64());
        }
    }
    shortest.iter().for_each(|seconds| println!("{seconds}"));
}
