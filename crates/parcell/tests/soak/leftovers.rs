//! What must not be left at the end: on the processes, in the system, on the disk.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use parcell::distributed::{Census, census};

/// The processes that still hold something.
pub(crate) fn busy() -> BTreeMap<usize, Census> {
    let mut all = census();
    // The question itself.
    all.entry(1).and_modify(|held| held.pending -= 1);
    all.retain(|_, held| *held != Census::default());
    all
}

/// The children of this process, living or dead and not reaped.
pub(crate) fn children() -> Vec<String> {
    let me = std::process::id().to_string();
    let processes = fs::read_dir("/proc").expect("procfs is mounted").flatten();
    let of_mine = |path: &Path| {
        let stat = fs::read_to_string(path.join("stat")).ok()?;
        // The name, in parentheses, may hold anything.
        let (_, rest) = stat.rsplit_once(") ")?;
        let parent = rest.split(' ').nth(1)?;
        (parent == me).then_some(stat)
    };
    processes.filter_map(|entry| of_mine(&entry.path())).collect()
}

/// What the open files of this process are, those of processes that are gone included.
pub(crate) fn open_files() -> Vec<String> {
    let files = fs::read_dir("/proc/self/fd").expect("procfs is mounted").flatten();
    let mut targets: Vec<String> = files
        .filter_map(|file| fs::read_link(file.path()).ok())
        .map(|target| target.to_string_lossy().into_owned())
        // The directory that is being read.
        .filter(|target| !target.ends_with("/fd"))
        .collect();
    targets.sort_unstable();
    targets
}

/// How many sockets this process has open.
pub(crate) fn sockets() -> usize {
    open_files().iter().filter(|target| target.starts_with("socket:")).count()
}

/// The threads of this process that listen to another, or wait for its end.
pub(crate) fn threads_for_others() -> Vec<String> {
    let tasks = fs::read_dir("/proc/self/task").expect("procfs is mounted").flatten();
    let names = tasks.filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
    let for_others = |name: &String| {
        ["from-", "to-", "starts-"].iter().any(|what| name.starts_with(&format!("parcell-{what}")))
    };
    names.filter(for_others).collect()
}

/// Files whose name says that they are of this program.
pub(crate) fn files(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).into_iter().flatten().flatten();
    let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mine = std::process::id().to_string();
    names.filter(|name| name.contains("parcell") && name.contains(&mine)).collect()
}
