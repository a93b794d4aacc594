"""Workers that ssh, schedulers and mpiexec start, from real sessions: they compute what local ones
do, losses are told with the host's name, and nothing is left behind."""

import base64
import contextlib
import os
import re
import signal
import socket
import subprocess

import psutil
import pytest
from conftest import Kernel, plain, wait_until

SERIES = """
fn term(k: u64) -> f64 {
    let mut digits = k;
    while digits > 0 {
        if digits % 10 == 9 { return 0.0; }
        digits /= 10;
    }
    1.0 / k as f64
}
"""
HOSTS = """
fn host() -> String { std::fs::read_to_string("/etc/hostname").unwrap().trim().to_owned() }
"""


def computes(kernel, workers: int):
    """What a worker must be able to do, wherever it is."""
    kernel.ok(SERIES)
    serial = kernel.ok("(1..=200_000u64).map(term).sum::<f64>()").result
    both = kernel.ok("distributed!(+, for k in 1..=200_000u64 { term(k) })").result
    assert float(both) == pytest.approx(float(serial), rel=1e-12)
    ids = kernel.ok("workers()").result
    assert len(ids.split(",")) == workers
    array = "DArray::<f64, _>::from_fn((40, 30), |(i, j): (usize, usize)| (i * 30 + j) as f64)"
    assert kernel.ok(f"let d = {array};\nd.sum()").result == "719400.0"
    assert kernel.ok("(&d + &d).to_array()[[39, 29]]").result == "2398.0"
    assert kernel.ok("pmap(|x| x * x, 0..100u64).into_iter().sum::<u64>()").result == "328350"
    kernel.ok("d.close();")


def started(result) -> int:
    """How many workers a cell says it has started."""
    ids = re.search(r"workers? ([\d, -]+) started", result.stdout)[1]
    spans = [span.split("-") for span in ids.split(",")]
    return sum(int(span[-1]) - int(span[0]) + 1 for span in spans)


@pytest.fixture
def pair(hosts):
    """A cluster of two hosts and a kernel in its head, with worker 2 on h1 and 3 on h2."""
    cluster = hosts(2)
    kernel = cluster.kernel()
    kernel.ok("%workers --manager ssh --hosts h1,h2 --heartbeat 3")
    kernel.ok(HOSTS)
    yield cluster, kernel
    kernel.close()


# ---------------------------------------------------------------------------------------------
# ssh


def test_hosts_with_nothing_but_a_shell_compute(hosts):
    cluster = hosts(3)
    kernel = cluster.kernel()
    assert started(kernel.ok("%workers 5 --manager ssh --hosts h1*2,h2,h3 --threads 2")) == 5
    computes(kernel, 5)
    kernel.ok(HOSTS)
    where = kernel.ok("everywhere!(&workers(), (host(), nthreads()))").result
    assert re.findall(r'"(h\d)", (\d)', where) == [
        ("h1", "2"), ("h1", "2"), ("h2", "2"), ("h2", "2"), ("h3", "2"),
    ]
    table = kernel.ok("%workers").displays[0]["text/plain"]
    assert all(name in table for name in ("h1", "h2", "h3"))
    # From host to host, without the driver's help.
    assert kernel.ok("fetch_from!(2, fetch_from!(6, host()))").result == '"h3"'
    assert "From worker 6:" in kernel.ok('fetch_from!(6, println!("hello"))').stdout
    local = kernel.ok("addprocs(1)").result
    assert kernel.ok(f"fetch_from!(6, fetch_from!({local[1:-1]}, myid()))").result == local[1:-1]
    kernel.ok("%rmworkers 2-6")
    wait_until(lambda: not any(host.processes() for host in cluster), "nothing is left", 10)
    processors = int(cluster[1].run("nproc"))
    assert started(kernel.ok("%workers --manager ssh --hosts h2*auto,h1")) == processors + 1
    kernel.close()
    wait_until(lambda: not any(host.processes() for host in cluster), "nothing is left", 10)


def test_functions_of_any_cell_travel_to_other_hosts(pair):
    cluster, kernel = pair
    kernel.ok("static SEEN: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(5);")
    kernel.ok("fn seen() -> u32 { SEEN.fetch_add(1, std::sync::atomic::Ordering::Relaxed) }")
    assert kernel.ok("(fetch_from!(2, seen()), fetch_from!(2, seen()), seen())").result == "(5, 6, 5)"
    kernel.ok("fn seen() -> u32 { 99 }")
    assert kernel.ok("fetch_from!(3, fetch_from!(2, seen()))").result == "99"
    error = kernel.run('fetch_from!(3, { let v: Vec<u8> = Vec::new(); v[seen() as usize] })')
    assert "worker 3" in error.error_text and "index out of bounds" in error.error_text
    kernel.ok("%%everywhere\nlet own = myid() * 10;")
    assert kernel.ok("fetch_from!(3, 1 + 1)").result == "2"
    printed = plain(kernel.ok("%%px\nprintln!(\"{}\", own);").stdout)
    assert sorted(printed.splitlines()) == ["From worker 2:\t20", "From worker 3:\t30"]


def test_memory_is_not_shared_between_hosts(pair):
    cluster, kernel = pair
    error = kernel.run("SharedArray::<f64, _>::zeros_on(10, &[2, 3])")
    assert not error.ok
    assert kernel.ok("SharedArray::<f64, _>::zeros(10).len()").result == "10"


def test_a_host_that_cannot_call_back_is_reached_by_a_tunnel(hosts):
    cluster = hosts(1)
    cluster[0].wall()
    kernel = cluster.kernel()
    refused = kernel.run("%workers --manager ssh --hosts h1 --wait 3")
    assert "worker 2" in refused.error_text
    assert started(kernel.ok("%workers 2 --manager ssh --hosts h1 --tunnel")) == 2
    computes(kernel, 2)
    kernel.close()
    wait_until(lambda: not cluster[0].processes(), "nothing is left", 10)


def test_what_is_wrong_is_told(hosts):
    cluster = hosts(1)
    kernel = cluster.kernel()

    def refused(arguments: str) -> str:
        return kernel.run(f"%workers --manager ssh {arguments}").error_text

    assert "--hosts names the hosts" in refused("")
    assert "nowhere" in refused("--hosts nowhere")
    assert "Connection refused" in refused("--hosts h1 --port 23")
    assert "--host is no option of the manager ssh; it has --hosts" in refused("--host h1")
    assert "there is no folder /nowhere" in refused("--hosts h1 --dir /nowhere")
    assert "1 of 3 workers did not start: worker" in refused("--hosts h1*2,nowhere")
    assert kernel.ok("nprocs()").result == "3", "those that could start are there"
    assert "seconds" in refused("--hosts h1 --heartbeat soon")
    kernel.close()
    wait_until(lambda: not cluster[0].processes(), "nothing is left", 10)


# ---------------------------------------------------------------------------------------------
# Networks that fail


def test_a_short_cut_loses_nothing(hosts):
    cluster = hosts(1)
    kernel = cluster.kernel()
    kernel.ok("%workers --manager ssh --hosts h1 --heartbeat 15")
    kernel.ok("fetch_from!(2, 1)")
    request = kernel.send("""
        let sent: Vec<u64> = (0..300_000).collect();
        let mut all = 0;
        for round in 0..40 {
            println!("{round}");
            all += fetch_from!(2, { std::thread::sleep(std::time::Duration::from_millis(50)); sent.iter().sum::<u64>() });
        }
        all
    """)
    kernel.printed(request, "10")
    cluster[0].cut()
    # It is cut while calls are on their way: nothing is printed any more.
    with pytest.raises(AssertionError):
        list(kernel.messages(request, timeout=2))
    cluster[0].heal()
    assert kernel.result(request).result == str(40 * sum(range(300_000)))
    kernel.close()


def test_a_host_that_is_gone_fails_its_calls_with_its_name(pair):
    cluster, kernel = pair
    request = kernel.send("""
        println!("begun");
        fetch_from!(2, parcell::interrupt::sleep(60));
    """)
    kernel.printed(request, "begun")
    cluster[0].cut()
    error = kernel.result(request, timeout=12).error_text
    assert "process 2 is gone" in error and "h1" in error
    assert kernel.ok("(fetch_from!(3, host()), workers())").result == '("h2", [3])'
    # Its own workers notice as well.
    wait_until(lambda: not cluster[0].processes("join|driver|hosts"), "the host has noticed", 12)


def test_a_reset_connection_fails_at_once(pair):
    cluster, kernel = pair
    request = kernel.send('println!("begun");\nfetch_from!(2, parcell::interrupt::sleep(60));')
    kernel.printed(request, "begun")
    cluster[0].reset_connections()
    assert "process 2 is gone" in kernel.result(request, timeout=5).error_text
    assert kernel.ok("fetch_from!(3, host())").result == '"h2"'
    wait_until(lambda: not cluster[0].processes(), "nothing is left", 10)


def test_delays_and_losses_change_no_result(pair):
    cluster, kernel = pair
    cluster[0].delay(10)
    cluster[1].loss(2)
    computes(kernel, 2)


def test_a_killed_worker_is_told_with_the_reason(pair):
    cluster, kernel = pair
    request = kernel.send('println!("begun");\nfetch_from!(2, parcell::interrupt::sleep(60));')
    kernel.printed(request, "begun")
    worker = max(cluster[0].processes("."), key=lambda process: process.pid)
    worker.send_signal(signal.SIGKILL)
    error = kernel.result(request, timeout=5).error_text
    assert "process 2 is gone" in error
    assert kernel.ok("fetch_from!(3, host())").result == '"h2"'
    assert started(kernel.ok("%workers --manager ssh --hosts h1")) == 1


def test_nothing_is_left_when_the_kernel_is_killed(pair):
    cluster, kernel = pair
    for process in cluster.head.processes("parcell"):
        # The driver may have noticed already that the kernel is gone.
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGKILL)
    wait_until(lambda: not any(host.processes() for host in cluster), "nothing is left", 5)


def test_encryption_can_be_switched_off_for_a_session(hosts):
    cluster = hosts(1)
    kernel = cluster.kernel()
    kernel.ok("%workers --manager ssh --hosts h1 --encryption off")
    assert kernel.ok("fetch_from!(2, 1 + 1)").result == "2"
    refused = kernel.run("%workers --manager ssh --hosts h1 --encryption on").error_text
    assert "encryption is off in this session" in refused
    kernel.close()


# ---------------------------------------------------------------------------------------------
# Schedulers and MPI


def test_slurm_starts_workers_inside_an_allocation(slurm, start_kernel):
    kernel = start_kernel(prefix=["salloc", "-Q", "-N2", "-n4"], env=os.environ | slurm.env)
    assert started(kernel.ok("%workers 4 --manager slurm -N2")) == 4
    computes(kernel, 4)
    nodes = kernel.ok('everywhere!(&workers(), std::env::var("SLURMD_NODENAME").unwrap())').result
    assert '"n1"' in nodes and '"n2"' in nodes
    kernel.ok("%rmworkers")
    assert started(kernel.ok("%workers 2 --manager slurm")) == 2
    kernel.close()
    wait_until(lambda: not slurm.jobs(), "the allocation ends", 30)


def test_slurm_nodes_that_share_no_files_are_sent_the_program(slurm_of_hosts):
    cluster = slurm_of_hosts.cluster
    env = os.environ | slurm_of_hosts.env
    kernel = cluster.kernel(env, prefix=["salloc", "-Q", "-N2", "-n4", "-c2"])
    refused = kernel.run("%workers 2 --manager slurm -N2").error_text
    assert re.search("h[12] has no", refused) and "--copy" in refused
    assert started(kernel.ok("%workers 3 --manager slurm --copy")) == 3
    computes(kernel, 3)
    kernel.ok(HOSTS)
    assert kernel.ok("everywhere!(&workers(), host())").result == '["h1", "h1", "h2"]'
    kernel.ok("%rmworkers")
    wait_until(lambda: not any(host.processes("parcell-driver") for host in cluster), "all have ended", 10)
    kernel.close()
    wait_until(lambda: not slurm_of_hosts.jobs(), "the allocation ends", 30)


def test_slurm_starts_workers_in_a_job_of_their_own(slurm, start_kernel):
    kernel = start_kernel(env=os.environ | slurm.env)
    result = kernel.ok("%workers 4 --manager slurm -N2 --time 5")
    assert started(result) == 4
    assert re.search(r"Slurm job \d+ submitted", result.stdout)
    computes(kernel, 4)
    kernel.ok("%rmworkers")
    wait_until(lambda: not slurm.jobs(), "the job ends with its workers", 20)
    kernel.ok("%workers 2 --manager slurm")
    kernel.close()
    wait_until(lambda: not slurm.jobs(), "the job ends with the session", 20)


def test_a_job_that_waits_is_seen_and_cancelled_by_an_interrupt(slurm, start_kernel):
    kernel = start_kernel(env=os.environ | slurm.env)
    request = kernel.send("%workers 2 --manager slurm --partition closed")
    kernel.printed(request, "waits (")
    assert list(slurm.jobs().values()) == ["PENDING"]
    kernel.interrupt()
    assert not kernel.result(request).ok
    wait_until(lambda: not slurm.jobs(), "the job is cancelled", 20)
    assert kernel.ok("nworkers()").result == "1"
    waiting = kernel.send("%workers 2 --manager slurm --partition closed")
    kernel.printed(waiting, "waits (")
    kernel.close()
    wait_until(lambda: not slurm.jobs(), "the job is cancelled with the session", 20)


def test_what_slurm_refuses_is_told(slurm, start_kernel):
    kernel = start_kernel(env=os.environ | slurm.env)
    refused = kernel.run("%workers 2 --manager slurm --partition none").error_text
    assert "sbatch refused the job" in refused and "partition" in refused


def test_ranks_of_mpi_are_ids_in_order(mpi, start_kernel):
    kernel = start_kernel(env=os.environ | mpi.env)
    assert started(kernel.ok("%workers 4 --manager mpi")) == 4
    computes(kernel, 4)
    rank = 'std::env::var("OMPI_COMM_WORLD_RANK").unwrap()'
    assert kernel.ok(f"everywhere!(&workers(), {rank})").result.count('"') == 8
    for worker in range(2, 6):
        assert kernel.ok(f"fetch_from!({worker}, {rank})").result == f'"{worker - 2}"'
    kernel.ok("%rmworkers")
    wait_until(lambda: "mpiexec" not in kernel.programs(), "mpiexec has ended", 10)
    refused = kernel.run("%workers 2 --manager mpi --native='--no-such 1'").error_text
    assert "workers 6, 7: mpiexec for MPI" in refused and "no-such" in refused


def test_grid_engine_starts_an_array_of_jobs(sge, start_kernel):
    kernel = start_kernel(env=os.environ | sge.env)
    assert started(kernel.ok("%workers 3 --manager sge")) == 3
    computes(kernel, 3)
    kernel.close()


@pytest.mark.parametrize("name", ["pbs", "lsf", "condor"])
def test_other_schedulers_start_arrays_of_jobs(name, request, start_kernel):
    batch = request.getfixturevalue(name)
    kernel = start_kernel(env=os.environ | batch.env)
    manager = {"condor": "htcondor"}.get(name, name)
    assert started(kernel.ok(f"%workers 3 --manager {manager}")) == 3
    computes(kernel, 3)
    kernel.ok("%rmworkers")
    ended = lambda: not any(state in ("queued", "running") for state in batch.jobs().values())
    wait_until(ended, "all jobs end", 20)
    batch.hold()
    waiting = kernel.send(f"%workers 1 --manager {manager}")
    kernel.printed(waiting, "submitted")
    kernel.interrupt()
    assert not kernel.result(waiting).ok
    wait_until(lambda: "cancelled" in batch.jobs().values(), "the job is cancelled", 20)
    batch.refuse("no more today")
    refused = kernel.run(f"%workers 1 --manager {manager}").error_text
    assert "refused the job" in refused and "no more today" in refused


# ---------------------------------------------------------------------------------------------
# Elastic, and strangers at its door


def listens(kernel: Kernel) -> list[int]:
    """The ports on which processes that the kernel has started wait for other hosts."""
    ports = []
    for child in kernel.children():
        # Compilers come and go.
        with contextlib.suppress(psutil.NoSuchProcess):
            found = child.net_connections("tcp")
            ports += [socket.laddr.port for socket in found if socket.status == psutil.CONN_LISTEN]
    return ports


def test_strangers_cost_nothing_and_are_told_once(fresh):
    assert listens(fresh) == []
    shown = fresh.ok("%workers --manager elastic --interface 127.0.0.1").stdout
    ticket = re.search(r"--ticket (\S+)", shown)[1]
    assert os.stat(ticket).st_mode & 0o077 == 0
    (port,) = listens(fresh)
    strangers = [socket.create_connection(("127.0.0.1", port)) for _ in range(60)]
    for number, stranger in enumerate(strangers):
        # Silence, rubbish, and half of what a worker says.
        stranger.send([b"", b"GET / HTTP/1.1\r\n\r\n" * 10, b"parcell\0\x01\0\0\0" + bytes(64)][number % 3] or b"p")
    refused = [stranger for number, stranger in enumerate(strangers) if number % 3]
    for stranger in refused:
        stranger.settimeout(20)
        with contextlib.suppress(ConnectionResetError):
            assert stranger.recv(100) == b"", "a stranger was answered"
    driver = fresh.ok("std::env::current_exe().unwrap().display().to_string()").result.strip('"')
    environment = os.environ | {"PARCELL_WORKER": "join", "PARCELL_TICKET": ticket}
    with subprocess.Popen([driver], env=environment) as worker:
        wait_until(lambda: fresh.ok("workers()").result != "[1]", "the worker has joined", 20)
        assert fresh.ok("fetch_from!(workers()[0], 6 * 7)").result == "42"
        fresh.ok("%rmworkers")
        assert worker.wait(10) == 0
    for stranger in strangers:
        stranger.close()


def test_a_ticket_of_another_session_is_worth_nothing(fresh, start_kernel):
    def ticket(kernel):
        return re.search(r"--ticket (\S+)", kernel.ok("%workers --manager elastic").stdout)[1]

    other = start_kernel()
    mine, theirs = ticket(fresh), ticket(other)
    driver = fresh.ok("std::env::current_exe().unwrap().display().to_string()").result.strip('"')
    other.close()
    wait_until(lambda: not os.path.exists(theirs), "it goes with its session")
    mark, _, text = open(mine).read().strip().partition(":")
    content = bytearray(base64.b64decode(text + "=" * (-len(text) % 4)))
    content[10] ^= 1  # of the key, which follows the two numbers of the launch
    stale = f"{mine}.stale"
    with open(os.open(stale, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
        file.write(f"{mark}:{base64.b64encode(content).decode().rstrip('=')}\n")
    environment = os.environ | {"PARCELL_WORKER": "join", "PARCELL_TICKET": stale}
    ended = subprocess.run([driver], env=environment, capture_output=True, text=True, timeout=30)
    os.remove(stale)
    assert ended.returncode == 2 and "a worker cannot start" in ended.stderr
    assert fresh.ok("workers()").result == "[1]"


def test_workers_join_by_themselves(hosts, installed_kernel):
    cluster = hosts(1)
    kernel = cluster.kernel()
    shown = kernel.ok("%workers --manager elastic").stdout
    ticket = re.search(r"--ticket (\S+)", shown)[1]
    command = f"PARCELL_WORKER=join PARCELL_TICKET={ticket}"
    driver = kernel.ok("std::env::current_exe().unwrap().display().to_string()").result.strip('"')
    worker = cluster.head.popen(f"exec env {command} {driver}")
    wait_until(lambda: kernel.ok("nworkers()").result == "1" and kernel.ok("workers()").result != "[1]",
               "the worker has joined", 20)
    computes(kernel, 1)
    another = cluster[0].popen(f"echo parcell-ticket:AAAA | PARCELL_WORKER=join sh -c true")
    another.wait()
    kernel.close()
    wait_until(lambda: worker.poll() is not None, "it ends with the session", 10)
