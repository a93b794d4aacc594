#!/usr/bin/env python3
"""What parallel loops and tasks cost beside rayon's, and what false sharing costs, in cells.

A loop over 1e6 items whose body is empty, or a single move that the compiler cannot leave out; it
makes nothing at all of rayon's empty one. 1e5 empty tasks. These take turns within a cell; of each
the shortest time counts. Then two threads that each add to a counter of their own, on one cache
line and padded.

    benches/run overheads.py [--repeat N] [--check]
"""

import argparse
import sys

from series import Cells
from threads import TEAMS, THREADS, wait_for_idle

# What is measured: ours, and what it is compared with.
PAIRS = {
    "empty loop": ("empty_par_for", "empty_rayon"),
    "tiny loop": ("tiny_par_for", "tiny_rayon"),
    "tasks of sync": ("tasks_sync", "tasks_rayon"),
    "tasks of spawn": ("tasks_spawn", "tasks_rayon"),
}
# Those that have a goal.
MEANT = ("tiny loop", "tasks of sync")
GOAL = 1.1


def measure(cells: Cells, calls: tuple[str, ...], repeat: int) -> list[float]:
    """Shortest times of functions, in seconds."""
    best = [float("inf")] * len(calls)
    # Several cells: one may meet other work on the machine from beginning to end.
    for _ in range(5):
        wait_for_idle(1)
        printed = cells.run(f"shortest_of([{', '.join(calls)}], {repeat});")
        best = [min(pair) for pair in zip(best, map(float, printed.split()), strict=True)]
    return best


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=20, help="calls in each of five cells")
    parser.add_argument("--check", action="store_true", help="fail if a goal is missed")
    options = parser.parse_args()
    cells = Cells(THREADS / "src" / "overheads.rs")
    ratios = []
    print(f"{'':<16}{'threads':>8}{'parcell':>12}{'rayon':>12}{'ratio':>8}")
    for threads in TEAMS:
        cells.run(f"%threads {threads}")
        for name, calls in PAIRS.items():
            ours, theirs = measure(cells, calls, options.repeat)
            ratios += [ours / theirs] if name in MEANT else []
            times = f"{ours * 1e6:>9.1f} µs{theirs * 1e6:>9.1f} µs"
            print(f"{name:<16}{threads:>8}{times}{ours / theirs:>8.2f}")
    print(f"goal: at most {GOAL} for {' and '.join(MEANT)}\n")
    cells.run("%threads 2")
    shared, padded = map(float, cells.run("false_sharing();").split())
    print(
        f"counters of two threads on one cache line {shared * 1e6:.1f} µs, "
        f"padded {padded * 1e6:.1f} µs, ratio {shared / padded:.2f}"
    )
    cells.manager.shutdown_kernel()
    if options.check and max(ratios) > GOAL:
        sys.exit("a goal is missed")


if __name__ == "__main__":
    main()
