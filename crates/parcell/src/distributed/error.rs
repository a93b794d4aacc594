//! What can go wrong between processes, as values that carry the facts.

use std::fmt;
use std::sync::Once;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::arrays::{ArrayError, SharedError};
use crate::spmd::SpmdError;

/// Why a remote call, or a value that lives on another process, gave no result.
///
/// ```no_run
/// use parcell::prelude::*;
///
/// match spawn_at!(2, 1 / std::hint::black_box(0)).try_fetch() {
///     Err(RemoteError::Panicked(panic)) => println!("{}: {}", panic.worker, panic.message),
///     other => println!("{other:?}"),
/// }
/// ```
///
/// # Source
/// `RemoteException`, `ProcessExitedException`, Julia's Distributed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum RemoteError {
    /// The remote code panicked. Its process lives on.
    #[error("{0}")]
    Panicked(Box<RemotePanic>),
    /// The process is gone, and with it whatever it held.
    #[error("process {worker} is gone: {why}")]
    ProcessExited {
        /// The id of the process.
        worker: usize,
        /// How it ended.
        why: String,
    },
    /// An interrupt ended the remote code.
    #[error("the call on process {worker} was interrupted")]
    Interrupted {
        /// The id of the process.
        worker: usize,
    },
    /// There is no process of this id.
    #[error("there is no process {id}; {}", known(.there))]
    NoSuchProcess {
        /// The id that was asked for.
        id: usize,
        /// Those that exist.
        there: Vec<usize>,
    },
    /// A time limit passed.
    #[error("process {worker} gave nothing within {limit:?}")]
    TimedOut {
        /// The id of the process.
        worker: usize,
        /// The limit.
        limit: Duration,
    },
    /// A value could not be turned into bytes, or bytes not into a value.
    #[error("on process {worker}: {what}")]
    NotPortable {
        /// The process on which it happened.
        worker: usize,
        /// Which value, and why.
        what: String,
    },
    /// The value is not there: it was freed when its last handle was dropped.
    #[error("process {worker} does not hold this value any more")]
    Freed {
        /// The process that held it.
        worker: usize,
    },
    /// Something that is not possible, or not possible any more.
    #[error("on process {worker}: {what}")]
    Refused {
        /// The process that refused.
        worker: usize,
        /// What it refused, and why.
        what: String,
    },
    /// The channel is closed.
    #[error("the channel on process {worker} is closed")]
    Closed {
        /// The process on which the channel lives.
        worker: usize,
    },
}

impl RemoteError {
    /// The process that the error is about.
    #[must_use]
    pub fn worker(&self) -> usize {
        match self {
            RemoteError::Panicked(panic) => panic.worker,
            RemoteError::NoSuchProcess { id, .. } => *id,
            RemoteError::ProcessExited { worker, .. }
            | RemoteError::Interrupted { worker }
            | RemoteError::TimedOut { worker, .. }
            | RemoteError::NotPortable { worker, .. }
            | RemoteError::Freed { worker }
            | RemoteError::Refused { worker, .. }
            | RemoteError::Closed { worker } => *worker,
        }
    }

    /// Whether the process is gone, so that the call may be tried on another.
    #[must_use]
    pub fn is_process_exited(&self) -> bool {
        matches!(self, RemoteError::ProcessExited { .. })
    }
}

fn known(ids: &[usize]) -> String {
    match ids {
        [] => "there are none".to_owned(),
        [one] => format!("there is {one}"),
        many => {
            let names: Vec<String> = many.iter().map(ToString::to_string).collect();
            format!("there are {}", names.join(", "))
        }
    }
}

/// A panic on another process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemotePanic {
    /// The id of the process.
    pub worker: usize,
    /// What the panic said.
    pub message: String,
    /// The source file as the compiler knew it; empty if unknown.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1.
    pub column: u32,
    /// The functions that were running, innermost first.
    pub backtrace: Vec<String>,
}

impl RemotePanic {
    /// Where it happened, in words: `[cell 3, line 1]`, or `file:line`.
    #[must_use]
    pub fn place(&self) -> String {
        crate::rt::place_in_words(&self.file, self.line)
    }
}

impl fmt::Display for RemotePanic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "On worker {}: {}", self.worker, self.message)?;
        if !self.file.is_empty() {
            write!(f, " {}", self.place())?;
        }
        Ok(())
    }
}

/// Several failures of one operation, in the order of their processes or items.
///
/// # Source
/// `CompositeException`, Julia's Base; `CompositeError`, ipyparallel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompositeError {
    /// The failures, at least one.
    pub errors: Vec<RemoteError>,
}

impl fmt::Display for CompositeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(first) = self.errors.first() else { return write!(f, "no failure") };
        write!(f, "{first}{}", self.more())
    }
}

impl CompositeError {
    /// How many failures there are beside the first, in words.
    fn more(&self) -> String {
        match self.errors.len() {
            0 | 1 => String::new(),
            2 => " …and 1 more error".to_owned(),
            all => format!(" …and {} more errors", all - 1),
        }
    }
}

impl std::error::Error for CompositeError {}

/// An error of the library, with which the forms that panic unwind.
pub(crate) trait Raise {
    /// Unwinds at the caller's place.
    #[track_caller]
    fn raise(self) -> !;
}

impl Raise for RemoteError {
    /// Unwinds with the error itself, so that whoever catches the panic can tell what it was.
    #[cold]
    #[track_caller]
    fn raise(self) -> ! {
        if matches!(self, RemoteError::Interrupted { .. }) {
            // The interrupt that ended the remote call is on its way to this process, too, or was
            // meant for that worker alone; then the error says so.
            crate::interrupt::check();
        }
        std::panic::panic_any(self)
    }
}

/// For the forms that panic.
pub(crate) trait OrRaise<T> {
    /// The value, or a panic that says what failed, at the caller's caller.
    fn or_raise(self) -> T;
}

impl<T, E: Raise> OrRaise<T> for Result<T, E> {
    #[inline]
    #[track_caller]
    fn or_raise(self) -> T {
        match self {
            Ok(value) => value,
            Err(error) => error.raise(),
        }
    }
}

/// As [`Raise::raise`], for several.
#[cold]
#[track_caller]
pub(crate) fn raise_all(mut errors: Vec<RemoteError>) -> ! {
    match errors.len() {
        1 => errors.remove(0).raise(),
        _ => std::panic::panic_any(CompositeError { errors }),
    }
}

/// Has the program's panics say what the library's errors say, instead of `Box<dyn Any>`. Only the first
/// call does something: whatever the program sets after it stays.
pub(super) fn tell_in_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let (Some(message), Some(place)) = (message_of(info.payload()), info.location()) else {
                return before(info);
            };
            let thread = std::thread::current();
            eprintln!("thread '{}' panicked at {place}:\n{message}", thread.name().unwrap_or("?"));
        }));
    });
}

/// What a panic's payload says, if it is one of the library's errors.
pub(crate) fn message_of(payload: &(dyn std::any::Any + Send)) -> Option<String> {
    let one = payload.downcast_ref::<RemoteError>().map(ToString::to_string);
    let one = one.or_else(|| payload.downcast_ref::<CompositeError>().map(ToString::to_string));
    one.or_else(|| named(payload).map(|(_, message)| message))
}

/// What a cell shows in place of `Panic`, and the message, of errors that are not those of a call:
/// where the library raises a type of error as it is, that type has a line here.
fn named(payload: &(dyn std::any::Any + Send)) -> Option<(&'static str, String)> {
    let array = payload.downcast_ref::<ArrayError>();
    let array = array.map(|error| ("ArrayError", error.to_string()));
    let shared = || payload.downcast_ref::<SharedError>();
    let array = array.or_else(|| shared().map(|error| ("SharedError", error.to_string())));
    let spmd = || payload.downcast_ref::<SpmdError>();
    array.or_else(|| spmd().map(|error| ("SpmdError", error.to_string())))
}

/// The same without the places of panics, for a reader who gets those besides.
pub(crate) fn headline(payload: &(dyn std::any::Any + Send)) -> Option<String> {
    if let Some(error) = payload.downcast_ref::<RemoteError>() {
        return Some(error.headline());
    }
    let composite = payload.downcast_ref::<CompositeError>()?;
    composite.errors.first().map(|first| first.headline() + &composite.more())
}

/// What a cell shows in place of `Panic`, and what failed where, if a panic's payload is one of the
/// library's errors.
pub(crate) fn told(
    payload: &(dyn std::any::Any + Send),
) -> Option<(&'static str, Vec<parcell_link::RemotePanic>)> {
    if let Some(error) = payload.downcast_ref::<RemoteError>() {
        let name = match error {
            RemoteError::ProcessExited { .. } => "ProcessExited",
            RemoteError::Interrupted { .. } => "Interrupted",
            _ => "RemoteError",
        };
        return Some((name, error.details().into_iter().collect()));
    }
    if let Some((name, _)) = named(payload) {
        return Some((name, Vec::new()));
    }
    let composite = payload.downcast_ref::<CompositeError>()?;
    let details = |error: &RemoteError| {
        error.details().unwrap_or_else(|| parcell_link::RemotePanic {
            worker: u32::try_from(error.worker()).unwrap_or(0),
            message: error.to_string(),
            file: String::new(),
            line: 0,
            column: 0,
            backtrace: Vec::new(),
        })
    };
    Some(("CompositeError", composite.errors.iter().map(details).collect()))
}

impl RemoteError {
    fn headline(&self) -> String {
        match self {
            RemoteError::Panicked(panic) => {
                format!("On worker {}: {}", panic.worker, panic.message)
            }
            other => other.to_string(),
        }
    }

    /// The panic behind it, as the kernel shows it.
    fn details(&self) -> Option<parcell_link::RemotePanic> {
        let RemoteError::Panicked(panic) = self else { return None };
        Some(parcell_link::RemotePanic {
            worker: u32::try_from(panic.worker).unwrap_or(0),
            message: panic.message.clone(),
            file: panic.file.clone(),
            line: panic.line,
            column: panic.column,
            backtrace: panic.backtrace.clone(),
        })
    }
}
