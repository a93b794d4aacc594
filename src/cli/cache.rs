//! `parcell cache`: crates that are fetched once, for sessions that have no network.

use std::process::Command;

use super::Error;
use super::kernelspec;
use super::place::PlaceOptions;
use super::prepare;
use super::surroundings::Surroundings;
use super::terminal::say;
use crate::cells::{self, Fetched};

/// Options of `parcell cache`.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Fetch crates, and again those fetched before: `serde`, `ndarray@0.16`, or a line of a
    /// Cargo.toml such as `tokio = { version = "1", features = ["net"] }`.
    Add {
        /// The crates; without any, those fetched before are fetched for the present cell library.
        #[arg(value_name = "CRATE")]
        crates: Vec<String>,
        #[command(flatten)]
        place: PlaceOptions,
    },
    /// Print what was fetched.
    List {
        #[command(flatten)]
        place: PlaceOptions,
    },
}

/// Acts as the installation's kernel would be started: with its variables, which say where its
/// cell libraries and its cargo are.
pub(super) fn run(options: &Options) -> Result<(), Error> {
    let (Action::Add { place, .. } | Action::List { place }) = &options.action;
    if std::env::var_os(INSIDE).is_none() {
        return run_inside(place);
    }
    let library = prepare::cells()?;
    let fetched = Fetched::beside(&library);
    if let Action::Add { crates, .. } = &options.action {
        fetched.add(crates, &library)?;
    }
    let list = fetched.list();
    if list.is_empty() {
        say(format_args!("no crates were fetched; `parcell cache add CRATE` fetches some"));
    }
    for line in list {
        say(format_args!("{line}"));
    }
    if let Action::Add { .. } = &options.action {
        let home = Surroundings::of_process().rust_folder("CARGO_HOME", ".cargo");
        let home = home.unwrap_or_else(cells::cache_root);
        say(format_args!("These can be added without network, from {}.", home.display()));
    }
    Ok(())
}

/// Set where the variables of the kernelspec are.
const INSIDE: &str = "PARCELL_CACHE_INSIDE";

/// Starts this program again, with the same arguments and the variables of the kernelspec.
fn run_inside(place: &PlaceOptions) -> Result<(), Error> {
    let spec = place.resolve(&Surroundings::of_process())?.spec(&place.name);
    let binary = kernelspec::binary_of(&spec).ok_or_else(|| Error::NoSpec(spec.clone()))?;
    let mut again = Command::new(&binary);
    again.args(std::env::args_os().skip(1)).env(INSIDE, "1");
    again.envs(kernelspec::environment_of(&spec));
    let command = format!("{} cache", binary.display());
    let status = again.status().map_err(|source| Error::NotStarted {
        program: binary.display().to_string(),
        mend: "install parcell again".to_owned(),
        source,
    })?;
    if status.success() {
        return Ok(());
    }
    let mend = "what it said above tells why".to_owned();
    Err(Error::Failed { command, status, mend })
}
