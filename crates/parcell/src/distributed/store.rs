//! What this process holds for others and for itself: results, functions, channels, values that
//! stay. Each thing knows how often it is held and by whom, and goes when nobody holds it any more.
//!
//! # Why counts arrive in any order and still are right
//! Whoever sends a handle to a process tells the owner so (`Hold`) before it sends the handle, and
//! before it ever tells that it has dropped its own (`Release`), on one ordered connection. So a
//! count can be below zero for a while, but as long as any handle lives, some count is not zero:
//! the holder's own, or that of the one who sent it the handle and whose `Hold` is still on its
//! way. A process that dies holds nothing any more, and what is still told of it is ignored.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::blob::RefId;
use super::error::RemoteError;
use super::function::AnyValue;
use super::handles::Handle;
use super::kept::KeptFunction;
use super::local::Local;
use super::mailbox::Mailbox;
use super::message::Census;

/// What a future came to.
pub(crate) type Settled = Result<Arc<dyn AnyValue>, RemoteError>;

/// Called when a future has come to something. Must not block.
pub(crate) type Waiter = Box<dyn FnOnce(&Settled) + Send>;

/// A thing that is held.
pub(crate) enum Thing {
    /// A future, or the place of one whose making is still on its way here.
    Future(Future),
    Function(Arc<KeptFunction>),
    Channel(Arc<Mailbox>),
    /// The value of a `WorkerLocal`.
    Local(Arc<Local>),
    /// What holds all values of a `WorkerLocal`.
    Group(#[expect(dead_code, reason = "held, so that the parts live")] Vec<Arc<Handle>>),
}

pub(crate) enum Future {
    Pending { waiters: Vec<(u32, Waiter)>, promised: bool },
    Settled(Settled),
}

struct Entry {
    thing: Thing,
    /// Counts that are zero are not kept.
    holders: HashMap<u32, i64>,
}

#[derive(Default)]
struct Things {
    entries: HashMap<RefId, Entry>,
    dead: HashSet<u32>,
}

/// All that this process holds.
#[derive(Default)]
pub(crate) struct Store {
    things: Mutex<Things>,
}

impl Things {
    /// The entry of a future, or a place for it.
    fn future(&mut self, id: RefId) -> &mut Entry {
        self.entries.entry(id).or_insert_with(|| Entry {
            thing: Thing::Future(Future::Pending { waiters: Vec::new(), promised: false }),
            holders: HashMap::new(),
        })
    }

    /// Changes a count. What is not held any more is given back, to be dropped after the lock is
    /// released: dropping a user's value may take long, or come back here.
    fn count(&mut self, id: RefId, holder: u32, change: i64) -> Option<Entry> {
        if !self.dead.contains(&holder) {
            let holders = &mut self.future(id).holders;
            let count = holders.entry(holder).or_default();
            *count += change;
            if *count == 0 {
                holders.remove(&holder);
            }
        }
        self.remove_if_free(id)
    }

    fn remove_holder(&mut self, id: RefId, holder: u32) -> Option<Entry> {
        self.entries.get_mut(&id)?.holders.remove(&holder);
        self.remove_if_free(id)
    }

    fn remove_if_free(&mut self, id: RefId) -> Option<Entry> {
        self.entries.get(&id)?.holders.is_empty().then(|| self.entries.remove(&id))?
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if let Thing::Future(Future::Pending { waiters, .. }) = &mut self.thing {
            let freed = Err(RemoteError::Freed { worker: super::node::me() as usize });
            waiters.drain(..).for_each(|(_, waiter)| waiter(&freed));
        }
    }
}

impl Store {
    fn lock(&self) -> MutexGuard<'_, Things> {
        self.things.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the place of a future whose value this process will find. Its first holder is the one
    /// who wanted it.
    pub(crate) fn promise(&self, id: RefId, holder: u32) {
        let mut things = self.lock();
        let entry = things.future(id);
        if let Thing::Future(Future::Pending { promised, .. }) = &mut entry.thing {
            *promised = true;
        }
        let dropped = things.count(id, holder, 1);
        drop(things);
        drop(dropped);
    }

    /// Keeps something under an id, held once by `holder`.
    pub(crate) fn put(&self, id: RefId, holder: u32, thing: Thing) {
        let mut things = self.lock();
        let earlier = match things.entries.get_mut(&id) {
            Some(entry) => Some(std::mem::replace(&mut entry.thing, thing)),
            None => {
                things.entries.insert(id, Entry { thing, holders: HashMap::new() });
                None
            }
        };
        let dropped = things.count(id, holder, 1);
        drop(things);
        drop((earlier, dropped));
    }

    /// Puts something in the place that was held for it; drops it if nobody holds that any more.
    pub(crate) fn fill(&self, id: RefId, thing: Thing) {
        let mut things = self.lock();
        let unused = match things.entries.get_mut(&id) {
            Some(entry) => std::mem::replace(&mut entry.thing, thing),
            None => thing,
        };
        drop(things);
        drop(unused);
    }

    /// Changes how often a process holds something.
    pub(crate) fn count(&self, id: RefId, holder: u32, change: i64) {
        let dropped = self.lock().count(id, holder, change);
        drop(dropped);
    }

    /// Gives a future its value, if it is still wanted; false if it had one already.
    pub(crate) fn settle(&self, id: RefId, value: Settled) -> bool {
        Store::settle_in(self.lock(), id, value)
    }

    /// As `settle`, for somebody who holds the future. If it has no place here, it was not freed: what
    /// tells of its holders is still on its way, and what they gave it may overtake that.
    pub(crate) fn fulfil(&self, id: RefId, value: Settled) -> bool {
        let mut things = self.lock();
        things.future(id);
        Store::settle_in(things, id, value)
    }

    fn settle_in(mut things: MutexGuard<'_, Things>, id: RefId, value: Settled) -> bool {
        let Some(Entry { thing: Thing::Future(future), .. }) = things.entries.get_mut(&id) else {
            // Nobody holds it any more.
            return true;
        };
        let Future::Pending { waiters, .. } = future else { return false };
        let waiters = std::mem::take(waiters);
        *future = Future::Settled(value.clone());
        drop(things);
        waiters.into_iter().for_each(|(_, waiter)| waiter(&value));
        true
    }

    /// Calls back when a future has its value, at once if it has; `asker` is whom that is for.
    pub(crate) fn when_settled(&self, id: RefId, asker: u32, waiter: Waiter) {
        let mut things = self.lock();
        let settled = match &mut things.future(id).thing {
            Thing::Future(Future::Pending { waiters, .. }) => {
                waiters.push((asker, waiter));
                return;
            }
            Thing::Future(Future::Settled(settled)) => settled.clone(),
            _ => Err(RemoteError::Freed { worker: id.owner as usize }),
        };
        drop(things);
        waiter(&settled);
    }

    /// A future's value if it has come.
    pub(crate) fn settled(&self, id: RefId) -> Option<Settled> {
        match &self.lock().entries.get(&id)?.thing {
            Thing::Future(Future::Settled(settled)) => Some(settled.clone()),
            _ => None,
        }
    }

    pub(crate) fn function(&self, id: RefId) -> Option<Arc<KeptFunction>> {
        match &self.lock().entries.get(&id)?.thing {
            Thing::Function(function) => Some(Arc::clone(function)),
            _ => None,
        }
    }

    pub(crate) fn channel(&self, id: RefId) -> Option<Arc<Mailbox>> {
        match &self.lock().entries.get(&id)?.thing {
            Thing::Channel(channel) => Some(Arc::clone(channel)),
            _ => None,
        }
    }

    pub(crate) fn local(&self, id: RefId) -> Option<Arc<Local>> {
        match &self.lock().entries.get(&id)?.thing {
            Thing::Local(local) => Some(Arc::clone(local)),
            _ => None,
        }
    }

    /// A process is gone: it holds nothing any more, and waits for nothing.
    pub(crate) fn forget_process(&self, process: u32, why: &str) {
        let mut things = self.lock();
        things.dead.insert(process);
        let holds =
            |(id, entry): (&RefId, &Entry)| entry.holders.contains_key(&process).then_some(*id);
        let held: Vec<RefId> = things.entries.iter().filter_map(holds).collect();
        let dropped: Vec<_> =
            held.into_iter().map(|id| things.remove_holder(id, process)).collect();
        let mut orphans = Vec::new();
        let mut channels = Vec::new();
        for (id, entry) in &mut things.entries {
            match &mut entry.thing {
                Thing::Future(Future::Pending { waiters, promised }) => {
                    waiters.retain(|(asker, _)| *asker != process);
                    if id.creator == process && !*promised {
                        orphans.append(waiters);
                    }
                }
                Thing::Channel(channel) => channels.push(Arc::clone(channel)),
                _ => {}
            }
        }
        drop(things);
        drop(dropped);
        let error = RemoteError::ProcessExited { worker: process as usize, why: why.to_owned() };
        orphans.into_iter().for_each(|(_, waiter)| waiter(&Err(error.clone())));
        channels.into_iter().for_each(|channel| channel.forget(process));
    }

    /// How many things there are of each kind.
    pub(crate) fn census(&self) -> Census {
        let things = self.lock();
        let mut census = Census::default();
        for entry in things.entries.values() {
            match entry.thing {
                Thing::Future(_) => census.values += 1,
                Thing::Function(_) => census.functions += 1,
                Thing::Channel(_) => census.channels += 1,
                Thing::Local(_) => census.locals += 1,
                // Counted by the handles that it has.
                Thing::Group(_) => {}
            }
        }
        census
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distributed::function::hold;

    #[test]
    fn a_value_may_come_before_its_holders_are_told_of() {
        let store = Store::default();
        let id = RefId { owner: 1, creator: 2, number: 3 };
        assert!(store.fulfil(id, Ok(hold(5))), "process 3 was first");
        store.count(id, 2, 1);
        store.count(id, 3, 1);
        assert!(store.settled(id).is_some());
        assert!(!store.fulfil(id, Ok(hold(6))), "a second value");
        store.count(id, 3, -1);
        store.count(id, 2, -1);
        assert_eq!(store.census(), Census::default());
    }
}
