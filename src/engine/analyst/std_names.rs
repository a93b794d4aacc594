//! Names that are known without rust-analyzer: keywords, what every cell starts with, and the
//! methods of common types.

use std::collections::HashMap;
use std::sync::OnceLock;

use syn::{Item, UseTree};

use super::shape::Shape;

pub(super) const KEYWORDS: [&str; 35] = [
    "as", "async", "await", "break", "const", "continue", "crate", "dyn", "else", "enum", "extern",
    "false", "fn", "for", "if", "impl", "in", "let", "loop", "match", "mod", "move", "mut", "pub",
    "ref", "return", "self", "static", "struct", "trait", "true", "type", "unsafe", "use", "while",
];

pub(super) const PRIMITIVES: [&str; 17] = [
    "bool", "char", "f32", "f64", "i128", "i16", "i32", "i64", "i8", "isize", "str", "u128", "u16",
    "u32", "u64", "u8", "usize",
];

/// Traits that can be derived.
pub(super) const DERIVES: [&str; 9] =
    ["Clone", "Copy", "Debug", "Default", "Eq", "Hash", "Ord", "PartialEq", "PartialOrd"];

/// What the standard library brings into every scope.
const STD: [(&str, &str); 7] = [
    (
        "macro",
        "assert! assert_eq! assert_ne! concat! dbg! debug_assert! debug_assert_eq! env! \
      eprint! eprintln! format! include_str! matches! panic! print! println! stringify! \
      thread_local! todo! unimplemented! unreachable! vec! write! writeln!",
    ),
    ("enum", "Option Result"),
    ("variant", "Err None Ok Some"),
    ("struct", "Box String Vec"),
    (
        "trait",
        "AsMut AsRef AsyncFn Clone Copy Default DoubleEndedIterator Drop Eq \
      ExactSizeIterator Extend Fn FnMut FnOnce From FromIterator Into IntoIterator Iterator Ord \
      PartialEq PartialOrd Send Sized Sync ToOwned ToString TryFrom TryInto",
    ),
    ("function", "drop"),
    ("module", "alloc core std"),
];

/// Functions that make a value of the type they belong to.
pub(super) const CONSTRUCTORS: [&str; 12] = [
    "new",
    "from",
    "default",
    "with_capacity",
    "from_utf8_lossy",
    "from_iter",
    "now",
    "from_secs",
    "from_millis",
    "from_secs_f64",
    "from_fn",
    "zeros",
];

/// What methods of the standard library give. `=` is the type itself, `E` what iterating it gives,
/// `0` its first and `L` its last argument.
const RESULTS: [(&str, &str); 19] = [
    ("iter iter_mut into_iter drain values values_mut into_values", "Iterator<E>"),
    ("par_iter par_iter_mut into_par_iter par_chars par_bridge", "ParallelIterator<E>"),
    (
        "filter skip take step_by rev chain cloned copied peekable skip_while take_while inspect fuse \
      clone to_owned as_ref as_mut by_ref abs sqrt powi powf exp ln sin cos tan floor ceil round \
      min max saturating_sub saturating_add wrapping_add wrapping_mul pow rem_euclid clamp \
      with_min_len",
        "=",
    ),
    ("map filter_map flat_map scan map_while", "Iterator"),
    ("enumerate", "Iterator<(usize, E)>"),
    ("keys into_keys", "Iterator<0>"),
    ("chars", "Iterator<char>"),
    ("bytes", "Iterator<u8>"),
    ("lines split split_whitespace rsplit splitn split_terminator", "Iterator<str>"),
    ("windows chunks chunks_exact par_chunks par_windows", "Iterator<[E]>"),
    (
        "first last next nth pop pop_front pop_back front back peek find max_by min_by max_by_key \
      min_by_key get_index",
        "Option<E>",
    ),
    ("get get_mut remove_entry", "Option<L>"),
    ("unwrap expect unwrap_or unwrap_or_default unwrap_or_else borrow borrow_mut into_inner", "0"),
    ("lock read write", "Result<0>"),
    (
        "to_string to_uppercase to_lowercase repeat replace join to_ascii_uppercase \
      to_ascii_lowercase",
        "String",
    ),
    ("as_str trim trim_start trim_end trim_matches strip_prefix", "str"),
    ("len count capacity", "usize"),
    ("elapsed duration_since", "Duration"),
    ("as_secs_f64 as_secs_f32", "f64"),
];

/// The names of common types: a line `Vec.` lists methods, `Vec::` the rest.
static TYPES: &str = include_str!("std_names.txt");

/// The prelude of the cell library.
static PRELUDE: &str = include_str!("../../../crates/parcell/src/prelude.rs");

/// The names that every cell starts with, with their kinds.
pub(super) fn prelude() -> &'static [(String, &'static str)] {
    static NAMES: OnceLock<Vec<(String, &'static str)>> = OnceLock::new();
    NAMES.get_or_init(|| {
        let mut names = Vec::new();
        for item in syn::parse_file(PRELUDE).map(|file| file.items).unwrap_or_default() {
            if let Item::Use(item) = item {
                leaves(&item.tree, 0, &mut names);
            }
        }
        for (kind, list) in STD {
            names.extend(list.split_whitespace().map(|name| (name.to_owned(), kind)));
        }
        names
    })
}

/// The names that a `use` brings in. Directly in the crate's root stand its macros.
fn leaves(tree: &UseTree, depth: usize, names: &mut Vec<(String, &'static str)>) {
    match tree {
        UseTree::Path(path) => leaves(&path.tree, depth + 1, names),
        UseTree::Group(group) => group.items.iter().for_each(|tree| leaves(tree, depth, names)),
        UseTree::Name(name) if depth == 1 => names.push((format!("{}!", name.ident), "macro")),
        UseTree::Name(name) => {
            let name = name.ident.to_string();
            let is_type = name.starts_with(char::is_uppercase);
            names.push((name, if is_type { "struct" } else { "function" }));
        }
        UseTree::Rename(_) | UseTree::Glob(_) => {}
    }
}

/// Methods of a type (`Vec.`), or the names in its path (`Vec::`).
pub(super) fn of(head: &str, separator: &str) -> &'static [&'static str] {
    static LISTS: OnceLock<HashMap<&'static str, Vec<&'static str>>> = OnceLock::new();
    let lists = LISTS.get_or_init(|| {
        let mut lists: HashMap<&str, Vec<&str>> = HashMap::new();
        let mut present = "";
        for line in TYPES.lines().filter(|line| !line.starts_with('#')) {
            if !line.starts_with(' ') {
                present = line;
                continue;
            }
            lists.entry(present).or_default().extend(line.split_whitespace());
        }
        lists
    });
    lists.get(format!("{}{separator}", kin(head)).as_str()).map_or(&[], Vec::as_slice)
}

/// The type whose names stand for those of others as well.
fn kin(head: &str) -> &str {
    match head {
        "i8" | "i16" | "i64" | "i128" | "isize" => "i32",
        "u8" | "u16" | "u32" | "u64" | "u128" => "usize",
        "f32" => "f64",
        "Range" | "RangeInclusive" | "RangeFrom" | "Map" | "Filter" | "Enumerate" | "Zip"
        | "Rev" | "Take" | "Skip" | "Chain" | "StepBy" | "Chars" | "Lines" | "Iter"
        | "IntoIter" | "IterMut" | "Peekable" => "Iterator",
        "IndexedParallelIterator" => "ParallelIterator",
        other => other,
    }
}

/// Whether a type is written in small letters.
pub(super) fn is_primitive(head: &str) -> bool {
    PRIMITIVES.contains(&head)
}

/// What a method of the standard library gives.
pub(super) fn result(of: &Shape, method: &str) -> Option<Shape> {
    let lists = |(methods, _): &&(&str, &str)| methods.split(' ').any(|name| name == method);
    let (_, pattern) = RESULTS.iter().find(lists)?;
    if kin(&of.head) == "ParallelIterator" && pattern.starts_with("Iterator") {
        return Some(Shape::plain("ParallelIterator"));
    }
    let part = |name: &str| match name {
        "=" => Some(of.clone()),
        "E" => Some(of.element().unwrap_or_else(|| Shape::plain("_"))),
        "F" => of.args.first().cloned(),
        "L" => of.args.last().cloned(),
        _ => None,
    };
    match *pattern {
        "=" => Some(of.clone()),
        "0" => of.args.first().cloned(),
        pattern => Some(Shape::parse(&pattern.replace('0', "F"))?.with(&part)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prelude_is_read_from_the_cell_library() {
        let has = |name: &str, kind| prelude().contains(&(name.to_owned(), kind));
        assert!(has("nthreads", "function") && has("Html", "struct") && has("btime!", "macro"));
        assert!(has("show", "function") && has("show!", "macro") && has("println!", "macro"));
    }

    #[test]
    fn common_types_have_their_methods() {
        assert!(of("Vec", ".").contains(&"push") && of("Vec", "::").contains(&"with_capacity"));
        assert!(of("str", ".").contains(&"to_uppercase") && of("u8", ".").contains(&"pow"));
        assert!(of("[]", ".").contains(&"par_iter") && of("Range", ".").contains(&"map"));
        assert!(of("Unknown", ".").is_empty());
    }

    #[test]
    fn results_follow_the_arguments() {
        let result = |of: &str, method| result(&Shape::parse(of).unwrap(), method);
        assert_eq!(result("Vec<f64>", "iter"), Shape::parse("Iterator<f64>"));
        assert_eq!(result("HashMap<String, u8>", "get"), Shape::parse("Option<u8>"));
        assert_eq!(result("HashMap<String, u8>", "iter"), Shape::parse("Iterator<(String, u8)>"));
        assert_eq!(result("Option<Point>", "unwrap"), Shape::parse("Point"));
        assert_eq!(result("ParallelIterator<u8>", "enumerate").unwrap().head, "ParallelIterator");
        assert_eq!(result("Vec<f64>", "nothing"), None);
    }
}
