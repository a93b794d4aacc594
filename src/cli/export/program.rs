//! The text of `main.rs`.

use std::collections::{BTreeMap, BTreeSet};

use parcell_link::Pin;

use super::script::{Act, Refused, START_WORKERS, Script, Step};
use super::text::{disabled, indented, prose};
use crate::engine::{Chronicle, Definition, Section};

/// The text of the program.
pub(super) fn main_rs(
    title: &str,
    script: &Script,
    chronicle: &Chronicle,
) -> Result<String, Refused> {
    let program = Program { script, chronicle, kept: kept(script, chronicle) };
    program.refuse()?;
    let mut text = format!(
        "//! What the notebook {title} computes; written by `parcell export`.\n\n\
         // A notebook defines and shows more than it uses later.\n\
         #![allow(unused, dropping_copy_types)]\n\nuse parcell::prelude::*;\n"
    );
    text += &program.definitions();
    if program.starts_workers() {
        text += HELPER;
    }
    text += &program.main();
    let names_workers = |d: &Definition| d.name.as_deref() == Some("Workers");
    if text.contains(WORKERS) && !chronicle.definitions.iter().any(names_workers) {
        text = text.replace(WORKERS, "Workers");
        text = text.replacen(
            "use parcell::prelude",
            "use parcell::distributed::Workers;\nuse parcell::prelude",
            1,
        );
    }
    Ok(text)
}

const WORKERS: &str = "parcell::distributed::Workers";

const HELPER: &str = "
/// Starts workers: in a job of Slurm by its `srun`, on all nodes of the job, else on this machine.
fn start_workers(wanted: parcell::distributed::Workers) -> Vec<usize> {
    match std::env::var_os(\"SLURM_JOB_ID\") {
        Some(_) => addprocs(wanted.manager(\"slurm\")),
        None => addprocs(wanted),
    }
}
";

/// A set of variables that a `%%px` or `%%everywhere` cell leaves on workers.
#[derive(Debug)]
struct Kept {
    section: usize,
    /// The variable of process 1 that stands for all of them.
    name: String,
    names: Vec<String>,
}

/// What the cells that run on workers leave there.
fn kept(script: &Script, chronicle: &Chronicle) -> Vec<Kept> {
    let remote = script.steps.iter().filter_map(|step| match step.act {
        Act::Remote { section, .. } => Some((step.cell, section)),
        _ => None,
    });
    let binding = remote.filter(|(_, section)| !chronicle.sections[*section].binds.is_empty());
    let kept = |(cell, section): (usize, usize)| {
        let names = chronicle.sections[section].binds.iter().map(|(name, _)| name.clone());
        Kept { section, name: format!("kept_by_cell_{cell}"), names: names.collect() }
    };
    binding.map(kept).collect()
}

struct Program<'a> {
    script: &'a Script,
    chronicle: &'a Chronicle,
    kept: Vec<Kept>,
}

/// A stretch of the program in which definitions hold that are replaced later.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Layer {
    /// The section that replaces them.
    until: usize,
    /// The first and the last section that use them.
    first: usize,
    last: usize,
}

impl Program<'_> {
    /// What the program would need to have twice.
    fn refuse(&self) -> Result<(), Refused> {
        for definition in &self.chronicle.definitions {
            let cell = self.script.cells[definition.section];
            let name = definition.name.as_deref().unwrap_or_default();
            let taken = name == START_WORKERS && self.starts_workers();
            if name == "main" || taken {
                let problem = format!("it defines `{name}`, which the program has too: rename it");
                return Err(Refused { cell, problem });
            }
        }
        for step in &self.script.steps {
            let Act::Remote { section, .. } = step.act else { continue };
            let Section { binds, awaits, .. } = &self.chronicle.sections[section];
            if *awaits {
                let problem = "it awaits something on workers: use `fetch` there".to_owned();
                return Err(Refused { cell: step.cell, problem });
            }
            if let (Some(kept), false) = (self.used_by(section).first(), binds.is_empty()) {
                let problem = format!(
                    "it binds `{}` on workers and uses `{}`, which an earlier cell has left there: \
                     bind both in one cell",
                    binds[0].0, kept.names[0],
                );
                return Err(Refused { cell: step.cell, problem });
            }
        }
        Ok(())
    }

    fn starts_workers(&self) -> bool {
        let starts =
            |step: &Step| matches!(&step.act, Act::Line(l) if l.starts_with(START_WORKERS));
        self.script.steps.iter().any(starts)
    }

    /// What holds to the end, in the order of the cells; macros hold below their text only.
    fn definitions(&self) -> String {
        let lasting = self.chronicle.definitions.iter().filter(|d| d.until.is_none());
        let (macros, others): (Vec<_>, Vec<_>) = lasting.partition(|d| d.is_macro);
        let mut text = String::new();
        let mut last = None;
        for definition in macros.into_iter().chain(others) {
            let cell = self.script.cells[definition.section];
            if last.replace(cell) != Some(cell) {
                text += &format!("\n// Cell {cell}\n");
            } else if definition.text.contains('\n') {
                text.push('\n');
            }
            text += definition.text.trim();
            text.push('\n');
        }
        text
    }

    fn main(&self) -> String {
        let mut text = String::from(
            "\nfn main() -> Result<(), Box<dyn std::error::Error>> {\n    \
             // In a worker, which is this program started again, this does not return.\n    \
             parcell::distributed::init();\n",
        );
        text += &self.pool();
        if self.has_tokio() {
            text += "    let tokio_runtime = tokio::runtime::Runtime::new()?;\n    \
                     let _inside = tokio_runtime.enter();\n";
        }
        let steps: Vec<&Step> = self.script.steps.iter().collect();
        text += &self.steps(&steps, &self.layers(), 4);
        text + "\n    Ok(())\n}\n"
    }

    /// The pool whose first thread is that of `main`, as in a notebook.
    fn pool(&self) -> String {
        let place = "    let _pool = parcell::threads::Pool::";
        let Some(threads) = self.script.threads else {
            return format!("{place}attach_current(parcell::threads::default_threads())?;\n");
        };
        let size = match threads.default {
            0 => "parcell::threads::default_threads()".to_owned(),
            size => size.to_string(),
        };
        let pool = match threads.pin {
            Pin::Off => format!("{place}attach_current({size})?;\n"),
            pin => format!("{place}attach_pinned({size}, parcell::threads::Pin::{pin:?})?;\n"),
        };
        match threads.interactive {
            1 => pool,
            n => format!("{pool}    parcell::threads::set_interactive_threads({n});\n"),
        }
    }

    /// Whether the program runs on tokio's runtime.
    pub(super) fn has_tokio(&self) -> bool {
        let mut sections = self.chronicle.sections.iter();
        sections.any(|section| section.awaits || section.mentions.contains("tokio"))
            || self.chronicle.definitions.iter().any(|d| d.mentions.contains("tokio"))
    }

    /// Where earlier definitions are needed, such that of two that overlap one holds the other: the
    /// one that is replaced later is outside.
    fn layers(&self) -> Vec<Layer> {
        let mut layers: BTreeMap<usize, Layer> = BTreeMap::new();
        for definition in &self.chronicle.definitions {
            let (Some(until), Some(&first)) = (definition.until, definition.used.first()) else {
                continue;
            };
            let last = *definition.used.last().expect("it has a first");
            let layer = layers.entry(until).or_insert(Layer { until, first, last });
            (layer.first, layer.last) = (layer.first.min(first), layer.last.max(last));
        }
        let mut layers: Vec<Layer> = layers.into_values().collect();
        for inner in 0..layers.len() {
            for outer in inner + 1..layers.len() {
                let Layer { first, last, .. } = layers[inner];
                let layer = &mut layers[outer];
                if first <= layer.last && layer.first <= last {
                    (layer.first, layer.last) = (layer.first.min(first), layer.last.max(last));
                }
            }
        }
        layers
    }

    /// Steps, with those that need earlier definitions in blocks. Of layers the outermost is last.
    fn steps(&self, steps: &[&Step], layers: &[Layer], depth: usize) -> String {
        let mut text = String::new();
        let mut at = 0;
        while at < steps.len() {
            let begins = |layer: &&Layer| section(steps[at]) == Some(layer.first);
            let Some(layer) = layers.iter().rev().find(begins) else {
                text += &self.step(steps, at, depth);
                at += 1;
                continue;
            };
            let inside = |step: &&&Step| section(step).is_none_or(|s| s <= layer.last);
            let mut end = at + steps[at..].iter().take_while(inside).count();
            while section(steps[end - 1]).is_none() {
                end -= 1;
            }
            let inner: Vec<Layer> =
                layers.iter().filter(|l| l.until < layer.until).cloned().collect();
            text += &self.block(layer, &steps[at..end], &inner, depth);
            at = end;
        }
        text
    }

    /// Steps in a block of their own, with the definitions that hold there.
    fn block(&self, layer: &Layer, steps: &[&Step], inner: &[Layer], depth: usize) -> String {
        let cell = self.script.cells[layer.until];
        let mut held = String::new();
        let mut names = BTreeSet::new();
        for definition in self.chronicle.definitions.iter().filter(|d| d.until == Some(layer.until))
        {
            names.extend(definition.name.as_ref().map(|name| format!("`{name}`")));
            held += &indented(definition.text.trim(), depth + 4);
            held.push('\n');
        }
        let names: Vec<String> = names.into_iter().collect();
        let names = if names.is_empty() { "What".to_owned() } else { names.join(", ") };
        let mut text = String::from("\n");
        text += &prose(&format!("{names}: as defined until cell {cell}."), depth);
        let (open, close) = self.passed_on(steps, layer.last, depth);
        text + &open + &held + &self.steps(steps, inner, depth + 4) + &close
    }

    /// How a block begins and ends that passes on what later sections mention.
    fn passed_on(&self, steps: &[&Step], last: usize, depth: usize) -> (String, String) {
        let mut bound: BTreeMap<&str, bool> = BTreeMap::new();
        for step in steps {
            match step.act {
                Act::Rust { section, .. } | Act::Remote { section, driver: true, .. } => {
                    let binds = &self.chronicle.sections[section].binds;
                    bound.extend(binds.iter().map(|(name, mutable)| (name.as_str(), *mutable)));
                }
                _ => {}
            }
            if let Act::Remote { section, .. } = step.act {
                let kept = self.kept.iter().find(|kept| kept.section == section);
                bound.extend(kept.map(|kept| (kept.name.as_str(), false)));
            }
        }
        bound.retain(|name, _| self.is_mentioned_after(name, last));
        let margin = " ".repeat(depth);
        let tuple = |parts: Vec<String>| match parts.as_slice() {
            [one] => one.clone(),
            several => format!("({})", several.join(", ")),
        };
        if bound.is_empty() {
            return (format!("{margin}{{\n"), format!("{margin}}}\n"));
        }
        let mutable = |mutable: bool| if mutable { "mut " } else { "" };
        let patterns = bound.iter().map(|(name, m)| format!("{}{name}", mutable(*m))).collect();
        let values = bound.keys().map(|name| (*name).to_owned()).collect();
        (
            format!("{margin}let {} = {{\n", tuple(patterns)),
            format!("{margin}    {}\n{margin}}};\n", tuple(values)),
        )
    }

    fn is_mentioned_after(&self, name: &str, last: usize) -> bool {
        for (number, section) in self.chronicle.sections.iter().enumerate().skip(last + 1) {
            let keeps = self.used_by(number);
            if section.mentions.contains(name) || keeps.iter().any(|kept| kept.name == name) {
                return true;
            }
            if section.binds.iter().any(|(bound, _)| bound == name) {
                return false;
            }
        }
        false
    }

    /// What a section that runs on workers uses of what is kept there.
    fn used_by(&self, section: usize) -> Vec<&Kept> {
        let is_remote =
            |step: &&Step| matches!(step.act, Act::Remote { section: s, .. } if s == section);
        if !self.script.steps.iter().any(|step| is_remote(&step)) {
            return Vec::new();
        }
        let mentions = &self.chronicle.sections[section].mentions;
        // The latest that has a name is meant.
        let latest = |kept: &Kept, name: &String| {
            let later = self.kept.iter().filter(|other| other.section < section);
            later
                .rev()
                .find(|other| other.names.contains(name))
                .is_some_and(|l| l.name == kept.name)
        };
        let earlier = self.kept.iter().filter(|kept| kept.section < section);
        earlier
            .filter(|kept| kept.names.iter().any(|n| mentions.contains(n) && latest(kept, n)))
            .collect()
    }

    fn step(&self, steps: &[&Step], at: usize, depth: usize) -> String {
        let Step { cell, magic, act } = steps[at];
        let body = match act {
            Act::Prose(text) => return format!("\n{}", prose(text, depth)),
            Act::LeftOut { text, why } => {
                format!("{}// Left out, since {why}:\n{}", " ".repeat(depth), disabled(text, depth))
            }
            Act::Line(line) => format!("{}{line}\n", " ".repeat(depth)),
            Act::Threads(threads) => {
                let said = if self.script.threads == Some(*threads) {
                    "The pool has so many threads from the start."
                } else {
                    "Left out: the pool of a program keeps its size."
                };
                disabled(said, depth)
            }
            Act::Rust { section, timed } => self.rust(*cell, *section, *timed, depth),
            Act::Remote { section, driver, targets } => {
                self.remote(*section, *driver, targets.as_deref(), depth)
            }
        };
        if body.is_empty() {
            return body;
        }
        let above = steps[..at].iter().rev().find(|step| !matches!(step.act, Act::Prose(_)));
        let goes_on = above.is_some_and(|step| step.cell == *cell && step.magic == *magic)
            && !matches!(steps[at - 1].act, Act::Prose(_));
        let margin = " ".repeat(depth);
        match magic {
            Some(magic) => format!("\n{margin}// Cell {cell}: {magic}\n{body}"),
            None if goes_on => body,
            None => format!("\n{margin}// Cell {cell}\n{body}"),
        }
    }

    /// Statements on process 1.
    fn rust(&self, cell: usize, number: usize, timed: bool, depth: usize) -> String {
        let section = &self.chronicle.sections[number];
        if section.text.is_empty() {
            return String::new();
        }
        let margin = " ".repeat(depth);
        let mut text = String::new();
        if timed {
            text += &format!("{margin}let start_of_cell_{cell} = std::time::Instant::now();\n");
        }
        let statements = self.statements(number);
        text += &if section.awaits {
            self.awaiting(number, &statements, depth)
        } else {
            indented(&statements, depth) + "\n"
        };
        if timed {
            text +=
                &format!("{margin}println!(\"run {{:.3?}}\", start_of_cell_{cell}.elapsed());\n");
        }
        text
    }

    /// Statements that await something, run to their end by tokio.
    fn awaiting(&self, number: usize, statements: &str, depth: usize) -> String {
        let margin = " ".repeat(depth);
        let section = &self.chronicle.sections[number];
        let kept = section.binds.iter().filter(|(name, _)| self.is_mentioned_after(name, number));
        let (mut patterns, mut values) = (Vec::new(), Vec::new());
        for (name, mutable) in kept {
            patterns.push(format!("{}{name}", if *mutable { "mut " } else { "" }));
            values.push(name.as_str());
        }
        let comma = if values.len() == 1 { "," } else { "" };
        let open = match patterns.as_slice() {
            [] => String::new(),
            patterns => format!("let ({}{comma}) = ", patterns.join(", ")),
        };
        format!(
            "{margin}{open}tokio_runtime.block_on(async {{\n{}\n{margin}    \
             Ok::<_, Box<dyn std::error::Error>>(({}{comma}))\n{margin}}})?;\n",
            indented(statements, depth + 4),
            values.join(", "),
        )
    }

    /// The statements of a section, with the value of the last expression shown.
    fn statements(&self, number: usize) -> String {
        let section = &self.chronicle.sections[number];
        let mut edits: Vec<(usize, String)> = Vec::new();
        for (name, at, type_name) in &section.numbers {
            // Later cells take it as what it is there: a number of the default type.
            if self.is_mentioned_after(name, number) {
                edits.push((*at, format!(": {type_name}")));
            }
        }
        if let Some(tail) = &section.tail {
            edits.push((tail.start, "show!(".to_owned()));
            edits.push((tail.end, ");".to_owned()));
        }
        let mut text = section.text.clone();
        for (at, edit) in edits.into_iter().rev() {
            text.insert_str(at, &edit);
        }
        text
    }

    /// Statements on workers, and on process 1 too if `driver` says so.
    fn remote(&self, number: usize, driver: bool, targets: Option<&[u32]>, depth: usize) -> String {
        let section = &self.chronicle.sections[number];
        if section.text.is_empty() {
            return String::new();
        }
        let margin = " ".repeat(depth);
        let statements = self.statements(number);
        let own = self.kept.iter().find(|kept| kept.section == number);
        let used = self.used_by(number);
        let alone = driver && own.is_none() && used.is_empty();
        let processes = match (targets, driver) {
            (Some(ids), _) => {
                format!("[{}]", ids.iter().map(u32::to_string).collect::<Vec<_>>().join(", "))
            }
            (None, true) => "&procs()[1..]".to_owned(),
            (None, false) => "&workers()".to_owned(),
        };
        let mut text = String::new();
        if let Some(kept) = own {
            let names = kept.names.join(", ");
            let processes = if targets.is_some() { format!("&{processes}") } else { processes };
            text +=
                &format!("{margin}let {} = WorkerLocal::new_on({processes}, || {{\n", kept.name);
            text += &indented(&statements, depth + 4);
            text += &format!("\n{margin}    Some(({names},))\n{margin}}});\n");
        } else {
            let on = if alone { String::new() } else { format!("{processes}, ") };
            text += &format!("{margin}everywhere!({on}{{\n");
            let mut ends = String::new();
            for (nested, kept) in used.iter().enumerate() {
                let inside = " ".repeat(depth + 4 * (nested + 1));
                let names = kept.names.join(", ");
                let patterns = kept.names.iter().map(|name| format!("mut {name}"));
                let patterns = patterns.collect::<Vec<_>>().join(", ");
                text += &format!("{inside}{}.with_mut(|kept| {{\n", kept.name);
                text += &format!(
                    "{inside}    let ({patterns},) = kept.take().expect(\"an earlier cell has left it\");\n"
                );
                ends = format!("{inside}    *kept = Some(({names},));\n{inside}}});\n{ends}");
            }
            text += &indented(&statements, depth + 4 * (used.len() + 1));
            text += &format!("\n{ends}{margin}}});\n");
        }
        if driver && !alone {
            text += &format!("{margin}// And on process 1.\n");
            text += &indented(&statements, depth);
            text.push('\n');
        }
        text
    }
}

/// Which section a step runs.
fn section(step: &Step) -> Option<usize> {
    match step.act {
        Act::Rust { section, .. } | Act::Remote { section, .. } => Some(section),
        _ => None,
    }
}

/// Crates that the program names, of those that cells can name without a declaration.
pub(super) fn crates<'a>(chronicle: &Chronicle, of: &[&'a str]) -> Vec<&'a str> {
    let names = |name: &str| {
        chronicle.sections.iter().any(|s| s.mentions.contains(name))
            || chronicle.definitions.iter().any(|d: &Definition| d.mentions.contains(name))
            || name == "tokio" && chronicle.sections.iter().any(|s| s.awaits)
    };
    of.iter().copied().filter(|name| names(name)).collect()
}
