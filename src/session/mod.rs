//! A session: one engine, one driver, and the state a notebook owns. Used by the kernel's executor
//! thread, and directly by `parcell run`.

use std::path::PathBuf;
use std::sync::Arc;

use crate::stage::{Cell, Completeness, Completions, Stage, Verdict};

/// How to start a session.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Working directory of the cells; the process's own if absent.
    pub directory: Option<PathBuf>,
    /// Files that must not outlive the kernel, even after `kill -9` (ipc sockets).
    pub remove_at_end: Vec<PathBuf>,
}

/// One notebook's state. Not shared between threads: run cells from one thread, keep a
/// [`Remote`] for the others.
#[derive(Debug)]
pub struct Session {
    remote: Remote,
}

/// A handle that other threads use while a cell runs.
#[derive(Debug, Clone)]
pub struct Remote {}

impl Session {
    /// Makes a session. Returns at once: driver, cell library and analyst start in the background.
    pub fn start(_options: Options) -> Session {
        Session { remote: Remote {} }
    }

    /// The handle for other threads.
    pub fn remote(&self) -> Remote {
        self.remote.clone()
    }

    /// Runs one cell; its outputs have all been shown on `stage` when this returns. Later output
    /// of threads it started goes to the same stage until the next cell.
    pub fn run(&mut self, _cell: &Cell, _stage: Arc<dyn Stage>) -> Verdict {
        unimplemented!()
    }
}

impl Remote {
    /// Interrupts the running cell, if any: the first asks the cell to stop, a second ends the
    /// driver. Never blocks.
    pub fn interrupt(&self) {}

    /// Ends driver and compiler, removes the session's folder. Idempotent; blocks at most 1 s.
    pub fn close(&self) {}

    /// Completions at `cursor` (code points). Works while a cell runs.
    pub fn complete(&self, _code: &str, _cursor: usize) -> Completions {
        Completions::default()
    }

    /// Documentation of what stands at `cursor` (code points): plain text and markdown (or html).
    /// `detail` 1 adds the source where there is one. `None` where nothing is known.
    pub fn inspect(&self, _code: &str, _cursor: usize, _detail: u8) -> Option<parcell_link::Bundle> {
        None
    }

    /// Whether the source can be run as it stands.
    pub fn is_complete(&self, _code: &str) -> Completeness {
        Completeness::Complete
    }

    /// Process ids that belong to the session (driver, later workers).
    pub fn processes(&self) -> Vec<u32> {
        Vec::new()
    }
}
