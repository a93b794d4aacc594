//! The library's end of the connection to the kernel: rich outputs, questions to the user, events.
//! In a plain program, where no kernel listens, outputs are printed as text and questions are
//! asked on the terminal.

use std::io::{self, BufRead, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, OnceLock, PoisonError};

use parcell_link::{Bundle, Event, Mark, Publication, send};

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

/// Whether a kernel listens.
pub fn connected() -> bool {
    LINK.get().is_some()
}

/// Shows a rich output, in order with everything printed before and after. Blocks while the
/// kernel is behind. Without a kernel its `text/plain` is printed.
pub fn publish(publication: Publication) {
    let Some(link) = LINK.get() else { return print_plainly(&publication) };
    let mark = link.marks.fetch_add(1, Ordering::Relaxed);
    write_mark(link, mark);
    tell(&Event::Publish { mark, publication });
}

/// Asks the user for a line; blocks until it comes. `None` where there is nobody to ask, or when
/// the cell is interrupted.
pub fn ask(prompt: &str, password: bool) -> Option<String> {
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
    let text = |bundle: &Bundle| println!("{}", bundle.get("text/plain").unwrap_or("(no text)"));
    match publication {
        Publication::Display { bundle, .. } | Publication::Result { bundle } => text(bundle),
        Publication::Update { .. } | Publication::Clear { .. } => {}
    }
}

fn ask_terminal(prompt: &str) -> Option<String> {
    print!("{prompt}");
    io::stdout().flush().ok()?;
    let mut line = String::new();
    let read = io::stdin().lock().read_line(&mut line).ok()?;
    (read > 0).then(|| line.trim_end_matches(['\n', '\r']).to_owned())
}
