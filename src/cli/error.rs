//! What can go wrong on the command line. Each message says what to do where that is known.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file system said no.
    #[error("cannot {action} {}", path.display())]
    File {
        /// What was tried, as a verb.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// There is no home directory to install into.
    #[error("the home directory is not known: set HOME, or install with --prefix")]
    NoHome,
    /// `--sys-prefix` without an environment.
    #[error(
        "--sys-prefix found neither $VIRTUAL_ENV nor $CONDA_PREFIX nor a python3: activate an \
         environment, or name it with --prefix"
    )]
    NoPrefix,
    /// A path that JSON cannot carry.
    #[error("{} is not valid UTF-8, so no kernelspec can name it", .0.display())]
    NotUtf8(PathBuf),
    /// A kernelspec of that name exists and belongs to another kernel.
    #[error(
        "the kernelspec {} belongs to another kernel: choose a different --name, or remove it with \
         `jupyter kernelspec remove`", .0.display()
    )]
    ForeignSpec(PathBuf),
    /// There is nothing to uninstall.
    #[error(
        "there is no kernelspec {}: name the place it was installed in \
         (--user, --sys-prefix, --prefix) and its --name", .0.display()
    )]
    NoSpec(PathBuf),
    /// The cell library cannot be had.
    #[error("the cell library could not be built")]
    Cells(#[from] crate::cells::Error),
    /// The kernel ended with an error.
    #[error("the kernel cannot serve")]
    Kernel(#[from] crate::kernel::Error),
    /// A program could not be started.
    #[error("cannot start `{program}`: {mend}")]
    NotStarted {
        /// The program.
        program: String,
        /// What to do.
        mend: String,
        /// What the system answered.
        source: io::Error,
    },
    /// A program failed.
    #[error("`{command}` failed with {status}: {mend}")]
    Failed {
        /// The program and its arguments.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// What to do.
        mend: String,
    },
    /// Python is too old.
    #[error(
        "python3 is version {found}, JupyterLab needs {needed} or newer: install a newer Python, \
         or use a JupyterLab of your own after `parcell install`"
    )]
    OldPython {
        /// What is there.
        found: String,
        /// What is needed.
        needed: &'static str,
    },
    /// A file is not a notebook.
    #[error("{} is not a notebook that parcell can run: {problem}", path.display())]
    Notebook {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A cell that cannot become part of a program.
    #[error("cell {cell} of {} cannot be exported: {problem}", path.display())]
    Export {
        /// The cell, counted from 1 over all cells of the file.
        cell: usize,
        /// The notebook.
        path: PathBuf,
        /// Why not.
        problem: String,
    },
    /// A folder to write into holds something.
    #[error(
        "{} is not empty: name another folder, or use --force, which overwrites what was exported \
         there before and leaves other files alone", .0.display()
    )]
    NotEmpty(PathBuf),
    /// Arguments that do not go together.
    #[error("{0}")]
    Usage(&'static str),
    /// A cell failed.
    #[error("cell {cell} of {}: {name}: {value}", path.display())]
    Cell {
        /// The cell, counted from 1 over all cells of the file.
        cell: usize,
        /// The notebook.
        path: PathBuf,
        /// The kind of failure.
        name: String,
        /// The failure in one line.
        value: String,
    },
    /// The user stopped the run.
    #[error("stopped by the keyboard before cell {cell} of {}", path.display())]
    Stopped {
        /// The cell that was not run, counted from 1.
        cell: usize,
        /// The notebook.
        path: PathBuf,
    },
    /// The handler for Ctrl-C could not be set.
    #[error("cannot listen to Ctrl-C")]
    Keyboard(#[source] io::Error),
    /// `parcell doctor` found something necessary missing.
    #[error("{0} of the checks failed; the lines marked ✗ say how to mend them")]
    Unhealthy(usize),
}

impl Error {
    /// For `map_err`: the file system refused `action` on `path`.
    pub(super) fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
        let path = path.to_owned();
        move |source| Error::File { action, path, source }
    }
}
