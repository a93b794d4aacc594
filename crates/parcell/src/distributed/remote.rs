//! Remote functions as values: made once, called anywhere, their captures sent to each process once.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;
use std::panic::Location;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::blob::{BlobReader, BlobWriter, DecodeError, EncodeError, RefId};
use super::call::{self, Outgoing};
use super::error::{OrRaise, RemoteError};
use super::function::{
    AnyValue, Callable, FunctionRef, Made, Preparation, Prepared, Trampoline, hold,
};
use super::future::RemoteFuture;
use super::handles::{Handle, Known};
use super::jobs::{not_read, not_written};
use super::message::{Message, Work};
use super::node::{Node, node};
use super::portable::Portable;
use super::target::{Chosen, Target};
use super::value;

/// A function that can be called on any process: what `remote!` makes. `A` is the tuple of its
/// arguments' types. Copies are cheap and are the same function.
///
/// What it captured is sent to a process with the first call there, and kept there until the last
/// copy is dropped.
///
/// ```no_run
/// use parcell::prelude::*;
///
/// let factor = 3.0;
/// let scale = remote!(|x: f64| x * factor);
/// assert_eq!(scale.call((2.0,)), 6.0); // here
/// assert_eq!(remotecall_fetch(scale, 2, (2.0,)), 6.0); // on worker 2
/// ```
pub struct Remote<A, R> {
    shared: Arc<Shared>,
    signature: PhantomData<fn(A) -> R>,
}

pub(crate) struct Shared {
    source: Source,
    /// Handles to the function where it is kept.
    kept: Mutex<HashMap<u32, Arc<Handle>>>,
}

/// How others get the function.
enum Source {
    /// Made by this process.
    Own(Preparation),
    /// Come from another.
    Sent { function: FunctionRef, captures: super::blob::Blob },
}

/// Captures of so many bytes are sent anew with each call of a function that nobody keeps.
const SMALL: usize = 4 << 10;

impl<A, R> Remote<A, R> {
    pub(crate) fn new(preparation: Preparation) -> Remote<A, R> {
        Remote::from_source(Source::Own(preparation))
    }

    fn from_source(source: Source) -> Remote<A, R> {
        let shared = Arc::new(Shared { source, kept: Mutex::default() });
        Remote { shared, signature: PhantomData }
    }

    /// The same function, for those who only pass it on.
    pub(crate) fn untyped(self) -> Remote<(), ()> {
        Remote { shared: self.shared, signature: PhantomData }
    }

    /// The function without its types.
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

impl Shared {
    fn parts(&self) -> Result<(FunctionRef, super::blob::Blob), RemoteError> {
        match &self.source {
            Source::Own(Ok(prepared)) => {
                Ok((call::reference(prepared)?, prepared.captures.clone()))
            }
            Source::Own(Err(error)) => Err(error.clone()),
            Source::Sent { function, captures } => Ok((function.clone(), captures.clone())),
        }
    }

    /// The function itself, on this process. May load a module, and so block.
    pub(crate) fn callable(&self) -> Result<Arc<dyn Callable>, RemoteError> {
        let (function, captures) = self.parts()?;
        super::modules::fetch(&function)?;
        super::modules::make(&function, &mut captures.arrive().map_err(not_read)?.reader())
    }

    /// A call of the function. Small captures travel with it; large ones are kept there.
    fn outgoing<A: Portable>(&self, to: u32, arguments: &A) -> Result<Outgoing, RemoteError> {
        self.outgoing_with(to, |writer| writer.write(arguments))
    }

    /// As `outgoing`, with arguments that somebody else writes.
    pub(crate) fn outgoing_with(
        &self,
        to: u32,
        arguments: impl FnOnce(&mut BlobWriter) -> Result<(), EncodeError>,
    ) -> Result<Outgoing, RemoteError> {
        let (function, captures) = self.parts()?;
        let mut writer = BlobWriter::default();
        let work = if captures.size() <= SMALL {
            writer.append(&captures);
            Work::New(function)
        } else {
            let handle = self.kept_by(to)?;
            let id = handle.id;
            writer.carry(id, handle);
            Work::Kept(id)
        };
        arguments(&mut writer).map_err(not_written)?;
        Ok(Outgoing { work, blob: writer.finish() })
    }

    fn kept_on(&self, process: u32) -> Result<RefId, RemoteError> {
        Ok(self.kept_by(process)?.id)
    }

    /// The function where a process keeps it; it is sent there first if need be.
    pub(crate) fn kept_by(&self, process: u32) -> Result<Arc<Handle>, RemoteError> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(handle) = kept.get(&process) {
            return Ok(Arc::clone(handle));
        }
        let node = node();
        let (function, captures) = self.parts()?;
        let id = node.new_id(process);
        node.send(process, Message::Define { id, function }, captures)?;
        let handle = node.handles.new_handle(id, Known::Nothing);
        kept.insert(process, Arc::clone(&handle));
        Ok(handle)
    }
}

impl<A, R> Clone for Remote<A, R> {
    fn clone(&self) -> Remote<A, R> {
        Remote { shared: Arc::clone(&self.shared), signature: PhantomData }
    }
}

impl<A, R> fmt::Debug for Remote<A, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kept = self.shared.kept.lock().unwrap_or_else(PoisonError::into_inner);
        write!(f, "Remote(kept by {} processes)", kept.len())
    }
}

impl<A: Portable, R: Portable> Remote<A, R> {
    /// Calls the function on this process. Blocks until it returns.
    ///
    /// # Panics
    /// With the function's own panic. If the captures cannot be copied.
    #[track_caller]
    pub fn call(&self, arguments: A) -> R {
        let here = super::node::me();
        let value = self.run_here(here, &arguments).or_raise();
        value::Item::Own(value).into_value().or_raise()
    }

    fn run_here(&self, here: u32, arguments: &A) -> Result<Arc<dyn AnyValue>, RemoteError> {
        let id = self.shared.kept_on(here)?;
        let function = node().store.function(id);
        let function = function.ok_or(RemoteError::Freed { worker: here as usize })?.callable()?;
        let mut blob = encode_arguments(arguments)?.arrive().map_err(not_read)?;
        function.call(&mut blob.reader()).map_err(not_read)
    }
}

fn encode_arguments<A: Portable>(arguments: &A) -> Result<super::blob::Blob, RemoteError> {
    let mut writer = BlobWriter::default();
    writer.write(arguments).map_err(not_written)?;
    Ok(writer.finish())
}

/// What can be called on another process: a [`Remote`], or a function or closure that captures
/// nothing. For a closure that captures, write `remote!(|…| …)`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be called on another process with these arguments",
    label = "not a remote function of this signature",
    note = "pass a function, a closure that captures nothing, or `remote!(|x: f64| …)`; arguments and \
            results must be values that can be sent"
)]
pub trait RemoteFunction<A, R>: Sized {
    /// The function as a value that can travel.
    fn into_remote(self) -> Remote<A, R>;
}

impl<A, R> RemoteFunction<A, R> for Remote<A, R> {
    fn into_remote(self) -> Remote<A, R> {
        self
    }
}

impl<A, R> RemoteFunction<A, R> for &Remote<A, R> {
    fn into_remote(self) -> Remote<A, R> {
        self.clone()
    }
}

macro_rules! arities {
    ($($argument:ident)*) => {
        impl<G, $($argument,)* R> Callable for Made<G, ($($argument,)*), R>
        where
            G: Fn($($argument),*) -> R + Send + Sync,
            $($argument: Portable,)*
            R: Portable,
        {
            #[allow(non_snake_case, unused_variables)]
            fn call(&self, arguments: &mut BlobReader<'_>) -> Result<Arc<dyn AnyValue>, DecodeError> {
                let ($($argument,)*) = arguments.read::<($($argument,)*)>()?;
                Ok(hold((self.function)($($argument),*)))
            }

            #[allow(non_snake_case)]
            fn call_many(&self, arguments: &mut dyn Any, results: &mut dyn Any) -> bool {
                let Some(arguments) = arguments.downcast_mut::<Vec<($($argument,)*)>>() else {
                    return false;
                };
                let Some(results) = results.downcast_mut::<Vec<R>>() else { return false };
                let call = |($($argument,)*)| (self.function)($($argument),*);
                results.extend(arguments.drain(..).map(call));
                true
            }
        }

        impl<F, $($argument,)* R> RemoteFunction<($($argument,)*), R> for F
        where
            F: Fn($($argument),*) -> R + Copy + Send + Sync + 'static,
            $($argument: Portable,)*
            R: Portable,
        {
            fn into_remote(self) -> Remote<($($argument,)*), R> {
                let trampoline: Trampoline = |_captures| {
                    let function = super::capture::conjure::<F>();
                    Ok(Arc::new(Made::<F, ($($argument,)*), R>::new(function)))
                };
                Remote::new(Ok(Prepared { trampoline, captures: super::blob::Blob::empty() }))
            }
        }
    };
}

arities!();
arities!(A1);
arities!(A1 A2);
arities!(A1 A2 A3);
arities!(A1 A2 A3 A4);

impl<A, R> Serialize for Remote<A, R> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        use serde::ser::Error;
        let (function, captures) = self.shared.parts().map_err(S::Error::custom)?;
        (function, captures).serialize(to)
    }
}

impl<'de, A, R> Deserialize<'de> for Remote<A, R> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Remote<A, R>, D::Error> {
        let (function, captures) = Deserialize::deserialize(from)?;
        Ok(Remote::from_source(Source::Sent { function, captures }))
    }
}

fn prepare<A: Portable, R>(
    node: &Node,
    function: &Remote<A, R>,
    target: Target,
    arguments: &A,
) -> Result<(Chosen, Outgoing), RemoteError> {
    let to = target.choose(node)?;
    let outgoing = function.shared.outgoing(to.process, arguments)?;
    Ok((to, outgoing))
}

/// Starts a function on a process and returns at once; `arguments` is a tuple.
///
/// Costs one message there, and one back when it has ended; the value stays there until it is
/// fetched.
///
/// # Panics
/// With [`RemoteError`] if there is no such process or the arguments cannot be sent.
///
/// ```no_run
/// use parcell::prelude::*;
///
/// fn cube(x: f64) -> f64 { x * x * x }
///
/// let future = remotecall(cube, 2, (3.0,));
/// assert_eq!(future.fetch(), 27.0);
/// ```
///
/// # Source
/// `remotecall(f, id, args...)`, Julia's Distributed.
#[track_caller]
pub fn remotecall<A: Portable, R: Portable>(
    function: impl RemoteFunction<A, R>,
    target: impl Into<Target>,
    arguments: A,
) -> RemoteFuture<R> {
    let place = Location::caller();
    let prepared = prepare(node(), &function.into_remote(), target.into(), &arguments);
    let (to, outgoing) = prepared.or_raise();
    RemoteFuture::from_handle(call::start(to, outgoing, place))
}

/// Runs a function on a process and returns its value; `arguments` is a tuple. Blocks until it has
/// ended. Costs one round trip.
///
/// # Panics
/// With [`RemoteError`] if it panics there, if the process is gone, or if something cannot be sent.
///
/// # Source
/// `remotecall_fetch(f, id, args...)`, Julia's Distributed.
#[track_caller]
pub fn remotecall_fetch<A: Portable, R: Portable>(
    function: impl RemoteFunction<A, R>,
    target: impl Into<Target>,
    arguments: A,
) -> R {
    try_remotecall_fetch(function, target, arguments).or_raise()
}

/// As [`remotecall_fetch`].
///
/// # Errors
/// [`RemoteError`] if it panics there, if the process is gone, or if something cannot be sent.
#[track_caller]
pub fn try_remotecall_fetch<A: Portable, R: Portable>(
    function: impl RemoteFunction<A, R>,
    target: impl Into<Target>,
    arguments: A,
) -> Result<R, RemoteError> {
    let place = Location::caller();
    let (to, outgoing) = prepare(node(), &function.into_remote(), target.into(), &arguments)?;
    value::read(call::fetch(to, outgoing, place)?)
}

/// Runs a function on a process, blocks until it has ended, and leaves its value there.
///
/// # Panics
/// As [`remotecall_fetch`].
///
/// # Source
/// `remotecall_wait(f, id, args...)`, Julia's Distributed.
#[track_caller]
pub fn remotecall_wait<A: Portable, R: Portable>(
    function: impl RemoteFunction<A, R>,
    target: impl Into<Target>,
    arguments: A,
) -> RemoteFuture<R> {
    let future = remotecall(function, target, arguments);
    future.try_wait().or_raise();
    future
}

/// Runs a function on a process and never hears of it again: a failure is printed there. Returns at
/// once. Costs one message.
///
/// # Panics
/// With [`RemoteError`] if there is no such process or the arguments cannot be sent.
///
/// # Source
/// `remote_do(f, id, args...)`, Julia's Distributed.
#[track_caller]
pub fn remote_do<A: Portable, R: Portable>(
    function: impl RemoteFunction<A, R>,
    target: impl Into<Target>,
    arguments: A,
) {
    let place = Location::caller();
    let prepared = prepare(node(), &function.into_remote(), target.into(), &arguments);
    let told = prepared.and_then(|(to, outgoing)| call::tell(to.process, outgoing, place));
    told.or_raise();
}
