//! The two directions of a connected socket, sealed where it leaves the host.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown, recv, sendmsg, shutdown};

use super::cipher::{Cipher, Greeting, Opened, Sealed};
use super::handshake::{self, HandshakeError, Key};

/// A connected stream socket whose ends have proved who they are.
pub(crate) struct Channel {
    socket: OwnedFd,
    seal: Option<Box<Seal>>,
}

/// Keys and what is under way. Each lock is taken by the one thread that sends or receives.
struct Seal {
    cipher: Cipher,
    sealed: Mutex<Sealed>,
    opened: Mutex<Opened>,
}

impl Channel {
    /// Makes a channel of a socket that this process has connected: both ends prove that they hold
    /// the key. With `sealed`, which both ends must agree on, nobody else can read or change what
    /// goes through it. Blocks until `deadline` at most.
    pub(crate) fn dial(
        socket: OwnedFd,
        key: &Key,
        sealed: bool,
        deadline: Instant,
    ) -> Result<Channel, HandshakeError> {
        handshake::dial(&socket, key, deadline)?;
        if !sealed {
            return Ok(Channel::plain(socket));
        }
        let mut greeting = Greeting::of_dialler(key)?;
        handshake::write(&socket, &greeting.say()?, deadline)?;
        greeting.hear(&handshake::read(&socket, deadline)?)?;
        Ok(Channel::sealed(socket, greeting.done()?))
    }

    /// As [`Channel::dial`], for the end that was called.
    pub(crate) fn accept(
        socket: OwnedFd,
        key: &Key,
        sealed: bool,
        deadline: Instant,
    ) -> Result<Channel, HandshakeError> {
        handshake::accept(&socket, key, deadline)?;
        if !sealed {
            return Ok(Channel::plain(socket));
        }
        let mut greeting = Greeting::of_acceptor(key)?;
        greeting.hear(&handshake::read(&socket, deadline)?)?;
        handshake::write(&socket, &greeting.say()?, deadline)?;
        Ok(Channel::sealed(socket, greeting.done()?))
    }

    /// Bytes go as they are: for sockets that do not leave the host, or where that was asked for.
    pub(super) fn plain(socket: OwnedFd) -> Channel {
        Channel { socket, seal: None }
    }

    fn sealed(socket: OwnedFd, cipher: Cipher) -> Channel {
        let seal = Seal { cipher, sealed: Mutex::default(), opened: Mutex::default() };
        Channel { socket, seal: Some(Box::new(seal)) }
    }

    /// Sends a short text. Blocks while the socket does not take it.
    pub(crate) fn say(&self, text: &[u8]) -> io::Result<()> {
        let length = u32::try_from(text.len()).expect("a short text").to_le_bytes();
        let whole = [&length, text].concat();
        let mut rest = whole.as_slice();
        while !rest.is_empty() || self.has_rest() {
            match self.send(&[IoSlice::new(rest)], SendFlags::empty()) {
                Ok(count) => rest = &rest[count..],
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Receives a short text of at most `longest` bytes, of which no more than a time limit of the
    /// socket may pass between two.
    pub(crate) fn hear(&self, longest: usize) -> io::Result<Vec<u8>> {
        let length = self.exactly(size_of::<u32>())?;
        let length = u32::from_le_bytes(length.try_into().expect("four bytes")) as usize;
        if length > longest {
            let why = format!("a greeting of {length} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        self.exactly(length)
    }

    fn exactly(&self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(length);
        while bytes.len() < length {
            let mut room = vec![MaybeUninit::uninit(); length - bytes.len()];
            let got = self.receive(&mut room)?;
            if got.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            bytes.extend_from_slice(got);
        }
        Ok(bytes)
    }

    pub(crate) fn socket(&self) -> &OwnedFd {
        &self.socket
    }

    /// Takes bytes of the slices to send them; how many. Some of them may be kept here until the
    /// next call, see [`Channel::has_rest`].
    pub(super) fn send(&self, slices: &[IoSlice<'_>], flags: SendFlags) -> Result<usize, Errno> {
        let flags = flags | SendFlags::NOSIGNAL;
        let Some(seal) = &self.seal else { return self.write(slices, flags) };
        let mut sealed = lock(&seal.sealed);
        self.flush(&mut sealed, flags)?;
        let count = sealed.seal(&seal.cipher, slices).map_err(|_| Errno::IO)?;
        match self.flush(&mut sealed, flags) {
            Ok(()) | Err(Errno::AGAIN | Errno::INTR) => Ok(count),
            Err(error) => Err(error),
        }
    }

    /// Whether bytes that were taken are still to be sent.
    pub(super) fn has_rest(&self) -> bool {
        self.seal.as_ref().is_some_and(|seal| !lock(&seal.sealed).rest().is_empty())
    }

    fn flush(&self, sealed: &mut Sealed, flags: SendFlags) -> Result<(), Errno> {
        while !sealed.rest().is_empty() {
            let count = self.write(&[IoSlice::new(sealed.rest())], flags)?;
            sealed.advance(count);
        }
        Ok(())
    }

    fn write(&self, slices: &[IoSlice<'_>], flags: SendFlags) -> Result<usize, Errno> {
        sendmsg(&self.socket, slices, &mut SendAncillaryBuffer::default(), flags)
    }

    /// Blocks until bytes have come, and puts them into `memory`; none at the end of the stream.
    pub(super) fn receive<'a>(
        &self,
        memory: &'a mut [MaybeUninit<u8>],
    ) -> io::Result<&'a mut [u8]> {
        let Some(seal) = &self.seal else { return read(&self.socket, memory) };
        let mut opened = lock(&seal.opened);
        loop {
            let plain = opened.plain(&seal.cipher)?;
            if !plain.is_empty() {
                let count = plain.len().min(memory.len());
                let filled = memory[..count].write_copy_of_slice(&plain[..count]);
                opened.take(count);
                return Ok(filled);
            }
            let room = opened.room();
            let count = loop {
                match recv(&self.socket, &mut *room, RecvFlags::empty()) {
                    Ok((_, count)) => break count,
                    Err(Errno::INTR) => {}
                    Err(Errno::CONNRESET) => break 0,
                    Err(error) => return Err(error.into()),
                }
            };
            opened.received(count);
            if count == 0 {
                return if opened.is_between_records() { Ok(&mut []) } else { Err(cut_short()) };
            }
        }
    }

    /// Ends both directions; whoever receives gets the end of the stream.
    pub(super) fn shutdown(&self) {
        shutdown(&self.socket, Shutdown::Both).unwrap_or(());
    }
}

/// Receives bytes as they are.
fn read<'a>(socket: &OwnedFd, memory: &'a mut [MaybeUninit<u8>]) -> io::Result<&'a mut [u8]> {
    loop {
        match recv(socket, &mut *memory, RecvFlags::empty()) {
            Ok((_, count)) => {
                // SAFETY: `recv` has written `count` bytes.
                return Ok(unsafe { memory[..count].assume_init_mut() });
            }
            Err(Errno::INTR) => {}
            // The peer has closed without reading all that was sent to it: also an end.
            Err(Errno::CONNRESET) => return Ok(&mut []),
            Err(error) => return Err(error.into()),
        }
    }
}

fn cut_short() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the stream ended within a sealed record")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
