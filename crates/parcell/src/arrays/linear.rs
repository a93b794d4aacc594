//! Linear algebra: products, norms, scaling, transposition.

use std::ops::Range;
use std::panic::Location;
use std::sync::Arc;

use ndarray::linalg::general_mat_mul;
use ndarray::{Array, Array1, Array2, ArrayView1, ArrayView2, Axis, Ix1, Ix2, LinalgScalar, s};
use num_traits::Float;

use super::block::{Block, collect};
use super::darray::DArray;
use super::element::{Element, Rank};
use super::error::{ArrayError, OrRaise, shapes};
use super::layout::{Layout, even_cuts, ravel, unravel};
use super::operand::{Checked, Operand, bring};
use super::operators::number_inplace;
use super::parallel;
use super::parts::{Job, Parts, Shared, in_order, shaped, slice};
use super::reduce::{joined, reduced};
use super::work::{Outcome, code, nothing, read, values};
use crate::distributed::blob::{BlobReader, BlobWriter};
use crate::distributed::function::hold;
use crate::threads::{nthreads, par_for};

impl<T: Element + LinalgScalar, D: Rank> DArray<T, D> {
    /// The sum of the products of elements at the same place; complex ones are not conjugated. The
    /// other array may be cut differently. Blocks until all owners have answered.
    ///
    /// # Panics
    /// If the shapes differ; if an owner is gone, or an array is closed.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let x = DArray::from_fn(4, |i: usize| i as f64);
    /// assert_eq!(x.dot(&x), 14.0);
    /// ```
    ///
    /// # Source
    /// `dot(x, y)`, DistributedArrays.jl.
    #[track_caller]
    #[must_use]
    pub fn dot(&self, other: impl Operand<T, D>) -> T {
        self.try_dot(other).or_raise()
    }

    /// As [`DArray::dot`].
    ///
    /// # Errors
    /// [`ArrayError::Shapes`], [`ArrayError::Lost`], [`ArrayError::Closed`].
    #[track_caller]
    pub fn try_dot(&self, other: impl Operand<T, D>) -> Result<T, ArrayError> {
        fn body<T: Element + LinalgScalar, D: Rank>(from: &mut BlobReader<'_>) -> Outcome {
            let job = Job::read(from)?;
            let own = job.share::<T, D>()?;
            let other = bring::<T, D>(from, own.shape())?;
            let (own, other) = (slice(&own), other.elements());
            let products = parallel::parts(own.len(), |range| {
                ArrayView1::from(&own[range.clone()]).dot(&ArrayView1::from(&other[range]))
            });
            Ok(hold(products.into_iter().fold(T::zero(), |a, b| a + b)))
        }
        let (parts, shape) = (self.open()?, self.shape());
        if shape != other.extents() {
            return Err(shapes("dot", &shape, &other.extents()));
        }
        let checked = Checked::new("dot", &shape, &other)?;
        let sources: Vec<&Parts> = other.parts().0?.into_iter().collect();
        let write = &mut |piece, to: &mut BlobWriter| {
            checked.write(&other, &parts.layout.ranges(piece), to)
        };
        let place = Location::caller();
        let answers = self.shared().each(&sources, place, code(body::<T, D>), write)?;
        Ok(values::<T>(answers)?.into_iter().fold(T::zero(), |a, b| a + b))
    }

    /// `self = alpha · x + self`, in place. The other array may be cut differently. Blocks until all
    /// owners are done.
    ///
    /// # Panics
    /// If the shapes do not fit; if an owner is gone, or an array is closed.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let (x, y) = (dones(3), dfill(2.0, 3));
    /// y.axpy(0.5, &x);
    /// assert_eq!(y.sum(), 7.5);
    /// ```
    ///
    /// # Source
    /// `axpy!(α, x, y)`, DistributedArrays.jl.
    #[track_caller]
    pub fn axpy(&self, alpha: T, x: impl Operand<T, D>) {
        self.try_axpy(alpha, x).or_raise();
    }

    /// As [`DArray::axpy`].
    ///
    /// # Errors
    /// [`ArrayError::Shapes`], [`ArrayError::Lost`], [`ArrayError::Closed`].
    #[track_caller]
    pub fn try_axpy(&self, alpha: T, x: impl Operand<T, D>) -> Result<(), ArrayError> {
        fn body<T: Element + LinalgScalar, D: Rank>(from: &mut BlobReader<'_>) -> Outcome {
            let (job, alpha) = (Job::read(from)?, read::<T>(from)?);
            let x = bring::<T, D>(from, &job.parts.layout.piece_shape(job.piece))?;
            job.parts.change(job.piece, |piece: &mut Array<T, D>| {
                let own = piece.as_slice_mut().expect("pieces are kept in row-major order");
                let x = x.elements();
                parallel::change(own, |range, part| {
                    for (y, x) in part.iter_mut().zip(&x[range]) {
                        *y = alpha * *x + *y;
                    }
                });
            })?;
            nothing()
        }
        let (parts, shape) = (self.open()?, self.shape());
        let checked = Checked::new("axpy", &shape, &x)?;
        let sources: Vec<&Parts> = x.parts().0?.into_iter().collect();
        let write = &mut |piece, to: &mut BlobWriter| {
            to.write(&alpha)?;
            checked.write(&x, &parts.layout.ranges(piece), to)
        };
        self.shared().each(&sources, Location::caller(), code(body::<T, D>), write).map(drop)
    }

    /// Multiplies all elements by a number, in place.
    ///
    /// # Panics
    /// If an owner is gone, or the array is closed.
    ///
    /// # Source
    /// `rmul!(d, s)`, DistributedArrays.jl.
    #[track_caller]
    pub fn scale(&self, number: T) {
        number_inplace(self, number, |a: T, b: T| a * b).or_raise();
    }
}

impl<T: Element + Float, D: Rank> DArray<T, D> {
    /// The Euclidean norm of all elements, also where their squares are too large or too small for
    /// the type. Blocks until all owners have answered.
    ///
    /// # Panics
    /// If an owner is gone, or the array is closed.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// assert_eq!(distribute(&ndarray::array![3.0, 4.0]).norm(), 5.0);
    /// ```
    ///
    /// # Source
    /// `norm(d)`, DistributedArrays.jl.
    #[track_caller]
    #[must_use]
    pub fn norm(&self) -> T {
        let squares = self.dot(self);
        if squares.is_normal() || squares.is_nan() {
            return squares.sqrt();
        }
        let largest = self.norm_max();
        if largest == T::zero() || !largest.is_finite() {
            return largest;
        }
        let scaled = self / largest;
        largest * scaled.dot(&scaled).sqrt()
    }

    /// The sum of the elements' absolute values, otherwise as [`DArray::norm`].
    ///
    /// # Panics
    /// As [`DArray::norm`].
    ///
    /// # Source
    /// `norm(d, 1)`, DistributedArrays.jl.
    #[track_caller]
    #[must_use]
    pub fn norm_l1(&self) -> T {
        self.map_reduce(|x: T| x.abs(), |a: T, b: T| a + b, T::zero())
    }

    /// The largest absolute value; zero if there are no elements, NaN if there is one. Otherwise as
    /// [`DArray::norm`].
    ///
    /// # Panics
    /// As [`DArray::norm`].
    ///
    /// # Source
    /// `norm(d, Inf)`, DistributedArrays.jl.
    #[track_caller]
    #[must_use]
    pub fn norm_max(&self) -> T {
        let pieces = reduced(self, |own: &[T]| {
            let larger = |a: T, b: &T| if a.is_nan() || a >= b.abs() { a } else { b.abs() };
            let chunks =
                parallel::parts(own.len(), |range| own[range].iter().fold(T::zero(), larger));
            chunks.iter().fold(T::zero(), larger)
        });
        let larger = |a: T, b: T| if a.is_nan() || a >= b { a } else { b };
        pieces.or_raise().into_iter().fold(T::zero(), larger)
    }
}

impl<T: Element, D: Rank> DArray<T, D> {
    /// The array with its dimensions in reverse order. Every piece is transposed where it is:
    /// nothing but orders is sent. Blocks until all owners are done.
    ///
    /// # Panics
    /// If an owner is gone, or the array is closed.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let a = DArray::from_fn((2, 3), |(i, j): (usize, usize)| 10 * i + j);
    /// assert_eq!(a.transpose().get([2, 1]), 12);
    /// ```
    ///
    /// # Source
    /// `copy(transpose(d))`, DistributedArrays.jl.
    #[track_caller]
    #[must_use]
    pub fn transpose(&self) -> DArray<T, D> {
        self.try_transpose().or_raise()
    }

    /// As [`DArray::transpose`].
    ///
    /// # Errors
    /// [`ArrayError::Lost`], [`ArrayError::Closed`].
    #[track_caller]
    pub fn try_transpose(&self) -> Result<DArray<T, D>, ArrayError> {
        fn body<T: Element, D: Rank>(from: &mut BlobReader<'_>) -> Outcome {
            let (job, source) = (Job::read(from)?, Parts::read(from)?);
            let mut position = unravel(job.piece, &job.parts.layout.grid());
            position.reverse();
            let piece = source.share::<T, D>(ravel(&position, &source.layout.grid()))?;
            match piece.shape() {
                &[rows, columns] => {
                    let turned = turned(slice(&piece), rows, columns);
                    job.keep_elements::<T, D>(turned);
                }
                _ => job.keep(in_order(piece.view().reversed_axes().to_owned()))?,
            }
            nothing()
        }
        let parts = self.open()?;
        let (place, code) = (Location::caller(), code(body::<T, D>));
        let layout = parts.layout.transposed();
        Shared::make(layout, &[parts], place, code, &mut |_, to| parts.write(to)).map(DArray::of)
    }
}

/// The elements of a matrix, column by column.
fn turned<T: Element>(elements: &[T], rows: usize, columns: usize) -> Vec<T> {
    parallel::make(elements.len(), |range, slots| {
        let mut next = range.start;
        while next < range.end {
            let (column, first) = (next / rows, next % rows);
            let last = rows.min(first + range.end - next);
            // The next column finds these rows' cache lines where this one has left them.
            slots.extend((first..last).map(|row| elements[row * columns + column].clone()));
            next += last - first;
        }
    })
}

impl<T: Element + LinalgScalar> DArray<T, Ix2> {
    /// The matrix product. Its rows are cut as this matrix's, its columns evenly into as many chunks
    /// as this matrix's, and each piece is where this matrix's is: the owner fetches the blocks of
    /// both that it needs, the next one before it multiplies one with its threads. The other matrix
    /// may be cut as it may be, or be one of this process. Blocks until all owners are done.
    ///
    /// # Panics
    /// If the shapes do not fit; if an owner is gone, or an array is closed.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let a = DArray::from_fn((2, 3), |(i, j): (usize, usize)| (i + j) as f64);
    /// let b = a.transpose();
    /// assert_eq!(a.matmul(&b).to_array(), ndarray::array![[5.0, 8.0], [8.0, 14.0]]);
    /// ```
    ///
    /// # Source
    /// `A * B`, `mul!(C, A, B)`, DistributedArrays.jl.
    #[track_caller]
    #[must_use]
    pub fn matmul(&self, other: impl Operand<T, Ix2>) -> DArray<T, Ix2> {
        self.try_matmul(other).or_raise()
    }

    /// As [`DArray::matmul`].
    ///
    /// # Errors
    /// [`ArrayError::Shapes`], [`ArrayError::Lost`], [`ArrayError::Closed`].
    #[track_caller]
    pub fn try_matmul(&self, other: impl Operand<T, Ix2>) -> Result<DArray<T, Ix2>, ArrayError> {
        let (parts, b) = (self.open()?, other.extents());
        let layout = product_layout(&parts.layout, &b)?;
        let sources: Vec<&Parts> = std::iter::once(Ok(Some(parts)))
            .chain([other.parts().0])
            .collect::<Result<Vec<_>, _>>()?
            .into_iter()
            .flatten()
            .collect();
        let columns = layout.clone();
        let write = &mut |piece: usize, to: &mut BlobWriter| {
            parts.write(to)?;
            match sources.get(1) {
                Some(b) => Parts::write_some(Some(b), to),
                None => other.write(&[0..b[0], columns.ranges(piece)[1].clone()], to),
            }
        };
        let (place, code) = (Location::caller(), code(product::<T>));
        Shared::make(layout, &sources, place, code, write).map(DArray::of)
    }

    /// The product with a vector, which may be distributed or one of this process. Each owner
    /// multiplies its piece; what belongs to the same rows is added where the first piece of them
    /// is. Blocks until all owners are done.
    ///
    /// # Panics
    /// If the shapes do not fit; if an owner is gone, or an array is closed.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let a = dones((3, 2));
    /// assert_eq!(a.matvec(&ndarray::array![1.0, 2.0]).to_array(), ndarray::array![3.0, 3.0, 3.0]);
    /// ```
    ///
    /// # Source
    /// `A * x`, `mul!(y, A, x)`, DistributedArrays.jl.
    #[track_caller]
    #[must_use]
    pub fn matvec(&self, x: impl Operand<T, Ix1>) -> DArray<T, Ix1> {
        self.try_matvec(x).or_raise()
    }

    /// As [`DArray::matvec`].
    ///
    /// # Errors
    /// [`ArrayError::Shapes`], [`ArrayError::Lost`], [`ArrayError::Closed`].
    #[track_caller]
    pub fn try_matvec(&self, x: impl Operand<T, Ix1>) -> Result<DArray<T, Ix1>, ArrayError> {
        fn body<T: Element + LinalgScalar>(from: &mut BlobReader<'_>) -> Outcome {
            let (job, source) = (Job::read(from)?, Parts::read(from)?);
            let a = source.share::<T, Ix2>(job.piece)?;
            let x = bring::<T, Ix1>(from, &[a.ncols()])?;
            let rows = parallel::make(a.nrows(), |range, slots| {
                slots.extend(range.map(|row| a.row(row).dot(&x.view())));
            });
            job.keep_elements::<T, Ix2>(rows);
            nothing()
        }
        let (parts, place) = (self.open()?, Location::caller());
        let columns = [self.shape()[1]];
        if x.extents() != columns {
            return Err(shapes("matvec", &self.shape(), &x.extents()));
        }
        let checked = Checked::new("matvec", &columns, &x)?;
        let mut sources = vec![parts];
        sources.extend(x.parts().0?);
        let chunks = parts.layout.grid()[1];
        let write = &mut |piece, to: &mut BlobWriter| {
            parts.write(to)?;
            checked.write(&x, &parts.layout.ranges(piece)[1..], to)
        };
        let layout = parts.layout.recut(1, (0..=chunks).collect());
        let partial = Shared::make(layout, &sources, place, code(body::<T>), write)?;
        let partial: DArray<T, Ix2> = DArray::of(partial);
        joined(&partial, Axis(1), &|a: T, b: T| a + b, place, chunks)
    }

    /// Multiplies each row by a number, in place: `diag(numbers) · self`.
    ///
    /// # Panics
    /// If there are not as many numbers as rows; if an owner is gone, or the array is closed.
    ///
    /// # Source
    /// `lmul!(Diagonal(v), d)`, DistributedArrays.jl.
    #[track_caller]
    pub fn scale_rows(&self, numbers: &Array1<T>) {
        let column = numbers.view().insert_axis(Axis(1));
        if column.nrows() != self.shape()[0] {
            return Err(shapes("scale_rows", &self.shape(), numbers.shape())).or_raise();
        }
        self.zip_inplace(column, |a: T, b: T| b * a);
    }

    /// Multiplies each column by a number, in place: `self · diag(numbers)`.
    ///
    /// # Panics
    /// If there are not as many numbers as columns; if an owner is gone, or the array is closed.
    ///
    /// # Source
    /// `rmul!(d, Diagonal(v))`, DistributedArrays.jl.
    #[track_caller]
    pub fn scale_columns(&self, numbers: &Array1<T>) {
        let row = numbers.view().insert_axis(Axis(0));
        if row.ncols() != self.shape()[1] {
            return Err(shapes("scale_columns", &self.shape(), numbers.shape())).or_raise();
        }
        self.zip_inplace(row, |a: T, b: T| a * b);
    }
}

/// How the product of a matrix of this layout and one of shape `b` is cut.
fn product_layout(a: &Layout, b: &[usize]) -> Result<Layout, ArrayError> {
    let shape = a.shape();
    if shape[1] != b[0] {
        return Err(shapes("matmul", &shape, b));
    }
    let grid = a.grid();
    let chunks = grid[1].min(b[1].max(1));
    let owners = a.procs().chunks(grid[1]).flat_map(|row| &row[..chunks]).copied().collect();
    Layout::with_cuts(vec![a.cuts()[0].clone(), even_cuts(b[1], chunks)], owners)
}

/// What the owner of a piece of a product does.
fn product<T: Element + LinalgScalar>(from: &mut BlobReader<'_>) -> Outcome {
    let (job, a) = (Job::read(from)?, Parts::read(from)?);
    let b = Parts::read_some(from)?;
    let ranges = job.parts.layout.ranges(job.piece);
    let (rows, columns) = (ranges[0].clone(), ranges[1].clone());
    let mut product = Array2::zeros((rows.len(), columns.len()));
    let whole: Option<Array2<T>> = match &b {
        Some(_) => None,
        None => Some(shaped(&[a.layout.shape()[1], columns.len()], read::<Vec<T>>(from)?)),
    };
    let mut blocks = inner_blocks(&a.layout, b.as_ref().map(|b| &b.layout));
    // Every owner begins with other blocks, mostly its own, so that not all ask the same one.
    let first = job.piece * blocks.len() / job.parts.layout.procs().len();
    blocks.rotate_left(first);
    let factors = Factors { a, b, rows, columns };
    let mut blocks = blocks.into_iter();
    let mut next = blocks.next().map(|inner| factors.bring(inner, None)).transpose()?;
    while let Some(step) = next {
        // Before computing, since a process that computes with all its threads answers nobody: so all
        // ask while all wait.
        next = blocks.next().map(|inner| factors.bring(inner, Some(&step))).transpose()?;
        let right = match (&step.right, &whole) {
            (Some(block), _) => block.view(),
            (None, Some(whole)) => whole.slice(s![step.inner.clone(), ..]),
            (None, None) => unreachable!("one of the two was brought"),
        };
        add_product(step.left(), right, &mut product);
    }
    job.keep(product)?;
    nothing()
}

/// The matrices of a product, the second one if it is distributed, and what is wanted of them.
struct Factors {
    a: Parts,
    b: Option<Parts>,
    rows: Range<usize>,
    columns: Range<usize>,
}

/// What is multiplied at a time: blocks of both matrices that have a range of the inner dimension.
struct Step<T> {
    inner: Range<usize>,
    /// The columns that the left block has, among them those of the range.
    chunk: Range<usize>,
    left: Arc<Block<T, Ix2>>,
    right: Option<Block<T, Ix2>>,
}

impl Factors {
    /// Blocks until both blocks are here. A left block that the step before has is not asked for
    /// again.
    fn bring<T: Element>(
        &self,
        inner: Range<usize>,
        before: Option<&Step<T>>,
    ) -> Result<Step<T>, ArrayError> {
        let (place, cuts) = (Location::caller(), &self.a.layout.cuts()[1]);
        let end = cuts.partition_point(|cut| *cut <= inner.start);
        let chunk = cuts[end - 1]..cuts[end];
        let left = match before {
            Some(before) if before.chunk == chunk => Arc::clone(&before.left),
            _ => Arc::new(collect(&self.a, &[self.rows.clone(), chunk.clone()], place)?),
        };
        let block = [inner.clone(), self.columns.clone()];
        let right = self.b.as_ref().map(|b| collect(b, &block, place)).transpose()?;
        Ok(Step { inner, chunk, left, right })
    }
}

impl<T: Element> Step<T> {
    fn left(&self) -> ArrayView2<'_, T> {
        let within = self.inner.start - self.chunk.start..self.inner.end - self.chunk.start;
        self.left.view().slice_move(s![.., within])
    }
}

/// The ranges of the inner dimension within which both matrices are in one piece.
fn inner_blocks(a: &Layout, b: Option<&Layout>) -> Vec<Range<usize>> {
    let mut cuts = a.cuts()[1].clone();
    cuts.extend(b.iter().flat_map(|b| &b.cuts()[0]));
    cuts.sort_unstable();
    cuts.dedup();
    cuts.windows(2).map(|pair| pair[0]..pair[1]).collect()
}

/// Adds a product of blocks, computed with the threads of this process.
fn add_product<T: LinalgScalar + Send + Sync>(
    a: ArrayView2<'_, T>,
    b: ArrayView2<'_, T>,
    to: &mut Array2<T>,
) {
    let rows = a.nrows().div_ceil(nthreads()).max(1);
    let mut blocks: Vec<_> =
        to.axis_chunks_iter_mut(Axis(0), rows).zip(a.axis_chunks_iter(Axis(0), rows)).collect();
    let one = |(to, a): &mut (ndarray::ArrayViewMut2<'_, T>, ArrayView2<'_, T>)| {
        general_mat_mul(T::one(), a, &b, T::one(), to);
    };
    match &mut blocks[..] {
        [block] => one(block),
        blocks => par_for(blocks).chunk(1).for_each(one),
    }
}
