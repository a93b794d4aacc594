"""`qsub`, `qdel` and `qstat` as of OpenPBS, with Torque's `-t` and its variable."""

import argparse
import os
import re
import sys
from pathlib import Path

from cluster.fakes.queue import Job, Queue, Refused, few, numbers

SERVER = "server"
LETTERS = {"queued": "Q", "running": "R"}
VALUES = "N q A o e j S W v d w P p r m M J t".split()
HEADER = """\
Job id            Name             User              Time Use S Queue
----------------  ---------------- ----------------  -------- - -----"""


def qsub(words: list[str], queue: Queue):
    """`qsub [OPTIONS] [SCRIPT | -- COMMAND…]`; without either, the script is read from stdin."""
    if "--" in words:
        at = words.index("--")
        words, command = words[:at], words[at + 1 :]
    else:
        path = parse(words).script
        text = Path(path).read_text() if path else sys.stdin.read()
        lines = re.findall(r"^#PBS\s+(.*)$", text, re.M)
        # The command line comes last, since it wins over the script.
        words = [word for line in lines for word in line.split()] + words
        command = [parse(words).S or "/bin/sh", queue.keep(text)]
    options = parse(words)
    array = options.J or options.t
    number = queue.submit(Job(
        command=command, name=options.N or (Path(options.script).name if options.script else "STDIN"),
        queue=options.q or "workq", env=environment(options, queue), directory=os.getcwd(),
        **outputs(options, bool(array)), tasks=numbers(array) if array else [0], asked=words,
    ))
    print(f"{number}{'[]' if array else ''}.{SERVER}")


def parse(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("qsub", allow_abbrev=False, add_help=False)
    for name in VALUES:
        parser.add_argument(f"-{name}")
    parser.add_argument("-l", action="append", default=[])
    parser.add_argument("-V", action="store_true")
    parser.add_argument("script", nargs="?")
    return parser.parse_args(words)


def outputs(options: argparse.Namespace, is_array: bool) -> dict[str, str]:
    """Where the two streams go: beside the submission, unless told otherwise."""
    name = options.N or (Path(options.script).name if options.script else "STDIN")
    end = ".{task}" if is_array else ""
    out = options.o or f"{name}.o{{job}}{end}"
    err = out if options.j == "oe" else options.e or f"{name}.e{{job}}{end}"
    return {"out": out, "err": err}


def environment(options: argparse.Namespace, queue: Queue) -> dict[str, str]:
    """What a job sees: little of the submitter's variables, unless `-V` or `-v` name them."""
    kept = os.environ if options.V else few("HOME", "PATH", "USER", "LOGNAME", "LANG")
    named = {}
    for word in filter(None, (options.v or "").split(",")):
        name, given, value = word.partition("=")
        named[name] = value if given else os.environ.get(name, "")
    is_array = options.J or options.t
    (queue.folder / "nodefile").write_text(f"{os.uname().nodename}\n")
    array = {
        "PBS_ARRAY_INDEX": "{task}", "PBS_ARRAYID": "{task}", "PBS_ARRAY_ID": f"{{job}}[].{SERVER}",
    } if is_array else {}
    own = {
        "PBS_JOBID": f"{{job}}{'[{task}]' if is_array else ''}.{SERVER}",
        "PBS_JOBNAME": options.N or "STDIN",
        "PBS_QUEUE": options.q or "workq", "PBS_ENVIRONMENT": "PBS_BATCH", "PBS_SERVER": SERVER,
        "PBS_O_WORKDIR": os.getcwd(), "PBS_O_HOST": os.uname().nodename,
        "PBS_O_HOME": os.environ.get("HOME", ""), "PBS_O_PATH": os.environ.get("PATH", ""),
        "PBS_NODEFILE": f"{queue.folder}/nodefile", "NCPUS": "1",
    }
    return {**kept, **named, **own, **array, "PARCELL_TEST_SOFTWARE": str(queue.folder)}


def tasks_of(word: str, queue: Queue) -> tuple[Job, list[int]]:
    """The tasks that `123`, `123.server`, `123[].server` or `123[2]` names."""
    found = re.fullmatch(r"(\d+)(\[(\d*)\])?(\..*)?", word)
    job = queue.job(int(found[1])) if found else None
    if not job:
        raise Refused(f"Unknown Job Id {word}", 153)
    return job, [int(found[3])] if found[3] else job.tasks


def qdel(words: list[str], queue: Queue):
    """`qdel [-W force] ID…`."""
    for word in (word for word in words if word[0].isdigit()):
        try:
            job, tasks = tasks_of(word, queue)
            if all(queue.is_over(job.number, task) for task in tasks):
                raise Refused(f"Job has finished {word}", 35)
        except Refused as refused:
            raise Refused(f"qdel: {refused}", refused.code) from None
        for task in tasks:
            queue.cancel(job.number, task)


def qstat(words: list[str], queue: Queue):
    """`qstat [-x] [-f] [ID…]`: a table, or all about each."""
    rows = []
    for word in [word for word in words if not word.startswith("-")]:
        try:
            job, tasks = tasks_of(word, queue)
        except Refused as refused:
            raise Refused(f"qstat: {refused}", refused.code) from None
        if "-x" not in words and all(queue.is_over(job.number, task) for task in tasks):
            history = "use -x or -H to obtain historical job information"
            raise Refused(f"qstat: {word} Job has finished, {history}", 35)
        rows += [(job, task, queue.state(job.number, task)) for task in tasks]
    if not any(not word.startswith("-") for word in words):
        rows = [row for row in queue.all() if "-x" in words or not queue.is_over(row[0].number, row[1])]
    if rows and "-f" not in words:
        print(HEADER)
    for job, task, state in rows:
        name = f"{job.number}{f'[{task}]' if job.tasks != [0] else ''}.{SERVER}"
        letter, user = LETTERS.get(state, "F"), os.environ.get("USER", "root")
        if "-f" in words:
            print(f"Job Id: {name}\n    Job_Name = {job.name}\n    Job_Owner = {user}@{SERVER}")
            print(f"    job_state = {letter}\n    queue = {job.queue}\n")
        else:
            print(f"{name:<17} {job.name[:15]:<16} {user:<17} {'00:00:00':>8} {letter} {job.queue}")


COMMANDS = {"qsub": qsub, "qdel": qdel, "qstat": qstat}
