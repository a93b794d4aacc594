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

use super::{Error, FLAGS, Library, Progress, Toolchain, roots};

static PARCELL: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/crates/parcell");
static LINK: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/crates/parcell-link");
static MACROS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/crates/parcell-macros");
const MANIFEST: &str = include_str!("../../Cargo.toml");
pub(super) const LOCK: &str = include_str!("../../Cargo.lock");

/// Crates that cells can name without `:dep`.
const CRATES: [&str; 7] = ["parcell", "rayon", "ndarray", "serde", "rand", "num_complex", "tokio"];

/// Finds the cell library, or builds it (a minute on two cores), telling of progress.
///
/// Blocks; if another process is building the same library, waits for it.
///
/// # Errors
/// No toolchain, no writable place, or a failed build.
pub fn prepare(progress: &mut dyn FnMut(Progress)) -> Result<Library, Error> {
    let toolchain = Toolchain::find()?;
    let key = key(&toolchain);
    let folders: Vec<PathBuf> = roots().into_iter().map(|r| r.join(&key)).collect();
    if let Some(ready) = folders.iter().find_map(|f| ready(f)) {
        return Ok(ready);
    }
    let mut problem = None;
    for folder in &folders {
        match fs::create_dir_all(folder).map_err(Error::file(folder)) {
            Ok(()) => return build(folder, &toolchain, progress),
            Err(e) => problem = Some(e),
        }
    }
    Err(problem.expect("there is at least the user's cache folder"))
}

/// What the library depends on: compiler, sources, flags, and what `native` means here.
fn key(toolchain: &Toolchain) -> String {
    let mut hash = Sha256::new();
    hash.update(&toolchain.verbose_version);
    hash.update(library_flags(toolchain));
    hash.update(MANIFEST);
    hash.update(LOCK);
    hash.update(processor_features());
    for dir in [&PARCELL, &LINK, &MACROS] {
        each_file(dir, &mut |path, contents| {
            hash.update(path.to_string_lossy().as_bytes());
            hash.update(contents);
        });
    }
    format!("{}-{}", env!("CARGO_PKG_VERSION"), hex(&hash.finalize()[..8]))
}

/// The flags of cells, and where the loader finds the standard library and `libparcell.so`: beside
/// what needs it, since cargo links the driver from `deps/` into the folder above.
fn library_flags(toolchain: &Toolchain) -> String {
    let mut flags: Vec<String> = FLAGS.iter().map(ToString::to_string).collect();
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
    progress: &mut dyn FnMut(Progress),
) -> Result<Library, Error> {
    let _lock = lock(folder, progress)?;
    if let Some(library) = ready(folder) {
        return Ok(library);
    }
    let source = folder.join("src");
    write_sources(&source)?;
    let what = "the cell library";
    let cargo = Cargo { toolchain, folder: &source, target: folder.join("target"), what };
    let artifacts = cargo.build(&["--package", "parcell"], &[], progress)?;
    let missing = |name: &str| Error::Build {
        what: what.to_owned(),
        log: format!("cargo did not say where crate {name} is"),
    };
    let file = |name: &&str| {
        let found = artifacts.iter().find(|a| a.name == **name);
        let path = found.and_then(Artifact::linkable).ok_or_else(|| missing(name))?;
        Ok(((*name).to_owned(), path))
    };
    let driver = artifacts.iter().find_map(|a| a.executable.clone());
    let library = Library {
        driver: driver.ok_or_else(|| missing("parcell-driver"))?,
        crates: CRATES.iter().map(file).collect::<Result<_, Error>>()?,
        search: cargo.search(),
        linked: vec!["parcell".to_owned()],
        source,
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
    let manifest: toml::Table = MANIFEST.parse().expect("our own manifest is TOML");
    let workspace =
        toml::Table::from_iter([("workspace".to_owned(), manifest["workspace"].clone())]);
    write_if_changed(&source.join("Cargo.toml"), workspace.to_string().as_bytes())?;
    if !source.join("Cargo.lock").exists() {
        write_if_changed(&source.join("Cargo.lock"), LOCK.as_bytes())?;
    }
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

/// A call of cargo with the flags of cells.
pub(super) struct Cargo<'a> {
    pub(super) toolchain: &'a Toolchain,
    pub(super) folder: &'a Path,
    pub(super) target: PathBuf,
    pub(super) what: &'a str,
}

impl Cargo<'_> {
    /// Where rustc finds indirect dependencies and procedural macros.
    pub(super) fn search(&self) -> Vec<PathBuf> {
        let target = self.target.join(&self.toolchain.host);
        vec![target.join("release/deps"), self.target.join("release/deps")]
    }

    /// Builds, telling of each crate.
    pub(super) fn build(
        &self,
        arguments: &[&str],
        environment: &[(String, String)],
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Vec<Artifact>, Error> {
        let mut command = Command::new(&self.toolchain.cargo);
        command
            .args(["build", "--release", "--message-format=json-render-diagnostics"])
            .args(["--target", &self.toolchain.host])
            .args(arguments)
            .current_dir(self.folder)
            .env("CARGO_TARGET_DIR", &self.target)
            .env("RUSTC", &self.toolchain.rustc)
            .env("CARGO_ENCODED_RUSTFLAGS", library_flags(self.toolchain))
            .env_remove("RUSTFLAGS")
            .env_remove("RUSTC_WRAPPER")
            .env_remove("CARGO_BUILD_BUILD_DIR")
            .envs(environment.iter().map(|(k, v)| (k, v)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        crate::session::die_with_parent(&mut command);
        let mut child = command.spawn().map_err(Error::file(&self.toolchain.cargo))?;
        let stderr = child.stderr.take().expect("piped");
        let log = std::thread::spawn(move || read_all(stderr));
        let stdout = child.stdout.take().expect("piped");
        let artifacts = self.follow(BufReader::new(stdout), progress);
        let status = child.wait().map_err(Error::file(&self.toolchain.cargo))?;
        let log = log.join().unwrap_or_default();
        if !status.success() {
            return Err(Error::Build { what: self.what.to_owned(), log });
        }
        Ok(artifacts)
    }

    fn follow(&self, out: impl BufRead, progress: &mut dyn FnMut(Progress)) -> Vec<Artifact> {
        // Cargo leaves in the lock file what this build needs; it has written it by the first line.
        let packages = || {
            let lock = fs::read_to_string(self.folder.join("Cargo.lock")).unwrap_or_default();
            lock.matches("[[package]]").count()
        };
        let mut artifacts = Vec::new();
        for line in out.lines().map_while(Result::ok) {
            let Some(artifact) = Artifact::parse(&line) else { continue };
            artifacts.push(artifact);
            let name = &artifacts[artifacts.len() - 1].name;
            let text = format!("building {}: {name}", self.what);
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
