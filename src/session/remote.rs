//! What other threads may do to a session while a cell runs: interrupt it, end it, ask the analyst.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use parcell_link::Bundle;

use super::driver::{self, Fleet};
use super::folder::Folder;
use crate::cells::Compilers;
use crate::engine::{Ahead, Analyst, completeness};
use crate::magics::{self, Known, Part};
use crate::stage::{Cell, Completeness, Completions};

/// A cell that does not react to an interrupt is ended after this time.
/// `PARCELL_INTERRUPT_GRACE` (seconds) sets another.
const GRACE: Duration = Duration::from_secs(5);

const REMINDER: Duration = Duration::from_millis(100);

/// A handle that other threads use while a cell runs.
#[derive(Debug, Clone)]
pub struct Remote {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    phase: Mutex<Phase>,
    /// The cell was interrupted; whatever it waits for gives up.
    interrupted: AtomicBool,
    driver: AtomicU32,
    /// The present driver's workers.
    fleet: Mutex<Fleet>,
    closed: AtomicBool,
    compilers: Compilers,
    analyst: Analyst,
    ahead: Ahead,
    folder: Mutex<Option<Folder>>,
    surroundings: Mutex<Surroundings>,
}

/// Where the cells are, for the completion of magics.
#[derive(Debug, Clone, Default)]
pub(super) struct Surroundings {
    pub(super) directory: Option<PathBuf>,
    /// Names of environment variables.
    pub(super) environment: Vec<String>,
}

/// What the session is doing, and so what an interrupt does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// No cell.
    Idle,
    /// In a cell, but neither compiling nor running.
    Between,
    /// rustc works on the cell.
    Compiling,
    /// The driver runs it.
    Running { run: u64, interrupts: u32 },
    /// A shell command runs, in its own process group.
    Shell { group: u32, interrupts: u32 },
}

/// While this lives, a cell is there to be interrupted. Made by [`Remote::in_cell`].
pub(super) struct InCell(Remote);

impl Drop for InCell {
    fn drop(&mut self) {
        self.0.enter(Phase::Idle);
    }
}

impl Remote {
    pub(super) fn new() -> Remote {
        let shared = Shared {
            phase: Mutex::new(Phase::Idle),
            interrupted: AtomicBool::new(false),
            driver: AtomicU32::new(0),
            fleet: Mutex::default(),
            closed: AtomicBool::new(false),
            compilers: Compilers::default(),
            analyst: Analyst::default(),
            ahead: Ahead::default(),
            folder: Mutex::new(None),
            surroundings: Mutex::default(),
        };
        Remote { shared: Arc::new(shared) }
    }

    fn phase(&self) -> MutexGuard<'_, Phase> {
        self.shared.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that a cell is about to run: from now on it can be interrupted. Saying so twice is as
    /// good as once. Never blocks.
    pub fn begin_cell(&self) {
        let mut phase = self.phase();
        if *phase != Phase::Idle {
            return;
        }
        self.shared.interrupted.store(false, Ordering::SeqCst);
        self.shared.compilers.allow();
        *phase = Phase::Between;
    }

    /// A cell that lasts until what this gives is dropped, be it by a panic.
    pub(super) fn in_cell(&self) -> InCell {
        self.begin_cell();
        InCell(self.clone())
    }

    /// Says that the driver takes up a module; false if the cell was interrupted before.
    pub(super) fn begin_running(&self, run: u64) -> bool {
        let mut phase = self.phase();
        if self.shared.interrupted.load(Ordering::SeqCst) {
            return false;
        }
        *phase = Phase::Running { run, interrupts: 0 };
        true
    }

    pub(super) fn enter(&self, phase: Phase) {
        *self.phase() = phase;
    }

    /// How often the running module was interrupted.
    pub(super) fn interrupts(&self) -> u32 {
        match *self.phase() {
            Phase::Running { interrupts, .. } | Phase::Shell { interrupts, .. } => interrupts,
            _ => 0,
        }
    }

    pub(super) fn interrupted(&self) -> bool {
        self.shared.interrupted.load(Ordering::SeqCst) || self.is_closed()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.shared.closed.load(Ordering::SeqCst)
    }

    pub(super) fn compilers(&self) -> Compilers {
        self.shared.compilers.clone()
    }

    fn surroundings(&self) -> MutexGuard<'_, Surroundings> {
        self.shared.surroundings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells where the cells are now.
    pub(super) fn move_to(&self, surroundings: Surroundings) {
        *self.surroundings() = surroundings;
    }

    pub(super) fn analyst(&self) -> &Analyst {
        &self.shared.analyst
    }

    pub(super) fn ahead(&self) -> &Ahead {
        &self.shared.ahead
    }

    /// Says which cell will run next, if one waits, so that it is compiled while another runs.
    /// Never blocks.
    pub fn announce(&self, next: Option<Cell>) {
        // What magics do to the session cannot be foreseen.
        let plain = next.and_then(|cell| match &mut magics::split(&cell.code)[..] {
            [Part::Rust { code }] => Some(Cell { code: std::mem::take(code), ..cell }),
            _ => None,
        });
        self.shared.ahead.announce(plain);
    }

    pub(super) fn set_driver(&self, pid: u32, fleet: Fleet) {
        *self.shared.fleet.lock().unwrap_or_else(PoisonError::into_inner) = fleet;
        self.shared.driver.store(pid, Ordering::SeqCst);
        if self.is_closed() {
            driver::end_group(pid);
        }
    }

    /// Hands over the session's folder, to be removed at the end.
    pub(super) fn keep_folder(&self, folder: Folder) {
        let mut kept = self.shared.folder.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.is_closed() {
            self.shared.analyst.work_in(folder.path());
            *kept = Some(folder);
        }
    }

    /// Interrupts the running cell, if any: the first asks the cell to stop, a second ends the
    /// driver, and so does the first after a grace time. Never blocks.
    pub fn interrupt(&self) {
        let mut phase = self.phase();
        if *phase == Phase::Idle {
            return;
        }
        self.shared.interrupted.store(true, Ordering::SeqCst);
        self.shared.compilers.cancel();
        let driver = self.shared.driver.load(Ordering::SeqCst);
        match &mut *phase {
            Phase::Running { run, interrupts } => {
                *interrupts += 1;
                if *interrupts == 1 {
                    driver::interrupt(driver);
                    self.end_after_grace(*run, driver);
                } else {
                    driver::end_group(driver);
                }
            }
            Phase::Shell { group, interrupts } => {
                *interrupts += 1;
                if *interrupts == 1 {
                    driver::interrupt_group(*group);
                } else {
                    driver::end_group(*group);
                }
            }
            Phase::Idle | Phase::Between | Phase::Compiling => {}
        }
    }

    /// Reminds the driver of the interrupt, which may have come before it took up the cell, and
    /// ends it when the time is over.
    fn end_after_grace(&self, interrupted: u64, driver: u32) {
        let remote = self.clone();
        std::thread::spawn(move || {
            let deadline = Instant::now() + grace();
            while Instant::now() < deadline {
                std::thread::sleep(REMINDER);
                let phase = remote.phase();
                if !matches!(*phase, Phase::Running { run, .. } if run == interrupted) {
                    return;
                }
                driver::interrupt(driver);
            }
            let phase = remote.phase();
            if matches!(*phase, Phase::Running { run, .. } if run == interrupted) {
                driver::end_group(driver);
            }
        });
    }

    /// Ends driver and compiler, removes the session's folder. Idempotent; blocks at most 1 s.
    pub fn close(&self) {
        if self.shared.closed.swap(true, Ordering::SeqCst) {
            return;
        }
        self.shared.compilers.cancel();
        self.shared.analyst.close();
        if let Phase::Shell { group, .. } = *self.phase() {
            driver::end_group(group);
        }
        let driver = self.shared.driver.load(Ordering::SeqCst);
        if driver != 0 {
            driver::end_group(driver);
        }
        let folder = self.shared.folder.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(folder);
    }

    /// Says that completion and inspection may be asked for. Never blocks.
    pub fn expect_questions(&self) {
        self.shared.analyst.expect_questions();
    }

    /// Completions at `cursor` (code points) for a question that came at `asked`. Works while a
    /// cell runs, and blocks a tenth of a second at most.
    pub fn complete(&self, code: &str, cursor: usize, asked: Instant) -> Completions {
        let Surroundings { directory, environment } = self.surroundings().clone();
        let variables = self.shared.analyst.variables();
        let directory = directory.as_deref();
        let workers = self.workers();
        let known = Known {
            directory,
            environment: &environment,
            variables: &variables,
            workers: &workers,
        };
        let of_rust = || self.shared.analyst.complete(&magics::rust_view(code), cursor, asked);
        magics::complete(code, cursor, &known).unwrap_or_else(of_rust)
    }

    /// What the session itself knows of what stands at `cursor` (code points): plain text and
    /// markdown. `detail` 1 adds the source. Never blocks.
    pub fn describe(&self, code: &str, cursor: usize, detail: u8) -> Option<Bundle> {
        let of_rust = || self.shared.analyst.describe(&magics::rust_view(code), cursor, detail);
        magics::inspect(code, cursor).or_else(of_rust)
    }

    /// Documentation of what stands at `cursor` (code points) that the session does not know, for a
    /// question that came at `asked`: plain text and markdown. Blocks ten seconds at most.
    pub fn inspect(&self, code: &str, cursor: usize, asked: Instant) -> Option<Bundle> {
        self.shared.analyst.inspect(&magics::rust_view(code), cursor, asked)
    }

    /// Whether the source can be run as it stands.
    pub fn is_complete(&self, code: &str) -> Completeness {
        completeness(&magics::blank(code))
    }

    fn fleet(&self) -> Fleet {
        self.shared.fleet.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ids of the session's workers, ascending.
    pub(super) fn workers(&self) -> Vec<u32> {
        self.fleet().ids()
    }

    /// Process ids that belong to the session: the driver, and its workers on this machine.
    pub fn processes(&self) -> Vec<u32> {
        let driver = self.shared.driver.load(Ordering::SeqCst);
        let driver = (driver != 0).then_some(driver);
        driver.into_iter().chain(self.fleet().processes()).collect()
    }
}

fn grace() -> Duration {
    let chosen = std::env::var("PARCELL_INTERRUPT_GRACE").ok();
    let seconds = chosen.and_then(|s| s.parse().ok());
    seconds.and_then(|s| Duration::try_from_secs_f64(s).ok()).unwrap_or(GRACE)
}
