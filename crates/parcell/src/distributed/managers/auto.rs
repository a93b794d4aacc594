//! What starts workers where nobody says it: the allocation of a scheduler, if this process runs in one
//! that has several hosts, else this process.

use std::collections::BTreeSet;

/// The manager for the allocation in which this process runs, and the hosts for it if ssh is to reach
/// them. An allocation of one host is this machine.
pub(super) fn allocation(
    variable: &dyn Fn(&str) -> Option<String>,
    read: &dyn Fn(&str) -> Option<String>,
) -> (&'static str, Option<String>) {
    let nodes = variable("SLURM_JOB_NUM_NODES").and_then(|n| n.parse::<u32>().ok());
    if let (Some(_), Some(2..)) = (variable("SLURM_JOB_ID"), nodes) {
        return ("slurm", None);
    }
    let file = |name| variable(name).and_then(|file| read(&file));
    // PBS writes a line for each processor, Grid Engine a line `host slots queue processors`, and LSF
    // has `host processors` again and again in a variable.
    let pbs = || Some(first_words(&file("PBS_NODEFILE")?));
    let sge = || Some(first_words(&file("PE_HOSTFILE")?));
    let lsf = || {
        let all = variable("LSB_MCPU_HOSTS")?;
        Some(all.split_whitespace().step_by(2).map(str::to_owned).collect())
    };
    let hosts: BTreeSet<String> = pbs().or_else(sge).or_else(lsf).unwrap_or_default();
    match hosts.len() {
        0 | 1 => ("local", None),
        _ => ("ssh", Some(hosts.into_iter().collect::<Vec<_>>().join(","))),
    }
}

fn first_words(text: &str) -> BTreeSet<String> {
    text.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(variables: &[(&str, &str)]) -> (&'static str, Option<String>) {
        let variable = |name: &str| {
            let found = variables.iter().find(|(own, _)| *own == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let read = |file: &str| match file {
            "/pbs" => Some("n1\nn1\nn2\nn2\n".to_owned()),
            "/one" => Some("n1\nn1\n".to_owned()),
            "/sge" => Some("n3 4 all.q UNDEFINED\nn4 2 all.q UNDEFINED\n".to_owned()),
            _ => None,
        };
        allocation(&variable, &read)
    }

    #[test]
    fn an_allocation_of_several_hosts_is_taken() {
        let slurm = ("SLURM_JOB_ID", "17");
        assert_eq!(found(&[slurm, ("SLURM_JOB_NUM_NODES", "2")]), ("slurm", None));
        let hosts = |hosts: &str| ("ssh", Some(hosts.to_owned()));
        assert_eq!(found(&[("PBS_NODEFILE", "/pbs")]), hosts("n1,n2"));
        assert_eq!(found(&[("PE_HOSTFILE", "/sge")]), hosts("n3,n4"));
        assert_eq!(found(&[("LSB_MCPU_HOSTS", "n5 4 n6 4")]), hosts("n5,n6"));
    }

    #[test]
    fn one_host_is_this_machine() {
        let local = ("local", None);
        assert_eq!(found(&[]), local);
        assert_eq!(found(&[("SLURM_JOB_ID", "17"), ("SLURM_JOB_NUM_NODES", "1")]), local);
        assert_eq!(found(&[("SLURM_JOB_NUM_NODES", "2")]), local, "it is of no job");
        assert_eq!(found(&[("PBS_NODEFILE", "/one")]), local);
        assert_eq!(found(&[("PBS_NODEFILE", "/gone")]), local);
    }
}
