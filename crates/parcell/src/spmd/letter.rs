//! What travels between the processes of a run. A letter is this; a value goes with it in a blob.

use serde::{Deserialize, Serialize};

use crate::distributed::RemoteError;

/// What keeps letters apart within a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Lane {
    /// The user's.
    pub(crate) tag: u64,
    /// Which collective of that tag; `None` for letters from one participant to another.
    pub(crate) collective: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Letter {
    /// A value.
    Value {
        lane: Lane,
        /// Its place among those of the sender in this lane, since large ones may be overtaken.
        number: u64,
        /// Its type and what it was sent by.
        what: String,
    },
    /// The starter tells that a participant has failed.
    Failed { process: u32, error: RemoteError },
    /// The starter tells that all have ended, and how many values others have sent to the receiver.
    Over { sent: Vec<(u32, u64)> },
}
