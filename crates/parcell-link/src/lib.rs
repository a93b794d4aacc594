//! The frames that a kernel and its driver exchange, and how one frame is written and read.
//!
//! Nothing here knows Jupyter or rustc: the kernel turns these frames into messages, the driver
//! turns orders into calls. A frame is a little-endian `u32` length followed by that many bytes of
//! [postcard](https://docs.rs/postcard).

use std::collections::BTreeSet;
use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// The environment variable that carries the driver's end of the control socket (a descriptor).
pub const CONTROL_FD: &str = "PARCELL_CONTROL_FD";
/// The environment variable that carries the secret word of in-band marks, see [`Mark`].
pub const MARK_SECRET: &str = "PARCELL_MARK_SECRET";
/// Frames larger than this are refused: a length beyond it can only be damage.
pub const FRAME_LIMIT: u32 = 1 << 30;

/// What the kernel asks of its driver.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Order {
    /// Load a module and run its function. Answered by [`Event::Done`].
    Run {
        /// The number of the run: the answer and the marks carry it, and so does late output.
        cell: u64,
        /// The module.
        code: Code,
        /// The processes that run it.
        on: Where,
        /// Whether a person watches, for whom a line may tell what runs.
        watched: bool,
    },
    /// Do what a magic asks for, as if a cell had called it. Answered by [`Event::Done`].
    Call {
        /// The number of the run, as in [`Order::Run`].
        cell: u64,
        /// What to do.
        command: Command,
        /// Whether a person watches, for whom a line may tell what runs.
        watched: bool,
    },
    /// Change the thread pools (`None` only asks). Answered by [`Event::Threads`].
    Threads {
        /// How they shall be.
        wanted: Option<Threads>,
    },
    /// The answer to [`Event::Input`]; `None` if the front end has no one to ask.
    Input {
        /// What was typed, without the newline.
        text: Option<String>,
    },
    /// Drop these variables. Answered by [`Event::Forgotten`].
    Forget {
        /// Names of the variables to drop; names that do not exist are skipped.
        names: Vec<String>,
        /// The processes that shall drop them.
        on: Place,
    },
    /// Change directory and environment. Answered by [`Event::Placed`].
    Place {
        /// The new working directory.
        directory: Option<String>,
        /// Variables to set (`Some`) or remove (`None`).
        environment: Vec<(String, Option<String>)>,
    },
    /// These files are to be removed when the kernel is gone without a word.
    CleanUp {
        /// Files and folders, removed with everything in them.
        paths: Vec<String>,
    },
    /// End the process.
    Exit,
}

/// A compiled cell, as a process that loads it must know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Code {
    /// Unique within the session.
    pub number: u64,
    /// Path of the shared object.
    pub file: String,
    /// Exported function, `extern "C-unwind" fn()`.
    pub symbol: String,
    /// Numbers of the modules whose statics it uses: they must be loaded before.
    pub needs: Vec<u64>,
    /// Shared libraries that it uses without naming them; loaded once, in this order, before it.
    pub libraries: Vec<String>,
}

/// Where a cell runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Where {
    /// On the driver.
    #[default]
    Driver,
    /// On the driver and on all workers.
    Everywhere,
    /// On workers.
    Workers {
        /// Their ids, ascending; all of them if absent.
        targets: Option<Vec<u32>>,
        /// In which order their outputs are shown.
        group: Grouping,
        /// Whether the cell ends only when they have.
        wait: bool,
    },
}

/// In which order the outputs of several workers are shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Grouping {
    /// As they come.
    #[default]
    Live,
    /// One worker after the other.
    Worker,
    /// The first output of each worker, then the second of each, and so on.
    Order,
    /// What all printed on standard output, then on standard error, then their displays.
    Type,
}

/// A set of a session's processes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Whether the driver belongs to it.
    pub driver: bool,
    /// Ids of the workers that do.
    pub workers: BTreeSet<u32>,
}

impl Default for Place {
    /// The driver alone.
    fn default() -> Place {
        Place { driver: true, workers: BTreeSet::new() }
    }
}

impl Place {
    /// Whether all processes of `other` belong to this set.
    pub fn holds(&self, other: &Place) -> bool {
        (self.driver || !other.driver) && other.workers.is_subset(&self.workers)
    }

    /// The processes of this set that do not belong to `other`.
    #[must_use]
    pub fn without(&self, other: &Place) -> Place {
        let workers = self.workers.difference(&other.workers).copied().collect();
        Place { driver: self.driver && !other.driver, workers }
    }

    /// Whether no process belongs to it.
    pub fn is_empty(&self) -> bool {
        !self.driver && self.workers.is_empty()
    }
}

/// What a magic asks of the library in the driver.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// Start workers.
    AddWorkers {
        /// How many, at least 1; the manager's options say so if absent.
        count: Option<usize>,
        /// How each of them is to be.
        options: WorkerOptions,
    },
    /// End workers.
    RemoveWorkers {
        /// Their ids, ascending; all of them if absent.
        ids: Option<Vec<u32>>,
        /// How many seconds they have to end.
        timeout: Option<f64>,
    },
    /// Show the table of workers.
    ShowWorkers {
        /// Update it every so many seconds until the cell is interrupted.
        watch: Option<f64>,
    },
}

/// How workers are started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerOptions {
    /// Threads of the pool that computes.
    pub threads: Option<usize>,
    /// Where these may run.
    pub pin: Pin,
    /// Variables to set in the environment.
    pub environment: Vec<(String, String)>,
    /// Working directory; the driver's own if absent.
    pub directory: Option<String>,
    /// What starts them: `local`, which is meant if it is empty, `ssh`, ….
    pub manager: String,
    /// The manager's own options, names without dashes.
    pub manager_options: Vec<(String, Option<String>)>,
    /// Their number follows the work.
    pub adaptive: Option<Adaptive>,
    /// Go on when so many are there; the others join as they come. All of them if absent, or what the
    /// manager finds right.
    pub at_least: Option<usize>,
}

/// Workers that come and go with the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adaptive {
    /// So many are always there, at least 1.
    pub least: usize,
    /// More than so many never are.
    pub most: usize,
    /// One beyond `least` that has had nothing to do for so many seconds is let go.
    pub idle: u64,
}

impl Default for Adaptive {
    fn default() -> Adaptive {
        Adaptive { least: 1, most: 1, idle: 30 }
    }
}

/// What a driver tells its kernel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// The driver can take orders.
    Ready {
        /// Process id as the operating system knows it.
        pid: u32,
        /// Its thread pools.
        threads: Threads,
    },
    /// A rich output. It belongs where [`Mark`] number `mark` stands in what the cell printed.
    Publish {
        /// The number of the mark.
        mark: u64,
        /// The run whose cell it belongs to; the present one if absent.
        cell: Option<u64>,
        /// What to show.
        publication: Publication,
    },
    /// The workers have changed: those that there are now.
    Workers {
        /// Ascending by id.
        workers: Vec<Worker>,
    },
    /// The cell wants a line from the user. Answered by [`Order::Input`].
    Input {
        /// Shown before the input field.
        prompt: String,
        /// Whether what is typed stays hidden.
        password: bool,
    },
    /// A cell ended; everything it printed stands before mark `mark` on both streams.
    Done {
        /// The number given in [`Order::Run`] or [`Order::Call`].
        cell: u64,
        /// The mark that closes the cell's output.
        mark: u64,
        /// How the cell ended.
        outcome: Outcome,
        /// Nanoseconds that its statements ran.
        nanoseconds: u64,
    },
    /// Variables were dropped; what that printed stands before mark `mark` on both streams.
    Forgotten {
        /// The mark that closes that output.
        mark: u64,
    },
    /// State of the thread pools.
    Threads {
        /// How they are.
        threads: Threads,
        /// Why they are not as they were wanted.
        problem: Option<String>,
    },
    /// Answer to [`Order::Place`].
    Placed {
        /// The working directory now, or what went wrong.
        directory: Result<String, String>,
    },
}

/// A worker, as the kernel must know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Worker {
    /// Its id in the session, from 2.
    pub id: u32,
    /// Its process id, if it runs on the kernel's machine.
    pub pid: Option<u32>,
}

/// A driver's thread pools.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Threads {
    /// Threads of the pool that computes, at least 1.
    pub default: usize,
    /// Threads of the pool that answers while the other computes.
    pub interactive: usize,
    /// Where the threads of the pool that computes may run.
    pub pin: Pin,
}

/// Where the threads of a pool may run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Pin {
    /// Wherever the system puts them.
    #[default]
    Off,
    /// Each on a core of its own, neighbours on neighbouring cores.
    Compact,
    /// Each on a core of its own, neighbours on different sockets.
    Spread,
}

/// How a cell ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Outcome {
    /// Every statement ran.
    Finished,
    /// A `?` returned early with an error.
    Failed {
        /// The type of the error, shortened.
        name: String,
        /// Its `Display`, with sources.
        message: String,
    },
    /// The cell panicked.
    Panicked(Panic),
    /// An interrupt was noticed by the cell.
    Interrupted,
    /// The module could not be loaded.
    NotLoaded {
        /// What the loader said.
        message: String,
    },
    /// Nothing ran, on any process.
    Refused {
        /// Why, and what to do about it.
        message: String,
    },
}

/// A panic: what was said, and where.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Panic {
    /// The panic message.
    pub message: String,
    /// The source file as the compiler knew it, e.g. `In[3]`.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1.
    pub column: u32,
    /// Name of the thread if it was not the cell's own.
    pub thread: Option<String>,
    /// What to call it instead of a panic: `RemoteError`, `ProcessExited`, `CompositeError`.
    pub name: Option<String>,
    /// What failed on workers, if that is the reason.
    pub remote: Vec<RemotePanic>,
}

/// What failed on a worker. A place that is not known has an empty `file`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemotePanic {
    /// The id of the worker.
    pub worker: u32,
    /// What was said there.
    pub message: String,
    /// The source file as the compiler knew it.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1.
    pub column: u32,
    /// The frames below it, innermost first, as they are shown.
    pub backtrace: Vec<String>,
}

/// A rich output on its way to the front end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Publication {
    /// `display_data`.
    Display {
        /// What to show.
        bundle: Bundle,
        /// The id under which it can be updated.
        id: Option<String>,
    },
    /// `update_display_data`.
    Update {
        /// What to show instead.
        bundle: Bundle,
        /// The id of the display to change.
        id: String,
    },
    /// `execute_result`: the value of the cell's last expression.
    Result {
        /// What to show.
        bundle: Bundle,
    },
    /// `clear_output`.
    Clear {
        /// Whether to clear only when the next output comes.
        wait: bool,
    },
    /// What a worker shows.
    Worker {
        /// The id of the worker.
        worker: u32,
        /// What it shows.
        what: WorkerOutput,
    },
}

/// What a worker shows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum WorkerOutput {
    /// Printed text.
    Text {
        /// Whether it was printed on standard error.
        stderr: bool,
        /// Whole lines.
        text: String,
    },
    /// A rich output; not of a worker again.
    Shown(Box<Publication>),
}

/// One output in several representations.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Bundle {
    /// MIME type and text (base64 for binary types, JSON text for JSON types).
    pub data: Vec<(String, String)>,
    /// MIME type and JSON text of its metadata.
    pub metadata: Vec<(String, String)>,
}

impl Bundle {
    /// A bundle of plain text only.
    pub fn text(text: impl Into<String>) -> Bundle {
        Bundle::default().with("text/plain", text)
    }

    /// Adds a representation.
    #[must_use]
    pub fn with(mut self, mime: &str, data: impl Into<String>) -> Bundle {
        self.data.push((mime.to_owned(), data.into()));
        self
    }

    /// The representation for a MIME type.
    pub fn get(&self, mime: &str) -> Option<&str> {
        self.data.iter().find(|(m, _)| m == mime).map(|(_, d)| d.as_str())
    }
}

/// A mark in a text stream: where a [`Event::Publish`] belongs, or where a cell's output ends.
///
/// It is written into standard output or error as one short write, which a pipe never splits, and
/// carries a secret that changes with every driver: printed text cannot be mistaken for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    prefix: Vec<u8>,
}

impl Mark {
    /// Digits of the number in a mark.
    const DIGITS: usize = 16;

    /// Marks that carry this secret.
    pub fn new(secret: &str) -> Mark {
        Mark { prefix: format!("\u{1}\u{2}parcell:{secret}:").into_bytes() }
    }

    /// The bytes of mark `number`.
    pub fn bytes(&self, number: u64) -> Vec<u8> {
        let mut bytes = self.prefix.clone();
        bytes.extend(format!("{number:016x}").into_bytes());
        bytes
    }

    /// The first mark in `text`: where it starts, its number, and where the text goes on.
    pub fn find(&self, text: &[u8]) -> Option<(usize, u64, usize)> {
        let start = text.windows(self.prefix.len()).position(|w| w == self.prefix)?;
        let digits = start + self.prefix.len();
        let end = digits + Self::DIGITS;
        let number = std::str::from_utf8(text.get(digits..end)?).ok()?;
        Some((start, u64::from_str_radix(number, 16).ok()?, end))
    }

    /// How many bytes at the end of `text` could be the beginning of a mark.
    pub fn partial(&self, text: &[u8]) -> usize {
        let longest = (self.prefix.len() + Self::DIGITS - 1).min(text.len());
        let may_start = |length: &usize| {
            let tail = &text[text.len() - length..];
            let known = tail.len().min(self.prefix.len());
            tail[..known] == self.prefix[..known]
        };
        (1..=longest).rev().find(may_start).unwrap_or(0)
    }
}

/// Writes one frame.
///
/// # Errors
/// Those of the writer; `InvalidData` if the message cannot be encoded or exceeds [`FRAME_LIMIT`].
pub fn send<T: Serialize>(mut to: impl Write, message: &T) -> io::Result<()> {
    let invalid = |e: String| io::Error::new(io::ErrorKind::InvalidData, e);
    let mut frame = vec![0; 4];
    frame.extend(postcard::to_stdvec(message).map_err(|e| invalid(e.to_string()))?);
    let length = u32::try_from(frame.len() - 4).ok().filter(|l| *l <= FRAME_LIMIT);
    let length = length.ok_or_else(|| {
        invalid(format!("a frame of {} bytes exceeds {FRAME_LIMIT}", frame.len() - 4))
    })?;
    frame[..4].copy_from_slice(&length.to_le_bytes());
    to.write_all(&frame)?;
    to.flush()
}

/// Reads one frame; `None` at a clean end of the stream.
///
/// # Errors
/// Those of the reader; `InvalidData` for a frame that is too long or does not decode.
pub fn receive<T: DeserializeOwned>(mut from: impl Read) -> io::Result<Option<T>> {
    let mut length = [0; 4];
    match from.read_exact(&mut length) {
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let length = u32::from_le_bytes(length);
    if length > FRAME_LIMIT {
        let text = format!("a frame of {length} bytes exceeds {FRAME_LIMIT}");
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    let mut frame = vec![0; length as usize];
    from.read_exact(&mut frame)?;
    let decoded = postcard::from_bytes(&frame);
    decoded.map(Some).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_survive_the_way() {
        let (libraries, symbol) = (vec!["/l.so".to_owned()], "cell".to_owned());
        let code = Code { number: 3, file: "/m.so".into(), symbol, needs: vec![1, 2], libraries };
        let targets = Some(vec![2, 3]);
        let on = Where::Workers { targets, group: Grouping::Order, wait: true };
        let order = Order::Run { cell: 7, code, on, watched: true };
        let mut wire = Vec::new();
        send(&mut wire, &order).unwrap();
        send(&mut wire, &Order::Exit).unwrap();
        let mut reader = wire.as_slice();
        assert_eq!(receive::<Order>(&mut reader).unwrap(), Some(order));
        assert_eq!(receive::<Order>(&mut reader).unwrap(), Some(Order::Exit));
        assert_eq!(receive::<Order>(&mut reader).unwrap(), None);
    }

    #[test]
    fn places_are_sets_of_processes() {
        let place = |driver, ids: &[u32]| Place { driver, workers: ids.iter().copied().collect() };
        let everywhere = place(true, &[2, 3]);
        assert!(everywhere.holds(&Place::default()) && everywhere.holds(&place(false, &[3])));
        assert!(!everywhere.holds(&place(true, &[4])) && !place(false, &[2]).holds(&everywhere));
        assert_eq!(everywhere.without(&Place::default()), place(false, &[2, 3]));
        assert!(Place::default().without(&everywhere).is_empty());
    }

    #[test]
    fn an_absurd_length_is_refused_before_memory_is_taken() {
        let error = receive::<Order>(&[0xff; 8][..]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn marks_are_found_among_text_and_held_back_when_split() {
        let mark = Mark::new("s3cret");
        let mut text = b"before".to_vec();
        text.extend(mark.bytes(255));
        text.extend(b"after");
        let (start, number, end) = mark.find(&text).unwrap();
        assert_eq!((start, number, &text[end..]), (6, 255, &b"after"[..]));
        for cut in 1..mark.bytes(255).len() {
            assert_eq!(mark.partial(&text[..6 + cut]), cut);
        }
        assert_eq!(mark.partial(b"plain text"), 0);
        assert_eq!(Mark::new("other").find(&text), None);
    }
}
