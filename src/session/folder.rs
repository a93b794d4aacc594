//! A session's folder: the sources and modules of its cells. It is locked while the session lives,
//! so that folders of sessions that ended without a word can be told from others and removed.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

/// A folder that is removed when this is dropped.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    _lock: Flock<File>,
}

impl Folder {
    /// Makes a new folder, only for this user to read, and removes those left behind by others.
    pub(super) fn create() -> io::Result<Folder> {
        let path = root().join(uuid::Uuid::new_v4().simple().to_string());
        // A session that ends removes the root if it leaves it empty, also between these two steps.
        let make = || {
            DirBuilder::new().recursive(true).mode(0o700).create(root())?;
            DirBuilder::new().mode(0o700).create(&path)
        };
        make().or_else(|_| make())?;
        sweep(&root());
        let lock = File::create(path.join("lock"))?;
        let lock = Flock::lock(lock, FlockArg::LockExclusiveNonblock).map_err(|(_, e)| e)?;
        Ok(Folder { path, _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Already gone is as good; anything else the next session's sweep finds.
        let _ = fs::remove_dir_all(&self.path);
        // Fails while other sessions have folders there, as it should.
        let _ = fs::remove_dir(root());
    }
}

/// Where session folders are: `$PARCELL_TMP`, else one folder per user in the temporary folder.
pub(super) fn root() -> PathBuf {
    let own = std::env::var_os("PARCELL_TMP").map(PathBuf::from);
    own.unwrap_or_else(|| std::env::temp_dir().join(format!("parcell-{}", nix::unistd::getuid())))
}

/// Removes folders whose session has ended; how many bytes that freed is not counted.
pub(super) fn sweep(root: &Path) -> usize {
    let entries = fs::read_dir(root).into_iter().flatten().flatten();
    let dead = entries.map(|e| e.path()).filter(|path| {
        let Ok(lock) = File::open(path.join("lock")) else { return false };
        Flock::lock(lock, FlockArg::LockExclusiveNonblock).is_ok()
    });
    dead.filter(|path| fs::remove_dir_all(path).is_ok()).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_folders_without_a_living_session_are_swept() {
        let root = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            let path = root.path().join(name);
            fs::create_dir(&path).unwrap();
            File::create(path.join("lock")).unwrap()
        };
        drop(make("dead"));
        let alive = Flock::lock(make("alive"), FlockArg::LockExclusive).unwrap();
        assert_eq!(sweep(root.path()), 1);
        assert!(root.path().join("alive").exists() && !root.path().join("dead").exists());
        drop(alive);
    }
}
