//! The keeper of the analyst's process: a thread that starts it when it is needed, has it read the
//! session's crates, passes on one question after the other, and starts it again if it ends.
//! Whoever asks waits as long as it likes and goes away; nothing else ever waits for the process.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};

use super::known::{Known, Running};
use super::question::{Answer, Ask, Question};
use super::source;

/// Reading everything may take so long on a slow machine.
const LOADING: Duration = Duration::from_secs(180);
/// A process that needs more for one answer is taken for stuck.
const STUCK: Duration = Duration::from_secs(20);
/// After this time a second failure is followed by another try; doubled with each failure.
const PAUSE: Duration = Duration::from_secs(1);
/// At most so many times.
const DOUBLINGS: u32 = 8;

/// What keeper and askers share.
#[derive(Debug, Default)]
pub(super) struct Desk {
    pub(super) known: Mutex<Option<Arc<Known>>>,
    pub(super) running: Mutex<Option<Arc<Running>>>,
    /// Where the process may write: inside the session's folder, which others clean up.
    pub(super) folder: Mutex<Option<PathBuf>>,
    child: Mutex<Option<Child>>,
    closed: AtomicBool,
    /// The process has read everything and answers at once.
    ready: AtomicBool,
}

/// What the keeper is to do.
#[derive(Debug)]
enum Errand {
    /// See that the process runs and has read the session's crates.
    Prepare,
    Ask(Inquiry),
}

/// A question about a cell; answered, if it is, before `until`.
#[derive(Debug)]
struct Inquiry {
    code: String,
    position: usize,
    inspect: bool,
    until: Instant,
    reply: Sender<Answer>,
}

/// The way to the keeper.
#[derive(Debug)]
pub(super) struct Keeper {
    errands: Sender<Errand>,
}

impl Keeper {
    /// Starts the keeper; the process starts with the first errand.
    pub(super) fn start(desk: &Arc<Desk>) -> Keeper {
        let (errands, inbox) = unbounded();
        let desk = Arc::clone(desk);
        thread::spawn(move || Work { desk, process: None, failures: 0, rest: None }.run(&inbox));
        Keeper { errands }
    }

    /// Has the process ready soon. Never blocks.
    pub(super) fn prepare(&self) {
        let _ = self.errands.send(Errand::Prepare);
    }

    /// Asks about a position in bytes and waits for the answer until a moment.
    pub(super) fn ask(
        &self,
        code: &str,
        position: usize,
        inspect: bool,
        until: Instant,
    ) -> Option<Answer> {
        let (reply, answer) = bounded(1);
        let inquiry = Inquiry { code: code.to_owned(), position, inspect, until, reply };
        self.errands.send(Errand::Ask(inquiry)).ok()?;
        answer.recv_deadline(until).ok()
    }
}

impl Desk {
    /// Whether questions are answered without reading crates first.
    pub(super) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::SeqCst)
    }

    pub(super) fn known(&self) -> Option<Arc<Known>> {
        lock(&self.known).clone()
    }

    pub(super) fn running(&self) -> Option<Arc<Running>> {
        lock(&self.running).clone()
    }

    /// Ends the process for good, whatever the keeper does just now.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.end_process();
    }

    fn end_process(&self) {
        self.ready.store(false, Ordering::SeqCst);
        if let Some(mut child) = lock(&self.child).take() {
            // One that has ended already needs no end.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The process has ended, or is taken for stuck.
struct Gone;

/// The process as its keeper sees it.
struct Process {
    questions: ChildStdin,
    answers: Receiver<Answer>,
    asked: u64,
    /// The manifest that it has read.
    loaded: Option<PathBuf>,
}

/// The keeper's own state.
struct Work {
    desk: Arc<Desk>,
    process: Option<Process>,
    /// Starts and questions that failed, one after the other.
    failures: u32,
    /// No start is tried before.
    rest: Option<Instant>,
}

impl Work {
    fn run(mut self, inbox: &Receiver<Errand>) {
        for errand in inbox {
            match errand {
                Errand::Prepare => {
                    self.prepare();
                }
                // Of a process that dies meanwhile, the next one is asked again.
                Errand::Ask(inquiry) => {
                    while Instant::now() < inquiry.until && !self.settle(&inquiry) {}
                }
            }
        }
        self.desk.end_process();
    }

    /// Answers if that can be done; false if it is worth another try.
    fn settle(&mut self, inquiry: &Inquiry) -> bool {
        let Some(known) = self.prepare() else { return self.rest.is_some() || !self.can_start() };
        if Instant::now() >= inquiry.until {
            return true;
        }
        let running = self.desk.running();
        let running = running.as_ref().map(|running| running.code.as_str());
        let (source, before) = source::source(&known, running, &inquiry.code);
        let position = before + inquiry.position;
        let ask = match inquiry.inspect {
            true => Ask::Inspect { source, position },
            false => Ask::Complete { source, position },
        };
        let answer = self.process.as_mut().ok_or(Gone).and_then(|p| p.ask(ask, STUCK));
        match answer {
            Ok(answer) => {
                (self.failures, self.rest) = (0, None);
                // Whoever asked may be gone.
                let _ = inquiry.reply.send(answer);
                true
            }
            Err(Gone) => {
                self.fail();
                false
            }
        }
    }

    /// Whether the session is there and wants a process.
    fn can_start(&self) -> bool {
        let there = lock(&self.desk.known).is_some() && lock(&self.desk.folder).is_some();
        there && !self.desk.closed.load(Ordering::SeqCst)
    }

    /// Sees that the process runs and has read what the session uses now; `None` if it does not.
    fn prepare(&mut self) -> Option<Arc<Known>> {
        let known = self.desk.known().filter(|_| self.can_start())?;
        let manifest = source::manifest(&known);
        if self.has_ended() {
            self.drop_process();
        }
        if self.rest.is_some_and(|rest| Instant::now() < rest) {
            return None;
        }
        if self.process.is_none() {
            self.process = self.spawn();
        }
        let loaded = self.process.as_mut().is_some_and(|p| p.load(&manifest, &self.desk));
        if !loaded {
            self.fail();
        }
        loaded.then_some(known)
    }

    /// Ends the process after a failure. The first may have been an accident; then comes a pause,
    /// so that a source which rust-analyzer does not survive keeps no core busy.
    fn fail(&mut self) {
        let pause = PAUSE * 2u32.pow(self.failures.min(DOUBLINGS));
        self.rest = (self.failures > 0).then(|| Instant::now() + pause);
        self.failures += 1;
        self.drop_process();
    }

    fn has_ended(&self) -> bool {
        let mut child = lock(&self.desk.child);
        child.as_mut().is_none_or(|child| child.try_wait().is_ok_and(|status| status.is_some()))
    }

    fn drop_process(&mut self) {
        self.process = None;
        self.desk.end_process();
    }

    fn spawn(&self) -> Option<Process> {
        let folder = lock(&self.desk.folder).clone()?;
        // Not with its parents: a session that has ended must not get its folder back.
        let _ = std::fs::create_dir(&folder);
        let mut command = Command::new(std::env::current_exe().ok()?);
        // cargo's own work on a lock file goes there.
        command.arg("analyst").env("TMPDIR", &folder);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        crate::session::die_with_parent(&mut command);
        let mut slot = lock(&self.desk.child);
        if self.desk.closed.load(Ordering::SeqCst) || !folder.is_dir() {
            return None;
        }
        let mut child = command.spawn().ok()?;
        let (questions, stdout) = (child.stdin.take()?, child.stdout.take()?);
        *slot = Some(child);
        let (send, answers) = unbounded();
        thread::spawn(move || {
            let lines = BufReader::new(stdout).lines().map_while(Result::ok);
            for answer in lines.filter_map(|line| serde_json::from_str(&line).ok()) {
                if send.send(answer).is_err() {
                    return;
                }
            }
        });
        Some(Process { questions, answers, asked: 0, loaded: None })
    }
}

impl Process {
    /// Has it read the package of a manifest, if it has not.
    fn load(&mut self, manifest: &Path, desk: &Desk) -> bool {
        if self.loaded.as_deref() == Some(manifest) {
            return true;
        }
        desk.ready.store(false, Ordering::SeqCst);
        let ask = Ask::Load { manifest: manifest.to_owned() };
        let Ok(answer) = self.ask(ask, LOADING) else { return false };
        if let Some(why) = &answer.failed {
            tracing::warn!("no completion by rust-analyzer: {why}");
            return false;
        }
        self.loaded = Some(manifest.to_owned());
        desk.ready.store(true, Ordering::SeqCst);
        true
    }

    /// Sends a question and waits for its answer.
    fn ask(&mut self, ask: Ask, patience: Duration) -> Result<Answer, Gone> {
        self.asked += 1;
        let question = Question { id: self.asked, ask };
        let line = serde_json::to_string(&question).map_err(|_| Gone)?;
        writeln!(self.questions, "{line}").map_err(|_| Gone)?;
        let deadline = Instant::now() + patience;
        loop {
            match self.answers.recv_deadline(deadline) {
                Ok(answer) if answer.id == self.asked => return Ok(answer),
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    return Err(Gone);
                }
            }
        }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
