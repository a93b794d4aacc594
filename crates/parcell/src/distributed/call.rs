//! Remote calls, as all who make them do: find the process, say where the code is, send, wait.

use std::panic::Location;
use std::sync::Arc;

use super::blob::{Blob, Incoming};
use super::calls::Done;
use super::error::RemoteError;
use super::function::{FunctionRef, Preparation, Prepared};
use super::handles::{Handle, Known};
use super::message::{Answer, Call, Want, Work};
use super::node::{Node, node};
use super::pool::GiveBack;
use super::target::Chosen;
use super::waiting::{Slot, unexpected};
use super::{future, modules, output};

/// Something to run elsewhere, ready to be sent.
pub(crate) struct Outgoing {
    pub(crate) work: Work,
    pub(crate) blob: Blob,
}

impl Outgoing {
    /// A function that travels with its captures.
    pub(crate) fn new(preparation: Preparation) -> Result<Outgoing, RemoteError> {
        let prepared = preparation?;
        let function = reference(&prepared)?;
        Ok(Outgoing { work: Work::New(function), blob: prepared.captures })
    }
}

/// Where the code of a function is, for other processes.
pub(crate) fn reference(prepared: &Prepared) -> Result<FunctionRef, RemoteError> {
    Ok(FunctionRef { trampoline: modules::refer(prepared.trampoline as usize)? })
}

pub(crate) fn words(place: &Location<'_>) -> String {
    crate::rt::place_in_words(place.file(), place.line())
}

fn call(node: &Node, outgoing: &Outgoing, want: Want, place: &Location<'_>) -> Call {
    Call {
        number: node.number(),
        cell: output::current_cell(),
        work: outgoing.work.clone(),
        want,
        place: words(place),
    }
}

/// Starts a call whose result is kept where it runs. Returns at once. If the process is gone, the
/// future says so.
pub(crate) fn start(to: Chosen, outgoing: Outgoing, place: &Location<'_>) -> Arc<Handle> {
    let node = node();
    let id = node.new_id(to.process);
    let handle = node.handles.new_handle(id, Known::Coming);
    let call = call(node, &outgoing, Want::Kept(id), place);
    let done = then_give_back(future::told(&handle), to.back);
    node.call(to.process, call, outgoing.blob, done);
    handle
}

/// Gives a worker back to its pool when its call has ended, before anybody hears that it has.
fn then_give_back(done: Done, back: Option<GiveBack>) -> Done {
    if back.is_none() {
        return done;
    }
    Box::new(move |ended| {
        drop(back);
        done(ended);
    })
}

/// Runs a call and brings its value. Blocks until it has ended.
pub(crate) fn fetch(
    Chosen { process: to, back }: Chosen,
    outgoing: Outgoing,
    place: &Location<'_>,
) -> Result<Incoming, RemoteError> {
    let slot = Slot::new();
    fetch_later(to, outgoing, place, then_give_back(slot.filler(), back));
    let ended = slot.wait(|| ());
    match ended.result? {
        Answer::Value => Ok(ended.blob),
        _ => Err(unexpected(to, "a call")),
    }
}

/// Starts a call; `done` is called with its value, on a thread that must not be blocked. Returns the
/// call's number.
pub(crate) fn fetch_later(to: u32, outgoing: Outgoing, place: &Location<'_>, done: Done) -> u64 {
    let node = node();
    let call = call(node, &outgoing, Want::Value, place);
    let number = call.number;
    node.call(to, call, outgoing.blob, done);
    number
}

/// Starts a call and forgets it.
pub(crate) fn tell(to: u32, outgoing: Outgoing, place: &Location<'_>) -> Result<(), RemoteError> {
    let node = node();
    let call = call(node, &outgoing, Want::Nothing, place);
    node.send(to, super::message::Message::Call(call), outgoing.blob)
}
