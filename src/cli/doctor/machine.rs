//! Disk, ports and threads.

use std::net::TcpListener;
use std::path::{Path, PathBuf};

use nix::sched::{CpuSet, sched_getaffinity};
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::Pid;

use super::Finding;
use crate::cells;
use crate::cli::clean::readable;

/// What a cell library and a few sessions need, and what they need to run at ease.
const LEAST_SPACE: u64 = 1 << 30;
const GOOD_SPACE: u64 = 4 << 30;
/// A session with a handful of workers stays below this number of threads.
const GOOD_THREADS: u64 = 512;

/// The folder of the cell libraries.
pub(super) fn cache() -> Vec<Finding> {
    let root = cells::cache_root();
    let mend = "set PARCELL_CACHE to a folder on a local disk, for example with `parcell install \
                --env PARCELL_CACHE=…`";
    folder("cache", &root, mend)
}

/// The folders of a session's modules and of Jupyter's sockets.
pub(super) fn temporary() -> Vec<Finding> {
    let own = std::env::var_os("PARCELL_TMP").map(PathBuf::from);
    let temporary = own.unwrap_or_else(std::env::temp_dir);
    let mend = "set PARCELL_TMP (or TMPDIR) to another folder";
    let mut findings = folder("temporary folder", &temporary, mend);
    if let Some(runtime) = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from)
        && let Err(problem) = try_writing(&runtime)
    {
        let text = format!("XDG_RUNTIME_DIR {} cannot be used: {problem}", runtime.display());
        findings.push(Finding::note(text, "unset it in batch jobs, or make the folder"));
    }
    findings
}

/// Checks a folder in which modules are written, loaded and run.
fn folder(what: &str, path: &Path, mend: &str) -> Vec<Finding> {
    let name = format!("{what} {}", path.display());
    if let Err(problem) = try_writing(path) {
        return vec![Finding::missing(format!("{name} cannot be written: {problem}"), mend)];
    }
    let Ok(disk) = statvfs(path) else { return vec![Finding::good(name)] };
    if disk.flags().contains(FsFlags::ST_NOEXEC) {
        let text = format!("{name} is mounted noexec, so nothing can be loaded from it");
        return vec![Finding::missing(text, mend)];
    }
    #[expect(clippy::useless_conversion, reason = "the type differs between systems")]
    let free = u64::from(disk.blocks_available()) * disk.fragment_size();
    vec![space(&name, free, mend)]
}

fn space(name: &str, free: u64, mend: &str) -> Finding {
    let text = format!("{name}, {} free", readable(free));
    match free {
        GOOD_SPACE.. => Finding::good(text),
        LEAST_SPACE.. => Finding::note(text, "`parcell clean` removes old libraries"),
        _ => Finding::missing(text, mend),
    }
}

fn try_writing(folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    tempfile::tempfile_in(folder).map(drop)
}

/// Jupyter gives a kernel five ports of the loopback address.
pub(super) fn ports() -> Vec<Finding> {
    let bound: Result<Vec<_>, _> = (0..5).map(|_| TcpListener::bind("127.0.0.1:0")).collect();
    vec![match bound {
        Ok(_) => Finding::good("ports of 127.0.0.1 can be bound"),
        Err(e) => Finding::missing(
            format!("no port of 127.0.0.1 can be bound: {e}"),
            "the loopback interface is down or forbidden: ask the administrator, or use ipc with \
             `jupyter lab --KernelManager.transport=ipc`",
        ),
    }]
}

/// How many threads cells get, and what limits them.
pub(super) fn threads() -> Vec<Finding> {
    let slurm = std::env::var("SLURM_CPUS_PER_TASK").ok().and_then(|n| n.parse().ok());
    let allowed = std::thread::available_parallelism().map_or(1, usize::from);
    let mut findings = vec![processors(allowed, affinity(), slurm)];
    if let Ok((limit, _)) = getrlimit(Resource::RLIMIT_NPROC) {
        findings.push(process_limit(limit));
    }
    findings
}

fn affinity() -> Option<usize> {
    let set = sched_getaffinity(Pid::from_raw(0)).ok()?;
    Some((0..CpuSet::count()).filter(|cpu| set.is_set(*cpu).unwrap_or(false)).count())
}

fn processors(allowed: usize, affinity: Option<usize>, slurm: Option<usize>) -> Finding {
    let affine = affinity.unwrap_or(allowed);
    let mut text = format!("{affine} processors to run on");
    if allowed < affine {
        text += &format!(", a cgroup quota of {allowed}");
    }
    match slurm {
        None => Finding::good(text),
        Some(n) if n <= allowed => Finding::good(format!("{text}, {n} of them by Slurm")),
        Some(n) => Finding::note(
            format!("{text}, but SLURM_CPUS_PER_TASK is {n}"),
            "start the job's step with `srun --cpus-per-task`, which Slurm no longer inherits",
        ),
    }
}

fn process_limit(limit: u64) -> Finding {
    match limit {
        RLIM_INFINITY => Finding::good("no limit on processes and threads"),
        GOOD_THREADS.. => Finding::good(format!("at most {limit} processes and threads")),
        _ => Finding::note(
            format!("at most {limit} processes and threads (ulimit -u): large pools will fail"),
            "raise it with `ulimit -u` up to the hard limit, or ask the administrator",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Mark;
    use super::*;

    #[test]
    fn a_folder_that_cannot_be_written_is_missing() {
        let found = folder("cache", Path::new("/proc/parcell"), "mend it");
        assert_eq!(found[0].mark, Mark::Missing);
        assert!(found[0].text.contains("/proc/parcell"));
    }

    #[test]
    fn space_is_judged_by_what_a_library_needs() {
        let mark = |free| space("cache", free, "").mark;
        assert_eq!(mark(GOOD_SPACE), Mark::Good);
        assert_eq!(mark(GOOD_SPACE - 1), Mark::Note);
        assert_eq!(mark(LEAST_SPACE - 1), Mark::Missing);
    }

    #[test]
    fn quota_and_slurm_are_named_when_they_matter() {
        assert_eq!(processors(4, Some(4), None), Finding::good("4 processors to run on"));
        assert!(processors(2, Some(8), None).text.ends_with("a cgroup quota of 2"));
        assert_eq!(processors(8, Some(8), Some(8)).mark, Mark::Good);
        assert_eq!(processors(1, Some(1), Some(8)).mark, Mark::Note);
    }

    #[test]
    fn a_low_limit_on_threads_is_noted() {
        assert_eq!(process_limit(RLIM_INFINITY).mark, Mark::Good);
        assert_eq!(process_limit(512).mark, Mark::Good);
        assert_eq!(process_limit(100).mark, Mark::Note);
    }
}
