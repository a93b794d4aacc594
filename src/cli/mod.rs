//! The command line: one file per sub-command. [`place`] knows where things are installed,
//! [`kernelspec`] what Jupyter reads of us, [`notebook`] and [`tape`] the notebook file.

use std::error::Error as _;
use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod cache;
mod clean;
mod doctor;
mod error;
mod export;
mod files;
mod install;
mod kernelspec;
mod lab;
mod magics;
mod notebook;
mod place;
mod prepare;
mod run;
mod surroundings;
mod tape;
mod terminal;
mod uninstall;
mod worker;

pub use error::Error;

/// A Jupyter kernel for parallel Rust notebooks.
#[derive(Debug, Parser)]
#[command(name = "parcell", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Install the kernel so that Jupyter finds it.
    Install(install::Options),
    /// Remove an installed kernel.
    Uninstall(uninstall::Options),
    /// Serve one notebook. Jupyter runs this command; people do not need it.
    Kernel(KernelOptions),
    /// Install the kernel and open the course notebooks in a private JupyterLab.
    Lab(lab::Options),
    /// Run notebooks without Jupyter and print what they show.
    Run(run::Options),
    /// Write a notebook as a cargo project and a Slurm script that compute the same.
    Export(export::Options),
    /// Check this machine, and say how to mend what is missing.
    Doctor(doctor::Options),
    /// Fetch crates that notebooks can then add without network.
    Cache(cache::Options),
    /// Remove left-over session folders and old cell libraries.
    Clean(clean::Options),
    /// Join a session as a worker; its `%workers --manager elastic` says how.
    Worker(worker::Options),
    /// Print the table of magics as markdown.
    Magics,
    /// Build the cell library now rather than in the first session.
    #[command(hide = true)]
    Prepare,
    /// Answer the kernel's questions about source text.
    #[command(hide = true)]
    Analyst,
}

#[derive(Debug, clap::Args)]
struct KernelOptions {
    /// The connection file that Jupyter wrote.
    #[arg(short = 'f', long = "connection-file", value_name = "FILE")]
    file: std::path::PathBuf,
}

impl Command {
    fn execute(self) -> Result<(), Error> {
        match self {
            Command::Install(options) => install::run(&options),
            Command::Uninstall(options) => uninstall::run(&options),
            Command::Kernel(options) => Ok(crate::kernel::serve(&options.file)?),
            Command::Lab(options) => lab::run(&options),
            Command::Run(options) => run::run(&options),
            Command::Export(options) => export::run(&options),
            Command::Doctor(options) => doctor::run(&options),
            Command::Cache(options) => cache::run(&options),
            Command::Clean(options) => clean::run(&options),
            Command::Worker(options) => worker::run(&options),
            Command::Magics => magics::run(),
            Command::Analyst => {
                crate::engine::analyst_server::serve();
                Ok(())
            }
            Command::Prepare => prepare::cells().map(drop),
        }
    }
}

/// Runs the program: 0 if all went well, 1 if not, 2 if the arguments cannot be understood.
pub fn main() -> ExitCode {
    match Arguments::parse().command.execute() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error);
            ExitCode::FAILURE
        }
    }
}

/// Says what went wrong, with everything that caused it. A closed standard error is no reason to
/// panic, so nothing is made of a failure to write.
fn report(error: &Error) {
    let mut err = anstream::stderr();
    let _ = writeln!(err, "parcell: {error}");
    let mut cause = error.source();
    while let Some(e) = cause {
        let _ = writeln!(err, "  because: {e}");
        cause = e.source();
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_consistent() {
        super::Arguments::command().debug_assert();
    }
}
