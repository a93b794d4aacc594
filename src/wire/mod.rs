//! Frames and messages: what is on the wire of Jupyter's protocol, and nothing else. Pure
//! functions without sockets. [`Reader`] checks and parses what comes in, [`Writer`] builds and
//! signs what goes out, [`content`] types what messages carry.
//!
//! The `jupyter-protocol` crate is not used, after reading its version 2.0: its requests refuse
//! absent fields that the protocol gives defaults to, its `Media` is a closed enum that parses and
//! rebuilds every bundle on its way, `KernelInfoReply` lacks `supported_features`, a new message
//! takes over the client's session, and a parent header is rebuilt instead of passed on verbatim.

pub mod content;
mod reader;
mod signature;
mod writer;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use reader::{Fault, Reader};
pub use signature::Signer;
pub use writer::{Writer, Written};

/// The protocol version that this kernel speaks.
pub const PROTOCOL_VERSION: &str = "5.5";

/// Separates routing identities (or the topic) from the signed parts.
pub const DELIMITER: &[u8] = b"<IDS|MSG>";

/// Bytes of the longest message that is read.
pub const LIMIT: usize = 64 << 20;

/// The parts of one multipart message, as they travel.
pub type Frames = Vec<Vec<u8>>;

/// Who sent a message, when, and what it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Unique for each message.
    #[serde(default)]
    pub msg_id: String,
    /// The sender's session.
    #[serde(default)]
    pub session: String,
    /// The sender's user.
    #[serde(default)]
    pub username: String,
    /// ISO 8601, UTC.
    #[serde(default)]
    pub date: String,
    /// For example `execute_request`.
    pub msg_type: String,
    /// The sender's protocol version.
    #[serde(default)]
    pub version: String,
}

/// A message that came in, its signature checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Incoming {
    /// The frames before the delimiter; answers carry them back to the sender.
    pub identities: Frames,
    /// Its header, for reading.
    pub header: Header,
    /// Its header verbatim: the parent header of all that answers it.
    pub parent: Value,
    /// The header of the message that it answers itself; `{}` if none.
    pub answers: Value,
    /// Its metadata.
    pub metadata: Value,
    /// Its content.
    pub content: Value,
    /// Binary frames after the content. Not signed, as the protocol has it.
    pub buffers: Frames,
}
