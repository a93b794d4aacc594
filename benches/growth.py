#!/usr/bin/env python3
"""What a cell costs in a long notebook, as a share of what it costs in a new one.

The same cell is timed after one definition, and again after 200 functions, 50 types with methods
and 100 variables, each defined in a cell of its own. Both kernels exist side by side and take
turns, so that what else the machine does meets both.

    benches/run growth.py [--repeat N]
"""

import argparse
import statistics

from latency import Peer

PROBE = "let probe = helper(@);\nprintln!(\"{}\", probe + kept.len() as i64);"
FIRST = "fn helper(x: i64) -> i64 { x + 1 }\nlet kept = vec![1, 2, 3];"


def long_notebook() -> list[str]:
    """The cells that come before the probe."""
    functions = [f"fn step_{i}(x: i64) -> i64 {{ step_of({i}, x) + {i} }}" for i in range(200)]
    types = [
        f"#[derive(Debug, Clone)] struct Type{i} {{ value: i64 }}\n"
        f"impl Type{i} {{ fn get(&self) -> i64 {{ self.value }} }}"
        for i in range(50)
    ]
    variables = [f"let variable_{i} = vec![{i}_i64; 4];" for i in range(100)]
    return ["fn step_of(i: i64, x: i64) -> i64 { i * x }", *functions, *types, *variables]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=31, help="measured runs of the cell")
    options = parser.parse_args()
    new, long = Peer("parcell"), Peer("parcell")
    for peer in (new, long):
        peer.run(FIRST)
    for cell in long_notebook():
        long.run(cell)
    times = {new: [], long: []}
    for turn in range(2 * options.repeat + 2):
        peer = (new, long)[turn % 2]
        elapsed = peer.run(PROBE.replace("@", str(turn)))
        # The first turn warms both up.
        times[peer] += [elapsed] if turn > 1 else []
    second, last = (statistics.median(times[peer]) for peer in (new, long))
    print(f"second cell {second * 1e3:.0f} ms, cell 352 {last * 1e3:.0f} ms")
    print(f"ratio {last / second:.2f} (goal: at most 1.10)")
    for peer in (new, long):
        peer.close()


if __name__ == "__main__":
    main()
