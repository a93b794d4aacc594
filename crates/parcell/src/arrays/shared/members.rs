//! The processes of an array: how they get its memory, and how they are told what to do with it.

use std::ops::Range;
use std::panic::Location;
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};

use super::cell::{Plain, SharedCell};
use super::error::SharedError;
use super::segment::{self, Access, Mapping, Member, Ticket};
use super::split;
use crate::arrays::ArrayError;
use crate::arrays::work::{self, Body, Orders, Outcome};
use crate::distributed::blob::{BlobReader, BlobWriter, EncodeError, Incoming, RefId};
use crate::distributed::group::{self, Group};
use crate::distributed::node::node;
use crate::distributed::{procs, usage};

/// An array as the handles of one process share it, without its types.
pub(crate) struct Shared {
    pub(crate) group: Group,
    pub(crate) ticket: Ticket,
    /// The processes that work on it.
    pub(crate) pids: Vec<usize>,
    mapping: OnceLock<Arc<Mapping>>,
}

/// What one process has to do with an array.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Job {
    ticket: Ticket,
    len: usize,
    number: usize,
    processes: usize,
}

/// What an order says besides the job.
pub(crate) type Write<'a> = dyn Fn(&mut BlobWriter) -> Result<(), EncodeError> + 'a;

impl Shared {
    pub(crate) fn of(group: Group, ticket: Ticket, pids: Vec<usize>) -> Shared {
        let known = segment::find(ticket.id).map_or_else(OnceLock::new, OnceLock::from);
        Shared { group, ticket, pids, mapping: known }
    }

    /// Has the processes map new memory. Blocks until they have.
    pub(crate) fn make(
        made: (Ticket, Arc<Mapping>),
        pids: Vec<usize>,
        place: &Location<'_>,
    ) -> Result<Shared, SharedError> {
        let (ticket, mapping) = made;
        let mut members = pids.clone();
        if !members.contains(&ticket.maker()) {
            members.push(ticket.maker());
        }
        let makes: Vec<RefId> = members.iter().map(|id| part(&ticket, *id)).collect();
        let orders = Orders { arrays: &[], owners: &members, makes: &makes, place };
        let (parts, _) = orders.run(work::code(attach), &mut |_, to| to.write(&ticket))?;
        Ok(Shared { group: Group::of(parts), ticket, pids, mapping: OnceLock::from(mapping) })
    }

    /// The memory; found and mapped when it is first used.
    #[inline]
    pub(crate) fn mapping(&self) -> Result<&Arc<Mapping>, SharedError> {
        match self.mapping.get() {
            Some(mapping) => Ok(mapping),
            None => self.find(),
        }
    }

    #[cold]
    fn find(&self) -> Result<&Arc<Mapping>, SharedError> {
        let mapping = segment::open(&self.ticket)?;
        Ok(self.mapping.get_or_init(|| mapping))
    }

    /// Lets go of the memory.
    pub(crate) fn take_mapping(&mut self) -> Option<Arc<Mapping>> {
        self.mapping.take()
    }

    pub(crate) fn set_mapping(&mut self, mapping: Arc<Mapping>) {
        self.mapping = OnceLock::from(mapping);
    }

    /// Whether it may be written; `instead` is advice for those who cannot.
    pub(crate) fn check_writable(&self, instead: &'static str) -> Result<(), SharedError> {
        match self.ticket.access {
            Access::Write => Ok(()),
            _ => Err(SharedError::ReadOnly { array: self.ticket.name(), instead }),
        }
    }

    /// Has each process do something with its part of `len` elements: each runs `code` with its
    /// [`Job`] and what `write` writes. Blocks until all have; the answers in the order of the
    /// processes.
    pub(crate) fn each<B: Body>(
        &self,
        len: usize,
        place: &Location<'_>,
        body: B,
        write: &Write<'_>,
    ) -> Result<Vec<Incoming>, SharedError> {
        self.order(len, place, work::code(body), write)
    }

    fn order(
        &self,
        len: usize,
        place: &Location<'_>,
        code: crate::distributed::function::Trampoline,
        write: &Write<'_>,
    ) -> Result<Vec<Incoming>, SharedError> {
        let processes = self.pids.len();
        let orders = Orders { arrays: &[], owners: &self.pids, makes: &[], place };
        let (_, answers) = orders.run(code, &mut |number, to| {
            to.write(&Job { ticket: self.ticket.clone(), len, number, processes })?;
            write(to)
        })?;
        Ok(answers)
    }

    /// The elements of process `k` of the array's processes.
    pub(crate) fn part(&self, n: usize, k: usize) -> Range<usize> {
        split::part(n, self.pids.len(), k)
    }

    /// This process's place among the array's processes.
    pub(crate) fn own_number(&self) -> Option<usize> {
        let me = procs::myid();
        self.pids.iter().position(|id| *id == me)
    }
}

/// The name of a process's part.
pub(crate) fn part(ticket: &Ticket, process: usize) -> RefId {
    RefId { owner: u32::try_from(process).unwrap_or(u32::MAX), ..ticket.id }
}

/// What a process does when it becomes a member: maps the memory and keeps it.
pub(crate) fn attach(from: &mut BlobReader<'_>) -> Outcome {
    let ticket: Ticket = work::read(from)?;
    let mapping = segment::open(&ticket)?;
    group::put(part(&ticket, procs::myid()), Member(Some(mapping)));
    work::nothing()
}

impl Job {
    /// Reads the order's first part; also the memory.
    pub(crate) fn read(from: &mut BlobReader<'_>) -> Result<(Job, Arc<Mapping>), ArrayError> {
        let job: Job = work::read(from)?;
        let mapping = segment::open(&job.ticket)?;
        Ok((job, mapping))
    }

    /// The numbers of the process's elements.
    pub(crate) fn range(&self) -> Range<usize> {
        split::part(self.len, self.processes, self.number)
    }

    /// The process's elements.
    pub(crate) fn cells<'a, T: Plain>(&self, mapping: &'a Mapping) -> &'a [SharedCell<T>] {
        &mapping.cells(self.len)[self.range()]
    }
}

/// Processes that were chosen: each once, all there, all on this machine.
pub(crate) fn chosen(pids: Option<&[usize]>) -> Result<Vec<usize>, SharedError> {
    let node = node();
    let here = usage::host();
    let elsewhere = |id: usize| {
        let short = u32::try_from(id).ok().filter(|id| node.peers.is_elsewhere(*id))?;
        let host = node.peers.with(short, |peer| peer.hello.as_ref().map(|h| h.host.clone()));
        host.flatten()
    };
    let Some(pids) = pids else {
        return Ok(procs::workers().into_iter().filter(|id| elsewhere(*id).is_none()).collect());
    };
    let wrong = |what: String| Err(SharedError::Processes { what });
    if pids.is_empty() {
        return wrong("no process is chosen for the array: name at least one".to_owned());
    }
    for (k, id) in pids.iter().enumerate() {
        procs::checked(node, *id).map_err(ArrayError::Remote)?;
        if pids[..k].contains(id) {
            return wrong(format!("process {id} is chosen twice in {pids:?}"));
        }
        if let Some(host) = elsewhere(*id) {
            return Err(SharedError::OtherHost { worker: *id, host, here });
        }
    }
    Ok(pids.to_vec())
}
