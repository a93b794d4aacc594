//! Cells that run on several processes: `%%everywhere` and `%%px`.

use std::sync::Arc;

use parcell_link::{Outcome, Place, Where};

use crate::loaded::Loaded;
use crate::store;

/// Runs the function `symbol` of a module on the processes that `on` names, for run `cell`: `local`
/// is its part on the driver. Blocks until all have ended; what failed is joined.
pub(crate) fn run(
    cell: u64,
    record: Arc<Loaded>,
    symbol: &str,
    on: &Where,
    local: impl FnOnce() -> Outcome,
) -> Outcome {
    let _ = (cell, record, symbol);
    match on {
        Where::Driver | Where::Everywhere => local(),
        Where::Workers { .. } => Outcome::Refused { message: "there are no workers".to_owned() },
    }
}

/// Drops these variables on the processes of `on`; names that do not exist are skipped. Does not
/// wait for workers.
pub(crate) fn forget(names: &[String], on: &Place) {
    if on.driver {
        store::forget(names);
    }
}
