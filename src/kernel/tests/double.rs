//! A session's double, whose cells are single words, and a client in memory.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use parcell_link::Bundle;
use serde_json::{Map, Value, json};

use crate::kernel::dispatch::{Event, Kernel, Parts};
use crate::kernel::evaluator::{Evaluator, Handle};
use crate::server::{Channel, Connection, Peer, Ports, Post, Publication};
use crate::stage::{
    Cell, Completeness, Completion, Completions, Failure, Output, Stage, Stream, Verdict,
};
use crate::wire::{Frames, Incoming, Reader, Signer, Writer};

const KEY: &str = "key";
const LIMIT: Duration = Duration::from_secs(10);

/// Cells that wait end with the first message here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gate {
    Open,
    Interrupt,
    Close,
}

/// Runs cells of one word.
pub(super) struct Double {
    handle: DoubleHandle,
    gate: Receiver<Gate>,
    /// The stage of the latest `keep`.
    kept: Option<Arc<dyn Stage>>,
}

/// Its handle; every method of a broken one panics.
#[derive(Debug, Clone)]
pub(super) struct DoubleHandle {
    gate: Sender<Gate>,
    broken: bool,
}

impl Double {
    fn obey(&self, code: &str, stage: &dyn Stage) -> Result<(), Failure> {
        let (word, rest) = code.split_once(' ').unwrap_or((code, ""));
        let rest = rest.to_owned();
        match word {
            "print" => stage.show(Output::Text(Stream::Stdout, rest)),
            "eprint" => stage.show(Output::Text(Stream::Stderr, rest)),
            "value" => stage.show(Output::Result(Bundle::text(rest))),
            "display" => stage.show(Output::Display(Bundle::text("d"), None)),
            "display_as" => stage.show(Output::Display(Bundle::text("d"), Some(rest))),
            "update" => stage.show(Output::Update(Bundle::text("u"), rest)),
            "late" => {
                let kept = self.kept.as_ref().expect("a cell that kept its stage");
                kept.show(Output::Text(Stream::Stdout, rest));
            }
            "clear" => stage.show(Output::Clear { wait: true }),
            "ask" => {
                let answer = stage.ask(&rest, true).unwrap_or_else(|| "nobody".to_owned());
                stage.show(Output::Text(Stream::Stdout, answer));
            }
            "wait" => match self.gate.recv_timeout(LIMIT) {
                Ok(Gate::Open) => {}
                ended => return Err(Failure::new("Interrupt", format!("{ended:?}"))),
            },
            "fail" => return Err(Failure::new("Panic", rest)),
            "panic" => panic!("the session itself panics"),
            _ => {}
        }
        Ok(())
    }
}

impl Evaluator for Double {
    type Handle = DoubleHandle;

    fn handle(&self) -> DoubleHandle {
        self.handle.clone()
    }

    fn run(&mut self, cell: &Cell, stage: Arc<dyn Stage>) -> Verdict {
        assert!(!self.handle.broken, "broken");
        let evaluated = |(name, source): &(String, String)| {
            (name.clone(), json!({"status": "ok", "data": {"text/plain": source}, "metadata": {}}))
        };
        if cell.code == "keep" {
            self.kept = Some(Arc::clone(&stage));
        }
        match self.obey(&cell.code, &*stage) {
            Ok(()) => Verdict::Ok {
                payload: Vec::new(),
                user_expressions: cell
                    .user_expressions
                    .iter()
                    .map(evaluated)
                    .collect::<Map<_, _>>(),
            },
            Err(failure) => Verdict::Error(failure),
        }
    }
}

impl Handle for DoubleHandle {
    fn begin_cell(&self) {}

    fn interrupt(&self) {
        assert!(!self.broken, "broken");
        let _ = self.gate.send(Gate::Interrupt);
    }

    fn announce(&self, _next: Option<Cell>) {}

    fn close(&self) {
        let _ = self.gate.send(Gate::Close);
    }

    fn expect_questions(&self) {}

    fn complete(&self, code: &str, cursor: usize, _asked: Instant) -> Completions {
        assert!(!self.broken, "broken");
        let signature = Some("fn()".to_owned());
        let offer = Completion { text: format!("{code}!"), kind: "function".into(), signature };
        Completions { start: 0, end: cursor, matches: vec![offer] }
    }

    fn describe(&self, code: &str, cursor: usize, detail: u8) -> Option<Bundle> {
        assert!(!self.broken, "broken");
        let known = !["unknown", "slow"].contains(&code);
        known.then(|| Bundle::text(format!("{code} {cursor} {detail}")))
    }

    fn inspect(&self, code: &str, cursor: usize, _asked: Instant) -> Option<Bundle> {
        assert!(!self.broken, "broken");
        (code != "unknown").then(|| Bundle::text(format!("{code} {cursor}")))
    }

    fn is_complete(&self, code: &str) -> Completeness {
        assert!(!self.broken, "broken");
        match code {
            "{" => Completeness::Incomplete { indent: "    ".to_owned() },
            "}" => Completeness::Invalid,
            _ => Completeness::Complete,
        }
    }

    fn processes(&self) -> Vec<u32> {
        assert!(!self.broken, "broken");
        vec![std::process::id()]
    }
}

/// A kernel over a double, seen by one client.
pub(super) struct Client {
    pub(super) peer: Peer,
    pub(super) report: Sender<Event>,
    pub(super) gate: Sender<Gate>,
    /// Writes the client's messages; its session id is the client's.
    pub(super) writer: Writer,
    reader: Reader,
    kernel: JoinHandle<()>,
}

impl Client {
    /// A client of a kernel that works.
    pub(super) fn new() -> Client {
        Client::of(false)
    }

    /// A client of a kernel whose session panics whatever it is asked.
    pub(super) fn of_a_broken_kernel() -> Client {
        Client::of(true)
    }

    fn of(broken: bool) -> Client {
        let signer = Signer::new(KEY);
        let (connection, peer) = Connection::memory();
        let (report, events) = unbounded();
        let (gate, gate_end) = bounded(99);
        let parts = Parts {
            connection,
            events,
            report: report.clone(),
            writer: Writer::new(signer.clone()),
            signer: signer.clone(),
            ports: Ports { shell: 1, ..Ports::default() },
            history: None,
        };
        let handle = DoubleHandle { gate: gate.clone(), broken };
        let kernel =
            Kernel::start(parts, || Double { handle, gate: gate_end, kept: None }).unwrap();
        let kernel = thread::spawn(|| kernel.run());
        let (writer, reader) = (Writer::new(signer.clone()), Reader::new(signer));
        let mut client = Client { peer, report, gate, writer, reader, kernel };
        let starting = client.published();
        assert_eq!(starting.content, json!({"execution_state": "starting"}));
        assert_eq!(starting.answers, json!({}));
        client
    }

    /// The frames of a request, and its id.
    pub(super) fn request(&self, msg_type: &str, content: &Value) -> (String, Frames) {
        let written = self.writer.write(&[b"client".to_vec()], msg_type, &json!({}), content);
        (written.msg_id, written.frames)
    }

    /// Sends a request and gives its id.
    pub(super) fn send(&self, channel: Channel, msg_type: &str, content: &Value) -> String {
        let (id, frames) = self.request(msg_type, content);
        self.peer.outgoing.send((channel, frames)).unwrap();
        id
    }

    /// Sends a cell and gives its id.
    pub(super) fn execute(&self, code: &str) -> String {
        self.send(Channel::Shell, "execute_request", &json!({"code": code}))
    }

    /// Answers a question.
    pub(super) fn answer(&self, question: &Incoming, value: &str) {
        let content = json!({"value": value});
        let address = [b"client".to_vec()];
        let written = self.writer.write(&address, "input_reply", &question.parent, &content);
        self.peer.outgoing.send((Channel::Stdin, written.frames)).unwrap();
    }

    /// The next reply or question.
    pub(super) fn reply(&mut self) -> (Channel, Incoming) {
        match self.peer.replies.recv_timeout(LIMIT).expect("a reply") {
            Post::Reply(channel, frames) => (channel, self.reader.read(frames).unwrap()),
            other => panic!("{other:?}"),
        }
    }

    /// The next publication.
    pub(super) fn published(&mut self) -> Incoming {
        match self.peer.publications.recv_timeout(LIMIT).expect("a publication") {
            Publication::Message(frames) => self.reader.read(frames).unwrap(),
            Publication::Close => panic!("nobody closes this"),
        }
    }

    /// What is published for request `id`, from busy to idle, without these two.
    #[track_caller]
    pub(super) fn outputs(&mut self, id: &str) -> Vec<Incoming> {
        let of = |message: &Incoming| message.answers["msg_id"] == id;
        let state = |message: &Incoming| message.content["execution_state"].clone();
        let mut ours = std::iter::repeat_with(|| self.published()).filter(of).peekable();
        let busy = ours.next().unwrap();
        assert_eq!(state(&busy), "busy", "{busy:?}");
        let mut outputs = Vec::new();
        for message in ours {
            match message.header.msg_type.as_str() {
                "status" if state(&message) == "idle" => break,
                _ => outputs.push(message),
            }
        }
        outputs
    }

    /// Sends a request on shell; its reply's content and what was published for it.
    #[track_caller]
    pub(super) fn exchange(&mut self, msg_type: &str, content: &Value) -> (Value, Vec<Incoming>) {
        let id = self.send(Channel::Shell, msg_type, content);
        let (channel, reply) = self.reply();
        assert_eq!((channel, &reply.answers["msg_id"]), (Channel::Shell, &json!(id)));
        (reply.content, self.outputs(&id))
    }

    /// Runs a cell with further fields of the request.
    #[track_caller]
    pub(super) fn run(&mut self, code: &str, fields: &Value) -> (Value, Vec<Incoming>) {
        let mut content = json!({"code": code});
        let fields = fields.as_object().cloned().unwrap_or_default();
        content.as_object_mut().unwrap().extend(fields);
        self.exchange("execute_request", &content)
    }

    /// Waits until the kernel has ended.
    pub(super) fn wait_for_end(self) -> Peer {
        let (ended, when_ended) = bounded(1);
        thread::spawn(move || ended.send(self.kernel.join().is_ok()));
        assert_eq!(when_ended.recv_timeout(LIMIT), Ok(true));
        self.peer
    }
}
