//! What calls of macros in a cell stand for. rustc expands them, but what a call defines must be
//! known before: items outlive the cell, a `let` binds a variable. It is read from the macro's
//! definition in the session or, for macros of crates, guessed from the call's first words.

use std::collections::{BTreeSet, HashMap};

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};
use syn::{Item, Macro};

/// Words that begin an item. `const` and `unsafe` begin expressions too, `use` binds nothing.
const ITEMS: [&str; 9] =
    ["fn", "struct", "enum", "union", "trait", "mod", "static", "impl", "type"];

/// What the rules of a macro make.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Shape {
    items: bool,
    binds: bool,
    /// Names that its items have whatever the call says.
    names: BTreeSet<String>,
}

/// The macros of a session, by name.
pub(super) type Shapes = HashMap<String, Shape>;

/// What a call stands for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Items, reached by these names.
    Items(BTreeSet<String>),
    /// Statements that may bind these names.
    Bindings(BTreeSet<String>),
    /// Anything else.
    Other,
}

/// The shape of a `macro_rules!`; `None` for another item.
pub(super) fn shape_of(item: &Item) -> Option<(String, Shape)> {
    let Item::Macro(definition) = item else { return None };
    let name = definition.ident.as_ref()?;
    let mut shape = Shape::default();
    let tokens: Vec<TokenTree> = definition.mac.tokens.clone().into_iter().collect();
    for window in tokens.windows(3) {
        if let [TokenTree::Punct(equals), TokenTree::Punct(greater), TokenTree::Group(rule)] =
            window
            && (equals.as_char(), greater.as_char()) == ('=', '>')
            && equals.spacing() == Spacing::Joint
        {
            shape.read(rule.stream());
        }
    }
    Some((name.to_string(), shape))
}

impl Shape {
    /// Reads what one rule makes: its outermost words, and those of its repetitions.
    fn read(&mut self, rule: TokenStream) {
        let tokens: Vec<TokenTree> = rule.into_iter().collect();
        let mut header = false;
        for (index, token) in tokens.iter().enumerate() {
            let before = index.checked_sub(1).map(|i| &tokens[i]);
            let metavariable = matches!(before, Some(TokenTree::Punct(p)) if p.as_char() == '$');
            match token {
                TokenTree::Group(group) if metavariable => self.read(group.stream()),
                // The body of an item ends its header.
                TokenTree::Group(group) => header &= group.delimiter() != Delimiter::Brace,
                TokenTree::Punct(p) => header &= p.as_char() != ';',
                TokenTree::Ident(word) if !metavariable => {
                    let word = word.to_string();
                    if word == "let" {
                        self.binds = true;
                    } else if ITEMS.contains(&word.as_str()) {
                        self.items = true;
                        header = true;
                    } else if header {
                        self.names.insert(word);
                    }
                }
                _ => {}
            }
        }
    }
}

/// What a call that stands as a statement means.
pub(super) fn meaning(call: &Macro, shapes: &Shapes) -> Meaning {
    let name = call.path.segments.last().map(|s| s.ident.to_string()).unwrap_or_default();
    let mut names = BTreeSet::new();
    match shapes.get(&name) {
        Some(shape) if shape.binds => {
            idents(call.tokens.clone(), &mut names);
            Meaning::Bindings(names)
        }
        Some(shape) if shape.items => {
            idents(call.tokens.clone(), &mut names);
            names.extend(shape.names.iter().cloned());
            Meaning::Items(names)
        }
        None if begins_item(&call.tokens) => {
            idents(call.tokens.clone(), &mut names);
            Meaning::Items(names)
        }
        _ => Meaning::Other,
    }
}

/// Whether tokens begin with attributes or a visibility and the word of an item.
fn begins_item(tokens: &TokenStream) -> bool {
    for token in tokens.clone() {
        match token {
            TokenTree::Punct(p) if p.as_char() == '#' => {}
            TokenTree::Group(_) => {}
            TokenTree::Ident(word) if word == "pub" => {}
            TokenTree::Ident(word) => return ITEMS.contains(&word.to_string().as_str()),
            _ => return false,
        }
    }
    false
}

fn idents(tokens: TokenStream, names: &mut BTreeSet<String>) {
    for token in tokens {
        match token {
            TokenTree::Ident(word) => drop(names.insert(word.to_string())),
            TokenTree::Group(group) => idents(group.stream(), names),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meaning_of(definition: &str, call: &str) -> Meaning {
        let definition = syn::parse_str::<Item>(definition).ok();
        let shapes = definition.iter().filter_map(shape_of).collect();
        meaning(&syn::parse_str::<Macro>(call).unwrap(), &shapes)
    }

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_definition_tells_what_a_call_makes() {
        let items = "macro_rules! m { ($n:ident) => { fn $n() -> i32 { 1 } }; }";
        assert_eq!(meaning_of(items, "m!(seven)"), Meaning::Items(names(&["i32", "seven"])));
        let impls = "macro_rules! m { ($($t:ty),*) => { $(impl Bits for $t { })* }; }";
        let reached = names(&["Bits", "for", "u16", "u8"]);
        assert_eq!(meaning_of(impls, "m!(u8, u16)"), Meaning::Items(reached));
        let binds = "macro_rules! m { ($n:ident) => { let $n = 1; }; }";
        assert_eq!(meaning_of(binds, "m!(x)"), Meaning::Bindings(names(&["x"])));
        let value = "macro_rules! m { ($n:expr) => { { fn f() {} $n } }; }";
        assert_eq!(meaning_of(value, "m!(x)"), Meaning::Other);
    }

    #[test]
    fn a_macro_of_a_crate_is_known_by_its_call() {
        let call = "bitflags! { #[derive(Debug)] pub struct Flags: u8 { } }";
        assert!(matches!(meaning_of("", call), Meaning::Items(names) if names.contains("Flags")));
        assert_eq!(meaning_of("", "println!(\"{}\", x)"), Meaning::Other);
    }
}
