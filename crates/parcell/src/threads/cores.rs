//! How many threads this process may sensibly use: cores, affinity mask, cgroup quota, Slurm and
//! the environment. Reading is apart from understanding: what understands takes strings.

use std::fs::read_to_string;
use std::path::{Path, PathBuf};

/// Everything that limits the number of threads. `None` where nothing does.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Cores {
    /// Logical cores that are online.
    pub logical: usize,
    /// Cores in the process's affinity mask.
    pub affinity: Option<usize>,
    /// Cores' worth of time that the cgroup (v1 or v2) may use; fractions are possible.
    pub cgroup: Option<f64>,
    /// `SLURM_CPUS_PER_TASK`.
    pub slurm: Option<usize>,
    /// `PARCELL_NUM_THREADS`.
    pub parcell: Option<usize>,
    /// `RAYON_NUM_THREADS`.
    pub rayon: Option<usize>,
}

impl Cores {
    /// The smallest of the limits, at least 1. Of a fractional quota the whole cores count.
    ///
    /// ```
    /// let cores = parcell::threads::available();
    /// assert!((1..=cores.logical).contains(&cores.default_threads()));
    /// ```
    #[must_use]
    pub fn default_threads(&self) -> usize {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "quotas are positive, and truncating is what is meant"
        )]
        let quota = self.cgroup.map(|quota| quota as usize);
        let limits = [self.affinity, quota, self.slurm, self.parcell, self.rayon];
        limits.into_iter().flatten().fold(self.logical, usize::min).max(1)
    }
}

/// What limits the number of threads now. Reads a few files of `/proc` and `/sys`.
///
/// ```
/// assert!(parcell::threads::available().logical >= 1);
/// ```
#[must_use]
pub fn available() -> Cores {
    let count = |text: Option<String>| positive(&text?);
    let variable = |name| count(std::env::var(name).ok());
    let online = read_to_string("/sys/devices/system/cpu/online").ok();
    let online = online.and_then(|list| count_list(&list));
    let anyway = || std::thread::available_parallelism().map_or(1, usize::from);
    let status = read_to_string("/proc/self/status").ok();
    Cores {
        logical: online.unwrap_or_else(anyway),
        affinity: status.and_then(|text| allowed(&text)),
        cgroup: cgroup_quota(),
        slurm: variable("SLURM_CPUS_PER_TASK"),
        parcell: variable("PARCELL_NUM_THREADS"),
        rayon: count(super::global::users_value()),
    }
}

/// The number of threads that a pool gets unless told otherwise.
///
/// ```
/// assert!(parcell::threads::default_threads() >= 1);
/// ```
#[must_use]
pub fn default_threads() -> usize {
    available().default_threads()
}

fn positive(text: &str) -> Option<usize> {
    text.trim().parse().ok().filter(|&n| n > 0)
}

/// Counts the numbers in a list like `0-3,8,10-11`.
fn count_list(list: &str) -> Option<usize> {
    let count = |range: &str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        (last + 1).checked_sub(first)
    };
    list.trim().split(',').map(count).sum::<Option<usize>>().filter(|&n| n > 0)
}

/// The affinity mask as `/proc/self/status` tells it.
fn allowed(status: &str) -> Option<usize> {
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    count_list(list)
}

/// The smallest quota from the process's cgroup up to the root.
fn cgroup_quota() -> Option<f64> {
    let groups = read_to_string("/proc/self/cgroup").ok()?;
    smallest_quota(&groups, Path::new("/sys/fs/cgroup"))
}

fn smallest_quota(groups: &str, root: &Path) -> Option<f64> {
    let read = |folder: PathBuf| {
        let text = |file| read_to_string(folder.join(file)).ok();
        let v2 = text("cpu.max").and_then(|max| quota_v2(&max));
        v2.or_else(|| quota_v1(&text("cpu.cfs_quota_us")?, &text("cpu.cfs_period_us")?))
    };
    folders(groups, root, "cpu").into_iter().filter_map(read).reduce(f64::min)
}

/// The folders that may hold a limit of a controller, `cpu` or `memory`, for a process whose
/// `/proc/self/cgroup` reads `groups`: its own, every parent, and the root of the hierarchy, which is
/// all that a container sees.
pub(crate) fn folders(groups: &str, root: &Path, controller: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let hierarchy = match controllers {
            "" => root.to_owned(),
            list if list.split(',').any(|c| c == controller) => root.join(list),
            _ => continue,
        };
        let own = hierarchy.join(path.trim_start_matches('/'));
        let up = own.ancestors().take_while(|folder| folder.starts_with(&hierarchy));
        found.extend(up.map(Path::to_owned));
    }
    found
}

/// Cores by a v2 `cpu.max`: `max 100000` or `150000 100000`.
fn quota_v2(max: &str) -> Option<f64> {
    let (quota, period) = max.trim().split_once(' ')?;
    quota_v1(quota, period)
}

/// Cores by a v1 quota and period in microseconds; a quota of -1 is none.
fn quota_v1(quota: &str, period: &str) -> Option<f64> {
    let number = |text: &str| text.trim().parse::<f64>().ok().filter(|n| *n > 0.0);
    Some(number(quota)? / number(period)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cores_are_counted() {
        assert_eq!(count_list("0-3,8,10-11\n"), Some(7));
        assert_eq!(count_list("0"), Some(1));
        assert_eq!(count_list(""), None);
        assert_eq!(count_list("3-1"), None);
        let status = "Name:\tx\nCpus_allowed:\tff\nCpus_allowed_list:\t0-1,4\nMems_allowed:\t1\n";
        assert_eq!(allowed(status), Some(3));
    }

    #[test]
    fn quotas_of_both_cgroup_versions_are_read() {
        assert_eq!(quota_v2("max 100000\n"), None);
        assert_eq!(quota_v2("150000 100000\n"), Some(1.5));
        assert_eq!(quota_v1("-1\n", "100000\n"), None);
        assert_eq!(quota_v1("400000\n", "100000\n"), Some(4.0));
        assert_eq!(quota_v2(""), None);
    }

    #[test]
    fn limits_are_looked_for_up_to_the_root() {
        let root = Path::new("/sys/fs/cgroup");
        let v2 = folders("0::/user.slice/job\n", root, "cpu");
        let expected = ["user.slice/job", "user.slice", ""].map(|p| root.join(p));
        assert_eq!(v2, expected);
        let groups = "5:cpuset:/a\n4:cpu,cpuacct:/slurm/job_7\n1:name=systemd:/x\n";
        let v1 = folders(groups, root, "cpu");
        let cpu = root.join("cpu,cpuacct");
        assert_eq!(v1, [cpu.join("slurm/job_7"), cpu.join("slurm"), cpu]);
    }

    #[test]
    fn the_smallest_quota_of_files_of_version_2_counts() {
        let root = std::env::temp_dir().join(format!("parcell-cgroup-{}", std::process::id()));
        let job = root.join("user.slice/job");
        std::fs::create_dir_all(&job).unwrap();
        let quota = || smallest_quota("0::/user.slice/job\n", &root);
        assert_eq!(quota(), None, "no folder limits");
        std::fs::write(job.join("cpu.max"), "max 100000\n").unwrap();
        assert_eq!(quota(), None, "`max` is no limit");
        std::fs::write(root.join("user.slice/cpu.max"), "400000 100000\n").unwrap();
        assert_eq!(quota(), Some(4.0), "a parent's limit is one for its children");
        std::fs::write(job.join("cpu.max"), "150000 100000\n").unwrap();
        assert_eq!(quota(), Some(1.5));
        std::fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn the_smallest_limit_counts_and_is_never_zero() {
        let mut cores = Cores {
            logical: 64,
            affinity: Some(16),
            cgroup: Some(7.9),
            slurm: None,
            parcell: None,
            rayon: Some(12),
        };
        assert_eq!(cores.default_threads(), 7);
        cores.slurm = Some(4);
        assert_eq!(cores.default_threads(), 4);
        cores.cgroup = Some(0.5);
        assert_eq!(cores.default_threads(), 1);
    }
}
