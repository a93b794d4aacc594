"""Fixtures that start the real software clusters are made of, and stop it again."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from cluster import needs
from cluster.batch import Condor, Lsf, Pbs
from cluster.hosts import Cluster
from cluster.mpi import Mpi
from cluster.sge import Sge
from cluster.slurm import Slurm, SlurmOfHosts


def pytest_unconfigure(config):
    """Says at the very end what this machine could not have."""
    if reporter := config.pluginmanager.get_plugin("terminalreporter"):
        for what, reason in needs.missed.items():
            reporter.write_line(f"not run: {what} ({reason})", yellow=True)


@pytest.fixture
def hosts() -> Iterator[Callable[..., Cluster]]:
    """Makes clusters of so many hosts and a head."""
    needs.need("hosts")
    with ExitStack() as ends:

        def start(count: int, shared: Sequence[str | Path] = ()) -> Cluster:
            return ends.enter_context(closing(Cluster(count, shared)))

        yield start


@pytest.fixture
def slurm() -> Iterator[Slurm]:
    """A Slurm of this test's own, with two nodes."""
    needs.need("Slurm")
    with closing(Slurm()) as slurm:
        yield slurm


@pytest.fixture
def slurm_of_hosts() -> Iterator[SlurmOfHosts]:
    """A Slurm whose nodes are hosts with files of their own."""
    needs.need("hosts")
    needs.need("Slurm")
    with closing(SlurmOfHosts()) as slurm:
        yield slurm


@pytest.fixture
def sge() -> Iterator[Sge]:
    """A Grid Engine of this test's own."""
    needs.need("Grid Engine")
    with closing(Sge()) as sge:
        yield sge


@pytest.fixture
def mpi() -> Iterator[Mpi]:
    """Open MPI, set up for this machine."""
    needs.need("MPI")
    with closing(Mpi()) as mpi:
        yield mpi


@pytest.fixture
def pbs() -> Iterator[Pbs]:
    """Commands that look like those of OpenPBS."""
    with closing(Pbs()) as pbs:
        yield pbs


@pytest.fixture
def lsf() -> Iterator[Lsf]:
    """Commands that look like those of LSF."""
    with closing(Lsf()) as lsf:
        yield lsf


@pytest.fixture
def condor() -> Iterator[Condor]:
    """Commands that look like those of HTCondor."""
    with closing(Condor()) as condor:
        yield condor
