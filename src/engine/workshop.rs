//! From a cell and a state to a module: rounds of writing, compiling and correcting. Knows nothing
//! of drivers, so that a cell can be compiled while another runs.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Module;
use super::diagnose::{self, Correction, Found};
use super::draft::Draft;
use super::generate::{self, SYMBOL, Text, Written};
use super::items::Source;
use super::linker::{Linker, MODULE};
use super::parse::Binding;
use super::rustc::{Complaint, Goal, Rustc, Setup, Stop, Waiting, unwritable};
use super::standby::Standby;
use super::state::State;
use crate::cells::{Compilers, Toolchain};
use crate::stage::{Cell, Failure};

/// Corrections come in rounds, since rustc shows borrow errors only where types are right.
const ROUNDS: usize = 6;

/// Where a session's cells are compiled.
#[derive(Debug)]
pub(super) struct Workshop {
    standby: Standby,
    linker: Linker,
    compilers: Compilers,
    /// How to read places in the files of every module that was run.
    files: Mutex<BTreeMap<String, Text>>,
}

/// A cell that can be run.
#[derive(Debug)]
pub(super) struct Compiled {
    pub(super) draft: Draft,
    pub(super) module: Module,
    written: Written,
}

/// A cell that cannot.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) failure: Failure,
    /// A variable that no cell can take over any more.
    pub(super) unnameable: Option<String>,
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Refused {
        Refused { failure, unnameable: None }
    }
}

impl From<Stop> for Refused {
    fn from(stop: Stop) -> Refused {
        let failure = match stop {
            Stop::Cancelled => {
                let text = "the cell was interrupted while it compiled; nothing ran";
                Failure::new("Interrupted", text)
            }
            Stop::Failed(text) => Failure::new("CompilerFailed", text),
        };
        failure.into()
    }
}

/// A cell at work: the request's own part of a compilation.
struct Job<'a> {
    workshop: &'a Workshop,
    setup: &'a Setup,
    /// Whether everything else goes before it.
    nice: bool,
}

impl Workshop {
    pub(super) fn new(folder: &Path, toolchain: Toolchain, compilers: Compilers) -> Workshop {
        let linker = Linker::find(&toolchain);
        let rustc = Rustc { toolchain, compilers: compilers.clone() };
        let standby = Standby::new(folder.to_owned(), rustc);
        Workshop { standby, linker, compilers, files: Mutex::default() }
    }

    /// Compiles a cell as if the session were in this state; `nice` if nobody waits for it yet.
    pub(super) fn compile(
        &self,
        cell: &Cell,
        state: &State,
        setup: &Setup,
        nice: bool,
    ) -> Result<Compiled, Refused> {
        let draft = Draft::new(cell, self.source(cell), state);
        Job { workshop: self, setup, nice }.compile(draft, state)
    }

    /// Has compilers started for the next cell. To be called when a cell has ended: they take
    /// processor time, which a running cell may be measuring.
    pub(super) fn expect(&self, setup: &Setup) {
        self.standby.expect(Goal::Code, setup);
        self.standby.expect(Goal::Types, setup);
    }

    /// Remembers how to read places in a module that is about to run.
    pub(super) fn register(&self, compiled: &Compiled) {
        self.files().extend(compiled.written.files.clone());
    }

    /// How to read places in the modules that were run.
    pub(super) fn files(&self) -> MutexGuard<'_, BTreeMap<String, Text>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The cell's source under the name that messages use; a count used twice gets a prime.
    fn source(&self, cell: &Cell) -> Arc<Source> {
        let mut name = format!("In[{}]", cell.count);
        let files = self.files();
        let taken = |name: &str| {
            let other = |(s, _): &Text| s.name == name && s.text != cell.code;
            files.get(&format!("body/{name}")).is_some_and(other)
        };
        while taken(&name) {
            name.push('\'');
        }
        Arc::new(Source { name, text: cell.code.clone() })
    }
}

impl Job<'_> {
    /// Corrects what was generated until rustc agrees or only the user can help.
    fn compile(&self, mut draft: Draft, state: &State) -> Result<Compiled, Refused> {
        let mut wants_types = draft.needs_types();
        for _ in 0..ROUNDS {
            let (number, compiler) = self.compiler(Goal::Code)?;
            let folder = compiler.folder.clone();
            let (written, root) = write(&draft, number, &folder, false)?;
            let code = compiler.feed(root);
            if std::mem::take(&mut wants_types) {
                draft.types = self.ask_types(&draft)?;
            }
            let errors = code.errors()?;
            if !errors.is_empty() {
                correct(&mut draft, &errors, &written, state)?;
            } else if !draft.point_at_functions() {
                return self.finish(draft, number, &folder, written);
            }
            remove(&folder);
        }
        let text = "rustc and parcell did not agree on the cell's variables";
        Err(Failure::new("CompileError", text).into())
    }

    fn compiler(&self, goal: Goal) -> Result<(usize, Waiting), Stop> {
        let (number, compiler) = self.workshop.standby.take(goal, self.setup)?;
        if self.nice {
            compiler.be_nice();
        }
        Ok((number, compiler))
    }

    fn ask_types(&self, draft: &Draft) -> Result<HashMap<String, Found>, Refused> {
        let (number, compiler) = self.compiler(Goal::Types)?;
        let folder = compiler.folder.clone();
        let (written, root) = write(draft, number, &folder, true)?;
        let errors = compiler.feed(root).errors();
        remove(&folder);
        let errors = errors?;
        Ok(diagnose::types(&errors, &written))
    }

    /// Links what rustc made.
    fn finish(
        &self,
        mut draft: Draft,
        number: usize,
        folder: &Path,
        written: Written,
    ) -> Result<Compiled, Refused> {
        let plan = draft.plan(number);
        let Workshop { linker, compilers, .. } = self.workshop;
        linker.link(compilers, folder, &plan.native(), &self.setup.library.archives)?;
        let module = Module {
            number,
            file: folder.join(MODULE),
            symbol: SYMBOL.to_owned(),
            needs: plan.needs().into_iter().collect(),
            libraries: self.setup.library.linked_files(),
        };
        draft.new_statics = plan.new_statics();
        Ok(Compiled { draft, module, written })
    }
}

/// Removes the folder of a module that nobody will load.
fn remove(folder: &Path) {
    // What is left goes with the session.
    let _ = std::fs::remove_dir_all(folder);
}

fn write(
    draft: &Draft,
    number: usize,
    folder: &Path,
    ask_types: bool,
) -> Result<(Written, String), Failure> {
    generate::write(folder, &draft.plan(number), ask_types).map_err(|e| unusable(&e, folder))
}

fn unusable(error: &io::Error, folder: &Path) -> Failure {
    Failure::new("IoError", unwritable(folder, error))
}

/// Corrects what the errors are about, or says what only the user can mend.
fn correct(
    draft: &mut Draft,
    errors: &[Complaint],
    written: &Written,
    state: &State,
) -> Result<(), Refused> {
    let corrections = diagnose::corrections(errors, written);
    if let Some(refused) = refused_borrow(draft, errors, &corrections) {
        return Err(refused.into());
    }
    if corrections.is_empty() || !draft.correct(&corrections) {
        return Err(explain(errors, written, draft, state, &corrections));
    }
    Ok(())
}

/// A variable that was bound for later cells alone, and that cannot be kept since it borrows.
fn refused_borrow(
    draft: &Draft,
    errors: &[Complaint],
    corrections: &[Correction],
) -> Option<Failure> {
    let borrows = |b: &&Binding| corrections.contains(&Correction::Borrows(b.name.clone()));
    let mut bindings = draft.parsed.bindings.iter().filter(borrows);
    let binding = bindings.find(|b| draft.is_for_later(b) && !draft.is_guard(b))?;
    Some(diagnose::borrow_refused(&draft.source, binding, errors))
}

fn explain(
    errors: &[Complaint],
    written: &Written,
    draft: &Draft,
    state: &State,
    corrections: &[Correction],
) -> Refused {
    for correction in corrections {
        if let Correction::Unnameable(name) = correction
            && let Some(variable) = draft.loads.iter().find(|v| v.name == *name)
        {
            let text = format!(
                "variable `{name}` has the type `{}`, which a cell cannot write; it was \
                 dropped. Bind it with an explicit public type, or as `Box<dyn …>`",
                variable.type_name
            );
            let failure = Failure::new("CompileError", text);
            return Refused { failure, unnameable: Some(name.clone()) };
        }
    }
    let unknown = errors.iter().filter_map(diagnose::unknown_name);
    let mut hints: HashMap<String, String> =
        unknown.filter_map(|name| similar_name(name, draft, state)).collect();
    let unkept = state.unkept.iter().chain(&draft.unkept).chain(&draft.elsewhere);
    hints.extend(unkept.map(|(name, why)| (name.clone(), format!("`{name}` {why}"))));
    diagnose::failure(errors, written, &hints, &draft.source).into()
}

/// A name of the session that somebody who wrote `name` may have meant, with the hint that says
/// so. rustc sees only those that the cell reaches.
fn similar_name(name: &str, draft: &Draft, state: &State) -> Option<(String, String)> {
    let variables = state.variables.keys().map(|v| (v.clone(), "variable"));
    let items = draft.items.names().into_iter();
    let distance = |other: &str| strsim::damerau_levenshtein(name, other);
    let length = name.chars().count();
    let close = |(other, _): &(String, _)| {
        distance(other) <= (length.max(3) / 3).min(length.saturating_sub(1))
    };
    let (other, kind) = variables.chain(items).filter(close).min_by_key(|(o, _)| distance(o))?;
    let hint = format!("a {kind} of this notebook has a similar name: `{other}`");
    (other != name).then(|| (name.to_owned(), hint))
}
