//! How code comes to a process that lacks it: from above in the [tree](super::tree), to whoever asks
//! here, and once however many ask.
//!
//! The threads that read from others only note who asks. A module that is asked for has a thread until
//! it is here and was passed on; it is not one of the pool, so others get code from a process whose
//! pool computes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::Builder;
use std::time::Instant;

use super::blob::Blob;
use super::calls::Ended;
use super::error::RemoteError;
use super::message::{Answer, Ask, Message};
use super::modules::{self, ModuleKey, ModuleSource};
use super::node::{Node, me, node};
use super::watch::SILENCE;
use super::{carried, tree, usage};
use crate::loaded::{self, Loaded};
use crate::threads::Monitor;

const STACK: usize = 256 << 10;

/// Told once whether the module is here.
type Waiter = Box<dyn FnOnce(&Result<(), RemoteError>) + Send>;

/// The modules that are on their way here, and who waits for each.
static COMING: Mutex<BTreeMap<ModuleKey, Vec<Waiter>>> = Mutex::new(BTreeMap::new());

fn coming() -> MutexGuard<'static, BTreeMap<ModuleKey, Vec<Waiter>>> {
    COMING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Processes above that could not be reached or did not answer: code comes from the driver instead.
static AVOIDED: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

fn avoided() -> MutexGuard<'static, BTreeSet<u32>> {
    AVOIDED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What [`code_sent`] tells.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct CodeSent {
    /// How often a module was sent.
    pub modules: u64,
    /// Bytes of modules and libraries, compressed.
    pub bytes: u64,
}

static MODULES: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);

/// How much code this process has sent to processes of other hosts since it began. Those of the
/// driver's host read the files themselves and do not count.
///
/// Returns at once. Workers send code as well: one of each host fetches a module for all of it, and
/// hosts fetch from each other in a tree, so that process 1 sends a module to 4 hosts at most.
///
/// ```
/// use parcell::distributed::{CodeSent, code_sent};
///
/// assert_eq!(code_sent(), CodeSent { modules: 0, bytes: 0 });
/// ```
#[must_use]
pub fn code_sent() -> CodeSent {
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    CodeSent { modules: read(&MODULES), bytes: read(&BYTES) }
}

/// A module that this process lacks. Blocks until it is here.
pub(crate) fn fetch(key: ModuleKey) -> Result<Arc<Loaded>, RemoteError> {
    let place = Arc::new(Monitor::new(None));
    let filler = Arc::clone(&place);
    bring(key, Box::new(move |here| filler.change(|place| *place = Some(here.clone()))));
    place.wait(None, Option::take).expect("without a deadline a wait ends with an answer")?;
    loaded::by_hash(&key).ok_or_else(unknown)
}

/// Answers a process of another host that lacks a module, where some libraries are. Does not block.
pub(crate) fn give(from: u32, number: u64, key: ModuleKey, held: Vec<String>) {
    let answer = move |here: &Result<(), RemoteError>| {
        let source = here.clone().and_then(|()| modules::source(&key, Some(&held)));
        if let Ok(Some(ModuleSource { files: Some(files), .. })) = &source {
            MODULES.fetch_add(1, Ordering::Relaxed);
            BYTES.fetch_add(files.bytes(), Ordering::Relaxed);
        }
        node().reply(from, number, source.map(Answer::Module), Blob::default());
    };
    bring(key, Box::new(answer));
}

/// Has `then` called once a module is here or cannot be had, on a thread that it may block.
fn bring(key: ModuleKey, then: Waiter) {
    let mut coming = coming();
    let waiters = coming.entry(key).or_default();
    waiters.push(then);
    if waiters.len() > 1 {
        return;
    }
    drop(coming);
    let settle = move |result: &Result<(), RemoteError>| {
        let waiters = self::coming().remove(&key).unwrap_or_default();
        waiters.into_iter().for_each(|then| then(result));
    };
    let thread = Builder::new().name("parcell-modules".to_owned()).stack_size(STACK);
    if let Err(error) = thread.spawn(move || settle(&have(key))) {
        settle(&Err(failed(format!("no thread to fetch the code of a call: {error}"))));
    }
}

/// Sees to it that a module is here, and all that it needs.
fn have(key: ModuleKey) -> Result<(), RemoteError> {
    if loaded::by_hash(&key).is_some() {
        return Ok(());
    }
    if me() == 1 {
        return Err(unknown());
    }
    let source = ask_above(key)?;
    for needed in &source.needs {
        let (told, here) = channel();
        // Nobody listens any more only if this thread is gone.
        bring(*needed, Box::new(move |result| told.send(result.clone()).unwrap_or_default()));
        here.recv().map_err(|e| failed(e.to_string()))??;
    }
    let keep = source.files.is_some() && tree::is_asked(me(), &all_elsewhere(node()));
    modules::take_up(key, source, keep).map_err(failed)
}

/// All processes of other hosts than the driver's, this one among them.
fn all_elsewhere(node: &Node) -> Vec<(u32, String)> {
    let mut all = node.peers.elsewhere();
    all.retain(|(id, _)| *id != node.id);
    all.push((node.id, usage::place()));
    all
}

/// Asks whoever is above for a module, and the driver if that fails.
fn ask_above(key: ModuleKey) -> Result<ModuleSource, RemoteError> {
    let node = node();
    let elsewhere = node.peers.is_elsewhere(1).then(carried::held);
    let above = match elsewhere {
        Some(_) => tree::parent(node.id, &usage::place(), &node.peers.elsewhere()),
        None => 1,
    };
    let ask = Ask::Module { key, elsewhere };
    if above != 1 && !avoided().contains(&above) {
        match ask_while_alive(above, ask.clone()).map(|ended| ended.result) {
            Some(Ok(Answer::Module(Some(source)))) => return Ok(source),
            // It is there, and could not get it either.
            Some(Ok(_)) => {}
            Some(Err(error)) if !error.is_process_exited() => {}
            Some(Err(_)) | None => _ = avoided().insert(above),
        }
    }
    let ended = asked(1, ask).recv().map_err(|e| failed(e.to_string()))?;
    match ended.result? {
        Answer::Module(Some(source)) => Ok(source),
        _ => Err(unknown()),
    }
}

/// Asks a process, and waits as long as it shows that it lives.
fn ask_while_alive(process: u32, ask: Ask) -> Option<Ended> {
    let answer = match node().peers.open_connection(process) {
        Some(_) => asked(process, ask),
        // Where a network lets nobody through, connecting takes longer than anybody should wait.
        None => {
            let (told, answer) = channel();
            let connect = move || {
                if let Ok(ended) = asked(process, ask).recv() {
                    told.send(ended).unwrap_or_default();
                }
            };
            let thread = Builder::new().name("parcell-modules".to_owned()).stack_size(STACK);
            thread.spawn(connect).ok()?;
            answer
        }
    };
    let mut pinged = None;
    loop {
        match answer.recv_timeout(SILENCE) {
            Ok(ended) => return Some(ended),
            Err(RecvTimeoutError::Disconnected) => return None,
            Err(RecvTimeoutError::Timeout) if !is_heard(process, pinged) => return None,
            Err(RecvTimeoutError::Timeout) => {
                pinged = Some(Instant::now());
                let number = node().number();
                node().tell(process, Message::Ping { number }, Blob::default());
            }
        }
    }
}

/// Whether a process is connected and, if it was asked for a sign of life, has given one since.
fn is_heard(process: u32, pinged: Option<Instant>) -> bool {
    let heard = node().peers.with(process, |peer| peer.heard).flatten();
    let answered = pinged.is_none_or(|pinged| heard.is_some_and(|heard| heard >= pinged));
    node().peers.is_connected(process) && answered
}

/// Asks a process; where the answer will come. Blocks while a connection is opened.
fn asked(process: u32, ask: Ask) -> Receiver<Ended> {
    let (told, answer) = channel();
    // One that nobody waits for any more comes too late.
    let done = Box::new(move |ended| told.send(ended).unwrap_or_default());
    node().ask(process, ask, Blob::default(), done);
    answer
}

fn failed(what: String) -> RemoteError {
    RemoteError::NotPortable { worker: me() as usize, what }
}

fn unknown() -> RemoteError {
    failed("the driver has not the code of this call any more".to_owned())
}
