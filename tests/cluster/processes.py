"""Processes that belong to something that a test started, however far they went from it."""

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil


def belonging_to(folder: Path) -> list[psutil.Process]:
    """Processes that name the folder in their environment or command line, and all that those
    started, this one aside. A daemon inherits the environment, and a scheduler names its folder
    to its jobs."""
    found = {}
    for process in psutil.process_iter():
        if process.pid != os.getpid() and names(process.pid, folder):
            found |= {one.pid: one for one in [process, *descendants(process)]}
    return list(living(found.values()))


def names(process: int, folder: Path) -> bool:
    """Whether the process was started with the folder in a variable or an argument."""
    # psutil's own reading stops where a process wrote its title over its environment.
    with suppress(OSError):
        texts = (Path(f"/proc/{process}/{part}").read_bytes() for part in ("cmdline", "environ"))
        return any(os.fsencode(folder) in text for text in texts)
    return False


def descendants(process: psutil.Process) -> list[psutil.Process]:
    """Everything that the process started, and they, unless it just ended."""
    with suppress(psutil.Error):
        return process.children(recursive=True)
    return []


def living(processes) -> Iterator[psutil.Process]:
    """Those that still run; one that only waits to be reaped does not."""
    for process in processes:
        with suppress(psutil.Error):
            if process.status() != psutil.STATUS_ZOMBIE:
                yield process


def kill_all(folder: Path, timeout: float = 10):
    """Ends what belongs to the folder and what this process started, and what they start meanwhile."""
    deadline = time.monotonic() + timeout
    me = psutil.Process()
    while left := {*belonging_to(folder), *living(descendants(me))}:
        if time.monotonic() > deadline:
            raise TimeoutError(f"they do not end: {left}")
        for process in left:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        time.sleep(0.01)
