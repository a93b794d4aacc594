//! `parcell export`: writes a notebook as a cargo project that computes the same, and a Slurm script
//! that runs it. [`script`] reads what the notebook does, [`recorder`] what its magics ask for,
//! [`program`] writes `main.rs`, [`project`] everything around it.

mod program;
mod project;
mod recorder;
mod script;
mod text;

use std::path::{Path, PathBuf};
use std::process::Command;

use self::script::{Refused, Script};
use super::Error;
use super::files;
use super::notebook::Notebook;
use super::terminal::{remark, say};
use crate::cells::Toolchain;
use crate::engine::Chronicle;

/// Options of `parcell export`.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// The notebook.
    #[arg(value_name = "NOTEBOOK")]
    notebook: PathBuf,
    /// The folder to write the project into; it must be empty or not exist.
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// Write into a folder that is not empty.
    #[arg(long)]
    force: bool,
    /// Check afterwards that the project compiles, with `cargo check`: a minute for the library, once.
    #[arg(long)]
    check: bool,
}

/// Writes the project, and says what of the notebook it leaves out.
pub(super) fn run(options: &Options) -> Result<(), Error> {
    let path = &options.notebook;
    let notebook = Notebook::read(path)?;
    if let Some(other) = notebook.language().filter(|l| !l.eq_ignore_ascii_case("rust")) {
        let problem = format!("its language is {other}, not Rust");
        return Err(Error::Notebook { path: path.clone(), problem });
    }
    if !options.force && is_filled(&options.to)? {
        return Err(Error::NotEmpty(options.to.clone()));
    }
    let refused =
        |Refused { cell, problem }: Refused| Error::Export { cell, path: path.clone(), problem };
    let file = path.canonicalize().map_err(Error::file("find", path))?;
    let directory = file.parent().unwrap_or(Path::new("/"));
    let script = Script::read(&notebook.cells(), directory).map_err(refused)?;
    let chronicle = Chronicle::of(&script.sections, &project::prelude()).map_err(|section| {
        let problem = "it is no Rust that can be taken apart; run it to see the message";
        refused(Refused { cell: script.cells[section], problem: problem.to_owned() })
    })?;
    let title = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let program = program::main_rs(&title, &script, &chronicle).map_err(refused)?;
    let named = program::crates(&chronicle, crate::cells::named_crates());
    let files = project::files(path, &script, &named, program);
    for file in &files {
        files::write(&options.to.join(&file.path), &file.contents, file.mode)?;
    }
    report(options, &script, &files);
    if options.check { check(&options.to) } else { Ok(()) }
}

/// Whether there is a folder with something in it.
fn is_filled(folder: &Path) -> Result<bool, Error> {
    match folder.read_dir() {
        Ok(mut entries) => Ok(entries.next().is_some()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(Error::file("write into", folder)(e)),
    }
}

fn report(options: &Options, script: &Script, files: &[project::File]) {
    for (cell, what) in &script.left_out {
        remark(format_args!("cell {cell} left out: {what}"));
    }
    let folder = options.to.display();
    say(format_args!(
        "{folder}: src/main.rs with {} of Rust, and {} files around it; `cargo run --release` there, \
         or `sbatch job.sh`",
        counted(script.sections.len(), "stretch", "es"),
        files.len() - 1,
    ));
}

fn counted(n: usize, what: &str, plural: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { plural })
}

/// Has cargo check the project; its progress and its messages are shown as they come.
fn check(folder: &Path) -> Result<(), Error> {
    let toolchain = Toolchain::find()?;
    let mut command = Command::new(&toolchain.cargo);
    command.args(["check", "--release"]).current_dir(folder).env("RUSTC", &toolchain.rustc);
    let status = command.status().map_err(|source| Error::NotStarted {
        program: "cargo".to_owned(),
        mend: "install Rust from https://rustup.rs".to_owned(),
        source,
    })?;
    if status.success() {
        return Ok(());
    }
    Err(Error::Failed {
        command: "cargo check --release".to_owned(),
        status,
        mend: format!(
            "mend {}; comments there name the cells",
            folder.join("src/main.rs").display()
        ),
    })
}
