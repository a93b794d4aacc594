//! Workers that Slurm starts: inside an allocation with `srun`, else in a job of their own.

use std::collections::{BTreeMap, BTreeSet};

use super::job::Job;
use super::script::{RUN_INPUT, quoted};
use super::{Client, Feed, Manager, Plan, Wanted, shares, words};

pub(super) struct Slurm;

impl Manager for Slurm {
    fn name(&self) -> &'static str {
        "slurm"
    }

    /// All those of `srun` and `sbatch`.
    fn options(&self) -> Option<&'static [(&'static str, &'static str)]> {
        None
    }

    fn plan(&self, wanted: &Wanted<'_>) -> Result<Plan, String> {
        let array = Array::read(wanted)?;
        let mut others = wanted.options.passed_on(&["ntasks", "-n", "array", "-a", COPY]);
        if !["export", "--export"].iter().any(|name| wanted.options.get(name).is_some()) {
            // A batch job may have been told to pass nothing on; workers need the user's variables.
            others.insert(0, "--export=ALL".to_owned());
        }
        if wanted.options.get(COPY).is_some() {
            return copied_steps(wanted, others).map(Plan::Clients);
        }
        if let Some(threads) = wanted.threads {
            others.insert(0, format!("--cpus-per-task={threads}"));
        }
        match (array, wanted.allocation) {
            (Some(array), None) => Ok(Plan::Job(array.job(wanted, others))),
            (None, None) => Ok(Plan::Job(one_job(wanted, count(wanted)?, others))),
            (array, Some(job)) => {
                let workers = array.map_or_else(|| count(wanted), |array| Ok(array.workers))?;
                Ok(Plan::Clients(vec![step(wanted, workers, others, job)]))
            }
        }
    }
}

fn count(wanted: &Wanted<'_>) -> Result<u32, String> {
    wanted.count(&["ntasks", "-n"])
}

/// parcell's own option: nodes do not see the driver's files.
const COPY: &str = "copy";

/// A step for each node of the allocation, to which the program is sent on its standard input, as to
/// a host of ssh.
fn copied_steps(wanted: &Wanted<'_>, others: Vec<String>) -> Result<Vec<Client>, String> {
    let Some(job) = wanted.allocation else {
        return Err(
            "`--copy` is for notebooks that run in an allocation (salloc, sbatch): elsewhere \
                    the job must find parcell on its nodes"
                .to_owned(),
        );
    };
    let workers = count(wanted)?;
    let said = (wanted.ask)(&words("scontrol show hostnames"))?;
    let nodes: Vec<&str> = said.split_whitespace().collect();
    if nodes.is_empty() {
        return Err(format!("Slurm job {job} has no nodes, as `scontrol show hostnames` tells"));
    }
    let step = |(node, workers): (&&str, u32)| {
        let mut command = words("srun --overlap --kill-on-bad-exit=0 --job-name=parcell");
        let processors = workers as usize * wanted.threads.unwrap_or(1);
        let shape = format!("--nodes=1 --ntasks=1 --nodelist={node} --cpus-per-task={processors}");
        command.extend(words(&shape));
        command.extend(others.iter().cloned());
        command.extend(["sh", "-c", RUN_INPUT].map(str::to_owned));
        let host = (*node).to_owned();
        Client { host, workers, command, environment: &[], feed: Feed::Script, driver: None }
    };
    let shares = shares(workers, nodes.len()).filter(|share| *share > 0);
    Ok(nodes.iter().zip(shares).map(step).collect())
}

/// A step of the allocation in which this process runs.
fn step(wanted: &Wanted<'_>, workers: u32, others: Vec<String>, job: &str) -> Client {
    let mut command = words("srun --overlap --kill-on-bad-exit=0 --job-name=parcell");
    command.push(format!("--ntasks={workers}"));
    command.extend(others);
    command.extend(words("sh -c"));
    command.push(wanted.script(None));
    let host = format!("Slurm job {job}");
    Client { host, workers, command, environment: &[], feed: Feed::Ticket, driver: None }
}

fn submit(wanted: &Wanted<'_>, shape: [String; 2], others: Vec<String>) -> Vec<String> {
    let mut submit = words("sbatch --parsable --job-name=parcell --no-requeue");
    submit.push(format!("--output={}", wanted.log));
    submit.extend(shape.into_iter().filter(|word| !word.is_empty()).chain(others));
    submit
}

/// One job with all workers.
fn one_job(wanted: &Wanted<'_>, workers: u32, others: Vec<String>) -> Job {
    let member = quoted(&wanted.script(Some(wanted.ticket)));
    // What the job was given, its step is given, too.
    let step = "exec srun --export=ALL --kill-on-bad-exit=0";
    Job {
        scheduler: "Slurm",
        workers,
        submit: submit(wanted, [format!("--ntasks={workers}"), String::new()], others),
        script: format!("#!/bin/sh\n{step} sh -c {member}\n"),
        number,
        cancel: Box::new(|job| words(&format!("scancel {job}"))),
        state: Box::new(|job| {
            words(&format!("squeue --noheader --jobs={job} --format=%T|%r|%L|%N"))
        }),
        describe,
        ranks: None,
        at_least: None,
    }
}

/// An array of jobs, one for each worker, of which a busy cluster starts some before others.
#[derive(Debug, PartialEq, Eq)]
struct Array {
    workers: u32,
    /// How many may run at a time.
    limit: Option<u32>,
}

impl Array {
    /// What `--array` asks for: nothing more, `%4`, or Slurm's own `0-7%4`.
    fn read(wanted: &Wanted<'_>) -> Result<Option<Array>, String> {
        let options = wanted.options;
        let Some(text) = options.get("array").or_else(|| options.get("-a")) else {
            return Ok(None);
        };
        let wrong = |what: &str| {
            format!("`--array {text}` {what}; write `--array`, or `--array %4` to have 4 at a time")
        };
        let (tasks, limit) = text.split_once('%').map_or((text, None), |(t, n)| (t, Some(n)));
        let number = |text: &str| text.parse::<u32>().ok();
        let limit = limit.map(|n| {
            let fits = number(n).filter(|n| *n > 0);
            fits.ok_or_else(|| wrong("limits the jobs to what is no number of them"))
        });
        let limit = limit.transpose()?;
        if tasks.is_empty() {
            return Ok(Some(Array { workers: count(wanted)?, limit }));
        }
        let last = tasks.strip_prefix("0-").unwrap_or(tasks);
        let last = number(last).filter(|_| tasks == "0" || tasks.starts_with("0-"));
        let workers = last.and_then(|last| last.checked_add(1));
        let workers = workers.ok_or_else(|| wrong("does not count its jobs from 0"))?;
        match wanted.workers {
            Some(n) if n != workers as usize => {
                Err(wrong(&format!("has {workers} jobs, and {n} workers are wanted")))
            }
            _ => Ok(Some(Array { workers, limit })),
        }
    }

    fn job(&self, wanted: &Wanted<'_>, others: Vec<String>) -> Job {
        let limit = self.limit.map(|n| format!("%{n}")).unwrap_or_default();
        let tasks = format!("--array=0-{}{limit}", self.workers - 1);
        let member = quoted(&wanted.script(Some(wanted.ticket)));
        let rank = "PARCELL_RANK=$SLURM_ARRAY_TASK_ID; export PARCELL_RANK";
        let format = "%T|%r|%L|%N|%K";
        Job {
            workers: self.workers,
            submit: submit(wanted, [tasks, "--open-mode=append".to_owned()], others),
            script: format!("#!/bin/sh\n{rank}\nexec sh -c {member}\n"),
            state: Box::new(move |job| {
                words(&format!("squeue --noheader --array --jobs={job} --format={format}"))
            }),
            describe: describe_all,
            ranks: Some(ranks),
            at_least: Some(1),
            ..one_job(wanted, self.workers, Vec::new())
        }
    }
}

/// The number that `sbatch --parsable` prints: `17`, or `17;cluster`.
fn number(output: &str) -> Option<String> {
    let number = output.lines().last()?.split(';').next()?.trim();
    number.parse::<u64>().ok().map(|n| n.to_string())
}

/// What `squeue` says of a job, in words.
fn describe(text: &str) -> String {
    let fields: Vec<&str> = text.trim().lines().next().unwrap_or_default().split('|').collect();
    match fields[..] {
        ["PENDING", reason, left, _] => format!("waits ({reason}), for {left} of time"),
        ["RUNNING", _, left, nodes] => format!("runs on {nodes}, {left} left"),
        [state, ..] => state.to_lowercase(),
        [] => String::new(),
    }
}

/// What `squeue` says of the jobs of an array, in words.
fn describe_all(text: &str) -> String {
    let mut states: BTreeMap<&str, (usize, BTreeSet<&str>)> = BTreeMap::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.trim().split('|').collect();
        let [state, reason, _, nodes, _] = fields[..] else { continue };
        let (jobs, of) = states.entry(state).or_default();
        *jobs += 1;
        of.insert(if state == "PENDING" { reason } else { nodes });
    }
    let one = |(state, (jobs, of)): (&str, (usize, BTreeSet<&str>))| {
        let of = of.into_iter().collect::<Vec<_>>().join(", ");
        match state {
            "PENDING" => format!("{jobs} wait ({of})"),
            "RUNNING" => format!("{jobs} run on {of}"),
            _ => format!("{jobs} {}", state.to_lowercase()),
        }
    };
    states.into_iter().rev().map(one).collect::<Vec<_>>().join(", ")
}

/// Which jobs of an array `squeue` knows.
fn ranks(text: &str) -> Vec<u32> {
    let rank = |line: &str| line.trim().rsplit('|').next()?.parse().ok();
    text.lines().filter_map(rank).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{clients, job};
    use super::*;

    #[test]
    fn inside_an_allocation_srun_starts_them() {
        let given = [("partition", "debug"), ("-w", "n1"), ("exclusive", "")];
        let (command, feed) = clients(&Slurm, Some(4), Some("17"), &given).unwrap().remove(0);
        let begin = "srun --overlap --kill-on-bad-exit=0 --job-name=parcell --ntasks=4 \
                     --cpus-per-task=2 --export=ALL --partition=debug -w n1 --exclusive sh -c program=";
        assert!(command.starts_with(begin), "{command}");
        assert_eq!(feed, Feed::Ticket);
        assert!(!command.contains("ticket='/"), "it comes on standard input");
        assert!(clients(&Slurm, None, Some("17"), &[("ntasks", "3")]).is_ok());
        assert!(clients(&Slurm, None, Some("17"), &[]).is_err_and(|why| why.contains("how many")));
    }

    #[test]
    fn nodes_without_the_files_are_sent_them() {
        let copy = [("copy", ""), ("exclusive", "")];
        let steps = clients(&Slurm, Some(3), Some("17"), &copy).unwrap();
        let begin = "srun --overlap --kill-on-bad-exit=0 --job-name=parcell --nodes=1 --ntasks=1 \
                     --nodelist=7 --cpus-per-task=6 --export=ALL --exclusive sh -c read -r n; eval";
        assert!(steps[0].0.starts_with(begin), "{}", steps[0].0);
        assert_eq!((steps.len(), steps[0].1), (1, Feed::Script));
        let outside = clients(&Slurm, Some(3), None, &copy);
        assert!(outside.is_err_and(|why| why.contains("salloc")));
    }

    #[test]
    fn elsewhere_a_job_is_submitted() {
        let job = job(&Slurm, Some(4), &[("time", "10:00"), ("-p", "debug")]).unwrap();
        assert_eq!(
            job.submit.join(" "),
            "sbatch --parsable --job-name=parcell --no-requeue --output=/log --ntasks=4 \
             --cpus-per-task=2 --export=ALL --time=10:00 -p debug"
        );
        assert!(
            job.script.starts_with(
                "#!/bin/sh\nexec srun --export=ALL --kill-on-bad-exit=0 sh -c 'program="
            )
        );
        assert!(job.script.contains("ticket='\\''/ticket'\\''"), "{}", job.script);
        assert_eq!((job.cancel)("17").join(" "), "scancel 17");
    }

    #[test]
    fn an_array_has_a_job_for_each_worker() {
        let array = job(&Slurm, Some(8), &[("array", ""), ("-p", "debug")]).unwrap();
        assert_eq!(
            array.submit.join(" "),
            "sbatch --parsable --job-name=parcell --no-requeue --output=/log --array=0-7 \
             --open-mode=append --cpus-per-task=2 --export=ALL -p debug"
        );
        let begin = "#!/bin/sh\nPARCELL_RANK=$SLURM_ARRAY_TASK_ID; export PARCELL_RANK\nexec sh -c";
        assert!(array.script.starts_with(begin), "{}", array.script);
        assert_eq!((array.workers, array.at_least), (8, Some(1)));
        assert_eq!((array.cancel)("17").join(" "), "scancel 17");
        let tasks = |workers, text: &str| {
            let job = job(&Slurm, workers, &[("array", text), ("export", "PATH")])?;
            assert!(job.submit.contains(&"--export=PATH".to_owned()));
            Ok::<_, String>((job.submit[5].clone(), job.workers))
        };
        assert_eq!(tasks(Some(8), "%4"), Ok(("--array=0-7%4".to_owned(), 8)));
        assert_eq!(tasks(None, "0-7%4"), Ok(("--array=0-7%4".to_owned(), 8)));
        assert_eq!(tasks(None, "0"), Ok(("--array=0-0".to_owned(), 1)));
        let refused = |workers, text, words: &str| {
            let why = tasks(workers, text).unwrap_err();
            assert!(why.contains(words), "{why}");
        };
        refused(
            Some(8),
            "0-5",
            "`--array 0-5` has 6 jobs, and 8 workers are wanted; write `--array`",
        );
        refused(None, "1-8", "does not count its jobs from 0");
        refused(Some(8), "%0", "no number of them");
        refused(None, "", "how many");
        let (command, _) =
            clients(&Slurm, Some(4), Some("17"), &[("array", "")]).unwrap().remove(0);
        assert!(command.contains("--ntasks=4") && !command.contains("array"), "{command}");
    }

    #[test]
    fn what_slurm_says_of_an_array_is_understood() {
        let text = "PENDING|Resources|10:00||4\nRUNNING|None|9:58|n1|0\nRUNNING|None|9:58|n2|3\n";
        assert_eq!(describe_all(text), "2 run on n1, n2, 1 wait (Resources)");
        assert_eq!(ranks(text), [4, 0, 3]);
    }

    #[test]
    fn what_slurm_says_is_understood() {
        assert_eq!(number("17\n").as_deref(), Some("17"));
        assert_eq!(number("sbatch: a note\n17;cluster\n").as_deref(), Some("17"));
        assert_eq!(number("sbatch: error"), None);
        assert_eq!(describe("PENDING|Resources|10:00|\n"), "waits (Resources), for 10:00 of time");
        assert_eq!(describe("RUNNING|None|9:58|n[1-2]"), "runs on n[1-2], 9:58 left");
        assert_eq!(describe("COMPLETING|None|0:00|n1"), "completing");
    }
}
