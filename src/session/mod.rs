//! A session: one engine, one driver, and the state a notebook owns. Used by the kernel's executor
//! thread, and directly by `parcell run`.
//!
//! [`Session::run`] is the way of a cell: its parts in order, each a magic or a piece of Rust;
//! Rust goes through the engine to the driver, whose output [`routing`] takes to the stage.

mod desk;
mod driver;
mod folder;
mod remote;
mod routing;
mod start;
mod sys;
mod workers;

use std::path::PathBuf;
use std::sync::Arc;

use parcell_link::{Command, Outcome};
use serde_json::{Map, Value, json};

use crate::cells::{Dependencies, Library};
use crate::engine::{Engine, LocalEngine, Module, Outline, Run, Runner, Variable};
use crate::magics::{self, Part, Timing};
use crate::stage::{Cell, Failure, Output, Stage, Stream, Verdict};
use desk::CellDesk;
use driver::{Audience, Driver, Ran, Setting};
use remote::Phase;
pub use remote::Remote;
use start::Starting;
pub use sys::{die_with_parent, lower_priority};

/// Removes folders that sessions left behind when they were killed; how many there were.
pub fn sweep_folders() -> usize {
    folder::sweep(&folder::root())
}

/// How to start a session.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Working directory of the cells; the process's own if absent.
    pub directory: Option<PathBuf>,
    /// Files that must not outlive the kernel, even after `kill -9` (ipc sockets).
    pub remove_at_end: Vec<PathBuf>,
    /// Variables of the cells' environment beside those of this process.
    pub environment: Vec<(String, String)>,
}

/// One notebook's state. Not shared between threads: run cells from one thread, keep a
/// [`Remote`] for the others.
pub struct Session {
    remote: Remote,
    starting: Option<Starting>,
    ready: Option<Ready>,
    setting: Setting,
    dependencies: Dependencies,
    payload: Vec<Value>,
    runs: u64,
}

/// What a session has once it has started.
struct Ready {
    /// The library without the notebook's own dependencies.
    base: Library,
    library: Library,
    engine: LocalEngine,
    driver: Driver,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("remote", &self.remote).finish_non_exhaustive()
    }
}

impl Session {
    /// Makes a session. Returns at once: driver, cell library and analyst start in the background.
    pub fn start(options: Options) -> Session {
        let directory = options.directory.or_else(|| std::env::current_dir().ok());
        let given = options.environment.into_iter().map(|(name, value)| (name, Some(value)));
        let setting = Setting {
            program: PathBuf::new(),
            directory: directory.unwrap_or_else(std::env::temp_dir),
            environment: driver::path_to_this_program().into_iter().chain(given).collect(),
            clean_up: options.remove_at_end,
            threads: None,
        };
        let remote = Remote::new();
        remote.move_to(setting.surroundings());
        let starting = Some(Starting::begin(remote.clone(), setting.clone()));
        Session {
            remote,
            starting,
            ready: None,
            setting,
            dependencies: Dependencies::default(),
            payload: Vec::new(),
            runs: 0,
        }
    }

    /// The handle for other threads.
    pub fn remote(&self) -> Remote {
        self.remote.clone()
    }

    /// Runs one cell; its outputs have all been shown on `stage` when this returns. Later output
    /// of threads it started goes to the same stage until the next cell.
    pub fn run(&mut self, cell: &Cell, stage: Arc<dyn Stage>) -> Verdict {
        self.payload.clear();
        let _in_cell = self.remote.in_cell();
        match self.run_parts(cell, &stage) {
            Err(failure) => Verdict::Error(failure),
            Ok(()) => {
                let user_expressions = self.evaluate_all(cell, &stage);
                Verdict::Ok { payload: std::mem::take(&mut self.payload), user_expressions }
            }
        }
    }

    fn run_parts(&mut self, cell: &Cell, stage: &Arc<dyn Stage>) -> Result<(), Failure> {
        for part in magics::split(&cell.code) {
            self.count_workers();
            match part {
                Part::Rust { code } => {
                    self.run_rust(&Cell { code, ..cell.clone() }, stage)?;
                }
                Part::Magic(call) => {
                    let stage = Arc::clone(stage);
                    let mut desk = CellDesk { session: self, stage, cell };
                    magics::run(&mut desk, &call)?;
                }
            }
        }
        Ok(())
    }

    /// Compiles and runs Rust.
    fn run_rust(&mut self, cell: &Cell, stage: &Arc<dyn Stage>) -> Result<Timing, Failure> {
        if cell.code.trim().is_empty() {
            return Ok(Timing::default());
        }
        self.get_ready(stage)?;
        self.replace_dead_driver(stage)?;
        self.count_workers();
        self.remote.analyst().begin(&cell.code);
        self.runs += 1;
        let ready = self.ready.as_mut().expect("made ready just above");
        let Ready { driver, engine, library, .. } = ready;
        let mut runner = DriverRunner::begin(self.runs, driver, &self.remote, cell, stage);
        self.remote.enter(Phase::Compiling);
        let evaluation = engine.evaluate(cell, library, &mut runner);
        let run = std::time::Duration::from_nanos(runner.nanoseconds);
        let died = runner.died;
        self.remote.enter(Phase::Between);
        for notice in &evaluation.notices {
            stage.show(Output::Text(Stream::Stderr, format!("{notice}\n")));
        }
        if died {
            self.start_driver(stage)?;
        } else if !evaluation.dropped.is_empty() {
            ready.driver.forget(evaluation.dropped);
        }
        self.tell_analyst();
        evaluation.result.map(|()| Timing { compile: evaluation.compile_time, run })
    }

    /// Has the library in the driver do what a magic asks for.
    fn call(
        &mut self,
        command: Command,
        cell: &Cell,
        stage: &Arc<dyn Stage>,
    ) -> Result<(), Failure> {
        self.get_ready(stage)?;
        self.replace_dead_driver(stage)?;
        self.runs += 1;
        let ready = self.ready.as_mut().expect("made ready just above");
        let Ready { driver, engine, .. } = ready;
        let mut runner = DriverRunner::begin(self.runs, driver, &self.remote, cell, stage);
        match runner.carry_out(|driver, run, audience| driver.call(run, command, audience)) {
            Run::Ended(outcome) => engine.failure(&outcome).map_or(Ok(()), Err),
            Run::Died(failure) => {
                let failure = engine.driver_died(failure);
                self.start_driver(stage)?;
                Err(failure)
            }
        }
    }

    /// Tells the engine which workers there are.
    fn count_workers(&mut self) {
        if let Some(ready) = &mut self.ready {
            ready.engine.workers_are(&self.remote.workers());
        }
    }

    /// Waits for the background start, showing what takes so long.
    fn get_ready(&mut self, stage: &Arc<dyn Stage>) -> Result<(), Failure> {
        if self.ready.is_some() {
            return Ok(());
        }
        // If the last start failed: what was missing may be there now.
        let again = || Starting::begin(self.remote.clone(), self.setting.clone());
        let starting = self.starting.take().unwrap_or_else(again);
        self.remote.enter(Phase::Between);
        let Some(started) = starting.wait(stage.as_ref(), &self.remote) else {
            self.starting = Some(starting);
            let text = "interrupted while the session starts, which goes on";
            return Err(Failure::new("Interrupted", text));
        };
        let started = started.map_err(|problem| Failure::new("StartError", problem))?;
        self.setting.program.clone_from(&started.library.driver);
        self.setting.clean_up = started.clean_up;
        self.ready = Some(Ready {
            base: started.library.clone(),
            library: started.library,
            engine: started.engine,
            driver: started.driver,
        });
        self.tell_analyst();
        Ok(())
    }

    /// A driver that died between cells is replaced before the next one runs.
    fn replace_dead_driver(&mut self, stage: &Arc<dyn Stage>) -> Result<(), Failure> {
        let ready = self.ready.as_mut().expect("called when ready");
        let Some(why) = ready.driver.died() else { return Ok(()) };
        let lost = list(&ready.engine.variables());
        let text = format!("since the last cell, {why} Variables lost: {lost}\n");
        ready.engine.driver_restarted();
        stage.show(Output::Text(Stream::Stderr, text));
        self.start_driver(stage)
    }

    /// Starts a driver in place of the present one.
    fn start_driver(&mut self, stage: &Arc<dyn Stage>) -> Result<(), Failure> {
        let started = Driver::start(&self.setting, Arc::clone(stage));
        let driver = started.map_err(|e| Failure::new("DriverDied", e.to_string()))?;
        self.remote.set_driver(driver.pid(), driver.fleet().clone());
        self.ready.as_mut().expect("called when ready").driver = driver;
        Ok(())
    }

    fn tell_analyst(&self) {
        if let Some(ready) = &self.ready {
            let dependencies = self.dependencies.lines();
            let outline = Outline { dependencies, ..ready.engine.outline() };
            self.remote.analyst().know(Arc::new(outline), &ready.library);
        }
    }

    /// Values of the request's user expressions, as the protocol wants them.
    fn evaluate_all(&mut self, cell: &Cell, stage: &Arc<dyn Stage>) -> Map<String, Value> {
        let mut values = Map::new();
        for (name, code) in &cell.user_expressions {
            values.insert(name.clone(), self.evaluate(cell, code, stage));
        }
        values
    }

    fn evaluate(&mut self, cell: &Cell, code: &str, stage: &Arc<dyn Stage>) -> Value {
        let catcher = Arc::new(desk::ResultCatcher::new(Arc::clone(stage)));
        let expression = Cell { code: code.to_owned(), count: cell.count, ..Cell::default() };
        let outcome = self.run_rust(&expression, &(Arc::clone(&catcher) as Arc<dyn Stage>));
        if let Some(ready) = &self.ready {
            ready.driver.redirect(Arc::clone(stage));
        }
        match outcome {
            Ok(_) => catcher.value(),
            Err(f) => {
                json!({"status": "error", "ename": f.name, "evalue": f.value, "traceback": f.traceback})
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.remote.close();
    }
}

/// Runs an engine's modules in the session's driver, open to interrupts.
struct DriverRunner<'a> {
    driver: &'a mut Driver,
    remote: &'a Remote,
    run: u64,
    cell: &'a Cell,
    stage: &'a dyn Stage,
    nanoseconds: u64,
    died: bool,
}

impl<'a> DriverRunner<'a> {
    /// From now on outputs go to this stage, late ones of this run for ever.
    fn begin(
        run: u64,
        driver: &'a mut Driver,
        remote: &'a Remote,
        cell: &'a Cell,
        stage: &'a Arc<dyn Stage>,
    ) -> DriverRunner<'a> {
        driver.begin(run, Arc::clone(stage));
        let stage = stage.as_ref();
        DriverRunner { driver, remote, run, cell, stage, nanoseconds: 0, died: false }
    }

    /// Has the driver do something that an interrupt can end.
    fn carry_out(&mut self, order: impl FnOnce(&mut Driver, u64, Audience<'_>) -> Ran) -> Run {
        if !self.remote.begin_running(self.run) {
            return Run::Ended(Outcome::Interrupted);
        }
        let audience = Audience { stage: self.stage, watched: self.cell.watched };
        let ran = order(self.driver, self.run, audience);
        let interrupts = self.remote.interrupts();
        self.remote.enter(Phase::Between);
        match ran {
            Ran::Ended { outcome, nanoseconds } => {
                self.nanoseconds = nanoseconds;
                Run::Ended(outcome)
            }
            Ran::Died(why) => {
                self.died = true;
                Run::Died(death(&why, interrupts))
            }
        }
    }
}

impl Runner for DriverRunner<'_> {
    fn run(&mut self, module: &Module) -> Run {
        let on = &self.cell.on;
        self.carry_out(|driver, run, audience| driver.run(run, module, on, audience))
    }
}

/// The variables' names, for a sentence that says which are lost.
fn list(variables: &[Variable]) -> String {
    let names: Vec<&str> = variables.iter().map(|v| v.name.as_str()).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn death(why: &str, interrupts: u32) -> Failure {
    if interrupts > 0 {
        let text = "the cell did not stop when asked, so its process was ended";
        return Failure::new("Interrupted", text);
    }
    Failure::new("DriverDied", why)
}
