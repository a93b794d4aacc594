//! The `parcell` program: the analyst's hook, logging, then the command line.

use std::process::ExitCode;

use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    parcell_kernel::engine::analyst_server::hook();
    let filter = EnvFilter::try_from_env("PARCELL_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    parcell_kernel::cli::main()
}
