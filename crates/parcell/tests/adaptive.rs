//! Workers that come and go with the work, on this machine.

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use common::Check;
use parcell::distributed::{LaunchError, Workers, default_worker_pool, init, try_addprocs};
use parcell::interrupt::{self, Interrupted};
use parcell::prelude::*;
use parcell::threads::timedwait;
use rustix::process::{Pid, Signal, kill_process};

/// Longer than anything here takes.
const LIMIT: i32 = 60;

fn main() {
    init();
    assert_eq!(addprocs(Workers::between(1, 3).idle(1)), [2]);
    let checks: &[Check] = &[
        ("a map that runs takes new workers in", a_map_takes_new_workers_in),
        ("a call to a pool that waits brings workers", a_pool_brings_workers),
        ("calls that were sent too many bring workers", many_calls_bring_workers),
        ("whoever holds something stays", whoever_holds_something_stays),
        ("the least number is kept up", the_least_number_is_kept_up),
        ("bounds change", bounds_change),
        ("what cannot be is refused", what_cannot_be_is_refused),
        ("some may come later", some_may_come_later),
    ];
    common::run(checks, Vec::new);
    assert_eq!(workers(), [1]);
    interrupt::raise();
    let begun = catch_unwind(AssertUnwindSafe(|| addprocs(Workers::between(2, 3).idle(1))));
    assert!(begun.unwrap_err().is::<Interrupted>());
    interrupt::clear();
    // As long as the work is looked at twice.
    sleep(2.5);
    assert_eq!(workers(), [1], "what the user has stopped does not begin again");
    assert_eq!(addprocs(Workers::between(2, 2)).len(), 2, "a new group after the first has ended");
    rmprocs(&workers());
}

fn there_are(count: usize) {
    let there = || count == if workers() == [1] { 0 } else { nworkers() };
    assert!(timedwait(there, LIMIT), "{count} are wanted, there are {:?}", workers());
}

fn a_map_takes_new_workers_in() {
    there_are(1);
    let (begun, gate) = (RemoteChannel::new(9, 1), RemoteChannel::<()>::new(9, 1));
    let held = remote!(|n: usize| {
        begun.put(n);
        gate.take();
        (n, myid())
    });
    thread::scope(|scope| {
        let mapping = scope.spawn(|| pmap(&held, 0..6).collect());
        for _ in 0..3 {
            begun.take_timeout(LIMIT).expect("three workers have an item each, of which none ends");
        }
        assert_eq!(nworkers(), 3);
        (0..6).for_each(|_| gate.put(()));
        let done = mapping.join().expect("the map ends");
        assert!(done.iter().map(|(n, _)| *n).eq(0..6), "{done:?}");
        let mut by: Vec<usize> = done.iter().map(|(_, id)| *id).collect();
        by.sort_unstable();
        by.dedup();
        assert_eq!(by.len(), 3, "{done:?}");
    });
    there_are(1);
    assert_eq!(workers(), [2], "the first to come stay");
}

fn a_pool_brings_workers() {
    let gate = RemoteChannel::<()>::new(9, 1);
    let pool = default_worker_pool();
    thread::scope(|scope| {
        let calls: Vec<_> =
            (0..2).map(|_| scope.spawn(|| fetch_from!(&pool, gate.take()))).collect();
        there_are(2);
        (0..2).for_each(|_| gate.put(()));
        calls.into_iter().for_each(|call| call.join().expect("it found a worker"));
    });
    there_are(1);
}

fn many_calls_bring_workers() {
    let gate = RemoteChannel::<()>::new(9, 1);
    let calls: Vec<_> = (0..4).map(|_| spawn_at!(any, gate.take())).collect();
    there_are(3);
    (0..4).for_each(|_| gate.put(()));
    calls.iter().for_each(|call| call.fetch());
    drop(calls);
    there_are(1);
}

fn whoever_holds_something_stays() {
    let gate = RemoteChannel::<()>::new(9, 1);
    let calls: Vec<_> = (0..4).map(|_| spawn_at!(any, gate.take())).collect();
    there_are(3);
    let (last, middle) = (workers()[2], workers()[1]);
    let value = spawn_at!(last, vec![1.5; 1000]);
    let channel = RemoteChannel::<i32>::new(1, middle);
    (0..4).for_each(|_| gate.put(()));
    drop(calls);
    value.wait();
    // They are asked again and again meanwhile.
    sleep(5);
    assert_eq!(workers(), [2, middle, last]);
    assert_eq!(value.fetch().len(), 1000);
    drop(value);
    there_are(2);
    channel.put(5);
    assert_eq!(channel.take(), 5);
    drop(channel);
    there_are(1);
    let array = DArray::<f64, _>::zeros(4);
    assert_eq!(array.sum(), 0.0);
}

fn the_least_number_is_kept_up() {
    addprocs(Workers::between(2, 3).idle(1));
    there_are(2);
    let doomed = workers()[1];
    let pid = fetch_from!(doomed, std::process::id());
    let pid = Pid::from_raw(i32::try_from(pid).expect("a process")).expect("not 0");
    kill_process(pid, Signal::KILL).expect("it lives");
    assert!(timedwait(|| !workers().contains(&doomed), LIMIT));
    there_are(2);
}

fn bounds_change() {
    assert!(addprocs(Workers::between(1, 2).idle(1)).is_empty(), "there are more already");
    there_are(1);
    assert_eq!(addprocs(Workers::between(3, 4).idle(1)).len(), 2);
    there_are(3);
    addprocs(Workers::between(1, 3).idle(1));
    there_are(1);
}

fn what_cannot_be_is_refused() {
    let refused = |wanted: Workers, words: &str| {
        let error: LaunchError = try_addprocs(wanted).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    };
    refused(Workers::between(3, 2), "3..2 is no span of workers: at least 1, at most 4096");
    refused(Workers::between(0, 2), "0..2 is no span");
    refused(Workers::between(1, 2).manager("elastic"), "come by themselves");
    refused(Workers::between(1, 2).manager("mpi"), "%workers 8 --manager mpi");
    let few = Workers::between(1, 4).manager("ssh").option("hosts", "a*2,b");
    refused(few, "4 workers may come, and --hosts has places for 3");
    let other = Workers::between(1, 2).manager("slurm");
    refused(other, "there are adaptive workers already, 1..3 of the manager local");
    assert_eq!(nworkers(), 1, "nothing has changed");
    assert!(catch_unwind(AssertUnwindSafe(|| addprocs(Workers::between(0, 0)))).is_err());
}

fn some_may_come_later() {
    let first = addprocs(Workers::new(3).at_least(1));
    assert!(!first.is_empty());
    there_are(4);
    let others: Vec<usize> = workers().into_iter().filter(|id| *id != 2).collect();
    assert_eq!(fetch_from!(others[0], fetch_from!(others[2], myid())), others[2]);
    rmprocs(&others);
    there_are(1);
}
