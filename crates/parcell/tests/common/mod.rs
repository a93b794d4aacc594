//! What the programs with workers share: named checks, after each of which no process holds anything.

use parcell::distributed::{Census, Workers, census, sent_by_plane};
use parcell::prelude::*;
use parcell::threads::timedwait;

/// A check and its name.
pub(crate) type Check = (&'static str, fn());

/// Starts the workers that the checks use, by mpiexec and with the data plane that the
/// environment names, if it does.
#[allow(dead_code)] // Not all of the programs run on both planes.
pub(crate) fn start_workers(count: usize) -> Vec<usize> {
    match std::env::var("PARCELL_TEST_PLANE") {
        Ok(plane) => addprocs(Workers::new(count).manager("mpi").option("data-plane", &plane)),
        Err(_) => addprocs(count),
    }
}

/// Runs the checks whose names contain the program's first argument, and then ends the workers. `left`
/// tells what a check left over that the census does not count.
///
/// # Panics
/// If a check does, or leaves something.
pub(crate) fn run(checks: &[Check], left: impl Fn() -> Vec<String>) {
    let wanted = std::env::args().nth(1).unwrap_or_default();
    for (name, check) in checks.iter().filter(|(name, _)| name.contains(&wanted)) {
        check();
        assert!(timedwait(nothing_is_left, 20), "{name}: left over: {:?}", census());
        assert!(timedwait(|| left().is_empty(), 20), "{name}: left over: {:?}", left());
        println!("{name}: ok");
    }
    data_went_by_the_plane();
    rmprocs(&workers());
}

/// Workers have sent their large data to each other by the plane that the environment names.
fn data_went_by_the_plane() {
    let sent = || -> u64 { procs().into_iter().map(sent_by_plane).sum() };
    let sent: u64 = workers().into_iter().map(|id| remotecall_fetch(sent, id, ())).sum();
    let is_mpi = std::env::var("PARCELL_TEST_PLANE").is_ok_and(|plane| plane == "mpi");
    assert_eq!(sent > 0, is_mpi, "{sent} bytes were sent by MPI");
    println!("sent by the data plane: {sent} bytes");
}

/// Whether no process holds anything any more.
pub(crate) fn nothing_is_left() -> bool {
    let nothing = |held: &Census| held.values + held.channels + held.locals + held.handles == 0;
    census().values().all(nothing)
}
