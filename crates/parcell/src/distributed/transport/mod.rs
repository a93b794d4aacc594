//! Bytes between two processes: messages and large arrays over one connected socket.
//!
//! Nothing here knows what the bytes mean. `handshake` proves that both ends hold the session's
//! key and makes a `channel` of a socket, sealed by `cipher` where it leaves the host; `connection`
//! owns the channel; `frame` is what lies on the wire; `buffer` is the memory that arrives and the
//! memory that is sent.

mod buffer;
mod channel;
mod cipher;
mod connection;
mod frame;
mod handshake;
#[cfg(test)]
mod rates;

pub(crate) use buffer::{Buffer, Bulk, Misfit, NoMemory, Plain, bytes_of};
pub(crate) use channel::Channel;
pub(crate) use connection::{Connection, Envelope, Receive};
pub(crate) use handshake::Key;
