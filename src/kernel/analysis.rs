//! Completion, inspection and completeness: answered beside a running cell, by threads of their
//! own, because an analysis may take seconds while it warms up.

use std::io;
use std::thread;

use crossbeam_channel::{Receiver, Sender, unbounded};
use serde_json::{Map, Value, json};

use super::evaluator::Handle;
use super::request::{Request, guarded};
use super::show::parts;
use crate::stage::{Completeness, Completion, Completions, Failure};
use crate::wire::content::{CompleteRequest, InspectRequest, IsCompleteRequest};

/// Two, so that a slow inspection does not hold up what is typed.
const THREADS: usize = 2;

/// The threads that analyse.
#[derive(Debug)]
pub(super) struct Analyst {
    requests: Sender<Request>,
}

impl Analyst {
    /// Starts the threads.
    pub(super) fn start(remote: &impl Handle) -> io::Result<Analyst> {
        let (requests, queue) = unbounded();
        for _ in 0..THREADS {
            let (remote, queue) = (remote.clone(), queue.clone());
            let name = "analyst".to_owned();
            thread::Builder::new().name(name).spawn(move || serve(&remote, &queue))?;
        }
        Ok(Analyst { requests })
    }

    /// Hands a request over.
    pub(super) fn hand(&self, request: Request) {
        // Were the threads gone, the dropped request would say so itself.
        let _ = self.requests.send(request);
    }
}

fn serve(remote: &impl Handle, queue: &Receiver<Request>) {
    for request in queue {
        let result = guarded(|| analyse(remote, &request));
        request.conclude(result);
    }
}

fn analyse(remote: &impl Handle, request: &Request) -> Result<Value, Failure> {
    match request.kind() {
        "complete_request" => Ok(complete(remote, &request.content()?)),
        "inspect_request" => Ok(inspect(remote, &request.content()?)),
        _ => Ok(is_complete(remote, &request.content()?)),
    }
}

/// The cursor in code points; the end where the client does not say.
fn cursor(position: Option<usize>, code: &str) -> usize {
    let end = code.chars().count();
    position.map_or(end, |position| position.min(end))
}

fn complete(remote: &impl Handle, request: &CompleteRequest) -> Value {
    let found = remote.complete(&request.code, cursor(request.cursor_pos, &request.code));
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

fn inspect(remote: &impl Handle, request: &InspectRequest) -> Value {
    let cursor = cursor(request.cursor_pos, &request.code);
    let found = remote.inspect(&request.code, cursor, request.detail_level);
    let nothing = || (Map::new(), Map::new());
    let (data, metadata) = found.as_ref().map_or_else(nothing, parts);
    json!({"found": found.is_some(), "data": data, "metadata": metadata})
}

fn is_complete(remote: &impl Handle, request: &IsCompleteRequest) -> Value {
    match remote.is_complete(&request.code) {
        Completeness::Complete => json!({"status": "complete"}),
        Completeness::Incomplete { indent } => json!({"status": "incomplete", "indent": indent}),
        Completeness::Invalid => json!({"status": "invalid"}),
    }
}
