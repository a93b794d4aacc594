//! What processes tell each other. A message is this, encoded, followed by the bytes of the blob
//! that goes with it, if one does.

use serde::{Deserialize, Serialize};

use super::address::{Address, Manners};
use super::blob::RefId;
use super::error::RemoteError;
use super::function::FunctionRef;
use super::modules::{ModuleKey, ModuleSource};
use parcell_link::WorkerOutput;

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Message {
    /// Run a function; its captures or arguments are in the blob.
    Call(Call),
    /// Do something with what the receiver holds.
    Ask {
        /// Repeated in the answer, [`Message::Ended`].
        number: u64,
        what: Ask,
    },
    /// A call or question ended; its value, if one was wanted, is in the blob.
    Ended {
        number: u64,
        result: Result<Answer, RemoteError>,
        /// When the work began, in nanoseconds of the clock that all processes of a host share.
        began: u64,
        /// How long it took, in nanoseconds.
        took: u64,
    },
    /// The asker does not want the answer any more.
    Cancel {
        number: u64,
    },
    /// Keep a function, whose captures are in the blob, for calls to come.
    Define {
        id: RefId,
        function: FunctionRef,
    },
    /// `process` will hold a handle, too.
    Hold {
        id: RefId,
        process: u32,
    },
    /// The sender dropped handles: so many of each.
    Release {
        refs: Vec<(RefId, u32)>,
    },
    /// Stop what runs for the sender's cell.
    Interrupt,
    /// Processes that came (with the address they listen at) and went (with the reason).
    Peers {
        came: Vec<(u32, Address)>,
        gone: Vec<(u32, String)>,
    },
    /// Something to show, by the cell with this number.
    Output {
        cell: u64,
        what: WorkerOutput,
    },
    /// For a participant of an SPMD run; a value is in the blob.
    Letter {
        run: RefId,
        letter: crate::spmd::Letter,
    },
    /// The bulks of the message that follows, of these lengths and alignments, come by the data plane
    /// with this number.
    Apart {
        number: u32,
        places: Vec<(usize, usize)>,
    },
    /// To be answered at once with [`Message::Pong`].
    Ping {
        number: u64,
    },
    Pong {
        number: u64,
        state: Load,
    },
    /// Drop variables that cells left behind.
    Forget {
        names: Vec<String>,
    },
    /// End.
    Exit,
}

/// A call.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Call {
    /// Repeated in the answer.
    pub(crate) number: u64,
    /// The cell that caused it, where its output goes.
    pub(crate) cell: u64,
    pub(crate) work: Work,
    pub(crate) want: Want,
    /// What it is, for those who watch: where in which cell it was called.
    pub(crate) place: String,
}

/// What a call runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Work {
    /// A function that comes with its captures; it has no arguments.
    New(FunctionRef),
    /// A function that the receiver keeps.
    Kept(RefId),
    /// A kept function, once for each of several arguments.
    Batch { function: RefId, items: u32 },
    /// The function that a module exports: a whole cell.
    Cell { module: ModuleKey, symbol: String },
}

/// What the caller wants of the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Want {
    /// Nothing at all, not even to hear that it ended.
    Nothing,
    /// The value.
    Value,
    /// That it is kept; the end is told.
    Kept(RefId),
}

/// What can be done with something that another process holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Ask {
    /// Wait for a future's value; with `value`, send it.
    Future { id: RefId, value: bool },
    /// Whether the future has a value.
    IsReady { id: RefId },
    /// Give the future its value, which is in the blob.
    Fulfil { id: RefId },
    /// Make a channel.
    NewChannel { id: RefId, capacity: Option<u64> },
    /// An operation on a channel.
    Channel { id: RefId, operation: ChannelOperation, wait: Wait },
    /// Where a process listens.
    Address { process: u32 },
    /// How to get a module, and its files if the asker is on another host, which then tells the
    /// libraries that it holds.
    Module { key: ModuleKey, elsewhere: Option<Vec<String>> },
    /// Let other hosts call, on the interface with this address or on all. Answered with the address.
    OpenToNetwork { on: Option<std::net::IpAddr>, manners: Manners },
    /// How many things the process holds, for tests and tables.
    Census,
    /// Whether nothing would be lost if the process ended.
    IsDispensable,
}

/// How long an operation may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Wait {
    /// As long as it takes.
    Forever,
    /// Milliseconds; zero: not at all.
    For(u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ChannelOperation {
    /// The value is in the blob.
    Put,
    Take,
    /// The next value, which stays.
    Fetch,
    /// Until there is something to take, or the channel is closed.
    Wait,
    Length,
    IsOpen,
    Close,
    /// A value that was taken, but whose taker had gone meanwhile: back to the front.
    PutBack,
}

impl ChannelOperation {
    /// Whether the answer may come later than at once.
    pub(crate) fn may_wait(self) -> bool {
        use ChannelOperation::{Fetch, Put, Take, Wait};
        matches!(self, Put | Take | Fetch | Wait)
    }
}

/// What comes back, beside a blob.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// It is done.
    Done,
    /// The value is in the blob.
    Value,
    /// The future has its value, which stays with its owner.
    Ready,
    /// For a channel: nothing within the time.
    NotInTime,
    Flag(bool),
    Count(u64),
    Address(Option<Address>),
    Module(Option<ModuleSource>),
    Census(Census),
    /// How a whole cell ended.
    Cell(Box<parcell_link::Outcome>),
}

/// What a process holds at the moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Census {
    /// Results of calls and futures.
    pub values: usize,
    /// Functions kept for calls to come.
    pub functions: usize,
    /// Channels.
    pub channels: usize,
    /// Values of `WorkerLocal`, and pieces of arrays.
    pub locals: usize,
    /// Handles to what other processes, or this one, hold.
    pub handles: usize,
    /// Calls that this process waits for.
    pub pending: usize,
    /// Calls that run here.
    pub running: usize,
}

/// How busy a process is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Load {
    /// Bytes of memory that it has to itself or shares.
    pub(crate) memory: u64,
    /// Nanoseconds of processor time that it has used.
    pub(crate) processor: u64,
    /// Calls that run or wait for a thread.
    pub(crate) calls: u32,
    pub(crate) census: Census,
}

/// What two processes say to each other first, once both have proved that they know the key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Hello {
    pub(crate) id: u32,
    /// The operating system's number of the process.
    pub(crate) pid: u32,
    pub(crate) host: String,
    pub(crate) threads: u32,
    /// Where it listens.
    pub(crate) address: Address,
}

/// The first that is said on a new connection.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Opening {
    /// By a process that has an id.
    Hello(Hello),
    /// By one that wants to be a worker; answered with an [`Admission`] or a refusal.
    Join(Wish),
}

/// A process wants to be a worker of this session.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Wish {
    /// The launch that it belongs to, and the part of it.
    pub(crate) launch: u64,
    pub(crate) client: u32,
    /// Which worker of that part it is, from 0, if it knows.
    pub(crate) rank: Option<u32>,
    pub(crate) host: String,
    /// What its processor can do.
    pub(crate) features: Vec<String>,
    /// The name of its build, if it was started by hand.
    pub(crate) build: Option<String>,
}

/// It is one.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Admission {
    pub(crate) id: u32,
}
