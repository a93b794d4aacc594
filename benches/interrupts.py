#!/usr/bin/env python3
"""How long a cell runs on after an interrupt, in each loop and each wait of the library.

The time counts from the interrupt request to the cell's reply. The cells are those of
tests/test_threads.py, which proves that driver and variables survive.

    benches/run interrupts.py [--repeat N]
"""

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from conftest import Kernel
from test_threads import WAITS

GOAL = 0.200


def latency(kernel: Kernel, cell: str) -> float:
    """Seconds from an interrupt to the reply of the cell that it ends."""
    request = kernel.send('println!("on");' + cell)
    kernel.printed(request, "on")
    begin = time.perf_counter()
    kernel.ask("interrupt_request", channel="control")
    kernel.reply(request)
    return time.perf_counter() - begin


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--repeat", type=int, default=5, help="interrupts of each cell")
    repeat = options.parse_args().repeat
    kernel = Kernel()
    kernel.ok("%threads 2")
    worst = 0.0
    print(f"{'interrupted in':24}{'median':>9}{'worst':>9}   of {repeat}, milliseconds")
    for name, cell in WAITS.items():
        times = sorted(latency(kernel, cell) for _ in range(repeat))
        worst = max(worst, times[-1])
        print(f"{name:24}{1e3 * times[repeat // 2]:9.0f}{1e3 * times[-1]:9.0f}", flush=True)
    kernel.close()
    print(f"{'worst of all':33}{1e3 * worst:9.0f}   (goal: {1e3 * GOAL:.0f})")
    return int(worst > GOAL)


if __name__ == "__main__":
    sys.exit(main())
