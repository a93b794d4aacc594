//! Serves shell, control and stdin: moves frames between the sockets and the queues.

use crossbeam_channel::Sender;
use zmq::{DONTWAIT, POLLIN, PollItem, Socket};

use super::Channel;
use super::outlet::{MailboxEnd, Post};
use crate::wire::Frames;

/// Messages taken from each socket before replies get their turn.
const TURN: usize = 256;

/// The sockets that clients send requests to.
pub(super) struct Clients {
    sockets: [(Channel, Socket); 3],
    posts: MailboxEnd<Post>,
    incoming: Sender<(Channel, Frames)>,
}

impl Clients {
    pub(super) fn new(
        sockets: [(Channel, Socket); 3],
        posts: MailboxEnd<Post>,
        incoming: Sender<(Channel, Frames)>,
    ) -> Clients {
        Clients { sockets, posts, incoming }
    }

    /// Serves until told to close.
    pub(super) fn serve(&self) {
        let mut open = true;
        while open && self.wait() {
            self.take(TURN);
            self.posts.calm();
            open = self.posts.queue.try_iter().all(|post| self.obey(post));
        }
    }

    /// Blocks until there is something to do. Whether the sockets still live.
    fn wait(&self) -> bool {
        let wake = PollItem::from_fd(self.posts.descriptor(), POLLIN);
        let sockets = self.sockets.iter().map(|(_, socket)| socket.as_poll_item(POLLIN));
        let mut items: Vec<PollItem> = sockets.chain([wake]).collect();
        loop {
            match zmq::poll(&mut items, -1) {
                Ok(_) => return true,
                Err(zmq::Error::EINTR) => {}
                Err(_) => return false,
            }
        }
    }

    /// Takes up to `rounds` messages from each socket, one from each in turn.
    fn take(&self, rounds: usize) {
        for _ in 0..rounds {
            if !self
                .sockets
                .iter()
                .fold(false, |any, (channel, socket)| self.take_one(*channel, socket) || any)
            {
                return;
            }
        }
    }

    fn take_one(&self, channel: Channel, socket: &Socket) -> bool {
        match socket.recv_multipart(DONTWAIT) {
            Ok(frames) => self.incoming.send((channel, frames)).is_ok(),
            Err(_) => false,
        }
    }

    /// Whether to go on afterwards.
    fn obey(&self, post: Post) -> bool {
        match post {
            Post::Reply(channel, frames) => self.send(channel, &frames),
            Post::Drain(done) => {
                self.take(usize::MAX);
                let _ = done.send(());
            }
            Post::Close => return false,
        }
        true
    }

    fn send(&self, channel: Channel, frames: &Frames) {
        let sockets = self.sockets.iter().filter(|(of, _)| *of == channel);
        for (_, socket) in sockets {
            // A client that has gone is no error: ZeroMQ drops what was meant for it.
            if let Err(error) = socket.send_multipart(frames.iter().map(Vec::as_slice), DONTWAIT) {
                tracing::warn!(?channel, %error, "a reply cannot be sent");
            }
        }
    }
}
