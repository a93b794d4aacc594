//! Both ends of a new connection prove that they hold the session's key.
//!
//! ```text
//! dialler                                         acceptor
//! magic, version, nonce a, MAC("dial" a)     -->  wrong: closes without a word
//!                                            <--  nonce b, MAC("accept" a b)
//! MAC("confirm" b a)                         -->  wrong: closes
//! ```
//!
//! The MAC is HMAC-SHA256 under the key. The first proof keeps strangers from learning anything;
//! it can be recorded and sent again, but the confirmation names the acceptor's fresh nonce.

use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use hmac::{Hmac, Mac};
use rand::TryRngCore;
use rand::rngs::OsRng;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use sha2::Sha256;

const MAGIC: [u8; 8] = *b"parcell\0";
/// Both ends must speak the same version of everything that travels.
const VERSION: u32 = 1;
const NONCE: usize = 32;
const PROOF: usize = 32;
const OPENING: usize = MAGIC.len() + size_of::<u32>() + NONCE + PROOF;

/// The secret of a session: whoever holds it may run code in all of the session's processes.
#[derive(Clone)]
pub(crate) struct Key([u8; 32]);

impl Key {
    /// A key that nobody knows yet.
    pub(crate) fn random() -> Result<Key, HandshakeError> {
        fresh().map(Key)
    }

    pub(crate) fn from_bytes(bytes: [u8; 32]) -> Key {
        Key(bytes)
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    fn mac(&self, parts: [&[u8]; 3]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0)
            .unwrap_or_else(|_| unreachable!("HMAC takes keys of any length"));
        for part in parts {
            mac.update(part);
        }
        mac
    }

    fn prove(&self, parts: [&[u8]; 3]) -> [u8; PROOF] {
        self.mac(parts).finalize().into_bytes().into()
    }

    /// Whether `proof` is the MAC of the parts; takes the same time whatever differs.
    fn proves(&self, parts: [&[u8]; 3], proof: &[u8]) -> bool {
        self.mac(parts).verify_slice(proof).is_ok()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(secret)")
    }
}

/// Why two ends of a connection do not trust each other.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    #[error("the peer does not speak parcell's protocol")]
    NotParcell,
    #[error("the peer speaks version {theirs} of parcell's protocol, this process {VERSION}")]
    Version { theirs: u32 },
    #[error("the peer does not hold this session's key")]
    WrongKey,
    #[error(
        "the peer closed the connection after {got} of {wanted} bytes; it has another key or version, or it ended"
    )]
    Closed { got: usize, wanted: usize },
    #[error("the peer said nothing in time: {got} of {wanted} bytes came")]
    Late { got: usize, wanted: usize },
    #[error("the system's random numbers failed: {0}")]
    Random(String),
    #[error("the socket failed: {0}")]
    Socket(#[from] std::io::Error),
}

/// Proves to an acceptor that this process holds the key, and has it prove the same. Blocks until
/// `deadline` at most. On an error the caller drops the socket.
pub(super) fn dial(socket: &OwnedFd, key: &Key, deadline: Instant) -> Result<(), HandshakeError> {
    let ours = fresh()?;
    let mut opening = Vec::with_capacity(OPENING);
    opening.extend_from_slice(&MAGIC);
    opening.extend_from_slice(&VERSION.to_le_bytes());
    opening.extend_from_slice(&ours);
    opening.extend_from_slice(&key.prove([b"dial", &ours, &[]]));
    write(socket, &opening, deadline)?;
    let answer: [u8; NONCE + PROOF] = read(socket, deadline)?;
    let (theirs, proof) = answer.split_at(NONCE);
    if !key.proves([b"accept", &ours, theirs], proof) {
        return Err(HandshakeError::WrongKey);
    }
    write(socket, &key.prove([b"confirm", theirs, &ours]), deadline)
}

/// Lets a dialler in that proves to hold the key; a stranger gets no answer. Blocks until
/// `deadline` at most. On an error the caller drops the socket.
pub(super) fn accept(socket: &OwnedFd, key: &Key, deadline: Instant) -> Result<(), HandshakeError> {
    let opening: [u8; OPENING] = read(socket, deadline)?;
    let (magic, rest) = opening.split_at(MAGIC.len());
    let (version, rest) = rest.split_at(size_of::<u32>());
    let (theirs, proof) = rest.split_at(NONCE);
    if magic != MAGIC {
        return Err(HandshakeError::NotParcell);
    }
    if version != VERSION.to_le_bytes() {
        let theirs = version.iter().rev().fold(0, |sum, &byte| sum << 8 | u32::from(byte));
        return Err(HandshakeError::Version { theirs });
    }
    if !key.proves([b"dial", theirs, &[]], proof) {
        return Err(HandshakeError::WrongKey);
    }
    let ours = fresh()?;
    let mut answer = [0; NONCE + PROOF];
    answer[..NONCE].copy_from_slice(&ours);
    answer[NONCE..].copy_from_slice(&key.prove([b"accept", theirs, &ours]));
    write(socket, &answer, deadline)?;
    let confirmation: [u8; PROOF] = read(socket, deadline)?;
    if key.proves([b"confirm", &ours, theirs], &confirmation) {
        Ok(())
    } else {
        Err(HandshakeError::WrongKey)
    }
}

fn fresh() -> Result<[u8; 32], HandshakeError> {
    let mut bytes = [0; 32];
    OsRng.try_fill_bytes(&mut bytes).map_err(|error| HandshakeError::Random(error.to_string()))?;
    Ok(bytes)
}

pub(super) fn read<const N: usize>(
    socket: &OwnedFd,
    deadline: Instant,
) -> Result<[u8; N], HandshakeError> {
    let mut bytes = [0; N];
    let mut got = 0;
    while got < N {
        match recv(socket, &mut bytes[got..], RecvFlags::DONTWAIT) {
            Ok((_, 0)) => return Err(HandshakeError::Closed { got, wanted: N }),
            Ok((_, count)) => got += count,
            Err(Errno::AGAIN) => {
                let late = HandshakeError::Late { got, wanted: N };
                wait(socket, PollFlags::IN, deadline, late)?;
            }
            Err(Errno::INTR) => {}
            Err(Errno::CONNRESET) => return Err(HandshakeError::Closed { got, wanted: N }),
            Err(error) => return Err(HandshakeError::Socket(error.into())),
        }
    }
    Ok(bytes)
}

pub(super) fn write(
    socket: &OwnedFd,
    bytes: &[u8],
    deadline: Instant,
) -> Result<(), HandshakeError> {
    let (mut got, wanted) = (0, bytes.len());
    while got < wanted {
        match send(socket, &bytes[got..], SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Ok(count) => got += count,
            Err(Errno::AGAIN) => {
                wait(socket, PollFlags::OUT, deadline, HandshakeError::Late { got, wanted })?;
            }
            Err(Errno::INTR) => {}
            Err(Errno::PIPE | Errno::CONNRESET) => {
                return Err(HandshakeError::Closed { got, wanted });
            }
            Err(error) => return Err(HandshakeError::Socket(error.into())),
        }
    }
    Ok(())
}

/// Waits until the socket is ready, or gives `late` once the deadline has passed.
fn wait(
    socket: &OwnedFd,
    ready: PollFlags,
    deadline: Instant,
    late: HandshakeError,
) -> Result<(), HandshakeError> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left == Duration::ZERO {
        return Err(late);
    }
    let timeout =
        Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
    match poll(&mut [PollFd::from_borrowed_fd(socket.as_fd(), ready)], Some(&timeout)) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(HandshakeError::Socket(error.into())),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use std::thread;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(20)
    }

    fn key(byte: u8) -> Key {
        Key::from_bytes([byte; 32])
    }

    fn pair() -> (OwnedFd, OwnedFd) {
        let (near, far) = UnixStream::pair().unwrap();
        (near.into(), far.into())
    }

    /// What the acceptor says to these bytes, and what it sent before it closed.
    fn answer_to(bytes: &[u8]) -> (HandshakeError, Vec<u8>) {
        let (mut near, far) = UnixStream::pair().unwrap();
        near.write_all(bytes).unwrap();
        near.shutdown(std::net::Shutdown::Write).unwrap();
        let error = accept(&far.into(), &key(1), soon()).unwrap_err();
        let mut said = Vec::new();
        near.read_to_end(&mut said).unwrap_or(0);
        (error, said)
    }

    /// The first message of a dialler that holds `key`.
    fn opening(key: &Key) -> Vec<u8> {
        let (near, far) = UnixStream::pair().unwrap();
        far.shutdown(std::net::Shutdown::Write).unwrap();
        let error = dial(&near.into(), key, soon()).unwrap_err();
        assert!(matches!(error, HandshakeError::Closed { got: 0, .. }), "{error}");
        let mut bytes = [0; OPENING];
        (&far).read_exact(&mut bytes).unwrap();
        bytes.to_vec()
    }

    #[test]
    fn holders_of_the_key_find_each_other() {
        let (near, far) = pair();
        let key = Key::random().unwrap();
        let other = Key::from_bytes(*key.as_bytes());
        let acceptor = thread::spawn(move || accept(&far, &other, soon()).map(|()| far));
        dial(&near, &key, soon()).unwrap();
        // Nothing of what follows has been read.
        UnixStream::from(near).write_all(b"next").unwrap();
        let mut next = String::new();
        let far = acceptor.join().unwrap().unwrap();
        UnixStream::from(far).read_to_string(&mut next).unwrap();
        assert_eq!(next, "next");
    }

    #[test]
    fn a_wrong_key_gets_no_answer() {
        let (error, said) = answer_to(&opening(&key(2)));
        assert!(matches!(error, HandshakeError::WrongKey), "{error}");
        assert!(said.is_empty());
    }

    #[test]
    fn what_is_sent_again_gets_no_further() {
        let recorded = opening(&key(1));
        let (error, said) = answer_to(&recorded);
        let closed = matches!(error, HandshakeError::Closed { got: 0, wanted: PROOF });
        assert!(closed, "{error}");
        let (again, said_again) = answer_to(&[&*recorded, &[0; PROOF]].concat());
        assert!(matches!(again, HandshakeError::WrongKey), "{again}");
        assert_ne!(said, said_again, "each answer has a nonce of its own");
    }

    #[test]
    fn a_confirmation_of_another_connection_is_worthless() {
        let (mut near, far) = UnixStream::pair().unwrap();
        let acceptor = thread::spawn(move || accept(&far.into(), &key(1), soon()));
        near.write_all(&opening(&key(1))).unwrap();
        let mut answer = [0; NONCE + PROOF];
        near.read_exact(&mut answer).unwrap();
        // Right for this acceptor's nonce, wrong for the dialler's.
        let proof = key(1).prove([b"confirm", &answer[..NONCE], &[0; NONCE]]);
        near.write_all(&proof).unwrap();
        assert!(matches!(acceptor.join().unwrap(), Err(HandshakeError::WrongKey)));
    }

    #[test]
    fn rubbish_and_other_versions_are_named() {
        let (error, said) = answer_to(&[b'x'; OPENING]);
        assert!(matches!(error, HandshakeError::NotParcell) && said.is_empty(), "{error}");
        let mut newer = opening(&key(1));
        newer[MAGIC.len()] += 1;
        let (error, said) = answer_to(&newer);
        let named = matches!(error, HandshakeError::Version { theirs } if theirs == VERSION + 1);
        assert!(named && said.is_empty(), "{error}");
    }

    #[test]
    fn half_a_message_is_told_with_its_length() {
        let (error, said) = answer_to(&opening(&key(1))[..50]);
        let told = matches!(error, HandshakeError::Closed { got: 50, wanted: OPENING });
        assert!(told && said.is_empty(), "{error}");
    }

    #[test]
    fn silence_ends_at_the_deadline() {
        let (near, far) = pair();
        let shortly = || Instant::now() + Duration::from_millis(20);
        let error = accept(&far, &key(1), shortly()).unwrap_err();
        assert!(matches!(error, HandshakeError::Late { got: 0, wanted: OPENING }), "{error}");
        let error = dial(&near, &key(1), shortly()).unwrap_err();
        assert!(matches!(error, HandshakeError::Late { got: 0, .. }), "{error}");
    }

    #[test]
    fn an_acceptor_without_the_key_is_not_believed() {
        let (near, mut far) = UnixStream::pair().unwrap();
        far.write_all(&[3; NONCE + PROOF]).unwrap();
        let error = dial(&near.into(), &key(1), soon()).unwrap_err();
        assert!(matches!(error, HandshakeError::WrongKey), "{error}");
        far.set_nonblocking(true).unwrap();
        let mut said = Vec::new();
        far.read_to_end(&mut said).unwrap_or(0);
        assert_eq!(said.len(), OPENING, "no confirmation was given");
    }

    #[test]
    fn keys_are_not_printed() {
        assert_eq!(format!("{:?}", key(7)), "Key(secret)");
    }
}
