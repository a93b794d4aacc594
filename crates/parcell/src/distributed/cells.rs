//! Cells that run on several processes: `%%everywhere` and `%%px`. Each process runs the same module
//! and keeps the variables that the cell leaves behind.

use std::sync::Arc;

use parcell_link::{Grouping, Outcome, Panic, Place, RemotePanic, Where};

use super::blob::Blob;
use super::calls::Ended;
use super::error::RemoteError;
use super::jobs::Product;
use super::message::{Answer, Call, Message, Want, Work};
use super::modules::{self, ModuleKey};
use super::node::{Node, node};
use super::waiting::{Slot, unexpected};
use super::{keeper, output};
use crate::loaded::Loaded;
use crate::{rt, store};

/// Runs the function `symbol` of a module on the processes that `on` names, for run `cell`: `local`
/// is its part on the driver. Blocks until all have ended; what failed is joined.
pub(crate) fn run(
    cell: u64,
    record: Arc<Loaded>,
    symbol: &str,
    on: &Where,
    local: impl FnOnce() -> Outcome,
) -> Outcome {
    let (targets, group, wait) = match on {
        Where::Driver => return local(),
        Where::Everywhere => (None, Grouping::Live, true),
        Where::Workers { targets, group, wait } => (targets.as_deref(), *group, *wait),
    };
    let node = node();
    let workers = match chosen(node, targets, on) {
        Ok(workers) => workers,
        Err(message) => return Outcome::Refused { message },
    };
    let key = match record.hash() {
        Ok(key) => key,
        Err(e) => return Outcome::NotLoaded { message: format!("{}: {e}", record.code.file) },
    };
    let held = (group != Grouping::Live && wait).then(|| output::hold(cell));
    let slots: Vec<(u32, Slot)> =
        workers.iter().map(|id| (*id, start(node, *id, cell, key, symbol, wait))).collect();
    let own = if *on == Where::Everywhere { local() } else { Outcome::Finished };
    if !wait {
        return own;
    }
    let ends: Vec<(u32, Outcome)> =
        slots.into_iter().map(|(id, slot)| (id, end(id, slot.wait(|| ())))).collect();
    if let Some(held) = held {
        held.release(group);
    }
    join(own, ends)
}

/// The workers that are to run the cell.
fn chosen(node: &Node, targets: Option<&[u32]>, on: &Where) -> Result<Vec<u32>, String> {
    let there = node.peers.workers();
    let Some(wanted) = targets else {
        if there.is_empty() && *on != Where::Everywhere {
            return Err("there are no workers: `%workers N` starts some".to_owned());
        }
        return Ok(there);
    };
    let unknown: Vec<String> =
        wanted.iter().filter(|id| !there.contains(id)).map(ToString::to_string).collect();
    if unknown.is_empty() {
        return Ok(wanted.to_vec());
    }
    let there: Vec<String> = there.iter().map(ToString::to_string).collect();
    let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
    Err(format!("no worker has the id {}; workers are: {there}", unknown.join(", ")))
}

fn start(node: &Node, id: u32, cell: u64, key: ModuleKey, symbol: &str, wait: bool) -> Slot {
    let slot = Slot::new();
    let done = if wait {
        slot.filler()
    } else {
        Box::new(move |ended: Ended| {
            if let Some(failed) = failure(id, &end(id, ended)) {
                eprintln!("On worker {id}: {}", failed.message);
            }
        })
    };
    let work = Work::Cell { module: key, symbol: symbol.to_owned() };
    let place = "this cell".to_owned();
    let call = Call { number: node.number(), cell, work, want: Want::Value, place };
    node.call(id, call, Blob::default(), done);
    slot
}

fn end(id: u32, ended: Ended) -> Outcome {
    match ended.result {
        Ok(Answer::Cell(outcome)) => *outcome,
        Ok(_) => failed(&unexpected(id, "a cell")),
        Err(RemoteError::Interrupted { .. }) => Outcome::Interrupted,
        Err(error) => failed(&error),
    }
}

/// An outcome that tells of an error.
fn failed(error: &RemoteError) -> Outcome {
    Outcome::Failed { name: "RemoteError".to_owned(), message: error.to_string() }
}

/// What a worker's part failed with.
fn failure(id: u32, outcome: &Outcome) -> Option<RemotePanic> {
    let told = |message: String| RemotePanic {
        worker: id,
        message,
        file: String::new(),
        line: 0,
        column: 0,
        backtrace: Vec::new(),
    };
    match outcome {
        Outcome::Finished => None,
        Outcome::Panicked(panic) => Some(RemotePanic {
            file: panic.file.clone(),
            line: panic.line,
            column: panic.column,
            ..told(panic.message.clone())
        }),
        Outcome::Failed { message, .. }
        | Outcome::NotLoaded { message }
        | Outcome::Refused { message } => Some(told(message.clone())),
        Outcome::Interrupted => Some(told("the cell was interrupted".to_owned())),
    }
}

/// The outcome of all parts: the driver's own if that failed alone.
fn join(own: Outcome, ends: Vec<(u32, Outcome)>) -> Outcome {
    let interrupted = ends.iter().any(|(_, end)| *end == Outcome::Interrupted);
    if own == Outcome::Interrupted || (interrupted && crate::interrupt::pending()) {
        return Outcome::Interrupted;
    }
    let mut remote: Vec<RemotePanic> =
        ends.iter().filter_map(|(id, end)| failure(*id, end)).collect();
    if remote.is_empty() {
        return own;
    }
    remote.splice(0..0, failure(1, &own));
    let first = &remote[0];
    let message = match remote.len() - 1 {
        0 => format!("On worker {}: {}", first.worker, first.message),
        more => format!("On worker {}: {} …and {more} more", first.worker, first.message),
    };
    let name = if remote.len() == 1 { "RemoteError" } else { "CompositeError" };
    Outcome::Panicked(Panic {
        message,
        file: String::new(),
        line: 0,
        column: 0,
        thread: None,
        name: Some(name.to_owned()),
        remote,
    })
}

/// This worker's part of a cell. On the cell thread.
pub(crate) fn run_here(module: &ModuleKey, symbol: &str) -> Result<Product, RemoteError> {
    let module = modules::get(module)?;
    let unsaid = || Outcome::NotLoaded { message: format!("{symbol} gave no outcome") };
    let ended = module.entry().and_then(rt::enter);
    Ok(Product::Cell(Box::new(ended.map_or_else(unsaid, |ended| ended.outcome))))
}

/// Drops these variables on the processes of `on`; names that do not exist are skipped. Does not
/// wait for workers.
pub(crate) fn forget(names: &[String], on: &Place) {
    if on.driver {
        store::forget(names);
    }
    for id in &on.workers {
        let forget = Message::Forget { names: names.to_vec() };
        node().tell(*id, forget, Blob::default());
    }
    keeper::wake();
}

/// This worker's part of dropping variables.
pub(crate) fn forget_here(names: Vec<String>) {
    super::worker::on_cell_thread(Box::new(move || {
        let _ = std::panic::catch_unwind(|| store::forget(&names));
    }));
}
