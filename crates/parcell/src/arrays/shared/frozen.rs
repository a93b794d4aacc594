//! Arrays that nobody can change any more, and so may be read as ordinary ones.
//!
//! The system itself sees to it: memory is sealed against writing once nobody has it mapped
//! writable, which the system refuses to do while anybody has. After that no process can map it
//! writable.

use std::fmt;
use std::marker::PhantomData;
use std::os::fd::OwnedFd;
use std::panic::Location;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ndarray::ArrayView;
use rustix::io::Errno;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::array::{SharedArray, received};
use super::cell::Plain;
use super::error::SharedError;
use super::members::{Shared, attach, part};
use super::segment::{self, Access, Mapping, Member, Ticket};
use crate::arrays::Rank;
use crate::arrays::error::OrRaise;
use crate::arrays::work::{self, Orders, Outcome};
use crate::distributed::blob::BlobReader;
use crate::distributed::function::hold;
use crate::distributed::{group, procs};

/// A [`SharedArray`] that nobody can change any more, which the system guarantees; so it can be
/// read as an ordinary array, without copy. What [`SharedArray::freeze`] gives.
///
/// It is a handle, as `SharedArray` is: clones and what other processes get lead to the same
/// memory.
///
/// ```
/// use parcell::prelude::*;
///
/// let s = SharedArray::from_fn((3, 4), |(i, j): (usize, usize)| (i * j) as f64);
/// let table = s.freeze();
/// let view: ndarray::ArrayView2<f64> = table.view();
/// assert_eq!(view.row(2).sum(), 12.0);
/// let there = fetch_from!(any, table.view()[[2, 3]]); // nothing is copied
/// assert_eq!(there, 6.0);
/// ```
pub struct FrozenArray<T, D> {
    shared: Arc<Shared>,
    dim: D,
    elements: PhantomData<fn() -> T>,
}

/// An array that could not be frozen, as it was before.
pub struct FreezeError<T, D> {
    /// Why.
    pub error: SharedError,
    /// The array.
    pub array: SharedArray<T, D>,
}

impl<T, D> fmt::Debug for FreezeError<T, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FreezeError").field("error", &self.error).finish_non_exhaustive()
    }
}

impl<T, D> fmt::Display for FreezeError<T, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<T, D> std::error::Error for FreezeError<T, D> {}

/// Calls that have just ended drop their handles a little later; so long they are waited for.
const PATIENCE: Duration = Duration::from_secs(1);

impl<T: Plain, D: Rank> SharedArray<T, D> {
    /// Makes the array one that nobody can change any more: its processes let go of the memory, the
    /// system seals it, and they map it again to read. Blocks until all have; costs three messages
    /// to each process and three back. The process that made the array calls it, with the last
    /// handle to it: while others could still write, it is an error.
    ///
    /// # Panics
    /// If another handle is left anywhere, if this process has not made the array, or if the array
    /// is in a file.
    ///
    /// # Source
    /// `F_SEAL_WRITE`, Linux.
    #[track_caller]
    #[must_use]
    pub fn freeze(self) -> FrozenArray<T, D> {
        self.try_freeze().map_err(|failed| failed.error).or_raise()
    }

    /// As [`SharedArray::freeze`].
    ///
    /// # Errors
    /// [`FreezeError`] with the reason, mostly [`SharedError::InUse`], and the array as it was.
    #[track_caller]
    pub fn try_freeze(self) -> Result<FrozenArray<T, D>, FreezeError<T, D>> {
        let (shared, dim) = self.into_shared();
        match freeze(shared, Location::caller()) {
            Ok(shared) => Ok(FrozenArray { shared: Arc::new(shared), dim, elements: PhantomData }),
            Err((error, shared)) => Err(FreezeError { error, array: SharedArray::of(shared, dim) }),
        }
    }
}

impl<T: Plain, D: Rank> FrozenArray<T, D> {
    /// The array itself. Costs nothing; on a process that has not mapped the memory yet, the first
    /// use of a handle maps it.
    ///
    /// # Panics
    /// If the memory is gone with the process that made it.
    #[track_caller]
    #[must_use]
    pub fn view(&self) -> ArrayView<'_, T, D> {
        self.try_view().or_raise()
    }

    /// As [`FrozenArray::view`].
    ///
    /// # Errors
    /// [`SharedError::Gone`].
    pub fn try_view(&self) -> Result<ArrayView<'_, T, D>, SharedError> {
        let values = self.shared.mapping()?.values(self.dim.size());
        Ok(ArrayView::from_shape(self.dim.clone(), values).expect("as many as the shape has"))
    }

    /// The extents of the dimensions. Costs nothing.
    #[must_use]
    pub fn shape(&self) -> Vec<usize> {
        self.dim.slice().to_vec()
    }

    /// The processes that keep the memory mapped. Costs nothing.
    #[must_use]
    pub fn procs(&self) -> Vec<usize> {
        self.shared.pids.clone()
    }
}

impl<T, D: Clone> Clone for FrozenArray<T, D> {
    fn clone(&self) -> FrozenArray<T, D> {
        let (shared, dim) = (Arc::clone(&self.shared), self.dim.clone());
        FrozenArray { shared, dim, elements: PhantomData }
    }
}

impl<T: Plain + fmt::Debug, D: Rank> fmt::Debug for FrozenArray<T, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.try_view() {
            Ok(view) => view.fmt(f),
            Err(error) => write!(f, "FrozenArray({error})"),
        }
    }
}

impl<T: Plain, D: Rank> Serialize for FrozenArray<T, D> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Shared { group, ticket, pids, .. } = &*self.shared;
        (group, ticket, pids, size_of::<T>(), self.dim.slice()).serialize(to)
    }
}

impl<'de, T: Plain, D: Rank> Deserialize<'de> for FrozenArray<T, D> {
    fn deserialize<Z: Deserializer<'de>>(from: Z) -> Result<FrozenArray<T, D>, Z::Error> {
        let (shared, dim) = received::<T, D, Z>(from)?;
        Ok(FrozenArray { shared: Arc::new(shared), dim, elements: PhantomData })
    }
}

/// Freezes an array, or gives it back with the reason why not.
fn freeze(shared: Arc<Shared>, place: &Location<'_>) -> Result<Shared, (SharedError, Arc<Shared>)> {
    let ticket = shared.ticket.clone();
    if let Err(error) = can_be_frozen(&ticket) {
        return Err((error, shared));
    }
    let mut shared = match Arc::try_unwrap(shared) {
        Ok(shared) => shared,
        Err(shared) => {
            let others = Arc::strong_count(&shared) - 1;
            return Err((in_use(&ticket, handles(procs::myid(), others)), shared));
        }
    };
    match let_go(&mut shared, place) {
        Ok(mapping) => match seal(mapping, &ticket, &shared, place) {
            Ok(frozen) => Ok(frozen),
            Err((error, mapping)) => Err((error, restored(shared, mapping, place))),
        },
        Err((error, mapping)) => Err((error, restored(shared, mapping, place))),
    }
}

fn can_be_frozen(ticket: &Ticket) -> Result<(), SharedError> {
    let refused = |why: String| SharedError::Frozen { array: ticket.name(), why };
    let (maker, me) = (ticket.maker(), procs::myid());
    if maker != me {
        let why = format!("process {maker} has made it, and only that can freeze it, not {me}");
        return Err(refused(why));
    }
    if ticket.is_named() {
        return Err(refused("it is in a file, which other programs could write".to_owned()));
    }
    Ok(())
}

fn in_use(ticket: &Ticket, who: String) -> SharedError {
    SharedError::InUse { array: ticket.name(), who }
}

fn handles(process: usize, n: usize) -> String {
    format!("process {process} has {n} more {}", if n == 1 { "handle" } else { "handles" })
}

/// Has all processes let go of the memory. The mapping of this process, then the only one that
/// those know of.
fn let_go(
    shared: &mut Shared,
    place: &Location<'_>,
) -> Result<Arc<Mapping>, (SharedError, Option<Arc<Mapping>>)> {
    let ticket = shared.ticket.clone();
    let Some(mapping) = shared.take_mapping().or_else(|| segment::find(ticket.id)) else {
        return Err((in_use(&ticket, "its memory is not mapped here".to_owned()), None));
    };
    let me = procs::myid();
    let others: Vec<usize> = shared.pids.iter().copied().filter(|id| *id != me).collect();
    let orders = Orders { arrays: &[], owners: &others, makes: &[], place };
    let left = orders.run(work::code(release), &mut |_, to| to.write(&ticket));
    let left = left.and_then(|(_, answers)| work::values::<usize>(answers));
    let left = match left {
        Ok(left) => left,
        Err(error) => return Err((error.into(), Some(mapping))),
    };
    let mut who: Vec<String> =
        others.iter().zip(left).filter(|(_, n)| *n > 0).map(|(id, n)| handles(*id, n)).collect();
    // What is left here is `mapping`, besides the part of this process.
    let here = release_here(&ticket, 1);
    if here > 0 {
        who.push(handles(me, here));
    }
    if who.is_empty() { Ok(mapping) } else { Err((in_use(&ticket, who.join(", ")), Some(mapping))) }
}

/// What a process does to let go of the memory; how many others there have it.
fn release(from: &mut BlobReader<'_>) -> Outcome {
    let ticket: Ticket = work::read(from)?;
    Ok(hold(release_here(&ticket, 0)))
}

/// Drops this process's part of the memory, unless others than `expected` have it, too: how many.
fn release_here(ticket: &Ticket, expected: usize) -> usize {
    let id = part(ticket, procs::myid());
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = group::change(id, |member: &mut Member| {
            // One is the part's own.
            let others = member.0.as_ref().map_or(0, |m| Arc::strong_count(m) - 1 - expected);
            if others == 0 {
                member.0 = None;
            }
            others
        });
        match left {
            None | Some(Err(_)) => return 0,
            Some(Ok(left)) if left == 0 || Instant::now() > deadline => return left,
            // There is no event to wait for: whoever drops a handle tells nobody.
            Some(Ok(_)) => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

/// Seals the memory as soon as nobody can write to it.
fn sealed(file: &OwnedFd) -> Result<(), Errno> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match segment::seal(file) {
            // Nor does the system tell when a mapping goes.
            Err(Errno::BUSY) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(1));
            }
            done => return done,
        }
    }
}

/// Seals the memory and has all processes map it to read.
fn seal(
    mapping: Arc<Mapping>,
    ticket: &Ticket,
    shared: &Shared,
    place: &Location<'_>,
) -> Result<Shared, (SharedError, Option<Arc<Mapping>>)> {
    let file = match Arc::try_unwrap(mapping).map(Mapping::into_file) {
        Ok(Some(file)) => file,
        Ok(None) => unreachable!("whoever made the memory keeps its file open"),
        Err(mapping) => {
            return Err((in_use(ticket, handles(procs::myid(), 1)), Some(mapping)));
        }
    };
    if let Err(error) = sealed(&file) {
        let pids = &shared.pids;
        let error = match error {
            Errno::BUSY => in_use(ticket, format!("a process besides {pids:?} has a handle")),
            error => SharedError::system("the memory cannot be sealed", error),
        };
        return Err((error, segment::readopt(file, ticket).ok()));
    }
    let frozen = segment::adopt(file, 0, ticket.bytes, Access::Frozen);
    // What fails from here on fails for good: a process that is gone, for example.
    frozen.and_then(|made| Shared::make(made, shared.pids.clone(), place)).map_err(|e| (e, None))
}

/// The array as it was before: all processes map the memory again.
fn restored(
    mut shared: Shared,
    mapping: Option<Arc<Mapping>>,
    place: &Location<'_>,
) -> Arc<Shared> {
    if let Some(mapping) = mapping {
        shared.set_mapping(mapping);
    }
    let ticket = &shared.ticket;
    let mut owners = shared.pids.clone();
    if !owners.contains(&ticket.maker()) {
        owners.push(ticket.maker());
    }
    let orders = Orders { arrays: &[], owners: &owners, makes: &[], place };
    // A process that is gone needs it no more.
    let _ = orders.run(work::code(attach), &mut |_, to| to.write(ticket));
    Arc::new(shared)
}

#[cfg(test)]
mod tests {
    use crate::arrays::SharedError;
    use crate::prelude::*;

    #[test]
    fn a_frozen_array_is_read_as_one_of_ndarray() {
        let s = SharedArray::from_fn((3, 5), |(i, j): (usize, usize)| (i * 5 + j) as f32);
        let a = s.to_array();
        let frozen = s.freeze();
        assert_eq!((frozen.view(), frozen.shape()), (a.view(), vec![3, 5]));
        let other = frozen.clone();
        drop(frozen);
        assert_eq!(other.view().row(2).sum(), 60.0);
        assert_eq!(SharedMatrix::<u8>::zeros((0, 3)).freeze().view().len(), 0);
    }

    #[test]
    fn an_array_that_others_have_is_given_back() {
        let s = SharedVector::<u64>::zeros(4);
        s.fill(3);
        let clone = s.clone();
        let failed = s.try_freeze().unwrap_err();
        assert!(matches!(failed.error, SharedError::InUse { .. }));
        assert!(failed.to_string().contains("process 1 has 1 more handle"), "{failed}");
        failed.array.set(0, 4);
        assert_eq!(clone.sum(), 13);
        drop(clone);
        assert_eq!(failed.array.freeze().view().to_vec(), [4, 3, 3, 3]);
    }
}
