"""Open MPI on this machine."""

from cluster.software import Software

# As root, with more processes than cores, in a folder of its own, and on no network but loopback.
SETTINGS = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "OMPI_MCA_hwloc_base_binding_policy": "none",
    "OMPI_MCA_mpi_yield_when_idle": "1",
    "OMPI_MCA_btl": "self,vader",
    "OMPI_MCA_btl_vader_single_copy_mechanism": "none",
    "OMPI_MCA_oob_tcp_if_include": "lo",
    "OMPI_MCA_plm_rsh_agent": "false",
}


class Mpi(Software):
    """`mpiexec` works with this environment: `mpi.run("mpiexec -n 4 hostname")`."""

    OWN = ("mpiexec", "orterun", "prterun", "mpirun")

    def _start(self):
        self.env |= SETTINGS | {"OMPI_MCA_orte_tmpdir_base": str(self.folder)}
