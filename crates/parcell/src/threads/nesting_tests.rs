//! Loops, tasks and rayon's own calls within each other, in pools of several sizes: all come to
//! their end, with the right answers, on the threads there are.

use std::process::Command;
use std::sync::PoisonError;

use rayon::prelude::*;

use super::pool::POOLS;
use super::*;

const SIZES: [usize; 4] = [1, 2, 3, 8];
const SCHEDULES: [Schedule; 4] =
    [Schedule::Static, Schedule::Dynamic, Schedule::Guided, Schedule::Greedy];
/// Each level of a nest has so many parts.
const PARTS: u64 = 12;

/// Runs `test` as a cell would, on member 0 of a pool of `n`.
fn as_cell<T: Send + 'static>(n: usize, test: impl FnOnce() -> T + Send + 'static) -> T {
    crate::interrupt::testing::quiet();
    let _alone = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
    let cell = std::thread::spawn(move || {
        let pool = Pool::attach_current(n).unwrap();
        let result = test();
        finish_spawned();
        pool.close();
        result
    });
    cell.join().unwrap_or_else(|payload| std::panic::resume_unwind(payload))
}

/// One way to add up what `part` gives for 0, 1, … `PARTS - 1`.
type Level = fn(&(dyn Fn(u64) -> u64 + Sync)) -> u64;

fn with_par_for<const SCHEDULE: usize>(part: &(dyn Fn(u64) -> u64 + Sync)) -> u64 {
    let each = par_for(0..PARTS).schedule(SCHEDULES[SCHEDULE]);
    each.map_reduce(part, add, 0)
}

fn with_iterator(part: &(dyn Fn(u64) -> u64 + Sync)) -> u64 {
    par_for_iter(0..PARTS).map_reduce(part, add, 0)
}

fn with_rayon(part: &(dyn Fn(u64) -> u64 + Sync)) -> u64 {
    (0..PARTS).into_par_iter().map(part).sum()
}

fn with_sync(part: &(dyn Fn(u64) -> u64 + Sync)) -> u64 {
    let sum = Atomic::new(0_u64);
    sync(|s| {
        for i in 0..PARTS {
            let sum = &sum;
            s.spawn(move || _ = sum.fetch_add(part(i)));
        }
    });
    sum.load()
}

const LEVELS: [Level; 7] = [
    with_par_for::<0>,
    with_par_for::<1>,
    with_par_for::<2>,
    with_par_for::<3>,
    with_iterator,
    with_rayon,
    with_sync,
];

/// Every level in every level in every level.
fn all_nests() {
    let below = (0..PARTS).sum::<u64>();
    for outer in LEVELS {
        for middle in LEVELS {
            for inner in LEVELS {
                let sum = outer(&|i| middle(&|j| inner(&|k| i * j + k)));
                assert_eq!(sum, PARTS * below * below + PARTS * PARTS * below);
            }
        }
    }
}

#[test]
fn every_nest_of_three_levels_comes_to_its_end() {
    SIZES.into_iter().for_each(|n| as_cell(n, all_nests));
}

/// Tasks that run loops that spawn tasks that run loops, waited for in three ways.
fn all_nests_in_tasks() {
    for (outer, inner) in LEVELS.into_iter().flat_map(|outer| LEVELS.map(|inner| (outer, inner))) {
        let below = move |i| spawn(move || inner(&|j| i + j));
        let task = move || spawn(move || outer(&|i| below(i).fetch()));
        let sum = 2 * PARTS * (0..PARTS).sum::<u64>();
        assert_eq!(task().fetch(), sum);
        let tasks = [task(), task(), task()];
        // Not begun by the one that waits: the pool or a spare has to.
        tasks.iter().rev().for_each(|task| while !task.wait_within(60) {});
        assert!(tasks.iter().all(|task| task.fetch() == sum));
        assert_eq!(crate::rt::RUNTIME.block_on(task()), sum);
    }
}

#[test]
fn loops_and_tasks_nest_in_spawned_tasks() {
    SIZES.into_iter().for_each(|n| as_cell(n, all_nests_in_tasks));
}

#[test]
fn iterations_may_wait_for_a_task_that_runs_a_loop_itself() {
    for n in SIZES {
        as_cell(n, || {
            for schedule in SCHEDULES {
                let sum = || par_for(0..PARTS).map_reduce(|i| with_sync(&|j| i + j), add, 0);
                let task = spawn(sum);
                let each = par_for(0..100).schedule(schedule).chunk(1);
                assert_eq!(each.map_reduce(|_| task.fetch(), add, 0), 100 * sum());
            }
        });
    }
}

fn add(a: u64, b: u64) -> u64 {
    a + b
}

#[test]
fn a_static_loop_does_not_wait_for_a_member_that_waits_for_what_comes_after_it() {
    for n in SIZES {
        let sum = as_cell(n, || {
            let gates: Vec<Channel<u64>> = (0..8).map(|_| Channel::new(1)).collect();
            let begun = Channel::unbounded();
            let begin = |gate: &Channel<u64>| {
                let (begun, gate) = (begun.clone(), gate.clone());
                spawn(move || {
                    begun.put(());
                    gate.take()
                })
            };
            let tasks: Vec<Task<u64>> = gates.iter().map(begin).collect();
            tasks.iter().for_each(|_| begun.take());
            let each = || par_for(0..100_u64).schedule(Schedule::Static);
            let sums = (0..20).map(|_| each().map_reduce(|i| i, add, 0)).sum::<u64>();
            gates.iter().for_each(|gate| gate.put(1));
            sums + tasks.iter().map(Task::fetch).sum::<u64>()
        });
        assert_eq!(sum, 20 * 4950 + 8);
    }
}

/// Set for a process that runs the one test that counts its threads.
const ALONE: &str = "PARCELL_TEST_COUNTS_THREADS";

/// Loops alone begin none. Where tasks are waited for, spares replace those that wait, and their
/// loops run on rayon's global pool, as large as the cells'. A thread for each of the 7056 leaves,
/// or for each wait, would be many more.
#[test]
fn nests_begin_no_threads_of_their_own() {
    const N: usize = 3;
    if std::env::var_os(ALONE).is_none() {
        let name = "threads::nesting_tests::nests_begin_no_threads_of_their_own";
        let mut alone = Command::new(std::env::current_exe().unwrap());
        let ended = alone.args([name, "--exact", "--nocapture"]).env(ALONE, "1").output().unwrap();
        let text = String::from_utf8_lossy(&ended.stdout);
        assert!(ended.status.success() && text.contains("1 passed"), "{ended:?}");
        return;
    }
    let threads = || std::fs::read_dir("/proc/self/task").unwrap().count();
    let before = threads();
    let most_in = move |levels: &[Level]| {
        let most = Atomic::new(0);
        let look = |leaf| {
            most.fetch_max(threads());
            leaf
        };
        for outer in levels {
            levels.iter().for_each(|inner| _ = outer(&|_| inner(&look)));
        }
        most.load()
    };
    let (loops, with_tasks) = as_cell(N, move || (most_in(&LEVELS[..6]), most_in(&LEVELS)));
    assert_eq!(loops, before + N);
    assert!(with_tasks <= before + 50, "{before} threads, then {with_tasks}");
}
