"""Starts daemons, and ends them with all that they started when the tests no longer want them.

    keeper.py FOLDER

Each line on stdin is a JSON list: the name of a log in FOLDER, then a command. When stdin is
closed, as it also is when the tests are killed, everything that was started here ends, and all
else that has to do with FOLDER; then FOLDER is removed. Daemons cannot leave: whoever loses its
parent becomes a child of this process.
"""

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])
from cluster.processes import kill_all  # noqa: E402

PR_SET_CHILD_SUBREAPER = 36


def reap(*_):
    """Takes note of the end of children, also of those that others left."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def start(log: str, *words: str):
    with open(log, "a") as log:
        subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )


def main(folder: Path):
    os.chdir(folder)
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGCHLD, reap)
    print("ready", flush=True)
    for line in sys.stdin:
        start(*json.loads(line))
    kill_all(folder)
    os.chdir("/")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
