//! Arrays in memory that the processes of one machine share.
//!
//! From what users call down to the memory: `make` and `file` make arrays, `array` is the handle
//! with its elements, `compute` has processes work on their parts, `frozen` makes an array
//! unchangeable; `members` sends the orders; `split` says who has which elements; `show` shows
//! them; `cell` is an element, `segment` the memory, `room` how much of it there is.

mod array;
mod cell;
mod compute;
mod error;
mod file;
mod frozen;
mod make;
mod members;
mod room;
mod segment;
mod show;
mod split;

pub use array::{SharedArray, SharedMatrix, SharedVector};
pub use cell::{Plain, SharedCell};
pub use error::SharedError;
pub use file::SharedFile;
pub use frozen::{FreezeError, FrozenArray};
pub use make::On;
