//! The array itself: a handle to memory, and its elements.

use std::any::type_name;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;

use ndarray::{Array, ArrayView, Dimension as _, IntoDimension, Ix1, Ix2};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::cell::{Plain, SharedCell};
use super::error::SharedError;
use super::members::Shared;
use super::segment::Ticket;
use crate::arrays::error::{OrRaise, Shape};
use crate::arrays::{Rank, parallel};
use crate::distributed::blob::short_name;
use crate::distributed::group::Group;

/// An array in memory that processes of one machine share: each reads and writes every element
/// directly, without messages and without locks.
///
/// A `SharedArray` is a handle. Clones are handles to the same memory; sent to another process,
/// only the handle travels. The memory is mapped by the array's processes, by default all workers,
/// each of which has a [part](SharedArray::local) to work on, by the process that made it, and by
/// whoever uses a handle. It is freed when the last handle anywhere is dropped, and however
/// processes end, nothing stays. When the process that made it is gone, those who have mapped it
/// still have it; nobody can map it any more.
///
/// Nothing orders what processes read and write, so results of races are wrong numbers: let each
/// process write its own elements, and wait for all of them (`.wait()` after a `distributed!` loop)
/// before others read. An element is a [`SharedCell`]: a value of up to 8 bytes is read and written
/// as a whole.
///
/// Elements are counted from 0, the last index running fastest.
///
/// ```
/// use parcell::prelude::*;
///
/// let s = SharedVector::<f64>::zeros(100);
/// distributed!(for i in 0..100 { s.set([i], (i * i) as f64) }).wait();
/// assert_eq!(s.get([9]), 81.0);
/// assert_eq!(s.sum(), 328350.0);
/// ```
///
/// # Source
/// `SharedArray`, Julia's SharedArrays. There elements lie column by column and are counted from 1.
pub struct SharedArray<T, D = Ix1> {
    shared: Arc<Shared>,
    dim: D,
    elements: PhantomData<fn() -> T>,
}

/// A [`SharedArray`] of rank 1.
pub type SharedVector<T> = SharedArray<T, Ix1>;
/// A [`SharedArray`] of rank 2.
pub type SharedMatrix<T> = SharedArray<T, Ix2>;

const READ_ONLY: &str = "use `get`, `to_array`, `map_reduce` and the like";

impl<T, D> SharedArray<T, D> {
    pub(crate) fn of(shared: Arc<Shared>, dim: D) -> SharedArray<T, D> {
        SharedArray { shared, dim, elements: PhantomData }
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// The handle's parts.
    pub(crate) fn into_shared(self) -> (Arc<Shared>, D) {
        (self.shared, self.dim)
    }

    /// The processes that have a part of the array, in the order of the parts. Costs nothing.
    ///
    /// # Source
    /// `procs(S)`, Julia's SharedArrays.
    #[must_use]
    pub fn procs(&self) -> Vec<usize> {
        self.shared.pids.clone()
    }

    /// This process's place in [`procs`](SharedArray::procs), from 0; `None` if it has no part.
    /// Costs nothing.
    ///
    /// # Source
    /// `indexpids(S)`, Julia's SharedArrays, which counts from 1 and has 0 for none.
    #[must_use]
    pub fn index_in_procs(&self) -> Option<usize> {
        self.shared.own_number()
    }
}

impl<T: Plain, D: Rank> SharedArray<T, D> {
    /// The extents of the dimensions. Costs nothing.
    #[must_use]
    pub fn shape(&self) -> Vec<usize> {
        self.dim.slice().to_vec()
    }

    /// The number of elements. Costs nothing.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.dim.size()
    }

    /// Whether there are no elements. Costs nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of dimensions. Costs nothing.
    #[must_use]
    pub fn ndim(&self) -> usize {
        self.dim.ndim()
    }

    pub(crate) fn dim(&self) -> &D {
        &self.dim
    }

    /// All elements in order; not to be given to users, since they may be read only.
    #[inline]
    pub(crate) fn every(&self) -> Result<&[SharedCell<T>], SharedError> {
        Ok(self.shared.mapping()?.cells(self.len()))
    }

    /// An element. Costs no message; on a process that has not mapped the memory yet, the first use
    /// of a handle maps it.
    ///
    /// # Panics
    /// If the index is outside of the array, or the memory is gone with the process that made it.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let s = SharedArray::from_fn((3, 4), |(i, j): (usize, usize)| (10 * i + j) as i32);
    /// assert_eq!(s.get([2, 3]), 23);
    /// ```
    ///
    /// # Source
    /// `S[i, j]`, Julia's SharedArrays.
    #[inline]
    #[track_caller]
    #[must_use]
    pub fn get(&self, index: impl IntoDimension<Dim = D>) -> T {
        self.element(&index.into_dimension()).or_raise().get()
    }

    /// As [`SharedArray::get`].
    ///
    /// # Errors
    /// [`SharedError::Outside`], [`SharedError::Gone`].
    pub fn try_get(&self, index: impl IntoDimension<Dim = D>) -> Result<T, SharedError> {
        Ok(self.element(&index.into_dimension())?.get())
    }

    /// Replaces an element. Costs no message; see [`SharedArray::get`].
    ///
    /// # Panics
    /// As [`SharedArray::get`]; if the array can only be read.
    ///
    /// # Source
    /// `S[i, j] = value`, Julia's SharedArrays.
    #[inline]
    #[track_caller]
    pub fn set(&self, index: impl IntoDimension<Dim = D>, value: T) {
        self.cell(index).or_raise().set(value);
    }

    /// As [`SharedArray::set`].
    ///
    /// # Errors
    /// [`SharedError::Outside`], [`SharedError::Gone`], [`SharedError::ReadOnly`].
    pub fn try_set(&self, index: impl IntoDimension<Dim = D>, value: T) -> Result<(), SharedError> {
        self.cell(index).map(|cell| cell.set(value))
    }

    #[inline]
    fn cell(&self, index: impl IntoDimension<Dim = D>) -> Result<&SharedCell<T>, SharedError> {
        self.shared.check_writable(READ_ONLY)?;
        self.element(&index.into_dimension())
    }

    #[inline]
    fn element(&self, index: &D) -> Result<&SharedCell<T>, SharedError> {
        let cells = self.every()?;
        let (mut number, mut inside) = (0_usize, true);
        for (i, extent) in index.slice().iter().zip(self.dim.slice()) {
            inside &= i < extent;
            number = number.wrapping_mul(*extent).wrapping_add(*i);
        }
        if inside && index.ndim() == self.dim.ndim() {
            Ok(&cells[number])
        } else {
            Err(outside(index.slice(), self.dim.slice()))
        }
    }

    /// All elements, as an ndarray of cells: what ndarray does with views works on them. Costs
    /// nothing.
    ///
    /// # Panics
    /// If the memory is gone with the process that made it, or the array can only be read.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let s = SharedMatrix::<u64>::zeros((3, 4));
    /// s.cells().row(1).iter().for_each(|cell| cell.set(5));
    /// s.cells()[[2, 2]].fetch_add(7);
    /// assert_eq!(s.sum(), 27);
    /// ```
    #[track_caller]
    #[must_use]
    pub fn cells(&self) -> ArrayView<'_, SharedCell<T>, D> {
        self.try_cells().or_raise()
    }

    /// As [`SharedArray::cells`].
    ///
    /// # Errors
    /// [`SharedError::Gone`], [`SharedError::ReadOnly`].
    pub fn try_cells(&self) -> Result<ArrayView<'_, SharedCell<T>, D>, SharedError> {
        self.shared.check_writable(READ_ONLY)?;
        let view = ArrayView::from_shape(self.dim.clone(), self.every()?);
        Ok(view.expect("as many as the shape has"))
    }

    /// The numbers of this process's elements, in the order in which they lie: with `n` processes
    /// and `len` elements each has `len / n`, and the last has the rest besides; with fewer
    /// elements than processes the first have one each. Empty on a process that has no part. Costs
    /// nothing.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let s = SharedArray::<f64, _>::on(&[1]).zeros((3, 4));
    /// assert_eq!(s.local_indices(), 0..12);
    /// ```
    ///
    /// # Source
    /// `localindices(S)`, Julia's SharedArrays.
    #[must_use]
    pub fn local_indices(&self) -> Range<usize> {
        self.local_part_of(self.len())
    }

    /// The rows of this process, where rows are split as
    /// [`local_indices`](SharedArray::local_indices) splits elements; other elements than those,
    /// where the rows cannot be split evenly. Of rank 1 the same as `local_indices`. Costs nothing.
    ///
    /// ```no_run
    /// use parcell::prelude::*;
    ///
    /// let s = SharedMatrix::<f64>::zeros((1000, 500));
    /// everywhere!(&s.procs(), for i in s.local_rows() {
    ///     s.cells().row(i).iter().for_each(|cell| cell.set(i as f64));
    /// });
    /// ```
    #[must_use]
    pub fn local_rows(&self) -> Range<usize> {
        self.local_part_of(self.dim.slice().first().copied().unwrap_or(1))
    }

    fn local_part_of(&self, n: usize) -> Range<usize> {
        self.shared.own_number().map_or(0..0, |k| self.shared.part(n, k))
    }

    /// This process's elements, those of [`local_indices`](SharedArray::local_indices), side by
    /// side. Costs nothing.
    ///
    /// # Panics
    /// As [`SharedArray::cells`].
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let s = SharedVector::<u32>::zeros(6);
    /// everywhere!(&s.procs(), for cell in s.local() { cell.set(myid() as u32) });
    /// assert_eq!(s.to_array().to_vec(), [1; 6]);
    /// ```
    ///
    /// # Source
    /// `S[localindices(S)]`, Julia's SharedArrays.
    #[track_caller]
    #[must_use]
    pub fn local(&self) -> &[SharedCell<T>] {
        self.shared.check_writable(READ_ONLY).or_raise();
        &self.every().or_raise()[self.local_indices()]
    }

    /// A copy of all elements. Computed with this process's threads; costs no message.
    ///
    /// # Panics
    /// If the memory is gone with the process that made it.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let s = SharedArray::from_fn((2, 2), |(i, j): (usize, usize)| (i + j) as u8);
    /// assert_eq!(s.to_array(), ndarray::array![[0, 1], [1, 2]]);
    /// ```
    #[track_caller]
    #[must_use]
    pub fn to_array(&self) -> Array<T, D> {
        self.try_to_array().or_raise()
    }

    /// As [`SharedArray::to_array`].
    ///
    /// # Errors
    /// [`SharedError::Gone`].
    pub fn try_to_array(&self) -> Result<Array<T, D>, SharedError> {
        let cells = self.every()?;
        let all = parallel::make(cells.len(), |range, slots| {
            slots.extend(cells[range].iter().map(SharedCell::get));
        });
        Ok(Array::from_shape_vec(self.dim.clone(), all).expect("as many as the shape has"))
    }

    /// [`SharedArray::to_array`] under the name that it has in Julia.
    ///
    /// # Panics
    /// As [`SharedArray::to_array`].
    ///
    /// # Source
    /// `sdata(S)`, Julia's SharedArrays, which gives the memory itself.
    #[track_caller]
    #[must_use]
    pub fn sdata(&self) -> Array<T, D> {
        self.to_array()
    }

    /// The same memory in another shape. Costs nothing.
    ///
    /// # Panics
    /// If the shape has another number of elements.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let s = SharedVector::<u8>::zeros(6);
    /// s.reshape((2, 3)).set([1, 0], 9);
    /// assert_eq!(s.get([3]), 9);
    /// ```
    ///
    /// # Source
    /// `reshape(S, dims)`, Julia's SharedArrays.
    #[track_caller]
    #[must_use]
    pub fn reshape<I: IntoDimension<Dim: Rank>>(&self, dims: I) -> SharedArray<T, I::Dim> {
        self.try_reshape(dims).or_raise()
    }

    /// As [`SharedArray::reshape`].
    ///
    /// # Errors
    /// [`SharedError::Shapes`].
    pub fn try_reshape<I: IntoDimension<Dim: Rank>>(
        &self,
        dims: I,
    ) -> Result<SharedArray<T, I::Dim>, SharedError> {
        let dim = dims.into_dimension();
        if dim.size_checked() != Some(self.len()) {
            return Err(SharedError::shapes("reshape", self.dim.slice(), dim.slice()));
        }
        Ok(SharedArray::of(Arc::clone(&self.shared), dim))
    }
}

#[cold]
fn outside(index: &[usize], shape: &[usize]) -> SharedError {
    SharedError::Outside { index: index.to_vec(), shape: shape.to_vec() }
}

impl<T, D: Clone> Clone for SharedArray<T, D> {
    fn clone(&self) -> SharedArray<T, D> {
        SharedArray::of(Arc::clone(&self.shared), self.dim.clone())
    }
}

/// Shape, type, size and processes; no elements.
impl<T, D: Rank> fmt::Debug for SharedArray<T, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let element = short_name(type_name::<T>());
        let Shared { ticket, pids, .. } = self.shared();
        let size = crate::timing::in_binary_units(ticket.bytes as u64);
        let shape = Shape(self.dim.slice());
        write!(f, "SharedArray({shape} of {element}, {size}, on processes {pids:?})")
    }
}

impl<T: Plain, D: Rank> Serialize for SharedArray<T, D> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Shared { group, ticket, pids, .. } = self.shared();
        (group, ticket, pids, size_of::<T>(), self.dim.slice()).serialize(to)
    }
}

impl<'de, T: Plain, D: Rank> Deserialize<'de> for SharedArray<T, D> {
    fn deserialize<Z: Deserializer<'de>>(from: Z) -> Result<SharedArray<T, D>, Z::Error> {
        let (shared, dim) = received::<T, D, Z>(from)?;
        Ok(SharedArray::of(Arc::new(shared), dim))
    }
}

/// The parts of a handle that was sent.
pub(crate) fn received<'de, T: Plain, D: Rank, Z: Deserializer<'de>>(
    from: Z,
) -> Result<(Shared, D), Z::Error> {
    type Parts = (Group, Ticket, Vec<usize>, usize, Vec<usize>);
    let (group, ticket, pids, size, shape) = Parts::deserialize(from)?;
    let right_rank = D::NDIM.is_none_or(|n| n == shape.len());
    if size != size_of::<T>() || !right_rank {
        let what = format!("an array of rank {} with elements of {size} bytes", shape.len());
        return Err(Z::Error::custom(what + " was sent as one of another type"));
    }
    let mut dim = D::zeros(shape.len());
    dim.slice_mut().copy_from_slice(&shape);
    Ok((Shared::of(group, ticket, pids), dim))
}
