//! What can go wrong with shared arrays, as values that carry the facts.

use std::path::PathBuf;

use crate::arrays::ArrayError;
use crate::arrays::error::Shape;
use crate::distributed::error::Raise;
use crate::timing::in_binary_units as bytes;

/// Why an operation on a [`SharedArray`](super::SharedArray) gave no result.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SharedError {
    /// An array of more bytes than a process can address.
    #[error(
        "an array of shape {} with elements of {element} bytes has more bytes than a process can address",
        Shape(.shape)
    )]
    TooLarge {
        /// The shape that was asked for.
        shape: Vec<usize>,
        /// Bytes of one element.
        element: usize,
    },
    /// There is not so much memory, or room on the disk.
    #[error(
        "the array takes {wanted} bytes ({}), and {what} has {available} ({}): take fewer or smaller \
         elements, free other arrays, or map a file by `SharedArray::from_file`",
        bytes(*.wanted), bytes(*.available)
    )]
    NoRoom {
        /// Bytes that were asked for.
        wanted: u64,
        /// Bytes that there are.
        available: u64,
        /// What has no more: the machine's memory, the limit of a cgroup, or the disk of a file.
        what: String,
    },
    /// Two shapes that must be equal, or have as many elements, do not.
    #[error("{operation}: the shapes {} and {} do not fit", Shape(.left), Shape(.right))]
    Shapes {
        /// The operation.
        operation: String,
        /// The shape of the array whose method was called.
        left: Vec<usize>,
        /// The other.
        right: Vec<usize>,
    },
    /// An index outside of the array.
    #[error("the index {index:?} is outside of the array's shape {}", Shape(.shape))]
    Outside {
        /// The index.
        index: Vec<usize>,
        /// The array's shape.
        shape: Vec<usize>,
    },
    /// Memory is shared by the processes of one machine only.
    #[error(
        "process {worker} runs on `{host}`, and the array's memory is on `{here}`: memory is shared by \
         the processes of one machine only; choose those by `SharedArray::on`, or use a `DArray`"
    )]
    OtherHost {
        /// The process that is elsewhere.
        worker: usize,
        /// Its machine.
        host: String,
        /// The machine that has the memory.
        here: String,
    },
    /// No processes were chosen, or one twice.
    #[error("{what}")]
    Processes {
        /// What is wrong with the choice.
        what: String,
    },
    /// The memory cannot be found any more.
    #[error("the memory of {array} is gone: {why}")]
    Gone {
        /// Which array.
        array: String,
        /// Why.
        why: String,
    },
    /// The array cannot be written.
    #[error("{array} can only be read, since its file was opened with mode `r`: {instead}")]
    ReadOnly {
        /// Which array.
        array: String,
        /// What can be used instead.
        instead: &'static str,
    },
    /// A file cannot be mapped.
    #[error("`{}`: {what}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What was asked for, and why it is not possible.
        what: String,
    },
    /// An array cannot be frozen while others can write to it.
    #[error("{array} cannot be frozen, since others could still write to it: {who}")]
    InUse {
        /// Which array.
        array: String,
        /// Who, as far as is known.
        who: String,
    },
    /// An array that can never be frozen, or not by this process.
    #[error("{array} cannot be frozen: {why}")]
    Frozen {
        /// Which array.
        array: String,
        /// Why.
        why: String,
    },
    /// The system refused something.
    #[error("{what}: {error}")]
    System {
        /// What was to be done.
        what: String,
        /// What the system said.
        error: String,
    },
    /// What failed on other processes.
    #[error("{0}")]
    Array(#[from] ArrayError),
}

impl SharedError {
    pub(crate) fn system(what: impl Into<String>, error: impl Into<std::io::Error>) -> SharedError {
        SharedError::System { what: what.into(), error: error.into().to_string() }
    }

    pub(crate) fn shapes(operation: &str, left: &[usize], right: &[usize]) -> SharedError {
        let (left, right) = (left.to_vec(), right.to_vec());
        SharedError::Shapes { operation: operation.to_owned(), left, right }
    }
}

/// What fails on another process is told to the one that ordered it.
impl From<SharedError> for ArrayError {
    fn from(error: SharedError) -> ArrayError {
        match error {
            SharedError::Array(error) => error,
            other => ArrayError::Refused { what: other.to_string() },
        }
    }
}

impl Raise for SharedError {
    #[cold]
    #[track_caller]
    fn raise(self) -> ! {
        match self {
            SharedError::Array(error) => error.raise(),
            other => std::panic::panic_any(other),
        }
    }
}
