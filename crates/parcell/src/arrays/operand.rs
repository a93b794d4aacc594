//! What an operation on an array may take besides: another array, cut as it may be, or an array of
//! the calling process.

use std::ops::Range;
use std::panic::Location;

use ndarray::{Array, ArrayView};

use super::block::{Block, collect, cut_out, stretch, stretched};
use super::darray::DArray;
use super::element::{Element, Rank};
use super::error::ArrayError;
use super::layout::extents;
use super::parts::Parts;
use super::work::{read, read_ranges, write_ranges};
use crate::distributed::blob::{BlobReader, BlobWriter, EncodeError};

/// An array that takes part in an operation: a [`DArray`] of any layout, of which each owner fetches
/// what it needs, or an ndarray array of the calling process, of which each owner is sent what it
/// needs. Where it has one element along a dimension, that one is used for all.
pub trait Operand<U, D> {
    #[doc(hidden)]
    fn extents(&self) -> Vec<usize>;

    /// Writes what an owner needs to have a block.
    #[doc(hidden)]
    fn write(&self, block: &[Range<usize>], to: &mut BlobWriter) -> Result<(), EncodeError>;

    #[doc(hidden)]
    fn parts(&self) -> Source<'_>;
}

/// The array that an operand is, if it is a distributed one.
#[doc(hidden)]
pub struct Source<'a>(pub(crate) Result<Option<&'a Parts>, ArrayError>);

impl<U: Element, D: Rank> Operand<U, D> for &DArray<U, D> {
    fn extents(&self) -> Vec<usize> {
        self.shape()
    }

    fn write(&self, _: &[Range<usize>], to: &mut BlobWriter) -> Result<(), EncodeError> {
        Parts::write_some(Some(&self.shared().parts), to)
    }

    fn parts(&self) -> Source<'_> {
        Source(self.open().map(Some))
    }
}

impl<U: Element, D: Rank> Operand<U, D> for DArray<U, D> {
    fn extents(&self) -> Vec<usize> {
        self.shape()
    }

    fn write(&self, block: &[Range<usize>], to: &mut BlobWriter) -> Result<(), EncodeError> {
        (&self).write(block, to)
    }

    fn parts(&self) -> Source<'_> {
        Source(self.open().map(Some))
    }
}

impl<U: Element, D: Rank> Operand<U, D> for &Array<U, D> {
    fn extents(&self) -> Vec<usize> {
        self.shape().to_vec()
    }

    fn write(&self, block: &[Range<usize>], to: &mut BlobWriter) -> Result<(), EncodeError> {
        Parts::write_some(None, to)?;
        write_block(self.view(), block, to)
    }

    fn parts(&self) -> Source<'_> {
        Source(Ok(None))
    }
}

impl<U: Element, D: Rank> Operand<U, D> for ArrayView<'_, U, D> {
    fn extents(&self) -> Vec<usize> {
        self.shape().to_vec()
    }

    fn write(&self, block: &[Range<usize>], to: &mut BlobWriter) -> Result<(), EncodeError> {
        Parts::write_some(None, to)?;
        write_block(self.view(), block, to)
    }

    fn parts(&self) -> Source<'_> {
        Source(Ok(None))
    }
}

/// Writes a block of an array of this process.
pub(crate) fn write_block<U: Element, D: Rank>(
    array: ArrayView<'_, U, D>,
    block: &[Range<usize>],
    to: &mut BlobWriter,
) -> Result<(), EncodeError> {
    let elements = match array.as_slice() {
        Some(elements) => cut_out(elements, array.shape(), block),
        None => array
            .slice_each_axis(|axis| block[axis.axis.index()].clone().into())
            .iter()
            .cloned()
            .collect(),
    };
    to.write_owned(std::sync::Arc::new(elements))
}

/// An operand that was checked against the array with which it is combined.
pub(crate) struct Checked<'a> {
    operation: &'a str,
    whole: &'a [usize],
    own: Vec<usize>,
}

impl<'a> Checked<'a> {
    /// # Errors
    /// [`ArrayError::Shapes`] unless the shapes are equal or the operand's can be stretched.
    pub(crate) fn new<U, D>(
        operation: &'a str,
        whole: &'a [usize],
        operand: &impl Operand<U, D>,
    ) -> Result<Checked<'a>, ArrayError> {
        Checked::extents(operation, whole, operand.extents())
    }

    fn extents(
        operation: &'a str,
        whole: &'a [usize],
        own: Vec<usize>,
    ) -> Result<Checked<'a>, ArrayError> {
        let all: Vec<Range<usize>> = whole.iter().map(|extent| 0..*extent).collect();
        stretched(operation, &all, whole, &own)?;
        Ok(Checked { operation, whole, own })
    }

    /// The block of the operand that belongs to a block of the whole.
    fn block(&self, block: &[Range<usize>]) -> Vec<Range<usize>> {
        stretched(self.operation, block, self.whole, &self.own).expect("was checked")
    }

    /// Writes the block of the operand that belongs to a block of the whole.
    pub(crate) fn write<U, D>(
        &self,
        operand: &impl Operand<U, D>,
        block: &[Range<usize>],
        to: &mut BlobWriter,
    ) -> Result<(), EncodeError> {
        let block = self.block(block);
        write_ranges(to, &block)?;
        operand.write(&block, to)
    }
}

/// Reads an operand where it is needed, and fetches it if it is a distributed one. Its block has
/// this shape.
pub(crate) fn bring<U: Element, D: Rank>(
    from: &mut BlobReader<'_>,
    shape: &[usize],
) -> Result<Block<U, D>, ArrayError> {
    let block = read_ranges(from)?;
    let have = match Parts::read_some(from)? {
        Some(parts) => collect(&parts, &block, Location::caller())?,
        None => {
            let own: Vec<U> = read(from)?;
            Block::Own(own, extents(&block))
        }
    };
    Ok(stretch(have, shape))
}
