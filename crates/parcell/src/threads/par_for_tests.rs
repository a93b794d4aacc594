//! Tests of parallel loops as their users see them.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::channel;
use std::sync::{Mutex, PoisonError};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rayon::prelude::*;

use super::pool::{POOLS, Pool};
use super::{Schedule, par_for, par_for_iter, threadid};
use crate::interrupt::{self, Interrupted};
use crate::rt::message_of;

const SCHEDULES: [Schedule; 4] =
    [Schedule::Static, Schedule::Dynamic, Schedule::Guided, Schedule::Greedy];

/// Runs `test` in rayon's own pools of 1, 2, 3 and 5 threads.
fn in_pools(test: impl Fn(usize) + Sync) {
    crate::interrupt::testing::quiet();
    for n in [1, 2, 3, 5] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
        pool.install(|| test(n));
    }
}

/// Runs `test` as a cell would, on member 0 of a pool of `n`.
fn as_cell<T: Send + 'static>(n: usize, test: impl FnOnce() -> T + Send + 'static) -> T {
    let _alone = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
    let cell = std::thread::spawn(move || {
        let pool = Pool::attach_current(n).unwrap();
        let result = test();
        pool.close();
        result
    });
    cell.join().unwrap()
}

/// What the loop says when it panics.
#[track_caller]
fn panic_of(run: impl FnOnce()) -> String {
    let payload = catch_unwind(AssertUnwindSafe(run)).expect_err("the loop panics");
    assert!(!payload.is::<Interrupted>());
    message_of(payload.as_ref())
}

#[test]
fn each_iteration_runs_once_whatever_the_schedule() {
    in_pools(|threads| {
        for schedule in SCHEDULES {
            for n in [0, 1, threads - 1, threads, threads + 1, 7, 64, 1003] {
                for chunk in [None, Some(1), Some(3), Some(2000)] {
                    let counts: Vec<AtomicUsize> = (0..n).map(|_| AtomicUsize::new(0)).collect();
                    let each = par_for(0..n).schedule(schedule);
                    let each = chunk.map_or(each.clone(), |chunk| each.chunk(chunk));
                    each.for_each(|i| _ = counts[i].fetch_add(1, Relaxed));
                    let once = counts.iter().all(|count| count.load(Relaxed) == 1);
                    assert!(once, "{schedule:?} {chunk:?} {n} on {threads}");
                }
            }
        }
    });
}

#[test]
fn map_reduce_keeps_the_order() {
    in_pools(|threads| {
        for schedule in SCHEDULES {
            for n in [0, 1, threads, 100, 1003] {
                for chunk in [1, 7] {
                    let join = |a: String, b: String| a + &b;
                    let name = |i: i32| i.to_string();
                    let serial = (0..n as i32).map(name).fold("start ".to_owned(), join);
                    let space = par_for(0..n as i32).schedule(schedule).chunk(chunk);
                    assert_eq!(space.map_reduce(name, join, "start ".to_owned()), serial);
                    let items = par_for_iter(0..n as i32).chunk(chunk);
                    assert_eq!(items.map_reduce(name, join, "start ".to_owned()), serial);
                }
            }
        }
    });
}

/// Random sizes, schedules and chunks. Concatenation is associative and not commutative: the text
/// is the serial one only if every item came once and in its place.
#[test]
fn map_reduce_is_the_serial_fold_whatever_the_sizes() {
    in_pools(|threads| {
        let mut random = StdRng::seed_from_u64(threads as u64);
        for _ in 0..150 {
            let below = [3, 40, 3000][random.random_range(0..3)];
            let n = random.random_range(0..below);
            let items: Vec<u16> = (0..n).map(|_| random.random()).collect();
            let schedule = SCHEDULES[random.random_range(0..4)];
            let chunk = random.random_bool(0.7).then(|| random.random_range(1..=n + 2));
            let join = |a: String, b: String| a + &b;
            let serial = items.iter().map(u16::to_string).fold("<".to_owned(), join);
            let each = par_for(&items).schedule(schedule);
            let each = chunk.map_or(each.clone(), |chunk| each.chunk(chunk));
            let parallel = each.map_reduce(u16::to_string, join, "<".to_owned());
            assert!(parallel == serial, "{n} items, {schedule:?}, {chunk:?}, {threads} threads");
            let each = par_for_iter(items.iter()).chunk(chunk.unwrap_or(1));
            let parallel = each.map_reduce(u16::to_string, join, "<".to_owned());
            assert!(parallel == serial, "{n} items of an iterator, {chunk:?}, {threads} threads");
        }
    });
}

#[test]
fn sums_of_floats_come_out_the_same_every_time() {
    in_pools(|_| {
        for schedule in SCHEDULES {
            let sum = || {
                let each = par_for(1..3000).schedule(schedule);
                each.map_reduce(|i| 1.0 / f64::from(i), |a, b| a + b, 0.0).to_bits()
            };
            let first = sum();
            assert!((0..50).all(|_| sum() == first), "{schedule:?}");
        }
    });
}

#[test]
fn every_kind_of_space_is_looped_over() {
    in_pools(|_| {
        fn add<T: std::ops::Add<Output = T>>(a: T, b: T) -> T {
            a + b
        }
        assert_eq!(par_for(-100..=100_i8).map_reduce(i32::from, add, 0), 0);
        assert_eq!(par_for(u128::MAX - 9..u128::MAX).map_reduce(|_| 1, add, 0), 9);
        let words = ["a", "bc", "def"];
        assert_eq!(par_for(&words).map_reduce(|word| word.len(), add, 0), 6);
        assert_eq!(par_for(&words[1..]).map_reduce(|word| word.len(), add, 0), 5);
        let mut squares: Vec<usize> = (0..1000).collect();
        for schedule in SCHEDULES {
            par_for(&mut squares).schedule(schedule).for_each(|x| *x += 1);
        }
        par_for(&mut squares[..10]).for_each(|x| *x = 0);
        assert_eq!(squares.iter().sum::<usize>(), (14..1004).sum());
        let grid = par_for((20, 5..30_i64)).map_reduce(|(i, j)| i as i64 * j, add, 0);
        assert_eq!(grid, (0..20).sum::<i64>() * (5..30).sum::<i64>());
    });
}

#[test]
fn static_blocks_belong_to_threads() {
    crate::interrupt::testing::quiet();
    let threads_of = |n: usize, chunk| {
        let threads = Mutex::new(vec![usize::MAX; n]);
        let each = par_for(0..n).schedule(Schedule::Static);
        let each = if chunk == 0 { each } else { each.chunk(chunk) };
        each.for_each(|i| threads.lock().unwrap()[i] = threadid());
        threads.into_inner().unwrap()
    };
    as_cell(3, move || {
        for _ in 0..20 {
            assert_eq!(threads_of(8, 0), [0, 0, 0, 1, 1, 1, 2, 2]);
            assert_eq!(threads_of(2, 0), [0, 1]);
            assert_eq!(threads_of(8, 2), [0, 0, 1, 1, 2, 2, 0, 0]);
        }
    });
}

#[test]
fn the_first_error_is_returned_and_all_before_it_ran() {
    in_pools(|_| {
        for schedule in SCHEDULES {
            let ran: Vec<AtomicUsize> = (0..1000).map(|_| AtomicUsize::new(0)).collect();
            let result = par_for(0..1000).schedule(schedule).try_for_each(|i| {
                ran[i].fetch_add(1, Relaxed);
                if i % 100 == 57 { Err(format!("{i} is bad")) } else { Ok(()) }
            });
            assert_eq!(result, Err("57 is bad".to_owned()));
            assert!(ran[..=57].iter().all(|count| count.load(Relaxed) == 1));
            assert!(ran.iter().all(|count| count.load(Relaxed) <= 1));
            let fine: Result<(), ()> = par_for(0..10).schedule(schedule).try_for_each(|_| Ok(()));
            assert_eq!(fine, Ok(()));
        }
    });
}

#[test]
fn an_endless_iterator_ends_with_the_first_error() {
    in_pools(|_| {
        for chunk in [1, 10] {
            let mut taken = 0;
            let endless = (0..).inspect(|_| taken += 1);
            let found = par_for_iter(endless)
                .chunk(chunk)
                .try_for_each(|i| if i >= 1000 { Err(i) } else { Ok(()) });
            assert_eq!(found, Err(1000));
            assert!(taken > 1000);
        }
    });
}

#[test]
fn one_panic_stays_what_it_is_and_the_others_run() {
    in_pools(|_| {
        for schedule in SCHEDULES {
            let count = AtomicUsize::new(0);
            let payload = catch_unwind(AssertUnwindSafe(|| {
                par_for(0..500).schedule(schedule).for_each(|i| {
                    if i == 321 {
                        std::panic::panic_any(i);
                    }
                    count.fetch_add(1, Relaxed);
                });
            }));
            assert_eq!(*payload.unwrap_err().downcast::<i32>().unwrap(), 321);
            assert_eq!(count.into_inner(), 499);
        }
    });
}

#[test]
fn several_panics_are_told_together_by_index() {
    in_pools(|_| {
        let bad = |i: i32| assert!(i % 400 != 7, "{i} is bad");
        for schedule in SCHEDULES {
            let told = panic_of(|| par_for(0..1000).schedule(schedule).for_each(bad));
            let all = "iteration 7: 7 is bad; iteration 407: 407 is bad; iteration 807: 807 is bad";
            assert_eq!(told, format!("3 of 1000 iterations panicked: {all}"));
        }
        let told = panic_of(|| par_for((4, 4)).for_each(|(i, j)| assert!(i != 2 || j < 2)));
        let all = "iteration (2, 2): assertion failed: i != 2 || j < 2; \
                   iteration (2, 3): assertion failed: i != 2 || j < 2";
        assert_eq!(told, format!("2 of 16 iterations panicked: {all}"));
        let told = panic_of(|| par_for_iter([5, 7, 407, 6]).for_each(bad));
        let all = "iteration 1: 7 is bad; iteration 2: 407 is bad";
        assert_eq!(told, format!("2 of 4 iterations panicked: {all}"));
    });
}

#[test]
fn panics_in_the_midst_of_long_blocks_are_told_by_index() {
    in_pools(|_| {
        const N: usize = 300_000;
        let bad = [0, 1, 77_777, 77_778, 250_000, N - 1];
        for schedule in [Schedule::Static, Schedule::Dynamic, Schedule::Guided] {
            let told = panic_of(|| {
                par_for(0..N).schedule(schedule).for_each(|i| assert!(!bad.contains(&i)));
            });
            let all = bad.map(|i| format!("iteration {i}: assertion failed: !bad.contains(&i)"));
            assert_eq!(told, format!("6 of {N} iterations panicked: {}", all.join("; ")));
        }
    });
}

#[test]
fn iterations_beside_panics_run_once() {
    in_pools(|_| {
        let mut ran = vec![0_u8; 100_000];
        let told = panic_of(|| {
            par_for(&mut ran).for_each(|count| {
                *count += 1;
                assert_ne!(std::ptr::from_ref(count).addr() % 4096, 0);
            });
        });
        let panics = told.split(' ').next().and_then(|n| n.parse::<usize>().ok());
        assert!(panics.is_some_and(|n| (24..=25).contains(&n)), "{told}");
        assert!(ran.iter().all(|count| *count == 1));
    });
}

#[test]
fn a_loop_in_which_all_panics_ends_early() {
    in_pools(|threads| {
        let count = AtomicUsize::new(0);
        let told = panic_of(|| {
            par_for(0..1_000_000).for_each(|_| {
                count.fetch_add(1, Relaxed);
                panic!("always");
            });
        });
        assert!(told.contains(" of 1000000 iterations panicked, then the loop was ended: "));
        assert!((64..64 + threads).contains(&count.into_inner()), "{told}");
    });
}

#[test]
fn panics_outside_the_iterations_end_the_loop() {
    in_pools(|_| {
        let op = |a: i32, b: i32| if a + b > 20 { panic!("too much") } else { a + b };
        assert_eq!(panic_of(|| _ = par_for(0..8).chunk(1).map_reduce(|i| i, op, 0)), "too much");
        let items = (0..).inspect(|i| assert!(*i < 10, "no more items"));
        assert_eq!(panic_of(|| par_for_iter(items).for_each(|_| ())), "no more items");
    });
}

#[test]
#[should_panic(expected = "a chunk has at least 1 iteration, 0 were asked for")]
fn chunks_of_nothing_are_refused() {
    let _ = par_for(0..10).chunk(0);
}

/// A loop in a loop in a loop, with rayon between: 2000 iterations.
fn nested(schedule: Schedule) -> usize {
    let inner = || par_for(0..10).schedule(schedule).map_reduce(|_| 1, |a, b| a + b, 0);
    let middle = || -> usize { (0..10).into_par_iter().map(|_| inner()).sum() };
    let both = || {
        let (a, b) = rayon::join(middle, middle);
        a + b
    };
    par_for(0..10).schedule(schedule).chunk(1).map_reduce(|_| both(), |a, b| a + b, 0)
}

#[test]
fn loops_nest_on_the_threads_there_are() {
    in_pools(|threads| {
        for schedule in SCHEDULES {
            assert_eq!(nested(schedule), 2000);
            let seen = Mutex::new(HashSet::new());
            par_for(0..20).schedule(schedule).for_each(|_| {
                par_for(0..20).schedule(schedule).for_each(|_| {
                    seen.lock().unwrap().insert(std::thread::current().id());
                });
            });
            assert!(seen.into_inner().unwrap().len() <= threads);
        }
    });
    crate::interrupt::testing::quiet();
    as_cell(3, || SCHEDULES.map(|schedule| assert_eq!(nested(schedule), 2000)));
}

#[test]
fn a_background_loop_does_not_wait_for_the_cell() {
    crate::interrupt::testing::quiet();
    for schedule in SCHEDULES {
        let sums = as_cell(2, move || {
            let (send, sums) = channel();
            let on_thread = send.clone();
            let sum = move || par_for(0..100).schedule(schedule).map_reduce(|i| i, |a, b| a + b, 0);
            // On the pool, and on a thread that is no member.
            rayon::spawn(move || send.send(sum()).unwrap());
            std::thread::spawn(move || on_thread.send(sum()).unwrap());
            // This thread is not with rayon while it waits here.
            sums.iter().collect::<Vec<i32>>()
        });
        assert_eq!(sums, [4950, 4950]);
    }
}

#[test]
fn an_interrupt_ends_a_loop_that_would_never_end() {
    let _alone = crate::interrupt::testing::alone();
    let stopped = |run: &dyn Fn()| {
        let payload = catch_unwind(AssertUnwindSafe(run)).unwrap_err();
        interrupt::clear();
        assert!(payload.is::<Interrupted>());
    };
    for schedule in SCHEDULES {
        stopped(&|| {
            par_for(0..usize::MAX).schedule(schedule).for_each(|i| {
                if i == 100 {
                    interrupt::raise();
                }
            });
        });
    }
    stopped(&|| par_for_iter(std::iter::repeat(())).for_each(|()| interrupt::raise()));
    interrupt::raise();
    stopped(&|| par_for(0..0).for_each(|_| ()));
}

#[test]
fn a_loop_in_a_drop_of_an_interrupted_cell_runs_to_its_end() {
    struct Flush<'a>(&'a AtomicUsize);
    impl Drop for Flush<'_> {
        fn drop(&mut self) {
            par_for(0..1000).for_each(|_| _ = self.0.fetch_add(1, Relaxed));
        }
    }
    let _alone = crate::interrupt::testing::alone();
    let count = AtomicUsize::new(0);
    interrupt::raise();
    let stopped = catch_unwind(AssertUnwindSafe(|| {
        let _flush = Flush(&count);
        interrupt::check();
    }));
    interrupt::clear();
    assert!(stopped.unwrap_err().is::<Interrupted>());
    assert_eq!(count.into_inner(), 1000);
}
