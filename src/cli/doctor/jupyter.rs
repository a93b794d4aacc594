//! Will Jupyter find and start the kernel?

use std::path::{Path, PathBuf};
use std::process::Command;

use super::Finding;
use super::building::first_line;
use crate::cli::kernelspec;
use crate::cli::place::Place;
use crate::cli::surroundings::Surroundings;

/// The longest path of a Unix socket, without the zero at its end.
const SOCKET_PATH: usize = 107;
/// What Jupyter appends to its runtime folder for an ipc kernel.
const SOCKET_NAME: usize = "/kernel-01234567-89ab-cdef-0123-456789abcdef-ipc-5".len();

/// Python with venv, which only `parcell lab` needs, and the length of ipc paths.
pub(super) fn python(around: &Surroundings) -> Vec<Finding> {
    let mut findings = vec![python_with_venv()];
    let runtime = around.path("JUPYTER_RUNTIME_DIR");
    let runtime = runtime.or_else(|| Some(around.jupyter_data().ok()?.join("runtime")));
    findings.extend(runtime.map(|r| socket_path(&r)));
    findings
}

fn python_with_venv() -> Finding {
    let mend = "`sudo apt install python3 python3-venv` or `sudo dnf install python3`; only \
                `parcell lab` needs it";
    let code = "import sys, venv, ensurepip; print('python', sys.version.split()[0], 'with venv')";
    match Command::new("python3").args(["-c", code]).output() {
        Ok(o) if o.status.success() => Finding::good(first_line(&o.stdout)),
        Ok(_) => Finding::note("python3 is there, its modules venv and ensurepip are not", mend),
        Err(e) => Finding::note(format!("python3 does not start: {e}"), mend),
    }
}

fn socket_path(runtime: &Path) -> Finding {
    let length = runtime.as_os_str().len() + SOCKET_NAME;
    if length <= SOCKET_PATH {
        return Finding::good("paths of ipc sockets are short enough");
    }
    Finding::note(
        format!("ipc sockets in {} would need paths of {length} bytes", runtime.display()),
        format!(
            "tcp works; for ipc set JUPYTER_RUNTIME_DIR to a shorter path ({SOCKET_PATH} is the limit)"
        ),
    )
}

/// The installed kernels, and whether their programs are there and as new as this one.
pub(super) fn kernels(around: &Surroundings) -> Vec<Finding> {
    let specs = places(around).into_iter().flat_map(|p| kernelspec::ours_in(&p));
    let findings: Vec<_> = specs.map(|(folder, binary)| kernel(&folder, &binary)).collect();
    if findings.is_empty() {
        return vec![Finding::note("the kernel is not installed", "`parcell install` does it")];
    }
    findings
}

/// Where Jupyter looks for kernelspecs.
fn places(around: &Surroundings) -> Vec<PathBuf> {
    let search = around.text("JUPYTER_PATH").unwrap_or_default();
    let mut places: Vec<PathBuf> = std::env::split_paths(&search)
        .filter(|p| p.is_absolute())
        .map(|p| p.join("kernels"))
        .collect();
    places.extend(Place::of_user(around).map(|p| p.kernels));
    let environments = ["VIRTUAL_ENV", "CONDA_PREFIX"].iter().filter_map(|v| around.path(v));
    let prefixes = environments.chain(["/usr/local".into(), "/usr".into()]);
    places.extend(prefixes.map(|p| Place::below(&p).kernels));
    places.dedup();
    places
}

fn kernel(folder: &Path, binary: &Path) -> Finding {
    let name = format!("kernel {}", folder.display());
    let again = "run `parcell install` again, with the options it was installed with";
    match Command::new(binary).arg("--version").output() {
        Err(e) => Finding::missing(format!("{name}: {}: {e}", binary.display()), again),
        Ok(o) => version(&name, &first_line(&o.stdout), again),
    }
}

fn version(name: &str, found: &str, again: &str) -> Finding {
    let own = concat!("parcell ", env!("CARGO_PKG_VERSION"));
    if found == own {
        return Finding::good(format!("{name}, {own}"));
    }
    Finding::note(format!("{name} is {found}, this program is {own}"), again)
}

#[cfg(test)]
mod tests {
    use super::super::Mark;
    use super::*;
    use crate::cli::kernelspec::Kernelspec;

    #[test]
    fn a_kernelspec_without_its_program_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let binary = folder.path().join("bin/parcell");
        let display_name = "x".to_owned();
        let spec = Kernelspec { binary, display_name, environment: Vec::new() };
        spec.write(&folder.path().join("kernels/parcell")).unwrap();
        let around =
            Surroundings::made_up("/nowhere", &[("JUPYTER_PATH", folder.path().to_str().unwrap())]);
        let found = kernels(&around);
        assert_eq!(found[0].mark, Mark::Missing, "{found:?}");
    }

    #[test]
    fn another_version_is_noted() {
        let own = concat!("parcell ", env!("CARGO_PKG_VERSION"));
        assert_eq!(version("k", own, "").mark, Mark::Good);
        assert_eq!(version("k", "parcell 0.0.1", "").mark, Mark::Note);
    }

    #[test]
    fn the_socket_limit_is_exact() {
        let at = |length: usize| socket_path(Path::new(&format!("/{}", "x".repeat(length - 1))));
        assert_eq!(at(SOCKET_PATH - SOCKET_NAME).mark, Mark::Good);
        assert_eq!(at(SOCKET_PATH - SOCKET_NAME + 1).mark, Mark::Note);
    }
}
