//! Channels between tasks, as Julia's `Channel`.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use super::monitor::Monitor;
use super::task::{Task, TaskError, spawn};
use crate::interrupt::{self, Seconds};

/// A queue between tasks, first in, first out; any number of tasks may put and take. A clone is
/// the same channel.
///
/// [`put`](Channel::put), [`take`](Channel::take) and [`fetch`](Channel::fetch) block and panic
/// once the channel is closed; their `try_` forms return that as an error instead, and block too;
/// the `_within` forms block for a time only, and for a time of 0 not at all. A task that blocks
/// keeps its thread, and others take over its part of the work. Each call takes a lock for some
/// 50 ns.
///
/// Follows Julia's `Channel{T}(size)`.
///
/// ```
/// use parcell::prelude::*;
///
/// let numbers = Channel::new(4);
/// let producer = spawn({
///     let numbers = numbers.clone();
///     move || {
///         for i in 1..=10 {
///             numbers.put(i);
///         }
///     }
/// });
/// numbers.bind(&producer); // closes the channel when the producer ends
/// assert_eq!(numbers.iter().sum::<i32>(), 55);
/// ```
pub struct Channel<T>(Arc<Monitor<State<T>>>);

struct State<T> {
    items: VecDeque<T>,
    /// `None` if unbounded, 0 if each `put` waits for its `take`.
    capacity: Option<usize>,
    closed: Option<Closed>,
    /// Items that were ever put, and that were ever taken.
    put: u64,
    taken: u64,
    /// Takers that wait.
    takers: usize,
}

/// The channel is closed, and nothing is left in it if something was to be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Closed {
    /// By [`Channel::close`], or with the end of the task that it was bound to.
    #[error("the channel is closed")]
    Ended,
    /// By [`Channel::close_with`].
    #[error("the channel was closed with an error: {reason}")]
    Failed {
        /// What it was closed with.
        reason: String,
    },
    /// By the failure of the task that it was bound to.
    #[error("the channel was closed with its task: {0}")]
    TaskFailed(TaskError),
}

/// Why nothing was put within the time.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PutError<T> {
    /// No room, or nobody who takes, within the time. The item comes back.
    #[error("the channel had no room within the time")]
    TimedOut(T),
    /// The channel is closed. The item comes back.
    #[error("{1}")]
    Closed(T, Closed),
}

impl<T> fmt::Debug for PutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PutError::TimedOut(_) => "TimedOut(..)",
            PutError::Closed(..) => "Closed(..)",
        })
    }
}

/// Why nothing was taken within the time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TakeError {
    /// Nothing came within the time.
    #[error("nothing came through the channel within the time")]
    TimedOut,
    /// The channel is closed, and all that was in it has been taken.
    #[error(transparent)]
    Closed(Closed),
}

impl<T> State<T> {
    /// Whether an item may be put now. Of a rendezvous only one at a time is on its way.
    fn has_room(&self, must_be_awaited: bool) -> bool {
        match self.capacity {
            None => true,
            Some(0) if must_be_awaited => self.items.len() < self.takers,
            Some(0) => self.items.is_empty(),
            Some(capacity) => self.items.len() < capacity,
        }
    }

    fn take(&mut self) -> Option<Result<T, Closed>> {
        if let Some(item) = self.items.pop_front() {
            self.taken += 1;
            return Some(Ok(item));
        }
        self.closed.clone().map(Err)
    }

    fn is_rendezvous(&self) -> bool {
        self.capacity == Some(0)
    }
}

impl<T> Channel<T> {
    /// A channel that holds up to `capacity` items; [`put`](Channel::put) blocks while it is full.
    /// With 0 it holds none: each `put` blocks until its item is taken.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let channel = Channel::new(2);
    /// channel.put('a');
    /// channel.put('b');
    /// assert!(channel.is_full());
    /// ```
    #[must_use]
    pub fn new(capacity: usize) -> Channel<T> {
        Channel::with_capacity(Some(capacity))
    }

    /// A channel that is never full. Follows Julia's `Channel(Inf)`.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let channel = Channel::unbounded();
    /// (0..1000).for_each(|i| channel.put(i));
    /// assert_eq!(channel.len(), 1000);
    /// ```
    #[must_use]
    pub fn unbounded() -> Channel<T> {
        Channel::with_capacity(None)
    }

    fn with_capacity(capacity: Option<usize>) -> Channel<T> {
        let items = VecDeque::new();
        let state = State { items, capacity, closed: None, put: 0, taken: 0, takers: 0 };
        Channel(Arc::new(Monitor::new(state)))
    }

    /// Puts an item in. Blocks while the channel is full; a rendezvous until the item is taken.
    /// Follows Julia's `put!`.
    ///
    /// # Panics
    /// If the channel is closed, or is closed meanwhile. Unwinds within 0.1 s of an interrupt.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let channel = Channel::new(1);
    /// channel.put(7);
    /// assert_eq!(channel.take(), 7);
    /// ```
    #[track_caller]
    pub fn put(&self, item: T) {
        if let Err(closed) = self.try_put(item) {
            panic!("nothing can be put: {closed}");
        }
    }

    /// [`Channel::put`], with a closed channel as an error.
    ///
    /// # Errors
    /// [`Closed`] if the channel is closed; the item is dropped. [`Channel::put_within`] gives it
    /// back.
    ///
    /// # Panics
    /// Unwinds within 0.1 s of an interrupt.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let channel = Channel::new(1);
    /// channel.close();
    /// assert_eq!(channel.try_put(7).unwrap_err().to_string(), "the channel is closed");
    /// ```
    pub fn try_put(&self, item: T) -> Result<(), Closed> {
        match self.put_until(None, false, item) {
            Ok(()) => Ok(()),
            Err(PutError::Closed(_, closed)) => Err(closed),
            Err(PutError::TimedOut(_)) => unreachable!("there is no deadline"),
        }
    }

    /// [`Channel::put`] for a time only, in seconds or as a [`Duration`](std::time::Duration).
    /// With a time of 0 it does not block: a rendezvous takes the item if a taker waits for it.
    ///
    /// # Errors
    /// [`PutError`], with the item, if the time passes or the channel is closed.
    ///
    /// # Panics
    /// Unwinds within 0.1 s of an interrupt.
    ///
    /// ```
    /// use parcell::prelude::*;
    /// use parcell::threads::PutError;
    ///
    /// let channel = Channel::new(1);
    /// assert_eq!(channel.put_within(0, 'a'), Ok(()));
    /// assert_eq!(channel.put_within(0.01, 'b'), Err(PutError::TimedOut('b')));
    /// ```
    pub fn put_within(&self, time: impl Into<Seconds>, item: T) -> Result<(), PutError<T>> {
        let time = time.into();
        self.put_until(time.deadline(), time.is_zero(), item)
    }

    fn put_until(
        &self,
        deadline: Option<Instant>,
        at_once: bool,
        item: T,
    ) -> Result<(), PutError<T>> {
        let mut item = Some(item);
        let ticket = self.0.wait(deadline, |state| {
            if let Some(closed) = &state.closed {
                return Some(Err(closed.clone()));
            }
            if !state.has_room(at_once) {
                return None;
            }
            state.items.extend(item.take());
            state.put += 1;
            Some(Ok(state.put))
        });
        let ticket = match (ticket, item) {
            (Some(Ok(ticket)), _) => ticket,
            (Some(Err(closed)), Some(item)) => return Err(PutError::Closed(item, closed)),
            (None, Some(item)) => return Err(PutError::TimedOut(item)),
            (_, None) => unreachable!("an item that was put has a ticket"),
        };
        if at_once || !self.0.look(State::is_rendezvous) {
            return Ok(());
        }
        self.await_taker(deadline, ticket)
    }

    /// The second half of a rendezvous: the item lies ready, and goes back if nobody takes it.
    fn await_taker(&self, deadline: Option<Instant>, ticket: u64) -> Result<(), PutError<T>> {
        let mut offer = Offer { channel: self, ticket };
        let met = self.0.wait(deadline, |state| {
            if state.taken >= ticket {
                return Some(None);
            }
            state.closed.clone().map(Some)
        });
        match (offer.withdraw(), met) {
            (None, _) => Ok(()),
            (Some(item), Some(Some(closed))) => Err(PutError::Closed(item, closed)),
            (Some(item), _) => Err(PutError::TimedOut(item)),
        }
    }

    /// Takes the oldest item out. Blocks while there is none.
    /// Follows Julia's `take!`.
    ///
    /// # Panics
    /// If the channel is closed and nothing is left in it. Unwinds within 0.1 s of an interrupt.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let channel = Channel::new(2);
    /// channel.put(1);
    /// channel.put(2);
    /// assert_eq!((channel.take(), channel.take()), (1, 2));
    /// ```
    #[track_caller]
    pub fn take(&self) -> T {
        match self.try_take() {
            Ok(item) => item,
            Err(closed) => panic!("nothing can be taken: {closed}"),
        }
    }

    /// [`Channel::take`], with a closed channel as an error.
    ///
    /// # Errors
    /// [`Closed`] if the channel is closed and nothing is left in it.
    ///
    /// # Panics
    /// Unwinds within 0.1 s of an interrupt.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let channel = Channel::new(1);
    /// channel.put(7);
    /// channel.close();
    /// assert_eq!(channel.try_take(), Ok(7));
    /// assert_eq!(channel.try_take().unwrap_err().to_string(), "the channel is closed");
    /// ```
    pub fn try_take(&self) -> Result<T, Closed> {
        match self.take_until(None) {
            Ok(item) => Ok(item),
            Err(TakeError::Closed(closed)) => Err(closed),
            Err(TakeError::TimedOut) => unreachable!("there is no deadline"),
        }
    }

    /// [`Channel::take`] for a time only, in seconds or as a [`Duration`](std::time::Duration).
    /// With a time of 0 it does not block.
    ///
    /// # Errors
    /// [`TakeError`] if the time passes, or the channel is closed and nothing is left in it.
    ///
    /// # Panics
    /// Unwinds within 0.1 s of an interrupt.
    ///
    /// ```
    /// use parcell::prelude::*;
    /// use parcell::threads::TakeError;
    ///
    /// let channel: Channel<i32> = Channel::new(1);
    /// assert_eq!(channel.take_within(0.01), Err(TakeError::TimedOut));
    /// ```
    pub fn take_within(&self, time: impl Into<Seconds>) -> Result<T, TakeError> {
        self.take_until(time.into().deadline())
    }

    fn take_until(&self, deadline: Option<Instant>) -> Result<T, TakeError> {
        interrupt::check();
        if let Some(result) = self.0.change(State::take) {
            return result.map_err(TakeError::Closed);
        }
        let _waiting = Taker::new(self);
        let result = self.0.wait(deadline, State::take);
        result.ok_or(TakeError::TimedOut)?.map_err(TakeError::Closed)
    }

    /// A clone of the oldest item, which stays. Blocks while there is none; of a rendezvous until
    /// somebody offers one.
    /// Follows Julia's `fetch(::Channel)`, which refuses a rendezvous.
    ///
    /// # Panics
    /// If the channel is closed and nothing is left in it. Unwinds within 0.1 s of an interrupt.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let channel = Channel::new(1);
    /// channel.put("stays");
    /// assert_eq!((channel.fetch(), channel.take()), ("stays", "stays"));
    /// ```
    #[track_caller]
    pub fn fetch(&self) -> T
    where
        T: Clone,
    {
        match self.try_fetch() {
            Ok(item) => item,
            Err(closed) => panic!("nothing can be fetched: {closed}"),
        }
    }

    /// [`Channel::fetch`], with a closed channel as an error.
    ///
    /// # Errors
    /// [`Closed`] if the channel is closed and nothing is left in it.
    ///
    /// # Panics
    /// Unwinds within 0.1 s of an interrupt.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let channel: Channel<i32> = Channel::new(1);
    /// channel.close_with("no data");
    /// let error = channel.try_fetch().unwrap_err();
    /// assert_eq!(error.to_string(), "the channel was closed with an error: no data");
    /// ```
    pub fn try_fetch(&self) -> Result<T, Closed>
    where
        T: Clone,
    {
        let found = self.0.wait(None, |state| match state.items.front() {
            Some(item) => Some(Ok(item.clone())),
            None => state.closed.clone().map(Err),
        });
        found.expect("there is no deadline")
    }

    /// Closes the channel: what is in it may still be taken, nothing more can be put. Does nothing
    /// if it is closed already. Does not block.
    /// Follows Julia's `close`.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let channel = Channel::new(1);
    /// channel.put(1);
    /// channel.close();
    /// assert_eq!(channel.iter().collect::<Vec<_>>(), [1]);
    /// ```
    pub fn close(&self) {
        self.close_for(Closed::Ended);
    }

    /// Closes the channel with an error, which those get who put then, or take what is not there.
    /// Does not block.
    /// Follows Julia's `close(channel, exception)`.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let channel: Channel<i32> = Channel::new(1);
    /// channel.close_with("disk full");
    /// assert!(channel.try_take().unwrap_err().to_string().ends_with("disk full"));
    /// ```
    pub fn close_with(&self, reason: impl fmt::Display) {
        self.close_for(Closed::Failed { reason: reason.to_string() });
    }

    fn close_for(&self, reason: Closed) {
        self.0.change(|state| {
            state.closed.get_or_insert(reason);
        });
    }

    /// Closes the channel when the task ends; if the task fails, with its failure. Of several
    /// tasks the first that ends closes. Does not block.
    /// Follows Julia's `bind(channel, task)`.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let channel: Channel<i32> = Channel::new(1);
    /// let task = spawn(|| -> () { panic!("out of data") });
    /// channel.bind(&task);
    /// let error = channel.try_take().unwrap_err();
    /// assert!(error.to_string().ends_with("panicked: out of data"));
    /// ```
    pub fn bind<R>(&self, task: &Task<R>)
    where
        T: Send + 'static,
    {
        let channel = self.clone();
        task.at_end(move |error| {
            channel.close_for(error.map_or(Closed::Ended, |e| Closed::TaskFailed(e.clone())));
        });
    }

    /// A channel with a task that fills it: the closure gets the channel, which closes when the
    /// closure ends. Does not block.
    /// Follows Julia's `Channel(f, size; spawn=true)`.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let squares = Channel::produce(2, |channel| (0..5).for_each(|i| channel.put(i * i)));
    /// assert_eq!(squares.iter().collect::<Vec<i32>>(), [0, 1, 4, 9, 16]);
    /// ```
    #[track_caller]
    pub fn produce<F>(capacity: usize, work: F) -> Channel<T>
    where
        T: Send + 'static,
        F: FnOnce(&Channel<T>) + Send + 'static,
    {
        let channel = Channel::new(capacity);
        let task = spawn({
            let channel = channel.clone();
            move || work(&channel)
        });
        channel.bind(&task);
        channel
    }

    /// Number of items in the channel now. Does not block.
    ///
    /// ```
    /// assert_eq!(parcell::threads::Channel::<i32>::new(3).len(), 0);
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.look(|state| state.items.len())
    }

    /// Whether there is nothing to take now. Does not block. Follows Julia's `isempty`; `isready`
    /// is its opposite.
    ///
    /// ```
    /// assert!(parcell::threads::Channel::<i32>::new(3).is_empty());
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a `put` would block now. Does not block. Follows Julia's `isfull`.
    ///
    /// ```
    /// assert!(parcell::threads::Channel::<i32>::new(0).is_full());
    /// ```
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.0.look(|state| !state.has_room(true))
    }

    /// Whether the channel takes items, room or not. Does not block. Follows Julia's `isopen`.
    ///
    /// ```
    /// let channel = parcell::threads::Channel::<i32>::new(3);
    /// assert!(channel.is_open());
    /// channel.close();
    /// assert!(!channel.is_open());
    /// ```
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.0.look(|state| state.closed.is_none())
    }

    /// Takes items until the channel is closed and empty; waits for each as [`Channel::take`] does.
    ///
    /// # Panics
    /// If the channel was closed with an error, when all before it has been taken. Unwinds within
    /// 0.1 s of an interrupt.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let channel = Channel::unbounded();
    /// channel.put(1);
    /// channel.put(2);
    /// channel.close();
    /// for item in &channel {
    ///     println!("{item}");
    /// }
    /// ```
    #[must_use]
    pub fn iter(&self) -> Items<T> {
        Items(self.clone())
    }
}

/// A rendezvous item that lies ready to be taken, and does not outlive its `put`.
struct Offer<'a, T> {
    channel: &'a Channel<T>,
    ticket: u64,
}

impl<T> Offer<'_, T> {
    /// Takes the item back, unless it was taken.
    fn withdraw(&mut self) -> Option<T> {
        self.channel.0.change(|state| {
            if state.taken >= self.ticket {
                return None;
            }
            let item = state.items.pop_back();
            state.taken += u64::from(item.is_some());
            item
        })
    }
}

impl<T> Drop for Offer<'_, T> {
    fn drop(&mut self) {
        // After an interrupt. Else it has been withdrawn, which counts it as taken.
        drop(self.withdraw());
    }
}

/// Counts a taker while it waits.
struct Taker<'a, T>(&'a Channel<T>);

impl<T> Taker<'_, T> {
    fn new(channel: &Channel<T>) -> Taker<'_, T> {
        channel.0.change(|state| state.takers += 1);
        Taker(channel)
    }
}

impl<T> Drop for Taker<'_, T> {
    fn drop(&mut self) {
        self.0.0.change(|state| state.takers -= 1);
    }
}

/// Made by [`Channel::iter`].
#[derive(Debug)]
pub struct Items<T>(Channel<T>);

impl<T> Iterator for Items<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        match self.0.try_take() {
            Ok(item) => Some(item),
            Err(Closed::Ended) => None,
            Err(failed) => panic!("{failed}"),
        }
    }
}

impl<T> IntoIterator for Channel<T> {
    type Item = T;
    type IntoIter = Items<T>;

    fn into_iter(self) -> Items<T> {
        Items(self)
    }
}

impl<T> IntoIterator for &Channel<T> {
    type Item = T;
    type IntoIter = Items<T>;

    fn into_iter(self) -> Items<T> {
        self.iter()
    }
}

impl<T> Clone for Channel<T> {
    fn clone(&self) -> Channel<T> {
        Channel(Arc::clone(&self.0))
    }
}

impl<T> fmt::Debug for Channel<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.look(|state| {
            let capacity = state.capacity.map_or_else(|| "∞".to_owned(), |c| c.to_string());
            let closed = if state.closed.is_some() { ", closed" } else { "" };
            write!(f, "Channel({} of {capacity}{closed})", state.items.len())
        })
    }
}
