//! What starts workers where the driver cannot: ssh, and the schedulers that a site has.
//!
//! A manager is a pure function from what is wanted to command lines ([`Manager::plan`]).
//! [`client`] and [`job`] run these. Whatever starts a worker gives it a
//! [`Ticket`](super::join::Ticket), with which it joins the session by itself.

mod client;
mod files;
mod job;
mod ssh;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use parcell_link::WorkerOptions;

use super::address::{self, Address, Manners};
use super::launch::LaunchError;
use super::message::{Answer, Ask};
use super::node::{Node, node};
use super::{blob::Blob, launch};
use crate::interrupt::Seconds;

pub(crate) use client::Running;

/// Whatever starts workers elsewhere.
pub(crate) trait Manager: Sync {
    /// As `--manager` names it.
    fn name(&self) -> &'static str;

    /// Its own options, names without dashes, each with what it does. `None` if it takes any and
    /// passes them on.
    fn options(&self) -> Option<&'static [(&'static str, &'static str)]>;

    /// The commands that start the workers.
    ///
    /// # Errors
    /// What is wrong with the options.
    fn plan(&self, wanted: &Wanted<'_>) -> Result<Plan, String>;
}

/// What is to be started.
pub(crate) struct Wanted<'a> {
    /// How many workers; `None` if the manager's options say so.
    pub(crate) workers: Option<usize>,
    pub(crate) options: &'a Options<'a>,
    /// The program that workers run, on this host.
    pub(crate) program: &'a str,
    pub(crate) threads: Option<usize>,
    /// The port of the driver, for tunnels.
    pub(crate) port: u16,
}

/// Commands that start workers.
pub(crate) enum Plan {
    /// Programs that live as long as the workers that they have started.
    Clients(Vec<Client>),
    /// A job that a scheduler starts when it has room.
    #[expect(dead_code, reason = "schedulers come next")]
    Job(job::Job),
}

/// A program that starts workers and lives as long as they do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Client {
    /// Where its workers are, for messages.
    pub(crate) host: String,
    /// How many workers it starts.
    pub(crate) workers: u32,
    pub(crate) command: Vec<String>,
    /// What it reads.
    pub(crate) feed: Feed,
    /// Where its workers find the driver, if not where others do.
    pub(crate) driver: Option<Vec<std::net::SocketAddr>>,
}

/// What a client reads on its standard input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Feed {
    /// A script, the files that the host lacks, a ticket, and then orders.
    Script,
    /// A ticket.
    #[expect(dead_code, reason = "schedulers come next")]
    Ticket,
}

/// A manager's options.
pub(crate) struct Options<'a>(pub(crate) &'a [(String, Option<String>)]);

impl Options<'_> {
    /// The last value that was given; an option without a value counts as empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().rev().find(|(own, _)| own == name);
        found.map(|(_, value)| value.as_deref().unwrap_or_default())
    }

    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let named = self.0.iter().filter(move |(own, _)| own == name);
        named.map(|(_, value)| value.as_deref().unwrap_or_default())
    }

    fn number<T: std::str::FromStr>(&self, name: &str, what: &str) -> Result<Option<T>, String> {
        let parse = |text: &str| {
            let wrong = |_| format!("--{name} wants {what}, here is `{text}`");
            text.parse().map_err(wrong)
        };
        self.get(name).map(parse).transpose()
    }
}

/// Options that all managers take which start workers on other hosts.
const COMMON: [(&str, &str); 4] = [
    ("interface", "address of the interface on which the driver listens; all of them without it"),
    (
        "encryption",
        "`off` sends between hosts unsealed; it can be switched off only before the first worker elsewhere",
    ),
    ("heartbeat", "seconds after which a host that does not answer is given up (10)"),
    ("wait", "seconds to wait for the workers (60; without end where a scheduler has a queue)"),
];

static MANAGERS: [&dyn Manager; 1] = [&ssh::Ssh];

/// The manager of this name; `None` for the one that starts workers here.
pub(crate) fn named(name: &str) -> Result<Option<&'static dyn Manager>, LaunchError> {
    if name.is_empty() || name == "local" {
        return Ok(None);
    }
    let found = MANAGERS.iter().find(|manager| manager.name() == name);
    let names: Vec<&str> = MANAGERS.iter().map(|manager| manager.name()).collect();
    let unknown = || format!("`{name}` is no manager; there are local, {}", names.join(", "));
    found.map(|manager| Some(*manager)).ok_or_else(|| LaunchError::Unable(unknown()))
}

/// Starts workers; their ids, of which not all need to come up. Returns when the programs that
/// start them run.
pub(crate) fn start(
    manager: &'static dyn Manager,
    workers: Option<usize>,
    given: &WorkerOptions,
) -> Result<launch::Launched, LaunchError> {
    let options = Options(&given.manager_options);
    check(manager, &options).map_err(LaunchError::Unable)?;
    let driver = open_session(node(), &options).map_err(LaunchError::Unable)?;
    let program = launch::program()?;
    let wanted = Wanted {
        workers,
        options: &options,
        program: &program.display().to_string(),
        threads: given.threads,
        port: driver.remote.first().map_or(0, std::net::SocketAddr::port),
    };
    let unable = |why| LaunchError::Unable(format!("{}: {why}", manager.name()));
    let limit = options.number::<f64>("wait", "seconds").map_err(unable)?;
    match manager.plan(&wanted).map_err(unable)? {
        Plan::Clients(clients) => client::start(&clients, &driver, given, limit),
        Plan::Job(job) => job::start(&job, &driver, given, limit),
    }
}

fn check(manager: &dyn Manager, options: &Options<'_>) -> Result<(), String> {
    let Some(own) = manager.options() else { return Ok(()) };
    let known = |name: &str| own.iter().chain(&COMMON).any(|(own, _)| *own == name);
    match options.0.iter().find(|(name, _)| !known(name)) {
        None => Ok(()),
        Some((name, _)) => {
            let names = own.iter().chain(&COMMON).map(|(name, _)| format!("--{name}"));
            let names = names.collect::<Vec<_>>().join(", ");
            let manager = manager.name();
            Err(format!("--{name} is no option of the manager {manager}; it has {names}"))
        }
    }
}

/// Lets processes of other hosts call the driver and all its workers; where the driver is.
fn open_session(node: &Node, options: &Options<'_>) -> Result<Address, String> {
    let on: Option<IpAddr> = options.number("interface", "the address of an interface")?;
    let sealed = match options.get("encryption") {
        None | Some("on") => true,
        Some("off") => false,
        Some(other) => return Err(format!("--encryption is `on` or `off`, here is `{other}`")),
    };
    let heartbeat = options.number::<f64>("heartbeat", "seconds")?;
    let heartbeat = heartbeat.map_or(address::HEARTBEAT, |s| Duration::from(Seconds::from(s)));
    let wanted = Manners { sealed, heartbeat };
    if let Some(now) = address::manners()
        && (options.get("encryption").is_some() && now.sealed != sealed)
    {
        let now = if now.sealed { "on" } else { "off" };
        return Err(format!(
            "encryption is {now} in this session since its first worker elsewhere"
        ));
    }
    let own = address::open_to_network(on, wanted)?;
    let manners = address::manners().unwrap_or(wanted);
    for id in node.peers.workers() {
        let ended = node.ask_and_wait(id, Ask::OpenToNetwork { on, manners }, Blob::default());
        match ended.result {
            Ok(Answer::Address(Some(address))) => {
                node.peers.with(id, |peer| peer.moved(address));
            }
            Ok(_) => {}
            // It takes no part in what follows.
            Err(error) if error.is_process_exited() => {}
            Err(error) => return Err(error.to_string()),
        }
    }
    Ok(own)
}

/// The folder for what a session keeps for its workers elsewhere: tickets and logs of jobs.
fn folder() -> PathBuf {
    files::cache().join("workers")
}
