//! Takes a cell apart into magics and Rust.
//!
//! `%%name args` on the first line that is not blank takes the rest of the cell as its body. Line
//! magics (`%name args`, `!command`, evcxr's `:name args`, `?name`) stand at column 0, where a
//! Rust statement may begin: after nothing, or after code that is complete and ends in `;` or
//! `}`. So `a\n% b` and `a\n%b` stay Rust, and so does what stands in strings and comments. A `\`
//! at a line's end continues a magic.
//!
//! Two forms could be Rust as well. A line that starts with `!` and a letter, `_`, `.`, `/`, `~`,
//! `$` or `"` is a shell command, even with `;` at its end: write `(!x)` where a value is meant.
//! `name?` is a question only if the cell holds no Rust besides: else it is Rust's `?`.

use super::scan::Scanner;

/// How a magic was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sigil {
    /// `%name`
    Line,
    /// `%%name`
    Cell,
    /// `:name`, as evcxr has it.
    Colon,
    /// `!command`
    Shell,
    /// `?name` or `name?`
    Question,
}

impl Sigil {
    /// What stands before the name.
    pub fn text(self) -> &'static str {
        match self {
            Sigil::Line => "%",
            Sigil::Cell => "%%",
            Sigil::Colon => ":",
            Sigil::Shell => "!",
            Sigil::Question => "?",
        }
    }
}

/// A magic as it stands in a cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// How it was written.
    pub sigil: Sigil,
    /// Its name without sigil; `!` for a shell command, `help` for a question.
    pub name: String,
    /// What follows the name, trimmed.
    pub args: String,
    /// The lines below a `%%name` at the cell's start.
    pub body: Option<String>,
    /// The line it stands on, from 1.
    pub line: usize,
    /// Where `args` start in that line, in characters from 0.
    pub column: usize,
    /// The line the body starts on.
    pub body_line: usize,
}

impl Call {
    /// Sigil and name.
    pub fn written(&self) -> String {
        match self.sigil {
            Sigil::Shell | Sigil::Question => self.sigil.text().to_owned(),
            sigil => format!("{}{}", sigil.text(), self.name),
        }
    }
}

/// A stretch of a cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Rust that is more than comments.
    Rust {
        /// The cell with everything outside this part blanked: lines and columns stay the cell's.
        code: String,
    },
    /// A magic.
    Magic(Call),
}

/// The parts of a cell, in order. Lines of Rust that hold only comments are left out; `dep`
/// magics that follow each other become one, with a line of arguments for each.
pub fn split(code: &str) -> Vec<Part> {
    let lines = lines(code);
    let mut parts: Vec<Part> = Vec::new();
    for piece in pieces(&lines) {
        match (piece.call, parts.last_mut()) {
            (Some(call), Some(Part::Magic(last))) if joins(last, &call) => {
                last.args = format!("{}\n{}", last.args, call.args);
            }
            (Some(call), _) => parts.push(Part::Magic(call)),
            (None, _) if piece.blank => {}
            (None, _) => parts.push(Part::Rust { code: only(&lines, piece.start, piece.end) }),
        }
    }
    parts
}

/// The cell with all magics blanked, bodies of `%%` magics that are Rust excepted. Lines and
/// columns (in characters) stay.
pub fn blank(code: &str) -> String {
    visible(code, false)
}

/// As [`blank`], but Rust after `%time` and its like stays too: what to complete and inspect in.
pub fn rust_view(code: &str) -> String {
    visible(code, true)
}

fn visible(code: &str, keep_args: bool) -> String {
    let lines = lines(code);
    let mut text = String::with_capacity(code.len());
    for piece in pieces(&lines) {
        let Some(call) = &piece.call else {
            text.extend(lines[piece.start..piece.end].iter().copied());
            continue;
        };
        let kept = super::find(&call.name).and_then(|magic| magic.rust(&call.args));
        let head = piece.start..call.body.as_ref().map_or(piece.end, |_| call.body_line - 1);
        for (index, line) in lines[head].iter().enumerate() {
            let until = match kept {
                Some(from) if keep_args && index == 0 => {
                    call.column + call.args.get(..from).unwrap_or_default().chars().count()
                }
                _ => usize::MAX,
            };
            text.push_str(&blank_until(line, until));
        }
        match (&call.body, kept) {
            (Some(body), Some(_)) => text.push_str(&visible(body, keep_args)),
            (Some(body), None) => text.extend(body.split_inclusive('\n').map(blanked)),
            (None, _) => {}
        }
    }
    text
}

/// A run of lines, `start..end` counted from 0: a magic, or Rust.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) call: Option<Call>,
    /// Of Rust: nothing but comments and white space.
    blank: bool,
}

/// The lines of a cell, line ends included.
pub(super) fn lines(code: &str) -> Vec<&str> {
    code.split_inclusive('\n').collect()
}

/// The cell's lines, each in exactly one piece.
pub(super) fn pieces(lines: &[&str]) -> Vec<Piece> {
    let pieces = cell_magic(lines).unwrap_or_else(|| line_magics(lines, Trailing::Question));
    let is_rust = |piece: &Piece| piece.call.is_none() && !piece.blank;
    if pieces.iter().any(is_rust) { line_magics(lines, Trailing::Rust) } else { pieces }
}

/// What `name?` is taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trailing {
    Question,
    Rust,
}

fn cell_magic(lines: &[&str]) -> Option<Vec<Piece>> {
    let first = lines.iter().position(|line| !line.trim().is_empty())?;
    let (sigil, name, column) = head(lines[first]).filter(|head| head.0 == Sigil::Cell)?;
    let head = first..continued(lines, first);
    let mut call = call(lines, &head, sigil, name, column);
    call.body = Some(lines[head.end..].concat());
    let piece = |start, end, call| Piece { start, end, call, blank: true };
    Some(vec![piece(0, first, None), piece(first, lines.len(), Some(call))])
}

fn line_magics(lines: &[&str], trailing: Trailing) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let (mut scanner, mut start, mut at) = (Scanner::new(), 0, 0);
    while at < lines.len() {
        let found = scanner.at_statement().then(|| magic_at(lines, at, trailing)).flatten();
        let Some((end, call)) = found else {
            scanner.feed(lines[at]);
            at += 1;
            continue;
        };
        pieces.push(Piece { start, end: at, call: None, blank: scanner.is_blank() });
        pieces.push(Piece { start: at, end, call: Some(call), blank: false });
        (scanner, start, at) = (Scanner::new(), end, end);
    }
    pieces.push(Piece { start, end: at, call: None, blank: scanner.is_blank() });
    pieces
}

/// The magic that starts in line `at`, and the line after it.
fn magic_at(lines: &[&str], at: usize, trailing: Trailing) -> Option<(usize, Call)> {
    if let Some((name, column)) = question(lines[at], trailing) {
        let line = at..at + 1;
        let mut call = call(lines, &line, Sigil::Question, "help", column);
        call.args = name.to_owned();
        return Some((line.end, call));
    }
    let (sigil, name, column) = head(lines[at])?;
    let range = at..continued(lines, at);
    let call = call(lines, &range, sigil, name, column);
    Some((range.end, call))
}

fn call(
    lines: &[&str],
    range: &std::ops::Range<usize>,
    sigil: Sigil,
    name: &str,
    column: usize,
) -> Call {
    let first: String = lines[range.start].chars().skip(column).collect();
    let rest = lines[range.start + 1..range.end].iter().copied();
    let args = match sigil {
        // The shell knows what a backslash at a line's end means.
        Sigil::Shell => first + &rest.collect::<String>(),
        _ => {
            let all = std::iter::once(first.as_str()).chain(rest);
            let bare: Vec<&str> = all.map(|l| l.trim().trim_end_matches('\\').trim()).collect();
            bare.join(" ")
        }
    };
    let name = name.to_owned();
    let (line, body_line) = (range.start + 1, range.end + 1);
    Call { sigil, name, args: args.trim().to_owned(), body: None, line, column, body_line }
}

/// The line after the magic that starts in line `at`.
fn continued(lines: &[&str], at: usize) -> usize {
    let more = lines[at..].iter().take_while(|line| line.trim_end().ends_with('\\')).count();
    (at + more + 1).min(lines.len())
}

/// Sigil and name of the magic on a line, and where its arguments start, in characters.
fn head(line: &str) -> Option<(Sigil, &str, usize)> {
    if let Some(command) = line.strip_prefix('!') {
        let starts = |c: char| c.is_alphabetic() || "_./~$\"".contains(c);
        return command.trim_start().starts_with(starts).then_some((Sigil::Shell, "!", 1));
    }
    let sigil = [Sigil::Cell, Sigil::Line, Sigil::Colon]
        .into_iter()
        .find(|sigil| line.starts_with(sigil.text()))?;
    let rest = &line[sigil.text().len()..];
    let name = &rest[..rest.find(|c: char| !is_name(c)).unwrap_or(rest.len())];
    if !name.starts_with(char::is_alphabetic) {
        return None;
    }
    let space = rest[name.len()..].chars().take_while(|c| *c == ' ' || *c == '\t').count();
    Some((sigil, name, sigil.text().len() + name.chars().count() + space))
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// What a line asks about, and where that stands.
fn question(line: &str, trailing: Trailing) -> Option<(&str, usize)> {
    let line = line.trim_end();
    if line.starts_with('?') {
        let name = line.trim_start_matches('?').trim_start();
        return Some((name, line.chars().count() - name.chars().count()));
    }
    let name = line.strip_suffix('?')?;
    let name = name.strip_suffix('?').unwrap_or(name);
    if name.starts_with(['%', ':']) {
        let bare = name.trim_start_matches(['%', ':']);
        let asks = !bare.is_empty() && bare.chars().all(is_name);
        return asks.then_some((name, 0));
    }
    let path = name.strip_suffix('!').unwrap_or(name);
    let is_path = path.split("::").all(|segment| {
        segment.starts_with(|c: char| c.is_alphabetic() || c == '_') && segment.chars().all(is_name)
    });
    (is_path && trailing == Trailing::Question).then_some((name, 0))
}

fn joins(last: &Call, next: &Call) -> bool {
    let lists = |call: &Call| call.name == "dep" && call.body.is_none() && !call.args.is_empty();
    lists(last) && lists(next)
}

/// All lines but `start..end` blanked.
fn only(lines: &[&str], start: usize, end: usize) -> String {
    let all = lines.iter().enumerate();
    all.map(|(index, line)| match (start..end).contains(&index) {
        true => (*line).to_owned(),
        false => blanked(line),
    })
    .collect()
}

/// A line of spaces.
fn blanked(line: &str) -> String {
    blank_until(line, usize::MAX)
}

/// The line with so many characters blanked; line ends stay.
fn blank_until(line: &str, characters: usize) -> String {
    let blanked = |(index, c): (usize, char)| match c {
        '\n' | '\r' => c,
        _ if index < characters => ' ',
        _ => c,
    };
    line.chars().enumerate().map(blanked).collect()
}

#[cfg(test)]
mod tests;
