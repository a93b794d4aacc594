//! What a worker prints and shows, on its way to the cell that caused it.
//!
//! A worker's standard output and error are pipes that it reads itself: line by line they go to
//! the driver. Before a call is answered, everything printed until then has been sent, and since
//! the driver reads the answer on the same connection, it is shown before the caller goes on.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::Builder;
use std::time::Duration;

use parcell_link::{Grouping, Publication, WorkerOutput};
use rustix::event::{PollFd, PollFlags, poll};

use super::blob::Blob;
use super::message::Message;
use super::node::node;

/// A line that does not end within this time is shown as far as it goes.
const PATIENCE: Duration = Duration::from_millis(300);
/// Longer lines are shown in pieces.
const LONGEST_LINE: usize = 64 << 10;
const STACK: usize = 256 << 10;

thread_local! {
    static CELL: Cell<Option<u64>> = const { Cell::new(None) };
}

/// The cell of the latest call, for what is printed by threads of no call.
static LATEST: AtomicU64 = AtomicU64::new(0);

/// The cell that the current thread works for.
pub(crate) fn current_cell() -> u64 {
    let latest = || match super::node::me() {
        1 => crate::link::run_number(),
        _ => LATEST.load(Ordering::Relaxed),
    };
    CELL.get().unwrap_or_else(latest)
}

/// Says for which cell this process works, on threads that do not know.
pub(crate) fn set_latest_cell(cell: u64) {
    LATEST.store(cell, Ordering::Relaxed);
}

/// While this lives, the thread works for a cell.
pub(crate) struct InCell {
    before: Option<u64>,
}

pub(crate) fn in_cell(cell: u64) -> InCell {
    set_latest_cell(cell);
    InCell { before: CELL.replace(Some(cell)) }
}

impl Drop for InCell {
    fn drop(&mut self) {
        CELL.set(self.before);
    }
}

/// The reading end of one of a worker's own streams.
struct Pipe {
    stderr: bool,
    end: OwnedFd,
    /// The beginning of a line.
    partial: Vec<u8>,
}

static PIPES: OnceLock<Mutex<[Pipe; 2]>> = OnceLock::new();

fn lock(pipes: &Mutex<[Pipe; 2]>) -> MutexGuard<'_, [Pipe; 2]> {
    pipes.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes over what this process prints from now on. Called once, by a worker.
pub(crate) fn capture() -> io::Result<()> {
    let pipe = |number| -> io::Result<Pipe> {
        let (end, writing) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&end, true)?;
        redirect(&writing, number)?;
        Ok(Pipe { stderr: number == 2, end, partial: Vec::new() })
    };
    let pipes = [pipe(1)?, pipe(2)?];
    PIPES.set(Mutex::new(pipes)).unwrap_or_else(|_| unreachable!("a worker captures once"));
    Builder::new().name("parcell-output".into()).stack_size(STACK).spawn(follow)?;
    Ok(())
}

fn redirect(writing: &OwnedFd, number: i32) -> io::Result<()> {
    match number {
        1 => rustix::stdio::dup2_stdout(writing)?,
        _ => rustix::stdio::dup2_stderr(writing)?,
    }
    Ok(())
}

/// Sends on what comes, also between calls.
fn follow() {
    let pipes = PIPES.get().expect("captured before this thread starts");
    let ends: Vec<OwnedFd> =
        lock(pipes).iter().filter_map(|pipe| pipe.end.try_clone().ok()).collect();
    loop {
        let mut wanted: Vec<PollFd<'_>> =
            ends.iter().map(|end| PollFd::from_borrowed_fd(end.as_fd(), PollFlags::IN)).collect();
        let partial = lock(pipes).iter().any(|pipe| !pipe.partial.is_empty());
        let patience = rustix::time::Timespec { tv_sec: 0, tv_nsec: PATIENCE.as_nanos() as i64 };
        match poll(&mut wanted, partial.then_some(&patience)) {
            Ok(0) => lock(pipes).iter_mut().for_each(|pipe| pipe.send(true, current_cell())),
            Ok(_) => lock(pipes).iter_mut().for_each(|pipe| pipe.drain(false, current_cell())),
            Err(_) => {}
        }
        while node().peers.backlog(1) > MOST_UNSENT {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// More output than this is not read while the driver does not take it: who prints must wait.
const MOST_UNSENT: usize = 4 << 20;

/// A call for this cell has ended: what it printed goes out before the answer.
pub(crate) fn end_of_call(cell: u64) {
    let Some(pipes) = PIPES.get() else { return };
    // A closed standard output is the caller's wish.
    let _ = io::stdout().flush();
    lock(pipes).iter_mut().for_each(|pipe| pipe.drain(true, cell));
}

impl Pipe {
    /// Reads what there is; with `all`, lines that have not ended are sent, too.
    fn drain(&mut self, all: bool, cell: u64) {
        let mut buffer = [0; 16 << 10];
        while let Ok(n @ 1..) = rustix::io::read(&self.end, &mut buffer) {
            self.partial.extend_from_slice(&buffer[..n]);
            if self.partial.len() > LONGEST_LINE {
                self.send(false, cell);
            }
        }
        self.send(all, cell);
    }

    fn send(&mut self, all: bool, cell: u64) {
        let whole = self.partial.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let end = if all || self.partial.len() > LONGEST_LINE { self.partial.len() } else { whole };
        if end == 0 {
            return;
        }
        let rest = self.partial.split_off(end);
        let text = String::from_utf8_lossy(&self.partial).into_owned();
        self.partial = rest;
        let what = WorkerOutput::Text { stderr: self.stderr, text };
        node().tell(1, Message::Output { cell, what }, Blob::default());
    }
}

/// Shows something of a worker in the cell it works for. Text printed before comes before it.
pub(crate) fn show(publication: Publication) {
    let cell = current_cell();
    end_of_call(cell);
    let what = WorkerOutput::Shown(Box::new(publication));
    node().tell(1, Message::Output { cell, what }, Blob::default());
}

/// Shows something; may block.
type Showing = Box<dyn FnOnce() + Send>;

/// Output of workers that the driver has not passed on yet. A thread of its own does that, since
/// passing on may wait for the front end, or for a cell that holds standard output.
#[derive(Default)]
struct Queue {
    outputs: VecDeque<Showing>,
    running: bool,
}

static QUEUE: Mutex<Queue> = Mutex::new(Queue { outputs: VecDeque::new(), running: false });
static CHANGED: Condvar = Condvar::new();
static WAITING: AtomicUsize = AtomicUsize::new(0);

fn queue() -> MutexGuard<'static, Queue> {
    QUEUE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Outputs by cell, each with its worker.
type HeldBack = Vec<(u64, Vec<(u32, WorkerOutput)>)>;

/// Outputs that are shown only when all workers have ended.
static HELD: Mutex<HeldBack> = Mutex::new(Vec::new());

fn held() -> MutexGuard<'static, HeldBack> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// While this lives, what workers show for a cell is held back.
pub(crate) struct Holding {
    cell: u64,
}

/// Holds back what workers show for a cell.
pub(crate) fn hold(cell: u64) -> Holding {
    held().push((cell, Vec::new()));
    Holding { cell }
}

impl Holding {
    /// Shows it, in this order.
    pub(crate) fn release(self, group: Grouping) {
        drained();
        let cell = self.cell;
        let mut outputs = self.take();
        let mut ranks = std::collections::HashMap::<u32, usize>::new();
        let mut rank = |worker: u32| {
            let rank = ranks.entry(worker).or_default();
            *rank += 1;
            *rank
        };
        let kind = |what: &WorkerOutput| match what {
            WorkerOutput::Text { stderr, .. } => usize::from(*stderr),
            WorkerOutput::Shown(_) => 2,
        };
        outputs.sort_by_cached_key(|(worker, what)| match group {
            Grouping::Live => (0, 0),
            Grouping::Worker => (*worker as usize, 0),
            Grouping::Order => (rank(*worker), *worker as usize),
            Grouping::Type => (kind(what), *worker as usize),
        });
        for (worker, what) in outputs {
            crate::link::publish_for(cell, Publication::Worker { worker, what });
        }
    }

    fn take(&self) -> Vec<(u32, WorkerOutput)> {
        let mut held = held();
        let at = held.iter().position(|(cell, _)| *cell == self.cell);
        at.map(|at| held.swap_remove(at).1).unwrap_or_default()
    }
}

impl Drop for Holding {
    /// A cell that was interrupted shows what has come.
    fn drop(&mut self) {
        for (worker, what) in self.take() {
            crate::link::publish_for(self.cell, Publication::Worker { worker, what });
        }
    }
}

/// Output of a worker has come.
pub(crate) fn arrived(worker: u32, cell: u64, what: WorkerOutput) {
    show_soon(Box::new(move || {
        let mut held = held();
        if let Some((_, outputs)) = held.iter_mut().find(|(other, _)| *other == cell) {
            return outputs.push((worker, what));
        }
        drop(held);
        crate::link::publish_for(cell, Publication::Worker { worker, what });
    }));
}

/// Has something shown, in order with what workers show, without waiting for it.
pub(crate) fn show_soon(showing: Showing) {
    let mut queue = queue();
    WAITING.fetch_add(1, Ordering::SeqCst);
    queue.outputs.push_back(showing);
    if !queue.running {
        let thread = Builder::new().name("parcell-shower".into()).stack_size(STACK).spawn(pass_on);
        queue.running = thread.is_ok();
    }
    CHANGED.notify_all();
}

fn pass_on() {
    loop {
        let empty = |queue: &mut Queue| queue.outputs.is_empty();
        let mut queue = CHANGED.wait_while(queue(), empty).unwrap_or_else(PoisonError::into_inner);
        let Some(show) = queue.outputs.pop_front() else { continue };
        drop(queue);
        show();
        WAITING.fetch_sub(1, Ordering::SeqCst);
        CHANGED.notify_all();
    }
}

/// Waits a moment until all output that has come is passed on, so that what the caller prints next
/// stands after it.
pub(crate) fn drained() {
    if WAITING.load(Ordering::SeqCst) == 0 {
        return;
    }
    let passing = |_: &mut Queue| WAITING.load(Ordering::SeqCst) > 0;
    drop(CHANGED.wait_timeout_while(queue(), Duration::from_millis(500), passing));
}

/// At the end of a cell: waits a moment until all that workers printed for it has come and is passed
/// on. A worker's output goes to the driver alone, so that of a call that another worker made may
/// still be on its way when the answer is there.
pub(crate) fn settle() {
    let Some(node) = super::node::exists() else { return };
    super::watch::end_of_cell();
    if node.calls.asked_since_settled().is_empty() {
        return;
    }
    let slots: Vec<_> = node
        .peers
        .workers()
        .into_iter()
        .map(|id| {
            let slot = super::waiting::Slot::new();
            node.ask(id, super::message::Ask::Census, Blob::default(), slot.filler());
            slot
        })
        .collect();
    let deadline = std::time::Instant::now() + Duration::from_millis(200);
    for slot in slots {
        slot.settle(deadline);
    }
    drained();
}
