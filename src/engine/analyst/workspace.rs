//! Reads a package and all crates that it uses into rust-analyzer: that takes three seconds, most
//! of them for the standard library.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::{fs, iter, thread};

use ra_ap_ide::{AnalysisHost, FileId, SourceRoot};
use ra_ap_ide_db::ChangeWithProcMacros;
use ra_ap_ide_db::base_db::{AbsPathBuf, FileSet, VfsPath, all_crates};
use ra_ap_project_model::{CargoConfig, ProjectManifest, ProjectWorkspace, RustLibSource};

/// Folders of the standard library that are left out: tests, and the intrinsics of all processors,
/// which are as much text as all the rest and cost a second.
const UNREAD: [&str; 3] = ["library/stdarch", "library/alloctests", "library/coretests"];

/// Crates that others use inside only, so that no cell meets their types. Without them
/// rust-analyzer needs 170 MB less. Those that a notebook asks for are read.
const INSIDE: [&str; 10] = [
    "autocfg",
    "cc",
    "libc",
    "libm",
    "proc-macro2",
    "quote",
    "shlex",
    "syn",
    "unicode-ident",
    "zerocopy",
];

/// More threads than that wait for each other.
const THREADS: usize = 4;

/// A package that questions can be asked about.
pub(super) struct Workspace {
    pub(super) host: AnalysisHost,
    /// The file whose text is asked about.
    pub(super) file: FileId,
}

impl Workspace {
    /// Reads the package of a manifest. Never goes online: the package was built here before.
    ///
    /// # Errors
    /// If cargo does not know the package; the text says why.
    pub(super) fn load(manifest: &Path) -> Result<Workspace, String> {
        let config = CargoConfig {
            sysroot: Some(RustLibSource::Discover),
            metadata_extra_args: vec!["--offline".to_owned()],
            ..CargoConfig::default()
        };
        let manifest = &manifest.canonicalize().map_err(|e| e.to_string())?;
        let path = absolute(manifest).ok_or("the manifest's path is not UTF-8")?;
        let package = ProjectManifest::from_manifest_file(path)
            .and_then(|manifest| ProjectWorkspace::load(manifest, &config, &|_| {}))
            .map_err(|e| format!("{e:#}"))?;
        let mut host = AnalysisHost::new(None);
        host.apply_change(everything(&package, manifest));
        let workspace = Workspace { host, file: FileId::from_raw(0) };
        workspace.index();
        Ok(workspace)
    }

    /// Has the crates that the package uses read to the depth that all questions need.
    fn index(&self) {
        let database = self.host.raw_database();
        let all = all_crates(database);
        let own = all.iter().find(|krate| krate.data(database).root_file_id == self.file);
        let used = own.map(|own| own.transitive_deps(database).to_vec()).unwrap_or_default();
        let threads = thread::available_parallelism().map_or(1, usize::from).min(THREADS);
        // What is left undone is done when it is asked for.
        let _ = self.host.analysis().parallel_prime_caches(&used, threads, |_| {});
    }

    /// Sets the text that is asked about.
    pub(super) fn set(&mut self, text: String) {
        let mut change = ChangeWithProcMacros::default();
        change.change_file(self.file, Some(text));
        self.host.apply_change(change);
    }
}

/// The change that makes an empty rust-analyzer know the package.
fn everything(package: &ProjectWorkspace, manifest: &Path) -> ChangeWithProcMacros {
    let own = manifest.with_file_name("lib.rs");
    let (mut ours, mut others) = (FileSet::default(), FileSet::default());
    let mut change = ChangeWithProcMacros::default();
    let mut ids: HashMap<String, FileId> = HashMap::new();
    let files = iter::once((own.clone(), String::new())).chain(read(&sources(package, manifest)));
    let mut texts = Vec::new();
    for (number, (path, text)) in (0..).zip(files) {
        let (id, Some(absolute)) = (FileId::from_raw(number), absolute(&path)) else { continue };
        ids.insert(absolute.to_string(), id);
        let set = if path == own { &mut ours } else { &mut others };
        set.insert(id, VfsPath::from(absolute));
        texts.push((id, text));
    }
    change.set_roots(vec![SourceRoot::new_local(ours), SourceRoot::new_library(others)]);
    for (id, text) in texts {
        change.change_file(id, Some(text));
    }
    let graph =
        package.to_crate_graph(&mut |path| ids.get(path.as_str()).copied(), &Default::default());
    change.set_crate_graph(graph.0);
    change
}

/// The files of all crates but the package's own.
fn sources(package: &ProjectWorkspace, manifest: &Path) -> Vec<PathBuf> {
    let folder = manifest.parent();
    let asked_for = dependencies(manifest);
    let mut files = Vec::new();
    for root in package.to_roots() {
        let skipped: Vec<&Path> = root.exclude.iter().map(AsRef::as_ref).collect();
        for include in root.include.iter().map(|path| -> &Path { path.as_ref() }) {
            if Some(include) != folder && !is_inside(include, &asked_for) {
                collect(include, &skipped, &mut files);
            }
        }
    }
    files.sort_unstable();
    files.dedup();
    files
}

/// Names of the packages that the package itself depends on.
fn dependencies(manifest: &Path) -> HashSet<String> {
    let text = fs::read_to_string(manifest).unwrap_or_default();
    let table: toml::Table = text.parse().unwrap_or_default();
    let dependencies = table.get("dependencies").and_then(toml::Value::as_table);
    let name = |(name, value): (&String, &toml::Value)| {
        let renamed = value.get("package").and_then(toml::Value::as_str);
        renamed.unwrap_or(name).to_owned()
    };
    dependencies.into_iter().flatten().map(name).collect()
}

/// Whether a package's folder, named `name-1.2.3`, is one of those used inside of others only.
fn is_inside(folder: &Path, asked_for: &HashSet<String>) -> bool {
    let folder = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let is = |name: &&str| {
        let version = folder.strip_prefix(*name).and_then(|rest| rest.strip_prefix('-'));
        version.is_some_and(|v| v.starts_with(|c: char| c.is_ascii_digit()))
    };
    INSIDE.iter().any(|name| is(name) && !asked_for.contains(*name))
}

fn collect(folder: &Path, skipped: &[&Path], files: &mut Vec<PathBuf>) {
    if skipped.contains(&folder) || UNREAD.iter().any(|unread| folder.ends_with(unread)) {
        return;
    }
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect(&path, skipped, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Reads files, several at a time; those that are no text are left out.
fn read(files: &[PathBuf]) -> Vec<(PathBuf, String)> {
    let text = |path: &PathBuf| Some((path.clone(), fs::read_to_string(path).ok()?));
    let part = |part: &[PathBuf]| part.iter().filter_map(text).collect::<Vec<_>>();
    let parts = files.chunks(files.len().div_ceil(THREADS).max(1));
    thread::scope(|scope| {
        let threads: Vec<_> = parts.map(|files| scope.spawn(move || part(files))).collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).flatten().collect()
    })
}

fn absolute(path: &Path) -> Option<AbsPathBuf> {
    AbsPathBuf::try_from(path.to_str()?).ok()
}
