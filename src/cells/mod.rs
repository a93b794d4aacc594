//! The cell library on disk: the library that every cell links, built once from sources that the
//! kernel carries, into a cache keyed by compiler, sources, flags and processor.
//!
//! Invariant: a folder with a `ready` file is never changed again, so that sessions, other users
//! and read-only installs may share it. A build that was interrupted has no `ready` file and is
//! taken up where it stopped.

mod build;
mod compilers;
mod dependencies;
mod fetched;
mod sources;
mod target;
mod toolchain;

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

pub use build::{Sources, named_crates, prepare, sources};
pub use compilers::Compilers;
pub use dependencies::Dependencies;
pub use fetched::Fetched;
use serde::{Deserialize, Serialize};
pub use target::{TARGET_CPU, compile_for, target_cpu};
pub use toolchain::Toolchain;

/// One step of a build that takes longer than a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub text: String,
    /// Steps done.
    pub done: usize,
    /// Steps in all, where known.
    pub total: Option<usize>,
}

/// Why the cell library could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No usable compiler.
    #[error(
        "{program} was not found ({problem}); install Rust from https://rustup.rs, or set PATH"
    )]
    NoToolchain {
        /// `rustc` or `cargo`.
        program: &'static str,
        /// What happened when it was tried.
        problem: String,
    },
    /// A file or folder could not be used.
    #[error("{}: {source}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Cargo ended with an error.
    #[error("building {what} failed:\n{log}")]
    Build {
        /// What was built.
        what: String,
        /// What cargo and rustc said.
        log: String,
    },
    /// An interrupt ended the build.
    #[error("building {0} was interrupted; what is built so far is kept")]
    Interrupted(String),
    /// The processor that is to be compiled for is none, or another than the one at hand.
    #[error("{0}")]
    Processor(String),
    /// What a `:dep` says cannot be used.
    #[error("{0}")]
    Dependency(String),
}

/// The way out where rustc finds no linker; `None` for any other complaint.
pub fn linker_hint(complaint: &str) -> Option<&'static str> {
    let missing = complaint.contains("linker `") && complaint.contains("not found");
    missing.then_some(
        "rustc needs a C compiler to link; install one, on Debian: apt-get install \
         build-essential, on Fedora: dnf install gcc",
    )
}

/// The way out where crates cannot be built for lack of MPI or of what reads its headers.
fn mpi_hint(complaint: &str) -> Option<&'static str> {
    if complaint.contains("libclang") {
        return Some(
            "the headers of MPI are read with libclang; install it, on Debian: apt-get install \
             libclang-dev, on Fedora: dnf install clang-devel, or name its folder by LIBCLANG_PATH",
        );
    }
    let missing = complaint.contains("failed to find an MPI library");
    missing.then_some(
        "MPI with its compiler `mpicc` was not found; install it, on Debian: apt-get install \
         libopenmpi-dev openmpi-bin, on Fedora: dnf install openmpi-devel, or load the cluster's \
         module for it",
    )
}

impl Error {
    fn file(path: &Path) -> impl FnOnce(io::Error) -> Error + use<> {
        let path = path.to_owned();
        move |source| Error::File { path, source }
    }
}

/// A cell library that is ready: what rustc and the driver need to know of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Library {
    /// The program that runs cells.
    pub driver: PathBuf,
    /// Crates that cells can name, with their files.
    pub crates: Vec<(String, PathBuf)>,
    /// Folders where rustc finds what those crates need.
    pub search: Vec<PathBuf>,
    /// Crates that every cell links although it does not name them.
    pub linked: Vec<String>,
    /// The library's source, a workspace.
    pub source: PathBuf,
    /// The package that was built, with its manifest and lock file; the analyst reads it.
    pub package: PathBuf,
    /// The features of `parcell` that it was built with, beside those that all have.
    #[serde(default)]
    pub features: Vec<String>,
    /// Archives with names of C that cells may use by these features, and that the library does not
    /// export.
    #[serde(default)]
    pub archives: Vec<PathBuf>,
    /// Changes when the library's own code differs: modules of two identities do not mix.
    pub identity: String,
}

/// Which of the cell libraries that can be built.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Variant {
    /// With MPI, for workers that mpiexec starts.
    pub mpi: bool,
}

/// Has a kernel use the cell library with MPI, if it is `1`.
pub const MPI: &str = "PARCELL_MPI";

impl Variant {
    /// The one that the environment wants, as kernelspecs of `parcell install --mpi` do.
    pub fn of_environment() -> Variant {
        Variant { mpi: std::env::var(MPI).is_ok_and(|value| value == "1") }
    }

    fn features(self) -> Vec<String> {
        self.mpi.then(|| "mpi".to_owned()).into_iter().collect()
    }

    /// Crates with C code whose names the code of cells uses.
    fn with_c(self) -> &'static [&'static str] {
        if self.mpi { &["mpi_sys"] } else { &[] }
    }
}

impl Library {
    /// The shared objects that every cell's code uses.
    pub fn linked_files(&self) -> Vec<PathBuf> {
        let linked = self.crates.iter().filter(|(name, _)| self.linked.contains(name));
        linked.map(|(_, file)| file.clone()).collect()
    }
}

/// Flags that cells and everything they link are compiled with.
pub fn flags() -> [String; 2] {
    ["-Cprefer-dynamic".to_owned(), format!("-Ctarget-cpu={}", target_cpu())]
}

/// Where the user's cell libraries are built: `$PARCELL_CACHE`, else the user's cache folder.
pub fn cache_root() -> PathBuf {
    let own = std::env::var_os("PARCELL_CACHE").map(PathBuf::from);
    own.unwrap_or_else(|| {
        let user = directories::BaseDirs::new().map(|d| d.cache_dir().join("parcell"));
        user.unwrap_or_else(|| std::env::temp_dir().join("parcell-cache"))
    })
}

/// Places to look, in order: the installation's own (`$PARCELL_CELLS`, possibly read-only), then
/// the user's.
fn roots() -> Vec<PathBuf> {
    let installed = std::env::var_os("PARCELL_CELLS").map(PathBuf::from);
    installed.into_iter().chain([cache_root()]).collect()
}

/// Removes cell libraries of the user's cache: those unused for 30 days, or all of them.
///
/// # Errors
/// If the cache folder exists and cannot be read.
pub fn clean(everything: bool) -> io::Result<u64> {
    let root = cache_root();
    if !root.exists() {
        return Ok(0);
    }
    let month = Duration::from_secs(30 * 24 * 3600);
    let old = |path: &Path| {
        let used = path.join("ready").metadata().and_then(|m| m.accessed());
        used.is_ok_and(|t| SystemTime::now().duration_since(t).is_ok_and(|age| age > month))
    };
    let mut freed = 0;
    for entry in std::fs::read_dir(root)? {
        let path = entry?.path();
        let ours = path.join("lock").exists();
        if ours && (everything || old(&path)) {
            freed += size(&path);
            // What another process is using just now stays.
            let _ = std::fs::remove_dir_all(&path);
        }
    }
    Ok(freed)
}

fn size(path: &Path) -> u64 {
    let Ok(meta) = path.symlink_metadata() else { return 0 };
    if !meta.is_dir() {
        return meta.len();
    }
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    entries.map(|e| size(&e.path())).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_mpi_lacks_is_told_with_the_package_that_has_it() {
        let hint = |log| mpi_hint(log).unwrap_or_default();
        let mpicc = "This process has failed to find an MPI library for various reasons:";
        assert!(hint(mpicc).contains("mpicc") && hint(mpicc).contains("libopenmpi-dev"));
        let headers = "Unable to find libclang: \"couldn't find any valid shared libraries\"";
        assert!(hint(headers).contains("libclang-dev"));
        assert_eq!(hint("error[E0308]: mismatched types"), "");
    }

    #[test]
    fn libraries_have_mpi_only_where_it_was_asked_for() {
        assert!(Variant::default().features().is_empty());
        assert_eq!(Variant { mpi: true }.features(), ["mpi"]);
    }
}
