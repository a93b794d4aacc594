"""The hosts that other tests run on: a network, files and processes of their own."""

import os
import re
import subprocess
from pathlib import Path

import psutil
import pytest
from conftest import alive, wait_until


def answers(host, other: str) -> bool:
    """Whether a ping comes back within a second; the first after a cut may have to look for the
    address first, which takes longer."""
    return host.popen(["ping", "-c1", "-W1", other], stdout=subprocess.DEVNULL).wait() == 0


def test_ssh_from_the_head_runs_commands_on_each_host(hosts):
    cluster = hosts(3)
    for host in cluster:
        line = cluster.head.run(f'ssh {host.name} "hostname; cat /etc/hostname; id -un"').split()
        assert line == [host.name, host.name, cluster.head.run("id -un")]
    assert cluster.head.run(f"ssh -F {cluster.ssh_config} h2 hostname") == "h2"


def test_no_host_but_the_head_can_log_in_elsewhere(hosts):
    one = hosts(2)[0]
    assert one.run("ssh -o BatchMode=yes h2 hostname", check=False) == ""


def test_a_host_has_a_shell_and_nothing_of_what_notebooks_use(hosts):
    one, two = hosts(2)
    assert one.run("ls -A ~ /tmp /usr/local /opt | grep -v :").strip() == ""
    for tool in ("cargo", "rustc", "cc", "ld"):
        assert one.run(f"{tool} --version", check=False) == ""
    assert not one.path(__file__).exists()
    assert one.run(f"test -e {__file__} || echo absent") == "absent"
    one.run("echo mine > ~/file; echo mine > /tmp/file; echo mine > /dev/shm/file")
    assert two.run("cat ~/file /tmp/file /dev/shm/file", check=False) == ""
    assert (one.home / "file").read_text() == "mine\n"


def test_folders_are_shared_where_a_test_says_so(hosts, tmp_path):
    (tmp_path / "file").write_text("everywhere")
    for host in hosts(2, shared=[tmp_path]):
        assert host.run(f"cat {tmp_path}/file") == "everywhere"


def test_hosts_differ_in_what_machines_are_told_apart_by(hosts):
    cluster = hosts(2)
    for path in ("/proc/sys/kernel/random/boot_id", "/etc/hostname"):
        assert len({host.run(f"cat {path}") for host in [cluster.head, *cluster]}) == 3


def test_processes_of_a_host_are_seen_from_outside_and_end_with_it(hosts):
    cluster = hosts(1)
    host, = cluster
    host.run("setsid nohup sleep 1001 >/dev/null 2>&1 &")
    sleeper, = wait_until(lambda: host.processes("sleep 1001"), "the process is there")
    assert cluster.head.processes() == []
    cluster.close()
    assert not alive(sleeper)


def test_a_delay_holds_packets_in_both_directions(hosts):
    cluster = hosts(2)
    cluster[0].delay(30)
    trip = float(re.search(r"time=([\d.]+)", cluster.head.run("ping -c1 h1"))[1])
    assert trip >= 60
    assert cluster.head.run('head -c 3000000 /dev/zero | ssh h1 "wc -c"') == "3000000"
    cluster[0].delay(0)
    assert answers(cluster.head, "h1") and answers(cluster[0], "h2")


def test_a_lossy_cable_loses_some_packets_and_tcp_none(hosts):
    cluster = hosts(1)
    cluster[0].loss(5)
    report = cluster.head.run("ping -c200 -i0.005 -W1 -q h1", check=False)
    assert 0 < int(re.search(r"(\d+) received", report)[1]) < 200
    assert cluster.head.run('head -c 300000 /dev/zero | ssh h1 "wc -c"') == "300000"


def test_a_slow_cable_passes_everything_in_its_time(hosts):
    cluster = hosts(1)
    cluster[0].slow(1_000_000)
    command = 'dd if=/dev/zero bs=1M count=1 status=none | ssh h1 "wc -c"; cat /proc/uptime'
    begin = float(cluster.head.run("cat /proc/uptime").split()[0])
    size, end, _ = cluster.head.run(command).split()
    assert int(size) == 1 << 20
    assert float(end) - begin >= 1


def test_a_cut_host_does_not_answer_until_it_is_healed(hosts):
    cluster = hosts(2)
    one, two = cluster
    one.cut()
    assert not answers(cluster.head, "h1") and not answers(one, "h2")
    assert answers(cluster.head, "h2")
    assert "LOWER_UP" in one.run("ip -brief link show eth0"), "the host is not told"
    one.heal()
    for pair in ((cluster.head, "h1"), (one, "h2")):
        wait_until(lambda: answers(*pair), "the healed host answers")


def test_a_cut_holds_with_a_bad_cable_too(hosts):
    cluster = hosts(1)
    cluster[0].delay(1)
    cluster[0].cut()
    assert not answers(cluster.head, "h1")
    cluster[0].heal()
    wait_until(lambda: answers(cluster.head, "h1"), "the healed host answers")


def test_behind_a_wall_a_host_is_reached_and_reaches_nobody(hosts):
    cluster = hosts(1)
    connect = 'timeout 1 bash -c "exec 3<>/dev/tcp/head/22" && echo connected || true'
    assert cluster[0].run(connect) == "connected"
    cluster[0].wall()
    assert cluster[0].run(connect) == ""
    assert cluster.head.run("ssh h1 hostname") == "h1"


def test_connections_are_reset_at_both_ends(hosts):
    cluster = hosts(1)
    login = cluster.head.popen('ssh h1 "echo in; sleep 1002"', stdout=subprocess.PIPE)
    assert login.stdout.readline() == "in\n"
    cluster[0].reset_connections()
    assert login.poll() is None, "ssh is only reset on request"
    cluster[0].reset_connections(ssh=True)
    login.communicate(timeout=30)
    assert login.returncode == 255


def test_a_kernel_runs_in_the_head_and_leaves_nothing(hosts):
    cluster = hosts(1)
    kernel = cluster.kernel()
    try:
        name = 'std::fs::read_to_string("/etc/hostname").unwrap()'
        result = kernel.ok(f"!hostname\n%workers 1\nfetch_from!(2, {name})")
        assert "head" in result.stdout and "head" in result.result
        assert kernel.ok("!ssh h1 hostname").stdout.strip() == "h1"
    finally:
        kernel.close()
    wait_until(lambda: not cluster.head.processes(), "the kernel's processes end")


def network_of(process: int) -> str | None:
    """The network namespace of a process, unless it just ended."""
    try:
        return os.readlink(f"/proc/{process}/ns/net")
    except OSError:
        return None


@pytest.mark.parametrize("count", [1, 8])
def test_nothing_is_left_of_a_cluster(hosts, count):
    cluster = hosts(count)
    cluster[0].delay(5)
    spaces = {network_of(host.pid) for host in [cluster.head, *cluster]}
    spaces |= {network_of(cluster[0].cable.pid), network_of(os.getpid())}
    assert len(spaces) == count + 3
    cluster.close()
    left = {network_of(process) for process in psutil.pids()} & spaces
    assert left == {network_of(os.getpid())}
    assert not cluster.folder.exists()
    assert str(cluster.folder) not in Path("/proc/self/mounts").read_text()
    assert "switch" not in subprocess.check_output(["ip", "-brief", "link"], text=True)
