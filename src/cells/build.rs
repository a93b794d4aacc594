//! Building the cell library: sources out of the kernel, cargo over them, a `ready` file at the
//! end. One process builds, others wait for its lock.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use include_dir::{Dir, DirEntry, include_dir};
use nix::fcntl::{Flock, FlockArg};
use serde_json::Value;
use sha2::{Digest, Sha256};
use toml::Table;

use super::sources::{self, Source};
use super::{
    Compilers, Error, Library, Progress, Toolchain, Variant, flags, linker_hint, mpi_hint, roots,
    target,
};

static PARCELL: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/crates/parcell");
static LINK: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/crates/parcell-link");
static MACROS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/crates/parcell-macros");
const MANIFEST: &str = include_str!("../../Cargo.toml");
const LOCK: &str = include_str!("../../Cargo.lock");

/// Crates that cells can name without `:dep`.
const CRATES: [&str; 8] =
    ["parcell", "rayon", "ndarray", "serde", "bytemuck", "rand", "num_complex", "tokio"];

/// The sources of the library that cells use, for programs that are written from notebooks.
#[derive(Debug)]
pub struct Sources {
    /// Files, each with its path below a folder that holds the library's crates.
    pub files: Vec<(PathBuf, &'static [u8])>,
    /// What the manifests of these crates take from their workspace's `[workspace.package]`.
    pub package: Table,
    /// A `Cargo.lock` with the versions that the kernel was built with.
    pub lock: &'static str,
}

/// The sources that the kernel carries.
pub fn sources() -> Sources {
    let mut files = Vec::new();
    for (name, dir) in [("parcell", &PARCELL), ("parcell-link", &LINK), ("parcell-macros", &MACROS)]
    {
        collect(dir, Path::new(name), &mut files);
    }
    let manifest: Table = MANIFEST.parse().expect("our own manifest is TOML");
    let package = manifest["workspace"]["package"].as_table().cloned().unwrap_or_default();
    Sources { files, package, lock: LOCK }
}

fn collect(dir: &Dir<'static>, below: &Path, files: &mut Vec<(PathBuf, &'static [u8])>) {
    for entry in dir.entries() {
        match entry {
            DirEntry::Dir(inner) => collect(inner, below, files),
            DirEntry::File(file) => files.push((below.join(file.path()), file.contents())),
        }
    }
}

/// Crates that cells can name without `:dep`, by the names that cells use.
pub fn named_crates() -> &'static [&'static str] {
    &CRATES
}

/// Finds the cell library, or builds it (a minute on two cores), telling of progress.
///
/// Blocks; if another process is building the same library, waits for it.
///
/// # Errors
/// No toolchain, no writable place, or a failed build.
pub fn prepare(variant: Variant, progress: &mut dyn FnMut(Progress)) -> Result<Library, Error> {
    let toolchain = Toolchain::find()?;
    target::check(&toolchain)?;
    let key = key(&toolchain, variant);
    let folders: Vec<PathBuf> = roots().into_iter().map(|r| r.join(&key)).collect();
    if let Some(ready) = folders.iter().find_map(|f| ready(f)) {
        return Ok(ready);
    }
    let mut problem = None;
    for folder in &folders {
        match fs::create_dir_all(folder).map_err(Error::file(folder)) {
            Ok(()) => return build(folder, &toolchain, variant, progress),
            Err(e) => problem = Some(e),
        }
    }
    Err(problem.expect("there is at least the user's cache folder"))
}

/// What the library depends on: compiler, sources, flags, and what `native` means here.
fn key(toolchain: &Toolchain, variant: Variant) -> String {
    let mut hash = Sha256::new();
    hash.update(&toolchain.verbose_version);
    hash.update(library_flags(toolchain));
    hash.update(MANIFEST);
    hash.update(LOCK);
    hash.update(DRIVER);
    if target::chosen().is_none() {
        hash.update(processor_features());
    }
    for dir in [&PARCELL, &LINK, &MACROS] {
        each_file(dir, &mut |path, contents| {
            hash.update(path.to_string_lossy().as_bytes());
            hash.update(contents);
        });
    }
    let with = if variant.mpi { "-mpi" } else { "" };
    format!("{}-{}{with}", env!("CARGO_PKG_VERSION"), hex(&hash.finalize()[..8]))
}

/// The flags of cells, and where the loader finds the standard library and `libparcell.so`: beside
/// what needs it, since cargo links the driver from `deps/` into the folder above.
fn library_flags(toolchain: &Toolchain) -> String {
    let mut flags = flags().to_vec();
    // Before LD_LIBRARY_PATH, where cargo puts folders that may hold another libparcell.so.
    flags.push("-Clink-arg=-Wl,--disable-new-dtags".to_owned());
    for folder in ["$ORIGIN", "$ORIGIN/deps", &toolchain.runtime().display().to_string()] {
        flags.push(format!("-Clink-arg=-Wl,-rpath,{folder}"));
    }
    flags.join("\u{1f}")
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The processor's feature list: a cache shared by different hosts must not mix them.
fn processor_features() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let wanted = |l: &&str| l.starts_with("flags") || l.starts_with("Features");
    info.lines().find(wanted).unwrap_or_default().to_owned()
}

fn each_file(dir: &Dir<'_>, visit: &mut dyn FnMut(&Path, &[u8])) {
    for entry in dir.entries() {
        match entry {
            DirEntry::Dir(inner) => each_file(inner, visit),
            DirEntry::File(file) => visit(file.path(), file.contents()),
        }
    }
}

fn ready(folder: &Path) -> Option<Library> {
    let library: Library = serde_json::from_slice(&fs::read(folder.join("ready")).ok()?).ok()?;
    library.driver.exists().then_some(library)
}

fn build(
    folder: &Path,
    toolchain: &Toolchain,
    variant: Variant,
    progress: &mut dyn FnMut(Progress),
) -> Result<Library, Error> {
    let _lock = lock(folder, progress)?;
    if let Some(library) = ready(folder) {
        return Ok(library);
    }
    let source = folder.join("src");
    write_sources(&source)?;
    let crates = Table::new();
    let what = if variant.mpi { "the cell library with MPI" } else { "the cell library" };
    let features = variant.features();
    let package = Package { folder, source: &source, crates: &crates, features: &features, what };
    let built = package.build(toolchain, &Compilers::default(), progress)?;
    let names = CRATES.iter().copied().chain(features.iter().map(String::as_str));
    let crates = names.map(|name| Ok((name.to_owned(), built.file(name)?)));
    let library = Library {
        driver: built.driver()?,
        crates: crates.collect::<Result<_, Error>>()?,
        features: features.clone(),
        archives: variant.with_c().iter().map(|c| built.file(c)).collect::<Result<_, _>>()?,
        search: built.search.clone(),
        linked: vec!["parcell".to_owned()],
        source,
        package: folder.join("cells"),
        identity: folder.display().to_string(),
    };
    write_atomically(&folder.join("ready"), &serde_json::to_vec(&library).expect("plain data"))?;
    Ok(library)
}

/// Takes the folder's lock, telling why if it must wait.
pub(super) fn lock(
    folder: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<Flock<File>, Error> {
    fs::create_dir_all(folder).map_err(Error::file(folder))?;
    let path = folder.join("lock");
    let file = File::create(&path).map_err(Error::file(&path))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(lock),
        Err((file, _)) => {
            let text = "waiting for another session that is building".to_owned();
            progress(Progress { text, done: 0, total: None });
            let locked = Flock::lock(file, FlockArg::LockExclusive);
            locked.map_err(|(_, errno)| Error::File { path, source: errno.into() })
        }
    }
}

fn write_sources(source: &Path) -> Result<(), Error> {
    let crates = source.join("crates");
    for (name, dir) in [("parcell", &PARCELL), ("parcell-link", &LINK), ("parcell-macros", &MACROS)]
    {
        let mut result = Ok(());
        each_file(dir, &mut |path, contents| {
            if result.is_ok() {
                result = write_if_changed(&crates.join(name).join(path), contents);
            }
        });
        result?;
    }
    let manifest: Table = MANIFEST.parse().expect("our own manifest is TOML");
    let workspace = Table::from_iter([("workspace".to_owned(), manifest["workspace"].clone())]);
    write_if_changed(&source.join("Cargo.toml"), workspace.to_string().as_bytes())?;
    Ok(())
}

/// Leaves an unchanged file's time stamp alone, so that cargo takes up an interrupted build.
pub(super) fn write_if_changed(path: &Path, contents: &[u8]) -> Result<(), Error> {
    if fs::read(path).is_ok_and(|now| now == contents) {
        return Ok(());
    }
    let parent = path.parent().expect("a file inside the source folder");
    fs::create_dir_all(parent).map_err(Error::file(parent))?;
    fs::write(path, contents).map_err(Error::file(path))
}

pub(super) fn write_atomically(path: &Path, contents: &[u8]) -> Result<(), Error> {
    let draft = path.with_extension("new");
    fs::write(&draft, contents).map_err(Error::file(&draft))?;
    fs::rename(&draft, path).map_err(Error::file(path))
}

/// One crate as cargo reports it.
#[derive(Debug)]
pub(super) struct Artifact {
    pub(super) name: String,
    pub(super) files: Vec<PathBuf>,
    pub(super) executable: Option<PathBuf>,
    pub(super) package: String,
    pub(super) fresh: bool,
}

impl Artifact {
    fn parse(line: &str) -> Option<Artifact> {
        let message: Value = serde_json::from_str(line).ok()?;
        if message["reason"] != "compiler-artifact" {
            return None;
        }
        let files = message["filenames"].as_array()?;
        Some(Artifact {
            name: message["target"]["name"].as_str()?.replace('-', "_"),
            files: files.iter().filter_map(|f| f.as_str().map(PathBuf::from)).collect(),
            executable: message["executable"].as_str().map(PathBuf::from),
            package: message["package_id"].as_str()?.to_owned(),
            fresh: message["fresh"].as_bool()?,
        })
    }

    /// The file that rustc links: a shared object before an archive.
    pub(super) fn linkable(&self) -> Option<PathBuf> {
        let with = |ext: &str| self.files.iter().find(|f| f.extension().is_some_and(|e| e == ext));
        with("so").or_else(|| with("rlib")).or_else(|| with("dylib")).cloned()
    }
}

/// The package that cargo builds: the driver, and the crates that a notebook asked for in one
/// shared object. The cell library alone is the case without such crates, so that both builds
/// compile it in the same way and the second finds it done.
pub(super) struct Package<'a> {
    /// Holds the package (`cells/`) and what comes of it (`target/`).
    pub(super) folder: &'a Path,
    /// The sources of the cell library.
    pub(super) source: &'a Path,
    /// Crates to add, as in a `Cargo.toml`.
    pub(super) crates: &'a Table,
    /// Features of `parcell` beside those that all libraries have.
    pub(super) features: &'a [String],
    /// What progress and errors call it.
    pub(super) what: &'a str,
}

/// What cargo built.
pub(super) struct Built {
    pub(super) artifacts: Vec<Artifact>,
    /// Where rustc finds indirect dependencies and procedural macros.
    pub(super) search: Vec<PathBuf>,
    what: String,
}

impl Built {
    /// The file that rustc links for a crate.
    pub(super) fn file(&self, name: &str) -> Result<PathBuf, Error> {
        let found = self.artifacts.iter().find(|a| a.name == name && a.linkable().is_some());
        found.and_then(Artifact::linkable).ok_or_else(|| self.missing(name))
    }

    pub(super) fn driver(&self) -> Result<PathBuf, Error> {
        let found = self.artifacts.iter().find_map(|a| a.executable.clone());
        found.ok_or_else(|| self.missing("parcell-driver"))
    }

    fn missing(&self, name: &str) -> Error {
        let log = format!("cargo did not say where {name} is");
        Error::Build { what: self.what.clone(), log }
    }
}

const DRIVER: &str = "fn main() -> std::process::ExitCode {\n    parcell::driver::run()\n}\n";

impl Package<'_> {
    /// Writes the package and builds it, telling of each crate.
    pub(super) fn build(
        &self,
        toolchain: &Toolchain,
        compilers: &Compilers,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Built, Error> {
        self.write()?;
        sources::try_each(|source| self.build_from(source, toolchain, compilers, progress))
    }

    fn build_from(
        &self,
        source: &Source,
        toolchain: &Toolchain,
        compilers: &Compilers,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Built, Error> {
        let target = self.folder.join("target");
        let mut command = self.command(toolchain, &target);
        source.apply(&mut command);
        let interrupted = || Error::Interrupted(self.what.to_owned());
        let child = compilers.start(&mut command).map_err(Error::file(&toolchain.cargo))?;
        let mut child = child.ok_or_else(interrupted)?;
        let stderr = child.stderr.take().expect("piped");
        let log = std::thread::spawn(move || read_all(stderr));
        let stdout = child.stdout.take().expect("piped");
        let artifacts = self.follow(BufReader::new(stdout), progress);
        let status = child.wait().map_err(Error::file(&toolchain.cargo))?;
        let log = log.join().unwrap_or_default();
        if compilers.ended(child.id()) {
            return Err(interrupted());
        }
        if !status.success() {
            let hint = linker_hint(&log).or_else(|| mpi_hint(&log));
            let hint = hint.map(|hint| format!("\nhelp: {hint}"));
            let log = log + &hint.unwrap_or_default();
            return Err(Error::Build { what: self.what.to_owned(), log });
        }
        let folder = target.join(&toolchain.host);
        let search = vec![folder.join("release/deps"), target.join("release/deps")];
        Ok(Built { artifacts, search, what: self.what.to_owned() })
    }

    /// Writes the package and has cargo fetch all its crates, for the processor at hand, into
    /// `$CARGO_HOME`.
    pub(super) fn fetch(&self, toolchain: &Toolchain) -> Result<(), Error> {
        self.write()?;
        let mut command = Command::new(&toolchain.cargo);
        command.args(["fetch", "--target", &toolchain.host]).stdin(Stdio::null());
        command.env("RUSTC", &toolchain.rustc).current_dir(self.folder.join("cells"));
        let output = command.output().map_err(Error::file(&toolchain.cargo))?;
        if output.status.success() {
            return Ok(());
        }
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(Error::Build { what: self.what.to_owned(), log })
    }

    fn write(&self) -> Result<(), Error> {
        let path = self.source.join("crates/parcell").display().to_string();
        let mut crates = self.crates.clone();
        let mut features = vec!["count-allocations".to_owned()];
        features.extend_from_slice(self.features);
        let parcell = Table::from_iter([
            ("path".to_owned(), toml::Value::String(path)),
            ("features".to_owned(), features.into()),
        ]);
        crates.insert("parcell".to_owned(), toml::Value::Table(parcell));
        let uses = |name: &String| format!("pub extern crate {};\n", name.replace('-', "_"));
        let source: String = crates.keys().map(uses).collect();
        let manifest = format!(
            "[package]\nname = \"cell_deps\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\
             [lib]\ncrate-type = [\"dylib\"]\npath = \"lib.rs\"\n\
             [[bin]]\nname = \"parcell-driver\"\npath = \"driver.rs\"\n[workspace]\n{}",
            Table::from_iter([("dependencies".to_owned(), toml::Value::Table(crates))])
        );
        let cells = self.folder.join("cells");
        write_if_changed(&cells.join("Cargo.toml"), manifest.as_bytes())?;
        write_if_changed(&cells.join("lib.rs"), source.as_bytes())?;
        write_if_changed(&cells.join("driver.rs"), DRIVER.as_bytes())?;
        if !cells.join("Cargo.lock").exists() {
            let solved = self.source.with_file_name("cells").join("Cargo.lock");
            let solved = fs::read(solved).unwrap_or_else(|_| LOCK.into());
            write_if_changed(&cells.join("Cargo.lock"), &solved)?;
        }
        Ok(())
    }

    fn command(&self, toolchain: &Toolchain, target: &Path) -> Command {
        let mut command = Command::new(&toolchain.cargo);
        command
            .args(["build", "--release", "--message-format=json-render-diagnostics"])
            .args(["--target", &toolchain.host])
            .current_dir(self.folder.join("cells"))
            .env("CARGO_TARGET_DIR", target)
            .env("RUSTC", &toolchain.rustc)
            .env("CARGO_ENCODED_RUSTFLAGS", library_flags(toolchain))
            .env_remove(target::TARGET_CPU)
            .envs(target::chosen().map(|cpu| (target::TARGET_CPU, cpu)))
            .env_remove("RUSTFLAGS")
            .env_remove("RUSTC_WRAPPER")
            .env_remove("CARGO_BUILD_BUILD_DIR")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn follow(&self, out: impl BufRead, progress: &mut dyn FnMut(Progress)) -> Vec<Artifact> {
        // Cargo leaves in the lock file what this build needs; it has written it by the first line.
        let lock = self.folder.join("cells/Cargo.lock");
        let packages =
            || fs::read_to_string(&lock).unwrap_or_default().matches("[[package]]").count();
        let mut artifacts = Vec::new();
        for line in out.lines().map_while(Result::ok) {
            let Some(artifact) = Artifact::parse(&line) else { continue };
            let text = format!("building {}: {}", self.what, artifact.name);
            artifacts.push(artifact);
            let total = Some(packages().max(artifacts.len()));
            progress(Progress { text, done: artifacts.len(), total });
        }
        artifacts
    }
}

fn read_all(mut from: impl Read) -> String {
    let mut bytes = Vec::new();
    // A log cut short by an error is still the best there is to show.
    let _ = from.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}
