//! What goes wrong in a parallel loop, gathered from its threads and raised in the caller.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::interrupt::{self, Interrupted};
use crate::rt;

/// After so many panics no further iteration begins.
pub(super) const MOST_PANICS: usize = 64;
/// So many panics are told in full.
const TOLD: usize = 8;
/// Characters of each message that are told.
const MESSAGE: usize = 200;

type Payload = Box<dyn Any + Send>;

/// The panics of one loop, and whether it was told to end.
#[derive(Debug)]
pub(super) struct Failures {
    ended: AtomicBool,
    /// A loop in a `drop` that runs because of a panic cannot unwind: it runs to its end.
    heeds_interrupts: bool,
    found: Mutex<Found>,
}

#[derive(Debug, Default)]
struct Found {
    /// Position and payload of iterations that panicked.
    iterations: Vec<(usize, Payload)>,
    /// What ended the loop from outside its iterations.
    end: Option<Payload>,
}

impl Failures {
    pub(super) fn new() -> Failures {
        Failures {
            ended: AtomicBool::new(false),
            heeds_interrupts: !std::thread::panicking(),
            found: Mutex::default(),
        }
    }

    /// Whether no further iteration may begin. Two atomic loads.
    #[inline]
    pub(super) fn ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
            || (interrupt::pending() && self.heeds_interrupts && self.note_interrupt())
    }

    /// Keeps what the interrupt unwinds with: the flag may be taken back before the loop's caller
    /// looks at it.
    #[cold]
    fn note_interrupt(&self) -> bool {
        match catch_unwind(interrupt::check) {
            Ok(()) => false,
            Err(payload) => {
                self.end(payload);
                true
            }
        }
    }

    /// Notes that an iteration panicked.
    #[cold]
    pub(super) fn iteration(&self, position: usize, payload: Payload) {
        if payload.is::<Interrupted>() {
            return self.end(payload);
        }
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.iterations.push((position, payload));
        if found.iterations.len() >= MOST_PANICS {
            self.ended.store(true, Ordering::Relaxed);
        }
    }

    /// Ends the loop with this; the first counts.
    #[cold]
    pub(super) fn end(&self, payload: Payload) {
        self.ended.store(true, Ordering::Relaxed);
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.end.get_or_insert(payload);
    }

    /// Unwinds with what was gathered, if anything was. `total` is the number of iterations.
    pub(super) fn raise(self, total: usize, names: &dyn Fn(usize) -> String) {
        let Found { mut iterations, end } =
            self.found.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(payload) = end {
            resume_unwind(payload);
        }
        if iterations.len() > 1 {
            iterations.sort_by_key(|(position, _)| *position);
            let all = told(&iterations, total, names);
            rt::notice_as(&rt::message_of(iterations[0].1.as_ref()), &all);
            resume_unwind(Box::new(all));
        }
        // A single panic stays what it is, so that its payload can be looked at and the place
        // where it happened is found.
        if let Some((_, payload)) = iterations.pop() {
            resume_unwind(payload);
        }
    }
}

/// Whatever `work` unwinds with ends the loop.
pub(super) fn fenced(failures: &Failures, work: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(work)) {
        failures.end(payload);
    }
}

fn told(panics: &[(usize, Payload)], total: usize, names: &dyn Fn(usize) -> String) -> String {
    let one = |(position, payload): &(usize, Payload)| {
        format!("iteration {}: {}", names(*position), shortened(&rt::message_of(payload.as_ref())))
    };
    let mut parts: Vec<String> = panics.iter().take(TOLD).map(one).collect();
    if panics.len() > TOLD {
        parts.push(format!("and {} more", panics.len() - TOLD));
    }
    let count = panics.len();
    let ended = if count >= MOST_PANICS { ", then the loop was ended" } else { "" };
    format!("{count} of {total} iterations panicked{ended}: {}", parts.join("; "))
}

fn shortened(message: &str) -> String {
    match message.char_indices().nth(MESSAGE) {
        Some((end, _)) => format!("{}…", &message[..end]),
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_bounded() {
        let panics: Vec<(usize, Payload)> =
            (0..20).map(|i| (i, Box::new("ä".repeat(10_000)) as Payload)).collect();
        let text = told(&panics, 50, &|position| position.to_string());
        assert!(text.starts_with("20 of 50 iterations panicked: iteration 0: ää"), "{text}");
        assert!(text.ends_with("ä…; and 12 more"), "{text}");
        assert!(text.chars().count() < 2000);
    }

    #[test]
    fn an_interrupt_stays_one_when_the_flag_is_taken_back() {
        let _alone = crate::interrupt::testing::alone();
        let failures = Failures::new();
        interrupt::raise();
        let ended = failures.ended();
        interrupt::clear();
        assert!(ended && failures.ended());
        failures.iteration(3, Box::new("beside the interrupt"));
        let raised = catch_unwind(AssertUnwindSafe(|| failures.raise(10, &|_| String::new())));
        assert!(raised.unwrap_err().is::<Interrupted>());
    }
}
