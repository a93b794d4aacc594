//! How the large data of a message reaches its process: through the same socket as the message, or
//! by a *data plane* that both processes share, which is MPI for workers that mpiexec has started.
//!
//! A message that goes by a plane leaves its bulks behind: [`Message::Apart`] tells their lengths and
//! a number, and the receiver takes the message up when they have come. Everything that sends arrays
//! from worker to worker uses the plane by this, and what is computed does not depend on it: the same
//! messages carry the same values to the same places. Control stays on the sockets, and so does what
//! the driver sends and gets, which is no rank.
//!
//! This is the only module that asks whether the library was built with the feature `mpi`.

#[cfg(feature = "mpi")]
mod mpi;

use std::sync::{Arc, OnceLock};

use super::blob::Blob;
use super::message::Message;
use super::node::{Node, count_message};
use super::transport::{Buffer, Bulk, Connection, Envelope, NoMemory};

#[cfg(feature = "mpi")]
pub use mpi::{NoWorld, try_world, world};

/// Tells a worker by which plane it sends large data to the others of its launch: [`ALL`] or [`LARGE`].
pub(crate) const PLANE: &str = "PARCELL_DATA_PLANE";

/// All bulks go by MPI.
pub(crate) const ALL: &str = "mpi";
/// Bulks go by MPI where that is faster.
pub(crate) const LARGE: &str = "mpi-large";
/// Within a host, what is shorter goes by socket, which wakes fewer threads for it: 64 KB take 18 µs
/// by socket and 54 µs by MPI, 1 MB 134 µs and 120 µs.
#[cfg(feature = "mpi")]
const LEAST_HERE: usize = 256 << 10;

/// Called with what has arrived, on a thread that must not be blocked.
pub(crate) type Arrived = Box<dyn FnOnce(Vec<Buffer>) + Send>;

/// A way for large data between processes that all have it.
pub(crate) trait Plane: Send + Sync {
    /// Whether so many bytes of data for this process are to go by the plane.
    fn takes(&self, process: u32, bytes: usize) -> bool;
    /// A number for data to be sent, which the receiver must be told.
    fn number(&self) -> u32;
    /// Sends data. Never blocks.
    fn send(&self, to: u32, number: u32, bulks: Vec<Bulk>);
    /// Takes data that a process has sent with this number. Never blocks.
    fn receive(&self, from: u32, number: u32, places: Vec<Buffer>, arrived: Arrived);
    /// A process is gone: nothing more comes from it, and it takes nothing.
    fn lose(&self, process: u32);
    /// Bytes of data that were sent to a process and received from it.
    fn traffic(&self, process: u32) -> (u64, u64);
    /// This process ends. Blocks for a moment.
    fn close(&self);
}

static PLANE_HERE: OnceLock<Box<dyn Plane>> = OnceLock::new();

fn here() -> Option<&'static dyn Plane> {
    PLANE_HERE.get().map(|plane| &**plane)
}

/// Whether this library has the feature `mpi`.
pub(crate) fn has_mpi() -> bool {
    cfg!(feature = "mpi")
}

/// Begins to share the plane that this worker was told of, if it was. Collective: blocks until all
/// workers of the launch do it. Only while no other thread of this library runs.
pub(crate) fn join(id: u32) -> Result<(), String> {
    match std::env::var(PLANE).as_deref() {
        Ok(ALL) => join_mpi(id, true),
        Ok(LARGE) => join_mpi(id, false),
        _ => Ok(()),
    }
}

#[cfg(feature = "mpi")]
fn join_mpi(id: u32, all: bool) -> Result<(), String> {
    let plane = mpi::start(id, if all { 0 } else { LEAST_HERE })?;
    // It is joined once.
    PLANE_HERE.get_or_init(|| Box::new(plane));
    Ok(())
}

#[cfg(not(feature = "mpi"))]
fn join_mpi(_id: u32, _all: bool) -> Result<(), String> {
    Err("its library was built without MPI; install it with `parcell install --mpi`".to_owned())
}

/// Sends a message: all on a connection, or its bulks by the plane. `false` if the connection is
/// closed. Never blocks.
pub(crate) fn send(connection: &Arc<Connection>, to: u32, message: &Message, blob: &Blob) -> bool {
    let mut envelope = Envelope { head: encoded(message), bulks: Vec::new() };
    blob.attach(&mut envelope.head, &mut envelope.bulks);
    let bytes: usize = envelope.bulks.iter().map(Bulk::len).sum();
    count_message(envelope.head.len() + bytes);
    let plane = here().filter(|plane| bytes > 0 && plane.takes(to, bytes));
    let Some(plane) = plane else { return connection.send(envelope) };
    let number = plane.number();
    let places = envelope.bulks.iter().map(|bulk| (bulk.len(), bulk.align())).collect();
    let mut head = encoded(&Message::Apart { number, places });
    head.extend_from_slice(&envelope.head);
    let told = connection.send(Envelope { head, bulks: Vec::new() });
    if told {
        plane.send(to, number, envelope.bulks);
    }
    told
}

fn encoded(message: &Message) -> Vec<u8> {
    postcard::to_stdvec(message).expect("messages are plain data")
}

/// A message has come whose bulks come by the plane.
pub(crate) fn receive(
    node: &'static Node,
    from: u32,
    number: u32,
    places: &[(usize, usize)],
    head: &[u8],
) -> Result<(), String> {
    let plane = here().ok_or("data was sent by a plane that this process does not have")?;
    let place = |(len, align): &(usize, usize)| Buffer::new(*len, *align);
    let places = places.iter().map(place).collect::<Result<Vec<Buffer>, NoMemory>>();
    let places = places.map_err(|error| error.to_string())?;
    let head = head.to_vec();
    let arrived = move |bulks| {
        if let Err(why) = node.receive(from, &head, bulks) {
            super::peers::not_understood(node, from, &why);
        }
    };
    plane.receive(from, number, places, Box::new(arrived));
    Ok(())
}

/// A process is gone.
pub(crate) fn lose(process: u32) {
    here().into_iter().for_each(|plane| plane.lose(process));
}

/// Bytes that were sent to a process and received from it by the plane.
pub(crate) fn traffic(process: u32) -> (u64, u64) {
    here().map_or((0, 0), |plane| plane.traffic(process))
}

/// This process ends by order.
pub(crate) fn close() {
    here().into_iter().for_each(Plane::close);
}

/// Bytes that this process has sent to another by its data plane, for tests: zero where large data
/// goes through sockets.
#[doc(hidden)]
#[must_use]
pub fn sent_by_plane(process: usize) -> u64 {
    u32::try_from(process).map_or(0, |process| traffic(process).0)
}
