#!/usr/bin/env python3
"""How a module reaches workers on other hosts: time and bytes for 1 to 32 of them, beside the time that
its bytes take over one raw TCP connection between two of the hosts, measured in the same run.

    benches/run shipping.py [--counts 1 2 4 8 16 32] [--hosts 8] [--rounds 5]

Hosts are namespaces of this machine, so all "hosts" share its processors and its memory is the network.
The time is that of the first call of a new cell on all workers less that of the second, which ships
nothing; medians of the rounds.
"""

import argparse
import json
import re
import sys
from contextlib import closing
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from cluster.hosts import Cluster
from conftest import Kernel

# 512 KB that do not compress, as the constant of a function: a large module.
TABLE = """
const fn table() -> [u64; 65536] {
    let (mut t, mut k, mut x) = ([0; 65536], 0, SEEDu64);
    while k < 65536 {
        x ^= x << 13; x ^= x >> 7; x ^= x << 17;
        t[k] = x;
        k += 1;
    }
    t
}
fn work(k: usize) -> u64 { const T: [u64; 65536] = table(); T[k % 65536] }
"""
FILLER = "fn work(k: usize) -> u64 { (0..64u64).map(|n| n.wrapping_mul(k as u64 + SEED)).fold(0, |a, b| a ^ b) }"
# Two calls of the same code: the first ships it.
CALLS = """{
    use parcell::distributed::code_sent;
    let call = || { let start = std::time::Instant::now(); everywhere!(&workers(), work(myid()));
        start.elapsed().as_secs_f64() * 1e3 };
    let before = code_sent();
    let (first, second) = (call(), call());
    let after = code_sent();
    (first, second, after.modules - before.modules, after.bytes - before.bytes)
}"""
RAW = """
import socket, sys, time
there = socket.create_connection((sys.argv[1], 7777))
there.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
sent = bytes(int(sys.argv[2]))
def once():
    start = time.perf_counter()
    there.sendall(sent)
    there.recv(1)
    return time.perf_counter() - start
print(sorted(once() for _ in range(51))[25] * 1e3)
"""
SINK = """
import socket, sys
listener = socket.create_server(("", 7777))
print("ready", flush=True)
there, _ = listener.accept()
there.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
size = left = int(sys.argv[1])
room = bytearray(1 << 20)
while got := there.recv_into(room, min(left, len(room))):
    left -= got
    if left == 0:
        left = size
        there.send(b"x")
"""


def raw(cluster: Cluster, size: int) -> float:
    """Milliseconds until so many bytes have gone to a host and a byte has come back."""
    host = cluster[0]
    sink = host.popen([sys.executable if Path(sys.executable).is_relative_to("/usr") else "python3",
                       "-c", SINK, str(size)], stdout=-1)
    assert sink.stdout.readline() == "ready\n"
    time = float(cluster.head.run(["python3", "-c", RAW, host.address, str(size)]))
    sink.wait()
    return time


def ship(kernel: Kernel, source: str, rounds: int) -> tuple[float, float, int, int]:
    """Milliseconds of the first call and of the second, modules and bytes that the driver sends."""
    found = []
    for seed in range(1, rounds + 1):
        kernel.ok(source.replace("SEED", str(seed * 7919)))
        found.append([float(n) for n in re.findall(r"[\d.]+", kernel.ok(CALLS, timeout=300).result)])
    first, second, modules, size = (median(column) for column in zip(*found, strict=True))
    return first, second, int(modules), int(size)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--counts", nargs="+", type=int, default=[1, 2, 4, 8, 16, 32])
    parser.add_argument("--hosts", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="where to leave the figures as well")
    options = parser.parse_args()
    figures = []
    print("module   workers  hosts   first call  second  shipping  by the driver   one TCP connection")
    for count in options.counts:
        hosts = min(count, options.hosts)
        each = ",".join(f"h{n + 1}*{count // hosts + (n < count % hosts)}" for n in range(hosts))
        with closing(Cluster(hosts)) as cluster, closing(cluster.kernel()) as kernel:
            kernel.ok(f"%workers --manager ssh --hosts {each}", timeout=300)
            kernel.ok("for _ in 0..20 { everywhere!(1); }")
            for name, source in (("small", FILLER), ("large", TABLE)):
                first, second, modules, size = ship(kernel, source, options.rounds)
                limit = raw(cluster, size // max(modules, 1))
                figures.append([name, count, hosts, first, second, modules, size, limit])
                print(
                    f"{name:<8}{count:>8}{hosts:>7}{first:>10.1f} ms{second:>6.1f} ms{first - second:>7.1f} ms"
                    f"{modules:>4} × {size / max(modules, 1) / 1e3:>5.1f} KB{limit:>15.2f} ms", flush=True,
                )
    if options.json:
        options.json.write_text(json.dumps(figures))


if __name__ == "__main__":
    main()
