//! Dense systems of linear equations: LU with partial pivoting, in blocks.
//!
//! A copy of the matrix is cut into block columns that are dealt out to its owners in turn, so that
//! all have work until the end. Who has a block column has all its rows, finds its pivots alone, and
//! exchanges rows without asking anybody. One step is one order to each process: it fetches the
//! block column that was factored last, takes it out of its own, and the owner of the next factors
//! that one while its other threads go on. The right sides take part as further columns, so that only
//! the upper triangle is needed afterwards.
//!
//! Local work is done by ndarray's matrix product, which is that of `matrixmultiply`: nearly all time
//! is spent there, also within a block column, which is factored recursively. faer would be somewhat
//! faster and had to be compiled and linked for every notebook.
//!
//! # Source
//! `PDGETRF`, ScaLAPACK, on a grid of one row; S. Toledo, "Locality of reference in LU decomposition
//! with partial pivoting", SIAM J. Matrix Anal. Appl. 18 (1997), for the recursion.

use std::ops::Range;
use std::panic::Location;

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis, Ix2, LinalgScalar, s};
use num_traits::Float;

use super::block::collect;
use super::darray::DArray;
use super::element::{Element, Rank};
use super::error::{ArrayError, OrRaise, shapes};
use super::layout::{Layout, even_cuts};
use super::operand::{Checked, Operand, bring};
use super::parallel;
use super::parts::{Job, Parts, Shared};
use super::work::{Orders, Outcome, code, nothing, read, read_number, values};
use crate::distributed::blob::{BlobReader, BlobWriter};
use crate::distributed::function::{Trampoline, hold};
use crate::distributed::{node, workers};

/// The numbers in which systems of equations are solved: `f32` and `f64`.
#[diagnostic::on_unimplemented(
    message = "systems of equations are not solved in `{Self}`",
    label = "neither `f32` nor `f64`"
)]
pub trait Real: Element + LinalgScalar + Float {
    /// The code of the steps, compiled with the library.
    #[doc(hidden)]
    const STEPS: Steps;
}

/// What processes do when a system is solved.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub struct Steps {
    eliminate: fn() -> Trampoline,
    substitute: fn() -> Trampoline,
}

macro_rules! real {
    ($($number:ty),*) => {$(
        impl Real for $number {
            const STEPS: Steps = Steps {
                eliminate: || code(eliminate_own::<$number>),
                substitute: || code(substitute_own::<$number>),
            };
        }
    )*};
}

real!(f32, f64);

impl<T: Real> DArray<T, Ix2> {
    /// The solution `x` of `self · x = b`, for a square matrix and a right side of rank 1, or of rank
    /// 2 for several at once. Both may be cut as they may be, and `b` may be an array of this
    /// process; `x` is cut as `b` if that is distributed, by default otherwise. One process calls it;
    /// blocks until all is done. Matrix and right side stay as they were: a copy of both lies on the
    /// matrix's owners meanwhile.
    ///
    /// Partial pivoting makes this as accurate as a serial solver; that a matrix is almost singular
    /// is not told. Costs about n / 100 messages to each owner, and for each owner once all
    /// elements of the matrix below the diagonal, for those with right sides those above, too.
    ///
    /// # Panics
    /// If the matrix is not square or singular, or the shapes do not fit; if an owner is gone, or an
    /// array is closed.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let a = distribute(&ndarray::array![[0.0, 2.0], [4.0, 1.0]]);
    /// let x = a.solve(&ndarray::array![2.0, 9.0]);
    /// assert_eq!(x.to_array(), ndarray::array![2.0, 1.0]);
    /// ```
    ///
    /// # Source
    /// `A \ b`, Julia's LinearAlgebra; DistributedArrays.jl has none.
    #[track_caller]
    #[must_use]
    pub fn solve<D: Rank>(&self, b: impl Operand<T, D>) -> DArray<T, D> {
        self.try_solve(b).or_raise()
    }

    /// As [`DArray::solve`].
    ///
    /// # Errors
    /// [`ArrayError::Singular`], [`ArrayError::Shapes`], [`ArrayError::Lost`],
    /// [`ArrayError::Closed`].
    #[track_caller]
    pub fn try_solve<D: Rank>(&self, b: impl Operand<T, D>) -> Result<DArray<T, D>, ArrayError> {
        let (parts, place) = (self.open()?, Location::caller());
        let layout = match b.parts().0? {
            Some(parts) => parts.layout.clone(),
            None => Layout::even(&b.extents(), &workers())?,
        };
        let plan = Plan::new(&parts.layout, &b.extents())?;
        let size = super::dims::dims((plan.size, plan.size));
        let columns: DArray<T, Ix2> = self.try_relaid(size.layout(&plan.matrix))?;
        let right = right_side(&b, plan.right.clone(), place)?;
        plan.run(T::STEPS, columns.open()?, &right.parts, place).map_err(|error| match error {
            // Not the copy, which nobody knows.
            ArrayError::Singular { column, .. } => {
                ArrayError::Singular { array: parts.name(), column }
            }
            other => other,
        })?;
        solution(&right, layout, place)
    }
}

/// Who has which block columns.
struct Plan {
    size: usize,
    matrix: Layout,
    right: Layout,
    owners: Vec<usize>,
}

/// The most columns of a block: so many rows fill `matrixmultiply`'s kernels, and are half of what
/// fits a second-level cache beside them.
const WIDEST: usize = 128;
const NARROWEST: usize = 32;

impl Plan {
    fn new(a: &Layout, b: &[usize]) -> Result<Plan, ArrayError> {
        let shape = a.shape();
        let size = shape[0];
        if size != shape[1] || !(1..=2).contains(&b.len()) || b[0] != size {
            return Err(shapes("solve", &shape, b));
        }
        let owners = a.owners();
        // Eight blocks for each process keep all busy until close to the end.
        let width = (size / (8 * owners.len())).clamp(NARROWEST, WIDEST);
        let blocks = size.div_ceil(width).max(1);
        let columns = b.get(1).copied().unwrap_or(1);
        let rights = columns.div_ceil(WIDEST).max(owners.len().min(columns)).max(1);
        let dealt = |blocks: Range<usize>| blocks.map(|k| owners[k % owners.len()]).collect();
        let cut = |columns, blocks| vec![vec![0, size], even_cuts(columns, blocks)];
        Ok(Plan {
            matrix: Layout::with_cuts(cut(size, blocks), dealt(0..blocks))?,
            right: Layout::with_cuts(cut(columns, rights), dealt(blocks..blocks + rights))?,
            size,
            owners,
        })
    }

    /// Replaces the right sides by the solutions, and the matrix by its factors.
    fn run(
        &self,
        steps: Steps,
        matrix: &Parts,
        right: &Parts,
        place: &Location<'_>,
    ) -> Result<(), ArrayError> {
        let arrays = [matrix, right];
        let mut pivots = Vec::new();
        for next in 0..=self.matrix.pieces() {
            let orders = Orders { arrays: &arrays, owners: &self.owners, makes: &[], place };
            let (_, answers) = orders.run((steps.eliminate)(), &mut |_, to| {
                matrix.write(to)?;
                right.write(to)?;
                to.write(&next)?;
                to.write(&pivots)
            })?;
            let found = values::<Option<Result<Vec<usize>, usize>>>(answers)?.into_iter().flatten();
            pivots =
                found.last().unwrap_or(Ok(Vec::new())).map_err(|column| ArrayError::Singular {
                    array: matrix.name(),
                    column: self.matrix.cuts()[1][next] + column,
                })?;
        }
        let with_right: Vec<usize> = self
            .owners
            .iter()
            .copied()
            .filter(|owner| self.right.procs().contains(owner))
            .collect();
        let orders = Orders { arrays: &arrays, owners: &with_right, makes: &[], place };
        let code = (steps.substitute)();
        orders.run(code, &mut |_, to| matrix.write(to).and_then(|()| right.write(to))).map(drop)
    }
}

/// The right sides as block columns.
fn right_side<T: Element, D: Rank>(
    b: &impl Operand<T, D>,
    layout: Layout,
    place: &Location<'_>,
) -> Result<std::sync::Arc<Shared>, ArrayError> {
    fn body<T: Element, D: Rank>(from: &mut BlobReader<'_>) -> Outcome {
        let job = Job::read(from)?;
        let rank = read_number(from)?;
        let shape = job.parts.layout.piece_shape(job.piece);
        let elements = bring::<T, D>(from, &shape[..rank])?.elements().to_vec();
        job.keep_elements::<T, Ix2>(elements);
        nothing()
    }
    let shape = b.extents();
    let checked = Checked::new("solve", &shape, b)?;
    let sources: Vec<&Parts> = b.parts().0?.into_iter().collect();
    let cuts = layout.clone();
    let write = &mut |piece, to: &mut BlobWriter| {
        to.write(&shape.len())?;
        checked.write(b, &cuts.ranges(piece)[..shape.len()], to)
    };
    Shared::make(layout, &sources, place, code(body::<T, D>), write)
}

/// The block columns as an array of the right side's rank.
fn solution<T: Element, D: Rank>(
    right: &Shared,
    layout: Layout,
    place: &Location<'_>,
) -> Result<DArray<T, D>, ArrayError> {
    fn body<T: Element, D: Rank>(from: &mut BlobReader<'_>) -> Outcome {
        let (job, right) = (Job::read(from)?, Parts::read(from)?);
        let mut ranges = job.parts.layout.ranges(job.piece);
        ranges.resize(2, 0..1);
        let block = collect::<T, Ix2>(&right, &ranges, Location::caller())?;
        job.keep_elements::<T, D>(block.elements().to_vec());
        nothing()
    }
    let right = &right.parts;
    let code = code(body::<T, D>);
    Shared::make(layout, &[right], place, code, &mut |_, to| right.write(to)).map(DArray::of)
}

/// The pieces that this process has, from a number on.
fn own_pieces(parts: &Parts, from: usize) -> Vec<(&Parts, usize)> {
    let me = node::me() as usize;
    let owners = parts.layout.procs().iter().enumerate().skip(from);
    owners.filter(|(_, owner)| **owner == me).map(|(piece, _)| (parts, piece)).collect()
}

/// Takes the block column before `next` out of all of this process's that come after it, and
/// factors the next if it is here: then the answer is its pivots, or the column that has none.
fn eliminate_own<T: Real>(from: &mut BlobReader<'_>) -> Outcome {
    let (matrix, right) = (Parts::read(from)?, Parts::read(from)?);
    let (next, pivots) = (read_number(from)?, read::<Vec<usize>>(from)?);
    let (size, cuts) = (matrix.layout.shape()[0], &matrix.layout.cuts()[1]);
    let factored = match next.checked_sub(1) {
        Some(last) => {
            let block = [cuts[last]..size, cuts[last]..cuts[next]];
            Some(collect::<T, Ix2>(&matrix, &block, Location::caller())?)
        }
        None => None,
    };
    let mut own = own_pieces(&matrix, next);
    own.extend(own_pieces(&right, 0));
    let is_next = matrix.layout.procs().get(next) == Some(&(node::me() as usize));
    let one = |number: usize| {
        let (parts, piece) = own[number];
        parts.change(piece, |block: &mut Array2<T>| {
            if let Some(factored) = &factored {
                let below = block.slice_mut(s![cuts[next - 1].., ..]);
                eliminate(factored.view(), &pivots, below);
            }
            (number == 0 && is_next).then(|| {
                let mut pivots = Vec::new();
                factor(block.slice_mut(s![cuts[next].., ..]), &mut pivots).map(|()| pivots)
            })
        })
    };
    // The first, which the others will wait for, begins first.
    let done = parallel::make(own.len(), |range, slots| slots.extend(range.map(one)));
    let mut found: Option<Result<Vec<usize>, usize>> = None;
    for outcome in done {
        found = found.or(outcome?);
    }
    Ok(hold(found))
}

/// Replaces this process's right sides, after all elimination, by the solutions.
fn substitute_own<T: Real>(from: &mut BlobReader<'_>) -> Outcome {
    let (matrix, right) = (Parts::read(from)?, Parts::read(from)?);
    let own = own_pieces(&right, 0);
    for columns in matrix.layout.cuts()[1].windows(2).rev() {
        let (start, end) = (columns[0], columns[1]);
        let above = collect::<T, Ix2>(&matrix, &[0..end, start..end], Location::caller())?;
        let (above, triangle) = above.view().split_at(Axis(0), start);
        let one = |number: usize| {
            let (parts, piece) = own[number];
            parts.change(piece, |block: &mut Array2<T>| {
                let (mut rest, mut here) = block.slice_mut(s![..end, ..]).split_at(Axis(0), start);
                divide_by_upper(triangle, here.view_mut());
                general_mat_mul(-T::one(), &above, &here, T::one(), &mut rest);
            })
        };
        let done = parallel::make(own.len(), |range, slots| slots.extend(range.map(one)));
        done.into_iter().collect::<Result<(), _>>()?;
    }
    nothing()
}

/// Factors a block column from its first pivot's row on: the upper triangle and, below it, the
/// factors of the elimination. `pivots` gets the row with which each row was exchanged, counted from
/// the block's first. The error is the first column without a pivot.
fn factor<T: Real>(mut block: ArrayViewMut2<'_, T>, pivots: &mut Vec<usize>) -> Result<(), usize> {
    match block.ncols() {
        0 => return Ok(()),
        1 => return factor_column(block, pivots),
        _ => {}
    }
    let half = block.ncols() / 2;
    let (mut left, mut right) = block.view_mut().split_at(Axis(1), half);
    factor(left.view_mut(), pivots)?;
    eliminate(left.view(), pivots, right.view_mut());
    let mut lower = Vec::new();
    factor(right.slice_mut(s![half.., ..]), &mut lower).map_err(|column| half + column)?;
    let lower = lower.into_iter().map(|row| half + row);
    for (row, other) in (half..).zip(lower) {
        exchange(&mut left, row, other);
        pivots.push(other);
    }
    Ok(())
}

fn factor_column<T: Real>(
    mut column: ArrayViewMut2<'_, T>,
    pivots: &mut Vec<usize>,
) -> Result<(), usize> {
    let mut column = column.column_mut(0);
    let (mut pivot, mut largest) = (0, T::zero());
    for (row, x) in column.iter().enumerate() {
        if x.abs() > largest {
            (pivot, largest) = (row, x.abs());
        }
    }
    // NaN is no pivot, and not zero either: it goes on into the solution.
    if column[pivot] == T::zero() {
        return Err(0);
    }
    column.swap(0, pivot);
    pivots.push(pivot);
    let first = column[0];
    column.slice_mut(s![1..]).mapv_inplace(|x| x / first);
    Ok(())
}

/// Does to further columns what was done to those that are factored.
fn eliminate<T: Real>(
    factored: ArrayView2<'_, T>,
    pivots: &[usize],
    mut columns: ArrayViewMut2<'_, T>,
) {
    for (row, other) in pivots.iter().enumerate() {
        exchange(&mut columns, row, *other);
    }
    let width = factored.ncols();
    let (triangle, below) = factored.split_at(Axis(0), width);
    let (mut upper, mut lower) = columns.split_at(Axis(0), width);
    divide_by_lower(triangle, upper.view_mut());
    general_mat_mul(-T::one(), &below, &upper, T::one(), &mut lower);
}

fn exchange<T>(columns: &mut ArrayViewMut2<'_, T>, row: usize, other: usize) {
    if row != other {
        let (one, two) = columns.multi_slice_mut((s![row, ..], s![other, ..]));
        ndarray::Zip::from(one).and(two).for_each(std::mem::swap);
    }
}

/// Triangles of so many rows are not cut further.
const SMALL: usize = 8;

/// `L⁻¹ · columns`, where `L` is the lower triangle with ones on its diagonal.
fn divide_by_lower<T: Real>(triangle: ArrayView2<'_, T>, mut columns: ArrayViewMut2<'_, T>) {
    let size = triangle.nrows();
    if size > SMALL {
        let half = size / 2;
        let (mut upper, mut lower) = columns.split_at(Axis(0), half);
        divide_by_lower(triangle.slice(s![..half, ..half]), upper.view_mut());
        let beside = triangle.slice(s![half.., ..half]);
        general_mat_mul(-T::one(), &beside, &upper, T::one(), &mut lower);
        return divide_by_lower(triangle.slice(s![half.., half..]), lower);
    }
    for row in 1..size {
        let (done, mut rest) = columns.view_mut().split_at(Axis(0), row);
        for (k, before) in done.rows().into_iter().enumerate() {
            rest.row_mut(0).scaled_add(-triangle[[row, k]], &before);
        }
    }
}

/// `U⁻¹ · columns`, where `U` is the upper triangle.
fn divide_by_upper<T: Real>(triangle: ArrayView2<'_, T>, mut columns: ArrayViewMut2<'_, T>) {
    let size = triangle.nrows();
    if size > SMALL {
        let half = size / 2;
        let (mut upper, mut lower) = columns.split_at(Axis(0), half);
        divide_by_upper(triangle.slice(s![half.., half..]), lower.view_mut());
        let beside = triangle.slice(s![..half, half..]);
        general_mat_mul(-T::one(), &beside, &lower, T::one(), &mut upper);
        return divide_by_upper(triangle.slice(s![..half, ..half]), upper);
    }
    for row in (0..size).rev() {
        let (mut rest, done) = columns.view_mut().split_at(Axis(0), row + 1);
        let mut here = rest.row_mut(row);
        for (k, behind) in done.rows().into_iter().enumerate() {
            here.scaled_add(-triangle[[row, row + 1 + k]], &behind);
        }
        let pivot = triangle[[row, row]];
        here.mapv_inplace(|x| x / pivot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array1;

    /// Numbers without a pattern.
    fn matrix(rows: usize, columns: usize) -> Array2<f64> {
        Array2::from_shape_fn((rows, columns), |(i, j)| ((i * 131 + j * 37 + 1) as f64).sin())
    }

    #[test]
    fn factors_multiply_to_the_exchanged_matrix() {
        for (rows, columns) in [(1, 1), (5, 1), (7, 3), (40, 17), (33, 33)] {
            let a = matrix(rows, columns);
            let (mut factored, mut pivots) = (a.clone(), Vec::new());
            factor(factored.view_mut(), &mut pivots).unwrap();
            let mut exchanged = a;
            pivots.iter().enumerate().for_each(|(row, other)| {
                assert!(*other >= row);
                exchange(&mut exchanged.view_mut(), row, *other);
            });
            let lower = Array2::from_shape_fn((rows, columns), |(i, j)| match i.cmp(&j) {
                std::cmp::Ordering::Less => 0.0,
                std::cmp::Ordering::Equal => 1.0,
                std::cmp::Ordering::Greater => factored[[i, j]],
            });
            assert!(lower.iter().all(|x| x.abs() <= 1.0), "pivots are the largest");
            let upper = Array2::from_shape_fn((columns, columns), |(i, j)| {
                if i <= j { factored[[i, j]] } else { 0.0 }
            });
            let difference = lower.dot(&upper) - exchanged;
            assert!(difference.iter().all(|x| x.abs() < 1e-13), "{rows}×{columns}");
        }
    }

    #[test]
    fn triangles_are_divided_by() {
        for size in [0, 1, 8, 9, 37] {
            let triangle = matrix(size, size) + 4.0 * Array2::<f64>::eye(size);
            let x = matrix(size, 3);
            let upper =
                Array2::from_shape_fn(
                    (size, size),
                    |(i, j)| if i <= j { triangle[[i, j]] } else { 0.0 },
                );
            let mut found = upper.dot(&x);
            divide_by_upper(triangle.view(), found.view_mut());
            assert!((&found - &x).iter().all(|x| x.abs() < 1e-9), "upper, {size}");
        }
    }

    #[test]
    fn a_column_without_a_pivot_is_named() {
        let mut a = matrix(20, 20);
        a.column_mut(11).assign(&Array1::zeros(20));
        assert_eq!(factor(a.view_mut(), &mut Vec::new()), Err(11));
    }

    #[test]
    fn blocks_are_dealt_in_turn() {
        let a = Layout::new(&[300, 300], &[2, 3, 2], &[3, 1]).unwrap();
        let plan = Plan::new(&a, &[300]).unwrap();
        assert_eq!((&plan.owners[..], plan.matrix.pieces()), (&[2, 3][..], 10));
        assert_eq!(plan.matrix.procs()[..3], [2, 3, 2]);
        assert_eq!(plan.right.cuts(), [vec![0, 300], vec![0, 1]]);
        assert!(Plan::new(&a, &[299]).is_err() && Plan::new(&a, &[300, 2, 1]).is_err());
        let one = Layout::new(&[0, 0], &[2], &[1, 1]).unwrap();
        assert_eq!(Plan::new(&one, &[0, 0]).unwrap().matrix.cuts(), [[0, 0], [0, 0]]);
    }
}
