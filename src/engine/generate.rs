//! Writes the source of a module. The user's text stands in files of its own, named after its cell
//! and with every line where the cell has it, so that messages, panics and `line!()` speak of the
//! cell's lines; what is inserted into a line is recorded and subtracted again.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::Variable;
use super::items::{SessionItem, Source};
use super::parse::Parsed;

/// The function that a module exports.
pub(super) const SYMBOL: &str = "parcell_cell";

/// Ends the cell's last statement, whatever it is.
const CLOSING: &str = "\n;\n";

/// What a module is made of.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    pub(super) source: &'a Arc<Source>,
    pub(super) parsed: &'a Parsed,
    pub(super) items: Vec<&'a SessionItem>,
    /// Variables that the cell takes over from earlier cells.
    pub(super) loads: Vec<&'a Variable>,
    /// Of these, the ones that rustc says the cell has moved away.
    pub(super) moved: Vec<String>,
    /// Variables that the cell leaves to later cells.
    pub(super) keeps: Vec<String>,
    pub(super) show_value: bool,
    /// Statics that live in a loaded module, with the symbol that exports them.
    pub(super) living: &'a HashMap<String, String>,
    /// What the symbols of statics that this module defines end in.
    pub(super) version: String,
    /// Crates that every module links.
    pub(super) linked: &'a [String],
}

/// What a generated line is for, where a complaint about it can be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Takes a variable out of the store.
    Load(String),
    /// Puts back a variable that was loaded.
    Return(String),
    /// Puts a new variable into the store.
    Keep(String),
}

/// A user's source in a written file, with what was inserted: offset in the source and length.
pub(super) type Text = (Arc<Source>, Vec<(usize, usize)>);

/// What was written, and how to read complaints about it.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// Purposes of generated lines, by file and line.
    pub(super) purposes: BTreeMap<(String, usize), Purpose>,
    /// The user's sources by file.
    pub(super) files: BTreeMap<String, Text>,
}

impl Written {
    /// Translates a byte offset in a written file to one in the cell's source.
    pub(super) fn original(&self, file: &str, offset: usize) -> Option<(&Arc<Source>, usize)> {
        let (source, insertions) = self.files.get(file)?;
        let mut shift = 0;
        for (at, length) in insertions {
            if offset < at + shift {
                break;
            }
            shift += (*length).min(offset - (at + shift));
        }
        // Where the text ends unfinished, rustc points at the line that follows it.
        let original = offset - shift;
        let follows = original <= source.text.len() + CLOSING.len();
        follows.then_some((source, original.min(source.text.len())))
    }

    /// Translates line and column (both from 1, in characters) of a panic's place.
    pub(super) fn column(&self, file: &str, line: u32, column: u32) -> u32 {
        let Some((source, insertions)) = self.files.get(file) else { return column };
        let Some(start) = line_start(&source.text, line) else { return column };
        let end = source.text[start..].find('\n').map_or(source.text.len(), |l| start + l);
        let mut shift = 0;
        for (at, length) in insertions.iter().filter(|(at, _)| (start..=end).contains(at)) {
            let shown = source.text[start..*at].chars().count() + shift;
            if (column as usize) > shown {
                shift += length;
            }
        }
        column.saturating_sub(u32::try_from(shift).unwrap_or(0)).max(1)
    }
}

fn line_start(text: &str, line: u32) -> Option<usize> {
    let mut starts = std::iter::once(0).chain(text.match_indices('\n').map(|(i, _)| i + 1));
    starts.nth(line.checked_sub(1)? as usize)
}

impl Plan<'_> {
    /// The statics that this module defines and exports, with their symbols.
    pub(super) fn new_statics(&self) -> HashMap<String, String> {
        let of = |i: &&&SessionItem| self.living_symbol(i).is_none();
        let new = self.items.iter().filter(of).filter_map(|i| i.item.static_name());
        new.map(|name| (name.to_owned(), self.symbol(name))).collect()
    }

    fn symbol(&self, name: &str) -> String {
        format!("parcell_static_{name}_{}", self.version)
    }

    /// The symbol of a static of an earlier cell that lives already.
    fn living_symbol(&self, item: &SessionItem) -> Option<&String> {
        let earlier = !Arc::ptr_eq(&item.source, self.source);
        self.living.get(item.item.static_name()?).filter(|_| earlier)
    }
}

/// Writes the module into `folder`; with `ask_types`, one that makes rustc name the new variables'
/// types instead of one that keeps them.
pub(super) fn write(folder: &Path, plan: &Plan<'_>, ask_types: bool) -> io::Result<Written> {
    let mut written = Written::default();
    // Not with its parents: a session that has ended must not get its folder back.
    for directory in [folder.to_owned(), folder.join("items"), folder.join("body")] {
        std::fs::create_dir(&directory)
            .or_else(|e| if directory.is_dir() { Ok(()) } else { Err(e) })?;
    }
    let includes = write_items(folder, plan, &mut written)?;
    let body = write_body(folder, plan, ask_types, &mut written)?;
    write_root(folder, plan, &includes, &body, &mut written)?;
    Ok(written)
}

/// One file per cell that contributes items, everything else in it blanked out.
fn write_items(folder: &Path, plan: &Plan<'_>, written: &mut Written) -> io::Result<Vec<String>> {
    let mut by_cell: BTreeMap<&str, Vec<&SessionItem>> = BTreeMap::new();
    for item in &plan.items {
        let own = Arc::ptr_eq(&item.source, plan.source);
        if own || (item.item.kind != "use" && plan.living_symbol(item).is_none()) {
            by_cell.entry(&item.source.name).or_default().push(item);
        }
    }
    let mut includes = Vec::new();
    for (name, items) in by_cell {
        let file = format!("items/{name}");
        let source = &items[0].source;
        let ranges: Vec<Range<usize>> = items.iter().map(|i| i.item.range.clone()).collect();
        let exports = items.iter().filter_map(|i| {
            let symbol = plan.symbol(i.item.static_name()?);
            Some((i.item.range.start, format!("#[unsafe(export_name = {symbol:?})] ")))
        });
        let mut insertions: Vec<(usize, String)> = exports.collect();
        insertions.sort();
        std::fs::write(folder.join(&file), insert(&keep_only(&source.text, &ranges), &insertions))?;
        let lengths = insertions.iter().map(|(at, text)| (*at, text.len())).collect();
        written.files.insert(file.clone(), (Arc::clone(source), lengths));
        includes.push(file);
    }
    // Macros are seen by what follows them: cells in the order in which they ran.
    let place = |file: &String| {
        plan.items.iter().position(|i| file.strip_prefix("items/") == Some(&*i.source.name))
    };
    includes.sort_by_key(place);
    Ok(includes)
}

/// The text with more inserted, at ascending offsets.
fn insert(text: &str, insertions: &[(usize, String)]) -> String {
    let mut result = String::new();
    let mut done = 0;
    for (at, inserted) in insertions {
        result += &text[done..*at];
        result += inserted;
        done = *at;
    }
    result + &text[done..]
}

/// The text with everything outside the ranges turned to spaces, line breaks kept.
fn keep_only(text: &str, ranges: &[Range<usize>]) -> String {
    let kept = |at: usize| ranges.iter().any(|r| r.contains(&at));
    blank_where(text, |at| !kept(at))
}

fn blank_where(text: &str, blank: impl Fn(usize) -> bool) -> String {
    let mut result = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        if c == '\n' || !blank(at) {
            result.push(c);
        } else {
            result.extend(std::iter::repeat_n(' ', c.len_utf8()));
        }
    }
    result
}

/// The cell's statements as a closure, with the value of the last expression shown.
fn write_body(
    folder: &Path,
    plan: &Plan<'_>,
    ask_types: bool,
    written: &mut Written,
) -> io::Result<String> {
    let text = &plan.source.text;
    let is_item = |at: usize| plan.parsed.items.iter().any(|i| i.range.contains(&at));
    let statements = blank_where(text, is_item);
    let (waits, close) = if plan.parsed.awaits {
        ("::parcell::rt::block_on(async{", "Ok(())})}")
    } else {
        ("", "Ok(())}")
    };
    let uses_tokio = plan.parsed.mentions.contains_key("tokio")
        || plan.items.iter().any(|i| i.item.mentions.iter().any(|m| m == "tokio"));
    let enter = if uses_tokio { "let __runtime = ::parcell::rt::RUNTIME.enter();" } else { "" };
    let open = format!("||->::std::result::Result<(),::parcell::rt::Failure>{{{enter}{waits}");
    let mut insertions = vec![(0, open)];
    if let Some(tail) = plan.parsed.tail.as_ref().filter(|_| plan.show_value) {
        insertions.push((tail.start, "match (".to_owned()));
        insertions
            .push((tail.end, ") { ref value => ::parcell::__show_result!(value) }".to_owned()));
    } else if let Some(tail) = &plan.parsed.tail {
        insertions.push((tail.start, "let _ = (".to_owned()));
        insertions.push((tail.end, ");".to_owned()));
    }
    let mut body = insert(&statements, &insertions);
    body += CLOSING;
    let file = format!("body/{}", plan.source.name);
    // Last bound first: what borrows is then kept before what it borrows from moves away.
    for name in plan.keeps.iter().rev() {
        let line = body.matches('\n').count() + 1;
        written.purposes.insert((file.clone(), line), Purpose::Keep(name.clone()));
        if ask_types {
            writeln!(body, "let _: ::parcell::rt::TypeWanted = ({name},);")
        } else {
            writeln!(body, "::parcell::rt::put({name:?}, {name});")
        }
        .expect("writing to a string");
    }
    body += close;
    std::fs::write(folder.join(&file), body)?;
    let lengths = insertions.iter().map(|(at, text)| (*at, text.len())).collect();
    written.files.insert(file.clone(), (Arc::clone(plan.source), lengths));
    Ok(file)
}

/// The crate's root: the prelude, earlier `use` items, the items, and the exported function.
fn write_root(
    folder: &Path,
    plan: &Plan<'_>,
    includes: &[String],
    body: &str,
    written: &mut Written,
) -> io::Result<()> {
    let mut lines = vec!["#![allow(warnings)]".to_owned()];
    lines.extend(plan.linked.iter().map(|name| format!("extern crate {name};")));
    lines.push("use ::parcell::prelude::*;".to_owned());
    let earlier = |i: &&&SessionItem| i.item.kind == "use" && !Arc::ptr_eq(&i.source, plan.source);
    lines.extend(plan.items.iter().filter(earlier).map(|i| i.item.text.clone()));
    lines.extend(plan.items.iter().filter_map(|i| {
        let symbol = plan.living_symbol(i)?;
        Some(i.item.foreign(symbol))
    }));
    lines.extend(includes.iter().map(|file| format!("include!({file:?});")));
    lines.push(format!(
        "#[unsafe(no_mangle)] pub extern \"C\" fn {SYMBOL}() {{ ::parcell::rt::enter(|| {{"
    ));
    for Variable { name, type_name, mutable } in &plan.loads {
        let mutability = if *mutable { "mut " } else { "" };
        lines.push(format!(
            "let {mutability}{name}: {type_name} = unsafe {{ ::parcell::rt::take({name:?}) }};"
        ));
        written.purposes.insert(("lib.rs".to_owned(), lines.len()), Purpose::Load(name.clone()));
    }
    lines.push(format!("let __finished = ::parcell::rt::run(include!({body:?}));"));
    for Variable { name, .. } in plan.loads.iter().filter(|v| !plan.moved.contains(&v.name)) {
        let rebound = plan.keeps.contains(name);
        let condition = if rebound { "if !__finished " } else { "" };
        lines.push(format!("{condition}{{ ::parcell::rt::put({name:?}, {name}); }}"));
        written.purposes.insert(("lib.rs".to_owned(), lines.len()), Purpose::Return(name.clone()));
    }
    lines.push("}) }\n".to_owned());
    std::fs::write(folder.join("lib.rs"), lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_and_columns_lose_what_was_inserted() {
        let source = Arc::new(Source { name: "In[1]".into(), text: "ab\ncd".into() });
        let mut written = Written::default();
        // The file reads `XXXab\ncYYd`.
        written.files.insert("f".into(), (source, vec![(0, 3), (4, 2)]));
        let at = |offset| written.original("f", offset).unwrap().1;
        assert_eq!([at(0), at(2), at(3), at(4), at(6), at(7), at(9)], [0, 0, 0, 1, 3, 4, 4]);
        assert_eq!(written.column("f", 1, 4), 1);
        assert_eq!(written.column("f", 2, 4), 2);
        assert_eq!(written.column("elsewhere", 2, 4), 4);
    }

    #[test]
    fn blanks_keep_lines_and_bytes() {
        assert_eq!(
            keep_only("é = 1;\nfn f() {}", std::slice::from_ref(&(8..17))),
            "       \nfn f() {}"
        );
    }
}
