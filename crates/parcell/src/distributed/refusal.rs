//! What is said at the place of a captured variable that cannot travel.
//!
//! `Probe::new(&n).known()` picks an inherent method for the types listed here, each with a bound
//! that never holds and whose message says what to do; all other types get [`Unknown::known`] and
//! go on to `check`, which tells what can be sent from what cannot.

use std::cell::{Cell, OnceCell, RefCell};
use std::fs::File;
use std::marker::PhantomData;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::ptr::NonNull;
use std::rc::{self, Rc};
use std::sync::atomic::{
    AtomicBool, AtomicI8, AtomicI16, AtomicI32, AtomicI64, AtomicIsize, AtomicPtr, AtomicU8,
    AtomicU16, AtomicU32, AtomicU64, AtomicUsize,
};
use std::sync::{self, Arc, Barrier, Condvar, Mutex, OnceLock, RwLock, mpsc};

use super::capture::{Callable, Probe};
use super::stub::Portable;
use crate::threads::{Atomic, Channel, Task};

/// A type for which nothing more is to be said.
pub struct Settled;

impl Settled {
    /// Nothing is left to be checked.
    #[inline]
    pub fn check<T>(&self, _: &T) -> Checked<(), ()> {
        Checked((), PhantomData)
    }
}

/// A copy of a captured function and the pointer type that it must fit; of other values, nothing.
pub struct Checked<T, P>(T, PhantomData<P>);

impl<T, P> Checked<T, P> {
    /// The two, for [`keeps_nothing`].
    #[inline]
    pub fn parts(self) -> (T, PhantomData<P>) {
        (self.0, self.1)
    }
}

/// Compiles if `function` can become the pointer `P`, which a closure that keeps values cannot.
#[inline]
pub fn keeps_nothing<P>(_: PhantomData<P>, _function: P) {}

/// All types that are not listed.
pub trait Unknown: Sized {
    /// Leaves the decision to `check`.
    #[inline]
    fn known(self) -> Self {
        self
    }
}

impl<T> Unknown for Probe<T> {}

/// First choice: the value is sent.
pub trait CheckShipped<T> {
    /// Accepts it.
    #[inline]
    fn check(&self, _: &T) -> Checked<(), ()> {
        Checked((), PhantomData)
    }
}

impl<T: Portable> CheckShipped<T> for &&Probe<T> {}

/// Second choice: a function or closure, which must keep no values.
pub trait CheckCallable<T: Copy + Callable<A>, A> {
    /// Has the compiler see whether it keeps values.
    #[inline]
    fn check(&self, function: &T) -> Checked<T, T::Pointer> {
        Checked(*function, PhantomData)
    }
}

impl<T: Copy + Callable<A>, A> CheckCallable<T, A> for &Probe<T> {}

/// Last choice: an error.
pub trait CheckOther<T> {
    /// Does not compile.
    #[inline]
    fn check(&self, _: &T) -> Checked<(), ()>
    where
        T: Sendable,
    {
        Checked((), PhantomData)
    }
}

impl<T> CheckOther<T> for Probe<T> {}

/// Any type that can be captured.
#[diagnostic::on_unimplemented(
    message = "a value of type `{Self}` cannot be sent to another process",
    label = "captured here, and sent to the other process by value",
    note = "a type of your own can be sent if all its parts can and it has \
            `#[derive(serde::Serialize, serde::Deserialize)]`",
    note = "a closure that keeps values, or is boxed, cannot be sent: define it as `fn`, write it \
            inside of the expression, or make it by `remote!(…)`"
)]
pub trait Sendable {}

#[diagnostic::do_not_recommend]
impl<T: Portable> Sendable for T {}

macro_rules! refuse {
    ($($(#[$text:meta])* $name:ident: $([$($parameters:tt)*] $type:ty),* $(,)?;)*) => { $(
        $(#[$text])*
        pub trait $name<'a> {}

        $(impl<$($parameters)*> Probe<$type> {
            /// Does not compile.
            #[inline]
            pub fn known<'a>(self) -> Settled
            where
                $type: $name<'a>,
            {
                Settled
            }
        })*
    )* };
}

refuse! {
    /// References.
    #[diagnostic::on_unimplemented(
        message = "`{Self}` is a reference, and only a value can be sent to another process",
        label = "refers to memory of this process",
        note = "make a value of your own first: `let name = name.to_owned();` (`.to_vec()` of a \
                slice, `.clone()` of anything else)"
    )]
    Owned: ['r, U: ?Sized] &'r U, ['r, U: ?Sized] &'r mut U;

    /// Counted owners.
    #[diagnostic::on_unimplemented(
        message = "`{Self}` shares its value within this process and cannot be sent to another",
        label = "counts owners in this process",
        note = "send a copy of what it holds: `let name = (*name).clone();`"
    )]
    Unshared: [U: ?Sized] Rc<U>, [U: ?Sized] Arc<U>, [U: ?Sized] rc::Weak<U>,
        [U: ?Sized] sync::Weak<U>;

    /// What threads change together.
    #[diagnostic::on_unimplemented(
        message = "`{Self}` is shared by the threads of one process and cannot be sent to another",
        label = "each process would have one of its own",
        note = "processes share no memory: return the result, as a reduction does \
                (`distributed!(+, for …)`), send it through a `RemoteChannel`, or keep it on each \
                worker in a `WorkerLocal`; a copy of what it holds can be sent"
    )]
    Unlocked: [U] Mutex<U>, [U] RwLock<U>, [U] OnceLock<U>, [U] Cell<U>, [U] RefCell<U>,
        [U] OnceCell<U>, [] Barrier, [] Condvar, [] AtomicBool, [] AtomicI8, [] AtomicI16,
        [] AtomicI32, [] AtomicI64, [] AtomicIsize, [] AtomicU8, [] AtomicU16, [] AtomicU32,
        [] AtomicU64, [] AtomicUsize, [U] AtomicPtr<U>, [U: crate::threads::AtomicValue] Atomic<U>;

    /// Channels and tasks of threads.
    #[diagnostic::on_unimplemented(
        message = "`{Self}` connects threads of one process and cannot be sent to another",
        label = "its other end is in this process",
        note = "between processes use a `RemoteChannel`; fetch a task's result and send that"
    )]
    Unconnected: [U] Channel<U>, [U] mpsc::Sender<U>, [U] mpsc::SyncSender<U>,
        [U] mpsc::Receiver<U>, [U] Task<U>, [U] std::thread::JoinHandle<U>;

    /// Files and sockets.
    #[diagnostic::on_unimplemented(
        message = "`{Self}` belongs to this process and cannot be sent to another",
        label = "open in this process only",
        note = "send its name, and open it inside of the expression"
    )]
    Unopened: [] File, [] TcpStream, [] TcpListener, [] UdpSocket;

    /// Addresses.
    #[diagnostic::on_unimplemented(
        message = "`{Self}` is an address in this process and cannot be sent to another",
        label = "points into memory of this process",
        note = "send the value that it points to"
    )]
    Unpointed: [U: ?Sized] *const U, [U: ?Sized] *mut U, [U: ?Sized] NonNull<U>;

    /// Boxes of things known by a trait only.
    #[diagnostic::on_unimplemented(
        message = "`{Self}` does not tell the type of what is in it and cannot be sent to another \
                   process",
        label = "its type is known in this process only",
        note = "define a function as `fn`, or write the closure inside of the expression, or make \
                it by `remote!(…)`; of other things send the value itself"
    )]
    Unboxed: [] Box<dyn std::any::Any>;
}
