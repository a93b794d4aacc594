//! The engine: keeps what a session has defined, and takes a cell from source to outcome.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use parcell_link::{Outcome, Panic};
use proc_macro2::TokenStream;

use super::diagnose::{self, Correction, Found};
use super::generate::{self, Plan, SYMBOL, Written};
use super::items::{Items, Source};
use super::parse::{Binding, Parsed, count_mentions, parse};
use super::rustc::{Complaint, MODULE, Rustc, Stop};
use super::{Engine, Evaluation, Outline, Run, Runner, Variable};
use crate::cells::{Compilers, Library, Toolchain};
use crate::stage::{Cell, Failure};

/// Corrections come in rounds, since rustc shows borrow errors only where types are right.
const ROUNDS: usize = 6;

/// Evaluates cells on this machine, with its own compiler.
#[derive(Debug)]
pub struct LocalEngine {
    folder: PathBuf,
    rustc: Rustc,
    modules: usize,
    items: Items,
    variables: BTreeMap<String, Variable>,
    /// Statics that live in modules of the present driver, with the symbols that export them.
    statics: HashMap<String, String>,
    /// Variables that could not be kept, and why: explained when a later cell asks for them.
    unkept: HashMap<String, String>,
    /// How to read places in every file written so far.
    files: Written,
}

/// A cell on its way: what is known of it, corrected from round to round.
struct Draft {
    source: Arc<Source>,
    parsed: Parsed,
    items: Items,
    loads: Vec<Variable>,
    moved: Vec<String>,
    keeps: Vec<String>,
    unkept: HashMap<String, String>,
    types: HashMap<String, Found>,
    show_value: bool,
    dropped: Vec<String>,
    notices: Vec<String>,
}

impl LocalEngine {
    /// An engine that writes its modules into `folder`.
    pub fn new(folder: &Path, toolchain: Toolchain, compilers: Compilers) -> LocalEngine {
        LocalEngine {
            folder: folder.to_owned(),
            rustc: Rustc { toolchain, compilers, opt_level: "3".to_owned() },
            modules: 0,
            items: Items::default(),
            variables: BTreeMap::new(),
            statics: HashMap::new(),
            unkept: HashMap::new(),
            files: Written::default(),
        }
    }

    /// Compiles something small, so that compiler and cell library lie in memory when the first
    /// cell comes. Nothing runs.
    pub fn warm_up(&mut self, library: &Library) {
        let cell = Cell { code: "1 + 1".to_owned(), ..Cell::default() };
        let mut draft = self.draft(&cell);
        // What is wrong here is wrong for the first cell too, which can show it.
        let _ = self.compile(&mut draft, library);
    }

    /// Looks at a cell: what it defines, what it needs, what it would leave behind.
    fn draft(&self, cell: &Cell) -> Draft {
        let source = self.source(cell);
        let parsed = parse(&cell.code).unwrap_or_else(|| unparsed(&cell.code));
        let items = self.items.with(&parsed.items, &source);
        let changed = items.changed_types(&self.items);
        let lost = |v: &&Variable| words(&v.type_name).any(|word| changed.contains(word));
        let lost: Vec<&Variable> = self.variables.values().filter(lost).collect();
        let notices = lost.iter().map(|v| {
            format!("variable `{}` was dropped: its type `{}` was redefined", v.name, v.type_name)
        });
        let (notices, dropped) =
            (notices.collect(), lost.iter().map(|v| v.name.clone()).collect::<Vec<_>>());
        let needs = |v: &&Variable| !dropped.contains(&v.name) && mentioned(&parsed, &v.name);
        let loads = self.variables.values().filter(needs).cloned().collect();
        let keeps = parsed.bindings.iter().map(|b| b.name.clone()).collect();
        Draft {
            source,
            items,
            loads,
            moved: Vec::new(),
            keeps,
            unkept: HashMap::new(),
            types: HashMap::new(),
            show_value: !cell.silent,
            dropped,
            notices,
            parsed,
        }
    }

    /// The cell's source under the name that messages use; a count used twice gets a prime.
    fn source(&self, cell: &Cell) -> Arc<Source> {
        let mut name = format!("In[{}]", cell.count);
        let taken = |name: &str| {
            let other = |(s, _): &(Arc<Source>, _)| s.name == name && s.text != cell.code;
            self.files.files.values().any(other)
        };
        while taken(&name) {
            name.push('\'');
        }
        Arc::new(Source { name, text: cell.code.clone() })
    }

    /// Compiles, correcting what was generated until rustc agrees or only the user can help.
    fn compile(&mut self, draft: &mut Draft, library: &Library) -> Result<PathBuf, Failure> {
        self.modules += 1;
        let folder = self.folder.join(format!("m{}", self.modules));
        let mut wants_types = draft.needs_types();
        for _ in 0..ROUNDS {
            let written = self.write(&folder, draft, library, false)?;
            let code = self.rustc.compile(&folder, library).map_err(stopped)?;
            if std::mem::take(&mut wants_types) {
                draft.types = self.ask_types(&folder, draft, library)?;
            }
            let errors = code.errors().map_err(stopped)?;
            if errors.is_empty() {
                return Ok(folder.join(MODULE));
            }
            let corrections = diagnose::corrections(&errors, &written);
            if corrections.is_empty() || !draft.correct(&corrections) {
                return Err(self.explain(&errors, &written, draft, &corrections));
            }
        }
        Err(Failure::new("CompileError", "rustc and parcell did not agree on the cell's variables"))
    }

    fn write(
        &mut self,
        folder: &Path,
        draft: &Draft,
        library: &Library,
        ask_types: bool,
    ) -> Result<Written, Failure> {
        let plan = draft.plan(library, &self.statics, self.modules);
        let written = generate::write(folder, &plan, ask_types);
        let written = written.map_err(|e| {
            let text = format!("the session's folder cannot be written: {}: {e}", folder.display());
            Failure::new("IoError", text)
        })?;
        self.files.files.extend(written.files.clone());
        Ok(written)
    }

    fn ask_types(
        &mut self,
        folder: &Path,
        draft: &Draft,
        library: &Library,
    ) -> Result<HashMap<String, Found>, Failure> {
        let folder = folder.with_extension("types");
        let written = self.write(&folder, draft, library, true)?;
        let call = self.rustc.ask_types(&folder, library).map_err(stopped)?;
        let errors = call.errors().map_err(stopped)?;
        Ok(diagnose::types(&errors, &written))
    }

    fn explain(
        &mut self,
        errors: &[Complaint],
        written: &Written,
        draft: &Draft,
        corrections: &[Correction],
    ) -> Failure {
        for correction in corrections {
            if let Correction::Unnameable(name) = correction
                && let Some(variable) = self.variables.remove(name)
            {
                let text = format!(
                    "variable `{name}` has the type `{}`, which a cell cannot write; it was \
                     dropped. Bind it with an explicit public type, or as `Box<dyn …>`",
                    variable.type_name
                );
                return Failure::new("CompileError", text);
            }
        }
        let unkept = self.unkept.iter().chain(&draft.unkept);
        let hints = unkept.map(|(name, why)| (name.clone(), format!("`{name}` {why}"))).collect();
        diagnose::failure(errors, written, &hints)
    }

    /// Takes over what the cell did to the session.
    fn commit(&mut self, draft: Draft, outcome: &Outcome) -> Vec<String> {
        let mut dropped = draft.dropped.clone();
        for name in draft.moved.iter().chain(&draft.dropped) {
            self.variables.remove(name);
        }
        for name in &draft.moved {
            let why = format!("was moved away by {}", draft.source.name);
            self.unkept.insert(name.clone(), why);
        }
        for item in draft.items.names() {
            self.unkept.remove(&item.0);
        }
        self.unkept.extend(draft.unkept.clone());
        if *outcome == Outcome::Finished {
            let kept: HashSet<&String> = draft.keeps.iter().collect();
            for binding in draft.parsed.bindings.iter().filter(|b| kept.contains(&b.name)) {
                match draft.type_of(binding) {
                    Ok(type_name) => {
                        let Binding { name, mutable, .. } = binding.clone();
                        self.unkept.remove(&name);
                        self.variables.insert(name.clone(), Variable { name, type_name, mutable });
                    }
                    Err(why) => {
                        self.variables.remove(&binding.name);
                        self.unkept.insert(binding.name.clone(), why);
                        dropped.push(binding.name.clone());
                    }
                }
            }
        }
        if *outcome != Outcome::Finished {
            let new = draft.keeps.iter().filter(|k| !self.variables.contains_key(*k));
            for name in new {
                let why = format!("was not kept: {} did not finish", draft.source.name);
                self.unkept.insert(name.clone(), why);
            }
        }
        self.items = draft.items;
        dropped
    }

    /// The failure of a cell that ran.
    fn failure_of(&self, outcome: &Outcome) -> Option<Failure> {
        match outcome {
            Outcome::Finished => None,
            Outcome::Failed { name, message } => {
                let name = name.split('<').next().unwrap_or(name);
                let name = name.rsplit("::").next().unwrap_or(name);
                let mut failure = Failure::new("Error", message);
                failure.traceback = vec![format!("\u{1b}[1;31mError\u{1b}[0m ({name}): {message}")];
                Some(failure)
            }
            Outcome::Panicked(panic) => Some(self.panic(panic)),
            Outcome::Interrupted => {
                Some(Failure::new("Interrupted", "the cell was interrupted; variables are kept"))
            }
            Outcome::NotLoaded { message } => Some(Failure::new(
                "LoadError",
                format!("the compiled cell cannot be loaded: {message}"),
            )),
        }
    }

    fn panic(&self, panic: &Panic) -> Failure {
        let Panic { message, file, line, column, thread } = panic;
        let start = ["body/In[", "items/In["].iter().find_map(|s| file.rfind(s));
        let file = start.map_or(file.as_str(), |at| &file[at..]);
        let column = self.files.column(file, *line, *column);
        let shown = file.rsplit_once('/').filter(|_| start.is_some()).map_or(file, |(_, f)| f);
        let mut lines = vec![format!("\u{1b}[1;31mPanic\u{1b}[0m: {message}")];
        if !file.is_empty() {
            let by = thread.as_ref().map(|t| format!(", in thread {t}")).unwrap_or_default();
            lines.push(format!("  at {shown}:{line}:{column}{by}"));
        }
        if let Some((source, _)) = self.files.files.get(file) {
            lines.extend(point_at(source, *line, column).lines().skip(2).map(str::to_owned));
        }
        Failure { name: "Panic".to_owned(), value: message.clone(), traceback: lines }
    }

    /// The driver died: no variable is left.
    fn lose_variables(&mut self, mut failure: Failure) -> Failure {
        let names: Vec<String> = std::mem::take(&mut self.variables).into_keys().collect();
        let lost = match names.as_slice() {
            [] => "no variables were lost".to_owned(),
            [one] => format!("variable lost: {one}"),
            many => format!("variables lost: {}", many.join(", ")),
        };
        failure.traceback.push(format!("{lost}; functions and types are still there"));
        failure
    }
}

impl Draft {
    fn plan<'a>(
        &'a self,
        library: &'a Library,
        living: &'a HashMap<String, String>,
        module: usize,
    ) -> Plan<'a> {
        let mentions = self.parsed.mentions.keys().map(String::as_str);
        let types = self.loads.iter().flat_map(|v| words(&v.type_name));
        Plan {
            source: &self.source,
            parsed: &self.parsed,
            items: self.items.reached(mentions.chain(types), &self.source),
            loads: self.loads.iter().collect(),
            moved: self.moved.clone(),
            keeps: self.keeps.clone(),
            show_value: self.show_value,
            living,
            version: format!("m{module}"),
            linked: &library.linked,
        }
    }

    fn needs_types(&self) -> bool {
        self.parsed.bindings.iter().any(|b| b.type_name.is_none())
    }

    fn type_of(&self, binding: &Binding) -> Result<String, String> {
        if let Some(written) = &binding.type_name {
            return Ok(written.clone());
        }
        match self.types.get(&binding.name) {
            Some(Found::Type(name)) => Ok(name.clone()),
            Some(Found::Closure) => {
                Err("was not kept by the cell that bound it: a closure has no \
                type that a later cell could write. Make it a `fn`, or box it: `let f: Box<dyn \
                Fn(i32) -> i32> = Box::new(…)`"
                    .to_owned())
            }
            Some(Found::Opaque(name)) => Err(format!(
                "was not kept by the cell that bound it: no later cell can write its type `{name}`. \
                 Collect it into a `Vec`, or box it as `Box<dyn …>`"
            )),
            None => Err("was not kept by the cell that bound it: rustc did not name its type; \
                bind it with an explicit type"
                .to_owned()),
        }
    }

    /// Applies corrections; false if they change nothing.
    fn correct(&mut self, corrections: &[Correction]) -> bool {
        let mut changed = false;
        for correction in corrections {
            changed |= match correction {
                Correction::Moved(name) => push_new(&mut self.moved, name),
                Correction::Consumed(name) => {
                    let why = "was moved by the cell that bound it".to_owned();
                    self.give_up(name, why)
                }
                Correction::Borrows(name) => {
                    let why = "was not kept by the cell that bound it: it borrows from another \
                        variable. Keep an owned value (`.to_vec()`, `.clone()`), or borrow again \
                        in each cell"
                        .to_owned();
                    self.give_up(name, why)
                }
                Correction::Unnameable(_) => false,
            };
        }
        changed
    }

    fn give_up(&mut self, name: &str, why: String) -> bool {
        let before = self.keeps.len();
        self.keeps.retain(|kept| kept != name);
        self.unkept.insert(name.to_owned(), why);
        self.keeps.len() < before
    }
}

impl Engine for LocalEngine {
    fn evaluate(&mut self, cell: &Cell, library: &Library, runner: &mut dyn Runner) -> Evaluation {
        let start = Instant::now();
        let mut draft = self.draft(cell);
        let module = self.compile(&mut draft, library);
        let compile_time = start.elapsed();
        let mut evaluation =
            Evaluation { result: Ok(()), notices: Vec::new(), dropped: Vec::new(), compile_time };
        let module = match module {
            Ok(module) => module,
            Err(failure) => return Evaluation { result: Err(failure), ..evaluation },
        };
        evaluation.notices = std::mem::take(&mut draft.notices);
        match runner.run(&module, SYMBOL) {
            Run::Ended(outcome) => {
                if !matches!(outcome, Outcome::NotLoaded { .. }) {
                    let plan = draft.plan(library, &self.statics, self.modules);
                    let new = plan.new_statics();
                    self.statics.extend(new);
                }
                evaluation.result = self.failure_of(&outcome).map_or(Ok(()), Err);
                evaluation.dropped = self.commit(draft, &outcome);
            }
            Run::Died(failure) => {
                self.items = draft.items;
                self.statics.clear();
                evaluation.result = Err(self.lose_variables(failure));
            }
        }
        evaluation
    }

    fn variables(&self) -> Vec<Variable> {
        self.variables.values().cloned().collect()
    }

    fn item_names(&self) -> Vec<String> {
        self.items.names().into_iter().map(|(name, _)| name).collect()
    }

    fn forget_variables(&mut self, names: &[String]) {
        self.variables.retain(|name, _| !names.contains(name));
    }

    fn driver_restarted(&mut self) {
        self.variables.clear();
        self.statics.clear();
    }

    fn forget_all(&mut self) {
        self.variables.clear();
        self.unkept.clear();
        self.items = Items::default();
    }

    fn outline(&self) -> Arc<Outline> {
        let texts: Vec<&str> = self.items.iter().map(|i| i.item.text.as_str()).collect();
        Arc::new(Outline {
            items: texts.join("\n"),
            variables: self.variables(),
            names: self.items.names(),
            sources: self.items.sources(),
            dependencies: Vec::new(),
        })
    }

    fn opt_level(&self) -> &str {
        &self.rustc.opt_level
    }

    fn set_opt_level(&mut self, level: &str) -> Result<(), String> {
        if !["0", "1", "2", "3", "s", "z"].contains(&level) {
            return Err(format!("`{level}` is no optimisation level; use 0, 1, 2, 3, s or z"));
        }
        level.clone_into(&mut self.rustc.opt_level);
        Ok(())
    }
}

/// What can be known of a cell that does not parse: rustc will say what is wrong with it.
fn unparsed(code: &str) -> Parsed {
    let mut parsed = Parsed::default();
    if let Ok(tokens) = code.parse::<TokenStream>() {
        count_mentions(tokens, &mut parsed.mentions);
    }
    parsed
}

/// Whether the cell uses an earlier variable: mentions it beyond binding it anew.
fn mentioned(parsed: &Parsed, name: &str) -> bool {
    let bound = parsed.bindings.iter().find(|b| b.name == name).map_or(0, |b| b.times);
    parsed.mentions.get(name).is_some_and(|times| *times > bound)
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|w| !w.is_empty())
}

fn push_new(names: &mut Vec<String>, name: &str) -> bool {
    let new = !names.iter().any(|n| n == name);
    if new {
        names.push(name.to_owned());
    }
    new
}

fn stopped(stop: Stop) -> Failure {
    match stop {
        Stop::Cancelled => {
            Failure::new("Interrupted", "the cell was interrupted while it compiled; nothing ran")
        }
        Stop::Failed(text) => Failure::new("CompilerFailed", text),
    }
}

/// The source line with a mark under the place.
fn point_at(source: &Source, line: u32, column: u32) -> String {
    let before: usize =
        source.text.split_inclusive('\n').take(line as usize - 1).map(str::len).sum();
    let rest = &source.text[before..];
    let at = rest.char_indices().nth(column as usize - 1).map_or(rest.len(), |(i, _)| i);
    let span = before + at..before + at;
    let snippet = Snippet::source(source.text.as_str())
        .path(source.name.as_str())
        .annotation(AnnotationKind::Primary.span(span));
    let report = [Group::with_title(Level::ERROR.primary_title("")).element(snippet)];
    Renderer::styled().render(&report)
}
