//! The same expression on several processes at once.

use std::panic::Location;

use super::call::{self, Outgoing};
use super::error::{OrRaise, raise_all};
use super::function::{Expression, Open};
use super::message::Answer;
use super::node::node;
use super::portable::Portable;
use super::procs;
use super::value::{self, Read};
use super::waiting::Slot;

/// `everywhere!(expression)`
#[track_caller]
pub fn everywhere<R: Portable>(expression: Expression<R>) -> Vec<R> {
    everywhere_on(procs::procs(), expression)
}

/// `everywhere!(processes, expression)`
#[track_caller]
pub fn everywhere_on<R: Portable>(
    processes: impl AsRef<[usize]>,
    expression: Expression<R>,
) -> Vec<R> {
    let mut values = Vec::new();
    on(processes.as_ref(), expression.into_preparation(), Location::caller(), &mut |reader| {
        values.push(reader.read()?);
        Ok(())
    });
    values
}

/// Remote parts start first, the one on this process last. Values are read in the order of the
/// processes.
#[track_caller]
fn on(processes: &[usize], preparation: Box<dyn Open>, place: &Location<'_>, read: Read<'_>) {
    let node = node();
    let checked: Result<Vec<u32>, _> =
        processes.iter().map(|id| procs::checked(node, *id)).collect();
    let processes = checked.or_raise();
    let prepared = preparation.open().or_raise();
    let mut slots: Vec<Option<Slot>> = processes.iter().map(|_| None).collect();
    let mut order: Vec<usize> = (0..processes.len()).collect();
    order.sort_by_key(|at| processes[*at] == node.id);
    for at in order {
        let slot = Slot::new();
        let outgoing = Outgoing::new(Ok(prepared.clone())).or_raise();
        call::fetch_later(processes[at], outgoing, place, slot.filler());
        slots[at] = Some(slot);
    }
    let mut result = |slot: Slot| {
        let ended = slot.wait(|| ());
        match ended.result? {
            Answer::Value => value::read_by(ended.blob, read),
            _ => Err(super::waiting::unexpected(node.id, "a call")),
        }
    };
    let errors: Vec<_> =
        slots.into_iter().flatten().filter_map(|slot| result(slot).err()).collect();
    if !errors.is_empty() {
        raise_all(errors);
    }
}
