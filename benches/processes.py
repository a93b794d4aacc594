#!/usr/bin/env python3
"""What calls, maps and transfers between processes cost, beside the system's own sockets, threads,
ipyparallel and dask.

    benches/run processes.py [--rows NAME...] [--no-peers] [--check]

The peers are installed into a virtual environment of their own, below the user's cache folder. The
system's own figures come from `processes/src/main.rs`, a program of two processes and a socket. Ours
and its take turns; medians and shortest times count.
"""

import argparse
import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import psutil
from series import Cells, build

FOLDER = Path(__file__).parent / "processes"
PEERS = Path.home() / ".cache" / "parcell" / "bench-peers"
PACKAGES = ["ipyparallel", "distributed", "numpy"]
BYTES = 80_000_000
TERMS = 100_000_000
MISSED: list[str] = []


def peers() -> dict[str, dict]:
    """Figures of ipyparallel and dask, by name."""
    python = PEERS / "bin" / "python"
    if not python.exists():
        venv.create(PEERS, with_pip=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
    found = {}
    for name in ("ipyparallel", "dask"):
        done = subprocess.run(
            [python, FOLDER / "peers.py", name, str(BYTES)],
            check=True, capture_output=True, text=True, env=os.environ | {"PYTHONWARNINGS": "ignore"},
        )
        found[name] = json.loads(done.stdout.splitlines()[-1])
    return found


def raw(binary: Path, *words) -> float:
    """A figure of the program of two processes."""
    done = subprocess.run([binary, *map(str, words)], check=True, capture_output=True, text=True)
    return float(done.stdout)


def judge(name: str, value: float, goal: float, at_most: bool = True):
    """Prints a ratio beside its goal."""
    missed = value > goal if at_most else value < goal
    if missed:
        MISSED.append(name)
    word = "at most" if at_most else "at least"
    print(f"{'':<4}{value:.2f}, goal {word} {goal:g}{'  MISSED' if missed else ''}")


def round_trip(cells: Cells, binary: Path, others: dict):
    ours, theirs = [], []
    for _ in range(5):
        ours.append(float(cells.run('println!("{}", round_trip(2000));')))
        theirs.append(raw(binary, "pingpong", 20_000))
    ours, theirs = sorted(ours)[2], sorted(theirs)[2]
    print(f"round trip of fetch_from!(2, 1): {ours:.1f} µs, raw socket {theirs:.1f} µs", end="")
    print("".join(f", {name} {o['round_trip'] * 1e6:.0f} µs" for name, o in others.items()))
    judge("round trip", ours / theirs, 3)


def empty_map(cells: Cells, _binary: Path, others: dict):
    ours = max(float(cells.run('println!("{}", empty_map(100_000));')) for _ in range(5))
    print(f"pmap over 100 000 items that does nothing: {ours:,.0f} items/s", end="")
    print("".join(f", {name} {o['map']:,.0f}" for name, o in others.items()))
    judge("empty pmap", ours / 200_000, 1, at_most=False)


def transfer(cells: Cells, binary: Path, others: dict):
    ours, theirs = [], []
    for _ in range(7):
        ours.append(float(cells.run(f'println!("{{}}", fetch({BYTES}));')))
        theirs.append(raw(binary, "transfer", BYTES, 3))
    ours, theirs = BYTES / min(ours) / 1e9, BYTES / min(theirs) / 1e9
    print(f"fetch of 80 MB: {ours:.2f} GB/s, raw socket {theirs:.2f} GB/s", end="")
    print("".join(f", {name} {BYTES / o['fetch'] / 1e9:.2f}" for name, o in others.items()))
    judge("fetch", ours / theirs, 0.8, at_most=False)


def loop(cells: Cells, _binary: Path, _others: dict):
    cells.run("%threads 2")
    ours, theirs = [], []
    for _ in range(5):
        ours.append(float(cells.run(f'println!("{{}}", on_workers({TERMS}));')))
        theirs.append(float(cells.run(f'println!("{{}}", on_threads({TERMS}));')))
    print(f"slow series, {TERMS:,} terms: 2 workers {min(ours):.3f} s, 2 threads {min(theirs):.3f} s")
    judge("distributed!", min(ours) / min(theirs), 1.05)


def crowd(cells: Cells, _binary: Path, _others: dict):
    cells.run("rmprocs(&workers());")
    print(f"{'workers':>10}{'start':>10}{'everywhere!(())':>18}{'end':>10}{'start each':>13}")
    times = {}
    for n in (4, 8, 16, 32, 64):
        printed = cells.run(f'let t = crowd({n}); println!("{{}} {{}} {{}}", t.0, t.1, t.2);')
        start, call, end = times[n] = tuple(map(float, printed.split()))
        print(f"{n:>10}{start:>8.2f} s{call * 1e3:>15.2f} ms{end:>8.2f} s{start / n * 1e3:>10.0f} ms")
    judge("start of 4", times[4][0], 0.5)
    judge("start of 64", times[64][0], 8)
    judge("everywhere! on 64, ms", times[64][1] * 1e3, 20)
    judge("start of one among 64, to one among 4", times[64][0] / 16 / times[4][0], 1.2)
    cells.run("addprocs(2);")


def memory(cells: Cells, _binary: Path, _others: dict):
    listed = cells.run('everywhere!(println!("{}", std::process::id()));')
    processes = [psutil.Process(int(line.split()[-1])) for line in listed.splitlines()]
    cells.run("futures(10_000);")
    before = [p.memory_info().rss for p in processes]
    cells.run("futures(1_000_000);")
    after = [p.memory_info().rss for p in processes]
    grown = max(b - a for a, b in zip(before, after, strict=True)) / 1e6
    census = cells.run(
        'println!("{}", parcell::distributed::census().values().map(|c| c.values).sum::<usize>());'
    )
    print(f"1e6 futures made, fetched, dropped: memory grew by {grown:.1f} MB, values left {census}", end="")
    judge("memory grown, MB", grown, 5)
    idle = before[-1] / 1e6
    print(f"memory of a worker: {idle:.1f} MB resident, {processes[-1].memory_full_info().uss / 1e6:.1f} MB own")
    judge("memory of a worker, MB", idle, 25)


ROWS = {
    "round_trip": round_trip, "map": empty_map, "fetch": transfer, "loop": loop,
    "memory": memory, "crowd": crowd,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--no-peers", action="store_true", help="without ipyparallel and dask")
    parser.add_argument("--check", action="store_true", help="fail if a goal is missed")
    options = parser.parse_args()
    binary, cells = build(FOLDER), Cells(FOLDER / "cells.rs")
    others = {} if options.no_peers else peers()
    cells.run("%workers 2")
    for row in options.rows:
        ROWS[row](cells, binary, others)
    cells.manager.shutdown_kernel()
    if options.check and MISSED:
        sys.exit(f"missed: {', '.join(MISSED)}")


if __name__ == "__main__":
    main()
