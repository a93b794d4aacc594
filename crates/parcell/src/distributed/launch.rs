//! Starting and ending workers. Only the driver does.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use parcell_link::{Worker, WorkerOptions};

use super::address::Address;
use super::blob::Blob;
use super::message::{Admission, Message, Wish};
use super::node::{Node, node};
use super::{adaptive, crew, keeper, managers};
use crate::interrupt::Seconds;
use crate::threads::Monitor;

/// Says to a program that it was started as a worker, and finds how on its standard input.
pub(crate) const AS_WORKER: &str = "PARCELL_WORKER";
/// Sets how many seconds a worker has to come up.
pub(crate) const TIMEOUT: &str = "PARCELL_WORKER_TIMEOUT";
/// A worker that was told to end and does not is killed after this time.
const GRACE: Duration = Duration::from_secs(5);

/// Why workers could not be started or ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LaunchError {
    /// Only the driver starts and ends workers.
    #[error("only process 1 can add and remove workers; this is process {0}")]
    NotTheDriver(usize),
    /// No worker was asked for, or far too many.
    #[error("{0} workers cannot be started at once; 1 to {MOST} can")]
    Count(usize),
    /// Some did not come up. Those that did are there.
    #[error("{} of {wanted} workers did not start: {}", .failed.len(), reasons(.failed))]
    NotStarted {
        /// How many were to be started.
        wanted: usize,
        /// The ids of those that did come up.
        started: Vec<usize>,
        /// The others, with the reason.
        failed: Vec<(usize, String)>,
    },
    /// These are no workers.
    #[error("there {} no worker {}; workers are: {}", if .unknown.len() == 1 { "is" } else { "are" }, list(.unknown), list(.there))]
    Unknown {
        /// The ids that are not there.
        unknown: Vec<usize>,
        /// Those that are.
        there: Vec<usize>,
    },
    /// Process 1 cannot be removed.
    #[error("process 1 is the driver, which runs the cells; only workers can be removed")]
    Driver,
    /// Some have not ended in time. They will be killed.
    #[error("not ended within {limit:?}: {}", list(.survivors))]
    Survivors {
        /// Their ids.
        survivors: Vec<usize>,
        /// The time they had.
        limit: Duration,
    },
    /// Nothing can be started here.
    #[error("{0}")]
    Unable(String),
}

/// Why a worker is gone that was told to end.
pub(crate) const REMOVED: &str = "it was removed";
/// Why a worker is gone that had nothing to do.
pub(crate) const LET_GO: &str = "it had nothing to do and was let go";

/// As many workers are taken for a slip of the finger.
pub(crate) const MOST: usize = 4096;

/// Why workers failed, those with one reason together.
fn reasons(failed: &[(usize, String)]) -> String {
    let mut reasons: Vec<(&str, Vec<usize>)> = Vec::new();
    for (id, why) in failed {
        match reasons.iter_mut().find(|(other, _)| other == why) {
            Some((_, ids)) => ids.push(*id),
            None => reasons.push((why, vec![*id])),
        }
    }
    let one = |(why, ids): &(&str, Vec<usize>)| {
        let noun = if ids.len() == 1 { "worker" } else { "workers" };
        format!("{noun} {}: {why}", super::commands::ranges(ids))
    };
    reasons.iter().take(4).map(one).collect::<Vec<_>>().join("; ")
}

fn list(ids: &[usize]) -> String {
    if ids.is_empty() {
        return "none".to_owned();
    }
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// A worker that was started, until it has ended.
#[derive(Default)]
struct Started {
    /// Its process, if this process has started it.
    pid: Option<u32>,
    /// What has started it elsewhere, and which of its workers it is.
    client: Option<(Arc<managers::Running>, u32)>,
    /// Why it was told to end.
    removed: Option<&'static str>,
}

/// Workers that were started together.
pub(crate) struct Launched {
    pub(crate) number: u64,
    pub(crate) ids: Vec<u32>,
    /// How many seconds they have to come up.
    pub(crate) limit: Option<f64>,
    /// So many are enough to go on with; all of them if absent.
    pub(crate) at_least: Option<usize>,
}

impl Launched {
    /// Nobody waits for its workers: each joins when it comes.
    pub(crate) fn without_waiting(self) -> Launched {
        Launched { at_least: Some(0), ..self }
    }
}

/// The workers of one client of a launch, which may still have to come.
struct Part {
    first: u32,
    workers: u32,
    /// Those that have come.
    came: BTreeSet<u32>,
}

#[derive(Default)]
struct State {
    next: u32,
    alive: BTreeMap<u32, Started>,
    launches: BTreeMap<u64, Vec<Part>>,
    /// Those for whom nobody waits any more and who join when they come, each with its launch.
    late: BTreeMap<u32, u64>,
    /// The build of those who may come at any time, once they may.
    elastic: Option<String>,
    failed: BTreeMap<u32, String>,
    /// Grows whenever something happened.
    events: u64,
}

static STATE: LazyLock<Monitor<State>> = LazyLock::new(Monitor::default);
/// Adding and removing take turns.
static TURN: Mutex<()> = Mutex::new(());

/// Starts workers; their ids. Blocks until all are up or have failed. Without a number, the manager's
/// options say how many.
pub(crate) fn add(
    count: Option<usize>,
    options: &WorkerOptions,
) -> Result<Vec<usize>, LaunchError> {
    let node = node();
    only_driver(node)?;
    let options = &managers::chosen(options)?;
    // Bounds are looked at together.
    let one = count.filter(|_| options.adaptive.is_none());
    if let Some(count) = one.filter(|count| !(1..=MOST).contains(count)) {
        return Err(LaunchError::Count(count));
    }
    match options.adaptive {
        Some(span) => adaptive::begin(span, options),
        None => settle(start(count, options)?),
    }
}

/// Starts workers without waiting for them. Who does so waits with [`settle`].
pub(crate) fn start(
    count: Option<usize>,
    options: &WorkerOptions,
) -> Result<Launched, LaunchError> {
    let manager = managers::named(&options.manager)?;
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let launched = match manager {
        Some(manager) => managers::start(manager, count, options)?,
        None => managers::local::start(count.unwrap_or(1), options)?,
    };
    Ok(Launched { at_least: options.at_least.or(launched.at_least), ..launched })
}

/// Blocks until enough workers of a launch are up, or all have come up or failed. The others join
/// when they come. The ids of those that are up.
pub(crate) fn settle(launched: Launched) -> Result<Vec<usize>, LaunchError> {
    let node = node();
    let unwinding = GivenUp(&launched.ids);
    let enough = wait_for(&launched);
    std::mem::forget(unwinding);
    if enough {
        leave_to_come(&launched);
    } else {
        STATE.change(|state| state.launches.remove(&launched.number));
    }
    let ids = launched.ids;
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    introduce(node, &ids);
    report(node);
    let (started, failed) = outcome(&ids);
    if failed.is_empty() {
        return Ok(started);
    }
    failed.iter().for_each(|(id, _)| forget(node, *id as u32));
    Err(LaunchError::NotStarted { wanted: ids.len(), started, failed })
}

/// Has the workers of a launch that are not there yet join when they come.
fn leave_to_come(launched: &Launched) {
    // Under the lock: `arrived` introduces those that are noted here, and the caller all others.
    let late: Vec<u32> = STATE.change(|state| {
        let State { late, alive, .. } = state;
        let awaited = |id: &&u32| alive.contains_key(id) && !node().peers.is_connected(**id);
        let ids: Vec<u32> = launched.ids.iter().filter(awaited).copied().collect();
        late.extend(ids.iter().map(|id| (*id, launched.number)));
        state.close_if_over(launched.number);
        ids
    });
    let Some(seconds) = launched.limit.filter(|_| !late.is_empty()) else { return };
    let Some(deadline) = Seconds::from(seconds).deadline() else { return };
    keeper::at(deadline, Box::new(move || late.iter().for_each(|id| too_late(*id, seconds))));
}

/// One that joins when it comes has not come in time.
fn too_late(id: u32, seconds: f64) {
    if STATE.look(|state| state.late.contains_key(&id)) {
        not_in_time(id, seconds);
        kill(id);
    }
}

/// Notes that nothing was heard of a worker.
fn not_in_time(id: u32, seconds: f64) {
    let why = format!("no word from it within {seconds} s ({TIMEOUT} or `--wait` sets the limit)");
    STATE.change(|state| _ = state.failed.entry(id).or_insert(why));
}

/// Ends workers of a launch that was interrupted.
struct GivenUp<'a>(&'a [u32]);

impl Drop for GivenUp<'_> {
    fn drop(&mut self) {
        self.0.iter().for_each(|id| give_up(*id));
    }
}

/// Takes ids for workers that this process starts itself.
pub(crate) fn open_here(count: usize) -> Vec<u32> {
    let ids = STATE.change(|state| {
        let ids = state.take_ids(count);
        state.alive.extend(ids.iter().map(|id| (*id, Started::default())));
        ids
    });
    ids.iter().for_each(|id| node().peers.expect(*id));
    ids
}

/// A worker that this process has started runs as this process of the system.
pub(crate) fn has_process(id: u32, pid: u32) {
    STATE.change(|state| state.alive.get_mut(&id).map(|started| started.pid = Some(pid)));
}

/// Takes ids for workers to come: so many for each client, which `running` has.
pub(crate) fn open(
    parts: &[u32],
    running: &[Arc<managers::Running>],
    limit: Option<f64>,
) -> Result<Launched, LaunchError> {
    let count: usize = parts.iter().map(|n| *n as usize).sum();
    if !(1..=MOST).contains(&count) {
        return Err(LaunchError::Count(count));
    }
    let launched = STATE.change(|state| {
        let ids = state.take_ids(count);
        let number = u64::from(ids[0]);
        let mut first = ids[0];
        let mut open = Vec::new();
        for (workers, running) in parts.iter().zip(running) {
            open.push(Part { first, workers: *workers, came: BTreeSet::new() });
            for rank in 0..*workers {
                let client = Some((Arc::clone(running), rank));
                state.alive.insert(first + rank, Started { client, ..Started::default() });
            }
            first += workers;
        }
        state.launches.insert(number, open);
        Launched { number, ids, limit, at_least: None }
    });
    launched.ids.iter().for_each(|id| node().peers.expect(*id));
    Ok(launched)
}

impl State {
    /// Forgets a launch that nobody waits for if its workers have all come, or will not.
    fn close_if_over(&mut self, launch: u64) {
        if !self.late.values().any(|of| *of == launch) {
            self.launches.remove(&launch);
        }
    }

    fn take_ids(&mut self, count: usize) -> Vec<u32> {
        let first = self.next.max(2);
        self.next = first + u32::try_from(count).expect("at most MOST");
        (first..self.next).collect()
    }
}

/// The launch of those who come at any time.
pub(crate) const ELASTIC: u64 = 0;

/// Lets workers come at any time.
pub(crate) fn open_door(build: String) -> Launched {
    STATE.change(|state| state.elastic = Some(build));
    Launched { number: ELASTIC, ids: Vec::new(), limit: Some(0.0), at_least: None }
}

/// Tells a worker that something else has started who it is.
pub(crate) fn admit(wish: &Wish) -> Result<Admission, String> {
    STATE.change(|state| {
        if let Some(build) = state.elastic.clone().filter(|_| wish.launch == ELASTIC) {
            if wish.build.as_ref() != Some(&build) {
                return Err(format!(
                    "the parcell of {} is another build than the driver's; copy that folder there",
                    wish.host
                ));
            }
            let id = state.take_ids(1)[0];
            state.alive.insert(id, Started::default());
            return Ok(Admission { id });
        }
        let State { launches, alive, .. } = state;
        let part = launches.get_mut(&wish.launch).and_then(|l| l.get_mut(wish.client as usize));
        let part = part.ok_or("its launch is over: it came too late")?;
        let free = || (0..part.workers).find(|rank| !part.came.contains(rank));
        let rank = wish.rank.or_else(free).filter(|rank| *rank < part.workers);
        let rank = rank.ok_or("its launch has all its workers already")?;
        let id = part.first + rank;
        if !alive.contains_key(&id) {
            return Err(format!("worker {id} was given up before it came"));
        }
        if !part.came.insert(rank) {
            return Err(format!("worker {id} is there already"));
        }
        Ok(Admission { id })
    })
}

/// A worker may not join.
pub(crate) fn refused(wish: &Wish, why: &str) {
    let id = STATE.look(|state| {
        let part = state.launches.get(&wish.launch)?.get(wish.client as usize)?;
        let rank = wish.rank.filter(|rank| *rank < part.workers)?;
        Some(part.first + rank)
    });
    id.into_iter().for_each(|id| ended(id, why));
}

fn only_driver(node: &Node) -> Result<(), LaunchError> {
    if node.id == 1 { Ok(()) } else { Err(LaunchError::NotTheDriver(node.id as usize)) }
}

pub(crate) fn program() -> Result<PathBuf, LaunchError> {
    let unable = |e| LaunchError::Unable(format!("this program's own file is not known: {e}"));
    std::env::current_exe().map_err(unable)
}

/// A worker's process has ended.
pub(crate) fn ended(id: u32, how: &str) {
    let removed = STATE.look(|state| state.alive.get(&id).map(|started| started.removed));
    // It may be told twice: by what started it, and by its connection.
    let Some(removed) = removed else { return };
    let client = STATE.look(|state| state.alive.get(&id).and_then(|s| s.client.clone()));
    if let Some((running, _)) = client.filter(|(running, _)| is_last(id, running)) {
        // Most end by themselves then.
        keeper::at(Instant::now() + GRACE, Box::new(move || running.end()));
    }
    let node = node();
    let why = removed.unwrap_or(how);
    // Before those who wait for its end are told: then it takes nothing out of a channel any more.
    node.peers.bury(node, id, why);
    STATE.change(|state| {
        state.alive.remove(&id);
        state.failed.entry(id).or_insert_with(|| how.to_owned());
        state.events += 1;
    });
    if let Some(why) = take_late(id) {
        if removed.is_none() {
            eprintln!("worker {id} did not start: {why}");
            adaptive::failed();
        }
        forget(node, id);
    }
    let gone = || Message::Peers { came: Vec::new(), gone: vec![(id, why.to_owned())] };
    node.peers.tell_all(gone);
    report(node);
}

/// A worker's connection closed. Its process ends, and what started it soon tells more.
pub(crate) fn connection_closed(id: u32, why: String) {
    let started_here = STATE.look(|state| state.alive.get(&id).is_some_and(|s| s.pid.is_some()));
    let bury = move || {
        if started_here {
            node().peers.bury(node(), id, &why);
        } else {
            kill(id);
            ended(id, &why);
        }
    };
    keeper::at(Instant::now() + Duration::from_millis(200), Box::new(bury));
}

/// Takes out one that was to join when it comes; why it has not, if it has not.
fn take_late(id: u32) -> Option<String> {
    STATE.change(|state| {
        let launch = state.late.remove(&id)?;
        state.close_if_over(launch);
        Some(state.failed.get(&id).cloned().unwrap_or_default())
    })
}

/// A worker has said who it is. One that nobody waits for is introduced here.
pub(crate) fn arrived(id: u32, uninvited: bool) {
    STATE.change(|state| state.events += 1);
    if take_late(id).is_some() || uninvited {
        introduce(node(), &[id]);
        report(node());
        let host = node().peers.with(id, |peer| peer.hello.as_ref().map(|h| h.host.clone()));
        println!("worker {id} on {} has joined", host.flatten().unwrap_or_default());
    }
}

/// Blocks until each worker of a launch has come up or ended, or until the time is over: false. True
/// as soon as enough have come up, though others may still come.
fn wait_for(launched: &Launched) -> bool {
    let Launched { ids, limit, at_least, .. } = launched;
    let node = node();
    let enough = |there: usize| at_least.is_some_and(|least| there >= least && there < ids.len());
    if enough(0) {
        return true;
    }
    let deadline = limit.and_then(|seconds| Seconds::from(seconds).deadline());
    let over = |state: &mut State| {
        let there = ids.iter().filter(|id| node.peers.is_connected(**id)).count();
        let settled = |id: &u32| state.failed.contains_key(id) || node.peers.is_connected(*id);
        match ids.iter().all(settled) {
            true => Some(false),
            false => enough(there).then_some(true),
        }
    };
    if let Some(enough) = STATE.wait(deadline, over) {
        return enough;
    }
    for id in ids.iter().filter(|id| !node.peers.is_connected(**id)) {
        not_in_time(*id, limit.unwrap_or_default());
        kill(*id);
        STATE.change(|state| state.alive.remove(id));
    }
    false
}

fn outcome(ids: &[u32]) -> (Vec<usize>, Vec<(usize, String)>) {
    STATE.look(|state| {
        let mut started = Vec::new();
        let mut failed = Vec::new();
        for id in ids {
            match state.failed.get(id) {
                Some(why) => failed.push((*id as usize, why.clone())),
                None if state.late.contains_key(id) => {}
                None => started.push(*id as usize),
            }
        }
        (started, failed)
    })
}

/// One that never came up leaves no trace.
fn forget(node: &Node, id: u32) {
    node.peers.remove(id);
}

/// Tells all workers of the new ones, and these of all.
fn introduce(node: &Node, new: &[u32]) {
    let all = node.peers.addresses();
    let came: Vec<(u32, Address)> =
        all.iter().filter(|(id, _)| new.contains(id)).cloned().collect();
    for (id, _) in &all {
        let came = if new.contains(id) { all.clone() } else { came.clone() };
        node.tell(*id, Message::Peers { came, gone: Vec::new() }, Blob::default());
    }
}

/// Tells the kernel who there is.
fn report(node: &Node) {
    let live = node.peers.workers();
    let workers = STATE.look(|state| {
        let pid = |id: &u32| state.alive.get(id).and_then(|started| started.pid);
        live.iter().map(|id| Worker { id: *id, pid: pid(id) }).collect()
    });
    crate::link::tell(&parcell_link::Event::Workers { workers });
}

/// Ends workers; blocks until they have ended, or until the time is over.
pub(crate) fn remove(ids: &[usize], limit: Option<Duration>) -> Result<(), LaunchError> {
    let node = node();
    only_driver(node)?;
    let there: Vec<usize> = node.peers.workers().into_iter().map(|id| id as usize).collect();
    if ids.contains(&1) {
        return Err(LaunchError::Driver);
    }
    let unknown: Vec<usize> = ids.iter().copied().filter(|id| !there.contains(id)).collect();
    if !unknown.is_empty() {
        return Err(LaunchError::Unknown { unknown, there });
    }
    let ids: Vec<u32> = ids.iter().filter_map(|id| u32::try_from(*id).ok()).collect();
    adaptive::removed(&ids);
    for id in &ids {
        dismiss(*id, REMOVED);
    }
    let deadline = limit.map(|limit| Instant::now() + limit);
    let gone = |state: &mut State| ids.iter().all(|id| !state.alive.contains_key(id)).then_some(());
    if STATE.wait(deadline, gone).is_some() {
        return Ok(());
    }
    let survivors = STATE.look(|state| {
        ids.iter().filter(|id| state.alive.contains_key(id)).map(|id| *id as usize).collect()
    });
    Err(LaunchError::Survivors { survivors, limit: limit.unwrap_or_default() })
}

/// Gives up all workers that were to join when they come, and cancels their jobs; their ids.
pub(crate) fn call_off() -> Vec<usize> {
    let late: Vec<u32> = STATE.look(|state| state.late.keys().copied().collect());
    late.iter().for_each(|id| give_up(*id));
    late.into_iter().map(|id| id as usize).collect()
}

/// Ends a worker that may not be there yet, and whatever starts it.
fn give_up(id: u32) {
    let client = STATE.change(|state| {
        let started = state.alive.get_mut(&id)?;
        started.removed = Some(REMOVED);
        started.client.clone()
    });
    node().tell(id, Message::Exit, Blob::default());
    match client {
        Some((running, _)) => {
            running.end();
            ended(id, REMOVED);
        }
        None => kill(id),
    }
}

/// Tells a worker to end, and ends it if it does not.
pub(crate) fn dismiss(id: u32, why: &'static str) {
    STATE.change(|state| state.alive.get_mut(&id).map(|started| started.removed = Some(why)));
    node().tell(id, Message::Exit, Blob::default());
    keeper::at(Instant::now() + GRACE, Box::new(move || kill(id)));
}

/// Ends a worker's process at once. One that cannot be told is given up, and its connection closed.
pub(crate) fn kill(id: u32) {
    let process = STATE.look(|state| {
        let started = state.alive.get(&id)?;
        Some((started.pid, started.client.clone()))
    });
    let Some((pid, client)) = process else { return };
    if let Some(pid) = pid {
        crew::kill(pid);
        return;
    }
    let killed = client.as_ref().is_some_and(|(running, rank)| running.kill(*rank));
    if !killed {
        client.filter(|(running, _)| is_last(id, running)).inspect(|(running, _)| running.end());
        ended(id, "it was given up");
    }
}

/// Whether none but this one of the workers that something has started is left.
fn is_last(id: u32, running: &Arc<managers::Running>) -> bool {
    let of_it = |started: &Started| {
        started.client.as_ref().is_some_and(|(other, _)| Arc::ptr_eq(other, running))
    };
    STATE.look(|state| !state.alive.iter().any(|(other, s)| *other != id && of_it(s)))
}

/// Whether a worker is there, or may still come up.
pub(crate) fn is_alive(id: u32) -> bool {
    STATE.look(|state| state.alive.contains_key(&id))
}

/// Whether a worker may still come up.
pub(crate) fn is_awaited(id: u32) -> bool {
    !node().peers.is_connected(id) && STATE.look(|state| state.alive.contains_key(&id))
}
