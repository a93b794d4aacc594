//! Writes the source of a module. The user's text stands in files of its own, named after its cell
//! and with every line where the cell has it, so that messages, panics and `line!()` speak of the
//! cell's lines; what is inserted into a line is recorded and subtracted again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::Variable;
use super::edit::{Edit, apply, keep_only};
use super::items::{SessionItem, Source};
use super::parse::Parsed;
use super::statics::Static;

/// The function that a module exports.
pub(super) const SYMBOL: &str = "parcell_cell";

/// Ends the cell's last statement, whatever it is.
const CLOSING: &str = "\n;\n";

/// The file that holds what is generated around the user's text.
pub(super) const ROOT: &str = "cell.rs";

/// Where a static stands: the cell and the offset in its source.
pub(super) type Spot = (String, usize);

/// A static that a loaded module exports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Living {
    pub(super) name: String,
    pub(super) type_name: String,
    pub(super) symbol: String,
    /// The number of the module.
    pub(super) module: usize,
}

/// What a module is made of.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    pub(super) source: &'a Arc<Source>,
    pub(super) parsed: &'a Parsed,
    pub(super) items: Vec<&'a SessionItem>,
    /// Variables that the cell takes over from earlier cells.
    pub(super) loads: Vec<&'a Variable>,
    /// Of these, the ones that rustc says the cell has moved away.
    pub(super) moved: &'a [String],
    /// And the ones that it then gives a new value: they are put back by the statements.
    pub(super) renewed: &'a [String],
    /// New variables that are kept as pointers of another type.
    pub(super) pointers: &'a HashMap<String, String>,
    /// Whether all in modules is to be public.
    pub(super) open: bool,
    /// Variables that the cell leaves to later cells.
    pub(super) keeps: &'a [String],
    pub(super) show_value: bool,
    /// Statics that live in loaded modules.
    pub(super) living: &'a HashMap<Spot, Living>,
    /// This module's number.
    pub(super) module: usize,
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
}

/// Translates a panic's column (line and column from 1, in characters) to the cell's.
pub(super) fn column((source, insertions): &Text, line: u32, column: u32) -> u32 {
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

fn line_start(text: &str, line: u32) -> Option<usize> {
    let mut starts = std::iter::once(0).chain(text.match_indices('\n').map(|(i, _)| i + 1));
    starts.nth(line.checked_sub(1)? as usize)
}

impl Plan<'_> {
    /// The statics that this module defines and exports.
    pub(super) fn new_statics(&self) -> Vec<(Spot, Living)> {
        let new = statics_of(&self.items).filter(|(item, s)| self.living(item, s).is_none());
        let describe = |(number, (item, s)): (usize, (&SessionItem, &Static))| {
            let living = Living {
                name: s.name.clone(),
                type_name: s.type_name.clone(),
                symbol: format!("parcell_static_m{}_{number}", self.module),
                module: self.module,
            };
            (spot(item, s), living)
        };
        new.enumerate().map(describe).collect()
    }

    /// Numbers of the earlier modules whose statics this one uses.
    pub(super) fn needs(&self) -> BTreeSet<usize> {
        let needed = |(item, s)| Some(self.living(item, s)?.module);
        statics_of(&self.items).filter_map(needed).collect()
    }

    /// Native libraries that its items name.
    pub(super) fn native(&self) -> Vec<&str> {
        self.items.iter().flat_map(|i| &i.item.native).map(String::as_str).collect()
    }

    /// A static of an earlier cell that lives already. What the cell itself defines begins anew.
    fn living(&self, item: &SessionItem, s: &Static) -> Option<&Living> {
        let earlier = !Arc::ptr_eq(&item.source, self.source);
        earlier.then(|| self.living.get(&spot(item, s))).flatten()
    }

    /// Whether an item stands in a file of items: an earlier `use` goes to the root instead.
    fn is_included(&self, item: &SessionItem) -> bool {
        item.item.kind != "use" || Arc::ptr_eq(&item.source, self.source)
    }
}

/// The statics of items, each with its item.
fn statics_of<'a>(
    items: &[&'a SessionItem],
) -> impl Iterator<Item = (&'a SessionItem, &'a Static)> {
    items.iter().flat_map(|item| item.item.statics.iter().map(|s| (*item, s)))
}

fn spot(item: &SessionItem, s: &Static) -> Spot {
    (item.source.name.clone(), s.offset())
}

/// Writes the module's files into `folder`; with `ask_types`, of one that makes rustc name the new
/// variables' types instead of one that keeps them. Returns the contents of [`ROOT`] too, which
/// is not written: the compiler gets it last.
pub(super) fn write(
    folder: &Path,
    plan: &Plan<'_>,
    ask_types: bool,
) -> io::Result<(Written, String)> {
    let mut written = Written::default();
    let includes = write_items(folder, plan, &mut written)?;
    let body = write_body(folder, plan, ask_types, &mut written)?;
    let root = root(plan, &includes, &body, &mut written);
    Ok((written, root))
}

/// Writes a file of the module, in a folder named after what it holds.
fn write_file(folder: &Path, file: &str, text: &str) -> io::Result<()> {
    let path = folder.join(file);
    // Not with its parents: a session that has ended must not get its folder back.
    match path.parent() {
        Some(kind) if !kind.is_dir() => std::fs::create_dir(kind)?,
        _ => {}
    }
    std::fs::write(path, text)
}

/// One file per cell that contributes items, everything else in it blanked out.
fn write_items(folder: &Path, plan: &Plan<'_>, written: &mut Written) -> io::Result<Vec<String>> {
    let new: HashMap<Spot, Living> = plan.new_statics().into_iter().collect();
    let mut files: Vec<(String, Vec<&SessionItem>)> = Vec::new();
    // Macros are seen by what follows them, and a later definition by earlier functions too: all
    // macros come first, then cells in the order in which they ran.
    let (macros, others): (Vec<&SessionItem>, Vec<&SessionItem>) =
        plan.items.iter().filter(|i| plan.is_included(i)).partition(|i| i.item.kind == "macro");
    for (folder, items) in [("macros", macros), ("items", others)] {
        for item in items {
            let file = format!("{folder}/{}", item.source.name);
            match files.iter_mut().find(|(other, _)| *other == file) {
                Some((_, items)) => items.push(item),
                None => files.push((file, vec![item])),
            }
        }
    }
    let mut includes = Vec::new();
    for (file, items) in files {
        let source = &items[0].source;
        let ranges: Vec<_> = items.iter().map(|i| i.item.range.clone()).collect();
        let mut edits = keep_only(source.text.len(), &ranges);
        edits.extend(items.iter().flat_map(|i| i.replaced.iter().cloned().map(Edit::Blank)));
        if plan.open {
            let private = items.iter().flat_map(|i| &i.item.private);
            edits.extend(private.map(|at| Edit::Insert(*at, "pub ".to_owned())));
        }
        for (item, s) in statics_of(&items) {
            match (plan.living(item, s), new.get(&spot(item, s))) {
                (Some(living), _) => edits.extend(s.import(&living.symbol)),
                (None, Some(defined)) => edits.extend(s.export(&defined.symbol)),
                (None, None) => {}
            }
        }
        let (text, insertions) = apply(&source.text, &edits);
        write_file(folder, &file, &text)?;
        written.files.insert(file.clone(), (Arc::clone(source), insertions));
        includes.push(file);
    }
    Ok(includes)
}

/// The cell's statements as a closure, with the value of the last expression shown.
fn write_body(
    folder: &Path,
    plan: &Plan<'_>,
    ask_types: bool,
    written: &mut Written,
) -> io::Result<String> {
    let text = &plan.source.text;
    let items = plan.parsed.items.iter().map(|i| &i.range);
    let elsewhere = items.chain(&plan.parsed.attributes).cloned();
    let mut edits: Vec<Edit> = elsewhere.map(Edit::Blank).collect();
    let (waits, close) = if plan.parsed.awaits {
        ("::parcell::rt::block_on(async{", "::std::result::Result::Ok(())})}")
    } else {
        ("", "::std::result::Result::Ok(())}")
    };
    let uses_tokio = plan.parsed.mentions.contains_key("tokio")
        || plan.items.iter().any(|i| i.item.mentions.iter().any(|m| m == "tokio"));
    let enter = if uses_tokio { "let __runtime = ::parcell::rt::RUNTIME.enter();" } else { "" };
    let open = format!("||->::std::result::Result<(),::parcell::rt::Failure>{{{enter}{waits}");
    edits.push(Edit::Insert(0, open));
    if let Some(tail) = &plan.parsed.tail {
        let (before, after) = if plan.show_value {
            ("match (", ") { ref value => ::parcell::__show_result!(value) }")
        } else {
            ("let _ = (", ");")
        };
        edits.push(Edit::Insert(tail.start, before.to_owned()));
        edits.push(Edit::Insert(tail.end, after.to_owned()));
    }
    let (mut body, insertions) = apply(text, &edits);
    // What does not parse must not become whole by what follows it.
    let dangling = text.lines().next_back().is_some_and(|l| l.trim_start().starts_with("#["));
    body += if plan.parsed.whole || dangling { CLOSING } else { "\n" };
    let file = format!("body/{}", plan.source.name);
    for name in plan.renewed {
        let line = body.matches('\n').count() + 1;
        written.purposes.insert((file.clone(), line), Purpose::Return(name.clone()));
        writeln!(body, "::parcell::rt::put({name:?}, {name});").expect("writing to a string");
    }
    // Last bound first: what borrows is then kept before what it borrows from moves away.
    for name in plan.keeps.iter().rev() {
        let line = body.matches('\n').count() + 1;
        written.purposes.insert((file.clone(), line), Purpose::Keep(name.clone()));
        if ask_types {
            writeln!(body, "let _: ::parcell::rt::TypeWanted = ({name},);")
        } else {
            let of = plan.pointers.get(name).map(|t| format!("::<{t}>")).unwrap_or_default();
            writeln!(body, "::parcell::rt::put{of}({name:?}, {name});")
        }
        .expect("writing to a string");
    }
    body += close;
    write_file(folder, &file, &body)?;
    written.files.insert(file.clone(), (Arc::clone(plan.source), insertions));
    Ok(file)
}

/// The part of the crate's root that differs from cell to cell: earlier `use` items, the items,
/// and the exported function.
fn root(plan: &Plan<'_>, includes: &[String], body: &str, written: &mut Written) -> String {
    let earlier = plan.items.iter().filter(|i| !plan.is_included(i));
    let mut lines: Vec<String> = earlier.map(|i| i.item.text.clone()).collect();
    lines.extend(includes.iter().map(|file| format!("include!({file:?});")));
    lines.push(format!("#[unsafe(no_mangle)] pub extern \"C-unwind\" fn {SYMBOL}() {{"));
    for Variable { name, type_name, mutable, .. } in &plan.loads {
        let mutability = if *mutable { "mut " } else { "" };
        lines.push(format!(
            "let {mutability}{name}: {type_name} = unsafe {{ ::parcell::rt::take({name:?}) }};"
        ));
        written.purposes.insert((ROOT.to_owned(), lines.len()), Purpose::Load(name.clone()));
    }
    // Statements that take nothing over can be called as they are; others may move what they
    // take, and so can be called once only.
    lines.push(if plan.loads.is_empty() {
        format!("let __finished = ::parcell::rt::run(&mut include!({body:?}));")
    } else {
        format!(
            "let __finished = {{ let mut __once = ::std::option::Option::Some(\
             ::parcell::rt::once(include!({body:?}))); \
             ::parcell::rt::run(&mut || match __once.take() {{ \
             ::std::option::Option::Some(__statements) => __statements(), \
             ::std::option::Option::None => ::std::result::Result::Ok(()) }}) }};"
        )
    });
    let gone = |v: &&&Variable| plan.moved.contains(&v.name) || plan.renewed.contains(&v.name);
    for Variable { name, .. } in plan.loads.iter().filter(|v| !gone(v)) {
        let rebound = plan.keeps.contains(name);
        let condition = if rebound { "if !__finished " } else { "" };
        lines.push(format!("{condition}{{ ::parcell::rt::put({name:?}, {name}); }}"));
        written.purposes.insert((ROOT.to_owned(), lines.len()), Purpose::Return(name.clone()));
    }
    lines.push("}\n".to_owned());
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::super::draft::Draft;
    use super::super::state::State;
    use super::*;
    use crate::stage::Cell;

    #[test]
    fn offsets_and_columns_lose_what_was_inserted() {
        let source = Arc::new(Source { name: "In[1]".into(), text: "ab\ncd".into() });
        let mut written = Written::default();
        // The file reads `XXXab\ncYYd`.
        written.files.insert("f".into(), (source, vec![(0, 3), (4, 2)]));
        let at = |offset| written.original("f", offset).unwrap().1;
        assert_eq!([at(0), at(2), at(3), at(4), at(6), at(7), at(9)], [0, 0, 0, 1, 3, 4, 4]);
        let text = &written.files["f"];
        assert_eq!([column(text, 1, 4), column(text, 2, 4), column(text, 3, 4)], [1, 2, 4]);
    }

    /// Runs cells through plans, as a session would; what the last one writes.
    fn last_plan(cells: &[&str], check: impl Fn(&Plan<'_>)) {
        let mut state = State::default();
        for (index, code) in cells.iter().enumerate() {
            let name = format!("In[{}]", index + 1);
            let cell = Cell { code: (*code).to_owned(), ..Cell::default() };
            let source = Arc::new(Source { name, text: cell.code.clone() });
            let mut draft = Draft::new(&cell, source, &state);
            let plan = draft.plan(index + 1);
            if index + 1 == cells.len() {
                return check(&plan);
            }
            draft.new_statics = plan.new_statics();
            state = state.after(&draft, true).0;
        }
    }

    #[test]
    fn a_module_needs_those_that_define_its_statics() {
        let cells = ["static A: u8 = 1;", "fn f() { static B: u8 = 2; }", "f(); A"];
        last_plan(&cells, |plan| {
            assert_eq!(plan.needs(), BTreeSet::from([1, 2]));
            assert!(plan.new_statics().is_empty());
        });
        last_plan(&[cells[0], "1 + 1"], |plan| assert!(plan.needs().is_empty()));
    }

    #[test]
    fn a_static_of_a_redefined_type_begins_anew() {
        let cells = ["struct P(u8);", "static A: P = P(1);", "struct P(u16);", "&A"];
        last_plan(&cells, |plan| {
            assert_eq!(plan.new_statics().len(), 1);
            assert!(plan.needs().is_empty());
        });
    }
}
