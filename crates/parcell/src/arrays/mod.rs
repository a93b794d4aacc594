//! Arrays over processes.

mod error;
mod layout;

pub use error::{ArrayError, LostPiece};
pub use layout::{Layout, default_grid};
