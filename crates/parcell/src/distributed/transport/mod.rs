//! Bytes between two processes: messages and large arrays over one connected socket.
//!
//! Nothing here knows what the bytes mean. `handshake` proves that both ends hold the session's
//! key; `connection` owns the socket; `frame` is what lies on the wire; `buffer` is the memory
//! that arrives and the memory that is sent.

mod buffer;
mod connection;
mod frame;
mod handshake;
#[cfg(test)]
mod rates;

pub(crate) use buffer::{Buffer, Bulk, Misfit, NoMemory, Plain, bytes_of};
pub(crate) use connection::{Connection, Envelope, Receive};
pub(crate) use handshake::{Key, accept, dial};
