//! `%threads`: the pool that rayon uses in every cell.

use std::sync::atomic::{AtomicBool, Ordering};

use parcell_link::{Pin, Threads as Pools};

use super::args::{counted, pin, variable, words};
use super::{Call, Desk, Facts, Kind, Magic, say, usage_error};
use crate::stage::{Failure, Output, Stream};

/// More threads than this are taken for a slip of the finger.
const MOST: usize = 4096;

pub(super) struct Threads;

static FACTS: Facts = Facts {
    name: "threads",
    aliases: &[],
    kind: Kind::Line,
    usage: "threads [N[,M]] [--pin compact|spread|off]",
    summary: "start, resize or pin the driver's thread pool; without arguments show it",
    help: "There is one pool that computes, and rayon uses it in every cell. `N` is its number of \
           threads; more than cores are allowed, up to 4096. In a cell, `nthreads()` tells it and \
           `threadid()` which thread runs, from 0. Variables stay.\n\n\
           `M` is the number of threads of the interactive pool (1), for `spawn_interactive`: tasks \
           that are answered while all of the others compute.\n\n\
           `--pin` puts each thread on a core of its own and shows where: `compact`, which is meant \
           if no word follows, fills socket after socket, `spread` alternates between sockets; the \
           second hardware threads of cores come last. It holds until `--pin off`. Threads and \
           programs that a cell starts by itself inherit the core of their starter.\n\n\
           Without arguments a table shows the pools beside what limits their size: cores, affinity, \
           cgroup and Slurm.",
};

impl Magic for Threads {
    fn facts(&self) -> &'static Facts {
        &FACTS
    }

    fn run(&self, desk: &mut dyn Desk, call: &Call) -> Result<(), Failure> {
        let wanted = Wanted::read(&call.args)?;
        if wanted == Wanted::default() {
            return show(desk, "report");
        }
        let now = desk.threads(None)?;
        let now = desk.threads(Some(Pools {
            default: wanted.default.unwrap_or(now.default),
            interactive: wanted.interactive.unwrap_or(now.interactive),
            pin: wanted.pin.unwrap_or(now.pin),
        }))?;
        let interactive = wanted.interactive.map(|_| format!(", {} interactive", now.interactive));
        say(desk, counted(now.default, "thread") + &interactive.unwrap_or_default());
        warn_of_excess(desk, now.default);
        match now.pin {
            Pin::Off => Ok(()),
            Pin::Compact | Pin::Spread => show(desk, "placement"),
        }
    }
}

/// Shows what this function of the cell library tells.
fn show(desk: &mut dyn Desk, function: &str) -> Result<(), Failure> {
    let rust = format!("::parcell::display::show(&::parcell::threads::{function}());");
    desk.run_rust(&rust).map(drop)
}

/// What the arguments ask for; what they do not mention stays.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wanted {
    default: Option<usize>,
    interactive: Option<usize>,
    pin: Option<Pin>,
}

impl Wanted {
    fn read(args: &str) -> Result<Wanted, Failure> {
        let mut wanted = Wanted::default();
        let mut words = words(&FACTS, args)?.into_iter().peekable();
        while let Some(word) = words.next() {
            if word == "--pin" {
                let how = words.next_if(|next| !next.starts_with(|c: char| c.is_ascii_digit()));
                wanted.pin = Some(pin(&FACTS, how.as_deref().unwrap_or("compact"))?);
            } else if let Some(how) = word.strip_prefix("--pin=") {
                wanted.pin = Some(pin(&FACTS, how)?);
            } else if wanted.default.is_some() {
                return Err(usage_error(
                    &FACTS,
                    format!("there is an argument too many: `{word}`"),
                ));
            } else {
                (wanted.default, wanted.interactive) = sizes(&word)?;
            }
        }
        Ok(wanted)
    }
}

/// `4` or `4,1`.
fn sizes(word: &str) -> Result<(Option<usize>, Option<usize>), Failure> {
    let (default, interactive) = match word.split_once(',') {
        Some((default, interactive)) => (default, Some(number(interactive)?)),
        None => (word, None),
    };
    match number(default)? {
        0 => Err(usage_error(&FACTS, "a pool needs at least 1 thread, 0 were asked for")),
        default => Ok((Some(default), interactive)),
    }
}

fn number(word: &str) -> Result<usize, Failure> {
    match word.parse::<usize>() {
        Ok(n) if n > MOST => {
            Err(usage_error(&FACTS, format!("{n} threads are too many; at most {MOST} can be had")))
        }
        Ok(n) => Ok(n),
        Err(_) => Err(usage_error(&FACTS, format!("`{word}` is not a number of threads"))),
    }
}

/// Says once that threads will have to share cores, if so.
fn warn_of_excess(desk: &mut dyn Desk, threads: usize) {
    static SAID: AtomicBool = AtomicBool::new(false);
    let slurm = variable(desk, "SLURM_CPUS_PER_TASK").and_then(|n| n.parse().ok());
    let available = std::thread::available_parallelism().map_or(usize::MAX, usize::from);
    if let Some(notice) = excess(threads, available.min(slurm.unwrap_or(usize::MAX)))
        && !SAID.swap(true, Ordering::Relaxed)
    {
        desk.stage().show(Output::Text(Stream::Stderr, notice + "\n"));
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
        assert_eq!(desk.calls(), ["threads 1,1 Off"]);
        assert_eq!(desk.stdout(), "1 thread\n");
    }

    #[test]
    fn resizes_the_interactive_pool_beside_it() {
        let mut desk = Double::default();
        desk.magic("%threads 1,3").unwrap();
        assert_eq!(desk.calls(), ["threads 1,3 Off"]);
        assert_eq!(desk.stdout(), "1 thread, 3 interactive\n");
    }

    #[test]
    fn pins_and_shows_the_places() {
        let placed = "rust ::parcell::display::show(&::parcell::threads::placement());";
        for (args, order) in [
            ("--pin", "threads 2,1 Compact"),
            ("1 --pin spread", "threads 1,1 Spread"),
            ("--pin=spread 1,0", "threads 1,0 Spread"),
            ("--pin 1", "threads 1,1 Compact"),
        ] {
            let mut desk = Double::default();
            desk.magic(&format!("%threads {args}")).unwrap();
            assert_eq!(desk.calls(), [order, placed]);
        }
        let mut desk = Double::default();
        desk.magic("%threads --pin off").unwrap();
        assert_eq!(desk.calls(), ["threads 2,1 Off"]);
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
        says("2 3", "an argument too many: `3`");
        says("2,x", "`x` is not a number");
        says("0,1", "at least 1");
        says("2,", "`` is not a number");
        says("--pin tight", "compact, spread or off, here is `tight`");
        says("--pins", "`--pins` is not a number");
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
