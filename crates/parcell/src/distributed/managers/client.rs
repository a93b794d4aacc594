//! Programs of this host that start workers on others and live as long as these do: ssh, `srun`,
//! `mpiexec`. Each has a thread that talks with it.
//!
//! What a client writes to standard output is for the driver if it begins with
//! [`crew::MARK`]: `lacks …` (instructions of the processor), `wants` (the files), `ready` (for the
//! ticket), `ended RANK HOW`, `fails WHY`.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::Builder;

use parcell_link::WorkerOptions;

use super::files::Needed;
use super::script::{Bootstrap, TicketFile};
use super::{Client, Feed};
use crate::distributed::address::{self, Address};
use crate::distributed::join::Ticket;
use crate::distributed::launch::{self, LaunchError, Launched};
use crate::distributed::node::node;
use crate::distributed::{crew, processor};

const STACK: usize = 256 << 10;
/// So many of a client's complaints are told when it fails.
const TOLD: usize = 6;
/// How long a host may take to start workers, in seconds, unless the user says otherwise.
const PATIENCE: f64 = 60.0;

/// What has started workers elsewhere, while it runs.
#[derive(Default)]
pub(crate) struct Running {
    /// Where it takes orders, if it does.
    orders: Mutex<Option<ChildStdin>>,
    /// Ends it.
    end: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Running {
    /// Ends one of its workers at once, if it takes orders; whether it does. Does not wait for it.
    pub(crate) fn kill(&self, rank: u32) -> bool {
        let told = lock(&self.orders).as_mut().map(|orders| writeln!(orders, "kill {rank}"));
        told.is_some_and(|told| told.is_ok())
    }

    /// Ends it, and with it all its workers. Does not wait for it.
    pub(crate) fn end(&self) {
        if let Some(end) = lock(&self.end).take() {
            end();
        }
    }

    pub(super) fn end_with(&self, end: Box<dyn FnOnce() + Send>) {
        *lock(&self.end) = Some(end);
    }

    fn say(&self, bytes: &[u8]) -> std::io::Result<()> {
        match &mut *lock(&self.orders) {
            Some(input) => input.write_all(bytes).and_then(|()| input.flush()),
            None => Err(std::io::ErrorKind::BrokenPipe.into()),
        }
    }
}

/// Starts clients, each with a thread that lives as long as it does. Does not wait for the workers.
pub(super) fn start(
    clients: &[Client],
    file: TicketFile,
    driver: &Address,
    given: &WorkerOptions,
    limit: Option<f64>,
) -> Result<Launched, LaunchError> {
    let program = launch::program()?;
    let script = Bootstrap::new(&program, given).map_err(LaunchError::Unable)?;
    let script = Arc::new(script);
    let parts: Vec<u32> = clients.iter().map(|client| client.workers).collect();
    let running: Vec<Arc<Running>> = clients.iter().map(|_| Arc::default()).collect();
    let launched = launch::open(&parts, &running, Some(limit.unwrap_or(PATIENCE)))?;
    let file = Arc::new(file);
    let mut ids = launched.ids.iter().copied();
    for (number, (client, running)) in clients.iter().zip(running).enumerate() {
        let talk = Talk {
            ids: ids.by_ref().take(client.workers as usize).collect(),
            ticket: ticket(
                launched.number,
                number,
                client.workers,
                client.driver.as_deref(),
                driver,
                given,
            ),
            file: Arc::clone(&file),
            client: client.clone(),
            script: Arc::clone(&script),
            running,
            complaints: Mutex::default(),
        };
        let talk = Arc::new(talk);
        let name = format!("parcell-{}", client.host);
        let live = Arc::clone(&talk);
        let started = Builder::new().name(name).stack_size(STACK).spawn(move || live.live());
        if let Err(error) = started {
            talk.over(&format!("no thread to start it: {error}; see `ulimit -u`"));
        }
    }
    Ok(launched)
}

/// What the workers of one part of a launch must know.
pub(super) fn ticket(
    launch: u64,
    part: usize,
    workers: u32,
    via: Option<&[SocketAddr]>,
    driver: &Address,
    given: &WorkerOptions,
) -> Ticket {
    let mut driver = driver.clone();
    if let Some(via) = via {
        driver.remote = via.to_vec();
    }
    Ticket {
        launch,
        client: u32::try_from(part).expect("few parts"),
        key: *node().key.as_bytes(),
        driver,
        manners: address::manners().unwrap_or_default(),
        workers,
        threads: given.threads,
        pin: given.pin,
        environment: given.environment.clone(),
        directory: None,
        build: None,
    }
}

/// One client and what is said between it and the driver.
struct Talk {
    client: Client,
    ids: Vec<u32>,
    ticket: Ticket,
    script: Arc<Bootstrap>,
    /// For those that cannot be given the ticket otherwise; goes with the last client.
    file: Arc<TicketFile>,
    running: Arc<Running>,
    /// What it wrote to standard error, see [`note`].
    complaints: Mutex<VecDeque<String>>,
}

impl Talk {
    /// Starts the client and stays with it to its end.
    fn live(self: &Arc<Self>) {
        let written = match self.client.feed {
            Feed::Nothing => self.file.write(&self.ticket),
            Feed::Script | Feed::Ticket => Ok(()),
        };
        let mut child = match written.map_err(std::io::Error::other).and_then(|()| self.spawn()) {
            Ok(child) => child,
            Err(error) => {
                let program = &self.client.command[0];
                return self.over(&format!("{program} does not start: {error}"));
            }
        };
        let pid = child.id();
        self.running.end_with(Box::new(move || crew::terminate(pid)));
        let input = child.stdin.take();
        if self.client.feed != Feed::Nothing {
            *lock(&self.running.orders) = input;
        }
        let output = child.stdout.take().expect("piped");
        let errors = child.stderr.take().expect("piped");
        let talk = Arc::clone(self);
        let listen = Builder::new().stack_size(STACK).spawn(move || {
            BufReader::new(errors).lines().map_while(Result::ok).for_each(|l| talk.complained(l));
        });
        let mut told = self.greet().err().map(|e| format!("nothing can be said to it: {e}"));
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            match line.strip_prefix(crew::MARK) {
                Some(news) => told = self.hear(news).or(told),
                None => self.complained(line),
            }
        }
        let status = child.wait();
        // The number of the process may be given again.
        lock(&self.running.end).take();
        lock(&self.running.orders).take();
        if let Ok(listen) = listen {
            listen.join().unwrap_or(());
        }
        let ended = status.map_or_else(|e| e.to_string(), crew::how_it_ended);
        self.over(&told.unwrap_or_else(|| self.failure(&ended)));
    }

    fn spawn(&self) -> std::io::Result<Child> {
        let mut command = Command::new(&self.client.command[0]);
        command.args(&self.client.command[1..]);
        command.envs(self.client.environment.iter().copied());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
    }

    /// What a client is told first.
    fn greet(&self) -> std::io::Result<()> {
        match self.client.feed {
            Feed::Script => {
                let script = &self.script.text;
                self.running.say(format!("{}\n{script}", script.len()).as_bytes())
            }
            Feed::Ticket => {
                let told = self.running.say(self.ticket.line().as_bytes());
                // Its workers take no orders, and some wait for the end of what they read.
                lock(&self.running.orders).take();
                told
            }
            Feed::Nothing => Ok(()),
        }
    }

    /// A client tells something. What cannot be mended is returned.
    fn hear(&self, news: &str) -> Option<String> {
        let (word, rest) = news.split_once(' ').unwrap_or((news, ""));
        match word {
            "lacks" => {
                let lacking: Vec<String> = rest.split_whitespace().map(str::to_owned).collect();
                Some(processor::refusal(&self.client.host, &lacking))
            }
            "fails" => Some(rest.to_owned()),
            "wants" => self.send_files().err(),
            "ready" => {
                let said = self.running.say(self.ticket.line().as_bytes());
                said.err().map(|e| format!("the ticket could not be given to it: {e}"))
            }
            "ended" => {
                let (rank, how) = rest.split_once(' ')?;
                let id = self.ids.get(rank.parse::<usize>().ok()?)?;
                let how = match self.last_complaint() {
                    Some(said) if !node().peers.is_known_well(*id) => format!("{how}: {said}"),
                    _ => how.to_owned(),
                };
                launch::ended(*id, &how);
                None
            }
            _ => None,
        }
    }

    fn send_files(&self) -> Result<(), String> {
        for Needed { path, .. } in &self.script.files {
            let bytes = std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
            let failed =
                |e| format!("the program could not be copied to {}: {e}", self.client.host);
            self.running.say(&bytes).map_err(failed)?;
        }
        Ok(())
    }

    fn complained(&self, line: String) {
        if line.trim().is_empty() {
            return;
        }
        // Once its workers are there, nobody else would tell.
        if self.ids.iter().any(|id| node().peers.is_connected(*id)) {
            eprintln!("{}: {line}", self.client.host);
        }
        note(&mut lock(&self.complaints), line);
    }

    fn last_complaint(&self) -> Option<String> {
        lock(&self.complaints).back().cloned()
    }

    /// Why its workers are not there.
    fn failure(&self, ended: &str) -> String {
        let complaints = lock(&self.complaints);
        let said: Vec<&str> = complaints.iter().map(String::as_str).collect();
        let (host, program) = (&self.client.host, &self.client.command[0]);
        match said.is_empty() {
            true => format!("{program} for {host}: {ended}"),
            false => format!("{program} for {host}: {}", said.join("; ")),
        }
    }

    /// The client has ended; those of its workers that are still there end with it.
    fn over(&self, why: &str) {
        self.ids.iter().for_each(|id| launch::ended(*id, why));
    }
}

/// Keeps the first complaints and the last: of what fails for each worker, the first tell why, and the
/// last what whoever started them made of it. Lines that are drawn, and those that were there, do not
/// count.
fn note(complaints: &mut VecDeque<String>, line: String) {
    if line.chars().all(|c| c == '-') || complaints.contains(&line) {
        return;
    }
    complaints.push_back(line);
    if complaints.len() > TOLD {
        complaints.remove(TOLD / 2);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_and_the_last_complaints_are_kept() {
        let mut complaints = VecDeque::new();
        for line in ["why", "why", "----", "1", "2", "3", "4", "5", "how"] {
            note(&mut complaints, line.to_owned());
        }
        assert_eq!(complaints, ["why", "1", "2", "4", "5", "how"]);
    }
}
