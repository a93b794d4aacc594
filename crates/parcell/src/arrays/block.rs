//! Bringing parts of arrays to where they are needed: each owner sends what it has of a block, from
//! where it lies if it is a whole piece, all at the same time.

use std::ops::{Deref, Range};
use std::panic::Location;
use std::sync::Arc;

use ndarray::{Array, Slice};

use super::element::{Element, Rank};
use super::error::ArrayError;
use super::layout::extents;
use super::parts::{Parts, explain, in_order, look_named, shaped, slice};
use super::work::{self, Orders, Outcome, code, read};
use crate::distributed::blob::{BlobReader, RefId};
use crate::distributed::function::Held;
use crate::distributed::node;

/// A block of an array, on this process.
pub(crate) enum Block<T, D> {
    /// A piece of this process as it lies, or one that was changed meanwhile.
    Shared(Arc<Array<T, D>>),
    Own(Array<T, D>),
}

impl<T, D> Deref for Block<T, D> {
    type Target = Array<T, D>;

    fn deref(&self) -> &Array<T, D> {
        match self {
            Block::Shared(array) => array,
            Block::Own(array) => array,
        }
    }
}

impl<T: Clone, D: Rank> Block<T, D> {
    pub(crate) fn into_array(self) -> Array<T, D> {
        match self {
            Block::Shared(array) => Arc::unwrap_or_clone(array),
            Block::Own(array) => array,
        }
    }

    pub(crate) fn into_shared(self) -> Arc<Array<T, D>> {
        match self {
            Block::Shared(array) => array,
            Block::Own(array) => Arc::new(array),
        }
    }
}

/// A part of a piece that is wanted; all of it if there are no ranges.
type Wanted = (RefId, String, Option<Vec<Range<usize>>>);

/// Brings a block here, in row-major order. Costs a message to each other owner of a part, and the
/// part back; blocks until all are here.
pub(crate) fn collect<T: Element, D: Rank>(
    parts: &Parts,
    block: &[Range<usize>],
    place: &Location<'_>,
) -> Result<Block<T, D>, ArrayError> {
    let wanted = parts.layout.intersections(block);
    let mut found = fetch::<T, D>(parts, &wanted, 0, place)?;
    if let [(_, part)] = &wanted[..]
        && part == block
        && let Some(one) = found.pop()
    {
        return Ok(one);
    }
    let views: Vec<(&[Range<usize>], &[T])> =
        wanted.iter().zip(&found).map(|((_, part), have)| (&part[..], slice(have))).collect();
    let mut elements = Vec::with_capacity(extents(block).iter().product());
    assemble(block, &views, 0, &mut elements);
    Ok(Block::Own(shaped(&extents(block), elements)))
}

/// Brings parts of pieces here. Pieces may have a margin on all sides, whose width this is.
pub(crate) fn fetch<T: Element, D: Rank>(
    parts: &Parts,
    wanted: &[(usize, Vec<Range<usize>>)],
    margin: usize,
    place: &Location<'_>,
) -> Result<Vec<Block<T, D>>, ArrayError> {
    let me = node::me() as usize;
    let order = |(piece, part): &(usize, Vec<Range<usize>>)| -> Wanted {
        (parts.pieces[*piece], parts.name(), inside(&parts.layout.ranges(*piece), part, margin))
    };
    let is_here = |piece: usize| parts.layout.procs()[piece] == me;
    let remote: Vec<_> = wanted.iter().filter(|(piece, _)| !is_here(*piece)).collect();
    let owners: Vec<usize> = remote.iter().map(|(piece, _)| parts.layout.procs()[*piece]).collect();
    let orders = Orders { arrays: &[parts], owners: &owners, makes: &[], place };
    let mut replies = Vec::new();
    if !remote.is_empty() {
        let write = &mut |at: usize, to: &mut crate::distributed::blob::BlobWriter| {
            to.write(&order(remote[at]))
        };
        replies = orders.run(code(send_part::<T, D>), write)?.1;
    }
    let mut replies = replies.into_iter();
    let bring = |one: &(usize, Vec<Range<usize>>)| {
        if is_here(one.0) {
            return take::<T, D>(order(one)).map_err(|error| explain(&[parts], error));
        }
        let reply = replies.next().expect("every owner has answered");
        work::value::<Array<T, D>>(reply).map(Block::Own)
    };
    wanted.iter().map(bring).collect()
}

/// A part of a piece within that piece; `None` for all of it.
fn inside(
    piece: &[Range<usize>],
    part: &[Range<usize>],
    margin: usize,
) -> Option<Vec<Range<usize>>> {
    if piece == part && margin == 0 {
        return None;
    }
    let moved = |(piece, part): (&Range<usize>, &Range<usize>)| {
        margin + part.start - piece.start..margin + part.end - piece.start
    };
    Some(piece.iter().zip(part).map(moved).collect())
}

/// What the owner of a piece does when a part is wanted.
fn send_part<T: Element, D: Rank>(from: &mut BlobReader<'_>) -> Outcome {
    let part = take::<T, D>(read(from)?)?;
    // Sent from where it lies.
    Ok(Arc::new(Held(part.into_shared())))
}

fn take<T: Element, D: Rank>((id, array, ranges): Wanted) -> Result<Block<T, D>, ArrayError> {
    let block = look_named::<T, D, _>(id, |piece| match &ranges {
        None => Block::Shared(Arc::clone(piece)),
        // While somebody has a share, changing the piece means copying all of it; so none is taken.
        Some(ranges) => Block::Own(cut_out(piece, ranges)),
    });
    match block {
        Some(block) => block.map_err(|why| ArrayError::Refused { what: format!("{array}: {why}") }),
        None => Err(ArrayError::Closed { array }),
    }
}

/// A copy of a part of an array.
pub(crate) fn cut_out<T: Clone, D: Rank>(
    array: &Array<T, D>,
    ranges: &[Range<usize>],
) -> Array<T, D> {
    let part = array.slice_each_axis(|axis| Slice::from(ranges[axis.axis.index()].clone()));
    in_order(part.to_owned())
}

/// Puts parts together in row-major order. All parts agree with the block in the dimensions before
/// `dimension`: their first there is the row that is wanted now.
fn assemble<T: Clone>(
    block: &[Range<usize>],
    parts: &[(&[Range<usize>], &[T])],
    dimension: usize,
    to: &mut Vec<T>,
) {
    let mut begin = 0;
    while begin < parts.len() {
        // The parts that share their range here stand side by side, or as a grid beyond.
        let range = parts[begin].0[dimension].clone();
        let same: Vec<_> =
            parts.iter().filter(|(part, _)| part[dimension] == range).copied().collect();
        match &same[..] {
            // All that is left of it lies side by side.
            [(part, elements)] if part[dimension + 1..] == block[dimension + 1..] => {
                to.extend_from_slice(elements);
            }
            _ => {
                for row in 0..range.len() {
                    assemble(block, &row_of(&same, row, range.len()), dimension + 1, to);
                }
            }
        }
        // Parts come in the order of the grid: those of the next range follow the last of these.
        begin = parts.iter().rposition(|(part, _)| part[dimension] == range).unwrap_or(begin) + 1;
    }
}

/// One row of several parts that have equally many.
fn row_of<'a, T>(
    parts: &[(&'a [Range<usize>], &'a [T])],
    row: usize,
    rows: usize,
) -> Vec<(&'a [Range<usize>], &'a [T])> {
    let cut = |(part, elements): &(&'a [Range<usize>], &'a [T])| {
        let stride = elements.len() / rows;
        (*part, &elements[row * stride..(row + 1) * stride])
    };
    parts.iter().map(cut).collect()
}

/// The block that one array needs of another which may have a single element along some
/// dimensions, to be repeated.
pub(crate) fn stretched(
    operation: &str,
    block: &[Range<usize>],
    whole: &[usize],
    other: &[usize],
) -> Result<Vec<Range<usize>>, ArrayError> {
    let fits = whole.len() == other.len()
        && whole.iter().zip(other).all(|(whole, other)| whole == other || *other == 1);
    if !fits {
        return Err(super::error::shapes(operation, whole, other));
    }
    let pairs = block.iter().zip(whole).zip(other);
    let range = |((block, whole), other): ((&Range<usize>, &usize), &usize)| {
        if whole == other { block.clone() } else { 0..1 }
    };
    Ok(pairs.map(range).collect())
}

/// Repeats what has a single element along a dimension where more are wanted.
pub(crate) fn stretch<T: Element, D: Rank>(have: Block<T, D>, shape: &[usize]) -> Block<T, D> {
    if have.shape() == shape {
        return have;
    }
    let wide = have.broadcast(shape).expect("single elements can be repeated").to_owned();
    let wide = wide.into_dimensionality().expect("the rank is the same");
    Block::Own(in_order(wide))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arrays::Layout;
    use ndarray::ArrayD;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn parts_are_put_together(
            shape in prop::collection::vec(0_usize..7, 1..=4),
            processes in 1_usize..30,
        ) {
            let count: usize = shape.iter().product();
            let whole = ArrayD::from_shape_vec(&shape[..], (0..count).collect()).unwrap();
            let layout = Layout::even(&shape, &vec![2; processes]).unwrap();
            let block: Vec<Range<usize>> = shape.iter().map(|extent| extent / 3..*extent).collect();
            let wanted = layout.intersections(&block);
            let copies: Vec<_> = wanted.iter().map(|(_, part)| cut_out(&whole, part)).collect();
            let views: Vec<(&[Range<usize>], &[usize])> =
                wanted.iter().zip(&copies).map(|((_, part), have)| (&part[..], slice(have))).collect();
            let mut together = Vec::new();
            assemble(&block, &views, 0, &mut together);
            prop_assert_eq!(together, cut_out(&whole, &block).into_raw_vec_and_offset().0);
        }
    }
}
