//! What the user reads of a cell that ran and did not finish.

use std::collections::BTreeMap;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use parcell_link::{Outcome, Panic, RemotePanic};

use super::generate::{Text, column};
use super::items::Source;
use crate::stage::Failure;

/// So many failures on workers are told in full, of the others one line each.
const IN_FULL: usize = 4;

/// The failure of a cell that ran; `files` are those of all modules.
pub(super) fn failure(outcome: &Outcome, files: &BTreeMap<String, Text>) -> Option<Failure> {
    match outcome {
        Outcome::Finished => None,
        Outcome::Failed { name, message } => {
            let name = name.split('<').next().unwrap_or(name);
            let name = name.rsplit("::").next().unwrap_or(name);
            let mut failure = Failure::new("Error", message);
            failure.traceback = vec![format!("\u{1b}[1;31mError\u{1b}[0m ({name}): {message}")];
            Some(failure)
        }
        Outcome::Panicked(panic) => Some(panicked(panic, files)),
        Outcome::Interrupted => {
            Some(Failure::new("Interrupted", "the cell was interrupted; variables are kept"))
        }
        Outcome::NotLoaded { message } => Some(Failure::new(
            "LoadError",
            format!("the compiled cell cannot be loaded: {message}"),
        )),
        Outcome::Refused { message } => Some(Failure::new("UsageError", message)),
    }
}

fn panicked(panic: &Panic, files: &BTreeMap<String, Text>) -> Failure {
    let Panic { message, file, line, column, thread, name, remote } = panic;
    let name = name.as_deref().unwrap_or("Panic");
    let mut lines = vec![format!("\u{1b}[1;31m{name}\u{1b}[0m: {message}")];
    let by = thread.as_ref().map(|t| format!(", in thread {t}")).unwrap_or_default();
    lines.extend(Spot { file, line: *line, column: *column }.lines(&by, files));
    let (full, short) = remote.split_at(remote.len().min(IN_FULL));
    lines.extend(full.iter().flat_map(|failed| in_full(failed, files)));
    lines.extend(short.iter().map(|failed| in_short(failed, files)));
    Failure { name: name.to_owned(), value: message.clone(), traceback: lines }
}

/// Everything that is known of a failure on a worker.
fn in_full(failed: &RemotePanic, files: &BTreeMap<String, Text>) -> Vec<String> {
    let mut said = failed.message.lines();
    let mut lines = vec![format!("{}{}", origin(failed), said.next().unwrap_or_default())];
    lines.extend(said.map(str::to_owned));
    lines.extend(Spot::of(failed).lines("", files));
    lines.extend(failed.backtrace.iter().map(|frame| format!("    {frame}")));
    lines
}

/// One line on a failure on a worker.
fn in_short(failed: &RemotePanic, files: &BTreeMap<String, Text>) -> String {
    let said = failed.message.lines().next().unwrap_or_default();
    let place = Spot::of(failed).place(files).map(|place| format!(" {place}"));
    format!("{}{said}{}", origin(failed), place.unwrap_or_default())
}

fn origin(failed: &RemotePanic) -> String {
    format!("\u{1b}[1mOn worker {}\u{1b}[0m: ", failed.worker)
}

/// A place as a process that ran the module knows it.
struct Spot<'a> {
    file: &'a str,
    line: u32,
    column: u32,
}

impl Spot<'_> {
    fn of(failed: &RemotePanic) -> Spot<'_> {
        Spot { file: &failed.file, line: failed.line, column: failed.column }
    }

    /// The cell's text, if it stands in one.
    fn text<'f>(&self, files: &'f BTreeMap<String, Text>) -> Option<&'f Text> {
        let start = ["body/In[", "items/In[", "macros/In["].iter().find_map(|s| self.file.rfind(s));
        files.get(start.map_or(self.file, |at| &self.file[at..]))
    }

    /// The place in words, if it is known.
    fn place(&self, files: &BTreeMap<String, Text>) -> Option<String> {
        match self.text(files) {
            Some(text) => Some(text.0.place(self.line)),
            None if self.file.is_empty() => None,
            None => Some(format!("{}:{}:{}", self.file, self.line, self.column)),
        }
    }

    /// The place in words, with `by` after it, and the line of source with a mark.
    fn lines(&self, by: &str, files: &BTreeMap<String, Text>) -> Vec<String> {
        let Some(place) = self.place(files) else { return Vec::new() };
        let mut lines = vec![format!("  at {place}{by}")];
        if let Some(text) = self.text(files) {
            let pointed = point_at(&text.0, self.line, column(text, self.line, self.column));
            lines.extend(pointed.lines().skip(2).map(str::to_owned));
        }
        lines
    }
}

/// The source line with a mark under the place.
fn point_at(source: &Source, line: u32, column: u32) -> String {
    let before: usize =
        source.text.split_inclusive('\n').take(line as usize - 1).map(str::len).sum();
    let rest = &source.text[before..];
    let at = rest.char_indices().nth(column as usize - 1).map_or(rest.len(), |(i, _)| i);
    let span = before + at..before + at;
    let snippet = Snippet::source(source.text.as_str())
        .path(source.name.as_str())
        .annotation(AnnotationKind::Primary.span(span));
    let report = [Group::with_title(Level::ERROR.primary_title("")).element(snippet)];
    Renderer::styled().render(&report)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// Cell 3, with three characters inserted before its second line.
    fn files() -> BTreeMap<String, Text> {
        let text = "fn row(i: usize) {\n    panic!();\n}".to_owned();
        let source = Arc::new(Source { name: "In[3]".to_owned(), text });
        BTreeMap::from([("items/In[3]".to_owned(), (source, vec![(19, 3)]))])
    }

    fn failed(worker: u32) -> RemotePanic {
        let (message, file) = (format!("no row {worker}\nof 5"), "/w/items/In[3]".to_owned());
        let backtrace = vec!["0: row [cell 3, line 2]".to_owned()];
        RemotePanic { worker, message, file, line: 2, column: 8, backtrace }
    }

    fn told(remote: Vec<RemotePanic>) -> Failure {
        let (message, name) = ("it failed".to_owned(), Some("CompositeError".to_owned()));
        let (file, thread) = (String::new(), None);
        let panic = Panic { message, file, line: 0, column: 0, thread, name, remote };
        failure(&Outcome::Panicked(panic), &files()).unwrap()
    }

    #[test]
    fn a_failure_on_a_worker_is_told_with_its_place_and_its_frames() {
        let Failure { name, value, traceback } = told(vec![failed(2)]);
        assert_eq!((name.as_str(), value.as_str()), ("CompositeError", "it failed"));
        let text = traceback.join("\n");
        let head =
            "CompositeError\u{1b}[0m: it failed\n\u{1b}[1mOn worker 2\u{1b}[0m: no row 2\nof 5";
        assert!(text.contains(head), "{text}");
        assert!(text.contains("\n  at [cell 3, line 2]\n"), "{text}");
        let source = traceback.iter().position(|line| line.contains("panic!();")).unwrap();
        let plain = |line: &str| {
            let parts = line.split('\u{1b}').map(|part| part.split_once('m').map_or(part, |p| p.1));
            parts.collect::<String>()
        };
        let (code, mark) = (plain(&traceback[source]), plain(&traceback[source + 1]));
        assert_eq!(code.find("panic"), mark.find('^'), "{code}\n{mark}");
        assert_eq!(traceback.last().unwrap(), "    0: row [cell 3, line 2]");
    }

    #[test]
    fn of_many_failures_four_are_told_in_full() {
        let text = told((2..9).map(failed).collect()).traceback.join("\n");
        assert_eq!(text.matches("panic!();").count(), 4, "{text}");
        assert_eq!(text.matches("On worker").count(), 7);
        let last = "\u{1b}[1mOn worker 8\u{1b}[0m: no row 8 [cell 3, line 2]";
        assert!(text.ends_with(last), "{text}");
    }

    #[test]
    fn a_place_that_is_not_known_is_not_told() {
        let lost = RemotePanic { file: String::new(), backtrace: Vec::new(), ..failed(4) };
        assert_eq!(told(vec![lost]).traceback.len(), 3);
        let foreign = RemotePanic { file: "src/lib.rs".to_owned(), ..failed(4) };
        assert!(told(vec![foreign]).traceback.contains(&"  at src/lib.rs:2:8".to_owned()));
    }
}
