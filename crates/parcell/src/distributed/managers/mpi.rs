//! Workers that `mpiexec` starts: process k + 2 is rank k.

use super::{Client, Feed, Manager, Options, Plan, Wanted};
use crate::distributed::plane;

pub(super) struct Mpi;

const OPTIONS: [(&str, &str); 3] = [
    ("mpiexec", "the program (`mpiexec`)"),
    ("native", "options of mpiexec, in quotes: `--native \"--map-by node\"`; may be repeated"),
    (
        "data-plane",
        "`mpi` or `sockets`: by what workers send each other arrays (by what is faster, where parcell \
         was installed with --mpi)",
    ),
];

/// Has Open MPI let a rank end alone, as a worker that is removed does.
const ENVIRONMENT: [(&str, &str); 1] = [("OMPI_MCA_orte_allowed_exit_without_sync", "1")];

impl Manager for Mpi {
    fn name(&self) -> &'static str {
        "mpi"
    }

    fn options(&self) -> Option<&'static [(&'static str, &'static str)]> {
        Some(&OPTIONS)
    }

    fn data_plane(&self, options: &Options<'_>) -> Result<Option<&'static str>, String> {
        match options.get("data-plane") {
            None => Ok(plane::has_mpi().then_some(plane::LARGE)),
            Some("sockets") => Ok(None),
            Some("mpi") if plane::has_mpi() => Ok(Some(plane::ALL)),
            Some("mpi") => Err("the cell library was built without MPI; `parcell install --mpi` \
                                builds one with it"
                .to_owned()),
            Some(other) => Err(format!("--data-plane is `mpi` or `sockets`, here is `{other}`")),
        }
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
            environment: &ENVIRONMENT,
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

    #[test]
    fn the_data_plane_is_what_the_library_has_or_the_user_says() {
        let plane = |given: &[&str]| {
            let given = given.iter().map(|v| ("data-plane".to_owned(), Some((*v).to_owned())));
            Mpi.data_plane(&Options(&given.collect::<Vec<_>>()))
        };
        let built = |plane| plane::has_mpi().then_some(plane);
        assert_eq!((plane(&[]), plane(&["sockets"])), (Ok(built(plane::LARGE)), Ok(None)));
        match plane(&["mpi"]) {
            Ok(plane) => assert_eq!(plane, built(plane::ALL)),
            Err(why) => {
                assert!(!plane::has_mpi() && why.contains("parcell install --mpi"), "{why}")
            }
        }
        assert!(plane(&["pigeons"]).is_err_and(|why| why.ends_with("here is `pigeons`")));
    }
}
