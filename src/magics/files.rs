//! Files: `%load`, `%run` and `%%writefile`.

use std::cell::RefCell;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::args::{one_word, path, words};
use super::complete::files;
use super::{Call, Desk, Facts, Kind, Known, Magic, run_source, say, usage_error};
use crate::stage::{Completion, Failure};

pub(super) struct Load;

static LOAD: Facts = Facts {
    name: "load",
    aliases: &[],
    kind: Kind::Line,
    usage: "load FILE",
    summary: "put the text of a file in place of the cell",
    help: "Nothing is run. The line itself stays above the text as a comment.",
};

impl Magic for Load {
    fn facts(&self) -> &'static Facts {
        &LOAD
    }

    fn run(&self, desk: &mut dyn Desk, call: &Call) -> Result<(), Failure> {
        let written = one_word(&LOAD, &call.args, "FILE")?;
        let text = read(&path(desk, &written))?;
        desk.next_input(&format!("// %load {}\n{}", call.args, text.trim_end()), true);
        Ok(())
    }

    fn complete(&self, word: &str, known: &Known<'_>) -> Vec<Completion> {
        files(word, known)
    }
}

pub(super) struct Run;

static RUN: Facts = Facts {
    name: "run",
    aliases: &[],
    kind: Kind::Line,
    usage: "run FILE",
    summary: "run a Rust file, or the code cells of a notebook, as part of the session",
    help: "A file is run as if its text stood in the cell, magics included; if it defines `main`, \
           that is called at the end. Of a notebook (`.ipynb`) all code cells are run in order, up \
           to the first failure. Items and variables stay.",
};

impl Magic for Run {
    fn facts(&self) -> &'static Facts {
        &RUN
    }

    fn run(&self, desk: &mut dyn Desk, call: &Call) -> Result<(), Failure> {
        let written = one_word(&RUN, &call.args, "FILE")?;
        let file = path(desk, &written);
        let text = read(&file)?;
        let _running = Running::enter(&file)?;
        if file.extension().is_some_and(|extension| extension == "ipynb") {
            return run_notebook(desk, &file, &text);
        }
        let within = |failure| located(failure, format!("in {}", file.display()));
        run_source(desk, &text).map_err(within)?;
        if defines_main(&text) {
            desk.run_rust(CALL_MAIN).map_err(within)?;
        }
        Ok(())
    }

    fn complete(&self, word: &str, known: &Known<'_>) -> Vec<Completion> {
        files(word, known)
    }
}

/// Calls `main` as a program's start does: an error that it returns is printed, and is a failure.
const CALL_MAIN: &str = "assert!(::std::process::Termination::report(main()) == \
                         ::std::process::ExitCode::SUCCESS, \"main returned an error\");";

fn defines_main(text: &str) -> bool {
    text.lines().any(|line| {
        let line = line.strip_prefix("pub ").unwrap_or(line);
        line.strip_prefix("fn main").is_some_and(|rest| rest.trim_start().starts_with('('))
    })
}

fn run_notebook(desk: &mut dyn Desk, file: &Path, text: &str) -> Result<(), Failure> {
    for (number, source) in code_cells(text).map_err(|why| broken(file, &why))? {
        let place = || format!("in cell {number} of {}", file.display());
        run_source(desk, &source).map_err(|failure| located(failure, place()))?;
    }
    Ok(())
}

/// Numbers (from 1, all cells counted) and sources of the code cells.
fn code_cells(text: &str) -> Result<Vec<(usize, String)>, String> {
    let root: Value = serde_json::from_str(text).map_err(|e| format!("it is no JSON: {e}"))?;
    let cells = root["cells"].as_array().ok_or("it has no list of cells")?;
    let code = cells.iter().enumerate().filter(|(_, cell)| cell["cell_type"] == "code");
    Ok(code.map(|(index, cell)| (index + 1, source(&cell["source"]))).collect())
}

/// A source is one string, or a list of lines.
fn source(value: &Value) -> String {
    match value {
        Value::Array(lines) => lines.iter().filter_map(Value::as_str).collect(),
        other => other.as_str().unwrap_or_default().to_owned(),
    }
}

fn located(mut failure: Failure, place: String) -> Failure {
    failure.traceback.push(place);
    failure
}

thread_local! {
    static FILES: RefCell<Vec<PathBuf>> = const { RefCell::new(Vec::new()) };
}

/// A file that is being run; it leaves the list when this is dropped.
struct Running;

impl Running {
    fn enter(file: &Path) -> Result<Running, Failure> {
        let file = file.canonicalize().unwrap_or_else(|_| file.to_owned());
        FILES.with_borrow_mut(|files| {
            if files.contains(&file) {
                return Err(usage_error(&RUN, format!("{} runs itself", file.display())));
            }
            files.push(file);
            Ok(Running)
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        FILES.with_borrow_mut(Vec::pop);
    }
}

pub(super) struct Writefile;

static WRITEFILE: Facts = Facts {
    name: "writefile",
    aliases: &["file"],
    kind: Kind::Cell,
    usage: "writefile [-a] FILE",
    summary: "write the rest of the cell into a file; `-a` appends",
    help: "The text is not run. It ends in one newline at least.",
};

impl Magic for Writefile {
    fn facts(&self) -> &'static Facts {
        &WRITEFILE
    }

    fn run(&self, desk: &mut dyn Desk, call: &Call) -> Result<(), Failure> {
        let mut words = words(&WRITEFILE, &call.args)?;
        let append = words.first().is_some_and(|word| word == "-a" || word == "--append");
        words.drain(..usize::from(append));
        let [written] = &words[..] else {
            let why = format!("one FILE is wanted, here are {}", words.len());
            return Err(usage_error(&WRITEFILE, why));
        };
        let mut text = call.body.clone().unwrap_or_default();
        if !text.ends_with('\n') {
            text.push('\n');
        }
        let file = path(desk, written);
        let deed = match (append, file.exists()) {
            (true, _) => "Appended to",
            (false, true) => "Overwrote",
            (false, false) => "Wrote",
        };
        write(&file, append, &text).map_err(|e| broken(&file, &e.to_string()))?;
        say(desk, format!("{deed} {written}"));
        Ok(())
    }

    fn complete(&self, word: &str, known: &Known<'_>) -> Vec<Completion> {
        files(word, known)
    }
}

fn write(file: &Path, append: bool, text: &str) -> std::io::Result<()> {
    let mut file = match append {
        true => OpenOptions::new().append(true).create(true).open(file)?,
        false => File::create(file)?,
    };
    file.write_all(text.as_bytes())
}

fn read(file: &Path) -> Result<String, Failure> {
    fs::read_to_string(file).map_err(|e| broken(file, &e.to_string()))
}

fn broken(file: &Path, why: &str) -> Failure {
    Failure::new("FileError", format!("{}: {why}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::super::double::{Double, usage_of};
    use super::*;

    /// A desk in a folder with these files.
    fn desk_with(files: &[(&str, &str)]) -> (tempfile::TempDir, Double) {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let mut desk = Double::default();
        folder.path().clone_into(&mut desk.directory);
        (folder, desk)
    }

    #[test]
    fn load_replaces_the_cell() {
        let (_folder, mut desk) = desk_with(&[("a b.rs", "let ü = 1;\n\n")]);
        desk.magic("%load 'a b.rs'").unwrap();
        assert_eq!(desk.calls(), ["replace // %load 'a b.rs'\nlet ü = 1;"]);
        let failure = desk.magic("%load nowhere.rs").unwrap_err();
        assert_eq!(failure.name, "FileError");
        assert!(failure.value.contains("nowhere.rs: No such file"), "{}", failure.value);
        assert!(usage_of("%load").contains("FILE is missing"));
        assert!(usage_of("%load a b").contains("here are 2"));
    }

    #[test]
    fn run_runs_files_with_their_magics() {
        let (_folder, mut desk) = desk_with(&[("a.rs", "f();\n%threads 2\ng()")]);
        desk.magic("%run a.rs").unwrap();
        assert_eq!(
            desk.calls(),
            ["rust f();\n          \n   ", "threads 2,1 Off", "rust     \n          \ng()"]
        );
        assert!(usage_of("%run").contains("FILE is missing"));
    }

    #[test]
    fn run_calls_main() {
        let (_folder, mut desk) =
            desk_with(&[("a.rs", "pub fn main() {}\n"), ("b.rs", "fn main_x() {}")]);
        desk.magic("%run a.rs\n%run b.rs").unwrap();
        let main = format!("rust {CALL_MAIN}");
        assert_eq!(desk.calls(), ["rust pub fn main() {}\n", &main, "rust fn main_x() {}"]);
    }

    #[test]
    fn run_stops_at_a_notebooks_first_failure() {
        let notebook = serde_json::json!({"cells": [
            {"cell_type": "markdown", "source": "no"},
            {"cell_type": "code", "source": ["f();\n", "g()"]},
            {"cell_type": "code", "source": "%nothing_like_it"},
            {"cell_type": "code", "source": "h()"},
        ]});
        let text = notebook.to_string();
        let (_folder, mut desk) = desk_with(&[("n.ipynb", text.as_str()), ("bad.ipynb", "{}")]);
        let failure = desk.magic("%run n.ipynb").unwrap_err();
        assert_eq!(desk.calls(), ["rust f();\ng()"]);
        let place = failure.traceback.last().unwrap();
        assert!(place.starts_with("in cell 3 of ") && place.ends_with("n.ipynb"), "{place}");
        let failure = desk.magic("%run bad.ipynb").unwrap_err();
        assert!(failure.value.contains("no list of cells"), "{}", failure.value);
    }

    #[test]
    fn a_file_that_runs_itself_is_stopped() {
        let (_folder, mut desk) = desk_with(&[("a.rs", "%run b.rs"), ("b.rs", "%run a.rs")]);
        for _ in 0..2 {
            let failure = desk.magic("%run a.rs").unwrap_err();
            assert!(failure.value.contains("a.rs runs itself"), "{}", failure.value);
        }
    }

    #[test]
    fn writefile_writes_and_appends() {
        let (folder, mut desk) = desk_with(&[]);
        for cell in ["%%writefile x.txt\na\n%b", "%%writefile -a x.txt\nc\n", "%%file 'y y'\n"] {
            desk.magic(cell).unwrap();
        }
        desk.magic("%%writefile y\\ y\nz").unwrap();
        let text = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!((text("x.txt"), text("y y")), ("a\n%b\nc\n".to_owned(), "z\n".to_owned()));
        assert_eq!(desk.stdout(), "Wrote x.txt\nAppended to x.txt\nWrote y y\nOverwrote y y\n");
        assert!(desk.calls().is_empty());
        assert_eq!(desk.magic("%%writefile no/x\na").unwrap_err().name, "FileError");
    }

    #[test]
    fn writefile_needs_one_file_and_a_cell() {
        assert!(usage_of("%%writefile\na").contains("here are 0"));
        assert!(usage_of("%%writefile a b\na").contains("here are 2"));
        assert!(usage_of("%%writefile -a\na").contains("here are 0"));
        assert!(usage_of("%writefile a").contains("needs a cell"));
    }
}
