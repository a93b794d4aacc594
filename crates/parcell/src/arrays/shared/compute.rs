//! What the processes of an array do with its elements: each with its part, with its threads. How a
//! part is cut depends on its length alone, so results are the same from run to run, and those of
//! floats depend on the number of processes in their last digits.

use std::ops::{Add, Range};
use std::panic::Location;

use num_traits::Zero;
use rand::distr::{Distribution, StandardUniform};
use rand_distr::StandardNormal;

use super::array::SharedArray;
use super::cell::{Plain, SharedCell, fill};
use super::error::SharedError;
use super::members::Job;
use crate::arrays::construct::{ElementRandom, Standard};
use crate::arrays::error::OrRaise;
use crate::arrays::function::Apply as _;
use crate::arrays::reduce::map_reduce;
use crate::arrays::work::{Outcome, nothing, read, values};
use crate::arrays::{Element, ElementFunction, Rank, parallel};
use crate::distributed::Portable;
use crate::distributed::blob::{BlobReader, BlobWriter};
use crate::distributed::function::hold;

const READ_ONLY: &str = "copy it by `deep_copy` to change the copy";

impl<T: Plain, D: Rank> SharedArray<T, D> {
    /// Overwrites all elements with a value. Each process fills its part, with its threads; blocks
    /// until all have. One process calls it. Costs a message to each process and one back.
    ///
    /// # Panics
    /// If a process is gone, or the array can only be read.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let s = SharedVector::<f64>::zeros(10);
    /// s.fill(2.5);
    /// assert_eq!(s.sum(), 25.0);
    /// ```
    ///
    /// # Source
    /// `fill!(S, v)`, Julia's SharedArrays.
    #[track_caller]
    pub fn fill(&self, value: T) {
        self.try_fill(value).or_raise();
    }

    /// As [`SharedArray::fill`].
    ///
    /// # Errors
    /// [`SharedError::Array`] if a process is gone, [`SharedError::ReadOnly`].
    #[track_caller]
    pub fn try_fill(&self, value: T) -> Result<(), SharedError> {
        fn body<T: Plain>(from: &mut BlobReader<'_>) -> Outcome {
            let (job, mapping) = Job::read(from)?;
            let bytes: Vec<u8> = read(from)?;
            let (cells, value) = (job.cells::<T>(&mapping), bytemuck::pod_read_unaligned(&bytes));
            parallel::parts(cells.len(), |range| {
                fill(&cells[range], value);
            });
            nothing()
        }
        self.shared().check_writable(READ_ONLY)?;
        let bytes = bytemuck::bytes_of(&value).to_vec();
        let write = |to: &mut BlobWriter| to.write(&bytes);
        self.shared().each(self.len(), Location::caller(), body::<T>, &write).map(drop)
    }

    /// Overwrites all elements with random values of the type's standard distribution: floats
    /// uniform in `0.0..1.0`, integers uniform over all of them. The same seed and shape give the
    /// same values, however many processes there are. Otherwise as [`SharedArray::fill`].
    ///
    /// # Panics
    /// As [`SharedArray::fill`].
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let (a, b) = (SharedVector::<f64>::zeros(100), SharedVector::<f64>::zeros(100));
    /// a.rand(42);
    /// b.rand(42);
    /// assert_eq!(a.to_array(), b.to_array());
    /// ```
    ///
    /// # Source
    /// `rand!(S)`, Julia's SharedArrays.
    #[track_caller]
    pub fn rand(&self, seed: u64)
    where
        StandardUniform: Distribution<T>,
    {
        self.sample(seed, random::<T, StandardUniform>).or_raise();
    }

    /// Overwrites all elements with random numbers of the standard normal distribution; otherwise
    /// as [`SharedArray::rand`].
    ///
    /// # Panics
    /// As [`SharedArray::fill`].
    ///
    /// # Source
    /// `randn!(S)`, Julia's SharedArrays.
    #[track_caller]
    pub fn randn(&self, seed: u64)
    where
        StandardNormal: Distribution<T>,
    {
        self.sample(seed, random::<T, StandardNormal>).or_raise();
    }

    #[track_caller]
    fn sample(&self, seed: u64, body: impl crate::arrays::work::Body) -> Result<(), SharedError> {
        self.shared().check_writable(READ_ONLY)?;
        let write = |to: &mut BlobWriter| to.write(&seed);
        self.shared().each(self.len(), Location::caller(), body, &write).map(drop)
    }

    /// Overwrites each element with what `f` makes of the element of another array at the same
    /// place, which may be this array. Computed by the processes of this array; the other may have
    /// others. Otherwise as [`SharedArray::fill`]. If `f` panics, some elements are overwritten and
    /// others not.
    ///
    /// # Panics
    /// As [`SharedArray::fill`]; if the shapes differ; with what `f` panics with.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let a = SharedArray::from_fn(5, |i: usize| i as f64);
    /// let b = SharedVector::<f64>::zeros(5);
    /// b.map_from(|x: f64| x * x, &a);
    /// assert_eq!(b.get(4), 16.0);
    /// let factor = 0.5;
    /// b.map_from(remote!(|x: f64| x * factor), &b);
    /// assert_eq!(b.get(4), 8.0);
    /// ```
    ///
    /// # Source
    /// `map!(f, S, A)`, Julia's SharedArrays, which wants both arrays on the same processes.
    #[track_caller]
    pub fn map_from<U: Plain, F: ElementFunction<(U,), T>>(
        &self,
        f: F,
        source: &SharedArray<U, D>,
    ) {
        self.try_map_from(f, source).or_raise();
    }

    /// As [`SharedArray::map_from`].
    ///
    /// # Errors
    /// [`SharedError::Shapes`], [`SharedError::ReadOnly`]; [`SharedError::Array`] if `f` panics or
    /// a process is gone.
    #[track_caller]
    pub fn try_map_from<U: Plain, F: ElementFunction<(U,), T>>(
        &self,
        f: F,
        source: &SharedArray<U, D>,
    ) -> Result<(), SharedError> {
        fn body<T: Plain, U: Plain, D: Rank, F: ElementFunction<(U,), T>>(
            from: &mut BlobReader<'_>,
        ) -> Outcome {
            let (job, mapping) = Job::read(from)?;
            let (source, f): (SharedArray<U, D>, _) = (read(from)?, F::read(from)?);
            let (cells, old) = (job.cells::<T>(&mapping), &source.every()?[job.range()]);
            parallel::parts(cells.len(), |range| {
                let mut places = cells[range.clone()].iter();
                f.each(old[range].iter().map(|x| (x.get(),)), |value| {
                    places.next().expect("a value for each element").set(value);
                });
            });
            nothing()
        }
        self.shared().check_writable(READ_ONLY)?;
        if self.dim() != source.dim() {
            return Err(SharedError::shapes("map_from", &self.shape(), &source.shape()));
        }
        let write = |to: &mut BlobWriter| to.write(source).and_then(|()| f.write(to));
        let (body, place) = (body::<T, U, D, F>, Location::caller());
        self.shared().each(self.len(), place, body, &write).map(drop)
    }

    /// [`SharedArray::map_from`], said from the other side: overwrites each element of `target`
    /// with what `f` makes of the one of this array.
    ///
    /// # Panics
    /// As [`SharedArray::map_from`].
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let a = SharedArray::from_fn(5, |i: usize| i as i32);
    /// let even = SharedVector::<u8>::zeros(5);
    /// a.map_into(|x: i32| u8::from(x % 2 == 0), &even);
    /// assert_eq!(even.to_array().to_vec(), [1, 0, 1, 0, 1]);
    /// ```
    #[track_caller]
    pub fn map_into<R: Plain, F: ElementFunction<(T,), R>>(
        &self,
        f: F,
        target: &SharedArray<R, D>,
    ) {
        target.try_map_from(f, self).or_raise();
    }

    /// Overwrites the elements with those of another array in their order, which may have another
    /// shape. Each process of this array copies its part, with its threads; otherwise as
    /// [`SharedArray::fill`].
    ///
    /// # Panics
    /// As [`SharedArray::fill`]; if the other has another number of elements.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let a = SharedArray::from_fn(6, |i: usize| i as f32);
    /// let b = SharedMatrix::<f32>::zeros((2, 3));
    /// b.copy_from(&a);
    /// assert_eq!(b.get([1, 0]), 3.0);
    /// ```
    ///
    /// # Source
    /// `copyto!(S, R)`, Julia's SharedArrays, which wants a process that both share.
    #[track_caller]
    pub fn copy_from<E: Rank>(&self, source: &SharedArray<T, E>) {
        self.try_copy_from(source).or_raise();
    }

    /// As [`SharedArray::copy_from`].
    ///
    /// # Errors
    /// [`SharedError::Shapes`], [`SharedError::ReadOnly`]; [`SharedError::Array`] if a process is
    /// gone.
    #[track_caller]
    pub fn try_copy_from<E: Rank>(&self, source: &SharedArray<T, E>) -> Result<(), SharedError> {
        fn body<T: Plain, E: Rank>(from: &mut BlobReader<'_>) -> Outcome {
            let (job, mapping) = Job::read(from)?;
            let source: SharedArray<T, E> = read(from)?;
            let (cells, old) = (job.cells::<T>(&mapping), &source.every()?[job.range()]);
            parallel::parts(cells.len(), |range| {
                for (cell, value) in cells[range.clone()].iter().zip(&old[range]) {
                    cell.set(value.get());
                }
            });
            nothing()
        }
        self.shared().check_writable(READ_ONLY)?;
        if self.len() != source.len() {
            return Err(SharedError::shapes("copy_from", &self.shape(), &source.shape()));
        }
        let write = |to: &mut BlobWriter| to.write(source);
        let (body, place) = (body::<T, E>, Location::caller());
        self.shared().each(self.len(), place, body, &write).map(drop)
    }

    /// A new array in memory with the same elements, on the same processes, which copy it. Costs
    /// two messages to each and two back.
    ///
    /// # Panics
    /// If there is not so much memory, or a process is gone.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let a = SharedVector::<i32>::zeros(3);
    /// let b = a.deep_copy();
    /// b.fill(1);
    /// assert_eq!((a.sum(), b.sum()), (0, 3));
    /// ```
    ///
    /// # Source
    /// `deepcopy(S)`, Julia's SharedArrays.
    #[track_caller]
    #[must_use]
    pub fn deep_copy(&self) -> SharedArray<T, D> {
        self.try_deep_copy().or_raise()
    }

    /// As [`SharedArray::deep_copy`].
    ///
    /// # Errors
    /// As [`SharedArray::try_zeros`].
    #[track_caller]
    pub fn try_deep_copy(&self) -> Result<SharedArray<T, D>, SharedError> {
        let copy = SharedArray::on(&self.procs()).try_zeros(self.dim().clone())?;
        copy.try_copy_from(self)?;
        Ok(copy)
    }

    /// What `op` combines of `init` and what `map` makes of each element. `op` must be associative;
    /// it is applied to neighbours. `init` is used once. Each process computes with its part and
    /// its threads; blocks until all have. One process calls it. Costs a message to each process
    /// and one value back.
    ///
    /// # Panics
    /// With what the functions panic with; if a process is gone.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let s = SharedArray::from_fn(5, |i: usize| i as u64);
    /// let largest = s.map_reduce(|x: u64| x * x, |a: u64, b: u64| a.max(b), 0);
    /// assert_eq!(largest, 16);
    /// ```
    ///
    /// # Source
    /// `mapreduce(f, op, S)`, Julia's SharedArrays.
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

    /// As [`SharedArray::map_reduce`].
    ///
    /// # Errors
    /// [`SharedError::Array`] if a function panics or a process is gone.
    #[track_caller]
    pub fn try_map_reduce<R, F, G>(&self, map: F, op: G, init: R) -> Result<R, SharedError>
    where
        R: Element,
        F: ElementFunction<(T,), R>,
        G: ElementFunction<(R, R), R>,
    {
        fn body<T, R, F, G>(from: &mut BlobReader<'_>) -> Outcome
        where
            T: Plain,
            R: Element,
            F: ElementFunction<(T,), R>,
            G: ElementFunction<(R, R), R>,
        {
            let (job, mapping) = Job::read(from)?;
            let (map, op) = (F::read(from)?, G::read(from)?);
            let cells = job.cells::<T>(&mapping);
            let arguments = |range: Range<usize>| cells[range].iter().map(|x| (x.get(),));
            Ok(hold(map_reduce(cells.len(), arguments, &map, &op)))
        }
        let write = |to: &mut BlobWriter| map.write(to).and_then(|()| op.write(to));
        let (body, place) = (body::<T, R, F, G>, Location::caller());
        let answers = self.shared().each(self.len(), place, body, &write)?;
        let here = op.here()?;
        let parts = values::<Option<R>>(answers)?.into_iter().flatten();
        Ok(parts.fold(init, |a, b| here.once((a, b))))
    }

    /// The sum; zero if there are no elements. Otherwise as [`SharedArray::map_reduce`].
    ///
    /// # Panics
    /// If a process is gone.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let s = SharedArray::from_fn((10, 10), |(i, _): (usize, usize)| i as f64);
    /// assert_eq!(s.sum(), 450.0);
    /// ```
    ///
    /// # Source
    /// `sum(S)`, Julia's SharedArrays.
    #[track_caller]
    #[must_use]
    pub fn sum(&self) -> T
    where
        T: Add<Output = T> + Zero + Portable,
    {
        self.try_sum().or_raise()
    }

    /// As [`SharedArray::sum`].
    ///
    /// # Errors
    /// [`SharedError::Array`] if a process is gone.
    #[track_caller]
    pub fn try_sum(&self) -> Result<T, SharedError>
    where
        T: Add<Output = T> + Zero + Portable,
    {
        fn body<T: Plain + Add<Output = T> + Zero + Portable>(
            from: &mut BlobReader<'_>,
        ) -> Outcome {
            let (job, mapping) = Job::read(from)?;
            let cells = job.cells::<T>(&mapping);
            let sums = parallel::parts(cells.len(), |range| sum(&cells[range]));
            Ok(hold(sums.into_iter().fold(T::zero(), |a, b| a + b)))
        }
        let (body, place) = (body::<T>, Location::caller());
        let answers = self.shared().each(self.len(), place, body, &|_| Ok(()))?;
        Ok(values::<T>(answers)?.into_iter().fold(T::zero(), |a, b| a + b))
    }
}

/// Several sums side by side, since each addition waits for the one before.
fn sum<T: Plain + Add<Output = T> + Zero>(cells: &[SharedCell<T>]) -> T {
    let mut sums = [T::zero(); 8];
    let eights = cells.chunks_exact(8);
    let rest = eights.remainder();
    for eight in eights {
        for (sum, cell) in sums.iter_mut().zip(eight) {
            *sum = *sum + cell.get();
        }
    }
    let rest = rest.iter().fold(T::zero(), |sum, cell| sum + cell.get());
    sums.into_iter().fold(rest, |a, b| a + b)
}

fn random<T: Plain, S: Distribution<T> + Standard>(from: &mut BlobReader<'_>) -> Outcome {
    let (job, mapping) = Job::read(from)?;
    let seed: u64 = read(from)?;
    let (cells, first) = (job.cells::<T>(&mapping), job.range().start);
    parallel::parts(cells.len(), |range| {
        for (number, cell) in range.clone().zip(&cells[range]) {
            let mut random = ElementRandom::new(seed, (first + number) as u64);
            cell.set(S::DEFAULT.sample(&mut random));
        }
    });
    nothing()
}

#[cfg(test)]
mod tests {
    use crate::arrays::SharedError;
    use crate::prelude::*;
    use ndarray::Array2;

    fn numbers() -> SharedMatrix<f64> {
        SharedArray::from_fn((7, 11), |(i, j): (usize, usize)| (11 * i + j) as f64)
    }

    #[test]
    fn what_processes_compute_is_what_ndarray_computes() {
        let (s, a) = (numbers(), numbers().to_array());
        assert_eq!((s.sum(), s.sdata()), (a.sum(), a.clone()));
        assert_eq!(s.map_reduce(|x: f64| x + 1.0, |x: f64, y: f64| x.max(y), 0.0), 77.0);
        let b = SharedMatrix::<f32>::zeros((7, 11));
        s.map_into(|x: f64| x as f32 / 2.0, &b);
        assert_eq!(b.to_array(), a.mapv(|x| x as f32 / 2.0));
        let copy = s.deep_copy();
        s.fill(-1.0);
        assert_eq!((s.sum(), copy.to_array()), (-77.0, a));
        let empty = SharedMatrix::<i32>::zeros((0, 3));
        empty.fill(1);
        assert_eq!((empty.sum(), empty.map_reduce(|x: i32| x, |x: i32, y: i32| x + y, 5)), (0, 5));
    }

    #[test]
    fn random_numbers_are_those_of_distributed_arrays() {
        let s = SharedMatrix::<f64>::zeros((20, 30));
        s.rand(7);
        assert_eq!(s.to_array(), drand(dims((20, 30)).seed(7)).to_array());
        s.randn(7);
        assert_eq!(s.to_array(), drandn(dims((20, 30)).seed(7)).to_array());
        let bytes = SharedVector::<u8>::zeros(1000);
        bytes.rand(1);
        assert!(bytes.to_array().iter().any(|x| *x > 200));
    }

    #[test]
    fn shapes_that_differ_are_told() {
        let s = numbers();
        let other = SharedMatrix::<f64>::zeros((11, 7));
        let told = s.try_map_from(|x: f64| x, &other).unwrap_err();
        assert_eq!(told.to_string(), "map_from: the shapes 7×11 and 11×7 do not fit");
        s.try_copy_from(&other).unwrap();
        assert_eq!(s.to_array(), Array2::zeros((7, 11)));
        let short = SharedVector::<f64>::zeros(5);
        assert!(matches!(s.try_copy_from(&short), Err(SharedError::Shapes { .. })));
    }

    #[test]
    fn values_of_several_words_are_filled_whole() {
        use num_complex::Complex;
        let s = SharedVector::<Complex<f64>>::zeros(9);
        s.fill(Complex::new(1.0, -2.0));
        assert_eq!(s.sum(), Complex::new(9.0, -18.0));
        let t = SharedVector::<[u16; 3]>::zeros(9);
        t.fill([1, 2, 3]);
        assert_eq!(t.get(8), [1, 2, 3]);
    }
}
