//! This process as one of several: whom it knows, what it says to them, and what it does when it
//! is spoken to.
//!
//! A message comes in at [`Node::receive`], on the thread that reads from its sender. Whatever may
//! take long, or runs a user's code, goes on to [`jobs`](super::jobs); the rest is done there.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use super::blob::{Blob, Incoming, KeepAlive, RefId};
use super::calls::{Calls, Done, Ended};
use super::error::RemoteError;
use super::handles::{Handles, Lent};
use super::jobs::Jobs;
use super::message::{Answer, Ask, Call, Hello, Message};
use super::peers::Peers;
use super::plane;
use super::store::Store;
use super::transport::{Buffer, Key};

/// This process.
pub(crate) struct Node {
    pub(crate) id: u32,
    pub(crate) key: Key,
    pub(crate) peers: Peers,
    pub(crate) calls: Calls,
    pub(crate) store: Store,
    pub(crate) handles: Handles,
    pub(crate) jobs: Jobs,
    numbers: AtomicU64,
}

static NODE: OnceLock<Node> = OnceLock::new();

/// This process. One that nobody made a worker is number 1.
pub(crate) fn node() -> &'static Node {
    NODE.get_or_init(|| Node::new(1, Key::random().expect("the system gives random numbers")))
}

/// The id of this process, without making it one of several.
pub(crate) fn me() -> u32 {
    NODE.get().map_or(1, |node| node.id)
}

/// Whether this process ever had to do with others.
pub(crate) fn exists() -> Option<&'static Node> {
    NODE.get()
}

/// Makes this process a worker.
pub(crate) fn become_worker(id: u32, key: Key) -> &'static Node {
    NODE.set(Node::new(id, key))
        .unwrap_or_else(|_| unreachable!("a process becomes a worker once"));
    node()
}

impl Node {
    fn new(id: u32, key: Key) -> Node {
        super::usage::allow_many_files();
        Node {
            id,
            key,
            peers: Peers::default(),
            calls: Calls::default(),
            store: Store::default(),
            handles: Handles::default(),
            jobs: Jobs::default(),
            numbers: AtomicU64::new(1),
        }
    }

    /// What this process says of itself.
    pub(crate) fn hello(&self) -> Hello {
        Hello {
            id: self.id,
            pid: std::process::id(),
            host: super::usage::host(),
            threads: u32::try_from(crate::threads::nthreads()).unwrap_or(u32::MAX),
            address: super::address::own().unwrap_or_default(),
        }
    }

    /// A number that this process has not used before.
    pub(crate) fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// An id for something that `owner` will hold.
    pub(crate) fn new_id(&self, owner: u32) -> RefId {
        RefId { owner, creator: self.id, number: self.number() }
    }

    /// Sends a message, with the handles that travel in its blob. Does not wait for anything but,
    /// the first time, for a connection to a worker that this process never spoke to.
    pub(crate) fn send(&self, to: u32, message: Message, blob: Blob) -> Result<(), RemoteError> {
        for (id, _) in blob.refs() {
            self.hold(*id, to)?;
        }
        if to == self.id {
            let mut incoming = blob.arrive().map_err(super::jobs::not_read)?;
            self.adopt(&mut incoming);
            self.take_up(self.id, message, incoming);
            return Ok(());
        }
        let connection = self.peers.connection(self, to)?;
        if plane::send(&connection, to, &message, &blob) {
            Ok(())
        } else {
            Err(self.peers.gone(to))
        }
    }

    /// As [`Node::send`], for what is not worth an error: to a process that is gone, or was never
    /// spoken to, nothing is sent. Never blocks.
    pub(crate) fn tell(&self, to: u32, message: Message, blob: Blob) {
        if to != self.id && blob.refs().is_empty() {
            if let Some(connection) = self.peers.open_connection(to) {
                plane::send(&connection, to, &message, &blob);
            }
            return;
        }
        let known = |id: u32| id == self.id || self.peers.open_connection(id).is_some();
        if blob.refs().iter().all(|(id, _)| known(id.owner)) {
            self.deliver(to, message, blob);
            return;
        }
        // Whoever listens to `to` must not wait until the owner of a handle, which may have been
        // stopped, takes a connection.
        let introduce = move || node().deliver(to, message, blob);
        let thread = std::thread::Builder::new().name("parcell-introduce".to_owned());
        if let Err(error) = thread.spawn(introduce) {
            eprintln!("parcell: an answer to process {to} was not sent: no thread for it: {error}");
        }
    }

    /// Sends a reply. Whoever asked is told something in any case. Only replies carry handles, and a
    /// process that asked has a connection.
    fn deliver(&self, to: u32, message: Message, blob: Blob) {
        let number =
            if let Message::Ended { number, .. } = &message { Some(*number) } else { None };
        if let (Err(error), Some(number)) = (self.send(to, message, blob), number) {
            self.reply(to, number, Err(error), Blob::default());
        }
    }

    /// Says that `process` will hold something, before it gets a handle to it.
    fn hold(&self, id: RefId, process: u32) -> Result<(), RemoteError> {
        if id.owner == self.id {
            self.store.count(id, process, 1);
            return Ok(());
        }
        match self.send(id.owner, Message::Hold { id, process }, Blob::default()) {
            // Who is gone counts nothing any more; whoever gets the handle will be told so.
            Err(RemoteError::ProcessExited { .. }) => Ok(()),
            told => told,
        }
    }

    /// Takes over the handles that came with a blob.
    fn adopt(&self, blob: &mut Incoming) {
        let adopted = self.handles.adopt(blob.refs());
        blob.keep(adopted.iter().map(|handle| Arc::new(Lent::of(handle)) as KeepAlive).collect());
    }

    /// A message has come.
    pub(crate) fn receive(
        &'static self,
        from: u32,
        head: &[u8],
        bulks: Vec<Buffer>,
    ) -> Result<(), String> {
        let unreadable = |e: postcard::Error| format!("a message of {} bytes: {e}", head.len());
        let (message, mut rest) = postcard::take_from_bytes::<Message>(head).map_err(unreadable)?;
        if let Message::Apart { number, places } = message {
            return plane::receive(self, from, number, &places, rest);
        }
        let blob = Incoming::detach(&mut rest, &mut bulks.into_iter());
        let mut blob = blob.map_err(|e| e.to_string())?;
        self.adopt(&mut blob);
        self.take_up(from, message, blob);
        Ok(())
    }

    fn take_up(&self, from: u32, message: Message, blob: Incoming) {
        match message {
            Message::Call(call) => self.jobs.begin(self, from, call, blob),
            Message::Ask { number, what } => self.answer(from, number, what, blob),
            Message::Ended { number, result, began, took } => {
                self.calls.end(number, Ended { result, blob, began, took });
            }
            Message::Cancel { number } => self.jobs.cancel(from, number),
            Message::Define { id, function } => self.jobs.define(self, from, id, function, blob),
            Message::Hold { id, process } => self.store.count(id, process, 1),
            Message::Release { refs } => {
                refs.into_iter().for_each(|(id, n)| self.store.count(id, from, -i64::from(n)));
            }
            Message::Interrupt => self.jobs.interrupt(),
            Message::Peers { came, gone } => self.peers.news(self, came, gone),
            Message::Output { cell, what } => super::output::arrived(from, cell, what),
            Message::Letter { run, letter } => crate::spmd::arrived(from, run, letter, blob),
            Message::Ping { number } => {
                let state = self.jobs.load(self);
                self.tell(from, Message::Pong { number, state }, Blob::default());
            }
            Message::Pong { number, state } => self.peers.pong(from, number, state),
            Message::Forget { names } => super::cells::forget_here(names),
            // Taken care of before its message was read.
            Message::Apart { .. } => {}
            Message::Exit => super::worker::exit(),
        }
    }

    fn answer(&self, from: u32, number: u64, what: Ask, blob: Incoming) {
        super::questions::answer(self, from, number, what, blob);
    }

    /// Answers a call or question.
    pub(crate) fn reply(
        &self,
        to: u32,
        number: u64,
        result: Result<Answer, RemoteError>,
        blob: Blob,
    ) {
        self.tell(to, Message::Ended { number, result, began: 0, took: 0 }, blob);
    }

    /// Sends a call; `done` is called with its end, on a thread that must not be blocked.
    pub(crate) fn call(&self, to: u32, call: Call, blob: Blob, done: Done) {
        let number = call.number;
        self.calls.begin(number, to, Some(call.place.clone()), done);
        super::keeper::wake();
        if let Err(error) = self.send(to, Message::Call(call), blob) {
            self.calls.end(number, Ended::failed(error));
        }
    }

    /// Asks a process something; `done` is called with the answer. Returns the question's number.
    pub(crate) fn ask(&self, to: u32, what: Ask, blob: Blob, done: Done) -> u64 {
        let number = self.number();
        self.calls.begin(number, to, None, done);
        if let Err(error) = self.send(to, Message::Ask { number, what }, blob) {
            self.calls.end(number, Ended::failed(error));
        }
        number
    }

    /// Asks and blocks until the answer is there.
    pub(crate) fn ask_and_wait(&self, to: u32, what: Ask, blob: Blob) -> Ended {
        let answer = super::waiting::Slot::new();
        let number = self.ask(to, what, blob, answer.filler());
        answer.wait(|| self.tell(to, Message::Cancel { number }, Blob::default()))
    }

    /// This process drops a handle that it was given `times` times.
    pub(crate) fn release(&self, id: RefId, times: u32) {
        if id.owner == self.id {
            self.store.count(id, self.id, -i64::from(times));
        } else {
            self.handles.release_later(id, times);
            super::keeper::wake();
        }
    }

    /// A process is gone: whatever it was to end has failed.
    pub(crate) fn lost(&self, process: u32, why: &str) {
        let error = RemoteError::ProcessExited { worker: process as usize, why: why.to_owned() };
        // First its waits: who is told of its end may put into a channel from which it took.
        self.store.forget_process(process, why);
        self.calls.fail(process, &error);
        self.handles.lose(process, &error);
        self.jobs.forget(process);
        plane::lose(process);
        crate::spmd::lost(process, &error);
    }
}

/// What [`messages_sent`] tells.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct MessagesSent {
    /// Calls and their ends, questions and answers, letters of a run, output, signs of life.
    pub messages: u64,
    /// Bytes of them, before they are sealed.
    pub bytes: u64,
}

static MESSAGES: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);

/// What this process has sent to others since it began, for measurements of what an operation costs.
///
/// Returns at once; counts on this process alone.
///
/// ```
/// use parcell::distributed::{MessagesSent, messages_sent};
///
/// assert_eq!(messages_sent(), MessagesSent { messages: 0, bytes: 0 });
/// ```
#[must_use]
pub fn messages_sent() -> MessagesSent {
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    MessagesSent { messages: read(&MESSAGES), bytes: read(&BYTES) }
}

/// A message of so many bytes is sent.
pub(crate) fn count_message(bytes: usize) {
    MESSAGES.fetch_add(1, Ordering::Relaxed);
    BYTES.fetch_add(bytes as u64, Ordering::Relaxed);
}
