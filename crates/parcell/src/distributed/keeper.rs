//! The thread that looks after things now and then: tells owners what was dropped, passes
//! interrupts on, ends waits whose time is over, and, on the driver, notices who does not answer.
//! It sleeps for good while there is nothing to look after.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Builder;
use std::time::{Duration, Instant};

use super::blob::Blob;
use super::message::Message;
use super::node::{Node, node};
use crate::interrupt::{self, GLANCE};

/// Dropped handles are told together with those dropped shortly after.
const GATHER: Duration = Duration::from_millis(5);
/// A worker that has something to do is asked this often whether it lives.
const PING: Duration = Duration::from_secs(1);
const STACK: usize = 256 << 10;

type Call = Box<dyn FnOnce() + Send>;

struct Timer {
    at: Instant,
    call: Call,
}

impl PartialEq for Timer {
    fn eq(&self, other: &Timer) -> bool {
        self.at == other.at
    }
}

impl Eq for Timer {}

impl PartialOrd for Timer {
    fn partial_cmp(&self, other: &Timer) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Timer {
    fn cmp(&self, other: &Timer) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}

struct State {
    running: bool,
    /// It sleeps without end, so somebody must wake it.
    idle: bool,
    timers: BinaryHeap<Reverse<Timer>>,
}

struct Keeper {
    state: Mutex<State>,
    change: Condvar,
}

static KEEPER: Keeper = Keeper {
    state: Mutex::new(State { running: false, idle: false, timers: BinaryHeap::new() }),
    change: Condvar::new(),
};

fn lock() -> MutexGuard<'static, State> {
    KEEPER.state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has the keeper look at what there is, within [`GLANCE`]. Cheap while it is awake.
pub(crate) fn wake() {
    let mut state = lock();
    if std::mem::take(&mut state.idle) {
        KEEPER.change.notify_one();
    }
    start(&mut state);
}

/// Has something called at a time. The call must not block.
pub(crate) fn at(at: Instant, call: Call) {
    let mut state = lock();
    state.timers.push(Reverse(Timer { at, call }));
    state.idle = false;
    KEEPER.change.notify_one();
    start(&mut state);
}

fn start(state: &mut State) {
    if !state.running {
        interrupt::forget_by(forget_interrupt);
        let thread = Builder::new().name("parcell-keeper".into()).stack_size(STACK).spawn(keep);
        // Where the system refuses a thread now, the next call asks again.
        state.running = thread.is_ok();
    }
}

fn keep() {
    let node = node();
    let mut last_ping = Instant::now();
    loop {
        due_timers();
        for (owner, refs) in node.handles.take_released() {
            node.tell(owner, Message::Release { refs }, Blob::default());
        }
        let busy = node.calls.busy();
        pass_interrupt_on(&mut passed_on());
        if node.id == 1 && !busy.is_empty() {
            if last_ping.elapsed() >= PING {
                last_ping = Instant::now();
                super::watch::ping(node, &busy);
            }
            super::watch::look(node);
            super::watch::tell(node);
        }
        sleep(!busy.is_empty() || interrupt::pending(), node);
    }
}

/// Whether the workers have been told of the interrupt that is pending.
static PASSED_ON: Mutex<bool> = Mutex::new(false);

fn passed_on() -> MutexGuard<'static, bool> {
    PASSED_ON.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What runs elsewhere for this process stops with it.
fn pass_interrupt_on(passed_on: &mut bool) {
    let pending = interrupt::pending();
    if pending && !*passed_on {
        let node = node();
        for id in node.calls.busy().into_iter().filter(|id| *id != node.id) {
            node.tell(id, Message::Interrupt, Blob::default());
        }
    }
    *passed_on = pending;
}

/// Forgets an interrupt, but not before it was passed on: whoever waited may have stopped sooner than
/// this thread looked.
fn forget_interrupt() {
    let mut passed_on = passed_on();
    pass_interrupt_on(&mut passed_on);
    interrupt::forget_here();
    *passed_on = false;
}

fn due_timers() {
    loop {
        let mut state = lock();
        if state.timers.peek().is_none_or(|Reverse(timer)| timer.at > Instant::now()) {
            return;
        }
        let Some(Reverse(timer)) = state.timers.pop() else { return };
        drop(state);
        (timer.call)();
    }
}

/// Sleeps until there is something to look after.
fn sleep(busy: bool, node: &Node) {
    let mut state = lock();
    let gather = node.handles.has_released().then_some(GATHER);
    let watch = busy.then_some(GLANCE);
    let timer =
        state.timers.peek().map(|Reverse(t)| t.at.saturating_duration_since(Instant::now()));
    if let Some(time) = [gather, watch, timer].into_iter().flatten().min() {
        // A timer may be far away: what is to be done sooner ends this, too.
        state.idle = time > GLANCE;
        let waited = KEEPER.change.wait_timeout(state, time);
        waited.unwrap_or_else(PoisonError::into_inner).0.idle = false;
        return;
    }
    state.idle = true;
    drop(KEEPER.change.wait_while(state, |state| state.idle));
}
