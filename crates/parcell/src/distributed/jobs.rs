//! The calls that others want this process to run. Each is a task of the thread pool, so that as
//! many compute at a time as there are threads, and one that waits lends its place.

use std::any::Any;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::blob::{Blob, BlobReader, BlobWriter, Incoming, RefId};
use super::error::{RemoteError, RemotePanic};
use super::function::{AnyValue, FunctionRef};
use super::kept::KeptFunction;
use super::mailbox::Mailbox;
use super::message::{Answer, Call, Load, Message, Want, Work};
use super::node::{Node, node};
use super::store::Thing;
use super::{clock, modules, output};
use crate::interrupt::{self, Interrupted};
use crate::{rt, threads};

type Job = Box<dyn FnOnce() + Send>;
/// Who asked, and the number of the call.
type Caller = (u32, u64);

#[derive(Default)]
struct State {
    /// Begun or waiting for a thread, and whether the caller has given it up.
    running: HashMap<Caller, Arc<AtomicBool>>,
    /// All that runs was asked to stop, and has not yet.
    interrupted: bool,
    /// What came after that. It begins when the others have stopped.
    held: Vec<(Caller, Job)>,
    /// Waits at channels that may be given up.
    waits: HashMap<Caller, Arc<Mailbox>>,
}

/// The calls of others.
#[derive(Default)]
pub(crate) struct Jobs {
    state: Mutex<State>,
    /// Changes when a function has come.
    defined: threads::Monitor<()>,
}

impl Jobs {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes up a call: it will run on a thread of the pool.
    pub(crate) fn begin(&self, node: &Node, from: u32, call: Call, blob: Incoming) {
        if let Want::Kept(id) = call.want {
            node.store.promise(id, from);
        }
        let caller = (from, call.number);
        let is_cell = matches!(call.work, Work::Cell { .. });
        let run: Job = Box::new(move || run(from, call, blob));
        self.start(
            caller,
            if is_cell {
                Box::new(|| super::worker::on_cell_thread(run))
            } else {
                Box::new(|| threads::spawn_job(run))
            },
        );
    }

    /// Starts a job, at once or when those have ended that were told to stop.
    fn start(&self, caller: Caller, start: Job) {
        let mut state = self.lock();
        if state.interrupted {
            state.held.push((caller, start));
            return;
        }
        state.running.insert(caller, Arc::default());
        drop(state);
        start();
    }

    fn ended(&self, caller: Caller) {
        let mut state = self.lock();
        state.running.remove(&caller);
        if !(state.interrupted && state.running.is_empty()) {
            return;
        }
        interrupt::clear();
        state.interrupted = false;
        let held = std::mem::take(&mut state.held);
        drop(state);
        held.into_iter().for_each(|(caller, start)| self.start(caller, start));
    }

    /// Asks all that runs here to stop.
    pub(crate) fn interrupt(&self) {
        let mut state = self.lock();
        if !state.running.is_empty() && super::node::me() != 1 {
            state.interrupted = true;
            interrupt::raise();
        }
    }

    /// A wait at a channel begins that its caller may give up.
    pub(crate) fn may_be_cancelled(&self, caller: Caller, mailbox: &Arc<Mailbox>) {
        self.lock().waits.insert(caller, Arc::clone(mailbox));
    }

    pub(crate) fn cannot_be_cancelled(&self, caller: Caller) {
        self.lock().waits.remove(&caller);
    }

    /// Whether the caller of a call that runs has given it up.
    fn given_up(&self, caller: Caller) -> Arc<AtomicBool> {
        self.lock().running.get(&caller).cloned().unwrap_or_default()
    }

    /// A caller gives up a wait, or what a batch has not begun.
    pub(crate) fn cancel(&self, from: u32, number: u64) {
        let mut state = self.lock();
        if let Some(given_up) = state.running.get(&(from, number)) {
            given_up.store(true, Ordering::Relaxed);
        }
        let mailbox = state.waits.remove(&(from, number));
        drop(state);
        if mailbox.is_some_and(|mailbox| mailbox.cancel((from, number)).is_some()) {
            // Every question is answered once, so that the asker knows when it is over.
            node().reply(from, number, Ok(Answer::NotInTime), Blob::default());
        }
    }

    /// A caller is gone: what it wanted and has not begun is not run.
    pub(crate) fn forget(&self, process: u32) {
        let mut state = self.lock();
        state.held.retain(|((from, _), _)| *from != process);
        state.waits.retain(|(from, _), _| *from != process);
        drop(state);
        // Whoever waits for a function that will not come now sees that.
        self.defined.change(|()| ());
    }

    /// Keeps a function for calls to come.
    pub(crate) fn define(
        &self,
        node: &Node,
        from: u32,
        id: RefId,
        function: FunctionRef,
        blob: Incoming,
    ) {
        let kept = Arc::new(KeptFunction::new(function, blob));
        node.store.put(id, from, Thing::Function(kept));
        self.defined.change(|()| ());
    }

    pub(crate) fn count(&self) -> usize {
        let state = self.lock();
        state.running.len() + state.held.len()
    }

    /// How busy this process is.
    pub(crate) fn load(&self, node: &Node) -> Load {
        let (memory, processor) = super::usage::of_this_process();
        let calls = u32::try_from(self.count()).unwrap_or(u32::MAX);
        Load { memory, processor, calls, census: super::census_here(node) }
    }
}

/// Runs a call to its end and answers it.
fn run(from: u32, call: Call, mut blob: Incoming) {
    let node = node();
    let Call { number, cell, work, want, .. } = call;
    let within = output::in_cell(cell);
    let began = clock::now();
    let outcome = attempt(|| match work {
        Work::New(function) => {
            let mut captures = blob.reader();
            let callable = modules::make(&function, &mut captures)?;
            callable.call(&mut captures).map_err(not_read).map(Product::Value)
        }
        Work::Kept(id) => {
            let callable = kept(node, from, id)?;
            callable.call(&mut blob.reader()).map_err(not_read).map(Product::Value)
        }
        Work::Batch { function, items } => {
            let kept = kept(node, from, function)?;
            let given_up = node.jobs.given_up((from, number));
            batch(&*kept, &mut blob.reader(), items, &given_up).map(Product::Encoded)
        }
        Work::Cell { module, symbol } => super::cells::run_here(&module, &symbol),
    });
    drop(within);
    output::end_of_call(cell);
    let took = clock::now() - began;
    let (result, blob) = deliver(node, want, outcome);
    if want != Want::Nothing {
        node.tell(from, Message::Ended { number, result, began, took }, blob);
    } else if let Err(error) = result {
        eprintln!("{error}");
    }
    node.jobs.ended((from, number));
}

/// What a call has made.
pub(crate) enum Product {
    Value(Arc<dyn AnyValue>),
    Encoded(Blob),
    Cell(Box<parcell_link::Outcome>),
}

/// A function that this process keeps for the caller. The call holds it, so it was not freed; but a
/// short call may overtake the large captures that were sent before it, and then waits for them.
fn kept(
    node: &Node,
    from: u32,
    id: RefId,
) -> Result<Arc<dyn super::function::Callable>, RemoteError> {
    let here_or_lost = |(): &mut ()| match node.store.function(id) {
        Some(function) => Some(Ok(function)),
        None if from == node.id || !node.peers.is_alive(from) => {
            Some(Err(RemoteError::Freed { worker: node.id as usize }))
        }
        None => None,
    };
    let function = node.jobs.defined.wait(None, here_or_lost);
    function.expect("without a deadline a wait ends with a function")?.callable()
}

/// Runs work, and makes errors of its panics.
fn attempt<T>(work: impl FnOnce() -> Result<T, RemoteError>) -> Result<T, RemoteError> {
    let here = super::node::me() as usize;
    if here != 1 && interrupt::pending() {
        return Err(RemoteError::Interrupted { worker: here });
    }
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| Err(panicked(&*payload)))
}

/// The error that tells of a panic on this process.
pub(crate) fn panicked(payload: &(dyn Any + Send)) -> RemoteError {
    let worker = super::node::me() as usize;
    if payload.is::<Interrupted>() {
        return RemoteError::Interrupted { worker };
    }
    let message = rt::message_of(payload);
    let noticed = rt::take_noticed(&message);
    let (file, line, column, backtrace) = noticed.unwrap_or_default();
    let panic = RemotePanic { worker, message, file, line, column, backtrace };
    RemoteError::Panicked(Box::new(panic))
}

pub(crate) fn not_read(error: super::blob::DecodeError) -> RemoteError {
    RemoteError::NotPortable { worker: super::node::me() as usize, what: error.to_string() }
}

/// Runs a function for each of several arguments. The results follow each other: whether there is
/// a value, nanoseconds that it took, then value or error.
fn batch(
    function: &dyn super::function::Callable,
    arguments: &mut BlobReader<'_>,
    items: u32,
    given_up: &AtomicBool,
) -> Result<Blob, RemoteError> {
    let mut results = BlobWriter::default();
    let mut last = clock::now();
    for _ in 0..items {
        if given_up.load(Ordering::Relaxed) {
            return Err(RemoteError::Interrupted { worker: super::node::me() as usize });
        }
        let one = attempt(|| function.call(arguments).map_err(not_read));
        let now = clock::now();
        let took = now - last;
        last = now;
        if let Err(error @ RemoteError::NotPortable { .. }) = one {
            // The next argument cannot be found any more.
            return Err(error);
        }
        let written = results.write(&(one.is_ok(), took)).and_then(|()| match one {
            Ok(value) => value.encode(&mut results),
            Err(error) => results.write(&error),
        });
        written.map_err(not_written)?;
    }
    Ok(results.finish())
}

pub(crate) fn not_written(error: super::blob::EncodeError) -> RemoteError {
    RemoteError::NotPortable { worker: super::node::me() as usize, what: error.to_string() }
}

/// Puts a result where it is wanted; what to tell the caller.
fn deliver(
    node: &Node,
    want: Want,
    outcome: Result<Product, RemoteError>,
) -> (Result<Answer, RemoteError>, Blob) {
    let nothing = Blob::default;
    match (want, outcome) {
        (Want::Kept(id), Ok(Product::Value(value))) => {
            let told = if value.is_small() { encode(Arc::clone(&value)) } else { None };
            node.store.settle(id, Ok(value));
            told.map_or((Ok(Answer::Ready), nothing()), |blob| (Ok(Answer::Value), blob))
        }
        (Want::Kept(id), Err(error)) => {
            node.store.settle(id, Err(error.clone()));
            (Err(error), nothing())
        }
        (Want::Value, Ok(Product::Value(value))) => {
            let mut writer = BlobWriter::default();
            match value.encode(&mut writer) {
                Ok(()) => (Ok(Answer::Value), writer.finish()),
                Err(error) => (Err(not_written(error)), nothing()),
            }
        }
        (_, Ok(Product::Encoded(blob))) => (Ok(Answer::Value), blob),
        (_, Ok(Product::Cell(outcome))) => (Ok(Answer::Cell(outcome)), nothing()),
        (Want::Nothing, Ok(_)) => (Ok(Answer::Done), nothing()),
        (_, Err(error)) => (Err(error), nothing()),
    }
}

fn encode(value: Arc<dyn AnyValue>) -> Option<Blob> {
    let mut writer = BlobWriter::default();
    value.encode(&mut writer).is_ok().then(|| writer.finish())
}
