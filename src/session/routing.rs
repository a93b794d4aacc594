//! From a driver's pipes to a stage: text as it is written, joined into few messages, rich outputs
//! where their marks stand. A stage that blocks makes the reader wait, the pipe fill, and the cell
//! that prints wait in turn.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io::Read;
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use parcell_link::{Mark, Publication};

use super::workers;
use crate::stage::{Output, Stage, Stream};

/// Text is held back this long to be joined with what follows.
const JOIN: Duration = Duration::from_millis(20);
/// Text is shown once this much has come, however fast more follows.
const CHUNK: usize = 128 << 10;
/// How much of the end of standard error is remembered, to tell why a driver died.
const TAIL: usize = 4 << 10;

/// So many earlier runs can still get late output.
const RUNS: usize = 100;

/// An output at its mark, with the run that it belongs to if that is not the present one.
type Placed = (Option<u64>, Publication);

/// What the readers of one driver share with its session.
pub(super) struct Routing {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    stage: Arc<dyn Stage>,
    /// The stages of the latest runs, the present one's among them.
    runs: BTreeMap<u64, Arc<dyn Stage>>,
    /// What stands at marks that the readers have not passed yet; `None` closes a cell's output.
    marks: HashMap<u64, Option<Placed>>,
    /// The highest closing mark that each stream has passed.
    closed: [u64; 2],
    driver_is_gone: bool,
    stderr_tail: VecDeque<u8>,
}

impl Routing {
    pub(super) fn new(stage: Arc<dyn Stage>) -> Arc<Routing> {
        let state = State {
            stage,
            runs: BTreeMap::new(),
            marks: HashMap::new(),
            closed: [0, 0],
            driver_is_gone: false,
            stderr_tail: VecDeque::new(),
        };
        Arc::new(Routing { state: Mutex::new(state), changed: Condvar::new() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on outputs go to this stage.
    pub(super) fn redirect(&self, stage: Arc<dyn Stage>) {
        self.lock().stage = stage;
    }

    /// From now on outputs go to this stage, and those that belong to this run for ever, or until
    /// many more have begun.
    pub(super) fn begin(&self, run: u64, stage: Arc<dyn Stage>) {
        let mut state = self.lock();
        state.stage = Arc::clone(&stage);
        state.runs.insert(run, stage);
        while state.runs.len() > RUNS {
            state.runs.pop_first();
        }
    }

    /// Late outputs of earlier runs go to the present stage from now on.
    pub(super) fn forget_runs(&self) {
        self.lock().runs.clear();
    }

    /// Tells what stands at a mark.
    pub(super) fn place(&self, mark: u64, placed: Option<Placed>) {
        self.lock().marks.insert(mark, placed);
        self.changed.notify_all();
    }

    /// No marks will come any more: readers stop waiting for what stands at them.
    pub(super) fn driver_is_gone(&self) {
        self.lock().driver_is_gone = true;
        self.changed.notify_all();
    }

    /// Waits until both streams have passed this closing mark, or ended.
    pub(super) fn wait_until_closed(&self, mark: u64) {
        let open = |state: &mut State| state.closed.iter().any(|closed| *closed < mark);
        let guard = self.changed.wait_while(self.lock(), open);
        drop(guard.unwrap_or_else(PoisonError::into_inner));
    }

    /// The last of what came on standard error.
    pub(super) fn stderr_tail(&self) -> String {
        let state = self.lock();
        let bytes: Vec<u8> = state.stderr_tail.iter().copied().collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn show(&self, output: Output) {
        let stage = Arc::clone(&self.lock().stage);
        stage.show(output);
    }

    fn pass(&self, stream: Stream, mark: u64) {
        let unknown = |state: &mut State| !state.driver_is_gone && !state.marks.contains_key(&mark);
        let guard = self.changed.wait_while(self.lock(), unknown);
        let mut state = guard.unwrap_or_else(PoisonError::into_inner);
        match state.marks.get(&mark).cloned() {
            Some(Some((run, publication))) => {
                state.marks.remove(&mark);
                let of_run = run.and_then(|run| state.runs.get(&run));
                let stage = Arc::clone(of_run.unwrap_or(&state.stage));
                drop(state);
                outputs_of(publication).into_iter().for_each(|output| stage.show(output));
            }
            _ => {
                state.closed[index(stream)] = mark;
                if state.closed.iter().all(|closed| *closed >= mark) {
                    state.marks.remove(&mark);
                }
                drop(state);
                self.changed.notify_all();
            }
        }
    }

    fn end(&self, stream: Stream) {
        self.lock().closed[index(stream)] = u64::MAX;
        self.changed.notify_all();
    }

    fn remember(&self, bytes: &[u8]) {
        let mut state = self.lock();
        state.stderr_tail.extend(bytes);
        let surplus = state.stderr_tail.len().saturating_sub(TAIL);
        state.stderr_tail.drain(..surplus);
    }
}

fn index(stream: Stream) -> usize {
    match stream {
        Stream::Stdout => 0,
        Stream::Stderr => 1,
    }
}

fn outputs_of(publication: Publication) -> Vec<Output> {
    match publication {
        Publication::Display { bundle, id } => vec![Output::Display(bundle, id)],
        Publication::Update { bundle, id } => vec![Output::Update(bundle, id)],
        Publication::Result { bundle } => vec![Output::Result(bundle)],
        Publication::Clear { wait } => vec![Output::Clear { wait }],
        Publication::Worker { worker, what } => workers::outputs_of(worker, what),
    }
}

/// Reads one stream to its end. Runs on a thread of its own.
pub(super) fn follow(stream: Stream, mut pipe: impl Read + AsFd, mark: &Mark, routing: &Routing) {
    let mut text = Text { stream, routing, mark, pending: Vec::new(), since: Instant::now() };
    let mut buffer = vec![0; 64 << 10];
    loop {
        if !text.pending.is_empty() && !readable(&pipe, text.patience()) {
            text.show_what_is_whole();
        }
        match pipe.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => text.take(&buffer[..n]),
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    text.show_all();
    routing.end(stream);
}

/// Shows what a pipe brings, without marks: the output of a shell command.
pub(super) fn copy(stream: Stream, pipe: impl Read + AsFd, stage: &dyn Stage) {
    let mut text = Vec::new();
    let mut pipe = pipe;
    let mut buffer = vec![0; 64 << 10];
    loop {
        let n = pipe.read(&mut buffer).unwrap_or(0);
        text.extend_from_slice(&buffer[..n]);
        let held_back = if n == 0 { 0 } else { partial_character(&text) };
        let rest = text.split_off(text.len() - held_back);
        if !text.is_empty() {
            stage.show(Output::Text(stream, String::from_utf8_lossy(&text).into_owned()));
        }
        text = rest;
        if n == 0 {
            return;
        }
    }
}

/// Waits for data; false when the time is over.
fn readable(pipe: &impl AsFd, time: Duration) -> bool {
    let timeout = PollTimeout::try_from(time).unwrap_or(PollTimeout::ZERO);
    let mut wanted = [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)];
    poll(&mut wanted, timeout).is_ok_and(|ready| ready > 0)
}

struct Text<'a> {
    stream: Stream,
    routing: &'a Routing,
    mark: &'a Mark,
    pending: Vec<u8>,
    since: Instant,
}

impl Text<'_> {
    fn patience(&self) -> Duration {
        JOIN.saturating_sub(self.since.elapsed())
    }

    fn take(&mut self, bytes: &[u8]) {
        if self.stream == Stream::Stderr {
            self.routing.remember(bytes);
        }
        if self.pending.is_empty() {
            self.since = Instant::now();
        }
        self.pending.extend_from_slice(bytes);
        while let Some((start, number, end)) = self.mark.find(&self.pending) {
            let rest = self.pending.split_off(end);
            self.pending.truncate(start);
            self.show_all();
            self.pending = rest;
            self.routing.pass(self.stream, number);
        }
        if self.pending.len() >= CHUNK || (self.patience().is_zero() && !self.pending.is_empty()) {
            self.show_what_is_whole();
        }
    }

    /// Shows all but the beginning of a mark or of a character at the end.
    fn show_what_is_whole(&mut self) {
        let mark = self.mark.partial(&self.pending);
        let character = partial_character(&self.pending[..self.pending.len() - mark]);
        let rest = self.pending.split_off(self.pending.len() - mark - character);
        self.show_all();
        self.pending = rest;
        self.since = Instant::now() + Duration::from_secs(1);
    }

    fn show_all(&mut self) {
        let bytes = std::mem::take(&mut self.pending);
        if !bytes.is_empty() {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            self.routing.show(Output::Text(self.stream, text));
        }
    }
}

/// How many bytes at the end are the beginning of a longer UTF-8 character.
fn partial_character(bytes: &[u8]) -> usize {
    match std::str::from_utf8(bytes) {
        Err(e) if e.error_len().is_none() => bytes.len() - e.valid_up_to(),
        Err(e) => partial_character(&bytes[e.valid_up_to() + e.error_len().unwrap_or(1)..]),
        Ok(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    #[derive(Default)]
    struct Memory(Mutex<Vec<Output>>);

    impl Stage for Memory {
        fn show(&self, output: Output) {
            self.0.lock().unwrap().push(output);
        }
        fn ask(&self, _: &str, _: bool) -> Option<String> {
            None
        }
    }

    fn shown(write: impl FnOnce(&mut UnixStream, &Mark, &Routing)) -> Vec<Output> {
        let stage = Arc::new(Memory::default());
        let routing = Routing::new(Arc::clone(&stage) as Arc<dyn Stage>);
        let mark = Mark::new("secret");
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| follow(Stream::Stdout, theirs, &mark, &routing));
            write(&mut ours, &mark, &routing);
            drop(ours);
        });
        stage.0.lock().unwrap().clone()
    }

    fn text(t: &str) -> Output {
        Output::Text(Stream::Stdout, t.to_owned())
    }

    #[test]
    fn displays_keep_their_place_among_text() {
        let bundle = parcell_link::Bundle::text("picture");
        let clear = Publication::Display { bundle: bundle.clone(), id: None };
        let outputs = shown(|pipe, mark, routing| {
            pipe.write_all(b"before ").unwrap();
            pipe.write_all(&mark.bytes(1)).unwrap();
            pipe.write_all(b"after").unwrap();
            routing.place(1, Some((None, clear)));
        });
        assert_eq!(outputs, [text("before "), Output::Display(bundle, None), text("after")]);
    }

    /// What the cells of runs 1, 2, … have shown, after `write` has begun them.
    fn shown_by_runs(
        runs: usize,
        write: impl FnOnce(&mut UnixStream, &Mark, &Routing, &dyn Fn(u64)),
    ) -> Vec<Vec<Output>> {
        let stages: Vec<Arc<Memory>> = (0..=runs).map(|_| Arc::default()).collect();
        let routing = Routing::new(Arc::clone(&stages[0]) as Arc<dyn Stage>);
        let mark = Mark::new("secret");
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let begin = |run: u64| {
            let stage = Arc::clone(&stages[usize::try_from(run).unwrap()]);
            routing.begin(run, stage);
        };
        std::thread::scope(|scope| {
            scope.spawn(|| follow(Stream::Stdout, theirs, &mark, &routing));
            write(&mut ours, &mark, &routing, &begin);
            drop(ours);
        });
        stages[1..].iter().map(|stage| stage.0.lock().unwrap().clone()).collect()
    }

    fn display(text: &str) -> Publication {
        Publication::Display { bundle: parcell_link::Bundle::text(text), id: None }
    }

    fn displayed(text: &str) -> Output {
        Output::Display(parcell_link::Bundle::text(text), None)
    }

    #[test]
    fn late_output_goes_to_the_cell_that_caused_it() {
        let by_run = shown_by_runs(2, |pipe, mark, routing, begin| {
            begin(1);
            begin(2);
            pipe.write_all(b"two ").unwrap();
            pipe.write_all(&mark.bytes(1)).unwrap();
            pipe.write_all(b"two again").unwrap();
            pipe.write_all(&mark.bytes(2)).unwrap();
            routing.place(1, Some((Some(1), display("late"))));
            routing.place(2, Some((None, display("now"))));
        });
        assert_eq!(by_run[0], [displayed("late")]);
        assert_eq!(by_run[1], [text("two "), text("two again"), displayed("now")]);
    }

    #[test]
    fn output_of_a_run_that_is_forgotten_goes_to_the_present_cell() {
        let runs = RUNS + 1;
        let by_run = shown_by_runs(runs, |pipe, mark, routing, begin| {
            (1..=runs as u64).for_each(begin);
            for (number, run) in [(1, 1), (2, 2)] {
                pipe.write_all(&mark.bytes(number)).unwrap();
                routing.place(number, Some((Some(run), display("late"))));
            }
        });
        assert!(by_run[0].is_empty(), "so many runs are not remembered");
        assert_eq!((by_run[1].len(), by_run[runs - 1].len()), (1, 1));
        let by_run = shown_by_runs(2, |pipe, mark, routing, begin| {
            begin(1);
            begin(2);
            routing.forget_runs();
            pipe.write_all(&mark.bytes(1)).unwrap();
            routing.place(1, Some((Some(1), display("late"))));
        });
        assert_eq!((by_run[0].len(), by_run[1].len()), (0, 1));
    }

    #[test]
    fn many_lines_become_few_messages_and_lose_nothing() {
        let outputs = shown(|pipe, _, _| {
            for line in 0..20_000 {
                writeln!(pipe, "{line}").unwrap();
            }
        });
        assert!(outputs.len() < 200, "{} messages", outputs.len());
        let all: String = outputs
            .iter()
            .map(|o| match o {
                Output::Text(_, t) => t.as_str(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(all.lines().count(), 20_000);
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced_and_split_characters_joined() {
        let outputs = shown(|pipe, _, _| {
            pipe.write_all(&[b'a', 0xff, b'b', 0xc3]).unwrap();
            std::thread::sleep(3 * JOIN);
            pipe.write_all(&[0xa9, b'\n']).unwrap();
        });
        let all: String = outputs
            .iter()
            .map(|o| match o {
                Output::Text(_, t) => t.as_str(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(all, "a\u{fffd}bé\n");
    }
}
