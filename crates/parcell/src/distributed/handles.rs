//! The handles of this process: one for each thing, however often it was sent here, so that a
//! value is fetched once and what is dropped is told once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::Waker;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::blob::{Incoming, KeepAlive, RefId};
use super::error::RemoteError;
use super::function::AnyValue;
use crate::threads::Monitor;

/// A handle. Dropping the last copy tells the owner.
pub(crate) struct Handle {
    pub(crate) id: RefId,
    debt: Mutex<Debt>,
    pub(crate) future: Monitor<Known>,
    /// To be woken when something becomes known.
    wakers: Mutex<Vec<Waker>>,
    /// What stands for it on other processes, once its value was fetched.
    pub(crate) moved: OnceLock<Arc<Handle>>,
}

/// What this process owes the owner.
struct Debt {
    /// How often the owner counts this process as a holder.
    owed: u32,
    /// How many values on their way hold the handle. While some do, the owner is told nothing: those
    /// who get such a value must be counted first.
    lent: u32,
    /// Nothing is wanted from the owner any more.
    done: bool,
}

impl Debt {
    /// What to tell the owner now.
    fn due(&mut self) -> u32 {
        if self.done && self.lent == 0 { std::mem::take(&mut self.owed) } else { 0 }
    }
}

/// A handle inside a value that is on its way or waits to be read.
pub(crate) struct Lent(Arc<Handle>);

impl Lent {
    pub(crate) fn of(handle: &Arc<Handle>) -> Lent {
        handle.debt().lent += 1;
        Lent(Arc::clone(handle))
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut debt = self.0.debt();
        debt.lent -= 1;
        let due = debt.due();
        drop(debt);
        self.0.pay(due);
    }
}

/// What this process knows of a future.
#[derive(Default)]
pub(crate) enum Known {
    /// Nothing: its owner must be asked.
    #[default]
    Nothing,
    /// It was called from here; the end will be told.
    Coming,
    /// It has its value, which is with the owner.
    Ready,
    /// Its value has come with the end of the call.
    Arrived(Incoming),
    /// Somebody fetches it.
    Fetching,
    /// Fetched.
    Here(Arc<dyn AnyValue>),
    Failed(RemoteError),
}

impl Known {
    pub(crate) fn settled(settled: Result<Arc<dyn AnyValue>, RemoteError>) -> Known {
        match settled {
            Ok(value) => Known::Here(value),
            Err(error) => Known::Failed(error),
        }
    }
}

impl Handle {
    fn new(id: RefId, future: Known) -> Arc<Handle> {
        Arc::new(Handle {
            id,
            debt: Mutex::new(Debt { owed: 1, lent: 0, done: false }),
            future: Monitor::new(future),
            wakers: Mutex::default(),
            moved: OnceLock::new(),
        })
    }

    /// Notes what has become known, and wakes those who wait for it. What is known for good stays.
    pub(crate) fn become_known(&self, now: Known) {
        self.future.change(|known| {
            if !matches!(known, Known::Here(_) | Known::Failed(_)) {
                *known = now;
            }
        });
        let wakers = std::mem::take(&mut *self.wakers());
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Has a task woken when something becomes known.
    pub(crate) fn wake_later(&self, waker: &Waker) {
        let mut wakers = self.wakers();
        if !wakers.iter().any(|other| other.will_wake(waker)) {
            wakers.push(waker.clone());
        }
    }

    /// Undoes [`Handle::wake_later`].
    pub(crate) fn wake_no_more(&self, waker: &Waker) {
        self.wakers().retain(|other| !other.will_wake(waker));
    }

    fn wakers(&self) -> MutexGuard<'_, Vec<Waker>> {
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the owner that the value will not be wanted from it any more.
    pub(crate) fn let_go(&self) {
        let mut debt = self.debt();
        debt.done = true;
        let due = debt.due();
        drop(debt);
        self.pay(due);
    }

    fn debt(&self) -> MutexGuard<'_, Debt> {
        self.debt.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pay(&self, due: u32) {
        if due > 0 {
            super::node::node().release(self.id, due);
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let node = super::node::node();
        node.handles.forget(self);
        self.let_go();
    }
}

#[derive(Default)]
struct State {
    handles: HashMap<RefId, Weak<Handle>>,
    /// To be told to the owners soon.
    released: HashMap<RefId, u32>,
}

/// All handles of this process.
#[derive(Default)]
pub(crate) struct Handles {
    state: Mutex<State>,
}

impl Handles {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A handle to something that counts this process as its holder already.
    pub(crate) fn new_handle(&self, id: RefId, future: Known) -> Arc<Handle> {
        let handle = Handle::new(id, future);
        self.lock().handles.insert(id, Arc::downgrade(&handle));
        handle
    }

    /// Handles that came with a message, for each of which this process was counted once more.
    pub(crate) fn adopt(&self, refs: &[RefId]) -> Vec<Arc<Handle>> {
        if refs.is_empty() {
            return Vec::new();
        }
        let mut state = self.lock();
        let adopt = |id: &RefId| {
            if let Some(handle) = state.handles.get(id).and_then(Weak::upgrade) {
                handle.debt().owed += 1;
                return handle;
            }
            let handle = Handle::new(*id, Known::Nothing);
            state.handles.insert(*id, Arc::downgrade(&handle));
            handle
        };
        let adopted = refs.iter().map(adopt).collect();
        drop(state);
        adopted
    }

    /// The handle of this id.
    pub(crate) fn find(&self, id: RefId) -> Option<Arc<Handle>> {
        self.lock().handles.get(&id)?.upgrade()
    }

    fn forget(&self, handle: &Handle) {
        let mut state = self.lock();
        let same = |weak: &Weak<Handle>| std::ptr::eq(weak.as_ptr(), handle);
        if state.handles.get(&handle.id).is_some_and(same) {
            state.handles.remove(&handle.id);
        }
    }

    /// Notes what was dropped.
    pub(crate) fn release_later(&self, id: RefId, times: u32) {
        *self.lock().released.entry(id).or_default() += times;
    }

    /// Takes what was dropped since the last time, by owner.
    pub(crate) fn take_released(&self) -> HashMap<u32, Vec<(RefId, u32)>> {
        let released = std::mem::take(&mut self.lock().released);
        let mut by_owner: HashMap<u32, Vec<(RefId, u32)>> = HashMap::new();
        for (id, times) in released {
            by_owner.entry(id.owner).or_default().push((id, times));
        }
        by_owner
    }

    pub(crate) fn has_released(&self) -> bool {
        !self.lock().released.is_empty()
    }

    /// The owner of these is gone: futures that had no value here never get one.
    pub(crate) fn lose(&self, owner: u32, error: &RemoteError) {
        let state = self.lock();
        let its = state.handles.iter().filter(|(id, _)| id.owner == owner);
        let lost: Vec<Arc<Handle>> = its.filter_map(|(_, handle)| handle.upgrade()).collect();
        drop(state);
        for handle in lost {
            let had_value =
                handle.future.look(|known| matches!(known, Known::Arrived(_) | Known::Fetching));
            if !had_value {
                handle.become_known(Known::Failed(error.clone()));
            }
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.lock().handles.len()
    }
}

/// Writes a handle into the call that is being made.
pub(crate) fn send_along<S: Serializer>(handle: &Arc<Handle>, to: S) -> Result<S::Ok, S::Error> {
    send_lent(Lent::of(handle), to)
}

/// As [`send_along`], of a handle that was lent for it.
pub(crate) fn send_lent<S: Serializer>(lent: Lent, to: S) -> Result<S::Ok, S::Error> {
    let id = lent.0.id;
    super::blob::carry::<S::Error>(Arc::new(lent) as KeepAlive, id)?;
    id.serialize(to)
}

/// Reads a handle that came with a call.
pub(crate) fn come_along<'de, D: Deserializer<'de>>(from: D) -> Result<Arc<Handle>, D::Error> {
    let id = RefId::deserialize(from)?;
    came_with(id).ok_or_else(|| D::Error::custom("a handle can only come in a remote call"))
}

/// The handle of this id, if it came with what is being read.
pub(crate) fn came_with(id: RefId) -> Option<Arc<Handle>> {
    let came = super::blob::carried().is_some_and(|ids| ids.contains(&id));
    came.then(|| super::node::node().handles.find(id)).flatten()
}
