//! The same expression on several processes at once.

use std::panic::Location;

use super::call::{self, Outgoing};
use super::error::{OrRaise, RemoteError, raise_all};
use super::function::Expression;
use super::message::Answer;
use super::node::node;
use super::portable::Portable;
use super::procs;
use super::value;
use super::waiting::Slot;

/// `everywhere!(expression)`
#[track_caller]
pub fn everywhere<R: Portable>(expression: Expression<R>) -> Vec<R> {
    on(&procs::procs(), expression, Location::caller())
}

/// `everywhere!(processes, expression)`
#[track_caller]
pub fn everywhere_on<R: Portable>(
    processes: impl AsRef<[usize]>,
    expression: Expression<R>,
) -> Vec<R> {
    on(processes.as_ref(), expression, Location::caller())
}

/// Remote parts start first, the one on this process last.
#[track_caller]
fn on<R: Portable>(processes: &[usize], expression: Expression<R>, place: &Location<'_>) -> Vec<R> {
    let node = node();
    let checked: Result<Vec<u32>, _> =
        processes.iter().map(|id| procs::checked(node, *id)).collect();
    let processes = checked.or_raise();
    let prepared = expression.preparation.or_raise();
    let mut slots: Vec<Option<Slot>> = processes.iter().map(|_| None).collect();
    let mut order: Vec<usize> = (0..processes.len()).collect();
    order.sort_by_key(|at| processes[*at] == node.id);
    for at in order {
        let slot = Slot::new();
        let outgoing = Outgoing::new(Ok(prepared.clone())).or_raise();
        call::fetch_later(processes[at], outgoing, place, slot.filler());
        slots[at] = Some(slot);
    }
    let results = slots.into_iter().flatten().map(|slot| {
        let ended = slot.wait(|| ());
        match ended.result? {
            Answer::Value => value::read(ended.blob),
            _ => Err(super::waiting::unexpected(node.id, "a call")),
        }
    });
    let results: Vec<Result<R, RemoteError>> = results.collect();
    let errors: Vec<RemoteError> =
        results.iter().filter_map(|r| r.as_ref().err().cloned()).collect();
    if !errors.is_empty() {
        raise_all(errors);
    }
    results.into_iter().filter_map(Result::ok).collect()
}
