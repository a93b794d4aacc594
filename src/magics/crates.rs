//! `%dep` and `%opt`: how cells are built.

use super::args::{one_word, words};
use super::complete::offers;
use super::{Call, Desk, Facts, Kind, Known, Magic, run_source, say, usage_error};
use crate::stage::{Completion, Failure};

pub(super) struct Dep;

static DEP: Facts = Facts {
    name: "dep",
    aliases: &["show_deps"],
    kind: Kind::Both,
    usage: "dep CRATE…",
    summary: "add crates and build them; without CRATE list those added",
    help: "`CRATE` is `name`, `name@1.2`, a line as in `Cargo.toml` such as \
           `name = { version = \"1\", features = [\"f\"] }`, or the path of a folder. Several \
           names can stand on a line; `%dep` lines below each other, and the lines of a `%%dep` \
           cell, are built together. `:dep` and `:show_deps` are evcxr's names for it. parcell, \
           rayon, ndarray, serde, bytemuck, rand, num_complex and tokio are there without it.",
};

impl Magic for Dep {
    fn facts(&self) -> &'static Facts {
        &DEP
    }

    fn run(&self, desk: &mut dyn Desk, call: &Call) -> Result<(), Failure> {
        let body = call.body.as_deref().unwrap_or_default();
        let mut lines = Vec::new();
        for line in call.args.lines().chain(body.lines()).map(str::trim) {
            if !line.is_empty() && !line.starts_with('#') && !line.starts_with("//") {
                lines.extend(dependencies(line)?);
            }
        }
        if !lines.is_empty() {
            return desk.add_dependencies(&lines);
        }
        if call.body.is_some() {
            return Err(usage_error(&DEP, "no crate is named"));
        }
        let added = desk.dependencies();
        let none = "No crates were added.".to_owned();
        say(desk, if added.is_empty() { none } else { added.join("\n") });
        Ok(())
    }
}

/// The lines that `Cargo.toml` would have for a line of a user.
fn dependencies(line: &str) -> Result<Vec<String>, Failure> {
    if line.contains('=') && !line.contains("@=") {
        return Ok(vec![line.to_owned()]);
    }
    let with_version = |word: String| match word.split_once('@') {
        Some((name, version)) if !name.contains('/') => format!("{name} = \"{version}\""),
        _ => word,
    };
    Ok(words(&DEP, line)?.into_iter().map(with_version).collect())
}

pub(super) struct Opt;

static OPT: Facts = Facts {
    name: "opt",
    aliases: &[],
    kind: Kind::Both,
    usage: "opt [LEVEL]",
    summary: "set the optimisation level of later cells; without LEVEL show it",
    help: "`0` to `3`, `s` or `z`. Cells start with `3`, as a release build; `0` compiles faster. \
           `%%opt LEVEL` is for one cell. `:opt` is evcxr's name for it.",
};

impl Magic for Opt {
    fn facts(&self) -> &'static Facts {
        &OPT
    }

    fn run(&self, desk: &mut dyn Desk, call: &Call) -> Result<(), Failure> {
        if let Some(body) = &call.body {
            let before = desk.opt_level();
            desk.set_opt_level(&one_word(&OPT, &call.args, "LEVEL")?)?;
            let source = "\n".repeat(call.body_line - 1) + body;
            let result = run_source(desk, &source);
            desk.set_opt_level(&before)?;
            return result.map(drop);
        }
        if !call.args.is_empty() {
            desk.set_opt_level(&one_word(&OPT, &call.args, "LEVEL")?)?;
        }
        say(desk, format!("optimisation level {}", desk.opt_level()));
        Ok(())
    }

    fn complete(&self, _word: &str, _known: &Known<'_>) -> Vec<Completion> {
        offers(["0", "1", "2", "3", "s", "z"], "value")
    }
}

#[cfg(test)]
mod tests {
    use super::super::double::{Double, usage_of};

    fn calls(cell: &str) -> Vec<String> {
        let mut desk = Double::default();
        desk.magic(cell).unwrap();
        desk.calls()
    }

    #[test]
    fn crates_can_be_named_in_several_ways() {
        assert_eq!(calls("%dep regex"), ["dep regex"]);
        assert_eq!(calls("%dep regex itoa@1.0"), ["dep regex|itoa = \"1.0\""]);
        assert_eq!(calls("%dep itoa@=1.0.1"), ["dep itoa = \"=1.0.1\""]);
        assert_eq!(calls("%dep ./here '/with space/x'"), ["dep ./here|/with space/x"]);
        let line = "a = { version = \"1\", features = [\"f g\"] }";
        assert_eq!(calls(&format!(":dep {line}")), [format!("dep {line}")]);
    }

    #[test]
    fn lines_below_each_other_are_built_together() {
        assert_eq!(calls(":dep a = \"1\"\n:dep b\n// and\n%dep c d"), ["dep a = \"1\"|b|c|d"]);
        assert_eq!(calls("%%dep\na = \"1\"\n\n# why\nb"), ["dep a = \"1\"|b"]);
        assert_eq!(calls(":dep a\nf();\n:dep b"), ["dep a", "rust       \nf();\n      ", "dep b"]);
        assert_eq!(calls("%dep a \\\n  b"), ["dep a|b"]);
    }

    #[test]
    fn a_level_can_be_for_one_cell() {
        assert_eq!(calls("%%opt 0\nf();"), ["opt 0", "rust \nf();", "opt 3"]);
        assert!(usage_of("%%opt\nf();").contains("LEVEL"));
    }

    #[test]
    fn without_arguments_crates_are_listed() {
        let mut desk = Double::default();
        desk.magic(":show_deps").unwrap();
        assert_eq!(desk.stdout(), "No crates were added.\n");
        desk.magic("%dep a = \"1\"\n:dep b").unwrap();
        desk.magic("%dep").unwrap();
        assert!(desk.stdout().ends_with(".\na = \"1\"\nb\n"), "{}", desk.stdout());
    }

    #[test]
    fn wrong_crates_fail() {
        assert!(usage_of("%dep 'a").contains("quote"));
        assert!(usage_of("%%dep\n# none\n").contains("no crate is named"));
        let mut desk = Double::broken();
        assert_eq!(desk.magic("%dep a").unwrap_err().name, "Broken");
    }

    #[test]
    fn opt_shows_and_sets() {
        let mut desk = Double::default();
        desk.magic("%opt 0").unwrap();
        desk.magic(":opt").unwrap();
        assert_eq!(desk.calls(), ["opt 0"]);
        assert_eq!(desk.stdout(), "optimisation level 0\noptimisation level 0\n");
        assert!(usage_of("%opt 1 2").contains("here are 2"));
        let mut desk = Double::broken();
        assert_eq!(desk.magic("%opt 9").unwrap_err().name, "Broken");
    }
}
