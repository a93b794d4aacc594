"""JupyterHub as docs/jupyterhub.md sets it up: two users at once, each with a server that is a process
of this machine or a job of Slurm, and an installation that nobody can write to."""

import os
import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from conftest import wait_until

from cluster import needs
from cluster.hub import Campus, CampusSlurm, Hub, User, WebKernel
from cluster.test_workers_elsewhere import SERIES, computes, started

# The first of them waits until the cell library is built.
pytestmark = pytest.mark.timeout(900)
# In nothing that parcell itself is made of.
CRATE = "humantime"


@pytest.fixture(scope="module")
def campus() -> Iterator[Campus]:
    """A machine of many users; it is set up once, which builds the cell library anew."""
    needs.need("JupyterHub")
    with closing(Campus()) as campus:
        campus.install(os.environ["PARCELL"], CRATE)
        yield campus


@pytest.fixture
def hub(campus) -> Iterator[Hub]:
    with closing(campus.hub("jupyterhub_config.py")) as hub:
        yield hub


@contextmanager
def kernels(hub: Hub, *names: str) -> Iterator[list[WebKernel]]:
    """A kernel for each user, in servers that run at the same time."""
    users = [hub.log_in(name) for name in names]
    for user in users:
        user.start_server()
    yield [user.kernel() for user in users]
    for user in users:
        user.stop_server()


def compute_at_once(*pair: WebKernel):
    """Both compute, and neither ends before the other has begun."""
    folder = "/tmp/parcell-rendezvous"
    pair[0].user.hub.campus.head.run(f"mkdir -m 1777 {folder}")
    cells = []
    for mine, other in (pair, pair[::-1]):
        mine.ok(SERIES)
        cells.append(mine.send(f"""
            std::fs::write("{folder}/{mine.user.name}", "").unwrap();
            while !std::fs::exists("{folder}/{other.user.name}").unwrap() {{ parcell::interrupt::sleep(0.01); }}
            distributed!(+, for k in 1..=200_000u64 {{ term(k) }})
        """))
    sums = [float(kernel.result(cell).result) for kernel, cell in zip(pair, cells, strict=True)]
    assert sums[0] == pytest.approx(sums[1], rel=1e-12)
    assert sums[0] == pytest.approx(float(pair[0].ok("(1..=200_000u64).map(term).sum::<f64>()").result))
    pair[0].user.hub.campus.head.run(f"rm -r {folder}")


def sees_nothing(mine: WebKernel, other: WebKernel):
    """A user's cells cannot read the other's files, sessions, and variables of processes."""
    driver = other.ok("std::process::id()").result
    number = other.ok("!id -u").stdout.strip()
    assert mine.ok("!id -un").stdout.strip() == mine.user.name
    for path in (f"/home/{other.user.name}", f"/proc/{driver}/environ", f"/proc/{driver}/mem",
                 f"/tmp/parcell-{number}", f"/run/jupyter/{other.user.name}"):
        attempt = f'std::fs::metadata("{path}/.").map(drop).and(std::fs::File::open("{path}")).is_err()'
        plain_file = f'std::fs::File::open("{path}").is_err()'
        assert mine.ok(plain_file if "/proc/" in path else attempt).result == "true", path


def nothing_is_left(campus: Campus):
    for name in ("anna", "bert"):
        wait_until(lambda: not campus.processes_of(name), f"no process of {name} is left", 20)
    find = r"find /tmp /dev/shm /run \( -user anna -o -user bert \)"
    wait_until(lambda: not campus.head.run(find, check=False), "no file is left", 10)


def test_two_users_compute_at_once_and_see_nothing_of_each_other(campus, hub):
    with kernels(hub, "anna", "bert") as (anna, bert):
        for kernel in (anna, bert):
            assert started(kernel.ok("%workers 2")) == 2
        compute_at_once(anna, bert)
        sees_nothing(anna, bert)
        sees_nothing(bert, anna)
    nothing_is_left(campus)


def test_a_stopped_server_takes_everything_along(campus, hub):
    user = hub.log_in("anna")
    user.start_server()
    kernel = user.kernel()
    kernel.ok("%workers 2")
    kernel.send("loop {}")
    wait_until(lambda: len(campus.processes_of("anna")) > 4, "all processes are there")
    user.stop_server()
    nothing_is_left(campus)


def test_crates_that_the_admin_fetched_are_added_without_network(hub):
    with kernels(hub, "anna") as (anna,):
        anna.ok("let kept = 7;")
        anna.ok(f":dep {CRATE}")
        # Nothing of the library itself was built again, so the process went on.
        assert anna.ok("kept").result == "7"
        text = f"{CRATE}::format_duration(std::time::Duration::from_secs(3661)).to_string()"
        assert anna.ok(text).result == '"1h 1m 1s"'
        error = anna.run(":dep nobody-fetched-this").error_text
        assert "parcell cache add" in error


def test_servers_are_jobs_of_their_users(campus):
    needs.need("Slurm")
    with closing(CampusSlurm(campus)) as slurm:
        with closing(campus.hub("jupyterhub_slurm_config.py")) as hub:
            with kernels(hub, "anna", "bert") as (anna, bert):
                users = slurm.run("squeue --noheader --format=%u:%T").split()
                assert sorted(users) == ["anna:RUNNING", "bert:RUNNING"]
                for kernel in (anna, bert):
                    assert started(kernel.ok("%workers 2 --manager slurm")) == 2
                    computes(kernel, 2)
                compute_at_once(anna, bert)
                sees_nothing(anna, bert)
            wait_until(lambda: not slurm.jobs(), "the jobs end", 30)
    nothing_is_left(campus)


def test_a_session_needs_nothing_of_a_slow_home_once_it_runs(campus, hub):
    """Not even while the host of the home does not answer at all."""
    needs.need("a home on another host")
    campus.put_home_on_another_host("bert")
    with kernels(hub, "bert") as (bert,):
        assert bert.ok("std::env::current_dir().unwrap().display().to_string()").result == '"/home/bert"'
        bert.ok("%workers 2")
        assert campus.head.run("find /home/bert -type s -o -name '*.lock'") == ""
        campus.cluster[0].cut()
        try:
            assert bert.ok("distributed!(+, for i in 0..10u32 { i })").result == "45"
            assert started(bert.ok("%workers 1")) == 1
            assert bert.ok("everywhere!(1 + 1)").result == "[2, 2, 2, 2]"
        finally:
            campus.cluster[0].heal()
    nothing_is_left(campus)


# ---------------------------------------------------------------------------------------------
# Limits


@pytest.fixture
def quota(request) -> Iterator[list[str]]:
    """What stands before a command that may use one processor's worth of time."""
    group = Path("/sys/fs/cgroup/cpu" if os.path.isdir("/sys/fs/cgroup/cpu") else "/sys/fs/cgroup")
    group = group / f"parcell-test-{os.getpid()}"
    if reason := set_quota(group, "100000"):
        needs.missed["a quota of processors"] = reason
        pytest.skip(f"not run: {reason}")
    yield ["sh", "-c", f'echo $$ >{group}/cgroup.procs && exec "$@"', "sh"]
    wait_until(lambda: not (group / "cgroup.procs").read_text(), "the group is empty", 10)
    group.rmdir()


def set_quota(group: Path, quota: str) -> str | None:
    """Makes a group with a quota in microseconds of each 100 ms; why that cannot be."""
    try:
        group.mkdir()
    except OSError as error:
        return f"no cgroup can be made: {error}"
    for name, value in (("cpu.max", f"{quota} 100000"), ("cpu.cfs_quota_us", quota)):
        if (group / name).exists():
            (group / name).write_text(value)
            return None
    group.rmdir()
    return f"{group.parent} does not limit processors"


def test_a_session_has_as_many_threads_as_its_cgroup_allows(quota, start_kernel):
    kernel = start_kernel(prefix=quota)
    assert kernel.ok("nthreads()").result == "1"
    kernel.ok("%workers 2")
    assert kernel.ok("everywhere!(nthreads())").result == "[1, 1, 1]"
