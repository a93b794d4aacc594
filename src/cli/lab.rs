//! `parcell lab`: from nothing to the course notebooks in JupyterLab, in one command.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use include_dir::{Dir, include_dir};
use sha2::{Digest, Sha256};

use super::Error;
use super::files;
use super::install;
use super::surroundings::Surroundings;
use super::terminal::{remark, say};

/// Options of `parcell lab`.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Do not open a browser; the address is printed in either case.
    #[arg(long)]
    no_browser: bool,
    /// The port that JupyterLab listens on.
    #[arg(long)]
    port: Option<u16>,
    /// The address that JupyterLab listens on; its default is this machine only.
    #[arg(long)]
    ip: Option<String>,
    /// The folder to open instead of the course notebooks.
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
    /// Further arguments for `jupyter lab`.
    #[arg(last = true, value_name = "ARGUMENTS")]
    extra: Vec<OsString>,
}

const REQUIREMENTS: &str = include_str!("lab-requirements.txt");
const OLDEST_PYTHON: (u32, u32) = (3, 10);
static NOTEBOOKS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/notebooks");

/// No news, no look for updates: the environment is pinned.
const OVERRIDES: &str = r#"{
  "@jupyterlab/apputils-extension:notification": {
    "fetchNews": "false", "checkForUpdates": false, "doNotDisturbMode": false
  }
}
"#;

/// Prepares whatever is not there yet, then becomes JupyterLab.
pub(super) fn run(options: &Options) -> Result<(), Error> {
    let around = Surroundings::of_process();
    let folder = match &options.dir {
        Some(folder) => folder.clone(),
        None => notebooks(&around)?,
    };
    let folder = folder.canonicalize().map_err(Error::file("open", &folder))?;
    install::for_user(&around)?;
    let environment = environment(&around)?;
    let mut jupyter = jupyter(options, &around, &environment, &folder)?;
    let program = environment.join("bin/python");
    Err(not_started(&program, "is the environment damaged? `parcell clean --all` removes it")(
        jupyter.exec(),
    ))
}

/// The command that becomes JupyterLab. Its settings are its own; the user's stay untouched.
fn jupyter(
    options: &Options,
    around: &Surroundings,
    environment: &Path,
    folder: &Path,
) -> Result<Command, Error> {
    let mut command = Command::new(environment.join("bin/python"));
    command.args(["-m", "jupyterlab", "--MultiKernelManager.default_kernel_name=parcell"]);
    command.arg(prefixed("--ServerApp.root_dir=", folder));
    command.args(options.no_browser.then_some("--no-browser"));
    command.args(options.port.map(|p| format!("--ServerApp.port={p}")));
    command.args(options.ip.as_ref().map(|a| format!("--ServerApp.ip={a}")));
    command.args(nix::unistd::geteuid().is_root().then_some("--allow-root"));
    command.args(&options.extra);
    let settings = around.data_home()?.join("parcell/lab-settings");
    command.env("JUPYTER_CONFIG_DIR", &settings).env_remove("JUPYTER_CONFIG_PATH");
    for variable in ["JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR", "PYTHONPATH"] {
        command.env_remove(variable);
    }
    let paths = around.text("PATH").unwrap_or_default();
    let bin = prefixed("", &environment.join("bin"));
    command.env("PATH", [bin, OsString::from(paths)].join(&OsString::from(":")));
    command.env("VIRTUAL_ENV", environment);
    Ok(command)
}

fn prefixed(option: &str, path: &Path) -> OsString {
    let mut text = OsString::from(option);
    text.push(path);
    text
}

/// The folder of notebooks: the checkout's, or a copy of those the program carries.
fn notebooks(around: &Surroundings) -> Result<PathBuf, Error> {
    let here = std::env::current_dir().map_err(Error::file("find", Path::new(".")))?;
    // `cargo run` names the checkout, whichever folder it is called in.
    let places = around.path("CARGO_MANIFEST_DIR").into_iter();
    let mut places = places.chain(here.ancestors().map(Path::to_owned));
    let checkout =
        |p: &PathBuf| p.join("crates/parcell-link").is_dir() && p.join("notebooks").is_dir();
    if let Some(checkout) = places.find(checkout) {
        return Ok(checkout.join("notebooks"));
    }
    let copy = here.join("parcell-notebooks");
    let kept = write_notebooks(&NOTEBOOKS, &copy)?;
    if kept > 0 {
        say(format_args!(
            "{} holds {kept} changed notebooks; they stay as they are.",
            copy.display()
        ));
    }
    Ok(copy)
}

/// Writes the files that are not there yet; returns how many are there with other content.
fn write_notebooks(from: &Dir<'_>, to: &Path) -> Result<usize, Error> {
    let mut kept = 0;
    for file in from.files() {
        let target = to.join(file.path());
        match fs::read(&target) {
            Ok(old) => kept += usize::from(old != file.contents()),
            Err(_) => drop(files::write(&target, file.contents(), files::PLAIN)?),
        }
    }
    for folder in from.dirs().filter(|d| !d.path().ends_with(".ipynb_checkpoints")) {
        kept += write_notebooks(folder, to)?;
    }
    Ok(kept)
}

/// The folder of the Python environment that these requirements make.
fn environment_folder(around: &Surroundings) -> Result<PathBuf, Error> {
    let digest = hex::encode(&Sha256::digest(REQUIREMENTS)[..8]);
    Ok(around.data_home()?.join(format!("parcell/lab-{digest}")))
}

/// All environments that any version of parcell made here, apart from the settings.
pub(super) fn environments(around: &Surroundings) -> Result<Vec<PathBuf>, Error> {
    let share = around.data_home()?.join("parcell");
    let entries = fs::read_dir(share).into_iter().flatten().flatten().map(|e| e.path());
    let made_here = |p: &PathBuf| {
        let name = p.file_name().and_then(|n| n.to_str()).and_then(|n| n.strip_prefix("lab-"));
        p.is_dir() && name.is_some_and(|hash| u64::from_str_radix(hash, 16).is_ok())
    };
    Ok(entries.filter(made_here).collect())
}

/// The Python environment, made now if it is not complete. What an interrupted making left is
/// removed first; two at the same time wait for each other.
fn environment(around: &Surroundings) -> Result<PathBuf, Error> {
    let folder = environment_folder(around)?;
    let complete = folder.join("complete");
    if complete.exists() {
        return Ok(folder);
    }
    let share = folder.parent().unwrap_or(&folder);
    fs::create_dir_all(share).map_err(Error::file("create the folder", share))?;
    let lock = share.join("lab.lock");
    let held = File::create(&lock).map_err(Error::file("create", &lock))?;
    held.lock().map_err(Error::file("lock", &lock))?;
    if !complete.exists() {
        files::remove(&folder)?;
        make_environment(&folder)?;
        files::write(&complete, REQUIREMENTS.as_bytes(), files::PLAIN)?;
    }
    Ok(folder)
}

fn make_environment(folder: &Path) -> Result<(), Error> {
    check_python()?;
    remark(format_args!(
        "Making a private Python environment with JupyterLab in {}",
        folder.display()
    ));
    let mut venv = Command::new("python3");
    step(venv.args(["-m", "venv"]).arg(folder), VENV_MISSING)?;
    let requirements = folder.join("requirements.txt");
    files::write(&requirements, REQUIREMENTS.as_bytes(), files::PLAIN)?;
    let mut pip = Command::new(folder.join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"]);
    step(pip.arg(&requirements), "is there a connection to PyPI? pip's own message is above")?;
    let overrides = folder.join("share/jupyter/lab/settings/overrides.json");
    files::write(&overrides, OVERRIDES.as_bytes(), files::PLAIN).map(drop)
}

const PYTHON_MISSING: &str =
    "install Python with `sudo apt install python3 python3-venv` or `sudo dnf install python3`";
const VENV_MISSING: &str = "if the module venv is missing, `sudo apt install python3-venv` (or \
                            `sudo dnf install python3`) brings it";

fn check_python() -> Result<(), Error> {
    let code = "import sys; print('%d.%d' % sys.version_info[:2])";
    let mut python = Command::new("python3");
    let child = python.args(["-c", code]).stdout(Stdio::piped()).spawn();
    let mut child = child.map_err(not_started(Path::new("python3"), PYTHON_MISSING))?;
    let mut found = String::new();
    if let Some(mut out) = child.stdout.take() {
        out.read_to_string(&mut found).map_err(Error::file("read", Path::new("python3")))?;
    }
    child.wait().map_err(not_started(Path::new("python3"), PYTHON_MISSING))?;
    if is_new_enough(&found) {
        return Ok(());
    }
    Err(Error::OldPython { found: found.trim().to_owned(), needed: "3.10" })
}

fn is_new_enough(version: &str) -> bool {
    let mut numbers = version.trim().split('.').map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= OLDEST_PYTHON,
        _ => false,
    }
}

/// Runs a program to its end.
fn step(command: &mut Command, mend: &str) -> Result<(), Error> {
    let program = PathBuf::from(command.get_program());
    let status = command.status().map_err(not_started(&program, mend))?;
    if status.success() {
        return Ok(());
    }
    Err(Error::Failed { command: format!("{command:?}"), status, mend: mend.to_owned() })
}

fn not_started(program: &Path, mend: &str) -> impl FnOnce(std::io::Error) -> Error {
    let (program, mend) = (program.display().to_string(), mend.to_owned());
    move |source| Error::NotStarted { program, mend, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn carried_notebooks_are_written_once_and_changes_kept() {
        static CARRIED: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/kernelspec");
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(write_notebooks(&CARRIED, folder.path()).unwrap(), 0);
        let first = CARRIED.files().next().unwrap();
        let target = folder.path().join(first.path());
        assert_eq!(fs::read(&target).unwrap(), first.contents());
        fs::write(&target, "mine").unwrap();
        assert_eq!(write_notebooks(&CARRIED, folder.path()).unwrap(), 1);
        assert_eq!(fs::read(&target).unwrap(), b"mine");
    }

    #[test]
    fn python_versions_compare_as_numbers() {
        assert!(is_new_enough("3.10\n") && is_new_enough("3.14") && is_new_enough("4.0"));
        assert!(!is_new_enough("3.9\n") && !is_new_enough("2.7") && !is_new_enough(""));
    }

    #[test]
    fn only_complete_environments_are_used_as_they_are() {
        let data = tempfile::tempdir().unwrap();
        let home = data.path().to_str().unwrap();
        let around = Surroundings::made_up(home, &[("XDG_DATA_HOME", home)]);
        let folder = environment_folder(&around).unwrap();
        files::write(&folder.join("complete"), b"", files::PLAIN).unwrap();
        fs::create_dir(data.path().join("parcell/lab-settings")).unwrap();
        assert_eq!(environment(&around).unwrap(), folder);
        assert_eq!(environments(&around).unwrap(), [folder]);
    }

    #[test]
    fn jupyter_gets_its_folder_and_none_of_the_users_settings() {
        let around = Surroundings::made_up("/home/u", &[("PATH", "/bin")]);
        let options = Options {
            no_browser: true,
            port: Some(9000),
            ip: None,
            dir: None,
            extra: vec!["--debug".into()],
        };
        let command = jupyter(&options, &around, Path::new("/env"), Path::new("/nb")).unwrap();
        let arguments: Vec<_> = command.get_args().map(|a| a.to_str().unwrap()).collect();
        for wanted in
            ["--no-browser", "--ServerApp.port=9000", "--ServerApp.root_dir=/nb", "--debug"]
        {
            assert!(arguments.contains(&wanted), "{arguments:?}");
        }
        let set = |name: &str| command.get_envs().find(|(k, _)| *k == name).unwrap().1;
        assert_eq!(set("PATH").unwrap(), "/env/bin:/bin");
        assert_eq!(set("JUPYTERLAB_SETTINGS_DIR"), None);
        let settings = "/home/u/.local/share/parcell/lab-settings";
        assert_eq!(set("JUPYTER_CONFIG_DIR").unwrap(), settings);
    }
}
