//! What can go wrong between the participants of a run.

use serde::{Deserialize, Serialize};

use crate::distributed::RemoteError;
pub(super) use crate::distributed::error::OrRaise;
use crate::distributed::error::Raise;

/// Why an operation of a participant failed. Participants are named by rank and process.
///
/// ```no_run
/// use parcell::prelude::*;
/// use parcell::spmd::SpmdError;
///
/// spmd(|c: Spmd| match c.try_recv_from::<f64>(0) {
///     Err(SpmdError::Participant { rank, error, .. }) => println!("{rank} failed: {error}"),
///     other => println!("{other:?}"),
/// });
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum SpmdError {
    /// Another participant panicked, or its process is gone: the run cannot go on.
    #[error("participant {rank} of the run, process {process}, has failed: {error}")]
    Participant {
        /// Its rank.
        rank: usize,
        /// Its process.
        process: usize,
        /// How it failed.
        error: RemoteError,
    },
    /// The process that started the run is gone.
    #[error("process {process}, which started the run, has failed: {error}")]
    Starter {
        /// The process.
        process: usize,
        /// How it failed.
        error: RemoteError,
    },
    /// What came is not what was asked for. It was not taken: a receive of the right type gets it.
    #[error("participant {rank}, process {process}, sent `{got}`, but `{expected}` was asked for")]
    WrongType {
        /// The sender's rank.
        rank: usize,
        /// The sender's process.
        process: usize,
        /// The type, or collective and type, that was asked for.
        expected: String,
        /// What was sent.
        got: String,
    },
    /// There is no participant of this rank.
    #[error("there is no participant {rank}: the run has {size}, with ranks from 0")]
    NoSuchRank {
        /// The rank that was named.
        rank: usize,
        /// How many participants there are.
        size: usize,
    },
    /// Values that were to be scattered cannot be cut into equal parts.
    #[error("{len} values cannot be cut into {size} equal parts; {} would fit", len - len % size)]
    NotDivisible {
        /// How many values there are.
        len: usize,
        /// How many participants there are.
        size: usize,
    },
    /// The participant's function has returned: nothing can be sent or received any more.
    #[error("this participant has returned, and its part of the run is over")]
    Over,
    /// What is kept under a name has another type, or is in use by this thread.
    #[error("what is kept under the name `{name}`: {why}")]
    Stored {
        /// The name.
        name: String,
        /// Why it cannot be used.
        why: String,
    },
    /// The context was closed.
    #[error("the context was closed; what it kept is freed")]
    ContextClosed,
    /// A value could not be sent or read, or its process is gone.
    #[error("{0}")]
    Remote(#[from] RemoteError),
}

impl Raise for SpmdError {
    #[cold]
    #[track_caller]
    fn raise(self) -> ! {
        match self {
            SpmdError::Remote(error) => error.raise(),
            other => std::panic::panic_any(other),
        }
    }
}
