//! STUB, to be replaced whole: what the macros expand to. Captures are written and read as they
//! will be, and the body runs in this process.

#![allow(missing_docs, clippy::missing_panics_doc)]

use std::marker::PhantomData;
use std::sync::Arc;

use super::RemoteFuture;
use super::capture::{Callable, Captures, KEEPS_VALUES, NOT_CAPTURED, Tags, conjure};
use super::stub::{BlobReader, DecodeError, Portable};
use crate::threads::Schedule;

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

/// An expression with all that it needs, to be run once somewhere.
pub struct Expression<R> {
    written: Vec<u8>,
    run: fn(&[u8]) -> Result<R, DecodeError>,
}

fn written<H>(captures: Captures<H>) -> Vec<u8> {
    if let Some((name, error)) = captures.failed {
        panic!("`{name}` cannot be written for another process: {error}");
    }
    captures.written.0
}

fn run<H: Tags<Values = V>, V, F: FnOnce(V) -> R + Stateless, R>(
    from: &[u8],
) -> Result<R, DecodeError> {
    let values = H::read(&mut BlobReader(from))?;
    Ok(conjure::<F>()(values))
}

#[inline]
pub fn expression<H, V, F, R>(captures: Captures<H>, _body: F) -> Expression<R>
where
    H: Tags<Values = V>,
    F: FnOnce(V) -> R + Stateless,
{
    const { assert!(size_of::<F>() == 0, "{}", NOT_CAPTURED) };
    Expression { written: written(captures), run: run::<H, V, F, R> }
}

/// A function of any process, of arguments `A` (a tuple).
pub struct Remote<A, R> {
    written: Arc<Vec<u8>>,
    call: fn(&[u8], A) -> R,
}

impl<A, R> Remote<A, R> {
    pub fn call(&self, arguments: A) -> R {
        (self.call)(&self.written, arguments)
    }
}

impl<A, R> Clone for Remote<A, R> {
    fn clone(&self) -> Self {
        Remote { written: self.written.clone(), call: self.call }
    }
}

fn remote<H, V, F, G, A>(captures: Captures<H>) -> Remote<A, G::Output>
where
    H: Tags<Values = V>,
    F: FnOnce(V) -> G + Stateless,
    G: Callable<A>,
{
    const { assert!(size_of::<F>() == 0, "{}", NOT_CAPTURED) };
    let call = |from: &[u8], arguments: A| {
        let values = H::read(&mut BlobReader(from)).expect("written by the same type");
        conjure::<F>()(values).call(arguments)
    };
    Remote { written: Arc::new(written(captures)), call }
}

macro_rules! closure {
    ($name:ident $($argument:ident)*) => {
        #[inline]
        pub fn $name<H, V, F, G, $($argument,)* R>(
            captures: Captures<H>,
            _factory: F,
        ) -> Remote<($($argument,)*), R>
        where
            H: Tags<Values = V>,
            F: FnOnce(V) -> G + Stateless,
            G: Fn($($argument),*) -> R + Send + Sync,
        {
            remote::<H, V, F, G, ($($argument,)*)>(captures)
        }
    };
}
closure!(closure0);
closure!(closure1 A);
closure!(closure2 A B);
closure!(closure3 A B C);
closure!(closure4 A B C D);

#[inline]
pub fn function<F: Callable<A> + Stateless, A>(_function: F) -> Remote<A, F::Output> {
    const { assert!(size_of::<F>() == 0, "{}", KEEPS_VALUES) };
    let call = |_: &[u8], arguments: A| conjure::<F>().call(arguments);
    Remote { written: Arc::default(), call }
}

pub enum Target {
    Any,
    Process(usize),
}

macro_rules! target {
    ($($integer:ty)*) => { $(impl From<$integer> for Target {
        fn from(id: $integer) -> Target {
            Target::Process(usize::try_from(id).unwrap())
        }
    })* };
}
target!(i32 u32 usize u64 i64);

#[track_caller]
pub fn spawn_at<R: Portable>(_: impl Into<Target>, e: Expression<R>) -> RemoteFuture<R> {
    RemoteFuture { value: Arc::new((e.run)(&e.written).unwrap()) }
}

#[track_caller]
pub fn fetch_from<R: Portable>(_: impl Into<Target>, e: Expression<R>) -> R {
    (e.run)(&e.written).unwrap()
}

#[track_caller]
pub fn everywhere<R: Portable>(e: Expression<R>) -> Vec<R> {
    vec![(e.run)(&e.written).unwrap()]
}

#[track_caller]
pub fn everywhere_on<R: Portable>(processes: impl AsRef<[usize]>, e: Expression<R>) -> Vec<R> {
    processes.as_ref().iter().map(|_| (e.run)(&e.written).unwrap()).collect()
}

#[derive(Default)]
pub struct Options {
    schedule: Schedule,
    chunk: Option<usize>,
    pool: PhantomData<()>,
}

impl Options {
    pub fn new() -> Options {
        Options::default()
    }
    pub fn schedule(self, schedule: Schedule) -> Options {
        Options { schedule, ..self }
    }
    pub fn chunk(self, n: usize) -> Options {
        Options { chunk: Some(n), ..self }
    }
    pub fn pool<P>(self, _: &P) -> Options {
        self
    }
}

fn cut<I: IntoIterator>(items: I, options: &Options) -> Vec<Vec<I::Item>> {
    let _ = (options.schedule, options.pool);
    let mut items = items.into_iter().peekable();
    let mut chunks = Vec::new();
    while items.peek().is_some() {
        chunks.push(items.by_ref().take(options.chunk.unwrap_or(3)).collect());
    }
    chunks
}

#[track_caller]
pub fn distribute<I, H, V, F, G, R>(items: I, options: Options, captures: Captures<H>, _factory: F)
where
    I: IntoIterator,
    H: Tags<Values = V>,
    F: FnOnce(V) -> G + Stateless,
    G: Fn(I::Item) -> R + Send + Sync,
{
    const { assert!(size_of::<F>() == 0, "{}", NOT_CAPTURED) };
    let written = written(captures);
    for chunk in cut(items, &options) {
        let values = H::read(&mut BlobReader(&written)).expect("written by the same type");
        let body = conjure::<F>()(values);
        chunk.into_iter().for_each(|item| drop(body(item)));
    }
}

#[track_caller]
pub fn distribute_reduce<I, H, V, F, G, O, R>(
    items: I,
    options: Options,
    init: Option<R>,
    captures: Captures<H>,
    _factory: F,
    op: impl Fn(R, R) -> R,
) -> R
where
    I: IntoIterator,
    R: Portable,
    H: Tags<Values = V>,
    F: FnOnce(V) -> (G, O) + Stateless,
    G: Fn(I::Item) -> R + Send + Sync,
    O: Fn(R, R) -> R + Send + Sync,
{
    const { assert!(size_of::<F>() == 0, "{}", NOT_CAPTURED) };
    let written = written(captures);
    let parts = cut(items, &options).into_iter().filter_map(|chunk| {
        let values = H::read(&mut BlobReader(&written)).expect("written by the same type");
        let (body, op) = conjure::<F>()(values);
        chunk.into_iter().map(body).reduce(op)
    });
    init.into_iter().chain(parts).reduce(op).expect("an empty loop has no result without `init`")
}

/// The larger one; not a number if one of them is not.
#[inline]
pub fn larger<T: PartialOrd>(a: T, b: T) -> T {
    if b > a || b.partial_cmp(&b).is_none() { b } else { a }
}

/// The smaller one; not a number if one of them is not.
#[inline]
pub fn smaller<T: PartialOrd>(a: T, b: T) -> T {
    if b < a || b.partial_cmp(&b).is_none() { b } else { a }
}
