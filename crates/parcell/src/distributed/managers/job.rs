//! Jobs that a scheduler starts when it has room.

use parcell_link::WorkerOptions;

use crate::distributed::address::Address;
use crate::distributed::launch::{LaunchError, Launched};

pub(crate) struct Job;

pub(super) fn start(
    _job: &Job,
    _driver: &Address,
    _given: &WorkerOptions,
    _limit: Option<f64>,
) -> Result<Launched, LaunchError> {
    unreachable!("no manager has jobs yet")
}
