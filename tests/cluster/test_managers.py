"""The schedulers and MPI that other tests start workers with: they run, and nothing of them stays."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from conftest import alive, wait_until

from cluster import needs
from cluster.software import Software


def ends_without_a_trace(software: Software):
    """Closes it and looks for processes and files."""
    folder, keeper = software.folder, psutil.Process(software._keeper.pid)
    everything = {keeper, *keeper.children(recursive=True), *software.processes()}
    software.close()
    assert not any(alive(process) for process in everything)
    assert not folder.exists()


# ---------------------------------------------------------------------------------------------
# Slurm


def test_srun_runs_tasks_on_both_nodes(slurm):
    lines = slurm.run(["srun", "-N2", "-n4", "sh", "-c", "echo $SLURM_PROCID $SLURMD_NODENAME"])
    tasks = sorted(line.split() for line in lines.splitlines())
    assert [number for number, _ in tasks] == list("0123")
    assert {node for _, node in tasks} == {"n1", "n2"}


def test_a_batch_job_runs_is_seen_and_is_cancelled(slurm):
    job = int(slurm.run(["sbatch", "--parsable", "-N2", "--wrap", "srun sleep 1003"]))
    wait_until(lambda: len(sleepers(slurm)) == 2, "both nodes run the job", 30)
    assert slurm.jobs() == {job: "RUNNING"}
    slurm.run(f"scancel {job}")
    wait_until(lambda: not slurm.jobs() and not sleepers(slurm), "the job is gone", 30)


def test_a_job_of_a_closed_partition_waits(slurm):
    job = int(slurm.run(["sbatch", "--parsable", "-p", "closed", "--wrap", "true"]))
    assert slurm.jobs() == {job: "PENDING"}
    slurm.run("scontrol update PartitionName=closed State=UP")
    wait_until(lambda: not slurm.jobs(), "the job runs", 30)


def test_a_kernel_runs_inside_an_allocation(slurm, start_kernel):
    kernel = start_kernel(prefix=["salloc", "-Q", "-N2"], env=os.environ | slurm.env)
    assert kernel.ok('std::env::var("SLURM_JOB_NUM_NODES").unwrap()').result == '"2"'
    assert "RUNNING" in slurm.jobs().values()
    assert kernel.ok("!srun hostname").stdout.count("\n") == 2
    kernel.close()
    wait_until(lambda: not slurm.jobs(), "the allocation ends", 30)


def test_slurm_leaves_nothing_even_of_a_running_job(slurm):
    slurm.run(["sbatch", "--export=NONE", "--wrap", "setsid sleep 1004"])
    wait_until(lambda: sleepers(slurm), "the job runs", 30)
    ends_without_a_trace(slurm)


def sleepers(software: Software) -> list:
    return software.processes("sleep")


# ---------------------------------------------------------------------------------------------
# Grid Engine


def test_an_array_job_runs_is_seen_and_is_deleted(sge):
    job = sge.run("qsub -terse -b y -t 1-2 sleep 1005").split(".")[0]
    wait_until(lambda: list(sge.jobs().values()) == ["r", "r"], "both tasks run", 30)
    assert set(sge.jobs()) == {f"{job}.1", f"{job}.2"}
    sge.run(f"qdel {job}")
    wait_until(lambda: not sge.jobs() and not sleepers(sge), "the tasks are gone", 30)


def test_a_held_job_waits_for_its_release(sge, tmp_path):
    job = sge.run(["qsub", "-terse", "-h", "-b", "y", "-o", tmp_path, "echo", "$SGE_TASK_ID"])
    assert sge.jobs() == {job: "hqw"}
    sge.run(f"qrls {job}")
    wait_until(lambda: not sge.jobs(), "the job runs", 30)
    assert (tmp_path / f"echo.o{job}").read_text() == "undefined\n"


def test_grid_engine_leaves_nothing_even_of_a_running_job(sge):
    sge.run("qsub -b y sleep 1006")
    wait_until(lambda: sleepers(sge), "the job runs", 30)
    ends_without_a_trace(sge)


# ---------------------------------------------------------------------------------------------
# MPI

PROGRAM = """
#include <mpi.h>
#include <stdio.h>
int main(int count, char **words) {
  int rank, sum;
  MPI_Init(&count, &words);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Allreduce(&rank, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
  printf("%d\\n", sum);
  MPI_Finalize();
}
"""


def test_mpiexec_starts_more_ranks_than_there_are_cores(mpi):
    (mpi.folder / "sum.c").write_text(PROGRAM)
    mpi.run("mpicc sum.c -o sum")
    assert mpi.run("mpiexec -n 6 ./sum").split() == ["15"] * 6


def test_mpi_leaves_nothing_even_of_running_ranks(mpi):
    with mpi.popen("mpiexec -n 2 sleep 1007") as run:
        wait_until(lambda: len(sleepers(mpi)) == 2, "the ranks run", 30)
        ends_without_a_trace(mpi)
        run.wait(10)


# ---------------------------------------------------------------------------------------------
# PBS, LSF, HTCondor: stand-ins


def finished(batch) -> bool:
    return bool(batch.jobs()) and all(s not in ("queued", "running") for s in batch.jobs().values())


def test_qsub_takes_a_script_and_its_directives(pbs):
    script = "#!/bin/sh\n#PBS -N name -l walltime=1:00\necho $PBS_JOBID $PBS_QUEUE\n"
    (pbs.folder / "job").write_text(script)
    assert pbs.run("qsub -q long job") == "101.server"
    wait_until(lambda: finished(pbs), "the job ends")
    assert (pbs.folder / "name.o101").read_text() == "101.server long\n"
    assert pbs.asked()[0].asked == ["-N", "name", "-l", "walltime=1:00", "-q", "long", "job"]


def test_a_pbs_array_is_queued_runs_and_is_deleted(pbs):
    pbs.hold()
    assert pbs.run("qsub -J 1-2 -- /bin/sleep 1008") == "101[].server"
    assert [line.split()[4] for line in pbs.run("qstat").splitlines()[2:]] == ["Q", "Q"]
    pbs.release()
    wait_until(lambda: len(sleepers(pbs)) == 2, "both tasks run")
    pbs.run("qdel 101[]")
    wait_until(lambda: finished(pbs) and not sleepers(pbs), "the tasks are gone")
    assert set(pbs.jobs().values()) == {"cancelled"}
    with pytest.raises(AssertionError, match="has finished"):
        pbs.run("qstat 101[].server")
    with pytest.raises(AssertionError, match="Unknown Job Id 7.server"):
        pbs.run("qdel 7.server")


def test_pbs_passes_variables_only_on_request(pbs):
    env = os.environ | pbs.env | {"SECRET": "word"}
    for options in ([], ["-v", "SECRET"], ["-V"]):
        submit = ["qsub", "-j", "oe", "-o", "out", *options, "--", "/usr/bin/env"]
        assert pbs.popen(submit, env=env).wait() == 0
        wait_until(lambda: finished(pbs), "the job ends")
        assert ("SECRET=word" in (pbs.folder / "out").read_text()) == bool(options)
        (pbs.folder / "out").unlink()


def test_bsub_answers_as_lsf_does(lsf):
    array = ["bsub", "-J", "name[1-3]", "-o", "out.%J.%I", "-q", "short"]
    answer = lsf.run([*array, "echo", "$LSB_JOBINDEX of $LSB_JOBID"])
    assert answer == "Job <101> is submitted to queue <short>."
    wait_until(lambda: finished(lsf), "the job ends")
    texts = [(lsf.folder / f"out.101.{task}").read_text() for task in (1, 2, 3)]
    assert texts == ["1 of 101\n", "2 of 101\n", "3 of 101\n"]
    assert lsf.run("bsub sleep 1009") == "Job <102> is submitted to default queue <normal>."
    wait_until(lambda: sleepers(lsf), "the job runs")
    assert lsf.run(["bjobs", "-noheader", "-o", "jobid stat", "102"]).split() == ["102", "RUN"]
    assert lsf.run("bkill 102") == "Job <102> is being terminated"
    wait_until(lambda: lsf.jobs()["102.0"] == "cancelled", "the job is gone")


def test_condor_submit_reads_a_description(condor):
    (condor.folder / "job").write_text(
        "executable = /bin/sh\nname = x\narguments = \"-c 'echo $(Process) $(name)'\"\n"
        "output = out.$(Cluster).$(Process)\nqueue 2\n"
    )
    assert condor.run("condor_submit job").splitlines() == [
        "Submitting job(s)..", "2 job(s) submitted to cluster 101.",
    ]
    wait_until(lambda: finished(condor), "the jobs end")
    assert [(condor.folder / f"out.101.{n}").read_text() for n in (0, 1)] == ["0 x\n", "1 x\n"]
    (condor.folder / "job").write_text("executable = /bin/sleep\narguments = 1010\nqueue\n")
    assert condor.run("condor_submit -terse job") == "102.0 - 102.0"
    wait_until(lambda: sleepers(condor), "the job runs")
    assert condor.run("condor_q 102 -af ClusterId JobStatus") == "102 2"
    condor.run("condor_rm 102")
    wait_until(lambda: not sleepers(condor), "the job is gone")


def test_a_batch_system_may_refuse(pbs, lsf):
    for batch, command in ((pbs, "qsub -- true"), (lsf, "bsub true")):
        batch.refuse("no allocation left")
        with pytest.raises(AssertionError, match="no allocation left"):
            batch.run(command)
        assert batch.jobs() == {}


def test_a_killed_job_takes_its_children_along(pbs):
    pbs.run(["qsub", "--", "/bin/sh", "-c", "trap '' TERM; sleep 1011 & sleep 1011"])
    wait_until(lambda: len(sleepers(pbs)) == 2, "the job runs")
    pbs.run("qdel 101")
    wait_until(lambda: finished(pbs) and not sleepers(pbs), "the job is gone")
    assert pbs.jobs() == {"101.0": "cancelled"}


# ---------------------------------------------------------------------------------------------
# Tests that are killed

KILLED = """
import os, psutil, sys
sys.path.insert(0, sys.argv[1])
from cluster.hosts import Cluster
from cluster.sge import Sge
from cluster.slurm import Slurm
made = [{"hosts": lambda: Cluster(1), "Slurm": Slurm, "Grid Engine": Sge}[name]() for name in sys.argv[2:]]
for one in made:
    if isinstance(one, Cluster):
        one[0].delay(1)
        one[0].run("setsid nohup sleep 1012 >/dev/null 2>&1 &")
    else:
        one.popen(["srun", "sleep", "1012"] if isinstance(one, Slurm) else ["true"])
print(*(one.folder for one in made))
print(*(process.pid for process in psutil.Process().children(recursive=True)), flush=True)
os.kill(os.getpid(), 9)
"""


def test_nothing_runs_on_after_tests_that_were_killed():
    there = [name for name in ("hosts", "Slurm", "Grid Engine") if not needs.missing(name)]
    script = [sys.executable, "-c", KILLED, Path(__file__).parents[1], *there]
    with subprocess.Popen(script, stdout=subprocess.PIPE, text=True) as tests:
        folders, started = (tests.stdout.readline().split() for _ in range(2))
    assert len(started) > 3 * len(there)
    for pid in map(int, started):
        wait_until(lambda: not runs(pid), f"process {pid} ends")
    for folder in map(Path, folders):
        wait_until(lambda: not folder.exists(), f"{folder} is removed")


def runs(pid: int) -> bool:
    """Whether the process exists and is not just waiting to be reaped."""
    try:
        return alive(psutil.Process(pid))
    except psutil.NoSuchProcess:
        return False
