//! Functions of elements that run where the pieces are.

use std::marker::PhantomData;
use std::sync::Arc;

use super::error::ArrayError;
use super::parallel::Slots;
use super::work::{read_function, write_function};
use crate::distributed::blob::{BlobReader, BlobWriter, EncodeError};
use crate::distributed::capture::conjure;
use crate::distributed::function::Callable;
use crate::distributed::{Portable, Remote, RemoteError};

/// A function that can be applied to the elements of a [`DArray`](super::DArray): a function, a
/// closure that captures nothing, or `remote!(|x: f64| …)`, which takes its captures along. `A` is
/// the tuple of its arguments.
///
/// Functions and plain closures become part of the loop over the elements; those made by `remote!`
/// are called for blocks of them, which costs a copy of arguments and results in the cache.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be applied to the elements of this array",
    label = "not a function of `{A}` that other processes can call",
    note = "pass a function, a closure that captures nothing and says its arguments' types, as in \
            `|x: f64| x * x`, or `remote!(|x: f64| x * factor)`"
)]
pub trait ElementFunction<A, R>: Sized + 'static {
    /// The function where it is applied.
    #[doc(hidden)]
    type There: Apply<A, R>;

    /// Writes what another process needs to apply it, too.
    #[doc(hidden)]
    fn write(&self, to: &mut BlobWriter) -> Result<(), EncodeError>;

    /// Reads it there.
    #[doc(hidden)]
    fn read(from: &mut BlobReader<'_>) -> Result<Self::There, ArrayError>;

    /// The same for this process.
    #[doc(hidden)]
    fn here(&self) -> Result<Self::There, ArrayError>;
}

/// A function on the process that applies it.
#[doc(hidden)]
pub trait Apply<A, R>: Send + Sync {
    /// Applies it to all arguments and puts the results into the next places.
    fn fill(&self, arguments: impl Iterator<Item = A>, slots: &mut Slots<'_, R>);

    /// As [`Apply::fill`], with arguments that come in rows.
    fn fill_rows<I: Iterator<Item = A>>(
        &self,
        rows: impl Iterator<Item = I>,
        slots: &mut Slots<'_, R>,
    );

    /// Applies it to all arguments, in order.
    fn each(&self, arguments: impl Iterator<Item = A>, result: impl FnMut(R));

    /// Applies it once.
    fn once(&self, argument: A) -> R;
}

/// A function whose type says all.
#[doc(hidden)]
pub struct Direct<F>(F);

macro_rules! direct {
    ($($argument:ident)*) => {
        impl<F, $($argument,)* R> ElementFunction<($($argument,)*), R> for F
        where
            F: Fn($($argument),*) -> R + Copy + Send + Sync + 'static,
        {
            type There = Direct<F>;

            fn write(&self, _: &mut BlobWriter) -> Result<(), EncodeError> {
                Ok(())
            }

            fn read(_: &mut BlobReader<'_>) -> Result<Direct<F>, ArrayError> {
                Ok(Direct(conjure()))
            }

            fn here(&self) -> Result<Direct<F>, ArrayError> {
                Ok(Direct(*self))
            }
        }

        #[allow(non_snake_case)]
        impl<F, $($argument,)* R> Apply<($($argument,)*), R> for Direct<F>
        where
            F: Fn($($argument),*) -> R + Copy + Send + Sync + 'static,
        {
            #[inline]
            fn fill(
                &self,
                arguments: impl Iterator<Item = ($($argument,)*)>,
                slots: &mut Slots<'_, R>,
            ) {
                slots.extend(arguments.map(|($($argument,)*)| (self.0)($($argument),*)));
            }

            #[inline]
            fn fill_rows<I: Iterator<Item = ($($argument,)*)>>(
                &self,
                rows: impl Iterator<Item = I>,
                slots: &mut Slots<'_, R>,
            ) {
                rows.for_each(|row| self.fill(row, slots));
            }

            #[inline]
            fn each(
                &self,
                arguments: impl Iterator<Item = ($($argument,)*)>,
                mut result: impl FnMut(R),
            ) {
                arguments.for_each(|($($argument,)*)| result((self.0)($($argument),*)));
            }

            #[inline]
            fn once(&self, ($($argument,)*): ($($argument,)*)) -> R {
                (self.0)($($argument),*)
            }
        }
    };
}

direct!(A1);
direct!(A1 A2);
direct!(A1 A2 A3);
direct!(A1 A2 A3 A4);

/// A function that came with its captures.
#[doc(hidden)]
pub struct Sent<A, R> {
    function: Arc<dyn Callable>,
    signature: PhantomData<fn(A) -> R>,
}

/// Arguments that are handed over at a time.
const BLOCK: usize = 512;

impl<A: Portable, R: Portable> ElementFunction<A, R> for Remote<A, R> {
    type There = Sent<A, R>;

    fn write(&self, to: &mut BlobWriter) -> Result<(), EncodeError> {
        write_function(to, self.clone().untyped())
    }

    fn read(from: &mut BlobReader<'_>) -> Result<Sent<A, R>, ArrayError> {
        Ok(Sent { function: read_function(from)?, signature: PhantomData })
    }

    fn here(&self) -> Result<Sent<A, R>, ArrayError> {
        Ok(Sent { function: self.shared().callable()?, signature: PhantomData })
    }
}

impl<A: Portable, R: Portable> Apply<A, R> for Sent<A, R> {
    fn fill(&self, mut arguments: impl Iterator<Item = A>, slots: &mut Slots<'_, R>) {
        let (mut block, mut results) = (Vec::new(), Vec::new());
        while slots.left() > 0 {
            block.extend(arguments.by_ref().take(BLOCK.min(slots.left())));
            if block.is_empty() {
                return;
            }
            self.call_all(&mut block, &mut results);
            slots.extend(results.drain(..));
        }
    }

    fn fill_rows<I: Iterator<Item = A>>(
        &self,
        rows: impl Iterator<Item = I>,
        slots: &mut Slots<'_, R>,
    ) {
        // Rows may be short; blocks need not be.
        self.fill(rows.flatten(), slots);
    }

    fn each(&self, mut arguments: impl Iterator<Item = A>, mut result: impl FnMut(R)) {
        let (mut block, mut results) = (Vec::new(), Vec::new());
        loop {
            block.extend(arguments.by_ref().take(BLOCK));
            if block.is_empty() {
                return;
            }
            self.call_all(&mut block, &mut results);
            results.drain(..).for_each(&mut result);
        }
    }

    fn once(&self, argument: A) -> R {
        let mut results = Vec::with_capacity(1);
        self.call_all(&mut vec![argument], &mut results);
        results.pop().expect("a call gives a result")
    }
}

impl<A: Portable, R: Portable> Sent<A, R> {
    fn call_all(&self, arguments: &mut Vec<A>, results: &mut Vec<R>) {
        if self.function.call_many(arguments, results) {
            return;
        }
        // Types that another cell compiled again are the same as bytes.
        for argument in arguments.drain(..) {
            let result = super::work::call_by_bytes(&*self.function, &|to| to.write(&argument));
            let value = result.and_then(|value| crate::distributed::value::copy(&value));
            results.push(value.unwrap_or_else(|error: RemoteError| panic!("{error}")));
        }
    }
}
