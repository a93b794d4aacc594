#!/usr/bin/env python3
"""What workers on other hosts cost: their start through each manager, how code reaches them, and calls
and transfers over a network beside those on one host.

    benches/run elsewhere.py [--counts 2 8 32] [--rows start code network]

Hosts are namespaces of this machine, schedulers real ones that the fixtures of the tests start; so
start-up shares this machine's cores among all "hosts". What a socket costs beside a bare one is
measured apart: `cargo test --release -p parcell --lib rates_between_hosts -- --ignored --nocapture`.
"""

import argparse
import os
import re
import sys
from contextlib import closing
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from cluster.hosts import Cluster
from cluster.mpi import Mpi
from cluster.slurm import Slurm
from conftest import Kernel

CODE = """
fn filler() -> u64 { (0..64u64).map(|k| k.wrapping_mul(0x9E37_79B9)).fold(0, |a, b| a ^ b) }
"""
CALLS = """
let times: Vec<f64> = (0..1000).map(|_| {
    let start = std::time::Instant::now();
    fetch_from!(2, 1);
    start.elapsed().as_secs_f64() * 1e6
}).collect();
"""


def seconds(kernel: Kernel, cell: str) -> float:
    """How long a line takes, without compiling."""
    timed = "{ let start = std::time::Instant::now(); %s; start.elapsed().as_secs_f64() }" % cell
    return float(kernel.ok(timed, timeout=300).result)


def added(count: int, manager: str, **options) -> str:
    chain = "".join(f'.option("{name}", "{value}")' for name, value in options.items())
    return f'addprocs(parcell::distributed::Workers::new({count}).manager("{manager}"){chain})'


def start(counts: list[int]):
    """Starts so many workers through each manager."""
    print("start of workers, seconds (first: what workers run is copied; then: it is there)")

    def row(name: str, kernel: Kernel, spell):
        for count in counts:
            times = []
            for _ in range(2):
                times.append(seconds(kernel, spell(count)))
                seconds(kernel, "rmprocs(&workers())")
            print(f"    {name:<8}{count:>4}: {times[0]:.2f}, then {times[1]:.2f}", flush=True)

    with closing(Kernel()) as kernel:
        row("local", kernel, lambda n: added(n, "local"))
    with closing(Cluster(2)) as cluster, closing(cluster.kernel()) as kernel:
        row("ssh", kernel, lambda n: added(n, "ssh", hosts="h1,h2"))
    with closing(Slurm()) as slurm, closing(Kernel(env=os.environ | slurm.env)) as kernel:
        row("slurm", kernel, lambda n: added(n, "slurm", overcommit="", nodes="2"))
    with closing(Mpi()) as mpi, closing(Kernel(env=os.environ | mpi.env)) as kernel:
        row("mpi", kernel, lambda n: added(n, "mpi"))


def code(counts: list[int]):
    """How a new cell's code reaches workers: the first call of it, and the bytes of it."""
    print("code of a new cell, first call on all workers and second (1, 2, … hosts)")
    for count in counts:
        with closing(Cluster(2)) as cluster, closing(cluster.kernel()) as kernel:
            kernel.ok(f"%workers {count} --manager ssh --hosts h1,h2")
            kernel.ok(CODE)
            kernel.ok("everywhere!(1);")
            first = """{ let call = || { let start = std::time::Instant::now(); everywhere!(filler());
                start.elapsed().as_secs_f64() * 1e3 }; (call(), call()) }"""
            cold, warm = re.findall(r"[\d.]+", kernel.ok(first).result)
            print(f"    {count:>4} workers: {float(cold):.1f} ms, then {float(warm):.1f} ms", flush=True)


def network(_counts: list[int]):
    """Calls and transfers over a network, sealed and not, beside those on one host."""
    print("calls and transfers: median of 1000 calls, best rate of 5 transfers of 80 MB")

    def row(name: str, kernel: Kernel):
        kernel.ok("fetch_from!(2, 1);")
        kernel.ok(CALLS)
        median = kernel.ok("{ let mut t = times.clone(); t.sort_by(f64::total_cmp); t[500] }").result
        kernel.ok("let data = vec![1.0_f64; 10_000_000];")
        rate = """(0..5).map(|_| { let start = std::time::Instant::now();
            fetch_from!(2, data.len()); 0.08 / start.elapsed().as_secs_f64() }).fold(0.0, f64::max)"""
        best = kernel.ok(rate, timeout=300).result
        print(f"    {name:<16}{float(median):8.1f} µs {float(best):8.2f} GB/s", flush=True)

    with closing(Kernel()) as kernel:
        kernel.ok("%workers 1")
        row("one host", kernel)
    for name, options in (("TCP", "--encryption off"), ("TCP, sealed", "")):
        with closing(Cluster(1)) as cluster, closing(cluster.kernel()) as kernel:
            kernel.ok(f"%workers --manager ssh --hosts h1 {options}")
            row(name, kernel)


def main():
    rows = {"start": start, "code": code, "network": network}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--counts", nargs="+", type=int, default=[2, 8, 32])
    parser.add_argument("--rows", nargs="+", choices=rows, default=list(rows))
    arguments = parser.parse_args()
    for row in arguments.rows:
        rows[row](arguments.counts)


if __name__ == "__main__":
    main()
