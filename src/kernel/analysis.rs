//! Completion, inspection and completeness: answered beside a running cell. Each has a thread of
//! its own, and so has the inspection of what only rust-analyzer knows: that may take seconds, and
//! nothing waits behind it.

use std::io;
use std::thread;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, unbounded};
use parcell_link::Bundle;
use serde_json::{Map, Value, json};

use super::evaluator::Handle;
use super::request::{Request, guarded};
use super::show::parts;
use crate::stage::{Completeness, Completion, Completions, Failure};
use crate::wire::content::{CompleteRequest, InspectRequest, IsCompleteRequest};

/// A request, and when it came: what has waited is answered sooner.
type Question = (Request, Instant);

/// The threads that analyse.
#[derive(Debug)]
pub(super) struct Analyst {
    completions: Sender<Question>,
    inspections: Sender<Question>,
    others: Sender<Question>,
}

impl Analyst {
    /// Starts the threads.
    pub(super) fn start(remote: &impl Handle) -> io::Result<Analyst> {
        let searches = serve(remote, |remote, (request, asked)| {
            let found = guarded(|| search(remote, &request.content()?, asked));
            request.conclude(found);
        })?;
        let inspections = serve(remote, move |remote, (request, asked)| {
            let known = guarded(|| describe(remote, &request.content()?));
            match known {
                // Were the thread gone, the dropped request would say so itself.
                Ok(None) => drop(searches.send((request, asked))),
                known => request.conclude(known.map(|found| inspection(found.as_ref()))),
            }
        })?;
        Ok(Analyst {
            completions: serve(remote, |remote, (request, asked)| {
                let found = guarded(|| Ok(complete(remote, &request.content()?, asked)));
                request.conclude(found);
            })?,
            inspections,
            others: serve(remote, |remote, (request, _)| {
                let judged = guarded(|| Ok(is_complete(remote, &request.content()?)));
                request.conclude(judged);
            })?,
        })
    }

    /// Hands a request over.
    pub(super) fn hand(&self, request: Request) {
        let thread = match request.kind() {
            "complete_request" => &self.completions,
            "inspect_request" => &self.inspections,
            _ => &self.others,
        };
        // Were the thread gone, the dropped request would say so itself.
        let _ = thread.send((request, Instant::now()));
    }
}

/// Starts a thread that answers one question after the other.
fn serve<H: Handle>(
    remote: &H,
    answer: impl Fn(&H, Question) + Send + 'static,
) -> io::Result<Sender<Question>> {
    let (send, questions): (_, Receiver<Question>) = unbounded();
    let remote = remote.clone();
    let answer_all = move || questions.into_iter().for_each(|question| answer(&remote, question));
    thread::Builder::new().name("analyst".to_owned()).spawn(answer_all)?;
    Ok(send)
}

/// The cursor in code points; the end where the client does not say.
fn cursor(position: Option<usize>, code: &str) -> usize {
    let end = code.chars().count();
    position.map_or(end, |position| position.min(end))
}

fn complete(remote: &impl Handle, request: &CompleteRequest, asked: Instant) -> Value {
    let found = remote.complete(&request.code, cursor(request.cursor_pos, &request.code), asked);
    let typed: Vec<Value> = found.matches.iter().map(|m| typed(&found, m)).collect();
    let texts: Vec<&str> = found.matches.iter().map(|m| m.text.as_str()).collect();
    json!({
        "matches": texts,
        "cursor_start": found.start,
        "cursor_end": found.end,
        "metadata": {"_jupyter_types_experimental": typed},
    })
}

fn typed(found: &Completions, offer: &Completion) -> Value {
    json!({
        "start": found.start,
        "end": found.end,
        "text": offer.text,
        "type": offer.kind,
        "signature": offer.signature.as_deref().unwrap_or_default(),
    })
}

/// What the session knows.
fn describe(remote: &impl Handle, request: &InspectRequest) -> Result<Option<Bundle>, Failure> {
    let cursor = cursor(request.cursor_pos, &request.code);
    Ok(remote.describe(&request.code, cursor, request.detail_level))
}

/// What can be found out beyond that.
fn search(
    remote: &impl Handle,
    request: &InspectRequest,
    asked: Instant,
) -> Result<Value, Failure> {
    let cursor = cursor(request.cursor_pos, &request.code);
    Ok(inspection(remote.inspect(&request.code, cursor, asked).as_ref()))
}

fn inspection(found: Option<&Bundle>) -> Value {
    let (data, metadata) = found.map_or_else(|| (Map::new(), Map::new()), parts);
    json!({"found": found.is_some(), "data": data, "metadata": metadata})
}

fn is_complete(remote: &impl Handle, request: &IsCompleteRequest) -> Value {
    match remote.is_complete(&request.code) {
        Completeness::Complete => json!({"status": "complete"}),
        Completeness::Incomplete { indent } => json!({"status": "incomplete", "indent": indent}),
        Completeness::Invalid => json!({"status": "invalid"}),
    }
}
