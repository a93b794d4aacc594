//! What an expression takes along when it runs in another process: each variable that it captures
//! is written here by value and read there.
//!
//! How a variable travels is decided by its type, while the compiler checks the caller: the macros
//! ask `(&&&Probe::new(&n)).how()`, and method lookup takes the first of three traits that fits, the
//! one with the most references. A variable whose type is not known yet, as in `let n = 5;`, counts
//! as fitting, and is inferred as it would be in a closure. After the expression has been checked,
//! `(&&probe_of(&n).known()).check(&n)` says at the variable's place what cannot travel, and what to do.

use std::fmt;
use std::marker::PhantomData;

use super::blob::{Blob, BlobReader, BlobWriter, DecodeError, EncodeError};
use super::portable::Portable;

/// Stands for a captured variable, of which only the type matters.
#[derive(Clone, Copy)]
pub struct Probe<T>(PhantomData<fn(T) -> T>);

impl<T> Probe<T> {
    /// The probe of a variable.
    #[inline]
    pub fn new(_: &T) -> Probe<T> {
        Probe(PhantomData)
    }
}

/// The probe that belongs to a type; of a type that rustc failed to find out, rustc's error type,
/// of which it does not complain again.
pub trait Probed {
    /// `Probe<Self>`.
    type Probe;
}

impl<T> Probed for T {
    type Probe = Probe<T>;
}

/// The probe of a variable whose type is known by now.
#[inline]
pub fn probe_of<T>(value: &T) -> <T as Probed>::Probe
where
    T: Probed<Probe = Probe<T>>,
{
    Probe::new(value)
}

/// Says how values of one type travel.
pub trait Tag {
    /// The type of the captured variable.
    type Value;

    /// Writes what the other process needs to have the value, too.
    ///
    /// # Errors
    /// If the value's own `Serialize` fails.
    fn write(value: &Self::Value, to: &mut BlobWriter) -> Result<(), EncodeError>;

    /// The value, from what was written.
    ///
    /// # Errors
    /// If the bytes are not what `write` wrote for this type.
    fn read(from: &mut BlobReader<'_>) -> Result<Self::Value, DecodeError>;
}

/// A value is sent.
pub struct Shipped<T>(PhantomData<fn(T) -> T>);

/// A function or closure without values of its own: its type says all, nothing is sent.
pub struct Conjured<T>(PhantomData<fn(T) -> T>);

/// A value cannot be sent. That is a compile error, so this is never used.
pub struct Refused<T>(PhantomData<fn(T) -> T>);

impl<T: Portable> Tag for Shipped<T> {
    type Value = T;

    #[inline]
    fn write(value: &T, to: &mut BlobWriter) -> Result<(), EncodeError> {
        to.write(value)
    }

    #[inline]
    fn read(from: &mut BlobReader<'_>) -> Result<T, DecodeError> {
        from.read()
    }
}

impl<T: Copy> Tag for Conjured<T> {
    type Value = T;

    #[inline]
    fn write(_: &T, _: &mut BlobWriter) -> Result<(), EncodeError> {
        const { assert!(size_of::<T>() == 0, "{}", KEEPS_VALUES) };
        Ok(())
    }

    #[inline]
    fn read(_: &mut BlobReader<'_>) -> Result<T, DecodeError> {
        Ok(conjure())
    }
}

impl<T> Tag for Refused<T> {
    type Value = T;

    fn write(_: &T, _: &mut BlobWriter) -> Result<(), EncodeError> {
        unreachable!("what cannot be sent does not compile")
    }

    fn read(_: &mut BlobReader<'_>) -> Result<T, DecodeError> {
        unreachable!("what cannot be sent does not compile")
    }
}

pub(super) const KEEPS_VALUES: &str = "a closure that keeps values cannot be sent to another \
     process: define it as `fn`, give it those values as arguments, or make it by `remote!(…)`";

pub(super) const NOT_CAPTURED: &str = "what runs in another process uses a variable that was not \
     captured: those inside of other macros' calls are not always found. Bind the value outside of \
     that call: `let value = variable;`";

/// A value of a type without size: a function item or a closure that captures nothing but such.
/// Of other types it does not compile.
#[inline(always)]
pub(crate) fn conjure<T: Copy>() -> T {
    const { assert!(size_of::<T>() == 0, "{}", KEEPS_VALUES) };
    let nothing: *const T = std::ptr::NonNull::dangling().as_ptr();
    // SAFETY: reads no memory, since the type has no size, and a dangling pointer is aligned. The
    // process that wrote the capture had such a value, so the type has one, and `Copy` says that
    // having one more is allowed.
    unsafe { nothing.read() }
}

/// The tags of all captured variables: `()`, or the last one and the tags before it.
pub trait Tags {
    /// The captured values, nested in the same way.
    type Values;

    /// Reads all values, in the order in which they were captured.
    ///
    /// # Errors
    /// If one of them cannot be read.
    fn read(from: &mut BlobReader<'_>) -> Result<Self::Values, DecodeError>;
}

impl Tags for () {
    type Values = ();

    #[inline]
    fn read(_: &mut BlobReader<'_>) -> Result<(), DecodeError> {
        Ok(())
    }
}

impl<G: Tag, H: Tags> Tags for (G, H) {
    type Values = (G::Value, H::Values);

    #[inline]
    fn read(from: &mut BlobReader<'_>) -> Result<Self::Values, DecodeError> {
        let earlier = H::read(from)?;
        Ok((G::read(from)?, earlier))
    }
}

/// Captured variables, written. `H` are their [tags](Tags).
pub struct Captures<H> {
    /// Behind a vtable, so that cells need no code to drop it.
    written: Box<dyn Writing>,
    tags: PhantomData<fn(H) -> H>,
}

impl Captures<()> {
    /// No captured variable yet.
    pub fn none() -> Captures<()> {
        Captures { written: Box::new(WrittenSoFar::default()), tags: PhantomData }
    }
}

impl<H> Captures<H> {
    /// What was written.
    pub(super) fn into_writing(self) -> Box<dyn Writing> {
        self.written
    }

    /// Captures one more variable, whose value is written from where it is.
    #[inline]
    pub fn with<G: Tag>(mut self, name: &'static str, _: G, value: &G::Value) -> Captures<(G, H)> {
        self.written.add(name, &|to| G::write(value, to));
        Captures { written: self.written, tags: PhantomData }
    }
}

impl<H> fmt::Debug for Captures<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Captures").finish_non_exhaustive()
    }
}

/// Where captured variables are written.
pub(super) trait Writing {
    /// Writes a variable, unless an earlier one could not be written.
    fn add(
        &mut self,
        name: &'static str,
        write: &dyn Fn(&mut BlobWriter) -> Result<(), EncodeError>,
    );

    /// What was written, or the name of the first variable that could not be.
    fn finish(self: Box<Self>) -> Result<Blob, (&'static str, EncodeError)>;
}

#[derive(Default)]
struct WrittenSoFar {
    written: BlobWriter,
    failed: Option<(&'static str, EncodeError)>,
}

impl Writing for WrittenSoFar {
    fn add(
        &mut self,
        name: &'static str,
        write: &dyn Fn(&mut BlobWriter) -> Result<(), EncodeError>,
    ) {
        if self.failed.is_none() {
            self.failed = write(&mut self.written).err().map(|error| (name, error));
        }
    }

    fn finish(self: Box<Self>) -> Result<Blob, (&'static str, EncodeError)> {
        match self.failed {
            None => Ok(self.written.finish()),
            Some(failed) => Err(failed),
        }
    }
}

/// Functions and closures of any arguments `A`.
pub trait Callable<A> {
    /// What it returns.
    type Output;
    /// The pointer that it becomes if it keeps no values.
    type Pointer;

    /// Calls it.
    fn call(&self, arguments: A) -> Self::Output;
}

macro_rules! callable {
    ($($argument:ident)*) => {
        impl<F: Fn($($argument),*) -> R, R, $($argument),*> Callable<($($argument,)*)> for F {
            type Output = R;
            type Pointer = fn($($argument),*) -> R;

            #[inline]
            #[allow(non_snake_case)]
            fn call(&self, ($($argument,)*): ($($argument,)*)) -> R {
                self($($argument),*)
            }
        }
    };
}
callable!();
callable!(A);
callable!(A B);
callable!(A B C);
callable!(A B C D);
callable!(A B C D E);
callable!(A B C D E G);

/// First choice.
pub trait HowShipped<T> {
    /// How such a value travels.
    fn how(&self) -> Shipped<T>;
}

/// Second choice.
pub trait HowConjured<T, A> {
    /// How such a value travels.
    fn how(&self) -> Conjured<T>;
}

/// Last choice.
pub trait HowRefused<T> {
    /// How such a value travels.
    fn how(&self) -> Refused<T>;
}

impl<T: Portable> HowShipped<T> for &&Probe<T> {
    #[inline]
    fn how(&self) -> Shipped<T> {
        Shipped(PhantomData)
    }
}

impl<T: Copy + Callable<A>, A> HowConjured<T, A> for &Probe<T> {
    #[inline]
    fn how(&self) -> Conjured<T> {
        Conjured(PhantomData)
    }
}

impl<T> HowRefused<T> for Probe<T> {
    #[inline]
    fn how(&self) -> Refused<T> {
        Refused(PhantomData)
    }
}
