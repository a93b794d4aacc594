//! What the user reads of a cell that ran and did not finish.

use std::collections::BTreeMap;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use parcell_link::{Outcome, Panic};

use super::generate::{Text, column};
use super::items::Source;
use crate::stage::Failure;

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
    let Panic { message, file, line, column: shown, thread, .. } = panic;
    let start = ["body/In[", "items/In[", "macros/In["].iter().find_map(|s| file.rfind(s));
    let file = start.map_or(file.as_str(), |at| &file[at..]);
    let mut lines = vec![format!("\u{1b}[1;31mPanic\u{1b}[0m: {message}")];
    let by = thread.as_ref().map(|t| format!(", in thread {t}")).unwrap_or_default();
    match files.get(file) {
        Some(text) => {
            lines.push(format!("  at {}{by}", text.0.place(*line)));
            let pointed = point_at(&text.0, *line, column(text, *line, *shown));
            lines.extend(pointed.lines().skip(2).map(str::to_owned));
        }
        None if file.is_empty() => {}
        None => lines.push(format!("  at {file}:{line}:{shown}{by}")),
    }
    Failure { name: "Panic".to_owned(), value: message.clone(), traceback: lines }
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
