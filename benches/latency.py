#!/usr/bin/env python3
"""How long a cell takes, in parcell, in evcxr_jupyter 0.22 and for bare rustc, in the same run.

Twelve cells are run in turns by both kernels; each repetition changes the text, so that nothing
is found in a cache. The code that parcell made of each is then compiled by rustc as from a shell,
to a shared object. Printed are the medians, and parcell's share of the other two's time.

    benches/run latency.py [--repeat N]
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from jupyter_client.manager import KernelManager

PEER_HELP = """evcxr_jupyter 0.22 is needed beside parcell, at {}:
    cargo install --locked evcxr_jupyter@0.22.0 --root ~/.cache/evcxr-peer"""
RAYON = "(0..1_000_000u64).into_par_iter().map(|x| x ^ @).sum::<u64>()"
# `@` becomes a number that every run changes.
CELLS = {
    "print": 'println!("number {}", @);',
    "expression": "@ + 1",
    "let": "let values = vec![@; 3];",
    "function": "fn scaled(x: i64) -> i64 { x * @ }\nscaled(2)",
    "generic function": (
        "fn largest<T: PartialOrd + Copy>(v: &[T]) -> T {\n"
        "    v.iter().copied().fold(v[0], |a, b| if b > a { b } else { a })\n}\n"
        "(largest(&[1, @]), largest(&[0.5, @ as f64]))"
    ),
    "rayon sum": RAYON,
    "struct": "#[derive(Debug)] struct Point { x: i64, y: i64 }\nPoint { x: @, y: 1 }",
    "closure": "{ let n = @; let add = move |x: i64| x + n; add(1) }",
    ":dep already built": ':dep itoa = "1"\nitoa::Buffer::new().format(@).len()',
    "error": 'let wrong: i32 = "@";',
    "long string": 'println!("{}", "' + "0123456789" * 2000 + '@".len());',
}
THIRTY = "30 functions before"
FUNCTIONS = "\n".join(f"fn before_{i}(x: i64) -> i64 {{ x + {i} }}" for i in range(30))
SETUP = [':dep rayon = "1"\n:dep itoa = "1"', "use rayon::prelude::*;", RAYON.replace("@", "1")]


class Peer:
    """One of the two kernels."""

    def __init__(self, spec: str):
        begin = time.perf_counter()
        self.manager = KernelManager(kernel_name=spec)
        self.manager.start_kernel()
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=300)
        self.run("1 + 1")
        self.start = time.perf_counter() - begin

    def run(self, code: str, fails: bool = False) -> float:
        """Runs a cell; seconds from sending it to the kernel being idle again."""
        begin = time.perf_counter()
        request = self.client.execute(code, allow_stdin=False)
        idle = False
        while not idle:
            message = self.client.get_iopub_msg(timeout=600)
            mine = message["parent_header"].get("msg_id") == request
            idle = mine and message["content"].get("execution_state") == "idle"
            if mine and message["msg_type"] == "error" and not fails:
                sys.exit("\n".join([code, *message["content"]["traceback"]]))
        elapsed = time.perf_counter() - begin
        self.client.get_shell_msg(timeout=60)
        return elapsed

    def close(self):
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


def make_peer_spec(folder: Path, binary: Path):
    """A kernelspec for evcxr_jupyter where Jupyter finds it."""
    spec = folder / "kernels" / "evcxr-peer"
    spec.mkdir(parents=True)
    argv = [str(binary), "--control_file", "{connection_file}"]
    about = {"argv": argv, "display_name": "evcxr", "language": "rust", "interrupt_mode": "message"}
    (spec / "kernel.json").write_text(json.dumps(about))
    os.environ["JUPYTER_PATH"] = f"{folder}:{os.environ.get('JUPYTER_PATH', '')}"


def peer_binary() -> Path:
    """Where evcxr_jupyter is."""
    usual = Path.home() / ".cache/evcxr-peer/bin/evcxr_jupyter"
    found = usual if usual.exists() else Path(shutil.which("evcxr_jupyter") or "")
    if not found.is_file():
        sys.exit(PEER_HELP.format(usual))
    return found


def measure(peers: dict[str, Peer], cells: dict[str, str], repeat: int, modules: Path) -> dict:
    """Times of all cells; the peers take turns, and turns in who begins."""
    times = {name: {peer: [] for peer in [*peers, "rustc"]} for name in cells}
    for turn in range(repeat + 1):
        order = list(peers) if turn % 2 else list(reversed(peers))
        for number, (name, code) in enumerate(cells.items()):
            text = code.replace("@", str(1000 * (turn + 1) + number))
            for peer in order:
                elapsed = peers[peer].run(text, fails=name == "error")
                # The first turn warms both up.
                times[name][peer] += [elapsed] if turn else []
            bare = bare_rustc(modules, fails=name == "error")
            times[name]["rustc"] += [bare] if turn else []
    return times


def bare_rustc(modules: Path, fails: bool) -> float:
    """Seconds that rustc takes for the code of the last cell, linker included."""
    made = [m for m in modules.glob("*/m*/cell.rs") if not m.is_symlink()]
    code = [m for m in made if "obj=cell.o" in (m.parent / "rustc.args").read_text()]
    latest = max(code, key=lambda m: m.stat().st_mtime_ns).parent
    arguments = (latest / "rustc.args").read_text().splitlines()
    emit = arguments.index("--emit")
    arguments[emit : emit + 2] = ["-o", "libbare.so"]
    sysroot = subprocess.check_output(["rustc", "--print", "sysroot"], text=True).strip()
    command = [f"{sysroot}/bin/rustc", *arguments]
    begin = time.perf_counter()
    done = subprocess.run(command, cwd=latest, capture_output=True, text=True)
    elapsed = time.perf_counter() - begin
    if (done.returncode != 0) != fails:
        sys.exit(f"{latest}: {done.stderr}")
    return elapsed


def report(times: dict, starts: dict):
    """Prints the table."""
    names = ("parcell", "evcxr", "rustc")
    rows = [(cell, *(statistics.median(t[n]) for n in names)) for cell, t in times.items()]
    rows.append(("all twelve", *(sum(row[i] for row in rows) for i in (1, 2, 3))))
    print(f"{'cell':<22}" + "".join(f"{n:>10}" for n in (*names, "of evcxr", "of rustc")))
    for cell, ours, theirs, bare in rows:
        milliseconds = "".join(f"{t * 1e3:>7.0f} ms" for t in (ours, theirs, bare))
        print(f"{cell:<22}{milliseconds}{ours / theirs:>10.2f}{ours / bare:>10.2f}")
    of_evcxr = [ours / theirs for _, ours, theirs, _ in rows[:-1]]
    of_rustc = [ours / bare for _, ours, _, bare in rows[:-1]]
    print(f"median share of evcxr_jupyter: {statistics.median(of_evcxr):.2f} (goal: at most 0.30)")
    print(f"largest share of bare rustc:   {max(of_rustc):.2f} (goal: at most 1.60)")
    ours, theirs = (statistics.median(starts[p]) for p in ("parcell", "evcxr"))
    print(
        f"start to first result: parcell {ours:.2f} s (goal: at most 1.0), evcxr {theirs:.2f} s, "
        f"ratio {ours / theirs:.2f} (goal: at most 0.20)"
    )


def start_times(specs: dict[str, str], repeat: int) -> dict:
    """Seconds from starting a kernel to its first result."""
    starts = {peer: [] for peer in specs}
    for _ in range(repeat):
        for peer, spec in specs.items():
            started = Peer(spec)
            starts[peer].append(started.start)
            started.close()
    return starts


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=7, help="measured runs of each cell")
    options = parser.parse_args()
    specs = {"parcell": "parcell", "evcxr": "evcxr-peer"}
    with tempfile.TemporaryDirectory() as folder:
        make_peer_spec(Path(folder), peer_binary())
        modules = Path(folder) / "modules"
        os.environ["PARCELL_TMP"] = str(modules)
        starts = start_times(specs, 3)
        peers = {name: Peer(spec) for name, spec in specs.items()}
        for peer in peers.values():
            for cell in SETUP:
                peer.run(cell)
        times = measure(peers, CELLS, options.repeat, modules)
        for peer in peers.values():
            peer.run(FUNCTIONS)
        thirty = {THIRTY: "before_0(@) + before_29(@)"}
        times |= measure(peers, thirty, options.repeat, modules)
        for peer in peers.values():
            peer.close()
    report(times, starts)


if __name__ == "__main__":
    main()
