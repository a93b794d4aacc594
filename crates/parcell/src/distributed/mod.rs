//! Processes: expressions and functions that run in other processes.

#[doc(hidden)]
pub mod capture;
mod macros;
#[doc(hidden)]
pub mod refusal;
#[doc(hidden)]
pub mod rt;
#[doc(hidden)]
pub mod stub;
#[cfg(test)]
mod tests;

#[doc(hidden)]
pub use parcell_macros as macros_of;

/// STUB: the result of a remote call.
#[derive(Clone)]
pub struct RemoteFuture<R> {
    value: std::sync::Arc<R>,
}

impl<R: Clone> RemoteFuture<R> {
    /// STUB.
    pub fn fetch(&self) -> R {
        R::clone(&self.value)
    }
}
