//! The array itself: a handle to pieces.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;
use std::panic::Location;
use std::sync::Arc;

use ndarray::{Array, ArrayViewMut, IntoDimension, Ix1, Ix2, Ix3};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::element::{Element, Rank};
use super::error::{ArrayError, OrRaise};
use super::layout::Layout;
use super::parts::{Parts, Shared};
use crate::distributed::group::Group;
use crate::distributed::node;

/// An array whose elements are spread over processes: each owner holds a piece, an ndarray `Array`,
/// and computes what concerns it with its own threads.
///
/// A `DArray` is a handle. Clones are handles to the same array; sent to another process, only the
/// layout travels. The pieces are freed when the last handle anywhere is dropped or when the array is
/// [closed](DArray::close), and also when the process that made the array is gone.
///
/// Everybody may read any element; pieces are changed by their owners, or by operations on the whole
/// array, which block until all owners have done their part. Elements are counted from 0.
///
/// ```
/// use parcell::prelude::*;
///
/// let a = DArray::from_fn((100, 50), |(i, j): (usize, usize)| (i * j) as f64);
/// let b = a.map(|x: f64| x.sqrt());
/// assert_eq!(b.get([9, 4]), 6.0);
/// assert_eq!((&a + &b).sum(), a.sum() + b.sum());
/// ```
///
/// # Source
/// `DArray`, DistributedArrays.jl. There pieces are column-major and indices begin at 1.
pub struct DArray<T, D> {
    shared: Arc<Shared>,
    elements: PhantomData<fn() -> (T, D)>,
}

/// A [`DArray`] of rank 1.
pub type DArray1<T> = DArray<T, Ix1>;
/// A [`DArray`] of rank 2.
pub type DArray2<T> = DArray<T, Ix2>;
/// A [`DArray`] of rank 3.
pub type DArray3<T> = DArray<T, Ix3>;

/// A process's piece of a [`DArray`], shared with the array: an ndarray `Array` to read. What is
/// changed in the array later does not show in it.
pub struct LocalPart<T, D>(Arc<Array<T, D>>);

impl<T, D> std::ops::Deref for LocalPart<T, D> {
    type Target = Array<T, D>;

    fn deref(&self) -> &Array<T, D> {
        &self.0
    }
}

impl<T: fmt::Debug, D: Rank> fmt::Debug for LocalPart<T, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T, D> DArray<T, D> {
    pub(crate) fn of(shared: Arc<Shared>) -> DArray<T, D> {
        DArray { shared, elements: PhantomData }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The array's parts, if it is not closed.
    pub(crate) fn open(&self) -> Result<&Parts, ArrayError> {
        self.shared.open()
    }

    /// How the array is cut, and who has which piece. Costs nothing.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.shared.parts.layout
    }

    /// The extents of the dimensions. Costs nothing.
    #[must_use]
    pub fn shape(&self) -> Vec<usize> {
        self.layout().shape()
    }

    /// The number of elements. Costs nothing.
    #[must_use]
    pub fn len(&self) -> usize {
        self.layout().len()
    }

    /// Whether there are no elements. Costs nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of dimensions. Costs nothing.
    #[must_use]
    pub fn ndim(&self) -> usize {
        self.layout().cuts().len()
    }

    /// The owners of the pieces, in the order of the grid, last dimension fastest. Costs nothing.
    ///
    /// # Source
    /// `procs(d)`, DistributedArrays.jl.
    #[must_use]
    pub fn procs(&self) -> &[usize] {
        self.layout().procs()
    }

    /// The indices of this process's piece, for each dimension; empty ranges if it has none. Costs
    /// nothing.
    ///
    /// # Source
    /// `localindices(d)`, DistributedArrays.jl.
    #[must_use]
    pub fn local_indices(&self) -> Vec<Range<usize>> {
        match self.shared.parts.local() {
            Some(piece) => self.layout().ranges(piece),
            None => vec![0..0; self.ndim()],
        }
    }

    /// Frees the pieces now, whoever has handles; further use is an error. One process calls it. On
    /// the process that made the array it does not block; elsewhere it costs a round trip.
    ///
    /// # Panics
    /// If the process that made the array is gone.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let a = dzeros(10);
    /// a.close();
    /// assert!(a.try_to_array().is_err());
    /// ```
    ///
    /// # Source
    /// `close(d)`, DistributedArrays.jl.
    #[track_caller]
    pub fn close(&self) {
        self.shared.close(Location::caller()).or_raise();
    }
}

impl<T: Element, D: Rank> DArray<T, D> {
    /// This process's piece; an empty array if it has none. Costs neither a message nor a copy: if
    /// the array is changed while this lives, the piece is copied then.
    ///
    /// # Panics
    /// If the array is closed, or if this thread is changing the piece at the moment.
    ///
    /// ```no_run
    /// use parcell::prelude::*;
    ///
    /// let a = dones((100, 10));
    /// let sum_there = fetch_from!(2, a.local_part().sum());
    /// ```
    ///
    /// # Source
    /// `localpart(d)`, DistributedArrays.jl.
    #[track_caller]
    #[must_use]
    pub fn local_part(&self) -> LocalPart<T, D> {
        self.try_local_part().or_raise()
    }

    /// As [`DArray::local_part`].
    ///
    /// # Errors
    /// [`ArrayError::Closed`]; [`ArrayError::Refused`] if this thread is changing the piece.
    pub fn try_local_part(&self) -> Result<LocalPart<T, D>, ArrayError> {
        let parts = self.open()?;
        match parts.local() {
            Some(piece) => parts.share(piece).map(LocalPart),
            None => {
                let none = super::parts::shaped(&vec![0; self.ndim()], Vec::new());
                Ok(LocalPart(Arc::new(none)))
            }
        }
    }

    /// Changes this process's piece; `change` gets a view of it, an empty one if there is no piece.
    /// Blocks while another thread changes it. Costs no message.
    ///
    /// # Panics
    /// If the array is closed, or if this thread is changing the piece at the moment.
    ///
    /// ```no_run
    /// use parcell::prelude::*;
    ///
    /// let a = dzeros((100, 10));
    /// fetch_from!(2, a.local_part_mut(|mut piece| piece[[0, 0]] = 1.0));
    /// ```
    ///
    /// # Source
    /// `localpart(d)[…] = …`, DistributedArrays.jl: only owners write.
    #[track_caller]
    pub fn local_part_mut<R>(&self, change: impl FnOnce(ArrayViewMut<'_, T, D>) -> R) -> R {
        self.try_local_part_mut(change).or_raise()
    }

    /// As [`DArray::local_part_mut`].
    ///
    /// # Errors
    /// [`ArrayError::Closed`]; [`ArrayError::Refused`] if this thread is changing the piece.
    pub fn try_local_part_mut<R>(
        &self,
        change: impl FnOnce(ArrayViewMut<'_, T, D>) -> R,
    ) -> Result<R, ArrayError> {
        let parts = self.open()?;
        match parts.local() {
            Some(piece) => parts.change(piece, |array| change(array.view_mut())),
            None => {
                let mut none: Array<T, D> = super::parts::shaped(&vec![0; self.ndim()], Vec::new());
                Ok(change(none.view_mut()))
            }
        }
    }

    /// Whether this process has a piece. Costs nothing.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.layout().procs().contains(&(node::me() as usize))
    }

    /// The owner of an element. Costs nothing.
    ///
    /// # Panics
    /// If the index is outside of the array.
    ///
    /// # Source
    /// `locate(d, i...)`, DistributedArrays.jl.
    #[track_caller]
    #[must_use]
    pub fn owner(&self, index: impl IntoDimension<Dim = D>) -> usize {
        let index = index.into_dimension();
        match self.layout().owner(index.slice()) {
            Some(owner) => owner,
            None => panic!("{}", outside(&index, &self.shape())),
        }
    }
}

pub(crate) fn outside<D: Rank>(index: &D, shape: &[usize]) -> ArrayError {
    let index = format!("the index {:?}", index.slice());
    ArrayError::Outside { index, shape: shape.to_vec() }
}

impl<T, D> Clone for DArray<T, D> {
    fn clone(&self) -> DArray<T, D> {
        DArray::of(Arc::clone(&self.shared))
    }
}

/// Shape, grid and owners; no elements.
impl<T, D> fmt::Debug for DArray<T, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shared.words())
    }
}

impl<T, D> Serialize for DArray<T, D> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        (&self.shared.group, &self.shared.parts).serialize(to)
    }
}

impl<'de, T, D> Deserialize<'de> for DArray<T, D> {
    fn deserialize<Z: Deserializer<'de>>(from: Z) -> Result<DArray<T, D>, Z::Error> {
        let (group, parts) = <(Group, Parts)>::deserialize(from)?;
        Ok(DArray::of(Shared::of(group, parts)))
    }
}
