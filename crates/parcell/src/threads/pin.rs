//! Pinning: each thread of a pool stays on one core, so that what it has in its caches stays near.

use std::io;
use std::path::Path;
use std::sync::OnceLock;

use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};

pub use parcell_link::Pin;

use crate::display::Table;

/// A logical core and where it sits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cpu {
    /// The system's number of it.
    number: usize,
    /// The physical core that it is a hardware thread of; unique within its socket only.
    core: usize,
    socket: usize,
}

/// The logical cores that the process may use, remembered before the first thread was pinned:
/// what a pinned thread starts would know of its own core only.
static WHOLE: OnceLock<CpuSet> = OnceLock::new();

fn whole() -> io::Result<&'static CpuSet> {
    if WHOLE.get().is_none() {
        let now = sched_getaffinity(None)?;
        let _ = WHOLE.set(now);
    }
    Ok(WHOLE.get().expect("was set above"))
}

/// Pins the current thread as thread `index` of its pool, or lets it run anywhere again.
pub(super) fn place(pin: Pin, index: usize) -> io::Result<()> {
    if pin == Pin::Off {
        return release();
    }
    let order = order(cpus(whole()?, Path::new("/sys/devices/system/cpu")), pin);
    let mut one = CpuSet::new();
    one.set(order[index % order.len()]);
    Ok(sched_setaffinity(None, &one)?)
}

/// Lets the current thread run wherever its process may: for threads that a pinned one starts.
pub(super) fn release() -> io::Result<()> {
    match WHOLE.get() {
        Some(whole) => Ok(sched_setaffinity(None, whole)?),
        None => Ok(()),
    }
}

fn cpus(allowed: &CpuSet, root: &Path) -> Vec<Cpu> {
    let numbers = (0..CpuSet::MAX_CPU).filter(|&number| allowed.is_set(number));
    numbers.map(|number| locate(number, root)).collect()
}

/// Where a core sits. Without the system's word each is a core of its own on one socket.
fn locate(number: usize, root: &Path) -> Cpu {
    let read = |file: &str| {
        let path = root.join(format!("cpu{number}/topology/{file}"));
        std::fs::read_to_string(path).ok()?.trim().parse::<usize>().ok()
    };
    let socket = read("physical_package_id").unwrap_or(0);
    Cpu { number, core: read("core_id").unwrap_or(number), socket }
}

/// Numbers of the logical cores in the order in which threads get them. Second hardware threads
/// of a core come after the first ones of all.
fn order(mut cpus: Vec<Cpu>, pin: Pin) -> Vec<usize> {
    cpus.sort_by_key(|cpu| (cpu.socket, cpu.core, cpu.number));
    let rank = |k: usize, same: fn(&Cpu, &Cpu) -> bool| {
        cpus[..k].iter().filter(|earlier| same(earlier, &cpus[k])).count()
    };
    let sibling = |a: &Cpu, b: &Cpu| (a.socket, a.core) == (b.socket, b.core);
    let neighbour = |a: &Cpu, b: &Cpu| a.socket == b.socket;
    let key = |k: usize| match pin {
        Pin::Spread => (rank(k, sibling), rank(k, neighbour), cpus[k].socket),
        Pin::Compact | Pin::Off => (rank(k, sibling), 0, k),
    };
    let mut order: Vec<usize> = (0..cpus.len()).collect();
    order.sort_by_key(|&k| key(k));
    order.into_iter().map(|k| cpus[k].number).collect()
}

/// Where each thread of the current pool may run and where it runs just now, as a table that a
/// cell shows. All threads of the pool answer for themselves: blocks until they have come to it.
///
/// ```
/// let table = parcell::threads::placement();
/// assert!(parcell::display::Rich::bundle(&table).get("text/plain").unwrap().contains("thread"));
/// ```
///
/// # Source
/// `ThreadPinning.threadinfo`, `ThreadPinning.jl`; OpenMP's `OMP_DISPLAY_AFFINITY`.
#[must_use]
pub fn placement() -> Table {
    let rows = rayon::broadcast(|thread| row(thread.index())).into_iter();
    Table::plain(["thread", "may run on", "runs on core", "of socket"], rows.collect())
}

fn row(index: usize) -> Vec<String> {
    let here = locate(sched_getcpu(), Path::new("/sys/devices/system/cpu"));
    let allowed = sched_getaffinity(None).map(|set| match set.count() {
        1 => format!("core {} only", here.number),
        n => format!("{n} cores"),
    });
    let allowed = allowed.unwrap_or_else(|_| "–".to_owned());
    vec![index.to_string(), allowed, here.number.to_string(), here.socket.to_string()]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two sockets of two cores of two hardware threads, numbered as Linux does: the second
    /// hardware threads after all first ones.
    fn server() -> Vec<Cpu> {
        let cpu = |number: usize| Cpu { number, core: number % 2, socket: number / 2 % 2 };
        (0..8).map(cpu).collect()
    }

    #[test]
    fn compact_fills_socket_after_socket() {
        assert_eq!(order(server(), Pin::Compact), [0, 1, 2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn spread_alternates_between_sockets() {
        assert_eq!(order(server(), Pin::Spread), [0, 2, 1, 3, 4, 6, 5, 7]);
    }

    #[test]
    fn only_allowed_cores_count() {
        let allowed: Vec<Cpu> = server().into_iter().filter(|c| c.number > 2).collect();
        assert_eq!(order(allowed.clone(), Pin::Compact), [4, 5, 6, 3, 7]);
        assert_eq!(order(allowed, Pin::Spread), [4, 6, 5, 3, 7]);
    }

    #[test]
    fn a_system_that_tells_nothing_has_one_socket() {
        let cpu = locate(3, Path::new("/nowhere"));
        assert_eq!(cpu, Cpu { number: 3, core: 3, socket: 0 });
    }

    #[test]
    fn a_thread_can_be_pinned_and_released() {
        std::thread::spawn(|| {
            let before = sched_getaffinity(None).unwrap();
            place(Pin::Compact, 0).unwrap();
            assert_eq!(sched_getaffinity(None).unwrap().count(), 1);
            let child = std::thread::spawn(|| {
                release().unwrap();
                sched_getaffinity(None).unwrap()
            });
            assert_eq!(child.join().unwrap(), before);
            place(Pin::Off, 0).unwrap();
            assert_eq!(sched_getaffinity(None).unwrap(), before);
        })
        .join()
        .unwrap();
    }
}
