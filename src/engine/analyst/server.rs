//! The analyst's process: evcxr's command context, fed with whole sources. The only place that
//! names evcxr.

use std::io::{BufRead, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::Command;

use evcxr::{CommandContext, EvalContext};

use super::question::{Answer, Question};
use crate::stage::Completion;

/// Must be the first thing that the program does: evcxr starts this program again as a child of
/// the analyst and knows it by an environment variable.
pub fn hook() {
    evcxr::runtime_hook();
}

/// Answers questions from standard input until it ends.
///
/// # Errors
/// If rust-analyzer's workspace cannot be made; the text says why.
pub fn serve() -> Result<(), String> {
    let program = std::env::current_exe().map_err(|e| e.to_string())?;
    let (context, outputs) =
        EvalContext::with_subprocess_command(Command::new(program)).map_err(|e| e.to_string())?;
    std::thread::spawn(move || for _ in outputs.stdout {});
    std::thread::spawn(move || for _ in outputs.stderr {});
    copy_lock();
    let mut context = CommandContext::with_eval_context(context);
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        let Ok(question) = serde_json::from_str::<Question>(&line) else { continue };
        let id = question.id;
        // rust-analyzer panics on some unfinished sources; the next question finds it well.
        let answer = catch_unwind(AssertUnwindSafe(|| answer(&mut context, &question)));
        let answer = Answer { id, ..answer.unwrap_or_default() };
        let line = serde_json::to_string(&answer).map_err(|e| e.to_string())?;
        let mut out = std::io::stdout().lock();
        if writeln!(out, "\n{line}").and_then(|()| out.flush()).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// Versions that the cell library has chosen: known offline, and the same as cells use.
fn copy_lock() {
    let lock = std::env::var_os("PARCELL_ANALYST_LOCK").map(PathBuf::from);
    let folder = std::env::var_os("EVCXR_TMPDIR").map(PathBuf::from);
    if let (Some(lock), Some(folder)) = (lock, folder) {
        // Without it cargo asks the registry.
        let _ = std::fs::copy(lock, folder.join("Cargo.lock"));
    }
}

fn answer(context: &mut CommandContext, question: &Question) -> Answer {
    let Question { source, position, inspect, .. } = question;
    if *inspect {
        let hover = context.hover_at(source, *position).ok();
        let documentation = hover.filter(|(plain, _)| plain != "No documentation found");
        return Answer { documentation, ..Answer::default() };
    }
    let Ok(found) = context.completions(source, *position) else { return Answer::default() };
    // rust-analyzer fills in the arguments' names; a notebook's user wants to write values.
    let name = |code: &str| code.split('(').next().unwrap_or(code).to_owned();
    let mut matches: Vec<Completion> = Vec::new();
    for c in found.completions {
        let signature = c.code.contains('(').then(|| c.code.clone());
        let offer = Completion { text: name(&c.code), kind: c.kind.to_owned(), signature };
        if !matches.iter().any(|m| m.text == offer.text) {
            matches.push(offer);
        }
    }
    Answer { start: found.start_offset, end: found.end_offset, matches, ..Answer::default() }
}
