//! What tells about the kernel itself: `%lsmagic`, `%help`, `%version`, `%explain`.

use super::args::{no_args, one_word};
use super::complete::{instances, offers};
use super::help::{index, list};
use super::{Call, Desk, Facts, Kind, Known, MAGICS, Magic, help, say, usage_error};
use crate::stage::{Completion, Failure};

pub(super) struct Lsmagic;

static LSMAGIC: Facts = Facts {
    name: "lsmagic",
    aliases: &[],
    kind: Kind::Line,
    usage: "lsmagic",
    summary: "list the names of all magics",
    help: "",
};

impl Magic for Lsmagic {
    fn facts(&self) -> &'static Facts {
        &LSMAGIC
    }

    fn run(&self, desk: &mut dyn Desk, call: &Call) -> Result<(), Failure> {
        no_args(&LSMAGIC, &call.args)?;
        say(desk, list());
        Ok(())
    }
}

pub(super) struct Help;

static HELP: Facts = Facts {
    name: "help",
    aliases: &["doc", "magic", "quickref"],
    kind: Kind::Line,
    usage: "help [NAME]",
    summary: "explain a magic, or show the documentation of a Rust name; without NAME list all",
    help: "`?NAME` is the same, and so are `%NAME --help` and `NAME?` if it is all that a cell holds. A Rust name can \
           be a variable, an item or a path such as `Vec::push`. `%who` is looked for among the \
           magics only. `:help` and `:doc` are evcxr's names for it.",
};

impl Magic for Help {
    fn facts(&self) -> &'static Facts {
        &HELP
    }

    fn run(&self, desk: &mut dyn Desk, call: &Call) -> Result<(), Failure> {
        if call.args.is_empty() {
            desk.page(index());
            return Ok(());
        }
        let name = one_word(&HELP, &call.args, "NAME")?;
        let bare = name.trim_start_matches(['%', ':']);
        let of_rust = || if bare == name { desk.inspect(&name) } else { None };
        let Some(text) = help(bare).or_else(of_rust) else {
            let why = format!("nothing is known of `{name}`; `%lsmagic` lists the magics");
            return Err(usage_error(&HELP, why));
        };
        desk.page(text);
        Ok(())
    }

    fn complete(&self, _word: &str, known: &Known<'_>) -> Vec<Completion> {
        let names = MAGICS.iter().map(|magic| magic.facts().name);
        let mut all = offers(names, "magic");
        all.extend(instances(known.variables));
        all
    }
}

pub(super) struct Version;

static VERSION: Facts = Facts {
    name: "version",
    aliases: &[],
    kind: Kind::Line,
    usage: "version",
    summary: "print the versions of parcell and of the compiler",
    help: "`:version` is evcxr's name for it.",
};

impl Magic for Version {
    fn facts(&self) -> &'static Facts {
        &VERSION
    }

    fn run(&self, desk: &mut dyn Desk, call: &Call) -> Result<(), Failure> {
        no_args(&VERSION, &call.args)?;
        say(desk, format!("parcell {}", env!("CARGO_PKG_VERSION")));
        desk.shell("rustc --version")
    }
}

pub(super) struct Explain;

static EXPLAIN: Facts = Facts {
    name: "explain",
    aliases: &[],
    kind: Kind::Line,
    usage: "explain CODE",
    summary: "explain an error of the compiler, such as E0382",
    help: "`:explain` is evcxr's name for it; there it needs no code.",
};

impl Magic for Explain {
    fn facts(&self) -> &'static Facts {
        &EXPLAIN
    }

    fn run(&self, desk: &mut dyn Desk, call: &Call) -> Result<(), Failure> {
        let code = one_word(&EXPLAIN, &call.args, "the code of an error, such as E0382,")?;
        let digits = code.trim_start_matches(['E', 'e']);
        if digits.len() != 4 || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(usage_error(&EXPLAIN, format!("`{code}` is not the code of an error")));
        }
        desk.shell(&format!("rustc --explain E{digits}"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::double::{Double, usage_of};
    use super::*;

    #[test]
    fn lsmagic_names_all() {
        let mut desk = Double::default();
        desk.magic("%lsmagic").unwrap();
        let text = desk.stdout();
        for magic in MAGICS {
            assert!(text.contains(magic.facts().name), "{} in {text}", magic.facts().name);
        }
        assert!(text.contains("%%writefile") && !text.contains(" %writefile"), "{text}");
        assert!(usage_of("%lsmagic x").contains("takes no arguments"));
    }

    fn page_of(cell: &str) -> String {
        let mut desk = Double::default();
        desk.magic(cell).unwrap();
        let page = desk.pages.pop().unwrap();
        assert!(page.get("text/markdown").is_some());
        page.get("text/plain").unwrap().to_owned()
    }

    #[test]
    fn help_goes_to_the_pager() {
        assert!(page_of("%help").contains("%threads"));
        assert!(page_of("?").contains("%threads"));
        for cell in [
            "%help threads",
            "%help %threads",
            "?threads",
            "threads?",
            "%threads??",
            "?%threads",
            ":help threads",
            "%threads --help",
        ] {
            assert!(page_of(cell).contains("%threads [N[,M]]"), "{cell}");
        }
        assert!(page_of("?vars").contains("%who"));
        assert_eq!(page_of("Vec::push?"), "about Vec::push");
        assert_eq!(page_of("?? x"), "about x");
    }

    #[test]
    fn help_on_nothing_is_an_error() {
        assert!(usage_of("%help unknown_thing").contains("nothing is known of `unknown_thing`"));
        assert!(usage_of("%help %x").contains("nothing is known of `%x`"));
        assert!(usage_of("%help a b").contains("here are 2"));
    }

    #[test]
    fn version_and_explanation_come_from_the_compiler() {
        let mut desk = Double::default();
        desk.magic(":version\n:explain E0382\n%explain 0499").unwrap();
        let shell = ["rustc --version", "rustc --explain E0382", "rustc --explain E0499"];
        assert_eq!(desk.calls(), shell.map(|command| format!("shell {command}")));
        assert!(desk.stdout().starts_with("parcell 0."));
        assert!(usage_of(":explain").contains("is missing"));
        assert!(usage_of("%explain E1; rm").contains("here are 2"));
        assert!(usage_of("%explain E038x").contains("`E038x` is not"));
        assert!(usage_of("%version x").contains("takes no arguments"));
    }
}
