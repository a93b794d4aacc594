//! What a command knows of its user: home and environment variables. Everything else in the
//! command line receives this value, so that tests can make one up.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::PathBuf;

use super::Error;

/// Home directory and environment variables.
#[derive(Debug, Clone, Default)]
pub(super) struct Surroundings {
    home: Option<PathBuf>,
    variables: HashMap<OsString, OsString>,
}

impl Surroundings {
    /// Those of this process.
    pub(super) fn of_process() -> Surroundings {
        Surroundings { home: std::env::home_dir(), variables: std::env::vars_os().collect() }
    }

    #[cfg(test)]
    pub(super) fn made_up(home: &str, variables: &[(&str, &str)]) -> Surroundings {
        let variables = variables.iter().map(|(k, v)| (k.into(), v.into())).collect();
        Surroundings { home: Some(home.into()), variables }
    }

    /// A variable that is set and not empty.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        let value = self.variables.get(&OsString::from(name))?.to_str()?;
        (!value.is_empty()).then(|| value.to_owned())
    }

    /// A variable that holds an absolute path; others are ignored, as the XDG rules ask.
    pub(super) fn path(&self, name: &str) -> Option<PathBuf> {
        self.variables.get(&OsString::from(name)).map(PathBuf::from).filter(|p| p.is_absolute())
    }

    /// The home directory.
    pub(super) fn home(&self) -> Result<PathBuf, Error> {
        self.home.clone().filter(|h| h.is_absolute()).ok_or(Error::NoHome)
    }

    /// `$XDG_DATA_HOME`, by default `~/.local/share`.
    pub(super) fn data_home(&self) -> Result<PathBuf, Error> {
        match self.path("XDG_DATA_HOME") {
            Some(path) => Ok(path),
            None => Ok(self.home()?.join(".local/share")),
        }
    }

    /// The user's Jupyter data folder, as `jupyter --data-dir` prints it.
    pub(super) fn jupyter_data(&self) -> Result<PathBuf, Error> {
        match self.path("JUPYTER_DATA_DIR") {
            Some(path) => Ok(path),
            None if cfg!(target_os = "macos") => Ok(self.home()?.join("Library/Jupyter")),
            None => Ok(self.data_home()?.join("jupyter")),
        }
    }

    /// A folder of the Rust installation: the variable, or its default below home, if it exists.
    pub(super) fn rust_folder(&self, variable: &str, default: &str) -> Option<PathBuf> {
        let folder = self.path(variable).or_else(|| Some(self.home().ok()?.join(default)))?;
        folder.is_dir().then_some(folder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jupyter_data_follows_jupyters_own_order() {
        let both = [("XDG_DATA_HOME", "/xdg"), ("JUPYTER_DATA_DIR", "/jup")];
        let at = |variables: &[_]| Surroundings::made_up("/home/u", variables).jupyter_data();
        assert_eq!(at(&both).unwrap(), PathBuf::from("/jup"));
        assert_eq!(at(&both[1..]).unwrap(), PathBuf::from("/jup"));
        if cfg!(target_os = "linux") {
            assert_eq!(at(&both[..1]).unwrap(), PathBuf::from("/xdg/jupyter"));
            assert_eq!(at(&[]).unwrap(), PathBuf::from("/home/u/.local/share/jupyter"));
        }
    }

    #[test]
    fn relative_and_empty_values_count_as_absent() {
        let odd = Surroundings::made_up("/home/u", &[("XDG_DATA_HOME", "share"), ("EMPTY", "")]);
        assert_eq!(odd.data_home().unwrap(), PathBuf::from("/home/u/.local/share"));
        assert_eq!(odd.text("EMPTY"), None);
        assert!(matches!(Surroundings::default().data_home(), Err(Error::NoHome)));
    }
}
