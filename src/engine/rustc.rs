//! Calls rustc on a written module, once to make code and, where types must be learnt, a second
//! time beside that. Compilers start before their cell comes, see [`super::standby`], and can be
//! cancelled from other threads.

use std::io::{self, Write as _};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde::Deserialize;

use super::generate::ROOT;
use crate::cells::{Compilers, Library, Toolchain, flags};

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

/// What a compiler is called for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Goal {
    /// An object file.
    Code,
    /// Complaints that name types: no code is made, and paths are written in full. Both need an
    /// unstable option, allowed for this goal alone.
    Types,
}

/// How cells are compiled.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Setup {
    pub(super) library: Library,
    pub(super) opt_level: String,
}

/// The compiler of a session.
#[derive(Debug, Clone)]
pub(super) struct Rustc {
    pub(super) toolchain: Toolchain,
    pub(super) compilers: Compilers,
}

/// The object file within a module's folder.
pub(super) const OBJECT: &str = "cell.o";

/// The file that says how a module was compiled: `rustc @rustc.args` in its folder does it again.
const ARGUMENTS: &str = "rustc.args";

impl Rustc {
    /// Starts a compiler in `folder`, which is made. It reads all that does not depend on the
    /// cell, the cell library above all, and then waits for the rest of the source: the crate's
    /// root includes a file that is its standard input.
    pub(super) fn start(&self, goal: Goal, folder: &Path, setup: &Setup) -> Result<Waiting, Stop> {
        let unusable = |e: io::Error| Stop::Failed(unwritable(folder, &e));
        // Not with its parents: a session that has ended must not get its folder back.
        std::fs::create_dir(folder).map_err(unusable)?;
        std::fs::write(folder.join("lib.rs"), crate_root(&setup.library)).map_err(unusable)?;
        symlink("/dev/stdin", folder.join(ROOT)).map_err(unusable)?;
        let mut command = self.command(folder, setup);
        match goal {
            Goal::Code => {
                command.args(["--crate-type", "cdylib", "--emit", &format!("obj={OBJECT}")]);
                command.arg(format!("-Copt-level={}", setup.opt_level));
            }
            Goal::Types => {
                command.env("RUSTC_BOOTSTRAP", "1");
                command.args(["--crate-type", "lib", "--emit", "metadata=types.rmeta"]);
                command.args(["-Ztrim-diagnostic-paths=false", "-Zwrite-long-types-to-disk=no"]);
            }
        }
        std::fs::write(folder.join(ARGUMENTS), arguments(&command)).map_err(unusable)?;
        let child = self.compilers.start(&mut command);
        let child = child.map_err(|e| Stop::Failed(format!("starting rustc: {e}")))?;
        let child = Some(child.ok_or(Stop::Cancelled)?);
        let running = Running { child, compilers: self.compilers.clone() };
        Ok(Waiting { running, folder: folder.to_owned() })
    }

    fn command(&self, folder: &Path, setup: &Setup) -> Command {
        let mut command = Command::new(&self.toolchain.rustc);
        command
            .current_dir(folder)
            .args(["lib.rs", "--edition", "2024", "--crate-name", "cell"])
            .args(["--error-format", "json", "--json", "diagnostic-short"])
            .args(flags())
            .args(["-Cpanic=unwind", "-Cdebuginfo=0", "-Cembed-bitcode=no", "-Ccodegen-units=1"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        for folder in &setup.library.search {
            command.arg(format!("-Ldependency={}", folder.display()));
        }
        for (name, path) in &setup.library.crates {
            command.arg("--extern").arg(format!("{name}={}", path.display()));
        }
        command
    }
}

/// One argument a line, as rustc reads them.
fn arguments(command: &Command) -> String {
    command.get_args().map(|a| a.to_string_lossy().into_owned() + "\n").collect()
}

/// What is the same for all cells: written once, read before the cell comes.
fn crate_root(library: &Library) -> String {
    let crates = library.linked.iter().map(|name| format!("extern crate {name};\n"));
    let crates: String = crates.collect();
    format!("#![allow(warnings)]\n{crates}use ::parcell::prelude::*;\ninclude!({ROOT:?});\n")
}

/// A compiler's process; ended when dropped.
#[derive(Debug)]
struct Running {
    child: Option<Child>,
    compilers: Compilers,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Either may fail for a process that has just ended by itself.
            let _ = child.kill();
            let _ = child.wait();
            self.compilers.ended(child.id());
        }
    }
}

/// A compiler that waits for a cell.
#[derive(Debug)]
pub(super) struct Waiting {
    running: Running,
    /// Where the cell's other files belong.
    pub(super) folder: PathBuf,
}

impl Waiting {
    /// Whether it still waits: an interrupt ends all compilers.
    pub(super) fn is_alive(&mut self) -> bool {
        self.running.child.as_mut().is_some_and(|c| matches!(c.try_wait(), Ok(None)))
    }

    /// Gives up processor time to everything else that wants it.
    pub(super) fn be_nice(&self) {
        self.running.child.iter().for_each(|c| crate::session::lower_priority(c.id()));
    }

    /// Hands the cell's root over: the compiler goes on.
    pub(super) fn feed(mut self, root: String) -> Call {
        let stdin = self.running.child.as_mut().and_then(|c| c.stdin.take());
        // A compiler that has ended says why when it is waited for.
        let _ = stdin.map(|mut stdin| stdin.write_all(root.as_bytes()));
        Call { running: self.running, file: self.folder.join(ROOT), root }
    }
}

/// A call under way.
#[derive(Debug)]
pub(super) struct Call {
    running: Running,
    file: PathBuf,
    root: String,
}

impl Call {
    /// Waits for the compiler; its errors, none if it succeeded.
    pub(super) fn errors(mut self) -> Result<Vec<Complaint>, Stop> {
        let child = self.running.child.take().expect("taken here only");
        let output = finish(child, &self.running.compilers, "rustc")?;
        self.leave_source();
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

    /// Puts the source that was handed over where its name says, so that the folder is complete.
    fn leave_source(&self) {
        let draft = self.file.with_extension("new");
        let left =
            std::fs::write(&draft, &self.root).and_then(|()| std::fs::rename(&draft, &self.file));
        // Nothing of this session depends on it, and a full disk has been or will be met elsewhere.
        left.unwrap_or(());
    }
}

/// Waits for a compiler or linker to end, be it by an interrupt.
pub(super) fn finish(child: Child, compilers: &Compilers, what: &str) -> Result<Output, Stop> {
    let pid = child.id();
    let output = child.wait_with_output();
    if compilers.ended(pid) {
        return Err(Stop::Cancelled);
    }
    output.map_err(|e| Stop::Failed(format!("waiting for {what}: {e}")))
}

/// What to say where a session's folder cannot be written.
pub(super) fn unwritable(folder: &Path, error: &io::Error) -> String {
    format!("the session's folder cannot be written: {}: {error}", folder.display())
}

/// `aborting due to 2 previous errors` and the like.
fn is_summary(complaint: &Complaint) -> bool {
    complaint.spans.is_empty()
        && complaint.code.is_none()
        && complaint.message.starts_with("aborting due to")
}
