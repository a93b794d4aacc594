//! Where cargo finds crates. On a machine of many users `$CARGO_HOME` is a folder that only its
//! admin writes to: what was fetched there is used without any network, and whatever else is
//! wanted comes into a folder of the user's own.

use std::path::{Path, PathBuf};
use std::process::Command;

use nix::errno::Errno;
use nix::unistd::{AccessFlags, access};

use super::{Error, cache_root};

/// One way for cargo to find crates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// As cargo does by itself, with network.
    Usual,
    /// Only what has been fetched before.
    Fetched,
    /// With network, into this folder.
    Own(PathBuf),
}

impl Source {
    /// Tells cargo.
    pub(super) fn apply(&self, command: &mut Command) {
        match self {
            Source::Usual => {}
            Source::Fetched => drop(command.arg("--offline")),
            Source::Own(folder) => drop(command.env("CARGO_HOME", folder)),
        }
    }

    /// Whether cargo failed since it could not have a crate, so that another source may help.
    fn lacked(&self, log: &str) -> bool {
        let has = |part: &&str| log.contains(part);
        let network = ["failed to download", "Could not resolve", "network error", "timed out"];
        match self {
            Source::Usual | Source::Own(_) => network.iter().any(has),
            Source::Fetched => !has(&"could not compile"),
        }
    }
}

/// Builds from the first source that has all crates. If none has, the error says what happened
/// where the network was asked.
pub(super) fn try_each<T>(mut build: impl FnMut(&Source) -> Result<T, Error>) -> Result<T, Error> {
    let mut asked = None;
    for source in sources(std::env::var_os("CARGO_HOME").map(PathBuf::from)) {
        match build(&source) {
            Err(Error::Build { what, log }) if source.lacked(&log) => {
                if source != Source::Fetched {
                    asked = Some(Error::Build { what, log: format!("{log}\n{HELP}") });
                }
            }
            other => return other,
        }
    }
    Err(asked.expect("one of the sources is asked with network"))
}

const HELP: &str = "help: without network only crates that were fetched before can be had; `parcell \
                    cache add` fetches some for all users of an installation";

/// The sources to try, in order.
fn sources(home: Option<PathBuf>) -> Vec<Source> {
    match home.filter(|folder| is_locked(folder)) {
        Some(_) => vec![Source::Fetched, Source::Own(cache_root().join("cargo"))],
        None => vec![Source::Usual, Source::Fetched],
    }
}

/// Whether the folder is there and this user may not write to it.
fn is_locked(folder: &Path) -> bool {
    let refused = access(folder, AccessFlags::W_OK);
    matches!(refused, Err(Errno::EACCES | Errno::EROFS | Errno::EPERM))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_only_the_admin_writes_to_is_asked_before_the_network() {
        let own = tempfile::tempdir().unwrap();
        let usual = vec![Source::Usual, Source::Fetched];
        assert_eq!(sources(None), usual);
        assert_eq!(sources(Some(own.path().to_owned())), usual);
        assert_eq!(sources(Some(own.path().join("later"))), usual);
        // Nobody writes there, root neither.
        let shared = sources(Some("/proc/1".into()));
        assert_eq!(shared[0], Source::Fetched);
        assert!(matches!(&shared[1], Source::Own(folder) if folder.ends_with("cargo")));
    }

    #[test]
    fn only_what_another_source_may_have_is_tried_again() {
        let offline = "error: no matching package named `x` found";
        assert!(Source::Fetched.lacked(offline));
        assert!(!Source::Usual.lacked(offline));
        assert!(!Source::Fetched.lacked("error: could not compile `x`"));
        assert!(Source::Usual.lacked("error: failed to download from `https://index.crates.io`"));
    }

    #[test]
    fn the_error_of_the_network_is_the_one_that_is_told() {
        let error = |log: &str| {
            let (what, log) = ("dependencies".to_owned(), log.to_owned());
            Err::<(), _>(Error::Build { what, log })
        };
        let told = try_each(|source| match source {
            Source::Fetched => error("no matching package"),
            _ => error("Could not resolve host"),
        });
        let told = told.unwrap_err().to_string();
        assert!(told.contains("Could not resolve host") && told.contains("cache add"), "{told}");
    }
}
