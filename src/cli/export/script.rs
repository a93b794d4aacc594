//! What a notebook does, in order: Rust, and what its magics ask for.

use std::path::Path;

use parcell_link::{Adaptive, Command, Pin, Threads, Where, WorkerOptions};

use super::recorder::{Asked, asked};
use crate::cells::Dependencies;
use crate::cli::notebook::{AnyCell, CodeCell};
use crate::magics::{self, Call, Part, split};

/// A notebook as a program needs it.
#[derive(Debug, Default)]
pub(super) struct Script {
    pub(super) steps: Vec<Step>,
    /// Stretches of Rust, by the numbers that steps have for them.
    pub(super) sections: Vec<String>,
    /// The cell of each section.
    pub(super) cells: Vec<usize>,
    pub(super) crates: Dependencies,
    pub(super) environment: Vec<(String, String)>,
    /// The thread pool of the notebook's first `%threads`, a number of 0 for the default.
    pub(super) threads: Option<Threads>,
    /// The most workers at a time, and the most threads in one of them.
    pub(super) workers: usize,
    pub(super) worker_threads: usize,
    /// What the program does not do although the notebook did: cell, and what it is.
    pub(super) left_out: Vec<(usize, String)>,
    running: usize,
}

/// One thing that a notebook does.
#[derive(Debug, PartialEq)]
pub(super) struct Step {
    /// The cell, counted from 1 over all cells of the file.
    pub(super) cell: usize,
    /// The magic that it comes from.
    pub(super) magic: Option<String>,
    pub(super) act: Act,
}

#[derive(Debug, PartialEq)]
pub(super) enum Act {
    /// Markdown.
    Prose(String),
    /// Something left out, and why.
    LeftOut { text: String, why: &'static str },
    /// Rust on process 1.
    Rust { section: usize, timed: bool },
    /// Rust on workers, and on process 1 too.
    Remote { section: usize, driver: bool, targets: Option<Vec<u32>> },
    /// A line that is no Rust of the notebook's own.
    Line(String),
    /// A new size of the thread pool.
    Threads(Threads),
}

/// What cannot be exported: the cell, counted from 1, and why.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) cell: usize,
    pub(super) problem: String,
}

impl Script {
    /// Reads the cells of a notebook that lies in `directory`.
    pub(super) fn read(cells: &[AnyCell], directory: &Path) -> Result<Script, Refused> {
        let mut script = Script { worker_threads: 1, ..Script::default() };
        let mut last = 0;
        for cell in cells {
            match cell {
                AnyCell::Prose(text) => script.step(last + 1, None, Act::Prose(text.clone())),
                AnyCell::Code(cell) => {
                    last = cell.index + 1;
                    script.code(cell, directory)?;
                }
            }
        }
        Ok(script)
    }

    fn step(&mut self, cell: usize, magic: Option<&str>, act: Act) {
        self.steps.push(Step { cell, magic: magic.map(str::to_owned), act });
    }

    fn leave_out(&mut self, cell: usize, text: &str, why: &'static str) {
        let first = text.trim().lines().next().unwrap_or_default();
        self.left_out.push((cell, format!("{first} ({why})")));
        self.step(cell, None, Act::LeftOut { text: text.to_owned(), why });
    }

    fn code(&mut self, cell: &CodeCell, directory: &Path) -> Result<(), Refused> {
        let number = cell.index + 1;
        if cell.source.trim().is_empty() {
            return Ok(());
        }
        if cell.may_fail() || cell.skipped() || cell.tags.iter().any(|tag| tag == "skip") {
            let why = if cell.may_fail() { "it is there to fail" } else { "its tag says so" };
            self.leave_out(number, &cell.source, why);
            return Ok(());
        }
        for part in split(&cell.source) {
            match part {
                Part::Rust { code } => {
                    let section = self.section(number, &code);
                    self.step(number, None, Act::Rust { section, timed: false });
                }
                Part::Magic(call) => self.magic(number, &call, directory)?,
            }
        }
        Ok(())
    }

    fn section(&mut self, cell: usize, code: &str) -> usize {
        let lines = code.lines().skip_while(|line| line.trim().is_empty());
        let text = lines.collect::<Vec<_>>().join("\n");
        self.sections.push(text.trim().to_owned());
        self.cells.push(cell);
        self.sections.len() - 1
    }

    fn magic(&mut self, cell: usize, call: &Call, directory: &Path) -> Result<(), Refused> {
        let name = magics::find(&call.name).map_or("", |magic| magic.facts().name);
        let args = call.args.lines().next().unwrap_or_default();
        let space = if name == "!" || args.is_empty() { "" } else { " " };
        let written = format!("{}{space}{args}", call.written());
        let refused = |problem: String| Refused { cell, problem };
        if name == "run" {
            let problem = format!("`{written}` runs another file: put its cells into the notebook");
            return Err(refused(problem));
        }
        let Some(asked) = asked(call, directory).map_err(|failure| refused(failure.value))? else {
            let body = call.body.as_deref().unwrap_or_default();
            let text = format!("{written}\n{body}");
            self.leave_out(cell, text.trim(), "a program has no use for it");
            return Ok(());
        };
        for one in asked {
            self.follow(cell, &written, one, name == "time", directory)?;
        }
        Ok(())
    }

    /// Does what a magic asks for.
    fn follow(
        &mut self,
        cell: usize,
        written: &str,
        asked: Asked,
        timed: bool,
        directory: &Path,
    ) -> Result<(), Refused> {
        let act = match asked {
            Asked::Rust(code) => {
                let section = self.section(cell, &code.replace("::parcell::", "parcell::"));
                Act::Rust { section, timed }
            }
            Asked::RustOn(code, on) => {
                let section = self.section(cell, &code);
                match on {
                    Where::Driver => Act::Rust { section, timed },
                    Where::Everywhere => Act::Remote { section, driver: true, targets: None },
                    Where::Workers { targets, .. } => {
                        Act::Remote { section, driver: false, targets }
                    }
                }
            }
            Asked::Forget(names) => {
                let section = self.section(cell, &drop_of(&names));
                Act::Rust { section, timed }
            }
            Asked::Threads(threads) => {
                self.threads.get_or_insert(threads);
                Act::Threads(threads)
            }
            Asked::Crates(lines) => {
                for line in lines {
                    let added = self.crates.add(&line, directory);
                    added.map_err(|e| Refused { cell, problem: e.to_string() })?;
                }
                return Ok(());
            }
            Asked::Environment(changes) => {
                let set = changes.into_iter().filter_map(|(name, value)| Some((name, value?)));
                self.environment.extend(set);
                let why = "job.sh sets it before the program starts";
                Act::LeftOut { text: written.to_owned(), why }
            }
            Asked::Call(command) => return self.call(cell, written, command),
        };
        self.step(cell, Some(written), act);
        Ok(())
    }

    fn call(&mut self, cell: usize, written: &str, command: Command) -> Result<(), Refused> {
        let line = match command {
            Command::AddWorkers { count, options } => {
                let wanted =
                    wanted(count, &options).map_err(|problem| Refused { cell, problem })?;
                self.running += count.unwrap_or(0);
                self.workers = self.workers.max(self.running);
                self.worker_threads = self.worker_threads.max(options.threads.unwrap_or(1));
                match options.manager.as_str() {
                    "" | "local" => format!("{START_WORKERS}({wanted});"),
                    _ => format!("addprocs({wanted});"),
                }
            }
            Command::RemoveWorkers { ids, timeout } => {
                self.running -=
                    ids.as_ref().map_or(self.running, |ids| ids.len().min(self.running));
                // Of `%rmworkers 2-9` those that there are.
                let ids = match ids {
                    Some(ids) => format!("&{ids:?}"),
                    None => "&procs()[1..]".to_owned(),
                };
                match timeout {
                    Some(seconds) => {
                        format!("parcell::distributed::try_rmprocs({ids}, {seconds:?})?;")
                    }
                    None => format!("rmprocs({ids});"),
                }
            }
            Command::ShowWorkers { .. } => {
                self.leave_out(cell, written, "the table is for notebooks");
                return Ok(());
            }
        };
        self.step(cell, Some(written), Act::Line(line));
        Ok(())
    }
}

fn drop_of(names: &[String]) -> String {
    names.iter().map(|name| format!("drop({name});")).collect::<Vec<_>>().join("\n")
}

/// The function of the program that starts workers.
pub(super) const START_WORKERS: &str = "start_workers";

/// The argument of `addprocs` that asks for such workers.
fn wanted(count: Option<usize>, options: &WorkerOptions) -> Result<String, String> {
    let mut given = options.manager_options.clone();
    let mut text = match count {
        Some(count) => match options.adaptive {
            Some(Adaptive { least, most, idle }) => {
                format!("parcell::distributed::Workers::between({least}, {most}).idle({idle})")
            }
            None => format!("parcell::distributed::Workers::new({count})"),
        },
        None => {
            let hosts = given.iter().position(|(name, _)| name == "hosts");
            let hosts = hosts.and_then(|at| given.remove(at).1).ok_or_else(|| {
                format!(
                    "`%workers --manager {}` says no number of workers: write `%workers N --manager …`",
                    options.manager
                )
            })?;
            let hosts: Vec<&str> = hosts.split(',').collect();
            format!("parcell::distributed::Workers::on_hosts({hosts:?})")
        }
    };
    if count.is_some() && !["", "local"].contains(&options.manager.as_str()) {
        text += &format!(".manager({:?})", options.manager);
    }
    for (name, value) in &given {
        text += &format!(".option({name:?}, {:?})", value.as_deref().unwrap_or_default());
    }
    if let Some(least) = options.at_least {
        text += &format!(".at_least({least})");
    }
    if let Some(threads) = options.threads {
        text += &format!(".threads({threads})");
    }
    if options.pin != Pin::Off {
        text += &format!(".pin(parcell::threads::Pin::{:?})", options.pin);
    }
    for (name, value) in &options.environment {
        text += &format!(".env({name:?}, {value:?})");
    }
    if let Some(directory) = &options.directory {
        text += &format!(".dir({directory:?})");
    }
    Ok(text)
}
