//! A function of whole lanes: all elements along one axis.

use std::ops::Range;
use std::panic::Location;

use ndarray::{Array, Array1, Axis};

use super::darray::DArray;
use super::dims::dims;
use super::element::{Element, Rank};
use super::error::{ArrayError, OrRaise, shapes};
use super::function::{Apply, ElementFunction};
use super::layout::{Layout, default_grid};
use super::parallel;
use super::parts::{Job, Parts, Shared, shaped, slice};
use super::reduce::check_axis;
use super::work::{Outcome, code, nothing, read_number, values};
use crate::distributed::blob::{BlobReader, BlobWriter};
use crate::distributed::function::hold;

impl<T: Element, D: Rank> DArray<T, D> {
    /// An array of what `f` makes of each lane along an axis: of all elements whose indices differ in
    /// that axis alone, as an `Array1` of its own. `f` gives a lane of any length, the same for all.
    ///
    /// If the axis is cut, or a piece is empty, the elements are redistributed first so that each
    /// lane is on one process; otherwise every piece stays where it is. Each owner computes with its
    /// threads. Blocks until all have. Costs a message to each owner and one back, twice with
    /// redistribution, which moves the elements, too.
    ///
    /// # Panics
    /// With what `f` panics with; if there is no such axis or it has no elements, or if the lanes
    /// that `f` gives differ in length; if an owner is gone, or the array is closed.
    ///
    /// ```
    /// use parcell::ndarray::{Array1, Axis, array};
    /// use parcell::prelude::*;
    ///
    /// let a = distribute(&array![[3, 1], [2, 5], [9, 4]]);
    /// let ends = a.map_slices(Axis(0), |lane: Array1<i32>| {
    ///     array![*lane.iter().min().unwrap(), *lane.iter().max().unwrap()]
    /// });
    /// assert_eq!(ends.to_array(), array![[2, 1], [9, 5]]);
    /// ```
    ///
    /// # Source
    /// `mapslices(f, d; dims)`, DistributedArrays.jl.
    #[track_caller]
    #[must_use]
    pub fn map_slices<R: Element, F: ElementFunction<(Array1<T>,), Array1<R>>>(
        &self,
        axis: Axis,
        f: F,
    ) -> DArray<R, D> {
        self.try_map_slices(axis, f).or_raise()
    }

    /// As [`DArray::map_slices`].
    ///
    /// # Errors
    /// [`ArrayError::Refused`] if there is no such axis or it has no elements, [`ArrayError::Shapes`]
    /// if lanes differ in length, [`ArrayError::Remote`] if `f` panics, [`ArrayError::Lost`],
    /// [`ArrayError::Closed`].
    #[track_caller]
    pub fn try_map_slices<R: Element, F: ElementFunction<(Array1<T>,), Array1<R>>>(
        &self,
        axis: Axis,
        f: F,
    ) -> Result<DArray<R, D>, ArrayError> {
        let place = Location::caller();
        check_axis(self.open()?, axis)?;
        let source = match uncut(self.layout(), axis.index())? {
            Some(layout) => self.try_relaid(dims(self.dimension()).layout(&layout))?,
            None => self.clone(),
        };
        let parts = source.open()?;
        let write = &mut |_, to: &mut BlobWriter| {
            parts.write(to)?;
            to.write(&axis.index())?;
            f.write(to)
        };
        let code = code(lanes_of_piece::<T, D, R, F>);
        let layout = parts.layout.clone();
        let (made, answers) = Shared::make_and_tell(layout, &[parts], place, code, write)?;
        let lengths = values::<Option<usize>>(answers)?;
        let extent = parts.layout.shape()[axis.index()];
        let length = same_length(&lengths, extent)?;
        let mut cuts = parts.layout.cuts().to_vec();
        cuts[axis.index()] = vec![0, length];
        let layout = Layout::with_cuts(cuts, parts.layout.procs().to_vec())?;
        let parts = Parts { layout, pieces: made.parts.pieces.clone() };
        let made = Shared::of(made.group.clone(), parts);
        if lengths.contains(&None) && length != extent {
            made.each(&[], place, super::work::code(empty_again::<R, D>), &mut |_, _| Ok(()))?;
        }
        Ok(DArray::of(made))
    }
}

/// The layout in which lanes are whole, if they are not already.
fn uncut(layout: &Layout, axis: usize) -> Result<Option<Layout>, ArrayError> {
    let empty = |piece| layout.ranges(piece).iter().any(Range::is_empty);
    let idle = !layout.is_empty() && (0..layout.pieces()).any(empty);
    if layout.grid()[axis] == 1 && !idle {
        return Ok(None);
    }
    let shape = layout.shape();
    // Lanes are dealt out as the elements of an array without the axis are.
    let mut lanes = shape.clone();
    lanes[axis] = 1;
    let mut owners = layout.owners();
    let longest = lanes.iter().copied().max().unwrap_or(1).max(1);
    owners.truncate(longest);
    let grid = default_grid(&lanes, owners.len());
    Layout::new(&shape, &owners, &grid).map(Some)
}

/// What an owner does; the answer is the length of the new lanes, if there are some.
fn lanes_of_piece<T, D, R, F>(from: &mut BlobReader<'_>) -> Outcome
where
    T: Element,
    D: Rank,
    R: Element,
    F: ElementFunction<(Array1<T>,), Array1<R>>,
{
    let (job, source) = (Job::read(from)?, Parts::read(from)?);
    let axis = read_number(from)?;
    let f = F::read(from)?;
    let piece = source.share::<T, D>(job.piece)?;
    let (elements, mut shape) = (slice(&piece), piece.shape().to_vec());
    let (extent, inner) = (shape[axis], shape[axis + 1..].iter().product::<usize>());
    let count = shape[..axis].iter().product::<usize>() * inner;
    let lane = |number: usize| {
        let first = number / inner * extent * inner + number % inner;
        let lane = elements[first..].iter().step_by(inner).take(extent);
        (lane.cloned().collect::<Array1<T>>(),)
    };
    let made = parallel::make(count, |range, slots| f.fill(range.map(lane), slots));
    let lengths: Vec<usize> = made.iter().map(Array1::len).collect();
    let Some(length) = equal_lengths(&lengths)? else {
        job.keep_shared::<R, D>(std::sync::Arc::new(shaped(&shape, Vec::new())));
        return Ok(hold(None::<usize>));
    };
    shape[axis] = length;
    let new: Vec<R> = parallel::make(count * length, |range, slots| {
        slots.extend(range.map(|at| {
            let (row, column) = (at / inner, at % inner);
            made[row / length * inner + column][row % length].clone()
        }));
    });
    let new: Array<R, D> = shaped(&shape, new);
    job.keep_shared(std::sync::Arc::new(new));
    Ok(hold(Some(length)))
}

/// The length of all lanes; nothing if there are none.
fn equal_lengths(lengths: &[usize]) -> Result<Option<usize>, ArrayError> {
    let Some(first) = lengths.first() else { return Ok(None) };
    match lengths.iter().find(|length| *length != first) {
        Some(other) => Err(shapes("map_slices: two lanes", &[*first], &[*other])),
        None => Ok(Some(*first)),
    }
}

/// The length of the lanes of all pieces; as before if there are none.
fn same_length(lengths: &[Option<usize>], before: usize) -> Result<usize, ArrayError> {
    let there: Vec<usize> = lengths.iter().flatten().copied().collect();
    Ok(equal_lengths(&there)?.unwrap_or(before))
}

/// Pieces without lanes get the shape that the others have told.
fn empty_again<R: Element, D: Rank>(from: &mut BlobReader<'_>) -> Outcome {
    let job = Job::read(from)?;
    let shape = job.parts.layout.piece_shape(job.piece);
    if shape.contains(&0) {
        job.parts.replace(job.piece, shaped::<R, D>(&shape, Vec::new()))?;
    }
    nothing()
}
