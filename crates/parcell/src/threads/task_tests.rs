//! Tests of tasks and of what they share, most of them in a pool of one thread and in larger ones.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use rayon::prelude::*;

use super::pool::POOLS;
use super::*;
use crate::interrupt::{self, Interrupted};
use crate::rt::message_of;

/// Runs the work as a cell would: on the thread that made the pool.
fn in_pool<T: Send + 'static>(threads: usize, work: impl FnOnce() -> T + Send + 'static) -> T {
    let _alone = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
    let cell = std::thread::spawn(move || {
        let pool = Pool::attach_current(threads).unwrap();
        let result = work();
        finish_spawned();
        pool.close();
        result
    });
    cell.join().unwrap_or_else(|payload| std::panic::resume_unwind(payload))
}

/// Runs the work in a pool of one thread, of two, and of four.
fn in_pools(work: fn()) {
    crate::interrupt::testing::quiet();
    for threads in [1, 2, 4] {
        in_pool(threads, work);
    }
}

fn message<R>(work: impl FnOnce() -> R) -> String {
    message_of(&*catch_unwind(AssertUnwindSafe(work)).err().expect("this panics"))
}

fn add_one(counter: &Atomic<i32>) {
    counter.fetch_add(1);
}

/// The prelude's names give way to those that a cell imports by name or defines.
mod names_of_the_users_own {
    mod imported {
        use crate::prelude::*;
        use std::thread::{sleep, spawn};

        #[test]
        fn an_import_by_name_wins() {
            let thread: std::thread::JoinHandle<usize> = spawn(|| [1, 2].par_iter().count());
            sleep(std::time::Duration::ZERO);
            assert_eq!(thread.join().unwrap(), 2);
        }
    }

    mod defined {
        use crate::prelude::*;

        fn spawn(n: usize) -> usize {
            n.max(nthreads().min(n))
        }

        #[test]
        fn a_definition_wins() {
            assert_eq!(spawn(3), 3);
        }
    }
}

#[test]
fn a_result_can_be_fetched_twice() {
    in_pools(|| {
        let task = spawn(|| vec![1, 2]);
        assert_eq!((task.fetch(), task.fetch()), (vec![1, 2], vec![1, 2]));
        assert!(task.is_done() && !task.is_failed());
        assert_eq!(task.join(), [1, 2]);
    });
}

#[test]
fn each_fetch_of_a_failed_task_panics_with_its_message() {
    in_pools(|| {
        let line = line!() + 1;
        let task = spawn(|| -> i32 { panic!("broken {}", 7) });
        task.wait();
        assert!(task.is_failed());
        for _ in 0..2 {
            assert_eq!(message(|| task.fetch()), "broken 7");
        }
        let error = task.try_fetch().unwrap_err();
        let TaskError::Panicked { message, place } = &error else { panic!("{error}") };
        assert_eq!(message, "broken 7");
        assert!(place.ends_with(&format!("task_tests.rs:{line}")), "{place}");
    });
}

#[test]
fn tasks_wait_for_tasks_in_chains_and_trees() {
    fn fib(n: u64) -> u64 {
        if n < 2 {
            return n;
        }
        let left = spawn(move || fib(n - 1));
        fib(n - 2) + left.fetch()
    }
    in_pools(|| {
        assert_eq!(fib(15), 610);
        let mut last = spawn(|| 0);
        for _ in 0..1000 {
            last = spawn(move || last.fetch() + 1);
        }
        assert_eq!(last.fetch(), 1000);
    });
}

#[test]
fn a_task_that_waits_for_itself_is_told() {
    in_pools(|| {
        let me: Channel<Task<()>> = Channel::new(1);
        let inner = me.clone();
        let outcome = Channel::new(1);
        let tell = outcome.clone();
        me.put(spawn(move || {
            let me = inner.take();
            tell.put(message(|| me.fetch()));
        }));
        assert!(outcome.take().ends_with("waits for itself"));
    });
}

#[test]
fn tasks_that_nobody_fetched_run_at_the_cells_end() {
    let order = Channel::unbounded();
    crate::interrupt::testing::quiet();
    in_pool(1, {
        let order = order.clone();
        move || {
            for i in 0..10 {
                let order = order.clone();
                spawn_detached(move || order.put(i));
            }
        }
    });
    let mut ran: Vec<i32> = (0..10).map(|_| order.take()).collect();
    ran.sort_unstable();
    assert_eq!(ran, (0..10).collect::<Vec<_>>());
}

#[test]
fn an_awaited_task_gives_its_result_or_its_panic() {
    in_pools(|| {
        let runtime = &*crate::rt::RUNTIME;
        assert_eq!(runtime.block_on(spawn(|| 5)), 5);
        let failed = message(|| runtime.block_on(spawn(|| panic!("not today"))));
        assert_eq!(failed, "not today");
        let both = runtime.block_on(async { tokio::join!(spawn(|| 1), spawn(|| 2)) });
        assert_eq!(both, (1, 2));
    });
}

#[test]
fn a_cell_awaits_tasks_also_in_its_own_runtime() {
    in_pools(|| {
        let sum = Atomic::new(0);
        let ended = crate::rt::block_on(async {
            let tasks: Vec<_> = (0..20).map(|i| spawn(move || i)).collect();
            for task in tasks {
                sum.fetch_add(task.await);
            }
            Ok(())
        });
        assert_eq!((ended.is_ok(), sum.load()), (true, 190));
    });
}

#[test]
fn an_awaited_result_is_gone_and_who_asks_is_told() {
    in_pools(|| {
        let mut task = spawn(|| 5);
        assert_eq!(crate::rt::RUNTIME.block_on(&mut task), 5);
        let gone = "the result of this task was already moved out";
        assert_eq!(message(|| task.fetch()), gone);
        assert_eq!(message(|| task.try_fetch()), gone);
        assert!(task.is_done() && !task.is_failed());
        assert_eq!(message(|| task.try_join()), gone);
    });
}

#[test]
fn an_unhandled_failure_is_printed_and_an_interrupt_is_not() {
    const ALONE: &str = "PARCELL_TEST_PRINTS_FAILURES";
    let name = "threads::task_tests::an_unhandled_failure_is_printed_and_an_interrupt_is_not";
    if std::env::var_os(ALONE).is_some() {
        // In a pool of one the task runs within the wait, so it has printed when that ends.
        in_pool(1, || spawn_detached(|| panic!("nobody looks at this")).wait());
        let task = errormonitor(spawn(|| Event::new().wait()));
        interrupt::raise();
        let _ = catch_unwind(AssertUnwindSafe(|| task.wait()));
        while !task.is_done() {
            std::thread::yield_now();
        }
        return interrupt::clear();
    }
    let mut alone = std::process::Command::new(std::env::current_exe().unwrap());
    let printed = alone.args([name, "--exact", "--nocapture"]).env(ALONE, "1").output().unwrap();
    let text = String::from_utf8_lossy(&printed.stderr);
    let told = |line: &&str| line.contains("unhandled failure");
    let told: Vec<&str> = text.lines().filter(told).collect();
    assert!(printed.status.success() && told.len() == 1, "{printed:?}");
    assert!(told[0].contains("the task spawned at ") && told[0].contains("task_tests.rs:"));
    assert!(told[0].ends_with("panicked: nobody looks at this"), "{}", told[0]);
}

#[test]
fn several_tasks_are_waited_for_at_once() {
    in_pools(|| {
        let gates: Vec<Channel<bool>> = (0..3).map(|_| Channel::new(1)).collect();
        let wait_at = |gate: &Channel<bool>| {
            let gate = gate.clone();
            spawn(move || assert!(gate.take(), "told to fail"))
        };
        let tasks: Vec<Task<()>> = gates.iter().map(wait_at).collect();
        gates[1].put(true);
        let waited = waitany(&tasks);
        assert_eq!((waited.done, waited.failed, waited.remaining), (vec![1], vec![], vec![0, 2]));
        gates[2].put(false);
        let waited = waitall_failfast(&tasks);
        assert_eq!((waited.done, waited.failed, waited.remaining), (vec![1, 2], vec![2], vec![0]));
        gates[0].put(true);
        let waited = waitall(&tasks);
        assert_eq!(
            (waited.done, waited.failed, waited.remaining),
            (vec![0, 1, 2], vec![2], vec![])
        );
        assert_eq!(waitall_failfast(&tasks[..2]).done, [0, 1]);
        assert_eq!(waitany(&tasks).done, [0, 1, 2]);
        assert_eq!(waitany(&tasks[..0]), waitall(&tasks[..0]));
    });
}

#[test]
fn waits_for_several_tasks_see_each_of_many_ends() {
    in_pools(|| {
        let mut tasks: Vec<Task<i32>> = (0..200).map(|i| spawn(move || i)).collect();
        let mut sum = 0;
        while !tasks.is_empty() {
            for place in waitany(&tasks).done.into_iter().rev() {
                sum += tasks.swap_remove(place).join();
            }
        }
        assert_eq!(sum, 19_900);
    });
}

#[test]
fn a_timed_wait_looks_until_the_time_is_over() {
    in_pools(|| {
        let mut looks = 0;
        let third = || {
            looks += 1;
            looks == 3
        };
        assert!(timedwait(third, 60));
        assert!(timedwait(|| true, 0) && !timedwait(|| false, 0));
        assert_eq!(message(|| timedwait(|| panic!("cannot tell"), 1)), "cannot tell");
    });
}

#[test]
fn a_condition_wakes_those_that_wait_in_their_order() {
    in_pools(|| {
        let (value, changed) = (Lock::new(0), Condition::new());
        let (waits, woken) = (Channel::unbounded(), Channel::unbounded());
        sync(|s| {
            for i in 0..4 {
                let (value, changed, waits, woken) = (&value, &changed, &waits, &woken);
                s.spawn(move || {
                    let guard = value.lock();
                    waits.put(i);
                    let guard = changed.wait(guard);
                    woken.put((i, *guard));
                });
            }
            let order: Vec<i32> = (0..4).map(|_| waits.take()).collect();
            *value.lock() = 7;
            for i in &order[..2] {
                assert!(changed.notify_one());
                assert_eq!(woken.take(), (*i, 7));
            }
            assert_eq!((changed.notify_all(), changed.notify_all()), (2, 0));
        });
        assert_eq!((woken.len(), changed.notify_one()), (2, false));
    });
}

#[test]
fn who_gave_up_waiting_for_a_condition_takes_no_notification() {
    in_pools(|| {
        let (value, changed) = (Lock::new(0), Condition::new());
        let (guard, notified) = changed.wait_within(value.lock(), 0);
        assert!(!notified && value.is_locked());
        drop(guard);
        assert_eq!(changed.notify_all(), 0);
    });
}

#[test]
fn sync_waits_for_all_and_lets_them_borrow() {
    in_pools(|| {
        let mut squares = vec![0; 1000];
        let value = sync(|s| {
            for (i, square) in squares.iter_mut().enumerate() {
                s.spawn(move || *square = i * i);
            }
            "value of the block"
        });
        assert_eq!(value, "value of the block");
        assert!(squares.iter().enumerate().all(|(i, square)| *square == i * i));
    });
}

#[test]
fn sync_reports_every_failure_and_still_runs_the_others() {
    in_pools(|| {
        let ran = Atomic::new(0);
        let error = try_sync(|s| {
            for i in 0..20 {
                let ran = &ran;
                s.spawn(move || {
                    ran.fetch_add(1);
                    assert!(i % 5 != 3, "task number {i} is unlucky");
                });
            }
        });
        let error = error.unwrap_err();
        let failed: Vec<usize> = error.failures.iter().map(|f| f.index).collect();
        assert_eq!((failed, error.spawned, ran.load()), (vec![3, 8, 13, 18], 20, 20));
        let text = error.to_string();
        assert!(
            text.starts_with("4 of 20 tasks failed:\n  task 3: the task spawned at "),
            "{text}"
        );
        assert!(text.ends_with("panicked: task number 18 is unlucky"), "{text}");
    });
}

#[test]
fn a_panic_of_the_block_comes_after_its_tasks() {
    in_pools(|| {
        let ran = Atomic::new(0);
        let failed = message(|| {
            sync(|s| {
                for _ in 0..100 {
                    s.spawn(|| add_one(&ran));
                }
                panic!("the block itself");
            })
        });
        assert_eq!((failed.as_str(), ran.load()), ("the block itself", 100));
    });
}

#[test]
fn syncs_nest_and_tasks_spawn_into_their_sync() {
    in_pools(|| {
        let leaves = Atomic::new(0);
        sync(|s| {
            for _ in 0..10 {
                s.spawn(|| {
                    for _ in 0..10 {
                        s.spawn(|| add_one(&leaves));
                    }
                    sync(|inner| (0..10).for_each(|_| inner.spawn(|| add_one(&leaves))));
                });
            }
        });
        assert_eq!(leaves.load(), 200);
    });
}

#[test]
fn a_producer_and_a_consumer_work_through_any_channel() {
    in_pools(|| {
        for channel in [Channel::new(0), Channel::new(1), Channel::new(7), Channel::unbounded()] {
            let producer = spawn({
                let channel = channel.clone();
                move || (0..100_u64).for_each(|i| channel.put(i))
            });
            channel.bind(&producer);
            let consumer = spawn(move || channel.iter().collect::<Vec<_>>());
            assert_eq!(consumer.fetch(), (0..100).collect::<Vec<_>>());
        }
    });
}

#[test]
fn a_pipeline_has_more_stages_than_threads() {
    in_pools(|| {
        let first = Channel::produce(1, |out| (0..50_u64).for_each(|i| out.put(i)));
        let last = (0..10).fold(first, |source, _| {
            Channel::produce(1, move |out| source.iter().for_each(|i| out.put(i + 1)))
        });
        assert_eq!(last.iter().sum::<u64>(), (10..60).sum());
    });
}

#[test]
fn parallel_loops_may_feed_tasks() {
    in_pools(|| {
        let channel = Channel::new(2);
        let consumer = spawn({
            let channel = channel.clone();
            move || channel.iter().sum::<u64>()
        });
        (0..1000_u64).into_par_iter().for_each(|i| channel.put(i));
        channel.close();
        assert_eq!(consumer.fetch(), 499_500);
    });
}

#[test]
fn a_plain_rayon_job_is_reached_where_all_members_wait() {
    in_pools(|| {
        let channel = Channel::new(1);
        let other = channel.clone();
        rayon::spawn(move || other.put(3));
        assert_eq!(channel.take(), 3);
    });
}

#[test]
fn many_producers_and_consumers_lose_and_double_nothing() {
    in_pools(|| {
        let channel = Channel::new(3);
        let results = Channel::unbounded();
        sync(|s| {
            for _ in 0..4 {
                s.spawn(|| channel.iter().for_each(|i: u32| results.put(i)));
            }
            sync(|producers| {
                for p in 0..4 {
                    let channel = &channel;
                    producers.spawn(move || (0..100).for_each(|i| channel.put(p * 100 + i)));
                }
            });
            channel.close();
        });
        results.close();
        let mut all: Vec<u32> = results.iter().collect();
        all.sort_unstable();
        assert_eq!(all, (0..400).collect::<Vec<_>>());
    });
}

#[test]
fn a_closed_channel_is_drained_and_then_says_so() {
    crate::interrupt::testing::quiet();
    let channel = Channel::new(2);
    channel.put(1);
    channel.put(2);
    assert!(matches!(channel.put_within(0, 3), Err(PutError::TimedOut(3))));
    channel.close();
    channel.close_with("too late to matter");
    assert_eq!(message(|| channel.put(3)), "nothing can be put: the channel is closed");
    assert!(matches!(channel.put_within(0, 3), Err(PutError::Closed(3, Closed::Ended))));
    assert_eq!((channel.fetch(), channel.take(), channel.take()), (1, 1, 2));
    assert_eq!(message(|| channel.take()), "nothing can be taken: the channel is closed");
    assert_eq!(channel.take_within(0), Err(TakeError::Closed(Closed::Ended)));
    assert_eq!(format!("{channel:?}"), "Channel(0 of 2, closed)");
}

#[test]
fn a_rendezvous_ends_with_its_taker_and_leaves_nothing_behind() {
    in_pools(|| {
        let channel = Channel::new(0);
        assert_eq!(channel.put_within(0, 'a'), Err(PutError::TimedOut('a')));
        assert_eq!(channel.put_within(0.01, 'a'), Err(PutError::TimedOut('a')));
        assert!(channel.is_empty() && channel.is_full());
        let other = channel.clone();
        let putter = spawn(move || other.put('b'));
        assert_eq!(channel.fetch(), 'b');
        assert!(!putter.is_done());
        assert_eq!(channel.take(), 'b');
        putter.fetch();
        let other = channel.clone();
        let putter = spawn(move || other.try_put('c'));
        channel.fetch();
        channel.close();
        assert_eq!(putter.fetch(), Err(Closed::Ended));
        assert!(channel.is_empty());
    });
}

#[test]
fn a_bound_channel_closes_with_the_first_task_and_its_failure() {
    in_pools(|| {
        let channel: Channel<i32> = Channel::new(1);
        let other = channel.clone();
        let fails = spawn(move || {
            other.put(1);
            panic!("half way")
        });
        let ends: Task<()> = fails;
        channel.bind(&ends);
        assert_eq!(channel.take(), 1);
        let error = channel.try_take().unwrap_err();
        assert!(error.to_string().ends_with("panicked: half way"), "{error}");
        assert!(message(|| channel.iter().next()).ends_with("panicked: half way"));
        let late: Channel<i32> = Channel::new(1);
        late.bind(&ends);
        assert!(!late.is_open());
    });
}

#[test]
fn a_semaphore_is_never_over_its_count() {
    in_pools(|| {
        let (seats, inside, most) = (Semaphore::new(3), Atomic::new(0), Atomic::new(0));
        sync(|s| {
            for _ in 0..200 {
                s.spawn(|| {
                    let _seat = seats.acquire();
                    most.fetch_max(inside.fetch_add(1) + 1);
                    std::thread::yield_now();
                    inside.fetch_sub(1);
                });
            }
        });
        assert!((1..=3).contains(&most.load()), "{most} were inside");
        assert_eq!(seats.available(), 3);
    });
    assert!(message(|| Semaphore::new(0)).contains("at least 1 permit"));
}

#[test]
fn an_event_with_autoreset_lets_one_through_per_notification() {
    in_pools(|| {
        let (event, passed) = (Event::autoreset(), Channel::unbounded());
        sync(|s| {
            for _ in 0..3 {
                s.spawn(|| {
                    event.wait();
                    passed.put(());
                });
            }
            for _ in 0..3 {
                event.notify();
                passed.take();
                assert!(!event.is_set() && passed.is_empty());
            }
        });
    });
}

#[test]
fn a_lock_keeps_others_out_and_survives_a_panic() {
    in_pools(|| {
        let counter = Lock::new(0);
        sync(|s| {
            for _ in 0..8 {
                s.spawn(|| {
                    for _ in 0..100 {
                        let mut counter = counter.lock();
                        let seen = *counter;
                        std::thread::yield_now();
                        *counter = seen + 1;
                    }
                });
            }
        });
        let failed = message(|| {
            let _held = counter.lock();
            panic!("while holding");
        });
        assert_eq!((failed.as_str(), *counter.lock()), ("while holding", 800));
    });
}

#[test]
fn a_reentrant_lock_belongs_to_a_task() {
    in_pools(|| {
        let lock = Arc::new(ReentrantLock::new());
        let outer = lock.lock();
        let inner = lock.try_lock().expect("its holder may lock again");
        let other = lock.clone();
        // Also if the task runs on this very thread, it is another holder.
        assert!(spawn(move || other.try_lock().is_none()).fetch());
        drop((outer, inner));
        let other = lock.clone();
        assert!(spawn(move || other.try_lock().is_some()).fetch());
        assert!(!lock.is_locked());
    });
}

#[test]
fn scratch_is_nobody_elses_while_it_is_used() {
    in_pools(|| {
        let scratch = PerThread::new(Vec::new);
        (0..200_u64).into_par_iter().for_each(|i| {
            scratch.with(|mine: &mut Vec<u64>| {
                let before = mine.len();
                // rayon may now put other iterations on this thread.
                (0..10_u64).into_par_iter().for_each(|_| scratch.with(|other| other.push(i)));
                assert_eq!(mine.len(), before);
                mine.push(i);
            });
        });
        let all: Vec<u64> = scratch.into_iter().flatten().collect();
        assert_eq!((all.len(), all.iter().sum::<u64>()), (2200, 11 * 19_900));
    });
}

#[test]
fn a_task_keeps_its_own_value_while_others_use_its_thread() {
    in_pools(|| {
        let local = Arc::new(TaskLocal::new(|| 0));
        local.with(|n| *n = 1000);
        let tasks: Vec<_> = (0..20)
            .map(|i| {
                let local = local.clone();
                spawn(move || {
                    local.with(|n| *n += i);
                    let nested = local.clone();
                    spawn(move || nested.with(|n| *n += 100)).wait();
                    local.with(|n| *n)
                })
            })
            .collect();
        let seen: Vec<i32> = tasks.iter().map(Task::fetch).collect();
        assert_eq!((seen, local.with(|n| *n)), ((0..20).collect(), 1000));
    });
}

#[test]
fn tasks_spread_over_the_pool() {
    crate::interrupt::testing::quiet();
    in_pool(4, || {
        // Each waits for all, so each needs a thread of its own: three members and the caller.
        let barrier = Arc::new(std::sync::Barrier::new(4));
        let ids = Lock::new(HashSet::new());
        sync(|s| {
            for _ in 0..4 {
                s.spawn(|| {
                    barrier.wait();
                    ids.lock().insert(threadid());
                });
            }
        });
        // A spare that an earlier test left behind may have taken one; it has number 0.
        assert!(ids.into_inner().len() >= 3);
    });
}

#[test]
fn every_wait_ends_soon_after_an_interrupt() {
    let _alone = crate::interrupt::testing::alone();
    let waits: [fn(); 13] = [
        || Channel::new(1).take(),
        || Channel::new(0).put(1),
        || Event::new().wait(),
        || {
            let one = Semaphore::new(1);
            let _all = one.acquire();
            drop(one.acquire());
        },
        || {
            let lock = Lock::new(0);
            let _held = lock.lock();
            drop(lock.lock());
        },
        || spawn(|| Event::new().wait()).fetch(),
        || sync(|s| s.spawn(|| Event::new().wait())),
        || sync(|_| sync(|s| (0..5).for_each(|_| s.spawn(|| Channel::new(0).put(1))))),
        || {
            let task = spawn(|| Event::new().wait());
            let _ = task.wait_within(3600);
        },
        || _ = waitany(&[spawn(|| Event::new().wait())]),
        || _ = waitall_failfast(&[spawn(|| Event::new().wait())]),
        || _ = timedwait(|| false, 3600),
        || drop(Condition::new().wait(Lock::new(0).lock())),
    ];
    for wait in waits {
        let took = in_pool(2, move || {
            let began = Arc::new(std::sync::Barrier::new(2));
            let begins = began.clone();
            let user = std::thread::spawn(move || {
                begins.wait();
                interrupt::raise();
                Instant::now()
            });
            began.wait();
            let stopped = catch_unwind(wait).unwrap_err();
            let took = user.join().unwrap().elapsed();
            assert!(stopped.is::<Interrupted>());
            took
        });
        interrupt::clear();
        // A bound that only a wait which misses the interrupt exceeds.
        assert!(took < Duration::from_secs(5), "{took:?}");
    }
}
