//! `+ - * /` of arrays with arrays and numbers. Each operation is one pass over the elements and
//! makes a new array; `zip_map` with a closure takes one pass for several.

use std::ops::{Add, AddAssign, Div, DivAssign, Mul, MulAssign, Neg, Sub, SubAssign};
use std::panic::Location;

use ndarray::Array;
use num_complex::Complex;

use super::darray::DArray;
use super::element::{Element, Rank};
use super::error::{ArrayError, OrRaise};
use super::map::{zip_inplace, zip_map};
use super::parallel;
use super::parts::{Job, Parts, Shared, slice};
use super::work::{Outcome, code, nothing, read};
use crate::distributed::blob::{BlobReader, BlobWriter};
use crate::distributed::capture::conjure;

macro_rules! operator {
    ($trait:ident $method:ident $assign:ident $assign_method:ident $sign:literal $op:tt) => {
        #[doc = concat!("`a ", $sign, " b`, element by element; the other array may be cut differently.")]
        impl<T, D> $trait<&DArray<T, D>> for &DArray<T, D>
        where
            T: Element + $trait<Output = T>,
            D: Rank,
        {
            type Output = DArray<T, D>;

            #[track_caller]
            fn $method(self, other: &DArray<T, D>) -> DArray<T, D> {
                zip_map(self, $sign, &other, |a: T, b: T| a $op b).or_raise()
            }
        }

        impl<T, D> $trait<DArray<T, D>> for &DArray<T, D>
        where
            T: Element + $trait<Output = T>,
            D: Rank,
        {
            type Output = DArray<T, D>;

            #[track_caller]
            fn $method(self, other: DArray<T, D>) -> DArray<T, D> {
                self $op &other
            }
        }

        impl<T, D> $trait<&DArray<T, D>> for DArray<T, D>
        where
            T: Element + $trait<Output = T>,
            D: Rank,
        {
            type Output = DArray<T, D>;

            #[track_caller]
            fn $method(self, other: &DArray<T, D>) -> DArray<T, D> {
                &self $op other
            }
        }

        impl<T, D> $trait for DArray<T, D>
        where
            T: Element + $trait<Output = T>,
            D: Rank,
        {
            type Output = DArray<T, D>;

            #[track_caller]
            fn $method(self, other: DArray<T, D>) -> DArray<T, D> {
                &self $op &other
            }
        }

        /// With an array of this process: each owner is sent its part.
        impl<T, D> $trait<&Array<T, D>> for &DArray<T, D>
        where
            T: Element + $trait<Output = T>,
            D: Rank,
        {
            type Output = DArray<T, D>;

            #[track_caller]
            fn $method(self, other: &Array<T, D>) -> DArray<T, D> {
                zip_map(self, $sign, &other, |a: T, b: T| a $op b).or_raise()
            }
        }

        /// With the same number for all elements.
        impl<T, D> $trait<T> for &DArray<T, D>
        where
            T: Element + $trait<Output = T>,
            D: Rank,
        {
            type Output = DArray<T, D>;

            #[track_caller]
            fn $method(self, number: T) -> DArray<T, D> {
                with_number(self, number, |a: T, b: T| a $op b).or_raise()
            }
        }

        impl<T, D> $trait<T> for DArray<T, D>
        where
            T: Element + $trait<Output = T>,
            D: Rank,
        {
            type Output = DArray<T, D>;

            #[track_caller]
            fn $method(self, number: T) -> DArray<T, D> {
                &self $op number
            }
        }

        #[doc = concat!("`a ", $sign, "= b`, in place; the other array may be cut differently.")]
        impl<T, D> $assign<&DArray<T, D>> for DArray<T, D>
        where
            T: Element + $trait<Output = T>,
            D: Rank,
        {
            #[track_caller]
            fn $assign_method(&mut self, other: &DArray<T, D>) {
                zip_inplace(self, $sign, &other, |a: T, b: T| a $op b).or_raise();
            }
        }

        impl<T, D> $assign<&Array<T, D>> for DArray<T, D>
        where
            T: Element + $trait<Output = T>,
            D: Rank,
        {
            #[track_caller]
            fn $assign_method(&mut self, other: &Array<T, D>) {
                zip_inplace(self, $sign, &other, |a: T, b: T| a $op b).or_raise();
            }
        }

        impl<T, D> $assign<T> for DArray<T, D>
        where
            T: Element + $trait<Output = T>,
            D: Rank,
        {
            #[track_caller]
            fn $assign_method(&mut self, number: T) {
                number_inplace(self, number, |a: T, b: T| a $op b).or_raise();
            }
        }
    };
}

operator!(Add add AddAssign add_assign "+" +);
operator!(Sub sub SubAssign sub_assign "-" -);
operator!(Mul mul MulAssign mul_assign "*" *);
operator!(Div div DivAssign div_assign "/" /);

impl<T: Element + Neg<Output = T>, D: Rank> Neg for &DArray<T, D> {
    type Output = DArray<T, D>;

    #[track_caller]
    fn neg(self) -> DArray<T, D> {
        self.map(|x: T| -x)
    }
}

impl<T: Element + Neg<Output = T>, D: Rank> Neg for DArray<T, D> {
    type Output = DArray<T, D>;

    #[track_caller]
    fn neg(self) -> DArray<T, D> {
        -&self
    }
}

macro_rules! numbers_first {
    ($($number:ty),*) => {$(
        numbers_first!($number, Add add +);
        numbers_first!($number, Sub sub -);
        numbers_first!($number, Mul mul *);
        numbers_first!($number, Div div /);
    )*};
    ($number:ty, $trait:ident $method:ident $op:tt) => {
        impl<D: Rank> $trait<&DArray<$number, D>> for $number {
            type Output = DArray<$number, D>;

            #[track_caller]
            fn $method(self, array: &DArray<$number, D>) -> DArray<$number, D> {
                with_number(array, self, |a: $number, b: $number| b $op a).or_raise()
            }
        }

        impl<D: Rank> $trait<DArray<$number, D>> for $number {
            type Output = DArray<$number, D>;

            #[track_caller]
            fn $method(self, array: DArray<$number, D>) -> DArray<$number, D> {
                self $op &array
            }
        }
    };
}

numbers_first!(u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize, f32, f64);
numbers_first!(Complex<f32>, Complex<f64>);

/// An array of what `f`, a closure without captures, makes of each element and a number.
#[track_caller]
fn with_number<T: Element, D: Rank, F: Fn(T, T) -> T + Copy + Send + Sync + 'static>(
    array: &DArray<T, D>,
    number: T,
    _: F,
) -> Result<DArray<T, D>, ArrayError> {
    fn body<T: Element, D: Rank, F: Fn(T, T) -> T + Copy + Sync>(
        from: &mut BlobReader<'_>,
    ) -> Outcome {
        let (job, source) = (Job::read(from)?, Parts::read(from)?);
        let (number, f) = (read::<T>(from)?, conjure::<F>());
        let piece = source.share::<T, D>(job.piece)?;
        let own = slice(&piece);
        let made = parallel::make(own.len(), |range, slots| {
            slots.extend(own[range].iter().map(|x| f(x.clone(), number.clone())));
        });
        job.keep_elements::<T, D>(made);
        nothing()
    }
    let parts = array.open()?;
    let write = &mut |_, to: &mut BlobWriter| parts.write(to).and_then(|()| to.write(&number));
    let (place, code) = (Location::caller(), code(body::<T, D, F>));
    Shared::make(parts.layout.clone(), &[parts], place, code, write).map(DArray::of)
}

/// As [`with_number`], in place.
#[track_caller]
pub(crate) fn number_inplace<
    T: Element,
    D: Rank,
    F: Fn(T, T) -> T + Copy + Send + Sync + 'static,
>(
    array: &DArray<T, D>,
    number: T,
    _: F,
) -> Result<(), ArrayError> {
    fn body<T: Element, D: Rank, F: Fn(T, T) -> T + Copy + Sync>(
        from: &mut BlobReader<'_>,
    ) -> Outcome {
        let job = Job::read(from)?;
        let (number, f) = (read::<T>(from)?, conjure::<F>());
        job.parts.change(job.piece, |piece: &mut Array<T, D>| {
            let own = piece.as_slice_mut().expect("pieces are kept in row-major order");
            parallel::change(own, |_, part| {
                part.iter_mut().for_each(|x| *x = f(x.clone(), number.clone()));
            });
        })?;
        nothing()
    }
    array.open()?;
    let (place, code) = (Location::caller(), code(body::<T, D, F>));
    array.shared().each(&[], place, code, &mut |_, to| to.write(&number)).map(drop)
}
