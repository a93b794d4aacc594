//! Compilers that start before their cell comes. A third of a short cell's compile time is rustc
//! starting and reading the cell library; that is done here while the user still types.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};

use super::rustc::{Goal, Rustc, Setup, Stop, Waiting};

/// A session that is left alone this long gives the memory of its waiting compilers back.
const IDLE: Duration = Duration::from_secs(600);

/// The compilers that wait, at most one for each goal.
#[derive(Debug)]
pub(super) struct Standby {
    rustc: Rustc,
    place: Arc<Place>,
    waiting: Arc<Mutex<Vec<Held>>>,
    wanted: Sender<(Goal, Setup)>,
}

/// Where modules are written.
#[derive(Debug)]
struct Place {
    folder: PathBuf,
    modules: AtomicUsize,
}

#[derive(Debug)]
struct Held {
    goal: Goal,
    setup: Setup,
    number: usize,
    compiler: Waiting,
}

impl Held {
    fn fits(&mut self, goal: Goal, setup: &Setup) -> bool {
        self.goal == goal && self.setup == *setup && self.compiler.is_alive()
    }
}

impl Standby {
    /// None waits before [`Standby::expect`] or [`Standby::take`].
    pub(super) fn new(folder: PathBuf, rustc: Rustc) -> Standby {
        let place = Arc::new(Place { folder, modules: AtomicUsize::new(0) });
        let waiting = Arc::default();
        let (wanted, orders) = unbounded();
        // Without this thread every compiler starts when its cell comes: slower, not wrong.
        if std::env::var_os("PARCELL_STANDBY").is_none_or(|choice| choice != "off") {
            let (p, w, r) = (Arc::clone(&place), Arc::clone(&waiting), rustc.clone());
            let started = std::thread::Builder::new()
                .name("standby".to_owned())
                .spawn(move || keep_waiting(&r, &p, &w, &orders));
            drop(started);
        }
        Standby { rustc, place, waiting, wanted }
    }

    /// A compiler that waits for source, and the number of the module it will make. Started now if
    /// none waits.
    pub(super) fn take(&self, goal: Goal, setup: &Setup) -> Result<(usize, Waiting), Stop> {
        let held = {
            let mut waiting = lock(&self.waiting);
            let index = waiting.iter_mut().position(|h| h.fits(goal, setup));
            index.map(|index| waiting.swap_remove(index))
        };
        match held {
            Some(held) => Ok((held.number, held.compiler)),
            None => self.place.start(&self.rustc, goal, setup),
        }
    }

    /// Has a compiler started for the next cell, if none waits. Does not block.
    pub(super) fn expect(&self, goal: Goal, setup: &Setup) {
        // Without the thread there is nobody to tell, see `new`.
        let _ = self.wanted.send((goal, setup.clone()));
    }
}

impl Place {
    fn start(&self, rustc: &Rustc, goal: Goal, setup: &Setup) -> Result<(usize, Waiting), Stop> {
        let number = self.modules.fetch_add(1, Ordering::Relaxed) + 1;
        let folder = self.folder.join(format!("m{number}"));
        Ok((number, rustc.start(goal, &folder, setup)?))
    }
}

/// Starts what is wanted, and ends all when nothing was wanted for long. Compilers die with the
/// thread that started them, so this one lives as long as the session.
fn keep_waiting(
    rustc: &Rustc,
    place: &Place,
    waiting: &Mutex<Vec<Held>>,
    wanted: &Receiver<(Goal, Setup)>,
) {
    loop {
        match wanted.recv_timeout(IDLE) {
            Ok((goal, setup)) if lock(waiting).iter_mut().any(|h| h.fits(goal, &setup)) => {}
            Ok((goal, setup)) => {
                // What cannot start now says why when the next cell starts it.
                if let Ok((number, compiler)) = place.start(rustc, goal, &setup) {
                    let mut waiting = lock(waiting);
                    waiting.retain(|held| held.goal != goal);
                    waiting.push(Held { goal, setup, number, compiler });
                }
            }
            Err(RecvTimeoutError::Timeout) => lock(waiting).clear(),
            Err(RecvTimeoutError::Disconnected) => return lock(waiting).clear(),
        }
    }
}

fn lock(waiting: &Mutex<Vec<Held>>) -> MutexGuard<'_, Vec<Held>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}
