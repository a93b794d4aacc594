//! A desk that does nothing: it notes what a magic asks of its session, so that the program can do
//! the same.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parcell_link::{Bundle, Command, Pin, Threads, Where};

use crate::engine::Variable;
use crate::magics::{self, Call, Desk, Timing};
use crate::stage::{Failure, Output, Stage};

/// What a magic asked for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Asked {
    /// Rust on the driver.
    Rust(String),
    /// Rust on other processes.
    RustOn(String, Where),
    /// Something of the library.
    Call(Command),
    /// A thread pool. A number of 0 stands for the default.
    Threads(Threads),
    /// To drop variables.
    Forget(Vec<String>),
    /// Crates.
    Crates(Vec<String>),
    /// To set variables of the environment, or to remove them.
    Environment(Vec<(String, Option<String>)>),
}

/// Magics that a program can do something about. The others are not run: some write files.
const KNOWN: [&str; 9] =
    ["threads", "workers", "rmworkers", "everywhere", "px", "time", "timeit", "forget", "dep"];

/// What a magic asks for; `None` if a program can do nothing about it.
///
/// # Errors
/// What is wrong with its arguments.
pub(super) fn asked(call: &Call, directory: &Path) -> Result<Option<Vec<Asked>>, Failure> {
    let name = magics::find(&call.name).map_or("", |magic| magic.facts().name);
    let mut recorder = Recorder { directory: directory.to_owned(), asked: Vec::new() };
    match name {
        known if KNOWN.contains(&known) => magics::run(&mut recorder, call)?,
        // Which variables there are is known where the program runs: only setting one can fail here.
        "env" => drop(magics::run(&mut recorder, call)),
        _ => {}
    }
    Ok(Some(recorder.asked).filter(|asked| !asked.is_empty()))
}

#[derive(Debug)]
struct Recorder {
    directory: PathBuf,
    asked: Vec<Asked>,
}

/// What magics say about themselves is not wanted.
struct Nobody;

impl Stage for Nobody {
    fn show(&self, _: Output) {}

    fn ask(&self, _: &str, _: bool) -> Option<String> {
        None
    }
}

impl Desk for Recorder {
    fn stage(&self) -> Arc<dyn Stage> {
        Arc::new(Nobody)
    }

    fn run_rust(&mut self, code: &str) -> Result<Timing, Failure> {
        self.asked.push(Asked::Rust(code.to_owned()));
        Ok(Timing::default())
    }

    fn run_rust_on(&mut self, code: &str, on: &Where) -> Result<Timing, Failure> {
        self.asked.push(Asked::RustOn(code.to_owned(), on.clone()));
        Ok(Timing::default())
    }

    fn call(&mut self, command: Command) -> Result<(), Failure> {
        self.asked.push(Asked::Call(command));
        Ok(())
    }

    /// Which there will be, nobody knows: any id that is asked for may be one.
    fn workers(&self) -> Vec<u32> {
        (2..=1025).collect()
    }

    fn variables(&self) -> Vec<Variable> {
        Vec::new()
    }

    fn items(&self) -> Vec<(String, &'static str)> {
        Vec::new()
    }

    fn forget(&mut self, names: &[String]) -> Result<(), Failure> {
        self.asked.push(Asked::Forget(names.to_vec()));
        Ok(())
    }

    fn reset(&mut self) {}

    fn restart(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    fn threads(&mut self, wanted: Option<Threads>) -> Result<Threads, Failure> {
        let last = self.asked.iter().rev().find_map(|asked| match asked {
            Asked::Threads(threads) => Some(*threads),
            _ => None,
        });
        let now = last.unwrap_or(Threads { default: 0, interactive: 1, pin: Pin::Off });
        self.asked.extend(wanted.map(Asked::Threads));
        Ok(wanted.unwrap_or(now))
    }

    fn place(
        &mut self,
        _: Option<&Path>,
        environment: Vec<(String, Option<String>)>,
    ) -> Result<PathBuf, Failure> {
        self.asked.push(Asked::Environment(environment));
        Ok(self.directory.clone())
    }

    fn directory(&self) -> PathBuf {
        self.directory.clone()
    }

    fn environment(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    fn add_dependencies(&mut self, lines: &[String]) -> Result<(), Failure> {
        self.asked.push(Asked::Crates(lines.to_vec()));
        Ok(())
    }

    fn dependencies(&self) -> Vec<String> {
        Vec::new()
    }

    fn shell(&mut self, _: &str) -> Result<(), Failure> {
        Ok(())
    }

    fn opt_level(&self) -> String {
        "3".to_owned()
    }

    fn set_opt_level(&mut self, _: &str) -> Result<(), Failure> {
        Ok(())
    }

    fn inspect(&self, _: &str) -> Option<Bundle> {
        None
    }

    fn page(&mut self, _: Bundle) {}

    fn next_input(&mut self, _: &str, _: bool) {}
}
