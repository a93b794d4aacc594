//! What lies on the wire, and how it is read: a state machine without sockets.
//!
//! A frame is a header of 16 bytes, little-endian, and up to 1 MiB:
//!
//! ```text
//! kind: u32 | length: u32 | transfer: u64 | length bytes
//! 1 message   the head of a message without bulks; transfer is 0
//! 2 announce  a message with bulks follows in pieces, under this transfer number:
//!             count: u32, head first: u32, count times (bytes: u64, alignment: u64), the head
//! 3 chunk     the next bytes of that transfer's bulks, never of two bulks at once
//! ```
//!
//! `head first` is 1 if the head itself is the first bulk, because it is long.
//!
//! Every length is checked before memory is taken for it: frames have a bound, and announced
//! bulks must fit together into the memory that the reader may hold.

use std::collections::HashMap;
use std::mem::MaybeUninit;

use super::buffer::{Buffer, Bulk, NoMemory};

/// The most bytes that follow a header.
pub(crate) const MAX_PAYLOAD: usize = 1 << 20;
/// Longer heads travel as bulks.
pub(crate) const MAX_HEAD: usize = 1 << 16;
/// The most bulks of one message.
pub(crate) const MAX_BULKS: usize = 1 << 15;
pub(crate) const HEADER: usize = 16;

const MESSAGE: u32 = 1;
const ANNOUNCE: u32 = 2;
const CHUNK: u32 = 3;

pub(crate) type Header = [u8; HEADER];

fn header(kind: u32, length: usize, transfer: u64) -> Header {
    debug_assert!(length <= MAX_PAYLOAD);
    let mut header = [0; HEADER];
    header[..4].copy_from_slice(&kind.to_le_bytes());
    header[4..8].copy_from_slice(&(length as u32).to_le_bytes());
    header[8..].copy_from_slice(&transfer.to_le_bytes());
    header
}

/// The header of a message without bulks.
pub(crate) fn message(length: usize) -> Header {
    header(MESSAGE, length, 0)
}

/// The header of the next `length` bytes of a transfer.
pub(crate) fn chunk(transfer: u64, length: usize) -> Header {
    header(CHUNK, length, transfer)
}

/// The frame that announces a message with bulks; with `None`, the first bulk is the head.
pub(crate) fn announce(transfer: u64, head: Option<&[u8]>, bulks: &[Bulk]) -> (Header, Vec<u8>) {
    let mut payload = Vec::with_capacity(8 + 16 * bulks.len() + head.map_or(0, <[u8]>::len));
    payload.extend_from_slice(&(bulks.len() as u32).to_le_bytes());
    payload.extend_from_slice(&u32::from(head.is_none()).to_le_bytes());
    for bulk in bulks {
        payload.extend_from_slice(&(bulk.len() as u64).to_le_bytes());
        payload.extend_from_slice(&(bulk.align() as u64).to_le_bytes());
    }
    payload.extend_from_slice(head.unwrap_or_default());
    (header(ANNOUNCE, payload.len(), transfer), payload)
}

/// What a peer sent that makes no sense.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("a frame of unknown kind {0}")]
    Kind(u32),
    #[error("a frame of {length} bytes, of which at most {limit} are allowed")]
    Length { length: usize, limit: usize },
    #[error("a message that belongs to transfer {0}, though messages belong to none")]
    Stray(u64),
    #[error("an announcement of {length} bytes, too short for its {count} bulks")]
    Announcement { length: usize, count: usize },
    #[error("an announcement of {0} bulks, of which at most {MAX_BULKS} are allowed")]
    Count(usize),
    #[error("an announcement with the head at place {0}")]
    HeadPlace(u32),
    #[error("transfer {0} is announced twice")]
    Twice(u64),
    #[error("a piece of transfer {0}, which was not announced")]
    Unannounced(u64),
    #[error("a piece of {length} bytes for transfer {transfer}, whose bulk lacks {missing}")]
    Chunk { transfer: u64, length: usize, missing: usize },
    #[error("bulks of {wanted} bytes are announced, {held} are arriving, and {limit} is the limit")]
    Memory { wanted: u64, held: u64, limit: u64 },
    #[error(transparent)]
    NoMemory(#[from] NoMemory),
    #[error("the end of the stream, {0} bytes before the end of a frame")]
    InFrame(usize),
    #[error("the end of the stream, before {0} messages had arrived in full")]
    InTransfer(usize),
}

/// A message of which bulks are still to come.
struct Arriving {
    head: Vec<u8>,
    head_first: bool,
    bulks: Vec<Buffer>,
    /// The bulk that is being filled; all before it are full.
    current: usize,
}

impl Arriving {
    /// Passes over full bulks; whether all are full.
    fn complete(&mut self) -> bool {
        while self.bulks.get(self.current).is_some_and(|bulk| bulk.missing() == 0) {
            self.current += 1;
        }
        self.current == self.bulks.len()
    }
}

enum State {
    Header {
        bytes: Header,
        have: usize,
    },
    /// Inside the payload of a message or an announcement.
    Payload {
        kind: u32,
        transfer: u64,
        length: usize,
        have: Vec<u8>,
    },
    Chunk {
        transfer: u64,
        left: usize,
    },
}

const START: State = State::Header { bytes: [0; HEADER], have: 0 };

/// Reads frames from bytes that come in pieces of any size, and delivers whole messages.
///
/// After an error nothing sensible can follow; the connection must end.
pub(crate) struct Inbound {
    state: State,
    arriving: HashMap<u64, Arriving>,
    /// Bytes of the bulks that are arriving, and how many there may be.
    held: u64,
    limit: u64,
}

/// What takes messages: the head and its bulks.
pub(crate) type Deliver<'a> = dyn FnMut(&[u8], Vec<Buffer>) + 'a;

impl Inbound {
    /// A reader that holds at most `limit` bytes of unfinished bulks.
    pub(crate) fn new(limit: u64) -> Inbound {
        Inbound { state: START, arriving: HashMap::new(), held: 0, limit }
    }

    /// Whether pieces of bulks are to be expected.
    pub(crate) fn expects_chunks(&self) -> bool {
        !self.arriving.is_empty()
    }

    /// Takes the next bytes of the stream.
    pub(crate) fn feed(
        &mut self,
        mut bytes: &[u8],
        deliver: &mut Deliver<'_>,
    ) -> Result<(), FrameError> {
        while !bytes.is_empty() {
            let used = match &mut self.state {
                State::Header { bytes: header, have } => {
                    let used = bytes.len().min(HEADER - *have);
                    header[*have..*have + used].copy_from_slice(&bytes[..used]);
                    *have += used;
                    if *have == HEADER {
                        let header = *header;
                        self.begin(header, deliver)?;
                    }
                    used
                }
                State::Payload { .. } => self.payload(bytes, deliver)?,
                State::Chunk { transfer, left } => {
                    let (transfer, used) = (*transfer, bytes.len().min(*left));
                    let bulk = current(&mut self.arriving, transfer)?;
                    bulk.fill(&bytes[..used]);
                    self.filled(used, deliver);
                    used
                }
            };
            bytes = &bytes[used..];
        }
        Ok(())
    }

    /// The memory that the next bytes of the stream belong into, if they belong to a bulk: to be
    /// filled from its start instead of calling [`Inbound::feed`].
    pub(crate) fn direct(&mut self) -> Option<&mut [MaybeUninit<u8>]> {
        let State::Chunk { transfer, left } = self.state else { return None };
        Some(&mut current(&mut self.arriving, transfer).ok()?.rest()[..left])
    }

    /// Counts bytes that were written to the memory from [`Inbound::direct`].
    ///
    /// # Safety
    ///
    /// `direct` has just given memory, and its first `count` bytes have been written since.
    pub(crate) unsafe fn directed(&mut self, count: usize, deliver: &mut Deliver<'_>) {
        let State::Chunk { transfer, .. } = self.state else { return };
        if let Ok(bulk) = current(&mut self.arriving, transfer) {
            // SAFETY: the caller wrote `count` bytes to this bulk's rest.
            unsafe { bulk.advance(count) };
            self.filled(count, deliver);
        }
    }

    /// The end of the stream: an error if something was still to come.
    pub(crate) fn end(&self) -> Result<(), FrameError> {
        match &self.state {
            State::Header { have: 0, .. } if self.arriving.is_empty() => Ok(()),
            State::Header { have: 0, .. } => Err(FrameError::InTransfer(self.arriving.len())),
            State::Header { have, .. } => Err(FrameError::InFrame(HEADER - have)),
            State::Payload { length, have, .. } => Err(FrameError::InFrame(length - have.len())),
            State::Chunk { left, .. } => Err(FrameError::InFrame(*left)),
        }
    }

    fn begin(&mut self, header: Header, deliver: &mut Deliver<'_>) -> Result<(), FrameError> {
        let kind = word(&header, 0);
        let length = word(&header, 4) as usize;
        let transfer = long(&header, 8);
        let limit = match kind {
            MESSAGE if transfer != 0 => return Err(FrameError::Stray(transfer)),
            MESSAGE => MAX_HEAD,
            ANNOUNCE | CHUNK => MAX_PAYLOAD,
            _ => return Err(FrameError::Kind(kind)),
        };
        if length > limit {
            return Err(FrameError::Length { length, limit });
        }
        if kind == CHUNK {
            let missing = current(&mut self.arriving, transfer)?.missing();
            if length > missing || length == 0 {
                return Err(FrameError::Chunk { transfer, length, missing });
            }
            self.state = State::Chunk { transfer, left: length };
        } else if length == 0 {
            self.state = START;
            self.finish(kind, transfer, &[], deliver)?;
        } else {
            self.state = State::Payload { kind, transfer, length, have: Vec::new() };
        }
        Ok(())
    }

    /// Takes bytes of a payload; how many.
    fn payload(&mut self, bytes: &[u8], deliver: &mut Deliver<'_>) -> Result<usize, FrameError> {
        let State::Payload { kind, transfer, length, have } = &mut self.state else { return Ok(0) };
        let (kind, transfer) = (*kind, *transfer);
        let used = bytes.len().min(*length - have.len());
        if used == *length {
            self.state = START;
            self.finish(kind, transfer, &bytes[..used], deliver)?;
            return Ok(used);
        }
        have.extend_from_slice(&bytes[..used]);
        if have.len() == *length {
            let whole = std::mem::take(have);
            self.state = START;
            self.finish(kind, transfer, &whole, deliver)?;
        }
        Ok(used)
    }

    fn finish(
        &mut self,
        kind: u32,
        transfer: u64,
        payload: &[u8],
        deliver: &mut Deliver<'_>,
    ) -> Result<(), FrameError> {
        if kind == MESSAGE {
            deliver(payload, Vec::new());
            return Ok(());
        }
        if self.arriving.contains_key(&transfer) {
            return Err(FrameError::Twice(transfer));
        }
        let message = self.announced(payload)?;
        self.held += held(&message.bulks);
        self.arriving.insert(transfer, message);
        self.deliver_if_complete(transfer, deliver);
        Ok(())
    }

    /// Reads an announcement and takes memory for its bulks.
    fn announced(&self, payload: &[u8]) -> Result<Arriving, FrameError> {
        let length = payload.len();
        let (start, rest) =
            payload.split_at_checked(8).ok_or(FrameError::Announcement { length, count: 0 })?;
        let (count, place) = (word(start, 0) as usize, word(start, 4));
        if count > MAX_BULKS {
            return Err(FrameError::Count(count));
        }
        if place > 1 || place as usize > count {
            return Err(FrameError::HeadPlace(place));
        }
        let (table, head) =
            rest.split_at_checked(16 * count).ok_or(FrameError::Announcement { length, count })?;
        let sizes = table.chunks_exact(16).map(|row| (long(row, 0), long(row, 8)));
        let wanted = sizes.clone().fold(0_u64, |sum, (bytes, _)| sum.saturating_add(bytes));
        if wanted > self.limit.saturating_sub(self.held) {
            return Err(FrameError::Memory { wanted, held: self.held, limit: self.limit });
        }
        let bulks = sizes
            .map(|(bytes, align)| Buffer::new(bytes as usize, align as usize))
            .collect::<Result<_, _>>()?;
        Ok(Arriving { head: head.to_vec(), head_first: place == 1, bulks, current: 0 })
    }

    /// `count` bytes of the current chunk have been filled.
    fn filled(&mut self, count: usize, deliver: &mut Deliver<'_>) {
        let State::Chunk { transfer, left } = &mut self.state else { return };
        *left -= count;
        if *left == 0 {
            let transfer = *transfer;
            self.state = START;
            self.deliver_if_complete(transfer, deliver);
        }
    }

    fn deliver_if_complete(&mut self, transfer: u64, deliver: &mut Deliver<'_>) {
        if !self.arriving.get_mut(&transfer).is_some_and(Arriving::complete) {
            return;
        }
        let Some(message) = self.arriving.remove(&transfer) else { return };
        self.held -= held(&message.bulks);
        let mut bulks = message.bulks;
        if message.head_first {
            let head = bulks.remove(0);
            deliver(head.bytes(), bulks);
        } else {
            deliver(&message.head, bulks);
        }
    }
}

fn held(bulks: &[Buffer]) -> u64 {
    bulks.iter().map(|bulk| bulk.len() as u64).sum()
}

/// The bulk that a transfer's next bytes belong to.
fn current(
    arriving: &mut HashMap<u64, Arriving>,
    transfer: u64,
) -> Result<&mut Buffer, FrameError> {
    arriving
        .get_mut(&transfer)
        .and_then(|message| message.bulks.get_mut(message.current))
        .ok_or(FrameError::Unannounced(transfer))
}

fn word(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

fn long(bytes: &[u8], at: usize) -> u64 {
    let mut long = [0; 8];
    long.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(long)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Arc;

    use rand::rngs::SmallRng;
    use rand::{Rng, RngCore, SeedableRng};

    use super::*;

    const LIMIT: u64 = 1 << 14;

    type Delivered = Vec<(Vec<u8>, Vec<Vec<u8>>)>;

    /// What a stream gives, however it is cut: its messages, and how it ends.
    fn read(stream: &[u8], cuts: &mut dyn FnMut() -> usize) -> (Delivered, Result<(), FrameError>) {
        let mut delivered = Vec::new();
        let mut deliver = |head: &[u8], bulks: Vec<Buffer>| {
            let bulks = bulks.iter().map(|bulk| bulk.bytes().to_vec()).collect();
            delivered.push((head.to_vec(), bulks));
        };
        let mut inbound = Inbound::new(LIMIT);
        let mut rest = stream;
        while !rest.is_empty() {
            let cut = cuts();
            let used = if cut.is_multiple_of(2)
                && let Some(memory) = inbound.direct()
            {
                let used = memory.len().min(rest.len()).min(cut + 1);
                memory[..used].write_copy_of_slice(&rest[..used]);
                // SAFETY: these bytes have just been written.
                unsafe { inbound.directed(used, &mut deliver) };
                used
            } else {
                let used = rest.len().min(cut + 1);
                if let Err(error) = inbound.feed(&rest[..used], &mut deliver) {
                    return (delivered, Err(error));
                }
                used
            };
            rest = &rest[used..];
            let arriving = inbound.arriving.values().map(|message| held(&message.bulks)).sum();
            assert_eq!(inbound.held, arriving);
            assert!(inbound.held <= LIMIT);
        }
        let end = inbound.end();
        (delivered, end)
    }

    fn put(stream: &mut Vec<u8>, header: Header, payload: &[u8]) {
        stream.extend_from_slice(&header);
        stream.extend_from_slice(payload);
    }

    /// Messages as a peer in good order sends them, with the pieces of several bulks mixed.
    fn honest(random: &mut SmallRng) -> (Vec<u8>, usize) {
        let (mut stream, mut open, mut count) = (Vec::new(), Vec::new(), 0);
        for transfer in 1..random.random_range(2..6_u64) {
            let mut head = vec![0; random.random_range(0..60)];
            random.fill_bytes(&mut head);
            count += 1;
            if random.random() {
                put(&mut stream, message(head.len()), &head);
                continue;
            }
            let bulks = (0..random.random_range(1..4))
                .map(|_| Bulk::of(Arc::new(vec![transfer; random.random_range(0..40)])))
                .collect::<VecDeque<_>>();
            let head = Some(&*head).filter(|_| random.random());
            let (header, payload) = announce(transfer, head, bulks.as_slices().0);
            put(&mut stream, header, &payload);
            open.push((transfer, bulks, 0));
        }
        while !open.is_empty() {
            let turn = random.random_range(0..open.len());
            let (transfer, bulks, taken) = &mut open[turn];
            let Some(bulk) = bulks.front() else {
                open.remove(turn);
                continue;
            };
            let to = (*taken + random.random_range(1..200)).min(bulk.len());
            if to > *taken {
                put(&mut stream, chunk(*transfer, to - *taken), &bulk.bytes()[*taken..to]);
            }
            *taken = to;
            if to == bulk.len() {
                bulks.pop_front();
                *taken = 0;
            }
        }
        (stream, count)
    }

    /// Changes, removes, repeats or adds a few bytes.
    fn damage(stream: &mut Vec<u8>, random: &mut SmallRng) {
        for _ in 0..random.random_range(1..4) {
            let at = random.random_range(0..=stream.len());
            let to = (at + random.random_range(0..20)).min(stream.len());
            match random.random_range(0..5) {
                0 => stream[at..to].iter_mut().for_each(|byte| *byte ^= 1 << (at % 8)),
                1 => random.fill_bytes(&mut stream[at..to]),
                2 => drop(stream.drain(at..to)),
                3 => stream.truncate(at),
                _ => {
                    let again = stream[at..to].to_vec();
                    stream.splice(at..at, again);
                }
            }
        }
    }

    #[test]
    fn honest_streams_arrive_whole_however_they_are_cut() {
        let mut random = SmallRng::seed_from_u64(1);
        for _ in 0..2_000 {
            let (stream, count) = honest(&mut random);
            let (whole, end) = read(&stream, &mut || stream.len() | 1);
            assert_eq!(end, Ok(()));
            assert_eq!(whole.len(), count);
            assert_eq!(read(&stream, &mut || 0), (whole.clone(), Ok(())));
            let cut = read(&stream, &mut || random.random_range(0..50));
            assert_eq!(cut, (whole, Ok(())));
        }
    }

    #[test]
    fn damaged_streams_never_panic_and_end_the_same_however_they_are_cut() {
        let mut random = SmallRng::seed_from_u64(2);
        let strings = if cfg!(debug_assertions) { 100_000 } else { 1_000_000 };
        for round in 0..strings {
            let stream = if round % 4 == 0 {
                let mut stream = vec![0; random.random_range(0..100)];
                random.fill_bytes(&mut stream);
                if stream.len() > 8 && random.random() {
                    stream[..4].copy_from_slice(&[random.random_range(1..4), 0, 0, 0]);
                    stream[5..8].fill(0);
                }
                stream
            } else {
                let (mut stream, _) = honest(&mut random);
                damage(&mut stream, &mut random);
                stream
            };
            let whole = read(&stream, &mut || stream.len() | 1);
            let cut = read(&stream, &mut || random.random_range(0..30));
            assert_eq!(whole, cut);
        }
    }

    fn refusal(frames: &[(Header, &[u8])]) -> FrameError {
        let mut stream = Vec::new();
        frames.iter().for_each(|(header, payload)| put(&mut stream, *header, payload));
        read(&stream, &mut || 6).1.unwrap_err()
    }

    #[test]
    fn refusals_tell_what_was_wrong() {
        let row = |bytes: u64, align: u64| [bytes.to_le_bytes(), align.to_le_bytes()].concat();
        let one = |bytes, align| [vec![1, 0, 0, 0, 0, 0, 0, 0], row(bytes, align)].concat();
        let announced = |payload: &[u8]| refusal(&[(header(ANNOUNCE, payload.len(), 7), payload)]);

        assert_eq!(refusal(&[(header(9, 0, 0), b"")]), FrameError::Kind(9));
        let long = u32::MAX as usize;
        let mut absurd = header(CHUNK, 0, 7);
        absurd[4..8].fill(0xFF);
        let limit = MAX_PAYLOAD;
        assert_eq!(refusal(&[(absurd, b"")]), FrameError::Length { length: long, limit });
        assert_eq!(refusal(&[(header(MESSAGE, 0, 3), b"")]), FrameError::Stray(3));
        assert_eq!(refusal(&[(chunk(7, 1), b"x")]), FrameError::Unannounced(7));
        assert_eq!(announced(b"x"), FrameError::Announcement { length: 1, count: 0 });
        let missing = FrameError::Announcement { length: 8, count: 1 };
        assert_eq!(announced(&one(1, 1)[..8]), missing);
        assert_eq!(announced(&[0xFF; 8]), FrameError::Count(u32::MAX as usize));
        assert_eq!(announced(&[1, 0, 0, 0, 2, 0, 0, 0]), FrameError::HeadPlace(2));
        let wanted = 1 << 40;
        let memory = FrameError::Memory { wanted, held: 0, limit: LIMIT };
        assert_eq!(announced(&one(wanted, 8)), memory);
        assert_eq!(announced(&one(8, 3)), NoMemory::Alignment(3).into());
        assert_eq!(announced(&one(8, 128)), NoMemory::Alignment(128).into());
        assert_eq!(announced(&one(8, 8)), FrameError::InTransfer(1));
        let table = one(8, 8);
        let eight = (header(ANNOUNCE, table.len(), 7), &*table);
        assert_eq!(refusal(&[eight, eight]), FrameError::Twice(7));
        let piece = |length| FrameError::Chunk { transfer: 7, length, missing: 8 };
        assert_eq!(refusal(&[eight, (chunk(7, 9), b"123456789")]), piece(9));
        assert_eq!(refusal(&[eight, (chunk(7, 0), b"")]), piece(0));
        assert_eq!(refusal(&[eight, (chunk(7, 8), b"123")]), FrameError::InFrame(5));
    }

    #[test]
    fn no_total_is_too_large_to_be_refused() {
        let row = [u64::MAX.to_le_bytes(), 8_u64.to_le_bytes()].concat();
        let payload = [&[2, 0, 0, 0, 0, 0, 0, 0], &*row, &*row].concat();
        let mut inbound = Inbound::new(u64::MAX);
        let error = inbound.finish(ANNOUNCE, 7, &payload, &mut |_, _| ()).unwrap_err();
        assert_eq!(error, NoMemory::Refused(usize::MAX).into());
    }
}
