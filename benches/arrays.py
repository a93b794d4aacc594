#!/usr/bin/env python3
"""What distributed and shared arrays on two workers cost beside arrays of one process on two threads,
mpi4py with numpy on two ranks, and dask.array on two workers.

    benches/run arrays.py [--rows NAME...] [--no-peers] [--check]

The peers, with an MPI of their own, are installed into a virtual environment below the user's cache
folder. Ours and the local arrays take turns; shortest times count.
"""

import argparse
import json
import os
import subprocess
import sys
import venv
from pathlib import Path

from series import Cells

FOLDER = Path(__file__).parent / "arrays"
PEERS = Path.home() / ".cache" / "parcell" / "bench-array-peers"
PACKAGES = ["mpi4py", "openmpi", "dask[array]", "distributed", "numpy"]
GOALS = {"sum": 1.1, "axpy": 1.1, "fill": 1.1, "shared": 1.05, "matmul": 1.3, "gather": 1 / 0.7}
ROUNDS = 3


def peers() -> dict[str, dict]:
    """Figures of the peers, by name."""
    python = PEERS / "bin" / "python"
    if not python.exists():
        venv.create(PEERS, with_pip=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
    one = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    root = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    commands = {
        "mpi": ([PEERS / "bin" / "mpiexec", "-n", "2"], one | root),
        "dask": ([], one),
        "numpy": ([], {"OPENBLAS_NUM_THREADS": "2"}),
    }
    found = {}
    for name, (launcher, extra) in commands.items():
        done = subprocess.run(
            [*launcher, python, FOLDER / "peers.py", name],
            check=True, capture_output=True, text=True, env=os.environ | extra,
        )
        found[name] = json.loads(done.stdout.splitlines()[-1])
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", nargs="+", choices=GOALS, default=list(GOALS))
    parser.add_argument("--no-peers", action="store_true", help="without mpi4py and dask")
    parser.add_argument("--check", action="store_true", help="fail if a goal is missed")
    options = parser.parse_args()
    others = {} if options.no_peers else peers()
    cells = Cells(FOLDER / "cells.rs")
    cells.run("%threads 2")
    cells.run("%workers 2 --threads 1")
    missed = []
    print(f"{'':<10}{'2 workers':>12}{'2 threads':>12}{'ratio':>8}{'goal':>8}")
    for row in options.rows:
        ours, local = [], []
        for _ in range(ROUNDS):
            ours.append(float(cells.run(f'println!("{{}}", workers_{row}());')))
            local.append(float(cells.run(f'println!("{{}}", local_{row}());')))
        ratio = min(ours) / min(local)
        missed += [row] if ratio > GOALS[row] else []
        print(f"{row:<10}{min(ours) * 1e3:>9.1f} ms{min(local) * 1e3:>9.1f} ms{ratio:>8.2f}", end="")
        print(f"{GOALS[row]:>8.2f}", end="")
        beside = ((name, found[row]) for name, found in others.items() if row in found)
        print("".join(f"   {name} {seconds * 1e3:.1f} ms" for name, seconds in beside))
    cells.run("rmprocs(&workers());")
    for n in (2, 8, 32):
        cells.run(f"addprocs({n} - if nprocs() > 1 {{ nworkers() }} else {{ 0 }});")
        micros = float(cells.run('println!("{}", tiny());'))
        print(f"sum of 64 numbers on {n:>2} workers: {micros:7.0f} µs, {micros / n:.0f} µs for each")
    cells.manager.shutdown_kernel()
    if options.check and missed:
        sys.exit(f"missed: {', '.join(missed)}")


if __name__ == "__main__":
    main()
