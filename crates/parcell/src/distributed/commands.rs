//! What `%workers` and `%rmworkers` ask for. They run as a cell does: what they print is shown in it,
//! an interrupt ends them.

use std::time::Duration;

use parcell_link::WorkerOptions;

use super::adaptive;
use super::launch::{self, LaunchError};
use super::procs;
use super::table;
use crate::display;
use crate::interrupt;
use crate::rt::Failure;

/// Starts workers and says which.
pub(crate) fn add_workers(count: Option<usize>, options: &WorkerOptions) -> Result<(), Failure> {
    let ids = launch::add(count, options)?;
    // Where workers join by themselves, none is there yet.
    if !ids.is_empty() {
        println!("{}", counted(&ids, "started"));
    }
    if let Some(span) = adaptive::summary().filter(|_| options.adaptive.is_some()) {
        println!("{span}");
    }
    Ok(())
}

/// Ends these workers, or all.
pub(crate) fn remove_workers(
    ids: Option<&[u32]>,
    timeout: Option<Duration>,
) -> Result<(), Failure> {
    let ids: Vec<usize> = match ids {
        Some(ids) => ids.iter().map(|id| *id as usize).collect(),
        None => {
            adaptive::end();
            let called_off = launch::call_off();
            if !called_off.is_empty() {
                println!("{}", counted(&called_off, "called off"));
            }
            procs::only_workers()
        }
    };
    if ids.is_empty() {
        println!("there are no workers");
        return Ok(());
    }
    let removed: Result<(), LaunchError> = launch::remove(&ids, timeout);
    removed?;
    println!("{}", counted(&ids, "removed"));
    Ok(())
}

pub(crate) fn counted(ids: &[usize], what: &str) -> String {
    let noun = if ids.len() == 1 { "worker" } else { "workers" };
    format!("{noun} {} {what}", ranges(ids))
}

/// Ids as people write them: `2-5, 8`.
pub(crate) fn ranges(ids: &[usize]) -> String {
    let mut parts: Vec<(usize, usize)> = Vec::new();
    for id in ids {
        match parts.last_mut() {
            Some((_, last)) if *last + 1 == *id => *last = *id,
            _ => parts.push((*id, *id)),
        }
    }
    let part = |(first, last): &(usize, usize)| match last - first {
        0 => first.to_string(),
        1 => format!("{first}, {last}"),
        _ => format!("{first}-{last}"),
    };
    parts.iter().map(part).collect::<Vec<_>>().join(", ")
}

/// Shows the table of workers, until an interrupt if it is watched.
pub(crate) fn show_workers(watch: Option<Duration>) -> Result<(), Failure> {
    if let Some(span) = adaptive::summary() {
        println!("{span}");
    }
    let Some(pause) = watch else {
        display::show(&table::of_workers());
        return Ok(());
    };
    let id = format!("workers-{}", crate::link::run_number());
    display::show_with_id(id.as_str(), &table::of_workers());
    loop {
        interrupt::sleep(pause);
        display::update(&id, &table::of_workers());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_told_as_people_write_them() {
        assert_eq!(counted(&[2], "started"), "worker 2 started");
        assert_eq!(counted(&[2, 3, 5, 7, 8, 9], "removed"), "workers 2, 3, 5, 7-9 removed");
    }
}
