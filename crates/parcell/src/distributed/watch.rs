//! What the driver looks at now and then while workers compute: do they live, and what do they do.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use parcell_link::{Bundle, Publication};

use super::blob::Blob;
use super::calls::Open;
use super::message::Message;
use super::node::Node;
use super::{commands, output};
use crate::link;

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
    let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
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

/// A cell that computes for longer than this says what runs where.
const LONG: Duration = Duration::from_secs(2);
/// How often that is told anew.
const AGAIN: Duration = Duration::from_millis(500);
/// So many places are named.
const MOST_PLACES: usize = 3;

/// The line that says what runs where.
#[derive(Default)]
struct Line {
    /// The run it is for, and when that was first seen to wait for workers.
    run: u64,
    since: Option<Instant>,
    told: Option<Instant>,
}

static LINE: Mutex<Line> = Mutex::new(Line { run: 0, since: None, told: None });

fn line() -> MutexGuard<'static, Line> {
    LINE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tells a person who watches a long cell what runs where: one line, which is updated.
pub(crate) fn tell(node: &Node) {
    if !link::watched() {
        return;
    }
    let mut line = line();
    let run = link::run_number();
    if line.run != run {
        *line = Line { run, since: Some(Instant::now()), told: None };
    }
    let long = line.since.is_some_and(|since| since.elapsed() >= LONG);
    if !long || line.told.is_some_and(|told| told.elapsed() < AGAIN) {
        return;
    }
    let first = line.told.replace(Instant::now()).is_none();
    drop(line);
    show(run, first, sentence(&node.calls.list()));
}

/// The cell has ended: the line is emptied.
pub(crate) fn end_of_cell() {
    let mut line = line();
    line.since = None;
    if line.told.take().is_some() {
        show(line.run, false, String::new());
    }
}

fn show(run: u64, first: bool, text: String) {
    let id = format!("parcell-runs-{run}");
    let bundle = Bundle::text(text);
    let publication = match first {
        true => Publication::Display { bundle, id: Some(id) },
        false => Publication::Update { bundle, id },
    };
    output::show_soon(Box::new(move || link::publish(publication)));
}

/// What runs where, longest first.
fn sentence(open: &[Open]) -> String {
    let mut places: BTreeMap<&str, (Duration, Vec<usize>, usize)> = BTreeMap::new();
    for Open { process, place, since } in open {
        let (longest, processes, calls) = places.entry(place).or_default();
        *longest = (*longest).max(*since);
        processes.push(*process as usize);
        *calls += 1;
    }
    let mut parts: Vec<(Duration, String)> = Vec::new();
    let more = places.len().saturating_sub(MOST_PLACES);
    for (place, (longest, mut processes, calls)) in places {
        processes.sort_unstable();
        processes.dedup();
        let noun = if calls == 1 { "call" } else { "calls" };
        let on = commands::ranges(&processes);
        let seconds = longest.as_secs_f64();
        parts.push((longest, format!("{place}: {calls} {noun} on {on} ({seconds:.1} s)")));
    }
    parts.sort_by_key(|(longest, _)| std::cmp::Reverse(*longest));
    let mut words: Vec<String> =
        parts.into_iter().take(MOST_PLACES).map(|(_, text)| text).collect();
    if more > 0 {
        words.push(format!("{more} more places"));
    }
    format!("running {}", words.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_is_told_by_place_and_worker() {
        let open = |process, place: &str, seconds| Open {
            process,
            place: place.to_owned(),
            since: Duration::from_secs(seconds),
        };
        let all = [
            open(2, "[cell 3, line 1]", 2),
            open(3, "[cell 3, line 1]", 5),
            open(2, "[cell 4, line 2]", 3),
        ];
        assert_eq!(
            sentence(&all),
            "running [cell 3, line 1]: 2 calls on 2, 3 (5.0 s); [cell 4, line 2]: 1 call on 2 (3.0 s)"
        );
    }
}
