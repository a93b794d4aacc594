//! What processes do with pieces: sending the order, running it there, reading the answers.

use std::any::Any;
use std::ops::Range;
use std::panic::Location;
use std::sync::Arc;

use super::error::ArrayError;
use super::parts::Parts;
use crate::distributed::blob::{BlobReader, BlobWriter, DecodeError, EncodeError, Incoming, RefId};
use crate::distributed::capture::conjure;
use crate::distributed::function::{AnyValue, Callable, Trampoline, hold};
use crate::distributed::group::{self, Done, Order, Part};
use crate::distributed::jobs::not_read;
use crate::distributed::{CompositeError, Portable, Remote, RemoteError};

/// What a piece's work gives: a value to be sent back.
pub(crate) type Outcome = Result<Arc<dyn AnyValue>, ArrayError>;

/// Work that a process does: a function that is known by its type.
pub(crate) trait Body:
    Fn(&mut BlobReader<'_>) -> Outcome + Copy + Send + Sync + 'static
{
}

impl<B: Fn(&mut BlobReader<'_>) -> Outcome + Copy + Send + Sync + 'static> Body for B {}

struct Running<B>(B);

impl<B: Body> Callable for Running<B> {
    fn call(&self, arguments: &mut BlobReader<'_>) -> Result<Arc<dyn AnyValue>, DecodeError> {
        Ok(Arc::new(Reply((self.0)(arguments))))
    }
}

/// The code that other processes run to do this work.
pub(crate) fn code<B: Body>(_: B) -> Trampoline {
    |_| Ok(Arc::new(Running(conjure::<B>())))
}

/// What comes back: an error or nothing, then the value.
struct Reply(Outcome);

impl AnyValue for Reply {
    fn encode(self: Arc<Self>, to: &mut BlobWriter) -> Result<(), EncodeError> {
        match &self.0 {
            Ok(value) => {
                to.write(&None::<ArrayError>)?;
                Arc::clone(value).encode(to)
            }
            Err(error) => to.write(&Some(error.clone())),
        }
    }

    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }

    fn is_small(&self) -> bool {
        false
    }
}

/// Work that was done, and has no value.
pub(crate) fn nothing() -> Outcome {
    Ok(hold(()))
}

/// Reads a value that came with an order.
pub(crate) fn read<T: Portable>(from: &mut BlobReader<'_>) -> Result<T, ArrayError> {
    from.read().map_err(|error| ArrayError::Remote(not_read(error)))
}

/// An answer, after its error has been read.
pub(crate) fn reply(incoming: Result<Incoming, RemoteError>) -> Result<Incoming, ArrayError> {
    incoming.map_err(ArrayError::Remote)
}

/// The value of an answer.
pub(crate) fn value<R: Portable>(mut reply: Incoming) -> Result<R, ArrayError> {
    let mut reader = reply.reader();
    check(&mut reader)?;
    read(&mut reader)
}

/// Reads the first part of an answer: whether there is an error.
fn check(from: &mut BlobReader<'_>) -> Result<(), ArrayError> {
    match read::<Option<ArrayError>>(from)? {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

// The following are not generic, so that cells need not compile them.

/// Reads a number that came with an order.
pub(crate) fn read_number(from: &mut BlobReader<'_>) -> Result<usize, ArrayError> {
    read(from)
}

/// Reads ranges that came with an order.
pub(crate) fn read_ranges(from: &mut BlobReader<'_>) -> Result<Vec<Range<usize>>, ArrayError> {
    read(from)
}

/// Writes ranges.
pub(crate) fn write_ranges(
    to: &mut BlobWriter,
    ranges: &[Range<usize>],
) -> Result<(), EncodeError> {
    to.write(&ranges.to_vec())
}

/// Writes a function with its captures. What it takes and returns is not said.
pub(crate) fn write_function(
    to: &mut BlobWriter,
    function: Remote<(), ()>,
) -> Result<(), EncodeError> {
    to.write(&function)
}

/// Reads a function that came with an order, and finds its code. May load a module, and so block.
pub(crate) fn read_function(from: &mut BlobReader<'_>) -> Result<Arc<dyn Callable>, ArrayError> {
    Ok(read::<Remote<(), ()>>(from)?.shared().callable()?)
}

/// Writes a number.
pub(crate) fn write_number(to: &mut BlobWriter, number: usize) -> Result<(), EncodeError> {
    to.write(&number)
}

/// Calls a function with arguments that are written and read again.
pub(crate) fn call_by_bytes(
    function: &dyn Callable,
    write: &dyn Fn(&mut BlobWriter) -> Result<(), EncodeError>,
) -> Result<Arc<dyn AnyValue>, RemoteError> {
    let arguments = group::written(write)?;
    let mut arguments = arguments.arrive().map_err(not_read)?;
    function.call(&mut arguments.reader()).map_err(not_read)
}

/// Orders for the owners of an array's pieces.
pub(crate) struct Orders<'a> {
    /// The arrays whose pieces are used, for errors.
    pub(crate) arrays: &'a [&'a Parts],
    pub(crate) owners: &'a [usize],
    /// The pieces that are made.
    pub(crate) makes: &'a [RefId],
    pub(crate) place: &'a Location<'a>,
}

impl Orders<'_> {
    /// Has each owner do its work, for which `write` writes what it needs; blocks until all have.
    /// The pieces that were made, and the answers in the order of the pieces.
    pub(crate) fn run(
        &self,
        code: Trampoline,
        write: &mut dyn FnMut(usize, &mut BlobWriter) -> Result<(), EncodeError>,
    ) -> Result<(Vec<Part>, Vec<Incoming>), ArrayError> {
        let orders = self.owners.iter().enumerate().map(|(piece, &owner)| Order {
            process: u32::try_from(owner).unwrap_or(u32::MAX),
            makes: self.makes.get(piece).copied(),
            arguments: group::written(|to| write(piece, to)),
        });
        let Done { parts, results } = group::run(orders.collect(), code, self.place);
        let answers = results.into_iter().map(|result| self.look_for_errors(result));
        Ok((parts, all(answers.collect())?))
    }

    fn look_for_errors(
        &self,
        result: Result<Incoming, RemoteError>,
    ) -> Result<Incoming, ArrayError> {
        let explain = |error| super::parts::explain(self.arrays, error);
        let mut incoming = reply(result).map_err(explain)?;
        // The rest of the answer is read by those who know its type.
        check(&mut incoming.reader()).map_err(explain)?;
        Ok(incoming)
    }
}

/// The values of answers, in their order.
pub(crate) fn values<R: Portable>(answers: Vec<Incoming>) -> Result<Vec<R>, ArrayError> {
    answers.into_iter().map(value).collect()
}

/// All, or what failed: the failure itself if there is one or if it is not one of a remote call.
fn all<T>(results: Vec<Result<T, ArrayError>>) -> Result<Vec<T>, ArrayError> {
    let (mut values, mut errors) = (Vec::new(), Vec::new());
    for result in results {
        match result {
            Ok(value) => values.push(value),
            Err(ArrayError::Remote(error)) => errors.push(error),
            Err(other) => return Err(other),
        }
    }
    match errors.len() {
        0 => Ok(values),
        1 => Err(ArrayError::Remote(errors.remove(0))),
        _ => Err(ArrayError::Several(CompositeError { errors })),
    }
}
