"""Notebook 08 in the cluster that it tells of: its cells give the stored outputs, and nothing of it is
left behind."""

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from conftest import NEEDS_CLUSTER, wait_until
from test_export import workshop  # noqa: F401 (a fixture)

from cluster import needs
from cluster.playground import Playground

ROOT = Path(__file__).parents[2]


@pytest.fixture
def playground():
    """Three hosts, and a head with Slurm and MPI."""
    for what in ("hosts", "Slurm", "MPI"):
        needs.need(what)
    with closing(Playground()) as playground:
        yield playground


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("folder", ["notebooks", "notebooks/solutions"])
def test_the_notebook_on_cluster_managers(playground, monkeypatch, workshop, folder):  # noqa: F811
    # The program that the notebook builds shares its library with those of other tests.
    monkeypatch.setenv("CARGO_TARGET_DIR", str(workshop.target))
    notebook = ROOT / folder / f"{NEEDS_CLUSTER}.ipynb"
    patience = ["--nbval-cell-timeout=600", "--timeout=900"]
    command = [sys.executable, "-m", "pytest", "-c", ROOT / "tests" / "pytest.ini", *patience, notebook]
    done = playground.popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    printed, _ = done.communicate(timeout=1100)
    assert done.returncode == 0, printed
    wait_until(lambda: not playground.slurm.jobs(), "no job is left", 20)
    for host in [playground.cluster.head, *playground.cluster]:
        wait_until(lambda: not host.processes("parcell-driver"), f"no worker is left on {host.name}", 20)
    assert not os.path.exists(Path.home() / "parcell-08")
