//! Compiling the next cell while this one runs. Needed are the next cell, which the front end's
//! queue gives, and the state that it will find, which is known as soon as this cell is compiled:
//! what it leaves behind if it finishes. If it does not, the work is thrown away.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam_channel::{Receiver, bounded};

use super::rustc::Setup;
use super::state::State;
use super::workshop::{Compiled, Refused, Workshop};
use crate::stage::Cell;

/// What is known of the next cell. Cheap to clone; all clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Ahead {
    known: Arc<Mutex<Known>>,
}

#[derive(Debug, Default)]
struct Known {
    next: Option<Cell>,
    foreseen: Option<Foreseen>,
    work: Option<Work>,
    paused: bool,
}

/// What the next cell will find, if the present one finishes.
#[derive(Debug, Clone)]
struct Foreseen {
    workshop: Arc<Workshop>,
    state: Arc<State>,
    setup: Setup,
}

/// A compilation under way or done.
#[derive(Debug)]
struct Work {
    cell: Cell,
    foreseen: Foreseen,
    result: Receiver<Result<Compiled, Refused>>,
}

impl Ahead {
    /// The cell that will run next, if there is one. Never blocks.
    pub fn announce(&self, cell: Option<Cell>) {
        let mut known = self.lock();
        known.next = cell;
        known.begin();
    }

    /// Begins nothing while paused: a cell that is timed has the machine to itself.
    pub fn pause(&self, paused: bool) {
        self.lock().paused = paused;
    }

    /// What the next cell will find. Never blocks.
    pub(super) fn foresee(&self, workshop: &Arc<Workshop>, state: &Arc<State>, setup: &Setup) {
        let (workshop, state) = (Arc::clone(workshop), Arc::clone(state));
        let mut known = self.lock();
        known.foreseen = Some(Foreseen { workshop, state, setup: setup.clone() });
        known.begin();
    }

    /// What was compiled for this cell in this state; waits if it is under way.
    pub(super) fn take(
        &self,
        cell: &Cell,
        state: &Arc<State>,
        setup: &Setup,
    ) -> Option<Result<Compiled, Refused>> {
        let work = {
            let mut known = self.lock();
            known.foreseen = None;
            let work = known.work.take();
            if known.next.as_ref().is_some_and(|next| same(next, cell)) {
                known.next = None;
            }
            work?
        };
        if !same(&work.cell, cell) {
            // Another part of the present cell came between: the next one is still to come.
            self.lock().next.get_or_insert(work.cell);
            return None;
        }
        let fits = Arc::ptr_eq(&work.foreseen.state, state) && work.foreseen.setup == *setup;
        fits.then(|| work.result.recv().ok()).flatten()
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Begins to compile once both are known.
    fn begin(&mut self) {
        if self.paused || self.next.is_none() || self.foreseen.is_none() {
            return;
        }
        let (Some(cell), Some(foreseen)) = (self.next.take(), self.foreseen.take()) else { return };
        let (done, result) = bounded(1);
        self.work = Some(Work { cell: cell.clone(), foreseen: foreseen.clone(), result });
        let compile = move || {
            let Foreseen { workshop, state, setup } = foreseen;
            // Nobody may want it any more.
            let _ = done.send(workshop.compile(&cell, &state, &setup, true));
        };
        // Without a thread the cell is compiled when its turn comes.
        if std::thread::Builder::new().name("ahead".to_owned()).spawn(compile).is_err() {
            self.work = None;
        }
    }
}

/// Whether two cells compile to the same module.
fn same(one: &Cell, other: &Cell) -> bool {
    let parts = |cell: &Cell| (cell.count, cell.silent, cell.on.clone());
    one.code == other.code && parts(one) == parts(other)
}
