//! What the driver looks at now and then while workers compute: do they live, and what do they do.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::blob::Blob;
use super::message::Message;
use super::node::Node;

/// A worker that has not answered for this long is said not to answer.
pub(crate) const SILENCE: Duration = Duration::from_secs(3);

/// Asks those that compute whether they live.
pub(crate) fn ping(node: &Node, busy: &[u32]) {
    for id in busy {
        let number = node.number();
        node.peers.with(*id, |peer| {
            if peer.silent().is_none() {
                peer.pinged = Some(Instant::now());
            }
        });
        node.tell(*id, Message::Ping { number }, Blob::default());
    }
}

/// Says once of each worker that has stopped answering that it has.
pub(crate) fn look(node: &Node) {
    static TOLD: Mutex<Vec<u32>> = Mutex::new(Vec::new());
    let mut told = TOLD.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    for (id, peer) in node.peers.all() {
        let silent = peer.silent().is_some_and(|time| time > SILENCE) && peer.gone.is_none();
        if !silent {
            told.retain(|other| *other != id);
        } else if !told.contains(&id) {
            told.push(id);
            eprintln!(
                "worker {id} does not answer (for {} s): its calls go on if it does again; \
                 `%rmworkers {id}` ends it",
                SILENCE.as_secs()
            );
        }
    }
}
