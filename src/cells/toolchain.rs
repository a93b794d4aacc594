//! Which compiler there is, called directly: rustup's stand-ins cost 20 ms a call.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::Error;

/// A compiler and its cargo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toolchain {
    /// The compiler itself, not rustup's stand-in.
    pub rustc: PathBuf,
    /// Its cargo.
    pub cargo: PathBuf,
    /// What `rustc -vV` prints.
    pub verbose_version: String,
    /// The number alone, such as `1.95.0`.
    pub version: String,
    /// The target it compiles for by default.
    pub host: String,
    /// Where its own libraries are.
    pub sysroot: PathBuf,
    /// Whether the sources of the standard library are there (for completion).
    pub has_source: bool,
}

impl Toolchain {
    /// Finds the compiler on PATH (or `$RUSTC`), in `~/.cargo/bin`, or where `$CARGO_HOME` says.
    ///
    /// # Errors
    /// [`Error::NoToolchain`] with what was tried.
    pub fn find() -> Result<Toolchain, Error> {
        let stand_in = find_program("rustc", "RUSTC");
        let sysroot = PathBuf::from(ask(&stand_in, &["--print", "sysroot"])?);
        let inside = |name: &str| Some(sysroot.join("bin").join(name)).filter(|p| p.exists());
        let rustc = inside("rustc").unwrap_or(stand_in);
        let verbose_version = ask(&rustc, &["-vV"])?;
        let line = |key: &str| {
            let found = verbose_version.lines().find_map(|l| l.strip_prefix(key));
            found.unwrap_or_default().trim().to_owned()
        };
        let (version, host) = (line("release:"), line("host:"));
        let has_source = sysroot.join("lib/rustlib/src/rust/library/std").exists();
        let cargo = inside("cargo").unwrap_or_else(|| find_program("cargo", "CARGO"));
        Ok(Toolchain { rustc, cargo, verbose_version, version, host, sysroot, has_source })
    }

    /// The folder of the shared standard library.
    pub fn runtime(&self) -> PathBuf {
        self.sysroot.join("lib/rustlib").join(&self.host).join("lib")
    }
}

fn find_program(name: &str, variable: &str) -> PathBuf {
    let chosen = std::env::var_os(variable).map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let cargo_home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = directories::BaseDirs::new().map(|d| d.home_dir().join(".cargo"));
    let more = [cargo_home, home].into_iter().flatten().map(|d| d.join("bin"));
    let mut places = std::env::split_paths(&path).chain(more).map(|d| d.join(name));
    chosen.or_else(|| places.find(|p| p.is_file())).unwrap_or_else(|| PathBuf::from(name))
}

fn ask(program: &Path, arguments: &[&str]) -> Result<String, Error> {
    let failed = |problem: String| Error::NoToolchain { program: "rustc", problem };
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|e| failed(format!("{}: {e}", program.display())))?;
    if !output.status.success() {
        return Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
