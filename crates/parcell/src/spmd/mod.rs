//! One program on several processes: each runs the same function on its own data, and they send each
//! other what the others need.
//!
//! [`spmd`] starts the function on all processes at once. It gets an [`Spmd`], its place among the
//! participants: rank, size, messages and collectives. That is a value and not a set of free
//! functions, as in MPI and unlike in Julia: a function that takes one says that it takes part in a
//! run, several runs in one process cannot be confused, and who has none cannot send.
//!
//! An operation is *one-sided* if a participant may call it alone, and *collective* if all must call
//! it, in the same order. Collectives number themselves; no tags are needed to tell them apart.
//!
//! ```no_run
//! use parcell::prelude::*;
//!
//! addprocs(3);
//! let sums = spmd(|c: Spmd| {
//!     let next = (c.rank() + 1) % c.size();
//!     c.send_to(next, c.rank());
//!     let (from, rank): (usize, usize) = c.recv_from_any();
//!     assert_eq!(from, rank);
//!     c.all_reduce(rank, |a, b| a + b)
//! });
//! assert_eq!(sums, [3, 3, 3]);
//! ```

mod collective;
mod comm;
mod context;
mod ddata;
mod error;
mod letter;
mod room;
mod run;

use std::panic::Location;

pub use comm::Spmd;
pub use context::Context;
pub use ddata::{DData, ddata};
pub use error::SpmdError;
pub(crate) use letter::Letter;
#[doc(hidden)]
pub use room::open_rooms;
pub(crate) use room::{arrived, lost};

use crate::distributed::blob::Incoming;
use crate::distributed::error::raise_all;
use crate::distributed::jobs::not_read;
use crate::distributed::node::node;
use crate::distributed::{CompositeError, Portable, Remote, RemoteError, RemoteFunction};

/// Runs a function on every worker at once, or on this process if there are none, and blocks until
/// all have returned: what they returned, in the order of the ranks. Julia's `spmd` includes the
/// master; here `Spmd::on(&procs())` does.
///
/// The function is a `fn`, a closure that captures nothing and says its argument's type, as in
/// `|c: Spmd| …`, or `remote!(|c: Spmd| …)`, which takes its captures along. Runs may overlap, also
/// such as were started by participants of others; their messages are kept apart. While a participant
/// waits it lends its thread, so runs do not block each other.
///
/// Costs one message to each process, one back and one to say that all is over.
///
/// # Panics
/// With [`RemoteError`], or [`CompositeError`](crate::distributed::CompositeError) if several fail:
/// where the function panicked, or which process is gone. The waits of the other participants then end
/// with [`SpmdError::Participant`]; their own failures that follow from that are not told. Unwinds
/// soon after an interrupt, which ends the participants, too.
///
/// ```
/// use parcell::prelude::*;
///
/// let ranks = spmd(|c: Spmd| (c.rank(), c.size()));
/// assert_eq!(ranks, [(0, 1)]); // no workers
/// ```
///
/// # Source
/// `spmd(f; pids)`, `DistributedArrays.SPMD`, Julia; `mpiexec`.
#[track_caller]
pub fn spmd<R: Portable>(function: impl RemoteFunction<(Spmd,), R>) -> Vec<R> {
    SpmdRun { processes: None, context: None }.run(function)
}

/// Where a run takes place, and what it keeps: what [`Spmd::on`] and [`Spmd::with`] make.
#[derive(Debug, Clone)]
#[must_use = "nothing runs before `run` is called"]
pub struct SpmdRun {
    processes: Option<Vec<usize>>,
    context: Option<Context>,
}

impl Spmd {
    /// A run on these processes; the order is that of the ranks. This process may be one of them.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// assert_eq!(Spmd::on(&procs()).run(|c: Spmd| c.procs()), [procs()]);
    /// ```
    pub fn on(processes: &[usize]) -> SpmdRun {
        SpmdRun { processes: Some(processes.to_vec()), context: None }
    }

    /// A run on all processes of a context, with what earlier runs kept there.
    pub fn with(context: &Context) -> SpmdRun {
        SpmdRun { processes: None, context: Some(context.clone()) }
    }
}

impl SpmdRun {
    /// With what earlier runs in this context kept, see [`Spmd::stored`].
    pub fn context(mut self, context: &Context) -> SpmdRun {
        self.context = Some(context.clone());
        self
    }

    /// Runs a function as [`spmd`] does.
    ///
    /// # Panics
    /// As [`spmd`]; if there is no such process, if one is named twice, or none.
    #[track_caller]
    pub fn run<R: Portable>(self, function: impl RemoteFunction<(Spmd,), R>) -> Vec<R> {
        let place = Location::caller();
        match self.start(function.into_remote().untyped(), place).and_then(values) {
            Ok(values) => values,
            Err(errors) => raise_all(errors),
        }
    }

    /// As [`SpmdRun::run`].
    ///
    /// # Errors
    /// All failures but those that follow from another, in the order of the ranks.
    #[track_caller]
    pub fn try_run<R: Portable>(
        self,
        function: impl RemoteFunction<(Spmd,), R>,
    ) -> Result<Vec<R>, CompositeError> {
        let place = Location::caller();
        let ended = self.start(function.into_remote().untyped(), place);
        ended.and_then(values).map_err(|errors| CompositeError { errors })
    }

    fn start(
        self,
        function: Remote<(), ()>,
        place: &Location<'_>,
    ) -> Result<Vec<Incoming>, Vec<RemoteError>> {
        let of_context = || self.context.as_ref().map(Context::procs);
        let processes = self.processes.clone().or_else(of_context);
        let processes = processes.unwrap_or_else(default_processes);
        run::run(&processes, self.context, function, place)
    }
}

/// What the participants returned.
fn values<R: Portable>(answers: Vec<Incoming>) -> Result<Vec<R>, Vec<RemoteError>> {
    let value = |mut answer: Incoming| {
        let mut reader = answer.reader();
        run::skip_head(&mut reader)?;
        reader.read().map_err(not_read)
    };
    answers.into_iter().map(value).collect::<Result<_, _>>().map_err(|error| vec![error])
}

/// All workers, or this process if there are none.
fn default_processes() -> Vec<usize> {
    crate::distributed::workers()
}

/// Whether a process still lives.
fn is_there(process: usize) -> bool {
    let (node, id) = (node(), u32::try_from(process).unwrap_or(0));
    id == node.id || node.peers.is_alive(id)
}
