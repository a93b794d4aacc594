//! How much memory there is for an array: what the machine has, and what the process's cgroups
//! allow. Reading is apart from understanding: what understands takes strings.
//!
//! A page that is written first when there is no memory left ends the process; so it is asked
//! before an array is made.

use std::fs::read_to_string;
use std::path::Path;

use super::error::SharedError;
use crate::threads::cores::folders;

/// Memory that can be had, and what sets the limit.
#[derive(Debug, PartialEq, Eq)]
struct Room {
    bytes: u64,
    what: String,
}

/// Whether there are so many bytes, beside `promised` ones that belong to other arrays but were not
/// written yet.
pub(super) fn check(wanted: u64, promised: u64) -> Result<(), SharedError> {
    let Some(Room { bytes, what }) = available() else { return Ok(()) };
    let available = bytes.saturating_sub(promised);
    if wanted <= available {
        return Ok(());
    }
    Err(SharedError::NoRoom { wanted, available, what })
}

/// Whether the system gives memory only as long as it has it, so that pages must be had in advance.
pub(super) fn is_never_overcommitted() -> bool {
    read_to_string("/proc/sys/vm/overcommit_memory").is_ok_and(|mode| mode.trim() == "2")
}

/// The smallest of the limits; `None` where nothing is known.
fn available() -> Option<Room> {
    let machine = read_to_string("/proc/meminfo").ok().and_then(|text| of_machine(&text));
    let groups = read_to_string("/proc/self/cgroup").unwrap_or_default();
    let folders = folders(&groups, Path::new("/sys/fs/cgroup"), "memory");
    let limits = folders.iter().filter_map(|folder| {
        let read = |file: &str| read_to_string(folder.join(file)).ok();
        let [v2, v1] = [
            ["memory.max", "memory.current", "inactive_file"],
            ["memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"],
        ]
        .map(|[limit, used, cache]| {
            let stat = read("memory.stat").unwrap_or_default();
            of_group(&read(limit)?, &read(used)?, &stat, cache)
        });
        let what = format!("the cgroup {}", folder.display());
        v2.or(v1).map(|bytes| Room { bytes, what })
    });
    let machine = machine.map(|bytes| Room { bytes, what: "this machine".to_owned() });
    machine.into_iter().chain(limits).min_by_key(|room| room.bytes)
}

/// `MemAvailable` of `/proc/meminfo`.
fn of_machine(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}

/// What a cgroup has left: its limit less its use, of which the pages of files that nobody uses do
/// not count. `None` where there is no limit: `max` in v2, a number near the largest in v1.
fn of_group(limit: &str, used: &str, stat: &str, cache: &str) -> Option<u64> {
    let limit: u64 = limit.trim().parse().ok()?;
    let used: u64 = used.trim().parse().ok()?;
    let line = stat.lines().find_map(|line| line.strip_prefix(cache)?.strip_prefix(' '));
    let cache: u64 = line.and_then(|number| number.trim().parse().ok()).unwrap_or(0);
    (limit < i64::MAX as u64 / 2).then(|| limit.saturating_sub(used.saturating_sub(cache)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_memory_is_read() {
        let text = "MemTotal:       24684084 kB\nMemFree:  1 kB\nMemAvailable:   22834164 kB\n";
        assert_eq!(of_machine(text), Some(22_834_164 * 1024));
        assert_eq!(of_machine("MemTotal: 5 kB\n"), None);
    }

    #[test]
    fn limits_of_both_cgroup_versions_are_read() {
        let stat = "anon 5\ninactive_file 300\ntotal_inactive_file 400\n";
        assert_eq!(of_group("max\n", "5\n", stat, "inactive_file"), None);
        assert_eq!(of_group("1000\n", "800\n", stat, "inactive_file"), Some(500));
        assert_eq!(of_group("1000\n", "800\n", stat, "total_inactive_file"), Some(600));
        assert_eq!(of_group("1000\n", "1800\n", "", "inactive_file"), Some(0));
        assert_eq!(of_group("9223372036854771712\n", "5\n", "", "total_inactive_file"), None);
    }

    #[test]
    fn what_there_is_not_is_refused_with_both_numbers() {
        check(1, 0).unwrap();
        let Err(SharedError::NoRoom { wanted, available, .. }) = check(1 << 60, 0) else {
            panic!("no machine has so much");
        };
        assert!(wanted == 1 << 60 && available > 0 && available < wanted);
        assert!(check(1, u64::MAX).is_err(), "all is promised to others");
    }
}
