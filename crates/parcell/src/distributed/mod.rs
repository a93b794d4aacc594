//! Processes: workers, what runs on them, and how values travel between them.
//!
//! The code reads from what users call down to the bytes: [`procs`] starts and ends workers;
//! [`remote`] and [`future`] make calls; [`call`] sends them; [`node`] is this process among the
//! others; [`jobs`] runs what others call here; [`blob`] turns values into bytes and `transport`
//! carries them.

mod adaptive;
mod address;
mod backoff;
#[doc(hidden)]
pub mod blob;
mod bulk;
pub(crate) mod call;
pub(crate) mod calls;
#[doc(hidden)]
pub mod capture;
mod carried;
pub(crate) mod cells;
mod channel_waits;
mod clock;
pub(crate) mod commands;
mod crew;
mod deal;
mod demand;
pub(crate) mod error;
mod everywhere;
#[doc(hidden)]
pub mod function;
mod future;
pub(crate) mod group;
mod handles;
pub(crate) mod jobs;
mod join;
mod keeper;
mod kept;
mod launch;
pub(crate) mod local;
mod loops;
mod macros;
mod mailbox;
mod managers;
pub(crate) mod message;
mod modules;
pub(crate) mod node;
mod objects;
pub(crate) mod output;
mod peers;
mod plane;
mod pmap;
mod pool;
mod portable;
#[doc(hidden)]
pub mod portions;
mod processor;
pub(crate) mod procs;
mod questions;
#[doc(hidden)]
pub mod refusal;
mod remote;
mod remote_channel;
#[doc(hidden)]
pub mod rt;
mod several;
mod store;
mod supply;
mod table;
mod target;
pub(crate) mod transport;
mod tree;
pub(crate) mod usage;
pub(crate) mod value;
mod waiting;
mod watch;
pub(crate) mod worker;
mod worker_local;

pub use backoff::ExponentialBackOff;
pub use error::{CompositeError, RemoteError, RemotePanic};
pub use future::RemoteFuture;
pub use launch::LaunchError;
pub use loops::Distributed;
pub use message::Census;
pub use node::{MessagesSent, messages_sent};
#[doc(hidden)]
pub use parcell_macros as macros_of;
#[doc(hidden)]
pub use plane::sent_by_plane;
#[cfg(feature = "mpi")]
pub use plane::{NoWorld, try_world, world};
pub use pmap::{Inputs, ItemTime, Mapped, Pmap, pmap};
pub use pool::{CachingPool, WorkerPool, default_worker_pool};
pub use portable::Portable;
pub use portions::Loopable;
pub(crate) use procs::become_worker_if_wanted;
pub use procs::{
    AddProcs, Workers, addprocs, census, init, interrupt, myid, nprocs, nworkers, procs, rmprocs,
    try_addprocs, try_rmprocs, workers,
};
pub use remote::{
    Remote, RemoteFunction, remote_do, remotecall, remotecall_fetch, remotecall_wait,
    try_remotecall_fetch,
};
pub use remote_channel::{RemoteChannel, RemoteValues};
pub use several::{fetch_all, try_fetch_all, try_wait_all, wait_all, wait_any};
pub use supply::{CodeSent, code_sent};
pub use target::Target;
pub use worker_local::{LocalInit, WorkerLocal};

/// Whether nothing would be lost with this process: nothing runs, and it holds nothing but functions,
/// which are sent again where they are needed.
fn is_dispensable(node: &node::Node) -> bool {
    let Census { values, channels, locals, running, .. } = census_here(node);
    values + channels + locals + running == 0 && crate::store::names().is_empty()
}

/// What this process holds at the moment.
fn census_here(node: &node::Node) -> Census {
    Census {
        handles: node.handles.count(),
        pending: node.calls.count(),
        running: node.jobs.count(),
        ..node.store.census()
    }
}
