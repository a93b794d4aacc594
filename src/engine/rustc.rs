//! Calls rustc on a written module, once to make code and, where types must be learnt, a second
//! time beside that. Compilers can be cancelled from other threads.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde::Deserialize;

use crate::cells::{Compilers, FLAGS, Library, Toolchain};

/// A complaint of rustc, as its JSON has it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Complaint {
    pub(super) message: String,
    pub(super) code: Option<Code>,
    pub(super) level: String,
    pub(super) spans: Vec<Span>,
    pub(super) children: Vec<Complaint>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Code {
    pub(super) code: String,
}

/// A place in a written file. Bytes count from the file's start.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Span {
    pub(super) file_name: String,
    pub(super) byte_start: usize,
    pub(super) byte_end: usize,
    pub(super) line_start: usize,
    pub(super) is_primary: bool,
    pub(super) label: Option<String>,
    pub(super) suggested_replacement: Option<String>,
    pub(super) expansion: Option<Box<Expansion>>,
}

/// The macro call that a place was expanded from.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Expansion {
    pub(super) span: Span,
}

/// Why there is neither a module nor a complaint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stop {
    Cancelled,
    Failed(String),
}

/// How cells are compiled.
#[derive(Debug, Clone)]
pub(super) struct Rustc {
    pub(super) toolchain: Toolchain,
    pub(super) compilers: Compilers,
    pub(super) opt_level: String,
}

/// A call under way.
#[derive(Debug)]
pub(super) struct Call {
    child: Child,
    compilers: Compilers,
}

impl Rustc {
    /// Starts making code of the module in `folder`.
    pub(super) fn compile(&self, folder: &Path, library: &Library) -> Result<Call, Stop> {
        let mut command = self.command(folder, library);
        command.args(["--crate-type", "cdylib", "-o", MODULE]);
        command.arg(format!("-Copt-level={}", self.opt_level));
        for folder in rpaths(library, &self.toolchain) {
            command.arg(format!("-Clink-arg=-Wl,-rpath,{}", folder.display()));
        }
        self.start(command)
    }

    /// Starts asking for types: no code is made, and paths are written in full. Both need an
    /// unstable option, allowed for this call alone.
    pub(super) fn ask_types(&self, folder: &Path, library: &Library) -> Result<Call, Stop> {
        let mut command = self.command(folder, library);
        command.env("RUSTC_BOOTSTRAP", "1");
        command.args(["--crate-type", "lib", "--emit", "metadata", "-o", "types.rmeta"]);
        command.args(["-Ztrim-diagnostic-paths=false", "-Zwrite-long-types-to-disk=no"]);
        self.start(command)
    }

    fn command(&self, folder: &Path, library: &Library) -> Command {
        let mut command = Command::new(&self.toolchain.rustc);
        command
            .current_dir(folder)
            .args(["lib.rs", "--edition", "2024", "--crate-name", "cell"])
            .args(["--error-format", "json", "--json", "diagnostic-short"])
            .args(FLAGS)
            .args([
                "-Cpanic=unwind",
                "-Cdebuginfo=0",
                "-Cstrip=debuginfo",
                "-Cembed-bitcode=no",
                "-Ccodegen-units=1",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        for folder in &library.search {
            command.arg(format!("-Ldependency={}", folder.display()));
        }
        for (name, path) in &library.crates {
            command.arg("--extern").arg(format!("{name}={}", path.display()));
        }
        command
    }

    fn start(&self, mut command: Command) -> Result<Call, Stop> {
        let child = self.compilers.start(&mut command);
        let child = child.map_err(|e| Stop::Failed(format!("starting rustc: {e}")))?;
        let child = child.ok_or(Stop::Cancelled)?;
        Ok(Call { child, compilers: self.compilers.clone() })
    }
}

/// The module's file within its folder.
pub(super) const MODULE: &str = "libcell.so";

/// Where the loader finds the shared objects that a module links.
fn rpaths(library: &Library, toolchain: &Toolchain) -> Vec<PathBuf> {
    let shared = library.crates.iter().filter(|(_, p)| p.extension().is_some_and(|e| e == "so"));
    let mut folders: Vec<PathBuf> =
        shared.filter_map(|(_, p)| p.parent().map(Path::to_owned)).collect();
    folders.push(toolchain.runtime());
    folders.dedup();
    folders
}

impl Call {
    /// Waits for the compiler; its errors, none if it succeeded.
    pub(super) fn errors(self) -> Result<Vec<Complaint>, Stop> {
        let pid = self.child.id();
        let output = self.child.wait_with_output();
        if self.compilers.ended(pid) {
            return Err(Stop::Cancelled);
        }
        let output = output.map_err(|e| Stop::Failed(format!("waiting for rustc: {e}")))?;
        let text = String::from_utf8_lossy(&output.stderr);
        let complaints = text.lines().filter_map(|l| serde_json::from_str::<Complaint>(l).ok());
        let is_error = |c: &Complaint| c.level.starts_with("error") && !is_summary(c);
        let errors: Vec<Complaint> = complaints.filter(is_error).collect();
        if !output.status.success() && errors.is_empty() {
            let said = if text.trim().is_empty() { "nothing" } else { text.trim() };
            return Err(Stop::Failed(format!(
                "rustc ended with {} and said: {said}",
                output.status
            )));
        }
        Ok(errors)
    }
}

/// `aborting due to 2 previous errors` and the like.
fn is_summary(complaint: &Complaint) -> bool {
    complaint.spans.is_empty()
        && complaint.code.is_none()
        && complaint.message.starts_with("aborting due to")
}
