//! A desk for tests: it notes what magics ask for, and does it to itself.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use parcell_link::{Bundle, Command, Pin, Place, Threads, Where};

use super::{Desk, Timing, run_source};
use crate::engine::Variable;
use crate::stage::{Failure, Output, Stage, Stream};

/// Keeps what is shown.
#[derive(Debug, Default)]
struct Memory(Mutex<Vec<Output>>);

impl Stage for Memory {
    fn show(&self, output: Output) {
        self.0.lock().unwrap().push(output);
    }

    fn ask(&self, _: &str, _: bool) -> Option<String> {
        None
    }
}

/// The desk.
#[derive(Debug)]
pub(super) struct Double {
    pub(super) variables: Vec<(&'static str, &'static str, bool)>,
    /// The processes that hold all of them.
    pub(super) place: Place,
    workers: Vec<u32>,
    pub(super) items: Vec<(&'static str, &'static str)>,
    broken: bool,
    pub(super) directory: PathBuf,
    pub(super) pages: Vec<Bundle>,
    environment: Vec<(String, String)>,
    crates: Vec<String>,
    level: String,
    calls: Vec<String>,
    stage: Arc<Memory>,
}

impl Default for Double {
    fn default() -> Double {
        Double {
            variables: Vec::new(),
            place: Place::default(),
            workers: Vec::new(),
            items: Vec::new(),
            broken: false,
            directory: PathBuf::from("/work"),
            pages: Vec::new(),
            environment: vec![("HOME".to_owned(), "/home/u".to_owned())],
            crates: Vec::new(),
            level: "3".to_owned(),
            calls: Vec::new(),
            stage: Arc::default(),
        }
    }
}

/// What a cell whose magic is used wrongly is told. The desk must not have been asked for anything.
pub(super) fn usage_of(cell: &str) -> String {
    let mut desk = Double::default();
    let failure = desk.magic(cell).expect_err(cell);
    assert_eq!(failure.name, "UsageError", "{cell}: {failure:?}");
    assert!(failure.traceback[1].starts_with("usage: "), "{failure:?}");
    assert!(!failure.value.contains('\n'), "{failure:?}");
    assert_eq!(desk.calls(), Vec::<String>::new(), "{cell}");
    failure.value
}

impl Double {
    /// A desk at which everything fails that can.
    pub(super) fn broken() -> Double {
        Double { broken: true, ..Double::default() }
    }

    /// A desk with these workers.
    pub(super) fn with_workers(ids: &[u32]) -> Double {
        Double { workers: ids.to_vec(), ..Double::default() }
    }

    /// Runs a cell, as a session does.
    pub(super) fn magic(&mut self, cell: &str) -> Result<(), Failure> {
        run_source(self, cell).map(drop)
    }

    /// What the desk was asked to do.
    pub(super) fn calls(&self) -> Vec<String> {
        self.calls.clone()
    }

    pub(super) fn set(&mut self, name: &str, value: &str) {
        self.environment.retain(|(n, _)| n != name);
        self.environment.push((name.to_owned(), value.to_owned()));
        self.environment.sort();
    }

    pub(super) fn stdout(&self) -> String {
        let outputs = self.stage.0.lock().unwrap();
        let text = outputs.iter().filter_map(|output| match output {
            Output::Text(Stream::Stdout, text) => Some(text.as_str()),
            _ => None,
        });
        text.collect()
    }

    /// Text and html of the only display.
    pub(super) fn displayed(&self) -> (String, String) {
        let outputs = self.stage.0.lock().unwrap();
        let [Output::Display(bundle, None)] = &outputs[..] else { panic!("{outputs:?}") };
        let get = |mime| bundle.get(mime).unwrap().to_owned();
        (get("text/plain"), get("text/html"))
    }

    fn note(&mut self, call: String) -> Result<(), Failure> {
        if self.broken {
            return Err(Failure::new("Broken", call));
        }
        self.calls.push(call);
        Ok(())
    }
}

impl Desk for Double {
    fn stage(&self) -> Arc<dyn Stage> {
        self.stage.clone()
    }

    fn run_rust(&mut self, code: &str) -> Result<Timing, Failure> {
        self.note(format!("rust {code}"))?;
        let micros = Duration::from_micros;
        Ok(Timing { compile: micros(85_100), run: micros(12_300) })
    }

    fn run_rust_on(&mut self, code: &str, on: &Where) -> Result<Timing, Failure> {
        self.note(format!("{on:?} {code}"))?;
        Ok(Timing::default())
    }

    fn call(&mut self, command: Command) -> Result<(), Failure> {
        self.note(format!("{command:?}"))
    }

    fn workers(&self) -> Vec<u32> {
        self.workers.clone()
    }

    fn variables(&self) -> Vec<Variable> {
        let variable = |(name, type_name, mutable): &(&str, &str, bool)| Variable {
            name: (*name).to_owned(),
            type_name: (*type_name).to_owned(),
            mutable: *mutable,
            place: self.place.clone(),
        };
        self.variables.iter().map(variable).collect()
    }

    fn items(&self) -> Vec<(String, &'static str)> {
        self.items.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect()
    }

    fn forget(&mut self, names: &[String]) -> Result<(), Failure> {
        self.note(format!("forget {}", names.join(" ")))
    }

    fn reset(&mut self) {
        self.calls.push("reset".to_owned());
        (self.variables, self.items) = (Vec::new(), Vec::new());
    }

    fn restart(&mut self) -> Result<(), Failure> {
        self.note("restart".to_owned())?;
        self.variables.clear();
        Ok(())
    }

    fn threads(&mut self, wanted: Option<Threads>) -> Result<Threads, Failure> {
        let Some(threads) = wanted else {
            return Ok(Threads { default: 2, interactive: 1, pin: Pin::Off });
        };
        let Threads { default, interactive, pin } = threads;
        self.note(format!("threads {default},{interactive} {pin:?}")).map(|()| threads)
    }

    fn place(
        &mut self,
        directory: Option<&Path>,
        environment: Vec<(String, Option<String>)>,
    ) -> Result<PathBuf, Failure> {
        self.note(format!("place {directory:?}"))?;
        for (name, value) in environment {
            match value {
                Some(value) => self.set(&name, &value),
                None => self.environment.retain(|(n, _)| *n != name),
            }
        }
        self.directory = directory.unwrap_or(&self.directory).to_owned();
        Ok(self.directory.clone())
    }

    fn directory(&self) -> PathBuf {
        self.directory.clone()
    }

    fn environment(&self) -> Vec<(String, String)> {
        self.environment.clone()
    }

    fn add_dependencies(&mut self, lines: &[String]) -> Result<(), Failure> {
        self.note(format!("dep {}", lines.join("|")))?;
        self.crates.extend_from_slice(lines);
        Ok(())
    }

    fn dependencies(&self) -> Vec<String> {
        self.crates.clone()
    }

    fn shell(&mut self, command: &str) -> Result<(), Failure> {
        self.note(format!("shell {command}"))
    }

    fn opt_level(&self) -> String {
        self.level.clone()
    }

    fn set_opt_level(&mut self, level: &str) -> Result<(), Failure> {
        self.note(format!("opt {level}"))?;
        level.clone_into(&mut self.level);
        Ok(())
    }

    fn inspect(&self, name: &str) -> Option<Bundle> {
        let text = format!("about {name}");
        (name != "unknown_thing").then(|| Bundle::text(&*text).with("text/markdown", &*text))
    }

    fn page(&mut self, text: Bundle) {
        self.pages.push(text);
    }

    fn next_input(&mut self, text: &str, replace: bool) {
        self.calls.push(format!("{} {text}", if replace { "replace" } else { "next" }));
    }
}
