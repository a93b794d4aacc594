//! The analyst: completes and explains source text, beside a running cell and within a tenth of a
//! second. rust-analyzer runs in a process of its own, started by the first question: it takes
//! half a gigabyte, needs seconds to read the standard library, and must never stand in the way.
//!
//! A question takes this way: [`spot`] finds where the cursor stands, [`scope`] what can be in
//! scope there, [`offers`] answers from that. If rust-analyzer is ready ([`keeper`] asks it, with
//! the text that [`source`] makes) and answers in time, its answer is taken instead.

mod facts;
mod keeper;
mod known;
mod offers;
mod question;
mod scope;
pub mod server;
mod shape;
mod source;
mod spot;
mod std_names;
mod workspace;

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parcell_link::Bundle;

use super::{Inspection, Outline};
use crate::cells::Library;
use crate::stage::{Completion, Completions};
use keeper::{Desk, Keeper, lock};
use known::{Known, Running};
use offers::View;
use source::{byte_offset, word_before, word_end};

/// So long a completion waits for rust-analyzer: the rest of a tenth of a second is for the way,
/// on a machine where a cell uses all cores.
const PATIENCE: Duration = Duration::from_millis(60);

/// So long an inspection does, where the session knows nothing: rust-analyzer may have to start.
const INSPECTION: Duration = Duration::from_secs(10);

/// Answers questions about source text. Cheap to clone; all clones share one process.
#[derive(Debug, Clone, Default)]
pub struct Analyst {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    desk: Arc<Desk>,
    /// There from the first question on.
    keeper: OnceLock<Keeper>,
}

impl Analyst {
    /// Takes over what the session defines now, between two cells.
    pub fn know(&self, outline: Arc<Outline>, library: &Library) {
        *lock(&self.shared.desk.known) = Some(Arc::new(Known::new(outline, library.clone())));
        *lock(&self.shared.desk.running) = None;
        if let Some(keeper) = self.shared.keeper.get() {
            keeper.prepare();
        }
    }

    /// Takes over what a cell defines that begins to run. [`Analyst::know`] ends that.
    pub fn begin(&self, code: &str) {
        *lock(&self.shared.desk.running) = Some(Arc::new(Running::new(code)));
    }

    /// Says that somebody may ask soon. `PARCELL_ANALYST=eager` has the process started now and not
    /// by the first question, where memory is not dear. Never blocks.
    pub fn expect_questions(&self) {
        if std::env::var("PARCELL_ANALYST").is_ok_and(|value| value == "eager") {
            self.keeper().prepare();
        }
    }

    fn keeper(&self) -> &Keeper {
        self.shared.keeper.get_or_init(|| Keeper::start(&self.shared.desk))
    }

    /// Names of the session's variables.
    pub fn variables(&self) -> Vec<String> {
        let known = self.shared.desk.known();
        let variables = known.iter().flat_map(|known| &known.outline.variables);
        variables.map(|v| v.name.clone()).collect()
    }

    /// Gives the process a folder to write into; without one it is not started.
    pub fn work_in(&self, folder: &Path) {
        *lock(&self.shared.desk.folder) = Some(folder.join("analyst"));
        if let Some(keeper) = self.shared.keeper.get() {
            keeper.prepare();
        }
    }

    /// Ends the process. Blocks for a moment at most.
    pub fn close(&self) {
        self.shared.desk.close();
    }

    /// Completions at `cursor` (code points) for a question that came at `asked`: rust-analyzer's
    /// if it has some in time, else what the session itself knows. Blocks a tenth of a second at
    /// most.
    pub fn complete(&self, code: &str, cursor: usize, asked: Instant) -> Completions {
        let position = byte_offset(code, cursor);
        let word = word_before(code, position);
        let desk = &self.shared.desk;
        let (known, running) = (desk.known(), desk.running());
        let view = View::at(code, position, known.as_deref(), running.as_deref());
        let mut matches = self.ask_now(code, position, asked);
        if matches.is_empty() {
            matches = view.offers();
        } else {
            view.adjust(&mut matches);
        }
        Completions { start: cursor - word.chars().count(), end: cursor, matches }
    }

    /// What rust-analyzer offers, if it is ready; if not, it gets ready.
    fn ask_now(&self, code: &str, position: usize, asked: Instant) -> Vec<Completion> {
        let keeper = self.keeper();
        if !self.shared.desk.is_ready() {
            keeper.prepare();
            return Vec::new();
        }
        let answer = keeper.ask(code, position, false, asked + PATIENCE);
        answer.map(|answer| answer.matches).unwrap_or_default()
    }

    /// What the session itself knows of the name at `cursor` (code points): a variable's type, an
    /// item's definition and documentation. Never blocks.
    pub fn describe(&self, code: &str, cursor: usize, detail: u8) -> Inspection {
        let end = name_end(code, cursor);
        let desk = &self.shared.desk;
        let (known, running) = (desk.known(), desk.running());
        View::at(code, end, known.as_deref(), running.as_deref()).describe(detail)
    }

    /// What rust-analyzer knows of the name at `cursor` (code points), for a question that came at
    /// `asked`. Blocks until it is ready, ten seconds at most.
    pub fn inspect(&self, code: &str, cursor: usize, asked: Instant) -> Inspection {
        let end = name_end(code, cursor);
        if word_before(code, end).is_empty() {
            return None;
        }
        let answer = self.keeper().ask(code, end, true, asked + INSPECTION)?;
        let (plain, markdown) = answer.documentation?;
        Some(Bundle::text(plain).with("text/markdown", markdown))
    }
}

/// Where the name ends that the cursor stands in or behind. Behind `println!` or `push(` the name
/// before is meant.
fn name_end(code: &str, cursor: usize) -> usize {
    let position = byte_offset(code, cursor);
    let behind = code[..position].ends_with(['!', '(']);
    word_end(code, position - usize::from(behind))
}

#[cfg(test)]
mod tests;
