//! A function that another process has sent to be called again and again.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::blob::Incoming;
use super::error::RemoteError;
use super::function::{Callable, FunctionRef};
use super::modules;

/// A function with its captures, which are decoded by the first call.
pub(crate) struct KeptFunction {
    function: FunctionRef,
    captures: Mutex<Option<Incoming>>,
    made: OnceLock<Result<Arc<dyn Callable>, RemoteError>>,
}

impl KeptFunction {
    pub(crate) fn new(function: FunctionRef, captures: Incoming) -> KeptFunction {
        KeptFunction { function, captures: Mutex::new(Some(captures)), made: OnceLock::new() }
    }

    /// The function itself. May load a module, and so block.
    pub(crate) fn callable(&self) -> Result<Arc<dyn Callable>, RemoteError> {
        let make = || {
            let captures = self.captures.lock().unwrap_or_else(PoisonError::into_inner).take();
            let mut captures = captures.expect("made once");
            modules::make(&self.function, &mut captures.reader())
        };
        // What can be interrupted comes first: the captures are there once.
        modules::fetch(&self.function)?;
        self.made.get_or_init(make).clone()
    }
}
