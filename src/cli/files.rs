//! Files written whole or not at all.

use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::Error;

/// Permissions of a program, before the umask.
pub(super) const PROGRAM: u32 = 0o777;
/// Permissions of any other file, before the umask.
pub(super) const PLAIN: u32 = 0o666;

/// What a write did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// The file is new or has new content.
    Written,
    /// The file already had this content.
    Kept,
}

/// Gives `path` this content. Readers see the old file or the new one, never a part; a program
/// that runs from the old file goes on undisturbed. An existing file keeps its permissions.
pub(super) fn write(path: &Path, content: &[u8], mode: u32) -> Result<Change, Error> {
    // A link stays a link: what it points to is replaced.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let old = fs::read(&target).ok();
    if old.as_deref() == Some(content) {
        return Ok(Change::Kept);
    }
    let folder = target.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder).map_err(Error::file("create the folder", folder))?;
    let kept = fs::metadata(&target).ok().map(|m| m.permissions());
    replace(&target, folder, content, mode, kept).map_err(Error::file("write", path))?;
    Ok(Change::Written)
}

fn replace(
    target: &Path,
    folder: &Path,
    content: &[u8],
    mode: u32,
    kept: Option<Permissions>,
) -> std::io::Result<()> {
    let mut builder = tempfile::Builder::new();
    let mut file = builder
        .prefix(".parcell-")
        .permissions(Permissions::from_mode(mode))
        .tempfile_in(folder)?;
    file.write_all(content)?;
    if let Some(permissions) = kept {
        file.as_file().set_permissions(permissions)?;
    }
    file.as_file().sync_all()?;
    file.persist(target)?;
    Ok(())
}

/// Removes a file or a folder with all it holds; `false` if there was none.
pub(super) fn remove(path: &Path) -> Result<bool, Error> {
    let result = match fs::symlink_metadata(path) {
        Err(_) => return Ok(false),
        Ok(what) if what.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
    };
    result.map(|()| true).map_err(Error::file("remove", path))
}

/// Bytes of all files below a path.
pub(super) fn size(path: &Path) -> u64 {
    let Ok(what) = fs::symlink_metadata(path) else { return 0 };
    if !what.is_dir() {
        return what.len();
    }
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.map(|e| size(&e.path())).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_replaces_content_and_keeps_permissions_and_links() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("deep/file"), folder.path().join("link"));
        assert_eq!(write(&file, b"one", PLAIN).unwrap(), Change::Written);
        assert_eq!(write(&file, b"one", PLAIN).unwrap(), Change::Kept);
        fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert_eq!(write(&link, b"two", PLAIN).unwrap(), Change::Written);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&file).unwrap(), b"two");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(fs::read_dir(folder.path().join("deep")).unwrap().count(), 1);
    }

    #[test]
    fn a_failed_write_names_the_file() {
        let error = write(Path::new("/proc/none/file"), b"x", PLAIN).unwrap_err();
        assert!(error.to_string().contains("/proc/none"), "{error}");
    }
}
