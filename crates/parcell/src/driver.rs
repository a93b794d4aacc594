//! The driver's loop: takes orders from the kernel, loads modules, runs cells, reports. The
//! process lives exactly as long as its kernel: when the control socket closes, it removes the
//! session's files and ends with everything it started.

use std::io::{self, Write};
use std::os::fd::{FromRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use parcell_link::{
    CONTROL_FD, Code, Command, Event, MARK_SECRET, Order, Outcome, Pin, Threads, Where, receive,
};

use crate::distributed::{self, cells, commands};
use crate::{interrupt, link, loaded, rt, threads};

/// Name of the thread that runs cells.
pub(crate) const CELL_THREAD: &str = "cell";
/// Address space for the cell thread's stack. Only touched pages take memory.
const STACK: usize = 256 << 20;

static BUSY: AtomicBool = AtomicBool::new(false);
static CLEAN_UP: LazyLock<Mutex<Vec<String>>> = LazyLock::new(Mutex::default);

/// The driver program: does not return if a kernel started it.
pub fn run() -> std::process::ExitCode {
    distributed::become_worker_if_wanted();
    let Err(problem) = start() else { return std::process::ExitCode::SUCCESS };
    eprintln!("parcell-driver: {problem}");
    std::process::ExitCode::from(2)
}

fn start() -> Result<(), String> {
    let control = control_socket()?;
    let secret = std::env::var(MARK_SECRET).map_err(|_| format!("{MARK_SECRET} is not set"))?;
    forget_environment();
    let orders = control.try_clone().map_err(|e| format!("control socket: {e}"))?;
    link::connect(control, &secret);
    std::panic::set_hook(Box::new(rt::on_panic));
    on_interrupt();
    spawn("flush", flush_partial_lines);
    let (to_cells, cells) = channel();
    let pools = Threads {
        default: threads::default_threads(),
        interactive: threads::interactive_threads(),
        pin: Pin::Off,
    };
    start_cell_thread(pools, cells);
    obey(orders, &to_cells)
}

fn control_socket() -> Result<UnixStream, String> {
    let fd = std::env::var(CONTROL_FD).map_err(|_| {
        "this program runs the cells of a parcell kernel and is started by it".to_owned()
    })?;
    let fd: RawFd = fd.parse().map_err(|_| format!("{CONTROL_FD}={fd} is not a descriptor"))?;
    // SAFETY: fcntl on a number is harmless; a bad one is an error reported here.
    if unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) } < 0 {
        return Err(format!("{CONTROL_FD}={fd}: {}", io::Error::last_os_error()));
    }
    // SAFETY: the kernel hands this descriptor over for us alone, and it was just found open.
    Ok(unsafe { UnixStream::from_raw_fd(fd) })
}

/// Programs that cells start must not find the kernel's secrets.
fn forget_environment() {
    for name in [CONTROL_FD, MARK_SECRET] {
        // SAFETY: no other thread exists yet.
        unsafe { std::env::remove_var(name) }
    }
}

/// Reads orders until the kernel is gone; never returns after the first order.
fn obey(orders: UnixStream, to_cells: &Sender<Order>) -> ! {
    let mut orders = io::BufReader::new(orders);
    loop {
        match receive::<Order>(&mut orders) {
            Ok(Some(Order::Exit)) => end(false),
            Ok(Some(Order::Input { text })) => link::answer(text),
            Ok(Some(Order::CleanUp { paths })) => {
                *CLEAN_UP.lock().unwrap_or_else(PoisonError::into_inner) = paths;
            }
            Ok(Some(order)) => {
                to_cells.send(order).unwrap_or_else(|_| end(true));
            }
            Ok(None) | Err(_) => end(true),
        }
    }
}

/// Ends the process and everything it started; if the kernel is gone, its files go too.
fn end(kernel_is_gone: bool) -> ! {
    if kernel_is_gone {
        for path in CLEAN_UP.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            remove(std::path::Path::new(path));
        }
    }
    // SAFETY: plain system calls. The kernel made this process the leader of its own group, so
    // group 0 holds it and its descendants only.
    unsafe {
        if libc::getpgrp() == libc::getpid() {
            libc::kill(0, libc::SIGKILL);
        }
        libc::_exit(0)
    }
}

/// Removes a file, or a folder and, if that leaves it empty, the folder of all sessions' folders.
/// Whatever is gone already, or still in use by other sessions, stays as it is.
fn remove(path: &std::path::Path) {
    // The lock goes last: what is cut short is found by the next session.
    for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_name() != "lock" {
            std::fs::remove_dir_all(entry.path()).unwrap_or(());
        }
    }
    if std::fs::remove_file(path).is_err() && std::fs::remove_dir_all(path).is_ok() {
        path.parent().map_or(Ok(()), std::fs::remove_dir).unwrap_or(());
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    let thread = Builder::new().name(name.to_owned()).stack_size(STACK).spawn(work);
    thread.unwrap_or_else(|e| {
        eprintln!("the driver cannot start its thread `{name}`: {e}; see `ulimit -u`");
        end(false)
    })
}

/// A `print!` without newline stays in Rust's line buffer: this thread shows it soon.
fn flush_partial_lines() {
    loop {
        let pause = if BUSY.load(Ordering::Relaxed) { 25 } else { 250 };
        std::thread::sleep(Duration::from_millis(pause));
        io::stdout().flush().unwrap_or(());
    }
}

extern "C" fn raise_interrupt(_signal: i32) {
    if BUSY.load(Ordering::Relaxed) {
        interrupt::raise();
    }
}

fn on_interrupt() {
    // SAFETY: the handler only touches atomics and what `interrupt::raise` documents as
    // async-signal-safe; the struct is zeroed and then filled, as sigaction wants it.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = raise_interrupt as *const () as usize;
        libc::sigaction(libc::SIGINT, &raw const action, std::ptr::null_mut());
    }
}

/// Starts the thread that runs cells, as member 0 of the pool that computes. A thread cannot leave
/// its pool, so a new size means a new cell thread, which takes over queue and variables.
fn start_cell_thread(wanted: Threads, orders: Receiver<Order>) {
    spawn(CELL_THREAD, move || {
        threads::set_interactive_threads(wanted.interactive);
        let pool = threads::Pool::attach_pinned(wanted.default, wanted.pin);
        let pinned = pool.as_ref().is_ok_and(|pool| pool.unpinned().is_none());
        let pin = if pinned { wanted.pin } else { Pin::Off };
        let threads = Threads { default: threads::nthreads(), pin, ..wanted };
        static READY: std::sync::Once = std::sync::Once::new();
        if READY.is_completed() {
            link::tell(&Event::Threads { threads, problem: pool_problem(&pool) });
        } else {
            READY.call_once(|| link::tell(&Event::Ready { pid: std::process::id(), threads }));
        }
        if let Some(wanted) = run_orders(&orders, threads) {
            drop(pool);
            start_cell_thread(wanted, orders);
        }
    });
}

/// Why a pool is not as it was wanted.
fn pool_problem(pool: &Result<threads::Pool, threads::AttachError>) -> Option<String> {
    match pool {
        Ok(pool) => pool.shortage().map(ToString::to_string).or_else(|| {
            pool.unpinned().map(|why| format!("the system refuses to pin threads: {why}"))
        }),
        Err(refused) => Some(refused.to_string()),
    }
}

/// Carries out orders until the pool that computes must change, to what it returns.
fn run_orders(orders: &Receiver<Order>, mut threads: Threads) -> Option<Threads> {
    for order in orders {
        match order {
            Order::Run { cell, code, on, watched } => {
                run_cell(cell, watched, || load_and_run(cell, &code, &on));
            }
            Order::Call { cell, command, watched } => {
                run_cell(cell, watched, || rt::call(&mut || carry_out(&command)));
            }
            Order::Threads { wanted } => {
                let wanted = wanted.unwrap_or(threads);
                if (wanted.default, wanted.pin) != (threads.default, threads.pin) {
                    return Some(wanted);
                }
                threads.interactive = wanted.interactive;
                threads::set_interactive_threads(wanted.interactive);
                link::tell(&Event::Threads { threads, problem: None });
            }
            Order::Forget { names, on } => {
                if let Err(payload) = std::panic::catch_unwind(|| cells::forget(&names, &on)) {
                    eprintln!("a variable's `drop` panicked: {}", rt::message_of(payload.as_ref()));
                }
                link::tell(&Event::Forgotten { mark: link::close_streams() });
            }
            Order::Place { directory, environment } => place(directory, environment),
            Order::Input { .. } | Order::CleanUp { .. } | Order::Exit => {
                unreachable!("`obey` keeps these to itself")
            }
        }
    }
    None
}

fn run_cell(cell: u64, watched: bool, run: impl FnOnce() -> rt::Ended) {
    interrupt::clear();
    link::begin_run(cell, watched);
    BUSY.store(true, Ordering::Relaxed);
    let rt::Ended { outcome, time } = run();
    threads::finish_spawned();
    distributed::output::settle();
    BUSY.store(false, Ordering::Relaxed);
    let mark = link::close_streams();
    let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    link::tell(&Event::Done { cell, mark, outcome, nanoseconds });
}

/// Loads a module and runs it where it is wanted. The driver loads what only workers run as well:
/// later modules may need its statics, and places in its code must mean something here.
fn load_and_run(cell: u64, code: &Code, on: &Where) -> rt::Ended {
    let module = loaded::record(code);
    if let Err(message) = module.load() {
        return rt::Ended { outcome: Outcome::NotLoaded { message }, time: Duration::ZERO };
    }
    let enter = || {
        let unsaid = || {
            let message = format!("module {} returned without an outcome", code.file);
            rt::Ended { outcome: Outcome::NotLoaded { message }, time: Duration::ZERO }
        };
        module.entry().map_or_else(unsaid, |entry| rt::enter(entry).unwrap_or_else(unsaid))
    };
    if *on == Where::Driver {
        return enter();
    }
    let start = Instant::now();
    let run = || cells::run(cell, module.clone(), &code.symbol, on, || enter().outcome);
    let outcome = rt::guarded(run);
    rt::Ended { outcome, time: start.elapsed() }
}

fn carry_out(command: &Command) -> Result<(), rt::Failure> {
    match command {
        Command::AddWorkers { count, options } => commands::add_workers(*count, options),
        Command::RemoveWorkers { ids, timeout } => {
            commands::remove_workers(ids.as_deref(), timeout.map(seconds))
        }
        Command::ShowWorkers { watch } => commands::show_workers(watch.map(seconds)),
    }
}

fn seconds(number: f64) -> Duration {
    Duration::try_from_secs_f64(number).unwrap_or(Duration::MAX)
}

fn place(directory: Option<String>, environment: Vec<(String, Option<String>)>) {
    let moved = directory.map_or(Ok(()), |d| {
        std::env::set_current_dir(&d).map_err(|e| format!("cannot change to {d}: {e}"))
    });
    for (name, value) in environment {
        // SAFETY: between cells, on the cell's thread. Threads that a cell left behind and that
        // read the environment at this moment through libc are the remaining risk, as everywhere.
        unsafe {
            match value {
                Some(value) => std::env::set_var(name, value),
                None => std::env::remove_var(name),
            }
        }
    }
    let now = || std::env::current_dir().map(|d| d.display().to_string());
    let directory = moved.and_then(|()| now().map_err(|e| e.to_string()));
    link::tell(&Event::Placed { directory });
}
