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
    if let [(_, part)] = &wanted[..]
        && part == block
        && let Some(one) = found.pop()
    {
        return Ok(one);
    }
    let views: Vec<(&[Range<usize>], &[T])> =
        wanted.iter().zip(&found).map(|((_, part), have)| (&part[..], have.elements())).collect();
    let mut elements = Vec::with_capacity(extents(block).iter().product());
    assemble(block, &views, 0, &mut elements);
    Ok(Block::Own(elements, extents(block)))
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
    for (request, (_, part)) in requests.into_iter().zip(wanted) {
        found.push(match request.owner {
            None => take(request.wanted)?,
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
    Ok(Arc::new(Sending(take::<T, D>(read_wanted(from)?)?)))
}

fn read_wanted(from: &mut BlobReader<'_>) -> Result<Wanted, ArrayError> {
    read(from)
}

fn take<T: Element, D: Rank>((id, array, ranges): Wanted) -> Result<Block<T, D>, ArrayError> {
    let block = look_named::<T, D, _>(id, |piece| match &ranges {
        None => Block::Shared(Arc::clone(piece)),
        // While somebody has a share, changing the piece means copying all of it; so none is taken.
        Some(ranges) => Block::Own(cut_out(slice(piece), piece.shape(), ranges), extents(ranges)),
    });
    match block {
        Some(block) => block.map_err(|why| ArrayError::Refused { what: format!("{array}: {why}") }),
        None => Err(ArrayError::Closed { array }),
    }
}

/// A copy of a part of an array whose elements are in row-major order.
pub(crate) fn cut_out<T: Clone>(
    elements: &[T],
    shape: &[usize],
    ranges: &[Range<usize>],
) -> Vec<T> {
    let mut part = Vec::with_capacity(extents(ranges).iter().product());
    cut_rows(elements, shape, ranges, &mut part);
    part
}

fn cut_rows<T: Clone>(elements: &[T], shape: &[usize], ranges: &[Range<usize>], to: &mut Vec<T>) {
    let ([_, inner @ ..], [range, ranges @ ..]) = (shape, ranges) else {
        return to.extend_from_slice(elements);
    };
    let stride: usize = inner.iter().product();
    let rows = &elements[range.start * stride..range.end * stride];
    if extents(ranges) == inner {
        // What is left lies side by side.
        to.extend_from_slice(rows);
    } else if stride > 0 {
        rows.chunks(stride).for_each(|row| cut_rows(row, inner, ranges, to));
    }
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
    let mut wide = Vec::with_capacity(shape.iter().product());
    repeat(have.elements(), have.shape(), shape, &mut wide);
    Block::Own(wide, shape.to_vec())
}

fn repeat<T: Clone>(elements: &[T], have: &[usize], wanted: &[usize], to: &mut Vec<T>) {
    let ([extent, have @ ..], [wide, wanted @ ..]) = (have, wanted) else {
        return to.extend_from_slice(elements);
    };
    let stride: usize = have.iter().product();
    for row in 0..*wide {
        let row = if extent == wide { row } else { 0 };
        repeat(&elements[row * stride..(row + 1) * stride], have, wanted, to);
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
            let views: Vec<(&[Range<usize>], &[usize])> =
                wanted.iter().zip(&copies).map(|((_, part), have)| (&part[..], &have[..])).collect();
            let mut together = Vec::new();
            assemble(&block, &views, 0, &mut together);
            let part = whole.slice_each_axis(|axis| block[axis.axis.index()].clone().into());
            prop_assert_eq!(together, part.iter().copied().collect::<Vec<_>>());
        }
    }
}
