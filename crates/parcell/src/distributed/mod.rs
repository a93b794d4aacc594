//! Processes: workers that run what the driver asks them to.

pub(crate) mod cells;
pub(crate) mod commands;
