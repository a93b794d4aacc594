//! What this process uses of the machine.

use std::sync::LazyLock;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};

/// More connections than any process can use, and few enough for programs that close all they might
/// have been given.
const MOST_FILES: u64 = 65_536;

/// Bytes of memory that the process has touched, and nanoseconds of processor time.
pub(crate) fn of_this_process() -> (u64, u64) {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm.split(' ').nth(1).and_then(|n| n.parse().ok()).unwrap_or(0);
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanoseconds = u64::try_from(time.tv_nsec).unwrap_or(0);
    (pages * rustix::param::page_size() as u64, seconds * 1_000_000_000 + nanoseconds)
}

/// Lets this process have as many connections as the system allows it: without asking, these are
/// often 1,024. What it starts is allowed as many.
pub(crate) fn allow_many_files() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = maximum.unwrap_or(MOST_FILES).min(MOST_FILES);
    if current.is_some_and(|current| current < wanted) {
        // If it is refused, too many connections are an error of their own.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum });
    }
}

/// The name of this machine.
pub(crate) fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Names this machine, as far as its processes can share memory and sockets: containers with a
/// network of their own count as machines. Two machines of one name differ in it.
pub(crate) fn place() -> String {
    static PLACE: LazyLock<String> = LazyLock::new(|| {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let network = std::fs::read_link("/proc/self/ns/net").unwrap_or_default();
        format!("{} {} {}", host(), boot.trim(), network.display())
    });
    PLACE.clone()
}
