//! Which processes there are, and starting and ending them.

use std::collections::BTreeMap;
use std::time::Duration;

use parcell_link::{Adaptive, Pin, WorkerOptions};

use super::error::{self, OrRaise, RemoteError};
use super::launch::{self, LaunchError};
use super::message::{Answer, Ask, Census, Message};
use super::node::{self, Node, node};
use super::{blob::Blob, worker};
use crate::interrupt::Seconds;

/// The id of this process: 1 for the one that runs the cells, 2, 3, … for workers.
///
/// ```
/// assert_eq!(parcell::distributed::myid(), 1);
/// ```
///
/// # Source
/// `myid()`, Julia's Distributed.
#[must_use]
pub fn myid() -> usize {
    node::me() as usize
}

/// The ids of all processes, ascending, 1 first.
///
/// ```
/// assert_eq!(parcell::distributed::procs(), [1]);
/// ```
///
/// # Source
/// `procs()`, Julia's Distributed.
#[must_use]
pub fn procs() -> Vec<usize> {
    std::iter::once(1).chain(only_workers()).collect()
}

/// The ids of all workers, ascending; `[1]` if there are none, since then process 1 does the work.
///
/// ```
/// assert_eq!(parcell::distributed::workers(), [1]);
/// ```
///
/// # Source
/// `workers()`, Julia's Distributed.
#[must_use]
pub fn workers() -> Vec<usize> {
    let workers = only_workers();
    if workers.is_empty() { vec![1] } else { workers }
}

/// The ids of all workers; none if there are none.
pub(crate) fn only_workers() -> Vec<usize> {
    let node = node::exists();
    node.map(|n| n.peers.workers().into_iter().map(|id| id as usize).collect()).unwrap_or_default()
}

/// The number of processes, at least 1.
///
/// ```
/// assert_eq!(parcell::distributed::nprocs(), 1);
/// ```
///
/// # Source
/// `nprocs()`, Julia's Distributed.
#[must_use]
pub fn nprocs() -> usize {
    procs().len()
}

/// The number of workers; 1 if there are none, as in [`workers`].
///
/// ```
/// assert_eq!(parcell::distributed::nworkers(), 1);
/// ```
///
/// # Source
/// `nworkers()`, Julia's Distributed.
#[must_use]
pub fn nworkers() -> usize {
    workers().len()
}

/// A process that can be spoken to.
pub(crate) fn checked(node: &Node, id: usize) -> Result<u32, RemoteError> {
    let short = u32::try_from(id).ok().filter(|id| *id > 0);
    let known = |id: &u32| *id == node.id || node.id != 1 || node.peers.is_known(*id);
    short.filter(known).ok_or_else(|| RemoteError::NoSuchProcess { id, there: procs() })
}

/// What [`addprocs`] takes: a number of workers, or a number with options.
///
/// ```no_run
/// use parcell::distributed::{Workers, addprocs};
///
/// let ids = addprocs(Workers::new(2).threads(4).env("OMP_NUM_THREADS", "1"));
/// assert_eq!(ids.len(), 2);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workers {
    /// `None` if the manager's options say how many.
    count: Option<usize>,
    options: WorkerOptions,
}

impl Workers {
    /// So many workers on this machine, each with one thread.
    #[must_use]
    pub fn new(count: usize) -> Workers {
        Workers { count: Some(count), options: WorkerOptions::default() }
    }

    /// Workers that come and go with the work: `least` now, up to `most` when calls wait for a free
    /// one for longer than a second, and fewer again when some have had nothing to do for
    /// [so long](Workers::idle) and hold nothing that would be lost: no values, array pieces, channels
    /// or variables. Both ends count. A map that runs takes new workers in. There is one such group of
    /// workers: asked for again, its bounds change; it ends when its last worker is removed.
    ///
    /// On hosts that ssh reaches, `option("hosts", …)` names the places; Slurm gets a job for each
    /// worker. Looks at the work once a second; a worker is asked one question before it is let go.
    /// [`addprocs`] returns the ids of the first `least`.
    ///
    /// ```no_run
    /// use parcell::distributed::{Workers, addprocs, pmap};
    ///
    /// addprocs(Workers::between(1, 4).idle(60));
    /// let squares = pmap(|x: u64| x * x, 0..1_000_000).collect();
    /// assert_eq!(squares[3], 9);
    /// ```
    ///
    /// # Source
    /// `Cluster.adapt(minimum, maximum)` of Dask.
    #[must_use]
    pub fn between(least: usize, most: usize) -> Workers {
        let adaptive = Some(Adaptive { least, most, ..Adaptive::default() });
        Workers { count: Some(least), options: WorkerOptions { adaptive, ..Default::default() } }
    }

    /// A worker beyond the [least number](Workers::between) is let go when it has had nothing to do for
    /// so many seconds (30). Of a fixed number of workers none is.
    #[must_use]
    pub fn idle(mut self, seconds: u64) -> Workers {
        if let Some(adaptive) = &mut self.options.adaptive {
            adaptive.idle = seconds;
        }
        self
    }

    /// [`addprocs`] returns when so many are there; the others join as they come.
    #[must_use]
    pub fn at_least(mut self, count: usize) -> Workers {
        self.options.at_least = Some(count);
        self
    }

    /// Workers on hosts that ssh reaches: `[user@]host[:port]`, each with `*N` for N workers. The
    /// hosts need nothing but a shell; what workers run is copied there once.
    ///
    /// ```no_run
    /// use parcell::distributed::{Workers, addprocs};
    ///
    /// let ids = addprocs(Workers::on_hosts(["n1*2", "anna@n2:2222"]).option("identity", "key"));
    /// assert_eq!(ids.len(), 3);
    /// ```
    ///
    /// # Source
    /// `addprocs(machines)`, Julia's Distributed.
    #[must_use]
    pub fn on_hosts<H: Into<String>>(hosts: impl IntoIterator<Item = H>) -> Workers {
        let hosts: Vec<String> = hosts.into_iter().map(Into::into).collect();
        let workers = Workers { count: None, options: WorkerOptions::default() };
        workers.manager("ssh").option("hosts", hosts.join(","))
    }

    /// What starts them, as `--manager` of `%workers` names it; without it, this process does.
    #[must_use]
    pub fn manager(mut self, name: impl Into<String>) -> Workers {
        self.options.manager = name.into();
        self
    }

    /// An option of the manager, by its name without dashes. An empty value stands for none.
    #[must_use]
    pub fn option(mut self, name: impl Into<String>, value: impl Into<String>) -> Workers {
        let value = Some(value.into()).filter(|value| !value.is_empty());
        self.options.manager_options.push((name.into(), value));
        self
    }

    /// Each computes with so many threads.
    #[must_use]
    pub fn threads(mut self, n: usize) -> Workers {
        self.options.threads = Some(n);
        self
    }

    /// Where the threads of each may run.
    #[must_use]
    pub fn pin(mut self, pin: Pin) -> Workers {
        self.options.pin = pin;
        self
    }

    /// Sets a variable of their environment. Else they have that of this process.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Workers {
        self.options.environment.push((name.into(), value.into()));
        self
    }

    /// Their working directory. Else it is that of this process.
    #[must_use]
    pub fn dir(mut self, path: impl Into<String>) -> Workers {
        self.options.directory = Some(path.into());
        self
    }
}

impl From<usize> for Workers {
    fn from(count: usize) -> Workers {
        Workers::new(count)
    }
}

/// Something that says which workers to start.
pub trait AddProcs {
    /// Number and options.
    fn wanted(self) -> Workers;
}

impl AddProcs for usize {
    fn wanted(self) -> Workers {
        Workers::new(self)
    }
}

impl AddProcs for Workers {
    fn wanted(self) -> Workers {
        self
    }
}

/// Starts workers on this machine and returns their ids, ascending. Blocks until all are up: a
/// tenth of a second. Only process 1 can.
///
/// A worker is this program started again; it runs whatever code process 1 has, from the first call
/// on. In a program of your own call [`init`] first in `main`.
///
/// # Panics
/// With [`LaunchError`] if some do not come up; those that did are there.
///
/// ```no_run
/// use parcell::distributed::{addprocs, nworkers, rmprocs};
///
/// let ids = addprocs(2);
/// assert_eq!((ids.as_slice(), nworkers()), ([2, 3].as_slice(), 2));
/// rmprocs(&ids);
/// ```
///
/// # Source
/// `addprocs(n)`, Julia's Distributed.
#[track_caller]
pub fn addprocs(wanted: impl AddProcs) -> Vec<usize> {
    match try_addprocs(wanted) {
        Ok(ids) => ids,
        Err(error) => panic!("{error}"),
    }
}

/// As [`addprocs`].
///
/// # Errors
/// [`LaunchError`] if some do not come up; those that did are there.
pub fn try_addprocs(wanted: impl AddProcs) -> Result<Vec<usize>, LaunchError> {
    become_worker_if_wanted();
    let Workers { count, options } = wanted.wanted();
    launch::add(count, &options)
}

/// Ends workers, busy or not, and blocks until they have ended. What they computed or held is lost.
/// Only process 1 can.
///
/// # Panics
/// With [`LaunchError`] if one of them is no worker; then none is ended.
///
/// # Source
/// `rmprocs(pids...)`, Julia's Distributed.
#[track_caller]
pub fn rmprocs(ids: &[usize]) {
    if let Err(error) = launch::remove(ids, None) {
        panic!("{error}");
    }
}

/// As [`rmprocs`], but waits no longer than this, in seconds or as a
/// [`Duration`](std::time::Duration). Those that have not ended then will be killed.
///
/// # Errors
/// [`LaunchError::Survivors`] names those that have not ended in time.
///
/// # Source
/// `rmprocs(pids...; waitfor)`, Julia's Distributed.
pub fn try_rmprocs(ids: &[usize], time: impl Into<Seconds>) -> Result<(), LaunchError> {
    launch::remove(ids, Some(Duration::from(time.into())))
}

/// Interrupts what runs on these workers: it ends with [`RemoteError::Interrupted`] at its next
/// [check](crate::interrupt::check) or wait. The workers live on. Does not block.
///
/// # Panics
/// With [`RemoteError::NoSuchProcess`].
///
/// # Source
/// `interrupt(pids...)`, Julia's Distributed.
#[track_caller]
pub fn interrupt(ids: &[usize]) {
    let node = node();
    for id in ids {
        let id = checked(node, *id).or_raise();
        node.tell(id, Message::Interrupt, Blob::default());
    }
}

/// What each process holds at the moment: results nobody has fetched, kept functions, channels,
/// handles. One round trip to each process.
#[must_use]
pub fn census() -> BTreeMap<usize, Census> {
    let node = node();
    let mut all = BTreeMap::new();
    for id in procs() {
        let Ok(process) = checked(node, id) else { continue };
        let ended = node.ask_and_wait(process, Ask::Census, Blob::default());
        if let Ok(Answer::Census(census)) = ended.result {
            all.insert(id, census);
        }
    }
    all
}

/// To be called first in the `main` of a program that uses workers. In the program itself it only
/// has panics say what failed on which worker; in a worker, which is the same program started again,
/// it does not return.
///
/// ```
/// parcell::distributed::init();
/// ```
pub fn init() {
    become_worker_if_wanted();
    error::tell_in_panics();
}

/// In a process that was started as a worker, does not return.
pub(crate) fn become_worker_if_wanted() {
    if worker::is_wanted() && node::me() == 1 {
        worker::run();
    }
}
