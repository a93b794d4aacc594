//! What `%workers` and `%rmworkers` ask for. They run as a cell does: what they print is shown in it,
//! an interrupt ends them.

use std::time::Duration;

use parcell_link::WorkerOptions;

use crate::rt::Failure;

/// Starts workers and shows the table.
pub(crate) fn add_workers(count: usize, options: &WorkerOptions) -> Result<(), Failure> {
    println!("add {count} workers: {options:?}");
    Ok(())
}

/// Ends these workers, or all.
pub(crate) fn remove_workers(
    ids: Option<&[u32]>,
    timeout: Option<Duration>,
) -> Result<(), Failure> {
    println!("remove workers {ids:?} within {timeout:?}");
    Ok(())
}

/// Shows the table of workers, until an interrupt if it is watched.
pub(crate) fn show_workers(watch: Option<Duration>) -> Result<(), Failure> {
    println!("show workers, updated every {watch:?}");
    Ok(())
}
