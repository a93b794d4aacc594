//! What the macros expand to. Not for users: names and shapes follow the macros.

use std::panic::Location;
use std::sync::Arc;

use super::call::{self, Outgoing};
use super::capture::{
    Callable as AnyFunction, Captures, KEEPS_VALUES, NOT_CAPTURED, Tags, Writing, conjure,
};
use super::error::{OrRaise, RemoteError};
pub use super::everywhere::{everywhere, everywhere_on};
use super::function::{Expression, Made, Open, Preparation, Prepared, Trampoline, hold, once};
use super::future::RemoteFuture;
pub use super::loops::{Options, distribute, distribute_reduce, larger, smaller};
use super::node::node;
use super::portable::Portable;
use super::remote::Remote;
pub use super::target::Target;
use super::value::{self, Read};
pub use crate::threads::Schedule;

/// Bodies, which keep nothing: all that they use was captured.
#[diagnostic::on_unimplemented(
    message = "what runs in another process uses a variable that was not captured",
    label = "uses more than what was captured",
    note = "variables inside of other macros' calls are not always found: bind the value before \
            (`let value = …;` inside of the expression), outside of that call"
)]
pub trait Stateless: Copy {}

#[diagnostic::do_not_recommend]
impl<F: Copy> Stateless for F {}

pub(super) fn prepared<H>(trampoline: Trampoline, captures: Captures<H>) -> Preparation {
    prepare(trampoline, captures.into_writing())
}

fn prepare(trampoline: Trampoline, captures: Box<dyn Writing>) -> Preparation {
    match captures.finish() {
        Ok(captures) => Ok(Prepared { trampoline, captures }),
        Err((name, error)) => {
            let what = format!("`{name}` cannot be sent: {error}");
            Err(RemoteError::NotPortable { worker: super::node::me() as usize, what })
        }
    }
}

/// An expression that will run once, somewhere.
#[inline]
pub fn expression<H, V, F, R>(captures: Captures<H>, _body: F) -> Expression<R>
where
    H: Tags<Values = V>,
    V: Send + 'static,
    F: Fn(V) -> R + Stateless + Send + Sync + 'static,
    R: Portable,
{
    const { assert!(size_of::<F>() == 0, "{}", NOT_CAPTURED) };
    let trampoline: Trampoline = |captures| {
        let values = H::read(captures)?;
        Ok(once(Box::new(move || hold((conjure::<F>())(values)))))
    };
    Expression::new(open(trampoline, captures.into_writing()))
}

fn open(trampoline: Trampoline, captures: Box<dyn Writing>) -> Box<dyn Open> {
    Box::new(prepare(trampoline, captures))
}

macro_rules! closure {
    ($name:ident $($argument:ident)*) => {
        /// A function that can be called anywhere.
        #[inline]
        pub fn $name<H, V, F, G, $($argument,)* R>(
            captures: Captures<H>,
            _factory: F,
        ) -> Remote<($($argument,)*), R>
        where
            H: Tags<Values = V>,
            F: Fn(V) -> G + Stateless,
            G: Fn($($argument),*) -> R + Send + Sync + 'static,
            $($argument: Portable,)*
            R: Portable,
        {
            const { assert!(size_of::<F>() == 0, "{}", NOT_CAPTURED) };
            let trampoline: Trampoline = |captures| {
                let values = H::read(captures)?;
                let function = conjure::<F>()(values);
                Ok(Arc::new(Made::<G, ($($argument,)*), R>::new(function)))
            };
            Remote::new(prepared(trampoline, captures))
        }
    };
}

closure!(closure0);
closure!(closure1 A);
closure!(closure2 A B);
closure!(closure3 A B C);
closure!(closure4 A B C D);

/// A function that captures nothing, as one that can be called anywhere.
#[inline]
pub fn function<F, A>(_function: F) -> Remote<A, F::Output>
where
    F: AnyFunction<A> + Stateless + Send + Sync + 'static,
    A: Portable,
    F::Output: Portable,
{
    const { assert!(size_of::<F>() == 0, "{}", KEEPS_VALUES) };
    let trampoline: Trampoline =
        |_captures| Ok(Arc::new(super::function::Plain::<F, A>::new(conjure::<F>())));
    Remote::new(prepared(trampoline, Captures::none()))
}

/// `spawn_at!`
#[track_caller]
pub fn spawn_at<R: Portable>(
    target: impl Into<Target>,
    expression: Expression<R>,
) -> RemoteFuture<R> {
    let target = target.into();
    RemoteFuture::from_handle(spawn(target, expression.into_preparation(), Location::caller()))
}

#[track_caller]
fn spawn(
    target: Target,
    preparation: Box<dyn Open>,
    place: &Location<'_>,
) -> Arc<super::handles::Handle> {
    let to = target.choose(node()).or_raise();
    let outgoing = Outgoing::new(preparation.open()).or_raise();
    call::start(to, outgoing, place)
}

/// `fetch_from!`
#[track_caller]
pub fn fetch_from<R: Portable>(target: impl Into<Target>, expression: Expression<R>) -> R {
    let target = target.into();
    let mut value = None;
    fetch(target, expression.into_preparation(), Location::caller(), &mut |reader| {
        value = Some(reader.read()?);
        Ok(())
    });
    value.expect("a call that does not fail gives a value")
}

#[track_caller]
fn fetch(target: Target, preparation: Box<dyn Open>, place: &Location<'_>, read: Read<'_>) {
    let try_fetch = || {
        let to = target.choose(node())?;
        let blob = call::fetch(to, Outgoing::new(preparation.open())?, place)?;
        value::read_by(blob, read)
    };
    try_fetch().or_raise();
}
