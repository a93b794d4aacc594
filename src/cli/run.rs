//! `parcell run`: runs notebooks without Jupyter, for scripts, batch jobs and tests.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::Value;
use signal_hook::consts::SIGINT;
use signal_hook::iterator::Signals;

use super::Error;
use super::files;
use super::notebook::{CodeCell, Notebook};
use super::prepare;
use super::tape::Tape;
use super::terminal::{self, Terminal};
use crate::session::{self, Remote, Session};
use crate::stage::{Cell, Failure, Output, Stage, Verdict};

/// Options of `parcell run`.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// The notebooks, each run in a fresh session in its own folder.
    #[arg(required = true, value_name = "NOTEBOOK")]
    notebooks: Vec<PathBuf>,
    /// Write the outputs into the notebooks; one that fails is left as it was.
    #[arg(long, conflicts_with = "output")]
    inplace: bool,
    /// Write the notebook with its outputs to this file, also if a cell fails.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Interrupt a cell that runs longer than this, which counts as its failure.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    timeout: Option<u64>,
    /// What starts the workers of `%workers` lines that name no manager. Without it PARCELL_MANAGER
    /// does, and else `auto`: the allocation of Slurm, PBS, LSF or Grid Engine in which this runs, if it
    /// has several hosts, or this machine.
    #[arg(long, value_name = "MANAGER")]
    manager: Option<String>,
    /// Go on after a cell that fails, and end with status 0.
    #[arg(long)]
    allow_errors: bool,
}

/// Names what starts workers where `%workers` does not.
const MANAGER: &str = "PARCELL_MANAGER";
/// How long an interrupted cell has to stop by itself.
const GRACE: Duration = Duration::from_secs(5);

/// Runs the notebooks one after the other, up to the first error.
pub(super) fn run(options: &Options) -> Result<(), Error> {
    if options.output.is_some() && options.notebooks.len() > 1 {
        return Err(Error::Usage("--output takes one notebook; use --inplace for several"));
    }
    // What cannot be read is told before minutes have gone by.
    let read = |path: &PathBuf| Ok((path.clone(), Notebook::read(path)?));
    let notebooks = options.notebooks.iter().map(read).collect::<Result<Vec<_>, Error>>()?;
    prepare::cells()?;
    let keyboard = Keyboard::listen()?;
    let mut notebooks = notebooks.into_iter();
    notebooks.try_for_each(|(path, notebook)| run_notebook(&path, notebook, options, &keyboard))
}

fn run_notebook(
    path: &Path,
    mut notebook: Notebook,
    options: &Options,
    keyboard: &Keyboard,
) -> Result<(), Error> {
    let file = path.canonicalize().map_err(Error::file("find", path))?;
    let directory = file.parent().map(Path::to_owned);
    let manager = options.manager.clone().or_else(|| std::env::var(MANAGER).ok());
    let manager = manager.filter(|name| !name.is_empty()).unwrap_or_else(|| "auto".to_owned());
    let environment = vec![(MANAGER.to_owned(), manager)];
    let session = Session::start(session::Options { directory, environment, ..Default::default() });
    keyboard.attend(Some(session.remote()));
    let mut player = Player { session, path, options, keyboard, recorder: Recorder::default() };
    let (run, result) = player.play(&notebook.code_cells());
    player.session.remote().close();
    keyboard.attend(None);

    let target = options.output.as_deref().or(options.inplace.then_some(path));
    if let Some(target) = target.filter(|_| result.is_ok() || options.output.is_some()) {
        let tape = lock(&player.recorder.tape);
        for (index, count) in run {
            let outputs = count.map(|c| tape.outputs(index, c)).unwrap_or_default();
            notebook.record(index, count, outputs);
        }
        notebook.complete(crate::kernel::language_info());
        files::write(target, notebook.text().as_bytes(), files::PLAIN)?;
    }
    result
}

/// Runs the cells of one notebook.
struct Player<'a> {
    session: Session,
    path: &'a Path,
    options: &'a Options,
    keyboard: &'a Keyboard,
    recorder: Recorder,
}

fn request(cell: &CodeCell, count: u32) -> Cell {
    Cell { code: cell.source.clone(), count, ..Default::default() }
}

/// The cells that are to be rewritten, by index, with their count if they were run.
type Run = Vec<(usize, Option<u32>)>;

impl Player<'_> {
    fn play(&mut self, cells: &[CodeCell]) -> (Run, Result<(), Error>) {
        let cells: Vec<&CodeCell> = cells.iter().filter(|c| !c.skipped()).collect();
        let mut run: Run = cells.iter().map(|c| (c.index, None)).collect();
        for (place, cell) in cells.iter().enumerate() {
            if self.keyboard.pressed() {
                let stopped = Error::Stopped { cell: cell.index + 1, path: self.path.to_owned() };
                return (run, Err(stopped));
            }
            let count = u32::try_from(place + 1).unwrap_or(u32::MAX);
            run[place].1 = Some(count);
            self.header(count, cells.len(), cell);
            let next = cells.get(place + 1).map(|next| request(next, count.saturating_add(1)));
            self.session.remote().announce(next);
            if let Err(error) = self.play_cell(cell, count) {
                return (run, Err(error));
            }
        }
        (run, Ok(()))
    }

    fn header(&self, count: u32, all: usize, cell: &CodeCell) {
        let name = self.path.display();
        let first = cell.source.lines().find(|l| !l.trim().is_empty()).unwrap_or_default();
        lock(&self.recorder.terminal).header(&format!("[{count}/{all}] {name}: {first}"));
    }

    fn play_cell(&mut self, cell: &CodeCell, count: u32) -> Result<(), Error> {
        let stage = Arc::new(CellStage { index: cell.index, recorder: self.recorder.clone() });
        let code = request(cell, count);
        let watch = self.options.timeout.map(|s| Watch::start(self.session.remote(), s));
        let verdict = self.session.run(&code, stage);
        let timed_out = watch.is_some_and(Watch::stop);
        let failure = match verdict {
            Verdict::Error(failure) if !timed_out => failure,
            Verdict::Ok { payload, .. } if !timed_out => {
                payload.iter().filter_map(page).for_each(terminal::say);
                return Ok(());
            }
            _ => timeout_failure(self.options.timeout.unwrap_or_default()),
        };
        lock(&self.recorder.terminal).fail(&failure);
        lock(&self.recorder.tape).fail(cell.index, failure.clone());
        if (cell.may_fail() || self.options.allow_errors) && !self.keyboard.pressed() {
            return Ok(());
        }
        let Failure { name, value, .. } = failure;
        Err(Error::Cell { cell: cell.index + 1, path: self.path.to_owned(), name, value })
    }
}

fn timeout_failure(seconds: u64) -> Failure {
    Failure::new("Timeout", format!("the cell ran longer than {seconds} s and was interrupted"))
}

/// The text of a payload that Jupyter would show in its pager.
fn page(payload: &Value) -> Option<&str> {
    payload["data"]["text/plain"].as_str().filter(|_| payload["source"] == "page")
}

/// Where outputs go: the terminal now, the file later.
#[derive(Debug, Clone, Default)]
struct Recorder {
    tape: Arc<Mutex<Tape>>,
    terminal: Arc<Mutex<Terminal>>,
}

/// The stage of one cell.
struct CellStage {
    index: usize,
    recorder: Recorder,
}

impl Stage for CellStage {
    fn show(&self, output: Output) {
        lock(&self.recorder.terminal).show(&output);
        lock(&self.recorder.tape).show(self.index, output);
    }

    fn ask(&self, prompt: &str, password: bool) -> Option<String> {
        terminal::ask(prompt, password)
    }
}

/// A panic of another thread leaves these values usable: each change is a single step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Interrupts a cell when its time is up, and again if it does not stop.
struct Watch {
    done: mpsc::Sender<()>,
    thread: JoinHandle<bool>,
}

impl Watch {
    fn start(remote: Remote, seconds: u64) -> Watch {
        let (done, ended) = mpsc::channel();
        let thread = thread::spawn(move || {
            let late = |limit| ended.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout);
            let timed_out = late(Duration::from_secs(seconds));
            if timed_out {
                remote.interrupt();
                if late(GRACE) {
                    remote.interrupt();
                }
            }
            timed_out
        });
        Watch { done, thread }
    }

    /// Ends the watch; `true` if the time was up.
    fn stop(self) -> bool {
        drop(self.done);
        self.thread.join().unwrap_or(false)
    }
}

/// Ctrl-C: interrupts the running cell, and ends the run after it.
struct Keyboard {
    attended: Arc<Mutex<Option<Remote>>>,
    pressed: Arc<AtomicBool>,
}

impl Keyboard {
    fn listen() -> Result<Keyboard, Error> {
        let mut signals = Signals::new([SIGINT]).map_err(Error::Keyboard)?;
        let attended: Arc<Mutex<Option<Remote>>> = Arc::default();
        let pressed: Arc<AtomicBool> = Arc::default();
        let keyboard = Keyboard { attended: attended.clone(), pressed: pressed.clone() };
        thread::spawn(move || {
            for _ in &mut signals {
                pressed.store(true, Ordering::SeqCst);
                if let Some(remote) = lock(&attended).as_ref() {
                    remote.interrupt();
                }
            }
        });
        Ok(keyboard)
    }

    /// Names the session whose cells Ctrl-C interrupts.
    fn attend(&self, remote: Option<Remote>) {
        *lock(&self.attended) = remote;
    }

    fn pressed(&self) -> bool {
        self.pressed.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_pager_payloads_are_printed() {
        let pager = json!({"source": "page", "data": {"text/plain": "help"}, "start": 0});
        assert_eq!(page(&pager), Some("help"));
        assert_eq!(page(&json!({"source": "set_next_input", "text": "x"})), None);
    }
}
