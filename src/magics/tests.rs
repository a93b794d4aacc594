//! The table as a whole, and what is said to calls that it does not know.

use std::collections::HashSet;

use super::double::{Double, usage_of};
use super::*;

fn all() -> impl Iterator<Item = &'static Facts> {
    MAGICS.iter().map(|magic| magic.facts())
}

#[test]
fn names_are_well_formed_and_unique() {
    let mut seen = HashSet::new();
    for facts in all() {
        for name in std::iter::once(&facts.name).chain(facts.aliases) {
            assert!(seen.insert(*name), "{name} stands twice");
            let letters = name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
            assert!(letters || *name == "!", "{name}");
        }
        assert_eq!(find(facts.name).unwrap().facts().name, facts.name);
    }
    for (name, _) in ELSEWHERE {
        assert!(seen.insert(name), "{name} is there and elsewhere");
    }
}

#[test]
fn texts_are_well_formed() {
    for facts in all() {
        let after = facts.usage.strip_prefix(facts.name).expect(facts.name);
        assert!(after.is_empty() || after.starts_with(' ') || facts.name == "!", "{after}");
        assert!(
            !facts.summary.contains('\n') && !facts.summary.ends_with('.'),
            "{}",
            facts.summary
        );
        assert!(facts.summary.starts_with(char::is_lowercase), "{}", facts.summary);
        let ends = facts.help.is_empty() || facts.help.ends_with('.');
        assert!(ends, "{}", facts.help);
    }
}

#[test]
fn every_magic_can_be_called_where_its_kind_says() {
    for facts in all().filter(|f| f.name != "!") {
        let run = |cell: String| {
            Double::default().magic(&cell).err().map_or_else(String::new, |f| f.value)
        };
        let name = facts.name;
        let on_line = run(format!("%{name} --odd"));
        assert_eq!(on_line.contains("it needs a cell"), facts.kind == Kind::Cell, "{on_line}");
        let on_cell = run(format!("%%{name} --odd\nbody"));
        assert_eq!(on_cell.contains("it takes no body"), facts.kind == Kind::Line, "{on_cell}");
        let below = run(format!("f();\n%%{name} x"));
        let words =
            if facts.kind == Kind::Line { "it takes no body" } else { "must be the first line" };
        assert!(below.contains(words), "{below}");
    }
}

#[test]
fn unknown_magics_get_the_nearest() {
    let told = |cell: &str| {
        let mut desk = Double::default();
        let failure = desk.magic(cell).unwrap_err();
        assert_eq!((failure.name.as_str(), desk.calls().len()), ("UsageError", 0));
        failure.value
    };
    assert_eq!(told("%thread 4"), "There is no magic `%thread`. Did you mean `%threads`?");
    assert_eq!(told("%tiemit f()"), "There is no magic `%tiemit`. Did you mean `%timeit`?");
    assert_eq!(
        told("%%writefle x\ny"),
        "There is no magic `%%writefle`. Did you mean `%%writefile`?"
    );
    assert_eq!(told(":deps a"), "There is no magic `:deps`. Did you mean `:dep`?");
    assert_eq!(told("%qqq"), "There is no magic `%qqq`: `%lsmagic` lists all magics.");
    assert!(told(":quit").contains("front end"));
    assert!(told(":toolchain nightly").contains("a running session keeps its compiler"));
    assert!(told("%pip install x").contains("!pip"));
}

#[test]
fn nothing_runs_after_a_failing_magic() {
    let mut desk = Double::default();
    let failure = desk.magic("f();\n%threads 0\ng();\n!ls").unwrap_err();
    assert_eq!(failure.name, "UsageError");
    assert_eq!(desk.calls(), ["rust f();\n          \n    \n   "]);
    let mut desk = Double::broken();
    assert_eq!(desk.magic("!ls\n%cd x").unwrap_err().value, "shell ls");
}

#[test]
fn usage_says_how_to_write_it() {
    assert!(usage_of("%threads x").starts_with("%threads: "));
    let failure = Double::default().magic("%threads x").unwrap_err();
    assert_eq!(failure.traceback[1], "usage: %threads [N[,M]] [--pin compact|spread|off]");
    let failure = Double::default().magic("%%writefile\n").unwrap_err();
    assert_eq!(failure.traceback[1], "usage: %%writefile [-a] FILE");
    let failure = Double::default().magic("%timeit").unwrap_err();
    assert!(failure.traceback[1].ends_with("STATEMENT, or with %% and a cell below"));
}

#[test]
fn the_readmes_table_has_a_row_for_each() {
    let table = markdown_table();
    assert_eq!(table.lines().count(), MAGICS.len() + 2);
    for row in table.lines() {
        assert_eq!(row.replace("\\|", "").matches('|').count(), 3, "{row}");
    }
    assert!(
        table.contains("| `%threads [N[,M]] [--pin compact\\|spread\\|off]` | start, resize"),
        "{table}"
    );
    assert!(table.contains("| `%%writefile [-a] FILE` |") && table.contains("| `!COMMAND` |"));
    assert!(table.contains("`%time STATEMENT`, `%%time`"));
}

#[test]
fn help_is_there_for_names_and_aliases() {
    for facts in all() {
        for name in std::iter::once(&facts.name).chain(facts.aliases) {
            let page = help(name).unwrap();
            for mime in ["text/plain", "text/markdown"] {
                let text = page.get(mime).unwrap();
                assert!(text.contains(facts.usage) && text.contains(facts.summary), "{text}");
            }
        }
    }
    assert_eq!(help("nothing"), None);
}
