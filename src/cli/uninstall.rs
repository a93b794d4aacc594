//! `parcell uninstall`: removes what `parcell install` put in a place, and nothing else.

use std::path::PathBuf;

use super::Error;
use super::files;
use super::kernelspec;
use super::place::{Place, PlaceOptions};
use super::surroundings::Surroundings;
use super::terminal::say;

/// Options of `parcell uninstall`.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    #[command(flatten)]
    place: PlaceOptions,
}

/// Uninstalls, and says what was removed.
pub(super) fn run(options: &Options) -> Result<(), Error> {
    let place = options.place.resolve(&Surroundings::of_process())?;
    for path in uninstall(&place, &options.place.name)? {
        say(format_args!("removed {}", path.display()));
    }
    if place.cells.is_none() {
        say(format_args!(
            "The cell libraries in the cache stay; `parcell clean --all` removes them."
        ));
    }
    Ok(())
}

/// Removes the kernelspec; if it was the last of the place, the program and the shared cell
/// libraries too. Returns what was removed.
fn uninstall(place: &Place, name: &str) -> Result<Vec<PathBuf>, Error> {
    let folder = place.spec(name);
    if !folder.join("kernel.json").exists() {
        return Err(Error::NoSpec(folder));
    }
    if kernelspec::binary_of(&folder).is_none() {
        return Err(Error::ForeignSpec(folder));
    }
    let mut unused = vec![folder.clone()];
    let binary = place.binary();
    let others = kernelspec::ours_in(&place.kernels);
    if !others.iter().any(|(spec, program)| *spec != folder && *program == binary) {
        unused.push(binary);
        unused.extend(place.cells.clone());
    }
    let mut removed = Vec::new();
    for path in unused {
        if files::remove(&path)? {
            removed.push(path);
        }
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::kernelspec::Kernelspec;

    #[test]
    fn the_program_stays_while_another_kernelspec_uses_it() {
        let prefix = tempfile::tempdir().unwrap();
        let place = Place::below(prefix.path());
        let (binary, cells) = (place.binary(), place.cells.clone().unwrap());
        files::write(&binary, b"program", files::PROGRAM).unwrap();
        files::write(&cells.join("lib"), b"library", files::PLAIN).unwrap();
        for name in ["one", "two"] {
            let display_name = name.to_owned();
            let spec = Kernelspec { binary: binary.clone(), display_name, environment: Vec::new() };
            spec.write(&place.spec(name)).unwrap();
        }
        assert_eq!(uninstall(&place, "one").unwrap(), [place.spec("one")]);
        assert!(binary.exists() && cells.exists());
        let rest = uninstall(&place, "two").unwrap();
        assert_eq!(rest, [place.spec("two"), binary, cells]);
        assert!(matches!(uninstall(&place, "two"), Err(Error::NoSpec(_))));
    }

    #[test]
    fn a_foreign_kernelspec_is_left_alone() {
        let prefix = tempfile::tempdir().unwrap();
        let place = Place::below(prefix.path());
        let spec = place.spec("python3").join("kernel.json");
        files::write(&spec, br#"{"argv": ["python"]}"#, files::PLAIN).unwrap();
        assert!(matches!(uninstall(&place, "python3"), Err(Error::ForeignSpec(_))));
        assert!(spec.exists());
    }
}
