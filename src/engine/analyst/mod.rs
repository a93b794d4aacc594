//! The analyst: completes and explains source text. rust-analyzer, by way of evcxr, runs in a
//! process of its own, started by the first question: it takes half a gigabyte, may be slow, and
//! must never stand in the way of a cell.

mod question;
pub mod server;

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, unbounded};
use parcell_link::Bundle;

use super::{Inspection, Outline};
use crate::cells::Library;
use crate::stage::{Completion, Completions};
use question::{Answer, Question};

/// How long a question waits for its session to be ready.
const START: Duration = Duration::from_secs(3);
/// The first answer includes reading the standard library.
const FIRST: Duration = Duration::from_secs(20);
/// Later ones come in well under a second; more would keep the user from typing.
const LATER: Duration = Duration::from_secs(4);

/// Answers questions about source text. Cheap to clone; all clones share one process.
#[derive(Debug, Clone, Default)]
pub struct Analyst {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    known: Mutex<Option<(Arc<Outline>, Library)>>,
    /// Something is known for the first time.
    ready: Condvar,
    process: Mutex<Option<Process>>,
    /// Where the process may write: inside the session's folder, which others clean up.
    folder: Mutex<Option<PathBuf>>,
    /// A warm-up is wanted and has not begun.
    wanted: AtomicBool,
}

#[derive(Debug)]
struct Process {
    child: Child,
    questions: ChildStdin,
    answers: Receiver<Answer>,
    asked: u64,
}

impl Analyst {
    /// Takes over what the session defines now.
    pub fn know(&self, outline: Arc<Outline>, library: &Library) {
        *lock(&self.shared.known) = Some((outline, library.clone()));
        self.shared.ready.notify_all();
        self.warm_up_if_due();
    }

    /// Starts the process as soon as the session is ready and has it read the standard library, so
    /// that the first question is answered at once. `PARCELL_ANALYST=lazy` leaves the start to the
    /// first question, where memory is dear. Never blocks.
    pub fn warm_up(&self) {
        let lazy = std::env::var("PARCELL_ANALYST").is_ok_and(|v| v == "lazy");
        self.shared.wanted.store(!lazy, Ordering::SeqCst);
        self.warm_up_if_due();
    }

    fn warm_up_if_due(&self) {
        let ready = lock(&self.shared.known).is_some() && lock(&self.shared.folder).is_some();
        if ready && self.shared.wanted.swap(false, Ordering::SeqCst) {
            let analyst = self.clone();
            std::thread::spawn(move || analyst.ask("String::", "String::".len(), false));
        }
    }

    /// Names of the session's variables.
    pub fn variables(&self) -> Vec<String> {
        let known = lock(&self.shared.known);
        let variables = known.iter().flat_map(|(outline, _)| &outline.variables);
        variables.map(|v| v.name.clone()).collect()
    }

    /// Gives the process a folder to write into; without one it is not started.
    pub fn work_in(&self, folder: &Path) {
        *lock(&self.shared.folder) = Some(folder.join("analyst"));
    }

    /// Ends the process; a later question starts it again.
    pub fn close(&self) {
        // Whoever is waiting for an answer holds the lock and notices the end of the process.
        if let Ok(mut process) = self.shared.process.try_lock() {
            process.take();
        }
    }

    /// Completions at `cursor` (code points): rust-analyzer's, or, where it has none or is not
    /// ready in time, names of the session and keywords. Blocks until then.
    pub fn complete(&self, code: &str, cursor: usize) -> Completions {
        let cursor = byte_offset(code, cursor);
        let word = word_before(code, cursor);
        let found = self.ask(code, cursor, false).and_then(|(answer, before)| {
            let start = answer.start.checked_sub(before)?;
            let end = answer.end.checked_sub(before)?;
            (!answer.matches.is_empty() && code.is_char_boundary(start)).then_some(Completions {
                start: code[..start].chars().count(),
                end: code.get(..end)?.chars().count(),
                matches: answer.matches,
            })
        });
        found.unwrap_or_else(|| Completions {
            start: code[..cursor - word.len()].chars().count(),
            end: code[..cursor].chars().count(),
            matches: self.names(code, cursor, word),
        })
    }

    /// Documentation of the name at `cursor` (code points). Blocks as [`Analyst::complete`] does.
    pub fn inspect(&self, code: &str, cursor: usize, detail: u8) -> Inspection {
        let cursor = byte_offset(code, cursor);
        // Behind `println!` or `push(` the name before is meant.
        let behind = code[..cursor].ends_with(['!', '(']);
        let cursor = cursor - usize::from(behind);
        let end =
            cursor + code[cursor..].find(|c: char| !is_word(c)).unwrap_or(code.len() - cursor);
        let name = word_before(code, end);
        if name.is_empty() {
            return None;
        }
        let hover = self.ask(code, end, true).and_then(|(answer, _)| answer.documentation);
        let own = self.describe(name, detail);
        match (hover, own) {
            (Some((plain, html)), own) => {
                let source = own.filter(|_| detail > 0);
                let more = source.as_ref().and_then(|o| o.get("text/plain"));
                let plain = more.map_or(plain.clone(), |source| format!("{plain}\n\n{source}"));
                Some(Bundle::text(plain).with("text/html", html))
            }
            (None, own) => own,
        }
    }

    /// What the session itself knows of a name: a variable's type, an item's source.
    fn describe(&self, name: &str, detail: u8) -> Inspection {
        let known = lock(&self.shared.known);
        let (outline, _) = known.as_ref()?;
        if let Some(v) = outline.variables.iter().find(|v| v.name == name) {
            let mutability = if v.mutable { "mut " } else { "" };
            return Some(rust(&format!("let {mutability}{name}: {}", v.type_name)));
        }
        let (_, kind) = outline.names.iter().find(|(n, _)| n == name)?;
        let source = outline.sources.iter().find(|(n, _)| n == name).map(|(_, s)| s.as_str());
        match source {
            Some(source) if detail > 0 => Some(rust(source)),
            Some(source) => Some(rust(source.lines().next().unwrap_or(source))),
            None => Some(rust(&format!("{kind} {name}"))),
        }
    }

    fn names(&self, code: &str, cursor: usize, word: &str) -> Vec<Completion> {
        let before = &code[..cursor - word.len()];
        if before.ends_with('.') || before.ends_with("::") {
            return Vec::new();
        }
        let known = lock(&self.shared.known);
        let mut all: Vec<(String, &str)> = Vec::new();
        if let Some((outline, library)) = known.as_ref() {
            all.extend(outline.variables.iter().map(|v| (v.name.clone(), "instance")));
            all.extend(outline.names.iter().cloned());
            all.extend(library.crates.iter().map(|(name, _)| (name.clone(), "module")));
        }
        all.extend(KEYWORDS.iter().map(|k| ((*k).to_owned(), "keyword")));
        let offer = |(text, kind): (String, &str)| {
            let fits = text.starts_with(word) && text != word;
            fits.then(|| Completion { text, kind: kind.to_owned(), signature: None })
        };
        all.into_iter().filter_map(offer).collect()
    }

    /// Asks the process; the answer, and how many bytes stand before the cell in its source.
    fn ask(&self, code: &str, cursor: usize, inspect: bool) -> Option<(Answer, usize)> {
        let (before, library) = {
            // A session that has just begun is ready in a moment.
            let known = lock(&self.shared.known);
            let known = self.shared.ready.wait_timeout_while(known, START, |known| known.is_none());
            let (known, _) = known.unwrap_or_else(PoisonError::into_inner);
            let (outline, library) = known.as_ref()?;
            (preamble(outline, library), library.clone())
        };
        let mut process = lock(&self.shared.process);
        if process.is_none() {
            let folder = lock(&self.shared.folder).clone()?;
            *process = Process::start(&folder, &library).ok();
        }
        let first = process.as_ref()?.asked == 0;
        let source = format!("{before}{code}");
        let position = before.len() + cursor;
        let patience = if first { FIRST } else { LATER };
        match process.as_mut()?.ask(source, position, inspect, patience) {
            Ok(answer) => answer.map(|answer| (answer, before.len())),
            Err(Gone) => {
                process.take();
                None
            }
        }
    }
}

/// The process has ended.
struct Gone;

impl Process {
    fn start(folder: &Path, library: &Library) -> std::io::Result<Process> {
        // Not with its parents: a session that has ended must not get its folder back.
        std::fs::create_dir(folder).or_else(|e| if folder.is_dir() { Ok(()) } else { Err(e) })?;
        let mut command = Command::new(std::env::current_exe()?);
        command
            .arg("analyst")
            .env("EVCXR_TMPDIR", folder)
            .env("EVCXR_CONFIG_DIR", folder)
            .env("PARCELL_ANALYST_LOCK", library.source.with_file_name("cells").join("Cargo.lock"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command.spawn()?;
        let questions = child.stdin.take().expect("piped");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let (send, answers) = unbounded();
        std::thread::spawn(move || {
            let answers = stdout.lines().map_while(Result::ok);
            for answer in answers.filter_map(|line| serde_json::from_str(&line).ok()) {
                if send.send(answer).is_err() {
                    return;
                }
            }
        });
        Ok(Process { child, questions, answers, asked: 0 })
    }

    /// Sends a question and waits for its answer; `None` if it does not come in time.
    fn ask(
        &mut self,
        source: String,
        position: usize,
        inspect: bool,
        patience: Duration,
    ) -> Result<Option<Answer>, Gone> {
        self.asked += 1;
        let question = Question { id: self.asked, source, position, inspect };
        let line = serde_json::to_string(&question).map_err(|_| Gone)?;
        writeln!(self.questions, "{line}").map_err(|_| Gone)?;
        let deadline = std::time::Instant::now() + patience;
        loop {
            match self.answers.recv_deadline(deadline) {
                Ok(answer) if answer.id == self.asked => return Ok(Some(answer)),
                // An answer that came too late for its question.
                Ok(_) => {}
                Err(crossbeam_channel::RecvTimeoutError::Timeout) => return Ok(None),
                Err(crossbeam_channel::RecvTimeoutError::Disconnected) => return Err(Gone),
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A process that has ended already needs no end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What stands before the cell: dependencies, prelude, items, variables.
fn preamble(outline: &Outline, library: &Library) -> String {
    let mut text = String::new();
    let source = library.source.join("crates/parcell");
    text += &format!(":dep parcell = {{ path = {:?} }}\n", source.display().to_string());
    for line in &outline.dependencies {
        text += &format!(":dep {line}\n");
    }
    text += "use parcell::prelude::*;\nuse parcell::{ndarray, num_complex, rand, rayon, serde, tokio};\n";
    text += &outline.items;
    text.push('\n');
    for v in &outline.variables {
        let mutability = if v.mutable { "mut " } else { "" };
        text += &format!(
            "let {mutability}{}: {} = unsafe {{ ::core::mem::zeroed() }};\n",
            v.name, v.type_name
        );
    }
    text
}

fn rust(source: &str) -> Bundle {
    Bundle::text(source).with("text/markdown", format!("```rust\n{source}\n```"))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn byte_offset(code: &str, cursor: usize) -> usize {
    code.char_indices().nth(cursor).map_or(code.len(), |(at, _)| at)
}

fn word_before(code: &str, end: usize) -> &str {
    let start = code[..end].rfind(|c: char| !is_word(c));
    &code[start.map_or(0, |at| at + code[at..].chars().next().map_or(1, char::len_utf8))..end]
}

const KEYWORDS: [&str; 35] = [
    "as", "async", "await", "break", "const", "continue", "crate", "dyn", "else", "enum", "extern",
    "false", "fn", "for", "if", "impl", "in", "let", "loop", "match", "mod", "move", "mut", "pub",
    "ref", "return", "self", "static", "struct", "trait", "true", "type", "unsafe", "use", "while",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_count_code_points_and_words_end_at_the_cursor() {
        let code = "é + naïve.len";
        assert_eq!(byte_offset(code, 4), 5);
        assert_eq!(word_before(code, byte_offset(code, 9)), "naïve");
        assert_eq!(word_before(code, code.len()), "len");
        assert_eq!(word_before("a + ", 4), "");
    }

    #[test]
    fn without_a_session_keywords_are_offered() {
        let found = Analyst::default().complete("let x = tru", 11);
        let texts: Vec<&str> = found.matches.iter().map(|m| m.text.as_str()).collect();
        assert_eq!((texts, found.start, found.end), (vec!["true"], 8, 11));
        assert!(Analyst::default().complete("x.le", 4).matches.is_empty());
    }
}
