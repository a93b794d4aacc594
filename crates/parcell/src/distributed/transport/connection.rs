//! One connected socket: whoever sends never waits, and a thread delivers what arrives.
//!
//! A sender writes on its own thread as long as the socket takes it. What the socket does not
//! take, a writer thread sends, which is started when that happens first. Short messages go before
//! pieces of bulks, and bulks on their way take turns, piece by piece.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;
use rustix::net::sockopt::set_socket_send_buffer_size;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown, recv, sendmsg, shutdown};

use super::Buffer;
use super::buffer::Bulk;
use super::frame::{self, FrameError, HEADER, Header, Inbound, MAX_BULKS, MAX_HEAD};

/// Bytes of one piece of a bulk.
const PIECE: usize = 1 << 18;
/// Bytes that the reader takes at once where no bulk is arriving.
const SCRATCH: usize = 1 << 16;
/// Bytes that the reader takes at once between pieces of bulks, which it would have to copy.
const BETWEEN: usize = 1 << 10;
/// Bytes that the system holds for a peer that is slow.
const SEND_BUFFER: usize = 1 << 19;
/// Short messages that are sent with one system call.
const BATCH: usize = 32;
const STACK: usize = 256 << 10;

/// A message to be sent.
#[derive(Debug, Default)]
pub(crate) struct Envelope {
    /// What the message says.
    pub head: Vec<u8>,
    /// The large memory that belongs to it, at most 32767 pieces.
    pub bulks: Vec<Bulk>,
}

/// What takes the messages of a connection, on its reader thread.
pub(crate) trait Receive: Send + Sync {
    /// A message has arrived, with all its bulks. Must not block.
    fn message(&self, head: &[u8], bulks: Vec<Buffer>);

    /// Nothing more will arrive. Called once; `None` if either end closed in good order.
    fn closed(&self, why: Option<io::Error>);
}

/// One end of a connected stream socket. It lives until it is closed, by either side.
pub(crate) struct Connection {
    socket: OwnedFd,
    name: String,
    outbox: Mutex<Outbox>,
    /// Wakes the writer, and those who wait until everything is sent.
    changed: Condvar,
    sent: AtomicU64,
    received: AtomicU64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Writer {
    Absent,
    Waiting,
    Busy,
}

struct Outbox {
    /// Frames without bulks, in their order.
    short: VecDeque<Piece>,
    /// Bulks on their way; the next piece is the first one's.
    transfers: VecDeque<Transfer>,
    next_transfer: u64,
    writer: Writer,
    closed: bool,
    why: Option<io::Error>,
}

/// A frame, of which some bytes may be sent.
struct Piece {
    header: Header,
    payload: Payload,
    sent: usize,
}

enum Payload {
    Own(Vec<u8>),
    Part(Bulk, usize, usize),
}

struct Transfer {
    number: u64,
    bulks: VecDeque<Bulk>,
    /// Bytes of the first bulk that are in pieces already.
    taken: usize,
}

impl Connection {
    /// Takes the socket over and starts the thread that delivers what arrives. `name` is the
    /// thread's, as debuggers show it.
    pub(crate) fn start(
        socket: OwnedFd,
        name: &str,
        receive: Arc<dyn Receive>,
    ) -> io::Result<Arc<Connection>> {
        set_socket_send_buffer_size(&socket, SEND_BUFFER)?;
        let connection = Arc::new(Connection {
            socket,
            name: name.to_owned(),
            outbox: Mutex::new(Outbox::new()),
            changed: Condvar::new(),
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
        });
        let reader = Arc::clone(&connection);
        std::thread::Builder::new()
            .name(name.to_owned())
            .stack_size(STACK)
            .spawn(move || reader.read(&*receive))?;
        Ok(connection)
    }

    /// Sends a message. Never blocks: what the socket does not take at once is kept and sent by
    /// another thread. `false` if the connection is closed. Messages without bulks arrive in the
    /// order in which they were sent, and may overtake messages with bulks.
    ///
    /// # Panics
    ///
    /// If there are more than 32767 bulks.
    pub(crate) fn send(self: &Arc<Self>, envelope: Envelope) -> bool {
        let Envelope { head, mut bulks } = envelope;
        assert!(bulks.len() < MAX_BULKS, "{} bulks in one message", bulks.len());
        let long = head.len() > MAX_HEAD;
        if !long && bulks.is_empty() {
            return self.send_short(Piece::new(frame::message(head.len()), head));
        }
        let head = if long {
            bulks.insert(0, Bulk::of(Arc::new(head)));
            None
        } else {
            Some(head)
        };
        let mut outbox = self.lock();
        if outbox.closed {
            return false;
        }
        let number = outbox.next_transfer;
        outbox.next_transfer += 1;
        let (header, payload) = frame::announce(number, head.as_deref(), &bulks);
        let idle = outbox.is_idle();
        outbox.short.push_back(Piece::new(header, payload));
        bulks.retain(|bulk| bulk.len() > 0);
        if !bulks.is_empty() {
            outbox.transfers.push_back(Transfer { number, bulks: bulks.into(), taken: 0 });
        }
        if idle {
            self.send_now(&mut outbox);
        }
        self.wake_writer(&mut outbox);
        true
    }

    fn send_short(self: &Arc<Self>, mut piece: Piece) -> bool {
        let mut outbox = self.lock();
        if outbox.closed {
            return false;
        }
        if outbox.is_idle() {
            match self.write(&piece.slices(), SendFlags::DONTWAIT) {
                Ok(count) => piece.sent += count,
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(error) => return self.fail(&mut outbox, error),
            }
        }
        if piece.left() > 0 {
            outbox.short.push_back(piece);
        }
        self.wake_writer(&mut outbox);
        true
    }

    /// Closes the connection; what has not been sent is lost. Idempotent. The receiver's `closed`
    /// is called soon, on the reader's thread.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
        shutdown(&self.socket, Shutdown::Both).unwrap_or(());
    }

    /// Bytes of messages that wait to be sent; bulks are not counted.
    pub(crate) fn backlog(&self) -> usize {
        self.lock().short.iter().map(Piece::left).sum()
    }

    /// Bytes sent so far, with all headers.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Bytes received so far, with all headers.
    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// The name given to [`Connection::start`].
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    fn lock(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends what the socket takes at once: the short frames and one piece.
    fn send_now(&self, outbox: &mut Outbox) {
        let mut batch = outbox.next_batch();
        match self.write(&slices(&batch), SendFlags::DONTWAIT) {
            Ok(count) => advance(&mut batch, count),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(error) => {
                self.fail(outbox, error);
            }
        }
        outbox.put_back(batch);
    }

    /// Ends the connection for a reason; the reader tells it.
    fn fail(&self, outbox: &mut Outbox, error: Errno) -> bool {
        outbox.closed = true;
        outbox.why.get_or_insert(error.into());
        self.changed.notify_all();
        shutdown(&self.socket, Shutdown::Both).unwrap_or(());
        false
    }

    fn write(&self, slices: &[IoSlice<'_>], flags: SendFlags) -> Result<usize, Errno> {
        let flags = flags | SendFlags::NOSIGNAL;
        let count = sendmsg(&self.socket, slices, &mut SendAncillaryBuffer::default(), flags)?;
        self.sent.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }

    /// Has the writer send what is left, if anything is.
    fn wake_writer(self: &Arc<Self>, outbox: &mut Outbox) {
        if outbox.is_empty() || outbox.closed || outbox.writer == Writer::Busy {
            return;
        }
        if outbox.writer == Writer::Waiting {
            outbox.writer = Writer::Busy;
            self.changed.notify_all();
            return;
        }
        let writer = Arc::clone(self);
        let started = std::thread::Builder::new()
            .name(self.name.clone())
            .stack_size(STACK)
            .spawn(move || writer.write_all());
        match started {
            Ok(_) => outbox.writer = Writer::Busy,
            Err(error) => {
                outbox.why.get_or_insert(error);
                self.fail(outbox, Errno::AGAIN);
            }
        }
    }

    /// The writer thread.
    fn write_all(&self) {
        loop {
            let mut outbox = self.lock();
            while outbox.is_empty() && !outbox.closed {
                outbox.writer = Writer::Waiting;
                outbox = self.changed.wait(outbox).unwrap_or_else(PoisonError::into_inner);
            }
            if outbox.closed {
                outbox.short.clear();
                outbox.transfers.clear();
                return;
            }
            let mut batch = outbox.next_batch();
            drop(outbox);
            while !batch.is_empty() {
                match self.write(&slices(&batch), SendFlags::empty()) {
                    Ok(count) => advance(&mut batch, count),
                    Err(Errno::INTR) => {}
                    Err(error) => {
                        self.fail(&mut self.lock(), error);
                        break;
                    }
                }
            }
        }
    }

    /// The reader thread.
    fn read(&self, receive: &dyn Receive) {
        let end = catch_unwind(AssertUnwindSafe(|| self.deliver(receive)))
            .unwrap_or_else(|_| Err(io::Error::other("the receiver of a message panicked")));
        self.close();
        let ours = self.lock().why.take();
        receive.closed(end.err().or(ours));
    }

    fn deliver(&self, receive: &dyn Receive) -> io::Result<()> {
        let mut inbound = Inbound::new(memory());
        let mut scratch = vec![0; SCRATCH];
        let mut deliver = |head: &[u8], bulks| receive.message(head, bulks);
        loop {
            let count = if let Some(memory) = inbound.direct() {
                let count = retry(|| Ok(recv(&self.socket, &mut *memory, RecvFlags::empty())?.1))?;
                // SAFETY: `recv` has written `count` bytes to the memory that `direct` gave.
                unsafe { inbound.directed(count, &mut deliver) };
                count
            } else {
                let size = if inbound.expects_chunks() { BETWEEN } else { SCRATCH };
                let count =
                    retry(|| Ok(recv(&self.socket, &mut scratch[..size], RecvFlags::empty())?.1))?;
                inbound.feed(&scratch[..count], &mut deliver).map_err(rubbish)?;
                count
            };
            self.received.fetch_add(count as u64, Ordering::Relaxed);
            if count == 0 {
                let closed = self.lock().closed;
                return if closed { Ok(()) } else { inbound.end().map_err(cut_short) };
            }
        }
    }
}

fn retry(mut receive: impl FnMut() -> Result<usize, Errno>) -> io::Result<usize> {
    loop {
        match receive() {
            Err(Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
}

fn rubbish(error: FrameError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

fn cut_short(error: FrameError) -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, error)
}

/// The bytes of bulks that may arrive at the same time: as much as the machine has.
fn memory() -> u64 {
    let system = rustix::system::sysinfo();
    (system.totalram + system.totalswap) * u64::from(system.mem_unit)
}

impl Outbox {
    fn new() -> Outbox {
        Outbox {
            short: VecDeque::new(),
            transfers: VecDeque::new(),
            next_transfer: 1,
            writer: Writer::Absent,
            closed: false,
            why: None,
        }
    }

    fn is_empty(&self) -> bool {
        self.short.is_empty() && self.transfers.is_empty()
    }

    /// Whether a sender may write to the socket itself.
    fn is_idle(&self) -> bool {
        self.writer != Writer::Busy && self.is_empty()
    }

    /// Short frames, and one piece of the bulk whose turn it is.
    fn next_batch(&mut self) -> VecDeque<Piece> {
        let count = self.short.len().min(BATCH);
        let mut batch: VecDeque<Piece> = self.short.drain(..count).collect();
        if self.short.is_empty()
            && let Some(mut transfer) = self.transfers.pop_front()
        {
            batch.push_back(transfer.next_piece());
            if !transfer.bulks.is_empty() {
                self.transfers.push_back(transfer);
            }
        }
        batch
    }

    /// Keeps what a direct write has left of a batch; nothing may go before it.
    fn put_back(&mut self, batch: VecDeque<Piece>) {
        for piece in batch.into_iter().rev() {
            self.short.push_front(piece);
        }
    }
}

impl Transfer {
    /// The next piece; only called while bulks, none of them empty, are left.
    fn next_piece(&mut self) -> Piece {
        let bulk = self.bulks[0].clone();
        let (from, to) = (self.taken, bulk.len().min(self.taken + PIECE));
        self.taken = to;
        if to == bulk.len() {
            self.bulks.pop_front();
            self.taken = 0;
        }
        Piece {
            header: frame::chunk(self.number, to - from),
            payload: Payload::Part(bulk, from, to),
            sent: 0,
        }
    }
}

impl Piece {
    fn new(header: Header, payload: Vec<u8>) -> Piece {
        Piece { header, payload: Payload::Own(payload), sent: 0 }
    }

    fn payload(&self) -> &[u8] {
        match &self.payload {
            Payload::Own(bytes) => bytes,
            Payload::Part(bulk, from, to) => &bulk.bytes()[*from..*to],
        }
    }

    fn left(&self) -> usize {
        HEADER + self.payload().len() - self.sent
    }

    /// What is still to be sent.
    fn slices(&self) -> [IoSlice<'_>; 2] {
        let header = &self.header[self.sent.min(HEADER)..];
        let payload = &self.payload()[self.sent.saturating_sub(HEADER)..];
        [IoSlice::new(header), IoSlice::new(payload)]
    }
}

fn slices(batch: &VecDeque<Piece>) -> Vec<IoSlice<'_>> {
    batch.iter().flat_map(Piece::slices).collect()
}

/// Counts bytes of a batch as sent and drops what is sent in full.
fn advance(batch: &mut VecDeque<Piece>, mut count: usize) {
    while let Some(piece) = batch.front_mut() {
        let left = piece.left();
        if count < left {
            piece.sent += count;
            return;
        }
        count -= left;
        batch.pop_front();
    }
}
