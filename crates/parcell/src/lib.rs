//! The library that the cells of a parcell notebook use: threads, processes, rich displays, timing.
//!
//! Every cell opens with `use parcell::prelude::*`. A plain program can use the library too: rich
//! displays are then printed as text.
//!
//! ```
//! use parcell::prelude::*;
//!
//! let squares: u64 = (1..=10_u64).into_par_iter().map(|i| i * i).sum();
//! assert_eq!(squares, 385);
//! show(&Markdown("The sum of squares is **385**."));
//! ```

// The macros' expansions name the library from outside.
extern crate self as parcell;

mod allocations;
pub mod arrays;
pub mod display;
pub mod distributed;
pub mod driver;
pub mod interrupt;
pub mod link;
mod loaded;
pub mod prelude;
#[doc(hidden)]
pub mod rt;
pub mod spmd;
#[doc(hidden)]
pub mod store;
pub mod threads;
pub mod timing;

pub use bytemuck;
#[cfg(feature = "mpi")]
pub use mpi;
pub use ndarray;
pub use num_complex;
pub use rand;
pub use rayon;
pub use serde;
pub use tokio;
