//! What goes to and fro between the kernel and the analyst's process: JSON, a line each.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::stage::Completion;

/// A numbered question.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Question {
    pub(super) id: u64,
    pub(super) ask: Ask,
}

/// What is asked. Positions are bytes from the source's start.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Ask {
    /// Read the package of this manifest; answered when later questions can be answered at once.
    Load { manifest: PathBuf },
    /// What can stand at the position?
    Complete { source: String, position: usize },
    /// What is at the position?
    Inspect { source: String, position: usize },
}

/// The answer to the question with this id.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Answer {
    pub(super) id: u64,
    /// Why nothing can be asked now.
    pub(super) failed: Option<String>,
    /// Best first.
    pub(super) matches: Vec<Completion>,
    /// Plain text and markdown.
    pub(super) documentation: Option<(String, String)>,
}
