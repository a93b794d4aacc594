//! A run on one of its processes: what has come and was not asked for yet, and who has failed.
//!
//! A room is opened by whatever comes first, the participant or a letter for it. It is closed when
//! the starter has told that all have ended and every letter that was sent has come; so what comes
//! late finds it and goes with it. Nothing here is generic: cells need not compile it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::context::{Context, Storage};
use super::error::SpmdError;
use super::letter::{Lane, Letter};
use crate::distributed::RemoteError;
use crate::distributed::blob::{Blob, Incoming, RefId};
use crate::distributed::jobs::not_written;
use crate::distributed::message::Message;
use crate::distributed::node::node;
use crate::distributed::value::Item;
use crate::threads::Monitor;

/// A run on this process.
pub(crate) struct Room {
    pub(super) run: RefId,
    members: OnceLock<Members>,
    state: Monitor<State>,
    /// What participants without a context keep; it ends with the run.
    pub(super) storage: Mutex<Storage>,
}

/// Who takes part.
pub(super) struct Members {
    /// The processes in the order of their ranks.
    pub(super) processes: Vec<u32>,
    pub(super) rank: usize,
    pub(super) context: Option<Context>,
}

#[derive(Default)]
struct State {
    /// What each process sent in each lane and nobody has received.
    streams: HashMap<(u32, Lane), Stream>,
    /// How many values have come in all, which orders them.
    arrivals: u64,
    /// How many came from each process.
    received: HashMap<u32, u64>,
    /// How many were sent to each.
    sent: HashMap<u32, u64>,
    /// The numbers of the next letters to each, outside of collectives.
    next: HashMap<(u32, u64), u64>,
    /// The number of the next collective of each tag.
    collectives: HashMap<u64, u64>,
    /// The first failure that was heard of.
    failure: Option<(u32, RemoteError)>,
    /// Whether a wait here has ended by that.
    gave_in: bool,
    /// Whether this participant has ended.
    ended: bool,
    /// How much others have sent here, once all have ended.
    over: Option<Vec<(u32, u64)>>,
}

#[derive(Default)]
struct Stream {
    next: u64,
    waiting: BTreeMap<u64, Arrived>,
}

struct Arrived {
    order: u64,
    what: String,
    item: Item,
}

/// How a participant has left.
pub(super) struct Left {
    /// How many values it sent to each process.
    pub(super) sent: Vec<(u32, u64)>,
    /// Whether a wait of it ended because of another's failure.
    pub(super) gave_in: bool,
}

static ROOMS: Mutex<Option<HashMap<RefId, Arc<Room>>>> = Mutex::new(None);

/// The rooms of this process, under their lock.
struct Rooms(MutexGuard<'static, Option<HashMap<RefId, Arc<Room>>>>);

impl Rooms {
    fn lock() -> Rooms {
        Rooms(ROOMS.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn map(&mut self) -> &mut HashMap<RefId, Arc<Room>> {
        self.0.get_or_insert_default()
    }

    fn open(&mut self, run: RefId) -> Arc<Room> {
        Arc::clone(self.map().entry(run).or_insert_with(|| Arc::new(Room::new(run))))
    }
}

/// The room of a run that this process takes part in.
pub(super) fn find(run: RefId) -> Option<Arc<Room>> {
    Rooms::lock().map().get(&run).cloned()
}

/// How many runs this process has not seen the end of, for tests.
#[doc(hidden)]
#[must_use]
pub fn open_rooms() -> usize {
    Rooms::lock().map().len()
}

/// This process begins to take part.
pub(super) fn enter(run: RefId, members: Members) -> Arc<Room> {
    let room = Rooms::lock().open(run);
    let processes = members.processes.clone();
    let _ = room.members.set(members);
    // Who is gone already is not told of again.
    if let Some(gone) = processes.into_iter().chain([run.creator]).find(|process| is_gone(*process))
    {
        room.fail(gone, &node().peers.gone(gone));
    }
    room
}

/// Whether a process is known to be gone.
fn is_gone(process: u32) -> bool {
    let node = node();
    process != node.id && node.peers.is_known(process) && !node.peers.is_alive(process)
}

/// A letter has come. Called on the thread that reads from its sender.
pub(crate) fn arrived(from: u32, run: RefId, letter: Letter, blob: Incoming) {
    let room = {
        let mut rooms = Rooms::lock();
        // Nobody would tell of the end of a run whose starter is gone, nor count what a dead
        // process sent.
        let is_late = is_gone(run.creator) || is_gone(from);
        if is_late && !rooms.map().contains_key(&run) {
            return;
        }
        rooms.open(run)
    };
    match letter {
        Letter::Value { lane, number, what } => {
            room.put(from, lane, number, what, Item::sent(blob), true);
        }
        Letter::Failed { process, error } => room.fail(process, &error),
        Letter::Over { sent } => room.state.change(|state| state.over = Some(sent)),
    }
    room.close_if_over();
}

/// A process is gone: the runs in which it takes part, or which it started, cannot go on.
pub(crate) fn lost(process: u32, error: &RemoteError) {
    let rooms: Vec<_> = Rooms::lock().map().values().cloned().collect();
    for room in rooms {
        let is_member = |members: &Members| members.processes.contains(&process);
        if room.run.creator == process || room.members.get().is_some_and(is_member) {
            room.fail(process, error);
        }
        room.close_if_over();
    }
}

impl Room {
    fn new(run: RefId) -> Room {
        let (members, state) = (OnceLock::new(), Monitor::default());
        Room { run, members, state, storage: Mutex::default() }
    }

    pub(super) fn has_entered(&self) -> bool {
        self.members.get().is_some()
    }

    pub(super) fn members(&self) -> &Members {
        self.members.get().expect("whoever has the room has entered it")
    }

    /// The process of a rank.
    pub(super) fn process(&self, rank: usize) -> Result<u32, SpmdError> {
        let processes = &self.members().processes;
        let size = processes.len();
        processes.get(rank).copied().ok_or(SpmdError::NoSuchRank { rank, size })
    }

    fn rank_of(&self, process: u32) -> Option<usize> {
        self.members().processes.iter().position(|member| *member == process)
    }

    /// The lane of the next collective.
    pub(super) fn next_collective(&self, tag: u64) -> Lane {
        let number = self.state.change(|state| {
            let next = state.collectives.entry(tag).or_default();
            *next += 1;
            *next
        });
        Lane { tag, collective: Some(number) }
    }

    /// Sends a value and does not wait until it has come.
    pub(super) fn send(
        &self,
        rank: usize,
        lane: Lane,
        what: &str,
        item: Item,
    ) -> Result<(), SpmdError> {
        let (node, to) = (node(), self.process(rank)?);
        if to == node.id {
            let number = self.state.change(|state| state.number(to, lane))?;
            self.put(to, lane, number, what.to_owned(), item, false);
            return Ok(());
        }
        let blob = item.into_blob().map_err(not_written)?;
        let number = self.state.change(|state| {
            let number = state.number(to, lane)?;
            *state.sent.entry(to).or_default() += 1;
            Ok::<u64, SpmdError>(number)
        })?;
        let letter = Letter::Value { lane, number, what: what.to_owned() };
        let sent = node.send(to, Message::Letter { run: self.run, letter }, blob);
        if sent.is_err() {
            self.state.change(|state| *state.sent.entry(to).or_default() -= 1);
        }
        sent.map_err(|error| match error {
            error @ RemoteError::ProcessExited { .. } => {
                self.state.change(|state| state.gave_in = true);
                SpmdError::Participant { rank, process: to as usize, error }
            }
            other => other.into(),
        })
    }

    fn put(&self, from: u32, lane: Lane, number: u64, what: String, item: Item, counts: bool) {
        let unwanted = self.state.change(|state| {
            if counts {
                *state.received.entry(from).or_default() += 1;
            }
            if state.ended {
                return Some(item);
            }
            let order = state.arrivals;
            state.arrivals += 1;
            let stream = state.streams.entry((from, lane)).or_default();
            stream.waiting.insert(number, Arrived { order, what, item });
            None
        });
        // Outside of the lock: it may be a handle, whose end is told to others.
        drop(unwanted);
    }

    /// Blocks until there is a value from a rank, or from any, in a lane; the sender's rank, too.
    pub(super) fn receive(
        &self,
        rank: Option<usize>,
        lane: Lane,
        what: &str,
    ) -> Result<(usize, Item), SpmdError> {
        let from = rank.map(|rank| self.process(rank)).transpose()?;
        let ready = |state: &mut State| match state.take(from, lane, what) {
            Some(Ok((process, item))) => {
                Some(Ok((self.rank_of(process).unwrap_or_default(), item)))
            }
            Some(Err((process, got))) => Some(Err(SpmdError::WrongType {
                rank: self.rank_of(process).unwrap_or_default(),
                process: process as usize,
                expected: what.to_owned(),
                got,
            })),
            None => self.hopeless(state).map(Err),
        };
        self.state.wait(None, ready).expect("without a deadline a wait ends with something")
    }

    /// Why nothing more can be waited for.
    fn hopeless(&self, state: &mut State) -> Option<SpmdError> {
        if state.ended {
            return Some(SpmdError::Over);
        }
        let (process, error) = state.failure.clone()?;
        state.gave_in = true;
        let worker = process as usize;
        Some(match self.rank_of(process) {
            Some(rank) => SpmdError::Participant { rank, process: worker, error },
            None => SpmdError::Starter { process: worker, error },
        })
    }

    fn fail(&self, process: u32, error: &RemoteError) {
        self.state.change(|state| {
            state.failure.get_or_insert_with(|| (process, error.clone()));
        });
    }

    /// The participant has ended. What nobody received is dropped.
    pub(super) fn leave(&self) -> Left {
        let (left, unread) = self.state.change(|state| {
            state.ended = true;
            let sent = state.sent.iter().map(|(process, count)| (*process, *count)).collect();
            (Left { sent, gave_in: state.gave_in }, std::mem::take(&mut state.streams))
        });
        drop(unread);
        self.close_if_over();
        left
    }

    /// Forgets the run if nothing more can come of it.
    fn close_if_over(&self) {
        let starter_is_gone = is_gone(self.run.creator);
        let is_over = self.state.look(|state| {
            let has_come = |&(from, count): &(u32, u64)| {
                state.received.get(&from).is_some_and(|n| *n >= count) || is_gone(from)
            };
            let all_came = state.over.as_ref().is_some_and(|sent| sent.iter().all(has_come));
            let runs = self.members.get().is_some() && !state.ended;
            all_came || (starter_is_gone && !runs)
        });
        if is_over {
            let room = Rooms::lock().map().remove(&self.run);
            drop(room);
        }
    }
}

impl State {
    /// The number of the next letter.
    fn number(&mut self, to: u32, lane: Lane) -> Result<u64, SpmdError> {
        if self.ended {
            return Err(SpmdError::Over);
        }
        if lane.collective.is_some() {
            // A participant sends another at most one value in each.
            return Ok(0);
        }
        let next = self.next.entry((to, lane.tag)).or_default();
        let number = *next;
        *next += 1;
        Ok(number)
    }

    /// Takes a value if there is one: the oldest. Of another type, it stays, and its is told.
    fn take(
        &mut self,
        from: Option<u32>,
        lane: Lane,
        what: &str,
    ) -> Option<Result<(u32, Item), (u32, String)>> {
        let from = from.or_else(|| self.oldest(lane))?;
        let stream = self.streams.get_mut(&(from, lane))?;
        let first = stream.waiting.get(&stream.next)?;
        if first.what != what {
            return Some(Err((from, first.what.clone())));
        }
        let arrived = stream.waiting.remove(&stream.next)?;
        stream.next += 1;
        if lane.collective.is_some() {
            self.streams.remove(&(from, lane));
        }
        Some(Ok((from, arrived.item)))
    }

    /// Who sent the value of a lane that came first.
    fn oldest(&self, lane: Lane) -> Option<u32> {
        let first = |((from, of), stream): (&(u32, Lane), &Stream)| {
            let ready = stream.waiting.get(&stream.next).filter(|_| *of == lane)?;
            Some((ready.order, *from))
        };
        self.streams.iter().filter_map(first).min().map(|(_, from)| from)
    }
}

/// Tells a process of a run something, if it is still there.
pub(super) fn tell(process: u32, run: RefId, letter: Letter) {
    node().tell(process, Message::Letter { run, letter }, Blob::default());
}
