//! A participant of a run: who it is, and messages from one to another.

use std::any::type_name;
use std::fmt;
use std::sync::{Arc, PoisonError};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::context::Storage;
use super::error::{OrRaise, SpmdError};
use super::letter::Lane;
use super::room::{self, Room};
use crate::distributed::Portable;
use crate::distributed::blob::RefId;
use crate::distributed::local::Local;
use crate::distributed::value::Item;

/// A participant's place in a run: what the function that [`spmd`](super::spmd) starts is given.
/// Copies are the same participant, for other threads and for closures; it is of use on its own process
/// only and until its function returns.
///
/// Participants are named by *rank*, from 0, in the order of [`procs`](Spmd::procs).
///
/// A value that nobody receives is dropped at the end. A receive from a participant that has returned
/// without sending blocks until an interrupt, or until somebody fails.
///
/// ```
/// use parcell::prelude::*;
///
/// let told = spmd(|c: Spmd| {
///     c.send_to(0, "to myself".to_string());
///     c.recv_from::<String>(0)
/// });
/// assert_eq!(told, ["to myself"]);
/// ```
///
/// # Source
/// `MPI_Comm`, MPI 4.1, chapter 7; `DistributedArrays.SPMD`, Julia.
#[derive(Clone)]
pub struct Spmd {
    pub(super) room: Arc<Room>,
    pub(super) tag: u64,
}

impl Spmd {
    pub(super) fn in_room(room: &Arc<Room>) -> Spmd {
        Spmd { room: Arc::clone(room), tag: 0 }
    }

    /// This participant's number, from 0. Costs nothing.
    ///
    /// # Source
    /// `MPI_Comm_rank`, MPI 4.1, section 7.4.1.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.room.members().rank
    }

    /// How many participants there are. Costs nothing.
    ///
    /// # Source
    /// `MPI_Comm_size`, MPI 4.1, section 7.4.1.
    #[must_use]
    pub fn size(&self) -> usize {
        self.room.members().processes.len()
    }

    /// The processes of the participants, in the order of the ranks.
    #[must_use]
    pub fn procs(&self) -> Vec<usize> {
        self.room.members().processes.iter().map(|process| *process as usize).collect()
    }

    /// The same participant with another tag: messages and collectives of different tags never meet.
    /// Needed only where several threads of a participant talk at the same time, or to receive in
    /// another order than was sent. Without it the tag is 0.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let got = spmd(|c: Spmd| {
    ///     c.send_to(0, 1);
    ///     c.tag(7).send_to(0, 2);
    ///     (c.tag(7).recv_from::<i32>(0), c.recv_from::<i32>(0))
    /// });
    /// assert_eq!(got, [(2, 1)]);
    /// ```
    ///
    /// # Source
    /// The keyword `tag` of `DistributedArrays.SPMD`, Julia; tags, MPI 4.1, section 3.2.3.
    #[must_use]
    pub fn tag(&self, tag: u64) -> Spmd {
        Spmd { room: Arc::clone(&self.room), tag }
    }

    /// Sends a value to the participant of a rank, which may be this one. One-sided; does not wait until
    /// it is received, there is no bound on what waits. One message of the value's bytes and some
    /// dozen more. Values from one participant to another arrive in order.
    ///
    /// # Panics
    /// If there is no such rank, if that participant's process is gone, or if the value cannot be
    /// written.
    ///
    /// # Source
    /// `sendto(pid, data; tag)`, `DistributedArrays.SPMD`, Julia, with ranks.
    #[track_caller]
    pub fn send_to<T: Portable>(&self, rank: usize, value: T) {
        self.try_send_to(rank, value).or_raise();
    }

    /// As [`Spmd::send_to`].
    ///
    /// # Errors
    /// [`SpmdError::NoSuchRank`], [`SpmdError::Participant`], [`SpmdError::Over`] or
    /// [`SpmdError::Remote`].
    pub fn try_send_to<T: Portable>(&self, rank: usize, value: T) -> Result<(), SpmdError> {
        self.room.send(rank, self.lane(), type_name::<T>(), Item::own(value))
    }

    /// Takes the next value that a participant has sent to this one. One-sided; blocks until there is
    /// one; no message of its own.
    ///
    /// # Panics
    /// If the value is of another type; then it stays for a receive of the right one. If there is no
    /// such rank. If a participant has failed and no value is there. Unwinds soon after an
    /// interrupt.
    ///
    /// # Source
    /// `recvfrom(pid; tag)`, `DistributedArrays.SPMD`, Julia, with ranks.
    #[track_caller]
    #[must_use]
    pub fn recv_from<T: Portable>(&self, rank: usize) -> T {
        self.try_recv_from(rank).or_raise()
    }

    /// As [`Spmd::recv_from`].
    ///
    /// # Errors
    /// [`SpmdError::WrongType`], [`SpmdError::NoSuchRank`], [`SpmdError::Participant`],
    /// [`SpmdError::Starter`], [`SpmdError::Over`] or [`SpmdError::Remote`].
    pub fn try_recv_from<T: Portable>(&self, rank: usize) -> Result<T, SpmdError> {
        let (_, item) = self.room.receive(Some(rank), self.lane(), type_name::<T>())?;
        Ok(item.into_value()?)
    }

    /// Takes the value that came first from any participant: the sender's rank, and the value.
    /// One-sided; blocks until there is one; no message of its own.
    ///
    /// # Panics
    /// As [`Spmd::recv_from`].
    ///
    /// # Source
    /// `recvfrom_any(; tag)`, `DistributedArrays.SPMD`, Julia, with ranks.
    #[track_caller]
    #[must_use]
    pub fn recv_from_any<T: Portable>(&self) -> (usize, T) {
        self.try_recv_from_any().or_raise()
    }

    /// As [`Spmd::recv_from_any`].
    ///
    /// # Errors
    /// As [`Spmd::try_recv_from`].
    pub fn try_recv_from_any<T: Portable>(&self) -> Result<(usize, T), SpmdError> {
        let (rank, item) = self.room.receive(None, self.lane(), type_name::<T>())?;
        Ok((rank, item.into_value()?))
    }

    /// Uses what this process keeps under a name, made by `init` if there is nothing yet: for later
    /// runs in the same [`Context`](super::Context), or until the end of this one if it has none. Local:
    /// no message; blocks while another thread uses it. It needs not be a value that can be sent.
    ///
    /// # Panics
    /// If the value is of another type, if this thread uses it already, or if the context is closed.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let n = spmd(|c: Spmd| {
    ///     c.stored("n", || 1, |n: &mut i32| *n += 1);
    ///     c.stored("n", || 1, |n: &mut i32| *n)
    /// });
    /// assert_eq!(n, [2]);
    /// ```
    ///
    /// # Source
    /// `context_local_storage()`, `DistributedArrays.SPMD`, Julia.
    #[track_caller]
    pub fn stored<T: Send + 'static, R>(
        &self,
        name: &str,
        init: impl FnOnce() -> T,
        change: impl FnOnce(&mut T) -> R,
    ) -> R {
        self.try_stored(name, init, change).or_raise()
    }

    /// As [`Spmd::stored`].
    ///
    /// # Errors
    /// [`SpmdError::Stored`] or [`SpmdError::ContextClosed`].
    pub fn try_stored<T: Send + 'static, R>(
        &self,
        name: &str,
        init: impl FnOnce() -> T,
        change: impl FnOnce(&mut T) -> R,
    ) -> Result<R, SpmdError> {
        let there = self.storage(|storage| storage.find(name))?;
        let value = match there {
            Some(value) => value,
            None => {
                // Outside of the lock: it may take long, or store something itself.
                let made = Local::new(init());
                self.storage(|storage| storage.keep(name, made))?
            }
        };
        let why = |why: crate::distributed::local::NotUsable| SpmdError::Stored {
            name: name.to_owned(),
            why: why.to_string(),
        };
        value.with_mut(change).map_err(why)
    }

    fn storage<R>(&self, change: impl FnOnce(&mut Storage) -> R) -> R {
        match &self.room.members().context {
            Some(context) => context.change(change),
            None => change(&mut self.room.storage.lock().unwrap_or_else(PoisonError::into_inner)),
        }
    }

    fn lane(&self) -> Lane {
        Lane { tag: self.tag, collective: None }
    }
}

impl fmt::Debug for Spmd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Spmd({} of {}, tag {})", self.rank(), self.size(), self.tag)
    }
}

impl Serialize for Spmd {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        (self.room.run, self.tag).serialize(to)
    }
}

impl<'de> Deserialize<'de> for Spmd {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Spmd, D::Error> {
        let (run, tag) = <(RefId, u64)>::deserialize(from)?;
        let room = room::find(run).filter(|room| room.has_entered());
        let none = || D::Error::custom("this process takes no part in the run of that `Spmd`");
        Ok(Spmd { room: room.ok_or_else(none)?, tag })
    }
}
