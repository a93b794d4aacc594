//! The main program of a worker.

use std::io::Read;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::Builder;

use parcell_link::Pin;

use super::crew::{self, AS_CREW, AS_MEMBER, CREW};
use super::join::{RANK, TICKET_FILE, Ticket};
use super::launch::AS_WORKER;
use super::managers::local::Start;
use super::message::{Admission, Hello};
use super::node::{Node, become_worker, node};
use super::transport::{Channel, Key};
use super::{address, keeper, launch, output, plane};
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

/// Lives as a worker, or as the process that starts the workers of a host. Does not return.
pub(crate) fn run() -> ! {
    let how = std::env::var(AS_WORKER).unwrap_or_default();
    // SAFETY: no other thread exists yet. Programs that calls start must not take themselves for
    // workers.
    unsafe { std::env::remove_var(AS_WORKER) };
    let work = match how.as_str() {
        AS_CREW => crew::run().map(|()| exit()),
        AS_MEMBER => join(),
        _ => start(),
    };
    match work {
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

/// Starts as a worker that the driver itself has started.
fn start() -> Result<Receiver<Work>, String> {
    let start = read_start()?;
    die_with(start.parent)?;
    let work = become_process(start.id, start.key, start.threads, start.pin)?;
    if let Some(manners) = start.manners {
        address::open_to_network(start.interface, manners)?;
    }
    let (channel, hello) = address::dial(&start.driver, node(), 1)?;
    serve(channel, hello)?;
    Ok(work)
}

/// Starts as a worker that something else has started, perhaps on another host.
fn join() -> Result<Receiver<Work>, String> {
    if let Ok(crew) = std::env::var(CREW) {
        die_with(crew.parse().map_err(|_| format!("{CREW}={crew} is no process"))?)?;
    }
    let ticket = Ticket::read()?;
    ticket.become_program()?;
    ticket.settle()?;
    let (channel, Admission { id }) = ticket.join()?;
    // SAFETY: no other thread exists yet.
    [CREW, RANK, TICKET_FILE].iter().for_each(|name| unsafe { std::env::remove_var(name) });
    let threads = ticket.threads.unwrap_or(1);
    plane::join(id)?;
    let work = become_process(id, ticket.key, threads, ticket.pin)?;
    address::open_to_network(None, ticket.manners)?;
    let failed = |e: std::io::Error| format!("the driver did not say who it is: {e}");
    let hello = address::introduce(&channel, &node().hello()).map_err(failed)?;
    serve(channel, hello)?;
    Ok(work)
}

/// Makes this process a worker that nobody knows yet.
fn become_process(
    id: u32,
    key: [u8; 32],
    threads: usize,
    pin: Pin,
) -> Result<Receiver<Work>, String> {
    ignore_interrupts();
    std::panic::set_hook(Box::new(rt::on_panic));
    become_worker(id, Key::from_bytes(key));
    crate::store::belong_to(id);
    threads::serve_globally(threads, pin).map_err(|e| e.to_string())?;
    let (sender, work) = channel();
    CELLS.get_or_init(|| Mutex::new(sender));
    Ok(work)
}

/// Begins to listen to the driver.
fn serve(channel: Channel, hello: Hello) -> Result<(), String> {
    crate::link::divert(output::show);
    output::capture().map_err(|e| format!("its output cannot be captured: {e}"))?;
    node().peers.welcome(channel, hello).map(drop)
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
    plane::close();
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
    if let Some(why) = why.as_ref().filter(|e| e.kind() == std::io::ErrorKind::InvalidData) {
        eprintln!("process {from} sent what cannot be understood: {why}");
    }
    let why = why.map_or_else(|| CLOSED.to_owned(), |e| lost(from, &e));
    if node.id == 1 {
        launch::connection_closed(from, why);
    } else {
        node.peers.bury(node, from, &why);
        keeper::wake();
    }
}

const CLOSED: &str = "its connection closed";

/// What it means that a connection ended so.
fn lost(from: u32, error: &std::io::Error) -> String {
    let host = node().peers.with(from, |peer| peer.hello.as_ref().map(|h| h.host.clone()));
    let host = host.flatten().unwrap_or_default();
    match error.kind() {
        std::io::ErrorKind::TimedOut | std::io::ErrorKind::HostUnreachable => {
            let limit = address::manners().unwrap_or_default().heartbeat;
            format!("its host {host} has not answered for {limit:?}")
        }
        _ => format!("{CLOSED}: {error}"),
    }
}
