//! `parcell worker`: joins a session that runs elsewhere.

use std::io::IsTerminal;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use super::{Error, prepare};

/// Options of `parcell worker`.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// The session's ticket; without it, the ticket is read from standard input.
    #[arg(long, value_name = "FILE")]
    ticket: Option<PathBuf>,
}

/// Becomes a worker. Returns only if that fails.
pub(super) fn run(options: &Options) -> Result<(), Error> {
    let library = prepare::cells()?;
    if options.ticket.is_none() && std::io::stdin().is_terminal() {
        eprintln!("paste the ticket of the session, which begins with `parcell-ticket:`");
    }
    let mut command = Command::new(&library.driver);
    command.env("PARCELL_WORKER", "join");
    if let Some(ticket) = &options.ticket {
        command.env("PARCELL_TICKET", ticket);
    }
    let source = command.exec();
    Err(Error::File { action: "start", path: library.driver, source })
}
