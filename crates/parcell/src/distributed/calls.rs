//! What this process has asked of others and waits for.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::blob::Incoming;
use super::error::RemoteError;
use super::message::Answer;

/// How a call or question ended.
pub(crate) struct Ended {
    pub(crate) result: Result<Answer, RemoteError>,
    pub(crate) blob: Incoming,
    /// Nanoseconds of the host's clock.
    pub(crate) began: u64,
    pub(crate) took: u64,
}

impl Ended {
    pub(crate) fn failed(error: RemoteError) -> Ended {
        Ended { result: Err(error), blob: Incoming::default(), began: 0, took: 0 }
    }
}

/// Called once with the end of a call, on the thread that reads from that process. Must not block.
pub(crate) type Done = Box<dyn FnOnce(Ended) + Send>;

struct Pending {
    process: u32,
    place: Option<String>,
    since: Instant,
    done: Done,
}

/// A call that has not ended, for those who watch.
#[derive(Debug, Clone)]
pub(crate) struct Open {
    pub(crate) process: u32,
    pub(crate) place: String,
    pub(crate) since: Duration,
}

#[derive(Default)]
struct State {
    pending: HashMap<u64, Pending>,
    /// How many calls each process has to end.
    open: HashMap<u32, usize>,
    /// Those that were called since the last time somebody asked.
    called: BTreeSet<u32>,
}

/// All calls that have not ended.
#[derive(Default)]
pub(crate) struct Calls {
    state: Mutex<State>,
}

impl Calls {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a call under a number that was not used before. `place` is told to those who watch;
    /// questions have none.
    pub(crate) fn begin(&self, number: u64, process: u32, place: Option<String>, done: Done) {
        let mut state = self.lock();
        if place.is_some() {
            *state.open.entry(process).or_default() += 1;
            state.called.insert(process);
        }
        let since = Instant::now();
        state.pending.insert(number, Pending { process, place, since, done });
    }

    /// Ends a call; nothing happens if nobody waits for it.
    pub(crate) fn end(&self, number: u64, ended: Ended) {
        if let Some(pending) = self.forget(number) {
            (pending)(ended);
        }
    }

    /// Takes a call out; whom to tell of its end.
    pub(crate) fn forget(&self, number: u64) -> Option<Done> {
        let mut state = self.lock();
        let pending = state.pending.remove(&number)?;
        if pending.place.is_some() {
            state.close(pending.process);
        }
        Some(pending.done)
    }

    /// Ends all calls that a process was to end.
    pub(crate) fn fail(&self, process: u32, error: &RemoteError) {
        let mut state = self.lock();
        let all = state.pending.extract_if(|_, pending| pending.process == process);
        let failed: Vec<Done> = all.map(|(_, pending)| pending.done).collect();
        state.open.remove(&process);
        drop(state);
        failed.into_iter().for_each(|done| done(Ended::failed(error.clone())));
    }

    /// How many calls a process has to end for this one.
    pub(crate) fn open(&self, process: u32) -> usize {
        self.lock().open.get(&process).copied().unwrap_or(0)
    }

    /// The processes that have calls to end.
    pub(crate) fn busy(&self) -> Vec<u32> {
        self.lock().open.keys().copied().collect()
    }

    /// The processes that were called since this was last asked.
    pub(crate) fn asked_since_settled(&self) -> BTreeSet<u32> {
        std::mem::take(&mut self.lock().called)
    }

    pub(crate) fn count(&self) -> usize {
        self.lock().pending.len()
    }

    /// What is open, longest first.
    pub(crate) fn list(&self) -> Vec<Open> {
        let state = self.lock();
        let open = state.pending.values().filter_map(|pending| {
            let place = pending.place.clone()?;
            Some(Open { process: pending.process, place, since: pending.since.elapsed() })
        });
        let mut open: Vec<Open> = open.collect();
        open.sort_by_key(|open| std::cmp::Reverse(open.since));
        open
    }
}

impl State {
    fn close(&mut self, process: u32) {
        if let Some(open) = self.open.get_mut(&process) {
            *open -= 1;
            if *open == 0 {
                self.open.remove(&process);
            }
        }
    }
}
