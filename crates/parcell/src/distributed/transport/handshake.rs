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
pub(crate) fn dial(socket: &OwnedFd, key: &Key, deadline: Instant) -> Result<(), HandshakeError> {
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
pub(crate) fn accept(socket: &OwnedFd, key: &Key, deadline: Instant) -> Result<(), HandshakeError> {
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

fn read<const N: usize>(socket: &OwnedFd, deadline: Instant) -> Result<[u8; N], HandshakeError> {
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

fn write(socket: &OwnedFd, bytes: &[u8], deadline: Instant) -> Result<(), HandshakeError> {
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
