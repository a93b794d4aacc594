//! The names that every cell starts with. A cell's own items of the same name take precedence.
//!
//! ```
//! use parcell::prelude::*;
//!
//! let doubled: Vec<i32> = vec![1, 2, 3].into_par_iter().map(|x| 2 * x).collect();
//! assert_eq!(doubled, [2, 4, 6]);
//! assert!(threadid() < nthreads());
//! ```

pub use rayon::prelude::*;

pub use crate::arrays::{
    ArrayError, Boundary, DArray, DArray1, DArray2, DArray3, SharedArray, SharedMatrix,
    SharedVector, allow_scalar, conjugate_gradients, dfill, dims, distribute, distribute_like,
    distribute_over, dones, drand, drandn, dzeros,
};
pub use crate::display::{
    Chart, Colormap, Html, Image, Json, Latex, Markdown, Rich, Span, Svg, animate, clear_output,
    heatmap, input, password, plot, progress, progress_bar, show, show_with_id, table, timeline,
    update,
};
#[cfg(feature = "mpi")]
pub use crate::distributed::world;
pub use crate::distributed::{
    CachingPool, CompositeError, ExponentialBackOff, Remote, RemoteChannel, RemoteError,
    RemoteFuture, WorkerLocal, WorkerPool, Workers, addprocs, fetch_all, interrupt, myid, nprocs,
    nworkers, pmap, procs, remote_do, remotecall, remotecall_fetch, remotecall_wait, rmprocs,
    wait_all, wait_any, workers,
};
pub use crate::interrupt::sleep;
pub use crate::spmd::{Context, DData, Spmd, ddata, spmd};
pub use crate::threads::{
    Atomic, Channel, Padded, Schedule, Task, nthreads, par_for, par_for_iter, spawn,
    spawn_interactive, sync, threadid,
};
pub use crate::threads::{
    IndexedParallelIteratorExt, ParallelIteratorExt, ParallelMap, ParallelSliceExt,
    ParallelSliceMutExt,
};
pub use crate::{bench, btime, distributed, everywhere, fetch_from, remote, show, spawn_at};
