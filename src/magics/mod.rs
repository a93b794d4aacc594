//! Magics: one table, from which `%help`, completion and the README's list are made. They work on
//! the session through a [`Desk`] and know nothing else of it.

mod about;
mod args;
mod complete;
mod crates;
mod desk;
#[cfg(test)]
mod double;
mod files;
mod help;
mod ids;
mod names;
mod place;
mod px;
mod scan;
mod split;
mod threads;
mod time;
mod workers;

use parcell_link::Bundle;

pub use complete::{Known, complete, completions, inspect};
pub use desk::{Desk, Timing};
pub use help::{help, markdown_table};
pub use split::{Call, Part, Sigil, blank, rust_view, split};

use crate::stage::{Completion, Failure, Output, Stream};

/// Where a magic can stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// On a line of its own, `%name`.
    Line,
    /// At the start of a cell, `%%name`, with the cell as its body.
    Cell,
    /// Both.
    Both,
}

/// What is said of a magic.
#[derive(Debug)]
pub struct Facts {
    /// Its name, without sigil.
    pub name: &'static str,
    /// Other names, evcxr's among them.
    pub aliases: &'static [&'static str],
    /// Where it can stand.
    pub kind: Kind,
    /// Name and arguments, without sigil.
    pub usage: &'static str,
    /// One line.
    pub summary: &'static str,
    /// Details, in markdown.
    pub help: &'static str,
}

/// A command of the kernel.
pub trait Magic: Sync {
    /// What is said of it.
    fn facts(&self) -> &'static Facts;

    /// Does it.
    ///
    /// # Errors
    /// `UsageError` for arguments it does not understand; else what the desk failed with.
    fn run(&self, desk: &mut dyn Desk, call: &Call) -> Result<(), Failure>;

    /// Where in its arguments Rust starts (in bytes), if they and its body are Rust.
    fn rust(&self, _args: &str) -> Option<usize> {
        None
    }

    /// What can stand in place of `word`, the last word of the arguments; the caller drops what
    /// does not start with it. Never blocks for longer than listing a folder.
    fn complete(&self, _word: &str, _known: &Known<'_>) -> Vec<Completion> {
        Vec::new()
    }
}

/// All magics, in the order in which they are listed.
pub static MAGICS: &[&dyn Magic] = &[
    &threads::Threads,
    &workers::Workers,
    &workers::Rmworkers,
    &px::Everywhere,
    &px::Px,
    &time::Time,
    &time::Timeit,
    &names::Who,
    &names::Type,
    &names::Forget,
    &names::Reset,
    &names::Restart,
    &crates::Dep,
    &crates::Opt,
    &files::Load,
    &files::Run,
    &files::Writefile,
    &place::Env,
    &place::Cd,
    &place::Pwd,
    &place::Shell,
    &about::Lsmagic,
    &about::Help,
    &about::Version,
    &about::Explain,
];

/// What takes the place of commands that other kernels have and this one does not.
const ELSEWHERE: &[(&str, &str)] = &[
    ("timing", "`%time STATEMENT` and `%%time` tell run and compile time"),
    ("time_passes", "`%time` tells the compile time"),
    ("types", "`%type NAME` and `%who` tell types"),
    ("fmt", "a value is shown by its `Debug` or `Display`; print with `println!` to choose"),
    ("efmt", "an error is shown by its `Display`, with its sources"),
    ("quit", "shut the kernel down from the front end"),
    ("toolchain", "a running session keeps its compiler; the kernel takes the one on PATH"),
    ("offline", "`%env CARGO_NET_OFFLINE=true` keeps cargo off the network"),
    ("build_env", "`%env NAME=VALUE` holds for builds as well"),
    ("preserve_vars_on_panic", "variables of earlier cells always survive a panic"),
    ("cache", "the cache needs no setting; `parcell clean` empties it"),
    ("clear_cache", "`parcell clean` empties the cache"),
    ("sccache", "crates are built once and cached without it"),
    ("linker", "the linker is chosen by the kernel"),
    ("codegen_backend", "cells are always compiled by rustc's own backend"),
    ("allow_static_linking", "crates are linked so that all cells share their statics"),
    ("load_config", "there is no start-up file; put such lines into a cell, or `%run FILE.rs`"),
    ("last_compile_dir", "compile errors are shown in full in the cell"),
    ("last_error_json", "compile errors are shown in full in the cell"),
    ("internal_debug", "start the kernel with PARCELL_LOG=debug"),
    ("pip", "`!pip …` runs it in a shell; crates are added with `%dep`"),
    ("conda", "`!conda …` runs it in a shell; crates are added with `%dep`"),
    ("matplotlib", "nothing needs switching on: plots are shown as the value of a cell"),
    ("bash", "`!command` runs a line in the shell"),
    ("sh", "`!command` runs a line in the shell"),
];

/// The magic of this name or alias.
pub fn find(name: &str) -> Option<&'static dyn Magic> {
    let named = |f: &Facts| f.name == name || f.aliases.contains(&name);
    MAGICS.iter().copied().find(|magic| named(magic.facts()))
}

/// Runs a magic. Blocks until it is done.
///
/// # Errors
/// `UsageError` if there is no such magic, or its arguments are wrong; else what it failed with.
pub fn run(desk: &mut dyn Desk, call: &Call) -> Result<(), Failure> {
    let Some(magic) = find(&call.name) else { return Err(unknown(call)) };
    let facts = magic.facts();
    let name = facts.name;
    // Commands of a shell have a help of their own.
    if call.args == "--help" && name != "!" {
        desk.page(help(name).expect("every magic has a page"));
        return Ok(());
    }
    match (facts.kind, call.sigil, &call.body) {
        (Kind::Line, Sigil::Cell, _) => {
            Err(usage_error(facts, format!("it takes no body; write `%{name}`")))
        }
        (_, Sigil::Cell, None) => {
            Err(usage_error(facts, "a `%%` magic must be the first line of its cell"))
        }
        (Kind::Cell, _, None) => {
            let why = format!("it needs a cell; write `%%{name}` on the first line");
            Err(usage_error(facts, why))
        }
        _ => magic.run(desk, call),
    }
}

fn unknown(call: &Call) -> Failure {
    let written = call.written();
    let elsewhere = ELSEWHERE.iter().find(|(name, _)| *name == call.name);
    let advice = match (elsewhere, nearest(&call.name)) {
        (Some((_, instead)), _) => format!(": {instead}."),
        (None, Some(name)) => {
            let sigil = if call.sigil == Sigil::Colon { ":" } else { sigil_of(name) };
            format!(". Did you mean `{sigil}{name}`?")
        }
        (None, None) => ": `%lsmagic` lists all magics.".to_owned(),
    };
    Failure::new("UsageError", format!("There is no magic `{written}`{advice}"))
}

/// The sigil to name a magic with.
fn sigil_of(name: &str) -> &'static str {
    match find(name).map(|magic| magic.facts().kind) {
        Some(Kind::Cell) => "%%",
        _ if name == "!" => "",
        _ => "%",
    }
}

/// The known name most like this one.
fn nearest(name: &str) -> Option<&'static str> {
    let names = MAGICS.iter().flat_map(|magic| {
        let facts = magic.facts();
        std::iter::once(facts.name).chain(facts.aliases.iter().copied())
    });
    let likeness = |other: &str| strsim::jaro_winkler(name, other);
    let best = names.max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    (likeness(best) > 0.75).then_some(best)
}

/// The failure of a magic that does not understand its arguments.
fn usage_error(facts: &Facts, why: impl AsRef<str>) -> Failure {
    let sigil = sigil_of(facts.name);
    let mut failure =
        Failure::new("UsageError", format!("{sigil}{}: {}", facts.name, why.as_ref()));
    let both = if facts.kind == Kind::Both { ", or with %% and a cell below" } else { "" };
    failure.traceback.push(format!("usage: {sigil}{}{both}", facts.usage));
    failure
}

/// Prints a line.
fn say(desk: &dyn Desk, text: impl Into<String>) {
    let mut text = text.into();
    text.push('\n');
    desk.stage().show(Output::Text(Stream::Stdout, text));
}

/// A text in the two forms that a pager and a tooltip want.
fn prose(plain: String, markdown: String) -> Bundle {
    Bundle::text(plain).with("text/markdown", markdown)
}

/// Runs the source of a cell, magics included; `Timing` counts magics as running.
fn run_source(desk: &mut dyn Desk, code: &str) -> Result<Timing, Failure> {
    let mut total = Timing { compile: std::time::Duration::ZERO, run: std::time::Duration::ZERO };
    for part in split(code) {
        match part {
            Part::Rust { code } => {
                let timing = desk.run_rust(&code)?;
                total.compile += timing.compile;
                total.run += timing.run;
            }
            Part::Magic(call) => {
                let start = std::time::Instant::now();
                run(desk, &call)?;
                total.run += start.elapsed();
            }
        }
    }
    Ok(total)
}

#[cfg(test)]
mod tests;
