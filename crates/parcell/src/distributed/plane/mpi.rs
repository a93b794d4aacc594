//! MPI as a data plane: bulks go by `MPI_Isend` from where they lie to `MPI_Irecv` where they stay.
//!
//! Whoever sends or receives posts its requests at once; a thread, which sleeps while there are none,
//! drives them to their end. All of it uses a communicator of its own, so what cells do in theirs is
//! never mistaken for it.

use std::collections::{HashMap, HashSet};
use std::ffi::c_int;
use std::mem::{MaybeUninit, forget};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, sleep, yield_now};
use std::time::Duration;

use mpi::collective::CommunicatorCollectives;
use mpi::environment::{Threading, Universe, initialize_with_threading};
use mpi::ffi::{self, MPI_Comm, MPI_Request};
use mpi::raw::AsRaw;
use mpi::topology::SimpleCommunicator;

use super::{Arrived, Plane};
use crate::distributed::node::node;
use crate::distributed::transport::{Buffer, Bulk};

/// MPI counts with 32 bits: more bytes go in several messages.
const MOST: usize = 1 << 30;
/// Every MPI has so many tags. They may come round: messages of one tag arrive in order.
const TAGS: u32 = 1 << 15;
/// Rounds in which nothing ended before the thread sleeps between them.
const EAGER: u32 = 4_000;
const SHORT: Duration = Duration::from_micros(20);
const LONG: Duration = Duration::from_millis(1);
/// How long the others may take to end, too.
const PATIENCE: Duration = Duration::from_secs(1);
const STACK: usize = 256 << 10;

/// Why there is no communicator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "process {0} is no rank of MPI: `%workers 4 --manager mpi` starts workers that are, and \
     `%%px` runs a cell on them"
)]
pub struct NoWorld(pub usize);

/// All ranks that mpiexec has started together with this worker: `MPI_COMM_WORLD`, in which rank 0 is
/// the first worker of the launch, so process `k + 2` is rank `k` of the first. Local; costs nothing.
/// What is sent in it never meets what parcell itself sends. Its operations are MPI's own: they wait
/// without end for ranks that do not take part, and the stop button does not end them.
///
/// # Panics
/// On the driver, and on workers that something else has started or that were told
/// `--data-plane sockets`.
///
/// ```no_run
/// use parcell::mpi::collective::SystemOperation;
/// use parcell::mpi::traits::*;
/// use parcell::prelude::*;
///
/// // On each worker, as in a cell that begins with `%%px`.
/// let world = parcell::distributed::world();
/// let mut sum = 0;
/// world.all_reduce_into(&world.rank(), &mut sum, SystemOperation::sum());
/// ```
///
/// # Source
/// `MPI_COMM_WORLD`, MPI 4.1, section 7.2.4; `MPI.COMM_WORLD`, MPI.jl.
#[must_use]
#[track_caller]
pub fn world() -> SimpleCommunicator {
    match try_world() {
        Ok(world) => world,
        Err(error) => panic!("{error}"),
    }
}

/// As [`world`].
///
/// # Errors
/// [`NoWorld`] where `world` panics.
pub fn try_world() -> Result<SimpleCommunicator, NoWorld> {
    match super::here() {
        Some(_) => Ok(SimpleCommunicator::world()),
        None => Err(NoWorld(crate::distributed::myid())),
    }
}

/// The plane of a worker.
pub(super) struct World {
    shared: Arc<Shared>,
    /// Fewer bytes do not go by the plane within a host.
    least_here: usize,
    /// Ends MPI when it is dropped.
    universe: Mutex<Option<Universe>>,
}

struct Shared {
    comm: Comm,
    /// The rank of each process.
    ranks: HashMap<u32, c_int>,
    next: AtomicU32,
    state: Mutex<State>,
    begun: Condvar,
    /// Whether this process ends; nothing calls MPI any more then, but its end.
    closing: AtomicBool,
    /// Held while the thread calls MPI.
    driving: Mutex<()>,
}

#[derive(Default)]
struct State {
    begun: Vec<Transfer>,
    lost: HashSet<u32>,
    traffic: HashMap<u32, (u64, u64)>,
}

/// The communicator of the plane.
#[derive(Clone, Copy)]
struct Comm(MPI_Comm);

// SAFETY: a handle, which MPI, started with `MPI_THREAD_MULTIPLE`, lets all threads use; this one is
// never freed.
unsafe impl Send for Comm {}
// SAFETY: as above.
unsafe impl Sync for Comm {}

/// Data on its way, with the memory that it leaves or fills.
struct Transfer {
    process: u32,
    requests: Vec<MPI_Request>,
    data: Data,
}

// SAFETY: requests are handles that any thread may use with `MPI_THREAD_MULTIPLE`, one at a time,
// which the ownership of the transfer sees to.
unsafe impl Send for Transfer {}

enum Data {
    Sent { _from: Vec<Bulk> },
    Coming { places: Vec<Buffer>, arrived: Arrived },
}

/// Starts MPI in this process, which is to be a worker of this id. Collective.
pub(super) fn start(id: u32, least_here: usize) -> Result<World, String> {
    let started = initialize_with_threading(Threading::Multiple);
    let (universe, threading) = started.ok_or("MPI runs in this process already")?;
    if threading < Threading::Multiple {
        return Err(format!(
            "this MPI gives no more than {threading:?} threads, and MPI_THREAD_MULTIPLE is \
             needed; `--data-plane sockets` does without it"
        ));
    }
    let world = universe.world();
    let mut ids = vec![0; size(&world)];
    world.all_gather_into(&id, &mut ids[..]);
    let ranks = ids.iter().zip(0..).map(|(id, rank)| (*id, rank)).collect();
    let shared = Arc::new(Shared {
        comm: Comm(own_communicator(&world)),
        ranks,
        next: AtomicU32::new(0),
        state: Mutex::default(),
        begun: Condvar::new(),
        closing: AtomicBool::new(false),
        driving: Mutex::default(),
    });
    let drives = Arc::clone(&shared);
    let thread = Builder::new().name("parcell-mpi".to_owned()).stack_size(STACK);
    thread.spawn(move || drives.drive()).map_err(|e| format!("no thread to drive MPI: {e}"))?;
    Ok(World { shared, least_here, universe: Mutex::new(Some(universe)) })
}

fn size(world: &SimpleCommunicator) -> usize {
    use mpi::topology::Communicator;
    usize::try_from(world.size()).unwrap_or_default()
}

/// A communicator in which errors are told and not fatal.
fn own_communicator(world: &SimpleCommunicator) -> MPI_Comm {
    let mut own = MaybeUninit::uninit();
    // SAFETY: MPI is started and `world` is a communicator; errors in it are fatal, so it is
    // duplicated when the call returns.
    unsafe {
        ffi::MPI_Comm_dup(world.as_raw(), own.as_mut_ptr());
        let own = own.assume_init();
        ffi::MPI_Comm_set_errhandler(own, ffi::RSMPI_ERRORS_RETURN);
        own
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the thread drive a transfer whose requests are posted.
    fn begin(&self, transfer: Transfer, sent: usize, received: usize) {
        let mut state = self.state();
        let traffic = state.traffic.entry(transfer.process).or_default();
        *traffic = (traffic.0 + sent as u64, traffic.1 + received as u64);
        state.begun.push(transfer);
        drop(state);
        self.begun.notify_one();
    }

    /// Drives transfers for as long as the process lives.
    fn drive(&self) {
        let mut open: Vec<Transfer> = Vec::new();
        let mut idle = 0;
        while !self.closing.load(Ordering::Acquire) {
            self.take_new(&mut open);
            let ended = self.test(&mut open);
            if ended.is_empty() {
                idle += 1;
                rest(idle);
            } else {
                idle = 0;
            }
            ended.into_iter().for_each(Transfer::end);
        }
        // MPI may still use their memory.
        forget(open);
    }

    /// Adds what has begun, and gives up what goes to or comes from those who are gone; sleeps while
    /// there is nothing.
    fn take_new(&self, open: &mut Vec<Transfer>) {
        let mut state = self.state();
        while open.is_empty() && state.begun.is_empty() && !self.closing.load(Ordering::Acquire) {
            state = self.begun.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        open.append(&mut state.begun);
        if !state.lost.is_empty() {
            let (lost, live) = open.drain(..).partition(|t| state.lost.contains(&t.process));
            *open = live;
            drop(state);
            // MPI may still write to their memory.
            forget::<Vec<Transfer>>(lost);
        }
    }

    /// Takes out those that have ended. Those that have failed end the process at their other end,
    /// for this one.
    fn test(&self, open: &mut Vec<Transfer>) -> Vec<Transfer> {
        let _driving = self.driving.lock().unwrap_or_else(PoisonError::into_inner);
        let mut ended = Vec::new();
        let mut at = 0;
        while at < open.len() && !self.closing.load(Ordering::Acquire) {
            match open[at].test() {
                Ok(false) => at += 1,
                Ok(true) => ended.push(open.remove(at)),
                Err(code) => {
                    let failed = open.remove(at);
                    let why =
                        format!("MPI could not move data between it and this process: {code}");
                    node().peers.bury(node(), failed.process, &why);
                    forget(failed);
                }
            }
        }
        ended
    }

    fn rank(&self, process: u32) -> c_int {
        self.ranks.get(&process).copied().unwrap_or_default()
    }
}

/// Lets others have the processor, the longer the less happens.
fn rest(idle: u32) {
    match idle {
        0..EAGER => yield_now(),
        _ => sleep((SHORT * (1 + (idle - EAGER) / 64)).min(LONG)),
    }
}

impl Transfer {
    /// Whether all of it is done.
    fn test(&mut self) -> Result<bool, c_int> {
        let count = c_int::try_from(self.requests.len()).expect("few requests");
        let mut done = 0;
        // SAFETY: the requests are this transfer's own, posted and not yet done; no status is
        // wanted.
        let code = unsafe {
            ffi::MPI_Testall(
                count,
                self.requests.as_mut_ptr(),
                &raw mut done,
                ffi::RSMPI_STATUSES_IGNORE,
            )
        };
        if code == 0 { Ok(done != 0) } else { Err(code) }
    }

    /// Gives what has come to whom it is for.
    fn end(self) {
        let Data::Coming { mut places, arrived } = self.data else { return };
        for place in &mut places {
            let len = place.len();
            // SAFETY: the requests have filled all of it.
            unsafe { place.advance(len) };
        }
        arrived(places);
    }
}

/// Posts the requests for so many bytes, by a function of where they begin and how many they are.
fn post(len: usize, mut one: impl FnMut(usize, c_int) -> MPI_Request) -> Vec<MPI_Request> {
    let piece = |from: usize| (from, c_int::try_from(MOST.min(len - from)).expect("below 2^31"));
    (0..len).step_by(MOST).map(piece).map(|(from, count)| one(from, count)).collect()
}

impl Plane for World {
    fn takes(&self, process: u32, bytes: usize) -> bool {
        self.shared.ranks.contains_key(&process)
            && !self.shared.closing.load(Ordering::Acquire)
            && (bytes >= self.least_here || node().peers.is_elsewhere(process))
    }

    fn number(&self) -> u32 {
        self.shared.next.fetch_add(1, Ordering::Relaxed) % TAGS
    }

    fn send(&self, to: u32, number: u32, bulks: Vec<Bulk>) {
        let (comm, rank) = (self.shared.comm.0, self.shared.rank(to));
        let mut requests = Vec::new();
        for bulk in &bulks {
            let bytes = bulk.bytes();
            requests.extend(post(bytes.len(), |from, count| {
                let mut request = MaybeUninit::uninit();
                // SAFETY: the bytes stay where they are and unchanged as long as the bulk, which
                // the transfer keeps until the request is done, or for good. MPI sets the request.
                unsafe {
                    let start = bytes.as_ptr().add(from).cast();
                    let (byte, tag) = (ffi::RSMPI_UINT8_T, number as c_int);
                    ffi::MPI_Isend(start, count, byte, rank, tag, comm, request.as_mut_ptr());
                    request.assume_init()
                }
            }));
        }
        let sent = bulks.iter().map(Bulk::len).sum();
        let data = Data::Sent { _from: bulks };
        self.shared.begin(Transfer { process: to, requests, data }, sent, 0);
    }

    fn receive(&self, from: u32, number: u32, mut places: Vec<Buffer>, arrived: Arrived) {
        let (comm, rank) = (self.shared.comm.0, self.shared.rank(from));
        let mut requests = Vec::new();
        for place in &mut places {
            let start = place.rest().as_mut_ptr();
            requests.extend(post(place.len(), |from, count| {
                let mut request = MaybeUninit::uninit();
                // SAFETY: the buffer's memory, so long, is its own and stays where it is until the
                // transfer has ended, or for good. MPI sets the request.
                unsafe {
                    let start = start.add(from).cast();
                    let (byte, tag) = (ffi::RSMPI_UINT8_T, number as c_int);
                    ffi::MPI_Irecv(start, count, byte, rank, tag, comm, request.as_mut_ptr());
                    request.assume_init()
                }
            }));
        }
        let received = places.iter().map(Buffer::len).sum();
        let data = Data::Coming { places, arrived };
        self.shared.begin(Transfer { process: from, requests, data }, 0, received);
    }

    fn lose(&self, process: u32) {
        self.shared.state().lost.insert(process);
    }

    fn traffic(&self, process: u32) -> (u64, u64) {
        self.shared.state().traffic.get(&process).copied().unwrap_or_default()
    }

    /// Ends MPI, for which all ranks must end; whoever ends alone ends without that, which mpiexec
    /// was told to allow.
    fn close(&self) {
        self.shared.closing.store(true, Ordering::Release);
        self.shared.begun.notify_one();
        let universe = self.universe.lock().unwrap_or_else(PoisonError::into_inner).take();
        let shared = Arc::clone(&self.shared);
        let (ended, end) = channel();
        let finalize = move || {
            let driving = shared.driving.lock();
            drop(universe);
            drop(driving);
            // Nobody may wait for it any more.
            let _ = ended.send(());
        };
        if Builder::new().name("parcell-mpi-end".to_owned()).spawn(finalize).is_ok() {
            // Its time may be over.
            let _ = end.recv_timeout(PATIENCE);
        }
    }
}
