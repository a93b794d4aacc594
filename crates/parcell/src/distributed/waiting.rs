//! How a thread waits for an answer: interruptible, and with its place in the pool lent to others.

use std::sync::Arc;
use std::time::Instant;

use super::calls::{Done, Ended};
use super::error::RemoteError;
use crate::threads::Monitor;

/// The place of an answer.
#[derive(Clone)]
pub(crate) struct Slot {
    answer: Arc<Monitor<Option<Ended>>>,
}

impl Slot {
    pub(crate) fn new() -> Slot {
        Slot { answer: Arc::new(Monitor::new(None)) }
    }

    /// What fills the place.
    pub(crate) fn filler(&self) -> Done {
        let answer = Arc::clone(&self.answer);
        Box::new(move |ended| answer.change(|slot| *slot = Some(ended)))
    }

    /// Blocks until the answer is there. If an interrupt ends the wait, `cancel` is called first.
    pub(crate) fn wait(&self, cancel: impl FnOnce()) -> Ended {
        self.wait_until(None, cancel).expect("without a deadline a wait ends with an answer")
    }

    /// As [`Slot::wait`], but not longer than until then; `cancel` is called then, too.
    pub(crate) fn wait_until(
        &self,
        deadline: Option<Instant>,
        cancel: impl FnOnce(),
    ) -> Option<Ended> {
        let guard = OnEnd(Some(cancel));
        let ended = self.answer.wait(deadline, Option::take);
        if ended.is_some() {
            guard.disarm();
            super::output::drained();
        }
        ended
    }
}

impl Slot {
    /// Waits until then for an answer that does not matter, also if there is an interrupt.
    pub(crate) fn settle(&self, deadline: Instant) {
        let over =
            |slot: &mut Option<Ended>| (slot.is_some() || Instant::now() >= deadline).then_some(());
        self.answer.wait_out(over);
    }
}

struct OnEnd<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> OnEnd<F> {
    fn disarm(mut self) {
        self.0 = None;
    }
}

impl<F: FnOnce()> Drop for OnEnd<F> {
    fn drop(&mut self) {
        if let Some(end) = self.0.take() {
            end();
        }
    }
}

/// The answer that was meant, or why there is none.
pub(crate) fn unexpected(process: u32, what: &str) -> RemoteError {
    let what = format!("the answer to {what} was another than asked for");
    RemoteError::NotPortable { worker: process as usize, what }
}
