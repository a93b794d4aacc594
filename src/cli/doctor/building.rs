//! Can cells be compiled and linked?

use std::path::Path;
use std::process::{Command, Output};
use std::time::Instant;

use super::Finding;
use crate::cells::Toolchain;
use crate::cli::prepare;

const RUST: &str = "install Rust from https://rustup.rs, or load the cluster's module for it";
const LINKER: &str = "install a C compiler: `sudo apt install build-essential`, `sudo dnf install \
                      gcc gcc-c++`, or load the cluster's module for gcc";
const SOURCE: &str = "`rustup component add rust-src`, or the distribution's package rust-src";

/// Compiler, cargo, linker, and the source of the standard library.
pub(super) fn toolchain() -> Vec<Finding> {
    let toolchain = match Toolchain::find() {
        Ok(toolchain) => toolchain,
        Err(e) => return vec![Finding::missing(e.to_string(), RUST)],
    };
    let rustc = format!("rustc {} in {}", toolchain.version, toolchain.sysroot.display());
    let source = if toolchain.has_source {
        Finding::good("source of the standard library (for completion)")
    } else {
        Finding::note("no source of the standard library: completion does not know it", SOURCE)
    };
    vec![Finding::good(rustc), cargo(&toolchain.cargo), linker(&toolchain.rustc), source]
}

fn cargo(cargo: &Path) -> Finding {
    match Command::new(cargo).arg("--version").output() {
        Ok(o) if o.status.success() => Finding::good(first_line(&o.stdout)),
        Ok(o) => Finding::missing(format!("cargo fails: {}", first_line(&o.stderr)), RUST),
        Err(e) => Finding::missing(format!("{} does not start: {e}", cargo.display()), RUST),
    }
}

/// Compiles and links the smallest shared library, as every cell does.
fn linker(rustc: &Path) -> Finding {
    let since = Instant::now();
    match link(rustc) {
        Ok(o) if o.status.success() => {
            let took = since.elapsed().as_millis();
            Finding::good(format!("a shared library compiles and links, in {took} ms"))
        }
        Ok(o) => Finding::missing(
            format!("a shared library does not link: {}", first_line(&o.stderr)),
            LINKER,
        ),
        Err(e) => Finding::missing(format!("the linker could not be tried: {e}"), RUST),
    }
}

fn link(rustc: &Path) -> std::io::Result<Output> {
    let folder = tempfile::tempdir()?;
    let source = folder.path().join("try.rs");
    std::fs::write(&source, "#[unsafe(no_mangle)] pub extern \"C\" fn cell() {}")?;
    let mut command = Command::new(rustc);
    command.args(["--edition=2024", "--crate-type=cdylib", "-o"]);
    command.arg(folder.path().join("try.so")).arg(&source).output()
}

/// The cell library, built now if it is not there: whether it can be built is the question.
/// Nothing without a toolchain, whose absence has been told.
pub(super) fn library() -> Vec<Finding> {
    if Toolchain::find().is_err() {
        return Vec::new();
    }
    let since = Instant::now();
    vec![match prepare::cells() {
        Ok(library) => {
            let took = since.elapsed().as_secs();
            let built = if took > 0 { format!(", built now in {took} s") } else { String::new() };
            let with = if library.features.is_empty() { "" } else { " with MPI" };
            Finding::good(format!("cell library{with} in {}{built}", library.source.display()))
        }
        Err(e) => {
            let cause = std::error::Error::source(&e).map(ToString::to_string);
            let why = first_error(&cause.unwrap_or_default());
            let mend = "`parcell prepare` shows all that was said; `parcell clean --all` lets the \
                        build start afresh";
            Finding::missing(format!("{e}: {why}"), mend)
        }
    }]
}

/// The line of a build's log that says what is wrong; without one, the first line.
fn first_error(log: &str) -> String {
    let error = log.lines().find(|l| l.starts_with("error"));
    error.map_or_else(|| first_line(log.as_bytes()), str::to_owned)
}

/// The first line that says something.
pub(super) fn first_line(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    text.lines().find(|l| !l.trim().is_empty()).unwrap_or("(it said nothing)").to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::Mark;
    use super::*;

    #[test]
    fn of_a_long_log_the_error_is_shown() {
        assert_eq!(
            first_error("building failed:\n  Compiling a\nerror: no\nerror: 2"),
            "error: no"
        );
        assert_eq!(first_error("\nno space left"), "no space left");
    }

    #[test]
    fn a_program_that_is_no_compiler_is_told_from_one_that_is_absent() {
        let fails = linker(Path::new("false"));
        assert_eq!((fails.mark, fails.mend.as_deref()), (Mark::Missing, Some(LINKER)));
        let absent = linker(Path::new("/nowhere/rustc"));
        assert_eq!((absent.mark, absent.mend.as_deref()), (Mark::Missing, Some(RUST)));
    }
}
