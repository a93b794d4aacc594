#!/usr/bin/env python3
"""The slow series in a cell beside the same text built with `cargo build --release`.

Both run `series/src/slow.rs`, in turns; printed are the shortest times and their ratio.

    benches/run series.py [--terms N] [--repeat N]
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from jupyter_client.manager import start_new_kernel

SERIES = Path(__file__).parent / "series"
FORMS = ["slow", "slow_parallel"]
GOAL = 1.03


def build(folder: Path, flags: str = "") -> Path:
    """Builds the program in a folder of the same name."""
    rustc = os.environ | {"RUSTFLAGS": flags} if flags else None
    subprocess.run(["cargo", "build", "--release", "--quiet"], cwd=folder, check=True, env=rustc)
    target = subprocess.run(
        ["cargo", "metadata", "--format-version=1", "--no-deps"],
        cwd=folder, check=True, capture_output=True, text=True,
    ).stdout
    return Path(json.loads(target)["target_directory"]) / "release" / folder.name


def program(binary: Path, form: str, terms: int) -> tuple[float, float]:
    """Seconds and sum of one run of the program."""
    done = subprocess.run([binary, form, str(terms)], check=True, capture_output=True, text=True)
    seconds, total = map(float, done.stdout.split())
    return seconds, total


class Cells:
    """A kernel that knows the functions."""

    def __init__(self, source: Path):
        self.manager, self.client = start_new_kernel(kernel_name="parcell", startup_timeout=300)
        self.run(source.read_text())

    def run(self, code: str) -> str:
        """What a cell prints."""
        printed = []
        self.client.execute_interactive(code, output_hook=printed.append, timeout=600)
        for message in printed:
            if message["msg_type"] == "error":
                sys.exit("\n".join(message["content"]["traceback"]))
        return "".join(m["content"]["text"] for m in printed if m["msg_type"] == "stream")

    def measure(self, form: str, terms: int) -> tuple[float, float]:
        """Seconds and sum of one run in a cell."""
        seconds, total = map(float, self.run(f"measure({form}, {terms});").split())
        return seconds, total


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--terms", type=int, default=100_000_000)
    parser.add_argument("--repeat", type=int, default=7)
    options = parser.parse_args()
    binary, cells = build(SERIES), Cells(SERIES / "src" / "slow.rs")
    print(f"{'':<16}{'cell':>10}{'cargo':>10}{'ratio':>8}   ({options.terms:_} terms)")
    for form in FORMS:
        in_cell, in_program = [], []
        for _ in range(options.repeat):
            in_cell.append(cells.measure(form, options.terms))
            in_program.append(program(binary, form, options.terms))
        (ours, a), (theirs, b) = min(in_cell), min(in_program)
        assert abs(a - b) < 1e-8, f"{a} is not {b}"
        print(f"{form:<16}{ours:>8.3f} s{theirs:>8.3f} s{ours / theirs:>8.3f}")
    print(f"sum {a:.9f}; goal: ratio at most {GOAL}")
    cells.manager.shutdown_kernel()


if __name__ == "__main__":
    main()
