//! What all participants do together. Each call takes the next number of its tag, which keeps
//! consecutive calls apart; values go along binomial trees where that saves time.

use std::any::type_name;

use super::comm::Spmd;
use super::error::{OrRaise, SpmdError};
use super::letter::Lane;
use crate::distributed::value::Item;
use crate::distributed::{Portable, RemoteError};

/// Combines two values, the first from lower ranks.
type Combine<'a> = &'a mut dyn FnMut(Item, Item) -> Result<Item, RemoteError>;

impl Spmd {
    /// Blocks until all participants have called it. Collective. Two messages for each participant but
    /// one, without a value; as long as 2·log₂(size) of them after each other.
    ///
    /// # Panics
    /// If a participant has failed, or calls another collective instead. Unwinds soon after an
    /// interrupt.
    ///
    /// # Source
    /// `barrier()`, `DistributedArrays.SPMD`, Julia; `MPI_Barrier`, MPI 4.1, section 6.3.
    #[track_caller]
    pub fn barrier(&self) {
        self.try_barrier().or_raise();
    }

    /// As [`Spmd::barrier`].
    ///
    /// # Errors
    /// [`SpmdError::Participant`], [`SpmdError::Starter`], [`SpmdError::WrongType`] or
    /// [`SpmdError::Over`].
    pub fn try_barrier(&self) -> Result<(), SpmdError> {
        let call = self.next("barrier", "");
        self.combine_items(&call, Item::own(()), 0, &mut |first, _| Ok(first))?;
        self.bcast_item(&call, Item::own(()), 0).map(drop)
    }

    /// The value of participant `root`, on all; what the others pass is ignored, so an empty one does.
    /// Collective. size − 1 messages with the value, as long as log₂(size) of them after each other;
    /// whoever passes the value on does not read it before.
    ///
    /// # Panics
    /// As [`Spmd::barrier`]; if there is no such rank, if the types differ, or if the value cannot be
    /// written.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// assert_eq!(spmd(|c: Spmd| c.bcast(if c.rank() == 0 { 7 } else { 0 }, 0)), [7]);
    /// ```
    ///
    /// # Source
    /// `bcast(data, pid)`, `DistributedArrays.SPMD`, Julia; `MPI_Bcast`, MPI 4.1, section 6.4.
    #[track_caller]
    #[must_use]
    pub fn bcast<T: Portable>(&self, value: T, root: usize) -> T {
        self.try_bcast(value, root).or_raise()
    }

    /// As [`Spmd::bcast`].
    ///
    /// # Errors
    /// As [`Spmd::try_barrier`], [`SpmdError::NoSuchRank`] or [`SpmdError::Remote`].
    pub fn try_bcast<T: Portable>(&self, value: T, root: usize) -> Result<T, SpmdError> {
        let call = self.next("bcast", type_name::<T>());
        Ok(self.bcast_item(&call, Item::own(value), root)?.into_value()?)
    }

    /// Cuts the values of participant `root` into equal parts, and gives each participant the one of
    /// its rank; what the others pass is ignored. Collective. size − 1 messages, each with one part.
    ///
    /// # Panics
    /// As [`Spmd::bcast`]; on `root`, if the number of values is no multiple of the number of
    /// participants, which fails the run.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// assert_eq!(spmd(|c: Spmd| c.scatter(vec![1, 2, 3], 0)), [[1, 2, 3]]);
    /// ```
    ///
    /// # Source
    /// `scatter(x, pid)`, `DistributedArrays.SPMD`, Julia; `MPI_Scatter`, MPI 4.1, section 6.6.
    #[track_caller]
    #[must_use]
    pub fn scatter<T: Portable>(&self, values: Vec<T>, root: usize) -> Vec<T> {
        self.try_scatter(values, root).or_raise()
    }

    /// As [`Spmd::scatter`].
    ///
    /// # Errors
    /// As [`Spmd::try_bcast`], and [`SpmdError::NotDivisible`] on `root`: then nothing was sent, and the
    /// others wait until it passes a fitting number to another `scatter` or fails.
    pub fn try_scatter<T: Portable>(
        &self,
        values: Vec<T>,
        root: usize,
    ) -> Result<Vec<T>, SpmdError> {
        self.room.process(root)?;
        let (size, len) = (self.size(), values.len());
        if self.rank() == root && len % size != 0 {
            return Err(SpmdError::NotDivisible { len, size });
        }
        let call = self.next("scatter", type_name::<T>());
        if self.rank() != root {
            return Ok(self.room.receive(Some(root), call.lane, &call.what)?.1.into_value()?);
        }
        let mut values = values.into_iter();
        let mut own = Vec::new();
        for rank in 0..size {
            let part: Vec<T> = values.by_ref().take(len / size).collect();
            if rank == root {
                own = part;
            } else {
                self.room.send(rank, call.lane, &call.what, Item::own(part))?;
            }
        }
        Ok(own)
    }

    /// The values of all participants in the order of their ranks, on `root`; `None` on the others.
    /// Collective, though only `root` waits. size − 1 messages, each with one value.
    ///
    /// # Panics
    /// As [`Spmd::bcast`].
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// assert_eq!(spmd(|c: Spmd| c.gather(c.rank(), 0)), [Some(vec![0])]);
    /// ```
    ///
    /// # Source
    /// `gather(x, pid)`, `DistributedArrays.SPMD`, Julia, where the others get their own value;
    /// `MPI_Gather`, MPI 4.1, section 6.5.
    #[track_caller]
    #[must_use]
    pub fn gather<T: Portable>(&self, value: T, root: usize) -> Option<Vec<T>> {
        self.try_gather(value, root).or_raise()
    }

    /// As [`Spmd::gather`].
    ///
    /// # Errors
    /// As [`Spmd::try_bcast`].
    pub fn try_gather<T: Portable>(
        &self,
        value: T,
        root: usize,
    ) -> Result<Option<Vec<T>>, SpmdError> {
        let call = self.next("gather", type_name::<T>());
        let Some(items) = self.gather_items(&call, Item::own(value), root)? else {
            return Ok(None);
        };
        let values: Result<Vec<T>, RemoteError> = items.into_iter().map(Item::into_value).collect();
        Ok(Some(values?))
    }

    /// The values of all participants in the order of their ranks, on all. Collective: a
    /// [`gather`](Spmd::gather) and a [`bcast`](Spmd::bcast) of everything, so 2·(size − 1) messages, half
    /// of them with all values.
    ///
    /// # Panics
    /// As [`Spmd::bcast`].
    ///
    /// # Source
    /// `MPI_Allgather`, MPI 4.1, section 6.7.
    #[track_caller]
    #[must_use]
    pub fn all_gather<T: Portable>(&self, value: T) -> Vec<T> {
        self.try_all_gather(value).or_raise()
    }

    /// As [`Spmd::all_gather`].
    ///
    /// # Errors
    /// As [`Spmd::try_bcast`].
    pub fn try_all_gather<T: Portable>(&self, value: T) -> Result<Vec<T>, SpmdError> {
        let call = self.next("all_gather", type_name::<T>());
        let items = self.gather_items(&call, Item::own(value), 0)?.unwrap_or_default();
        let values: Result<Vec<T>, RemoteError> = items.into_iter().map(Item::into_value).collect();
        Ok(self.bcast_item(&call, Item::own(values?), 0)?.into_value()?)
    }

    /// The values of all participants combined in the order of their ranks, on `root`; `None` on the
    /// others. `op` must be associative; it needs not commute. It is called on several participants.
    /// Collective, though nobody waits for more than a part. At most size messages, each with one
    /// value; as long as log₂(size) + 1 of them after each other.
    ///
    /// # Panics
    /// As [`Spmd::bcast`], and with the panics of `op`.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// assert_eq!(spmd(|c: Spmd| c.reduce(c.rank() + 1, |a, b| a * b, 0)), [Some(1)]);
    /// ```
    ///
    /// # Source
    /// `MPI_Reduce`, MPI 4.1, section 6.9.1.
    #[track_caller]
    #[must_use]
    pub fn reduce<T: Portable>(
        &self,
        value: T,
        op: impl FnMut(T, T) -> T,
        root: usize,
    ) -> Option<T> {
        self.try_reduce(value, op, root).or_raise()
    }

    /// As [`Spmd::reduce`].
    ///
    /// # Errors
    /// As [`Spmd::try_bcast`].
    pub fn try_reduce<T: Portable>(
        &self,
        value: T,
        mut op: impl FnMut(T, T) -> T,
        root: usize,
    ) -> Result<Option<T>, SpmdError> {
        let call = self.next("reduce", type_name::<T>());
        let combined =
            self.combine_items(&call, Item::own(value), root, &mut |first, second| {
                Ok(Item::own(op(first.into_value()?, second.into_value()?)))
            })?;
        Ok(combined.map(Item::into_value).transpose()?)
    }

    /// As [`Spmd::reduce`], with the same result on all. Collective. 2·(size − 1) messages, each with one
    /// value; as long as 2·log₂(size) of them after each other.
    ///
    /// # Panics
    /// As [`Spmd::reduce`].
    ///
    /// # Source
    /// `MPI_Allreduce`, MPI 4.1, section 6.9.6.
    #[track_caller]
    #[must_use]
    pub fn all_reduce<T: Portable>(&self, value: T, op: impl FnMut(T, T) -> T) -> T {
        self.try_all_reduce(value, op).or_raise()
    }

    /// As [`Spmd::all_reduce`].
    ///
    /// # Errors
    /// As [`Spmd::try_bcast`].
    pub fn try_all_reduce<T: Portable>(
        &self,
        value: T,
        mut op: impl FnMut(T, T) -> T,
    ) -> Result<T, SpmdError> {
        let call = self.next("all_reduce", type_name::<T>());
        let combined = self.combine_items(&call, Item::own(value), 0, &mut |first, second| {
            Ok(Item::own(op(first.into_value()?, second.into_value()?)))
        })?;
        // What the others pass is ignored.
        let all = combined.unwrap_or_else(|| Item::own(()));
        Ok(self.bcast_item(&call, all, 0)?.into_value()?)
    }
}

/// One collective: its lane, and what its messages are. Up and down go by the same lane, since nobody
/// sends another participant two values; so who calls another collective meets the wrong value
/// instead of waiting for one that never comes.
struct Collective {
    lane: Lane,
    what: String,
}

// The following are not generic, so that cells need not compile them.
impl Spmd {
    fn next(&self, name: &str, of: &str) -> Collective {
        let what = if of.is_empty() { name.to_owned() } else { format!("{name} of {of}") };
        Collective { lane: self.room.next_collective(self.tag), what }
    }

    fn pass(&self, call: &Collective, to: usize, item: Item) -> Result<(), SpmdError> {
        self.room.send(to, call.lane, &call.what, item)
    }

    fn take(&self, call: &Collective, from: usize) -> Result<Item, SpmdError> {
        Ok(self.room.receive(Some(from), call.lane, &call.what)?.1)
    }

    /// Down a binomial tree of the ranks, counted from the root.
    fn bcast_item(&self, call: &Collective, item: Item, root: usize) -> Result<Item, SpmdError> {
        self.room.process(root)?;
        let size = self.size();
        let place = (self.rank() + size - root) % size;
        // The lowest bit of a place leads to who sends to it; lower bits, to whom it sends.
        let lowest =
            if place == 0 { size.next_power_of_two() } else { place & place.wrapping_neg() };
        let rank = |place: usize| (place + root) % size;
        let item = if place == 0 { item } else { self.take(call, rank(place - lowest))? };
        let mut step = lowest / 2;
        while step > 0 {
            if place + step < size {
                self.pass(call, rank(place + step), item.clone())?;
            }
            step /= 2;
        }
        Ok(item)
    }

    /// Up a binomial tree of the ranks to 0, so that neighbours are combined in order; then to the
    /// root.
    fn combine_items(
        &self,
        call: &Collective,
        item: Item,
        root: usize,
        combine: Combine<'_>,
    ) -> Result<Option<Item>, SpmdError> {
        self.room.process(root)?;
        let (rank, size) = (self.rank(), self.size());
        let (mut item, mut step) = (item, 1);
        while step < size {
            if rank & step != 0 {
                self.pass(call, rank - step, item)?;
                return if rank == root { self.take(call, 0).map(Some) } else { Ok(None) };
            }
            if rank + step < size {
                item = combine(item, self.take(call, rank + step)?)?;
            }
            step *= 2;
        }
        if root == 0 {
            return Ok(Some(item));
        }
        self.pass(call, root, item)?;
        Ok(None)
    }

    /// Straight to the root, in the order of the ranks.
    fn gather_items(
        &self,
        call: &Collective,
        item: Item,
        root: usize,
    ) -> Result<Option<Vec<Item>>, SpmdError> {
        self.room.process(root)?;
        if self.rank() != root {
            self.pass(call, root, item)?;
            return Ok(None);
        }
        let mut own = Some(item);
        let of = |rank: usize| match own.take_if(|_| rank == root) {
            Some(own) => Ok(own),
            None => self.take(call, rank),
        };
        (0..self.size()).map(of).collect::<Result<Vec<_>, _>>().map(Some)
    }
}
