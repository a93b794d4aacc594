//! Everything at once, for a while: calls, futures, channels, loops and local values from several
//! threads, while workers are added, removed, killed, stopped, interrupted and end by themselves. What
//! must come out is known, and at the end nothing may be left.
//!
//! `cargo test` runs it for 5 seconds. The long form:
//!
//! ```console
//! $ PARCELL_SOAK_SECONDS=300 cargo test --release -p parcell --test soak
//! ```
//!
//! `PARCELL_SOAK_SEED=n` repeats the choices of a run, as far as its timing allows. With
//! `PARCELL_SOAK_HOLD=1` a run that hangs stays as it is, for a debugger.

#[path = "soak/leftovers.rs"]
mod leftovers;
#[path = "soak/operations.rs"]
mod operations;
#[path = "soak/world.rs"]
mod world;

use std::any::Any;
use std::cell::RefCell;
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, Builder};
use std::time::Duration;

use operations::{Driver, OPERATIONS};
use parcell::distributed::{CompositeError, init};
use parcell::prelude::*;
use parcell::threads::timedwait;
use rand::prelude::*;
use world::{Counts, Doing, World};

/// As many threads of the driver make calls.
const DRIVERS: u64 = 4;
/// A wait that is longer than this will never end.
const PATIENCE: Duration = Duration::from_secs(40);

thread_local! {
    /// Where this thread panicked last.
    static PANICKED: RefCell<String> = const { RefCell::new(String::new()) };
}

fn main() {
    init();
    let seconds: u64 = number_from("PARCELL_SOAK_SECONDS").unwrap_or(5);
    let seed: u64 = number_from("PARCELL_SOAK_SEED").unwrap_or_else(rand::random);
    println!("soak: {seconds} s, PARCELL_SOAK_SEED={seed}");
    // Failures of calls are caught by the hundred; those that matter are told with their place.
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        PANICKED.with(|panicked| *panicked.borrow_mut() = place);
    }));
    let world = Arc::new(World::new());
    watch(&world);
    let files_before = warm_up(&world);
    run(&world, seconds, seed);
    end(&world, files_before);
    println!("soak: {}", world.counts);
}

fn number_from(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

/// Starts the first workers; how many files are open once there have been some.
fn warm_up(world: &World) -> usize {
    let first = addprocs(1);
    fetch_from!(1, fetch_from!(2, 1));
    rmprocs(&first);
    let files = leftovers::open_files().len();
    world.add(3);
    files
}

/// Does random things for so many seconds.
fn run(world: &Arc<World>, seconds: u64, seed: u64) {
    let mut threads = Vec::new();
    let mut start = |name: String, work: Box<dyn FnOnce() + Send>| {
        let guarded = || {
            if let Err(payload) = catch_unwind(AssertUnwindSafe(work)) {
                fail(&format!("panicked: {}", message(&*payload)));
            }
        };
        threads.push(Builder::new().name(name).spawn(guarded).expect("a thread"));
    };
    for number in 0..DRIVERS {
        let world = Arc::clone(world);
        let rng = StdRng::seed_from_u64(seed.wrapping_add(number));
        start(format!("driver {number}"), Box::new(move || drive(world, rng)));
    }
    let rng = |n| StdRng::seed_from_u64(seed.wrapping_add(n));
    let (changed, disturbed) = (Arc::clone(world), Arc::clone(world));
    let (by, other) = (rng(DRIVERS), rng(DRIVERS + 1));
    start("changes".to_owned(), Box::new(move || changed.change_workers(by)));
    start("disturbances".to_owned(), Box::new(move || disturbed.disturb_workers(other)));
    for second in 1..=seconds {
        thread::sleep(Duration::from_secs(1));
        eprintln!("{second} s: {} live; {}", world.live().len(), world.counts);
    }
    world.end();
    threads.into_iter().for_each(|thread| thread.join().expect("its panics are caught"));
}

/// One operation after another, each of which is right, or fails as it may.
fn drive(world: Arc<World>, rng: StdRng) {
    let mut driver = Driver::new(Arc::clone(&world), rng);
    while !world.is_over() {
        let (name, operation) = *OPERATIONS.choose(&mut driver.rng).expect("there are some");
        driver.involved.clear();
        driver.world.does(name);
        let outcome = catch_unwind(AssertUnwindSafe(|| operation(&mut driver)));
        let fault = match outcome {
            Ok(Ok(())) => {
                Counts::grow(&world.counts.right);
                continue;
            }
            Ok(Err(error)) => (!world.excuses(&error, &driver.involved)).then(|| error.to_string()),
            Err(payload) => fault_of(&world, &*payload, &driver.involved),
        };
        match fault {
            None => Counts::grow(&world.counts.lost),
            Some(fault) => fail(&format!("{name}, with {:?}: {fault}", driver.involved)),
        }
    }
    world.rests();
}

/// What a panic says, unless it had to be expected.
fn fault_of(world: &World, payload: &(dyn Any + Send), involved: &[usize]) -> Option<String> {
    let excused = match (payload.downcast_ref(), payload.downcast_ref()) {
        (Some(error), _) => world.excuses(error, involved),
        (_, Some(several)) => world.excuses_all(several, involved),
        _ => false,
    };
    (!excused).then(|| message(payload))
}

fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().cloned();
    let text = text.or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    let text = text.or_else(|| payload.downcast_ref::<RemoteError>().map(ToString::to_string));
    let text =
        text.or_else(|| payload.downcast_ref::<CompositeError>().map(|all| format!("{all:?}")));
    let place = PANICKED.with(|panicked| panicked.borrow().clone());
    format!("{} at {place}", text.unwrap_or_else(|| "a panic".to_owned()))
}

fn fail(what: &str) -> ! {
    let name = thread::current().name().unwrap_or("?").to_owned();
    eprintln!("soak: FAULT in {name}: {what}");
    hold();
    std::process::exit(1)
}

fn hold() {
    if std::env::var_os("PARCELL_SOAK_HOLD").is_some() {
        eprintln!("soak: process {} is held for a debugger", std::process::id());
        thread::sleep(Duration::from_secs(3600));
    }
}

/// Notices who waits for ever.
fn watch(world: &Arc<World>) {
    let world = Arc::clone(world);
    let watch = move || {
        loop {
            thread::sleep(Duration::from_millis(500));
            let doings = world.doings();
            if doings.values().all(|doing| doing.since.elapsed() < PATIENCE) {
                continue;
            }
            eprintln!("soak: FAULT: somebody waits for ever");
            for (name, doing) in &*doings {
                let Doing { what, since } = doing;
                eprintln!("  {name}: {what}, for {:.1} s", since.elapsed().as_secs_f64());
            }
            eprintln!("  live: {:?}; known: {:?}; {}", world.live(), procs(), world.counts);
            hold();
            std::process::abort();
        }
    };
    Builder::new().name("watch".to_owned()).spawn(watch).expect("a thread");
}

/// Whoever was not given up lives and computes; nothing is left, neither now nor without workers.
fn end(world: &World, files_before: usize) {
    world.does("the end: all live and compute");
    expect("not as many workers", || (workers() != world.live()).then(workers));
    let answers = everywhere!(myid());
    assert_eq!(answers, procs());
    world.does("the end: nothing is held");
    expect("held", || Some(leftovers::busy()).filter(|busy| !busy.is_empty()));
    // One to each side, and the one to listen at.
    let most = 2 * procs().len();
    let sockets = everywhere!(leftovers::sockets());
    assert!(sockets.iter().all(|n| *n <= most), "{sockets:?} sockets, at most {most} are needed");
    world.does("the end: no workers");
    rmprocs(&workers());
    let some = |left: Vec<String>| Some(left).filter(|left| !left.is_empty());
    expect("children", || some(leftovers::children()));
    expect("threads", || some(leftovers::threads_for_others()));
    let more = |files: &Vec<String>| files.len() > files_before;
    expect("open files", || Some(leftovers::open_files()).filter(more));
    for folder in [Path::new("/dev/shm"), &std::env::temp_dir()] {
        expect("files", || some(leftovers::files(folder)));
    }
    world.rests();
}

/// Waits until nothing is left of something.
fn expect<T: Debug>(what: &str, left: impl Fn() -> Option<T>) {
    if !timedwait(|| left().is_none(), 20) {
        fail(&format!("{what}, at the end: {:?}", left()));
    }
}
