//! What the test knows of its processes, and what happens to them: it knows who was given up to die
//! before that one dies, so that any other loss is a fault.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use parcell::distributed::{CompositeError, try_rmprocs};
use parcell::prelude::*;
use rand::prelude::*;
use rustix::process::{Pid, Signal, kill_process};

/// So many workers are never given up.
const FEWEST: usize = 2;
const MOST: usize = 5;

/// What is known of a worker.
struct Fate {
    pid: u32,
    /// It was given up, by whatever way.
    doomed: bool,
    stopped: bool,
}

/// What somebody waits for.
pub(crate) struct Doing {
    pub(crate) what: String,
    pub(crate) since: Instant,
}

#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) right: AtomicUsize,
    pub(crate) lost: AtomicUsize,
    pub(crate) added: AtomicUsize,
    pub(crate) killed: AtomicUsize,
    pub(crate) exited: AtomicUsize,
    pub(crate) removed: AtomicUsize,
    pub(crate) stopped: AtomicUsize,
    pub(crate) interrupted: AtomicUsize,
}

impl Counts {
    pub(crate) fn grow(count: &AtomicUsize) {
        count.fetch_add(1, Ordering::SeqCst);
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n = |count: &AtomicUsize| count.load(Ordering::SeqCst);
        write!(f, "{} operations right, {} lost; workers: ", n(&self.right), n(&self.lost))?;
        write!(f, "{} added, {} killed, ", n(&self.added), n(&self.killed))?;
        write!(f, "{} exited, {} removed, ", n(&self.exited), n(&self.removed))?;
        write!(f, "{} stopped, {} interrupted", n(&self.stopped), n(&self.interrupted))
    }
}

/// All that the threads of the test share.
pub(crate) struct World {
    fates: Mutex<BTreeMap<usize, Fate>>,
    doings: Mutex<BTreeMap<String, Doing>>,
    pub(crate) counts: Counts,
    over: AtomicBool,
}

impl World {
    pub(crate) fn new() -> World {
        World {
            fates: Mutex::default(),
            doings: Mutex::default(),
            counts: Counts::default(),
            over: AtomicBool::new(false),
        }
    }

    fn fates(&self) -> MutexGuard<'_, BTreeMap<usize, Fate>> {
        self.fates.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn doings(&self) -> MutexGuard<'_, BTreeMap<String, Doing>> {
        self.doings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what the current thread is about to wait for.
    pub(crate) fn does(&self, what: impl Into<String>) {
        let name = thread::current().name().unwrap_or("?").to_owned();
        self.doings().insert(name, Doing { what: what.into(), since: Instant::now() });
    }

    /// Adds to what the current thread does.
    pub(crate) fn also_does(&self, what: &str) {
        if let Some(doing) = self.doings().get_mut(thread::current().name().unwrap_or("?")) {
            doing.what.push_str(what);
        }
    }

    /// The current thread waits for nothing any more.
    pub(crate) fn rests(&self) {
        self.doings().remove(thread::current().name().unwrap_or("?"));
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    pub(crate) fn end(&self) {
        self.over.store(true, Ordering::SeqCst);
    }

    /// The workers that nobody has given up.
    pub(crate) fn live(&self) -> Vec<usize> {
        self.fates().iter().filter(|(_, fate)| !fate.doomed).map(|(id, _)| *id).collect()
    }

    pub(crate) fn is_doomed(&self, id: usize) -> bool {
        self.fates().get(&id).is_some_and(|fate| fate.doomed)
    }

    /// A worker that nobody has given up yet.
    pub(crate) fn worker(&self, rng: &mut StdRng) -> usize {
        *self.live().choose(rng).expect("some are never given up")
    }

    /// Any process that nobody has given up yet.
    pub(crate) fn process(&self, rng: &mut StdRng) -> usize {
        if rng.random_ratio(1, 6) { 1 } else { self.worker(rng) }
    }

    /// Whether an error is one that had to be expected of an operation on these processes.
    pub(crate) fn excuses(&self, error: &RemoteError, involved: &[usize]) -> bool {
        let interrupted = self.counts.interrupted.load(Ordering::SeqCst) > 0;
        match error {
            RemoteError::ProcessExited { worker, .. } => self.is_doomed(*worker),
            RemoteError::NoSuchProcess { id, .. } => self.is_doomed(*id),
            RemoteError::Interrupted { .. } => interrupted,
            // Whoever held it for the others died before it could tell the owner.
            RemoteError::Freed { .. } => involved.iter().any(|id| self.is_doomed(*id)),
            RemoteError::Refused { what, .. } if what == "no active worker in the pool" => {
                involved.iter().all(|id| self.is_doomed(*id))
            }
            RemoteError::Panicked(panic) => self.excuses_message(&panic.message, interrupted),
            _ => false,
        }
    }

    /// The same of an error that went through a panic of remote code.
    fn excuses_message(&self, message: &str, interrupted: bool) -> bool {
        let id = message.strip_prefix("process ").and_then(|rest| rest.split(' ').next());
        let gone = message.contains(" is gone: ") || message.contains("does not hold this value");
        let gone = gone && id.and_then(|id| id.parse().ok()).is_some_and(|id| self.is_doomed(id));
        gone || interrupted && message.contains("was interrupted")
    }

    pub(crate) fn excuses_all(&self, several: &CompositeError, involved: &[usize]) -> bool {
        several.errors.iter().all(|error| self.excuses(error, involved))
    }
}

/// Starting, ending and disturbing workers.
impl World {
    pub(crate) fn add(&self, count: usize) {
        self.does(format!("addprocs({count})"));
        for id in addprocs(count) {
            let pid = spawn_at!(id, std::process::id()).fetch();
            self.fates().insert(id, Fate { pid, doomed: false, stopped: false });
            Counts::grow(&self.counts.added);
        }
        self.rests();
    }

    /// Gives a worker up, if enough are left: its id and process.
    fn doom(&self, rng: &mut StdRng, also_stopped: bool) -> Option<(usize, u32)> {
        let mut fates = self.fates();
        if fates.values().filter(|fate| !fate.doomed).count() <= FEWEST {
            return None;
        }
        let fits = |fate: &Fate| !fate.doomed && (also_stopped || !fate.stopped);
        let (id, fate) = fates.iter_mut().filter(|(_, fate)| fits(fate)).choose(rng)?;
        fate.doomed = true;
        Some((*id, fate.pid))
    }

    fn kill(&self, rng: &mut StdRng) {
        if let Some((_, pid)) = self.doom(rng, true) {
            signal(pid, Signal::KILL);
            Counts::grow(&self.counts.killed);
        }
    }

    fn exit(&self, rng: &mut StdRng) {
        let Some((id, _)) = self.doom(rng, false) else { return };
        self.does(format!("exit(3) on worker {id}"));
        let call = spawn_at!(id, std::process::exit(3));
        let error: RemoteError = call.try_fetch().map(|(): ()| ()).expect_err("it has ended");
        // The keeper of interrupts may have been first.
        if !error.is_process_exited() {
            signal_if_there(&self.fates(), id);
        }
        Counts::grow(&self.counts.exited);
        self.rests();
    }

    fn remove(&self, rng: &mut StdRng) {
        let Some((id, _)) = self.doom(rng, true) else { return };
        self.does(format!("rmprocs(&[{id}])"));
        if rng.random() {
            rmprocs(&[id]);
        } else {
            // Those that have not ended in time will.
            let _ = try_rmprocs(&[id], 0.001);
        }
        Counts::grow(&self.counts.removed);
        self.rests();
    }

    /// Adds and ends workers until the test is over.
    pub(crate) fn change_workers(&self, mut rng: StdRng) {
        while !self.is_over() {
            self.pause(rng.random_range(20..600));
            match rng.random_range(0..7) {
                0 | 1 => self.kill(&mut rng),
                2 => self.exit(&mut rng),
                3 => self.remove(&mut rng),
                _ if self.live().len() < MOST => self.add(rng.random_range(1..=2)),
                _ => {}
            }
        }
    }

    /// Stops and interrupts workers until the test is over.
    pub(crate) fn disturb_workers(&self, mut rng: StdRng) {
        while !self.is_over() {
            self.pause(rng.random_range(50..800));
            if rng.random() {
                let id = self.worker(&mut rng);
                Counts::grow(&self.counts.interrupted);
                interrupt(&[id]);
            } else {
                self.stop_for_a_moment(&mut rng);
            }
        }
    }

    fn stop_for_a_moment(&self, rng: &mut StdRng) {
        let mut fates = self.fates();
        let Some((id, fate)) = fates.iter_mut().filter(|(_, fate)| !fate.doomed).choose(rng) else {
            return;
        };
        let id = *id;
        fate.stopped = true;
        signal(fate.pid, Signal::STOP);
        drop(fates);
        Counts::grow(&self.counts.stopped);
        self.pause(rng.random_range(1..1000));
        let mut fates = self.fates();
        let fate = fates.get_mut(&id).expect("fates are kept");
        // One that was given up meanwhile may be reaped, and its number may be another's.
        if !fate.doomed {
            signal(fate.pid, Signal::CONT);
            fate.stopped = false;
        }
    }

    fn pause(&self, milliseconds: u64) {
        thread::sleep(Duration::from_millis(milliseconds));
    }
}

fn signal_if_there(fates: &BTreeMap<usize, Fate>, id: usize) {
    if procs().contains(&id) {
        signal(fates[&id].pid, Signal::KILL);
    }
}

fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process's number");
    // One that ends by itself meanwhile needs none.
    let _ = kill_process(pid, signal);
}
