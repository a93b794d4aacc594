//! The same cells in evcxr and in parcell: what they print must be equal.
//!
//! The sequences are written in `evcxr.md`. Each begins with an empty session on both sides. A
//! block of `rust` is a cell that must finish; `rust panics`, `rust fails` (an error left it by
//! `?`) and `rust E0382` (rustc refused it with that code) say how others end, on both sides.
//!
//! `cargo test --release --test evcxr [FILTER]`

use std::env;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, select, unbounded};
use evcxr::{EvalContext, EvalContextOutputs};
use parcell_kernel::session::{Options, Session};
use parcell_kernel::stage::{Cell, Output, Stage, Stream, Verdict};

/// How a cell ended.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Ending {
    /// It ran to its end.
    Finished,
    /// It panicked.
    Panicked,
    /// `?` left it with an error.
    Failed,
    /// rustc refused it, with these codes.
    Refused(Vec<String>),
    /// Anything else, in words.
    Other(String),
}

/// What can be seen of a cell that was run.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    printed: Vec<String>,
    ending: Ending,
}

/// A cell, and how it must end.
#[derive(Debug)]
struct Step {
    code: String,
    ending: Ending,
}

/// Cells that are run one after the other.
#[derive(Debug)]
struct Sequence {
    name: String,
    steps: Vec<Step>,
}

/// The sequences of a file: headings, and blocks of code.
fn sequences(file: &str) -> Vec<Sequence> {
    let mut all: Vec<Sequence> = Vec::new();
    let mut lines = file.lines();
    while let Some(line) = lines.next() {
        if let Some(name) = line.strip_prefix("## ") {
            all.push(Sequence { name: name.to_owned(), steps: Vec::new() });
        } else if let Some(word) = line.strip_prefix("```rust") {
            let code: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            let step = Step { code: code.join("\n"), ending: ending(word.trim()) };
            all.last_mut().expect("a heading stands before the first cell").steps.push(step);
        }
    }
    all
}

fn ending(word: &str) -> Ending {
    match word {
        "" => Ending::Finished,
        "panics" => Ending::Panicked,
        "fails" => Ending::Failed,
        code => Ending::Refused(vec![code.to_owned()]),
    }
}

/// evcxr's library, with its child process.
struct Evcxr {
    context: EvalContext,
    outputs: EvalContextOutputs,
}

/// How long a message of evcxr's child may take to arrive. It is there long before.
const PATIENCE: Duration = Duration::from_secs(60);

impl Evcxr {
    fn start() -> Result<Evcxr, evcxr::Error> {
        let (mut context, outputs) = EvalContext::new()?;
        context.set_opt_level("0")?;
        Ok(Evcxr { context, outputs })
    }

    fn clear(&mut self) -> Result<(), evcxr::Error> {
        self.context.clear()?;
        self.outputs.stderr.try_iter().for_each(drop);
        Ok(())
    }

    /// Runs a cell. evcxr tells that it panicked or failed on standard error alone, which arrives
    /// at any time, so that only cells that must do so are asked whether they did.
    fn run(&mut self, step: &Step) -> Seen {
        let (result, printed) = self.evaluate(&step.code);
        let ending = match (result, &step.ending) {
            (Err(evcxr::Error::CompilationErrors(errors)), _) => refused(&errors),
            (Err(error), _) => Ending::Other(error.to_string()),
            (Ok(_), Ending::Panicked) => self.told("panicked at", Ending::Panicked),
            (Ok(_), Ending::Failed) => self.told("", Ending::Failed),
            (Ok(_), _) => Ending::Finished,
        };
        Seen { printed, ending }
    }

    /// The result and all lines that the cell printed: they were sent before the result is there.
    fn evaluate(&mut self, code: &str) -> (Result<evcxr::EvalOutputs, evcxr::Error>, Vec<String>) {
        let (running, ended) = unbounded::<()>();
        let (context, lines) = (&mut self.context, &self.outputs.stdout);
        thread::scope(|scope| {
            let collector = scope.spawn(move || collect(lines, &ended));
            let result = context.eval(code);
            drop::<Sender<()>>(running);
            (result, collector.join().expect("collecting lines does not panic"))
        })
    }

    /// This ending, if a line on standard error tells so.
    fn told(&self, text: &str, ending: Ending) -> Ending {
        let deadline = Instant::now() + PATIENCE;
        while let Ok(line) = self.outputs.stderr.recv_deadline(deadline) {
            if line.contains(text) {
                return ending;
            }
        }
        Ending::Finished
    }
}

/// Takes lines while the cell runs: evcxr ends a cell only when all of them are taken.
fn collect(lines: &Receiver<String>, ended: &Receiver<()>) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        select! {
            recv(lines) -> line => all.extend(line),
            recv(ended) -> _ => {
                all.extend(lines.try_iter());
                return all;
            }
        }
    }
}

fn refused(errors: &[evcxr::CompilationError]) -> Ending {
    let errors = errors.iter().filter(|e| e.level() == "error");
    let mut codes: Vec<String> = errors.filter_map(|e| e.code().map(str::to_owned)).collect();
    codes.dedup();
    Ending::Refused(codes)
}

/// Collects what a cell prints.
#[derive(Debug, Default)]
struct Printed(Mutex<String>);

impl Stage for Printed {
    fn show(&self, output: Output) {
        if let Output::Text(Stream::Stdout, text) = output {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push_str(&text);
        }
    }

    fn ask(&self, _prompt: &str, _password: bool) -> Option<String> {
        None
    }
}

fn run_in_parcell(session: &mut Session, code: &str, count: u32) -> Seen {
    let stage = Arc::new(Printed::default());
    let cell = Cell { code: code.to_owned(), count, ..Cell::default() };
    let ending = match session.run(&cell, Arc::clone(&stage) as Arc<dyn Stage>) {
        Verdict::Ok { .. } => Ending::Finished,
        Verdict::Error(failure) => match failure.name.as_str() {
            "Panic" => Ending::Panicked,
            "Error" => Ending::Failed,
            code if is_code(code) => Ending::Refused(vec![code.to_owned()]),
            name => Ending::Other(format!("{name}: {}", failure.value)),
        },
    };
    let text = stage.0.lock().unwrap_or_else(PoisonError::into_inner);
    Seen { printed: text.lines().map(str::to_owned).collect(), ending }
}

/// Whether this is the code of one of rustc's errors.
fn is_code(name: &str) -> bool {
    name.strip_prefix('E').is_some_and(|n| n.len() == 4 && n.bytes().all(|b| b.is_ascii_digit()))
}

/// Runs the cells of one sequence on both sides; a report if they differ.
fn compare(sequence: &Sequence, evcxr: &mut Evcxr) -> Result<(), String> {
    evcxr.clear().map_err(|e| format!("evcxr does not start: {e}"))?;
    let mut session = Session::start(Options::default());
    for (step, count) in sequence.steps.iter().zip(1..) {
        let theirs = evcxr.run(step);
        let ours = run_in_parcell(&mut session, &step.code, count);
        if ours != theirs || ours.ending != step.ending {
            return Err(difference(step, count, &ours, &theirs));
        }
    }
    Ok(())
}

fn difference(step: &Step, count: u32, ours: &Seen, theirs: &Seen) -> String {
    let shown = |who: &str, seen: &Seen| {
        let lines: String = seen.printed.iter().map(|line| format!("{line}\n")).collect();
        format!("--- {who}: {:?}, printed\n{lines}", seen.ending)
    };
    let Step { code, ending } = step;
    let (ours, theirs) = (shown("parcell", ours), shown("evcxr", theirs));
    format!("cell {count}\n{code}\n--- written: {ending:?}\n{ours}{theirs}")
}

/// Which sequences to run: those whose names contain one of the filters, if there are any.
#[derive(Debug, Default)]
struct Selection {
    filters: Vec<String>,
    none: bool,
}

impl Selection {
    /// Reads the arguments that cargo passes to all test programs. Only filters mean something
    /// here; no sequence is an ignored one, and a program that asks for a list expects tests.
    fn from_arguments(mut arguments: impl Iterator<Item = String>) -> Selection {
        const WITH_VALUE: [&str; 6] =
            ["--test-threads", "--skip", "--format", "--color", "--logfile", "-Z"];
        let mut selection = Selection::default();
        while let Some(argument) = arguments.next() {
            if WITH_VALUE.contains(&argument.as_str()) {
                arguments.next();
            } else if argument == "--list" || argument == "--ignored" {
                selection.none = true;
            } else if !argument.starts_with('-') {
                selection.filters.push(argument);
            }
        }
        selection
    }

    fn takes(&self, name: &str) -> bool {
        let named = self.filters.is_empty() || self.filters.iter().any(|f| name.contains(f));
        named && !self.none
    }
}

/// Compares the sequences, one after the other; the reports of those that differ.
fn compare_all(chosen: &[Sequence]) -> Result<Vec<String>, String> {
    let variant = parcell_kernel::cells::Variant::default();
    parcell_kernel::cells::prepare(variant, &mut |_| ()).map_err(|e| e.to_string())?;
    println!("\ncomparing {} sequences of cells with evcxr", chosen.len());
    let mut evcxr = Evcxr::start().map_err(|e| format!("evcxr does not start: {e}"))?;
    let mut reports = Vec::new();
    for sequence in chosen {
        let result = compare(sequence, &mut evcxr);
        println!("{} ... {}", sequence.name, if result.is_ok() { "same" } else { "DIFFERENT" });
        reports.extend(result.err().map(|report| format!("\n## {}\n{report}", sequence.name)));
    }
    Ok(reports)
}

/// Starts this program again, in its place, if cargo has put a folder with a cell library of its
/// own before all others: parcell's driver must find the one that it was built with.
fn leave_cargos_libraries() -> io::Result<()> {
    const VARIABLE: &str = "LD_LIBRARY_PATH";
    let folders = env::var_os(VARIABLE).unwrap_or_default();
    let all: Vec<PathBuf> = env::split_paths(&folders).collect();
    let others = all.iter().filter(|folder| !folder.join("libparcell.so").exists());
    let others: Vec<&PathBuf> = others.collect();
    if others.len() == all.len() {
        return Ok(());
    }
    let folders = env::join_paths(others).map_err(io::Error::other)?;
    let mut again = Command::new(env::current_exe()?);
    Err(again.args(env::args_os().skip(1)).env(VARIABLE, folders).exec())
}

fn main() -> ExitCode {
    evcxr::runtime_hook();
    let selection = Selection::from_arguments(env::args().skip(1));
    let mut chosen = sequences(include_str!("evcxr.md"));
    chosen.retain(|sequence| selection.takes(&sequence.name));
    if chosen.is_empty() {
        return ExitCode::SUCCESS;
    }
    match leave_cargos_libraries().map_err(|e| e.to_string()).and_then(|()| compare_all(&chosen)) {
        Ok(reports) => {
            reports.iter().for_each(|report| println!("{report}"));
            println!("\n{} same, {} different\n", chosen.len() - reports.len(), reports.len());
            if reports.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}
