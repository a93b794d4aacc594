//! Ids of workers in arguments: `2,3` or `2-5`.

use super::complete::offers as offers_of;
use super::{Facts, Known, usage_error};
use crate::stage::{Completion, Failure};

/// Ids from the first to the second.
pub(super) type Span = (u32, u32);

/// The ids in one word, as they are written.
pub(super) fn spans(facts: &'static Facts, word: &str) -> Result<Vec<Span>, Failure> {
    let parts = word.split(',').filter(|part| !part.is_empty());
    let spans: Result<Vec<Span>, Failure> = parts.map(|part| span(facts, part)).collect();
    match spans?.as_slice() {
        [] => Err(usage_error(facts, format!("`{word}` names no worker"))),
        spans => Ok(spans.to_vec()),
    }
}

fn span(facts: &'static Facts, part: &str) -> Result<Span, Failure> {
    let (first, last) = part.split_once('-').unwrap_or((part, part));
    match (first.parse::<u32>(), last.parse::<u32>()) {
        (Ok(0 | 1), Ok(_)) => {
            let why = format!("`{part}`: process 1 is the driver, workers are numbered from 2");
            Err(usage_error(facts, why))
        }
        (Ok(first), Ok(last)) if first <= last => Ok((first, last)),
        _ => {
            let why = format!("`{part}` is no id of a worker; write `2,3` or `2-5`");
            Err(usage_error(facts, why))
        }
    }
}

/// Those of the workers that are meant, ascending; all if nothing is said. A range means those that
/// there are.
pub(super) fn select(
    facts: &'static Facts,
    spans: &[Span],
    workers: &[u32],
) -> Result<Vec<u32>, Failure> {
    if workers.is_empty() {
        return Err(usage_error(facts, "there are no workers; `%workers N` starts some"));
    }
    for (first, last) in spans {
        if !workers.iter().any(|id| (first..=last).contains(&id)) {
            let which =
                if first == last { first.to_string() } else { format!("from {first} to {last}") };
            let there: Vec<String> = workers.iter().map(u32::to_string).collect();
            let why = format!("there is no worker {which}; there are {}", there.join(", "));
            return Err(usage_error(facts, why));
        }
    }
    let meant = |id: &u32| spans.is_empty() || spans.iter().any(|(a, b)| (a..=b).contains(&id));
    Ok(workers.iter().copied().filter(meant).collect())
}

/// Ids that a word like `2,` may go on with, and other words.
pub(super) fn offers(word: &str, known: &Known<'_>, others: &[&str]) -> Vec<Completion> {
    let before = word.rfind(',').map_or("", |at| &word[..=at]);
    let ids = known.workers.iter().map(|id| format!("{before}{id}"));
    let others = others.iter().map(|other| (*other).to_owned());
    offers_of(ids.chain(others), "worker")
}
