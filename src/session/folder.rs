//! A session's folder: the sources and modules of its cells. It is locked while the session lives,
//! so that folders of sessions that ended without a word can be told from others and removed.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

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
            check_owner(&root())?;
            DirBuilder::new().mode(0o700).create(&path)
        };
        make().or_else(|_| make())?;
        let lock = lock(&path)?;
        std::thread::spawn(|| sweep(&root()));
        Ok(Folder { path, _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Already gone is as good; anything else the next session's sweep finds.
        let _ = remove(&self.path);
        // Fails while other sessions have folders there, as it should.
        let _ = fs::remove_dir(root());
    }
}

/// Where session folders are: `$PARCELL_TMP`, else one folder per user in the temporary folder.
pub(super) fn root() -> PathBuf {
    let own = std::env::var_os("PARCELL_TMP").map(PathBuf::from);
    own.unwrap_or_else(|| std::env::temp_dir().join(format!("parcell-{}", nix::unistd::getuid())))
}

/// Refuses a root that another user made first, who could exchange what compilers write below it.
/// Any folder that `$PARCELL_TMP` names is the user's own choice.
fn check_owner(root: &Path) -> io::Result<()> {
    let found = fs::symlink_metadata(root)?;
    let ours = found.uid() == nix::unistd::getuid().as_raw();
    if ours && found.is_dir() && found.mode() & 0o022 == 0
        || std::env::var_os("PARCELL_TMP").is_some()
    {
        return Ok(());
    }
    let (path, owner, mode) = (root.display(), found.uid(), found.mode() & 0o7777);
    Err(io::Error::other(format!(
        "{path} could be changed by others (it belongs to user {owner}, mode {mode:o}); remove it, \
         or name a folder of your own in PARCELL_TMP"
    )))
}

/// The file whose lock a living session holds.
const LOCK: &str = "lock";

/// Locks a folder. The file gets its name once it is locked: a sweep of another session must not
/// find it free.
fn lock(path: &Path) -> io::Result<Flock<File>> {
    let draft = path.join("lock.new");
    let lock = Flock::lock(File::create(&draft)?, FlockArg::LockExclusiveNonblock);
    let lock = lock.map_err(|(_, errno)| errno)?;
    fs::rename(draft, path.join(LOCK))?;
    Ok(lock)
}

/// Removes a session's folder, its lock last: what is cut short is found by the next sweep.
fn remove(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)?.flatten().filter(|entry| entry.file_name() != LOCK) {
        // What cannot be removed now is tried again below, which says why.
        let inner = entry.path();
        let _ = fs::remove_dir_all(&inner).or_else(|_| fs::remove_file(&inner));
    }
    fs::remove_dir_all(path)
}

/// Removes folders whose session has ended; how many there were.
pub(super) fn sweep(root: &Path) -> usize {
    let entries = fs::read_dir(root).into_iter().flatten().flatten();
    let dead = entries.map(|e| e.path()).filter(|path| match File::open(path.join(LOCK)) {
        Ok(lock) => Flock::lock(lock, FlockArg::LockExclusiveNonblock).is_ok(),
        // A session that is just starting has no lock yet.
        Err(_) => path.is_dir() && age(path) > STARTING,
    });
    dead.filter(|path| remove(path).is_ok()).count()
}

/// So long a session may take from making its folder to locking it.
const STARTING: Duration = Duration::from_secs(60);

fn age(path: &Path) -> Duration {
    let changed = path.metadata().and_then(|m| m.modified()).ok();
    changed.and_then(|t| t.elapsed().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_root_that_others_can_change_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(check_owner(folder.path()).is_ok());
        let open = fs::Permissions::from_mode(0o777);
        fs::set_permissions(folder.path(), open).unwrap();
        let refused = check_owner(folder.path()).unwrap_err().to_string();
        assert!(refused.contains("mode 777") && refused.contains("PARCELL_TMP"), "{refused}");
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("/", &link).unwrap();
        assert!(check_owner(&link).is_err());
    }

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
        fs::create_dir(root.path().join("starting")).unwrap();
        assert_eq!(sweep(root.path()), 0);
        drop(alive);
    }
}
