//! Owns the sockets: frames in, frames out. Knows nothing of messages, and is the only place that
//! knows of ZeroMQ. One thread serves shell, control and stdin, one iopub, one the heartbeat;
//! the rest of the kernel sees a [`Connection`], which [`Connection::memory`] gives without
//! sockets.

mod bind;
mod connection_file;
mod heartbeat;
mod iopub;
mod outlet;
mod requests;

#[cfg(test)]
mod tests;

use std::io;
use std::iter;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};

use crate::wire::Frames;

pub use connection_file::{ConnectionFile, Ports, Transport};
use outlet::{Mailbox, Room};
pub use outlet::{Outlet, Post, Publication};

/// How long a subscriber of iopub may leave its messages unread before they are dropped for it.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Messages that a client sends together arrive closer together than this.
const SETTLED: Duration = Duration::from_millis(15);

/// How long the loop waits for what is pending, however much comes.
const DRAIN_LIMIT: Duration = Duration::from_millis(200);

/// Where requests come from and replies go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Channel {
    /// Requests that may wait for a running cell.
    Shell,
    /// Requests that must not.
    Control,
    /// Questions to the user, and the answers.
    Stdin,
}

/// Why there are no sockets.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The connection file cannot be read or written.
    #[error("the connection file {path} cannot be used", path = path.display())]
    File {
        /// Where it is.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The connection file is not what it should be.
    #[error("the connection file {path} is not understood", path = path.display())]
    Format {
        /// Where it is.
        path: PathBuf,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// Messages are to be signed in a way that this kernel lacks.
    #[error("the signature scheme {scheme:?} is not supported, only \"hmac-sha256\"")]
    Scheme {
        /// What the connection file asks for.
        scheme: String,
    },
    /// An address cannot be bound.
    #[error("cannot listen on {endpoint}")]
    Bind {
        /// The address.
        endpoint: String,
        /// What ZeroMQ said.
        source: zmq::Error,
    },
    /// ZeroMQ failed otherwise.
    #[error("ZeroMQ failed")]
    Socket(#[from] zmq::Error),
    /// A thread or an event descriptor cannot be had.
    #[error("the system refuses threads or descriptors")]
    System(#[from] io::Error),
}

/// The kernel's side of all channels.
#[derive(Debug)]
pub struct Connection {
    /// What clients sent, in the order it came.
    pub incoming: Receiver<(Channel, Frames)>,
    /// The way out. May be cloned into every thread.
    pub outlet: Outlet,
}

/// The other side of [`Connection::memory`].
#[derive(Debug)]
pub struct Peer {
    /// Sends to the kernel.
    pub outgoing: Sender<(Channel, Frames)>,
    /// What the kernel replied.
    pub replies: Receiver<Post>,
    /// What the kernel published.
    pub publications: Receiver<Publication>,
}

impl Connection {
    /// A connection and its other side, without sockets, threads or limits.
    pub fn memory() -> (Connection, Peer) {
        let (outgoing, incoming) = unbounded();
        let (posts, replies) = Mailbox::plain();
        let (publishing, publications) = Mailbox::plain();
        let outlet = Outlet::new(posts, publishing, Arc::new(Room::endless()));
        (Connection { incoming, outlet }, Peer { outgoing, replies, publications })
    }

    /// Everything that was sent up to now, as far as can be known: takes what has reached the
    /// sockets, and what comes until nothing has come for [`SETTLED`]. Blocks at most 0.2 s.
    pub fn pending(&self) -> Vec<(Channel, Frames)> {
        let until = Instant::now() + DRAIN_LIMIT;
        self.outlet.drain(DRAIN_LIMIT);
        let next = || self.incoming.recv_deadline(until.min(Instant::now() + SETTLED)).ok();
        iter::from_fn(next).collect()
    }
}

/// The sockets' threads. Dropping it sends what is still queued, within half a second, closes the
/// sockets and removes their files.
pub struct Server {
    context: zmq::Context,
    outlet: Outlet,
    threads: Vec<JoinHandle<()>>,
    files: Vec<PathBuf>,
}

/// Binds all sockets and serves them; ports that `file` leaves open are filled in.
///
/// `welcome` makes the message for a new subscriber from its topic. `patience`: see [`PATIENCE`].
///
/// # Errors
/// Where an address cannot be bound, or the system is out of descriptors or threads.
pub fn start(
    file: &mut ConnectionFile,
    patience: Duration,
    welcome: impl Fn(&[u8]) -> Frames + Send + 'static,
) -> Result<(Server, Connection), Error> {
    let context = zmq::Context::new();
    let sockets = bind::all(&context, file)?;
    let (posts, post_end) = Mailbox::waking()?;
    let (publications, publication_end) = Mailbox::waking()?;
    let room = Arc::new(Room::for_outputs());
    let outlet = Outlet::new(posts, publications, room.clone());
    let (incoming_end, incoming) = unbounded();
    let clients = requests::Clients::new(sockets.requests, post_end, incoming_end);
    let subscribers =
        iopub::Subscribers::new(sockets.iopub, publication_end, room, patience, welcome);
    let threads = vec![
        spawn("requests", move || clients.serve())?,
        spawn("iopub", move || subscribers.serve())?,
        spawn("heartbeat", move || heartbeat::serve(sockets.heartbeat))?,
    ];
    let server = Server { context, outlet: outlet.clone(), threads, files: file.socket_files() };
    Ok((server, Connection { incoming, outlet }))
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).spawn(run)
}

impl Drop for Server {
    fn drop(&mut self) {
        self.outlet.close();
        let heartbeat = self.threads.pop();
        let served = self.threads.drain(..).all(|thread| thread.join().is_ok());
        // The heartbeat ends with the context, which in turn waits for the other sockets.
        if served {
            let _ = self.context.destroy();
            let _ = heartbeat.map(JoinHandle::join);
        }
        self.files.iter().for_each(|file| drop(std::fs::remove_file(file)));
    }
}
