//! Futures, channels and local state over real workers, in a plain program: what a cell's tests
//! cannot arrange, such as interrupts at a certain moment, deaths, and what is left at the end.

mod common;

use common::Check;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use parcell::distributed::{census, fetch_all, init, try_wait_all, wait_any};
use parcell::interrupt::{self, Interrupted};
use parcell::prelude::*;
use parcell::threads::timedwait;
use rustix::process::{Pid, Signal, kill_process};

fn main() {
    init();
    addprocs(2);
    let checks: &[Check] = &[
        ("futures are freed by fetching, dropping and passing on", futures_are_freed),
        ("a hundred thousand futures leave nothing", many_futures_leave_nothing),
        ("a failed future that is sent on fails there", a_failed_future_is_sent_on),
        ("a fetched future is sent on after its owner freed it", a_fetched_future_is_sent_on),
        ("several futures at once", several_futures),
        ("an interrupted take leaves the value to others", an_interrupted_take_loses_nothing),
        ("time limits over processes lose and double nothing", limits_lose_nothing),
        ("a channel goes through a channel", channels_go_through_channels),
        ("large arrays go through a channel", large_arrays_go_through),
        ("local state fails, recurs and panics in order", local_state),
        ("local state of a captured value", local_state_from_a_value),
        ("a handle to what is gone is passed on", a_handle_to_what_is_gone),
        ("a map outlives the workers it began with", a_map_outlives_its_workers),
        ("a stopped owner holds nobody up", a_stopped_owner_of_a_handle_holds_nobody_up),
        ("a dead worker fails what waits for it", a_dead_worker),
    ];
    common::run(checks, Vec::new);
}

fn futures_are_freed() {
    let future = spawn_at!(2, vec![1.5; 1000]);
    future.wait();
    assert_eq!(census()[&2].values, 1);
    let third = spawn_at!(3, future.fetch().len());
    assert_eq!((third.fetch(), future.fetch().len()), (1000, 1000));
    assert!(timedwait(|| census()[&2].values == 0, 20), "both have fetched");
    let inside = vec![Some((spawn_at!(3, String::from("inside")), 1))];
    let read = fetch_from!(2, inside[0].as_ref().map(|pair| pair.0.fetch()));
    assert_eq!(read.as_deref(), Some("inside"));
    drop(spawn_at!(2, vec![0_u8; 100_000]));
}

fn many_futures_leave_nothing() {
    for round in 0..100 {
        let futures: Vec<_> =
            (0..1000).map(|n| remotecall(|n: usize| n, 2 + n % 2, (n,))).collect();
        // Half are fetched, the others dropped, some before they have ended.
        let fetched = futures.into_iter().filter(|f| f.worker() == 2 + round % 2);
        let sum: usize = fetched.map(RemoteFuture::join).sum();
        assert_eq!(sum, if round % 2 == 0 { 249_500 } else { 250_000 });
    }
}

fn a_failed_future_is_sent_on() {
    let future = spawn_at!(2, panic!("no luck"));
    assert!(future.try_fetch().is_err());
    let told = fetch_from!(3, future.try_fetch().unwrap_err().to_string());
    assert!(told.contains("no luck"), "{told}");
}

fn a_fetched_future_is_sent_on() {
    let future = spawn_at!(2, vec![3; 1000]);
    let values = RemoteChannel::new(1, 3);
    values.put(future.clone());
    assert_eq!(future.fetch().len(), 1000);
    assert_eq!(fetch_from!(2, values.take().fetch().len()), 1000, "sent before it was fetched");
    assert_eq!(fetch_from!(3, future.fetch()[0]), 3);
}

fn several_futures() {
    let futures: Vec<_> = (0..8_usize).map(|n| spawn_at!(2 + n % 2, n * n)).collect();
    assert_eq!(fetch_all(&futures), (0..8).map(|n| n * n).collect::<Vec<_>>());
    let failing: Vec<_> =
        (0..4_usize).map(|n| spawn_at!(2 + n % 2, assert!(n < 2, "{n}"))).collect();
    assert_eq!(try_wait_all(&failing).unwrap_err().errors.len(), 2);
    let gate = RemoteChannel::new(1, 3);
    let race = [spawn_at!(2, gate.take()), spawn_at!(3, 1)];
    assert_eq!(wait_any(&race), Some(1));
    gate.put(0);
    assert_eq!(race[0].fetch(), 0);
}

fn an_interrupted_take_loses_nothing() {
    for owner in [1, 2] {
        let channel = RemoteChannel::<i32>::new(1, owner);
        let waits = AtomicUsize::new(0);
        thread::scope(|scope| {
            let taking = scope.spawn(|| {
                waits.fetch_add(1, Ordering::SeqCst);
                catch_unwind(AssertUnwindSafe(|| channel.take()))
            });
            assert!(timedwait(|| waits.load(Ordering::SeqCst) == 1, 20));
            interrupt::raise();
            let unwound = taking.join().expect("the panic was caught").unwrap_err();
            interrupt::clear();
            assert!(unwound.is::<Interrupted>());
        });
        channel.put(5);
        assert_eq!(channel.take_timeout(20), Ok(5), "nobody else takes it");
    }
}

fn limits_lose_nothing() {
    let channel = RemoteChannel::<u64>::new(2, 3);
    let take = || {
        let mut sum = 0;
        loop {
            match channel.take_timeout(1e-3) {
                Ok(value) => sum += value,
                Err(RemoteError::TimedOut { .. }) => {}
                Err(_) => return sum,
            }
        }
    };
    let there = spawn_at!(2, channel.iter().sum::<u64>());
    let here: u64 = thread::scope(|scope| {
        let takers: Vec<_> = (0..2).map(|_| scope.spawn(take)).collect();
        (1..=1000).for_each(|value| while channel.put_timeout(value, 1e-3).is_err() {});
        channel.close();
        takers.into_iter().map(|taker| taker.join().expect("takers do not panic")).sum()
    });
    assert_eq!(here + there.fetch(), 500_500);
}

fn channels_go_through_channels() {
    let outer = RemoteChannel::new(1, 2);
    let inner = RemoteChannel::new(1, 3);
    outer.put(vec![inner.clone()]);
    fetch_from!(3, outer.take()[0].put(7));
    assert_eq!(inner.take(), 7);
    // Only what waits in the outer one holds this.
    outer.put(vec![RemoteChannel::new(1, 3)]);
    assert_eq!(census()[&3].channels, 2);
    let back = outer.take();
    back[0].put(8);
    assert_eq!(back[0].take(), 8);
}

fn large_arrays_go_through() {
    for owner in [1, 2] {
        let channel = RemoteChannel::new(1, owner);
        let array = vec![1.5_f64; 10_000_000];
        let taken = spawn_at!(3, {
            let array: Vec<f64> = channel.take();
            channel.put(array);
        });
        channel.put(array);
        taken.fetch();
        let back = channel.take();
        assert_eq!((back.len(), back[9_999_999]), (10_000_000, 1.5));
    }
}

fn local_state() {
    let counts = WorkerLocal::new(Vec::<usize>::new);
    assert_eq!(counts.procs(), [1, 2, 3]);
    let lens = everywhere!(counts.with_mut(|c| {
        c.push(myid());
        c.len()
    }));
    assert_eq!(lens, [1, 1, 1]);
    let again = spawn_at!(2, counts.with_mut(|_| counts.with_mut(|c| c.len())));
    let told = again.try_fetch().unwrap_err().to_string();
    assert!(told.contains("uses its value already"), "{told}");
    let fails = spawn_at!(2, {
        counts.with_mut(|c| {
            c.push(9);
            assert!(c.is_empty(), "in the middle");
        })
    });
    assert!(fails.try_wait().is_err());
    assert_eq!(fetch_from!(2, counts.with(|c| c.clone())), [2, 9], "as it was then");
    let make = || -> WorkerLocal<i32> {
        WorkerLocal::new_on(&[2, 3], || if myid() == 3 { panic!("no room") } else { 1 })
    };
    let failed = catch_unwind(make).unwrap_err();
    let error = failed.downcast::<RemoteError>().expect("one failure is told as itself");
    assert_eq!((error.worker(), error.to_string().contains("no room")), (3, true));
}

fn local_state_from_a_value() {
    let n = 5;
    let sized = WorkerLocal::new_from(&[2, 3], n, |n| vec![std::cell::Cell::new(0); n]);
    assert_eq!(fetch_from!(3, sized.with_mut(|v| v.len())), 5);
    let seeded = WorkerLocal::new_on(&[2, 3], remote!(|| n * myid()));
    let sum: usize = [2, 3].iter().map(|id| fetch_from!(*id, seeded.with(|s| *s))).sum();
    assert_eq!(sum, 25);
    let elsewhere = catch_unwind(AssertUnwindSafe(|| seeded.with(|s| *s))).unwrap_err();
    assert!(matches!(elsewhere.downcast_ref(), Some(RemoteError::Refused { worker: 1, .. })));
}

fn a_handle_to_what_is_gone() {
    let gone = addprocs(1);
    let channel = RemoteChannel::new(1, 2);
    channel.put(vec![spawn_at!(&gone[0], 5)]);
    rmprocs(&gone);
    let told = fetch_from!(3, channel.take()[0].try_fetch());
    assert!(told.unwrap_err().is_process_exited());
}

fn a_stopped_owner_of_a_handle_holds_nobody_up() {
    let new = addprocs(2);
    let (holder, owner) = (new[0], new[1]);
    let channel = RemoteChannel::new(1, owner);
    let kept = spawn_at!(holder, channel);
    kept.wait();
    let pid = fetch_from!(owner, std::process::id());
    signal(pid, Signal::STOP);
    let begun = AtomicUsize::new(0);
    thread::scope(|scope| {
        let asks = channel.clone();
        // The holder, which never spoke to the owner, has to tell it who gets a handle.
        let fetching = scope.spawn(|| {
            begun.store(1, Ordering::SeqCst);
            kept.fetch()
        });
        assert!(timedwait(|| begun.load(Ordering::SeqCst) == 1, 20));
        for _ in 0..200 {
            assert_eq!(fetch_from!(holder, myid()), holder, "answers others meanwhile");
        }
        signal(pid, Signal::CONT);
        fetching.join().expect("the answer comes").put(7);
        assert_eq!(asks.take(), 7);
    });
    drop((kept, channel));
    rmprocs(&new);
}

fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(pid.cast_signed()).expect("a worker has a pid");
    kill_process(pid, signal).expect("the worker lives");
}

fn a_map_outlives_its_workers() {
    let first = addprocs(1);
    let doomed = first[0];
    let pool = WorkerPool::new(&first);
    let begun = RemoteChannel::new(9, 1);
    let function = remote!(|n: i32| {
        begun.put(myid());
        if myid() == doomed {
            sleep(3600);
        }
        n * n
    });
    thread::scope(|scope| {
        let mapping = scope.spawn(|| pmap(&function, 0..3).retries(3).pool(&pool).collect());
        assert_eq!(begun.take(), doomed);
        let later = addprocs(1);
        pool.push(later[0]);
        rmprocs(&first);
        assert_eq!(mapping.join().expect("the map ends"), [0, 1, 4]);
        rmprocs(&later);
    });
}

fn a_dead_worker() {
    let (mine, its) = (RemoteChannel::<i32>::new(1, 1), RemoteChannel::<i32>::new(1, 3));
    let state = WorkerLocal::new_on(&[2, 3], || 0);
    let kept = spawn_at!(3, vec![1_u8; 100_000]);
    kept.wait();
    let begun = RemoteChannel::new(1, 1);
    let call = spawn_at!(3, {
        begun.put(());
        mine.take()
    });
    begun.take();
    thread::scope(|scope| {
        let taking = scope.spawn(|| its.try_take());
        rmprocs(&[3]);
        let lost = taking.join().expect("a wait for the dead ends with an error");
        assert!(lost.unwrap_err().is_process_exited());
    });
    assert!(call.try_fetch().unwrap_err().is_process_exited());
    assert!(kept.try_fetch().unwrap_err().is_process_exited());
    assert!(!its.is_open());
    mine.put(4);
    assert_eq!(mine.take_timeout(20), Ok(4), "the dead takes nothing");
    assert_eq!(fetch_from!(2, state.with(|s| *s)), 0);
}
