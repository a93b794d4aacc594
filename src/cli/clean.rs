//! `parcell clean`: gives back disk space.

use std::path::Path;

use super::Error;
use super::files;
use super::lab;
use super::surroundings::Surroundings;
use super::terminal::say;
use crate::{cells, session};

/// Options of `parcell clean`.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Remove all cell libraries, also those in use by this version, and the private JupyterLab.
    /// They are made again when they are needed.
    #[arg(long)]
    all: bool,
}

/// Cleans, and says how much was freed.
pub(super) fn run(options: &Options) -> Result<(), Error> {
    let mut freed =
        cells::clean(options.all).map_err(Error::file("clean", &cells::cache_root()))?;
    if options.all {
        for environment in lab::environments(&Surroundings::of_process())? {
            freed += remove(&environment)?;
        }
    }
    let sessions = session::sweep_folders();
    say(format_args!("{} freed; {sessions} folders of ended sessions removed", readable(freed)));
    Ok(())
}

fn remove(path: &Path) -> Result<u64, Error> {
    let bytes = files::size(path);
    files::remove(path)?;
    Ok(bytes)
}

/// Bytes in the unit that suits them.
pub(super) fn readable(bytes: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    match units.iter().find(|(bits, _)| bytes >> bits > 0) {
        #[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
        Some((bits, unit)) => format!("{:.1} {unit}", bytes as f64 / f64::from(1 << bits)),
        None => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn bytes_are_shown_in_the_unit_that_suits_them() {
        let shown = [0, 1023, 1024, 1_572_864, 3 << 30].map(super::readable);
        assert_eq!(shown, ["0 bytes", "1023 bytes", "1.0 KiB", "1.5 MiB", "3.0 GiB"]);
    }
}
