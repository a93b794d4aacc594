//! The kernel's loop: takes events one by one, hands each request to its handler, and ends in
//! order.

use std::collections::HashSet;
use std::mem::{self, Discriminant};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, select};
use serde_json::Value;

use super::Error;
use super::analysis::Analyst;
use super::caller::Desk;
use super::evaluator::{Evaluator, Handle};
use super::execute::{Executor, Run, Turns};
use super::handlers::{self, Handler};
use super::history::Historian;
use super::questions::Questions;
use super::request::{Request, guarded};
use super::usage::Usage;
use crate::server::{Channel, Connection, Ports};
use crate::stage::{Failure, Verdict};
use crate::wire::content::{InputReply, Status, parse};
use crate::wire::{Fault, Frames, Incoming, Reader, Signer, Writer};

/// How long the end waits for the running cell to say that it was ended.
const FAREWELL: Duration = Duration::from_millis(300);

/// All that can happen to a kernel.
#[derive(Debug)]
pub(super) enum Event {
    /// A client sent something.
    Arrived(Channel, Frames),
    /// A cell has ended.
    Executed(Box<Run>, Verdict),
    /// SIGINT.
    Interrupted,
    /// SIGTERM, or nobody is left to serve.
    Ended,
}

/// What a kernel is made of.
pub(super) struct Parts {
    /// The channels.
    pub(super) connection: Connection,
    /// What happens besides messages.
    pub(super) events: Receiver<Event>,
    /// Where the kernel's own threads report it.
    pub(super) report: Sender<Event>,
    /// Writes messages.
    pub(super) writer: Writer,
    /// Checks messages.
    pub(super) signer: Signer,
    /// For `connect_request`.
    pub(super) ports: Ports,
    /// Where the history is kept; in memory if absent.
    pub(super) history: Option<PathBuf>,
}

/// The state of the loop.
pub(super) struct Kernel<H> {
    connection: Connection,
    events: Receiver<Event>,
    reader: Reader,
    complaints: HashSet<Discriminant<Fault>>,
    analyst: Analyst,
    ending: bool,
    pub(super) desk: Arc<Desk>,
    pub(super) remote: H,
    pub(super) turns: Turns,
    pub(super) executor: Executor,
    pub(super) historian: Historian,
    pub(super) questions: Arc<Questions>,
    pub(super) usage: Usage,
    pub(super) ports: Ports,
}

impl<H: Handle> Kernel<H> {
    /// Starts the kernel's threads. `session` is called on the one that will run the cells.
    ///
    /// # Errors
    /// Where the system refuses threads, or `session` panics.
    pub(super) fn start<E: Evaluator<Handle = H>>(
        parts: Parts,
        session: impl FnOnce() -> E + Send + 'static,
    ) -> Result<Kernel<H>, Error> {
        let (executor, remote) = Executor::start(session, parts.report)?;
        let outlet = parts.connection.outlet.clone();
        Ok(Kernel {
            connection: parts.connection,
            events: parts.events,
            reader: Reader::new(parts.signer),
            complaints: HashSet::new(),
            analyst: Analyst::start(&remote)?,
            ending: false,
            desk: Arc::new(Desk { writer: parts.writer, outlet }),
            remote,
            turns: Turns::default(),
            executor,
            historian: Historian::start(parts.history)?,
            questions: Arc::default(),
            usage: Usage::default(),
            ports: parts.ports,
        })
    }

    /// Serves until the end. Blocks.
    pub(super) fn run(mut self) {
        self.desk.announce(&Status { execution_state: "starting" });
        while !self.ending
            && let Some(event) = self.next()
        {
            self.handle(event);
        }
        self.close();
    }

    /// The next event; `None` when there can be no more.
    fn next(&self) -> Option<Event> {
        select! {
            recv(self.connection.incoming) -> arrived => {
                arrived.ok().map(|(channel, frames)| Event::Arrived(channel, frames))
            }
            recv(self.events) -> event => event.ok(),
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Arrived(channel, frames) => self.arrive(channel, frames),
            Event::Executed(run, verdict) => self.finish(*run, verdict),
            Event::Interrupted => self.interrupt(),
            Event::Ended => self.end(),
        }
    }

    fn arrive(&mut self, channel: Channel, frames: Frames) {
        match self.reader.read(frames) {
            Ok(message) => self.dispatch(channel, message),
            Err(fault) => self.complain(&fault),
        }
    }

    /// Logs a fault, the first time that one of its kind occurs: senders of rubbish repeat it.
    fn complain(&mut self, fault: &Fault) {
        if self.complaints.insert(mem::discriminant(fault)) {
            tracing::warn!("{fault}; it is ignored, and so will be others like it");
        }
    }

    fn dispatch(&mut self, channel: Channel, message: Incoming) {
        let handler = handlers::find(&message.header.msg_type);
        match handler {
            Some(Handler::Queue) => self.enqueue(channel, message),
            Some(Handler::Input) => self.hear(&message),
            Some(Handler::Analyse) => self.analyst.hand(self.begin(channel, message)),
            Some(Handler::Remember) => self.historian.hand(self.begin(channel, message)),
            Some(Handler::Answer(answer)) => {
                let request = self.begin(channel, message);
                let result = guarded(|| answer(self, &request));
                request.conclude(result);
            }
            None => self.begin(channel, message).conclude_unknown(),
        }
    }

    /// Begins to handle a message: publishes busy.
    pub(super) fn begin(&self, channel: Channel, message: Incoming) -> Request {
        Request::begin(&self.desk, channel, message)
    }

    /// The user's answer to a question.
    fn hear(&self, message: &Incoming) {
        let question = message.answers.get("msg_id").and_then(Value::as_str);
        match parse::<InputReply>(&message.content) {
            Ok(reply) => self.questions.answer(question, reply.value),
            Err(_) => self.questions.answer(question, String::new()),
        }
    }

    /// Interrupts the running cell and whatever it asks.
    pub(super) fn interrupt(&self) {
        self.remote.interrupt();
        self.questions.cancel();
    }

    /// Makes the loop end after the event at hand.
    pub(super) fn end(&mut self) {
        self.ending = true;
    }

    /// Whether the loop will not go on.
    pub(super) fn is_ending(&self) -> bool {
        self.ending
    }

    /// Takes whatever has reached this process, which may be more than the loop has seen.
    pub(super) fn catch_up(&mut self) {
        for (channel, frames) in self.connection.pending() {
            self.arrive(channel, frames);
        }
    }

    /// Ends the session. What runs or waits gets its reply, as long as it does not take long.
    fn close(mut self) {
        self.ending = true;
        self.questions.cancel();
        self.abort_queue();
        self.remote.close();
        let until = Instant::now() + FAREWELL;
        while self.turns.is_running()
            && let Ok(event) = self.events.recv_deadline(until)
        {
            if let Event::Executed(run, verdict) = event {
                self.finish(*run, verdict);
            }
        }
        self.historian.close(FAREWELL);
    }
}

impl Request {
    /// Replies that there is no handler.
    fn conclude_unknown(self) {
        let text = format!("this kernel does not know {:?}", self.kind());
        self.conclude(Err(Failure::new("UnknownRequest", text)));
    }
}
