//! Functions that can run on any process: where their code is, and what they captured.
//!
//! A remote function is a *trampoline*, code made by the compiler for one combination of captures
//! and result, a *body*, a plain `fn`, and the encoded captures. Addresses travel as object and
//! offset, see [`modules`](super::modules): what one process can call, every process can.

use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::blob::{Blob, BlobReader, BlobWriter, DecodeError, EncodeError};
use super::modules::CodeRef;
use super::portable::Portable;

/// A value that stays where it was made until somebody asks for it.
pub trait AnyValue: Send + Sync {
    /// Writes the value; big arrays keep lying where they are.
    fn encode(self: Arc<Self>, to: &mut BlobWriter) -> Result<(), EncodeError>;
    /// The value itself, for a reader on the same process whose type is the very same.
    fn as_any(self: Arc<Self>) -> Arc<dyn std::any::Any + Send + Sync>;
    /// Whether it is worth sending unasked: a number or the like.
    fn is_small(&self) -> bool;
}

/// The one implementation.
pub struct Held<T>(pub Arc<T>);

impl<T: Portable> AnyValue for Held<T> {
    fn encode(self: Arc<Self>, to: &mut BlobWriter) -> Result<(), EncodeError> {
        to.write_owned(Arc::clone(&self.0))
    }

    fn as_any(self: Arc<Self>) -> Arc<dyn std::any::Any + Send + Sync> {
        Arc::clone(&self.0) as Arc<dyn std::any::Any + Send + Sync>
    }

    fn is_small(&self) -> bool {
        size_of::<T>() <= 256 && !std::mem::needs_drop::<T>()
    }
}

/// Keeps a value as one that others can fetch.
pub fn hold<T: Portable>(value: T) -> Arc<dyn AnyValue> {
    Arc::new(Held(Arc::new(value)))
}

/// A function that has its captures and waits for arguments.
pub trait Callable: Send + Sync {
    /// Reads the arguments and runs it. Panics of the function unwind through this.
    fn call(&self, arguments: &mut BlobReader<'_>) -> Result<Arc<dyn AnyValue>, DecodeError>;
}

/// The code that reads captures and makes a callable of them and of the body.
///
/// # Safety
/// `body` is the address of the `fn` that the trampoline was made for.
pub type Trampoline =
    unsafe fn(body: usize, captures: &mut BlobReader<'_>) -> Result<Arc<dyn Callable>, DecodeError>;

/// Where the code of a remote function is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FunctionRef {
    pub(crate) trampoline: CodeRef,
    pub(crate) body: CodeRef,
}

/// A remote function with its captures, not yet anywhere.
#[derive(Clone)]
pub struct Prepared {
    pub(crate) trampoline: Trampoline,
    pub(crate) body: usize,
    pub(crate) captures: Blob,
}

/// An expression that was captured: what `spawn_at!` and its kin send.
pub struct Expression<R> {
    pub(crate) prepared: Result<Prepared, EncodeError>,
    result: PhantomData<fn() -> R>,
}

impl<R> Expression<R> {
    pub fn new(prepared: Result<Prepared, EncodeError>) -> Expression<R> {
        Expression { prepared, result: PhantomData }
    }
}

/// Runs once, with values that it owns.
pub struct Once<V, R> {
    pub values: Mutex<Option<V>>,
    pub body: fn(V) -> R,
}

impl<V: Send, R: Portable> Callable for Once<V, R> {
    fn call(&self, _arguments: &mut BlobReader<'_>) -> Result<Arc<dyn AnyValue>, DecodeError> {
        let values = self.values.lock().unwrap_or_else(PoisonError::into_inner).take();
        let values = values.expect("an expression is run once");
        Ok(hold((self.body)(values)))
    }
}
