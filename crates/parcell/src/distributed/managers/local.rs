//! Workers on this machine, which this process starts itself: its own program once more.

use std::io::Write;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::Builder;

use parcell_link::{Pin, WorkerOptions};
use serde::{Deserialize, Serialize};

use crate::distributed::address::{self, Address, Manners};
use crate::distributed::crew;
use crate::distributed::launch::{self, AS_WORKER, LaunchError, Launched};
use crate::distributed::node::node;

const STACK: usize = 256 << 10;

/// What a worker must know at its start.
#[derive(Serialize, Deserialize)]
pub(crate) struct Start {
    pub(crate) id: u32,
    pub(crate) key: [u8; 32],
    /// Where the driver listens.
    pub(crate) driver: Address,
    /// For a session with processes on other hosts: what they agree on, and where to listen.
    pub(crate) manners: Option<Manners>,
    pub(crate) interface: Option<IpAddr>,
    pub(crate) parent: u32,
    pub(crate) threads: usize,
    pub(crate) pin: Pin,
}

/// Starts workers on this host.
pub(crate) fn start(count: usize, options: &WorkerOptions) -> Result<Launched, LaunchError> {
    let driver = address::own().map_err(LaunchError::Unable)?;
    let program = launch::program()?;
    let ids = launch::open_here(count);
    ids.iter().for_each(|id| start_one(*id, &driver, program.clone(), options));
    let seconds =
        std::env::var(launch::TIMEOUT).ok().and_then(|s| s.parse().ok()).unwrap_or(60.0_f64);
    Ok(Launched { number: u64::from(ids[0]), ids, limit: Some(seconds), at_least: None })
}

/// Starts one worker on a thread that lives as long as the worker: the system ends a worker when
/// the thread that started it is gone.
fn start_one(id: u32, driver: &Address, program: PathBuf, options: &WorkerOptions) {
    let threads = options.threads.unwrap_or(1);
    let start = Start {
        id,
        key: *node().key.as_bytes(),
        driver: driver.clone(),
        manners: address::manners(),
        interface: address::interface(),
        parent: std::process::id(),
        threads,
        pin: options.pin,
    };
    let options = options.clone();
    let run = move || match spawn(&start, &program, &options) {
        Ok(mut child) => {
            launch::has_process(id, child.id());
            let status = child.wait();
            launch::ended(id, &status.map_or_else(|e| e.to_string(), crew::how_it_ended));
        }
        Err(why) => launch::ended(id, &why),
    };
    let name = format!("parcell-starts-{id}");
    if let Err(e) = Builder::new().name(name).stack_size(STACK).spawn(run) {
        launch::ended(id, &format!("no thread to start it: {e}; see `ulimit -u`"));
    }
}

fn spawn(start: &Start, program: &PathBuf, options: &WorkerOptions) -> Result<Child, String> {
    let mut command = Command::new(program);
    command
        .env(AS_WORKER, start.id.to_string())
        .env("RUST_BACKTRACE", "0")
        .envs(options.environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::piped());
    if let Some(directory) = &options.directory {
        command.current_dir(directory);
    }
    let place = options.directory.as_deref().map(|d| format!(" in {d}")).unwrap_or_default();
    let failed = |e| format!("{} does not start{place}: {e}", program.display());
    let mut child = command.spawn().map_err(failed)?;
    let text = postcard::to_stdvec(start).expect("plain data");
    let mut input = child.stdin.take().expect("piped");
    // If it is gone already, its status says why.
    let _ = input.write_all(&text);
    Ok(child)
}
