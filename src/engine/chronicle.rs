//! A notebook's cells as one program needs them: items apart from statements, and of items that a
//! notebook defines again every definition that some statement reached, with the time in which it
//! held. Nothing is compiled here.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::parse::Parser;
use syn::punctuated::Punctuated;
use syn::{Block, Expr, Lit, Pat, Stmt, Token};

use super::items::{Items, SessionItem, Source};
use super::parse::{Key, Parsed, parse, range};

/// What the cells of a notebook define and do. Sections are stretches of Rust, counted from 0 in the
/// order in which they run.
#[derive(Debug, Default)]
pub struct Chronicle {
    /// The statements of each section.
    pub sections: Vec<Section>,
    /// All definitions, in the order of their sections.
    pub definitions: Vec<Definition>,
}

/// The statements of a section, without its items.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Section {
    /// The text, comments included; empty if the section has items only.
    pub text: String,
    /// Where in the text the expression stands whose value is shown.
    pub tail: Option<Range<usize>>,
    /// Variables that the section leaves behind, and whether they are mutable.
    pub binds: Vec<(String, bool)>,
    /// Names that it mentions where a variable may stand, those that it only binds left out.
    pub mentions: HashSet<String>,
    /// Whether the statements await something.
    pub awaits: bool,
    /// Variables of which the section says no more than that they are numbers without a suffix:
    /// name, end of the name in the text, and the type that Rust gives such numbers.
    pub numbers: Vec<(String, usize, String)>,
}

/// A definition while it held. An item has several of them if something that it uses was defined
/// anew, since a notebook's items always use what holds at the time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// The text, with the comments that stand above it.
    pub text: String,
    /// The name, for one that has a name.
    pub name: Option<String>,
    /// Whether it is a `macro_rules!`, which holds only below its text.
    pub is_macro: bool,
    /// The section that has it.
    pub section: usize,
    /// The section in which it, or something that it uses, was defined anew.
    pub until: Option<usize>,
    /// The sections whose statements use it, directly or not.
    pub used: BTreeSet<usize>,
    /// Every identifier in it.
    pub mentions: BTreeSet<String>,
}

impl Chronicle {
    /// Takes sections apart. `names` are `use` items that hold before the first section, such as
    /// those of a prelude, and count only once a section defines the same names.
    ///
    /// # Errors
    /// The number of the first section that is no Rust.
    pub fn of(sections: &[String], names: &str) -> Result<Chronicle, usize> {
        let mut writer = Writer::begin(names);
        for (number, text) in sections.iter().enumerate() {
            let parsed = parse(text, &writer.now().shapes()).ok_or(number)?;
            writer.add(number, text, &parsed);
        }
        Ok(writer.finish())
    }
}

/// A stretch of time in which an item, and all that it uses, stayed the same.
#[derive(Debug)]
struct Life {
    /// The item, as the present state holds it.
    item: *const SessionItem,
    /// The item where it was defined first in these words, which is in this section.
    origin: *const SessionItem,
    section: Option<usize>,
    from: usize,
    until: Option<usize>,
    used: BTreeSet<usize>,
}

impl Life {
    fn begin(
        item: *const SessionItem,
        origin: *const SessionItem,
        section: Option<usize>,
        from: usize,
    ) -> Life {
        Life { item, origin, section, from, until: None, used: BTreeSet::new() }
    }
}

#[derive(Debug)]
struct Writer {
    /// The items after each section, behind those before the first. All are kept, so that no two
    /// items ever have the same address.
    states: Vec<Items>,
    lives: Vec<Life>,
    texts: Vec<String>,
    sections: Vec<Section>,
    /// Stands for a section that no item comes from.
    nowhere: Arc<Source>,
}

impl Writer {
    fn begin(names: &str) -> Writer {
        let nowhere = Arc::new(Source { name: String::new(), text: String::new() });
        let before = Arc::new(Source { name: "prelude".to_owned(), text: names.to_owned() });
        let parsed = parse(names, &HashMap::new()).unwrap_or_default();
        let states = vec![Items::default().with(&parsed.items, &before)];
        let mut writer =
            Writer { states, lives: Vec::new(), texts: Vec::new(), sections: Vec::new(), nowhere };
        let begun = |item| Life::begin(item, item, None, 0);
        writer.lives = addresses(writer.now()).into_iter().map(begun).collect();
        writer
    }

    fn now(&self) -> &Items {
        self.states.last().expect("there is the state before the first section")
    }

    fn add(&mut self, number: usize, text: &str, parsed: &Parsed) {
        let source = Arc::new(Source { name: number.to_string(), text: text.to_owned() });
        let next = self.now().with(&parsed.items, &source);
        self.turn(number, &next);
        self.states.push(next);
        self.texts.push(text.to_owned());
        let section = section(text, parsed);
        let mentions = section.mentions.iter().map(String::as_str);
        let does = !section.text.is_empty();
        let reached = does.then(|| self.reached(mentions, Some(number), self.now()));
        for item in reached.into_iter().flatten() {
            if let Some(life) = self.lives.iter_mut().rfind(|life| life.item == item) {
                life.used.insert(number);
            }
        }
        self.sections.push(section);
    }

    /// Ends what does not outlive the step to the next state, and begins what is new in it.
    fn turn(&mut self, number: usize, next: &Items) {
        let (before, after) = (addresses(self.now()), addresses(next));
        // What is defined again in the same words goes on.
        let same = |old: &SessionItem| {
            next.iter().find(|new| new.item.key == old.item.key && new.item.text == old.item.text)
        };
        let mut renewed = HashMap::new();
        let mut gone = HashSet::new();
        for old in self.now().iter().filter(|old| !after.contains(&std::ptr::from_ref(*old))) {
            match same(old) {
                Some(new) => drop(renewed.insert(std::ptr::from_ref(old), std::ptr::from_ref(new))),
                None => drop(gone.insert(std::ptr::from_ref(old))),
            }
        }
        let ends = |item: &SessionItem| {
            let mentions = item.item.mentions.iter().map(String::as_str);
            let uses = || self.reached(mentions, section_of(item), self.now());
            gone.contains(&std::ptr::from_ref(item))
                || !gone.is_empty()
                    && item.item.kind != "use"
                    && uses().iter().any(|used| gone.contains(used))
        };
        let ending: HashSet<_> =
            self.now().iter().filter(|item| ends(item)).map(std::ptr::from_ref).collect();
        let mut begun = Vec::new();
        for life in self.lives.iter_mut().filter(|life| life.until.is_none()) {
            let now = renewed.get(&life.item).copied().unwrap_or(life.item);
            if !ending.contains(&life.item) {
                life.item = now;
                continue;
            }
            life.until = Some(number);
            if after.contains(&now) {
                begun.push(Life::begin(now, life.origin, life.section, number));
            }
        }
        let renewed: HashSet<_> = renewed.into_values().collect();
        let new =
            after.into_iter().filter(|item| !before.contains(item) && !renewed.contains(item));
        begun.extend(new.map(|item| Life::begin(item, item, Some(number), number)));
        self.lives.extend(begun);
    }

    /// What names reach in a state that stand in a section. Of `use` items those that are named, and
    /// those that may name a trait, whose methods are called without naming it, unless what calls
    /// them is older.
    fn reached<'a>(
        &self,
        names: impl Iterator<Item = &'a str> + Clone,
        section: Option<usize>,
        state: &'a Items,
    ) -> Vec<*const SessionItem> {
        let all = state.reached(names.clone(), &self.nowhere);
        let mut named: HashSet<&str> = names.collect();
        let mut youngest = section;
        for item in all.iter().filter(|item| item.item.kind != "use") {
            named.extend(item.item.mentions.iter().map(String::as_str));
            youngest = youngest.max(section_of(item));
        }
        let counts = |item: &SessionItem| match &item.item.key {
            Key::Use(name) => {
                let section = section_of(item);
                let may_be_trait = section.is_some() && name.starts_with(char::is_uppercase);
                named.contains(name.as_str()) || may_be_trait && section <= youngest
            }
            _ => true,
        };
        all.into_iter().filter(|item| counts(item)).map(std::ptr::from_ref).collect()
    }

    fn finish(self) -> Chronicle {
        let mut items: HashMap<*const SessionItem, &SessionItem> = HashMap::new();
        for state in &self.states {
            items.extend(state.iter().map(|item| (std::ptr::from_ref(item), item)));
        }
        let mut definitions: Vec<Definition> = Vec::new();
        let mut written = HashSet::new();
        for life in &self.lives {
            let item = items[&life.origin];
            let Some(own) = life.section else {
                if life.until.is_some() {
                    definitions.extend(self.definition(
                        life,
                        item,
                        0,
                        item.item.text.trim().to_owned(),
                    ));
                }
                continue;
            };
            // A `use` of several names is several items; as long as all of them live it is one text.
            let whole = item.item.kind != "use" || self.is_whole(life, &items);
            if item.item.kind == "use" && whole && !written.insert((own, item.item.range.start)) {
                continue;
            }
            let text = if whole {
                text_of(item, &self.texts[own])
            } else {
                item.item.text.trim().to_owned()
            };
            definitions.extend(self.definition(life, item, own, text));
        }
        definitions.sort_by_key(|definition| definition.section);
        Chronicle { sections: self.sections, definitions }
    }

    /// Whether all names of the `use` of this life hold to the end.
    fn is_whole(&self, life: &Life, items: &HashMap<*const SessionItem, &SessionItem>) -> bool {
        let item = items[&life.origin];
        let beside = self.lives.iter().filter(|other| {
            let other_item = items[&other.origin];
            Arc::ptr_eq(&other_item.source, &item.source)
                && other_item.item.range == item.item.range
        });
        let mut all = beside.filter(|other| other.section == life.section);
        life.until.is_none() && all.all(|other| other.until.is_none())
    }

    /// A definition, unless no statement needs it.
    fn definition(
        &self,
        life: &Life,
        item: &SessionItem,
        section: usize,
        text: String,
    ) -> Option<Definition> {
        // An item that only waited for statements when it was defined stays, as does a `use`.
        let stays =
            life.until.is_none() && (life.section == Some(life.from) || item.item.kind == "use");
        if !stays && life.used.is_empty() {
            return None;
        }
        let name = match &item.item.key {
            Key::Named(_, name) | Key::Use(name) => Some(name.clone()),
            Key::Impl(..) | Key::Text(_) => None,
        };
        let mentions = item.item.mentions.iter().cloned().collect();
        let (until, used) = (life.until, life.used.clone());
        let is_macro = item.item.kind == "macro";
        Some(Definition { text, name, is_macro, section, until, used, mentions })
    }
}

/// The section that has an item; none for those from before the first.
fn section_of(item: &SessionItem) -> Option<usize> {
    item.source.name.parse().ok()
}

fn addresses(items: &Items) -> Vec<*const SessionItem> {
    items.iter().map(std::ptr::from_ref).collect()
}

/// The text of an item with its comments, without the members that a later `impl` has replaced.
fn text_of(item: &SessionItem, source: &str) -> String {
    let around = with_comments(source, &item.item.range);
    let mut text = String::new();
    let mut done = around.start;
    for gone in &item.replaced {
        let gone = with_comments(source, gone);
        text.push_str(source[done..gone.start].trim_end());
        text.push('\n');
        done = gone.end;
    }
    text.push_str(&source[done..around.end]);
    text.trim_matches('\n').to_owned()
}

/// A range with the comments right above it and behind it on its last line.
fn with_comments(source: &str, range: &Range<usize>) -> Range<usize> {
    let mut start = source[..range.start].rfind('\n').map_or(0, |at| at + 1);
    if !source[start..range.start].trim().is_empty() {
        start = range.start;
    } else {
        while let Some(above) = start.checked_sub(1) {
            let line = source[..above].rfind('\n').map_or(0, |at| at + 1);
            if !source[line..above].trim_start().starts_with("//") {
                break;
            }
            start = line;
        }
    }
    let rest = &source[range.end..];
    let line = &rest[..rest.find('\n').unwrap_or(rest.len())];
    let comment = line.trim_start_matches([' ', ';']).starts_with("//");
    let ends = line.trim_matches([' ', ';', '\r']).is_empty() || comment;
    start..range.end + if ends { line.len() } else { 0 }
}

/// The statements of a section.
fn section(code: &str, parsed: &Parsed) -> Section {
    let mut cuts: Vec<Range<usize>> = Vec::new();
    let items = parsed.items.iter().map(|item| &item.range).chain(&parsed.attributes);
    for range in items {
        let cut = with_comments(code, range);
        if cuts.last() != Some(&cut) {
            cuts.push(cut);
        }
    }
    cuts.sort_by_key(|cut| cut.start);
    let mut text = without(code, &cuts);
    let removed: usize = code.len() - text.len();
    if text.trim().is_empty() {
        return Section::default();
    }
    // Nothing stands behind the last expression but comments, so the cuts are all above it.
    let mut tail = parsed.tail.as_ref().map(|tail| tail.start - removed..tail.end - removed);
    let above = text.len() - text.trim_start_matches('\n').len();
    text.drain(..above);
    tail = tail.map(|tail| tail.start - above..tail.end - above);
    text.truncate(text.trim_end().len());
    let statements = Block::parse_within.parse_str(&text).unwrap_or_default();
    let mut counts = HashMap::new();
    for statement in &statements {
        count_variables(statement.to_token_stream(), &mut counts);
    }
    let numbers = statements.iter().filter_map(|s| number(s, &counts)).collect();
    if let Some(Stmt::Expr(last, None)) = statements.last()
        && tail.is_none()
        && !text[range(last)].ends_with('}')
    {
        text.insert(range(last).end, ';');
    }
    for binding in &parsed.bindings {
        if let Some(count) = counts.get_mut(&binding.name) {
            *count = count.saturating_sub(binding.times);
        }
    }
    let mentions = counts.into_iter().filter(|(_, n)| *n > 0).map(|(name, _)| name).collect();
    let bound = parsed.bindings.iter().filter(|b| !b.tentative);
    let binds = bound.map(|b| (b.name.clone(), b.mutable)).collect();
    Section { text, tail, binds, mentions, awaits: parsed.awaits, numbers }
}

/// A text without these ranges, and without the empty lines that they would leave.
fn without(code: &str, cuts: &[Range<usize>]) -> String {
    let (mut text, mut done) = (String::new(), 0);
    for cut in cuts {
        text.push_str(&code[done..cut.start.max(done)]);
        done = done.max(cut.end);
        let gap = text.is_empty() || text.ends_with("\n\n");
        while gap && code[done..].starts_with('\n') {
            done += 1;
        }
    }
    text.push_str(&code[done..]);
    text
}

/// Counts names where a variable may stand: not behind `.` or `::`, but in strings' `{name}`.
fn count_variables(tokens: TokenStream, counts: &mut HashMap<String, usize>) {
    let (mut dots, mut colons) = (0, 0);
    for token in tokens {
        match &token {
            TokenTree::Group(group) => count_variables(group.stream(), counts),
            TokenTree::Ident(name) if dots != 1 && colons != 2 => {
                *counts.entry(name.to_string()).or_default() += 1;
            }
            TokenTree::Literal(_) => super::parse::count_mentions(token.clone().into(), counts),
            TokenTree::Ident(_) | TokenTree::Punct(_) => {}
        }
        let is = |c: char| matches!(&token, TokenTree::Punct(p) if p.as_char() == c);
        dots = if is('.') { dots + 1 } else { 0 };
        colons = if is(':') { colons + 1 } else { 0 };
    }
}

/// A `let` of numbers without a suffix whose name the section mentions nowhere else.
fn number(statement: &Stmt, counts: &HashMap<String, usize>) -> Option<(String, usize, String)> {
    let Stmt::Local(local) = statement else { return None };
    let (Pat::Ident(pattern), Some(init)) = (&local.pat, &local.init) else { return None };
    let name = pattern.ident.to_string();
    let alone = counts.get(&name) == Some(&1);
    let type_name = alone.then(|| default_type(&init.expr)).flatten()?;
    Some((name, pattern.ident.span().byte_range().end, type_name))
}

/// The type of what is written with numbers without a suffix alone, if nothing else is said of it.
fn default_type(expression: &Expr) -> Option<String> {
    match expression {
        Expr::Unary(syn::ExprUnary { op: syn::UnOp::Neg(_), expr, .. }) => default_type(expr),
        Expr::Lit(literal) => match &literal.lit {
            Lit::Int(number) if number.suffix().is_empty() => Some("i32".to_owned()),
            Lit::Float(number) if number.suffix().is_empty() => Some("f64".to_owned()),
            _ => None,
        },
        Expr::Array(array) => {
            let element = common_type(array.elems.iter())?;
            Some(format!("[{element}; {}]", array.elems.len()))
        }
        Expr::Tuple(tuple) => {
            let parts: Option<Vec<String>> = tuple.elems.iter().map(default_type).collect();
            Some(format!("({})", parts?.join(", "))).filter(|_| tuple.elems.len() > 1)
        }
        Expr::Macro(call) if call.mac.path.is_ident("vec") => {
            let list = Punctuated::<Expr, Token![,]>::parse_terminated;
            let element = match list.parse2(call.mac.tokens.clone()) {
                Ok(elements) => common_type(elements.iter())?,
                Err(_) => {
                    let tokens = &call.mac.tokens;
                    let repeat: syn::ExprRepeat = syn::parse2(quote::quote!([#tokens])).ok()?;
                    default_type(&repeat.expr)?
                }
            };
            Some(format!("Vec<{element}>"))
        }
        _ => None,
    }
}

/// The type of all of these, if they have the same.
fn common_type<'a>(mut expressions: impl Iterator<Item = &'a Expr>) -> Option<String> {
    let first = default_type(expressions.next()?)?;
    expressions.all(|other| default_type(other).as_ref() == Some(&first)).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chronicle(sections: &[&str]) -> Chronicle {
        let sections: Vec<String> = sections.iter().map(|s| (*s).to_owned()).collect();
        Chronicle::of(&sections, "use prelude::spawn;").unwrap()
    }

    /// First line, section, end and users of each definition.
    fn told<'a>(chronicle: &'a Chronicle) -> Vec<(&'a str, usize, Option<usize>, Vec<usize>)> {
        let told = |d: &'a Definition| {
            let line = d.text.lines().next().unwrap();
            (line, d.section, d.until, d.used.iter().copied().collect())
        };
        chronicle.definitions.iter().map(told).collect()
    }

    #[test]
    fn items_and_statements_part_with_their_comments() {
        let code = "// of g\nfn g() {}\n// first\nlet a = 5;\n\n/// Doubles.\n// really\nfn f(x: i32) -> i32 { 2 * x } // so\n\nf(a) // shown";
        let made = chronicle(&[code]);
        assert_eq!(made.definitions[0].text, "// of g\nfn g() {}");
        assert_eq!(
            made.definitions[1].text,
            "/// Doubles.\n// really\nfn f(x: i32) -> i32 { 2 * x } // so"
        );
        let section = &made.sections[0];
        assert_eq!(section.text, "// first\nlet a = 5;\n\nf(a) // shown");
        assert_eq!(section.tail.clone().map(|t| &section.text[t]), Some("f(a)"));
        assert_eq!(section.binds, [("a".to_owned(), false)]);
        assert!(section.numbers.is_empty(), "the call says what `a` is");
    }

    #[test]
    fn a_number_that_nothing_else_is_said_of_is_told() {
        let code = "let mut n = -5;\nlet x = 1.5;\nlet y = 2_u8;\nlet v = vec![0.0; 3];\nlet a = [(1, 2.)];";
        let section = &chronicle(&[code, "n.abs()"]).sections[0];
        assert_eq!(&section.text[..section.numbers[1].1], "let mut n = -5;\nlet x");
        let types: Vec<_> = section.numbers.iter().map(|(n, _, t)| (&**n, &**t)).collect();
        let right = [("n", "i32"), ("x", "f64"), ("v", "Vec<f64>"), ("a", "[(i32, f64); 1]")];
        assert_eq!(types, right);
    }

    #[test]
    fn a_statement_is_closed() {
        assert_eq!(
            chronicle(&["let mut a = 1; a = 2 // so"]).sections[0].text,
            "let mut a = 1; a = 2; // so"
        );
    }

    #[test]
    fn the_last_definition_holds_and_earlier_ones_where_they_were_used() {
        let made =
            chronicle(&["fn a() {}", "fn b() { a() }\nb();", "c();", "fn a() { 1; }", "b();"]);
        assert_eq!(
            told(&made),
            [
                ("fn a() {}", 0, Some(3), vec![1]),
                ("fn b() { a() }", 1, Some(3), vec![1]),
                ("fn b() { a() }", 1, None, vec![4]),
                ("fn a() { 1; }", 3, None, vec![4]),
            ]
        );
    }

    #[test]
    fn what_nothing_calls_before_its_end_is_left_out() {
        let made = chronicle(&["fn a() {}", "fn a() { 1; }", "a();", "fn a() { 1; }"]);
        assert_eq!(told(&made), [("fn a() { 1; }", 1, None, vec![2])]);
        let stale = chronicle(&["struct P;", "fn f() -> P { P }\nf();", "struct P { x: i32 }"]);
        assert_eq!(told(&stale).iter().filter(|d| d.2.is_none()).count(), 1);
    }

    #[test]
    fn a_use_is_one_text_while_all_its_names_hold() {
        let made = chronicle(&["use a::{b, c};", "b();"]);
        assert_eq!(told(&made), [("use a::{b, c};", 0, None, vec![1])]);
        let made = chronicle(&["use a::{b, c};\nb();", "use d::b;", "b();"]);
        assert_eq!(
            told(&made),
            [
                ("use a::b;", 0, Some(1), vec![0]),
                ("use a::c;", 0, None, vec![]),
                ("use d::b;", 1, None, vec![2]),
            ]
        );
    }

    #[test]
    fn a_name_of_the_prelude_holds_until_a_section_takes_it() {
        let made = chronicle(&["spawn();", "use std::thread::spawn;", "spawn();"]);
        assert_eq!(
            told(&made),
            [
                ("use prelude::spawn;", 0, Some(1), vec![0]),
                ("use std::thread::spawn;", 1, None, vec![2]),
            ]
        );
        assert_eq!(told(&chronicle(&["spawn();"])), []);
    }

    #[test]
    fn a_use_that_comes_later_changes_nothing_for_what_is_older() {
        let cells = ["fn f() {}\nf();", "use a::Write;\nfn g() {}\ng();", "use b::Write;", "f();"];
        assert_eq!(
            told(&chronicle(&cells)),
            [
                ("fn f() {}", 0, None, vec![0, 3]),
                ("use a::Write;", 1, Some(2), vec![1]),
                ("fn g() {}", 1, Some(2), vec![1]),
                ("use b::Write;", 2, None, vec![3]),
            ]
        );
    }

    #[test]
    fn only_rust_is_taken_apart() {
        assert_eq!(Chronicle::of(&["let a = 1;".to_owned(), "let".to_owned()], "").err(), Some(1));
    }
}
