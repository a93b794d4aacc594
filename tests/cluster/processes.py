"""Processes that belong to something that a test started, however far they went from it."""

import os
from pathlib import Path

import psutil

from conftest import alive, wait_until


def belonging_to(folder: Path) -> list[psutil.Process]:
    """Processes that name the folder in their environment or command line, and all that those
    started. A daemon inherits the environment, and a scheduler names its folder to its jobs."""
    found = {}
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and alive(process) and names(process, str(folder)):
                found |= {one.pid: one for one in [process, *process.children(recursive=True)]}
        except (psutil.Error, OSError):
            continue  # it ended, or is the system's
    return [process for process in found.values() if alive(process)]


def names(process: psutil.Process, folder: str) -> bool:
    """Whether the process was started with the folder in a variable or an argument."""
    return any(folder in text for text in [*process.cmdline(), *process.environ().values()])


def kill_all_belonging_to(folder: Path):
    """Ends them, and those that they start meanwhile."""

    def none_left() -> bool:
        for process in (left := belonging_to(folder)):
            process.kill()
        return not left

    wait_until(none_left, f"processes of {folder} end")
