//! Shows the outputs of cells on a terminal (or a pipe) as they come.

use std::io::{IsTerminal, Write};

use parcell_link::Bundle;

use crate::stage::{Failure, Output, Stream};

/// Standard output and error. What cannot be written (a closed pipe) is dropped: the notebook is
/// run for its file or its exit status too.
#[derive(Debug, Default)]
pub(super) struct Terminal {
    /// Whether the last line shown is unfinished.
    open_line: bool,
    /// The id of the display that is the last thing shown, if it is one line: an update may
    /// rewrite it.
    live: Option<String>,
}

impl Terminal {
    /// Announces a cell.
    pub(super) fn header(&mut self, text: &str) {
        self.close_line();
        self.live = None;
        let _ = writeln!(anstream::stderr(), "\x1b[2m{text}\x1b[0m");
    }

    /// Shows an output. Of updates only those are shown that redraw the line shown last, on a
    /// terminal: anywhere else a progress bar would fill pages.
    pub(super) fn show(&mut self, output: &Output) {
        match output {
            Output::Text(stream, text) => self.print(*stream, text),
            Output::Display(bundle, id) => self.display(bundle, id.as_deref()),
            Output::Result(bundle) => self.display(bundle, None),
            Output::Update(bundle, id) => self.update(bundle, id),
            Output::Clear { .. } => {}
        }
    }

    /// Shows how a cell failed.
    pub(super) fn fail(&mut self, failure: &Failure) {
        self.close_line();
        for line in &failure.traceback {
            let _ = writeln!(anstream::stderr(), "{line}");
        }
    }

    fn print(&mut self, stream: Stream, text: &str) {
        if text.is_empty() {
            return;
        }
        self.live = None;
        self.open_line = !text.ends_with('\n');
        match stream {
            Stream::Stdout => write(&mut std::io::stdout(), text),
            Stream::Stderr => write(&mut std::io::stderr(), text),
        }
    }

    fn display(&mut self, bundle: &Bundle, id: Option<&str>) {
        self.close_line();
        let text = plain(bundle);
        self.live = id.filter(|_| !text.contains('\n')).map(str::to_owned);
        write(&mut std::io::stdout(), &format!("{text}\n"));
    }

    fn update(&mut self, bundle: &Bundle, id: &str) {
        let text = plain(bundle);
        let redraws = self.live.as_deref() == Some(id) && !text.contains('\n');
        if redraws && std::io::stdout().is_terminal() {
            write(&mut std::io::stdout(), &format!("\x1b[1A\r\x1b[2K{text}\n"));
        }
    }

    fn close_line(&mut self) {
        if std::mem::take(&mut self.open_line) {
            write(&mut std::io::stdout(), "\n");
        }
    }
}

fn write(to: &mut impl Write, text: &str) {
    let _ = to.write_all(text.as_bytes()).and_then(|()| to.flush());
}

/// Prints a line of a command's own. A closed pipe is no failure.
pub(super) fn say(line: impl std::fmt::Display) {
    write(&mut std::io::stdout(), &format!("{line}\n"));
}

/// Prints a line that is not a result: a warning, or what is going on.
pub(super) fn remark(line: impl std::fmt::Display) {
    write(&mut std::io::stderr(), &format!("{line}\n"));
}

/// The plain text of a bundle, or which kinds it has instead.
fn plain(bundle: &Bundle) -> String {
    if let Some(text) = bundle.get("text/plain") {
        return text.trim_end_matches('\n').to_owned();
    }
    let kinds: Vec<&str> = bundle.data.iter().map(|(mime, _)| mime.as_str()).collect();
    format!("<{}>", kinds.join(", "))
}

/// Asks the person at the terminal; `None` if there is none.
pub(super) fn ask(prompt: &str, password: bool) -> Option<String> {
    if !std::io::stdin().is_terminal() {
        return None;
    }
    if password {
        return rpassword::prompt_password(prompt).ok();
    }
    write(&mut std::io::stderr(), prompt);
    let mut line = String::new();
    let read = std::io::stdin().read_line(&mut line).ok()?;
    (read > 0).then(|| line.trim_end_matches(['\n', '\r']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_without_text_is_named_by_its_kind() {
        assert_eq!(plain(&Bundle::text("t\n").with("image/png", "AA")), "t");
        assert_eq!(plain(&Bundle::default().with("image/png", "AA")), "<image/png>");
    }
}
