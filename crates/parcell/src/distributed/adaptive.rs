//! Workers that come and go with the work: more when calls wait for a free one, fewer when they have
//! had nothing to do for long. The keeper looks once a second; what may block has a thread of its own
//! for as long as it takes. Only the driver has such workers, and one group of them.

mod policy;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::Builder;
use std::time::{Duration, Instant};

use parcell_link::{Adaptive, WorkerOptions};

use super::blob::Blob;
use super::calls::Ended;
use super::commands::counted;
use super::launch::{self, LET_GO, LaunchError, Launched};
use super::message::{Answer, Ask};
use super::node::node;
use super::{deal, demand, keeper, managers};
use policy::{Policy, Seen, Step};

/// How often the work is looked at.
const OFTEN: Duration = Duration::from_secs(1);
const STACK: usize = 256 << 10;

/// The workers that come and go.
struct Group {
    /// No two groups have the same.
    number: u64,
    span: Adaptive,
    /// How each is started.
    options: WorkerOptions,
    /// Where workers may be, for those on named hosts: each place is for one.
    places: Vec<String>,
    /// Those that are there or may still come, each with its place.
    members: BTreeMap<u32, Option<usize>>,
    policy: Policy,
    /// A thread starts more.
    growing: bool,
}

static NUMBERS: AtomicU64 = AtomicU64::new(0);
static GROUP: Mutex<Option<Group>> = Mutex::new(None);

fn lock() -> MutexGuard<'static, Option<Group>> {
    GROUP.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts the least number of workers, and has more come and go from now on. If there are such workers
/// already, only their bounds change. The ids of those that were started.
pub(crate) fn begin(span: Adaptive, options: &WorkerOptions) -> Result<Vec<usize>, LaunchError> {
    if !(1..=span.most).contains(&span.least) || span.most > launch::MOST {
        let Adaptive { least, most, .. } = span;
        return Err(LaunchError::Unable(format!(
            "{least}..{most} is no span of workers: at least 1, at most {}, the smaller number first",
            launch::MOST
        )));
    }
    let places = managers::places(options, span.most).map_err(LaunchError::Unable)?;
    let options = managers::for_few(WorkerOptions { adaptive: None, ..options.clone() });
    let mut group = lock();
    let new = group.is_none();
    let first = match &mut *group {
        Some(there) => there.take_bounds(span, &options)?,
        None => {
            let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
            *group = Some(Group {
                number,
                span,
                options,
                places,
                members: BTreeMap::new(),
                policy: Policy::default(),
                growing: false,
            });
            keeper::at(Instant::now() + OFTEN, Box::new(move || look(number)));
            span.least
        }
    };
    if first == 0 {
        return Ok(Vec::new());
    }
    let order = group.as_mut().expect("made above").order(first);
    drop(group);
    let _begun = Beginning { new };
    order.start().and_then(launch::settle)
}

/// While this lives, the first workers are started. If the user stops that, or none comes, there is no
/// group.
struct Beginning {
    new: bool,
}

impl Drop for Beginning {
    fn drop(&mut self) {
        drop(Growing);
        let none = || !members().into_iter().any(launch::is_alive);
        if self.new && (std::thread::panicking() || none()) {
            end();
        }
    }
}

fn named(manager: &str) -> &str {
    if manager.is_empty() { "local" } else { manager }
}

fn members() -> Vec<u32> {
    lock().as_ref().map(|group| group.members.keys().copied().collect()).unwrap_or_default()
}

/// How many there are and may be, in words; nothing if their number is fixed.
pub(crate) fn summary() -> Option<String> {
    let group = lock();
    let group = group.as_ref()?;
    let Adaptive { least, most, idle } = group.span;
    let coming = group.coming();
    let now = group.members.keys().filter(|id| launch::is_alive(**id)).count() - coming;
    let coming = if coming > 0 { format!(", {coming} to come") } else { String::new() };
    Some(format!("adaptive {least}..{most}, now {now}{coming}; let go after {idle} s idle"))
}

/// These workers are removed: when none is left, none come any more.
pub(crate) fn removed(ids: &[u32]) {
    let mut group = lock();
    let Some(there) = &mut *group else { return };
    let before = there.members.len();
    there.members.retain(|id, _| !ids.contains(id) && launch::is_alive(*id));
    if before > 0 && there.members.is_empty() {
        *group = None;
        drop(group);
        println!("no more workers come by themselves");
    }
}

/// No more workers come, nor are any let go.
pub(crate) fn end() {
    *lock() = None;
}

/// A worker that was to come has not.
pub(crate) fn failed() {
    if let Some(group) = &mut *lock() {
        group.policy.failed(Instant::now());
    }
}

/// Workers that are to be started.
struct Order {
    count: Option<usize>,
    options: WorkerOptions,
    /// The places that they will have.
    places: Vec<usize>,
}

impl Order {
    /// Starts them and notes them as members. Does not wait for them.
    fn start(&self) -> Result<Launched, LaunchError> {
        let launched = launch::start(self.count, &self.options)?;
        let places = self.places.iter().copied().map(Some).chain(std::iter::repeat(None));
        if let Some(group) = &mut *lock() {
            group.members.extend(launched.ids.iter().copied().zip(places));
        }
        Ok(launched)
    }
}

/// While this lives, no others are started.
struct Growing;

impl Drop for Growing {
    fn drop(&mut self) {
        if let Some(group) = &mut *lock() {
            group.growing = false;
        }
    }
}

impl Group {
    /// Changes the bounds; how many workers are missing.
    fn take_bounds(
        &mut self,
        span: Adaptive,
        options: &WorkerOptions,
    ) -> Result<usize, LaunchError> {
        let Adaptive { least, most, .. } = self.span;
        let unable = |why: String| {
            Err(LaunchError::Unable(format!(
                "there are adaptive workers already, {least}..{most} of the manager {}{why}; \
                 `%rmworkers` ends them",
                named(&self.options.manager)
            )))
        };
        let places = self.places.len();
        if self.options.manager != options.manager {
            return unable(String::new());
        }
        if places > 0 && span.most > places {
            return unable(format!(" on hosts with places for {places}"));
        }
        self.span = span;
        self.policy = Policy::default();
        Ok(span.least.saturating_sub(self.members.len()))
    }

    /// Says how so many more are started, and that they are.
    fn order(&mut self, count: usize) -> Order {
        self.growing = true;
        let mut options = self.options.clone();
        if self.places.is_empty() {
            return Order { count: Some(count), options, places: Vec::new() };
        }
        let taken = |place: &usize| self.members.values().any(|of| *of == Some(*place));
        let free = (0..self.places.len()).filter(|place| !taken(place));
        let places: Vec<usize> = free.take(count).collect();
        let hosts: Vec<&str> = places.iter().map(|place| self.places[*place].as_str()).collect();
        options.manager_options.retain(|(name, _)| name != "hosts");
        options.manager_options.push(("hosts".to_owned(), Some(hosts.join(","))));
        Order { count: None, options, places }
    }

    fn coming(&self) -> usize {
        self.members.keys().filter(|id| launch::is_awaited(**id)).count()
    }

    /// What is to be done now.
    fn step(&mut self, waiting: usize) -> Step {
        self.members.retain(|id, _| launch::is_alive(*id));
        let calls = &node().calls;
        let there = self.members.keys().filter(|id| !launch::is_awaited(**id));
        let workers: Vec<(u32, bool)> = there.map(|id| (*id, calls.open(*id) > 0)).collect();
        let coming = self.members.len() - workers.len() + usize::from(self.growing);
        self.policy
            .step(&self.span, &Seen { now: Instant::now(), waiting, coming, workers: &workers })
    }
}

/// The calls that wait for a free worker: those that are not sent yet, and those that were sent to
/// workers whose threads are all taken.
fn waiting() -> usize {
    let calls = &node().calls;
    let beyond = |id: u32| calls.open(id).saturating_sub(deal::threads_of(id));
    demand::waiting() + node().peers.workers().into_iter().map(beyond).sum::<usize>()
}

/// Looks at the work, and does what it asks for.
fn look(number: u64) {
    let waiting = waiting();
    let mut group = lock();
    let Some(there) = group.as_mut().filter(|group| group.number == number) else { return };
    match there.step(waiting) {
        Step::Rest => {}
        Step::Grow(count) => {
            let order = there.order(count);
            let Adaptive { least, most, .. } = there.span;
            drop(group);
            let why = match waiting {
                0 => String::new(),
                1 => ", 1 call waits".to_owned(),
                n => format!(", {n} calls wait"),
            };
            let noun = if count == 1 { "worker is" } else { "workers are" };
            println!("adaptive {least}..{most}: {count} more {noun} started{why}");
            grow(order);
        }
        Step::LetGo(ids) => {
            drop(group);
            ids.into_iter().for_each(ask_to_go);
        }
    }
    keeper::at(Instant::now() + OFTEN, Box::new(move || look(number)));
}

/// Starts workers on a thread, since a scheduler may take long to answer.
fn grow(order: Order) {
    let start = move || {
        let _done = Growing;
        let start =
            || order.start().and_then(|launched| launch::settle(launched.without_waiting()));
        match catch_unwind(AssertUnwindSafe(start)) {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                eprintln!("no more workers could be started: {error}");
                failed();
            }
            // The user has stopped what they were for.
            Err(_) => failed(),
        }
    };
    let thread = Builder::new().name("parcell-grows".into()).stack_size(STACK).spawn(start);
    if let Err(error) = thread {
        eprintln!("no more workers could be started: no thread for it: {error}");
        drop(Growing);
        failed();
    }
}

/// Asks a worker whether it holds anything, with nothing new sent to it meanwhile.
fn ask_to_go(id: u32) {
    let node = node();
    node.peers.with(id, |peer| peer.leaving = true);
    let answered = move |ended: Ended| {
        let free = matches!(ended.result, Ok(Answer::Flag(true)));
        // This thread reads from the worker, and what follows prints.
        keeper::at(Instant::now(), Box::new(move || let_go(id, free)));
    };
    node.ask(id, Ask::IsDispensable, Blob::default(), Box::new(answered));
}

/// Lets a worker go that holds nothing and still has nothing to do; another stays.
fn let_go(id: u32, free: bool) {
    let node = node();
    let gone = |group: &mut Group| {
        let spare = group.members.len() > group.span.least;
        (spare && group.members.remove(&id).is_some()).then_some((group.span, group.members.len()))
    };
    let goes = free && node.calls.open(id) == 0;
    let gone = lock().as_mut().filter(|_| goes).and_then(gone);
    let Some((Adaptive { least, most, idle }, left)) = gone else {
        node.peers.with(id, |peer| peer.leaving = false);
        return;
    };
    launch::dismiss(id, LET_GO);
    println!(
        "adaptive {least}..{most}: {}, idle for {idle} s; {left} left",
        counted(&[id as usize], "let go")
    );
}
