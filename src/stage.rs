//! Where the outputs of a cell go. The protocol side implements [`Stage`] over iopub, `parcell run`
//! over a notebook file, tests over memory; engine, magics and driver know nothing else of them.

use parcell_link::{Bundle, Where};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Which of the two text streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    /// Its name in the protocol.
    pub fn name(self) -> &'static str {
        match self {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        }
    }
}

/// One output of a cell.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Text as it was written; invalid UTF-8 replaced.
    Text(Stream, String),
    /// `display_data`; with an id it can be updated.
    Display(Bundle, Option<String>),
    /// `update_display_data`.
    Update(Bundle, String),
    /// `execute_result`.
    Result(Bundle),
    /// `clear_output`.
    Clear {
        /// Wait for the next output before clearing.
        wait: bool,
    },
}

/// Receives what one cell shows, in order, and answers its questions.
pub trait Stage: Send + Sync {
    /// Shows one output. May block: that is the back-pressure a cell feels.
    fn show(&self, output: Output);
    /// Asks the user for a line. `None` where there is nobody to ask.
    fn ask(&self, prompt: &str, password: bool) -> Option<String>;
}

/// One cell to run.
#[derive(Debug, Clone, Default)]
pub struct Cell {
    /// The source, magics included.
    pub code: String,
    /// The number shown as `In[n]`.
    pub count: u32,
    /// Run without showing the value of the last expression.
    pub silent: bool,
    /// Expressions to evaluate after a success, by name.
    pub user_expressions: Vec<(String, String)>,
    /// The processes that run it.
    pub on: Where,
    /// Whether a person watches it run.
    pub watched: bool,
}

/// What a cell's reply says.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Everything ran.
    Ok {
        /// Pager texts and other payloads, as the protocol wants them.
        payload: Vec<Value>,
        /// One entry for each of the cell's user expressions.
        user_expressions: Map<String, Value>,
    },
    /// Something failed. Nothing after the failing statement or magic ran.
    Error(Failure),
}

/// A failure as the protocol reports it: on iopub and in the reply alike.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// Its kind: `CompileError`, `Panic`, `Error`, `Interrupt`, `DriverDied`, `UsageError`, …
    pub name: String,
    /// One line.
    pub value: String,
    /// The lines shown, coloured with ANSI escapes.
    pub traceback: Vec<String>,
}

impl Failure {
    /// A failure whose traceback is just the coloured name and the text.
    pub fn new(name: &str, value: impl Into<String>) -> Failure {
        let value = value.into();
        let traceback = vec![format!("\u{1b}[1;31m{name}\u{1b}[0m: {value}")];
        Failure { name: name.to_owned(), value, traceback }
    }
}

/// A completion: what to offer, and what it replaces (in unicode code points of the source).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Completions {
    /// First code point replaced.
    pub start: usize,
    /// One past the last code point replaced.
    pub end: usize,
    /// The offers, best first.
    pub matches: Vec<Completion>,
}

/// One offer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Completion {
    /// The text that takes the place of `start..end`.
    pub text: String,
    /// `function`, `struct`, `magic`, `instance`, …
    pub kind: String,
    /// For functions, the signature.
    pub signature: Option<String>,
}

/// Whether a source can be run as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Completeness {
    /// Ready to run.
    Complete,
    /// More lines are expected, indented like this.
    Incomplete {
        /// White space for the next line.
        indent: String,
    },
    /// No continuation can make it right.
    Invalid,
}
