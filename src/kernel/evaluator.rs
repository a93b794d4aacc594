//! What the kernel needs of a session; its tests bring a double of their own.

use std::sync::Arc;
use std::time::Instant;

use parcell_link::Bundle;

use crate::session::{Remote, Session};
use crate::stage::{Cell, Completeness, Completions, Stage, Verdict};

/// Runs cells, one after the other, on one thread.
pub(super) trait Evaluator {
    /// Its handle for other threads.
    type Handle: Handle;

    /// The handle for other threads.
    fn handle(&self) -> Self::Handle;
    /// Runs one cell; its outputs have been shown when this returns.
    fn run(&mut self, cell: &Cell, stage: Arc<dyn Stage>) -> Verdict;
}

/// What other threads may ask while a cell runs.
pub(super) trait Handle: Clone + Send + 'static {
    /// Says that a cell is about to run: interrupts are meant for it from now on. Never blocks.
    fn begin_cell(&self);
    /// Interrupts the running cell. Never blocks.
    fn interrupt(&self);
    /// Says which cell will run after the present one, if one waits. Never blocks.
    fn announce(&self, next: Option<Cell>);
    /// Ends everything. Blocks at most 1 s.
    fn close(&self);
    /// Says that completion and inspection may be asked for. Never blocks.
    fn expect_questions(&self);
    /// Completions at `cursor` (code points) for a question that came at `asked`. Blocks a tenth of
    /// a second at most.
    fn complete(&self, code: &str, cursor: usize, asked: Instant) -> Completions;
    /// What the session knows of what stands at `cursor` (code points). Never blocks.
    fn describe(&self, code: &str, cursor: usize, detail: u8) -> Option<Bundle>;
    /// What can be found out of it beyond that. Blocks ten seconds at most.
    fn inspect(&self, code: &str, cursor: usize, asked: Instant) -> Option<Bundle>;
    /// Whether the source can be run as it stands.
    fn is_complete(&self, code: &str) -> Completeness;
    /// The processes of the session.
    fn processes(&self) -> Vec<u32>;
}

impl Evaluator for Session {
    type Handle = Remote;

    fn handle(&self) -> Remote {
        self.remote()
    }

    fn run(&mut self, cell: &Cell, stage: Arc<dyn Stage>) -> Verdict {
        Session::run(self, cell, stage)
    }
}

impl Handle for Remote {
    fn begin_cell(&self) {
        Remote::begin_cell(self);
    }

    fn interrupt(&self) {
        Remote::interrupt(self);
    }

    fn announce(&self, next: Option<Cell>) {
        Remote::announce(self, next);
    }

    fn close(&self) {
        Remote::close(self);
    }

    fn expect_questions(&self) {
        Remote::expect_questions(self);
    }

    fn complete(&self, code: &str, cursor: usize, asked: Instant) -> Completions {
        Remote::complete(self, code, cursor, asked)
    }

    fn describe(&self, code: &str, cursor: usize, detail: u8) -> Option<Bundle> {
        Remote::describe(self, code, cursor, detail)
    }

    fn inspect(&self, code: &str, cursor: usize, asked: Instant) -> Option<Bundle> {
        Remote::inspect(self, code, cursor, asked)
    }

    fn is_complete(&self, code: &str) -> Completeness {
        Remote::is_complete(self, code)
    }

    fn processes(&self) -> Vec<u32> {
        Remote::processes(self)
    }
}
