//! What rustc's complaints mean: corrections to a module that parcell generated, types that were
//! asked for, and messages for the user, in the words and the look of rustc, with the cell's own
//! lines.

use std::collections::HashMap;

use annotate_snippets::{AnnotationKind, Group, Level, Patch, Renderer, Snippet};

use super::generate::{Purpose, Written};
use super::items::Source;
use super::numbers;
use super::parse::Binding;
use super::races;
use super::rustc::{Complaint, Span};
use crate::stage::Failure;

/// What a complaint about generated lines asks for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Correction {
    /// The cell moves this earlier variable away: it cannot be put back.
    Moved(String),
    /// This new variable is gone or unset when the cell ends.
    Consumed(String),
    /// This new variable borrows from another.
    Borrows(String),
    /// This earlier variable's type cannot be named any more.
    Unnameable(String),
    /// There is no new variable of this name.
    Missing(String),
}

/// Codes of the borrow checker for a value that does not live long enough to be kept.
const BORROWS: [&str; 12] = [
    "E0597", "E0505", "E0716", "E0499", "E0502", "E0506", "E0521", "E0310", "E0373", "E0515",
    "E0700", "E0713",
];

/// The corrections that make the complaints go away, as far as they are about generated lines.
pub(super) fn corrections(errors: &[Complaint], written: &Written) -> Vec<Correction> {
    let mut all: Vec<Correction> =
        errors.iter().filter_map(|error| correction(error, written)).collect();
    all.dedup();
    all
}

fn correction(error: &Complaint, written: &Written) -> Option<Correction> {
    let code = error.code.as_ref().map(|c| c.code.as_str());
    let purpose = |s: &Span| written.purposes.get(&(s.file_name.clone(), s.line_start));
    let primary = || error.spans.iter().find(|s| s.is_primary).and_then(purpose);
    let lifetime = code.is_none() && error.message.contains("lifetime");
    if lifetime || code.is_some_and(|c| BORROWS.contains(&c)) {
        // What is borrowed for ever is as good as moved away.
        let moved = || match primary()? {
            Purpose::Return(name) => Some(Correction::Moved(name.clone())),
            _ => None,
        };
        return borrower(error, written).map(Correction::Borrows).or_else(moved);
    }
    match (primary()?, code) {
        (Purpose::Return(name), Some("E0382")) => Some(Correction::Moved(name.clone())),
        (Purpose::Keep(name), Some("E0382" | "E0381")) => Some(Correction::Consumed(name.clone())),
        (Purpose::Keep(name), Some("E0425" | "E0423" | "E0424")) => {
            Some(Correction::Missing(name.clone()))
        }
        (Purpose::Load(name), _) => Some(Correction::Unnameable(name.clone())),
        _ => None,
    }
}

/// The new variable that borrows from another: the one whose keeping the borrow must outlive. The
/// other, which rustc names too where both are kept, is only in its way.
fn borrower(error: &Complaint, written: &Written) -> Option<String> {
    let kept = |s: &&Span| {
        let place = (s.file_name.clone(), s.line_start);
        matches!(written.purposes.get(&place), Some(Purpose::Keep(_)))
    };
    let outlives = |s: &&Span| {
        s.label.as_deref().is_some_and(|l| l.contains("requires") || l.contains("later used"))
    };
    let mut spans = error.spans.iter().filter(kept);
    let span = spans.clone().find(outlives).or_else(|| spans.next())?;
    match written.purposes.get(&(span.file_name.clone(), span.line_start)) {
        Some(Purpose::Keep(name)) => Some(name.clone()),
        _ => None,
    }
}

/// The type of a variable, or why it has none that a later cell could write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    Type(String),
    /// A function, with the type of a pointer to it.
    Function(String),
    Closure,
    Opaque(String),
}

/// The types that rustc named when asked (see `rt::TypeWanted`).
pub(super) fn types(errors: &[Complaint], written: &Written) -> HashMap<String, Found> {
    let mut found = HashMap::new();
    for error in errors {
        let primary = error.spans.iter().find(|s| s.is_primary);
        let place = primary.map(|s| (s.file_name.clone(), s.line_start));
        let Some(Purpose::Keep(name)) = place.and_then(|p| written.purposes.get(&p)) else {
            continue;
        };
        let note = error.children.iter().find_map(|c| named_type(&c.message));
        let label = || primary.and_then(|s| named_type(s.label.as_deref()?));
        if let Some(text) = note.or_else(label) {
            found.insert(name.clone(), classify(&text));
        }
    }
    found
}

/// The type in ``found tuple `(T,)` ``.
fn named_type(text: &str) -> Option<String> {
    let (_, found) = text.rsplit_once("found ")?;
    let start = found.find("`(")? + 2;
    let end = found.rfind(",)`")?;
    Some(found.get(start..end)?.to_owned())
}

fn classify(text: &str) -> Found {
    if text.starts_with("{closure@") {
        return Found::Closure;
    }
    if let Some((pointer, name)) = text.rsplit_once(" {")
        && ["fn(", "for<", "unsafe ", "extern "].iter().any(|start| text.starts_with(start))
        && name.ends_with('}')
        && !pointer.contains('{')
    {
        return Found::Function(pointer.to_owned());
    }
    let text = text.replace("{integer}", "i32").replace("{float}", "f64");
    if text.contains('{') || text.contains("impl ") {
        return Found::Opaque(text.replace("body/In[", "In["));
    }
    Found::Type(text)
}

/// The failure that the user sees of the cell `own`. `hints` are appended as help to messages that
/// do not know a key.
pub(super) fn failure(
    errors: &[Complaint],
    written: &Written,
    hints: &HashMap<String, String>,
    own: &Source,
) -> Failure {
    // What is wrong with the cell makes what is generated around it wrong too: that is not shown.
    let of_user =
        |e: &&Complaint| e.spans.iter().any(|s| s.is_primary && place(s, written).is_some());
    let mut shown: Vec<&Complaint> = errors.iter().filter(of_user).collect();
    if shown.is_empty() {
        shown = errors.iter().collect();
    }
    let shown = races::references_told_once(&shown);
    let mut traceback: Vec<String> = Vec::new();
    for error in &shown {
        // Who is told what became of a variable does not want one that is only called alike.
        let explained = unknown_name(error).is_some_and(|name| {
            hints.get(name).is_some_and(|hint| hint.starts_with(&format!("`{name}` ")))
        });
        let mut text = render(error, written, |child| {
            !(explained && child.message.contains("with a similar name"))
        });
        text += &elsewhere(error, written, own).unwrap_or_default();
        if let Some(hint) = crate::cells::linker_hint(&error.message) {
            text += &help(hint);
        }
        text += &race_advice(error, written).map(|advice| help(&advice)).unwrap_or_default();
        text += &numbers::advice(error).map(help).unwrap_or_default();
        for (name, hint) in hints {
            if unknown_name(error) == Some(name) {
                text += &help(hint);
            }
        }
        traceback.extend(text.lines().map(str::to_owned));
        traceback.push(String::new());
    }
    let first = shown.first();
    let value = first.map_or_else(String::new, |e| e.message.clone());
    Failure { name: name(first), value, traceback }
}

/// The code of a complaint, which is what `%explain` wants.
fn name(error: Option<&Complaint>) -> String {
    let code = error.and_then(|e| e.code.as_ref());
    // The code of a lint is its name.
    let code = code.filter(|c| c.code.starts_with('E'));
    code.map_or_else(|| "CompileError".to_owned(), |c| c.code.clone())
}

/// The name that an error says is not there.
pub(super) fn unknown_name(error: &Complaint) -> Option<&str> {
    let code = error.code.as_ref().map(|c| c.code.as_str());
    let of_macro = code.is_none() && error.message.starts_with("cannot find macro");
    let unresolved =
        matches!(code, Some("E0425" | "E0412" | "E0433" | "E0405" | "E0422" | "E0531"));
    (unresolved || of_macro).then(|| error.message.split('`').nth(1)).flatten()
}

/// What to say where threads would share what they must not.
fn race_advice(error: &Complaint, written: &Written) -> Option<String> {
    let primary = error.spans.iter().find(|s| s.is_primary)?;
    races::advice(error, &place(primary, written)?.0.text)
}

/// Says where an error stands that is not in the cell itself.
fn elsewhere(error: &Complaint, written: &Written, own: &Source) -> Option<String> {
    let primary = error.spans.iter().find(|s| s.is_primary)?;
    let (source, range) = place(primary, written).filter(|(source, _)| source.name != own.name)?;
    let line = source.text[..range.start].matches('\n').count() + 1;
    Some(format!("\n\u{1b}[1mnote\u{1b}[0m: this is {}, which the cell uses", source.place(line)))
}

/// The failure of a cell whose variable could not be kept: it borrows, and the cell has no use
/// for it but to keep it.
pub(super) fn borrow_refused(source: &Source, binding: &Binding, errors: &[Complaint]) -> Failure {
    let Binding { name: variable, at, .. } = binding;
    let borrows =
        |e: &&Complaint| e.code.as_ref().is_some_and(|c| BORROWS.contains(&c.code.as_str()));
    let error = errors.iter().find(borrows);
    let lender = error.and_then(|e| e.message.split('`').nth(1)).filter(|l| l != variable);
    let lender = lender.map_or_else(|| "a value of this cell".to_owned(), |l| format!("`{l}`"));
    let message =
        format!("`{variable}` borrows from {lender}, so it cannot be kept for later cells");
    let annotation = AnnotationKind::Primary.span(at.clone()).label("kept when the cell ends");
    let snippet = Snippet::source(source.text.as_str()).path(source.name.as_str());
    let title = Level::ERROR.primary_title(message.as_str());
    let title = match error.and_then(|e| e.code.as_ref()) {
        Some(code) => title.id(code.code.as_str()),
        None => title,
    };
    let group = Group::with_title(title).element(snippet.annotation(annotation)).element(
        Level::HELP.message(
            "keep an owned value (`.to_vec()`, `.clone()`, `.to_string()`), share it (`Arc`), \
             or borrow where you use it: a borrow that is used in its own cell is fine",
        ),
    );
    let text = Renderer::styled().render(&[group]);
    let traceback = text.lines().map(str::to_owned).collect();
    Failure { name: name(error), value: message, traceback }
}

fn help(hint: &str) -> String {
    format!("\n\u{1b}[1m\u{1b}[96mhelp\u{1b}[0m: {hint}")
}

/// The place of a span in a cell; for code that a macro made, the place of the call.
fn place<'a>(span: &Span, written: &'a Written) -> Option<(&'a Source, std::ops::Range<usize>)> {
    let mut span = span;
    loop {
        if written.purposes.contains_key(&(span.file_name.clone(), span.line_start)) {
            return None;
        }
        let start = written.original(&span.file_name, span.byte_start);
        let end = written.original(&span.file_name, span.byte_end);
        if let (Some((source, start)), Some((_, end))) = (start, end) {
            return Some((source.as_ref(), start..end.max(start)));
        }
        span = &span.expansion.as_ref()?.span;
    }
}

/// The message with those of its notes and suggestions that are `wanted`.
fn render(error: &Complaint, written: &Written, wanted: impl Fn(&Complaint) -> bool) -> String {
    let children: Vec<&Complaint> = error.children.iter().filter(|child| wanted(child)).collect();
    let mut groups = vec![main_group(error, &children, written)];
    groups.extend(children.iter().filter_map(|child| suggestion(child, written)));
    Renderer::styled().render(&groups)
}

fn main_group<'a>(
    error: &'a Complaint,
    children: &[&'a Complaint],
    written: &'a Written,
) -> Group<'a> {
    let title = Level::ERROR.primary_title(error.message.as_str());
    let title = match &error.code {
        Some(code) => title.id(code.code.as_str()),
        None => title,
    };
    let mut group = Group::with_title(title);
    for snippet in snippets(&error.spans, written) {
        group = group.element(snippet);
    }
    let told = |c: &&&Complaint| {
        !is_about_files(&c.message)
            && !is_about_expansions(&c.message)
            && suggestion(c, written).is_none()
    };
    for child in children.iter().filter(told) {
        let level = if child.level == "help" { Level::HELP } else { Level::NOTE };
        // What should be inserted into a generated line cannot be shown in its place.
        let text = match child.spans.iter().find_map(|s| s.suggested_replacement.as_deref()) {
            Some(code) => format!("{}: `{}`", child.message, code.trim()),
            None => child.message.clone(),
        };
        group = group.element(level.message(text));
        for snippet in snippets(&child.spans, written) {
            group = group.element(snippet);
        }
    }
    group
}

/// Words for those who call rustc themselves: that it wrote a long type into a file.
fn is_about_files(message: &str) -> bool {
    message.contains("has been written to '") || message.starts_with("consider using `--verbose`")
}

/// Words about names in what parcell's own macros expand to, which say nothing to their users.
fn is_about_expansions(message: &str) -> bool {
    let starts =
        ["the trait `parcell::distributed::", "required by a bound in `parcell::distributed::"];
    starts.iter().any(|start| message.starts_with(start)) && !message.contains("RemoteFunction")
}

/// One snippet for each cell that the spans touch.
fn snippets<'a>(
    spans: &'a [Span],
    written: &'a Written,
) -> Vec<Snippet<'a, annotate_snippets::Annotation<'a>>> {
    let mut by_cell: Vec<(&Source, Vec<annotate_snippets::Annotation<'a>>)> = vec![];
    let mut ordered: Vec<&Span> = spans.iter().collect();
    ordered.sort_by_key(|s| !s.is_primary);
    for span in ordered {
        let Some((source, range)) = place(span, written) else { continue };
        let kind = if span.is_primary { AnnotationKind::Primary } else { AnnotationKind::Context };
        let annotation = kind.span(range).label(span.label.as_deref());
        match by_cell.iter_mut().find(|(s, _)| s.name == source.name) {
            Some((_, annotations)) => annotations.push(annotation),
            None => by_cell.push((source, vec![annotation])),
        }
    }
    let snippet = |(source, annotations): (&'a Source, Vec<_>)| {
        Snippet::source(source.text.as_str()).path(source.name.as_str()).annotations(annotations)
    };
    by_cell.into_iter().map(snippet).collect()
}

fn suggestion<'a>(child: &'a Complaint, written: &'a Written) -> Option<Group<'a>> {
    let mut patches = Vec::new();
    let mut cell = None;
    for span in &child.spans {
        span.suggested_replacement.as_ref()?;
        let (source, range) = place(span, written)?;
        patches.push(Patch::new(range, span.suggested_replacement.as_deref()?));
        cell.get_or_insert(source);
        if cell.is_some_and(|c| c.name != source.name) {
            return None;
        }
    }
    let source = cell?;
    let title = Level::HELP.secondary_title(child.message.as_str());
    let snippet = Snippet::source(source.text.as_str()).path(source.name.as_str());
    Some(Group::with_title(title).element(snippet.patches(patches)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_is_read_from_the_note() {
        let note = "expected struct `TypeWanted`\n    found tuple `(std::vec::Vec<(i32,)>,)`";
        assert_eq!(named_type(note).unwrap(), "std::vec::Vec<(i32,)>");
        assert_eq!(named_type("something else"), None);
    }

    #[test]
    fn what_cannot_be_written_is_not_a_type() {
        assert_eq!(classify("{closure@In[1]:3:9: 3:17}"), Found::Closure);
        let pointer = Found::Function("fn(i32) -> i32".into());
        assert_eq!(classify("fn(i32) -> i32 {thrice}"), pointer);
        assert_eq!(classify("std::vec::Vec<{integer}>"), Found::Type("std::vec::Vec<i32>".into()));
        assert!(matches!(classify("impl std::ops::Fn()"), Found::Opaque(_)));
        assert!(matches!(classify("Map<I, {closure@In[1]:8:21}>"), Found::Opaque(_)));
    }
}
