//! New arrays of old ones, element by element and piece by piece.

use std::panic::Location;

use ndarray::Array;

use super::darray::DArray;
use super::element::{Element, Rank};
use super::error::{ArrayError, OrRaise};
use super::function::{Apply, ElementFunction};
use super::operand::{Checked, Operand, bring};
use super::parallel;
use super::parts::{Job, Parts, Shared, slice};
use super::work::{Outcome, code, nothing, read, write_function};
use crate::distributed::Remote;
use crate::distributed::blob::{BlobReader, BlobWriter, EncodeError};
use crate::distributed::capture::conjure;

impl<T: Element, D: Rank> DArray<T, D> {
    /// An array of what `f` makes of each element, cut alike. Each owner computes its piece with its
    /// threads. Blocks until all have; one process calls it. Costs a message to each owner and one
    /// back.
    ///
    /// # Panics
    /// With what `f` panics with; if an owner is gone, or the array is closed.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let a = DArray::from_fn(5, |i: usize| i as f64);
    /// let factor = 0.5;
    /// assert_eq!(a.map(|x: f64| x * x).get(3), 9.0);
    /// assert_eq!(a.map(remote!(|x: f64| x * factor)).get(3), 1.5);
    /// ```
    ///
    /// # Source
    /// `map(f, d)`, DistributedArrays.jl.
    #[track_caller]
    #[must_use]
    pub fn map<R: Element, F: ElementFunction<(T,), R>>(&self, f: F) -> DArray<R, D> {
        self.try_map(f).or_raise()
    }

    /// As [`DArray::map`].
    ///
    /// # Errors
    /// [`ArrayError::Remote`] if `f` panics, [`ArrayError::Lost`], [`ArrayError::Closed`].
    #[track_caller]
    pub fn try_map<R: Element, F: ElementFunction<(T,), R>>(
        &self,
        f: F,
    ) -> Result<DArray<R, D>, ArrayError> {
        fn body<T: Element, D: Rank, R: Element, F: ElementFunction<(T,), R>>(
            from: &mut BlobReader<'_>,
        ) -> Outcome {
            let (job, source) = (Job::read(from)?, Parts::read(from)?);
            let f = F::read(from)?;
            let piece = source.share::<T, D>(job.piece)?;
            let own = slice(&piece);
            let made = parallel::make(own.len(), |range, slots| {
                f.fill(own[range].iter().map(|x| (x.clone(),)), slots);
            });
            job.keep_elements::<R, D>(made);
            nothing()
        }
        let parts = self.open()?;
        let write = &mut |_, to: &mut BlobWriter| parts.write(to).and_then(|()| f.write(to));
        let (place, code) = (Location::caller(), code(body::<T, D, R, F>));
        Shared::make(self.layout().clone(), &[parts], place, code, write).map(DArray::of)
    }

    /// Replaces each element by what `f` makes of it, otherwise as [`DArray::map`]. If `f` panics,
    /// some elements are changed and others not.
    ///
    /// # Panics
    /// As [`DArray::map`].
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let a = dones(4);
    /// a.map_inplace(|x: f64| x + 1.0);
    /// assert_eq!(a.sum(), 8.0);
    /// ```
    ///
    /// # Source
    /// `map!(f, d, d)`, DistributedArrays.jl.
    #[track_caller]
    pub fn map_inplace<F: ElementFunction<(T,), T>>(&self, f: F) {
        self.try_map_inplace(f).or_raise();
    }

    /// As [`DArray::map_inplace`].
    ///
    /// # Errors
    /// As [`DArray::try_map`].
    #[track_caller]
    pub fn try_map_inplace<F: ElementFunction<(T,), T>>(&self, f: F) -> Result<(), ArrayError> {
        fn body<T: Element, D: Rank, F: ElementFunction<(T,), T>>(
            from: &mut BlobReader<'_>,
        ) -> Outcome {
            let (job, f) = (Job::read(from)?, F::read(from)?);
            job.parts.change(job.piece, |piece: &mut Array<T, D>| {
                let own = piece.as_slice_mut().expect("pieces are kept in row-major order");
                parallel::change(own, |_, part| {
                    part.iter_mut().for_each(|x| *x = f.once((x.clone(),)));
                });
            })?;
            nothing()
        }
        self.open()?;
        let (place, code) = (Location::caller(), code(body::<T, D, F>));
        self.shared().each(&[], place, code, &mut |_, to| f.write(to)).map(drop)
    }

    /// Overwrites all elements with clones of a value; otherwise as [`DArray::map_inplace`].
    ///
    /// # Panics
    /// If an owner is gone, or the array is closed.
    ///
    /// # Source
    /// `fill!(d, v)`, DistributedArrays.jl.
    #[track_caller]
    pub fn fill(&self, value: T) {
        fn body<T: Element, D: Rank>(from: &mut BlobReader<'_>) -> Outcome {
            let (job, value) = (Job::read(from)?, read::<T>(from)?);
            job.parts.change(job.piece, |piece: &mut Array<T, D>| {
                let own = piece.as_slice_mut().expect("pieces are kept in row-major order");
                parallel::change(own, |_, part| part.fill(value.clone()));
            })?;
            nothing()
        }
        let (place, code) = (Location::caller(), code(body::<T, D>));
        let filled = self
            .open()
            .and_then(|_| self.shared().each(&[], place, code, &mut |_, to| to.write(&value)));
        filled.map(drop).or_raise();
    }

    /// An array of what `f` makes of the elements of two arrays at the same place; cut as the first
    /// is. The other may be cut differently, then each owner fetches what it needs, or be an array
    /// of this process, then each is sent what it needs. Otherwise as [`DArray::map`].
    ///
    /// An expression of several steps, written as one `f`, takes one pass over the elements.
    ///
    /// # Panics
    /// As [`DArray::map`]; if the shapes do not fit.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let (x, y) = (dones((4, 4)), drand((4, 4)));
    /// let z = x.zip_map(&y, |x: f64, y: f64| 2.0 * x + y);
    /// assert_eq!(z, &(&x * 2.0) + &y);
    /// ```
    ///
    /// # Source
    /// `f.(a, b)`, DistributedArrays.jl, whose result has the default layout.
    #[track_caller]
    #[must_use]
    pub fn zip_map<U: Element, R: Element, F: ElementFunction<(T, U), R>>(
        &self,
        other: impl Operand<U, D>,
        f: F,
    ) -> DArray<R, D> {
        self.try_zip_map(other, f).or_raise()
    }

    /// As [`DArray::zip_map`].
    ///
    /// # Errors
    /// [`ArrayError::Shapes`]; otherwise as [`DArray::try_map`].
    #[track_caller]
    pub fn try_zip_map<U: Element, R: Element, F: ElementFunction<(T, U), R>>(
        &self,
        other: impl Operand<U, D>,
        f: F,
    ) -> Result<DArray<R, D>, ArrayError> {
        zip_map(self, "zip_map", &other, f)
    }

    /// As [`DArray::zip_map`], of three arrays.
    ///
    /// # Panics
    /// As [`DArray::zip_map`].
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let (a, b, c) = (dones(3), dones(3), dfill(2.0, 3));
    /// let d = a.zip_map3(&b, &c, |a: f64, b: f64, c: f64| a + b * c);
    /// assert_eq!(d.sum(), 9.0);
    /// ```
    ///
    /// # Source
    /// `f.(a, b, c)`, DistributedArrays.jl.
    #[track_caller]
    #[must_use]
    pub fn zip_map3<U, V, R, F>(
        &self,
        second: impl Operand<U, D>,
        third: impl Operand<V, D>,
        f: F,
    ) -> DArray<R, D>
    where
        U: Element,
        V: Element,
        R: Element,
        F: ElementFunction<(T, U, V), R>,
    {
        self.try_zip_map3(second, third, f).or_raise()
    }

    /// As [`DArray::zip_map3`].
    ///
    /// # Errors
    /// As [`DArray::try_zip_map`].
    #[track_caller]
    pub fn try_zip_map3<U, V, R, F>(
        &self,
        second: impl Operand<U, D>,
        third: impl Operand<V, D>,
        f: F,
    ) -> Result<DArray<R, D>, ArrayError>
    where
        U: Element,
        V: Element,
        R: Element,
        F: ElementFunction<(T, U, V), R>,
    {
        zip_map3(self, &second, &third, f)
    }

    /// Replaces each element by what `f` makes of it and the element of another array at the same
    /// place; otherwise as [`DArray::zip_map`].
    ///
    /// # Panics
    /// As [`DArray::zip_map`].
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let (x, y) = (dones(3), dfill(2.0, 3));
    /// y.zip_inplace(&x, |y: f64, x: f64| y + 10.0 * x);
    /// assert_eq!(y.get(0), 12.0);
    /// ```
    ///
    /// # Source
    /// `d .= f.(d, a)`, DistributedArrays.jl.
    #[track_caller]
    pub fn zip_inplace<U: Element, F: ElementFunction<(T, U), T>>(
        &self,
        other: impl Operand<U, D>,
        f: F,
    ) {
        zip_inplace(self, "zip_inplace", &other, f).or_raise();
    }

    /// An array of what `f` makes of each piece: an array of the same shape, of any elements. `f` is
    /// called once on each owner, and may use its threads. Otherwise as [`DArray::map`].
    ///
    /// # Panics
    /// As [`DArray::map`]; if `f` gives another shape.
    ///
    /// ```
    /// use parcell::ndarray::{Array1, Axis};
    /// use parcell::prelude::*;
    ///
    /// let a = dones(10);
    /// let sums = a.map_local(|piece: &Array1<f64>| {
    ///     let mut sums = piece.clone();
    ///     sums.accumulate_axis_inplace(Axis(0), |before, x| *x += before);
    ///     sums
    /// });
    /// assert_eq!(sums.get(0), 1.0);
    /// ```
    ///
    /// # Source
    /// `map_localparts(f, d)`, DistributedArrays.jl.
    #[track_caller]
    #[must_use]
    pub fn map_local<R: Element, F: PieceFunction<T, D, Array<R, D>>>(&self, f: F) -> DArray<R, D> {
        self.try_map_local(f).or_raise()
    }

    /// As [`DArray::map_local`].
    ///
    /// # Errors
    /// [`ArrayError::Shapes`] if `f` gives another shape; otherwise as [`DArray::try_map`].
    #[track_caller]
    pub fn try_map_local<R: Element, F: PieceFunction<T, D, Array<R, D>>>(
        &self,
        f: F,
    ) -> Result<DArray<R, D>, ArrayError> {
        fn body<T: Element, D: Rank, R: Element, F: PieceFunction<T, D, Array<R, D>>>(
            from: &mut BlobReader<'_>,
        ) -> Outcome {
            let (job, source) = (Job::read(from)?, Parts::read(from)?);
            job.keep(F::apply(from, &*source.share::<T, D>(job.piece)?)?)?;
            nothing()
        }
        let parts = self.open()?;
        let write = &mut |_, to: &mut BlobWriter| parts.write(to).and_then(|()| f.write(to));
        let (place, code) = (Location::caller(), code(body::<T, D, R, F>));
        Shared::make(self.layout().clone(), &[parts], place, code, write).map(DArray::of)
    }
}

/// A function of a whole piece: a function or a closure that captures nothing, of a reference to the
/// piece; or `remote!(|piece: Array2<f64>| …)`, which gets a copy.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be applied to the pieces of this array",
    label = "not a function of an array that other processes can call",
    note = "pass a function, a closure that captures nothing and says its argument's type, as in \
            `|piece: &Array2<f64>| …`, or `remote!(|piece: Array2<f64>| …)`"
)]
pub trait PieceFunction<T, D, R>: Sized + 'static {
    #[doc(hidden)]
    fn write(&self, to: &mut BlobWriter) -> Result<(), EncodeError>;

    #[doc(hidden)]
    fn apply(from: &mut BlobReader<'_>, piece: &Array<T, D>) -> Result<R, ArrayError>;
}

impl<T, D, R, F: Fn(&Array<T, D>) -> R + Copy + Send + Sync + 'static> PieceFunction<T, D, R>
    for F
{
    fn write(&self, _: &mut BlobWriter) -> Result<(), EncodeError> {
        Ok(())
    }

    fn apply(_: &mut BlobReader<'_>, piece: &Array<T, D>) -> Result<R, ArrayError> {
        Ok(conjure::<F>()(piece))
    }
}

impl<T: Element, D: Rank, R: Element> PieceFunction<T, D, R> for Remote<(Array<T, D>,), R> {
    fn write(&self, to: &mut BlobWriter) -> Result<(), EncodeError> {
        write_function(to, self.clone().untyped())
    }

    fn apply(from: &mut BlobReader<'_>, piece: &Array<T, D>) -> Result<R, ArrayError> {
        let function = <Self as ElementFunction<(Array<T, D>,), R>>::read(from)?;
        Ok(function.once((piece.clone(),)))
    }
}

#[track_caller]
pub(crate) fn zip_map<T, U, D, R, F>(
    first: &DArray<T, D>,
    operation: &str,
    second: &impl Operand<U, D>,
    f: F,
) -> Result<DArray<R, D>, ArrayError>
where
    T: Element,
    U: Element,
    D: Rank,
    R: Element,
    F: ElementFunction<(T, U), R>,
{
    fn body<T: Element, U: Element, D: Rank, R: Element, F: ElementFunction<(T, U), R>>(
        from: &mut BlobReader<'_>,
    ) -> Outcome {
        let (job, source) = (Job::read(from)?, Parts::read(from)?);
        let f = F::read(from)?;
        let first = source.share::<T, D>(job.piece)?;
        let second = bring::<U, D>(from, first.shape())?;
        let (a, b) = (slice(&first), second.elements());
        let made = parallel::make(a.len(), |range, slots| {
            let pairs = a[range.clone()].iter().zip(&b[range]);
            f.fill(pairs.map(|(x, y)| (x.clone(), y.clone())), slots);
        });
        job.keep_elements::<R, D>(made);
        nothing()
    }
    let (parts, shape) = (first.open()?, first.shape());
    let checked = Checked::new(operation, &shape, second)?;
    let mut sources = vec![parts];
    sources.extend(second.parts().0?);
    let write = &mut |piece, to: &mut BlobWriter| {
        parts.write(to)?;
        f.write(to)?;
        checked.write(second, &parts.layout.ranges(piece), to)
    };
    let (place, code) = (Location::caller(), code(body::<T, U, D, R, F>));
    Shared::make(parts.layout.clone(), &sources, place, code, write).map(DArray::of)
}

#[track_caller]
fn zip_map3<T, U, V, D, R, F>(
    first: &DArray<T, D>,
    second: &impl Operand<U, D>,
    third: &impl Operand<V, D>,
    f: F,
) -> Result<DArray<R, D>, ArrayError>
where
    T: Element,
    U: Element,
    V: Element,
    D: Rank,
    R: Element,
    F: ElementFunction<(T, U, V), R>,
{
    fn body<T, U, V, D, R, F>(from: &mut BlobReader<'_>) -> Outcome
    where
        T: Element,
        U: Element,
        V: Element,
        D: Rank,
        R: Element,
        F: ElementFunction<(T, U, V), R>,
    {
        let (job, source) = (Job::read(from)?, Parts::read(from)?);
        let f = F::read(from)?;
        let first = source.share::<T, D>(job.piece)?;
        let second = bring::<U, D>(from, first.shape())?;
        let third = bring::<V, D>(from, first.shape())?;
        let (a, b, c) = (slice(&first), second.elements(), third.elements());
        let made = parallel::make(a.len(), |range, slots| {
            let all = a[range.clone()].iter().zip(&b[range.clone()]).zip(&c[range]);
            f.fill(all.map(|((x, y), z)| (x.clone(), y.clone(), z.clone())), slots);
        });
        job.keep_elements::<R, D>(made);
        nothing()
    }
    let (parts, shape) = (first.open()?, first.shape());
    let checked =
        (Checked::new("zip_map3", &shape, second)?, Checked::new("zip_map3", &shape, third)?);
    let mut sources = vec![parts];
    sources.extend(second.parts().0?);
    sources.extend(third.parts().0?);
    let write = &mut |piece, to: &mut BlobWriter| {
        parts.write(to)?;
        f.write(to)?;
        checked.0.write(second, &parts.layout.ranges(piece), to)?;
        checked.1.write(third, &parts.layout.ranges(piece), to)
    };
    let (place, code) = (Location::caller(), code(body::<T, U, V, D, R, F>));
    Shared::make(parts.layout.clone(), &sources, place, code, write).map(DArray::of)
}

#[track_caller]
pub(crate) fn zip_inplace<T: Element, U: Element, D: Rank, F: ElementFunction<(T, U), T>>(
    first: &DArray<T, D>,
    operation: &str,
    second: &impl Operand<U, D>,
    f: F,
) -> Result<(), ArrayError> {
    fn body<T: Element, U: Element, D: Rank, F: ElementFunction<(T, U), T>>(
        from: &mut BlobReader<'_>,
    ) -> Outcome {
        let (job, f) = (Job::read(from)?, F::read(from)?);
        let second = bring::<U, D>(from, &job.parts.layout.piece_shape(job.piece))?;
        job.parts.change(job.piece, |piece: &mut Array<T, D>| {
            let own = piece.as_slice_mut().expect("pieces are kept in row-major order");
            let other = second.elements();
            parallel::change(own, |range, part| {
                for (x, y) in part.iter_mut().zip(&other[range]) {
                    *x = f.once((x.clone(), y.clone()));
                }
            });
        })?;
        nothing()
    }
    let (parts, shape) = (first.open()?, first.shape());
    let checked = Checked::new(operation, &shape, second)?;
    let sources: Vec<&Parts> = second.parts().0?.into_iter().collect();
    let write = &mut |piece, to: &mut BlobWriter| {
        f.write(to)?;
        checked.write(second, &parts.layout.ranges(piece), to)
    };
    let (place, code) = (Location::caller(), code(body::<T, U, D, F>));
    first.shared().each(&sources, place, code, write).map(drop)
}
