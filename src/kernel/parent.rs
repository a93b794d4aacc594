//! Ends the kernel when the server that started it is gone, even if that was killed.

use std::io;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Sender, tick};
use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::{Pid, getppid};

use super::dispatch::Event;

/// How often it is looked after.
const INTERVAL: Duration = Duration::from_secs(1);

/// Watches the process that `JPY_PARENT_PID` names, on a thread of its own; none if it is unset.
///
/// # Errors
/// Where the system refuses the thread.
pub(super) fn watch(report: Sender<Event>) -> io::Result<()> {
    let named = std::env::var("JPY_PARENT_PID").ok().and_then(|pid| pid.parse().ok());
    let Some(parent) = named.filter(|pid| *pid > 1).map(Pid::from_raw) else { return Ok(()) };
    let watch = move || {
        // A wrapper script may stand between: then only the named process itself can be watched.
        let ours = getppid() == parent;
        let mut ticks = tick(INTERVAL).into_iter();
        let gone = ticks.any(|_| if ours { getppid() != parent } else { is_gone(parent) });
        if gone {
            let _ = report.send(Event::Ended);
        }
    };
    thread::Builder::new().name("parent".to_owned()).spawn(watch).map(drop)
}

fn is_gone(process: Pid) -> bool {
    kill(process, None) == Err(Errno::ESRCH)
}
