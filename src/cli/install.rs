//! `parcell install`: puts the program and its kernelspec where Jupyter finds them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Error;
use super::files::{self, Change};
use super::kernelspec::{self, Kernelspec};
use super::place::{Place, PlaceOptions};
use super::prepare;
use super::surroundings::Surroundings;
use super::terminal::{remark, say};
use crate::cells::{self, Toolchain, Variant};

/// Options of `parcell install`.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    #[command(flatten)]
    place: PlaceOptions,
    /// The name that people see in Jupyter.
    #[arg(long, default_value = DISPLAY_NAME)]
    display_name: String,
    /// A variable for the kernel's environment; may be given several times.
    #[arg(long, value_name = "NAME=VALUE", value_parser = assignment)]
    env: Vec<(String, String)>,
    /// The processor to compile cells and their library for, such as x86-64-v3, where workers run on
    /// other kinds than this one; `rustc --print target-cpus` lists them.
    #[arg(long, value_name = "CPU")]
    target_cpu: Option<String>,
    /// Build a cell library with MPI, which `%workers --manager mpi` and cells on its workers use;
    /// needs mpicc and libclang (Debian: libopenmpi-dev, libclang-dev).
    #[arg(long)]
    mpi: bool,
}

const DISPLAY_NAME: &str = "Rust (parcell)";

/// Takes `NAME=VALUE` apart.
fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write it as NAME=VALUE, for example RUST_BACKTRACE=1".to_owned()),
    }
}

/// Installs, and says where everything went.
pub(super) fn run(options: &Options) -> Result<(), Error> {
    let around = Surroundings::of_process();
    let place = options.place.resolve(&around)?;
    let name = &options.place.name;
    let variant = Variant { mpi: options.mpi };
    let mut environment = options.env.clone();
    if variant.mpi {
        environment.insert(0, (cells::MPI.to_owned(), "1".to_owned()));
    }
    if let Some(cpu) = &options.target_cpu {
        cells::compile_for(cpu)?;
        environment.insert(0, (cells::TARGET_CPU.to_owned(), cpu.clone()));
    }
    install(&place, &around, name, &options.display_name, &environment, variant)?;
    say(format_args!("kernelspec    {}", place.spec(name).display()));
    say(format_args!("program       {}", place.binary().display()));
    let cells = place.cells.clone().unwrap_or_else(cells::cache_root);
    say(format_args!("cell library  {}", cells.display()));
    if place.cells.is_some() {
        warn_of_private_folders(&around);
    }
    say(format_args!("Choose \"{}\" in JupyterLab, or run `jupyter lab`.", options.display_name));
    Ok(())
}

/// Installs for the user under the default name, as `parcell lab` needs it.
pub(super) fn for_user(around: &Surroundings) -> Result<(), Error> {
    install(&Place::of_user(around)?, around, "parcell", DISPLAY_NAME, &[], Variant::default())
        .map(drop)
}

/// Copies the program, writes the kernelspec, builds the cell library. What is up to date stays.
fn install(
    place: &Place,
    around: &Surroundings,
    name: &str,
    display_name: &str,
    extra: &[(String, String)],
    variant: Variant,
) -> Result<Change, Error> {
    let binary = place.binary();
    let spec = Kernelspec {
        binary: binary.clone(),
        display_name: display_name.to_owned(),
        environment: environment(place, around, extra)?,
    };
    let folder = place.spec(name);
    let change = spec.write(&folder)?;
    copy_program(&binary)?;
    add_rust_source();
    match &place.cells {
        None => prepare::variant(variant).map(drop)?,
        Some(cells) => prepare_below(&binary, cells, variant)?,
    }
    Ok(change)
}

/// What the kernel must be told, whatever home it runs with: a hub may give its users homes in
/// which no Rust installation lies.
fn environment(
    place: &Place,
    around: &Surroundings,
    extra: &[(String, String)],
) -> Result<Vec<(String, String)>, Error> {
    let mut variables = Vec::new();
    for (name, default) in RUST_FOLDERS {
        if let Some(folder) = around.rust_folder(name, default) {
            variables.push((name.to_owned(), kernelspec::text(&folder)?.to_owned()));
        }
    }
    if let Some(cells) = &place.cells {
        variables.push(("PARCELL_CELLS".to_owned(), kernelspec::text(cells)?.to_owned()));
    }
    variables.extend_from_slice(extra);
    Ok(variables)
}

const RUST_FOLDERS: [(&str, &str); 2] = [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")];

/// Copies the running program. Kernels that run from an older copy keep their file.
fn copy_program(binary: &Path) -> Result<Change, Error> {
    let running = running_program();
    let content = fs::read(&running).map_err(Error::file("read", &running))?;
    files::write(binary, &content, files::PROGRAM)
}

/// The file of the running program, readable even if it has been replaced since the start.
fn running_program() -> PathBuf {
    let proc = PathBuf::from("/proc/self/exe");
    if proc.exists() { proc } else { std::env::current_exe().unwrap_or(proc) }
}

/// Builds the cell library into a shared place, by the installed program: a library belongs to the
/// program that uses it, and the place is told through the environment. The user's own cache is
/// out of sight, or a library that lies there would be found and none built for the others.
fn prepare_below(binary: &Path, place: &Path, variant: Variant) -> Result<(), Error> {
    fs::create_dir_all(place).map_err(Error::file("create the folder", place))?;
    let mpi = if variant.mpi { "1" } else { "0" };
    let (folder, program) = (place.display(), binary.display());
    let command = format!("{}={mpi} PARCELL_CACHE={folder} {program} prepare", cells::MPI);
    let mut prepare = Command::new(binary);
    prepare.env(cells::MPI, mpi).env(cells::TARGET_CPU, cells::target_cpu());
    prepare.arg("prepare").env("PARCELL_CACHE", place).env_remove("PARCELL_CELLS");
    let status = prepare.status().map_err(|source| Error::NotStarted {
        program: binary.display().to_string(),
        mend: "is the prefix on a file system that allows programs?".to_owned(),
        source,
    })?;
    if status.success() {
        return Ok(());
    }
    let mend = "what it said above tells why; `parcell doctor` checks the toolchain".to_owned();
    Err(Error::Failed { command, status, mend })
}

/// Completion inside the standard library reads its source. Without it everything else works, so
/// a failure is only told.
fn add_rust_source() {
    let Ok(toolchain) = Toolchain::find() else { return };
    if toolchain.has_source {
        return;
    }
    let added = Command::new("rustup").args(["component", "add", "rust-src"]).status();
    if !added.is_ok_and(|s| s.success()) {
        remark(format_args!(
            "warning: the source of the standard library is missing, so completion does not know \
             it. `rustup component add rust-src`, or the distribution's package rust-src, adds it."
        ));
    }
}

/// A shared installation whose Rust lies in a private home works for nobody else.
fn warn_of_private_folders(around: &Surroundings) {
    let folders = RUST_FOLDERS.iter().filter_map(|(name, d)| around.rust_folder(name, d));
    for folder in folders.filter(|f| !reachable_by_others(f)) {
        remark(format_args!(
            "warning: other users cannot read {}: install Rust in a shared place and name it with \
             --env RUSTUP_HOME=… --env CARGO_HOME=…",
            folder.display()
        ));
    }
}

fn reachable_by_others(folder: &Path) -> bool {
    let open = |p: &Path| fs::metadata(p).is_ok_and(|m| m.permissions().mode() & 0o001 != 0);
    folder.ancestors().all(open)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments_may_hold_further_equals_signs() {
        assert_eq!(assignment("A=b=c"), Ok(("A".into(), "b=c".into())));
        assert_eq!(assignment("A="), Ok(("A".into(), String::new())));
        assert!(assignment("A").is_err() && assignment("=b").is_err());
    }

    #[test]
    fn the_kernel_is_told_where_rust_is_and_the_user_has_the_last_word() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().to_str().unwrap();
        fs::create_dir(folder.path().join(".cargo")).unwrap();
        let around = Surroundings::made_up(home, &[("RUSTUP_HOME", "/nowhere")]);
        let mine = [("CARGO_HOME".to_owned(), "/mine".to_owned())];
        let place = Place::below(Path::new("/p"));
        let told = environment(&place, &around, &mine).unwrap();
        let cargo = format!("{home}/.cargo");
        let expected = [
            ("CARGO_HOME", &*cargo),
            ("PARCELL_CELLS", "/p/share/parcell/cells"),
            ("CARGO_HOME", "/mine"),
        ];
        assert_eq!(told, expected.map(|(k, v)| (k.to_owned(), v.to_owned())));
    }

    #[test]
    fn a_folder_in_a_private_home_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let (home, cargo) = (folder.path().join("home"), folder.path().join("home/.cargo"));
        fs::create_dir_all(&cargo).unwrap();
        for f in [folder.path(), &home, &cargo] {
            fs::set_permissions(f, fs::Permissions::from_mode(0o755)).unwrap();
        }
        assert!(reachable_by_others(&cargo));
        fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).unwrap();
        assert!(!reachable_by_others(&cargo));
    }

    #[test]
    fn the_program_copies_itself_once() {
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join("bin/parcell");
        assert_eq!(copy_program(&copy).unwrap(), Change::Written);
        assert_eq!(copy_program(&copy).unwrap(), Change::Kept);
        assert_ne!(fs::metadata(&copy).unwrap().permissions().mode() & 0o100, 0);
    }
}
