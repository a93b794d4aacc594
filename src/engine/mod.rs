//! From Rust source to a module that a driver can run. Nothing outside this folder knows how that
//! is done: the session sees [`Engine`] alone.
//!
//! A cell takes this way: [`parse`] splits it into items and statements, [`items`] finds which
//! earlier items it reaches, [`draft`] holds what it needs and leaves behind, [`generate`] writes
//! the module's source, [`rustc`] compiles it (and, beside that, asks the compiler for the types
//! of new variables), [`linker`] links it, [`diagnose`] turns complaints into corrections or into
//! what the user reads. [`workshop`] ties these together; [`local`] runs what comes of it and
//! keeps the session's [`state`].

mod ahead;
mod analyst;
mod chronicle;
mod completeness;
mod diagnose;
mod draft;
mod edit;
mod generate;
mod items;
mod linker;
mod local;
mod macros;
mod numbers;
mod outcome;
mod parse;
mod places;
mod races;
mod rustc;
mod standby;
mod state;
mod statics;
mod tokens;
mod workshop;

use std::io;
use std::path::PathBuf;

use parcell_link::{Bundle, Outcome, Place};
use sha2::{Digest, Sha256};

pub use ahead::Ahead;
pub use analyst::{Analyst, server as analyst_server};
pub use chronicle::{Chronicle, Definition, Section};
pub use completeness::completeness;
pub use local::LocalEngine;
pub use places::in_words;

use crate::cells::Library;
use crate::stage::{Cell, Failure};

/// How a module that was run ended, as the engine needs to know it.
#[derive(Debug, Clone, PartialEq)]
pub enum Run {
    /// The driver reported an outcome.
    Ended(Outcome),
    /// The driver's process is gone, and with it every variable.
    Died(Failure),
}

/// A compiled cell, as a process that runs it must know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// Unique within the session, in the order of compilation.
    pub number: usize,
    /// The shared object. It stays as it is as long as the session.
    pub file: PathBuf,
    /// The function to call.
    pub symbol: String,
    /// Numbers of the modules that must be loaded before, since this one uses their statics.
    pub needs: Vec<usize>,
    /// Shared libraries that must be loaded before, in this order.
    pub libraries: Vec<PathBuf>,
}

impl Module {
    /// SHA-256 of the file, in hexadecimal: what tells a process that has the module already.
    /// Reads the file.
    ///
    /// # Errors
    /// Those of reading it.
    pub fn hash(&self) -> io::Result<String> {
        Ok(hex::encode(Sha256::digest(std::fs::read(&self.file)?)))
    }
}

/// Runs a module in the driver.
pub trait Runner {
    /// Loads the module, calls its function, returns when all its output has been shown.
    fn run(&mut self, module: &Module) -> Run;
}

/// A variable that lives between cells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its type, as a cell would write it.
    pub type_name: String,
    /// Whether it was bound with `mut`.
    pub mutable: bool,
    /// The processes that hold it.
    pub place: Place,
}

/// What evaluating a cell came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// The failure, if there is one.
    pub result: Result<(), Failure>,
    /// Things the user should be told although nothing failed.
    pub notices: Vec<String>,
    /// Variables to drop, and on which processes.
    pub dropped: Vec<(String, Place)>,
    /// Time that the cell waited for the compiler.
    pub compile_time: std::time::Duration,
}

impl Default for Evaluation {
    fn default() -> Evaluation {
        let compile_time = std::time::Duration::ZERO;
        Evaluation { result: Ok(()), notices: Vec::new(), dropped: Vec::new(), compile_time }
    }
}

/// The seam between a session and what evaluates Rust.
pub trait Engine {
    /// Compiles and runs one cell, whose magics have been blanked out.
    fn evaluate(&mut self, cell: &Cell, library: &Library, runner: &mut dyn Runner) -> Evaluation;
    /// The session's variables, sorted by name.
    fn variables(&self) -> Vec<Variable>;
    /// Names of the items defined, sorted.
    fn item_names(&self) -> Vec<String>;
    /// Says which workers there are, ascending: variables of those that are gone are lost.
    fn workers_are(&mut self, workers: &[u32]);
    /// What the user reads of something that the driver ran and that did not finish.
    fn failure(&self, outcome: &Outcome) -> Option<Failure>;
    /// Modules that the present driver has loaded, in this order.
    fn loaded(&self) -> &[Module];
    /// Forgets these variables; the driver's copies are the session's business.
    fn forget_variables(&mut self, names: &[String]);
    /// The driver is a new one: variables are gone, and statics begin anew.
    fn driver_restarted(&mut self);
    /// As [`Engine::driver_restarted`], for a driver that died; adds to the failure what is lost.
    fn driver_died(&mut self, failure: Failure) -> Failure;
    /// Forgets everything: variables and items.
    fn forget_all(&mut self);
    /// What the analyst must know to complete and inspect.
    fn outline(&self) -> Outline;
    /// The optimisation level, `0` to `3` or `s`.
    fn opt_level(&self) -> &str;
    /// Sets the optimisation level of later cells.
    ///
    /// # Errors
    /// If there is no such level.
    fn set_opt_level(&mut self, level: &str) -> Result<(), String>;
}

/// A session's items and variables as source text, for completion and inspection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outline {
    /// All items.
    pub items: String,
    /// All variables.
    pub variables: Vec<Variable>,
    /// Names of the items.
    pub names: Vec<(String, &'static str)>,
    /// Source of the items, by name.
    pub sources: Vec<(String, String)>,
    /// `:dep` lines.
    pub dependencies: Vec<String>,
}

/// Documentation found for a place in the source.
pub type Inspection = Option<Bundle>;
