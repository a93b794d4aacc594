"""Workers whose number follows the work or the cluster, on a real Slurm; notebooks in allocations."""

import json
import os
import re

import pytest
from conftest import wait_until

from cluster.test_workers_elsewhere import computes, started

HELD = """
let held = remote!(|n: u64| { while !std::path::Path::new(GATE).exists() { sleep(0.05); } n * n });
"""


def running(slurm) -> int:
    return list(slurm.jobs().values()).count("RUNNING")


def test_workers_of_slurm_come_and_go_with_the_work(slurm, start_kernel, tmp_path):
    kernel = start_kernel(env=os.environ | slurm.env)
    first = kernel.ok("%workers 1..3 --manager slurm --idle 2")
    assert started(first) == 1 and "adaptive 1..3, now 1" in first.stdout
    assert running(slurm) == 1
    gate = tmp_path / "gate"
    kernel.ok(f'const GATE: &str = "{gate}";')
    request = kernel.send(HELD + "pmap(&held, 0..8u64).into_iter().sum::<u64>()")
    kernel.printed(request, "more worker is started")
    wait_until(lambda: running(slurm) == 3, "three jobs run, of a worker each", 60)
    gate.touch()
    assert kernel.result(request, timeout=60).result == "140"
    wait_until(lambda: running(slurm) == 1, "two have ended with their workers", 60)
    assert kernel.ok("workers()").result == "[2]"
    assert "adaptive 1..3, now 1" in kernel.ok("%workers").stdout
    kernel.ok("%rmworkers")
    wait_until(lambda: not slurm.jobs(), "the last job ends with its worker", 20)
    kernel.ok("%workers 1..2 --manager slurm")
    kernel.close()
    wait_until(lambda: not slurm.jobs(), "nothing is left", 20)


def test_workers_on_hosts_come_and_go_with_the_work(hosts):
    cluster = hosts(2)
    kernel = cluster.kernel()
    first = kernel.ok("%workers 1..3 --manager ssh --hosts h1*2,h2 --idle 2")
    assert started(first) == 1
    kernel.ok('const GATE: &str = "/tmp/gate";')
    request = kernel.send(HELD + "pmap(&held, 0..12u64).into_iter().sum::<u64>()")
    there = lambda: [len(host.processes("parcell-driver")) for host in cluster]
    # The first process on a host starts the others, one of them for each time that workers were added.
    wait_until(lambda: sum(there()) >= 6 and all(there()), "each host has workers", 60)
    for host in cluster:
        host.run("touch /tmp/gate")
    assert kernel.result(request, timeout=60).result == "506"
    wait_until(lambda: kernel.ok("workers()").result == "[2]", "two were let go", 60)
    wait_until(lambda: sum(there()) == 2, "they have ended", 20)
    kernel.close()
    wait_until(lambda: not sum(there()), "nothing is left", 10)


def test_an_array_joins_as_its_jobs_start(slurm, start_kernel):
    filler = slurm.run(["sbatch", "--parsable", "-n7", "--wrap", "srun sleep 1020"])
    wait_until(lambda: running(slurm) == 1, "seven of eight CPUs are taken", 30)
    kernel = start_kernel(env=os.environ | slurm.env)
    result = kernel.ok("%workers 3 --manager slurm --array")
    assert started(result) == 1
    wait_until(lambda: "2 wait (" in kernel.ok("1").stdout + kernel.ok("%workers").stdout, "the others wait", 20)
    assert kernel.ok("nworkers()").result == "1"
    slurm.run(f"scancel {filler}")
    wait_until(lambda: kernel.ok("nworkers()").result == "3", "the others have joined", 40)
    computes(kernel, 3)
    kernel.ok("%rmworkers")
    wait_until(lambda: not slurm.jobs(), "all jobs end", 20)


def test_an_array_is_cancelled_with_all_its_jobs(slurm, start_kernel):
    slurm.run(["sbatch", "-n7", "--wrap", "srun sleep 1021"])
    wait_until(lambda: running(slurm) == 1, "seven of eight CPUs are taken", 30)
    kernel = start_kernel(env=os.environ | slurm.env)
    waiting = kernel.send("%workers 3 --manager slurm --array --min 2")
    kernel.printed(waiting, "1 run on")
    kernel.interrupt()
    assert not kernel.result(waiting).ok
    wait_until(lambda: len(slurm.jobs()) == 1, "the array is cancelled", 20)
    assert started(kernel.ok("%workers 3 --manager slurm --array %2")) == 1
    assert "called off" in kernel.ok("%rmworkers").stdout
    wait_until(lambda: len(slurm.jobs()) == 1, "those that wait are cancelled, too", 20)
    refused = kernel.run("%workers 3 --manager slurm --array 0-4").error_text
    assert "`--array 0-4` has 5 jobs, and 3 workers are wanted" in refused
    kernel.ok("%workers 2 --manager slurm --array")
    kernel.close()
    wait_until(lambda: len(slurm.jobs()) == 1, "nothing is left", 20)


def test_adaptive_workers_that_never_came_are_not_started_again(slurm, start_kernel):
    kernel = start_kernel(env=os.environ | slurm.env)
    waiting = kernel.send("%workers 2..3 --manager slurm --partition closed")
    kernel.printed(waiting, "2 wait (")
    kernel.interrupt()
    assert not kernel.result(waiting).ok
    wait_until(lambda: not slurm.jobs(), "the array is cancelled", 20)
    # As long as the work is looked at twice.
    kernel.ok("sleep(2.5)")
    assert not slurm.jobs()


def notebook(path, *cells):
    code = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None}
    cells = [code | {"id": str(n), "source": source} for n, source in enumerate(cells)]
    path.write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    return path


WHERE = (
    "%workers 4",
    'println!("{:?}", everywhere!(&workers(), std::env::var("SLURM_STEP_ID").is_ok()));',
    'println!("{:?}", everywhere!(&workers(), std::env::var("SLURMD_NODENAME").unwrap_or_default()));',
)


@pytest.mark.timeout(300)
def test_a_notebook_that_runs_as_a_job_takes_its_nodes(slurm, parcell, tmp_path):
    path = notebook(tmp_path / "where.ipynb", *WHERE)

    def batch(*options, run=""):
        log = tmp_path / "log"
        log.unlink(missing_ok=True)
        line = f"{parcell} run {run} {path}"
        env = os.environ | slurm.env
        job = ["sbatch", "--wait", f"--output={log}", *options, "--wrap", line]
        with slurm.popen(job, env=env) as waiting:
            assert waiting.wait(120) == 0, log.read_text()
        wait_until(lambda: not slurm.jobs(), "the job has ended", 30)
        wait_until(lambda: not slurm.processes("parcell"), "nothing is left")
        return re.findall(r"^\[.*\]$", log.read_text(), re.M)[-2:]

    steps, nodes = batch("-N2", "-n4")
    assert "false" not in steps and '"n1"' in nodes and '"n2"' in nodes
    steps, nodes = batch("-N1", "-n1")
    assert "false" in steps or set(json.loads(nodes)) == {"n1"}
    steps, nodes = batch("-N2", "-n4", run="--manager local")
    assert len(set(json.loads(nodes))) == 1
    # As a hub's job is started: nothing of the environment is passed on but what is named.
    steps, nodes = batch("-N2", "-n4", "--export=PATH,HOME,PARCELL_CELLS")
    assert '"n1"' in nodes and '"n2"' in nodes


def test_auto_is_this_machine_where_there_is_one_node(slurm, start_kernel):
    kernel = start_kernel(prefix=["salloc", "-Q", "-N1"], env=os.environ | slurm.env)
    assert started(kernel.ok("%workers 2 --manager auto")) == 2
    assert "srun" not in kernel.programs()
    kernel.close()
    kernel = start_kernel(
        prefix=["salloc", "-Q", "-N2", "-n4"], env=os.environ | slurm.env | {"PARCELL_MANAGER": "auto"}
    )
    assert started(kernel.ok("%workers 2")) == 2
    assert "srun" in kernel.programs()
    assert len(kernel.ok("addprocs(2)").result.split(",")) == 2
    kernel.close()
    wait_until(lambda: not slurm.jobs(), "the allocations end", 30)
