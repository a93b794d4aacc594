//! One connected socket: whoever sends never waits, and a thread delivers what arrives.
//!
//! A sender writes on its own thread as long as the socket takes it. What the socket does not
//! take, a writer thread sends, which is started when that happens first. Short messages go before
//! pieces of bulks, and bulks on their way take turns, piece by piece.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
#[cfg(test)]
use std::time::Instant;

use rustix::io::Errno;
use rustix::net::sockopt::{set_socket_send_buffer_size, socket_domain};
use rustix::net::{AddressFamily, SendFlags};

use super::Buffer;
use super::buffer::Bulk;
use super::channel::Channel;
use super::frame::{self, FrameError, HEADER, Header, Inbound, MAX_BULKS, MAX_HEAD};

/// Bytes of one piece of a bulk. On a machine with little else to do, pieces of 128 KB to 1 MB did
/// not differ by more than such measurements do.
const PIECE: usize = 1 << 18;
/// Bytes that the reader takes at once where no bulk is arriving.
const SCRATCH: usize = 1 << 16;
/// Bytes that the reader takes at once between pieces of bulks, which it would have to copy.
const BETWEEN: usize = 1 << 10;
/// Bytes that the system holds for a peer on this host that is slow. Its own 208 KB were no slower,
/// measured in the same runs; the rates of both varied more than they differed. To other hosts it
/// holds what the distance needs.
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

    /// Nothing more will arrive. Called once; `None` if this end was closed, or the stream ended
    /// between two messages: the peer closed it, or its process ended.
    fn closed(&self, why: Option<io::Error>);
}

/// One end of a connected stream socket. It lives until it is closed, by either side.
pub(crate) struct Connection {
    channel: Channel,
    name: String,
    outbox: Mutex<Outbox>,
    /// Wakes the writer, and whoever waits until everything is sent.
    changed: Condvar,
    /// Whether this end asked for the end.
    closed: AtomicBool,
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
    /// Takes the channel over and starts the thread that delivers what arrives. `name` is the
    /// thread's, as debuggers show it.
    pub(crate) fn start(
        channel: Channel,
        name: &str,
        receive: Arc<dyn Receive>,
    ) -> io::Result<Arc<Connection>> {
        if socket_domain(channel.socket())? == AddressFamily::UNIX {
            set_socket_send_buffer_size(channel.socket(), SEND_BUFFER)?;
        }
        let connection = Arc::new(Connection {
            channel,
            name: name.to_owned(),
            outbox: Mutex::new(Outbox::new()),
            changed: Condvar::new(),
            closed: AtomicBool::new(false),
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
        !outbox.closed
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
        self.closed.store(true, Ordering::Relaxed);
        self.lock().closed = true;
        self.changed.notify_all();
        self.channel.shutdown();
    }

    /// Bytes of messages that wait to be sent; bulks are not counted.
    pub(crate) fn backlog(&self) -> usize {
        self.lock().short.iter().map(Piece::left).sum()
    }

    /// Waits until the system has taken all that was sent, or until `deadline`; whether it has.
    /// Blocks as long as the peer does not read.
    #[cfg(test)]
    pub(crate) fn flush(&self, deadline: Instant) -> bool {
        let mut outbox = self.lock();
        while !outbox.is_idle() && !outbox.closed {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.changed.wait_timeout(outbox, left);
            outbox = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        !outbox.closed
    }

    /// Bytes sent so far, with all headers.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Bytes received so far, with all headers.
    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
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

    /// Ends the connection for a reason, which the reader tells. That the peer is gone is no
    /// reason: the reader finds out by itself, after the last that the peer has sent.
    fn fail(&self, outbox: &mut Outbox, error: Errno) -> bool {
        outbox.closed = true;
        self.changed.notify_all();
        if !matches!(error, Errno::PIPE | Errno::CONNRESET) {
            outbox.why.get_or_insert(error.into());
        }
        // What has arrived can still be read.
        self.channel.shutdown();
        false
    }

    fn write(&self, slices: &[IoSlice<'_>], flags: SendFlags) -> Result<usize, Errno> {
        let count = self.channel.send(slices, flags)?;
        self.sent.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }

    /// Has the writer send what is left, if anything is.
    fn wake_writer(self: &Arc<Self>, outbox: &mut Outbox) {
        let nothing = outbox.is_empty() && !self.channel.has_rest();
        if nothing || outbox.closed || outbox.writer == Writer::Busy {
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
            while outbox.is_empty() && !self.channel.has_rest() && !outbox.closed {
                outbox.writer = Writer::Waiting;
                self.changed.notify_all();
                outbox = self.changed.wait(outbox).unwrap_or_else(PoisonError::into_inner);
            }
            if outbox.closed {
                outbox.short.clear();
                outbox.transfers.clear();
                return;
            }
            let mut batch = outbox.next_batch();
            drop(outbox);
            while !batch.is_empty() || self.channel.has_rest() {
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
        let mut scratch = vec![MaybeUninit::uninit(); SCRATCH];
        let mut deliver = |head: &[u8], bulks| receive.message(head, bulks);
        loop {
            let count = if let Some(memory) = inbound.direct() {
                let count = self.channel.receive(memory)?.len();
                // SAFETY: `receive` has written `count` bytes to the memory that `direct` gave.
                unsafe { inbound.directed(count, &mut deliver) };
                count
            } else {
                let size = if inbound.expects_chunks() { BETWEEN } else { SCRATCH };
                let received = self.channel.receive(&mut scratch[..size])?;
                inbound.feed(received, &mut deliver).map_err(rubbish)?;
                received.len()
            };
            self.received.fetch_add(count as u64, Ordering::Relaxed);
            if count == 0 {
                let closed = self.closed.load(Ordering::Relaxed);
                return if closed { Ok(()) } else { inbound.end().map_err(cut_short) };
            }
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

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::time::Duration;

    use super::*;

    /// What a connection's reader tells.
    #[derive(Debug)]
    enum Told {
        Message(Vec<u8>, Vec<Vec<u64>>),
        Closed(Option<io::Error>),
    }

    struct Teller(Sender<Told>);

    impl Receive for Teller {
        fn message(&self, head: &[u8], bulks: Vec<Buffer>) {
            assert_ne!(head, b"panic", "as the test wants");
            let bulks = bulks.into_iter().map(|bulk| bulk.into_vec().unwrap()).collect();
            self.0.send(Told::Message(head.to_vec(), bulks)).unwrap_or(());
        }

        fn closed(&self, why: Option<io::Error>) {
            self.0.send(Told::Closed(why)).unwrap_or(());
        }
    }

    type End = (Arc<Connection>, Receiver<Told>);

    fn start(socket: UnixStream) -> End {
        let (teller, told) = channel();
        (
            Connection::start(Channel::plain(socket.into()), "test", Arc::new(Teller(teller)))
                .unwrap(),
            told,
        )
    }

    fn pair() -> (End, End) {
        let (near, far) = UnixStream::pair().unwrap();
        (start(near), start(far))
    }

    /// A connection whose other end is a bare socket.
    fn half() -> (End, UnixStream) {
        let (near, far) = UnixStream::pair().unwrap();
        (start(near), far)
    }

    fn next(told: &Receiver<Told>) -> Told {
        told.recv_timeout(Duration::from_secs(60)).unwrap()
    }

    fn message(told: &Receiver<Told>) -> (Vec<u8>, Vec<Vec<u64>>) {
        match next(told) {
            Told::Message(head, bulks) => (head, bulks),
            Told::Closed(why) => panic!("closed: {why:?}"),
        }
    }

    fn closed(told: &Receiver<Told>) -> Option<io::Error> {
        let why = match next(told) {
            Told::Closed(why) => why,
            Told::Message(head, _) => panic!("a message: {head:?}"),
        };
        let after = told.recv_timeout(Duration::from_secs(60)).unwrap_err();
        assert_eq!(after, std::sync::mpsc::RecvTimeoutError::Disconnected, "closed once");
        why
    }

    fn short(head: &[u8]) -> Envelope {
        Envelope { head: head.to_vec(), bulks: Vec::new() }
    }

    fn numbers(count: u64) -> (Arc<Vec<u64>>, Bulk) {
        let numbers = Arc::new((0..count).collect::<Vec<_>>());
        (Arc::clone(&numbers), Bulk::of(numbers))
    }

    #[test]
    fn messages_arrive_in_order_with_their_bulks() {
        let ((near, _near_told), (far, told)) = pair();
        let (large, bulk) = numbers(1 << 20);
        let bulks = vec![bulk.clone(), numbers(0).1, numbers(3).1];
        assert!(near.send(Envelope { head: b"first".to_vec(), bulks }));
        let (head, bulks) = message(&told);
        assert_eq!(head, b"first");
        assert_eq!(bulks, [(*large).clone(), vec![], vec![0, 1, 2]]);
        for number in 0..10_000_u32 {
            assert!(near.send(short(&number.to_le_bytes())));
        }
        for number in 0..10_000_u32 {
            assert_eq!(message(&told).0, number.to_le_bytes());
        }
        assert!(near.send(short(b"")));
        assert_eq!(message(&told), (vec![], vec![]));
        near.close();
        assert!(closed(&told).is_none());
        assert_eq!(near.sent(), far.received());
        assert!(near.sent() > 8 << 20);
    }

    #[test]
    fn heads_of_any_length_arrive() {
        let ((near, _near_told), (_far, told)) = pair();
        for length in [0, 1, MAX_HEAD - 1, MAX_HEAD, MAX_HEAD + 1, 5 << 20] {
            let head = (0..length).map(|i| i as u8).collect::<Vec<_>>();
            assert!(near.send(short(&head)));
            assert!(message(&told) == (head.clone(), vec![]), "{length}");
            assert!(near.send(Envelope { head: head.clone(), bulks: vec![numbers(2).1] }));
            assert!(message(&told) == (head, vec![vec![0, 1]]), "{length}");
        }
    }

    #[test]
    fn nobody_waits_for_a_peer_that_does_not_read() {
        let ((near, near_told), mut far) = half();
        let (_, bulk) = numbers(4 << 20);
        for _ in 0..10 {
            assert!(near.send(Envelope { head: b"bulk".to_vec(), bulks: vec![bulk.clone()] }));
            assert!(near.send(short(&[1; 1000])));
        }
        far.read_exact(&mut [0; 100_000]).unwrap();
        near.close();
        assert!(closed(&near_told).is_none());
        assert!(!near.send(short(b"late")));
    }

    #[test]
    fn what_was_flushed_arrives_although_the_sender_closes() {
        let ((near, _near_told), far) = half();
        near.send(Envelope { head: b"bulk".to_vec(), bulks: vec![numbers(1 << 20).1] });
        assert!(!near.flush(Instant::now()));
        let (_far, told) = start(far);
        assert!(near.flush(Instant::now() + Duration::from_secs(60)));
        near.close();
        assert_eq!(message(&told).1[0].len(), 1 << 20);
        assert!(closed(&told).is_none());
        assert!(!near.flush(Instant::now() + Duration::from_secs(60)));
    }

    #[test]
    fn a_peer_that_ends_inside_a_message_is_told_so() {
        let ((_near, told), far) = half();
        let (header, payload) = frame::announce(1, Some(b"head"), &[numbers(5).1]);
        (&far).write_all(&[&header[..], &payload].concat()).unwrap();
        drop(far);
        let why = closed(&told).unwrap().to_string();
        assert_eq!(why, "the end of the stream, before 1 messages had arrived in full");
    }

    #[test]
    fn short_messages_overtake_bulks_and_bulks_take_turns() {
        let ((near, _told), far) = half();
        let (_, huge) = numbers(8 << 20);
        let (_, small) = numbers(1 << 16);
        near.send(Envelope { head: b"huge".to_vec(), bulks: vec![huge] });
        near.send(Envelope { head: b"small".to_vec(), bulks: vec![small] });
        near.send(short(b"short"));
        // Nothing was read until all three were sent, so the order does not depend on the clock.
        let (far, told) = start(far);
        let heads = [message(&told).0, message(&told).0, message(&told).0];
        assert_eq!(heads, [&b"short"[..], b"small", b"huge"]);
        far.close();
    }

    #[test]
    fn many_threads_send_at_once() {
        let ((near, near_told), (far, told)) = pair();
        std::thread::scope(|scope| {
            for thread in 0..4_u8 {
                let (near, far) = (&near, &far);
                scope.spawn(move || {
                    for number in 0..200_u8 {
                        let bulks = vec![numbers(u64::from(number) * 300).1];
                        let bulks = if number % 3 == 0 { bulks } else { Vec::new() };
                        assert!(near.send(Envelope { head: vec![thread, number], bulks }));
                        assert!(far.send(short(&[thread, number])));
                    }
                });
            }
        });
        let mut last = [None; 4];
        for _ in 0..800 {
            let (head, bulks) = message(&told);
            match &*bulks {
                [] => assert!(last[head[0] as usize].replace(head[1]) < Some(head[1])),
                [bulk] => assert_eq!(bulk.len(), 300 * head[1] as usize),
                _ => panic!("{} bulks", bulks.len()),
            }
            assert!(message(&near_told).1.is_empty());
        }
    }

    #[test]
    fn a_peer_that_ends_is_told_once() {
        let ((near, near_told), far) = half();
        drop(far);
        assert!(closed(&near_told).is_none());
        assert!(!near.send(short(b"late")));
        near.close();
        near.close();
    }

    #[test]
    fn memory_is_given_back_when_a_connection_ends() {
        let ((near, near_told), far) = half();
        let (owner, bulk) = numbers(4 << 20);
        near.send(Envelope { head: Vec::new(), bulks: vec![bulk] });
        drop(far);
        closed(&near_told);
        let connection = Arc::downgrade(&near);
        drop(near);
        while connection.strong_count() > 0 {
            std::thread::yield_now();
        }
        assert_eq!(Arc::strong_count(&owner), 1);
    }

    #[test]
    fn rubbish_ends_one_connection_with_a_reason() {
        let ends = |bytes: &[u8]| {
            let ((_near, told), mut far) = half();
            far.write_all(bytes).unwrap();
            far.shutdown(std::net::Shutdown::Write).unwrap();
            let why = closed(&told).unwrap();
            // The other end sees that nobody listens any longer.
            far.read_to_end(&mut Vec::new()).unwrap_or(0);
            (why.kind(), why.to_string())
        };
        let (kind, text) = ends(&[b'x'; 100]);
        assert_eq!(kind, io::ErrorKind::InvalidData);
        assert_eq!(text, "a frame of unknown kind 2021161080");
        let (kind, text) = ends(&frame::message(5));
        assert_eq!(kind, io::ErrorKind::UnexpectedEof);
        assert_eq!(text, "the end of the stream, 5 bytes before the end of a frame");
        let terabyte = [&[1, 0, 0, 0, 0, 0, 0, 0][..], &(1_u64 << 40).to_le_bytes(), &[8; 8]];
        let mut announcement = frame::announce(1, Some(b""), &[numbers(1).1]).0.to_vec();
        announcement.extend_from_slice(&terabyte.concat());
        let (kind, text) = ends(&announcement);
        assert_eq!(kind, io::ErrorKind::InvalidData);
        assert!(text.starts_with("bulks of 1099511627776 bytes are announced"), "{text}");
    }

    #[test]
    fn a_receiver_that_panics_ends_the_connection() {
        let ((near, near_told), (_far, told)) = pair();
        near.send(short(b"panic"));
        assert_eq!(closed(&told).unwrap().to_string(), "the receiver of a message panicked");
        assert!(closed(&near_told).is_none());
    }
}
