//! Values that stay on several processes and are held together, such as the pieces of an array:
//! made and used by calls, freed when nobody holds the group any more.

use std::panic::Location;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::blob::{Blob, BlobReader, BlobWriter, DecodeError, Incoming, RefId};
use super::call::{self, Outgoing};
use super::error::RemoteError;
use super::function::{AnyValue, Callable, Prepared, Trampoline, hold};
use super::handles::{self, Handle, Known};
use super::jobs::not_written;
use super::local::{Local, NotUsable};
use super::message::{Answer, Message};
use super::node::node;
use super::store::Thing;
use super::waiting::{Slot, unexpected};

/// A handle to all values of a group. The values are freed when the last one is dropped anywhere,
/// or when the process that made the group is gone.
#[derive(Clone)]
pub(crate) struct Group {
    all: Arc<Handle>,
}

/// A value of a group, held by this process until it belongs to one.
pub(crate) struct Part(Arc<Handle>);

/// A call for one process.
pub(crate) struct Order {
    pub(crate) process: u32,
    /// The value that the call will make there.
    pub(crate) makes: Option<RefId>,
    pub(crate) arguments: Result<Blob, RemoteError>,
}

/// How orders ended.
#[derive(Default)]
pub(crate) struct Done {
    /// What the calls made.
    pub(crate) parts: Vec<Part>,
    /// What they returned, in the order of the orders.
    pub(crate) results: Vec<Result<Incoming, RemoteError>>,
}

impl Group {
    /// A group of these values.
    pub(crate) fn of(parts: Vec<Part>) -> Group {
        let node = node();
        let id = node.new_id(node.id);
        let parts = parts.into_iter().map(|part| part.0).collect();
        node.store.put(id, node.id, Thing::Group(parts));
        Group { all: node.handles.new_handle(id, Known::Nothing) }
    }

    /// The group's name, the same everywhere.
    pub(crate) fn id(&self) -> RefId {
        self.all.id
    }

    /// Frees the values now, whoever holds the group. Asks the process that made it, if that is
    /// another, and blocks until it has answered.
    pub(crate) fn free(&self, place: &Location<'_>) -> Result<(), RemoteError> {
        let id = self.id();
        if id.owner == node().id {
            free_here(id);
            return Ok(());
        }
        let arguments = written(|to| to.write(&id));
        let order = Order { process: id.owner, makes: None, arguments };
        let done = run(vec![order], |_| Ok(Arc::new(Freeing)), place);
        done.results.into_iter().try_for_each(|result| result.map(drop))
    }
}

fn free_here(id: RefId) {
    node().store.fill(id, Thing::Group(Vec::new()));
}

struct Freeing;

impl Callable for Freeing {
    fn call(&self, arguments: &mut BlobReader<'_>) -> Result<Arc<dyn AnyValue>, DecodeError> {
        free_here(arguments.read()?);
        Ok(hold(()))
    }
}

impl Serialize for Group {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        handles::send_along(&self.all, to)
    }
}

impl<'de> Deserialize<'de> for Group {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Group, D::Error> {
        handles::come_along(from).map(|all| Group { all })
    }
}

/// The arguments of a call.
pub(crate) fn written(
    write: impl FnOnce(&mut BlobWriter) -> Result<(), super::blob::EncodeError>,
) -> Result<Blob, RemoteError> {
    let mut writer = BlobWriter::default();
    write(&mut writer).map_err(not_written)?;
    Ok(writer.finish())
}

/// An id for a value on a process.
pub(crate) fn new_part(process: u32) -> RefId {
    node().new_id(process)
}

/// Keeps a value that a call on this process makes.
pub(crate) fn put<T: Send + 'static>(id: RefId, value: T) {
    node().store.fill(id, Thing::Local(Arc::new(Local::new(value))));
}

/// Looks at a value of this process; `None` if it is not here any more.
pub(crate) fn look<T: Send + Sync + 'static, R>(
    id: RefId,
    look: impl FnOnce(&T) -> R,
) -> Option<Result<R, NotUsable>> {
    Some(node().store.local(id)?.with(look))
}

/// Changes a value of this process; `None` if it is not here any more.
pub(crate) fn change<T: Send + 'static, R>(
    id: RefId,
    change: impl FnOnce(&mut T) -> R,
) -> Option<Result<R, NotUsable>> {
    Some(node().store.local(id)?.with_mut(change))
}

/// Runs calls of one function on several processes at the same time, and blocks until all have
/// ended. The code is found by the trampoline's address, which must be that of a function.
pub(crate) fn run(orders: Vec<Order>, trampoline: Trampoline, place: &Location<'_>) -> Done {
    let here = node().id;
    let mut done = Done::default();
    let mut slots: Vec<_> = orders.iter().map(|_| None).collect();
    let mut orders: Vec<_> = orders.into_iter().enumerate().collect();
    // The call on this process comes last, so that the others need not wait for it.
    orders.sort_by_key(|(_, order)| order.process == here);
    for (number, order) in orders {
        let process = order.process;
        slots[number] = Some((process, begin(order, trampoline, place, &mut done.parts)));
    }
    let finish = |(process, slot): (u32, Result<Slot, RemoteError>)| {
        let ended = slot?.wait(|| ());
        match ended.result? {
            Answer::Value => Ok(ended.blob),
            _ => Err(unexpected(process, "a call")),
        }
    };
    done.results = slots.into_iter().flatten().map(finish).collect();
    done
}

fn begin(
    order: Order,
    trampoline: Trampoline,
    place: &Location<'_>,
    parts: &mut Vec<Part>,
) -> Result<Slot, RemoteError> {
    let node = node();
    let prepared = Prepared { trampoline, captures: order.arguments? };
    let outgoing = Outgoing::new(Ok(prepared))?;
    if let Some(id) = order.makes {
        node.send(order.process, Message::Hold { id, process: node.id }, Blob::default())?;
        parts.push(Part(node.handles.new_handle(id, Known::Nothing)));
    }
    let slot = Slot::new();
    call::fetch_later(order.process, outgoing, place, slot.filler());
    Ok(slot)
}
