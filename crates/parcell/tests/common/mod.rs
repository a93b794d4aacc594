//! What the programs with workers share: named checks, after each of which no process holds anything.

use parcell::distributed::{Census, census};
use parcell::prelude::*;
use parcell::threads::timedwait;

/// A check and its name.
pub(crate) type Check = (&'static str, fn());

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
    rmprocs(&workers());
}

/// Whether no process holds anything any more.
pub(crate) fn nothing_is_left() -> bool {
    let nothing = |held: &Census| held.values + held.channels + held.locals + held.handles == 0;
    census().values().all(nothing)
}
