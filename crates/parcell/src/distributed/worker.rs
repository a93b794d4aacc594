//! The main program of a worker.

use std::io::Read;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::Builder;

use super::launch::{AS_WORKER, Start};
use super::node::{Node, become_worker, node};
use super::transport::Key;
use super::{address, keeper, launch, output};
use crate::{rt, threads};

/// Whether this process was started to be a worker.
pub(crate) fn is_wanted() -> bool {
    std::env::var_os(AS_WORKER).is_some()
}

/// Whether this process is a worker.
pub(crate) fn is_this() -> bool {
    super::node::me() != 1
}

/// Work for the one thread on which cells run.
type Work = Box<dyn FnOnce() + Send>;

/// Address space for the stack of the thread of cells, as on the driver.
const STACK: usize = 256 << 20;

static CELLS: OnceLock<Mutex<Sender<Work>>> = OnceLock::new();

/// Lives as a worker. Does not return.
pub(crate) fn run() -> ! {
    match start() {
        Ok(work) => run_cells(work),
        Err(problem) => {
            eprintln!("a worker cannot start: {problem}");
            std::process::exit(2)
        }
    }
}

/// Runs what is given to the thread of cells, which has a name and a stack of its own.
fn run_cells(work: Receiver<Work>) -> ! {
    let cells = Builder::new().name(crate::driver::CELL_THREAD.to_owned()).stack_size(STACK);
    let thread = cells.spawn(|| work.into_iter().for_each(|work| work()));
    if let Ok(thread) = thread {
        // Ends with the process only.
        let _ = thread.join();
    }
    exit()
}

fn start() -> Result<Receiver<Work>, String> {
    let start = read_start()?;
    die_with(start.parent)?;
    // SAFETY: no other thread exists yet. Programs that calls start must not take themselves for
    // workers.
    unsafe { std::env::remove_var(AS_WORKER) };
    ignore_interrupts();
    std::panic::set_hook(Box::new(rt::on_panic));
    let node = become_worker(start.id, Key::from_bytes(start.key));
    crate::store::belong_to(start.id);
    threads::serve_globally(start.threads, start.pin).map_err(|e| e.to_string())?;
    let (sender, work) = channel();
    CELLS.get_or_init(|| Mutex::new(sender));
    let (socket, hello) = address::dial(&start.driver, node, 1)?;
    crate::link::divert(output::show);
    output::capture().map_err(|e| format!("its output cannot be captured: {e}"))?;
    node.peers.welcome(socket, hello)?;
    Ok(work)
}

/// What the driver writes to standard input, which ends there.
fn read_start() -> Result<Start, String> {
    let mut text = Vec::new();
    let read = std::io::stdin().read_to_end(&mut text);
    read.map_err(|e| format!("its standard input cannot be read: {e}"))?;
    postcard::from_bytes(&text).map_err(|_| {
        format!("{AS_WORKER} is set, but no driver has started this program; unset it")
    })
}

/// Has the system end this process when its parent is gone.
fn die_with(parent: u32) -> Result<(), String> {
    use rustix::process::{Signal, getppid, set_parent_process_death_signal};
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|e| e.to_string())?;
    let now = getppid().map_or(0, |pid| pid.as_raw_nonzero().get());
    if u32::try_from(now) == Ok(parent) { Ok(()) } else { Err("its driver is gone".to_owned()) }
}

/// The driver tells when to stop; what a terminal sends to the whole group is meant for it.
fn ignore_interrupts() {
    // SAFETY: setting a signal to be ignored runs no code of ours.
    unsafe { libc::signal(libc::SIGINT, libc::SIG_IGN) };
}

/// Runs work on the thread of cells, after what was given to it before.
pub(crate) fn on_cell_thread(work: Work) {
    let cells = CELLS.get().expect("only workers run cells so");
    // The receiver lives as long as the process.
    let _ = cells.lock().unwrap_or_else(PoisonError::into_inner).send(work);
}

/// Ends this process at once, whatever it does.
pub(crate) fn exit() -> ! {
    // SAFETY: ends the process without running anything more of it, which is what is wanted: user
    // code may hold any lock.
    unsafe { libc::_exit(0) }
}

/// The connection to another process closed.
pub(crate) fn connection_closed(from: u32, why: Option<std::io::Error>) {
    let node: &Node = node();
    if node.id != 1 && from == 1 {
        exit();
    }
    if let Some(why) = why.filter(|e| e.kind() == std::io::ErrorKind::InvalidData) {
        eprintln!("process {from} sent what cannot be understood: {why}");
    }
    if node.id == 1 {
        launch::connection_closed(from);
    } else {
        node.peers.bury(node, from, "its connection closed");
        keeper::wake();
    }
}
