//! Answers to what other processes ask of the things that this one holds. Nothing here blocks:
//! who must wait is answered later.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::blob::{Blob, BlobWriter, Incoming};
use super::error::RemoteError;
use super::jobs::not_written;
use super::mailbox::{Delivery, Mailbox, Wish};
use super::message::{Answer, Ask, ChannelOperation, Wait};
use super::node::{Node, node};
use super::store::{Settled, Thing};
use super::value::Item;
use super::{address, keeper, modules, supply};

pub(crate) fn answer(node: &Node, from: u32, number: u64, what: Ask, blob: Incoming) {
    let nothing = Blob::default;
    match what {
        Ask::Future { id, value } => {
            let waiter =
                Box::new(move |settled: &Settled| tell_future(from, number, settled, value));
            node.store.when_settled(id, from, waiter);
        }
        Ask::IsReady { id } => {
            let ready = node.store.settled(id).is_some();
            node.reply(from, number, Ok(Answer::Flag(ready)), nothing());
        }
        Ask::Fulfil { id } => {
            let first = node.store.fulfil(id, Ok(Arc::new(Item::sent(blob))));
            let answer = if first { Ok(Answer::Done) } else { Err(given_already(node.id)) };
            node.reply(from, number, answer, nothing());
        }
        Ask::NewChannel { id, capacity } => {
            let capacity = capacity.map(|c| usize::try_from(c).unwrap_or(usize::MAX));
            node.store.put(id, from, Thing::Channel(Arc::new(Mailbox::new(capacity))));
            node.reply(from, number, Ok(Answer::Done), nothing());
        }
        Ask::Channel { id, operation, wait } => match node.store.channel(id) {
            Some(mailbox) => operate(&mailbox, (from, number), operation, wait, blob),
            None => {
                let freed = RemoteError::Freed { worker: node.id as usize };
                node.reply(from, number, Err(freed), nothing());
            }
        },
        Ask::Address { process } => {
            let address = node.peers.address(process);
            node.reply(from, number, Ok(Answer::Address(address)), nothing());
        }
        Ask::Module { key, elsewhere: None } => {
            let source = modules::source(&key, None);
            node.reply(from, number, source.map(Answer::Module), nothing());
        }
        Ask::Module { key, elsewhere: Some(held) } => supply::give(from, number, key, held),
        Ask::OpenToNetwork { on, manners } => {
            let failed = |what| RemoteError::Refused { worker: node.id as usize, what };
            let address = address::open_to_network(on, manners).map_err(failed);
            node.reply(from, number, address.map(|a| Answer::Address(Some(a))), nothing());
        }
        Ask::Census => {
            let census = super::census_here(node);
            node.reply(from, number, Ok(Answer::Census(census)), nothing());
        }
        Ask::IsDispensable => {
            let dispensable = super::is_dispensable(node);
            node.reply(from, number, Ok(Answer::Flag(dispensable)), nothing());
        }
    }
}

fn tell_future(to: u32, number: u64, settled: &Settled, with_value: bool) {
    let node = node();
    let (answer, blob) = match settled {
        Err(error) => (Err(error.clone()), Blob::default()),
        Ok(_) if !with_value => (Ok(Answer::Ready), Blob::default()),
        Ok(value) => {
            let mut writer = BlobWriter::default();
            match Arc::clone(value).encode(&mut writer) {
                Ok(()) => (Ok(Answer::Value), writer.finish()),
                Err(error) => (Err(not_written(error)), Blob::default()),
            }
        }
    };
    node.reply(to, number, answer, blob);
}

/// An operation on a channel by another process.
fn operate(
    mailbox: &Arc<Mailbox>,
    key: (u32, u64),
    operation: ChannelOperation,
    wait: Wait,
    blob: Incoming,
) {
    let (from, number) = key;
    let now = |answer| node().reply(from, number, Ok(answer), Blob::default());
    let later = Box::new(move |delivery| tell_delivery(key, delivery));
    if operation.may_wait() {
        // Before it begins: it may end at once, and then is to be forgotten.
        node().jobs.may_be_cancelled(key, mailbox);
    }
    match operation {
        ChannelOperation::Put => mailbox.put(key, Item::sent(blob), later),
        ChannelOperation::Take => mailbox.get(key, Wish::Take, later),
        ChannelOperation::Fetch => mailbox.get(key, Wish::Fetch, later),
        ChannelOperation::Wait => mailbox.get(key, Wish::Wait, later),
        ChannelOperation::Length => return now(Answer::Count(mailbox.len() as u64)),
        ChannelOperation::IsOpen => return now(Answer::Flag(mailbox.is_open())),
        ChannelOperation::Close => {
            mailbox.close();
            return now(Answer::Done);
        }
        ChannelOperation::PutBack => {
            mailbox.put_back(Item::sent(blob));
            return now(Answer::Done);
        }
    }
    limit(mailbox, key, wait);
}

/// Ends a wait when its time is over, and says so.
fn limit(mailbox: &Arc<Mailbox>, key: (u32, u64), wait: Wait) {
    let over = move |mailbox: &Mailbox| {
        if mailbox.cancel(key).is_some() {
            node().jobs.cannot_be_cancelled(key);
            node().reply(key.0, key.1, Ok(Answer::NotInTime), Blob::default());
        }
    };
    match wait {
        Wait::Forever => {}
        Wait::For(0) => over(mailbox),
        Wait::For(milliseconds) => {
            let mailbox = Arc::downgrade(mailbox);
            let at = Instant::now().checked_add(Duration::from_millis(milliseconds));
            let Some(at) = at else { return };
            keeper::at(at, Box::new(move || _ = mailbox.upgrade().map(|mailbox| over(&mailbox))));
        }
    }
}

fn tell_delivery((to, number): (u32, u64), delivery: Delivery) {
    let node = node();
    node.jobs.cannot_be_cancelled((to, number));
    let (answer, blob) = match delivery {
        Delivery::Done => (Ok(Answer::Done), Blob::default()),
        Delivery::Closed => {
            (Err(RemoteError::Closed { worker: node.id as usize }), Blob::default())
        }
        Delivery::Item(item) => match item.into_blob() {
            Ok(blob) => (Ok(Answer::Value), blob),
            Err(error) => (Err(not_written(error)), Blob::default()),
        },
    };
    node.reply(to, number, answer, blob);
}

/// The refusal of a second value.
pub(crate) fn given_already(owner: u32) -> RemoteError {
    let what = "a future can be given a value only once, and has one".to_owned();
    RemoteError::Refused { worker: owner as usize, what }
}
