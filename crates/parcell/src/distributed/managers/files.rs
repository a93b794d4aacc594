//! What a worker needs to run: the program and the libraries that it was started with.

use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::distributed::objects;

/// A file that every worker needs.
pub(crate) struct Needed {
    pub(crate) path: PathBuf,
    pub(crate) name: String,
    pub(crate) bytes: u64,
}

/// The program and those of its libraries that not every host has, the program first.
pub(crate) fn needed(program: &Path) -> Result<Vec<Needed>, String> {
    let of_system = ["/lib/", "/lib64/", "/usr/lib/", "/usr/lib64/"];
    let own = |path: &String| {
        path.starts_with('/') && !of_system.iter().any(|folder| path.starts_with(folder))
    };
    // Modules of cells come when they are called.
    let library = |path: &String| {
        let name = path.rsplit('/').next().unwrap_or_default();
        own(path) && (name.starts_with("libparcell") || name.starts_with("libstd"))
    };
    let libraries = objects::paths().into_iter().filter(library).map(PathBuf::from);
    std::iter::once(program.to_owned()).chain(libraries).map(Needed::of).collect()
}

impl Needed {
    fn of(path: PathBuf) -> Result<Needed, String> {
        let failed = |e| format!("{} cannot be read: {e}", path.display());
        let bytes = fs::metadata(&path).map_err(failed)?.len();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Needed { name, bytes, path })
    }
}

/// Names these files by what is in them.
pub(crate) fn digest(files: &[Needed]) -> Result<String, String> {
    let mut hash = Sha256::new();
    for file in files {
        let failed = |e| format!("{} cannot be read: {e}", file.path.display());
        hash.update(file.name.as_bytes());
        hash.update(file.bytes.to_le_bytes());
        hash.update(fs::read(&file.path).map_err(failed)?);
    }
    Ok(hash.finalize()[..8].iter().map(|b| format!("{b:02x}")).collect())
}

/// The user's folder for what can be made again.
pub(super) fn cache() -> PathBuf {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = || set("HOME").map(|home| home.join(".cache"));
    let base = set("XDG_CACHE_HOME").or_else(home).unwrap_or_else(std::env::temp_dir);
    base.join("parcell")
}
