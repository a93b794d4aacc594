//! Jobs that a scheduler starts when it has room: submitted, watched until their workers are there,
//! and cancelled when these are not wanted any more.

use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::thread::Builder;
use std::time::Duration;

use parcell_link::WorkerOptions;

use super::client::{Running, ticket};
use super::script::TicketFile;
use super::will::Will;
use crate::distributed::address::Address;
use crate::distributed::launch::{self, LaunchError, Launched};

/// How often a scheduler is asked how a job is.
const OFTEN: Duration = Duration::from_secs(1);
/// A job that its scheduler does not know any more may still be bringing its last workers.
const UNKNOWN: u32 = 3;
const STACK: usize = 256 << 10;

/// Makes a command about the job of a number.
pub(crate) type About = Box<dyn Fn(&str) -> Vec<String> + Send>;

/// A job to be submitted.
pub(crate) struct Job {
    /// The scheduler's name.
    pub(crate) scheduler: &'static str,
    pub(crate) workers: u32,
    /// Takes the script on its standard input.
    pub(crate) submit: Vec<String>,
    pub(crate) script: String,
    /// Finds the job's number in what `submit` prints.
    pub(crate) number: fn(&str) -> Option<String>,
    /// The command that ends the job of a number.
    pub(crate) cancel: About,
    /// The command that tells how it is; fails or prints nothing if there is none.
    pub(crate) state: About,
    /// What it prints, in words.
    pub(crate) describe: fn(&str) -> String,
    /// For a job for each worker: which of them the scheduler still has, in the same lines.
    pub(crate) ranks: Option<fn(&str) -> Vec<u32>>,
    /// So many workers are enough to go on with, unless the user says otherwise.
    pub(crate) at_least: Option<usize>,
}

fn command(words: &[String]) -> Command {
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    command
}

/// Submits a job and has a thread watch it. Does not wait for its workers.
pub(super) fn start(
    job: Job,
    file: TicketFile,
    log: &str,
    driver: &Address,
    given: &WorkerOptions,
    limit: Option<f64>,
) -> Result<Launched, LaunchError> {
    let running = Arc::new(Running::default());
    let launched = launch::open(&[job.workers], &[Arc::clone(&running)], limit)?;
    let launched = Launched { at_least: job.at_least, ..launched };
    let ticket = ticket(launched.number, 0, 1, None, driver, given);
    let submitted = file.write(&ticket).and_then(|()| submit(&job));
    let number = match submitted {
        Ok(number) => number,
        Err(why) => {
            launched.ids.iter().for_each(|id| launch::ended(*id, &why));
            return Ok(launched);
        }
    };
    println!("{} job {number} submitted", job.scheduler);
    match Will::new(&(job.cancel)(&number)) {
        Ok(will) => running.end_with(Box::new(move || drop(will))),
        Err(error) => eprintln!("the job will not be cancelled with this session: {error}"),
    }
    let watch = Watch { job, number, ids: launched.ids.clone(), log: log.to_owned(), _file: file };
    let thread = Builder::new().name("parcell-job".into()).stack_size(STACK);
    if let Err(error) = thread.spawn(move || watch.watch()) {
        eprintln!("the job is not watched: no thread for it: {error}");
    }
    Ok(launched)
}

fn submit(job: &Job) -> Result<String, String> {
    let program = &job.submit[0];
    let failed = |e: std::io::Error| format!("{program} does not run: {e}");
    let mut command = command(&job.submit);
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().map_err(failed)?;
    let mut input = child.stdin.take().expect("piped");
    // If it does not read it all, its complaint says why.
    let _ = input.write_all(job.script.as_bytes());
    drop(input);
    let Output { status, stdout, stderr } = child.wait_with_output().map_err(failed)?;
    let (said, complaint) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    if !status.success() {
        return Err(format!("{program} refused the job: {}{}", said.trim(), complaint.trim()));
    }
    let unknown = || format!("{program} named no job; it said `{}`", said.trim());
    (job.number)(&said).ok_or_else(unknown)
}

struct Watch {
    job: Job,
    number: String,
    ids: Vec<u32>,
    log: String,
    /// Goes when the workers are there.
    _file: TicketFile,
}

impl Watch {
    /// Tells how the job is until its workers are there or it is over.
    fn watch(self) {
        let mut told = String::new();
        // How often in a row the scheduler did not know the job of each worker.
        let mut unknown = vec![0; self.ids.len()];
        while self.ids.iter().any(|id| launch::is_awaited(*id)) {
            let state = self.state();
            let words = state.as_deref().map(self.job.describe).unwrap_or_default();
            if !words.is_empty() && words != told {
                println!("{} job {}: {words}", self.job.scheduler, self.number);
                told = words;
            }
            self.miss(state.as_deref(), &mut unknown);
            std::thread::sleep(OFTEN);
        }
        // What was written there was about the start.
        let _ = std::fs::remove_file(&self.log);
    }

    /// Gives up the workers whose jobs the scheduler has not known for long enough.
    fn miss(&self, state: Option<&str>, unknown: &mut [u32]) {
        let there = match (state, self.job.ranks) {
            (None, _) => Some(Vec::new()),
            (Some(text), Some(ranks)) => Some(ranks(text)),
            (Some(_), None) => None,
        };
        for (rank, (id, times)) in (0..).zip(self.ids.iter().zip(unknown)) {
            let missing = there.as_ref().is_some_and(|there| !there.contains(&rank));
            *times = if missing { *times + 1 } else { 0 };
            if *times == UNKNOWN && launch::is_awaited(*id) {
                launch::ended(*id, &self.why_it_ended());
            }
        }
    }

    fn state(&self) -> Option<String> {
        let output = command(&(self.job.state)(&self.number)).stdin(Stdio::null()).output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout);
        (output.status.success() && !text.trim().is_empty()).then(|| text.into_owned())
    }

    fn why_it_ended(&self) -> String {
        let log = std::fs::read_to_string(self.log.replace("%j", &self.number)).unwrap_or_default();
        let lines: Vec<&str> = log.lines().filter(|line| !line.trim().is_empty()).collect();
        let last = lines[lines.len().saturating_sub(4)..].join("; ");
        let ended = format!("{} job {} ended", self.job.scheduler, self.number);
        if last.is_empty() { ended } else { format!("{ended}: {last}") }
    }
}
