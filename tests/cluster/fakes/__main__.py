"""`__main__.py FOLDER FLAVOUR COMMAND WORDS…`: what the scripts on the path run."""

import importlib
import sys
from pathlib import Path

# Not by a variable, which jobs would inherit.
sys.path[0] = str(Path(__file__).resolve().parents[2])
from cluster.fakes.queue import Queue, Refused  # noqa: E402

folder, flavour, command, *words = sys.argv[1:]
commands = importlib.import_module(f"cluster.fakes.{flavour}").COMMANDS
try:
    commands[command](words, Queue(Path(folder)))
except Refused as refused:
    print(refused, file=sys.stderr)
    sys.exit(refused.code)
