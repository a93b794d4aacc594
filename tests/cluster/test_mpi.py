"""Workers that mpiexec starts send each other large data by MPI and compute what they compute over
sockets; cells on them use MPI itself. Builds the programs and a cell library with MPI, once each."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from cluster import needs
from conftest import wait_until

ROOT = Path(__file__).parents[2]
BUILD = 900
ALL_REDUCE = """
%%px
use parcell::mpi::{collective::SystemOperation, traits::*};
let world = world();
let mut sum = 0;
world.all_reduce_into(&(world.rank() + 1), &mut sum, SystemOperation::sum());
println!("rank {} of {} on {}: {sum}", world.rank(), world.size(), myid());
"""
LARGE = "spmd(|c: Spmd| c.all_reduce(vec![c.rank() as f64; 100_000], |a, _| a).len())"
SENT = "parcell::distributed::sent_by_plane"


@pytest.fixture(scope="module")
def programs() -> dict[str, str]:
    """The programs that test arrays and runs, built with MPI beside the kernel's own build."""
    needs.need("MPI in cells")
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "mpi"
    command = ["cargo", "test", "--release", "-p", "parcell", "--features", "mpi", "--no-run",
               "--test", "arrays", "--test", "spmd", "--message-format=json", "--target-dir", target]
    built = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    lines = map(json.loads, built.stdout.splitlines())
    return {line["target"]["name"]: line["executable"] for line in lines if line.get("executable")}


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """Where a kernel with MPI is installed: by this, or before, in the folder of this variable."""
    needs.need("MPI in cells")
    if there := os.environ.get("PARCELL_TEST_MPI"):
        return Path(there)
    prefix = tmp_path_factory.mktemp("mpi")
    command = [os.environ["PARCELL"], "install", "--mpi", "--name", "parcell-mpi", "--prefix", prefix]
    subprocess.run(command, check=True)
    return prefix


@pytest.fixture
def kernel(installed, mpi, start_kernel, monkeypatch):
    """A kernel with MPI."""
    monkeypatch.setenv("JUPYTER_PATH", str(installed / "share" / "jupyter"))
    return start_kernel(name="parcell-mpi", env=os.environ | mpi.env)


@pytest.mark.timeout(BUILD)
@pytest.mark.parametrize("plane", ["mpi", "sockets"])
@pytest.mark.parametrize("program", ["arrays", "spmd"])
def test_both_planes_give_the_same_answers(program, plane, programs, mpi):
    env = os.environ | mpi.env | {"PARCELL_TEST_PLANE": plane}
    done = subprocess.run([programs[program]], env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    sent = int(done.stdout.split("sent by the data plane: ")[1].split()[0])
    assert (sent > 0) == (plane == "mpi")


@pytest.mark.timeout(BUILD)
def test_cells_on_workers_use_mpi(kernel):
    kernel.ok("%workers 3 --manager mpi")
    printed = kernel.ok(ALL_REDUCE).stdout
    for rank in range(3):
        assert f"rank {rank} of 3 on {rank + 2}: 6" in printed
    assert "process 1 is no rank of MPI" in kernel.run("world();").error_text
    assert kernel.ok(LARGE).result == "[100000, 100000, 100000]"
    assert int(kernel.ok(f"fetch_from!(3, {SENT}(2))").result) >= 800_000


@pytest.mark.timeout(BUILD)
def test_ranks_on_different_hosts(installed, mpi, hosts, tmp_path, monkeypatch):
    """With the files in common that MPI needs, and the network of the hosts."""
    monkeypatch.setenv("JUPYTER_PATH", str(installed / "share" / "jupyter"))
    sysroot = subprocess.run(["rustc", "--print", "sysroot"], check=True, stdout=subprocess.PIPE, text=True)
    cluster = hosts(2, shared=[installed / "share", Path(sysroot.stdout.strip()) / "lib", tmp_path])
    network = {"OMPI_MCA_btl": "self,vader,tcp", "OMPI_MCA_plm_rsh_agent": "ssh"}
    network |= {f"OMPI_MCA_{part}_tcp_if_include": "eth0" for part in ("btl", "oob")}
    # Tickets lie in the cache.
    own = {"XDG_CACHE_HOME": str(tmp_path), "OMPI_MCA_orte_tmpdir_base": "/tmp"}
    kernel = cluster.kernel(os.environ | mpi.env | network | own, name="parcell-mpi")
    refused = kernel.run("%workers 2 --manager mpi --native '--host h1,nowhere'").error_text
    assert "nowhere" in refused
    kernel.ok('%workers 4 --manager mpi --native "--host h1:2,h2:2"')
    kernel.ok('fn host() -> String { std::fs::read_to_string("/etc/hostname").unwrap().trim().to_owned() }')
    assert kernel.ok("everywhere!(&workers(), host())").result == '["h1", "h1", "h2", "h2"]'
    assert kernel.ok(ALL_REDUCE).stdout.count("of 4 on") == 4
    assert kernel.ok(LARGE).result == "[100000, 100000, 100000, 100000]"
    assert int(kernel.ok(f"fetch_from!(4, {SENT}(6))").result) >= 800_000
    kernel.close()
    wait_until(lambda: not any(host.processes() for host in cluster), "nothing is left", 20)


@pytest.mark.timeout(BUILD)
def test_a_worker_ends_alone_by_order_and_all_by_a_death(kernel):
    kernel.ok("%workers 3 --manager mpi")
    kernel.ok("rmprocs(&[3]);")
    assert kernel.ok("workers()").result == "[2, 4]"
    assert kernel.ok(LARGE).result == "[100000, 100000]"
    kernel.ok("let dies = spawn_at!(4, if myid() > 1 { std::process::abort() });")
    told = kernel.run("dies.fetch();").error_text
    assert "process 4 is gone" in told
    wait_until(lambda: kernel.ok("nprocs()").result == "1", "mpiexec ends the others", 20)
    wait_until(lambda: "mpiexec" not in kernel.programs(), "mpiexec has ended", 20)
    kernel.ok("%workers 2 --manager mpi")
    assert kernel.ok(LARGE).result == "[100000, 100000]"
    kernel.ok("%rmworkers")
    wait_until(lambda: "mpiexec" not in kernel.programs(), "mpiexec has ended", 20)


@pytest.mark.timeout(BUILD)
def test_a_rank_that_dies_while_others_wait_for_its_data(kernel):
    kernel.ok("%workers 2 --manager mpi")
    waits = """spmd(|c: Spmd| {
        if c.rank() == 1 { std::process::abort() }
        c.recv_from::<Vec<f64>>(1).len()
    });"""
    assert "is gone" in kernel.run(waits).error_text
    assert kernel.ok("1 + 1").result == "2"


@pytest.mark.timeout(BUILD)
def test_sockets_when_asked_for(kernel):
    kernel.ok("%workers 2 --manager mpi --data-plane sockets")
    assert kernel.ok(LARGE).result == "[100000, 100000]"
    assert kernel.ok(f"fetch_from!(3, {SENT}(2))").result == "0"
    assert "process 2 is no rank of MPI" in kernel.run("fetch_from!(2, { world(); })").error_text
    refused = kernel.run("%workers 2 --manager mpi --data-plane pigeons").error_text
    assert "--data-plane is `mpi` or `sockets`, here is `pigeons`" in refused


def test_without_the_library_the_way_to_it_is_told(mpi, start_kernel):
    kernel = start_kernel(env=os.environ | mpi.env)
    refused = kernel.run("%workers 2 --manager mpi --data-plane mpi").error_text
    assert "built without MPI" in refused and "parcell install --mpi" in refused


@pytest.mark.timeout(BUILD)
def test_the_doctor_tells_which_library_is_used(installed):
    env = os.environ | {"PARCELL_MPI": "1", "PARCELL_CELLS": str(installed / "share/parcell/cells")}
    told = subprocess.run([os.environ["PARCELL"], "doctor"], env=env, capture_output=True, text=True)
    assert "cell library with MPI in" in told.stdout
