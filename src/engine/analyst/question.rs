//! What goes to and fro between the kernel and the analyst's process: JSON, a line each.

use serde::{Deserialize, Serialize};

use crate::stage::Completion;

/// A question about a place in a source.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Question {
    pub(super) id: u64,
    pub(super) source: String,
    /// Bytes from the source's start.
    pub(super) position: usize,
    pub(super) inspect: bool,
}

/// The answer to the question with this id.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Answer {
    pub(super) id: u64,
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) matches: Vec<Completion>,
    /// Plain text and html.
    pub(super) documentation: Option<(String, String)>,
}
