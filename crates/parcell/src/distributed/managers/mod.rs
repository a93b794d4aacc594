//! What starts workers where the driver cannot: ssh, and the schedulers that a site has.
//!
//! A manager is a pure function from what is wanted to command lines ([`Manager::plan`]).
//! [`client`] and [`job`] run these. Whatever starts a worker gives it a
//! [`Ticket`](super::join::Ticket), with which it joins the session by itself.

mod auto;
mod batch;
mod client;
mod elastic;
pub(crate) mod files;
mod job;
pub(crate) mod local;
mod mpi;
mod script;
mod slurm;
mod ssh;
mod will;

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use parcell_link::WorkerOptions;

use super::address::{self, Address, Manners};
use super::launch::LaunchError;
use super::message::{Answer, Ask};
use super::node::{Node, node};
use super::plane::PLANE;
use super::{blob::Blob, join, launch};
use crate::interrupt::Seconds;

pub(crate) use client::Running;
use script::TicketFile;
use will::Will;

/// Whatever starts workers elsewhere.
pub(crate) trait Manager: Sync {
    /// As `--manager` names it.
    fn name(&self) -> &'static str;

    /// Its own options, names without dashes, each with what it does. `None` if it takes any and
    /// passes them on.
    fn options(&self) -> Option<&'static [(&'static str, &'static str)]>;

    /// By which data plane its workers send large data to each other; `None` for sockets.
    ///
    /// # Errors
    /// What is wrong with the options.
    fn data_plane(&self, _options: &Options<'_>) -> Result<Option<&'static str>, String> {
        Ok(None)
    }

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
    pub(crate) directory: Option<&'a str>,
    /// The port of the driver, for tunnels.
    pub(crate) port: u16,
    /// Where the ticket will be for those who cannot be given it otherwise.
    pub(crate) ticket: &'a Path,
    /// A file for what a job prints.
    pub(crate) log: &'a str,
    /// The allocation of Slurm in which this process runs.
    pub(crate) allocation: Option<&'a str>,
    /// What a command prints; its complaint if it fails.
    pub(crate) ask: &'a (dyn Fn(&[String]) -> Result<String, String> + Sync),
}

impl Wanted<'_> {
    /// The number of workers, also if it is given as one of these options.
    fn count(&self, names: &[&str]) -> Result<u32, String> {
        let given = names.iter().find_map(|name| self.options.get(name)?.parse().ok());
        let workers = self.workers.or(given).ok_or("say how many workers, as in `%workers 8 …`")?;
        u32::try_from(workers).map_err(|_| format!("{workers} workers are too many"))
    }

    /// The script of one worker.
    fn script(&self, ticket: Option<&Path>) -> String {
        script::join(self.program, self.directory, ticket)
    }
}

/// What starts workers.
pub(crate) enum Plan {
    /// Programs that live as long as the workers that they have started.
    Clients(Vec<Client>),
    /// A job that a scheduler starts when it has room.
    Job(job::Job),
    /// Whoever has the ticket.
    Open,
}

/// A program that starts workers and lives as long as they do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Client {
    /// Where its workers are, for messages.
    pub(crate) host: String,
    /// How many workers it starts.
    pub(crate) workers: u32,
    pub(crate) command: Vec<String>,
    /// Variables for its environment.
    pub(crate) environment: &'static [(&'static str, &'static str)],
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
    Ticket,
    /// Nothing: the ticket is in its file.
    Nothing,
}

/// How many of these workers each of so many places gets: as equal as can be, the first get more.
fn shares(workers: u32, places: usize) -> impl Iterator<Item = u32> {
    let places = u32::try_from(places).unwrap_or(u32::MAX);
    (0..places).map(move |k| workers / places + u32::from(k < workers % places))
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

    /// Those that are not parcell's own, nor named `not`, as commands take them: `-k value` and
    /// `--key=value`, and the words of `--native` as they are.
    fn passed_on(&self, not: &[&str]) -> Vec<String> {
        let own = |name: &str| COMMON.iter().any(|(own, _)| *own == name) || not.contains(&name);
        let mut words = Vec::new();
        for (name, value) in self.0.iter().filter(|(name, _)| !own(name)) {
            match (name.as_str(), value) {
                ("native", Some(value)) => {
                    words.extend(value.split_whitespace().map(str::to_owned))
                }
                (short, value) if short.starts_with('-') => {
                    words.push(short.to_owned());
                    words.extend(value.clone());
                }
                (long, Some(value)) => words.push(format!("--{long}={value}")),
                (long, None) => words.push(format!("--{long}")),
            }
        }
        words
    }

    /// The words of `--native`.
    fn native(&self) -> Vec<String> {
        self.all("native").flat_map(str::split_whitespace).map(str::to_owned).collect()
    }

    fn number<T: std::str::FromStr>(&self, name: &str, what: &str) -> Result<Option<T>, String> {
        let parse = |text: &str| {
            let wrong = |_| format!("--{name} wants {what}, here is `{text}`");
            text.parse().map_err(wrong)
        };
        self.get(name).map(parse).transpose()
    }
}

/// The words of a line that has none with spaces.
fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
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

static MANAGERS: [&dyn Manager; 8] = [
    &ssh::Ssh,
    &slurm::Slurm,
    &mpi::Mpi,
    &batch::PBS,
    &batch::LSF,
    &batch::SGE,
    &batch::HTCONDOR,
    &elastic::Elastic,
];

/// The manager of this name; `None` for the one that starts workers here.
pub(crate) fn named(name: &str) -> Result<Option<&'static dyn Manager>, LaunchError> {
    if name.is_empty() || name == "local" {
        return Ok(None);
    }
    let found = MANAGERS.iter().find(|manager| manager.name() == name);
    let names: Vec<&str> = MANAGERS.iter().map(|manager| manager.name()).collect();
    let unknown = || format!("`{name}` is no manager; there are local, auto, {}", names.join(", "));
    found.map(|manager| Some(*manager)).ok_or_else(|| LaunchError::Unable(unknown()))
}

/// Where adaptive workers may be, one place for each, where a manager has named hosts; none where it
/// finds places itself.
pub(super) fn places(options: &WorkerOptions, most: usize) -> Result<Vec<String>, String> {
    match options.manager.as_str() {
        "elastic" => Err("elastic workers come by themselves: they take no bounds".to_owned()),
        "mpi" => Err("the workers of one mpiexec belong together: write one number, as in \
                      `%workers 8 --manager mpi`"
            .to_owned()),
        "ssh" => {
            let given = Options(&options.manager_options);
            let places = ssh::places(given.get("hosts").unwrap_or_default())?;
            match places.len() {
                n if n < most => Err(format!(
                    "{most} workers may come, and --hosts has places for {n}: write `host*N` for N \
                     of them on one, or a smaller number"
                )),
                _ => Ok(places),
            }
        }
        _ => Ok(Vec::new()),
    }
}

/// The options for workers of which each may end by itself: a scheduler gets their places back one by
/// one.
pub(super) fn for_few(mut options: WorkerOptions) -> WorkerOptions {
    let named = |name: &str| options.manager_options.iter().any(|(own, _)| own == name);
    let apart = options.manager == "slurm" && std::env::var_os("SLURM_JOB_ID").is_none();
    if apart && !named("array") && !named("-a") {
        options.manager_options.push(("array".to_owned(), None));
    }
    options
}

/// Names what starts workers where the user does not.
const DEFAULT: &str = "PARCELL_MANAGER";

/// The options with what will start the workers: where they name nothing, what `PARCELL_MANAGER` does,
/// and for `auto` what takes the allocation in which this process runs.
pub(crate) fn chosen(options: &WorkerOptions) -> Result<WorkerOptions, LaunchError> {
    let mut options = options.clone();
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    if options.manager.is_empty() {
        options.manager = variable(DEFAULT).unwrap_or_default();
    }
    if options.manager == "auto" {
        let read = |file: &str| std::fs::read_to_string(file).ok();
        let (manager, hosts) = auto::allocation(&variable, &read);
        manager.clone_into(&mut options.manager);
        options.manager_options.extend(hosts.map(|hosts| ("hosts".to_owned(), Some(hosts))));
    }
    Ok(options)
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
    let file = TicketFile::new().map_err(LaunchError::Unable)?;
    let log = file.path().with_extension("log").display().to_string();
    let allocation = std::env::var("SLURM_JOB_ID").ok();
    let wanted = Wanted {
        workers,
        options: &options,
        program: &program.display().to_string(),
        threads: given.threads,
        directory: given.directory.as_deref(),
        port: driver.remote.first().map_or(0, SocketAddr::port),
        ticket: file.path(),
        log: &log,
        allocation: allocation.as_deref(),
        ask: &ask,
    };
    let unable = |why| LaunchError::Unable(format!("{}: {why}", manager.name()));
    let limit = options.number::<f64>("wait", "seconds").map_err(unable)?;
    let mut given = given.clone();
    if let Some(plane) = manager.data_plane(&options).map_err(unable)? {
        given.environment.push((PLANE.to_owned(), plane.to_owned()));
    }
    let given = &given;
    match manager.plan(&wanted).map_err(unable)? {
        Plan::Clients(clients) => client::start(&clients, file, &driver, given, limit),
        Plan::Job(job) => job::start(job, file, &log, &driver, given, limit),
        Plan::Open => open_door(file, &driver, given).map_err(unable),
    }
}

/// Runs a command; what it prints.
fn ask(command: &[String]) -> Result<String, String> {
    let program = &command[0];
    let output = Command::new(program).args(&command[1..]).stdin(Stdio::null()).output();
    let output = output.map_err(|e| format!("{program} does not start: {e}"))?;
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(said(&output.stdout)) } else { Err(said(&output.stderr)) }
}

/// The ticket for those who may come at any time, and what removes it with this session.
static TICKET: Mutex<Option<(TicketFile, Will)>> = Mutex::new(None);

/// Says how workers can come, from now on.
fn open_door(
    file: TicketFile,
    driver: &Address,
    given: &WorkerOptions,
) -> Result<launch::Launched, String> {
    let mut ticket = client::ticket(launch::ELASTIC, 0, 1, None, driver, given);
    let program = launch::program().map_err(|e| e.to_string())?;
    let build = join::build()?;
    ticket.build = Some((program.display().to_string(), build.clone()));
    ticket.directory.clone_from(&given.directory);
    file.write(&ticket)?;
    let remove = ["rm".to_owned(), "-f".to_owned(), file.path().display().to_string()];
    let will = Will::new(&remove).map_err(|e| format!("nothing would remove the ticket: {e}"))?;
    let ticket = file.path().display();
    println!(
        "workers may join from now on; on a host that sees this file:\n\
         \n    parcell worker --ticket {ticket}\n\
         \non others start `parcell worker` and paste what is in that file: it is the key to this \
         session, for nobody else's eyes"
    );
    *TICKET.lock().unwrap_or_else(PoisonError::into_inner) = Some((file, will));
    Ok(launch::open_door(build))
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

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn wanted<'a>(
        workers: Option<usize>,
        options: &'a Options<'a>,
        threads: Option<usize>,
    ) -> Wanted<'a> {
        Wanted {
            workers,
            options,
            program: "/p",
            threads,
            directory: None,
            port: 4000,
            ticket: Path::new("/ticket"),
            log: "/log",
            allocation: None,
            ask: &|_| Ok("7\n".to_owned()),
        }
    }

    fn plan(
        manager: &dyn Manager,
        workers: Option<usize>,
        allocation: Option<&str>,
        given: &[(&str, &str)],
    ) -> Result<Plan, String> {
        let value = |v: &str| Some(v.to_owned()).filter(|v| !v.is_empty());
        let given: Vec<_> = given.iter().map(|(n, v)| ((*n).to_owned(), value(v))).collect();
        let options = Options(&given);
        check(manager, &options)?;
        manager.plan(&Wanted { allocation, ..wanted(workers, &options, Some(2)) })
    }

    pub(super) fn clients(
        manager: &dyn Manager,
        workers: Option<usize>,
        allocation: Option<&str>,
        given: &[(&str, &str)],
    ) -> Result<Vec<(String, Feed)>, String> {
        let Plan::Clients(clients) = plan(manager, workers, allocation, given)? else {
            panic!("{} has clients", manager.name());
        };
        Ok(clients.iter().map(|client| (client.command.join(" "), client.feed)).collect())
    }

    pub(super) fn job(
        manager: &dyn Manager,
        workers: Option<usize>,
        given: &[(&str, &str)],
    ) -> Result<job::Job, String> {
        let Plan::Job(job) = plan(manager, workers, None, given)? else {
            panic!("{} has a job", manager.name());
        };
        Ok(job)
    }

    #[test]
    fn options_that_nobody_knows_are_named_with_those_that_there_are() {
        let refused = |manager, given: &[(&str, &str)]| {
            let options: Vec<_> =
                given.iter().map(|(n, v)| ((*n).to_owned(), Some((*v).to_owned()))).collect();
            check(manager, &Options(&options)).unwrap_err()
        };
        let why = refused(&ssh::Ssh, &[("host", "a")]);
        assert!(why.starts_with("--host is no option of the manager ssh; it has --hosts, --user"));
        assert!(why.ends_with("--heartbeat, --wait"), "{why}");
        assert!(check(&slurm::Slurm, &Options(&[("host".to_owned(), None)])).is_ok());
    }

    #[test]
    fn a_manager_has_one_name() {
        assert!(named("").unwrap().is_none() && named("local").unwrap().is_none());
        assert_eq!(named("slurm").unwrap().unwrap().name(), "slurm");
        let why = named("cloud").err().unwrap().to_string();
        assert_eq!(
            why,
            "`cloud` is no manager; there are local, auto, ssh, slurm, mpi, pbs, lsf, sge, htcondor, elastic"
        );
    }
}
