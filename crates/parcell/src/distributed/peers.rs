//! The other processes: where they listen, the connection to each, and whether they still live.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::address::Address;
use super::blob::Blob;
use super::error::RemoteError;
use super::message::{Ask, Hello, Load, Message};
use super::node::{Node, node};
use super::transport::{Buffer, Channel, Connection, Receive};
use super::{address, worker};

/// What is known of one process.
#[derive(Default, Clone)]
pub(crate) struct Peer {
    /// What is said to it goes this way; the first connection, if there are two.
    connection: Option<Arc<Connection>>,
    pub(crate) hello: Option<Hello>,
    address: Option<Address>,
    /// Why it is gone.
    pub(crate) gone: Option<String>,
    pub(crate) pinged: Option<Instant>,
    pub(crate) heard: Option<Instant>,
    pub(crate) load: Load,
    /// It may soon be let go, and is to get nothing more to do.
    pub(crate) leaving: bool,
}

impl Peer {
    /// It listens elsewhere now, too.
    pub(crate) fn moved(&mut self, address: Address) {
        self.address = Some(address);
    }

    /// How long it has left a ping unanswered.
    pub(crate) fn silent(&self) -> Option<Duration> {
        let pinged = self.pinged?;
        self.heard.is_none_or(|heard| heard < pinged).then(|| pinged.elapsed())
    }
}

/// All processes but this one.
#[derive(Default)]
pub(crate) struct Peers {
    peers: Mutex<BTreeMap<u32, Peer>>,
}

impl Peers {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u32, Peer>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The workers that live and are to have work, this process included if it is one.
    pub(crate) fn workers(&self) -> Vec<u32> {
        let peers = self.lock();
        let live = peers.iter().filter(|(id, peer)| **id != 1 && peer.is_usable() && !peer.leaving);
        let mut ids: Vec<u32> = live.map(|(id, _)| *id).collect();
        drop(peers);
        let me = super::node::me();
        if me != 1 {
            ids.push(me);
            ids.sort_unstable();
            // News of those who came tell a worker of itself, too.
            ids.dedup();
        }
        ids
    }

    pub(crate) fn all(&self) -> BTreeMap<u32, Peer> {
        self.lock().clone()
    }

    pub(crate) fn with<R>(&self, id: u32, change: impl FnOnce(&mut Peer) -> R) -> Option<R> {
        self.lock().get_mut(&id).map(change)
    }

    /// Lets a process be spoken of that has not been heard of yet.
    pub(crate) fn expect(&self, id: u32) {
        self.lock().entry(id).or_default();
    }

    pub(crate) fn remove(&self, id: u32) {
        self.lock().remove(&id);
    }

    /// The connection to a process, opened if need be. Blocks while it is.
    pub(crate) fn connection(&self, node: &Node, id: u32) -> Result<Arc<Connection>, RemoteError> {
        let address = match self.lock().get(&id) {
            Some(Peer { gone: Some(why), .. }) => return Err(exited(id, why)),
            Some(Peer { connection: Some(connection), .. }) => return Ok(Arc::clone(connection)),
            Some(Peer { address, .. }) => address.clone(),
            None if node.id == 1 => return Err(self.unknown(id)),
            None => None,
        };
        let address = match address {
            Some(address) => address,
            None => self.find(node, id)?,
        };
        let dialled = address::dial(&address, node, id);
        let (channel, hello) = dialled.map_err(|why| exited(id, &why))?;
        let connection = self.welcome(channel, hello);
        connection.map_err(|why| exited(id, &why))
    }

    /// Asks the driver where a process listens.
    fn find(&self, node: &Node, id: u32) -> Result<Address, RemoteError> {
        let ended = node.ask_and_wait(1, Ask::Address { process: id }, Blob::default());
        match ended.result? {
            super::message::Answer::Address(Some(address)) => Ok(address),
            _ => Err(self.unknown(id)),
        }
    }

    /// A connection that is there already.
    pub(crate) fn open_connection(&self, id: u32) -> Option<Arc<Connection>> {
        self.lock().get(&id)?.connection.clone()
    }

    /// Begins to listen to a process that has said who it is.
    pub(crate) fn welcome(
        &self,
        channel: Channel,
        hello: Hello,
    ) -> Result<Arc<Connection>, String> {
        let id = hello.id;
        let mut peers = self.lock();
        let peer = peers.entry(id).or_default();
        if let Some(why) = &peer.gone {
            return Err(why.clone());
        }
        let name = format!("parcell-from-{id}");
        let started = Connection::start(channel, &name, Arc::new(Inbound { from: id }));
        let connection = started.map_err(|e| format!("no thread to listen to it: {e}"))?;
        peer.address = Some(hello.address.clone());
        peer.hello = Some(hello);
        peer.heard = Some(Instant::now());
        let kept = peer.connection.get_or_insert(connection);
        Ok(Arc::clone(kept))
    }

    /// What the driver tells of others.
    pub(crate) fn news(&self, node: &Node, came: Vec<(u32, Address)>, gone: Vec<(u32, String)>) {
        let mut peers = self.lock();
        for (id, address) in came {
            peers.entry(id).or_default().address = Some(address);
        }
        drop(peers);
        gone.into_iter().for_each(|(id, why)| self.bury(node, id, &why));
    }

    /// A process is gone: everybody who waits for it is told.
    pub(crate) fn bury(&self, node: &Node, id: u32, why: &str) {
        let mut peers = self.lock();
        let peer = peers.entry(id).or_default();
        if peer.gone.is_some() {
            return;
        }
        peer.gone = Some(why.to_owned());
        let connection = peer.connection.take();
        drop(peers);
        if let Some(connection) = connection {
            connection.close();
        }
        node.lost(id, why);
    }

    /// The error for a process that cannot be spoken to.
    pub(crate) fn gone(&self, id: u32) -> RemoteError {
        match self.lock().get(&id).and_then(|peer| peer.gone.clone()) {
            Some(why) => exited(id, &why),
            None => exited(id, "its connection closed"),
        }
    }

    fn unknown(&self, id: u32) -> RemoteError {
        let mut there = self.workers();
        there.insert(0, 1);
        RemoteError::NoSuchProcess {
            id: id as usize,
            there: there.iter().map(|i| *i as usize).collect(),
        }
    }

    pub(crate) fn pong(&self, id: u32, _number: u64, load: Load) {
        self.with(id, |peer| {
            peer.heard = Some(Instant::now());
            peer.load = load;
        });
    }

    /// Whether this process has heard of another, dead or alive.
    pub(crate) fn is_known(&self, id: u32) -> bool {
        self.lock().contains_key(&id)
    }

    pub(crate) fn is_alive(&self, id: u32) -> bool {
        self.lock().get(&id).is_some_and(Peer::is_usable)
    }

    /// Whether a process is on another host than this one.
    pub(crate) fn is_elsewhere(&self, id: u32) -> bool {
        let place = super::usage::place();
        self.lock().get(&id).and_then(|p| p.address.as_ref()).is_some_and(|a| a.place != place)
    }

    /// The processes that live on other hosts than process 1, this one excepted, with the names of
    /// their hosts.
    pub(crate) fn elsewhere(&self) -> Vec<(u32, String)> {
        let peers = self.lock();
        let place = |peer: &Peer| peer.address.as_ref().map(|address| address.place.clone());
        let driver = peers.get(&1).and_then(place).unwrap_or_else(super::usage::place);
        let live = peers.iter().filter(|(id, peer)| **id != 1 && peer.is_usable());
        let all = live.filter_map(|(id, peer)| Some((*id, place(peer)?)));
        all.filter(|(_, place)| *place != driver).collect()
    }

    /// Whether a process ever said who it is.
    pub(crate) fn is_known_well(&self, id: u32) -> bool {
        self.lock().get(&id).is_some_and(|peer| peer.hello.is_some())
    }

    pub(crate) fn is_connected(&self, id: u32) -> bool {
        self.lock().get(&id).is_some_and(|peer| peer.connection.is_some())
    }

    pub(crate) fn address(&self, id: u32) -> Option<Address> {
        self.lock().get(&id)?.address.clone()
    }

    /// Where those listen that live.
    pub(crate) fn addresses(&self) -> Vec<(u32, Address)> {
        let peers = self.lock();
        let live = peers.iter().filter(|(_, peer)| peer.is_usable());
        live.filter_map(|(id, peer)| Some((*id, peer.address.clone()?))).collect()
    }

    /// Bytes that were sent to a process and received from it, on its connection and by the plane.
    pub(crate) fn traffic(&self, id: u32) -> (u64, u64) {
        let connection = self.open_connection(id);
        let (sent, received) =
            connection.map_or((0, 0), |connection| (connection.sent(), connection.received()));
        let by_plane = super::plane::traffic(id);
        (sent + by_plane.0, received + by_plane.1)
    }

    /// Bytes that wait to be sent to a process.
    pub(crate) fn backlog(&self, id: u32) -> usize {
        self.open_connection(id).map_or(0, |connection| connection.backlog())
    }

    /// Sends a message to all that this process is connected to.
    pub(crate) fn tell_all(&self, message: impl Fn() -> Message) {
        let connected = self.lock();
        let ids: Vec<u32> =
            connected.iter().filter(|(_, p)| p.connection.is_some()).map(|(id, _)| *id).collect();
        drop(connected);
        ids.into_iter().for_each(|id| node().tell(id, message(), Blob::default()));
    }
}

impl Peer {
    fn is_usable(&self) -> bool {
        self.gone.is_none() && (self.connection.is_some() || self.address.is_some())
    }
}

fn exited(id: u32, why: &str) -> RemoteError {
    RemoteError::ProcessExited { worker: id as usize, why: why.to_owned() }
}

/// A process has sent rubbish: it is not listened to any more.
pub(crate) fn not_understood(node: &Node, from: u32, why: &str) {
    eprintln!("process {from} sent what cannot be understood: {why}");
    node.peers.bury(node, from, "it sent what cannot be understood");
}

/// Takes what one process sends.
struct Inbound {
    from: u32,
}

impl Receive for Inbound {
    fn message(&self, head: &[u8], bulks: Vec<Buffer>) {
        let node = node();
        if let Err(why) = node.receive(self.from, head, bulks) {
            not_understood(node, self.from, &why);
        }
    }

    fn closed(&self, why: Option<std::io::Error>) {
        worker::connection_closed(self.from, why);
    }
}
