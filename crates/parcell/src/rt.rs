//! What the code generated around a cell calls. Not for users: names and shapes follow the
//! kernel's engine (`src/engine/generate.rs`) and change with it.

use std::any::{Any, type_name};
use std::cell::RefCell;
use std::fmt::{Debug, Display};
use std::future::Future;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::pin::Pin;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use parcell_link::{Outcome, Panic, RemotePanic};

use crate::distributed::{error, worker};
pub use crate::store::{put, take};
use crate::threads::in_task;

/// Says that a `?` in a cell met an error, which is kept for the driver: any error that can be
/// shown. It implements neither `Display` nor `Error` itself, which is what allows the blanket
/// conversion, and it holds nothing, so that no cell has to compile how it is dropped.
#[derive(Debug)]
pub struct Failure(());

impl<E: Debug + Display> From<E> for Failure {
    fn from(error: E) -> Failure {
        keep_failure(type_name::<E>(), &error)
    }
}

/// Not generic, as all that follows here, so that it is compiled once and not in every cell.
#[inline(never)]
fn keep_failure(name: &str, error: &dyn Display) -> Failure {
    FAILED.set(Some(Outcome::Failed { name: name.to_owned(), message: error.to_string() }));
    Failure(())
}

/// In the analysis pass each new variable is assigned to this type, so that rustc's complaint
/// names the variable's own.
#[derive(Debug)]
pub struct TypeWanted;

/// What the last cell on this thread came to, and how long its statements ran.
#[derive(Debug)]
pub struct Ended {
    /// How it ended.
    pub outcome: Outcome,
    /// Run time of its statements.
    pub time: Duration,
}

thread_local! {
    static ENDED: RefCell<Option<Ended>> = const { RefCell::new(None) };
    /// The error behind the latest [`Failure`] of this thread.
    static FAILED: RefCell<Option<Outcome>> = const { RefCell::new(None) };
}

/// Panics noticed by the hook and not yet reported, newest last: those of the cell's thread and
/// of pool threads, whose panics rayon carries to the caller.
static NOTICED: LazyLock<Mutex<Vec<Panic>>> = LazyLock::new(Mutex::default);
/// In a worker: the functions below the latest panics, by their message.
static TRACES: Mutex<Vec<(String, Vec<String>)>> = Mutex::new(Vec::new());
/// More are not kept; the oldest go.
const MOST_TRACES: usize = 64;

/// Runs a module's function: takes variables over, runs the statements, puts variables back. A
/// panic outside the statements (a variable that is not there) counts as the cell's.
pub(crate) fn enter(cell: extern "C-unwind" fn()) -> Option<Ended> {
    ENDED.set(None);
    if let Err(payload) = catch_unwind(|| cell()) {
        let outcome = panicked(payload.as_ref());
        ENDED.set(Some(Ended { outcome, time: Duration::ZERO }));
    }
    ENDED.take()
}

/// Makes a closure one that may move away what it captures, whatever it does with it.
pub fn once<F: FnOnce() -> Result<(), Failure>>(statements: F) -> F {
    statements
}

/// Runs a cell's statements; true if all of them ran.
#[inline(never)]
pub fn run(statements: &mut dyn FnMut() -> Result<(), Failure>) -> bool {
    noticed().clear();
    let start = Instant::now();
    let result = catch_unwind(AssertUnwindSafe(statements));
    let time = start.elapsed();
    let outcome = match result {
        Ok(Ok(())) => Outcome::Finished,
        Ok(Err(Failure(()))) => FAILED.take().expect("every failure is made by `keep_failure`"),
        Err(payload) => panicked(payload.as_ref()),
    };
    let finished = outcome == Outcome::Finished;
    ENDED.set(Some(Ended { outcome, time }));
    finished
}

/// Runs a cell's statements that await, on the library's tokio runtime; an interrupt ends them
/// at their next await.
pub fn block_on(statements: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    wait_for(std::pin::pin!(statements))
}

#[inline(never)]
fn wait_for(statements: Pin<&mut dyn Future<Output = Result<(), Failure>>>) -> Result<(), Failure> {
    RUNTIME.block_on(async {
        tokio::select! {
            result = statements => result,
            () = interrupted() => { crate::interrupt::check(); unreachable!("an interrupt is pending") }
        }
    })
}

/// The library's tokio runtime; cells that use `tokio::spawn` outside an await enter it.
pub static RUNTIME: LazyLock<tokio::runtime::Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("parcell-tokio")
        .on_thread_start(crate::threads::release_from_core)
        .enable_all()
        .build()
        .expect("a tokio runtime needs two threads and an epoll descriptor")
});

async fn interrupted() {
    while !crate::interrupt::pending() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Runs what a magic asks of the library, as a cell's statements are run.
pub(crate) fn call(statements: &mut dyn FnMut() -> Result<(), Failure>) -> Ended {
    run(statements);
    ENDED.take().expect("`run` leaves behind how it ended")
}

/// Catches what `work` throws, as if a cell had thrown it.
pub(crate) fn guarded(work: impl FnOnce() -> Outcome) -> Outcome {
    noticed().clear();
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| panicked(payload.as_ref()))
}

/// What a cell shows of a panic whose payload tells of failures elsewhere.
fn told(payload: &(dyn Any + Send)) -> (Option<String>, Vec<RemotePanic>) {
    let told = error::told(payload);
    told.map_or((None, Vec::new()), |(name, remote)| (Some(name.to_owned()), remote))
}

fn noticed() -> std::sync::MutexGuard<'static, Vec<Panic>> {
    NOTICED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn panicked(payload: &(dyn Any + Send)) -> Outcome {
    if payload.is::<crate::interrupt::Interrupted>() {
        return Outcome::Interrupted;
    }
    let message = message_of(payload);
    let mut panics = std::mem::take(&mut *noticed());
    let same = panics.iter().rposition(|p| p.message == message);
    let unnoticed = || {
        let (name, remote) = told(payload);
        let (message, file) = (message.clone(), String::new());
        Panic { message, file, line: 0, column: 0, thread: None, name, remote }
    };
    let panic = same.map_or_else(unnoticed, |index| panics.swap_remove(index));
    // The kernel shows the places of remote panics with their lines of source.
    let message = error::headline(payload).unwrap_or(panic.message);
    Outcome::Panicked(Panic { message, ..panic })
}

/// Notes a panic that tells of several at the place of the one that said `first`.
pub(crate) fn notice_as(first: &str, all: &str) {
    let mut panics = noticed();
    let same = panics.iter().rfind(|panic| panic.message == first).cloned();
    panics.extend(same.map(|panic| Panic { message: all.to_owned(), ..panic }));
}

pub(crate) fn message_of(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|s| (*s).to_owned());
    let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
    let text = text.or_else(|| error::message_of(payload));
    text.unwrap_or_else(|| "a panic whose payload is not text".to_owned())
}

/// The panic hook: panics that will reach a cell are noted, all others are printed.
pub(crate) fn on_panic(info: &PanicHookInfo<'_>) {
    if info.payload().is::<crate::interrupt::Interrupted>() {
        return;
    }
    let current = std::thread::current();
    let name = current.name().unwrap_or("<unnamed>");
    let place = info.location();
    let (told_name, remote) = told(info.payload());
    let panic = Panic {
        message: message_of(info.payload()),
        file: place.map(|l| l.file().to_owned()).unwrap_or_default(),
        line: place.map_or(0, std::panic::Location::line),
        column: place.map_or(0, std::panic::Location::column),
        thread: (name != crate::driver::CELL_THREAD).then(|| name.to_owned()),
        name: told_name,
        remote,
    };
    if name == crate::driver::CELL_THREAD || rayon::current_thread_index().is_some() || in_task() {
        if worker::is_this() {
            trace(&panic.message);
        }
        return noticed().push(panic);
    }
    eprintln!("thread '{name}' panicked at {}:\n{}", place_of(&panic), panic.message);
}

/// Notes which functions are running.
fn trace(message: &str) {
    let text = std::backtrace::Backtrace::force_capture().to_string();
    let mut traces = TRACES.lock().unwrap_or_else(PoisonError::into_inner);
    if traces.len() >= MOST_TRACES {
        traces.remove(0);
    }
    traces.push((message.to_owned(), frames(&text)));
}

/// The user's frames of a backtrace: what lies between the machinery of panics and that of calls.
fn frames(text: &str) -> Vec<String> {
    const BEFORE: [&str; 6] =
        ["std::", "core::", "__rustc", "rust_begin_unwind", "parcell::rt::", "<alloc::"];
    let names = text.lines().filter_map(|line| {
        let (number, name) = line.trim_start().split_once(": ")?;
        number.parse::<u32>().ok().map(|_| name.trim())
    });
    let own = names.skip_while(|name| BEFORE.iter().any(|start| name.starts_with(start)));
    own.take_while(|name| !name.contains("parcell::distributed::"))
        .filter(|name| !name.starts_with("core::ops::function") && *name != "<unknown>")
        .map(|name| name.strip_prefix("cell::").unwrap_or(name).to_owned())
        .take(20)
        .collect()
}

/// The latest noticed panic with this message, with the functions below it. It counts as reported.
pub(crate) fn take_noticed(message: &str) -> Option<(String, u32, u32, Vec<String>)> {
    let mut panics = noticed();
    let index = panics.iter().rposition(|p| p.message == message)?;
    let Panic { file, line, column, .. } = panics.swap_remove(index);
    drop(panics);
    let mut traces = TRACES.lock().unwrap_or_else(PoisonError::into_inner);
    let trace = traces.iter().rposition(|(other, _)| other == message);
    let frames = trace.map(|at| traces.swap_remove(at).1).unwrap_or_default();
    Some((file, line, column, frames))
}

fn place_of(Panic { file, line, .. }: &Panic) -> String {
    place_in_words(file, *line)
}

/// A place of the source as errors name it. Columns are those of the generated line; only the kernel
/// could translate them.
pub(crate) fn place_in_words(file: &str, line: u32) -> String {
    match file.rsplit_once("In[") {
        Some((_, cell)) => format!("[cell {}, line {line}]", cell.replacen(']', "", 1)),
        None => format!("{file}:{line}"),
    }
}

/// Where the latest noticed panic with this message happened. It counts as reported then.
pub(crate) fn place_of_noticed(message: &str) -> Option<String> {
    let mut panics = noticed();
    let index = panics.iter().rposition(|p| p.message == message)?;
    Some(place_of(&panics.swap_remove(index)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remote_failure_reaches_the_cell_with_what_failed_where() {
        let (message, file) = ("no such row".to_owned(), "In[2]".to_owned());
        let backtrace = vec!["slow".to_owned()];
        let panic = crate::distributed::RemotePanic {
            worker: 2,
            message,
            file,
            line: 1,
            column: 5,
            backtrace,
        };
        let error = crate::distributed::RemoteError::Panicked(Box::new(panic));
        let outcome = guarded(|| std::panic::resume_unwind(Box::new(error)));
        let Outcome::Panicked(panic) = outcome else { panic!("{outcome:?}") };
        assert_eq!(panic.message, "On worker 2: no such row");
        assert_eq!(panic.name.as_deref(), Some("RemoteError"));
        assert_eq!((panic.remote[0].line, panic.remote[0].backtrace.len()), (1, 1));
    }

    #[test]
    fn several_panics_are_reported_where_the_first_happened() {
        let (file, thread) = ("In[3]".to_owned(), Some("parcell-1".to_owned()));
        let (message, name) = ("one of many".to_owned(), None);
        let first = Panic { message, file, line: 7, column: 2, thread, name, remote: Vec::new() };
        noticed().push(first.clone());
        notice_as("one of many", "many");
        let outcome = panicked(&"many".to_owned());
        assert_eq!(outcome, Outcome::Panicked(Panic { message: "many".to_owned(), ..first }));
    }
}
