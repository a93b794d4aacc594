#!/usr/bin/env python3
"""Loops on one and two threads: in cells, in C with OpenMP, and in a plain Rust program.

The cells run the program's own text, `threads/src/rows.rs`; `threads/rows.c` does the same in C.
Where there is a natural way to write a row with `par_for`, that is measured as well. Programs are
built for this processor, as cells are. The contenders take turns; of each the shortest time
counts, and all must give the same result. Memory is allocated and written once before the clock
starts, threads are started before it, too.

The machine's other work shows in times that are short: before each run this waits until the
machine is idle, and it repeats runs that others disturbed. A row marked with ~ was not left in
peace often enough.

    benches/run threads.py [--rows NAME...] [--repeat N] [--n-scale F] [--check]
"""

import argparse
import itertools
import math
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from series import Cells, build

THREADS = Path(__file__).parent / "threads"
# Size and how often a run calls the function: a run takes some tenths of a second.
ROWS = {
    "series": (100_000_000, 2),
    "julia": (2000, 3),
    "sort": (10_000_000, 2),
    "log10": (100_000_000, 2),
    "sum": (100_000_000, 20),
}
TEAMS = (1, 2)
RATIO_GOAL, EFFICIENCY_GOAL = 1.05, 0.95
# C may fuse multiplication and addition, which shifts a few points of the Julia set.
TOLERANCE = 1e-7
OPTIONS = ["-O3", "-march=native", "-fopenmp", "-Wall", "-Wextra"]
COMPILER_HELP = "{} is needed to build the programs in C, on Debian: apt-get install g++"


def build_c(folder: Path) -> Path:
    """Builds the C program in `folder`."""
    for compiler in ("gcc", "g++"):
        if shutil.which(compiler) is None:
            sys.exit(COMPILER_HELP.format(compiler))
    rows, program = folder / "rows.o", folder / "rows"
    subprocess.run(["gcc", *OPTIONS, "-c", THREADS / "rows.c", "-o", rows], check=True)
    sort = THREADS / "sort.cpp"
    subprocess.run(["g++", *OPTIONS, sort, rows, "-lm", "-o", program], check=True)
    return program


class Program:
    """A program that is told by an environment variable how many threads to use."""

    def __init__(self, binary: Path, variable: str):
        self.binary, self.variable = binary, variable

    def measure(self, row: str, threads: int, n: int, times: int) -> list[float]:
        """Seconds and check."""
        command = [self.binary, row, str(n), str(times)]
        team = os.environ | {self.variable: str(threads)}
        done = subprocess.run(command, check=True, env=team, capture_output=True, text=True)
        return [float(word) for word in done.stdout.split()]

    def used(self) -> float:
        """Processor seconds of all runs so far."""
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return children.ru_utime + children.ru_stime


class Rows:
    """Cells that run the functions whose names end in `suffix`."""

    def __init__(self, cells: Cells, suffix: str = ""):
        self.cells, self.suffix = cells, suffix

    def measure(self, row: str, threads: int, n: int, times: int) -> list[float]:
        """Seconds and check."""
        self.cells.run(f"%threads {threads}")
        printed = self.cells.run(f"measure_{row}({row}{self.suffix}, {n}, {times});")
        return [float(word) for word in printed.split()]

    def used(self) -> float:
        """Processor seconds of the kernel, its driver and its compilers so far."""
        kernel = psutil.Process(self.cells.manager.provisioner.pid)
        times = [process.cpu_times() for process in [kernel, *kernel.children(recursive=True)]]
        return sum(sum(t[:4]) for t in times)


def machine_used() -> float:
    """Processor seconds of everything so far, this process left out."""
    total, own = psutil.cpu_times(), psutil.Process().cpu_times()
    return sum(total) - total.idle - total.iowait - own.user - own.system


def wait_for_idle(patience: float):
    """Waits until nobody computes, also no compiler that a kernel keeps ready."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        before = machine_used()
        time.sleep(0.1)
        if machine_used() - before <= 0.01:
            return


def undisturbed(contender, *arguments) -> tuple[list[float], bool]:
    """A contender's seconds and check, and whether it had the machine for itself."""
    wait_for_idle(1)
    begin, others = time.monotonic(), machine_used() - contender.used()
    measured = contender.measure(*arguments)
    others = machine_used() - contender.used() - others
    # The machine's clock counts hundredths of a second.
    return measured, others <= 0.03 + 0.03 * (time.monotonic() - begin)


def measure_row(contenders: dict, row: str, threads: int, scale: float, repeat: int) -> dict:
    """The shortest times of all contenders, and whether they were left in peace."""
    n, times = ROWS[row]
    n = max(round(n * (math.sqrt(scale) if row == "julia" else scale)), 2)
    taking_part = {name: c for name, c in contenders.items() if row != "sort" or name != "par_for"}
    best = dict.fromkeys(taking_part, math.inf)
    quiet = dict.fromkeys(taking_part, 0)
    for turn in range(2 * repeat):
        order = list(taking_part) if turn % 2 else list(reversed(taking_part))
        checks = {}
        for name in order:
            measured, peace = undisturbed(taking_part[name], row, threads, n, times)
            best[name] = min(best[name], measured[0])
            checks[name] = measured[1]
            quiet[name] += peace
        for name, check in checks.items():
            if not math.isclose(check, checks["C"], rel_tol=TOLERANCE):
                sys.exit(f"{row}, {threads} threads: {name} gives {check}, C {checks['C']}")
        if turn + 1 >= repeat and min(quiet.values()) >= (repeat + 1) // 2:
            break
    return best | {"peace": min(quiet.values()) >= (repeat + 1) // 2}


def print_head():
    """Prints the head of the table of times."""
    head = ("C", "Rust", "parcell", "ratio", "par_for", "ratio")
    print(f"{'row':<10}{'threads':>7}" + "".join(f"{word:>11}" for word in head), flush=True)


def print_row(row: str, threads: int, t: dict) -> float:
    """Prints the times of a row and their ratios to the better program; that of parcell."""
    best = min(t["C"], t["Rust"])
    columns = [f"{t[name] * 1e3:>8.1f} ms" for name in ("C", "Rust", "parcell")]
    columns.append(f"{t['parcell'] / best:>11.3f}")
    if "par_for" in t:
        columns += [f"{t['par_for'] * 1e3:>8.1f} ms", f"{t['par_for'] / best:>11.3f}"]
    mark = "" if t["peace"] else " ~"
    print(f"{row:<10}{threads:>7}" + "".join(columns) + mark, flush=True)
    return t["parcell"] / best


def report_efficiency(times: dict) -> list[float]:
    """Prints parallel efficiencies; parcell's share of OpenMP's."""
    one, two = TEAMS
    print(f"{'row':<10}" + "".join(f"{word:>11}" for word in ("C", "Rust", "parcell", "of C's")))
    shares = []
    for row in dict.fromkeys(row for row, _ in times):
        of = {
            name: times[row, one][name] / (two * times[row, two][name])
            for name in ("C", "Rust", "parcell")
        }
        shares.append(of["parcell"] / of["C"])
        print(f"{row:<10}" + "".join(f"{x:>11.3f}" for x in (*of.values(), shares[-1])))
    print(f"efficiency: T1 / (2 · T2) (goal: at least {EFFICIENCY_GOAL} of C's)")
    return shares


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS), metavar="NAME")
    parser.add_argument("--repeat", type=int, default=7, help="runs of each contender")
    parser.add_argument("--n-scale", type=float, default=1, help="share of the full problem")
    parser.add_argument("--check", action="store_true", help="fail if a goal is missed")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        cells = Cells(THREADS / "src" / "rows.rs")
        cells.run((THREADS / "src" / "par_for.rs").read_text())
        contenders = {
            "C": Program(build_c(Path(folder)), "OMP_NUM_THREADS"),
            "Rust": Program(build(THREADS, "-Ctarget-cpu=native"), "RAYON_NUM_THREADS"),
            "parcell": Rows(cells),
            "par_for": Rows(cells, "_loop"),
        }
        times, ratios = {}, []
        print_head()
        for row, team in itertools.product(options.rows, TEAMS):
            measured = measure_row(contenders, row, team, options.n_scale, options.repeat)
            times[row, team] = measured
            ratios.append(print_row(row, team, measured))
        cells.manager.shutdown_kernel()
    print(f"ratio: to the better of C and Rust (goal: at most {RATIO_GOAL} for parcell)\n")
    shares = report_efficiency(times)
    if options.check and (max(ratios) > RATIO_GOAL or min(shares) < EFFICIENCY_GOAL):
        sys.exit("a goal is missed")


if __name__ == "__main__":
    main()
