//! Functions that can run on any process: where their code is, and what they captured.
//!
//! A remote function is a *trampoline*, code that the compiler made for its captures and its body,
//! and the encoded captures. The trampoline's address travels as object and offset, see
//! [`modules`](super::modules): what one process can call, every process can.

use std::any::Any;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::blob::{Blob, BlobReader, BlobWriter, DecodeError, EncodeError};
use super::error::RemoteError;
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

    /// Runs it for each of many arguments of this process: takes them from a `Vec<A>` and appends
    /// what it returns to a `Vec<R>`. False, and nothing done, if these are not the very types of the
    /// function, such as those of the same definition compiled for another cell.
    fn call_many(&self, _arguments: &mut dyn Any, _results: &mut dyn Any) -> bool {
        false
    }
}

/// The code that reads captures and makes a callable of them.
pub type Trampoline = fn(&mut BlobReader<'_>) -> Result<Arc<dyn Callable>, DecodeError>;

/// Where the code of a remote function is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FunctionRef {
    pub(crate) trampoline: CodeRef,
}

/// A remote function with its captures, not yet anywhere.
#[derive(Clone)]
pub struct Prepared {
    pub(crate) trampoline: Trampoline,
    pub(crate) captures: Blob,
}

/// A function that has not been prepared, and why.
pub type Preparation = Result<Prepared, RemoteError>;

/// An expression that was captured: what `spawn_at!` and its kin send.
pub struct Expression<R> {
    /// Behind a vtable, so that cells need no code to drop it.
    preparation: Box<dyn Open>,
    result: PhantomData<fn() -> R>,
}

impl<R> Expression<R> {
    pub fn new(preparation: Box<dyn Open>) -> Expression<R> {
        Expression { preparation, result: PhantomData }
    }

    pub(crate) fn into_preparation(self) -> Box<dyn Open> {
        self.preparation
    }
}

/// A preparation that generic code only passes on.
pub trait Open: Send {
    /// The preparation itself.
    fn open(self: Box<Self>) -> Preparation;
}

impl Open for Preparation {
    fn open(self: Box<Self>) -> Preparation {
        *self
    }
}

/// An expression with its captures, which runs once.
struct Once(Mutex<Option<Run>>);

/// What an expression does.
pub type Run = Box<dyn FnOnce() -> Arc<dyn AnyValue> + Send>;

/// An expression that will run once.
pub fn once(run: Run) -> Arc<dyn Callable> {
    Arc::new(Once(Mutex::new(Some(run))))
}

impl Callable for Once {
    fn call(&self, _arguments: &mut BlobReader<'_>) -> Result<Arc<dyn AnyValue>, DecodeError> {
        let run = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        Ok(run.expect("an expression is run once")())
    }
}

/// A function with its captures, in a process that calls it. `A` is the tuple of its arguments.
pub struct Made<G, A, R> {
    pub(crate) function: G,
    signature: PhantomData<fn(A) -> R>,
}

impl<G, A, R> Made<G, A, R> {
    pub fn new(function: G) -> Made<G, A, R> {
        Made { function, signature: PhantomData }
    }
}

/// A function of any number of arguments.
pub struct Plain<F, A> {
    function: F,
    signature: PhantomData<fn(A)>,
}

impl<F, A> Plain<F, A> {
    pub fn new(function: F) -> Plain<F, A> {
        Plain { function, signature: PhantomData }
    }
}

impl<F, A> Callable for Plain<F, A>
where
    F: super::capture::Callable<A> + Send + Sync,
    A: Portable,
    F::Output: Portable,
{
    fn call(&self, arguments: &mut BlobReader<'_>) -> Result<Arc<dyn AnyValue>, DecodeError> {
        Ok(hold(self.function.call(arguments.read::<A>()?)))
    }

    fn call_many(&self, arguments: &mut dyn Any, results: &mut dyn Any) -> bool {
        let Some(arguments) = arguments.downcast_mut::<Vec<A>>() else { return false };
        let Some(results) = results.downcast_mut::<Vec<F::Output>>() else { return false };
        results.extend(arguments.drain(..).map(|argument| self.function.call(argument)));
        true
    }
}
