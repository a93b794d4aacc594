"""`condor_submit`, `condor_rm` and `condor_q` as of HTCondor."""

import argparse
import os
import re
import shlex
import sys
from pathlib import Path

from cluster.fakes.queue import Job, Queue, Refused, few

# Of what is in the queue.
STATES = {"queued": "1", "running": "2"}


def condor_submit(words: list[str], queue: Queue):
    """`condor_submit [-terse] [FILE] [NAME=VALUE…]`; without a file, or `-`, stdin is read."""
    parser = argparse.ArgumentParser("condor_submit", allow_abbrev=False, add_help=False)
    parser.add_argument("-terse", action="store_true")
    parser.add_argument("-batch-name")
    parser.add_argument("rest", nargs="*")
    options = parser.parse_args(words)
    file = next((word for word in options.rest if "=" not in word), "-")
    text = sys.stdin.read() if file == "-" else Path(file).read_text()
    extra = [word for word in options.rest if "=" in word]
    count, values = description("\n".join([*extra, text]))
    if "executable" not in values:
        raise Refused("ERROR: No 'executable' parameter was provided")
    number = queue.submit(job(values, count, options.batch_name, text, queue))
    if options.terse:
        print(f"{number}.0 - {number}.{count - 1}")
    else:
        print(f"Submitting job(s){'.' * count}\n{count} job(s) submitted to cluster {number}.")


def description(text: str) -> tuple[int, dict[str, str]]:
    """How many jobs a submit description asks for, and its values, macros of them filled in."""
    values, count = {}, None
    for line in text.replace("\\\n", "").splitlines():
        if found := re.fullmatch(r"\s*queue\b\s*(\d*)\s*", line, re.I):
            count = int(found[1] or 1)
        elif found := re.fullmatch(r"\s*([+\w.]+)\s*=\s*(.*?)\s*", line):
            values[found[1].lower()] = found[2]
    if count is None:
        raise Refused("ERROR: no 'queue' statement found in the submit description")
    for name in values:
        values[name] = macros(values[name], values)
    return count, values


def macros(text: str, values: dict[str, str]) -> str:
    known = {"cluster": "{job}", "clusterid": "{job}", "process": "{task}", "procid": "{task}"}

    def value(found: re.Match) -> str:
        name = found[1].lower()
        return known.get(name) or values.get(name, "")

    return re.sub(r"\$\((\w+)\)", value, text)


def job(values: dict[str, str], count: int, name: str | None, text: str, queue: Queue) -> Job:
    all_of_it = values.get("getenv", "").lower() == "true"
    env = dict(os.environ) if all_of_it else few("HOME", "PATH", "USER", "LANG")
    for word in shlex.split(values.get("environment", "").strip('"')):
        env[word.partition("=")[0]] = word.partition("=")[2]
    env |= {"_CONDOR_SLOT": "slot1_{task}", "PARCELL_TEST_SOFTWARE": str(queue.folder)}
    directory = values.get("initialdir", os.getcwd())
    return Job(
        command=[str(Path(directory, values["executable"])), *arguments(values.get("arguments", ""))],
        name=name or values.get("batch_name", "job"), queue="vanilla", env=env, directory=directory,
        out=values.get("output", "/dev/null"), err=values.get("error", "/dev/null"),
        tasks=list(range(count)), asked=text.splitlines(),
    )


def arguments(text: str) -> list[str]:
    """In double quotes, blanks in single quotes are kept; else every blank separates."""
    return shlex.split(text[1:-1]) if text.startswith('"') else text.split()


def chosen(word: str, queue: Queue) -> list[tuple[int, int]]:
    """The unfinished tasks that `5` or `5.1` names."""
    cluster, _, process = word.partition(".")
    return [
        (job.number, task) for job, task, state in queue.all()
        if f"{job.number}" == cluster and process in ("", f"{task}") and state in STATES
    ]


def condor_rm(words: list[str], queue: Queue):
    """`condor_rm ID…`."""
    for word in (word for word in words if word[0].isdigit()):
        tasks = chosen(word, queue)
        if not tasks:
            whole = "Job" if "." in word else "all jobs in cluster"
            raise Refused(f"Couldn't find/remove {whole} {word}")
        for number, task in tasks:
            queue.cancel(number, task)
        if "." in word:
            print(f"Job {word} marked for removal")
        else:
            print(f"All jobs in cluster {word} have been marked for removal")


def condor_q(words: list[str], queue: Queue):
    """`condor_q [ID…] [-af ATTRIBUTE…]`: the attributes of unfinished jobs, one a line."""
    at = next((n for n, word in enumerate(words) if word in ("-af", "-autoformat")), len(words))
    attributes = words[at + 1 :] or ["ClusterId", "ProcId", "JobStatus"]
    ids = [word for word in words[:at] if word[0].isdigit()]
    for job, task, state in queue.all():
        if state not in STATES or ids and not any((job.number, task) in chosen(i, queue) for i in ids):
            continue
        values = {"ClusterId": job.number, "ProcId": task, "JobBatchName": job.name}
        values["JobStatus"] = STATES[state]
        print(*(values.get(name, "undefined") for name in attributes))


COMMANDS = {"condor_submit": condor_submit, "condor_rm": condor_rm, "condor_q": condor_q}
