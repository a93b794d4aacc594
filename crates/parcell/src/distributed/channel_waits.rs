//! One operation on a channel, from asking to the answer, here or on another process, without the
//! type of the values. However a wait ends, no value is lost: what arrives for somebody who has
//! given up goes back to the front of the channel.

use std::sync::Arc;
use std::time::Duration;

use super::blob::{Blob, Incoming};
use super::calls::Ended;
use super::error::RemoteError;
use super::handles::Handle;
use super::mailbox::{Deliver, Delivery, Key, Mailbox, Wish};
use super::message::{Answer, Ask, ChannelOperation, Message, Wait};
use super::node::{Node, node};
use super::value::Item;
use super::waiting::unexpected;
use crate::interrupt::Seconds;
use crate::threads::{self, Monitor};

/// How long an operation may wait; `None`: as long as it takes.
pub(crate) type Limit = Option<Seconds>;

/// What a channel gave.
pub(crate) enum Given {
    /// A value from this process's own mailbox.
    Own(Item),
    /// A value from another process.
    Come(Incoming),
    /// The operation was one that gives no value.
    Nothing,
}

/// Puts a value. Blocks until it is in, or nobody waits for that any more.
pub(crate) fn put(handle: &Arc<Handle>, item: Item, limit: Limit) -> Result<(), RemoteError> {
    let node = node();
    let given = if handle.id.owner == node.id {
        let put = |mailbox: &Mailbox, key, deliver| mailbox.put(key, item, deliver);
        operate_here(node, handle, false, limit, put)
    } else {
        let blob = item.into_blob().map_err(super::jobs::not_written)?;
        operate_there(node, handle, ChannelOperation::Put, blob, limit)
    };
    given.map(drop)
}

/// Takes a value, looks at one, or waits for one. Blocks until there is one.
pub(crate) fn get(handle: &Arc<Handle>, wish: Wish, limit: Limit) -> Result<Given, RemoteError> {
    let node = node();
    if handle.id.owner == node.id {
        let get = |mailbox: &Mailbox, key, deliver| mailbox.get(key, wish, deliver);
        return operate_here(node, handle, wish == Wish::Take, limit, get);
    }
    let operation = match wish {
        Wish::Take => ChannelOperation::Take,
        Wish::Fetch => ChannelOperation::Fetch,
        Wish::Wait => ChannelOperation::Wait,
    };
    operate_there(node, handle, operation, Blob::default(), limit)
}

/// The mailbox of a channel that lives here.
pub(crate) fn mailbox(node: &Node, handle: &Handle) -> Result<Arc<Mailbox>, RemoteError> {
    node.store.channel(handle.id).ok_or(RemoteError::Freed { worker: node.id as usize })
}

fn too_late(owner: u32, limit: Limit) -> RemoteError {
    let limit = limit.map(Duration::from).unwrap_or_default();
    RemoteError::TimedOut { worker: owner as usize, limit }
}

fn operate_here(
    node: &Node,
    handle: &Handle,
    takes: bool,
    limit: Limit,
    begin: impl FnOnce(&Mailbox, Key, Deliver),
) -> Result<Given, RemoteError> {
    let mailbox = mailbox(node, handle)?;
    let key = (node.id, node.number());
    let mut wait = Here { mailbox, key, delivery: Arc::default(), takes, over: false };
    let delivery = Arc::clone(&wait.delivery);
    let deliver = move |given| delivery.change(|place| *place = Some(given));
    begin(&wait.mailbox, wait.key, Box::new(deliver));
    let deadline = limit.and_then(Seconds::deadline);
    let given = wait.delivery.wait(deadline, Option::take).or_else(|| wait.end());
    wait.over = true;
    match given {
        Some(Delivery::Item(item)) => Ok(Given::Own(item)),
        Some(Delivery::Done) => Ok(Given::Nothing),
        Some(Delivery::Closed) => Err(RemoteError::Closed { worker: node.id as usize }),
        None => Err(too_late(node.id, limit)),
    }
}

/// A wait at a mailbox of this process. If it is interrupted, what it took goes back.
struct Here {
    mailbox: Arc<Mailbox>,
    key: Key,
    delivery: Arc<Monitor<Option<Delivery>>>,
    takes: bool,
    over: bool,
}

impl Here {
    /// Gives up; what was delivered just before that.
    fn end(&self) -> Option<Delivery> {
        if self.mailbox.cancel(self.key).is_some() {
            return None;
        }
        // Somebody is about to deliver, or has.
        Some(self.delivery.wait_out(Option::take))
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        if let Some(Delivery::Item(item)) = self.end()
            && self.takes
        {
            self.mailbox.put_back(item);
        }
    }
}

/// Asks the channel's process. That one measures the time, so that an answer is certain: an
/// operation that ends too late has changed nothing.
fn operate_there(
    node: &Node,
    handle: &Arc<Handle>,
    operation: ChannelOperation,
    blob: Blob,
    limit: Limit,
) -> Result<Given, RemoteError> {
    let (id, takes) = (handle.id, operation == ChannelOperation::Take);
    let place = Arc::new(Monitor::new(Place::Open));
    let told = Told { place: Arc::clone(&place), handle: Arc::clone(handle), takes };
    let ask = Ask::Channel { id, operation, wait: as_wait(limit) };
    let number = node.ask(id.owner, ask, blob, Box::new(move |ended| told.tell(ended)));
    let mut wait = There { place, handle, number, takes, over: false };
    let ended = wait.place.wait(None, Place::take);
    wait.over = true;
    super::output::drained();
    let Ended { result, blob, .. } = ended.expect("without a deadline a wait ends with an answer");
    match result? {
        Answer::Value => Ok(Given::Come(blob)),
        Answer::Done => Ok(Given::Nothing),
        Answer::NotInTime => Err(too_late(id.owner, limit)),
        _ => Err(unexpected(id.owner, "an operation on a channel")),
    }
}

fn as_wait(limit: Limit) -> Wait {
    let limited = limit.filter(|time| time.deadline().is_some());
    limited.map_or(Wait::Forever, |time| {
        let milliseconds = Duration::from(time).as_nanos().div_ceil(1_000_000);
        u64::try_from(milliseconds).map_or(Wait::Forever, Wait::For)
    })
}

/// Where an answer is awaited.
enum Place {
    Open,
    Filled(Box<Ended>),
    /// Nobody waits any more.
    GivenUp,
}

impl Place {
    fn take(&mut self) -> Option<Ended> {
        match std::mem::replace(self, Place::GivenUp) {
            Place::Filled(ended) => Some(*ended),
            other => {
                *self = other;
                None
            }
        }
    }
}

/// Who will be told of the answer. It holds the channel until then.
struct Told {
    place: Arc<Monitor<Place>>,
    handle: Arc<Handle>,
    takes: bool,
}

impl Told {
    /// Called on the thread that reads from the channel's process.
    fn tell(self, ended: Ended) {
        let late = self.place.change(|place| match place {
            Place::GivenUp => Some(ended),
            _ => {
                *place = Place::Filled(Box::new(ended));
                None
            }
        });
        if let Some(ended) = late
            && self.takes
        {
            put_back(&self.handle, ended);
        }
    }
}

/// A wait for the answer of another process. If it is interrupted, what it took goes back.
struct There<'a> {
    place: Arc<Monitor<Place>>,
    handle: &'a Arc<Handle>,
    number: u64,
    takes: bool,
    over: bool,
}

impl Drop for There<'_> {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        match self.place.change(|place| std::mem::replace(place, Place::GivenUp)) {
            Place::Filled(ended) if self.takes => put_back(self.handle, *ended),
            Place::Filled(_) => {}
            Place::Open | Place::GivenUp => {
                let cancel = Message::Cancel { number: self.number };
                node().tell(self.handle.id.owner, cancel, Blob::default());
            }
        }
    }
}

/// Sends a value back that nobody wants any more.
fn put_back(handle: &Arc<Handle>, ended: Ended) {
    if !matches!(ended.result, Ok(Answer::Value)) {
        return;
    }
    let has_handles = !ended.blob.refs().is_empty();
    let handle = Arc::clone(handle);
    let send = move || {
        let id = handle.id;
        let operation = ChannelOperation::PutBack;
        let ask = Ask::Channel { id, operation, wait: Wait::Forever };
        // The channel is held until the value is in it.
        node().ask(id.owner, ask, ended.blob.into_blob(), Box::new(move |_| drop(handle)));
    };
    // Handles in the value may need a connection, for which this thread must not wait.
    if has_handles { threads::spawn_job(Box::new(send)) } else { send() }
}
