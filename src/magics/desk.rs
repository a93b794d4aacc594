//! What a magic can ask of the session that runs it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parcell_link::{Bundle, Command, Threads, Where};

use crate::engine::Variable;
use crate::stage::{Failure, Stage};

/// How long a piece of Rust took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timing {
    /// Compiling.
    pub compile: Duration,
    /// Running, in the driver.
    pub run: Duration,
}

/// The session as a magic sees it. A method that fails has told the user nothing yet: the magic
/// passes the failure on.
pub trait Desk {
    /// Where outputs go.
    fn stage(&self) -> Arc<dyn Stage>;
    /// Runs Rust as part of this cell, showing the value of its last expression.
    ///
    /// # Errors
    /// What the Rust failed with.
    fn run_rust(&mut self, code: &str) -> Result<Timing, Failure>;
    /// Runs Rust as part of this cell on the processes that `on` names.
    ///
    /// # Errors
    /// What the Rust failed with.
    fn run_rust_on(&mut self, code: &str, on: &Where) -> Result<Timing, Failure>;
    /// Has the library in the driver do something, as if the cell had called it.
    ///
    /// # Errors
    /// What that failed with.
    fn call(&mut self, command: Command) -> Result<(), Failure>;
    /// Ids of the workers that there are, ascending.
    fn workers(&self) -> Vec<u32>;
    /// The session's variables, sorted by name.
    fn variables(&self) -> Vec<Variable>;
    /// Names and kinds of items, sorted.
    fn items(&self) -> Vec<(String, &'static str)>;
    /// Drops these variables.
    ///
    /// # Errors
    /// If one of them does not exist; then none is dropped.
    fn forget(&mut self, names: &[String]) -> Result<(), Failure>;
    /// Forgets all variables and items; dependencies stay.
    fn reset(&mut self);
    /// Starts a new driver: variables are lost, items stay.
    ///
    /// # Errors
    /// If it does not start.
    fn restart(&mut self) -> Result<(), Failure>;
    /// Changes the driver's thread pools, or only asks; how they are now.
    ///
    /// # Errors
    /// If the driver cannot have them so.
    fn threads(&mut self, wanted: Option<Threads>) -> Result<Threads, Failure>;
    /// Changes the driver's working directory and environment; the directory now.
    ///
    /// # Errors
    /// If there is no such directory.
    fn place(
        &mut self,
        directory: Option<&Path>,
        environment: Vec<(String, Option<String>)>,
    ) -> Result<PathBuf, Failure>;
    /// The cells' working directory.
    fn directory(&self) -> PathBuf;
    /// The cells' environment, sorted by name.
    fn environment(&self) -> Vec<(String, String)>;
    /// Adds crates, as on `:dep` lines, and builds them, showing progress.
    ///
    /// # Errors
    /// If a line is wrong or the build fails; the session's crates stay as they were.
    fn add_dependencies(&mut self, lines: &[String]) -> Result<(), Failure>;
    /// The crates added so far, one line each.
    fn dependencies(&self) -> Vec<String>;
    /// Runs a shell command in the cells' directory and environment; its output is shown as it
    /// comes, an interrupt ends it.
    ///
    /// # Errors
    /// If it does not start, or ends with a status other than 0.
    fn shell(&mut self, command: &str) -> Result<(), Failure>;
    /// The optimisation level of cells.
    fn opt_level(&self) -> String;
    /// Sets it for later cells.
    ///
    /// # Errors
    /// If there is no such level.
    fn set_opt_level(&mut self, level: &str) -> Result<(), Failure>;
    /// Documentation of a Rust name or path, if the analyst knows it. Blocks a few seconds at most.
    fn inspect(&self, name: &str) -> Option<Bundle>;
    /// Shows a text in the front end's pager.
    fn page(&mut self, text: Bundle);
    /// Proposes the next cell's source (`replace`: in place of this one).
    fn next_input(&mut self, text: &str, replace: bool);
}
