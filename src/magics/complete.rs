//! Completion and tooltips on the lines of magics.

use std::path::Path;

use parcell_link::Bundle;

use super::args::home_path;
use super::split::{Call, Piece, Sigil, lines, pieces};
use super::{Kind, MAGICS, find, help};
use crate::stage::{Completion, Completions};

/// At most so many files are offered.
const FILES: usize = 500;

/// What can be offered as arguments.
#[derive(Debug, Clone, Copy, Default)]
pub struct Known<'a> {
    /// The cells' directory; without it no files are offered.
    pub directory: Option<&'a Path>,
    /// Names of environment variables.
    pub environment: &'a [String],
    /// Names of variables.
    pub variables: &'a [String],
    /// Ids of workers.
    pub workers: &'a [u32],
}

/// Completions at `cursor` (code points) if it stands in a magic; `None` where Rust is to be
/// completed, which is so after `%time` as well. Never blocks for longer than listing a folder.
pub fn complete(code: &str, cursor: usize, known: &Known<'_>) -> Option<Completions> {
    let before: String = code.chars().take(cursor).collect();
    let line = before.rsplit('\n').next().unwrap_or_default();
    if ["%", "%%", ":", "?"].contains(&line) {
        // A sigil is not yet a magic: `%x` is.
        let after: String = code.chars().skip(cursor).collect();
        let probe = format!("{before}x{after}");
        magic_at(&probe, cursor)?;
        return Some(named(line, cursor));
    }
    let (call, start) = magic_at(code, cursor)?;
    if cursor < start {
        return Some(Completions { start: cursor, end: cursor, matches: Vec::new() });
    }
    let typed: String = code.chars().skip(start).take(cursor - start).collect();
    let name = typed.trim_start_matches(['%', ':', '?']);
    if call.sigil != Sigil::Shell && name.chars().all(|c| c.is_alphanumeric() || c == '_') {
        return Some(named(&typed, cursor));
    }
    let in_body = typed.matches('\n').count() >= call.body_line - call.line && call.body.is_some();
    let magic = find(&call.name);
    if magic.is_some_and(|magic| magic.rust(&call.args).is_some()) {
        return None;
    }
    let word = typed.rsplit(|c: char| c.is_whitespace() || "!?".contains(c)).next().unwrap_or("");
    let matches = match magic {
        Some(magic) if !in_body => starting_with(word, magic.complete(word, known)),
        _ => Vec::new(),
    };
    Some(Completions { start: cursor - word.chars().count(), end: cursor, matches })
}

/// Names of magics in place of the last characters before the cursor.
fn named(typed: &str, cursor: usize) -> Completions {
    let start = cursor - typed.chars().count();
    Completions { start, end: cursor, matches: completions(typed) }
}

/// The magics whose name starts with `prefix`, written with the prefix's sigil: `%`, `%%`, `:` or
/// `?`. Without a sigil `%` is taken.
pub fn completions(prefix: &str) -> Vec<Completion> {
    let name = prefix.trim_start_matches(['%', ':', '?']);
    let sigil = match &prefix[..prefix.len() - name.len()] {
        "" => "%",
        sigil => sigil,
    };
    let fits = |kind: Kind| match sigil {
        "%%" => kind != Kind::Line,
        "?" => true,
        _ => kind != Kind::Cell,
    };
    let facts = MAGICS.iter().map(|magic| magic.facts()).filter(|f| fits(f.kind) && f.name != "!");
    // evcxr's names are offered after its sigil only, or once they are begun.
    let others = sigil == ":" || !name.is_empty();
    let names = facts.flat_map(|f| {
        let aliases = f.aliases.iter().filter(move |_| others);
        std::iter::once(&f.name).chain(aliases)
    });
    let mut names: Vec<&str> = names.copied().filter(|n| n.starts_with(name)).collect();
    names.sort_unstable();
    offers(names.into_iter().map(|name| format!("{sigil}{name}")), "magic")
}

/// Help on the magic at `cursor` (code points), unless that stands in the magic's Rust.
pub fn inspect(code: &str, cursor: usize) -> Option<Bundle> {
    let (call, start) = magic_at(code, cursor)?;
    let name = match call.sigil {
        Sigil::Question => call.args.trim_start_matches(['%', ':']),
        _ => &call.name,
    };
    let magic = find(name)?;
    let typed: String = code.chars().skip(start).take(cursor.saturating_sub(start)).collect();
    let in_args = typed.contains(char::is_whitespace);
    if in_args && (call.body.is_some() || magic.rust(&call.args).is_some()) {
        return None;
    }
    help(magic.facts().name)
}

/// The magic whose lines hold the cursor, and the code point it starts at.
fn magic_at(code: &str, cursor: usize) -> Option<(Call, usize)> {
    let lines = lines(code);
    let row = code.chars().take(cursor).filter(|c| *c == '\n').count();
    let piece: Piece = pieces(&lines).into_iter().find(|p| (p.start..p.end).contains(&row))?;
    let call = piece.call?;
    let start = lines[..piece.start].iter().map(|line| line.chars().count()).sum();
    Some((call, start))
}

/// Offers of one kind.
pub(super) fn offers<T: Into<String>>(
    texts: impl IntoIterator<Item = T>,
    kind: &str,
) -> Vec<Completion> {
    let offer = |text: T| Completion { text: text.into(), kind: kind.to_owned(), signature: None };
    texts.into_iter().map(offer).collect()
}

/// Variables of the session.
pub(super) fn instances(names: &[String]) -> Vec<Completion> {
    offers(names, "instance")
}

/// Those offers that a word may become.
pub(super) fn starting_with(word: &str, mut offers: Vec<Completion>) -> Vec<Completion> {
    offers.retain(|offer| offer.text.starts_with(word));
    offers
}

/// Files and folders that a word may become; folders end in `/`.
pub(super) fn files(word: &str, known: &Known<'_>) -> Vec<Completion> {
    let Some(directory) = known.directory else { return Vec::new() };
    let (folder, name) =
        word.rsplit_once('/').map_or(("", word), |(f, n)| (&word[..f.len() + 1], n));
    let home = std::env::var("HOME").ok();
    let place = directory.join(home_path(folder, home.as_deref()));
    let entries = std::fs::read_dir(place).into_iter().flatten().flatten();
    let texts = entries.filter_map(|entry| {
        let file = entry.file_name().into_string().ok()?;
        let hidden = file.starts_with('.') && !name.starts_with('.');
        let slash = if entry.path().is_dir() { "/" } else { "" };
        (file.starts_with(name) && !hidden).then(|| format!("{folder}{file}{slash}"))
    });
    let mut texts: Vec<String> = texts.take(FILES).collect();
    texts.sort_unstable();
    offers(texts, "path")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Completes at `|`; what is replaced, and the offers.
    fn at(marked: &str, known: &Known<'_>) -> Option<(String, Vec<String>)> {
        let cursor = marked.chars().position(|c| c == '|').unwrap();
        let code = marked.replacen('|', "", 1);
        let found = complete(&code, cursor, known)?;
        let replaced = code.chars().skip(found.start).take(found.end - found.start).collect();
        Some((replaced, found.matches.into_iter().map(|m| m.text).collect()))
    }

    fn names(marked: &str) -> Option<(String, Vec<String>)> {
        at(marked, &Known::default())
    }

    fn found(word: &str, offers: &[&str]) -> Option<(String, Vec<String>)> {
        Some((word.to_owned(), offers.iter().map(|o| (*o).to_owned()).collect()))
    }

    #[test]
    fn names_are_completed_with_their_sigil() {
        assert_eq!(names("%ti|"), found("%ti", &["%time", "%timeit"]));
        assert_eq!(names("let ü = 1;\n%thr|\nf()"), found("%thr", &["%threads"]));
        assert_eq!(names("%%w|"), found("%%w", &["%%writefile"]));
        assert_eq!(names(":show|"), found(":show", &[":show_deps"]));
        assert_eq!(names("?wri|"), found("?wri", &["?writefile"]));
        let (word, all) = names("%|").unwrap();
        assert_eq!(word, "%");
        assert!(all.contains(&"%who".to_owned()) && !all.contains(&"%whos".to_owned()));
        assert!(!all.contains(&"%writefile".to_owned()) && !all.contains(&"%!".to_owned()));
        assert_eq!(
            names("%%|").unwrap().1,
            ["%%dep", "%%everywhere", "%%opt", "%%px", "%%time", "%%timeit", "%%writefile"]
        );
        assert!(names("f();\n:|").unwrap().1.contains(&":vars".to_owned()));
    }

    #[test]
    fn rust_is_left_to_rust() {
        for code in [
            "a|",
            "a\n%ti|",
            "a\n%|",
            "let s = \"\n%ti|",
            "%time f|",
            "%timeit -n 5 f|",
            "%%time\nf|",
            "%%px --targets 2\nf|",
            "%everywhere f|",
        ] {
            assert_eq!(names(code), None, "{code}");
        }
        assert_eq!(names("%timeit -n|"), found("-n", &[]));
    }

    #[test]
    fn arguments_are_completed() {
        let list = ["HOME".to_owned(), "HOST".to_owned(), "PATH".to_owned()];
        let known = Known { environment: &list, variables: &list[..1], ..Known::default() };
        assert_eq!(at("%env HO|", &known), found("HO", &["HOME", "HOST"]));
        assert_eq!(at("%env -u HO|", &known), found("HO", &["HOME", "HOST"]));
        assert_eq!(at(":t |", &known), found("", &["HOME"]));
        assert_eq!(at("%opt |", &known).unwrap().1.len(), 6);
        assert_eq!(at("%help thr|", &known), found("thr", &["threads"]));
        assert_eq!(at("%%writefile a\nfn|", &known), found("fn", &[]));
        assert_eq!(at("%nothing a|", &known), found("a", &[]));
        let known = Known { workers: &[2, 3, 21], ..Known::default() };
        assert_eq!(at("%rmworkers 3,2|", &known), found("3,2", &["3,2", "3,21"]));
        assert_eq!(at("%workers 2 --th|", &known), found("--th", &["--threads"]));
    }

    #[test]
    fn files_are_completed() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("data")).unwrap();
        for file in ["day.rs", ".hidden", "data/ä.rs"] {
            std::fs::write(folder.path().join(file), "").unwrap();
        }
        let known = Known { directory: Some(folder.path()), ..Known::default() };
        assert_eq!(at("%run da|", &known), found("da", &["data/", "day.rs"]));
        assert_eq!(at("%load data/|", &known), found("data/", &["data/ä.rs"]));
        assert_eq!(at("%cd d|", &known), found("d", &["data/"]));
        assert_eq!(at("!cat da|", &known), found("da", &["data/", "day.rs"]));
        assert_eq!(at("!./d|", &known), found("./d", &["./data/", "./day.rs"]));
        assert_eq!(at("%run .h|", &known), found(".h", &[".hidden"]));
    }

    #[test]
    fn tooltips_are_the_help() {
        let text =
            |code, cursor| inspect(code, cursor).map(|b| b.get("text/plain").unwrap().to_owned());
        assert!(text("f();\n%threads 2", 7).unwrap().contains("%threads [N[,M]]"));
        assert!(text("%threads 2", 10).is_some() && text("%%time\nf", 3).is_some());
        assert!(text(":vars", 2).unwrap().contains("%who"));
        assert!(text("%time f()", 8).is_none() && text("%%time\nf", 8).is_none());
        assert!(text("threads", 2).is_none() && text("%thread", 2).is_none());
    }
}
