//! A channel where it lives: values, those who wait to put one and those who wait for one, in the
//! order in which they came. Nobody blocks here: whoever waits is called back.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::value::Item;

/// Who waits: the process and the number of its question.
pub(crate) type Key = (u32, u64);

/// What an operation came to.
pub(crate) enum Delivery {
    /// The value, taken or looked at.
    Item(Item),
    /// Done, or there is something to take.
    Done,
    /// The channel is closed; with what could not be put.
    Closed,
}

/// Called once, without any lock held. Must not block.
pub(crate) type Deliver = Box<dyn FnOnce(Delivery) + Send>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    Take,
    /// The value stays.
    Fetch,
    /// To know that there is one.
    Wait,
}

struct Putter {
    key: Key,
    item: Item,
    deliver: Deliver,
}

struct Taker {
    key: Key,
    wish: Wish,
    deliver: Deliver,
}

struct State {
    items: VecDeque<Item>,
    putters: VecDeque<Putter>,
    takers: VecDeque<Taker>,
    open: bool,
}

/// A channel.
pub(crate) struct Mailbox {
    /// `None`: without bound. Zero: a value goes from hand to hand.
    capacity: Option<usize>,
    state: Mutex<State>,
}

/// Calls to make once the lock is released.
type Calls = Vec<(Deliver, Delivery)>;

impl Mailbox {
    pub(crate) fn new(capacity: Option<usize>) -> Mailbox {
        let state = State {
            items: VecDeque::new(),
            putters: VecDeque::new(),
            takers: VecDeque::new(),
            open: true,
        };
        Mailbox { capacity, state: Mutex::new(state) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, matches those who wait, and tells them.
    fn change(&self, change: impl FnOnce(&mut State, &mut Calls)) {
        let mut calls = Calls::new();
        let mut state = self.lock();
        change(&mut state, &mut calls);
        state.settle(self.capacity, &mut calls);
        drop(state);
        calls.into_iter().for_each(|(deliver, delivery)| deliver(delivery));
    }

    /// Puts a value: done when there is room for it or somebody has taken it.
    pub(crate) fn put(&self, key: Key, item: Item, deliver: Deliver) {
        self.change(|state, calls| match state.open {
            true => state.putters.push_back(Putter { key, item, deliver }),
            false => calls.push((deliver, Delivery::Closed)),
        });
    }

    /// Waits for a value.
    pub(crate) fn get(&self, key: Key, wish: Wish, deliver: Deliver) {
        self.change(|state, _| state.takers.push_back(Taker { key, wish, deliver }));
    }

    /// A value that was taken goes back to the front.
    pub(crate) fn put_back(&self, item: Item) {
        self.change(|state, _| state.items.push_front(item));
    }

    /// Ends a wait; whether it still was one. Its `Deliver` is given back uncalled.
    pub(crate) fn cancel(&self, key: Key) -> Option<Deliver> {
        let mut state = self.lock();
        if let Some(at) = state.putters.iter().position(|p| p.key == key) {
            return state.putters.remove(at).map(|p| p.deliver);
        }
        let at = state.takers.iter().position(|t| t.key == key)?;
        state.takers.remove(at).map(|t| t.deliver)
    }

    /// No value can be put any more; those that are there can be taken.
    pub(crate) fn close(&self) {
        self.change(|state, calls| {
            state.open = false;
            calls.extend(state.putters.drain(..).map(|p| (p.deliver, Delivery::Closed)));
        });
    }

    /// Nobody of this process waits any more.
    pub(crate) fn forget(&self, process: u32) {
        self.change(|state, _| {
            state.putters.retain(|p| p.key.0 != process);
            state.takers.retain(|t| t.key.0 != process);
        });
    }

    pub(crate) fn is_open(&self) -> bool {
        self.lock().open
    }

    /// How many values there are to take.
    pub(crate) fn len(&self) -> usize {
        let state = self.lock();
        state.items.len() + state.putters.len()
    }
}

impl State {
    fn settle(&mut self, capacity: Option<usize>, calls: &mut Calls) {
        loop {
            self.make_room(capacity, calls);
            let Some(taker) = self.takers.front() else { return };
            let ready = !self.items.is_empty() || !self.putters.is_empty();
            if !ready && self.open {
                return;
            }
            let wish = taker.wish;
            let delivery = match wish {
                _ if !ready => Delivery::Closed,
                Wish::Take => Delivery::Item(self.next(calls)),
                Wish::Fetch => Delivery::Item(self.peek()),
                Wish::Wait => Delivery::Done,
            };
            let taker = self.takers.pop_front().expect("there was one just above");
            calls.push((taker.deliver, delivery));
        }
    }

    /// Lets in those who wait to put, while there is room.
    fn make_room(&mut self, capacity: Option<usize>, calls: &mut Calls) {
        while capacity.is_none_or(|capacity| self.items.len() < capacity) {
            let Some(putter) = self.putters.pop_front() else { return };
            self.items.push_back(putter.item);
            calls.push((putter.deliver, Delivery::Done));
        }
    }

    fn next(&mut self, calls: &mut Calls) -> Item {
        self.items.pop_front().unwrap_or_else(|| {
            let putter = self.putters.pop_front().expect("asked only if there is a value");
            calls.push((putter.deliver, Delivery::Done));
            putter.item
        })
    }

    fn peek(&self) -> Item {
        let waiting = || &self.putters.front().expect("asked only if there is a value").item;
        self.items.front().unwrap_or_else(waiting).clone()
    }
}

#[cfg(test)]
#[path = "mailbox_tests.rs"]
mod tests;
