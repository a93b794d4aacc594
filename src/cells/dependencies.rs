//! What `:dep` adds: crates of the user's choice, built together with the cell library so that
//! both agree on versions, and linked into one shared object, so that every cell of a notebook
//! sees the same copy of a crate's statics.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use toml::{Table, Value};

use super::build::{Artifact, Built, Package, hex, lock};
use super::{Compilers, Error, Library, Progress, Toolchain, cache_root};

/// The crates a notebook has asked for, by the name that cells use.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Dependencies {
    crates: BTreeMap<String, Value>,
}

impl Dependencies {
    /// Adds what a `:dep` line says: `name`, `name = "1.0"`, `name = { … }`, or a path. Several
    /// may be given, one per line. True if anything changed.
    ///
    /// # Errors
    /// [`Error::Dependency`] with what could not be understood.
    pub fn add(&mut self, line: &str, directory: &Path) -> Result<bool, Error> {
        let before = self.clone();
        for (name, value) in parse(line.trim(), directory)? {
            self.crates.insert(name, value);
        }
        Ok(*self != before)
    }

    /// One line per crate, as in a `Cargo.toml`.
    pub fn lines(&self) -> Vec<String> {
        self.crates.iter().map(|(name, value)| format!("{name} = {value}")).collect()
    }

    /// Whether nothing was asked for.
    pub fn is_empty(&self) -> bool {
        self.crates.is_empty()
    }

    /// The crates as in a `Cargo.toml`.
    pub(super) fn into_table(self) -> Table {
        self.crates.into_iter().collect()
    }

    /// Builds the crates beside `base`. The library that comes back has the same identity as
    /// `base` unless the crates' features forced the cell library itself to be built anew.
    ///
    /// # Errors
    /// A failed build; cargo's own words are in it.
    pub fn build(
        &self,
        base: &Library,
        compilers: &Compilers,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Library, Error> {
        let toolchain = Toolchain::find()?;
        let folder = self.folder(base);
        let _lock = lock(&folder, progress)?;
        let target = folder.join("target");
        if !target.exists() {
            let draft = folder.join("target.new");
            let _ = fs::remove_dir_all(&draft);
            link_tree(&base.source.with_file_name("target"), &draft)?;
            fs::rename(&draft, &target).map_err(Error::file(&target))?;
        }
        let crates = self.clone().into_table();
        let (source, what) = (&base.source, "dependencies");
        let features = &base.features;
        let package = Package { folder: &folder, source, crates: &crates, features, what };
        let built = package.build(&toolchain, compilers, progress)?;
        self.library(base, &folder, &built)
    }

    fn folder(&self, base: &Library) -> PathBuf {
        let text = format!("{}\n{}", base.identity, self.lines().join("\n"));
        let hash = hex(&Sha256::digest(text)[..8]);
        cache_root().join(format!("deps-{hash}"))
    }

    fn library(&self, base: &Library, folder: &Path, built: &Built) -> Result<Library, Error> {
        let mut library = base.clone();
        library.search.clone_from(&built.search);
        library.package = folder.join("cells");
        for (name, file) in &mut library.crates {
            *file = built.file(name)?;
        }
        for name in self.crates.keys().map(|n| n.replace('-', "_")).chain(["cell_deps".into()]) {
            let package = self.package_of(&name);
            let renamed = || self.by_package(&package, &built.artifacts)?.linkable();
            let file = built.file(&package).ok().or_else(renamed).ok_or_else(|| {
                Error::Dependency(format!("`{name}` has no library that a cell could use"))
            })?;
            library.crates.retain(|(other, _)| *other != name);
            library.crates.push((name, file));
        }
        library.linked.push("cell_deps".to_owned());
        if !built.artifacts.iter().filter(|a| a.name == "parcell").all(|a| a.fresh) {
            library.driver = built.driver()?;
            library.identity = folder.display().to_string();
        }
        Ok(library)
    }

    /// The package behind a name that cells use: `package = "…"` renames.
    fn package_of(&self, name: &str) -> String {
        let entry = self.crates.iter().find(|(n, _)| n.replace('-', "_") == name);
        let package = entry.and_then(|(_, v)| v.get("package")).and_then(Value::as_str);
        package.unwrap_or(name).replace('-', "_")
    }

    /// A package whose library has another name than the package.
    fn by_package<'a>(&self, name: &str, artifacts: &'a [Artifact]) -> Option<&'a Artifact> {
        let dashed = name.replace('_', "-");
        let belongs = |a: &&Artifact| {
            [name, dashed.as_str()].iter().any(|n| {
                a.package.contains(&format!("/{n}#")) || a.package.contains(&format!("#{n}@"))
            })
        };
        artifacts.iter().find(|a| belongs(a) && a.linkable().is_some())
    }
}

fn parse(line: &str, directory: &Path) -> Result<Vec<(String, Value)>, Error> {
    let wrong = |why: String| {
        Error::Dependency(format!(
            "`{line}` is not a dependency ({why}); write `:dep name`, `:dep name = \"1.0\"`, \
             `:dep name = {{ version = \"1.0\", features = [\"f\"] }}` or `:dep ./path/to/crate`"
        ))
    };
    let any = || Value::String("*".to_owned());
    let is_name = |s: &str| s.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-');
    if line.is_empty() {
        return Err(wrong("nothing is named".to_owned()));
    }
    if is_name(line) {
        return Ok(vec![(line.to_owned(), any())]);
    }
    let path = directory.join(line);
    if !line.contains('=') {
        return local(&path).map(|d| vec![d]).map_err(wrong);
    }
    let mut table: Table =
        line.parse().map_err(|e: toml::de::Error| wrong(e.message().to_owned()))?;
    for value in table.iter_mut().filter_map(|(_, v)| v.as_table_mut()) {
        if let Some(Value::String(path)) = value.get_mut("path") {
            *path = directory.join(&*path).display().to_string();
        }
    }
    Ok(table.into_iter().collect())
}

/// A crate in a folder.
fn local(path: &Path) -> Result<(String, Value), String> {
    let manifest = fs::read_to_string(path.join("Cargo.toml"))
        .map_err(|e| format!("{}: {e}", path.join("Cargo.toml").display()))?;
    let manifest: Table = manifest.parse().map_err(|e: toml::de::Error| e.message().to_owned())?;
    let name = manifest.get("package").and_then(|p| p.get("name")).and_then(Value::as_str);
    let name = name.ok_or_else(|| format!("{} names no package", path.display()))?;
    let path = path.canonicalize().map_err(|e| e.to_string())?.display().to_string();
    Ok((
        name.to_owned(),
        Value::Table(Table::from_iter([("path".to_owned(), Value::String(path))])),
    ))
}

/// Copies a tree by hard links (by contents where that is not allowed: to another file system, or of
/// another user's files): the dependency
/// build starts from what is built, and what cargo replaces leaves the original alone.
fn link_tree(from: &Path, to: &Path) -> Result<(), Error> {
    fs::create_dir_all(to).map_err(Error::file(to))?;
    for entry in fs::read_dir(from).map_err(Error::file(from))? {
        let entry = entry.map_err(Error::file(from))?;
        let (source, copy) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            link_tree(&source, &copy)?;
        } else if fs::hard_link(&source, &copy).is_err() {
            copy_with_time(&source, &copy).map_err(Error::file(&copy))?;
        }
    }
    Ok(())
}

/// Cargo tells by the times of files what it has to build again.
fn copy_with_time(source: &Path, copy: &Path) -> io::Result<()> {
    fs::copy(source, copy)?;
    File::open(copy)?.set_modified(source.metadata()?.modified()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_as_old_as_what_was_copied() {
        let folder = tempfile::tempdir().unwrap();
        let (source, copy) = (folder.path().join("source"), folder.path().join("copy"));
        fs::write(&source, "x").unwrap();
        let then = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000);
        File::open(&source).unwrap().set_modified(then).unwrap();
        copy_with_time(&source, &copy).unwrap();
        assert_eq!(copy.metadata().unwrap().modified().unwrap(), then);
    }

    fn lines(text: &str) -> Result<Vec<String>, Error> {
        let mut dependencies = Dependencies::default();
        dependencies.add(text, Path::new("/nowhere"))?;
        Ok(dependencies.lines())
    }

    #[test]
    fn every_form_of_a_dependency_is_understood() {
        assert_eq!(lines("itoa").unwrap(), ["itoa = \"*\""]);
        assert_eq!(lines("itoa = \"1\"").unwrap(), ["itoa = \"1\""]);
        assert_eq!(
            lines("x = { version = \"1\", features = [\"f\"] }").unwrap(),
            ["x = { features = [\"f\"], version = \"1\" }"]
        );
        assert_eq!(lines("x = { path = \"p\" }").unwrap(), ["x = { path = \"/nowhere/p\" }"]);
    }

    #[test]
    fn nonsense_is_refused_with_the_way_out() {
        for text in ["", "= 1", "./no/such/crate", "x = {"] {
            let message = lines(text).unwrap_err().to_string();
            assert!(message.contains(":dep name"), "{text}: {message}");
        }
    }
}
