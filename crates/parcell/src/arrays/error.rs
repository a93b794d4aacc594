//! What can go wrong with distributed arrays, as values that carry the facts.

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

pub(crate) use crate::distributed::error::OrRaise;
use crate::distributed::error::{Raise, raise_all};
use crate::distributed::{CompositeError, RemoteError};

/// Why an operation on a [`DArray`](super::DArray) gave no result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum ArrayError {
    /// Two shapes that must be equal, or fit, do not.
    #[error("{operation}: the shapes {} and {} do not fit", Shape(.left), Shape(.right))]
    Shapes {
        /// The operation.
        operation: String,
        /// The shape of the array whose method was called, or what was asked for.
        left: Vec<usize>,
        /// The shape of the other.
        right: Vec<usize>,
    },
    /// An array cannot be cut so.
    #[error("no layout: {what}")]
    Layout {
        /// What was asked for, and why it is not possible.
        what: String,
    },
    /// An index or a range outside of the array.
    #[error("{index} is outside of the array's shape {}", Shape(.shape))]
    Outside {
        /// What was asked for.
        index: String,
        /// The array's shape.
        shape: Vec<usize>,
    },
    /// A worker is gone that had a piece.
    #[error("{0}")]
    Lost(Box<LostPiece>),
    /// The array was closed, or the process that made it is gone.
    #[error("{array} is closed: its pieces are freed")]
    Closed {
        /// Which array.
        array: String,
    },
    /// Single elements are not read while [`allow_scalar`](super::allow_scalar) forbids it.
    #[error(
        "reading single elements of a DArray is switched off, since each costs a round trip: use \
         `to_array()`, `slice(…)` or `local_part()`, or `allow_scalar(true)`"
    )]
    ScalarForbidden,
    /// A system of equations has no solution, or many.
    #[error("{array} is singular: no pivot is left in column {column}")]
    Singular {
        /// The matrix.
        array: String,
        /// The column, from 0, that depends on those before it.
        column: usize,
    },
    /// Too many steps have not made the residual as small as was asked for.
    #[error(
        "not converged after {steps} steps: the residual is {residual:.3e} of the right side, and \
         {tolerance:e} was asked for"
    )]
    NotConverged {
        /// How many steps were taken.
        steps: usize,
        /// The last residual's norm, divided by that of the right side.
        residual: f64,
        /// What it should have come to.
        tolerance: f64,
    },
    /// Conjugate gradients need an operator that is symmetric and positive definite.
    #[error(
        "the operator is not positive definite: in step {step} a direction p has p·A(p) = \
         {product:e}"
    )]
    NotPositive {
        /// The step, from 1.
        step: usize,
        /// What must be positive.
        product: f64,
    },
    /// A file that cannot be read or written.
    #[error("{path}: {what}")]
    File {
        /// Which file.
        path: String,
        /// Why.
        what: String,
    },
    /// Something that this array, or this process, cannot do.
    #[error("{what}")]
    Refused {
        /// What, and why.
        what: String,
    },
    /// A remote call failed.
    #[error("{0}")]
    Remote(#[from] RemoteError),
    /// Several remote calls failed.
    #[error("{0}")]
    Several(CompositeError),
}

/// A piece of an array that is gone with its worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostPiece {
    /// Which array, in words: number and shape.
    pub array: String,
    /// The piece's number in the order of the grid.
    pub piece: usize,
    /// Its position in the grid.
    pub position: Vec<usize>,
    /// The indices of the elements that are lost, for each dimension.
    pub ranges: Vec<Range<usize>>,
    /// The worker that had it.
    pub worker: usize,
    /// How the worker ended.
    pub why: String,
    /// The pieces on other processes, which can still be read: number and process.
    pub left: Vec<(usize, usize)>,
}

impl fmt::Display for LostPiece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LostPiece { array, piece, position, ranges, worker, why, left } = self;
        let elements: usize = ranges.iter().map(ExactSizeIterator::len).product();
        write!(
            f,
            "{array}: piece {piece}, at {position:?} in the grid, is lost with worker {worker} \
             ({why}): the {elements} elements {}",
            Ranges(ranges)
        )?;
        if left.is_empty() {
            return write!(f, ", all there were");
        }
        let name = |(piece, process): &(usize, usize)| format!("{piece} on {process}");
        let shown: Vec<String> = left.iter().take(8).map(name).collect();
        let more = if left.len() > 8 { ", …" } else { "" };
        write!(f, "; `slice` can still read the pieces {}{more}", shown.join(", "))
    }
}

/// A shape in words: `3×4`.
pub(crate) struct Shape<'a>(pub(crate) &'a [usize]);

impl fmt::Display for Shape<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return write!(f, "()");
        }
        for (dimension, extent) in self.0.iter().enumerate() {
            write!(f, "{}{extent}", if dimension > 0 { "×" } else { "" })?;
        }
        Ok(())
    }
}

/// Ranges in words: `[0..3, 2..5]`.
pub(crate) struct Ranges<'a>(pub(crate) &'a [Range<usize>]);

impl fmt::Display for Ranges<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl Raise for ArrayError {
    #[cold]
    #[track_caller]
    fn raise(self) -> ! {
        match self {
            ArrayError::Remote(error) => error.raise(),
            ArrayError::Several(CompositeError { errors }) => raise_all(errors),
            other => std::panic::panic_any(other),
        }
    }
}

#[cold]
pub(crate) fn shapes(operation: &str, left: &[usize], right: &[usize]) -> ArrayError {
    ArrayError::Shapes {
        operation: operation.to_owned(),
        left: left.to_vec(),
        right: right.to_vec(),
    }
}
