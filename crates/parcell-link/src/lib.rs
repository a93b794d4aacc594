//! The frames that a kernel and its driver exchange, and how one frame is written and read.
//!
//! Nothing here knows Jupyter or rustc: the kernel turns these frames into messages, the driver
//! turns orders into calls. A frame is a little-endian `u32` length followed by that many bytes of
//! [postcard](https://docs.rs/postcard).

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
    /// Load the module and run the function `symbol` that it exports. Answered by [`Event::Done`].
    Run {
        /// The number that the answer and the marks of this cell carry.
        cell: u64,
        /// Shared libraries that the module uses without naming them; loaded once, in this order.
        libraries: Vec<String>,
        /// Path of the shared object.
        module: String,
        /// Exported function, `extern "C-unwind" fn()`.
        symbol: String,
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
        /// What to show.
        publication: Publication,
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
        /// The number given in [`Order::Run`].
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
        let order = Order::Run { cell: 7, libraries, module: "/m.so".into(), symbol };
        let mut wire = Vec::new();
        send(&mut wire, &order).unwrap();
        send(&mut wire, &Order::Exit).unwrap();
        let mut reader = wire.as_slice();
        assert_eq!(receive::<Order>(&mut reader).unwrap(), Some(order));
        assert_eq!(receive::<Order>(&mut reader).unwrap(), Some(Order::Exit));
        assert_eq!(receive::<Order>(&mut reader).unwrap(), None);
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
