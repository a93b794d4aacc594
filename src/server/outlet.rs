//! The way out: queues towards the sockets' threads. Replies and status never block; the outputs
//! of cells wait until there is room, so that a cell cannot print faster than clients read.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::Channel;
use crate::wire::Frames;

/// Bytes of outputs that wait for the iopub thread before cells must wait.
const ROOM: usize = 4 << 20;

/// Orders for the thread that serves shell, control and stdin.
#[derive(Debug)]
pub enum Post {
    /// Send this.
    Reply(Channel, Frames),
    /// Take everything from the sockets, then say so.
    Drain(Sender<()>),
    /// Send what came before this, then end.
    Close,
}

/// Orders for the thread that serves iopub.
#[derive(Debug)]
pub enum Publication {
    /// Send this.
    Message(Frames),
    /// Send what came before this, then end.
    Close,
}

/// The way out, to be cloned into every thread that answers or shows something.
#[derive(Debug, Clone)]
pub struct Outlet {
    posts: Mailbox<Post>,
    publications: Mailbox<Publication>,
    room: Arc<Room>,
}

impl Outlet {
    pub(super) fn new(
        posts: Mailbox<Post>,
        publications: Mailbox<Publication>,
        room: Arc<Room>,
    ) -> Outlet {
        Outlet { posts, publications, room }
    }

    /// Sends to one client. Never blocks.
    pub fn reply(&self, channel: Channel, frames: Frames) {
        self.posts.post(Post::Reply(channel, frames));
    }

    /// Sends to all subscribers. Never blocks: for what the kernel itself says.
    pub fn publish(&self, frames: Frames) {
        self.room.enter(size(&frames));
        self.publications.post(Publication::Message(frames));
    }

    /// Sends to all subscribers as soon as there is room: for what cells show. Blocks while
    /// subscribers are slow, at most for the patience that they are given.
    pub fn publish_when_there_is_room(&self, frames: Frames) {
        self.room.wait();
        self.publish(frames);
    }

    /// Waits until the requests that have reached the sockets are queued.
    pub(super) fn drain(&self, limit: Duration) {
        let (done, when_done) = bounded(1);
        if self.posts.wake.is_some() && self.posts.post(Post::Drain(done)) {
            let _ = when_done.recv_timeout(limit);
        }
    }

    /// Ends both threads after they have sent what is queued.
    pub(super) fn close(&self) {
        self.room.close();
        self.posts.post(Post::Close);
        self.publications.post(Publication::Close);
    }
}

/// Bytes in `frames`.
pub(super) fn size(frames: &Frames) -> usize {
    frames.iter().map(Vec::len).sum()
}

/// The sending end of a queue whose receiver may be waiting in `poll`.
#[derive(Debug)]
pub(super) struct Mailbox<T> {
    sender: Sender<T>,
    wake: Option<Arc<EventFd>>,
}

/// The receiving end.
#[derive(Debug)]
pub(super) struct MailboxEnd<T> {
    /// What was posted.
    pub(super) queue: Receiver<T>,
    wake: Arc<EventFd>,
}

impl<T> Mailbox<T> {
    /// A mailbox whose receiver blocks on the queue itself.
    pub(super) fn plain() -> (Mailbox<T>, Receiver<T>) {
        let (sender, queue) = unbounded();
        (Mailbox { sender, wake: None }, queue)
    }

    /// A mailbox whose receiver waits for a descriptor.
    pub(super) fn waking() -> io::Result<(Mailbox<T>, MailboxEnd<T>)> {
        let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
        let wake = Arc::new(EventFd::from_value_and_flags(0, flags)?);
        let (sender, queue) = unbounded();
        Ok((Mailbox { sender, wake: Some(wake.clone()) }, MailboxEnd { queue, wake }))
    }

    /// Whether the receiver was still there to take it.
    fn post(&self, item: T) -> bool {
        let sent = self.sender.send(item).is_ok();
        // A full counter means that the receiver has been woken often enough.
        let _ = self.wake.as_ref().map(|wake| wake.write(1));
        sent
    }
}

// Derived, it would ask for `T: Clone`.
impl<T> Clone for Mailbox<T> {
    fn clone(&self) -> Mailbox<T> {
        Mailbox { sender: self.sender.clone(), wake: self.wake.clone() }
    }
}

impl<T> MailboxEnd<T> {
    /// Readable when something was posted since the last [`MailboxEnd::calm`].
    pub(super) fn descriptor(&self) -> RawFd {
        self.wake.as_raw_fd()
    }

    /// Makes the descriptor unreadable again. To be called before the queue is emptied.
    pub(super) fn calm(&self) {
        // It fails only where nothing was posted.
        let _ = self.wake.read();
    }
}

/// How much is queued towards iopub.
#[derive(Debug)]
pub(super) struct Room {
    limit: usize,
    state: Mutex<State>,
    freed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    bytes: usize,
    closed: bool,
}

impl Room {
    pub(super) fn for_outputs() -> Room {
        Room { limit: ROOM, state: Mutex::default(), freed: Condvar::new() }
    }

    pub(super) fn endless() -> Room {
        Room { limit: usize::MAX, ..Room::for_outputs() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Blocks until something fits, or the server closes.
    fn wait(&self) {
        let full = |state: &mut State| state.bytes >= self.limit && !state.closed;
        drop(self.freed.wait_while(self.state(), full));
    }

    fn enter(&self, bytes: usize) {
        self.state().bytes += bytes;
    }

    pub(super) fn leave(&self, bytes: usize) {
        self.state().bytes -= bytes;
        self.freed.notify_all();
    }

    fn close(&self) {
        self.state().closed = true;
        self.freed.notify_all();
    }

    /// Whether nobody is to be waited for any more.
    pub(super) fn is_closed(&self) -> bool {
        self.state().closed
    }
}
