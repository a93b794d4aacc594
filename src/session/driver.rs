//! The driver as the kernel sees it: a child process with three channels, orders and events on a
//! socket, text on two pipes. When it dies, the reason is told.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use crossbeam_channel::{Receiver, Sender, TryRecvError, unbounded};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use parcell_link::{
    CONTROL_FD, Code, Command as Builtin, Event, MARK_SECRET, Mark, Order, Outcome, Place, Threads,
    Where, Worker, receive, send,
};

use super::remote::Surroundings;
use super::routing::{Routing, follow};
use super::sys;
use crate::engine::Module;
use crate::stage::{Stage, Stream};

/// What a driver is started with.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    pub(super) program: PathBuf,
    pub(super) directory: PathBuf,
    pub(super) environment: Vec<(String, Option<String>)>,
    /// Files to remove if the kernel is gone without a word.
    pub(super) clean_up: Vec<PathBuf>,
    /// The stack's and other limits follow the kernel's; these are the thread pools, if chosen.
    pub(super) threads: Option<Threads>,
}

/// The variable with which cells and their shell commands find `parcell`, behind all else that they
/// find: the program that runs is often in no folder of `PATH`.
pub(super) fn path_to_this_program() -> Option<(String, Option<String>)> {
    let program = std::env::current_exe().ok()?;
    let folder = program.parent()?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    if folders.iter().any(|own| own.join("parcell").is_file()) {
        return None;
    }
    folders.push(folder.to_owned());
    let longer = std::env::join_paths(folders).ok()?.into_string().ok()?;
    Some(("PATH".to_owned(), Some(longer)))
}

impl Setting {
    /// The kernel's own environment with the session's changes, sorted by name.
    pub(super) fn full_environment(&self) -> BTreeMap<String, String> {
        let text = |s: OsString| s.to_string_lossy().into_owned();
        let mut all: BTreeMap<String, String> =
            std::env::vars_os().map(|(n, v)| (text(n), text(v))).collect();
        for (name, value) in &self.environment {
            match value {
                Some(value) => all.insert(name.clone(), value.clone()),
                None => all.remove(name),
            };
        }
        all
    }

    /// What completion knows of the place.
    pub(super) fn surroundings(&self) -> Surroundings {
        let environment = self.full_environment().into_keys().collect();
        Surroundings { directory: Some(self.directory.clone()), environment }
    }
}

/// A running driver.
pub(super) struct Driver {
    child: Child,
    control: UnixStream,
    events: Receiver<Event>,
    routing: Arc<Routing>,
    fleet: Fleet,
}

/// The workers of one driver. Cheap to clone; all clones are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Fleet(Arc<Mutex<Vec<Worker>>>);

impl Fleet {
    fn lock(&self) -> MutexGuard<'_, Vec<Worker>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, workers: Vec<Worker>) {
        *self.lock() = workers;
    }

    /// Their ids, ascending.
    pub(super) fn ids(&self) -> Vec<u32> {
        self.lock().iter().map(|worker| worker.id).collect()
    }

    /// The process ids of those on this machine.
    pub(super) fn processes(&self) -> Vec<u32> {
        self.lock().iter().filter_map(|worker| worker.pid).collect()
    }
}

/// To whom a run is shown.
pub(super) struct Audience<'a> {
    pub(super) stage: &'a dyn Stage,
    /// Whether a person watches.
    pub(super) watched: bool,
}

/// How an order ended.
pub(super) enum Answer {
    /// The driver's event.
    Event(Event),
    /// The driver is gone; why.
    Gone(String),
}

impl Driver {
    /// Starts a driver and waits until it takes orders.
    pub(super) fn start(setting: &Setting, stage: Arc<dyn Stage>) -> io::Result<Driver> {
        let (ours, theirs) = UnixStream::pair()?;
        let secret = uuid::Uuid::new_v4().simple().to_string();
        let mut command = command(setting, &theirs, &secret);
        let mut child = command
            .spawn()
            .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", setting.program.display())))?;
        drop(theirs);
        let routing = Routing::new(stage);
        let mark = Arc::new(Mark::new(&secret));
        let stdout = child.stdout.take().expect("piped");
        let stderr = child.stderr.take().expect("piped");
        let (m, r) = (Arc::clone(&mark), Arc::clone(&routing));
        thread::spawn(move || follow(Stream::Stdout, stdout, &m, &r));
        let r = Arc::clone(&routing);
        thread::spawn(move || follow(Stream::Stderr, stderr, &mark, &r));
        let (to_session, events) = unbounded();
        let (r, socket) = (Arc::clone(&routing), ours.try_clone()?);
        let fleet = Fleet::default();
        let f = fleet.clone();
        thread::spawn(move || listen(socket, &r, &f, &to_session));
        let mut driver = Driver { child, control: ours, events, routing, fleet };
        driver.greet(setting)?;
        Ok(driver)
    }

    fn greet(&mut self, setting: &Setting) -> io::Result<()> {
        match self.wait() {
            Answer::Event(Event::Ready { .. }) => {}
            Answer::Event(other) => return Err(io::Error::other(format!("unexpected {other:?}"))),
            Answer::Gone(why) => {
                let said = self.routing.stderr_tail();
                return Err(io::Error::other(format!("{why} {said}")));
            }
        }
        let paths = setting.clean_up.iter().map(|p| p.display().to_string()).collect();
        send(&self.control, &Order::CleanUp { paths })?;
        if let Some(threads) = setting.threads {
            self.set_threads(Some(threads)).map_err(io::Error::other)?;
        }
        Ok(())
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its workers.
    pub(super) fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// From now on outputs go to this stage.
    pub(super) fn redirect(&self, stage: Arc<dyn Stage>) {
        self.routing.redirect(stage);
    }

    /// From now on outputs go to this stage, and those that belong to this run for ever.
    pub(super) fn begin(&self, run: u64, stage: Arc<dyn Stage>) {
        self.routing.begin(run, stage);
    }

    /// Late outputs of earlier runs go to the present stage from now on.
    pub(super) fn forget_runs(&self) {
        self.routing.forget_runs();
    }

    /// Runs a module; answers the cell's questions from the stage. All output has been shown when
    /// this returns.
    pub(super) fn run(
        &mut self,
        cell: u64,
        module: &Module,
        on: &Where,
        audience: Audience<'_>,
    ) -> Ran {
        let (code, on, watched) = (code(module), on.clone(), audience.watched);
        self.carry_out(&Order::Run { cell, code, on, watched }, cell, audience.stage)
    }

    /// Does what a magic asks for, as [`Driver::run`] runs a module.
    pub(super) fn call(&mut self, cell: u64, command: Builtin, audience: Audience<'_>) -> Ran {
        let watched = audience.watched;
        self.carry_out(&Order::Call { cell, command, watched }, cell, audience.stage)
    }

    fn carry_out(&mut self, order: &Order, cell: u64, stage: &dyn Stage) -> Ran {
        // If the driver is gone, the wait below finds out and says why.
        let _ = send(&self.control, order);
        loop {
            match self.wait() {
                Answer::Event(Event::Done { cell: done, mark, outcome, nanoseconds })
                    if done == cell =>
                {
                    self.routing.wait_until_closed(mark);
                    return Ran::Ended { outcome, nanoseconds };
                }
                Answer::Event(Event::Input { prompt, password }) => {
                    let text = stage.ask(&prompt, password);
                    let _ = send(&self.control, &Order::Input { text });
                }
                Answer::Event(_) => {}
                Answer::Gone(why) => return Ran::Died(why),
            }
        }
    }

    /// Changes the thread pools (or only asks); how they are now.
    pub(super) fn set_threads(&mut self, wanted: Option<Threads>) -> Result<Threads, String> {
        let _ = send(&self.control, &Order::Threads { wanted });
        match self.wait() {
            Answer::Event(Event::Threads { threads, problem: None }) => Ok(threads),
            Answer::Event(Event::Threads { problem: Some(problem), .. }) => Err(problem),
            Answer::Event(other) => Err(format!("unexpected answer {other:?}")),
            Answer::Gone(why) => Err(why),
        }
    }

    /// Changes directory and environment.
    pub(super) fn place(
        &mut self,
        directory: Option<String>,
        environment: Vec<(String, Option<String>)>,
    ) -> Result<PathBuf, String> {
        let _ = send(&self.control, &Order::Place { directory, environment });
        match self.wait() {
            Answer::Event(Event::Placed { directory }) => directory.map(PathBuf::from),
            Answer::Event(other) => Err(format!("unexpected answer {other:?}")),
            Answer::Gone(why) => Err(why),
        }
    }

    /// Drops variables where they are; what they print has been shown when this returns.
    pub(super) fn forget(&mut self, dropped: Vec<(String, Place)>) {
        let mut by_place: Vec<(Place, Vec<String>)> = Vec::new();
        for (name, place) in dropped {
            match by_place.iter_mut().find(|(other, _)| *other == place) {
                Some((_, names)) => names.push(name),
                None => by_place.push((place, vec![name])),
            }
        }
        for (on, names) in by_place {
            self.forget_on(names, on);
        }
    }

    fn forget_on(&mut self, names: Vec<String>, on: Place) {
        if send(&self.control, &Order::Forget { names, on }).is_err() {
            return;
        }
        // A driver that is gone has no variables to forget, and the next cell says why it is.
        if let Ok(Event::Forgotten { mark }) = self.events.recv() {
            self.routing.wait_until_closed(mark);
        }
    }

    /// Why the driver is gone, if it is.
    pub(super) fn died(&mut self) -> Option<String> {
        loop {
            match self.events.try_recv() {
                Ok(_) => {}
                Err(TryRecvError::Empty) => return None,
                Err(TryRecvError::Disconnected) => return Some(self.bury()),
            }
        }
    }

    fn wait(&mut self) -> Answer {
        match self.events.recv() {
            Ok(event) => Answer::Event(event),
            Err(_) => Answer::Gone(self.bury()),
        }
    }

    /// The control socket closed: ends what the driver leaves behind and says how it ended.
    fn bury(&mut self) -> String {
        let status = self.child.wait();
        end_group(self.pid());
        self.routing.wait_until_closed(u64::MAX);
        match status {
            Ok(status) => cause(status, &self.routing.stderr_tail()),
            Err(e) => format!("the driver is gone ({e})."),
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        end_group(self.pid());
        let _ = self.child.wait();
    }
}

/// What a driver must know of a module.
fn code(module: &Module) -> Code {
    let path = |p: &PathBuf| p.display().to_string();
    let number = |n: usize| u64::try_from(n).expect("there are not so many modules");
    Code {
        number: number(module.number),
        file: path(&module.file),
        symbol: module.symbol.clone(),
        needs: module.needs.iter().copied().map(number).collect(),
        libraries: module.libraries.iter().map(path).collect(),
    }
}

/// How a cell's module ended.
pub(super) enum Ran {
    Ended { outcome: Outcome, nanoseconds: u64 },
    Died(String),
}

/// Asks the driver's cell to stop.
pub(super) fn interrupt(pid: u32) {
    // A process that is gone needs no interrupt.
    let _ = kill(as_pid(pid), Signal::SIGINT);
}

/// Ends a process group at once.
pub(super) fn end_group(pid: u32) {
    let _ = killpg(as_pid(pid), Signal::SIGKILL);
}

/// Sends SIGINT to a whole process group.
pub(super) fn interrupt_group(pid: u32) {
    let _ = killpg(as_pid(pid), Signal::SIGINT);
}

fn as_pid(pid: u32) -> Pid {
    Pid::from_raw(i32::try_from(pid).expect("process ids fit in 31 bits"))
}

fn command(setting: &Setting, control: &UnixStream, secret: &str) -> Command {
    let mut command = Command::new(&setting.program);
    command
        .current_dir(&setting.directory)
        .env(CONTROL_FD, control.as_raw_fd().to_string())
        .env(MARK_SECRET, secret)
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    for (name, value) in &setting.environment {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    sys::inherit(&mut command, control);
    command
}

/// Reads events until the socket closes: displays go to their marks, the rest to the session.
fn listen(socket: UnixStream, routing: &Routing, fleet: &Fleet, session: &Sender<Event>) {
    let mut socket = io::BufReader::new(socket);
    while let Ok(Some(event)) = receive::<Event>(&mut socket) {
        let delivered = match event {
            Event::Publish { mark, cell, publication } => {
                routing.place(mark, Some((cell, publication)));
                continue;
            }
            Event::Workers { workers } => {
                fleet.set(workers);
                continue;
            }
            Event::Done { mark, .. } | Event::Forgotten { mark } => {
                routing.place(mark, None);
                session.send(event)
            }
            other => session.send(other),
        };
        if delivered.is_err() {
            break;
        }
    }
    routing.driver_is_gone();
}

/// Why a driver ended, in words.
fn cause(status: ExitStatus, stderr: &str) -> String {
    if let Some(code) = status.code() {
        return format!("the cell ended its process with exit status {code}.");
    }
    let Some(number) = status.signal() else { return format!("the driver ended ({status}).") };
    let signal = Signal::try_from(number).map_or("a signal", Signal::as_str);
    let reason = match number {
        _ if stderr.contains("has overflowed its stack") => "a stack overflow (endless recursion?)",
        _ if stderr.contains("memory allocation of") => "memory allocation failed",
        n if n == Signal::SIGSEGV as i32 => {
            "a segmentation fault: the cell touched memory that is not its own"
        }
        n if n == Signal::SIGABRT as i32 => "it called abort",
        n if n == Signal::SIGKILL as i32 => "it was killed, perhaps for lack of memory",
        n if n == Signal::SIGILL as i32 => "an illegal instruction",
        n if n == Signal::SIGBUS as i32 => "a bus error: mapped memory that is not there",
        n if n == Signal::SIGFPE as i32 => "an arithmetic fault",
        _ => "it was ended from outside",
    };
    format!("the cell's process died of {signal}: {reason}.")
}
