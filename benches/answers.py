#!/usr/bin/env python3
"""How long completion, inspection and the like take while a cell runs for ten seconds.

Each kind of request is sent again and again, first to a kernel whose analyst has not been asked
before, then to one whose analyst is ready. Printed are median and worst time of each; and what
memory the kernel's own process has before the first completion.

    benches/run answers.py [--seconds N]
"""

import argparse
import statistics
import sys
import time

import psutil
from jupyter_client.manager import start_new_kernel

GOAL = 0.100
MEMORY_GOAL = 60
SETUP = [
    "let numbers = vec![1.0, 2.0, 3.0];",
    "/// A point.\n#[derive(Debug)]\nstruct Point { abscissa: f64, ordinate: f64 }\n"
    "fn largest(v: &[f64]) -> f64 { v.iter().copied().fold(0.0, f64::max) }\n"
    "let point = Point { abscissa: 1.0, ordinate: 2.0 };",
]
BUSY = {
    "sleeps": "std::thread::sleep(std::time::Duration::from_secs(10))",
    "computes on all cores": (
        "let start = std::time::Instant::now();\n"
        "(0..nthreads()).into_par_iter().for_each(|_| {\n"
        "    while start.elapsed().as_secs() < 10 { std::hint::spin_loop(); }\n});"
    ),
}
# What is asked, the code, and a match that must be among those that come.
REQUESTS = {
    "complete a variable": ("complete", "let a = numb", "numbers"),
    "complete a function": ("complete", "larg", "largest"),
    "complete a field": ("complete", "point.absc", "abscissa"),
    "complete a method": ("complete", "numbers.iter().ma", "map"),
    "complete a path": ("complete", "String::wi", "with_capacity"),
    "inspect a function": ("inspect", "largest", "fn largest"),
    "inspect a variable": ("inspect", "numbers", "Vec<f64>"),
    "is_complete": ("is_complete", "fn f() {", "incomplete"),
    "kernel_info on control": ("kernel_info", "", "parcell"),
}
# Without rust-analyzer its signature is not known.
READY = ("String::ne", "const fn new()")


class Session:
    """A kernel with a client."""

    def __init__(self):
        self.manager, self.client = start_new_kernel(kernel_name="parcell", startup_timeout=300)
        for cell in SETUP:
            self.client.execute_interactive(cell, timeout=300)
        self.process = psutil.Process(self.manager.provisioner.pid)

    def ask(self, kind: str, code: str) -> tuple[float, str]:
        """Seconds until the reply, and the reply."""
        begin = time.perf_counter()
        if kind == "kernel_info":
            message = self.client.session.msg("kernel_info_request", {})
            self.client.control_channel.send(message)
            request, get = message["header"]["msg_id"], self.client.get_control_msg
        else:
            request, get = getattr(self.client, kind)(code), self.client.get_shell_msg
        while True:
            reply = get(timeout=60)
            if reply["parent_header"]["msg_id"] == request:
                return time.perf_counter() - begin, str(reply["content"])

    def measure(self, cell: str, seconds: float) -> dict[str, list[float]]:
        """Times of all requests, in turns, while a cell runs."""
        times = {name: [] for name in REQUESTS}
        running = self.client.execute(cell)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for name, (kind, code, expected) in REQUESTS.items():
                elapsed, reply = self.ask(kind, code)
                if expected not in reply:
                    sys.exit(f"{name}: {reply}")
                times[name].append(elapsed)
                # As often as somebody types.
                time.sleep(0.05)
        while self.client.get_shell_msg(timeout=60)["parent_header"]["msg_id"] != running:
            pass
        return times

    def analyst(self) -> psutil.Process | None:
        """The analyst's process."""
        return next((p for p in self.process.children() if "analyst" in p.cmdline()), None)

    def warm_up(self) -> float:
        """Seconds until the analyst's own answers come."""
        begin = time.perf_counter()
        while READY[1] not in self.ask("complete", READY[0])[1]:
            time.sleep(0.02)
        return time.perf_counter() - begin

    def close(self):
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


def mebibytes(process: psutil.Process) -> float:
    return process.memory_info().rss / 2**20


def report(title: str, times: dict[str, list[float]]) -> bool:
    """Prints a table; whether all answers came in time."""
    print(f"\n{title}\n{'':<26}{'median':>10}{'worst':>10}{'asked':>8}")
    for name, measured in times.items():
        median, worst = statistics.median(measured) * 1e3, max(measured) * 1e3
        print(f"{name:<26}{median:>7.1f} ms{worst:>7.1f} ms{len(measured):>8}")
    return max(map(max, times.values())) <= GOAL


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=9, help="how long each cell is beset")
    options = parser.parse_args()
    in_time = True
    for name, cell in BUSY.items():
        session = Session()
        memory = mebibytes(session.process)
        assert session.analyst() is None, "nobody has asked yet"
        in_time &= report(f"a cell {name}, cold analyst", session.measure(cell, options.seconds))
        session.close()
        session = Session()
        needed = session.warm_up()
        in_time &= report(f"a cell {name}, warm analyst", session.measure(cell, options.seconds))
        analyst = mebibytes(session.analyst())
        session.close()
    print(f"\nall answers within {GOAL * 1e3:.0f} ms (the goal): {'yes' if in_time else 'NO'}")
    print(f"from the first question to the analyst's own answers: {needed:.1f} s")
    print(f"memory of the kernel before: {memory:.0f} MiB (goal: {MEMORY_GOAL}); "
          f"of the analyst: {analyst:.0f} MiB")


if __name__ == "__main__":
    main()
