//! Making arrays.

use std::ops::Range;
use std::panic::Location;
use std::sync::Arc;

use ndarray::{Array, IntoDimension};
use num_traits::{One, Zero};
use rand::RngCore;
use rand::distr::{Distribution, StandardUniform};
use rand_distr::StandardNormal;

use super::darray::DArray;
use super::dims::{Dims, IntoDims};
use super::element::{Element, Rank};
use super::error::{ArrayError, OrRaise};
use super::function::{Apply, ElementFunction};
use super::layout::{Layout, extents, unravel};
use super::operand::write_block;
use super::parallel;
use super::parts::{Job, Shared};
use super::work::{Outcome, code, nothing, read, values};
use crate::distributed::RemoteFuture;
use crate::distributed::blob::BlobReader;

/// An array of zeros of type `f64`. Blocks until all owners have made their pieces: one message to
/// each and one back. For other types see [`DArray::zeros`].
///
/// # Panics
/// If there is no such layout or process, or no memory on an owner.
///
/// ```
/// use parcell::prelude::*;
///
/// let a = dzeros((3, 4));
/// assert_eq!((a.shape(), a.sum()), (vec![3, 4], 0.0));
/// let b = dzeros(dims(10).procs(&[1])); // chosen processes
/// assert_eq!(b.procs(), [1]);
/// ```
///
/// # Source
/// `dzeros(dims...)`, DistributedArrays.jl.
#[track_caller]
#[must_use]
pub fn dzeros<I: IntoDims<Rank: Rank>>(dims: I) -> DArray<f64, I::Rank> {
    DArray::zeros(dims)
}

/// An array of ones of type `f64`; otherwise as [`dzeros`].
///
/// # Panics
/// As [`dzeros`].
///
/// # Source
/// `dones(dims...)`, DistributedArrays.jl.
#[track_caller]
#[must_use]
pub fn dones<I: IntoDims<Rank: Rank>>(dims: I) -> DArray<f64, I::Rank> {
    DArray::ones(dims)
}

/// An array of clones of a value; otherwise as [`dzeros`].
///
/// # Panics
/// As [`dzeros`]; if the value cannot be sent.
///
/// ```
/// use parcell::prelude::*;
///
/// assert_eq!(dfill(7_u8, (2, 2)).to_array(), ndarray::array![[7, 7], [7, 7]]);
/// ```
///
/// # Source
/// `dfill(v, dims...)`, DistributedArrays.jl.
#[track_caller]
#[must_use]
pub fn dfill<T: Element, I: IntoDims<Rank: Rank>>(value: T, dims: I) -> DArray<T, I::Rank> {
    DArray::filled(value, dims)
}

/// An array of random numbers, uniform in `0.0..1.0`; otherwise as [`dzeros`]. With
/// [`seed`](Dims::seed) the numbers are always the same, however the array is cut. For other types see
/// [`DArray::random`].
///
/// # Panics
/// As [`dzeros`].
///
/// ```
/// use parcell::prelude::*;
///
/// let a = drand(dims((10, 10)).seed(42));
/// assert_eq!(a, drand(dims((10, 10)).seed(42)));
/// assert!(a.all(|x: f64| (0.0..1.0).contains(&x)));
/// ```
///
/// # Source
/// `drand(dims...)`, DistributedArrays.jl.
#[track_caller]
#[must_use]
pub fn drand<I: IntoDims<Rank: Rank>>(dims: I) -> DArray<f64, I::Rank> {
    DArray::random(dims)
}

/// An array of random numbers of the standard normal distribution; otherwise as [`drand`].
///
/// # Panics
/// As [`dzeros`].
///
/// # Source
/// `drandn(dims...)`, DistributedArrays.jl.
#[track_caller]
#[must_use]
pub fn drandn<I: IntoDims<Rank: Rank>>(dims: I) -> DArray<f64, I::Rank> {
    random_array(
        &dims.into_dims(),
        Location::caller(),
        code(random::<f64, I::Rank, StandardNormal>),
    )
    .or_raise()
}

fn filled<T: Element, D: Rank>(from: &mut BlobReader<'_>) -> Outcome {
    let job = Job::read(from)?;
    let value: T = read(from)?;
    let n = extents(&job.parts.layout.ranges(job.piece)).iter().product();
    let elements = parallel::make(n, |range, slots| slots.extend(range.map(|_| value.clone())));
    job.keep_elements::<T, D>(elements);
    nothing()
}

fn generated<T: Element, D: Rank, F: ElementFunction<(D::Pattern,), T>>(
    from: &mut BlobReader<'_>,
) -> Outcome {
    let job = Job::read(from)?;
    let function = F::read(from)?;
    let ranges = job.parts.layout.ranges(job.piece);
    let n = extents(&ranges).iter().product();
    let elements = parallel::make(n, |range, slots| {
        let rows = Rows::<D>::new(&ranges, range);
        function.fill_rows(rows.map(|row| row.map(|index| (index.into_pattern(),))), slots);
    });
    job.keep_elements::<T, D>(elements);
    nothing()
}

fn random<T: Element, D: Rank, S: Distribution<T> + Standard>(
    from: &mut BlobReader<'_>,
) -> Outcome {
    let job = Job::read(from)?;
    let seed: u64 = read(from)?;
    let (ranges, shape) = (job.parts.layout.ranges(job.piece), job.parts.layout.shape());
    let n = extents(&ranges).iter().product();
    let elements = parallel::make(n, |range, slots| {
        for row in Rows::<D>::new(&ranges, range) {
            slots.extend(row.map(|index| {
                let number = super::layout::ravel(index.slice(), &shape);
                S::DEFAULT.sample(&mut ElementRandom::new(seed, number as u64))
            }));
        }
    });
    job.keep_elements::<T, D>(elements);
    nothing()
}

/// A distribution without parameters.
pub(super) trait Standard: Copy + Send + Sync + 'static {
    const DEFAULT: Self;
}

impl Standard for StandardUniform {
    const DEFAULT: StandardUniform = StandardUniform;
}

impl Standard for StandardNormal {
    const DEFAULT: StandardNormal = StandardNormal;
}

/// The random numbers of one element: SplitMix64, started at a hash of seed and element, so that
/// every process makes the same without the others.
pub(super) struct ElementRandom(u64);

/// SplitMix64's step.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// SplitMix64's mixing function.
fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

impl ElementRandom {
    #[inline]
    pub(super) fn new(seed: u64, element: u64) -> ElementRandom {
        // Mixed, so that the streams of neighbours are not one stream, shifted.
        ElementRandom(mix(seed ^ mix(element.wrapping_add(STEP))))
    }
}

impl RngCore for ElementRandom {
    #[inline]
    fn next_u32(&mut self) -> u32 {
        (self.next_u64() >> 32) as u32
    }

    #[inline]
    fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mix(self.0)
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        for part in bytes.chunks_mut(8) {
            part.copy_from_slice(&self.next_u64().to_le_bytes()[..part.len()]);
        }
    }
}

/// The indices of a block's elements in row-major order, of those with the numbers in a range, by
/// rows: in a loop over one of them the compiler sees that all dimensions but the last stay as they
/// are, and computes what depends on those alone once.
pub(super) struct Rows<'a, D> {
    ranges: &'a [Range<usize>],
    next: D,
    left: usize,
}

impl<'a, D: Rank> Rows<'a, D> {
    pub(super) fn new(ranges: &'a [Range<usize>], numbers: Range<usize>) -> Rows<'a, D> {
        let first = if numbers.is_empty() {
            vec![0; ranges.len()]
        } else {
            unravel(numbers.start, &extents(ranges))
        };
        let mut next = D::zeros(ranges.len());
        for (dimension, at) in first.into_iter().enumerate() {
            next[dimension] = ranges[dimension].start + at;
        }
        Rows { ranges, next, left: numbers.len() }
    }
}

impl<D: Rank> Iterator for Rows<'_, D> {
    type Item = Row<D>;

    fn next(&mut self) -> Option<Row<D>> {
        if self.left == 0 {
            return None;
        }
        let Some((last, outer)) = self.ranges.split_last() else {
            self.left = 0;
            return Some(Row { index: self.next.clone(), along: 0..1 });
        };
        let index = self.next.clone();
        let start = index[outer.len()];
        let along = start..last.end.min(start + self.left);
        self.left -= along.len();
        self.next[outer.len()] = last.start;
        for (dimension, range) in outer.iter().enumerate().rev() {
            self.next[dimension] += 1;
            if self.next[dimension] < range.end {
                break;
            }
            self.next[dimension] = range.start;
        }
        Some(Row { index, along })
    }
}

/// The indices of elements beside each other, which differ in the last dimension.
pub(super) struct Row<D> {
    index: D,
    along: Range<usize>,
}

impl<D: Rank> Iterator for Row<D> {
    type Item = D;

    #[inline]
    fn next(&mut self) -> Option<D> {
        let at = self.along.next()?;
        let mut index = self.index.clone();
        if let Some(last) = index.slice_mut().last_mut() {
            *last = at;
        }
        Some(index)
    }
}

fn random_array<T: Element, D: Rank>(
    dims: &Dims<D>,
    place: &Location<'_>,
    code: crate::distributed::function::Trampoline,
) -> Result<DArray<T, D>, ArrayError> {
    let seed = dims.seed.unwrap_or_else(rand::random);
    let made = Shared::make(dims.resolve()?, &[], place, code, &mut |_, to| to.write(&seed));
    made.map(DArray::of)
}

impl<T: Element, D: Rank> DArray<T, D> {
    /// An array of zeros; otherwise as [`dzeros`].
    ///
    /// # Panics
    /// As [`dzeros`].
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// assert_eq!(DArray::<i32, _>::zeros(5).sum(), 0);
    /// ```
    #[track_caller]
    #[must_use]
    pub fn zeros(dims: impl IntoDims<Rank = D>) -> DArray<T, D>
    where
        T: Zero,
    {
        DArray::filled(T::zero(), dims)
    }

    /// An array of ones; otherwise as [`dzeros`].
    ///
    /// # Panics
    /// As [`dzeros`].
    #[track_caller]
    #[must_use]
    pub fn ones(dims: impl IntoDims<Rank = D>) -> DArray<T, D>
    where
        T: One,
    {
        DArray::filled(T::one(), dims)
    }

    /// An array of clones of a value; otherwise as [`dzeros`].
    ///
    /// # Panics
    /// As [`dzeros`]; if the value cannot be sent.
    #[track_caller]
    #[must_use]
    pub fn filled(value: T, dims: impl IntoDims<Rank = D>) -> DArray<T, D> {
        DArray::try_filled(value, dims).or_raise()
    }

    /// As [`DArray::filled`].
    ///
    /// # Errors
    /// [`ArrayError::Layout`] if there is no such layout; [`ArrayError::Remote`] if there is no such
    /// process, or if it cannot make its piece.
    #[track_caller]
    pub fn try_filled(value: T, dims: impl IntoDims<Rank = D>) -> Result<DArray<T, D>, ArrayError> {
        let (layout, place) = (dims.into_dims().resolve()?, Location::caller());
        let code = code(filled::<T, D>);
        Shared::make(layout, &[], place, code, &mut |_, to| to.write(&value)).map(DArray::of)
    }

    /// An array of random values of the type's standard distribution; otherwise as [`drand`].
    ///
    /// # Panics
    /// As [`dzeros`].
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let a = DArray::<u8, _>::random(dims(1000).seed(1));
    /// assert!(a.any(|x: u8| x > 200));
    /// ```
    #[track_caller]
    #[must_use]
    pub fn random(dims: impl IntoDims<Rank = D>) -> DArray<T, D>
    where
        StandardUniform: Distribution<T>,
    {
        let code = code(random::<T, D, StandardUniform>);
        random_array(&dims.into_dims(), Location::caller(), code).or_raise()
    }

    /// An array whose elements a function makes of their indices: a number, or a tuple of numbers.
    /// Blocks until all owners have made their pieces, each with its threads; the function is called
    /// in any order. Costs one message to each owner and one back.
    ///
    /// # Panics
    /// As [`dzeros`], and with what the function panics with.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let n = 10;
    /// let a = DArray::from_fn((n, n), remote!(|(i, j): (usize, usize)| i * n + j));
    /// assert_eq!(a.get([3, 4]), 34);
    /// ```
    ///
    /// # Source
    /// `@DArray [f(i, j) for i = 1:n, j = 1:m]`, DistributedArrays.jl.
    #[track_caller]
    #[must_use]
    pub fn from_fn<F: ElementFunction<(D::Pattern,), T>>(
        dims: impl IntoDims<Rank = D>,
        function: F,
    ) -> DArray<T, D> {
        DArray::try_from_fn(dims, function).or_raise()
    }

    /// As [`DArray::from_fn`].
    ///
    /// # Errors
    /// As [`DArray::try_filled`]; [`ArrayError::Remote`] also if the function panics.
    #[track_caller]
    pub fn try_from_fn<F: ElementFunction<(D::Pattern,), T>>(
        dims: impl IntoDims<Rank = D>,
        function: F,
    ) -> Result<DArray<T, D>, ArrayError> {
        let (layout, place) = (dims.into_dims().resolve()?, Location::caller());
        let code = code(generated::<T, D, F>);
        Shared::make(layout, &[], place, code, &mut |_, to| function.write(to)).map(DArray::of)
    }

    /// An array whose pieces a function makes of their indices, given as a range for each dimension.
    /// The function is called once on each owner. Otherwise as [`DArray::from_fn`].
    ///
    /// A loop over elements is faster if it need not look into the ranges: take their starts out of
    /// them before it, as in `let top = ranges[0].start`.
    ///
    /// # Panics
    /// As [`DArray::from_fn`]; if a piece has another shape than its ranges.
    ///
    /// ```
    /// use parcell::prelude::*;
    /// use std::ops::Range;
    ///
    /// let a = DArray::from_blocks((6, 4), |ranges: Vec<Range<usize>>| {
    ///     ndarray::Array2::from_elem((ranges[0].len(), ranges[1].len()), myid())
    /// });
    /// assert!(a.all(|x: usize| x > 0));
    /// ```
    ///
    /// # Source
    /// `DArray(init, dims, procs, dist)`, DistributedArrays.jl.
    #[track_caller]
    #[must_use]
    pub fn from_blocks<F: ElementFunction<(Vec<Range<usize>>,), Array<T, D>>>(
        dims: impl IntoDims<Rank = D>,
        function: F,
    ) -> DArray<T, D> {
        DArray::try_from_blocks(dims, function).or_raise()
    }

    /// As [`DArray::from_blocks`].
    ///
    /// # Errors
    /// As [`DArray::try_from_fn`]; [`ArrayError::Shapes`] if a piece has another shape than its
    /// ranges.
    #[track_caller]
    pub fn try_from_blocks<F: ElementFunction<(Vec<Range<usize>>,), Array<T, D>>>(
        dims: impl IntoDims<Rank = D>,
        function: F,
    ) -> Result<DArray<T, D>, ArrayError> {
        fn body<T: Element, D: Rank, F: ElementFunction<(Vec<Range<usize>>,), Array<T, D>>>(
            from: &mut BlobReader<'_>,
        ) -> Outcome {
            let job = Job::read(from)?;
            let function = F::read(from)?;
            job.keep(function.once((job.parts.layout.ranges(job.piece),)))?;
            nothing()
        }
        let (layout, place) = (dims.into_dims().resolve()?, Location::caller());
        let code = code(body::<T, D, F>);
        Shared::make(layout, &[], place, code, &mut |_, to| function.write(to)).map(DArray::of)
    }

    /// An array of pieces that workers have computed: `parts` in the order of the grid, last
    /// dimension fastest. The pieces stay where they are and are not copied; they may differ in
    /// size as long as they fit beside each other. Blocks until all calls have ended; costs a
    /// message to each owner and one back.
    ///
    /// # Panics
    /// If the pieces do not fit; with what a call failed with.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let parts = [3, 7].map(|n| spawn_at!(any, ndarray::Array1::from_elem(n, n)));
    /// let a = DArray::from_parts(parts.into(), 2);
    /// assert_eq!((a.len(), a.get([3])), (10, 7));
    /// ```
    ///
    /// # Source
    /// `DArray(refs)`, DistributedArrays.jl.
    #[track_caller]
    #[must_use]
    pub fn from_parts(
        parts: Vec<RemoteFuture<Array<T, D>>>,
        grid: impl IntoDimension<Dim = D>,
    ) -> DArray<T, D> {
        DArray::try_from_parts(parts, grid).or_raise()
    }

    /// As [`DArray::from_parts`].
    ///
    /// # Errors
    /// [`ArrayError::Layout`] if the pieces do not fit; [`ArrayError::Remote`] if a call failed.
    #[track_caller]
    pub fn try_from_parts(
        parts: Vec<RemoteFuture<Array<T, D>>>,
        grid: impl IntoDimension<Dim = D>,
    ) -> Result<DArray<T, D>, ArrayError> {
        fn body<T: Element, D: Rank>(from: &mut BlobReader<'_>) -> Outcome {
            let job = Job::read(from)?;
            let future: RemoteFuture<Array<T, D>> = read(from)?;
            let mut part = future.try_share()?;
            drop(future);
            if !part.is_standard_layout() {
                part = Arc::new(super::parts::in_order(Arc::unwrap_or_clone(part)));
            }
            let shape = part.shape().to_vec();
            job.keep_shared(part);
            Ok(crate::distributed::function::hold(shape))
        }
        let owners: Vec<usize> = parts.iter().map(RemoteFuture::worker).collect();
        // What is not known yet is filled in when the pieces have told their shapes.
        let unknown = Layout::new(&[owners.len()], &owners, &[owners.len().max(1)])?;
        let (place, code) = (Location::caller(), code(body::<T, D>));
        let write = &mut |piece: usize, to: &mut crate::distributed::blob::BlobWriter| {
            to.write(&parts[piece])
        };
        let (shared, answers) = Shared::make_and_tell(unknown, &[], place, code, write)?;
        let shapes: Vec<Vec<usize>> = values(answers)?;
        let layout = Layout::of_parts(&shapes, grid.into_dimension().slice(), owners)?;
        let parts = super::parts::Parts { layout, pieces: shared.parts.pieces.clone() };
        Ok(DArray::of(Shared::of(shared.group.clone(), parts)))
    }

    /// An array of uninitialised use: as large as another and cut alike, filled with a value. Blocks
    /// as [`dfill`] does.
    ///
    /// # Panics
    /// As [`dfill`]; if an owner is gone.
    ///
    /// # Source
    /// `dfill(v, size(d), procs(d))`, `similar(d)`, DistributedArrays.jl.
    #[track_caller]
    #[must_use]
    pub fn filled_like<U: Element>(&self, value: U) -> DArray<U, D> {
        let dims = super::dims::dims(D::from_dimension(&self.dimension()).expect("the same rank"));
        DArray::filled(value, dims.layout(self.layout()))
    }

    /// The extents as ndarray has them.
    pub(crate) fn dimension(&self) -> D {
        let shape = self.shape();
        let mut dimension = D::zeros(shape.len());
        dimension.slice_mut().copy_from_slice(&shape);
        dimension
    }
}

/// Spreads an array over processes, cut by default; each gets only its piece. Blocks until all have
/// them. Costs a message with its piece to each owner, and one back.
///
/// # Panics
/// If a piece cannot be sent.
///
/// ```
/// use parcell::prelude::*;
///
/// let a = ndarray::array![[1, 2], [3, 4]];
/// assert_eq!(distribute(&a).to_array(), a);
/// ```
///
/// # Source
/// `distribute(A)`, DistributedArrays.jl.
#[track_caller]
#[must_use]
pub fn distribute<T: Element, D: Rank>(array: &Array<T, D>) -> DArray<T, D> {
    distribute_over(array, super::dims::dims(array.raw_dim()))
}

/// As [`distribute`], with processes and grid as [`dims`](super::dims()) of the array's shape says.
///
/// # Panics
/// As [`distribute`]; if the shape is another, or there is no such layout or process.
///
/// ```
/// use parcell::prelude::*;
///
/// let a = ndarray::Array2::<f64>::ones((10, 4));
/// let d = distribute_over(&a, dims((10, 4)).procs(&[1]));
/// assert_eq!(d.procs(), [1]);
/// ```
///
/// # Source
/// `distribute(A; procs, dist)`, DistributedArrays.jl.
#[track_caller]
#[must_use]
pub fn distribute_over<T: Element, D: Rank>(array: &Array<T, D>, dims: Dims<D>) -> DArray<T, D> {
    try_distribute_over(array, dims).or_raise()
}

/// As [`distribute`], cut as another array is.
///
/// # Panics
/// As [`distribute`]; if the shapes differ.
///
/// # Source
/// `distribute(A, DA)`, DistributedArrays.jl.
#[track_caller]
#[must_use]
pub fn distribute_like<T: Element, U, D: Rank>(
    array: &Array<T, D>,
    like: &DArray<U, D>,
) -> DArray<T, D> {
    if array.shape() != like.shape() {
        let error = super::error::shapes("distribute_like", array.shape(), &like.shape());
        return Err(error).or_raise();
    }
    distribute_over(array, super::dims::dims(array.raw_dim()).layout(like.layout()))
}

/// As [`distribute_over`].
///
/// # Errors
/// [`ArrayError::Shapes`] if the shape is another; otherwise as [`DArray::try_filled`].
#[track_caller]
pub fn try_distribute_over<T: Element, D: Rank>(
    array: &Array<T, D>,
    dims: Dims<D>,
) -> Result<DArray<T, D>, ArrayError> {
    fn body<T: Element, D: Rank>(from: &mut BlobReader<'_>) -> Outcome {
        let job = Job::read(from)?;
        job.keep_elements::<T, D>(read::<Vec<T>>(from)?);
        nothing()
    }
    let layout = dims.resolve()?;
    if layout.shape() != array.shape() {
        return Err(super::error::shapes("distribute", array.shape(), &layout.shape()));
    }
    let (cuts, code) = (layout.clone(), code(body::<T, D>));
    let write = &mut |piece: usize, to: &mut crate::distributed::blob::BlobWriter| {
        write_block(array.view(), &cuts.ranges(piece), to)
    };
    Shared::make(layout, &[], Location::caller(), code, write).map(DArray::of)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Ix0, IxDyn};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn rows_are_the_indices_in_order(
            shape in prop::collection::vec(1_usize..6, 1..=4),
            cut in (0.0_f64..1.0, 0.0_f64..1.0),
        ) {
            let ranges: Vec<_> = shape.iter().map(|extent| *extent..2 * extent).collect();
            let n: usize = shape.iter().product();
            let at = |part: f64| (part * n as f64) as usize;
            let numbers = at(cut.0.min(cut.1))..at(cut.0.max(cut.1));
            let found = Rows::<IxDyn>::new(&ranges, numbers.clone()).flatten();
            let wanted = numbers.map(|number| {
                let mut index = unravel(number, &shape);
                index.iter_mut().zip(&ranges).for_each(|(at, range)| *at += range.start);
                IxDyn(&index)
            });
            prop_assert!(found.eq(wanted));
        }
    }

    #[test]
    fn without_dimensions_there_is_one_index() {
        assert_eq!(Rows::<Ix0>::new(&[], 0..1).flatten().count(), 1);
    }
}
