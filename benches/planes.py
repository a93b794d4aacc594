#!/usr/bin/env python3
"""What large data between two workers costs over sockets and over MPI, beside MPI itself, which is
the limit: both planes in turns, medians in microseconds.

    benches/run planes.py [--bytes 1024 65536 1048576 16777216] [--rows NAME...]

Builds a cell library with MPI the first time. The workers share this machine, so MPI goes through
memory.
"""

import argparse
import os
import subprocess
import sys
from contextlib import ExitStack, closing
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from cluster.mpi import Mpi
from conftest import Kernel

PREFIX = Path.home() / ".cache" / "parcell" / "bench-planes"
CELLS = Path(__file__).parent / "planes" / "cells.rs"
# What is measured, and what MPI itself takes for it.
ROWS = {"sum": None, "halo": None, "letters": "raw", "all_reduce": "raw_all_reduce"}


def measured(kernel: Kernel, row: str, size: int) -> float:
    """Microseconds."""
    return float(kernel.ok(f"{row}({size})", timeout=300).result)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bytes", nargs="+", type=int, default=[1 << 10, 1 << 16, 1 << 20, 1 << 24])
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--prefix", type=Path, default=PREFIX, help="where it is installed")
    options = parser.parse_args()
    install = ["install", "--mpi", "--name", "parcell-mpi", "--prefix", options.prefix]
    subprocess.run([os.environ["PARCELL"], *install], check=True, stdout=subprocess.DEVNULL)
    os.environ["JUPYTER_PATH"] = str(options.prefix / "share" / "jupyter")
    with ExitStack() as ends:
        mpi = ends.enter_context(closing(Mpi()))

        def start(plane: str) -> Kernel:
            kernel = Kernel(name="parcell-mpi", env=os.environ | mpi.env)
            ends.enter_context(closing(kernel))
            kernel.ok(f"%workers 2 --manager mpi --data-plane {plane}", timeout=120)
            kernel.ok(CELLS.read_text())
            return kernel

        sockets, by_mpi = start("sockets"), start("mpi")
        print(f"{'':<12}{'bytes':>10}{'sockets':>12}{'mpi':>12}{'ratio':>8}{'raw mpi':>12}{'ratio':>8}")
        for row in options.rows:
            for size in options.bytes:
                first, second = measured(sockets, row, size), measured(by_mpi, row, size)
                line = f"{row:<12}{size:>10}{first:>12.1f}{second:>12.1f}{second / first:>8.2f}"
                if limit := ROWS[row]:
                    raw = measured(by_mpi, limit, size)
                    line += f"{raw:>12.1f}{second / raw:>8.2f}"
                print(line, flush=True)


if __name__ == "__main__":
    main()
