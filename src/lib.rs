//! The parcell kernel. A cell takes this way, and the modules read in this order:
//! [`wire`] checks and parses its message, [`server`] owns the sockets, [`kernel`] dispatches,
//! [`session`] takes the cell apart into [`magics`] and Rust, [`engine`] compiles the Rust,
//! [`session`]'s driver runs it, and what it shows goes to a [`stage`].

pub mod cells;
pub mod cli;
pub mod engine;
pub mod kernel;
pub mod magics;
pub mod server;
pub mod session;
pub mod stage;
pub mod wire;
