//! What is sent between hosts is sealed: nobody else can read it, change it, or repeat it.
//!
//! The Noise protocol `NNpsk0` with the session's key: both ends make fresh keys, so a recorded
//! stream stays unreadable even to who learns the session's key later. What follows is a sequence of
//! records: a length (`u16`, little-endian) and so many sealed bytes. The number of a record is part
//! of its seal and is not sent, so a record that was dropped, repeated or moved does not open.
//!
//! Source: The Noise Protocol Framework, revision 34, §9 (pre-shared keys) and §11.3 (rekeying).

use std::io::{self, IoSlice};
use std::sync::{PoisonError, RwLock};

use snow::{Builder, HandshakeState, StatelessTransportState};

use super::handshake::Key;

const PROTOCOL: &str = "Noise_NNpsk0_25519_AESGCM_SHA256";
/// The protocol's own limit on a sealed record.
const RECORD: usize = 65_535;
const TAG: usize = 16;
const LENGTH: usize = size_of::<u16>();
/// Plain bytes of a record.
const PLAIN: usize = RECORD - TAG;
/// After so many records, 64 GB, a key is replaced: far below what AES-GCM may seal with one.
const RECORDS_PER_KEY: u64 = 1 << 20;
/// Bytes that are sealed in advance of the socket.
const AHEAD: usize = 4 * PLAIN;

/// Bytes of each of the handshake's two messages: a public key and a tag.
pub(super) const GREETING: usize = 32 + TAG;

/// A handshake on its way.
pub(super) struct Greeting(HandshakeState);

impl Greeting {
    pub(super) fn of_dialler(key: &Key) -> io::Result<Greeting> {
        let builder = builder(key)?;
        builder.build_initiator().map(Greeting).map_err(broken)
    }

    pub(super) fn of_acceptor(key: &Key) -> io::Result<Greeting> {
        let builder = builder(key)?;
        builder.build_responder().map(Greeting).map_err(broken)
    }

    pub(super) fn say(&mut self) -> io::Result<[u8; GREETING]> {
        let mut message = [0; GREETING];
        self.0.write_message(&[], &mut message).map_err(broken)?;
        Ok(message)
    }

    pub(super) fn hear(&mut self, message: &[u8; GREETING]) -> io::Result<()> {
        self.0.read_message(message, &mut []).map(drop).map_err(broken)
    }

    pub(super) fn done(self) -> io::Result<Cipher> {
        let state = self.0.into_stateless_transport_mode().map_err(broken)?;
        Ok(Cipher { state: RwLock::new(state) })
    }
}

fn builder(key: &Key) -> io::Result<Builder<'_>> {
    let protocol = PROTOCOL.parse().map_err(broken)?;
    Builder::new(protocol).psk(0, key.as_bytes()).map_err(broken)
}

fn broken(error: snow::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// The keys of one connection.
pub(super) struct Cipher {
    state: RwLock<StatelessTransportState>,
}

/// What was sealed and is still to be sent.
#[derive(Default)]
pub(super) struct Sealed {
    number: u64,
    bytes: Vec<u8>,
    sent: usize,
    /// A record before it is sealed.
    plain: Vec<u8>,
}

impl Sealed {
    pub(super) fn rest(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    pub(super) fn advance(&mut self, count: usize) {
        self.sent += count;
    }

    /// Seals bytes of the slices, as many as may be in advance; how many. Nothing may be left of
    /// what was sealed before.
    pub(super) fn seal(&mut self, cipher: &Cipher, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.bytes.clear();
        self.sent = 0;
        let mut taken = 0;
        let mut rest = slices.iter().map(|slice| &**slice).filter(|slice| !slice.is_empty());
        let mut slice = rest.next();
        while let Some(bytes) = slice
            && taken < AHEAD
        {
            let fits = bytes.len().min(PLAIN - self.plain.len());
            self.plain.extend_from_slice(&bytes[..fits]);
            taken += fits;
            slice = if fits < bytes.len() { Some(&bytes[fits..]) } else { rest.next() };
            if self.plain.len() == PLAIN {
                self.record(cipher)?;
            }
        }
        self.record(cipher)?;
        Ok(taken)
    }

    fn record(&mut self, cipher: &Cipher) -> io::Result<()> {
        if self.plain.is_empty() {
            return Ok(());
        }
        let begin = self.bytes.len();
        let length = self.plain.len() + TAG;
        let written = u16::try_from(length).expect("at most RECORD");
        self.bytes.extend_from_slice(&written.to_le_bytes());
        self.bytes.resize(begin + LENGTH + length, 0);
        let state = cipher.state.read().unwrap_or_else(PoisonError::into_inner);
        let to = &mut self.bytes[begin + LENGTH..];
        state.write_message(self.number, &self.plain, to).map_err(broken)?;
        drop(state);
        self.plain.clear();
        self.number += 1;
        if self.number.is_multiple_of(RECORDS_PER_KEY) {
            cipher.state.write().unwrap_or_else(PoisonError::into_inner).rekey_outgoing();
        }
        Ok(())
    }
}

/// What has come and was not taken yet.
pub(super) struct Opened {
    number: u64,
    /// Received bytes; a record may be incomplete.
    sealed: Box<[u8]>,
    /// Where in `sealed` unopened bytes begin and end.
    from: usize,
    to: usize,
    /// Opened bytes, and where those begin that were not taken.
    plain: Box<[u8]>,
    taken: usize,
    open: usize,
}

impl Default for Opened {
    fn default() -> Opened {
        let sealed = vec![0; 2 * (LENGTH + RECORD)].into_boxed_slice();
        let plain = vec![0; RECORD].into_boxed_slice();
        Opened { number: 0, sealed, from: 0, to: 0, plain, taken: 0, open: 0 }
    }
}

impl Opened {
    /// Opened bytes that were not taken yet; opens the next record if there are none. Empty if more
    /// bytes must be received first.
    pub(super) fn plain(&mut self, cipher: &Cipher) -> io::Result<&[u8]> {
        if self.taken == self.open {
            self.open_next(cipher)?;
        }
        Ok(&self.plain[self.taken..self.open])
    }

    pub(super) fn take(&mut self, count: usize) {
        self.taken += count;
    }

    /// Where received bytes are to be put.
    pub(super) fn room(&mut self) -> &mut [u8] {
        if self.from > 0 {
            self.sealed.copy_within(self.from..self.to, 0);
            self.to -= self.from;
            self.from = 0;
        }
        &mut self.sealed[self.to..]
    }

    pub(super) fn received(&mut self, count: usize) {
        self.to += count;
    }

    /// Whether the stream may end here.
    pub(super) fn is_between_records(&self) -> bool {
        self.from == self.to
    }

    fn open_next(&mut self, cipher: &Cipher) -> io::Result<()> {
        let have = &self.sealed[self.from..self.to];
        let Some((length, rest)) = have.split_first_chunk::<LENGTH>() else { return Ok(()) };
        let length = usize::from(u16::from_le_bytes(*length));
        if length < TAG {
            let why = format!("a sealed record of {length} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        let Some(record) = rest.get(..length) else { return Ok(()) };
        let state = cipher.state.read().unwrap_or_else(PoisonError::into_inner);
        let opened = state.read_message(self.number, record, &mut self.plain);
        drop(state);
        let changed = |_| {
            let why = format!("record {} was changed, lost or repeated on its way", self.number);
            io::Error::new(io::ErrorKind::InvalidData, why)
        };
        self.open = opened.map_err(changed)?;
        self.taken = 0;
        self.from += LENGTH + length;
        self.number += 1;
        if self.number.is_multiple_of(RECORDS_PER_KEY) {
            cipher.state.write().unwrap_or_else(PoisonError::into_inner).rekey_incoming();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(ours: &Key, theirs: &Key) -> io::Result<(Cipher, Cipher)> {
        let (mut a, mut b) = (Greeting::of_dialler(ours)?, Greeting::of_acceptor(theirs)?);
        b.hear(&a.say()?)?;
        a.hear(&b.say()?)?;
        Ok((a.done()?, b.done()?))
    }

    fn sealed(cipher: &Cipher, sealed: &mut Sealed, text: &[u8]) -> Vec<u8> {
        let mut all = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (begin, end) = rest.split_at(rest.len().min(100));
            let count = sealed.seal(cipher, &[IoSlice::new(begin), IoSlice::new(end)]).unwrap();
            all.extend_from_slice(sealed.rest());
            sealed.advance(sealed.rest().len());
            rest = &rest[count..];
        }
        all
    }

    fn opened(
        cipher: &Cipher,
        opened: &mut Opened,
        stream: &[u8],
        cut: usize,
    ) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        let mut rest = stream;
        loop {
            loop {
                let plain = opened.plain(cipher)?;
                let count = plain.len();
                if count == 0 {
                    break;
                }
                all.extend_from_slice(plain);
                opened.take(count);
            }
            if rest.is_empty() {
                return Ok(all);
            }
            let room = opened.room();
            let count = room.len().min(cut).min(rest.len());
            room[..count].copy_from_slice(&rest[..count]);
            opened.received(count);
            rest = &rest[count..];
        }
    }

    fn text(n: usize) -> Vec<u8> {
        (0..n).map(|k| (k * k / 7) as u8).collect()
    }

    #[test]
    fn what_is_sealed_opens_however_it_is_cut() {
        let key = Key::random().unwrap();
        let (a, b) = pair(&key, &key).unwrap();
        let (mut to_b, mut at_b) = (Sealed::default(), Opened::default());
        for (n, cut) in
            [(1, 1), (PLAIN - 1, 7), (PLAIN, 4096), (PLAIN + 1, 1 << 20), (1 << 20, 999)]
        {
            let text = text(n);
            let stream = sealed(&a, &mut to_b, &text);
            let readable = n >= 16 && stream.windows(16).any(|bytes| bytes == &text[..16]);
            assert!(!readable, "{n} can be read");
            assert!(opened(&b, &mut at_b, &stream, cut).unwrap() == text, "{n} cut at {cut}");
            assert!(at_b.is_between_records());
        }
        // And the other way, with keys of its own.
        let stream = sealed(&b, &mut Sealed::default(), &text(300));
        assert!(opened(&a, &mut Opened::default(), &stream, 11).unwrap() == text(300));
        assert!(
            opened(&b, &mut Opened::default(), &stream, 11).is_err(),
            "sent back to its sender"
        );
    }

    #[test]
    fn keys_are_replaced_on_both_sides_at_once() {
        let key = Key::random().unwrap();
        let (a, b) = pair(&key, &key).unwrap();
        let number = RECORDS_PER_KEY - 2;
        let mut to_b = Sealed { number, ..Sealed::default() };
        let mut at_b = Opened { number, ..Opened::default() };
        for n in 0..5 {
            let stream = sealed(&a, &mut to_b, &text(50 + n));
            assert!(opened(&b, &mut at_b, &stream, 1000).unwrap() == text(50 + n), "record {n}");
        }
    }

    #[test]
    fn what_was_changed_repeated_or_left_out_does_not_open() {
        let key = Key::random().unwrap();
        let (a, b) = pair(&key, &key).unwrap();
        let mut to_b = Sealed::default();
        let first = sealed(&a, &mut to_b, &text(50));
        let second = sealed(&a, &mut to_b, &text(60));
        let fails = |stream: &[u8]| opened(&b, &mut Opened::default(), stream, 1000).is_err();
        assert!(!fails(&first));
        assert!(fails(&second), "the first was left out");
        assert!(fails(&[&*first, &*first].concat()), "it was repeated");
        for place in 0..first.len() {
            let mut changed = first.clone();
            changed[place] ^= 4;
            // A larger length waits for bytes that never come; nothing is delivered.
            let got = opened(&b, &mut Opened::default(), &changed, 1000);
            assert!(got.is_err() || got.unwrap().is_empty(), "byte {place}");
        }
        assert!(fails(&[3, 0, 1, 2, 3]), "shorter than a seal");
    }

    #[test]
    fn another_key_opens_nothing() {
        let error = pair(&Key::random().unwrap(), &Key::random().unwrap()).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
