"""`qsub`, `qdel` and `qstat` as of OpenPBS and Torque."""

import argparse
import os
import re
import socket
import sys
from pathlib import Path

from cluster.fakes.queue import Job, Queue, Refused, numbers

SERVER = "server"
LETTERS = {"queued": "Q", "running": "R"}


def qsub(words: list[str], queue: Queue):
    """`qsub [OPTIONS] [SCRIPT | -- COMMAND…]`; without either, the script is read from stdin."""
    command = words[words.index("--") + 1:] if "--" in words else None
    words = words[: words.index("--")] if "--" in words else words
    options, script = parse(words)
    if command is None:
        text = Path(script).read_text() if script else sys.stdin.read()
        asked = re.findall(r"^#PBS\s+(.*)$", text, re.M)
        # The command line wins over the script.
        words = [word for line in asked for word in line.split()] + words
        options, script = parse(words)
    number = queue.submit(make_job(options, words, command, script, queue))
    if command is None:
        (queue.jobs / f"{number}.script").write_text(text)
    print(f"{number}{'[]' if options.J else ''}.{SERVER}")


def parse(words: list[str]) -> tuple[argparse.Namespace, str | None]:
    parser = argparse.ArgumentParser("qsub", allow_abbrev=False, add_help=False)
    for name in ("N", "q", "A", "o", "e", "j", "S", "W", "v", "d", "w", "P", "p", "r", "m", "M"):
        parser.add_argument(f"-{name}")
    parser.add_argument("-l", action="append", default=[])
    parser.add_argument("-J", "-t")
    parser.add_argument("-V", action="store_true")
    parser.add_argument("script", nargs="?")
    options = parser.parse_args(words)
    return options, options.script
