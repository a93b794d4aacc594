//! Workers that `mpiexec` starts: process k + 2 is rank k.

use super::{Client, Feed, Manager, Plan, Wanted};

pub(super) struct Mpi;

const OPTIONS: [(&str, &str); 2] = [
    ("mpiexec", "the program (`mpiexec`)"),
    ("native", "options of mpiexec, in quotes: `--native \"--map-by node\"`; may be repeated"),
];

impl Manager for Mpi {
    fn name(&self) -> &'static str {
        "mpi"
    }

    fn options(&self) -> Option<&'static [(&'static str, &'static str)]> {
        Some(&OPTIONS)
    }

    fn plan(&self, wanted: &Wanted<'_>) -> Result<Plan, String> {
        let workers = wanted.count(&[])?;
        let program = wanted.options.get("mpiexec").unwrap_or("mpiexec").to_owned();
        let mut command = vec![program, "-n".to_owned(), workers.to_string()];
        command.extend(wanted.options.native());
        // Only rank 0 gets standard input.
        let script = wanted.script(Some(wanted.ticket));
        command.extend(["sh".to_owned(), "-c".to_owned(), script]);
        let host = "MPI".to_owned();
        Ok(Plan::Clients(vec![Client {
            host,
            workers,
            command,
            feed: Feed::Nothing,
            driver: None,
        }]))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::clients;
    use super::*;

    #[test]
    fn mpiexec_starts_them() {
        let given = [("native", "--map-by node"), ("native", "--oversubscribe")];
        let (command, feed) = clients(&Mpi, Some(4), None, &given).unwrap().remove(0);
        let begin = "mpiexec -n 4 --map-by node --oversubscribe sh -c program=";
        assert!(command.starts_with(begin) && command.contains("ticket='/ticket'"), "{command}");
        assert_eq!(feed, Feed::Nothing);
        let (command, _) = clients(&Mpi, Some(1), None, &[("mpiexec", "srun")]).unwrap().remove(0);
        assert!(command.starts_with("srun -n 1 sh -c"), "{command}");
        assert!(clients(&Mpi, None, None, &[]).is_err_and(|why| why.contains("how many")));
    }
}
