//! `%threads`: the pool that rayon uses in every cell.

use std::sync::atomic::{AtomicBool, Ordering};

use super::args::{counted, one_word, variable};
use super::{Call, Desk, Facts, Kind, Magic, say, usage_error};
use crate::stage::{Failure, Output, Stream};

/// More threads than this are taken for a slip of the finger.
const MOST: usize = 4096;

pub(super) struct Threads;

static FACTS: Facts = Facts {
    name: "threads",
    aliases: &[],
    kind: Kind::Line,
    usage: "threads [N]",
    summary: "start or resize the driver's thread pool; without N show it",
    help: "There is one pool, and rayon uses it in every cell. Without `N` a table shows it beside \
           what limits its size: cores, affinity, cgroup and Slurm. More threads than cores are \
           allowed, up to 4096. In a cell, `nthreads()` tells the size and `threadid()` which \
           thread runs, from 0.",
};

impl Magic for Threads {
    fn facts(&self) -> &'static Facts {
        &FACTS
    }

    fn run(&self, desk: &mut dyn Desk, call: &Call) -> Result<(), Failure> {
        if call.args.is_empty() {
            return desk
                .run_rust("::parcell::display::show(&::parcell::threads::report());")
                .map(drop);
        }
        let wanted = number(&one_word(&FACTS, &call.args, "N")?)?;
        let now = desk.threads(Some(wanted))?;
        say(desk, counted(now, "thread"));
        static SAID: AtomicBool = AtomicBool::new(false);
        let slurm = variable(desk, "SLURM_CPUS_PER_TASK").and_then(|n| n.parse().ok());
        let available = std::thread::available_parallelism().map_or(usize::MAX, usize::from);
        let notice = excess(now, available.min(slurm.unwrap_or(usize::MAX)));
        if let Some(notice) = notice
            && !SAID.swap(true, Ordering::Relaxed)
        {
            desk.stage().show(Output::Text(Stream::Stderr, notice + "\n"));
        }
        Ok(())
    }
}

fn number(word: &str) -> Result<usize, Failure> {
    match word.parse::<usize>() {
        Ok(0) => Err(usage_error(&FACTS, "a pool needs at least 1 thread, 0 were asked for")),
        Ok(n) if n > MOST => {
            Err(usage_error(&FACTS, format!("{n} threads are too many; at most {MOST} can be had")))
        }
        Ok(n) => Ok(n),
        Err(_) => Err(usage_error(&FACTS, format!("`{word}` is not a number of threads"))),
    }
}

/// What to tell a user whose pool is larger than the cores available.
fn excess(threads: usize, cores: usize) -> Option<String> {
    (threads > cores).then(|| {
        format!(
            "{} on {}: they take turns, and numeric code gains nothing from it",
            counted(threads, "thread"),
            counted(cores, "available core"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::double::{Double, usage_of};
    use super::*;

    #[test]
    fn resizes_the_pool_and_says_so() {
        let mut desk = Double::default();
        desk.magic("%threads 1").unwrap();
        assert_eq!(desk.calls(), ["threads 1"]);
        assert_eq!(desk.stdout(), "1 thread\n");
    }

    #[test]
    fn shows_the_pool() {
        let mut desk = Double::default();
        desk.magic("%threads").unwrap();
        let rust = "rust ::parcell::display::show(&::parcell::threads::report());";
        assert_eq!(desk.calls(), [rust]);
    }

    #[test]
    fn refuses_what_is_no_number_of_threads() {
        let says = |args: &str, words: &str| {
            let value = usage_of(&format!("%threads {args}"));
            assert!(value.contains(words), "{value}");
        };
        says("0", "at least 1");
        says("4097", "at most 4096");
        says("four", "`four` is not a number");
        says("-1", "`-1` is not a number");
        says("1.5", "`1.5` is not");
        says("2 3", "here are 2");
        says("99999999999999999999999", "is not a number");
    }

    #[test]
    fn the_desks_failure_is_passed_on() {
        let mut desk = Double::broken();
        assert_eq!(desk.magic("%threads 2").unwrap_err().name, "Broken");
        assert_eq!(desk.stdout(), "");
    }

    #[test]
    fn too_many_threads_are_told_with_numbers() {
        assert_eq!(excess(2, 2), None);
        assert!(excess(3, 1).unwrap().starts_with("3 threads on 1 available core:"));
    }
}
