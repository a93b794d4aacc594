//! Serves iopub: greets subscribers, publishes to them, waits for slow ones and loses patience
//! with those that do not read at all.

use std::ffi::c_int;
use std::sync::Arc;
use std::time::{Duration, Instant};

use zmq::{DONTWAIT, POLLIN, PollItem, Socket};

use super::outlet::{MailboxEnd, Publication, Room, size};
use crate::wire::Frames;

/// Messages that wait inside ZeroMQ for each subscriber.
pub(super) const WAITING: i32 = 256;

/// Messages kept for the first subscriber: `starting`, and little else in practice.
const EARLY: usize = 16;

/// How long one attempt to publish blocks, in milliseconds.
pub(super) const ATTEMPT: i32 = 50;

/// The socket that clients subscribe to.
pub(super) struct Subscribers<W> {
    socket: Socket,
    publications: MailboxEnd<Publication>,
    room: Arc<Room>,
    patience: Duration,
    welcome: W,
    /// Whether messages are being dropped for somebody.
    dropping: bool,
    /// What was published before anybody subscribed; `None` once somebody has.
    early: Option<Vec<Frames>>,
}

impl<W: Fn(&[u8]) -> Frames> Subscribers<W> {
    pub(super) fn new(
        socket: Socket,
        publications: MailboxEnd<Publication>,
        room: Arc<Room>,
        patience: Duration,
        welcome: W,
    ) -> Subscribers<W> {
        Subscribers {
            socket,
            publications,
            room,
            patience,
            welcome,
            dropping: false,
            early: Some(Vec::new()),
        }
    }

    /// Serves until told to close.
    pub(super) fn serve(mut self) {
        while self.wait() {
            self.greet();
            self.publications.calm();
            while let Ok(publication) = self.publications.queue.try_recv() {
                let Publication::Message(frames) = publication else { return };
                self.publish(&frames);
                self.room.leave(size(&frames));
                self.greet();
            }
        }
    }

    /// Blocks until there is something to do. Whether the socket still lives.
    fn wait(&self) -> bool {
        let wake = PollItem::from_fd(self.publications.descriptor(), POLLIN);
        let mut items = [self.socket.as_poll_item(POLLIN), wake];
        loop {
            match zmq::poll(&mut items, -1) {
                Ok(_) => return true,
                Err(zmq::Error::EINTR) => {}
                Err(_) => return false,
            }
        }
    }

    /// Welcomes whoever has subscribed since the last time.
    fn greet(&mut self) {
        while let Ok(event) = self.socket.recv_bytes(DONTWAIT) {
            // 1 and the topic is a subscription, 0 and the topic the end of one.
            if let [1, topic @ ..] = event.as_slice() {
                let welcome = (self.welcome)(topic);
                self.send(&welcome, DONTWAIT);
                for frames in self.early.take().into_iter().flatten() {
                    self.send(&frames, DONTWAIT);
                }
            }
        }
    }

    /// Publishes to all, waiting for those that read slowly.
    fn publish(&mut self, frames: &Frames) {
        if let Some(early) = &mut self.early {
            if early.len() < EARLY {
                early.push(frames.clone());
            }
            return;
        }
        let until = Instant::now() + self.patience;
        while !self.send(frames, 0) {
            if Instant::now() >= until || self.room.is_closed() {
                self.publish_to_readers(frames);
                return;
            }
            self.greet();
        }
        self.dropping = false;
    }

    /// Publishes to those that read. ZeroMQ then skips the others until they read again.
    fn publish_to_readers(&mut self, frames: &Frames) {
        if !std::mem::replace(&mut self.dropping, true) {
            tracing::warn!("a subscriber of iopub does not read: messages are dropped for it");
        }
        set_lossless(&mut self.socket, false);
        self.send(frames, DONTWAIT);
        set_lossless(&mut self.socket, true);
    }

    /// Whether it could be sent, or can never be. The first frame decides for all.
    fn send(&self, frames: &Frames, flags: c_int) -> bool {
        match self.socket.send_multipart(frames.iter().map(Vec::as_slice), flags) {
            Err(zmq::Error::EAGAIN | zmq::Error::EINTR) => false,
            Err(error) => {
                tracing::warn!(%error, "a message cannot be published");
                true
            }
            Ok(()) => true,
        }
    }
}

/// Whether a full queue of one subscriber makes sending fail instead of losing the message.
pub(super) fn set_lossless(socket: &mut Socket, lossless: bool) {
    let value = c_int::from(lossless);
    // SAFETY: the pointer is a live socket that this thread owns, and the option, which the `zmq`
    // crate has no function for, takes a C int of the size given.
    let status = unsafe {
        zmq_sys::zmq_setsockopt(
            socket.as_mut_ptr(),
            zmq_sys::ZMQ_XPUB_NODROP as c_int,
            (&raw const value).cast(),
            size_of::<c_int>(),
        )
    };
    debug_assert_eq!(status, 0, "XPUB sockets have this option since ZeroMQ 4.1");
}
