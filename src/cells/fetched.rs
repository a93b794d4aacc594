//! Crates that an admin has fetched for all users of an installation, so that sessions without
//! network can add them. Cargo keeps them in `$CARGO_HOME`; beside the cell libraries lies a
//! package that names them, by which they are fetched again for a newer library.

use std::fs;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::build::Package;
use super::{Dependencies, Error, Library, Toolchain};

/// The crates that were fetched for the users of one cell library.
#[derive(Debug)]
pub struct Fetched {
    folder: PathBuf,
}

impl Fetched {
    /// Those that lie beside a cell library.
    pub fn beside(library: &Library) -> Fetched {
        let root = library.source.parent().and_then(Path::parent);
        Fetched { folder: root.unwrap_or(&library.source).join("crates") }
    }

    /// Fetches crates, each as a `:dep` line or as `name@version`, and all that were fetched
    /// before, with what they depend on. Blocks while cargo asks the registry.
    ///
    /// # Errors
    /// [`Error::Dependency`] for a line that cannot be understood, [`Error::Build`] with cargo's
    /// words; the list of crates stays as it was.
    pub fn add(&self, lines: &[String], library: &Library) -> Result<(), Error> {
        let files = [self.manifest(), self.lock()];
        let before = files.each_ref().map(|file| fs::read(file).ok());
        let result = self.fetch(lines, library);
        if result.is_err() {
            for (file, content) in files.iter().zip(before) {
                // What cannot be put back is less than what went wrong before.
                let _ = match content {
                    Some(content) => fs::write(file, content),
                    None => fs::remove_file(file),
                };
            }
        }
        result
    }

    fn fetch(&self, lines: &[String], library: &Library) -> Result<(), Error> {
        let mut crates = self.wanted();
        let mut added = Dependencies::default();
        let here = std::env::current_dir().map_err(Error::file(Path::new(".")))?;
        for line in lines {
            added.add(&with_version(line), &here)?;
        }
        crates.extend(added.into_table());
        // Solved anew, from what the library itself has: so will sessions do it.
        let _ = fs::remove_file(self.lock());
        let (folder, source, what) = (&*self.folder, &*library.source, "the list of crates");
        let features = &library.features;
        Package { folder, source, crates: &crates, features, what }.fetch(&Toolchain::find()?)
    }

    /// The crates with the versions that were fetched, `name version`, by name.
    pub fn list(&self) -> Vec<String> {
        let lock = fs::read_to_string(self.lock()).unwrap_or_default();
        let lock: Table = lock.parse().unwrap_or_default();
        let packages = lock.get("package").and_then(Value::as_array);
        let version = |name: &str| {
            let of_name = |p: &&Value| p.get("name").and_then(Value::as_str) == Some(name);
            let mut found = packages?.iter().filter(of_name).rev();
            found.find_map(|p| p.get("version").and_then(Value::as_str))
        };
        let line = |name: &String| format!("{name} {}", version(name).unwrap_or("?"));
        self.wanted().keys().map(line).collect()
    }

    /// What was asked for so far, as in a `Cargo.toml`.
    fn wanted(&self) -> Table {
        let text = fs::read_to_string(self.manifest()).unwrap_or_default();
        let mut manifest: Table = text.parse().unwrap_or_default();
        let Some(Value::Table(mut crates)) = manifest.remove("dependencies") else {
            return Table::new();
        };
        crates.remove("parcell");
        crates
    }

    fn lock(&self) -> PathBuf {
        self.folder.join("cells/Cargo.lock")
    }

    fn manifest(&self) -> PathBuf {
        self.folder.join("cells/Cargo.toml")
    }
}

/// `name@1.2` in the words of a `Cargo.toml`.
fn with_version(line: &str) -> String {
    match line.split_once('@') {
        Some((name, version)) if !line.contains('=') => format!("{name} = \"{version}\""),
        _ => line.to_owned(),
    }
}
