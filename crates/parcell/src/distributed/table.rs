//! The table of workers that `%workers` shows.

use std::time::{Duration, Instant};

use super::blob::Blob;
use super::message::Message;
use super::node::{self, Node};
use super::peers::Peer;
use super::watch::SILENCE;
use super::{launch, usage};
use crate::display::Table;
use crate::threads;

/// How long the table waits for the workers to say how they are.
const PATIENCE: Duration = Duration::from_millis(200);

/// All processes and how they are.
pub(crate) fn of_workers() -> Table {
    let header = [
        "id", "host", "pid", "threads", "state", "memory", "calls", "cpu time", "sent", "received",
    ];
    let mut rows = vec![driver()];
    if let Some(node) = node::exists() {
        ask(node);
        rows.extend(node.peers.all().iter().filter_map(|(id, peer)| row(node, *id, peer)));
    }
    Table::plain(header, rows)
}

fn driver() -> Vec<String> {
    let (memory, processor) = usage::of_this_process();
    vec![
        "1".to_owned(),
        usage::host(),
        std::process::id().to_string(),
        threads::nthreads().to_string(),
        "driver".to_owned(),
        bytes(memory),
        node::exists().map_or(0, |node| node.jobs.count()).to_string(),
        seconds(processor),
        String::new(),
        String::new(),
    ]
}

fn row(node: &Node, id: u32, peer: &Peer) -> Option<Vec<String>> {
    let hello = peer.hello.as_ref()?;
    let state = match (&peer.gone, peer.silent()) {
        (Some(why), _) if [launch::REMOVED, launch::LET_GO].contains(&why.as_str()) => return None,
        (Some(why), _) => format!("gone: {why}"),
        (None, Some(time)) if time > SILENCE => {
            format!("does not answer ({} s)", time.as_secs())
        }
        (None, _) if peer.load.calls > 0 => "busy".to_owned(),
        (None, _) => "idle".to_owned(),
    };
    let (sent, received) = node.peers.traffic(id);
    let gone = peer.gone.is_some();
    let unless_gone = |text: String| if gone { String::new() } else { text };
    Some(vec![
        id.to_string(),
        hello.host.clone(),
        hello.pid.to_string(),
        hello.threads.to_string(),
        state,
        unless_gone(bytes(peer.load.memory)),
        unless_gone((peer.load.calls as usize).max(node.calls.open(id)).to_string()),
        unless_gone(seconds(peer.load.processor)),
        unless_gone(bytes(sent)),
        unless_gone(bytes(received)),
    ])
}

/// Has all workers say how they are, and waits a moment for it.
fn ask(node: &Node) {
    let asked = Instant::now();
    let live = node.peers.workers();
    for id in &live {
        node.peers.with(*id, |peer| {
            if peer.silent().is_none() {
                peer.pinged = Some(asked);
            }
        });
        node.tell(*id, Message::Ping { number: node.number() }, Blob::default());
    }
    while asked.elapsed() < PATIENCE {
        let peers = node.peers.all();
        if live.iter().all(|id| peers[id].heard.is_some_and(|heard| heard >= asked)) {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn bytes(n: u64) -> String {
    let mib = n as f64 / f64::from(1 << 20);
    if mib < 1024.0 { format!("{mib:.0} MiB") } else { format!("{:.1} GiB", mib / 1024.0) }
}

fn seconds(nanoseconds: u64) -> String {
    format!("{:.1} s", Duration::from_nanos(nanoseconds).as_secs_f64())
}
