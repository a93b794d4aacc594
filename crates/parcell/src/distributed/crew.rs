//! The first process on a host where several workers are started at once: it starts them, says how
//! each ended, and ends them when whoever started it is gone.
//!
//! It reads its ticket and then orders from standard input, one a line; it writes to standard output
//! one line for each worker that ended. It runs no code of the session.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};

use super::join::{RANK, Ticket};
use super::launch::AS_WORKER;

/// What a line begins with that is meant for the driver.
pub(crate) const MARK: &str = "parcell: ";

/// Says to a program that it is to start workers, see [`AS_WORKER`].
pub(crate) const AS_CREW: &str = "crew";
/// Says to a program that it is a worker with a ticket.
pub(crate) const AS_MEMBER: &str = "join";

/// Tells a worker the process that started it and with which it must end.
pub(crate) const CREW: &str = "PARCELL_CREW";

/// Lives as the first process of a host; returns when all its workers have ended.
pub(crate) fn run() -> Result<(), String> {
    let ticket = Ticket::read()?;
    let program = std::env::current_exe().map_err(|e| format!("its own file is not known: {e}"))?;
    let mut waits = Vec::new();
    let children = Arc::new(Mutex::new(Vec::new()));
    for rank in 0..ticket.workers {
        let mut command = Command::new(&program);
        command.env(AS_WORKER, AS_MEMBER).env(RANK, rank.to_string()).stdin(Stdio::piped());
        command.env(CREW, std::process::id().to_string());
        // The parent of a worker must live as long as it does, and here the main thread does.
        let mut child = command.spawn().map_err(|e| format!("a worker does not start: {e}"))?;
        let mut input = child.stdin.take().expect("piped");
        // If it is gone already, its status says why.
        let _ = input.write_all(ticket.line().as_bytes());
        lock(&children).push(child.id());
        waits.push(thread::spawn(move || tell(rank, child)));
    }
    let ends = Arc::clone(&children);
    thread::spawn(move || obey(&ends));
    waits.into_iter().for_each(|wait| wait.join().unwrap_or(()));
    Ok(())
}

/// Waits for a worker's end and tells it.
fn tell(rank: u32, mut child: Child) {
    let how = child.wait().map_or_else(|e| e.to_string(), how_it_ended);
    // If nobody listens any more, nobody needs to know.
    let _ = writeln!(std::io::stdout(), "{MARK}ended {rank} {how}");
}

/// Reads orders until whoever gives them is gone; then nothing may be left here.
fn obey(children: &Mutex<Vec<u32>>) {
    for line in BufReader::new(std::io::stdin()).lines().map_while(Result::ok) {
        let rank = line.strip_prefix("kill ").and_then(|rank| rank.parse::<usize>().ok());
        if let Some(pid) = rank.and_then(|rank| lock(children).get(rank).copied()) {
            kill(pid);
        }
    }
    lock(children).iter().for_each(|pid| kill(*pid));
}

/// Ends a process at once.
pub(crate) fn kill(pid: u32) {
    signal(pid, Signal::KILL);
}

/// Asks a process to end, and what it has started with it.
pub(crate) fn terminate(pid: u32) {
    signal(pid, Signal::TERM);
}

fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // One that has ended meanwhile is as dead as wanted.
        let _ = kill_process(pid, signal);
    }
}

pub(crate) fn how_it_ended(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("it ended with exit status {code}"),
        (None, Some(libc::SIGKILL)) => {
            "it was killed (SIGKILL), perhaps for lack of memory".to_owned()
        }
        (None, Some(libc::SIGSEGV)) => {
            "a segmentation fault (SIGSEGV): it touched memory that is not its own".to_owned()
        }
        (None, Some(libc::SIGABRT)) => "it called abort (SIGABRT)".to_owned(),
        (None, Some(signal)) => format!("it died of signal {signal}"),
        (None, None) => format!("it ended ({status})"),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
