//! Processes: workers, what runs on them, and how values travel between them.

#[doc(hidden)]
#[allow(dead_code, reason = "the layers above are not there yet")]
pub mod blob;
#[allow(dead_code, reason = "the layers above are not there yet")]
mod bulk;
mod portable;
#[allow(dead_code, unused_imports, reason = "the layers above are not there yet")]
pub(crate) mod transport;

pub use portable::Portable;
