//! The library's end of the connection to the kernel: rich outputs, questions to the user, events.
//! In a plain program, where no kernel listens, outputs are printed as text and questions are
//! asked on the terminal.

use std::io::{self, BufRead, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, OnceLock, PoisonError};

use parcell_link::{Bundle, Event, Mark, Publication, WorkerOutput, send};

use crate::display::saved;

struct Link {
    control: Mutex<UnixStream>,
    mark: Mark,
    marks: AtomicU64,
    answers: Mutex<Receiver<Option<String>>>,
    answer: Sender<Option<String>>,
}

static LINK: OnceLock<Link> = OnceLock::new();

/// Connects the process to its kernel. Called once by the driver, before any cell runs.
pub(crate) fn connect(control: UnixStream, secret: &str) {
    let (answer, answers) = channel();
    let link = Link {
        control: Mutex::new(control),
        mark: Mark::new(secret),
        marks: AtomicU64::new(1),
        answers: Mutex::new(answers),
        answer,
    };
    LINK.set(link).unwrap_or_else(|_| unreachable!("a driver connects once"));
}

/// Where a process without a kernel of its own takes what it shows.
static DIVERTED: OnceLock<fn(Publication)> = OnceLock::new();
/// The number of the run that the driver is at, or was at last.
static RUN: AtomicU64 = AtomicU64::new(0);
static WATCHED: AtomicBool = AtomicBool::new(false);

/// Makes what this process shows go to `to`, which takes it to the driver: it is a worker.
pub(crate) fn divert(to: fn(Publication)) {
    DIVERTED.set(to).unwrap_or_else(|_| unreachable!("a worker begins once"));
}

/// Says that the driver begins run `number`, and whether a person watches it.
pub(crate) fn begin_run(number: u64, watched: bool) {
    RUN.store(number, Ordering::Relaxed);
    WATCHED.store(watched, Ordering::Relaxed);
}

/// The number of the run that the driver is at, or was at last; 0 before the first and in a plain
/// program. Outputs of what it started are shown in its cell, see [`publish_for`].
pub fn run_number() -> u64 {
    RUN.load(Ordering::Relaxed)
}

/// Whether a person watches the present run, for whom a line may tell what runs.
pub fn watched() -> bool {
    WATCHED.load(Ordering::Relaxed)
}

/// Whether a kernel listens, to this process or to the one that it works for.
pub fn connected() -> bool {
    LINK.get().is_some() || DIVERTED.get().is_some()
}

/// Shows a rich output, in order with everything printed before and after. Blocks while the
/// kernel is behind. Without a kernel its `text/plain` is printed.
pub fn publish(publication: Publication) {
    match DIVERTED.get() {
        Some(take) => take(publication),
        None => publish_in(None, publication),
    }
}

/// Shows a rich output in the cell of run `number`, also after that has ended. Blocks while the
/// kernel is behind. Without a kernel its text is printed.
pub fn publish_for(number: u64, publication: Publication) {
    publish_in(Some(number), publication);
}

fn publish_in(cell: Option<u64>, publication: Publication) {
    let Some(link) = LINK.get() else { return print_plainly(&publication) };
    let mark = link.marks.fetch_add(1, Ordering::Relaxed);
    write_mark(link, mark);
    tell(&Event::Publish { mark, cell, publication });
}

/// Asks the user for a line; blocks until it comes. `None` where there is nobody to ask, as for
/// workers, or when the cell is interrupted.
pub fn ask(prompt: &str, password: bool) -> Option<String> {
    if DIVERTED.get().is_some() {
        return None;
    }
    let Some(link) = LINK.get() else { return ask_terminal(prompt) };
    let answers = link.answers.lock().unwrap_or_else(PoisonError::into_inner);
    tell(&Event::Input { prompt: prompt.to_owned(), password });
    let answer = answers.recv().ok().flatten();
    crate::interrupt::check();
    answer
}

/// Hands the user's answer to the cell that asked.
pub(crate) fn answer(text: Option<String>) {
    if let Some(link) = LINK.get() {
        link.answer.send(text).unwrap_or_else(|_| unreachable!("the receiver is static"));
    }
}

/// Sends an event. A kernel that is gone ends the process elsewhere (`driver`), so errors are
/// dropped here.
pub(crate) fn tell(event: &Event) {
    if let Some(link) = LINK.get() {
        let control = link.control.lock().unwrap_or_else(PoisonError::into_inner);
        send(&*control, event).unwrap_or(());
    }
}

/// Writes a new mark to both streams, after all they hold, and returns its number.
pub(crate) fn close_streams() -> u64 {
    let Some(link) = LINK.get() else { return 0 };
    let mark = link.marks.fetch_add(1, Ordering::Relaxed);
    write_mark(link, mark);
    write_fd(libc::STDERR_FILENO, &link.mark.bytes(mark));
    mark
}

/// Flushes standard output and puts a mark after it; the lock keeps other threads' lines whole.
fn write_mark(link: &Link, mark: u64) {
    let mut out = io::stdout().lock();
    out.flush().unwrap_or(());
    write_fd(libc::STDOUT_FILENO, &link.mark.bytes(mark));
}

fn write_fd(fd: i32, bytes: &[u8]) {
    // SAFETY: the pointer and length are those of a live slice; marks are far shorter than
    // PIPE_BUF, so the write is whole or (if the descriptor was closed by the cell) fails.
    while unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) } < 0 {
        if io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            return;
        }
    }
}

fn print_plainly(publication: &Publication) {
    match publication {
        Publication::Display { bundle, id } => print_bundle(bundle, id.as_deref()),
        Publication::Result { bundle } => print_bundle(bundle, None),
        Publication::Update { bundle, id } => _ = save_picture(bundle, Some(id)),
        Publication::Clear { .. } => {}
        Publication::Worker { worker, what: WorkerOutput::Text { stderr, text } } => {
            for line in text.lines() {
                let line = format!("From worker {worker}:\t{line}");
                if *stderr { eprintln!("{line}") } else { println!("{line}") }
            }
        }
        Publication::Worker { worker, what: WorkerOutput::Shown(publication) } => {
            println!("From worker {worker}:");
            print_plainly(publication);
        }
    }
}

fn print_bundle(bundle: &Bundle, id: Option<&str>) {
    let text = bundle.get("text/plain").unwrap_or("(no text)");
    match save_picture(bundle, id) {
        Some(path) => println!("{text} in {}", path.display()),
        None => println!("{text}"),
    }
}

/// Keeps a picture for those who want files. The program goes on without one that cannot be written.
fn save_picture(bundle: &Bundle, id: Option<&str>) -> Option<PathBuf> {
    let saved = saved::save(bundle, id);
    saved.inspect_err(|problem| eprintln!("parcell: {problem}")).ok().flatten()
}

fn ask_terminal(prompt: &str) -> Option<String> {
    print!("{prompt}");
    io::stdout().flush().ok()?;
    let mut line = String::new();
    let read = io::stdin().lock().read_line(&mut line).ok()?;
    (read > 0).then(|| line.trim_end_matches(['\n', '\r']).to_owned())
}
