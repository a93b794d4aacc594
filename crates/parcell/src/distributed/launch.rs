//! Starting and ending workers. Only the driver does.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::thread::Builder;
use std::time::{Duration, Instant};

use parcell_link::{Pin, Worker, WorkerOptions};
use serde::{Deserialize, Serialize};

use super::blob::Blob;
use super::message::Message;
use super::node::{Node, node};
use super::{address, keeper};
use crate::interrupt::Seconds;
use crate::threads::Monitor;

/// Says to a program that it was started as a worker, and finds how on its standard input.
pub(crate) const AS_WORKER: &str = "PARCELL_WORKER";
/// Sets how many seconds a worker has to come up.
const TIMEOUT: &str = "PARCELL_WORKER_TIMEOUT";
/// A worker that was told to end and does not is killed after this time.
const GRACE: Duration = Duration::from_secs(5);
const STACK: usize = 256 << 10;

/// What a worker must know at its start.
#[derive(Serialize, Deserialize)]
pub(crate) struct Start {
    pub(crate) id: u32,
    pub(crate) key: [u8; 32],
    /// Where the driver listens.
    pub(crate) driver: String,
    pub(crate) parent: u32,
    pub(crate) threads: usize,
    pub(crate) pin: Pin,
}

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

/// As many workers are taken for a slip of the finger.
pub(crate) const MOST: usize = 4096;

fn reasons(failed: &[(usize, String)]) -> String {
    let one = |(id, why): &(usize, String)| format!("worker {id}: {why}");
    failed.iter().take(4).map(one).collect::<Vec<_>>().join("; ")
}

fn list(ids: &[usize]) -> String {
    if ids.is_empty() {
        return "none".to_owned();
    }
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// A worker that was started, until it has ended.
struct Started {
    pid: Option<u32>,
    removed: bool,
}

#[derive(Default)]
struct State {
    next: u32,
    alive: BTreeMap<u32, Started>,
    failed: BTreeMap<u32, String>,
    /// Grows whenever something happened.
    events: u64,
}

static STATE: LazyLock<Monitor<State>> = LazyLock::new(Monitor::default);
/// Adding and removing take turns.
static TURN: Mutex<()> = Mutex::new(());

/// Starts workers; their ids. Blocks until all are up or have failed.
pub(crate) fn add(count: usize, options: &WorkerOptions) -> Result<Vec<usize>, LaunchError> {
    let node = node();
    only_driver(node)?;
    if !(1..=MOST).contains(&count) {
        return Err(LaunchError::Count(count));
    }
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let driver = address::own().map_err(LaunchError::Unable)?;
    let program = program()?;
    let ids: Vec<u32> = STATE.change(|state| {
        let first = state.next.max(2);
        state.next = first + u32::try_from(count).expect("at most MOST");
        (first..state.next).collect()
    });
    for id in &ids {
        node.peers.expect(*id);
        start(*id, node, &driver, program.clone(), options);
    }
    wait_for(&ids);
    introduce(node, &ids);
    report(node);
    let (started, failed) = outcome(&ids);
    if failed.is_empty() {
        return Ok(started);
    }
    failed.iter().for_each(|(id, _)| forget(node, *id as u32));
    Err(LaunchError::NotStarted { wanted: count, started, failed })
}

fn only_driver(node: &Node) -> Result<(), LaunchError> {
    if node.id == 1 { Ok(()) } else { Err(LaunchError::NotTheDriver(node.id as usize)) }
}

fn program() -> Result<PathBuf, LaunchError> {
    let unable = |e| LaunchError::Unable(format!("this program's own file is not known: {e}"));
    std::env::current_exe().map_err(unable)
}

/// Starts one worker on a thread that lives as long as the worker: the system ends a worker when
/// the thread that started it is gone.
fn start(id: u32, node: &Node, driver: &str, program: PathBuf, options: &WorkerOptions) {
    let threads = options.threads.unwrap_or(1);
    let start = Start {
        id,
        key: *node.key.as_bytes(),
        driver: driver.to_owned(),
        parent: std::process::id(),
        threads,
        pin: options.pin,
    };
    let options = options.clone();
    STATE.change(|state| state.alive.insert(id, Started { pid: None, removed: false }));
    let run = move || match spawn(&start, &program, &options) {
        Ok(mut child) => {
            STATE.change(|state| {
                if let Some(started) = state.alive.get_mut(&id) {
                    started.pid = Some(child.id());
                }
            });
            let status = child.wait();
            ended(id, &status.map_or_else(|e| e.to_string(), how_it_ended));
        }
        Err(why) => ended(id, &why),
    };
    let name = format!("parcell-starts-{id}");
    if let Err(e) = Builder::new().name(name).stack_size(STACK).spawn(run) {
        ended(id, &format!("no thread to start it: {e}; see `ulimit -u`"));
    }
}

fn spawn(start: &Start, program: &PathBuf, options: &WorkerOptions) -> Result<Child, String> {
    let mut command = Command::new(program);
    command
        .env(AS_WORKER, start.id.to_string())
        .env("RUST_BACKTRACE", "0")
        .envs(options.environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::piped());
    if let Some(directory) = &options.directory {
        command.current_dir(directory);
    }
    let place = options.directory.as_deref().map(|d| format!(" in {d}")).unwrap_or_default();
    let failed = |e| format!("{} does not start{place}: {e}", program.display());
    let mut child = command.spawn().map_err(failed)?;
    let text = postcard::to_stdvec(start).expect("plain data");
    let mut input = child.stdin.take().expect("piped");
    // If it is gone already, its status says why.
    let _ = input.write_all(&text);
    Ok(child)
}

fn how_it_ended(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("it ended with exit status {code}"),
        (None, Some(libc::SIGKILL)) => {
            "it was killed (SIGKILL), perhaps for lack of memory".to_owned()
        }
        (None, Some(libc::SIGSEGV)) => {
            "a segmentation fault (SIGSEGV): it touched memory that is not its own".to_owned()
        }
        (None, Some(libc::SIGABRT)) => "it called abort (SIGABRT)".to_owned(),
        (None, Some(signal)) => format!("it died of signal {signal}"),
        (None, None) => format!("it ended ({status})"),
    }
}

/// A worker's process has ended.
fn ended(id: u32, how: &str) {
    let removed = STATE.change(|state| {
        let removed = state.alive.remove(&id).is_some_and(|started| started.removed);
        state.failed.insert(id, how.to_owned());
        state.events += 1;
        removed
    });
    let node = node();
    let why = if removed { REMOVED } else { how };
    node.peers.bury(node, id, why);
    let gone = || Message::Peers { came: Vec::new(), gone: vec![(id, why.to_owned())] };
    node.peers.tell_all(gone);
    report(node);
}

/// A worker's connection closed. Its process ends, and that tells more.
pub(crate) fn connection_closed(id: u32) {
    let bury = move || {
        let node = node();
        node.peers.bury(node, id, "its connection closed");
    };
    keeper::at(Instant::now() + Duration::from_millis(200), Box::new(bury));
}

/// A worker has said who it is.
pub(crate) fn arrived() {
    STATE.change(|state| state.events += 1);
}

/// Blocks until each of these has come up or ended.
fn wait_for(ids: &[u32]) {
    let seconds = std::env::var(TIMEOUT).ok().and_then(|s| s.parse().ok()).unwrap_or(60.0_f64);
    let deadline = Seconds::from(seconds).deadline();
    let node = node();
    let up = STATE.wait(deadline, |state| {
        let settled = |id: &u32| state.failed.contains_key(id) || node.peers.is_connected(*id);
        ids.iter().all(settled).then_some(())
    });
    if up.is_none() {
        for id in ids.iter().filter(|id| !node.peers.is_connected(**id)) {
            kill(*id);
            let why = format!("no word from it within {seconds} s ({TIMEOUT} sets the limit)");
            STATE.change(|state| _ = state.failed.entry(*id).or_insert(why));
        }
    }
}

fn outcome(ids: &[u32]) -> (Vec<usize>, Vec<(usize, String)>) {
    STATE.look(|state| {
        let mut started = Vec::new();
        let mut failed = Vec::new();
        for id in ids {
            match state.failed.get(id) {
                Some(why) => failed.push((*id as usize, why.clone())),
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
    let came: Vec<(u32, String)> = all.iter().filter(|(id, _)| new.contains(id)).cloned().collect();
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
    for id in &ids {
        STATE.change(|state| state.alive.get_mut(id).map(|started| started.removed = true));
        node.tell(*id, Message::Exit, Blob::default());
        let id = *id;
        keeper::at(Instant::now() + GRACE, Box::new(move || kill(id)));
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

/// Ends a worker's process at once.
pub(crate) fn kill(id: u32) {
    let pid = STATE.look(|state| state.alive.get(&id).and_then(|started| started.pid));
    if let Some(pid) =
        pid.and_then(|pid| i32::try_from(pid).ok()).and_then(rustix::process::Pid::from_raw)
    {
        // One that has ended meanwhile is as dead as wanted: it is not reaped before it leaves `alive`.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}
