//! Builds the cell library with progress on the terminal, before it is needed in a notebook.

use std::io::{IsTerminal, Write};
use std::time::Instant;

use super::Error;
use crate::cells::{self, Progress};

/// The cell library, built now if need be: a line for each phase, with the seconds it took. Says
/// nothing if the library is there.
pub(super) fn cells() -> Result<cells::Library, Error> {
    let mut lines = Lines::new();
    let library = cells::prepare(&mut |progress| lines.tick(&progress))?;
    lines.end();
    Ok(library)
}

/// Progress as lines on standard error; on a terminal the current line is rewritten in place.
struct Lines {
    terminal: bool,
    phase: String,
    since: Instant,
}

impl Lines {
    fn new() -> Lines {
        let terminal = std::io::stderr().is_terminal();
        Lines { terminal, phase: String::new(), since: Instant::now() }
    }

    fn tick(&mut self, progress: &Progress) {
        if progress.text != self.phase {
            self.end();
            self.phase.clone_from(&progress.text);
            self.since = Instant::now();
            if !self.terminal {
                say(&format!("{}\n", self.phase));
            }
        }
        if self.terminal {
            let part = progress.total.map(|t| format!(" {}/{t}", progress.done));
            let seconds = self.since.elapsed().as_secs();
            say(&format!("\r\x1b[K{}{} {seconds} s", self.phase, part.unwrap_or_default()));
        }
    }

    /// Closes the line of the current phase, if there is one.
    fn end(&mut self) {
        if self.phase.is_empty() {
            return;
        }
        let start = if self.terminal { "\r\x1b[K" } else { "" };
        say(&format!("{start}{}: {:.1} s\n", self.phase, self.since.elapsed().as_secs_f64()));
        self.phase.clear();
    }
}

/// Progress is a courtesy: a closed standard error does not stop the build.
fn say(text: &str) {
    let mut err = std::io::stderr();
    let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
}
