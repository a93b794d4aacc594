//! Signals become events: SIGINT interrupts the running cell, SIGTERM ends the kernel in order.

use std::io;
use std::thread;

use crossbeam_channel::Sender;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::dispatch::Event;

/// Reports signals from now on, on a thread of its own.
///
/// # Errors
/// Where the system refuses the handlers or the thread.
pub(super) fn forward(report: Sender<Event>) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let forward = move || {
        for signal in signals.forever() {
            let event = if signal == SIGINT { Event::Interrupted } else { Event::Ended };
            let _ = report.send(event);
        }
    };
    thread::Builder::new().name("signals".to_owned()).spawn(forward).map(drop)
}
