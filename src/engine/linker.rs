//! Makes a shared object of a cell's object file. rustc would call the C compiler, which calls a
//! linker, which reads all libraries; here the linker is called at once and, for most cells, reads
//! nothing but the object: what it leaves open is found in the driver when the module is loaded.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use object::{Object, ObjectSymbol};

use super::rustc::{OBJECT, Stop, finish};
use crate::cells::{Compilers, Toolchain};

/// The module's file within its folder.
pub(super) const MODULE: &str = "libcell.so";

/// Names that the driver always has, in one version only.
const AT_HAND: [&str; 12] = [
    "_R",
    "_ZN",
    "__rust",
    "rust_",
    "parcell_",
    "_Unwind_",
    "_GLOBAL_OFFSET_TABLE_",
    "__tls_get_addr",
    "DW.ref.",
    "mem",
    "bcmp",
    "strlen",
];

/// The linker of a session.
#[derive(Debug, Clone)]
pub(super) struct Linker {
    program: PathBuf,
    /// What the program must be told first.
    flavor: &'static [&'static str],
    /// Libraries for names that are not Rust's: functions of C and those that rustc calls for
    /// wide integers.
    foreign: Vec<PathBuf>,
}

impl Linker {
    /// Finds the system's linker, which is the fastest for small files, or else rustc's own.
    pub(super) fn find(toolchain: &Toolchain) -> Linker {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let system = std::env::split_paths(&path).map(|d| d.join("ld")).find(|p| p.is_file());
        let own = || toolchain.runtime().with_file_name("bin").join("rust-lld");
        let flavor: &[&str] = if system.is_some() { &[] } else { &["-flavor", "gnu"] };
        let program = system.unwrap_or_else(own);
        Linker { program, flavor, foreign: foreign_libraries(toolchain) }
    }

    /// Links `cell.o` in `folder` to a module; `native` are the libraries that the cell names,
    /// `archives` hold what the cell library uses of C and does not export.
    pub(super) fn link(
        &self,
        compilers: &Compilers,
        folder: &Path,
        native: &[&str],
        archives: &[PathBuf],
    ) -> Result<(), Stop> {
        let mut command = Command::new(&self.program);
        command
            .current_dir(folder)
            .args(self.flavor)
            .args(["-shared", "-o", MODULE, OBJECT])
            .args(["--eh-frame-hdr", "--hash-style=gnu", "-z", "noexecstack", "--as-needed"])
            .args(native.iter().map(|name| format!("-l{name}")))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        if !native.is_empty() || needs_foreign(&folder.join(OBJECT)) {
            command.args(archives).args(&self.foreign);
        }
        let unstarted = |e| {
            let hint = "install a C compiler, on Debian: apt-get install build-essential";
            Stop::Failed(format!("starting the linker {}: {e}; {hint}", self.program.display()))
        };
        let child = compilers.start(&mut command).map_err(unstarted)?.ok_or(Stop::Cancelled)?;
        let output = finish(child, compilers, "the linker")?;
        if output.status.success() {
            // What is left goes with the session.
            let _ = std::fs::remove_file(folder.join(OBJECT));
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(Stop::Failed(format!("the cell cannot be linked:\n{}", said.trim_end())))
    }
}

/// Whether an object needs names that libraries may have in several versions: only a linker that
/// sees the library chooses the newest.
fn needs_foreign(object: &Path) -> bool {
    let Ok(bytes) = std::fs::read(object) else { return true };
    let Ok(file) = object::File::parse(&*bytes) else { return true };
    let at_hand = |name: &str| name.is_empty() || AT_HAND.iter().any(|p| name.starts_with(p));
    file.symbols().any(|s| s.is_undefined() && !s.name().is_ok_and(at_hand))
}

/// The C library as this process found it, and the functions that rustc's code calls.
fn foreign_libraries(toolchain: &Toolchain) -> Vec<PathBuf> {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let mapped = |name: &str| {
        let found = maps.lines().filter_map(|l| l.find('/').map(|at| &l[at..]));
        found.map(PathBuf::from).find(|p| p.ends_with(name))
    };
    let builtins = std::fs::read_dir(toolchain.runtime()).into_iter().flatten().flatten();
    let is_builtins = |p: &PathBuf| {
        let name = p.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("libcompiler_builtins-") && name.ends_with(".rlib")
    };
    let builtins = builtins.map(|e| e.path()).find(is_builtins);
    ["libc.so.6", "libm.so.6"].iter().filter_map(|name| mapped(name)).chain(builtins).collect()
}
