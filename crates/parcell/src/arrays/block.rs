//! Bringing parts of arrays to where they are needed: each owner sends what it has of a block, from
//! where it lies if it is a whole piece, all at the same time.

use std::any::{Any, type_name};
use std::ops::Range;
use std::panic::Location;
use std::sync::Arc;

use ndarray::{Array, ArrayView};

use super::element::{Element, Rank};
use super::error::ArrayError;
use super::layout::extents;
use super::parts::{Parts, look_named, shaped, slice};
use super::work::{self, Orders, Outcome, code, read};
use crate::distributed::blob::{BlobReader, BlobWriter, EncodeError, Incoming, KeepAlive, RefId};
use crate::distributed::function::{AnyValue, Trampoline};
use crate::distributed::local::NotUsable;
use crate::distributed::node;

/// A block of an array, on this process, in row-major order.
pub(crate) enum Block<T, D> {
    /// A piece of this process as it lies, or was before it was changed.
    Shared(Arc<Array<T, D>>),
    Own(Vec<T>, Vec<usize>),
}

impl<T: Element, D: Rank> Block<T, D> {
    pub(crate) fn elements(&self) -> &[T] {
        match self {
            Block::Shared(array) => slice(array),
            Block::Own(elements, _) => elements,
        }
    }

    pub(crate) fn shape(&self) -> &[usize] {
        match self {
            Block::Shared(array) => array.shape(),
            Block::Own(_, shape) => shape,
        }
    }

    pub(crate) fn view(&self) -> ArrayView<'_, T, D> {
        let mut dimension = D::zeros(self.shape().len());
        dimension.slice_mut().copy_from_slice(self.shape());
        ArrayView::from_shape(dimension, self.elements()).expect("as many as the shape has")
    }

    pub(crate) fn into_array(self) -> Array<T, D> {
        match self {
            Block::Shared(array) => Arc::unwrap_or_clone(array),
            Block::Own(elements, shape) => shaped(&shape, elements),
        }
    }

    pub(crate) fn into_shared(self) -> Arc<Array<T, D>> {
        match self {
            Block::Shared(array) => array,
            Block::Own(elements, shape) => Arc::new(shaped(&shape, elements)),
        }
    }
}

/// A block, or its elements, on the way to another process: as a vector.
struct Sending<T, D>(Block<T, D>);

impl<T: Element, D: Rank> AnyValue for Sending<T, D> {
    fn encode(self: Arc<Self>, to: &mut BlobWriter) -> Result<(), EncodeError> {
        match &self.0 {
            // Sent from where it lies.
            Block::Shared(array)
                if to.write_elements_of(Arc::clone(array) as KeepAlive, type_name::<Vec<T>>()) =>
            {
                Ok(())
            }
            Block::Shared(array) => to.write(&slice(array).to_vec()),
            Block::Own(elements, _) => to.write(elements),
        }
    }

    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }

    fn is_small(&self) -> bool {
        false
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
    if is_whole(&wanted, block)
        && let Some(one) = found.pop()
    {
        return Ok(one);
    }
    let (shape, count) = shape_and_count(block);
    let mut elements = Vec::with_capacity(count);
    assemble(block, &wanted, &mut |part, range| {
        elements.extend_from_slice(&found[part].elements()[range]);
    });
    Ok(Block::Own(elements, shape))
}

/// Whether a block is the only part that is wanted.
fn is_whole(wanted: &[(usize, Vec<Range<usize>>)], block: &[Range<usize>]) -> bool {
    matches!(wanted, [(_, part)] if part == block)
}

fn shape_and_count(block: &[Range<usize>]) -> (Vec<usize>, usize) {
    let shape = extents(block);
    let count = shape.iter().product();
    (shape, count)
}

/// Brings parts of pieces here. Pieces may have a margin on all sides, whose width this is.
pub(crate) fn fetch<T: Element, D: Rank>(
    parts: &Parts,
    wanted: &[(usize, Vec<Range<usize>>)],
    margin: usize,
    place: &Location<'_>,
) -> Result<Vec<Block<T, D>>, ArrayError> {
    let requests = requests(parts, wanted, margin);
    let mut replies = ask(parts, &requests, code(send_part::<T, D>), place)?;
    let mut found = Vec::with_capacity(requests.len());
    for (request, (_, part)) in requests.iter().zip(wanted) {
        found.push(match request.owner {
            None => take(&request.wanted)?,
            Some(_) => {
                let reply = replies.next().expect("every owner has answered");
                Block::Own(work::value::<Vec<T>>(reply)?, extents(part))
            }
        });
    }
    Ok(found)
}

/// A part of a piece, and who has it; nobody if it is here.
struct Request {
    owner: Option<usize>,
    wanted: Wanted,
}

fn requests(parts: &Parts, wanted: &[(usize, Vec<Range<usize>>)], margin: usize) -> Vec<Request> {
    let me = node::me() as usize;
    let request = |(piece, part): &(usize, Vec<Range<usize>>)| {
        let ranges = inside(&parts.layout.ranges(*piece), part, margin);
        let owner = Some(parts.layout.procs()[*piece]).filter(|owner| *owner != me);
        Request { owner, wanted: (parts.pieces[*piece], parts.name(), ranges) }
    };
    wanted.iter().map(request).collect()
}

/// Asks the owners of what is elsewhere, and blocks until all have answered.
fn ask(
    parts: &Parts,
    requests: &[Request],
    code: Trampoline,
    place: &Location<'_>,
) -> Result<std::vec::IntoIter<Incoming>, ArrayError> {
    let remote: Vec<&Request> = requests.iter().filter(|one| one.owner.is_some()).collect();
    if remote.is_empty() {
        return Ok(Vec::new().into_iter());
    }
    let owners: Vec<usize> = remote.iter().filter_map(|one| one.owner).collect();
    let orders = Orders { arrays: &[parts], owners: &owners, makes: &[], place };
    let (_, replies) = orders.run(code, &mut |at, to| to.write(&remote[at].wanted))?;
    Ok(replies.into_iter())
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
    Ok(Arc::new(Sending(take::<T, D>(&read_wanted(from)?)?)))
}

fn read_wanted(from: &mut BlobReader<'_>) -> Result<Wanted, ArrayError> {
    read(from)
}

fn take<T: Element, D: Rank>(wanted: &Wanted) -> Result<Block<T, D>, ArrayError> {
    let (id, array, ranges) = wanted;
    let block = look_named::<T, D, _>(*id, |piece| match ranges {
        None => Block::Shared(Arc::clone(piece)),
        // While somebody has a share, changing the piece means copying all of it; so none is taken.
        Some(ranges) => Block::Own(cut_out(slice(piece), piece.shape(), ranges), extents(ranges)),
    });
    match block {
        Some(Ok(block)) => Ok(block),
        Some(Err(why)) => Err(not_there(array, Some(why))),
        None => Err(not_there(array, None)),
    }
}

#[cold]
fn not_there(array: &str, why: Option<NotUsable>) -> ArrayError {
    match why {
        Some(why) => ArrayError::Refused { what: format!("{array}: {why}") },
        None => ArrayError::Closed { array: array.to_owned() },
    }
}

/// A copy of a part of an array whose elements are in row-major order.
pub(crate) fn cut_out<T: Clone>(
    elements: &[T],
    shape: &[usize],
    ranges: &[Range<usize>],
) -> Vec<T> {
    let (_, count) = shape_and_count(ranges);
    let mut part = Vec::with_capacity(count);
    cut_rows(0, shape, ranges, &mut |range| part.extend_from_slice(&elements[range]));
    part
}

// What is copied is worked out without the elements' type, so that cells need not compile it.

/// Gives what lies side by side in a part of an array, which begins with the element `first`.
fn cut_rows(
    first: usize,
    shape: &[usize],
    ranges: &[Range<usize>],
    copy: &mut dyn FnMut(Range<usize>),
) {
    let ([_, inner @ ..], [range, ranges @ ..]) = (shape, ranges) else {
        return copy(first..first + 1);
    };
    let stride: usize = inner.iter().product();
    let rows = first + range.start * stride..first + range.end * stride;
    if extents(ranges) == inner {
        // What is left lies side by side.
        copy(rows);
    } else if stride > 0 {
        rows.step_by(stride).for_each(|row| cut_rows(row, inner, ranges, copy));
    }
}

/// Gives what has to be copied, part and elements, to put the parts of a block together in row-major
/// order.
fn assemble(
    block: &[Range<usize>],
    parts: &[(usize, Vec<Range<usize>>)],
    copy: &mut dyn FnMut(usize, Range<usize>),
) {
    let mut whole: Vec<Row<'_>> = Vec::new();
    for (number, (_, ranges)) in parts.iter().enumerate() {
        whole.push((number, ranges, 0..extents(ranges).iter().product()));
    }
    assemble_rows(block, &whole, 0, copy);
}

/// A part's number, its ranges, and the elements of those rows of it that are looked at.
type Row<'a> = (usize, &'a [Range<usize>], Range<usize>);

/// All parts agree with the block in the dimensions before `dimension`: their first there is the row
/// that is wanted now.
fn assemble_rows(
    block: &[Range<usize>],
    parts: &[Row<'_>],
    dimension: usize,
    copy: &mut dyn FnMut(usize, Range<usize>),
) {
    let mut begin = 0;
    while begin < parts.len() {
        // The parts that share their range here stand side by side, or as a grid beyond.
        let range = parts[begin].1[dimension].clone();
        let same: Vec<_> =
            parts.iter().filter(|(_, part, _)| part[dimension] == range).cloned().collect();
        match &same[..] {
            // All that is left of it lies side by side.
            [(number, part, elements)] if part[dimension + 1..] == block[dimension + 1..] => {
                copy(*number, elements.clone());
            }
            _ => {
                for row in 0..range.len() {
                    let rows = row_of(&same, row, range.len());
                    assemble_rows(block, &rows, dimension + 1, copy);
                }
            }
        }
        // Parts come in the order of the grid: those of the next range follow the last of these.
        let last = parts.iter().rposition(|(_, part, _)| part[dimension] == range);
        begin = last.unwrap_or(begin) + 1;
    }
}

/// One row of several parts that have equally many.
fn row_of<'a>(parts: &[Row<'a>], row: usize, rows: usize) -> Vec<Row<'a>> {
    let cut = |(number, part, elements): &Row<'a>| {
        let stride = elements.len() / rows;
        let start = elements.start + row * stride;
        (*number, *part, start..start + stride)
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
    let mut wide = Vec::with_capacity(shape.iter().product());
    let elements = have.elements();
    repeat(0, have.shape(), shape, &mut |range| wide.extend_from_slice(&elements[range]));
    Block::Own(wide, shape.to_vec())
}

/// Gives what has to be copied, in order, to repeat elements, of which `first` is the first.
fn repeat(first: usize, have: &[usize], wanted: &[usize], copy: &mut dyn FnMut(Range<usize>)) {
    let stride: usize = have.iter().skip(1).product();
    match (have, wanted) {
        _ if have == wanted => copy(first..first + have.iter().product::<usize>()),
        ([extent, have @ ..], [wide, wanted @ ..]) => {
            for row in 0..*wide {
                let row = if extent == wide { row } else { 0 };
                repeat(first + row * stride, have, wanted, copy);
            }
        }
        _ => unreachable!("both have the same rank"),
    }
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
            let copies: Vec<_> =
                wanted.iter().map(|(_, part)| cut_out(slice(&whole), &shape, part)).collect();
            let mut together = Vec::new();
            assemble(&block, &wanted, &mut |part, range| {
                together.extend_from_slice(&copies[part][range]);
            });
            let part = whole.slice_each_axis(|axis| block[axis.axis.index()].clone().into());
            prop_assert_eq!(together, part.iter().copied().collect::<Vec<_>>());
        }
    }
}
