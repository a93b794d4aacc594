//! Loops whose iterations are dealt to the workers: what `distributed!` expands to.

use std::collections::VecDeque;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};

use super::capture::{Captures, NOT_CAPTURED, Tags, conjure};
use super::deal::{self, Deal, Hand, Source};
use super::error::{CompositeError, OrRaise, raise_all};
use super::function::{Made, Trampoline};
use super::pool::WorkerPool;
use super::portable::Portable;
use super::portions::{self, Loopable, Portion, Size, Whole};
use super::remote::Remote;
use super::rt::{Stateless, prepared};
use super::value;
use crate::threads::{Schedule, par_for_space};

/// A loop without an operator, which runs on the workers. Dropping the handle does not end the loop;
/// a failure that nobody has waited for is printed then, or when it happens.
///
/// ```no_run
/// use parcell::prelude::*;
///
/// let filled = distributed!(for i in 0..10 { println!("{i} on worker {}", myid()) });
/// filled.wait();
/// ```
///
/// # Source
/// The `Task` that `@distributed for` returns, Julia's Distributed.
pub struct Distributed {
    deal: Arc<Deal>,
    asked: AtomicBool,
}

impl Distributed {
    /// Blocks until all iterations have run.
    ///
    /// # Panics
    /// With the [`RemoteError`](super::RemoteError) of a worker on which iterations failed, or with
    /// a [`CompositeError`] if there are several.
    #[track_caller]
    pub fn wait(&self) {
        if let Err(error) = self.try_wait() {
            raise_all(error.errors);
        }
    }

    /// As [`Distributed::wait`].
    ///
    /// # Errors
    /// With the failures of all workers on which iterations failed.
    pub fn try_wait(&self) -> Result<(), CompositeError> {
        self.deal.wait();
        self.asked.store(true, Ordering::Relaxed);
        let errors = self.deal.errors();
        if errors.is_empty() { Ok(()) } else { Err(CompositeError { errors }) }
    }

    /// Whether nothing of it runs any more. Does not block.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.deal.is_done()
    }
}

impl Drop for Distributed {
    fn drop(&mut self) {
        self.deal.let_go(self.asked.load(Ordering::Relaxed));
    }
}

impl fmt::Debug for Distributed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match (self.is_done(), self.deal.errors().is_empty()) {
            (false, _) => "running",
            (true, true) => "done",
            (true, false) => "failed",
        };
        write!(f, "Distributed({state}, on {} workers)", self.deal.workers())
    }
}

/// A portion of a loop on its way to a worker.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Chunk<P>(P);

/// How a loop is dealt.
#[derive(Debug, Clone, Default)]
pub struct Options {
    schedule: Option<Schedule>,
    chunk: Option<usize>,
    pool: Option<Vec<u32>>,
}

impl Options {
    /// One portion for each worker.
    pub fn new() -> Options {
        Options::default()
    }

    /// `schedule = …`
    pub fn schedule(self, schedule: Schedule) -> Options {
        Options { schedule: Some(schedule), ..self }
    }

    /// `chunk = …`
    #[track_caller]
    pub fn chunk(self, n: usize) -> Options {
        assert!(n > 0, "a chunk has at least 1 iteration, 0 were asked for");
        Options { chunk: Some(n), ..self }
    }

    /// `pool = …`
    pub fn pool(self, pool: &WorkerPool) -> Options {
        Options { pool: Some(pool.live()), ..self }
    }

    /// Those that run the loop.
    #[track_caller]
    fn workers(&self) -> Vec<u32> {
        match &self.pool {
            Some(workers) => {
                assert!(!workers.is_empty(), "no active worker in the pool");
                workers.clone()
            }
            None => deal::workers(),
        }
    }
}

/// Runs a portion on the threads of the worker.
#[inline]
fn run_chunk<P: Portion, R>(chunk: Chunk<P>, body: impl Fn(P::Item) -> R + Sync) {
    par_for_space(chunk.0.into_space()).for_each(|item| drop(body(item)));
}

/// Combines the results of a portion, in order.
#[inline]
fn fold_chunk<P: Portion, R: Send>(
    chunk: Chunk<P>,
    body: impl Fn(P::Item) -> R + Sync,
    op: impl Fn(R, R) -> R + Sync,
) -> Option<R> {
    par_for_space(chunk.0.into_space()).map_reduce_nonempty(body, op)
}

fn each<H, V, F, G, P, R>(captures: Captures<H>) -> Remote<(Chunk<P>,), ()>
where
    H: Tags<Values = V>,
    F: Fn(V) -> G + Stateless,
    G: Fn(P::Item) -> R + Send + Sync + 'static,
    P: Portion,
{
    const { assert!(size_of::<F>() == 0, "{}", NOT_CAPTURED) };
    let trampoline: Trampoline = |captures| {
        let body = conjure::<F>()(H::read(captures)?);
        let run = move |chunk: Chunk<P>| run_chunk(chunk, &body);
        Ok(Arc::new(Made::<_, (Chunk<P>,), ()>::new(run)))
    };
    Remote::new(prepared(trampoline, captures))
}

fn folded<H, V, F, G, O, P, R>(captures: Captures<H>) -> Remote<(Chunk<P>,), Option<R>>
where
    H: Tags<Values = V>,
    F: Fn(V) -> (G, O) + Stateless,
    G: Fn(P::Item) -> R + Send + Sync + 'static,
    O: Fn(R, R) -> R + Send + Sync + 'static,
    P: Portion,
    R: Portable,
{
    const { assert!(size_of::<F>() == 0, "{}", NOT_CAPTURED) };
    let trampoline: Trampoline = |captures| {
        let (body, op) = conjure::<F>()(H::read(captures)?);
        let fold = move |chunk: Chunk<P>| fold_chunk(chunk, &body, &op);
        Ok(Arc::new(Made::<_, (Chunk<P>,), Option<R>>::new(fold)))
    };
    Remote::new(prepared(trampoline, captures))
}

fn hand<P: Portion>(number: usize, portion: P) -> Hand {
    Hand { number, write: Box::new(move |to| to.write(&(Chunk(portion),))) }
}

/// Who gets which portion: each worker its own, or whoever is free the next.
fn source<W: Whole>(mut whole: W, options: &Options, workers: &[u32]) -> Source {
    match options.schedule.unwrap_or(Schedule::Static) {
        Schedule::Static => {
            let hands = portions::deal(whole, options.chunk, workers.len());
            let mut hands: Vec<VecDeque<_>> = hands.into_iter().map(VecDeque::from).collect();
            Box::new(move |seat| hands[seat].pop_front().map(|(n, portion)| hand(n, portion)))
        }
        schedule => {
            let threads = workers.iter().map(|id| deal::threads_of(*id)).sum();
            let size = Size::of(schedule, options.chunk, whole.left(), threads);
            let mut number = 0;
            Box::new(move |_| {
                let left = whole.left();
                let portion = (left > 0).then(|| whole.cut(size.next(left)))?;
                number += 1;
                Some(hand(number - 1, portion))
            })
        }
    }
}

/// `distributed!(for …)`
#[track_caller]
pub fn distribute<I, H, V, F, G, R>(
    items: I,
    options: Options,
    captures: Captures<H>,
    _factory: F,
) -> Distributed
where
    I: Loopable,
    H: Tags<Values = V>,
    F: Fn(V) -> G + Stateless,
    G: Fn(I::Item) -> R + Send + Sync + 'static,
{
    let function = each::<H, V, F, G, I::Portion, R>(captures);
    let workers = options.workers();
    let source = source(items.whole(), &options, &workers);
    let shared = Arc::clone(function.shared());
    let deal = Deal::start(shared, workers, source, false, Location::caller());
    Distributed { deal, asked: AtomicBool::new(false) }
}

/// Whoever leaves early has no further portions sent.
struct StopOnDrop(Arc<Deal>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop();
        self.0.let_go(true);
    }
}

/// `distributed!(operator, for …)`
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
    I: Loopable,
    R: Portable,
    H: Tags<Values = V>,
    F: Fn(V) -> (G, O) + Stateless,
    G: Fn(I::Item) -> R + Send + Sync + 'static,
    O: Fn(R, R) -> R + Send + Sync + 'static,
{
    let mut whole = items.whole();
    if whole.left() == 0 {
        return init.unwrap_or_else(|| empty());
    }
    let function = folded::<H, V, F, G, O, I::Portion, R>(captures);
    let workers = options.workers();
    if workers == [super::node::me()] {
        let result = function.call((Chunk(whole.cut(usize::MAX)),));
        return init.into_iter().chain(result).reduce(op).expect("there was an iteration");
    }
    let source = source(whole, &options, &workers);
    let shared = Arc::clone(function.shared());
    let deal = Deal::start(shared, workers, source, true, Location::caller());
    let deal = StopOnDrop(deal);
    deal.0.wait();
    let errors = deal.0.errors();
    if !errors.is_empty() {
        raise_all(errors);
    }
    let parts = deal.0.take_values().into_iter();
    let parts = parts.filter_map(|part| value::read::<Option<R>>(part).or_raise());
    init.into_iter().chain(parts).reduce(op).expect("there was an iteration")
}

#[cold]
#[track_caller]
fn empty<R>() -> R {
    panic!(
        "a loop without iterations has no result: give it one by `init = …` after the operator, as \
         in `distributed!(+, init = 0, for …)`"
    )
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
