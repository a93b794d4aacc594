//! A distributed loop that runs: portions go to the workers, and whoever has ended one gets the
//! next. Nobody waits meanwhile: the end of a call sends what comes next. Not generic but for the
//! portions' source, so that it is compiled once and not in every cell.

use std::panic::Location;
use std::sync::Arc;

use super::blob::{BlobWriter, EncodeError, Incoming};
use super::call;
use super::calls::Ended;
use super::error::RemoteError;
use super::message::Answer;
use super::node::node;
use super::remote::Shared;
use super::waiting::unexpected;
use crate::threads::Monitor;

/// Portions that a worker has at a time: one that it runs, and one that it begins without waiting.
const DEPTH: usize = 2;

/// Writes a portion. Called once, maybe on a thread that reads from a worker.
type Write = Box<dyn FnOnce(&mut BlobWriter) -> Result<(), EncodeError> + Send>;

/// A portion: its number, from 0 in the order of the items, and what writes it.
pub(crate) struct Hand {
    pub(crate) number: usize,
    pub(crate) write: Write,
}

/// Gives the next portion for a worker, of which its position is told.
pub(crate) type Source = Box<dyn FnMut(usize) -> Option<Hand> + Send>;

struct State {
    source: Source,
    /// By number; errors of portions that were never given a value are apart.
    values: Vec<Option<Incoming>>,
    errors: Vec<(usize, RemoteError)>,
    /// Calls that have not ended, and one while the first are sent.
    open: usize,
    stopped: bool,
    /// Somebody may still ask how it ended.
    watched: bool,
}

/// A loop that runs.
pub(crate) struct Deal {
    function: Arc<Shared>,
    workers: Vec<u32>,
    keep_values: bool,
    place: &'static Location<'static>,
    state: Monitor<State>,
}

impl Deal {
    /// Sends the first portions.
    pub(crate) fn start(
        function: Arc<Shared>,
        workers: Vec<u32>,
        source: Source,
        keep_values: bool,
        place: &'static Location<'static>,
    ) -> Arc<Deal> {
        let state = State {
            source,
            values: Vec::new(),
            errors: Vec::new(),
            open: 1,
            stopped: false,
            watched: true,
        };
        let state = Monitor::new(state);
        let deal = Arc::new(Deal { function, workers, keep_values, place, state });
        for _ in 0..DEPTH {
            (0..deal.workers.len()).for_each(|seat| deal.go_on(seat, None));
        }
        deal.close(|state| state.open -= 1);
        deal
    }

    /// Notes how a portion ended, and sends the worker its next one, if there is one.
    fn go_on(self: &Arc<Self>, seat: usize, ended: Option<(usize, Ended)>) {
        let to = self.workers[seat];
        let hand = self.close(|state| {
            if let Some((number, ended)) = ended {
                state.open -= 1;
                match result_of(to, ended) {
                    Ok(value) => self.keep(state, number, value),
                    Err(error) => state.fail(number, error),
                }
            }
            let hand = if state.stopped { None } else { (state.source)(seat) };
            state.open += usize::from(hand.is_some());
            hand
        });
        let Some(Hand { number, write }) = hand else { return };
        let deal = Arc::clone(self);
        let done = move |ended: Ended| deal.go_on(seat, Some((number, ended)));
        match self.function.outgoing_with(to, write) {
            Ok(outgoing) => _ = call::fetch_later(to, outgoing, self.place, Box::new(done)),
            Err(error) => self.close(|state| {
                state.open -= 1;
                state.fail(number, error);
            }),
        }
    }

    fn keep(&self, state: &mut State, number: usize, value: Incoming) {
        if self.keep_values {
            if state.values.len() <= number {
                state.values.resize_with(number + 1, || None);
            }
            state.values[number] = Some(value);
        }
    }

    /// Changes the state; says of failures that nobody will ask for.
    fn close<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let (result, untold) = self.state.change(|state| {
            let result = change(state);
            let untold = !state.watched && state.open == 0;
            (result, if untold { state.take_errors() } else { Vec::new() })
        });
        for error in untold {
            eprintln!("the distributed loop of {} failed: {error}", call::words(self.place));
        }
        result
    }

    /// Blocks until no portion runs any more.
    pub(crate) fn wait(&self) {
        self.state.wait(None, |state| (state.open == 0).then_some(()));
        super::output::drained();
    }

    pub(crate) fn is_done(&self) -> bool {
        self.state.look(|state| state.open == 0)
    }

    /// The failures so far, in the order of their portions.
    pub(crate) fn errors(&self) -> Vec<RemoteError> {
        self.state.look(State::errors)
    }

    /// The values of all portions, in order.
    pub(crate) fn take_values(&self) -> Vec<Incoming> {
        let values = self.state.change(|state| std::mem::take(&mut state.values));
        values.into_iter().flatten().collect()
    }

    /// No further portion is sent.
    pub(crate) fn stop(&self) {
        self.state.change(|state| state.stopped = true);
    }

    /// Nobody will ask how it ended, who has not asked yet.
    pub(crate) fn let_go(&self, asked: bool) {
        self.close(|state| {
            state.watched = false;
            if asked {
                state.errors.clear();
            }
        });
    }

    pub(crate) fn workers(&self) -> usize {
        self.workers.len()
    }
}

impl State {
    /// After a failure nothing more is begun.
    fn fail(&mut self, number: usize, error: RemoteError) {
        self.stopped = true;
        self.errors.push((number, error));
    }

    fn errors(&self) -> Vec<RemoteError> {
        let mut errors: Vec<&(usize, RemoteError)> = self.errors.iter().collect();
        errors.sort_by_key(|(number, _)| *number);
        let mut errors: Vec<RemoteError> = errors.into_iter().map(|(_, e)| e.clone()).collect();
        // A worker that dies, or is interrupted, fails all its portions alike.
        errors.dedup();
        errors
    }

    fn take_errors(&mut self) -> Vec<RemoteError> {
        let errors = self.errors();
        self.errors.clear();
        errors
    }
}

fn result_of(worker: u32, ended: Ended) -> Result<Incoming, RemoteError> {
    match ended.result? {
        Answer::Value => Ok(ended.blob),
        _ => Err(unexpected(worker, "a portion of a loop")),
    }
}

/// The processes that a loop runs on: all workers that live, or this process.
pub(crate) fn workers() -> Vec<u32> {
    let workers = node().peers.workers();
    if workers.is_empty() { vec![super::node::me()] } else { workers }
}

/// With how many threads a process computes, as far as is known here.
pub(crate) fn threads_of(process: u32) -> usize {
    let node = node();
    if process == node.id {
        return crate::threads::nthreads();
    }
    let hello = node.peers.with(process, |peer| peer.hello.as_ref().map(|hello| hello.threads));
    hello.flatten().map_or(1, |threads| threads.max(1) as usize)
}
