"""The queue behind the commands: jobs are folders, and each task is run by a process of its own."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

# How long a cancelled task may take to end before it is killed, in seconds.
GRACE = 2


@dataclass
class Job:
    """What was submitted. Texts may name their number as `{job}` and their task as `{task}`."""

    command: list[str]
    name: str
    queue: str
    env: dict[str, str]
    directory: str
    out: str
    err: str
    tasks: list[int] = field(default_factory=lambda: [0])
    # What the command line asked for, word by word, for tests that look whether it was passed on.
    asked: list[str] = field(default_factory=list)
    number: int = 0


class Refused(Exception):
    """What a command prints before it ends with the exit code."""

    def __init__(self, text: str, code: int = 1):
        super().__init__(text)
        self.code = code


class Queue:
    """The jobs in a folder. While its file `hold` exists nothing starts; what its file `refuse` says
    is the answer to whoever submits."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.jobs = folder / "jobs"
        self.jobs.mkdir(exist_ok=True)

    def keep(self, script: str) -> str:
        """Stores a script, as schedulers do; where it is."""
        file, path = tempfile.mkstemp(dir=self.folder, prefix="script-")
        with open(file, "w") as kept:
            kept.write(script)
        return path

    def submit(self, job: Job) -> int:
        """Queues the tasks of a job; its number."""
        if (self.folder / "refuse").exists():
            raise Refused((self.folder / "refuse").read_text())
        job.number = self._next_number()
        (self.jobs / f"{job.number}").mkdir()
        (self.jobs / f"{job.number}" / "job").write_text(json.dumps(job.__dict__))
        for task in job.tasks:
            self._write(job.number, task, "queued")
            subprocess.Popen(
                [sys.executable, "-m", "cluster.fakes.queue", self.folder, f"{job.number}", f"{task}"],
                cwd=Path(__file__).parents[2], start_new_session=True, stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=(self.folder / "log").open("a"),
            )
        return job.number

    def job(self, number: int) -> Job | None:
        """A job that was submitted at any time."""
        path = self.jobs / f"{number}" / "job"
        return Job(**json.loads(path.read_text())) if path.exists() else None

    def all(self) -> Iterator[tuple[Job, int, str]]:
        """All tasks, with their states `queued`, `running`, `done CODE` or `cancelled`."""
        for number in sorted(int(path.name) for path in self.jobs.iterdir()):
            if job := self.job(number):
                for task in job.tasks:
                    yield job, task, self.state(number, task)

    def state(self, number: int, task: int) -> str:
        """The state of one task."""
        return (self.jobs / f"{number}" / f"{task}.state").read_text()

    def is_over(self, number: int, task: int) -> bool:
        """Whether the task neither waits nor runs."""
        return self.state(number, task) not in ("queued", "running")

    def cancel(self, number: int, task: int):
        """Ends a task or takes it out of the queue; nothing if it has ended."""
        path = self.jobs / f"{number}" / f"{task}.runner"
        end = time.monotonic() + 10
        while not path.exists() and time.monotonic() < end:
            time.sleep(0.01)
        if not self.is_over(number, task):
            with suppress(ProcessLookupError):
                os.kill(int(path.read_text()), signal.SIGTERM)

    def _next_number(self) -> int:
        with (self.folder / "number").open("a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            number = int(file.read() or 100) + 1
            file.truncate(0)
            file.write(f"{number}")
        return number

    def _write(self, number: int, task: int, text: str, kind: str = "state"):
        path = self.jobs / f"{number}" / f"{task}.{kind}"
        fresh = path.with_suffix(f".{os.getpid()}")
        fresh.write_text(text)
        fresh.rename(path)

    def run(self, number: int, task: int):
        """The life of a task, in a process of its own."""
        cancelled, process = [], None
        signal.signal(signal.SIGTERM, lambda *_: cancelled.append(True))
        self._write(number, task, f"{os.getpid()}", "runner")
        while (self.folder / "hold").exists() and not cancelled:
            time.sleep(0.02)
        if not cancelled:
            process = self._start(self.job(number), task)
            self._write(number, task, "running")
        while process and process.poll() is None and not cancelled:
            time.sleep(0.02)
        if process:
            end(process)
        self._write(number, task, "cancelled" if cancelled else f"done {process.returncode}")

    def _start(self, job: Job, task: int) -> subprocess.Popen:
        def named(text: str) -> str:
            return text.replace("{task}", f"{task}").replace("{job}", f"{job.number}")

        words = [named(word) for word in job.command]
        env = {name: named(value) for name, value in job.env.items()}
        with ExitStack() as files:
            paths = [Path(job.directory, named(path)) for path in (job.out, job.err)]
            out, err = (files.enter_context(path.open("ab")) for path in paths)
            return subprocess.Popen(
                words, env=env, cwd=job.directory, stdout=out, stderr=err,
                stdin=subprocess.DEVNULL, start_new_session=True,
            )


def end(process: subprocess.Popen):
    """Ends what is left of a task's group of processes, gently first."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)


def few(*names: str) -> dict[str, str]:
    """Those of this process's variables."""
    return {name: os.environ[name] for name in names if name in os.environ}


def numbers(text: str) -> list[int]:
    """The indices in `1-4`, `1-7:2` or `1,3`."""
    found = []
    for part in text.split(","):
        span, _, step = part.partition(":")
        first, _, last = span.partition("-")
        found += range(int(first), int(last or first) + 1, int(step or 1))
    return found


if __name__ == "__main__":
    Queue(Path(sys.argv[1])).run(int(sys.argv[2]), int(sys.argv[3]))
