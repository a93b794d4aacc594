//! A map that runs: batches go to the workers, results come back, and what failed is tried again.
//! Not generic, so that it is compiled once and not in every cell: items and values are with
//! [`Items`].

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::panic::Location;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::blob::{BlobReader, BlobWriter, DecodeError, EncodeError};
use super::super::calls::Ended;
use super::super::demand::Waiting;
use super::super::error::RemoteError;
use super::super::jobs::not_read;
use super::super::message::{Answer, Message, Work};
use super::super::node::{me, node};
use super::super::pool::WorkerPool;
use super::super::remote::Shared;
use super::super::waiting::unexpected;
use super::super::{call, clock, deal, launch, output};
use super::mapped::ItemTime;
use super::plan::{Pace, Retries};
use crate::threads::Monitor;

/// Batches whose size adapts end at so many bytes.
const FULL: usize = 1 << 20;

/// The items of a map and what became of them, by their positions.
pub(super) trait Items {
    /// Takes the next item from the input; false if there is none.
    fn advance(&mut self) -> bool;
    /// How many items the input still has, if that is known.
    fn left(&self) -> Option<usize>;
    fn write(&self, index: usize, to: &mut BlobWriter) -> Result<(), EncodeError>;
    /// Reads the value of an item.
    fn read(&mut self, index: usize, from: &mut BlobReader<'_>) -> Result<(), DecodeError>;
    /// Whether an item is to be tried again after this failure, if there are tries left.
    fn again(&mut self, error: &RemoteError) -> bool;
    /// Finds a value for an item that failed for good, or gives the error back.
    fn give_up(&mut self, index: usize, error: RemoteError) -> Result<(), RemoteError>;
}

impl Crew {
    /// Whether workers that come have a part in it.
    fn grows(&self) -> bool {
        match self {
            Crew::All => true,
            Crew::Pool(pool) => pool.follows(),
            Crew::Here => false,
        }
    }
}

/// How to run a map.
#[derive(Debug, Clone, Default)]
pub(super) struct Settings {
    pub(super) batch_size: Option<usize>,
    pub(super) retries: usize,
    /// Before each further try; the last one counts for all that follow.
    pub(super) delays: Vec<Duration>,
    pub(super) crew: Crew,
}

/// Who computes.
#[derive(Debug, Clone, Default)]
pub(super) enum Crew {
    /// All workers; this process while there are none.
    #[default]
    All,
    Pool(WorkerPool),
    /// This process.
    Here,
}

impl Crew {
    fn at_first(&self) -> Vec<u32> {
        match self {
            Crew::All => deal::workers(),
            Crew::Pool(pool) => pool.live(),
            Crew::Here => vec![me()],
        }
    }

    /// The workers that there are now.
    fn later(&self) -> Vec<u32> {
        match self {
            Crew::All => node().peers.workers(),
            Crew::Pool(pool) => pool.live(),
            Crew::Here => Vec::new(),
        }
    }
}

struct Seat {
    worker: u32,
    threads: usize,
    batches: usize,
}

impl Seat {
    fn all(workers: &[u32]) -> Vec<Seat> {
        let seat =
            |worker: &u32| Seat { worker: *worker, threads: deal::threads_of(*worker), batches: 0 };
        workers.iter().map(seat).collect()
    }
}

struct Sent {
    worker: u32,
    items: Range<usize>,
    /// The call's.
    number: u64,
}

/// What has ended and was not looked at yet.
type Mail = Monitor<Vec<(u64, Ended)>>;

/// A map that runs. Dropping it ends what it has running.
pub(super) struct Run {
    function: Arc<Shared>,
    settings: Settings,
    place: &'static Location<'static>,
    seats: Vec<Seat>,
    pace: Pace,
    retries: Retries,
    sent: HashMap<u64, Sent>,
    mail: Arc<Mail>,
    tickets: u64,
    /// Items that were taken from the input.
    taken: usize,
    exhausted: bool,
    /// Why there is no worker any more.
    lost: Option<RemoteError>,
    /// Those that are gone, of which not everybody may know yet.
    gone: Vec<u32>,
    /// The batches that wait for a worker.
    waiting: Waiting,
    pub(super) began: u64,
    /// Items that have come to something, in this order.
    pub(super) ended: VecDeque<ItemTime>,
}

impl Run {
    pub(super) fn new(
        function: Arc<Shared>,
        settings: Settings,
        place: &'static Location<'static>,
    ) -> Run {
        Run {
            function,
            place,
            seats: Seat::all(&settings.crew.at_first()),
            pace: Pace::new(settings.batch_size),
            retries: Retries::default(),
            settings,
            sent: HashMap::new(),
            mail: Arc::default(),
            tickets: 0,
            taken: 0,
            exhausted: false,
            lost: None,
            gone: Vec::new(),
            waiting: Waiting::default(),
            began: clock::now(),
            ended: VecDeque::new(),
        }
    }

    /// Goes on until some items have ended; false if all have. Takes items from the input until
    /// `ahead` were taken in all. Blocks.
    pub(super) fn step(
        &mut self,
        items: &mut dyn Items,
        ahead: usize,
    ) -> Result<bool, RemoteError> {
        // One moment for both: what becomes due between them would be waited for without a deadline.
        let now = Instant::now();
        self.fill(items, ahead, now)?;
        if self.sent.is_empty() && self.retries.is_empty() {
            return Ok(!self.ended.is_empty());
        }
        let due = self.retries.next_due(now).map(|time| now + time);
        // Nothing ends for a while, perhaps, but workers may come.
        let more = || self.waiting.calls() > 0 && !self.newcomers().is_empty();
        let arrived = |mail: &mut Vec<(u64, Ended)>| {
            (!mail.is_empty() || more()).then(|| std::mem::take(mail))
        };
        for (ticket, ended) in self.mail.wait(due, arrived).unwrap_or_default() {
            self.take_in(items, ticket, ended)?;
        }
        if self.sent.is_empty() && self.retries.is_empty() && self.exhausted {
            output::drained();
        }
        Ok(true)
    }

    /// How many items to take ahead of those that were handed out.
    pub(super) fn look_ahead(&self) -> usize {
        let hands = self.hands();
        4 * hands * self.pace.batch(None, hands)
    }

    /// Batches that run at a time.
    fn hands(&self) -> usize {
        self.seats.iter().map(|seat| self.pace.depth(seat.threads)).sum()
    }

    /// Sends batches until all workers have enough.
    fn fill(
        &mut self,
        items: &mut dyn Items,
        ahead: usize,
        now: Instant,
    ) -> Result<(), RemoteError> {
        self.take_in_newcomers();
        let live: Vec<u32> = self.seats.iter().map(|seat| seat.worker).collect();
        if live.is_empty() {
            let more = !self.retries.is_empty() || (!self.exhausted && items.left() != Some(0));
            return if more { Err(self.lost.clone().unwrap_or_else(no_worker)) } else { Ok(()) };
        }
        let mut order: Vec<usize> = (0..self.seats.len()).collect();
        while !order.is_empty() {
            order.sort_by_key(|at| self.seats[*at].batches);
            order.retain(|at| {
                let seat = &self.seats[*at];
                if seat.batches >= self.pace.depth(seat.threads) {
                    return false;
                }
                let worker = seat.worker;
                let batch = match self.retries.take(worker, &live, now) {
                    Some(index) => Some(self.write(items, index..index + 1)),
                    None => self.write_new(items, ahead),
                };
                batch.map(|(range, written)| self.send(*at, range, written)).is_some()
            });
        }
        let waiting = self.left_to_send(items, ahead);
        self.waiting.set(waiting);
        Ok(())
    }

    /// Workers that have come since this map began.
    fn newcomers(&self) -> Vec<u32> {
        let mut workers = self.settings.crew.later();
        let known = |id: &u32| self.seats.iter().any(|seat| seat.worker == *id);
        workers.retain(|id| !known(id) && !self.gone.contains(id));
        workers
    }

    /// Gives a seat to those that have come, and none to those that have left with nothing to do.
    fn take_in_newcomers(&mut self) {
        let newcomers = self.newcomers();
        self.seats.extend(Seat::all(&newcomers));
        let there = self.settings.crew.later();
        if !there.is_empty() {
            self.seats.retain(|seat| seat.batches > 0 || there.contains(&seat.worker));
        }
    }

    /// How many batches wait for a worker, as far as workers that come would get them.
    fn left_to_send(&self, items: &dyn Items, ahead: usize) -> usize {
        if !self.settings.crew.grows() {
            return 0;
        }
        let left = items.left();
        let new =
            if self.exhausted { 0 } else { left.unwrap_or(1).min(ahead - ahead.min(self.taken)) };
        new.div_ceil(self.pace.batch(left, self.hands())) + self.retries.len()
    }

    fn write(&self, items: &dyn Items, range: Range<usize>) -> (Range<usize>, Written) {
        let mut writer = BlobWriter::default();
        let written = range.clone().try_for_each(|index| items.write(index, &mut writer));
        (range, written.map(|()| writer))
    }

    /// Takes the items of a batch from the input.
    fn write_new(
        &mut self,
        items: &mut dyn Items,
        ahead: usize,
    ) -> Option<(Range<usize>, Written)> {
        let first = self.taken;
        let size = self.pace.batch(items.left(), self.hands());
        let mut writer = BlobWriter::default();
        let mut written = Ok(());
        while self.taken < first.saturating_add(size).min(ahead)
            && !self.exhausted
            && written.is_ok()
            && (self.settings.batch_size.is_some() || writer.size() < FULL)
        {
            self.exhausted = !items.advance();
            if !self.exhausted {
                written = items.write(self.taken, &mut writer);
                self.taken += 1;
            }
        }
        (self.taken > first).then(|| (first..self.taken, written.map(|()| writer)))
    }

    /// Sends a batch. If that fails, its end is in the mail.
    fn send(&mut self, seat: usize, items: Range<usize>, written: Written) {
        let to = self.seats[seat].worker;
        self.seats[seat].batches += 1;
        let ticket = self.tickets;
        self.tickets += 1;
        let mail = Arc::clone(&self.mail);
        let done = move |ended: Ended| mail.change(|mail| mail.push((ticket, ended)));
        let count = u32::try_from(items.len()).unwrap_or(u32::MAX);
        let outgoing = written.map_err(super::super::jobs::not_written).and_then(|mut writer| {
            let handle = self.function.kept_by(to)?;
            let work = Work::Batch { function: handle.id, items: count };
            // Whatever becomes of this map, the function is there when the batch is.
            writer.carry(handle.id, handle);
            Ok(call::Outgoing { work, blob: writer.finish() })
        });
        let number = match outgoing {
            Ok(outgoing) => call::fetch_later(to, outgoing, self.place, Box::new(done)),
            Err(error) => {
                done(Ended::failed(error));
                0
            }
        };
        self.sent.insert(ticket, Sent { worker: to, items, number });
    }

    /// A batch has ended.
    fn take_in(
        &mut self,
        items: &mut dyn Items,
        ticket: u64,
        ended: Ended,
    ) -> Result<(), RemoteError> {
        let Some(Sent { worker, items: range, .. }) = self.sent.remove(&ticket) else {
            return Ok(());
        };
        if let Some(seat) = self.seats.iter_mut().find(|seat| seat.worker == worker) {
            seat.batches -= 1;
        }
        let mut time = ItemTime {
            item: 0,
            worker: worker as usize,
            began: Duration::from_nanos(ended.began.saturating_sub(self.began)),
            took: Duration::ZERO,
        };
        let mut blob = ended.blob;
        match ended.result {
            Ok(Answer::Value) => {
                self.pace.measured(range.len(), ended.took);
                let mut results = blob.reader();
                for index in range {
                    time.item = index;
                    let value = read(items, index, &mut results, &mut time).map_err(not_read)?;
                    self.settle(items, worker, value, &time)?;
                    time.began += time.took;
                }
                Ok(())
            }
            Ok(_) => Err(unexpected(worker, "a batch")),
            Err(error) => self.fail_all(items, range, worker, &error, &time),
        }
    }

    fn fail_all(
        &mut self,
        items: &mut dyn Items,
        range: Range<usize>,
        worker: u32,
        error: &RemoteError,
        time: &ItemTime,
    ) -> Result<(), RemoteError> {
        if let RemoteError::ProcessExited { why, .. } = error {
            self.seats.retain(|seat| seat.worker != worker);
            self.lost = Some(error.clone());
            self.gone.push(worker);
            if why == launch::LET_GO {
                // It never began these.
                range.for_each(|index| self.retries.again(index, Instant::now()));
                return Ok(());
            }
        }
        for index in range {
            self.settle(items, worker, Err(error.clone()), &ItemTime { item: index, ..*time })?;
        }
        Ok(())
    }

    /// Notes what an item has come to.
    fn settle(
        &mut self,
        items: &mut dyn Items,
        worker: u32,
        value: Result<(), RemoteError>,
        time: &ItemTime,
    ) -> Result<(), RemoteError> {
        if let Err(error) = value {
            let tries = self.retries.failed(time.item, worker);
            if tries <= self.settings.retries && items.again(&error) {
                let delays = &self.settings.delays;
                let delay = delays.get(tries - 1).or(delays.last()).copied().unwrap_or_default();
                let now = Instant::now();
                self.retries.again(time.item, now.checked_add(delay).unwrap_or(now));
                return Ok(());
            }
            items.give_up(time.item, error)?;
        }
        self.retries.forget(time.item);
        self.ended.push_back(*time);
        Ok(())
    }
}

type Written = Result<BlobWriter, EncodeError>;

/// The next result of a batch.
fn read(
    items: &mut dyn Items,
    index: usize,
    from: &mut BlobReader<'_>,
    time: &mut ItemTime,
) -> Result<Result<(), RemoteError>, DecodeError> {
    let (ok, nanoseconds) = from.read::<(bool, u64)>()?;
    time.took = Duration::from_nanos(nanoseconds);
    Ok(if ok { Ok(items.read(index, from)?) } else { Err(from.read::<RemoteError>()?) })
}

fn no_worker() -> RemoteError {
    let what = "there is no active worker".to_owned();
    RemoteError::Refused { worker: me() as usize, what }
}

impl Drop for Run {
    fn drop(&mut self) {
        for sent in self.sent.values() {
            let number = sent.number;
            node().tell(sent.worker, Message::Cancel { number }, Default::default());
        }
    }
}
