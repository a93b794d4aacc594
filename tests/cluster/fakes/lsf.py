"""`bsub`, `bkill` and `bjobs` as of LSF."""

import argparse
import os
import re
import sys

from cluster.fakes.queue import Job, Queue, Refused, few, numbers

STATES = {"queued": "PEND", "running": "RUN", "done 0": "DONE"}
VALUES = "J n q W o e oo eo R M P cwd env m app sla w L".split()


def bsub(words: list[str], queue: Queue):
    """`bsub [OPTIONS] [COMMAND…]`; without a command, the script is read from stdin."""
    options = parse(words)
    command = options.command
    if command:
        # LSF joins the words and gives the line to a shell.
        command = ["/bin/sh", "-c", " ".join(command)]
    else:
        text = sys.stdin.read()
        lines = re.findall(r"^#BSUB\s+(.*)$", text, re.M)
        words = [word.strip("\"'") for line in lines for word in line.split()] + words
        options, command = parse(words), ["/bin/sh", queue.keep(text)]
    name, array = re.fullmatch(r"([^\[]*)(?:\[([^\]]*)\].*)?", options.J or "job").groups()
    out = placeholders(options.o or options.oo or "/dev/null")
    number = queue.submit(Job(
        command=command, name=name, queue=options.q or "normal",
        env=environment(options, name, bool(array), queue), directory=options.cwd or os.getcwd(),
        out=out, err=placeholders(options.e or options.eo or "") or out,
        tasks=numbers(array) if array else [0], asked=words,
    ))
    where = f"queue <{options.q}>" if options.q else "default queue <normal>"
    print(f"Job <{number}> is submitted to {where}.")


def parse(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("bsub", allow_abbrev=False, add_help=False)
    for name in VALUES:
        parser.add_argument(f"-{name}")
    parser.add_argument("-x", action="store_true")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    return parser.parse_args(words)


def placeholders(path: str) -> str:
    return path.replace("%J", "{job}").replace("%I", "{task}")


def environment(
    options: argparse.Namespace, name: str, is_array: bool, queue: Queue
) -> dict[str, str]:
    """What a job sees: all of the submitter's variables, unless `-env` says otherwise."""
    words = (options.env or "all").split(",")
    env = dict(os.environ) if "all" in words else few("HOME", "PATH", "USER", "LANG")
    for word in (word.strip() for word in words if "=" in word):
        env[word.partition("=")[0]] = word.partition("=")[2]
    count, host = (options.n or "1").split(",")[0], os.uname().nodename
    return {
        **env, "LSB_JOBID": "{job}", "LSB_BATCH_JID": "{job}" + "[{task}]" * is_array,
        "LSB_JOBINDEX": "{task}", "LSB_JOBNAME": f"{name}[{{task}}]" if is_array else name,
        "LSB_QUEUE": options.q or "normal", "LSB_DJOB_NUMPROC": count, "LSB_SUB_HOST": host,
        "LSB_HOSTS": " ".join([host] * int(count)), "LSB_MCPU_HOSTS": f"{host} {count}",
        "LS_SUBCWD": os.getcwd(), "PARCELL_TEST_SOFTWARE": str(queue.folder),
    }


def tasks_of(word: str, queue: Queue, answer: str) -> tuple[Job, list[int]]:
    """The tasks that `123`, `123[2]` or `123[1-3]` names."""
    found = re.fullmatch(r"(\d+)(?:\[([^\]]*)\])?", word)
    job = queue.job(int(found[1])) if found else None
    if not job:
        raise Refused(answer.format(word), 255)
    return job, numbers(found[2]) if found[2] else job.tasks


def bkill(words: list[str], queue: Queue):
    """`bkill ID…`."""
    for word in (word for word in words if word[0].isdigit()):
        job, tasks = tasks_of(word, queue, "Job <{}>: No matching job found")
        if all(queue.is_over(job.number, task) for task in tasks):
            raise Refused(f"Job <{word}>: Job has already finished", 255)
        for task in tasks:
            queue.cancel(job.number, task)
        print(f"Job <{word}> is being terminated")


def bjobs(words: list[str], queue: Queue):
    """`bjobs [-a] [-noheader] [-o FIELDS] [ID…]`: a table, or the fields asked for."""
    parser = argparse.ArgumentParser("bjobs", allow_abbrev=False, add_help=False)
    for name in ("a", "w", "A", "noheader"):
        parser.add_argument(f"-{name}", action="store_true")
    parser.add_argument("-o")
    parser.add_argument("ids", nargs="*")
    options = parser.parse_args(words)
    rows = list(queue.all())
    if options.ids:
        named = [tasks_of(word, queue, "Job <{}> is not found") for word in options.ids]
        chosen = {(job.number, task) for job, tasks in named for task in tasks}
        rows = [row for row in rows if (row[0].number, row[1]) in chosen]
    elif not options.a:
        rows = [row for row in rows if not queue.is_over(row[0].number, row[1])]
    if not rows:
        print("No unfinished job found", file=sys.stderr)
        return
    fields = (options.o or "jobid user stat queue from_host exec_host job_name submit_time").split()
    fields = [name for name in fields if not name.startswith("delimiter")]
    if not options.noheader:
        print("".join(f"{name.upper():<12}" for name in fields).rstrip())
    for row in rows:
        values = describe(*row)
        print("".join(f"{values.get(name, '-'):<11} " for name in fields).rstrip())


def describe(job: Job, task: int, state: str) -> dict[str, str]:
    """What the columns of `bjobs` say."""
    host, name = os.uname().nodename, f"{job.name}[{task}]" if job.tasks != [0] else job.name
    return {
        "jobid": f"{job.number}", "jobindex": f"{task}", "user": os.environ.get("USER", "root"),
        "stat": STATES.get(state, "EXIT"), "queue": job.queue, "from_host": host, "job_name": name,
        "exec_host": host if state == "running" else "-", "submit_time": "Jan  1 00:00",
    }


COMMANDS = {"bsub": bsub, "bkill": bkill, "bjobs": bjobs}
