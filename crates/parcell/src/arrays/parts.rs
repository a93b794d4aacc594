//! An array without its types: its layout, where its pieces are, and how they are made, found and
//! freed.

use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ndarray::Array;
use serde::{Deserialize, Serialize};

use super::element::{Element, Rank};
use super::error::{ArrayError, LostPiece, Shape};
use super::layout::Layout;
use super::work::Orders;
use crate::distributed::blob::{BlobReader, BlobWriter, EncodeError, Incoming, RefId};
use crate::distributed::function::Trampoline;
use crate::distributed::group::{self, Group};
use crate::distributed::local::NotUsable;
use crate::distributed::{RemoteError, node};

/// What every process may know of an array.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Parts {
    pub(crate) layout: Layout,
    /// The pieces' names, in the order of the grid.
    pub(crate) pieces: Vec<RefId>,
}

/// What one process has to do for one piece of an array.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) parts: Parts,
    pub(crate) piece: usize,
}

/// An array as the handles of one process share it.
pub(crate) struct Shared {
    pub(crate) group: Group,
    pub(crate) parts: Parts,
    closed: AtomicBool,
}

/// A piece where it lies. Whoever reads shares it; whoever changes it while others have a share
/// gets a copy of their own, so that what is on its way to another process stays as it was.
pub(crate) struct Piece<T, D> {
    elements: Arc<Array<T, D>>,
}

/// What an order says besides the job.
pub(crate) type Write<'a> = dyn FnMut(usize, &mut BlobWriter) -> Result<(), EncodeError> + 'a;

impl Parts {
    /// Names for pieces that will be made.
    pub(crate) fn new(layout: Layout) -> Parts {
        let id = |owner: &usize| group::new_part(u32::try_from(*owner).unwrap_or(u32::MAX));
        Parts { pieces: layout.procs().iter().map(id).collect(), layout }
    }

    /// Reads what came with an order.
    pub(crate) fn read(from: &mut BlobReader<'_>) -> Result<Parts, ArrayError> {
        super::work::read(from)
    }

    /// Reads what [`Parts::write_some`] wrote, or `None::<Parts>`.
    pub(crate) fn read_some(from: &mut BlobReader<'_>) -> Result<Option<Parts>, ArrayError> {
        super::work::read(from)
    }

    pub(crate) fn write(&self, to: &mut BlobWriter) -> Result<(), EncodeError> {
        to.write(self)
    }

    pub(crate) fn write_some(this: Option<&Parts>, to: &mut BlobWriter) -> Result<(), EncodeError> {
        to.write(&this.cloned())
    }

    /// The array in words.
    pub(crate) fn name(&self) -> String {
        let number = self.pieces.first().map_or(0, |id| id.number);
        format!("DArray {number} ({})", Shape(&self.layout.shape()))
    }

    pub(crate) fn closed(&self) -> ArrayError {
        ArrayError::Closed { array: self.name() }
    }

    fn not_usable(&self, why: NotUsable) -> ArrayError {
        ArrayError::Refused { what: format!("{}: {why}", self.name()) }
    }

    /// The first of this process's pieces.
    pub(crate) fn local(&self) -> Option<usize> {
        let me = node::me() as usize;
        self.layout.procs().iter().position(|owner| *owner == me)
    }

    /// A piece of this process.
    pub(crate) fn share<T: Element, D: Rank>(
        &self,
        piece: usize,
    ) -> Result<Arc<Array<T, D>>, ArrayError> {
        match look_named(self.pieces[piece], Arc::clone) {
            Some(piece) => piece.map_err(|why| self.not_usable(why)),
            None => Err(self.closed()),
        }
    }

    /// Changes a piece of this process. Nobody else uses it meanwhile.
    pub(crate) fn change<T: Element, D: Rank, R>(
        &self,
        piece: usize,
        change: impl FnOnce(&mut Array<T, D>) -> R,
    ) -> Result<R, ArrayError> {
        let change = |piece: &mut Piece<T, D>| change(Arc::make_mut(&mut piece.elements));
        match group::change(self.pieces[piece], change) {
            Some(done) => done.map_err(|why| self.not_usable(why)),
            None => Err(self.closed()),
        }
    }

    /// Replaces a piece of this process.
    pub(crate) fn replace<T: Element, D: Rank>(
        &self,
        piece: usize,
        elements: Array<T, D>,
    ) -> Result<(), ArrayError> {
        let elements = Arc::new(in_order(elements));
        let change = |piece: &mut Piece<T, D>| std::mem::replace(&mut piece.elements, elements);
        match group::change(self.pieces[piece], change) {
            Some(done) => done.map(drop).map_err(|why| self.not_usable(why)),
            None => Err(self.closed()),
        }
    }
}

/// Looks at a piece of this process by its name; `None` if it is not here any more.
pub(crate) fn look_named<T: Element, D: Rank, R>(
    id: RefId,
    look: impl FnOnce(&Arc<Array<T, D>>) -> R,
) -> Option<Result<R, NotUsable>> {
    group::look(id, |piece: &Piece<T, D>| look(&piece.elements))
}

/// The elements in row-major order, copied if they lie otherwise.
pub(crate) fn in_order<T: Clone, D: Rank>(array: Array<T, D>) -> Array<T, D> {
    if array.is_standard_layout() { array } else { array.as_standard_layout().into_owned() }
}

/// The elements of a piece.
pub(crate) fn slice<T, D: Rank>(piece: &Array<T, D>) -> &[T] {
    piece.as_slice().expect("pieces are kept in row-major order")
}

impl Job {
    /// Reads the order's first part.
    pub(crate) fn read(from: &mut BlobReader<'_>) -> Result<Job, ArrayError> {
        Ok(Job { parts: Parts::read(from)?, piece: super::work::read_number(from)? })
    }

    /// Keeps what was made, in the place for it.
    pub(crate) fn keep<T: Element, D: Rank>(
        &self,
        elements: Array<T, D>,
    ) -> Result<(), ArrayError> {
        self.check(elements.shape())?;
        self.keep_shared(Arc::new(in_order(elements)));
        Ok(())
    }

    fn check(&self, shape: &[usize]) -> Result<(), ArrayError> {
        let wanted = self.parts.layout.piece_shape(self.piece);
        if shape == wanted {
            return Ok(());
        }
        let name = format!("{}, piece {}", self.parts.name(), self.piece);
        Err(super::error::shapes(&name, &wanted, shape))
    }

    /// As [`Job::keep`], of the elements in row-major order.
    ///
    /// # Panics
    /// If there are not as many as the piece has.
    pub(crate) fn keep_elements<T: Element, D: Rank>(&self, elements: Vec<T>) {
        let shape = self.parts.layout.piece_shape(self.piece);
        self.keep_shared::<T, D>(Arc::new(shaped(&shape, elements)));
    }

    /// As [`Job::keep`], of what has the right shape and order.
    pub(crate) fn keep_shared<T: Element, D: Rank>(&self, elements: Arc<Array<T, D>>) {
        group::put(self.parts.pieces[self.piece], Piece { elements });
    }

    /// The piece itself, of this process.
    pub(crate) fn share<T: Element, D: Rank>(&self) -> Result<Arc<Array<T, D>>, ArrayError> {
        self.parts.share(self.piece)
    }
}

/// Elements in row-major order as an array.
pub(crate) fn shaped<T, D: Rank>(shape: &[usize], elements: Vec<T>) -> Array<T, D> {
    let mut dimension = D::zeros(shape.len());
    dimension.slice_mut().copy_from_slice(shape);
    Array::from_shape_vec(dimension, elements).expect("as many as the shape has")
}

impl Shared {
    pub(crate) fn of(group: Group, parts: Parts) -> Arc<Shared> {
        Arc::new(Shared { group, parts, closed: AtomicBool::new(false) })
    }

    /// Makes an array: each owner runs `code` with its [`Job`] and what `write` writes. `sources`
    /// are the arrays that are used.
    pub(crate) fn make(
        layout: Layout,
        sources: &[&Parts],
        place: &Location<'_>,
        code: Trampoline,
        write: &mut Write<'_>,
    ) -> Result<Arc<Shared>, ArrayError> {
        let (shared, _) = Shared::make_and_tell(layout, sources, place, code, write)?;
        Ok(shared)
    }

    /// As [`Shared::make`], with the answers.
    pub(crate) fn make_and_tell(
        layout: Layout,
        sources: &[&Parts],
        place: &Location<'_>,
        code: Trampoline,
        write: &mut Write<'_>,
    ) -> Result<(Arc<Shared>, Vec<Incoming>), ArrayError> {
        let parts = Parts::new(layout);
        check_owners(&parts)?;
        let owners = parts.layout.procs();
        let orders = Orders { arrays: sources, owners, makes: &parts.pieces, place };
        let (made, answers) = orders.run(code, &mut *with_job(&parts, write)?)?;
        Ok((Shared::of(Group::of(made), parts), answers))
    }

    /// Has each owner do something for its piece: each runs `code` with its [`Job`] and what `write`
    /// writes. The answers come in the order of the pieces.
    pub(crate) fn each(
        &self,
        sources: &[&Parts],
        place: &Location<'_>,
        code: Trampoline,
        write: &mut Write<'_>,
    ) -> Result<Vec<Incoming>, ArrayError> {
        let mut arrays = vec![&self.parts];
        arrays.extend(sources);
        let owners = self.parts.layout.procs();
        let orders = Orders { arrays: &arrays, owners, makes: &[], place };
        let (_, answers) = orders.run(code, &mut *with_job(&self.parts, write)?)?;
        Ok(answers)
    }

    /// What can be used: not closed by this process.
    pub(crate) fn open(&self) -> Result<&Parts, ArrayError> {
        if self.closed.load(Ordering::Relaxed) { Err(self.parts.closed()) } else { Ok(&self.parts) }
    }

    /// Shape, grid and owners in words.
    pub(crate) fn words(&self) -> String {
        let layout = &self.parts.layout;
        let (shape, grid) = (layout.shape(), layout.grid());
        let closed = if self.open().is_err() { ", closed" } else { "" };
        let (shape, grid, owners) = (Shape(&shape), Shape(&grid), layout.procs());
        format!("DArray({shape} as {grid} pieces on processes {owners:?}{closed})")
    }

    pub(crate) fn close(&self, place: &Location<'_>) -> Result<(), ArrayError> {
        if self.closed.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        self.group.free(place).map_err(ArrayError::Remote)
    }
}

/// Writes the job before the rest; what is the same for all owners is encoded once.
fn with_job<'a>(parts: &Parts, write: &'a mut Write<'_>) -> Result<Box<Write<'a>>, ArrayError> {
    let encoded = group::written(|to| to.write(parts))?;
    Ok(Box::new(move |piece, to| {
        to.append(&encoded);
        to.write(&piece)?;
        write(piece, to)
    }))
}

/// Whether all owners are there.
fn check_owners(parts: &Parts) -> Result<(), ArrayError> {
    for owner in parts.layout.procs() {
        crate::distributed::procs::checked(node::node(), *owner)?;
    }
    Ok(())
}

/// What a failure means to arrays: that a process is gone means that its pieces are.
pub(crate) fn explain(arrays: &[&Parts], error: ArrayError) -> ArrayError {
    let ArrayError::Remote(RemoteError::ProcessExited { worker, why }) = error else {
        return error;
    };
    for parts in arrays {
        let layout = &parts.layout;
        if let Some(piece) = layout.procs().iter().position(|owner| *owner == worker) {
            let others = layout.procs().iter().copied().enumerate();
            return ArrayError::Lost(Box::new(LostPiece {
                array: parts.name(),
                piece,
                position: layout.position(piece),
                ranges: layout.ranges(piece),
                worker,
                why,
                left: others.filter(|(_, owner)| *owner != worker).collect(),
            }));
        }
    }
    ArrayError::Remote(RemoteError::ProcessExited { worker, why })
}
