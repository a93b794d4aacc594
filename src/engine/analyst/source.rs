//! The source that rust-analyzer sees: what cells start with, the session's items, its variables
//! as parameters of a function, and in that function the cell.

use std::path::PathBuf;

use super::known::Known;
use crate::engine::tokens::{Tokens, is_word};

/// What names of our own begin with; they are never offered.
pub(super) const HIDDEN: &str = "__parcell";

/// The manifest of the package in whose place the source is read.
pub(super) fn manifest(known: &Known) -> PathBuf {
    known.library.package.join("Cargo.toml")
}

/// The source for a cell, and how many bytes stand before the cell in it.
pub(super) fn source(known: &Known, running: Option<&str>, code: &str) -> (String, usize) {
    let mut text = opening(known);
    text.push_str(&known.outline.items);
    text += &format!("\nasync fn {HIDDEN}_cell(\n");
    for variable in &known.outline.variables {
        let mutability = if variable.mutable { "mut " } else { "" };
        text += &format!("    {mutability}{}: {},\n", variable.name, variable.type_name);
    }
    text += &format!(") {{\n{}\n;{{\n", running.unwrap_or_default());
    let before = text.len();
    text.push_str(code);
    // Whoever types has not closed all brackets yet.
    text.push_str(&Tokens::of(code).closers(code));
    text.push_str("\n;}}\n");
    (text, before)
}

/// What every cell starts with. Globs, so that the session's own items take precedence.
fn opening(known: &Known) -> String {
    let of_notebook =
        |name: &str| known.outline.dependencies.iter().any(|line| crate_name(line) == name);
    let own = ["parcell", "cell_deps"];
    let names = known.library.crates.iter().map(|(name, _)| name.as_str());
    let names: Vec<&str> = names.filter(|name| !own.contains(name) && !of_notebook(name)).collect();
    format!(
        "#![allow(unused)]\nmod {HIDDEN} {{\n    pub use parcell::prelude::*;\n    \
         pub use parcell::{{{}}};\n}}\nuse {HIDDEN}::*;\n",
        names.join(", ")
    )
}

/// The name that cells use for the crate of a dependency line.
fn crate_name(line: &str) -> String {
    line.split('=').next().unwrap_or_default().trim().replace('-', "_")
}

/// What stands of a name before a position in bytes.
pub(super) fn word_before(code: &str, end: usize) -> &str {
    let before = code.get(..end).unwrap_or_default();
    let start = before.char_indices().rev().take_while(|(_, c)| is_word(*c)).last();
    &before[start.map_or(before.len(), |(at, _)| at)..]
}

/// Where the name that a position stands in, or at the end of, ends.
pub(super) fn word_end(code: &str, from: usize) -> usize {
    from + code[from..].find(|c| !is_word(c)).unwrap_or(code.len() - from)
}

/// The byte of a code point.
pub(super) fn byte_offset(code: &str, cursor: usize) -> usize {
    code.char_indices().nth(cursor).map_or(code.len(), |(at, _)| at)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parcell_link::Place;

    use super::*;
    use crate::engine::{Outline, Variable};

    #[test]
    fn offsets_count_code_points_and_words_end_at_the_cursor() {
        let code = "é + naïve.len";
        assert_eq!(byte_offset(code, 4), 5);
        assert_eq!(word_before(code, byte_offset(code, 9)), "naïve");
        assert_eq!(word_before(code, code.len()), "len");
        assert_eq!(word_before("a + ", 4), "");
        assert_eq!(word_end(code, 7), byte_offset(code, 9));
    }

    #[test]
    fn the_cell_stands_in_a_function_of_the_variables() {
        let (name, type_name, place) = ("v".into(), "Vec<i32>".into(), Place::default());
        let variable = Variable { name, type_name, mutable: true, place };
        let outline =
            Outline { items: "fn f() {}".into(), variables: vec![variable], ..Outline::default() };
        let known = Known::new(Arc::new(outline), super::super::known::tests::library());
        let (text, before) = source(&known, Some("let a = 1;"), "v.push((1, ");
        assert!(text.contains("fn f() {}\nasync fn __parcell_cell(\n    mut v: Vec<i32>,\n)"));
        assert!(text.contains("pub use parcell::{rayon};"));
        assert!(text[before..].starts_with("v.push((1, ))\n;}"));
        assert!(syn::parse_file(&text.replace("v.push((1, ))", "v.push((1, 2))")).is_ok());
    }
}
