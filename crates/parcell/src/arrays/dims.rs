//! How large an array shall be, and how it shall be cut.

use std::marker::PhantomData;

use ndarray::{Dimension, IntoDimension};

use super::error::ArrayError;
use super::layout::Layout;
use crate::distributed::workers;

/// The size of an array to be made, with a choice of processes, grid and random numbers: what
/// [`dims`] gives. Wherever a size is asked for, a number, a tuple or an array of numbers do as well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dims<D> {
    wanted: Wanted,
    pub(crate) seed: Option<u64>,
    rank: PhantomData<fn() -> D>,
}

/// What was said of an array's layout.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Wanted {
    shape: Vec<usize>,
    procs: Option<Vec<usize>>,
    grid: Option<Vec<usize>>,
    layout: Option<Layout>,
}

/// A size, to say more of: `dims((100, 50)).procs(&[2, 3]).dist(&[1, 2])`.
///
/// ```
/// use parcell::prelude::*;
///
/// let a = dzeros((4, 6)); // the default layout
/// let b = dzeros(dims((4, 6)).procs(&[1]).dist(&[1, 1]));
/// assert_eq!(a, b);
/// ```
///
/// # Source
/// The arguments `dims, procs, dist` of `DArray`, DistributedArrays.jl.
pub fn dims<I: IntoDimension>(size: I) -> Dims<I::Dim> {
    Dims { wanted: Wanted::new(size.into_dimension().slice()), seed: None, rank: PhantomData }
}

impl<D> Dims<D> {
    /// The processes that get pieces, in the order of the grid; without this all workers, at most
    /// as many as the longest dimension has elements.
    #[must_use]
    pub fn procs(mut self, procs: &[usize]) -> Dims<D> {
        self.wanted.procs = Some(procs.to_vec());
        self
    }

    /// How many chunks there are along each dimension. The product may be smaller than the number
    /// of processes: some then get nothing.
    #[must_use]
    pub fn dist(mut self, grid: &[usize]) -> Dims<D> {
        self.wanted.grid = Some(grid.to_vec());
        self
    }

    /// A layout of another array, or one with cuts of its own.
    #[must_use]
    pub fn layout(mut self, layout: &Layout) -> Dims<D> {
        self.wanted.layout = Some(layout.clone());
        self
    }

    /// Where random numbers begin: the same seed and shape give the same array, however it is cut.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Dims<D> {
        self.seed = Some(seed);
        self
    }

    /// The layout that was asked for.
    pub(crate) fn resolve(&self) -> Result<Layout, ArrayError> {
        self.wanted.resolve()
    }
}

impl Wanted {
    fn new(shape: &[usize]) -> Wanted {
        Wanted { shape: shape.to_vec(), ..Wanted::default() }
    }

    fn resolve(&self) -> Result<Layout, ArrayError> {
        if let Some(layout) = &self.layout {
            if layout.shape() != self.shape {
                return Err(super::error::shapes("layout", &self.shape, &layout.shape()));
            }
            return Ok(layout.clone());
        }
        let procs = self.procs.clone().unwrap_or_else(workers);
        match &self.grid {
            Some(grid) => Layout::new(&self.shape, &procs, grid),
            None => Layout::even(&self.shape, &procs),
        }
    }
}

/// What says how large an array shall be: a number, a tuple or an array of numbers, or [`dims`].
pub trait IntoDims {
    /// ndarray's type for the rank: `Ix1` to `Ix6`, `IxDyn`.
    type Rank: Dimension;

    #[doc(hidden)]
    fn into_dims(self) -> Dims<Self::Rank>;
}

impl<I: IntoDimension> IntoDims for I {
    type Rank = I::Dim;

    fn into_dims(self) -> Dims<I::Dim> {
        dims(self)
    }
}

impl<D: Dimension> IntoDims for Dims<D> {
    type Rank = D;

    fn into_dims(self) -> Dims<D> {
        self
    }
}
