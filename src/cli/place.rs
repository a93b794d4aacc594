//! Where a kernel is installed: for the user, or below a prefix that others share.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::Error;
use super::surroundings::Surroundings;

/// The options by which `install` and `uninstall` are told the place.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct PlaceOptions {
    /// Use the current user's data folder; this is the default.
    #[arg(long, group = "place")]
    user: bool,
    /// Use the active virtual or conda environment, or else the prefix of python3.
    #[arg(long, group = "place")]
    sys_prefix: bool,
    /// Use the folders below this prefix, for example /usr/local.
    #[arg(long, value_name = "FOLDER", group = "place")]
    prefix: Option<PathBuf>,
    /// The name of the kernelspec: ASCII letters, digits, dots, dashes and underscores.
    #[arg(long, default_value = "parcell", value_parser = valid_name)]
    pub(super) name: String,
}

impl PlaceOptions {
    /// The place that the options name.
    pub(super) fn resolve(&self, around: &Surroundings) -> Result<Place, Error> {
        if let Some(prefix) = &self.prefix {
            let absolute = std::path::absolute(prefix);
            return Ok(Place::below(&absolute.map_err(Error::file("find", prefix))?));
        }
        if self.sys_prefix {
            return Ok(Place::below(&active_prefix(around).ok_or(Error::NoPrefix)?));
        }
        Place::of_user(around)
    }
}

/// Checks the name of a kernelspec by Jupyter's rule.
fn valid_name(name: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() || !name.chars().all(allowed) || name.chars().all(|c| c == '.') {
        return Err("Jupyter allows only ASCII letters, digits, '.', '_' and '-' in it".to_owned());
    }
    Ok(name.to_owned())
}

/// The folders of one installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// Where Jupyter looks for kernelspecs.
    pub(super) kernels: PathBuf,
    /// Where parcell keeps its own files.
    pub(super) share: PathBuf,
    /// The cell libraries that all users of the prefix share; absent for a single user, whose
    /// cache serves.
    pub(super) cells: Option<PathBuf>,
}

impl Place {
    /// The user's own place.
    pub(super) fn of_user(around: &Surroundings) -> Result<Place, Error> {
        let kernels = around.jupyter_data()?.join("kernels");
        Ok(Place { kernels, share: around.data_home()?.join("parcell"), cells: None })
    }

    /// The place below a prefix.
    pub(super) fn below(prefix: &Path) -> Place {
        let share = prefix.join("share/parcell");
        let cells = Some(share.join("cells"));
        Place { kernels: prefix.join("share/jupyter/kernels"), share, cells }
    }

    /// The installed program.
    pub(super) fn binary(&self) -> PathBuf {
        self.share.join("bin/parcell")
    }

    /// The folder of a kernelspec.
    pub(super) fn spec(&self, name: &str) -> PathBuf {
        self.kernels.join(name)
    }
}

/// The prefix of the active Python environment.
fn active_prefix(around: &Surroundings) -> Option<PathBuf> {
    let named = around.path("VIRTUAL_ENV").or_else(|| around.path("CONDA_PREFIX"));
    named.or_else(|| {
        let python = Command::new("python3").args(["-c", "import sys; print(sys.prefix)"]).output();
        let python = python.ok().filter(|o| o.status.success())?;
        let prefix = PathBuf::from(String::from_utf8(python.stdout).ok()?.trim());
        prefix.is_absolute().then_some(prefix)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(sys_prefix: bool, prefix: Option<&str>) -> PlaceOptions {
        let prefix = prefix.map(PathBuf::from);
        PlaceOptions { user: false, sys_prefix, prefix, name: "parcell".into() }
    }

    #[test]
    fn names_are_those_jupyter_allows() {
        for good in ["parcell", "rust-1.95", "A_b.c", "x"] {
            assert_eq!(valid_name(good).as_deref(), Ok(good));
        }
        for bad in ["", ".", "..", "a b", "a/b", "größe", "a\n"] {
            assert!(valid_name(bad).is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn a_prefix_holds_everything_that_its_users_share() {
        let place = options(false, Some("/opt/p")).resolve(&Surroundings::default()).unwrap();
        assert_eq!(place.spec("k"), Path::new("/opt/p/share/jupyter/kernels/k"));
        assert_eq!(place.binary(), Path::new("/opt/p/share/parcell/bin/parcell"));
        assert_eq!(place.cells.as_deref(), Some(Path::new("/opt/p/share/parcell/cells")));
    }

    #[test]
    fn a_relative_prefix_becomes_absolute() {
        let place = options(false, Some("env")).resolve(&Surroundings::default()).unwrap();
        assert!(place.binary().is_absolute());
    }

    #[test]
    fn sys_prefix_takes_the_virtual_environment_before_conda() {
        let conda = ("CONDA_PREFIX", "/conda");
        let at = |variables: &[_]| {
            options(true, None).resolve(&Surroundings::made_up("/home/u", variables)).unwrap()
        };
        assert_eq!(at(&[conda]), Place::below(Path::new("/conda")));
        assert_eq!(at(&[conda, ("VIRTUAL_ENV", "/venv")]), Place::below(Path::new("/venv")));
    }

    #[test]
    fn the_users_place_keeps_program_and_kernelspec_apart() {
        let variables = [("XDG_DATA_HOME", "/xdg"), ("JUPYTER_DATA_DIR", "/jup")];
        let around = Surroundings::made_up("/home/u", &variables);
        let place = options(false, None).resolve(&around).unwrap();
        assert_eq!(place.spec("k"), Path::new("/jup/kernels/k"));
        assert_eq!(place.binary(), Path::new("/xdg/parcell/bin/parcell"));
        assert_eq!(place.cells, None);
    }
}
