#!/usr/bin/env python3
"""What grows with the number of workers: start, threads, descriptors, memory, and the messages, bytes
and time of operations, for 2 to 64 workers on this machine; and what follows for more.

    benches/run scale.py [--counts 2 4 8 16 32 64] [--model 256 1000 10000] [--json FILE]

Counts of messages are sums over all processes and exact up to signs of life; what reading the counters
costs is taken off. Times are medians. The model is a line a + b·P through what was measured, and for bytes
a·P + b·P², since some messages carry lists of processes; fitted by least squares of relative errors.
"""

import argparse
import json
import re
import sys
from contextlib import closing
from pathlib import Path
from statistics import median

import psutil

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from conftest import Kernel

# All counters, the driver's first: messages and bytes of each process.
PRELUDE = """
use parcell::distributed::messages_sent;
fn counters() -> Vec<(u64, u64)> {
    everywhere!({ let sent = messages_sent(); (sent.messages, sent.bytes) })
}
fn settled() -> Vec<(u64, u64)> {
    // Dropped handles are told within 5 ms.
    std::thread::sleep(std::time::Duration::from_millis(40));
    counters()
}
// Messages of the driver and of all, bytes of the driver and of all, milliseconds.
fn cost(operation: &dyn Fn()) -> Vec<f64> {
    operation();
    let empty = (settled(), settled());
    let before = settled();
    let start = std::time::Instant::now();
    operation();
    let time = start.elapsed().as_secs_f64() * 1e3;
    let after = settled();
    let less = |pick: &dyn Fn(&(u64, u64)) -> u64, own: bool| {
        let sum = |all: &[(u64, u64)]| all.iter().take(if own { 1 } else { all.len() }).map(pick).sum::<u64>() as f64;
        (sum(&after) - sum(&before)) - (sum(&empty.1) - sum(&empty.0))
    };
    vec![less(&|c| c.0, true), less(&|c| c.0, false), less(&|c| c.1, true), less(&|c| c.1, false), time]
}
fn costs(operation: &dyn Fn()) -> Vec<Vec<f64>> { (0..5).map(|_| cost(operation)).collect() }
fn barriers(n: usize) { spmd(remote!(move |c: Spmd| (0..n).for_each(|_| c.barrier()))); }
"""
ROUNDS = 50
OPERATIONS = {
    "call": "|| _ = fetch_from!(2, 1)",
    "everywhere!": "|| _ = everywhere!(&workers(), ())",
    "pmap, 16 items each": "|| _ = pmap(|x: u64| x + 1, 0..16 * nworkers() as u64).collect()",
    "array: fill": "|| d.fill(1.0)",
    "array: sum": "|| _ = d.sum()",
    "array: gather": "|| _ = d.to_array()",
    "array: halo": "|| h.exchange()",
    "spmd, empty": "|| barriers(0)",
    "spmd, 50 barriers": f"|| barriers({ROUNDS})",
    "spmd, all_gather": "|| _ = spmd(|c: Spmd| c.all_gather(c.rank()).len())",
}


def start(kernel: Kernel, count: int) -> float:
    timed = f"{{ let start = std::time::Instant::now(); addprocs({count}); start.elapsed().as_secs_f64() }}"
    return float(kernel.ok(timed, timeout=600).result)


def of_processes(kernel: Kernel) -> dict[str, list[float]]:
    """Threads, descriptors and memory in MB: of the driver, then of a worker in the middle."""
    pids = [int(pid) for pid in re.findall(r"\d+", kernel.ok("everywhere!(std::process::id())").result)]
    found = {}
    for name, pid in (("driver", pids[0]), ("worker", pids[1 + (len(pids) - 1) // 2])):
        process = psutil.Process(pid)
        memory = process.memory_full_info()
        found[name] = [process.num_threads(), process.num_fds(), memory.uss / 1e6, memory.pss / 1e6]
    return found


def measure(count: int) -> dict:
    with closing(Kernel()) as kernel:
        kernel.ok("1;")
        begun = start(kernel, count)
        kernel.ok(PRELUDE)
        introduced = kernel.ok("messages_sent().bytes").result
        kernel.ok("everywhere!(());")
        apart = of_processes(kernel)
        kernel.ok("let d = dfill(1.0, (16 * nworkers(), 64)); let h = d.with_halo(1, Boundary::Periodic);")
        operations = {}
        for name, code in OPERATIONS.items():
            if name == "spmd, all_gather":
                # Everybody speaks to everybody: only now do all connections exist.
                kernel.ok("everywhere!(&workers(), everywhere!(&workers(), ()));", timeout=600)
            shown = kernel.ok(f"costs(&{code})", timeout=600).result
            rows = [[float(n) for n in re.findall(r"-?[\d.]+", row)] for row in re.findall(r"\[[^\[\]]+\]", shown)]
            operations[name] = [median(column) for column in zip(*rows, strict=True)]
        together = of_processes(kernel)
        ended = float(kernel.ok(
            "{ let s = std::time::Instant::now(); rmprocs(&workers()); s.elapsed().as_secs_f64() }",
            timeout=600).result)
    return {
        "count": count, "start": begun, "start bytes": float(introduced), "end": ended,
        "apart": apart, "together": together, "operations": operations,
    }


def show(one: dict):
    print(f"\n{one['count']} workers: start {one['start']:.2f} s ({one['start bytes'] / 1e3:.0f} KB by the "
          f"driver), end {one['end']:.2f} s")
    for when in ("apart", "together"):
        for who, (threads, files, own, share) in one[when].items():
            print(f"    {who}, {when:<9}{threads:>5} threads{files:>6} descriptors{own:>8.1f} MB own{share:>8.1f} MB in all")
    print(f"    {'operation':<24}{'messages':>9}{'by driver':>10}{'KB':>10}{'by driver':>10}{'ms':>9}")
    for name, (own, all_, own_bytes, all_bytes, time) in one["operations"].items():
        print(f"    {name:<24}{all_:>9.0f}{own:>10.0f}{all_bytes / 1e3:>10.1f}{own_bytes / 1e3:>10.1f}{time:>9.2f}")
    sys.stdout.flush()


def solve(points: list[tuple[float, float, float]]) -> tuple[float, float]:
    """The u and v with u·x + v·y nearest to z in relative terms, for points (x, y, z)."""
    weighted = [(x / z, y / z, 1.0) for x, y, z in points if z > 0]
    xx, xy, yy = (sum(p[i] * p[j] for p in weighted) for i, j in ((0, 0), (0, 1), (1, 1)))
    x, y = sum(p[0] for p in weighted), sum(p[1] for p in weighted)
    determinant = xx * yy - xy * xy
    return (x * yy - y * xy) / determinant, (y * xx - x * xy) / determinant


def model(all_: list[dict], wanted: list[int]):
    """Prints what the measured figures lead to."""

    def row(name: str, pick, unit: str, quadratic: bool = False):
        basis = (lambda n: (n, n * n)) if quadratic else (lambda n: (1, n))
        first, second = solve([(*basis(one["count"]), pick(one)) for one in all_])
        formula = f"{first:.3g}·P + {second:.3g}·P²" if quadratic else f"{first:.3g} + {second:.3g}·P"
        values = "".join(f"{first * basis(n)[0] + second * basis(n)[1]:>12,.0f}" for n in wanted)
        print(f"{name:<36}{formula:<26}{values} {unit}")

    print(f"\n{'modelled':<62}" + "".join(f"{f'P = {n:,}':>12}" for n in wanted))
    row("start of local workers", lambda one: one["start"] * 1e3, "ms")
    row("end of local workers", lambda one: one["end"] * 1e3, "ms", quadratic=True)
    row("bytes of introductions", lambda one: one["start bytes"] / 1e6, "MB", quadratic=True)
    for when, who in (("apart", "driver"), ("together", "worker")):
        for at, what, unit in ((0, "threads", ""), (1, "descriptors", ""), (2, "own memory", "MB")):
            row(f"{what} of a {who}, {when}", lambda one: one[when][who][at], unit)
    for name in OPERATIONS:
        row(f"messages: {name}", lambda one: one["operations"][name][1], "")
    for name in OPERATIONS:
        row(f"time: {name}", lambda one: one["operations"][name][4], "ms")
    for name in ("everywhere!", "array: sum", "array: halo", "spmd, empty"):
        row(f"bytes: {name}", lambda one: one["operations"][name][3] / 1e3, "KB", quadratic=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--counts", nargs="+", type=int, default=[2, 4, 8, 16, 32, 64])
    parser.add_argument("--model", nargs="+", type=int, default=[256, 1000, 10000])
    parser.add_argument("--json", type=Path, help="where to leave the figures as well")
    parser.add_argument("--from", type=Path, dest="source", help="model figures left by --json")
    options = parser.parse_args()
    if options.source:
        figures = json.loads(options.source.read_text())
        return model(figures, options.model)
    figures = []
    for count in options.counts:
        figures.append(measure(count))
        show(figures[-1])
    model(figures, options.model)
    if options.json:
        options.json.write_text(json.dumps(figures))


if __name__ == "__main__":
    main()
