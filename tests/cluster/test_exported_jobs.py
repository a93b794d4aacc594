"""Programs that `parcell export` writes, as jobs of a real Slurm."""

import json
import os

import pytest
from conftest import wait_until
from test_export import Workshop, call, workshop, write  # noqa: F401 (a fixture)

CELLS = [
    "%workers 4",
    """fn term(k: u64) -> f64 {
    let mut digits = k;
    while digits > 0 {
        if digits % 10 == 9 { return 0.0; }
        digits /= 10;
    }
    1.0 / k as f64
}
let sum = distributed!(+, for k in 1..=1_000_000u64 { term(k) });
let serial: f64 = (1..=1_000_000u64).map(term).sum();
(sum - serial).abs() < 1e-9""",
    'everywhere!(&workers(), std::env::var("SLURMD_NODENAME").unwrap_or_default())',
    "let a = DArray::from_fn((40, 30), |(i, j): (usize, usize)| (i * 30 + j) as f64);\na.sum()",
    "%rmworkers",
]


@pytest.mark.timeout(1200)
def test_a_notebook_with_local_workers_runs_on_the_nodes_of_a_job(slurm, workshop: Workshop, tmp_path):  # noqa: F811
    program = workshop.build(write(tmp_path / "slow-series.ipynb", *CELLS))
    alone = call(program)
    assert alone.returncode == 0, alone.stderr
    assert alone.stdout.splitlines() == ["true", '["", "", "", ""]', "719400.0"]

    env = os.environ | slurm.env | {"CARGO_TARGET_DIR": str(workshop.target)}
    options = ["--wait", "-N2", f"--output={tmp_path}/job.out"]
    done = call("sbatch", *options, "job.sh", cwd=workshop.project, env=env)
    printed = (tmp_path / "job.out").read_text().splitlines()
    assert done.returncode == 0, done.stderr + "\n".join(printed)
    assert printed[0] == "true" and printed[2] == "719400.0", printed
    nodes = json.loads(printed[1])
    assert len(nodes) == 4 and set(nodes) == {"n1", "n2"}, printed
    wait_until(lambda: not slurm.jobs(), "the job has ended", 30)
    wait_until(lambda: not slurm.processes("slow-series"), "the program and its workers have ended")


def test_a_job_without_the_program_says_how_to_build_it(slurm, parcell, tmp_path):
    notebook = write(tmp_path / "a-notebook.ipynb", "1 + 1")
    assert call(parcell, "export", notebook, "--to", tmp_path / "to").returncode == 0
    env = {k: v for k, v in (os.environ | slurm.env).items() if k != "CARGO_TARGET_DIR"}
    options = ["--wait", f"--output={tmp_path}/job.out"]
    done = call("sbatch", *options, "job.sh", cwd=tmp_path / "to", env=env)
    assert done.returncode != 0
    assert "cargo build --release" in (tmp_path / "job.out").read_text()
