//! Cells: the queue that they wait in, the thread that runs them, and what their replies say.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use parcell_link::Where;
use serde_json::{Value, json};

use super::Error;
use super::dispatch::{Event, Kernel};
use super::evaluator::{Evaluator, Handle};
use super::request::{Request, describe, guarded};
use super::show::IopubStage;
use crate::server::Channel;
use crate::stage::{Cell, Failure, Verdict};
use crate::wire::Incoming;
use crate::wire::content::{ErrorOutput, ExecuteInput, ExecuteRequest, parse};

/// Whose turn it is, and the number of the last cell.
#[derive(Debug, Default)]
pub(super) struct Turns {
    waiting: VecDeque<(Channel, Incoming)>,
    running: bool,
    count: u32,
}

impl Turns {
    /// Whether a cell runs.
    pub(super) fn is_running(&self) -> bool {
        self.running
    }

    /// The number of the next cell; only cells that are `counted` move it.
    fn number(&mut self, counted: bool) -> u32 {
        let number = self.count + 1;
        self.count += u32::from(counted);
        number
    }
}

/// A cell on its way through the executor.
#[derive(Debug)]
pub(super) struct Run {
    request: Request,
    cell: Cell,
    stage: Arc<IopubStage>,
    stored: bool,
    stop_on_error: bool,
}

/// The thread that runs cells.
#[derive(Debug)]
pub(super) struct Executor {
    runs: Sender<Run>,
}

impl Executor {
    /// Starts the thread, and on it the session.
    pub(super) fn start<E: Evaluator>(
        session: impl FnOnce() -> E + Send + 'static,
        report: Sender<Event>,
    ) -> Result<(Executor, E::Handle), Error> {
        let (runs, queue) = unbounded();
        let (handle, started) = bounded(1);
        let execute = move || {
            let session = session();
            let _ = handle.send(session.handle());
            execute(session, &queue, &report);
        };
        thread::Builder::new().name("executor".to_owned()).spawn(execute)?;
        let handle = started.recv().map_err(|_| Error::Session)?;
        Ok((Executor { runs }, handle))
    }
}

/// Runs what comes until nothing more can come.
fn execute(mut session: impl Evaluator, queue: &Receiver<Run>, report: &Sender<Event>) {
    for run in queue {
        let verdict = guarded(|| Ok(session.run(&run.cell, run.stage.clone())));
        let verdict = verdict.unwrap_or_else(Verdict::Error);
        let _ = report.send(Event::Executed(Box::new(run), verdict));
    }
}

impl<H: Handle> Kernel<H> {
    /// Queues a cell, and starts it if none runs.
    pub(super) fn enqueue(&mut self, channel: Channel, message: Incoming) {
        self.turns.waiting.push_back((channel, message));
        if self.turns.running && self.turns.waiting.len() == 1 {
            self.announce_next();
        }
        self.run_next();
    }

    /// Tells the session which cell waits, so that it can be compiled already.
    fn announce_next(&self) {
        let content = self.turns.waiting.front().map(|(_, message)| parse(&message.content));
        let content = content.and_then(Result::ok);
        self.remote.announce(content.map(|content| cell(content, self.turns.count + 1)));
    }

    fn run_next(&mut self) {
        while !self.turns.running
            && !self.is_ending()
            && let Some((channel, message)) = self.turns.waiting.pop_front()
        {
            let request = self.begin(channel, message);
            match request.content() {
                Ok(content) => self.hand_over(request, content),
                Err(failure) => request.conclude(Err(failure)),
            }
        }
    }

    fn hand_over(&mut self, request: Request, content: ExecuteRequest) {
        let stored = content.store_history && !content.silent;
        let count = self.turns.number(stored);
        self.remote.begin_cell();
        if !content.silent {
            let code = content.code.clone();
            request.publish(&ExecuteInput { code, execution_count: count });
        }
        if stored {
            self.historian.record_input(count, &content.code);
        }
        let questions = content.allow_stdin.then(|| self.questions.clone());
        let stage = IopubStage::new(request.caller().clone(), count, content.silent, questions);
        let stop_on_error = content.stop_on_error;
        let cell = cell(content, count);
        let run = Run { request, cell, stage: Arc::new(stage), stored, stop_on_error };
        // Were the executor gone, the dropped request would say so itself.
        self.turns.running = self.executor.runs.send(run).is_ok();
        self.announce_next();
    }

    /// Replies to a cell that has ended, and starts the next.
    pub(super) fn finish(&mut self, run: Run, verdict: Verdict) {
        let aborts = run.stop_on_error && matches!(verdict, Verdict::Error(_));
        if aborts {
            // Whatever was sent before the client can know of the failure belongs to the queue.
            self.catch_up();
        }
        if let Some(output) = run.stage.result().filter(|_| run.stored) {
            self.historian.record_output(run.cell.count, &output);
        }
        run.conclude(verdict);
        self.turns.running = false;
        if aborts {
            self.abort_queue();
        }
        self.run_next();
    }

    /// Replies to all that wait that they will not run.
    pub(super) fn abort_queue(&mut self) {
        for (channel, message) in std::mem::take(&mut self.turns.waiting) {
            self.begin(channel, message).reply(json!({"status": "aborted"}));
        }
    }
}

impl Run {
    fn conclude(mut self, verdict: Verdict) {
        let mut content = match verdict {
            Verdict::Ok { payload, user_expressions } => {
                json!({"payload": payload, "user_expressions": user_expressions})
            }
            Verdict::Error(failure) => self.publish_failure(failure),
        };
        content["execution_count"] = json!(self.cell.count);
        self.request.reply(content);
    }

    /// Shows the failure, and gives what the reply says of it: the same.
    fn publish_failure(&self, failure: Failure) -> Value {
        let content = describe(&failure);
        if !self.cell.silent {
            let Failure { name: ename, value: evalue, traceback } = failure;
            self.request.publish(&ErrorOutput { ename, evalue, traceback });
        }
        content
    }
}

fn cell(content: ExecuteRequest, count: u32) -> Cell {
    let expression = |(name, source): (String, Value)| {
        let source = source.as_str().map_or_else(|| source.to_string(), str::to_owned);
        (name, source)
    };
    let user_expressions = content.user_expressions.into_iter().map(expression).collect();
    Cell {
        code: content.code,
        count,
        silent: content.silent,
        user_expressions,
        on: Where::Driver,
        // Who can be asked is there; programs that run notebooks say that nobody can.
        watched: content.allow_stdin,
    }
}
