//! The engine: keeps what a session has defined, and takes a cell from source to outcome.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use parcell_link::Outcome;

use super::ahead::Ahead;
use super::outcome;
use super::rustc::Setup;
use super::state::State;
use super::workshop::{Compiled, Refused, Workshop};
use super::{Engine, Evaluation, Module, Outline, Run, Runner, Variable};
use crate::cells::{Compilers, Library, Toolchain};
use crate::stage::{Cell, Failure};

/// Evaluates cells on this machine, with its own compiler.
#[derive(Debug)]
pub struct LocalEngine {
    workshop: Arc<Workshop>,
    state: Arc<State>,
    ahead: Ahead,
    opt_level: String,
    /// Modules that the present driver has loaded, in this order.
    loaded: Vec<Module>,
}

impl LocalEngine {
    /// An engine that writes its modules into `folder`.
    pub fn new(
        folder: &Path,
        toolchain: Toolchain,
        compilers: Compilers,
        ahead: Ahead,
    ) -> LocalEngine {
        LocalEngine {
            workshop: Arc::new(Workshop::new(folder, toolchain, compilers)),
            state: Arc::default(),
            ahead,
            opt_level: "3".to_owned(),
            loaded: Vec::new(),
        }
    }

    /// Compiles something small, so that compiler and cell library lie in memory when the first
    /// cell comes, and has a compiler wait for it. Nothing runs.
    pub fn warm_up(&self, library: &Library) {
        let cell = Cell { code: "1 + 1".to_owned(), ..Cell::default() };
        let setup = self.setup(library);
        // What is wrong here is wrong for the first cell too, which can show it.
        let _ = self.workshop.compile(&cell, &self.state, &setup, false);
        self.workshop.expect(&setup);
    }

    fn setup(&self, library: &Library) -> Setup {
        Setup { library: library.clone(), opt_level: self.opt_level.clone() }
    }

    /// The cell's module: compiled ahead, or now.
    fn compile(&self, cell: &Cell, setup: &Setup) -> Result<Compiled, Refused> {
        let ahead = self.ahead.take(cell, &self.state, setup);
        ahead.unwrap_or_else(|| self.workshop.compile(cell, &self.state, setup, false))
    }

    /// Runs a compiled cell and takes over what it did to the session.
    fn run(&mut self, compiled: Compiled, setup: &Setup, runner: &mut dyn Runner) -> Evaluation {
        let Compiled { draft, module, .. } = compiled;
        let (finished, dropped) = self.state.after(&draft, true);
        let finished = Arc::new(finished);
        self.ahead.foresee(&self.workshop, &finished, setup);
        let mut evaluation = Evaluation { notices: draft.notices.clone(), ..Evaluation::default() };
        match runner.run(&module) {
            Run::Ended(Outcome::Finished) => {
                self.state = finished;
                evaluation.dropped = dropped;
                self.loaded.push(module);
            }
            Run::Ended(other) => {
                evaluation.result =
                    outcome::failure(&other, &self.workshop.files()).map_or(Ok(()), Err);
                if !matches!(other, Outcome::NotLoaded { .. } | Outcome::Refused { .. }) {
                    let (stopped, dropped) = self.state.after(&draft, false);
                    self.state = Arc::new(stopped);
                    evaluation.dropped = dropped;
                    self.loaded.push(module);
                }
            }
            Run::Died(failure) => {
                let lost = self.driver_died(failure);
                Arc::make_mut(&mut self.state).items = draft.items;
                evaluation.result = Err(lost);
            }
        }
        evaluation
    }
}

impl Engine for LocalEngine {
    fn evaluate(&mut self, cell: &Cell, library: &Library, runner: &mut dyn Runner) -> Evaluation {
        let start = Instant::now();
        let setup = self.setup(library);
        let compiled = self.compile(cell, &setup);
        let compile_time = start.elapsed();
        let evaluation = match compiled {
            Ok(compiled) => {
                self.workshop.register(&compiled);
                self.run(compiled, &setup, runner)
            }
            Err(Refused { failure, unnameable }) => {
                if let Some(name) = unnameable {
                    Arc::make_mut(&mut self.state).variables.remove(&name);
                }
                Evaluation { result: Err(failure), ..Evaluation::default() }
            }
        };
        self.workshop.expect(&setup);
        Evaluation { compile_time, ..evaluation }
    }

    fn variables(&self) -> Vec<Variable> {
        self.state.variables.values().cloned().collect()
    }

    fn item_names(&self) -> Vec<String> {
        self.state.items.names().into_iter().map(|(name, _)| name).collect()
    }

    fn loaded(&self) -> &[Module] {
        &self.loaded
    }

    fn workers_are(&mut self, workers: &[u32]) {
        // What was compiled ahead is valid for the very state, so that is left alone if it can be.
        if !self.state.workers.iter().eq(workers) {
            Arc::make_mut(&mut self.state).set_workers(workers.iter().copied().collect());
        }
    }

    fn failure(&self, outcome: &Outcome) -> Option<Failure> {
        outcome::failure(outcome, &self.workshop.files())
    }

    fn forget_variables(&mut self, names: &[String]) {
        Arc::make_mut(&mut self.state).variables.retain(|name, _| !names.contains(name));
    }

    fn driver_restarted(&mut self) {
        Arc::make_mut(&mut self.state).lose_values();
        self.loaded.clear();
    }

    fn driver_died(&mut self, failure: Failure) -> Failure {
        let lost = lost(failure, self.variables());
        self.driver_restarted();
        lost
    }

    fn forget_all(&mut self) {
        self.state = Arc::default();
    }

    fn outline(&self) -> Outline {
        let items = &self.state.items;
        let texts: Vec<&str> = items.iter().map(|i| i.item.text.as_str()).collect();
        Outline {
            items: texts.join("\n"),
            variables: self.variables(),
            names: items.names(),
            sources: items.sources(),
            dependencies: Vec::new(),
        }
    }

    fn opt_level(&self) -> &str {
        &self.opt_level
    }

    fn set_opt_level(&mut self, level: &str) -> Result<(), String> {
        if !["0", "1", "2", "3", "s", "z"].contains(&level) {
            return Err(format!("`{level}` is no optimisation level; use 0, 1, 2, 3, s or z"));
        }
        level.clone_into(&mut self.opt_level);
        Ok(())
    }
}

/// The driver died: no variable is left.
fn lost(mut failure: Failure, variables: Vec<Variable>) -> Failure {
    let names: Vec<String> = variables.into_iter().map(|v| v.name).collect();
    let lost = match names.as_slice() {
        [] => "no variables were lost".to_owned(),
        [one] => format!("variable lost: {one}"),
        many => format!("variables lost: {}", many.join(", ")),
    };
    failure.traceback.push(format!("{lost}; functions and types are still there"));
    failure
}
