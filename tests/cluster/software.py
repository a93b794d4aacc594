"""What the schedulers have in common here: a temporary folder, an environment that leads commands to
it, and an end that leaves no process."""

import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import psutil

from cluster.processes import belonging_to, descendants, living


def kept_folder(name: str) -> tuple[Path, subprocess.Popen]:
    """A temporary folder and its keeper, see `keeper.py`, which outlives the tests if they are
    killed. An interrupt of theirs is not for it."""
    folder = Path(tempfile.mkdtemp(prefix=f"parcell-{name}-"))
    keeper = subprocess.Popen(
        [sys.executable, Path(__file__).parent / "keeper.py", folder],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
    )
    assert keeper.stdout.readline() == "ready\n", "no keeper of daemons"
    return folder, keeper


def end_of_folder(keeper: subprocess.Popen):
    """Has the keeper end all that its folder has to do with, and remove it; waits until it has."""
    keeper.communicate()
    assert keeper.returncode == 0, "something does not end"


class Software:
    """Something running in a folder of its own; a subclass starts it in `_start`."""

    # Names of the processes that are the software itself.
    OWN: Sequence[str] = ()
    # What stands before each of its commands, where it is to run on another host.
    enter: Sequence[str] = ()

    def __init__(self):
        self.folder, self._keeper = kept_folder(type(self).__name__.lower())
        # The variables that a command needs; the folder's name in one finds what it left running.
        self.env = {"PARCELL_TEST_SOFTWARE": str(self.folder)}
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def _start(self):
        raise NotImplementedError

    def popen(self, command: str | Sequence[str], **options) -> subprocess.Popen:
        """Starts a command, a line or words, with the software's variables in its environment."""
        words = shlex.split(command) if isinstance(command, str) else [str(w) for w in command]
        options = {"text": True, "cwd": self.folder, "env": os.environ | self.env} | options
        return subprocess.Popen([*self.enter, *words], **options)

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

    def processes(self, name: str = "") -> list[psutil.Process]:
        """What users' commands have running, or what of it has the name; without the software
        itself."""
        found = []
        started = descendants(psutil.Process(self._keeper.pid))
        for process in {*belonging_to(self.folder), *living(started)}:
            if process.pid == self._keeper.pid:
                continue
            try:
                its_name = process.name()
            except psutil.NoSuchProcess:
                continue
            if its_name not in self.OWN and name in ("", its_name):
                found.append(process)
        return found

    def close(self):
        """Ends the software, all that runs under it, and the folder."""
        end_of_folder(self._keeper)

    def _daemon(self, name: str, *arguments: str, enter: Sequence[str] | None = None):
        """Starts a program that stays until the end, and writes to a log of its name; `enter` stands
        before it in place of what stands before all commands."""
        path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
        variables = [f"{name}={value}" for name, value in {**self.env, "PATH": path}.items()]
        line = [f"{name}.log", *(self.enter if enter is None else enter), "env", *variables, name, *arguments]
        self._keeper.stdin.write(json.dumps(line) + "\n")
        self._keeper.stdin.flush()
