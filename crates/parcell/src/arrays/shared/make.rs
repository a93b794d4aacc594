//! Making arrays in memory.

use std::marker::PhantomData;
use std::panic::Location;
use std::sync::Arc;

use ndarray::{ArrayBase, Data, IntoDimension};

use super::array::SharedArray;
use super::cell::Plain;
use super::error::SharedError;
use super::members::{Job, Shared, chosen};
use super::segment;
use crate::arrays::construct::Rows;
use crate::arrays::error::OrRaise;
use crate::arrays::function::Apply;
use crate::arrays::work::{Outcome, nothing, read};
use crate::arrays::{ElementFunction, Rank, parallel};
use crate::distributed::blob::BlobReader;

/// The processes for an array to be made: what [`SharedArray::on`] gives.
#[derive(Debug, Clone)]
pub struct On<T, D> {
    pub(super) pids: Option<Vec<usize>>,
    array: PhantomData<fn() -> (T, D)>,
}

/// Bytes of an array of this shape.
pub(super) fn bytes<T>(shape: &[usize]) -> Result<usize, SharedError> {
    let sizes = shape.iter().copied().chain([size_of::<T>()]);
    // An array without elements may have any extents, as long as the others can be multiplied.
    let nonzero = sizes.clone().filter(|n| *n > 0).try_fold(1_usize, usize::checked_mul);
    match nonzero.filter(|bytes| isize::try_from(*bytes).is_ok()) {
        Some(_) => Ok(sizes.product()),
        None => Err(SharedError::TooLarge { shape: shape.to_vec(), element: size_of::<T>() }),
    }
}

// `Plain` is asked for by each function, so that a type which is not gets the trait's own advice.
impl<T, D: Rank> SharedArray<T, D> {
    /// Chooses the processes that get parts of the array, in the order of the parts; without this
    /// all workers of this machine, or this process if there are none. The process that makes the
    /// array can always use it.
    ///
    /// ```no_run
    /// use parcell::prelude::*;
    ///
    /// let s = SharedMatrix::<f64>::on(&[2, 3]).zeros((100, 50));
    /// assert_eq!(s.procs(), [2, 3]);
    /// ```
    ///
    /// # Source
    /// The argument `pids` of `SharedArray`, Julia's SharedArrays.
    pub fn on(pids: &[usize]) -> On<T, D>
    where
        T: Plain,
    {
        On { pids: Some(pids.to_vec()), array: PhantomData }
    }

    fn anywhere() -> On<T, D> {
        On { pids: None, array: PhantomData }
    }

    /// An array whose bytes are all zero. Blocks until all processes have mapped it; one process
    /// calls it. Costs a message to each and one back, whatever the size: memory is taken when it
    /// is first written.
    ///
    /// # Panics
    /// If there is not so much memory, or no such process.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let s = SharedMatrix::<f64>::zeros((3, 4));
    /// assert_eq!((s.shape(), s.sum()), (vec![3, 4], 0.0));
    /// ```
    ///
    /// # Source
    /// `SharedArray{T}(dims...)`, Julia's SharedArrays.
    #[track_caller]
    #[must_use]
    pub fn zeros(dims: impl IntoDimension<Dim = D>) -> SharedArray<T, D>
    where
        T: Plain,
    {
        SharedArray::anywhere().try_zeros(dims).or_raise()
    }

    /// As [`SharedArray::zeros`].
    ///
    /// # Errors
    /// [`SharedError::NoRoom`], [`SharedError::TooLarge`]; [`SharedError::Array`] if a process is
    /// gone.
    #[track_caller]
    pub fn try_zeros(dims: impl IntoDimension<Dim = D>) -> Result<SharedArray<T, D>, SharedError>
    where
        T: Plain,
    {
        SharedArray::anywhere().try_zeros(dims)
    }

    /// An array whose elements a function makes of their indices: a number, or a tuple of numbers.
    /// Each process makes its part, with its threads; the function is called in any order. Blocks
    /// until all have. Costs two messages to each process and two back.
    ///
    /// # Panics
    /// As [`SharedArray::zeros`], and with what the function panics with.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let n = 10;
    /// let s = SharedArray::from_fn((n, n), remote!(|(i, j): (usize, usize)| (i * n + j) as u64));
    /// assert_eq!(s.get([3, 4]), 34);
    /// ```
    #[track_caller]
    #[must_use]
    pub fn from_fn<F: ElementFunction<(D::Pattern,), T>>(
        dims: impl IntoDimension<Dim = D>,
        function: F,
    ) -> SharedArray<T, D>
    where
        T: Plain,
    {
        SharedArray::anywhere().try_from_fn(dims, function).or_raise()
    }

    /// As [`SharedArray::from_fn`].
    ///
    /// # Errors
    /// As [`SharedArray::try_zeros`]; [`SharedError::Array`] also if the function panics.
    #[track_caller]
    pub fn try_from_fn<F: ElementFunction<(D::Pattern,), T>>(
        dims: impl IntoDimension<Dim = D>,
        function: F,
    ) -> Result<SharedArray<T, D>, SharedError>
    where
        T: Plain,
    {
        SharedArray::anywhere().try_from_fn(dims, function)
    }

    /// A copy of an array of this process, which copies it with its threads. Otherwise as
    /// [`SharedArray::zeros`].
    ///
    /// # Panics
    /// As [`SharedArray::zeros`].
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let a = ndarray::array![[1.0, 2.0], [3.0, 4.0]];
    /// assert_eq!(SharedArray::from_array(&a).to_array(), a);
    /// ```
    ///
    /// # Source
    /// `SharedArray(A)`, Julia's SharedArrays.
    #[track_caller]
    #[must_use]
    pub fn from_array<S: Data<Elem = T>>(array: &ArrayBase<S, D>) -> SharedArray<T, D>
    where
        T: Plain,
    {
        SharedArray::anywhere().try_from_array(array).or_raise()
    }

    /// As [`SharedArray::from_array`].
    ///
    /// # Errors
    /// As [`SharedArray::try_zeros`].
    #[track_caller]
    pub fn try_from_array<S: Data<Elem = T>>(
        array: &ArrayBase<S, D>,
    ) -> Result<SharedArray<T, D>, SharedError>
    where
        T: Plain,
    {
        SharedArray::anywhere().try_from_array(array)
    }
}

impl<T: Plain, D: Rank> SharedArray<T, D> {
    /// Runs a function of the array on each of its processes, and blocks until all have ended.
    /// Costs a message to each process and one back.
    ///
    /// # Panics
    /// With what the function panics with; if a process is gone.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let s = SharedVector::<u64>::zeros(4).init(|s: SharedVector<u64>| {
    ///     s.local().iter().for_each(|cell| cell.set(myid() as u64));
    /// });
    /// assert_eq!(s.get([0]), s.procs()[0] as u64);
    /// ```
    ///
    /// # Source
    /// The argument `init` of `SharedArray`, Julia's SharedArrays.
    #[track_caller]
    #[must_use]
    pub fn init<F: ElementFunction<(SharedArray<T, D>,), ()>>(self, f: F) -> SharedArray<T, D> {
        self.try_init(f).or_raise();
        self
    }

    /// As [`SharedArray::init`].
    ///
    /// # Errors
    /// [`SharedError::Array`] if the function panics or a process is gone;
    /// [`SharedError::ReadOnly`].
    #[track_caller]
    pub fn try_init<F: ElementFunction<(SharedArray<T, D>,), ()>>(
        &self,
        f: F,
    ) -> Result<(), SharedError> {
        fn body<T: Plain, D: Rank, F: ElementFunction<(SharedArray<T, D>,), ()>>(
            from: &mut BlobReader<'_>,
        ) -> Outcome {
            let _ = Job::read(from)?;
            let array: SharedArray<T, D> = read(from)?;
            F::read(from)?.once((array,));
            nothing()
        }
        self.shared().check_writable("it cannot be initialised")?;
        let write = |to: &mut crate::distributed::blob::BlobWriter| {
            to.write(self)?;
            f.write(to)
        };
        let body = body::<T, D, F>;
        self.shared().each(self.len(), Location::caller(), body, &write).map(drop)
    }
}

impl<T: Plain, D: Rank> On<T, D> {
    /// As [`SharedArray::zeros`], on these processes.
    ///
    /// # Panics
    /// As [`SharedArray::zeros`]; if no process is chosen, or one twice.
    #[track_caller]
    #[must_use]
    pub fn zeros(self, dims: impl IntoDimension<Dim = D>) -> SharedArray<T, D> {
        self.try_zeros(dims).or_raise()
    }

    /// As [`On::zeros`].
    ///
    /// # Errors
    /// As [`SharedArray::try_zeros`]; [`SharedError::Processes`], [`SharedError::OtherHost`].
    #[track_caller]
    pub fn try_zeros(
        self,
        dims: impl IntoDimension<Dim = D>,
    ) -> Result<SharedArray<T, D>, SharedError> {
        let dim = dims.into_dimension();
        let bytes = bytes::<T>(dim.slice())?;
        let made = in_memory(bytes, self.pids.as_deref(), Location::caller())?;
        Ok(SharedArray::of(made, dim))
    }

    /// As [`SharedArray::from_fn`], on these processes.
    ///
    /// # Panics
    /// As [`SharedArray::from_fn`]; if no process is chosen, or one twice.
    #[track_caller]
    #[must_use]
    pub fn from_fn<F: ElementFunction<(D::Pattern,), T>>(
        self,
        dims: impl IntoDimension<Dim = D>,
        function: F,
    ) -> SharedArray<T, D> {
        self.try_from_fn(dims, function).or_raise()
    }

    /// As [`On::from_fn`].
    ///
    /// # Errors
    /// As [`SharedArray::try_from_fn`]; [`SharedError::Processes`], [`SharedError::OtherHost`].
    #[track_caller]
    pub fn try_from_fn<F: ElementFunction<(D::Pattern,), T>>(
        self,
        dims: impl IntoDimension<Dim = D>,
        function: F,
    ) -> Result<SharedArray<T, D>, SharedError> {
        fn body<T: Plain, D: Rank, F: ElementFunction<(D::Pattern,), T>>(
            from: &mut BlobReader<'_>,
        ) -> Outcome {
            let (job, mapping) = Job::read(from)?;
            let (shape, function): (Vec<usize>, _) = (read(from)?, F::read(from)?);
            let ranges: Vec<_> = shape.into_iter().map(|extent| 0..extent).collect();
            let (cells, first) = (job.cells::<T>(&mapping), job.range().start);
            parallel::parts(cells.len(), |range| {
                let mut places = cells[range.clone()].iter();
                let numbers = first + range.start..first + range.end;
                let indices = Rows::<D>::new(&ranges, numbers).flatten();
                function.each(indices.map(|index| (index.into_pattern(),)), |value| {
                    places.next().expect("a value for each index").set(value);
                });
            });
            nothing()
        }
        let array = self.try_zeros(dims)?;
        let write = |to: &mut crate::distributed::blob::BlobWriter| {
            to.write(&array.shape())?;
            function.write(to)
        };
        let (body, place) = (body::<T, D, F>, Location::caller());
        array.shared().each(array.len(), place, body, &write)?;
        Ok(array)
    }

    /// As [`SharedArray::from_array`], on these processes.
    ///
    /// # Panics
    /// As [`SharedArray::zeros`]; if no process is chosen, or one twice.
    #[track_caller]
    #[must_use]
    pub fn from_array<S: Data<Elem = T>>(self, array: &ArrayBase<S, D>) -> SharedArray<T, D> {
        self.try_from_array(array).or_raise()
    }

    /// As [`On::from_array`].
    ///
    /// # Errors
    /// As [`On::try_zeros`].
    #[track_caller]
    pub fn try_from_array<S: Data<Elem = T>>(
        self,
        array: &ArrayBase<S, D>,
    ) -> Result<SharedArray<T, D>, SharedError> {
        let shared = self.try_zeros(array.raw_dim())?;
        let cells = shared.every()?;
        match array.as_slice() {
            Some(values) => drop(parallel::parts(values.len(), |range| {
                for (cell, value) in cells[range.clone()].iter().zip(&values[range]) {
                    cell.set(*value);
                }
            })),
            None => cells.iter().zip(array).for_each(|(cell, value)| cell.set(*value)),
        }
        Ok(shared)
    }
}

/// New memory, mapped by the processes.
fn in_memory(
    bytes: usize,
    pids: Option<&[usize]>,
    place: &Location<'_>,
) -> Result<Arc<Shared>, SharedError> {
    let pids = chosen(pids)?;
    Shared::make(segment::create(bytes)?, pids, place).map(Arc::new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prelude::*;

    #[test]
    fn sizes_are_computed_or_refused() {
        assert_eq!(bytes::<f64>(&[3, 4]).unwrap(), 96);
        assert_eq!(bytes::<f64>(&[]).unwrap(), 8);
        assert_eq!(bytes::<f64>(&[5, 0]).unwrap(), 0);
        assert_eq!(bytes::<()>(&[1 << 40]).unwrap(), 0);
        for shape in [&[usize::MAX][..], &[1 << 40, 1 << 40], &[1 << 60], &[1 << 40, 0, 1 << 40]] {
            let error = bytes::<f64>(shape).unwrap_err();
            assert!(error.to_string().contains("more bytes than a process can address"), "{error}");
        }
    }

    #[test]
    fn arrays_of_all_ranks_on_this_process() {
        let r1 = SharedArray::from_fn(3, |i: usize| i as u64);
        let r3 = SharedArray::from_fn((2, 3, 4), |(i, j, k): (usize, usize, usize)| {
            (100 * i + 10 * j + k) as u64
        });
        assert_eq!((r1.get(2), r1.get([1]), r3.get((1, 2, 3))), (2, 1, 123));
        assert_eq!(r3.cells().index_axis(ndarray::Axis(0), 1)[[0, 3]].get(), 103);
        let dynamic = SharedArray::<u8, _>::zeros(vec![2, 2, 2, 2]);
        assert_eq!((dynamic.ndim(), dynamic.len()), (4, 16));
        assert!(dynamic.try_get(vec![0, 0]).is_err(), "another rank");
        let point = SharedArray::<f64, _>::zeros(());
        point.set((), 4.0);
        assert_eq!((point.sum(), point.local_rows()), (4.0, 0..1));
        assert!(SharedMatrix::<f64>::zeros((0, 5)).is_empty());
        let turned = ndarray::array![[1, 2, 3], [4, 5, 6]].reversed_axes();
        assert_eq!(SharedArray::from_array(&turned).to_array(), turned);
    }

    #[test]
    fn an_index_outside_is_told_with_the_shape() {
        let s = SharedMatrix::<f64>::zeros((3, 4));
        let told = s.try_set([1, 4], 1.0).unwrap_err().to_string();
        assert_eq!(told, "the index [1, 4] is outside of the array's shape 3×4");
        let told = s.try_reshape(13).unwrap_err().to_string();
        assert_eq!(told, "reshape: the shapes 3×4 and 13 do not fit");
    }

    #[test]
    fn processes_are_checked() {
        let on =
            |pids: &[usize]| SharedVector::<f64>::on(pids).try_zeros(3).unwrap_err().to_string();
        assert!(on(&[]).contains("no process is chosen"));
        assert!(on(&[1, 1]).contains("process 1 is chosen twice in [1, 1]"));
        assert!(on(&[77]).contains("there is no process 77"));
    }
}
