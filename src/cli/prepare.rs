//! Builds the cell library with progress on the terminal, before it is needed in a notebook.

use std::io::{IsTerminal, Write};
use std::time::Instant;

use super::Error;
use crate::cells::{self, Progress, Variant};

/// The cell library, built now if need be: a line for each phase, with the seconds it took. Says
/// nothing if the library is there.
pub(super) fn cells() -> Result<cells::Library, Error> {
    variant(Variant::of_environment())
}

/// As [`cells`], another library than the environment wants.
pub(super) fn variant(variant: Variant) -> Result<cells::Library, Error> {
    let mut lines = Lines::new(std::io::stderr().is_terminal(), say);
    Ok(cells::prepare(variant, &mut |progress| lines.tick(&progress))?)
}

/// Progress is a courtesy: a closed standard error does not stop the build.
fn say(text: &str) {
    let mut err = std::io::stderr();
    let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
}

/// Progress as lines, one for each phase: what stands before the first colon of a step's text.
/// On a terminal the line is rewritten with each step; elsewhere it is written when the phase
/// begins and when it ends.
struct Lines<S: FnMut(&str)> {
    terminal: bool,
    say: S,
    phase: Option<(String, Instant)>,
}

impl<S: FnMut(&str)> Lines<S> {
    fn new(terminal: bool, say: S) -> Lines<S> {
        Lines { terminal, say, phase: None }
    }

    fn tick(&mut self, progress: &Progress) {
        let name = progress.text.split(':').next().unwrap_or_default();
        if self.phase.as_ref().is_none_or(|(phase, _)| phase != name) {
            self.end();
            self.phase = Some((name.to_owned(), Instant::now()));
            if !self.terminal {
                (self.say)(&format!("{name} …\n"));
            }
        }
        if self.terminal {
            let part = match progress.total {
                Some(total) => format!("[{}/{total}] ", progress.done),
                None if progress.done > 0 => format!("[{}] ", progress.done),
                None => String::new(),
            };
            (self.say)(&format!("\r\x1b[K{part}{}", progress.text));
        }
    }

    /// Closes the line of the current phase, if there is one.
    fn end(&mut self) {
        if let Some((phase, since)) = self.phase.take() {
            let start = if self.terminal { "\r\x1b[K" } else { "" };
            (self.say)(&format!("{start}{phase}: {:.0} s\n", since.elapsed().as_secs_f64()));
        }
    }
}

/// A build that fails closes its line too, so that its message starts on a new one.
impl<S: FnMut(&str)> Drop for Lines<S> {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(terminal: bool) -> String {
        let mut said = String::new();
        let mut lines = Lines::new(terminal, |text: &str| said.push_str(text));
        for (text, done) in [("building: a", 1), ("building: b", 2), ("linking", 0)] {
            lines.tick(&Progress { text: text.into(), done, total: Some(2) });
        }
        drop(lines);
        said
    }

    #[test]
    fn a_pipe_gets_two_lines_for_each_phase() {
        assert_eq!(said(false), "building …\nbuilding: 0 s\nlinking …\nlinking: 0 s\n");
    }

    #[test]
    fn a_terminal_gets_one_line_for_each_phase() {
        let said = said(true);
        assert_eq!(said.matches('\n').count(), 2);
        assert!(said.contains("\r\u{1b}[K[2/2] building: b\r\u{1b}[Kbuilding: 0 s\n"), "{said:?}");
    }
}
