//! `%workers` and `%rmworkers`: the processes beside the driver.

use std::iter::Peekable;
use std::vec::IntoIter;

use parcell_link::{Adaptive, Command, Pin, WorkerOptions};

use super::args::{path, pin, variable, words};
use super::complete::{files, offers};
use super::ids::{select, spans};
use super::{Call, Desk, Facts, Kind, Known, Magic, usage_error};
use crate::stage::{Completion, Failure};

/// More workers than this at once are taken for a slip of the finger.
const MOST: usize = 1024;
/// More threads than this likewise.
const MOST_THREADS: usize = 4096;
/// Seconds between two updates of a watched table, if no others are chosen.
const WATCH: f64 = 1.0;
/// What can start workers.
const MANAGERS: [&str; 10] =
    ["local", "auto", "ssh", "slurm", "mpi", "pbs", "lsf", "sge", "htcondor", "elastic"];
/// Options that are the same for all managers.
const OPTIONS: [&str; 8] =
    ["--threads", "--pin", "--env", "--dir", "--manager", "--min", "--idle", "--watch"];

pub(super) struct Workers;

static WORKERS: Facts = Facts {
    name: "workers",
    aliases: &[],
    kind: Kind::Line,
    usage: "workers [N | LEAST..MOST [--idle SECONDS]] [--min N] [--threads T] [--pin [compact|spread|off]] [--env NAME=VALUE]… \
            [--dir PATH] [--manager local|auto|ssh|slurm|mpi|pbs|lsf|sge|htcondor|elastic] \
            [MANAGER OPTIONS]… [--watch [SECONDS]]",
    summary: "start N worker processes; without N show a table of those that there are",
    help: "Workers have the ids 2, 3, …, of which none is used twice; process 1 is the driver. They \
           can run whatever cells define, and end with the session. In a cell, `addprocs(N)` does \
           the same.\n\n\
           `%workers 2..16` starts 2, and up to 16 as calls wait for a free worker; those beyond 2 that \
           have had nothing to do for 30 s (`--idle SECONDS`) and hold nothing are let go. `--min N` \
           goes on when N are there; the others join as they come.\n\n\
           `--threads` is the number of threads in each worker's pool (1), `--pin` puts them on \
           cores as in `%threads`, `--env` sets a variable in their environment, `--dir` is their \
           working directory (the driver's; on other hosts the home folder). `--manager` says what \
           starts them (`PARCELL_MANAGER`, or else `local`, where it is not given): `local` does on \
           this machine; `auto` takes the allocation of Slurm, PBS, LSF or Grid Engine in which the \
           kernel runs, if it has several hosts, and is `local` elsewhere; `ssh` on the hosts of \
           `--hosts [user@]host[:port][*workers],…`, where nothing but a shell is needed: what \
           workers run is copied there once. `--user`, `--port`, `--identity FILE` and \
           `--ssh-option NAME=VALUE` are for ssh itself, `--tunnel` is for hosts that cannot reach \
           this one. `slurm` starts them with srun inside an allocation, else in a job of their \
           own, which is cancelled with them; options of srun and sbatch are passed on, as in \
           `--partition debug -t 10`; `--array` makes it a job for each worker, of which a busy \
           cluster starts some before others, and `--copy`, in an allocation, sends nodes that share no \
           files what workers run. `mpi` starts them with mpiexec (`--native \"OPTIONS\"`); \
           they send each other large arrays by MPI where parcell was installed with `--mpi`, all \
           of 16 KiB and more with `--data-plane mpi`, none with `--data-plane sockets`. `pbs`, \
           `lsf`, `sge` and `htcondor` start an array of jobs, with the options of qsub, bsub or \
           condor_submit. `elastic` says how workers may join by themselves at any time.\n\n\
           Any manager takes `--interface ADDRESS` (where to listen), `--encryption off`, \
           `--heartbeat SECONDS` (a host silent for so long is gone; 10) and `--wait SECONDS`.\n\n\
           Without a number a table shows each worker's state, memory and running calls; `--watch` \
           keeps it up to date, every second or as often as is said, until the cell is interrupted.",
};

impl Magic for Workers {
    fn facts(&self) -> &'static Facts {
        &WORKERS
    }

    fn run(&self, desk: &mut dyn Desk, call: &Call) -> Result<(), Failure> {
        let command = command(desk, &call.args)?;
        desk.call(command)
    }

    fn complete(&self, word: &str, known: &Known<'_>) -> Vec<Completion> {
        if !word.starts_with('-') {
            return files(word, known);
        }
        offers([&OPTIONS[..], &MANAGER_OPTIONS].concat(), "option")
    }
}

/// Options of managers, for completion.
const MANAGER_OPTIONS: [&str; 11] = [
    "--hosts",
    "--user",
    "--port",
    "--identity",
    "--ssh-option",
    "--tunnel",
    "--data-plane",
    "--interface",
    "--encryption",
    "--heartbeat",
    "--wait",
];

/// What the arguments of `%workers` ask for.
fn command(desk: &dyn Desk, args: &str) -> Result<Command, Failure> {
    let Wanted { count, mut options, given, watch, idle } = Wanted::read(args)?;
    if options.manager.is_empty() {
        let unsaid = variable(desk, "PARCELL_MANAGER").filter(|name| !name.is_empty());
        options.manager = unsaid.map_or(Ok("local".to_owned()), manager)?;
    }
    adapt(&mut options, count, idle)?;
    let local = options.manager == "local";
    if let Some((option, _)) = options.manager_options.first().filter(|_| local) {
        let dashes = if option.starts_with('-') { "" } else { "--" };
        return Err(wrong(format!(
            "`{dashes}{option}` is no option; there are {}, and those of a manager after `--manager`",
            OPTIONS.join(", ")
        )));
    }
    match (count, watch, given) {
        (Some(_), Some(_), _) => {
            Err(wrong("`--watch` shows the workers that there are; start others on a line before"))
        }
        (None, None, Some(_)) if !local => Ok(Command::AddWorkers { count, options }),
        (None, _, Some(option)) => Err(wrong(format!(
            "`{option}` is about new workers: say how many, as in `%workers 2 {option} …`"
        ))),
        (None, watch, None) => Ok(Command::ShowWorkers { watch }),
        // Folders of other hosts are not ours to look for.
        (Some(_), None, _) if !local => Ok(Command::AddWorkers { count, options }),
        (Some(_), None, _) => {
            let directory = options.directory.map(|written| folder(desk, &written)).transpose()?;
            Ok(Command::AddWorkers { count, options: WorkerOptions { directory, ..options } })
        }
    }
}

/// Checks what is said of workers that come and go.
fn adapt(
    options: &mut WorkerOptions,
    count: Option<usize>,
    idle: Option<u64>,
) -> Result<(), Failure> {
    match (&mut options.adaptive, idle) {
        (Some(adaptive), Some(idle)) => adaptive.idle = idle,
        (None, Some(_)) => {
            return Err(wrong(
                "--idle is about workers that come and go: write their bounds, as in `%workers 2..8`",
            ));
        }
        (_, None) => {}
    }
    match (options.at_least, count) {
        (Some(least), Some(n)) if least > n => Err(wrong(format!(
            "--min {least} can never be reached by {n} workers; at most {n} is wanted"
        ))),
        _ => Ok(()),
    }
}

fn folder(desk: &dyn Desk, written: &str) -> Result<String, Failure> {
    let folder = path(desk, written);
    match folder.is_dir() {
        true => Ok(folder.display().to_string()),
        false => Err(wrong(format!("there is no folder {}", folder.display()))),
    }
}

fn wrong(why: impl AsRef<str>) -> Failure {
    usage_error(&WORKERS, why)
}

/// The arguments of `%workers`.
#[derive(Debug, Default)]
struct Wanted {
    count: Option<usize>,
    options: WorkerOptions,
    /// The first option that is about new workers.
    given: Option<String>,
    watch: Option<f64>,
    idle: Option<u64>,
}

impl Wanted {
    fn read(args: &str) -> Result<Wanted, Failure> {
        let mut wanted = Wanted::default();
        let mut words = Words(words(&WORKERS, args)?.into_iter().peekable());
        while let Some(word) = words.0.next() {
            if is_option(&word) {
                wanted.option(&word, &mut words)?;
            } else if wanted.count.is_some() {
                return Err(wrong(format!("there is an argument too many: `{word}`")));
            } else if let Some((least, most)) = word.split_once("..") {
                let adaptive = bounds(&word, least, most)?;
                wanted.count = Some(adaptive.least);
                wanted.options.adaptive = Some(adaptive);
            } else {
                wanted.count = Some(number(&word, "workers", MOST)?);
            }
        }
        Ok(wanted)
    }

    fn option(&mut self, word: &str, words: &mut Words) -> Result<(), Failure> {
        let (name, own) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (word, None),
        };
        let options = &mut self.options;
        match name {
            "--threads" => {
                let value = words.value(name, own, "a number")?;
                options.threads = Some(number(&value, "threads", MOST_THREADS)?);
            }
            "--pin" => {
                let how = own.or_else(|| words.optional(|w| pin(&WORKERS, w).is_ok()));
                options.pin = how.map_or(Ok(Pin::Compact), |how| pin(&WORKERS, &how))?;
            }
            "--env" => {
                let value = words.value(name, own, "NAME=VALUE")?;
                let pair = value.split_once('=').filter(|(name, _)| !name.is_empty());
                let (name, value) = pair
                    .ok_or_else(|| wrong(format!("--env wants NAME=VALUE, here is `{value}`")))?;
                options.environment.push((name.to_owned(), value.to_owned()));
            }
            "--dir" => options.directory = Some(words.value(name, own, "a folder")?),
            "--manager" => options.manager = manager(words.value(name, own, "`local`")?)?,
            "--min" => {
                let value = words.value(name, own, "a number")?;
                options.at_least = Some(number(&value, "workers", MOST)?);
            }
            "--idle" => {
                let value = words.value(name, own, "seconds")?;
                self.idle = Some(seconds(&WORKERS, name, &value)?.ceil() as u64);
            }
            "--watch" => {
                let every = own.or_else(|| words.optional(|w| w.parse::<f64>().is_ok()));
                self.watch = Some(every.map_or(Ok(WATCH), |s| seconds(&WORKERS, name, &s))?);
                return Ok(());
            }
            _ => {
                let value = own.or_else(|| words.0.next_if(|next| !is_option(next)));
                // Schedulers have options with one dash, too, which keep it.
                let name = name.strip_prefix("--").unwrap_or(name).to_owned();
                options.manager_options.push((name, value));
            }
        }
        self.given.get_or_insert_with(|| name.to_owned());
        Ok(())
    }
}

/// `2..16`; Rust's `2..=16` is understood, too.
fn bounds(word: &str, least: &str, most: &str) -> Result<Adaptive, Failure> {
    let most = most.strip_prefix('=').unwrap_or(most);
    let missing =
        || wrong(format!("`{word}` wants a number on both sides, as in `%workers 2..16`"));
    if least.is_empty() || most.is_empty() {
        return Err(missing());
    }
    let (least, most) = (number(least, "workers", MOST)?, number(most, "workers", MOST)?);
    if least > most {
        return Err(wrong(format!(
            "`{word}` has the larger number first: write `{most}..{least}`"
        )));
    }
    Ok(Adaptive { least, most, ..Adaptive::default() })
}

/// Whether a word names an option. One with a space was in quotes, as in `--native "--host a"`.
fn is_option(word: &str) -> bool {
    let name = word.split('=').next().unwrap_or_default();
    if name.contains(char::is_whitespace) {
        return false;
    }
    word.starts_with("--")
        || matches!(word.as_bytes(), [b'-', next, ..] if next.is_ascii_alphabetic())
}

/// Words that are still to be read.
struct Words(Peekable<IntoIter<String>>);

impl Words {
    /// The value of an option that must have one.
    fn value(&mut self, name: &str, own: Option<String>, what: &str) -> Result<String, Failure> {
        let value = own.or_else(|| self.0.next_if(|next| !is_option(next)));
        value.ok_or_else(|| wrong(format!("{name} wants {what}, and nothing follows")))
    }

    /// The value of an option that need not have one.
    fn optional(&mut self, fits: impl Fn(&str) -> bool) -> Option<String> {
        self.0.next_if(|next| fits(next))
    }
}

fn number(word: &str, what: &str, most: usize) -> Result<usize, Failure> {
    match word.parse::<usize>() {
        Ok(0) => Err(wrong(format!("at least 1 is wanted of {what}, 0 were asked for"))),
        Ok(n) if n > most => {
            Err(wrong(format!("{n} {what} are too many; at most {most} can be had at once")))
        }
        Ok(n) => Ok(n),
        Err(_) => Err(wrong(format!("`{word}` is not a number of {what}"))),
    }
}

fn manager(name: String) -> Result<String, Failure> {
    match name.as_str() {
        known if MANAGERS.contains(&known) => Ok(name),
        _ => Err(wrong(format!("`{name}` is no manager; there are {}", MANAGERS.join(", ")))),
    }
}

/// A time that an option gives.
fn seconds(facts: &'static Facts, name: &str, word: &str) -> Result<f64, Failure> {
    let fits = |s: &f64| (0.1..=86400.0).contains(s);
    word.parse::<f64>().ok().filter(fits).ok_or_else(|| {
        usage_error(facts, format!("{name} wants seconds from 0.1 to 86400, here is `{word}`"))
    })
}

pub(super) struct Rmworkers;

static RMWORKERS: Facts = Facts {
    name: "rmworkers",
    aliases: &[],
    kind: Kind::Line,
    usage: "rmworkers [IDS | all] [--timeout SECONDS]",
    summary: "end workers: those with these ids, or all",
    help: "Ids are written `2,3` or `2-5`, where a range means those that there are. A worker ends \
           when its running calls have; with `--timeout`, those that have not ended by then are \
           named. Process 1, the driver, stays. In a cell, `rmprocs(&ids)` does the same.",
};

impl Magic for Rmworkers {
    fn facts(&self) -> &'static Facts {
        &RMWORKERS
    }

    fn run(&self, desk: &mut dyn Desk, call: &Call) -> Result<(), Failure> {
        let (mut chosen, mut all, mut timeout) = (Vec::new(), false, None);
        let mut words = words(&RMWORKERS, &call.args)?.into_iter();
        while let Some(word) = words.next() {
            match word.split_once('=').unwrap_or((&word, "")) {
                ("--timeout", own) => {
                    let next = if own.is_empty() { words.next() } else { Some(own.to_owned()) };
                    let value = next.unwrap_or_default();
                    timeout = Some(seconds(&RMWORKERS, "--timeout", &value)?);
                }
                ("all", _) => all = true,
                (option, _) if option.starts_with("--") => {
                    let why = format!("`{option}` is no option; there is --timeout");
                    return Err(usage_error(&RMWORKERS, why));
                }
                _ => chosen.extend(spans(&RMWORKERS, &word)?),
            }
        }
        if all && !chosen.is_empty() {
            return Err(usage_error(&RMWORKERS, "either ids are wanted or `all`, not both"));
        }
        let all = chosen.is_empty();
        let ids = select(&RMWORKERS, &chosen, &desk.workers())?;
        desk.call(Command::RemoveWorkers { ids: (!all).then_some(ids), timeout })
    }

    fn complete(&self, word: &str, known: &Known<'_>) -> Vec<Completion> {
        super::ids::offers(word, known, &["all", "--timeout"])
    }
}

#[cfg(test)]
mod tests {
    use super::super::double::{Double, usage_of};

    fn asked(cell: &str) -> String {
        let mut desk = Double::with_workers(&[2, 3, 5]);
        desk.magic(cell).unwrap_or_else(|failure| panic!("{cell}: {failure:?}"));
        desk.calls().concat()
    }

    fn refused(cell: &str, words: &str) {
        let value = usage_of(cell);
        assert!(value.contains(words), "{cell}: {value}");
    }

    #[test]
    fn starts_as_many_as_are_wanted() {
        let call = asked("%workers 4");
        assert!(
            call.starts_with("AddWorkers { count: Some(4), options: WorkerOptions {"),
            "{call}"
        );
        assert!(call.contains("threads: None, pin: Off") && call.contains("manager: \"local\""));
        let call =
            asked("%workers --pin 2 --threads=3 --env A=1=2 --env 'B=x y' --dir / --manager local");
        assert!(call.contains("count: Some(2)") && call.contains("threads: Some(3), pin: Compact"));
        assert!(call.contains(r#"environment: [("A", "1=2"), ("B", "x y")]"#), "{call}");
        assert!(call.contains(r#"directory: Some("/")"#), "{call}");
        assert!(asked("%workers 1 --pin spread").contains("pin: Spread"));
        let call = asked("%workers --manager ssh --hosts a,b*2 --tunnel --dir nowhere");
        assert!(call.starts_with("AddWorkers { count: None") && call.contains("nowhere"), "{call}");
        let slurm = asked("%workers 8 --manager slurm -p debug --time=1:00 --exclusive");
        let options = r#"[("-p", Some("debug")), ("time", Some("1:00")), ("exclusive", None)]"#;
        assert!(slurm.contains("count: Some(8)") && slurm.contains(options), "{slurm}");
        let options = r#"manager_options: [("hosts", Some("a,b*2")), ("tunnel", None)]"#;
        assert!(call.contains(options), "{call}");
        let native = asked("%workers 4 --manager mpi --native \"--host a:2,b:2 -x X=1\" --wait 9");
        let options = r#"[("native", Some("--host a:2,b:2 -x X=1")), ("wait", Some("9"))]"#;
        assert!(native.contains(options), "{native}");
    }

    #[test]
    fn workers_may_come_and_go() {
        let span = |least, most, idle| {
            format!("adaptive: Some(Adaptive {{ least: {least}, most: {most}, idle: {idle} }})")
        };
        let call = asked("%workers 2..16");
        assert!(call.starts_with("AddWorkers { count: Some(2)"), "{call}");
        assert!(call.contains(&span(2, 16, 30)), "{call}");
        assert!(asked("%workers 1..=4 --idle 5 --threads 2").contains(&span(1, 4, 5)));
        assert!(asked("%workers --idle=0.5 3..3 --manager slurm").contains(&span(3, 3, 1)));
        assert!(asked("%workers 8 --min 2").contains("adaptive: None, at_least: Some(2)"));
        refused("%workers 16..2", "`16..2` has the larger number first: write `2..16`");
        refused("%workers 0..2", "at least 1 is wanted of workers");
        refused("%workers 2..", "`2..` wants a number on both sides");
        refused("%workers ..2", "`..2` wants a number on both sides");
        refused("%workers 2..x", "`x` is not a number of workers");
        refused("%workers 2..5000", "5000 workers are too many");
        refused("%workers 2 --idle 5", "write their bounds, as in `%workers 2..8`");
        refused("%workers 2..4 --idle soon", "--idle wants seconds");
        refused("%workers 2 --min 3", "--min 3 can never be reached by 2 workers");
    }

    #[test]
    fn the_environment_names_the_manager_where_the_line_does_not() {
        let asked = |name: &str, cell: &str| {
            let mut desk = Double::default();
            desk.set("PARCELL_MANAGER", name);
            desk.magic(cell).map(|_| desk.calls().concat())
        };
        let call = asked("slurm", "%workers 2 --partition debug").unwrap();
        assert!(call.contains("manager: \"slurm\"") && call.contains("partition"), "{call}");
        let call = asked("auto", "%workers 2 --manager local").unwrap();
        assert!(call.contains("manager: \"local\""), "{call}");
        assert!(asked("", "%workers 2").unwrap().contains("manager: \"local\""));
        assert!(asked("cloud", "%workers 2").unwrap_err().value.contains("`cloud` is no manager"));
        assert_eq!(asked("slurm", "%workers").unwrap(), "ShowWorkers { watch: None }");
    }

    #[test]
    fn shows_the_table() {
        assert_eq!(asked("%workers"), "ShowWorkers { watch: None }");
        assert_eq!(asked("%workers --watch"), "ShowWorkers { watch: Some(1.0) }");
        assert_eq!(asked("%workers --watch 0.5"), "ShowWorkers { watch: Some(0.5) }");
        assert_eq!(asked("%workers --watch=2"), "ShowWorkers { watch: Some(2.0) }");
    }

    #[test]
    fn refuses_what_cannot_be_meant() {
        refused("%workers 0", "at least 1");
        refused("%workers 1025", "at most 1024");
        refused("%workers four", "`four` is not a number of workers");
        refused("%workers -1", "`-1` is not a number");
        refused("%workers 2 3", "an argument too many: `3`");
        refused("%workers 2 --threads", "--threads wants a number, and nothing follows");
        refused("%workers 2 --threads 0", "at least 1");
        refused("%workers 2 --threads x", "`x` is not a number of threads");
        refused("%workers 2 --pin=tight", "compact, spread or off, here is `tight`");
        refused("%workers 2 --env A", "NAME=VALUE, here is `A`");
        refused("%workers 2 --env =A", "NAME=VALUE, here is `=A`");
        refused("%workers 2 --dir nowhere-at-all", "no folder /work/nowhere-at-all");
        refused(
            "%workers 2 --manager cloud",
            "`cloud` is no manager; there are local, auto, ssh, slurm",
        );
        refused("%workers 2 --watch", "start others on a line before");
        refused("%workers --threads 2", "say how many");
        refused("%workers --watch 0", "from 0.1 to 86400, here is `0`");
        refused("%workers 2 -t 2", "`-t` is no option; there are --threads");
        refused("%workers 2 --thread 2", "`--thread` is no option; there are --threads");
    }

    #[test]
    fn ends_those_that_are_named() {
        let call = |args| asked(&format!("%rmworkers {args}"));
        assert_eq!(call("2"), "RemoveWorkers { ids: Some([2]), timeout: None }");
        assert_eq!(call("5,2 3"), "RemoveWorkers { ids: Some([2, 3, 5]), timeout: None }");
        assert_eq!(call("3-9"), "RemoveWorkers { ids: Some([3, 5]), timeout: None }");
        assert_eq!(call(""), "RemoveWorkers { ids: None, timeout: None }");
        assert_eq!(call("all --timeout 2"), "RemoveWorkers { ids: None, timeout: Some(2.0) }");
        assert_eq!(call("--timeout=2 3"), "RemoveWorkers { ids: Some([3]), timeout: Some(2.0) }");
    }

    #[test]
    fn ends_nobody_else() {
        let refused = |args: &str, words: &str| {
            let mut desk = Double::with_workers(&[2, 3, 5]);
            let failure = desk.magic(&format!("%rmworkers {args}")).unwrap_err();
            assert!(failure.value.contains(words), "{failure:?}");
            assert_eq!((failure.name.as_str(), desk.calls().len()), ("UsageError", 0));
        };
        refused("4", "there is no worker 4; there are 2, 3, 5");
        refused("6-9", "there is no worker from 6 to 9; there are 2, 3, 5");
        refused("1", "process 1 is the driver");
        refused("2-x", "`2-x`");
        refused("5-2", "`5-2`");
        refused("2 all", "not both");
        refused("--timeout", "seconds from 0.1");
        refused("--force", "`--force` is no option");
        super::super::double::usage_of("%rmworkers");
    }
}
