//! Reading arrays: elements, slices, all of it; and writing all of it.

use std::marker::PhantomData;
use std::ops::Range;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ndarray::{Array, ArrayD, Axis, IntoDimension, Slice, SliceArg, SliceInfoElem};

use super::block::collect;
use super::darray::{DArray, outside};
use super::element::{Element, Rank};
use super::error::{ArrayError, OrRaise};
use super::layout::{Layout, extents};
use super::operand::{Checked, Operand, bring};
use super::parts::{Job, Parts, Shared, in_order};
use super::work::{Orders, Outcome, code, nothing, read, read_ranges, value, values, write_ranges};
use crate::distributed::blob::{BlobReader, BlobWriter};
use crate::distributed::function::hold;

static SCALAR_ALLOWED: AtomicBool = AtomicBool::new(true);

/// Whether [`DArray::get`] may read single elements on this process. A loop that does so costs a
/// round trip for each element; where this is switched off, it fails at once. Allowed at first.
///
/// ```
/// use parcell::prelude::*;
/// use parcell::arrays::allow_scalar;
///
/// let a = dzeros(3);
/// allow_scalar(false);
/// assert!(a.try_get(0).is_err());
/// allow_scalar(true);
/// assert_eq!(a.get(0), 0.0);
/// ```
///
/// # Source
/// `allowscalar(false)`, DistributedArrays.jl.
pub fn allow_scalar(allowed: bool) {
    SCALAR_ALLOWED.store(allowed, Ordering::Relaxed);
}

impl<T: Element, D: Rank> DArray<T, D> {
    /// One element. Costs a round trip to its owner, nothing there; any process may call it.
    ///
    /// # Panics
    /// If the index is outside, if the owner is gone, if the array is closed, and after
    /// [`allow_scalar(false)`](allow_scalar).
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let a = DArray::from_fn((3, 3), |(i, j): (usize, usize)| 10 * i + j);
    /// assert_eq!(a.get([2, 1]), 21);
    /// ```
    ///
    /// # Source
    /// `d[i, j]`, DistributedArrays.jl.
    #[track_caller]
    #[must_use]
    pub fn get(&self, index: impl IntoDimension<Dim = D>) -> T {
        self.try_get(index).or_raise()
    }

    /// As [`DArray::get`].
    ///
    /// # Errors
    /// [`ArrayError::Outside`], [`ArrayError::Lost`], [`ArrayError::Closed`],
    /// [`ArrayError::ScalarForbidden`].
    #[track_caller]
    pub fn try_get(&self, index: impl IntoDimension<Dim = D>) -> Result<T, ArrayError> {
        if !SCALAR_ALLOWED.load(Ordering::Relaxed) {
            return Err(ArrayError::ScalarForbidden);
        }
        let (index, parts) = (index.into_dimension(), self.open()?);
        let inside = parts.layout.piece_of(index.slice());
        let piece = inside.ok_or_else(|| outside(&index, &self.shape()))?;
        let ranges = parts.layout.ranges(piece);
        let mut within = index;
        for (dimension, range) in ranges.iter().enumerate() {
            within[dimension] -= range.start;
        }
        if parts.local() == Some(piece) {
            return Ok(parts.share::<T, D>(piece)?[within].clone());
        }
        let owners = [parts.layout.procs()[piece]];
        let place = Location::caller();
        let orders = Orders { arrays: &[parts], owners: &owners, makes: &[], place };
        let (_, mut answers) = orders.run(code(element::<T, D>), &mut |_, to| {
            parts.write(to)?;
            to.write(&piece)?;
            to.write(&within)
        })?;
        value(answers.pop().expect("one owner answers"))
    }

    /// The whole array, on this process. Each owner sends its piece from where it lies, all at the
    /// same time; blocks until all are here. Any process may call it.
    ///
    /// # Panics
    /// If an owner is gone, or the array is closed.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let a = dones((2, 3)).to_array();
    /// assert_eq!(a, ndarray::Array2::<f64>::ones((2, 3)));
    /// ```
    ///
    /// # Source
    /// `Array(d)`, DistributedArrays.jl.
    #[track_caller]
    #[must_use]
    pub fn to_array(&self) -> Array<T, D> {
        self.try_to_array().or_raise()
    }

    /// As [`DArray::to_array`].
    ///
    /// # Errors
    /// [`ArrayError::Lost`], [`ArrayError::Closed`], [`ArrayError::Remote`].
    #[track_caller]
    pub fn try_to_array(&self) -> Result<Array<T, D>, ArrayError> {
        let all: Vec<Range<usize>> = self.shape().into_iter().map(|extent| 0..extent).collect();
        Ok(collect(self.open()?, &all, Location::caller())?.into_array())
    }

    /// A part of the array, named as ndarray names slices. Moves nothing: what is done with the view
    /// moves the part, and only from those processes that have some of it. Costs nothing.
    ///
    /// # Panics
    /// If the slice reaches beyond the array.
    ///
    /// ```
    /// use parcell::ndarray::s;
    /// use parcell::prelude::*;
    ///
    /// let a = DArray::from_fn((10, 10), |(i, j): (usize, usize)| 10 * i + j);
    /// assert_eq!(a.slice(s![3, 4..6]).to_array(), ndarray::array![34, 35]);
    /// let corner = a.slice(s![..2, -2..]).to_darray();
    /// assert_eq!(corner.shape(), [2, 2]);
    /// ```
    ///
    /// # Source
    /// `d[r1, r2]`, a `SubDArray`, DistributedArrays.jl.
    #[track_caller]
    #[must_use]
    pub fn slice<I: SliceArg<D>>(&self, part: I) -> DSlice<T, D, I::OutDim> {
        self.try_slice(part).or_raise()
    }

    /// As [`DArray::slice`].
    ///
    /// # Errors
    /// [`ArrayError::Outside`] if the slice reaches beyond the array.
    pub fn try_slice<I: SliceArg<D>>(
        &self,
        part: I,
    ) -> Result<DSlice<T, D, I::OutDim>, ArrayError> {
        let part = part.as_ref().to_vec();
        let block = bounding(&part, &self.shape())?;
        Ok(DSlice { array: self.clone(), part, block, rank: PhantomData })
    }

    /// Overwrites all elements with those of another array, cut as it may be, or of an array of this
    /// process. Each owner fetches, or is sent, what belongs to its piece. Blocks until all have.
    ///
    /// # Panics
    /// If the shapes do not fit; if an owner is gone.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let a = dzeros((2, 2));
    /// a.copy_from(&ndarray::array![[1.0, 2.0], [3.0, 4.0]]);
    /// assert_eq!(a.sum(), 10.0);
    /// ```
    ///
    /// # Source
    /// `copyto!(dest, src)`, DistributedArrays.jl.
    #[track_caller]
    pub fn copy_from(&self, other: impl Operand<T, D>) {
        self.try_copy_from(other).or_raise();
    }

    /// As [`DArray::copy_from`].
    ///
    /// # Errors
    /// [`ArrayError::Shapes`], [`ArrayError::Lost`], [`ArrayError::Closed`].
    #[track_caller]
    pub fn try_copy_from(&self, other: impl Operand<T, D>) -> Result<(), ArrayError> {
        fn body<T: Element, D: Rank>(from: &mut BlobReader<'_>) -> Outcome {
            let job = Job::read(from)?;
            let elements = bring::<T, D>(from, &job.parts.layout.piece_shape(job.piece))?;
            job.parts.replace(job.piece, elements.into_array())?;
            nothing()
        }
        let (parts, shape) = (self.open()?, self.shape());
        let checked = Checked::new("copy_from", &shape, &other)?;
        let sources: Vec<&Parts> = other.parts().0?.into_iter().collect();
        let write = &mut |piece, to: &mut BlobWriter| {
            checked.write(&other, &parts.layout.ranges(piece), to)
        };
        self.shared().each(&sources, Location::caller(), code(body::<T, D>), write).map(drop)
    }

    /// The same elements in an array that is cut otherwise. Each owner fetches what it needs from
    /// those who have it. Blocks until all have it.
    ///
    /// # Panics
    /// If the layout is one of another shape, or not possible; if an owner is gone.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let a = drand((6, 6));
    /// let b = a.relaid(dims((6, 6)).procs(&[1]));
    /// assert_eq!(a, b);
    /// ```
    ///
    /// # Source
    /// `copyto!` between arrays of different cuts, DistributedArrays.jl.
    #[track_caller]
    #[must_use]
    pub fn relaid(&self, dims: impl super::IntoDims<Rank = D>) -> DArray<T, D> {
        self.try_relaid(dims).or_raise()
    }

    /// As [`DArray::relaid`].
    ///
    /// # Errors
    /// [`ArrayError::Shapes`], [`ArrayError::Layout`], [`ArrayError::Lost`], [`ArrayError::Closed`].
    #[track_caller]
    pub fn try_relaid(
        &self,
        dims: impl super::IntoDims<Rank = D>,
    ) -> Result<DArray<T, D>, ArrayError> {
        let layout = dims.into_dims().resolve()?;
        if layout.shape() != self.shape() {
            return Err(super::error::shapes("relaid", &self.shape(), &layout.shape()));
        }
        fetched(self, layout, &vec![0; self.ndim()], Location::caller())
    }

    /// The elements in an array of their own, cut alike: changing one leaves the other. The pieces
    /// are copied when one of the two is changed first.
    ///
    /// # Panics
    /// If an owner is gone, or the array is closed.
    ///
    /// # Source
    /// `copy(d)`, DistributedArrays.jl.
    #[track_caller]
    #[must_use]
    pub fn copy(&self) -> DArray<T, D> {
        fetched(self, self.layout().clone(), &vec![0; self.ndim()], Location::caller()).or_raise()
    }
}

fn element<T: Element, D: Rank>(from: &mut BlobReader<'_>) -> Outcome {
    let job = Job::read(from)?;
    let index: D = read(from)?;
    Ok(hold(job.share::<T, D>()?[index].clone()))
}

/// An array of which each owner fetches its piece from another, which begins at `first` there.
fn fetched<T: Element, D: Rank, E: Rank>(
    source: &DArray<T, D>,
    layout: Layout,
    first: &[usize],
    place: &Location<'_>,
) -> Result<DArray<T, E>, ArrayError> {
    fn body<T: Element, D: Rank, E: Rank>(from: &mut BlobReader<'_>) -> Outcome {
        let job = Job::read(from)?;
        let (source, ranges) = (Parts::read(from)?, read_ranges(from)?);
        let block = collect::<T, D>(&source, &ranges, Location::caller())?;
        job.keep_shared::<T, E>(ranked(block.into_shared()));
        nothing()
    }
    let parts = source.open()?;
    let ranges = layout.clone();
    let write = &mut |piece, to: &mut BlobWriter| {
        parts.write(to)?;
        write_ranges(to, &moved(&ranges.ranges(piece), first))
    };
    Shared::make(layout, &[parts], place, code(body::<T, D, E>), write).map(DArray::of)
}

/// Ranges that begin elsewhere.
fn moved(ranges: &[Range<usize>], first: &[usize]) -> Vec<Range<usize>> {
    let moved = |(range, first): (&Range<usize>, &usize)| range.start + first..range.end + first;
    ranges.iter().zip(first).map(moved).collect()
}

/// The same array, whose rank may be known by another type.
fn ranked<T: Element, D: Rank, E: Rank>(array: Arc<Array<T, D>>) -> Arc<Array<T, E>> {
    let same = Arc::clone(&array) as Arc<dyn std::any::Any + Send + Sync>;
    same.downcast().unwrap_or_else(|_| {
        let array = Arc::unwrap_or_clone(array);
        Arc::new(array.into_dimensionality().expect("the same rank"))
    })
}

/// A part of a [`DArray`], which stays where it is until it is asked for.
#[derive(Debug)]
pub struct DSlice<T, D, E> {
    array: DArray<T, D>,
    part: Vec<SliceInfoElem>,
    /// The indices between which the part lies.
    block: Vec<Range<usize>>,
    rank: PhantomData<fn() -> E>,
}

impl<T: Element, D: Rank, E: Rank> DSlice<T, D, E> {
    /// The part's extents. Costs nothing.
    #[must_use]
    pub fn shape(&self) -> Vec<usize> {
        let mut block = self.block.iter();
        let mut shape = Vec::new();
        for one in &self.part {
            match one {
                SliceInfoElem::NewAxis => shape.push(1),
                SliceInfoElem::Index(_) => drop(block.next()),
                SliceInfoElem::Slice { step, .. } => {
                    let extent = block.next().map_or(0, ExactSizeIterator::len);
                    shape.push(extent.div_ceil(step.unsigned_abs()));
                }
            }
        }
        shape
    }

    /// The part, on this process. Costs a message to each process that has some of it, and that
    /// back; where the slice has steps, what is between is moved, too. Blocks until all is here.
    ///
    /// # Panics
    /// If an owner of some of it is gone, or the array is closed.
    ///
    /// # Source
    /// `Array(view)`, DistributedArrays.jl.
    #[track_caller]
    #[must_use]
    pub fn to_array(&self) -> Array<T, E> {
        self.try_to_array().or_raise()
    }

    /// As [`DSlice::to_array`].
    ///
    /// # Errors
    /// [`ArrayError::Lost`], [`ArrayError::Closed`], [`ArrayError::Remote`].
    #[track_caller]
    pub fn try_to_array(&self) -> Result<Array<T, E>, ArrayError> {
        let block = collect::<T, D>(self.array.open()?, &self.block, Location::caller())?;
        let cut = apply(block.into_array().into_dyn(), &self.part);
        Ok(in_order(cut.into_dimensionality().expect("the slice's rank")))
    }

    /// The part as an array of its own, in the default layout. Where the slice is one of ranges,
    /// each owner fetches its piece; otherwise the part takes the way over this process.
    ///
    /// # Panics
    /// As [`DSlice::to_array`].
    ///
    /// # Source
    /// `DArray(view)`, DistributedArrays.jl.
    #[track_caller]
    #[must_use]
    pub fn to_darray(&self) -> DArray<T, E> {
        self.try_to_darray().or_raise()
    }

    /// As [`DSlice::to_darray`].
    ///
    /// # Errors
    /// As [`DSlice::try_to_array`].
    #[track_caller]
    pub fn try_to_darray(&self) -> Result<DArray<T, E>, ArrayError> {
        let plain = |one: &SliceInfoElem| matches!(one, SliceInfoElem::Slice { step: 1, .. });
        if !self.part.iter().all(plain) {
            let here = self.try_to_array()?;
            let dims = super::dims::dims(here.raw_dim());
            return super::construct::try_distribute_over(&here, dims);
        }
        let layout = Layout::even(&extents(&self.block), &crate::distributed::workers())?;
        let first: Vec<usize> = self.block.iter().map(|range| range.start).collect();
        fetched(&self.array, layout, &first, Location::caller())
    }
}

/// The ranges between which a slice lies.
fn bounding(part: &[SliceInfoElem], shape: &[usize]) -> Result<Vec<Range<usize>>, ArrayError> {
    let mut extents = shape.iter();
    let mut block = Vec::new();
    for one in part {
        let from_end = |index: isize, extent: usize| {
            if index < 0 { index + extent.cast_signed() } else { index }
        };
        let (start, end, extent) = match *one {
            SliceInfoElem::NewAxis => continue,
            SliceInfoElem::Index(index) => {
                let extent = extents.next().copied().unwrap_or(0);
                let at = from_end(index, extent);
                (at, at + 1, extent)
            }
            SliceInfoElem::Slice { start, end, .. } => {
                let extent = extents.next().copied().unwrap_or(0);
                let end = from_end(end.unwrap_or(extent.cast_signed()), extent);
                let start = from_end(start, extent);
                (start, end.max(start), extent)
            }
        };
        if start < 0 || end > extent.cast_signed() {
            let index = format!("the slice {one:?} of dimension {}", block.len());
            return Err(ArrayError::Outside { index, shape: shape.to_vec() });
        }
        block.push(start.cast_unsigned()..end.cast_unsigned());
    }
    Ok(block)
}

/// Steps, single indices and new axes, of an array that has the slice's ranges already.
fn apply<T>(mut array: ArrayD<T>, part: &[SliceInfoElem]) -> ArrayD<T> {
    let mut axis = 0;
    for one in part {
        match *one {
            SliceInfoElem::NewAxis => {
                array.insert_axis_inplace(Axis(axis));
                axis += 1;
            }
            SliceInfoElem::Index(_) => array.index_axis_inplace(Axis(axis), 0),
            SliceInfoElem::Slice { step, .. } => {
                array.slice_axis_inplace(Axis(axis), Slice::new(0, None, step));
                axis += 1;
            }
        }
    }
    array
}

/// Whether shapes and all elements are equal; arrays may be cut differently. Costs a message to each
/// owner and an answer, and what must be moved between different layouts.
///
/// # Panics
/// If an owner is gone, or an array is closed.
///
/// # Source
/// `==`, DistributedArrays.jl.
impl<T: Element + PartialEq, D: Rank> PartialEq for DArray<T, D> {
    #[track_caller]
    fn eq(&self, other: &DArray<T, D>) -> bool {
        equal(self, other).or_raise()
    }
}

/// As with another [`DArray`]; each owner is sent its part.
impl<T: Element + PartialEq, D: Rank> PartialEq<Array<T, D>> for DArray<T, D> {
    #[track_caller]
    fn eq(&self, other: &Array<T, D>) -> bool {
        equal(self, other).or_raise()
    }
}

#[track_caller]
fn equal<T: Element + PartialEq, D: Rank>(
    one: &DArray<T, D>,
    other: impl Operand<T, D>,
) -> Result<bool, ArrayError> {
    fn body<T: Element + PartialEq, D: Rank>(from: &mut BlobReader<'_>) -> Outcome {
        let job = Job::read(from)?;
        let own = job.share::<T, D>()?;
        let other = bring::<T, D>(from, own.shape())?;
        let (own, other) = (super::parts::slice(&own), other.elements());
        let same = super::parallel::parts(own.len(), |range| own[range.clone()] == other[range]);
        Ok(hold(same.into_iter().all(|same| same)))
    }
    let (parts, shape) = (one.open()?, one.shape());
    if shape != other.extents() {
        return Ok(false);
    }
    let checked = Checked::new("==", &shape, &other)?;
    let sources: Vec<&Parts> = other.parts().0?.into_iter().collect();
    let write =
        &mut |piece, to: &mut BlobWriter| checked.write(&other, &parts.layout.ranges(piece), to);
    let place = Location::caller();
    let answers = one.shared().each(&sources, place, code(body::<T, D>), write)?;
    Ok(values::<bool>(answers)?.into_iter().all(|same| same))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arrays::block::cut_out;
    use ndarray::{Array2, s};

    #[test]
    fn slices_are_those_of_ndarray() {
        let a = Array2::from_shape_fn((6, 5), |(i, j)| 10 * i + j);
        let check = |part: &[SliceInfoElem], wanted: ArrayD<usize>| {
            let block = bounding(part, a.shape()).unwrap();
            let part_of = cut_out(a.as_slice().unwrap(), a.shape(), &block);
            let part_of = ArrayD::from_shape_vec(extents(&block), part_of).unwrap();
            assert_eq!(apply(part_of, part), wanted);
        };
        check(s![1..3, ..].as_ref(), a.slice(s![1..3, ..]).to_owned().into_dyn());
        check(s![-2.., 1..;2].as_ref(), a.slice(s![-2.., 1..;2]).to_owned().into_dyn());
        check(s![.., ..;-2].as_ref(), a.slice(s![.., ..;-2]).to_owned().into_dyn());
        check(s![3, -1].as_ref(), a.slice(s![3, -1]).to_owned().into_dyn());
        check(
            s![2, ndarray::NewAxis, 1..4].as_ref(),
            a.slice(s![2, ndarray::NewAxis, 1..4]).to_owned().into_dyn(),
        );
        let error = bounding(s![..7, ..].as_ref(), a.shape()).unwrap_err();
        assert!(matches!(error, ArrayError::Outside { .. }), "{error}");
    }
}
