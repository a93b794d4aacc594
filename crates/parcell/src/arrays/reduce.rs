//! One value, or one array of a lower rank, of all elements.
//!
//! Each owner reduces its piece with its threads, in chunks whose number depends on the piece's
//! length alone; chunks, and then pieces, are combined in their order. So results are the same from
//! run to run, and those of floats depend on the layout in their last digits.

use std::ops::Range;
use std::panic::Location;

use ndarray::{ArrayView1, Axis, LinalgScalar, RemoveAxis};
use num_traits::FromPrimitive;

use super::block::collect;
use super::darray::DArray;
use super::element::{Element, Rank};
use super::error::{ArrayError, OrRaise};
use super::function::{Apply, ElementFunction};
use super::parallel;
use super::parts::{Job, Parts, Shared, slice};
use super::work::{Outcome, code, nothing, read_number, values, write_number};
use crate::distributed::Portable;
use crate::distributed::blob::{BlobReader, BlobWriter};
use crate::distributed::function::hold;

/// What `map` makes of `n` arguments, given in ranges, combined from the first to the last, with the
/// threads of this process; `None` if there are none.
pub(super) fn map_reduce<A, R: Send, I: Iterator<Item = A>>(
    n: usize,
    arguments: impl Fn(Range<usize>) -> I + Sync,
    map: &impl Apply<A, R>,
    op: &impl Apply<(R, R), R>,
) -> Option<R> {
    let chunks = parallel::parts(n, |range| {
        let mut sofar = None;
        map.each(arguments(range), |next| {
            sofar = Some(match sofar.take() {
                Some(sofar) => op.once((sofar, next)),
                None => next,
            });
        });
        sofar
    });
    chunks.into_iter().flatten().reduce(|a, b| op.once((a, b)))
}

impl<T: Element, D: Rank> DArray<T, D> {
    /// What `op` combines of `init` and what `map` makes of each element. `op` must be associative;
    /// it is applied to neighbours in the order of the pieces. `init` is used once. Each owner computes
    /// with its threads; blocks until all have. Costs a message to each owner and one value back.
    ///
    /// # Panics
    /// With what the functions panic with; if an owner is gone, or the array is closed.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let a = DArray::from_fn(5, |i: usize| i as u64);
    /// let squares = a.map_reduce(|x: u64| x * x, |a: u64, b: u64| a + b, 0);
    /// assert_eq!(squares, 30);
    /// ```
    ///
    /// # Source
    /// `mapreduce(f, op, d; init)`, DistributedArrays.jl.
    #[track_caller]
    #[must_use]
    pub fn map_reduce<R, F, G>(&self, map: F, op: G, init: R) -> R
    where
        R: Element,
        F: ElementFunction<(T,), R>,
        G: ElementFunction<(R, R), R>,
    {
        self.try_map_reduce(map, op, init).or_raise()
    }

    /// As [`DArray::map_reduce`].
    ///
    /// # Errors
    /// [`ArrayError::Remote`] if a function panics, [`ArrayError::Lost`], [`ArrayError::Closed`].
    #[track_caller]
    pub fn try_map_reduce<R, F, G>(&self, map: F, op: G, init: R) -> Result<R, ArrayError>
    where
        R: Element,
        F: ElementFunction<(T,), R>,
        G: ElementFunction<(R, R), R>,
    {
        fn body<T, D, R, F, G>(from: &mut BlobReader<'_>) -> Outcome
        where
            T: Element,
            D: Rank,
            R: Element,
            F: ElementFunction<(T,), R>,
            G: ElementFunction<(R, R), R>,
        {
            let job = Job::read(from)?;
            let (map, op) = (F::read(from)?, G::read(from)?);
            let piece = job.share::<T, D>()?;
            let own = slice(&piece);
            let arguments = |range: Range<usize>| own[range].iter().map(|x| (x.clone(),));
            Ok(hold(map_reduce(own.len(), arguments, &map, &op)))
        }
        let write = &mut |_, to: &mut BlobWriter| map.write(to).and_then(|()| op.write(to));
        let code = code(body::<T, D, R, F, G>);
        self.open()?;
        let answers = self.shared().each(&[], Location::caller(), code, write)?;
        let here = op.here()?;
        let pieces = values::<Option<R>>(answers)?.into_iter().flatten();
        Ok(pieces.fold(init, |a, b| here.once((a, b))))
    }

    /// The sum; zero if there are no elements. Otherwise as [`DArray::map_reduce`].
    ///
    /// # Panics
    /// If an owner is gone, or the array is closed.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// assert_eq!(dones((10, 10)).sum(), 100.0);
    /// ```
    ///
    /// # Source
    /// `sum(d)`, DistributedArrays.jl.
    #[track_caller]
    #[must_use]
    pub fn sum(&self) -> T
    where
        T: LinalgScalar,
    {
        self.try_sum().or_raise()
    }

    /// As [`DArray::sum`].
    ///
    /// # Errors
    /// [`ArrayError::Lost`], [`ArrayError::Closed`].
    #[track_caller]
    pub fn try_sum(&self) -> Result<T, ArrayError>
    where
        T: LinalgScalar,
    {
        let pieces = reduced(self, |own: &[T]| {
            let sums = parallel::parts(own.len(), |range| ArrayView1::from(&own[range]).sum());
            sums.into_iter().fold(T::zero(), |a, b| a + b)
        })?;
        Ok(pieces.into_iter().fold(T::zero(), |a, b| a + b))
    }

    /// The product; one if there are no elements. Otherwise as [`DArray::sum`].
    ///
    /// # Panics
    /// As [`DArray::sum`].
    ///
    /// # Source
    /// `prod(d)`, DistributedArrays.jl.
    #[track_caller]
    #[must_use]
    pub fn product(&self) -> T
    where
        T: LinalgScalar,
    {
        let pieces = reduced(self, |own: &[T]| {
            let products =
                parallel::parts(own.len(), |range| ArrayView1::from(&own[range]).product());
            products.into_iter().fold(T::one(), |a, b| a * b)
        });
        pieces.or_raise().into_iter().fold(T::one(), |a, b| a * b)
    }

    /// The mean of the elements; `None` if there are none. Otherwise as [`DArray::sum`].
    ///
    /// # Panics
    /// As [`DArray::sum`].
    ///
    /// # Source
    /// `mean(d)`, DistributedArrays.jl.
    #[track_caller]
    #[must_use]
    pub fn mean(&self) -> Option<T>
    where
        T: LinalgScalar + FromPrimitive,
    {
        let sum = self.sum();
        if self.is_empty() { None } else { Some(sum / T::from_usize(self.len())?) }
    }

    /// The least element; `None` if there are none, NaN if there is one. Otherwise as
    /// [`DArray::sum`].
    ///
    /// # Panics
    /// As [`DArray::sum`].
    ///
    /// # Source
    /// `minimum(d)`, DistributedArrays.jl.
    #[track_caller]
    #[must_use]
    pub fn min(&self) -> Option<T>
    where
        T: PartialOrd,
    {
        self.extrema().map(|(least, _)| least)
    }

    /// The greatest element; `None` if there are none, NaN if there is one. Otherwise as
    /// [`DArray::sum`].
    ///
    /// # Panics
    /// As [`DArray::sum`].
    ///
    /// # Source
    /// `maximum(d)`, DistributedArrays.jl.
    #[track_caller]
    #[must_use]
    pub fn max(&self) -> Option<T>
    where
        T: PartialOrd,
    {
        self.extrema().map(|(_, greatest)| greatest)
    }

    /// The least and the greatest element; `None` if there are none, twice the first NaN if there is
    /// one. Otherwise as [`DArray::sum`].
    ///
    /// # Panics
    /// As [`DArray::sum`].
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let a = distribute(&ndarray::array![3, 1, 2]);
    /// assert_eq!(a.extrema(), Some((1, 3)));
    /// ```
    ///
    /// # Source
    /// `extrema(d)`, DistributedArrays.jl.
    #[track_caller]
    #[must_use]
    pub fn extrema(&self) -> Option<(T, T)>
    where
        T: PartialOrd,
    {
        let pieces = reduced(self, |own: &[T]| {
            let chunks = parallel::parts(own.len(), |range| extrema_of(&own[range]));
            chunks.into_iter().flatten().reduce(wider)
        });
        pieces.or_raise().into_iter().flatten().reduce(wider)
    }

    /// Whether `f` holds for some element; all are looked at. Otherwise as [`DArray::map_reduce`].
    ///
    /// # Panics
    /// As [`DArray::map_reduce`].
    ///
    /// # Source
    /// `any(f, d)`, DistributedArrays.jl.
    #[track_caller]
    #[must_use]
    pub fn any<F: ElementFunction<(T,), bool>>(&self, f: F) -> bool {
        self.map_reduce(f, |a: bool, b: bool| a | b, false)
    }

    /// Whether `f` holds for all elements; all are looked at. Otherwise as [`DArray::map_reduce`].
    ///
    /// # Panics
    /// As [`DArray::map_reduce`].
    ///
    /// # Source
    /// `all(f, d)`, DistributedArrays.jl.
    #[track_caller]
    #[must_use]
    pub fn all<F: ElementFunction<(T,), bool>>(&self, f: F) -> bool {
        self.map_reduce(f, |a: bool, b: bool| a & b, true)
    }

    /// For how many elements `f` holds. Otherwise as [`DArray::map_reduce`].
    ///
    /// # Panics
    /// As [`DArray::map_reduce`].
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let a = DArray::from_fn(10, |i: usize| i);
    /// assert_eq!(a.count(|i: usize| i % 3 == 0), 4);
    /// ```
    ///
    /// # Source
    /// `count(f, d)`, DistributedArrays.jl.
    #[track_caller]
    #[must_use]
    pub fn count<F: ElementFunction<(T,), bool>>(&self, f: F) -> usize {
        fn body<T: Element, D: Rank, F: ElementFunction<(T,), bool>>(
            from: &mut BlobReader<'_>,
        ) -> Outcome {
            let (job, f) = (Job::read(from)?, F::read(from)?);
            let piece = job.share::<T, D>()?;
            let own = slice(&piece);
            let counts = parallel::parts(own.len(), |range| {
                let mut count = 0;
                let arguments = own[range].iter().map(|x| (x.clone(),));
                f.each(arguments, |holds| count += usize::from(holds));
                count
            });
            Ok(hold(counts.into_iter().sum::<usize>()))
        }
        let (place, code) = (Location::caller(), code(body::<T, D, F>));
        let counts = self.open().and_then(|_| {
            values::<usize>(self.shared().each(&[], place, code, &mut |_, to| f.write(to))?)
        });
        counts.or_raise().into_iter().sum()
    }
}

impl<T: Element, D: Rank + RemoveAxis> DArray<T, D>
where
    D::Smaller: Rank,
{
    /// What `op` combines along an axis: an array without that axis, each of whose pieces is where the
    /// first of those along the axis was. `op` must be associative. Blocks until all is done. Costs a
    /// message to each owner and one back, and, if the axis is cut, the same again and the partial
    /// results once.
    ///
    /// # Panics
    /// If there is no such axis, or if the axis has no elements; otherwise as [`DArray::map_reduce`].
    ///
    /// ```
    /// use parcell::ndarray::Axis;
    /// use parcell::prelude::*;
    ///
    /// let a = DArray::from_fn((3, 2), |(i, j): (usize, usize)| 10 * i + j);
    /// let longest = a.reduce_axis(Axis(0), |a: usize, b: usize| a.max(b));
    /// assert_eq!(longest.to_array(), ndarray::array![20, 21]);
    /// ```
    ///
    /// # Source
    /// `reduce(op, d, dims=k)`, DistributedArrays.jl.
    #[track_caller]
    #[must_use]
    pub fn reduce_axis<G: ElementFunction<(T, T), T>>(
        &self,
        axis: Axis,
        op: G,
    ) -> DArray<T, D::Smaller> {
        self.try_reduce_axis(axis, op).or_raise()
    }

    /// As [`DArray::reduce_axis`].
    ///
    /// # Errors
    /// [`ArrayError::Refused`] if there is no such axis, or if it has no elements; otherwise as
    /// [`DArray::try_map_reduce`].
    #[track_caller]
    pub fn try_reduce_axis<G: ElementFunction<(T, T), T>>(
        &self,
        axis: Axis,
        op: G,
    ) -> Result<DArray<T, D::Smaller>, ArrayError> {
        let place = Location::caller();
        check_axis(self.open()?, axis)?;
        let grid = self.layout().grid()[axis.index()];
        let partial = thin(self, axis, &op, place)?;
        joined(&partial, axis, &op, place, grid)
    }

    /// The sum along an axis, otherwise as [`DArray::reduce_axis`].
    ///
    /// # Panics
    /// As [`DArray::reduce_axis`].
    ///
    /// ```
    /// use parcell::ndarray::Axis;
    /// use parcell::prelude::*;
    ///
    /// assert_eq!(dones((3, 4)).sum_axis(Axis(1)).to_array(), ndarray::array![4.0, 4.0, 4.0]);
    /// ```
    ///
    /// # Source
    /// `sum(d, dims=k)`, DistributedArrays.jl.
    #[track_caller]
    #[must_use]
    pub fn sum_axis(&self, axis: Axis) -> DArray<T, D::Smaller>
    where
        T: LinalgScalar,
    {
        self.reduce_axis(axis, |a: T, b: T| a + b)
    }

    /// The product along an axis, otherwise as [`DArray::reduce_axis`].
    ///
    /// # Panics
    /// As [`DArray::reduce_axis`].
    ///
    /// # Source
    /// `prod(d, dims=k)`, DistributedArrays.jl.
    #[track_caller]
    #[must_use]
    pub fn product_axis(&self, axis: Axis) -> DArray<T, D::Smaller>
    where
        T: LinalgScalar,
    {
        self.reduce_axis(axis, |a: T, b: T| a * b)
    }

    /// The mean along an axis, otherwise as [`DArray::reduce_axis`].
    ///
    /// # Panics
    /// As [`DArray::reduce_axis`].
    ///
    /// # Source
    /// `mean(d, dims=k)`, DistributedArrays.jl.
    #[track_caller]
    #[must_use]
    pub fn mean_axis(&self, axis: Axis) -> DArray<T, D::Smaller>
    where
        T: LinalgScalar + FromPrimitive,
    {
        let sums = self.sum_axis(axis);
        let n = T::from_usize(self.shape()[axis.index()]).expect("a type that can count so far");
        &sums / n
    }

    /// The least along an axis, NaN where there is one; otherwise as [`DArray::reduce_axis`].
    ///
    /// # Panics
    /// As [`DArray::reduce_axis`].
    ///
    /// # Source
    /// `minimum(d, dims=k)`, DistributedArrays.jl.
    #[track_caller]
    #[must_use]
    pub fn min_axis(&self, axis: Axis) -> DArray<T, D::Smaller>
    where
        T: PartialOrd,
    {
        self.reduce_axis(axis, |a: T, b: T| if is_nan(&a) || a <= b { a } else { b })
    }

    /// The greatest along an axis, NaN where there is one; otherwise as [`DArray::reduce_axis`].
    ///
    /// # Panics
    /// As [`DArray::reduce_axis`].
    ///
    /// # Source
    /// `maximum(d, dims=k)`, DistributedArrays.jl.
    #[track_caller]
    #[must_use]
    pub fn max_axis(&self, axis: Axis) -> DArray<T, D::Smaller>
    where
        T: PartialOrd,
    {
        self.reduce_axis(axis, |a: T, b: T| if is_nan(&a) || a >= b { a } else { b })
    }
}

/// Not equal to itself.
#[expect(clippy::eq_op, reason = "that is how NaN is known among types with an order")]
fn is_nan<T: PartialOrd>(x: &T) -> bool {
    x != x
}

/// The least and the greatest of a slice; twice the first NaN if there is one.
fn extrema_of<T: PartialOrd + Clone>(elements: &[T]) -> Option<(T, T)> {
    let first = elements.first()?;
    let (mut least, mut greatest) = (first, first);
    for x in elements {
        // Most elements come to this line; NaN is neither.
        if least <= x && x <= greatest {
            continue;
        }
        if is_nan(x) {
            return Some((x.clone(), x.clone()));
        }
        if x < least {
            least = x;
        } else {
            greatest = x;
        }
    }
    Some((least.clone(), greatest.clone()))
}

fn wider<T: PartialOrd>(a: (T, T), b: (T, T)) -> (T, T) {
    if is_nan(&a.0) {
        return a;
    }
    if is_nan(&b.0) {
        return b;
    }
    (if b.0 < a.0 { b.0 } else { a.0 }, if b.1 > a.1 { b.1 } else { a.1 })
}

/// What a closure without captures makes of each piece, in the order of the pieces.
#[track_caller]
pub(crate) fn reduced<T, D, R, F>(array: &DArray<T, D>, _: F) -> Result<Vec<R>, ArrayError>
where
    T: Element,
    D: Rank,
    R: Portable,
    F: Fn(&[T]) -> R + Copy + Send + Sync + 'static,
{
    fn body<T: Element, D: Rank, R: Portable, F: Fn(&[T]) -> R + Copy>(
        from: &mut BlobReader<'_>,
    ) -> Outcome {
        let f = crate::distributed::capture::conjure::<F>();
        Ok(hold(f(slice(&*Job::read(from)?.share::<T, D>()?))))
    }
    let (place, code) = (Location::caller(), code(body::<T, D, R, F>));
    array.open()?;
    values(array.shared().each(&[], place, code, &mut |_, _| Ok(()))?)
}

pub(crate) fn check_axis(parts: &Parts, axis: Axis) -> Result<(), ArrayError> {
    let shape = parts.layout.shape();
    let refused = |what| Err(ArrayError::Refused { what });
    match shape.get(axis.index()) {
        None => refused(format!(
            "axis {} of an array of rank {}: axes are counted from 0",
            axis.index(),
            shape.len()
        )),
        Some(0) if !shape.is_empty() => {
            refused(format!("{}: axis {} has no elements to combine", parts.name(), axis.index()))
        }
        Some(_) => Ok(()),
    }
}

/// Each piece, reduced to a single element along the axis.
fn thin<T: Element, D: Rank, G: ElementFunction<(T, T), T>>(
    array: &DArray<T, D>,
    axis: Axis,
    op: &G,
    place: &Location<'_>,
) -> Result<DArray<T, D>, ArrayError> {
    fn body<T: Element, D: Rank, G: ElementFunction<(T, T), T>>(
        from: &mut BlobReader<'_>,
    ) -> Outcome {
        let (job, source) = (Job::read(from)?, Parts::read(from)?);
        let axis = read_number(from)?;
        let op = G::read(from)?;
        let piece = source.share::<T, D>(job.piece)?;
        let reduced = along(slice(&piece), piece.shape(), axis, &|a, b| op.once((a, b)));
        job.keep_elements::<T, D>(reduced);
        nothing()
    }
    let layout = array.layout();
    let chunks = layout.grid()[axis.index()];
    let thin = layout.recut(axis.index(), (0..=chunks).collect());
    let parts = array.open()?;
    let write = &mut |_, to: &mut BlobWriter| {
        parts.write(to)?;
        write_number(to, axis.index())?;
        op.write(to)
    };
    Shared::make(thin, &[parts], place, code(body::<T, D, G>), write).map(DArray::of)
}

/// Combines what [`thin`] has left of the axis, and removes it.
pub(crate) fn joined<T, D, G>(
    partial: &DArray<T, D>,
    axis: Axis,
    op: &G,
    place: &Location<'_>,
    chunks: usize,
) -> Result<DArray<T, D::Smaller>, ArrayError>
where
    T: Element,
    D: Rank + RemoveAxis<Smaller: Rank>,
    G: ElementFunction<(T, T), T>,
{
    fn body<T: Element, D: Rank, E: Rank, G: ElementFunction<(T, T), T>>(
        from: &mut BlobReader<'_>,
    ) -> Outcome {
        let (job, source) = (Job::read(from)?, Parts::read(from)?);
        let (axis, chunks) = (read_number(from)?, read_number(from)?);
        let op = G::read(from)?;
        let mut ranges = job.parts.layout.ranges(job.piece);
        ranges.insert(axis, 0..chunks);
        let block = collect::<T, D>(&source, &ranges, Location::caller())?;
        let reduced = along(block.elements(), block.shape(), axis, &|a, b| op.once((a, b)));
        job.keep_elements::<T, E>(reduced);
        nothing()
    }
    let parts = partial.open()?;
    let write = &mut |_, to: &mut BlobWriter| {
        parts.write(to)?;
        write_number(to, axis.index())?;
        write_number(to, chunks)?;
        op.write(to)
    };
    let layout = parts.layout.without(axis.index());
    let code = code(body::<T, D, D::Smaller, G>);
    Shared::make(layout, &[parts], place, code, write).map(DArray::of)
}

/// Combines along an axis the elements of an array in row-major order, from the first on.
fn along<T: Element>(
    elements: &[T],
    shape: &[usize],
    axis: usize,
    op: &(impl Fn(T, T) -> T + Sync),
) -> Vec<T> {
    let (extent, inner) = (shape[axis], shape[axis + 1..].iter().product::<usize>());
    let outer: usize = shape[..axis].iter().product();
    parallel::make(outer * inner, |range, slots| {
        let mut next = range.start;
        while next < range.end {
            // Elements beside each other whose lanes begin beside each other.
            let (block, first) = (next / inner, next % inner);
            let count = (inner - first).min(range.end - next);
            let start = block * extent * inner + first;
            if inner == 1 {
                let lane = elements[start..start + extent].iter().cloned();
                slots.extend(lane.reduce(op).into_iter());
            } else {
                let mut sofar: Vec<T> = elements[start..start + count].to_vec();
                for k in 1..extent {
                    let row = &elements[start + k * inner..start + k * inner + count];
                    for (a, b) in sofar.iter_mut().zip(row) {
                        *a = op(a.clone(), b.clone());
                    }
                }
                slots.extend(sofar.into_iter());
            }
            next += count;
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{ArrayD, IxDyn};

    #[test]
    fn lanes_are_reduced_along_any_axis() {
        for shape in [vec![4, 3, 5], vec![1, 7], vec![100, 200], vec![6]] {
            let n: usize = shape.iter().product();
            let elements: Vec<u64> = (0..n as u64).collect();
            let array = ArrayD::from_shape_vec(IxDyn(&shape), elements.clone()).unwrap();
            for axis in 0..shape.len() {
                let wanted = array.sum_axis(Axis(axis)).into_raw_vec_and_offset().0;
                assert_eq!(
                    along(&elements, &shape, axis, &|a, b| a + b),
                    wanted,
                    "{shape:?}, {axis}"
                );
            }
        }
    }

    #[test]
    fn nan_is_extreme() {
        assert_eq!(extrema_of(&[2.0, 1.0, 3.0]), Some((1.0, 3.0)));
        let (a, b) = extrema_of(&[2.0, f64::NAN, 3.0]).unwrap();
        assert!(a.is_nan() && b.is_nan());
        assert!(extrema_of(&[f64::NAN, 1.0]).unwrap().0.is_nan());
        assert_eq!(extrema_of::<i32>(&[]), None);
    }
}
