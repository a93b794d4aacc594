//! Schedulers that are known by templates: PBS, LSF, Grid Engine, HTCondor. Each starts an array of
//! jobs, one for each worker. A site can replace any part of a template, see [`Templates::site`].

use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

use super::job::{About, Job};
use super::script::quoted;
use super::{Manager, Plan, Wanted, words};

/// A scheduler that is known by its template.
pub(super) struct Batch {
    pub(super) name: &'static str,
    pub(super) scheduler: &'static str,
    number: fn(&str) -> Option<String>,
    template: Builtin,
}

/// Words between spaces; `{N}` stands for the number of workers, `{LAST}` for one less, `{LOG}` for a
/// file for what the jobs print, `{JOB}` for the number of the job, `{OPTIONS}` for the user's options,
/// `{SCRIPT}` for the script of one worker.
struct Builtin {
    submit: &'static str,
    /// Where the submission of one worker differs from that of several.
    submit_one: Option<&'static str>,
    /// The number of a worker, from 0, in shell words.
    rank: &'static str,
    script: &'static str,
    cancel: &'static str,
    state: &'static str,
}

const SHELL: &str = "#!/bin/sh\nPARCELL_RANK={RANK}; export PARCELL_RANK\nexec sh -c {SCRIPT}\n";

pub(super) static PBS: Batch = Batch {
    name: "pbs",
    scheduler: "PBS",
    number: |said| said.split_whitespace().last().map(str::to_owned),
    template: Builtin {
        submit: "qsub -N parcell -J 0-{LAST} -j oe -o {LOG} {OPTIONS}",
        submit_one: Some("qsub -N parcell -j oe -o {LOG} {OPTIONS}"),
        rank: "${PBS_ARRAY_INDEX:-0}",
        script: SHELL,
        cancel: "qdel {JOB}",
        state: "qstat {JOB}",
    },
};

pub(super) static LSF: Batch = Batch {
    name: "lsf",
    scheduler: "LSF",
    number: |said| between(said, '<', '>'),
    template: Builtin {
        submit: "bsub -J parcell[1-{N}] -o {LOG} {OPTIONS}",
        submit_one: None,
        rank: "$((LSB_JOBINDEX - 1))",
        script: SHELL,
        cancel: "bkill {JOB}",
        state: "bjobs -noheader {JOB}",
    },
};

pub(super) static SGE: Batch = Batch {
    name: "sge",
    scheduler: "Grid Engine",
    number: |said| said.split_whitespace().find_map(leading_number),
    template: Builtin {
        submit: "qsub -N parcell -t 1-{N} -j y -o {LOG} -S /bin/sh {OPTIONS}",
        submit_one: None,
        rank: "$((SGE_TASK_ID - 1))",
        script: SHELL,
        cancel: "qdel {JOB}",
        state: "qstat -j {JOB}",
    },
};

pub(super) static HTCONDOR: Batch = Batch {
    name: "htcondor",
    scheduler: "HTCondor",
    number: |said| said.split_whitespace().filter_map(leading_number).next_back(),
    template: Builtin {
        submit: "condor_submit {OPTIONS} -",
        submit_one: None,
        rank: "$(Process)",
        script: "executable = /bin/sh\narguments = \"-c {SCRIPT}\"\n\
                 environment = \"PARCELL_RANK={RANK}\"\noutput = {LOG}\nerror = {LOG}\n\
                 getenv = true\nqueue {N}\n",
        cancel: "condor_rm {JOB}",
        state: "condor_q -nobatch -autoformat JobStatus -constraint ClusterId=={JOB}",
    },
};

impl Manager for Batch {
    fn name(&self) -> &'static str {
        self.name
    }

    /// All those of the command that submits.
    fn options(&self) -> Option<&'static [(&'static str, &'static str)]> {
        None
    }

    fn plan(&self, wanted: &Wanted<'_>) -> Result<Plan, String> {
        let site = Templates::site()?.remove(self.name).unwrap_or_default();
        self.job(wanted, &site).map(Plan::Job)
    }
}

impl Batch {
    fn job(&self, wanted: &Wanted<'_>, site: &Template) -> Result<Job, String> {
        let workers = wanted.count(&[])?;
        let own = &self.template;
        let or = |theirs: &Option<String>, ours: &str| theirs.clone().unwrap_or(ours.to_owned());
        let one = own.submit_one.filter(|_| workers == 1).unwrap_or(own.submit);
        let fill = |text: &str| {
            let text = text.replace("{N}", &workers.to_string());
            let text = text.replace("{LAST}", &(workers - 1).to_string());
            text.replace("{LOG}", wanted.log)
        };
        let mut submit = Vec::new();
        for word in words(&fill(&or(&site.submit, one))) {
            match word.as_str() {
                "{OPTIONS}" => submit.extend(wanted.options.passed_on(&[])),
                _ => submit.push(word),
            }
        }
        let member = wanted.script(Some(wanted.ticket));
        let member = match self.name {
            "htcondor" => condor_quoted(&member),
            _ => quoted(&member),
        };
        let script =
            fill(&or(&site.script, own.script)).replace("{RANK}", &or(&site.rank, own.rank));
        let script = script.replace("{SCRIPT}", &member);
        let (cancel, state) = (or(&site.cancel, own.cancel), or(&site.state, own.state));
        let about = |command: String| -> About {
            Box::new(move |job| words(&command.replace("{JOB}", job)))
        };
        Ok(Job {
            scheduler: self.scheduler,
            workers,
            submit,
            script,
            number: self.number,
            cancel: about(cancel),
            state: about(state),
            describe: |_| "submitted".to_owned(),
            ranks: None,
            at_least: None,
        })
    }
}

/// A word in the `arguments` of a description for HTCondor: spaces are kept between single quotes,
/// which are doubled, and so are double quotes.
fn condor_quoted(script: &str) -> String {
    let script = script.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join(";");
    format!("'{}'", script.replace('\'', "''").replace('"', "\"\""))
}

/// What a site has put in the place of parts of a template.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Template {
    submit: Option<String>,
    rank: Option<String>,
    script: Option<String>,
    cancel: Option<String>,
    state: Option<String>,
}

type Sites = BTreeMap<String, Template>;

/// The file with the site's templates.
struct Templates;

impl Templates {
    /// The file that `PARCELL_MANAGERS` names, else `managers.toml` in the user's configuration folder,
    /// else `/etc/parcell/managers.toml`; nothing if there is none of them.
    fn site() -> Result<Sites, String> {
        let set = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let user = set("XDG_CONFIG_HOME").or_else(|| Some(set("HOME")?.join(".config")));
        let user = user.map(|folder| folder.join("parcell/managers.toml"));
        let named = set("PARCELL_MANAGERS");
        let system = Some(PathBuf::from("/etc/parcell/managers.toml"));
        let found = named.or_else(|| user.into_iter().chain(system).find(|file| file.exists()));
        let Some(file) = found else { return Ok(Sites::new()) };
        let failed = |e: &dyn std::fmt::Display| format!("{}: {e}", file.display());
        let text = std::fs::read_to_string(&file).map_err(|e| failed(&e))?;
        toml::from_str(&text).map_err(|e| failed(&e))
    }
}

fn between(text: &str, open: char, close: char) -> Option<String> {
    let rest = text.split_once(open)?.1;
    Some(rest.split_once(close)?.0.to_owned())
}

/// The number with which a word begins, as in `5.1-4:1` and `17.`.
fn leading_number(word: &str) -> Option<String> {
    let digits: String = word.chars().take_while(char::is_ascii_digit).collect();
    (!digits.is_empty()).then_some(digits)
}

#[cfg(test)]
mod tests {
    use super::super::tests::job;
    use super::*;

    fn submitted(
        batch: &'static Batch,
        workers: usize,
        given: &[(&str, &str)],
    ) -> (String, String) {
        let job = job(batch, Some(workers), given).unwrap();
        (job.submit.join(" "), job.script)
    }

    #[test]
    fn each_scheduler_gets_an_array_of_jobs() {
        let queue = [("-q", "work")];
        let (pbs, script) = submitted(&PBS, 4, &queue);
        assert_eq!(pbs, "qsub -N parcell -J 0-3 -j oe -o /log -q work");
        assert!(
            script.starts_with("#!/bin/sh\nPARCELL_RANK=${PBS_ARRAY_INDEX:-0}; export"),
            "{script}"
        );
        assert_eq!(submitted(&PBS, 1, &queue).0, "qsub -N parcell -j oe -o /log -q work");
        let (lsf, script) = submitted(&LSF, 4, &queue);
        assert_eq!(lsf, "bsub -J parcell[1-4] -o /log -q work");
        assert!(script.contains("PARCELL_RANK=$((LSB_JOBINDEX - 1));"), "{script}");
        assert_eq!(submitted(&SGE, 2, &[]).0, "qsub -N parcell -t 1-2 -j y -o /log -S /bin/sh");
        let (condor, script) = submitted(&HTCONDOR, 3, &[]);
        assert_eq!(condor, "condor_submit -");
        assert!(
            script.ends_with("queue 3\n") && script.contains("PARCELL_RANK=$(Process)"),
            "{script}"
        );
    }

    #[test]
    fn what_they_say_names_the_job() {
        let number = |batch: &Batch, said| (batch.number)(said);
        assert_eq!(number(&PBS, "1234[].server\n").as_deref(), Some("1234[].server"));
        let said = "Job <123> is submitted to default queue <normal>.\n";
        assert_eq!(number(&LSF, said).as_deref(), Some("123"));
        let said = "Your job-array 5.1-4:1 (\"parcell\") has been submitted\n";
        assert_eq!(number(&SGE, said).as_deref(), Some("5"));
        let said = "Submitting job(s)....\n4 job(s) submitted to cluster 17.\n";
        assert_eq!(number(&HTCONDOR, said).as_deref(), Some("17"));
        assert_eq!(number(&LSF, "no"), None);
    }

    #[test]
    fn a_site_replaces_parts() {
        let sites: Sites = toml::from_str(
            "[pbs]\nsubmit = \"qsub -t 0-{LAST} {OPTIONS}\"\nrank = \"$PBS_ARRAYID\"",
        )
        .unwrap();
        let (options, threads) = (super::super::Options(&[]), None);
        let wanted = super::super::tests::wanted(Some(3), &options, threads);
        let job = PBS.job(&wanted, &sites["pbs"]).unwrap();
        assert_eq!(job.submit.join(" "), "qsub -t 0-2");
        assert!(job.script.contains("PARCELL_RANK=$PBS_ARRAYID;"), "{}", job.script);
        assert!(toml::from_str::<Sites>("[pbs]\nsubmti = 1").is_err());
    }
}
