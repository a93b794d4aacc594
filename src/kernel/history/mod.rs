//! The history of all sessions, kept by a thread of its own: a slow disk or a lock held by
//! another kernel delays neither cells nor other requests.

mod store;

use std::io;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use serde_json::{Value, json};

use super::request::{Request, guarded};
use crate::stage::Failure;
use crate::wire::content::HistoryRequest;
use store::Store;

/// What the thread is told, in order.
#[derive(Debug)]
enum Note {
    Input(u32, String),
    Output(u32, String),
    Asked(Box<Request>),
    Close(Sender<()>),
}

/// The thread that keeps the history.
#[derive(Debug)]
pub(super) struct Historian {
    notes: Sender<Note>,
}

/// Where the history is kept: in the file that `PARCELL_HISTORY` names, else in the user's data
/// directory. `None` where there is no such directory.
pub(super) fn file() -> Option<PathBuf> {
    let named = std::env::var_os("PARCELL_HISTORY").map(PathBuf::from);
    let usual = || directories::ProjectDirs::from("", "", "parcell");
    named.or_else(|| Some(usual()?.data_dir().join("history.sqlite")))
}

impl Historian {
    /// Starts the thread; without `file`, or where it cannot be used, the history is forgotten at
    /// the end.
    pub(super) fn start(file: Option<PathBuf>) -> io::Result<Historian> {
        let (notes, queue) = unbounded();
        let keep = move || keep(&Store::open(file.as_deref()), &queue);
        thread::Builder::new().name("history".to_owned()).spawn(keep)?;
        Ok(Historian { notes })
    }

    /// Records the source of a cell.
    pub(super) fn record_input(&self, line: u32, source: &str) {
        self.note(Note::Input(line, source.to_owned()));
    }

    /// Records what a cell resulted in.
    pub(super) fn record_output(&self, line: u32, output: &str) {
        self.note(Note::Output(line, output.to_owned()));
    }

    /// Hands a request over.
    pub(super) fn hand(&self, request: Request) {
        self.note(Note::Asked(Box::new(request)));
    }

    /// Waits until all is written, at most for `limit`.
    pub(super) fn close(&self, limit: Duration) {
        let (done, when_done) = bounded(1);
        self.note(Note::Close(done));
        let _ = when_done.recv_timeout(limit);
    }

    fn note(&self, note: Note) {
        // Were the thread gone, a dropped request would say so itself.
        let _ = self.notes.send(note);
    }
}

fn keep(store: &Store, queue: &Receiver<Note>) {
    for note in queue {
        match note {
            Note::Input(line, source) => store.record_input(line, &source),
            Note::Output(line, output) => store.record_output(line, &output),
            Note::Asked(request) => {
                let result = guarded(|| answer(store, &request));
                request.conclude(result);
            }
            Note::Close(done) => return drop(done),
        }
    }
}

fn answer(store: &Store, request: &Request) -> Result<Value, Failure> {
    let asked: HistoryRequest = request.content()?;
    let entries = store.find(&asked.access).map_err(|error| {
        Failure::new("HistoryError", format!("the history cannot be read: {error}"))
    })?;
    let shown: Vec<Value> = entries.iter().map(|entry| entry.shown(asked.output)).collect();
    Ok(json!({"history": shown}))
}
