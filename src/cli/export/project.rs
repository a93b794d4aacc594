//! The files around `main.rs`: manifest, the library's sources, settings, job script, README.

use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::script::Script;
use crate::cells::{Sources, sources};
use crate::cli::files;

/// A file of the project.
#[derive(Debug)]
pub(super) struct File {
    /// Below the project's folder.
    pub(super) path: PathBuf,
    pub(super) contents: Vec<u8>,
    pub(super) mode: u32,
}

fn file(path: impl Into<PathBuf>, contents: impl Into<Vec<u8>>) -> File {
    File { path: path.into(), contents: contents.into(), mode: files::PLAIN }
}

/// All files of the project; `named` are the crates that the program names without a `%dep`.
pub(super) fn files(notebook: &Path, script: &Script, named: &[&str], main: String) -> Vec<File> {
    let sources = sources();
    let title = notebook.file_name().unwrap_or_default().to_string_lossy();
    let name = package_name(&notebook.file_stem().unwrap_or_default().to_string_lossy());
    let mut all = vec![
        file("src/main.rs", main),
        file("Cargo.toml", manifest(&name, script, named, &sources)),
        file("Cargo.lock", sources.lock),
        file(".cargo/config.toml", CONFIG),
        file(".gitignore", "/target\n"),
        file("README.md", readme(&title, &name)),
        File { mode: files::PROGRAM, ..file("job.sh", job(&title, &name, script)) },
    ];
    all.extend(vendored(&sources));
    all
}

const CONFIG: &str = "\
# As in the notebook, the program uses all instructions of the processor that compiles it: build it on
# a node of the kind that it will run on.
[build]
rustflags = [\"-Ctarget-cpu=native\"]
";

/// A name that cargo takes: letters, digits and dashes, a letter first.
fn package_name(stem: &str) -> String {
    let fits = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let name: String = stem.chars().map(fits).collect();
    let name = name.trim_start_matches(|c: char| !c.is_ascii_alphabetic()).trim_end_matches('-');
    match name {
        "" => "notebook".to_owned(),
        // Names of crates that the program may link, and those that cargo keeps.
        _ if !name.contains('-') => format!("{name}-notebook"),
        name => name.to_owned(),
    }
}

fn manifest(name: &str, script: &Script, named: &[&str], sources: &Sources) -> String {
    let library = library_manifest(sources);
    let mut crates = format!("parcell = {{ path = \"{VENDOR}/parcell\" }}\n");
    let added = script.crates.lines();
    for crate_name in named.iter().filter(|name| **name != "parcell") {
        let package = crate_name.replace('_', "-");
        let asked_for = added.iter().any(|line| line.split(' ').next() == Some(package.as_str()));
        if let (Some(version), false) = (library["dependencies"].get(&package), asked_for) {
            crates += &format!("{package} = {version}\n");
        }
    }
    for line in added {
        crates += &line;
        crates.push('\n');
    }
    let text = |key: &str| sources.package.get(key).and_then(Value::as_str).unwrap_or_default();
    format!(
        "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"{}\"\nrust-version = \"{}\"\n\
         publish = false\n\n# Belongs to no workspace around it.\n[workspace]\n\n[dependencies]\n{crates}",
        text("edition"),
        text("rust-version"),
    )
}

const VENDOR: &str = "vendor";

fn library_manifest(sources: &Sources) -> Table {
    let path = Path::new("parcell/Cargo.toml");
    let found = sources.files.iter().find(|(other, _)| other == path);
    let text = found.map(|(_, text)| String::from_utf8_lossy(text)).unwrap_or_default();
    text.parse().expect("our own manifest is TOML")
}

/// The library's sources without tests and examples, with manifests that need no workspace.
fn vendored(sources: &Sources) -> Vec<File> {
    let mut all = Vec::new();
    for (path, contents) in &sources.files {
        let inside: PathBuf = path.components().skip(1).collect();
        let vendored = Path::new(VENDOR).join(path);
        if inside == Path::new("Cargo.toml") {
            all.push(file(vendored, standalone(&String::from_utf8_lossy(contents), sources)));
        } else if inside.starts_with("src") {
            all.push(file(vendored, *contents));
        }
    }
    all
}

/// A manifest with what it takes from its workspace written out, and without what only the
/// library's own tests need.
fn standalone(manifest: &str, sources: &Sources) -> String {
    let mut manifest: Table = manifest.parse().expect("our own manifests are TOML");
    for key in ["lints", "dev-dependencies", "test", "example"] {
        manifest.remove(key);
    }
    if let Some(package) = manifest.get_mut("package").and_then(Value::as_table_mut) {
        for (key, value) in package.iter_mut().filter(|(_, value)| value.is_table()) {
            if let Some(shared) = sources.package.get(key) {
                *value = shared.clone();
            }
        }
    }
    // A program links the library itself; only notebooks need it as a shared one.
    if let Some(library) = manifest.get_mut("lib").and_then(Value::as_table_mut) {
        library.remove("crate-type");
    }
    // Its siblings are `../parcell-link` here as there.
    format!("# Copied by `parcell export`.\n{manifest}")
}

fn readme(title: &str, name: &str) -> String {
    format!(
        "# {name}\n\n\
         `src/main.rs` computes what the notebook {title} computes; `parcell export` wrote it.\n\
         `cargo run --release` builds and runs it on this machine; the first build takes a minute.\n\
         `cargo build --release && sbatch job.sh` runs it as a job of Slurm, workers on all its nodes.\n\
         `vendor/` holds the library parcell that notebooks use; the program needs no notebook and no kernel.\n"
    )
}

fn job(title: &str, name: &str, script: &Script) -> String {
    let threads = script.threads.map_or(0, |threads| threads.default);
    let cpus = threads.max(script.worker_threads);
    let most = if script.workers > 0 {
        format!("the notebook has {} workers at a time", script.workers)
    } else {
        "the notebook starts no workers".to_owned()
    };
    let of_threads = match (threads, script.worker_threads) {
        (0, 1) => "the notebook names no number of threads".to_owned(),
        (0, workers) => format!("workers of {workers} threads"),
        (pool, workers) => format!("`%threads {pool}`, and {workers} in each worker"),
    };
    let mut text = format!(
        "#!/bin/bash\n# Runs what the notebook {title} computes as a job of Slurm: sbatch job.sh\n\
         # Name in squeue.\n#SBATCH --job-name={name}\n\
         # Processes that srun may start: {most}.\n#SBATCH --ntasks={}\n\
         # Cores of each: {of_threads}.\n#SBATCH --cpus-per-task={cpus}\n\
         # The job is ended after so long (hours:minutes:seconds); a notebook does not say.\n\
         #SBATCH --time=01:00:00\n\
         # What the program prints goes here (%j is the job's number).\n#SBATCH --output={name}-%j.out\n\n\
         set -euo pipefail\ncd \"${{SLURM_SUBMIT_DIR:-$(dirname \"$0\")}}\"\n",
        script.workers.max(1)
    );
    for (variable, value) in &script.environment {
        let value = shlex::try_quote(value).unwrap_or_default();
        text += &format!("export {variable}={value}\n");
    }
    text + &format!(
        "program=${{CARGO_TARGET_DIR:-target}}/release/{name}\n\
         if [ ! -x \"$program\" ]; then\n  echo \"$program is missing: cargo build --release\" >&2\n  \
         exit 1\nfi\n\
         # Pictures become files in this folder.\n\
         export PARCELL_DISPLAYS=${{PARCELL_DISPLAYS:-{name}-${{SLURM_JOB_ID:-pictures}}}}\n\
         # The program starts its workers by srun, inside this job.\nexec \"$program\"\n"
    )
}

/// The names that a cell knows without declaring them, as `use` items.
pub(super) fn prelude() -> String {
    let sources = sources();
    let path = Path::new("parcell/src/prelude.rs");
    let found = sources.files.iter().find(|(other, _)| other == path);
    let text = found.map(|(_, text)| String::from_utf8_lossy(text)).unwrap_or_default();
    let mut names = Vec::new();
    for item in syn::parse_file(&text).map(|file| file.items).unwrap_or_default() {
        if let syn::Item::Use(item) = item {
            collect(&item.tree, &mut names);
        }
    }
    names.sort();
    names.dedup();
    // Items of their own: one that a cell takes has nothing to do with the others.
    let common = "use std::boxed::Box; use std::option::Option; use std::result::Result; \
                  use std::string::String; use std::vec::Vec;";
    let one = |name: &String| format!(" use parcell::prelude::{name};");
    common.to_owned() + &names.iter().map(one).collect::<String>()
}

fn collect(tree: &syn::UseTree, names: &mut Vec<String>) {
    match tree {
        syn::UseTree::Path(path) => collect(&path.tree, names),
        syn::UseTree::Group(group) => group.items.iter().for_each(|tree| collect(tree, names)),
        syn::UseTree::Name(name) => names.push(name.ident.to_string()),
        syn::UseTree::Rename(name) => names.push(name.rename.to_string()),
        syn::UseTree::Glob(_) => {}
    }
}
