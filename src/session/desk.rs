//! The session as magics see it.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use parcell_link::{Bundle, Command as Builtin, Place, Threads, Where};
use serde_json::{Map, Value, json};

use super::remote::Phase;
use super::routing::copy;
use super::start::Bar;
use super::{Session, list, sys};
use crate::engine::{Engine, Variable};
use crate::magics::{Desk, Timing};
use crate::stage::{Cell, Failure, Output, Stage, Stream};

/// A session at work on one cell.
pub(super) struct CellDesk<'a> {
    pub(super) session: &'a mut Session,
    pub(super) stage: Arc<dyn Stage>,
    pub(super) cell: &'a Cell,
}

impl CellDesk<'_> {
    fn ready(&mut self) -> Result<&mut super::Ready, Failure> {
        self.session.get_ready(&self.stage)?;
        self.session.replace_dead_driver(&self.stage)?;
        Ok(self.session.ready.as_mut().expect("made ready just above"))
    }
}

impl Desk for CellDesk<'_> {
    fn stage(&self) -> Arc<dyn Stage> {
        Arc::clone(&self.stage)
    }

    fn run_rust(&mut self, code: &str) -> Result<Timing, Failure> {
        self.run_rust_on(code, &Where::Driver)
    }

    fn run_rust_on(&mut self, code: &str, on: &Where) -> Result<Timing, Failure> {
        let cell = Cell { code: code.to_owned(), on: on.clone(), ..self.cell.clone() };
        // A magic that runs Rust may time it, or have it compiled in a way of its own.
        let ahead = self.session.remote.ahead().clone();
        ahead.pause(true);
        let result = self.session.run_rust(&cell, &self.stage);
        ahead.pause(false);
        result
    }

    fn call(&mut self, command: Builtin) -> Result<(), Failure> {
        self.session.call(command, self.cell, &self.stage)
    }

    fn workers(&self) -> Vec<u32> {
        self.session.remote.workers()
    }

    fn variables(&self) -> Vec<Variable> {
        self.session.ready.as_ref().map(|r| r.engine.variables()).unwrap_or_default()
    }

    fn items(&self) -> Vec<(String, &'static str)> {
        let names = |r: &super::Ready| r.engine.outline().names;
        self.session.ready.as_ref().map(names).unwrap_or_default()
    }

    fn forget(&mut self, names: &[String]) -> Result<(), Failure> {
        let known: Vec<String> = self.variables().into_iter().map(|v| v.name).collect();
        if let Some(unknown) = names.iter().find(|n| !known.contains(n)) {
            return Err(Failure::new("UsageError", format!("there is no variable `{unknown}`")));
        }
        let stage = self.stage();
        let ready = self.ready()?;
        let mut places = placed(ready.engine.variables());
        places.retain(|(name, _)| names.contains(name));
        ready.engine.forget_variables(names);
        ready.driver.redirect(stage);
        ready.driver.forget(places);
        self.session.tell_analyst();
        Ok(())
    }

    fn reset(&mut self) {
        let stage = self.stage();
        if let Some(ready) = self.session.ready.as_mut() {
            ready.driver.redirect(stage);
            ready.driver.forget_runs();
            ready.driver.forget(placed(ready.engine.variables()));
            ready.engine.forget_all();
            self.session.tell_analyst();
        }
    }

    fn restart(&mut self) -> Result<(), Failure> {
        self.ready()?.engine.driver_restarted();
        self.session.start_driver(&self.stage)
    }

    fn threads(&mut self, wanted: Option<Threads>) -> Result<Threads, Failure> {
        let threads = self.ready()?.driver.set_threads(wanted);
        let threads = threads.map_err(|e| Failure::new("ThreadError", e))?;
        if wanted.is_some() {
            self.session.setting.threads = wanted;
        }
        Ok(threads)
    }

    fn place(
        &mut self,
        directory: Option<&Path>,
        environment: Vec<(String, Option<String>)>,
    ) -> Result<PathBuf, Failure> {
        let path = directory.map(|d| d.display().to_string());
        let placed = self.ready()?.driver.place(path, environment.clone());
        let placed = placed.map_err(|e| Failure::new("IoError", e))?;
        let setting = &mut self.session.setting;
        setting.directory.clone_from(&placed);
        setting.environment.retain(|(name, _)| !environment.iter().any(|(n, _)| n == name));
        setting.environment.extend(environment);
        self.session.remote.move_to(self.session.setting.surroundings());
        Ok(placed)
    }

    fn directory(&self) -> PathBuf {
        self.session.setting.directory.clone()
    }

    fn environment(&self) -> Vec<(String, String)> {
        self.session.setting.full_environment().into_iter().collect()
    }

    fn add_dependencies(&mut self, lines: &[String]) -> Result<(), Failure> {
        let wrong = |e: crate::cells::Error| match e {
            crate::cells::Error::Interrupted(_) => Failure::new("Interrupted", e.to_string()),
            _ => Failure::new("DependencyError", e.to_string()),
        };
        let mut wanted = self.session.dependencies.clone();
        let mut changed = false;
        for line in lines {
            changed |= wanted.add(line, &self.session.setting.directory).map_err(wrong)?;
        }
        if !changed {
            return Ok(());
        }
        let base = self.ready()?.base.clone();
        let mut bar = Bar::new(self.stage.as_ref());
        let compilers = self.session.remote.compilers();
        let built = wanted.build(&base, &compilers, &mut |progress| bar.show(&progress));
        let library = built.map_err(wrong)?;
        bar.finish("dependencies are ready");
        self.session.setting.program.clone_from(&library.driver);
        let ready = self.ready()?;
        let same = ready.library.identity == library.identity;
        ready.library = library;
        self.session.dependencies = wanted;
        if !same {
            let lost = list(&self.variables());
            self.restart()?;
            let text = format!(
                "the crates need the cell library with other features: the driver was restarted. \
                 Variables lost: {lost}\n"
            );
            self.stage.show(Output::Text(Stream::Stderr, text));
        }
        self.session.tell_analyst();
        Ok(())
    }

    fn dependencies(&self) -> Vec<String> {
        self.session.dependencies.lines()
    }

    fn shell(&mut self, command: &str) -> Result<(), Failure> {
        let mut shell = Command::new("/bin/sh");
        shell
            .args(["-c", command])
            .current_dir(&self.session.setting.directory)
            .env_clear()
            .envs(self.environment())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        sys::die_with_parent(&mut shell);
        let failed = |e: std::io::Error| Failure::new("ShellError", format!("/bin/sh: {e}"));
        let mut child = shell.spawn().map_err(failed)?;
        self.session.remote.enter(Phase::Shell { group: child.id(), interrupts: 0 });
        let out = child.stdout.take().expect("piped");
        let err = child.stderr.take().expect("piped");
        std::thread::scope(|scope| {
            let stage = self.stage.as_ref();
            scope.spawn(move || copy(Stream::Stdout, out, stage));
            scope.spawn(move || copy(Stream::Stderr, err, stage));
        });
        let status = child.wait().map_err(failed)?;
        let interrupts = self.session.remote.interrupts();
        self.session.remote.enter(Phase::Between);
        match (interrupts, status.success()) {
            (0, true) => Ok(()),
            (0, false) => {
                Err(Failure::new("ShellError", format!("`{command}` ended with {status}")))
            }
            _ => Err(Failure::new("Interrupted", format!("`{command}` was interrupted"))),
        }
    }

    fn opt_level(&self) -> String {
        self.session.ready.as_ref().map_or("3", |r| r.engine.opt_level()).to_owned()
    }

    fn set_opt_level(&mut self, level: &str) -> Result<(), Failure> {
        let set = self.ready()?.engine.set_opt_level(level);
        set.map_err(|e| Failure::new("UsageError", e))
    }

    fn inspect(&self, name: &str) -> Option<Bundle> {
        let (remote, cursor) = (&self.session.remote, name.chars().count());
        let ask = || remote.inspect(name, cursor, Instant::now());
        remote.describe(name, cursor, 1).or_else(ask)
    }

    fn page(&mut self, text: Bundle) {
        let data: Map<String, Value> =
            text.data.into_iter().map(|(mime, text)| (mime, text.into())).collect();
        self.session.payload.push(json!({"source": "page", "data": data, "start": 0}));
    }

    fn next_input(&mut self, text: &str, replace: bool) {
        let payload = json!({"source": "set_next_input", "text": text, "replace": replace});
        self.session.payload.push(payload);
    }
}

/// Variables with the processes that hold them.
fn placed(variables: Vec<Variable>) -> Vec<(String, Place)> {
    variables.into_iter().map(|v| (v.name, v.place)).collect()
}

/// Catches the value of a user expression; everything else goes on to the cell's stage.
pub(super) struct ResultCatcher {
    stage: Arc<dyn Stage>,
    caught: Mutex<Option<Bundle>>,
}

impl ResultCatcher {
    pub(super) fn new(stage: Arc<dyn Stage>) -> ResultCatcher {
        ResultCatcher { stage, caught: Mutex::new(None) }
    }

    /// The value as a reply carries it.
    pub(super) fn value(&self) -> Value {
        let caught = self.caught.lock().unwrap_or_else(PoisonError::into_inner).take();
        let data: Map<String, Value> = caught
            .into_iter()
            .flat_map(|bundle| bundle.data)
            .map(|(mime, text)| (mime, text.into()))
            .collect();
        json!({"status": "ok", "data": data, "metadata": {}})
    }
}

impl Stage for ResultCatcher {
    fn show(&self, output: Output) {
        match output {
            Output::Result(bundle) => {
                *self.caught.lock().unwrap_or_else(PoisonError::into_inner) = Some(bundle);
            }
            other => self.stage.show(other),
        }
    }

    fn ask(&self, prompt: &str, password: bool) -> Option<String> {
        self.stage.ask(prompt, password)
    }
}
