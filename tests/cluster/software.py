"""What the schedulers have in common here: a temporary folder, an environment that leads commands to
it, and an end that leaves no process."""

import os
import shlex
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import psutil

from cluster.processes import belonging_to, kill_all_belonging_to


class Software:
    """Something running in a folder of its own; a subclass starts it in `_start`."""

    # Names of the processes that are the software itself.
    OWN: Sequence[str] = ()

    def __init__(self):
        temporary = tempfile.TemporaryDirectory(prefix=f"parcell-{type(self).__name__.lower()}-")
        self.folder = Path(temporary.name)
        # The variables that a command needs; the folder's name in one finds what it left running.
        self.env = {"PARCELL_TEST_SOFTWARE": temporary.name}
        self._daemons: list[subprocess.Popen] = []
        with ExitStack() as ends:
            ends.callback(temporary.cleanup)
            ends.callback(self._kill)
            self._start()
            self._ends = ends.pop_all()

    def _start(self):
        raise NotImplementedError

    def popen(self, command: str | Sequence[str], **options) -> subprocess.Popen:
        """Starts a command, a line or words, with the software's variables in its environment."""
        words = shlex.split(command) if isinstance(command, str) else [str(w) for w in command]
        options = {"text": True, "cwd": self.folder, "env": os.environ | self.env} | options
        return subprocess.Popen(words, **options)

    def run(self, command: str | Sequence[str], timeout: float = 60, check: bool = True) -> str:
        """Runs a command to its end; what it wrote to stdout, without the last newline."""
        with self.popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            try:
                out, err = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        assert process.returncode == 0 or not check, f"{command}: {out}{err}"
        return out.rstrip("\n")

    def processes(self) -> list[psutil.Process]:
        """What users' commands left running, without the software itself."""
        found = []
        for process in belonging_to(self.folder):
            try:
                if process.name() not in self.OWN:
                    found.append(process)
            except psutil.NoSuchProcess:
                continue
        return found

    def close(self):
        """Ends the software, all that runs under it, and the folder."""
        self._ends.close()

    def _daemon(self, name: str, *arguments: str):
        """Starts a program that stays, and ends with the tests however these end."""
        path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
        with (self.folder / f"{name}.log").open("a") as log:
            daemon = self.popen(
                ["setpriv", "--pdeathsig", "TERM", "--", name, *arguments],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
                env=os.environ | self.env | {"PATH": path},
            )
        self._daemons.append(daemon)

    def _kill(self):
        kill_all_belonging_to(self.folder)
        for daemon in self._daemons:
            daemon.wait()
