//! Starting a run on all its processes, and gathering how it ended.

use std::any::Any;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::comm::Spmd;
use super::context::Context;
use super::letter::Letter;
use super::room::{self, Left, Members};
use crate::distributed::blob::{
    Blob, BlobReader, BlobWriter, DecodeError, EncodeError, Incoming, RefId,
};
use crate::distributed::call::{self, Outgoing};
use crate::distributed::calls::Ended;
use crate::distributed::function::{AnyValue, Callable, Prepared};
use crate::distributed::group::written;
use crate::distributed::jobs::{not_read, not_written, panicked};
use crate::distributed::node::node;
use crate::distributed::{Remote, RemoteError, output, procs};
use crate::threads::Monitor;

/// What a participant is told when it begins; its function follows.
#[derive(Serialize, Deserialize)]
struct Start {
    run: RefId,
    processes: Vec<u32>,
    context: Option<Context>,
}

/// What a participant tells when it has ended; its value follows, if there is one.
#[derive(Serialize, Deserialize)]
struct Head {
    sent: Vec<(u32, u64)>,
    /// Whether it failed only because another did.
    gave_in: bool,
    error: Option<RemoteError>,
}

struct Report {
    head: Head,
    value: Blob,
}

impl AnyValue for Report {
    fn encode(self: Arc<Self>, to: &mut BlobWriter) -> Result<(), EncodeError> {
        to.write(&self.head)?;
        to.append(&self.value);
        Ok(())
    }

    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }

    fn is_small(&self) -> bool {
        false
    }
}

/// What the processes of a run are called to do.
struct TakePart;

impl Callable for TakePart {
    fn call(&self, arguments: &mut BlobReader<'_>) -> Result<Arc<dyn AnyValue>, DecodeError> {
        let Start { run, processes, context } = arguments.read()?;
        // Only passed on and called with written arguments, so its types do not matter here.
        let function: Remote<(), ()> = arguments.read()?;
        let rank = processes.iter().position(|process| *process == node().id).unwrap_or_default();
        let room = room::enter(run, Members { processes, rank, context });
        let taken = catch_unwind(AssertUnwindSafe(|| value(&function, &Spmd::in_room(&room))));
        let outcome = taken.unwrap_or_else(|payload| Err(panicked(&*payload)));
        let Left { sent, gave_in } = room.leave();
        let (value, error) = match outcome {
            Ok(value) => (value, None),
            Err(error) => (Blob::empty(), Some(error)),
        };
        Ok(Arc::new(Report { head: Head { sent, gave_in, error }, value }))
    }
}

/// Calls the user's function, and writes down what it returns.
fn value(function: &Remote<(), ()>, participant: &Spmd) -> Result<Blob, RemoteError> {
    let callable = function.shared().callable()?;
    let arguments = written(|to| to.write(&(participant.clone(),)))?;
    let mut arguments = arguments.arrive().map_err(not_read)?;
    let value = callable.call(&mut arguments.reader()).map_err(not_read)?;
    let mut writer = BlobWriter::default();
    value.encode(&mut writer).map_err(not_written)?;
    Ok(writer.finish())
}

/// How the participants ended, as far as is known.
struct Gathering {
    left: usize,
    answers: Vec<Option<Result<Incoming, RemoteError>>>,
    gave_in: Vec<bool>,
    sent: Vec<Vec<(u32, u64)>>,
}

struct Run {
    id: RefId,
    processes: Vec<u32>,
    gathering: Monitor<Gathering>,
}

impl Run {
    /// A participant has ended, or its process is gone. Called on a thread that must not be blocked.
    fn ended(&self, rank: usize, ended: Ended) {
        let mut blob = ended.blob;
        let mut head = Head { sent: Vec::new(), gave_in: false, error: None };
        let result = ended.result.and_then(|_| {
            head = read_head(&mut blob.reader())?;
            head.error.take().map_or(Ok(()), Err)
        });
        if let (Err(error), false) = (&result, head.gave_in) {
            self.tell_of_failure(rank, error);
        }
        let sent = self.gathering.change(|all| {
            all.answers[rank] = Some(result.map(|()| blob));
            all.gave_in[rank] = head.gave_in;
            all.sent[rank] = head.sent;
            all.left -= 1;
            (all.left == 0).then(|| std::mem::take(&mut all.sent))
        });
        if let Some(sent) = sent {
            self.tell_of_end(&sent);
        }
    }

    fn tell_of_failure(&self, rank: usize, error: &RemoteError) {
        let process = self.processes[rank];
        let others = self.processes.iter().filter(|other| **other != process);
        others.for_each(|other| {
            room::tell(*other, self.id, Letter::Failed { process, error: error.clone() });
        });
    }

    fn tell_of_end(&self, sent: &[Vec<(u32, u64)>]) {
        let mut to_each: HashMap<u32, Vec<(u32, u64)>> = HashMap::new();
        for (process, sent) in self.processes.iter().zip(sent) {
            for (to, count) in sent {
                to_each.entry(*to).or_default().push((*process, *count));
            }
        }
        for process in &self.processes {
            let sent = to_each.remove(process).unwrap_or_default();
            room::tell(*process, self.id, Letter::Over { sent });
        }
    }
}

fn read_head(from: &mut BlobReader<'_>) -> Result<Head, RemoteError> {
    from.read().map_err(not_read)
}

/// Skips what a participant told of itself; its value is what comes next.
pub(super) fn skip_head(from: &mut BlobReader<'_>) -> Result<(), RemoteError> {
    read_head(from).map(drop)
}

/// Runs a function on all these processes and blocks until all have ended: their answers in the
/// order of the ranks, or the failures, without those that are only consequences of another.
pub(super) fn run(
    processes: &[usize],
    context: Option<Context>,
    function: Remote<(), ()>,
    place: &Location<'_>,
) -> Result<Vec<Incoming>, Vec<RemoteError>> {
    let processes = checked(processes, context.as_ref()).map_err(|error| vec![error])?;
    let node = node();
    let size = processes.len();
    let gathering = Gathering {
        left: size,
        answers: (0..size).map(|_| None).collect(),
        gave_in: vec![false; size],
        sent: vec![Vec::new(); size],
    };
    let run = Run { id: node.new_id(node.id), processes, gathering: Monitor::new(gathering) };
    let run = Arc::new(run);
    let start = Start { run: run.id, processes: run.processes.clone(), context };
    let captures = written(|to| to.write(&start).and_then(|()| to.write(&function)));
    let captures = captures.map_err(|error| vec![error])?;
    let mut order: Vec<usize> = (0..size).collect();
    // The participant on this process comes last, so that the others need not wait for it.
    order.sort_by_key(|rank| run.processes[*rank] == node.id);
    for rank in order {
        let ends = Arc::clone(&run);
        let done = Box::new(move |ended| ends.ended(rank, ended));
        let captures = captures.clone();
        match Outgoing::new(Ok(Prepared { trampoline: |_| Ok(Arc::new(TakePart)), captures })) {
            Ok(outgoing) => {
                call::fetch_later(run.processes[rank], outgoing, place, done);
            }
            Err(error) => done(Ended::failed(error)),
        }
    }
    outcome(&run)
}

/// Blocks until all have ended.
fn outcome(run: &Run) -> Result<Vec<Incoming>, Vec<RemoteError>> {
    let over = |all: &mut Gathering| {
        let take = |all: &mut Gathering| (std::mem::take(&mut all.answers), all.gave_in.clone());
        (all.left == 0).then(|| take(all))
    };
    let ended = run.gathering.wait(None, over);
    let (answers, gave_in) = ended.expect("without a deadline a wait ends with the answers");
    output::drained();
    let (mut values, mut errors, mut consequences) = (Vec::new(), Vec::new(), Vec::new());
    for (answer, gave_in) in answers.into_iter().flatten().zip(gave_in) {
        match answer {
            Ok(value) => values.push(value),
            Err(error) if gave_in => consequences.push(error),
            Err(error) => errors.push(error),
        }
    }
    match (errors.is_empty(), consequences.is_empty()) {
        (false, _) => Err(errors),
        (true, false) => Err(consequences),
        (true, true) => Ok(values),
    }
}

/// The processes of a run: there, each named once, and with the context if there is one.
fn checked(processes: &[usize], context: Option<&Context>) -> Result<Vec<u32>, RemoteError> {
    let node = node();
    let refused = |what: String| RemoteError::Refused { worker: procs::myid(), what };
    let mut all = Vec::new();
    for process in processes {
        let id = procs::checked(node, *process)?;
        if all.contains(&id) {
            return Err(refused(format!("process {id} is named twice among {processes:?}")));
        }
        if let Some(context) = context.filter(|context| !context.procs().contains(process)) {
            let there = context.procs();
            let what = format!("the context was made for the processes {there:?}, not for {id}");
            return Err(refused(what));
        }
        all.push(id);
    }
    if all.is_empty() {
        return Err(refused("a run needs at least one process, and none was named".to_owned()));
    }
    Ok(all)
}
