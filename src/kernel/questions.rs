//! Questions that cells ask the user: one at a time, each until it is answered or cancelled.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crossbeam_channel::{Sender, bounded};

use super::caller::Caller;
use crate::wire::content::InputRequest;

/// The open question, and the turn to ask one.
#[derive(Debug, Default)]
pub(super) struct Questions {
    turn: Mutex<()>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The id of the open question, and who waits for its answer.
    open: Option<(String, Sender<String>)>,
    /// How often questions were cancelled: also those that wait for their turn are.
    cancelled: u64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Questions {
    /// Asks and waits. `None` if the question is cancelled.
    pub(super) fn ask(&self, caller: &Caller, question: &InputRequest) -> Option<String> {
        let before = lock(&self.state).cancelled;
        let _turn = lock(&self.turn);
        let (answer, answered) = bounded(1);
        {
            let mut state = lock(&self.state);
            if state.cancelled != before {
                return None;
            }
            state.open = Some((caller.ask(question), answer));
        }
        answered.recv().ok()
    }

    /// Answers the open question. An answer that names another one comes too late: ignored.
    pub(super) fn answer(&self, question: Option<&str>, text: String) {
        let mut state = lock(&self.state);
        let fits = |(id, _): &mut (String, _)| question.is_none_or(|named| named == id);
        if let Some((_, waiting)) = state.open.take_if(fits) {
            let _ = waiting.send(text);
        }
    }

    /// Gives all questions up.
    pub(super) fn cancel(&self) {
        let mut state = lock(&self.state);
        state.cancelled += 1;
        state.open = None;
    }
}
