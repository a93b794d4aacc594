//! Pieces with a margin that shows what lies beside them: for stencils, where each element depends on
//! its neighbours.

use std::ops::Range;
use std::panic::Location;
use std::sync::Arc;

use ndarray::{Array, ArrayViewMut, Slice};
use serde::{Deserialize, Serialize};

use super::block::{Block, fetch};
use super::darray::DArray;
use super::element::{Element, Rank};
use super::error::{ArrayError, OrRaise, shapes};
use super::layout::{Layout, extents};
use super::map::PieceFunction;
use super::parts::{Job, Parts, Shared, in_order};
use super::work::{Outcome, code, nothing, read, read_number, write_number};
use crate::distributed::blob::{BlobReader, BlobWriter};

/// What the margin shows where the array ends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Boundary<T> {
    /// The other end: the array is a ring, or a torus.
    Periodic,
    /// The nearest element.
    Nearest,
    /// A value.
    Value(T),
}

/// An array whose pieces have a margin of neighbouring elements on all sides, corners included: what
/// [`DArray::with_halo`] makes. It has its own elements, and is freed as a [`DArray`] is.
///
/// One step of a stencil is [`update`](Halo::update), which computes each piece from itself and its
/// margin, and [`exchange`](Halo::exchange), which brings the margins up to date; only edges move,
/// from owner to owner.
///
/// ```
/// use parcell::arrays::Boundary;
/// use parcell::ndarray::{Array1, s};
/// use parcell::prelude::*;
///
/// let start = DArray::from_fn(100, |i: usize| if i == 50 { 1.0 } else { 0.0 });
/// let heat = start.with_halo(1, Boundary::Periodic);
/// for _ in 0..10 {
///     heat.update(|u: &Array1<f64>| {
///         let (left, middle, right) = (u.slice(s![..-2]), u.slice(s![1..-1]), u.slice(s![2..]));
///         &middle + 0.25 * (&left - 2.0 * &middle + &right)
///     });
///     heat.exchange();
/// }
/// assert!((heat.to_darray().sum() - 1.0).abs() < 1e-12);
/// ```
///
/// # Source
/// Asked for in DistributedArrays.jl, issues 21 and 186; `MPI_Neighbor_alltoall`, MPI 4.1, section 8.6,
/// is the same exchange.
pub struct Halo<T, D> {
    /// The layout is that of the array without margins.
    pieces: DArray<T, D>,
    width: usize,
    boundary: Boundary<T>,
}

/// A run of indices along one dimension of a piece with its margin.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Run {
    /// Within the piece, counted from the margin's edge.
    to: Range<usize>,
    /// Where in the array these elements are; a single one if it is repeated; nothing if they are
    /// outside.
    from: Option<Range<usize>>,
}

impl Run {
    /// What belongs to a part of the source.
    fn part(&self, part: &Range<usize>) -> Range<usize> {
        match &self.from {
            Some(from) if from.len() == self.to.len() => {
                self.to.start + part.start - from.start..self.to.start + part.end - from.start
            }
            _ => self.to.clone(),
        }
    }
}

/// Where the indices before, in and behind a range come from.
fn runs<T>(own: &Range<usize>, extent: usize, width: usize, boundary: &Boundary<T>) -> Vec<Run> {
    let source = |index: i128| {
        let inside = 0 <= index && index < extent as i128;
        match boundary {
            _ if inside => Some(index as usize),
            Boundary::Periodic if extent > 0 => Some(index.rem_euclid(extent as i128) as usize),
            Boundary::Nearest if extent > 0 => Some(index.clamp(0, extent as i128 - 1) as usize),
            _ => None,
        }
    };
    let first = own.start as i128 - width as i128;
    let places = 0..own.len() + 2 * width;
    let mut runs: Vec<Run> = Vec::new();
    for at in places {
        let from = source(first + at as i128);
        let is_border = at == width || at == width + own.len();
        match runs.last_mut() {
            Some(run) if !is_border && extends(run, from) => run.to.end += 1,
            _ => runs.push(Run { to: at..at + 1, from: from.map(|i| i..i + 1) }),
        }
        if let (Some(run), Some(from)) = (runs.last_mut(), from)
            && let Some(range) = &mut run.from
        {
            range.end = range.end.max(from + 1);
        }
    }
    runs
}

/// Whether a run goes on with an element.
fn extends(run: &Run, next: Option<usize>) -> bool {
    match (&run.from, next) {
        (None, None) => true,
        (Some(from), Some(next)) => {
            let (repeats, ascends) = (from.len() == 1, from.len() == run.to.len());
            (ascends && next == from.end) || (repeats && next == from.start)
        }
        _ => false,
    }
}

/// The blocks of a piece's margin: all combinations of runs but the piece itself.
fn margin(runs: &[Vec<Run>], own: &[Range<usize>], width: usize) -> Vec<Vec<Run>> {
    let mut blocks: Vec<Vec<Run>> = vec![Vec::new()];
    for runs in runs {
        let with = |block: &Vec<Run>| {
            let block = block.clone();
            runs.iter().map(move |run| [&block[..], std::slice::from_ref(run)].concat())
        };
        blocks = blocks.iter().flat_map(with).collect();
    }
    let itself = |block: &Vec<Run>| {
        block.iter().zip(own).all(|(run, own)| run.to == (width..width + own.len()))
    };
    blocks.retain(|block| !itself(block));
    blocks
}

impl<T: Element, D: Rank> DArray<T, D> {
    /// The elements in pieces with a margin of `width` elements on all sides, filled already: see
    /// [`Halo`]. Blocks until all owners have copied their pieces and exchanged their edges. Costs
    /// two messages to each owner and two back, and the edges.
    ///
    /// # Panics
    /// If an owner is gone, or the array is closed.
    #[track_caller]
    #[must_use]
    pub fn with_halo(&self, width: usize, boundary: Boundary<T>) -> Halo<T, D> {
        self.try_with_halo(width, boundary).or_raise()
    }

    /// As [`DArray::with_halo`].
    ///
    /// # Errors
    /// [`ArrayError::Lost`], [`ArrayError::Closed`].
    #[track_caller]
    pub fn try_with_halo(
        &self,
        width: usize,
        boundary: Boundary<T>,
    ) -> Result<Halo<T, D>, ArrayError> {
        fn body<T: Element, D: Rank>(from: &mut BlobReader<'_>) -> Outcome {
            let (job, source) = (Job::read(from)?, Parts::read(from)?);
            let width = read_number(from)?;
            let piece = source.share::<T, D>(job.piece)?;
            job.keep_shared(Arc::new(padded(&piece, width)));
            nothing()
        }
        let parts = self.open()?;
        let write =
            &mut |_, to: &mut BlobWriter| parts.write(to).and_then(|()| write_number(to, width));
        let (place, code) = (Location::caller(), code(body::<T, D>));
        let pieces = Shared::make(parts.layout.clone(), &[parts], place, code, write)?;
        let halo = Halo { pieces: DArray::of(pieces), width, boundary };
        halo.try_exchange()?;
        Ok(halo)
    }
}

/// A copy of a piece with a margin, which shows the piece's own edges.
fn padded<T: Element, D: Rank>(piece: &Array<T, D>, width: usize) -> Array<T, D> {
    let mut dimension = piece.raw_dim();
    dimension.slice_mut().iter_mut().for_each(|extent| *extent += 2 * width);
    let shape = piece.shape().to_vec();
    if piece.is_empty() {
        // Whatever is in the margin of nothing, nobody reads it.
        dimension.slice_mut().fill(0);
    }
    Array::from_shape_fn(dimension.clone(), |index| {
        let index = ndarray::IntoDimension::into_dimension(index);
        let mut inside = dimension.clone();
        for (axis, extent) in shape.iter().enumerate() {
            inside[axis] = index[axis].saturating_sub(width).min(extent - 1);
        }
        piece[inside].clone()
    })
}

impl<T: Element, D: Rank> Halo<T, D> {
    /// How wide the margin is, in elements.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// How the array without its margins is cut, and who has which piece. Costs nothing.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        self.pieces.layout()
    }

    /// The extents of the array without its margins. Costs nothing.
    #[must_use]
    pub fn shape(&self) -> Vec<usize> {
        self.pieces.shape()
    }

    /// Brings all margins up to date: each owner fetches the edges of its neighbours. One process
    /// calls it; blocks until all are done. Costs a message to each owner and one back, and for each
    /// edge and corner a message to who has it, and the elements.
    ///
    /// # Panics
    /// If an owner is gone, or the array is closed.
    #[track_caller]
    pub fn exchange(&self) {
        self.try_exchange().or_raise();
    }

    /// As [`Halo::exchange`].
    ///
    /// # Errors
    /// [`ArrayError::Lost`], [`ArrayError::Closed`].
    #[track_caller]
    pub fn try_exchange(&self) -> Result<(), ArrayError> {
        let write = &mut |_, to: &mut BlobWriter| {
            write_number(to, self.width).and_then(|()| to.write(&self.boundary))
        };
        self.pieces.open()?;
        let (place, code) = (Location::caller(), code(exchange_piece::<T, D>));
        self.pieces.shared().each(&[], place, code, write).map(drop)
    }

    /// Replaces all elements: `f` gets each piece with its margin, and gives the piece without. The
    /// margins stay as they were until [`exchange`](Halo::exchange). One process calls it; blocks
    /// until all owners are done. Costs a message to each owner and one back.
    ///
    /// # Panics
    /// With what `f` panics with; if it gives another shape; if an owner is gone, or the array is
    /// closed.
    #[track_caller]
    pub fn update<F: PieceFunction<T, D, Array<T, D>>>(&self, f: F) {
        self.try_update(f).or_raise();
    }

    /// As [`Halo::update`].
    ///
    /// # Errors
    /// [`ArrayError::Shapes`] if `f` gives another shape, [`ArrayError::Remote`] if it panics,
    /// [`ArrayError::Lost`], [`ArrayError::Closed`].
    #[track_caller]
    pub fn try_update<F: PieceFunction<T, D, Array<T, D>>>(&self, f: F) -> Result<(), ArrayError> {
        fn body<T: Element, D: Rank, F: PieceFunction<T, D, Array<T, D>>>(
            from: &mut BlobReader<'_>,
        ) -> Outcome {
            let (job, width) = (Job::read(from)?, read_number(from)?);
            let ranges = job.parts.layout.ranges(job.piece);
            if ranges.iter().any(Range::is_empty) {
                return nothing();
            }
            let new = F::apply(from, &*job.share::<T, D>()?)?;
            let wanted = extents(&ranges);
            if new.shape() != wanted {
                let name = format!("{}, update of piece {}", job.parts.name(), job.piece);
                return Err(shapes(&name, &wanted, new.shape()));
            }
            job.parts.change(job.piece, |piece: &mut Array<T, D>| {
                inside(piece, width, &ranges).assign(&new);
            })?;
            nothing()
        }
        self.pieces.open()?;
        let write =
            &mut |_, to: &mut BlobWriter| write_number(to, self.width).and_then(|()| f.write(to));
        let (place, code) = (Location::caller(), code(body::<T, D, F>));
        self.pieces.shared().each(&[], place, code, write).map(drop)
    }

    /// The elements without margins, as an array of their own, cut alike. Blocks until all owners
    /// have copied their pieces. Costs a message to each and one back.
    ///
    /// # Panics
    /// If an owner is gone, or the array is closed.
    #[track_caller]
    #[must_use]
    pub fn to_darray(&self) -> DArray<T, D> {
        self.try_to_darray().or_raise()
    }

    /// As [`Halo::to_darray`].
    ///
    /// # Errors
    /// [`ArrayError::Lost`], [`ArrayError::Closed`].
    #[track_caller]
    pub fn try_to_darray(&self) -> Result<DArray<T, D>, ArrayError> {
        fn body<T: Element, D: Rank>(from: &mut BlobReader<'_>) -> Outcome {
            let (job, source) = (Job::read(from)?, Parts::read(from)?);
            let width = read_number(from)?;
            let ranges = job.parts.layout.ranges(job.piece);
            if ranges.iter().any(Range::is_empty) {
                job.keep_elements::<T, D>(Vec::new());
                return nothing();
            }
            let piece = source.share::<T, D>(job.piece)?;
            let within = |axis: usize| Slice::from(width..width + ranges[axis].len());
            let part = piece.slice_each_axis(|axis| within(axis.axis.index()));
            job.keep(in_order(part.to_owned()))?;
            nothing()
        }
        let parts = self.pieces.open()?;
        let write = &mut |_, to: &mut BlobWriter| {
            parts.write(to).and_then(|()| write_number(to, self.width))
        };
        let (place, code) = (Location::caller(), code(body::<T, D>));
        Shared::make(parts.layout.clone(), &[parts], place, code, write).map(DArray::of)
    }

    /// Frees the pieces now, as [`DArray::close`] does.
    ///
    /// # Panics
    /// If the process that made this is gone.
    #[track_caller]
    pub fn close(&self) {
        self.pieces.close();
    }
}

impl<T, D> std::fmt::Debug for Halo<T, D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Halo({:?}, with margins of {})", self.pieces, self.width)
    }
}

/// The piece within its margin.
fn inside<'a, T, D: Rank>(
    piece: &'a mut Array<T, D>,
    width: usize,
    ranges: &[Range<usize>],
) -> ArrayViewMut<'a, T, D> {
    piece.slice_each_axis_mut(|axis| Slice::from(width..width + ranges[axis.axis.index()].len()))
}

/// What each owner does to bring its margin up to date.
fn exchange_piece<T: Element, D: Rank>(from: &mut BlobReader<'_>) -> Outcome {
    let (job, width) = (Job::read(from)?, read_number(from)?);
    let boundary: Boundary<T> = read(from)?;
    let layout = &job.parts.layout;
    let (own, shape) = (layout.ranges(job.piece), layout.shape());
    if own.iter().any(Range::is_empty) {
        return nothing();
    }
    let along = |(own, extent): (&Range<usize>, &usize)| runs(own, *extent, width, &boundary);
    let runs: Vec<Vec<Run>> = own.iter().zip(&shape).map(along).collect();
    let mut wanted = Vec::new();
    let mut places = Vec::new();
    let mut outside = Vec::new();
    for block in margin(&runs, &own, width) {
        let source: Option<Vec<Range<usize>>> = block.iter().map(|run| run.from.clone()).collect();
        let Some(source) = source else {
            outside.push(block.into_iter().map(|run| run.to).collect::<Vec<_>>());
            continue;
        };
        for (piece, part) in layout.intersections(&source) {
            places.push(
                block.iter().zip(&part).map(|(run, part)| run.part(part)).collect::<Vec<_>>(),
            );
            wanted.push((piece, part));
        }
    }
    let came = fetch::<T, D>(&job.parts, &wanted, width, Location::caller())?;
    job.parts.change(job.piece, |piece| {
        for (place, part) in places.iter().zip(&came) {
            put(piece, place, part);
        }
        if let Boundary::Value(value) = &boundary {
            for place in &outside {
                at(piece, place).fill(value.clone());
            }
        }
    })?;
    nothing()
}

fn at<'a, T, D: Rank>(
    piece: &'a mut Array<T, D>,
    place: &[Range<usize>],
) -> ArrayViewMut<'a, T, D> {
    piece.slice_each_axis_mut(|axis| Slice::from(place[axis.axis.index()].clone()))
}

/// Puts a part into its place; single elements are repeated.
fn put<T: Element, D: Rank>(piece: &mut Array<T, D>, place: &[Range<usize>], part: &Block<T, D>) {
    let mut to = at(piece, place);
    let part = part.view();
    let part = part.broadcast(to.raw_dim()).expect("a part has its place's shape, or is repeated");
    to.assign(&part);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(own: Range<usize>, extent: usize, width: usize, boundary: &Boundary<i32>) -> String {
        let runs = runs(&own, extent, width, boundary);
        runs.iter().map(|run| format!("{:?}<{:?} ", run.to, run.from)).collect()
    }

    #[test]
    fn margins_come_from_where_they_should() {
        assert_eq!(
            told(4..8, 12, 2, &Boundary::Periodic),
            "0..2<Some(2..4) 2..6<Some(4..8) 6..8<Some(8..10) "
        );
        assert_eq!(
            told(0..4, 8, 2, &Boundary::Periodic),
            "0..2<Some(6..8) 2..6<Some(0..4) 6..8<Some(4..6) "
        );
        assert_eq!(
            told(0..4, 4, 2, &Boundary::Nearest),
            "0..2<Some(0..1) 2..6<Some(0..4) 6..8<Some(3..4) "
        );
        assert_eq!(
            told(0..1, 3, 2, &Boundary::Value(0)),
            "0..2<None 2..3<Some(0..1) 3..5<Some(1..3) "
        );
        // A margin wider than the array goes round several times.
        assert_eq!(
            told(0..2, 2, 3, &Boundary::Periodic),
            "0..1<Some(1..2) 1..3<Some(0..2) 3..5<Some(0..2) 5..7<Some(0..2) 7..8<Some(0..1) "
        );
    }
}
