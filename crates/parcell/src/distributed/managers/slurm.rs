//! Workers that Slurm starts: inside an allocation with `srun`, else in a job of their own.

use super::job::Job;
use super::script::quoted;
use super::{Client, Feed, Manager, Plan, Wanted, words};

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
        let workers = wanted.count(&["ntasks", "-n"])?;
        let mut shape = vec![format!("--ntasks={workers}")];
        if let Some(threads) = wanted.threads {
            shape.push(format!("--cpus-per-task={threads}"));
        }
        let others = wanted.options.passed_on(&["ntasks", "-n"]);
        if let Some(job) = wanted.allocation {
            let mut command = words("srun --overlap --kill-on-bad-exit=0 --job-name=parcell");
            command.extend(shape.into_iter().chain(others));
            command.extend(words("sh -c"));
            command.push(wanted.script(None));
            let host = format!("Slurm job {job}");
            let feed = Feed::Ticket;
            let client = Client { host, workers, command, environment: &[], feed, driver: None };
            return Ok(Plan::Clients(vec![client]));
        }
        let mut submit = words("sbatch --parsable --job-name=parcell --no-requeue");
        submit.push(format!("--output={}", wanted.log));
        submit.extend(shape.into_iter().chain(others));
        let member = quoted(&wanted.script(Some(wanted.ticket)));
        let script = format!("#!/bin/sh\nexec srun --kill-on-bad-exit=0 sh -c {member}\n");
        Ok(Plan::Job(Job {
            scheduler: "Slurm",
            workers,
            submit,
            script,
            number,
            cancel: Box::new(|job| words(&format!("scancel {job}"))),
            state: Box::new(|job| {
                words(&format!("squeue --noheader --jobs={job} --format=%T|%r|%L|%N"))
            }),
            describe,
        }))
    }
}

/// The number that `sbatch --parsable` prints: `17`, or `17;cluster`.
fn number(output: &str) -> Option<String> {
    let number = output.lines().last()?.split(';').next()?.trim();
    number.parse::<u64>().ok().map(|n| n.to_string())
}

/// A line of `squeue` in words.
fn describe(line: &str) -> String {
    let fields: Vec<&str> = line.trim().split('|').collect();
    match fields[..] {
        ["PENDING", reason, left, _] => format!("waits ({reason}), for {left} of time"),
        ["RUNNING", _, left, nodes] => format!("runs on {nodes}, {left} left"),
        [state, ..] => state.to_lowercase(),
        [] => String::new(),
    }
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
                     --cpus-per-task=2 --partition=debug -w n1 --exclusive sh -c program=";
        assert!(command.starts_with(begin), "{command}");
        assert_eq!(feed, Feed::Ticket);
        assert!(!command.contains("ticket='/"), "it comes on standard input");
        assert!(clients(&Slurm, None, Some("17"), &[("ntasks", "3")]).is_ok());
        assert!(clients(&Slurm, None, Some("17"), &[]).is_err_and(|why| why.contains("how many")));
    }

    #[test]
    fn elsewhere_a_job_is_submitted() {
        let job = job(&Slurm, Some(4), &[("time", "10:00"), ("-p", "debug")]).unwrap();
        assert_eq!(
            job.submit.join(" "),
            "sbatch --parsable --job-name=parcell --no-requeue --output=/log --ntasks=4 \
             --cpus-per-task=2 --time=10:00 -p debug"
        );
        assert!(
            job.script.starts_with("#!/bin/sh\nexec srun --kill-on-bad-exit=0 sh -c 'program=")
        );
        assert!(job.script.contains("ticket='\\''/ticket'\\''"), "{}", job.script);
        assert_eq!((job.cancel)("17").join(" "), "scancel 17");
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
