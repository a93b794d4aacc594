//! Where cells run: `%env`, `%cd`, `%pwd` and `!command`.

use std::path::PathBuf;

use super::args::{home_path, no_args, variable, words};
use super::complete::{files, offers};
use super::{Call, Desk, Facts, Kind, Known, Magic, say, usage_error};
use crate::stage::{Completion, Failure};

pub(super) struct Env;

static ENV: Facts = Facts {
    name: "env",
    aliases: &["set_env"],
    kind: Kind::Line,
    usage: "env [NAME | NAME=VALUE | NAME VALUE | -u NAME]",
    summary: "list the environment of cells, show, set or (-u) remove a variable",
    help: "Holds for cells, shell commands and builds. The list hides the values of names that \
           have to do with keys, tokens, secrets or passwords: outputs are saved in notebooks. \
           `:env` is evcxr's name for it.",
};

impl Magic for Env {
    fn facts(&self) -> &'static Facts {
        &ENV
    }

    fn run(&self, desk: &mut dyn Desk, call: &Call) -> Result<(), Failure> {
        match request(&call.args)? {
            Request::List => {
                let lines = desk.environment().into_iter().map(|(name, value)| {
                    let value = if is_secret(&name) { "<hidden>" } else { &value };
                    format!("{name}={value}")
                });
                say(desk, lines.collect::<Vec<_>>().join("\n"));
            }
            Request::Show(name) => {
                let value = variable(desk, &name);
                say(desk, value.ok_or_else(|| unset(&name))?);
            }
            Request::Set(name, value) => {
                let line = format!("{name}={value}");
                desk.place(None, vec![(name, Some(value))])?;
                say(desk, line);
            }
            Request::Remove(name) => {
                variable(desk, &name).ok_or_else(|| unset(&name))?;
                desk.place(None, vec![(name, None)])?;
            }
        }
        Ok(())
    }

    fn complete(&self, _word: &str, known: &Known<'_>) -> Vec<Completion> {
        offers(known.environment, "variable")
    }
}

fn unset(name: &str) -> Failure {
    usage_error(&ENV, format!("there is no variable `{name}` in the environment"))
}

fn is_secret(name: &str) -> bool {
    let name = name.to_uppercase();
    ["KEY", "TOKEN", "SECRET", "PASSWORD"].iter().any(|word| name.contains(word))
}

#[derive(Debug, PartialEq)]
enum Request {
    List,
    Show(String),
    Set(String, String),
    Remove(String),
}

fn request(args: &str) -> Result<Request, Failure> {
    if args.is_empty() {
        return Ok(Request::List);
    }
    let (first, rest) = args.split_once(char::is_whitespace).unwrap_or((args, ""));
    let rest = rest.trim();
    if first == "-u" {
        return name(rest).map(Request::Remove);
    }
    if let Some((key, _)) = first.split_once('=') {
        return Ok(Request::Set(name(key)?, unquoted(&args[key.len() + 1..])));
    }
    match rest.strip_prefix('=').unwrap_or(rest).trim() {
        "" if rest.is_empty() => name(first).map(Request::Show),
        value => Ok(Request::Set(name(first)?, unquoted(value))),
    }
}

fn name(word: &str) -> Result<String, Failure> {
    let first = word.chars().next();
    let good = |c: char| c.is_alphanumeric() || c == '_';
    if first.is_some_and(|c| good(c) && !c.is_ascii_digit()) && word.chars().all(good) {
        return Ok(word.to_owned());
    }
    Err(usage_error(&ENV, format!("`{word}` is not the name of a variable")))
}

/// The value without quotes around all of it.
fn unquoted(value: &str) -> String {
    let within = |quote| value.strip_prefix(quote).and_then(|v: &str| v.strip_suffix(quote));
    within('"').or_else(|| within('\'')).unwrap_or(value).to_owned()
}

pub(super) struct Cd;

static CD: Facts = Facts {
    name: "cd",
    aliases: &[],
    kind: Kind::Line,
    usage: "cd [DIRECTORY]",
    summary: "change the directory of cells; `-` is the previous one, none is home",
    help: "Holds for cells, shell commands and the files that magics read and write.",
};

impl Magic for Cd {
    fn facts(&self) -> &'static Facts {
        &CD
    }

    fn run(&self, desk: &mut dyn Desk, call: &Call) -> Result<(), Failure> {
        let target = target(desk, &words(&CD, &call.args)?)?;
        let before = desk.directory();
        let target = before.join(target);
        // As in a shell; `-` reads it.
        let old = ("OLDPWD".to_owned(), Some(before.display().to_string()));
        let now = desk.place(Some(&target), vec![old])?;
        say(desk, now.display().to_string());
        Ok(())
    }

    fn complete(&self, word: &str, known: &Known<'_>) -> Vec<Completion> {
        files(word, known).into_iter().filter(|file| file.text.ends_with('/')).collect()
    }
}

fn target(desk: &dyn Desk, words: &[String]) -> Result<PathBuf, Failure> {
    let home = variable(desk, "HOME");
    match words {
        [] => home
            .map(PathBuf::from)
            .ok_or_else(|| usage_error(&CD, "HOME is not set; name a directory")),
        [dash] if dash == "-" => variable(desk, "OLDPWD")
            .map(PathBuf::from)
            .ok_or_else(|| usage_error(&CD, "there is no previous directory")),
        [written] => Ok(home_path(written, home.as_deref())),
        _ => Err(usage_error(&CD, format!("one directory is wanted, here are {}", words.len()))),
    }
}

pub(super) struct Pwd;

static PWD: Facts = Facts {
    name: "pwd",
    aliases: &[],
    kind: Kind::Line,
    usage: "pwd",
    summary: "print the directory of cells",
    help: "",
};

impl Magic for Pwd {
    fn facts(&self) -> &'static Facts {
        &PWD
    }

    fn run(&self, desk: &mut dyn Desk, call: &Call) -> Result<(), Failure> {
        no_args(&PWD, &call.args)?;
        say(desk, desk.directory().display().to_string());
        Ok(())
    }
}

pub(super) struct Shell;

static SHELL: Facts = Facts {
    name: "!",
    aliases: &["sx", "system"],
    kind: Kind::Line,
    usage: "!COMMAND",
    summary: "run a command in the shell; its output appears as it comes",
    help: "It runs in the directory and environment of cells; an interrupt ends it, and a status \
           other than 0 is an error. A line that starts with `!` and a letter is always taken \
           for a command: write `(!x)` for a Rust expression.",
};

impl Magic for Shell {
    fn facts(&self) -> &'static Facts {
        &SHELL
    }

    fn run(&self, desk: &mut dyn Desk, call: &Call) -> Result<(), Failure> {
        if call.args.is_empty() {
            return Err(usage_error(&SHELL, "there is no command"));
        }
        desk.shell(&call.args)
    }

    fn complete(&self, word: &str, known: &Known<'_>) -> Vec<Completion> {
        files(word, known)
    }
}

#[cfg(test)]
mod tests {
    use super::super::double::{Double, usage_of};
    use super::*;

    #[test]
    fn env_lists_without_secrets() {
        let mut desk = Double::default();
        desk.set("API_TOKEN", "abc");
        desk.magic("%env").unwrap();
        assert_eq!(desk.stdout(), "API_TOKEN=<hidden>\nHOME=/home/u\n");
    }

    #[test]
    fn env_shows_sets_and_removes() {
        let mut desk = Double::default();
        for (cell, said) in [
            ("%env HOME", "/home/u\n"),
            ("%env A=b = c", "A=b = c\n"),
            ("%env A b c", "A=b c\n"),
            (":env A=\"x y\"", "A=x y\n"),
            ("%env A = z", "A=z\n"),
            ("%env A=", "A=\n"),
            ("%env A", "\n"),
            ("%env -u A", ""),
        ] {
            let before = desk.stdout().len();
            desk.magic(cell).unwrap();
            assert_eq!(&desk.stdout()[before..], said, "{cell}");
        }
        assert_eq!(variable(&desk, "A"), None);
    }

    #[test]
    fn env_refuses_what_is_no_name() {
        for cell in ["%env 1A=2", "%env =x", "%env -u", "%env a-b", "%env -u a b"] {
            assert!(usage_of(cell).contains("is not the name"), "{cell}");
        }
        assert!(usage_of("%env NOT_THERE").contains("no variable `NOT_THERE`"));
        assert!(usage_of("%env -u NOT_THERE").contains("no variable"));
        let mut desk = Double::broken();
        assert_eq!(desk.magic("%env A=1").unwrap_err().name, "Broken");
    }

    #[test]
    fn cd_goes_and_comes_back() {
        let mut desk = Double::default();
        for cell in ["%cd sub", "%cd -", "%cd", "%cd ~/x", "%cd /tmp", "%cd 'a b'", "%pwd"] {
            desk.magic(cell).unwrap();
        }
        assert_eq!(
            desk.stdout(),
            "/work/sub\n/work\n/home/u\n/home/u/x\n/tmp\n/tmp/a b\n/tmp/a b\n"
        );
    }

    #[test]
    fn cd_refuses_what_it_cannot() {
        assert!(usage_of("%cd -").contains("no previous"));
        assert!(usage_of("%cd a b").contains("here are 2"));
        assert!(usage_of("%pwd x").contains("takes no arguments"));
        let mut desk = Double::broken();
        assert_eq!(desk.magic("%cd nowhere").unwrap_err().name, "Broken");
    }

    #[test]
    fn a_command_reaches_the_shell_as_written() {
        let mut desk = Double::default();
        desk.magic("!echo 'a  b' \\\n  c | wc;").unwrap();
        assert_eq!(desk.calls(), ["shell echo 'a  b' \\\n  c | wc;"]);
        assert!(usage_of("%system").contains("no command"));
        let mut desk = Double::broken();
        assert_eq!(desk.magic("!false").unwrap_err().name, "Broken");
    }
}
