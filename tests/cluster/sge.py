"""Grid Engine on this machine: a master and an execution daemon, in one folder."""

import os
import socket
import subprocess
from pathlib import Path

from cluster.slurm import free_ports
from cluster.software import Software
from conftest import wait_until

LIBRARY = Path("/usr/lib/gridengine")
DEFAULTS = Path("/usr/share/gridengine")
BOOTSTRAP = """\
admin_user root
default_domain none
ignore_fqdn false
spooling_method berkeleydb
spooling_lib libspoolb
spooling_params {folder}/spool
binary_path /usr/sbin
qmaster_spool_dir {folder}/master
security_mode none
listener_threads 2
worker_threads 2
scheduler_threads 1
"""
# A queue has more properties; these take the place of the defaults. It also takes jobs while the
# machine is busy.
QUEUE = {"hostlist": "localhost", "slots": "8", "pe_list": "smp", "shell": "/bin/sh",
         "load_thresholds": "NONE"}
# What the scheduler notices, it does at once.
SCHEDULER = {"schedule_interval": "0:0:1", "flush_submit_sec": "1", "flush_finish_sec": "1",
             "job_load_adjustments": "NONE"}
ENVIRONMENT = """\
pe_name smp
slots 999
user_lists NONE
xuser_lists NONE
start_proc_args NONE
stop_proc_args NONE
allocation_rule $pe_slots
control_slaves FALSE
job_is_first_task TRUE
urgency_slots min
accounting_summary FALSE
qsort_args NONE
"""


class Sge(Software):
    """A running Grid Engine with the queue `all.q` of eight slots on this machine, and the parallel
    environment `smp`."""

    OWN = ("sge_qmaster", "sge_execd", "sge_shepherd")

    def jobs(self) -> dict[str, str]:
        """The states of all jobs that are not finished, as `qstat` names them; a task of an array
        is called `1.2`."""
        states = {}
        for row in (line.split() for line in self.run("qstat -g d").splitlines()[2:]):
            columns = 9 if "@" in row[7] else 8
            states[".".join([row[0], *row[columns:]])] = row[4]
        return states

    def _start(self):
        master, execution = map(str, free_ports(2))
        self.env |= {
            "SGE_ROOT": str(self.folder), "SGE_CELL": "default", "SGE_ND": "1",
            "SGE_QMASTER_PORT": master, "SGE_EXECD_PORT": execution,
        }
        self._write_files()
        self._fill_spool()
        self._daemon("sge_qmaster")
        wait_until(lambda: self._configure("-sh"), f"the master answers; see {self.folder}", 30)
        self._configure("-as", "localhost")
        self._daemon("sge_execd")
        self._configure("-Ap", self._file("smp", ENVIRONMENT))
        self._make_queue()
        self._tune_scheduler()
        wait_until(self._is_ready, f"the queue has a host; see {self.folder}", 30)

    def _file(self, name: str, text: str) -> Path:
        (self.folder / name).write_text(text)
        return self.folder / name

    def _write_files(self):
        for name in ("default/common", "master/job_scripts", "spool", "execution"):
            (self.folder / name).mkdir(parents=True)
        (self.folder / "util").symlink_to(DEFAULTS / "util")
        for name in ("bin", "lib"):
            (self.folder / name).symlink_to(f"/var/lib/gridengine/{name}")
        common = "default/common"
        self._file(f"{common}/act_qmaster", "localhost\n")
        self._file(f"{common}/host_aliases", f"localhost {socket.gethostname()}\n")
        self._file(f"{common}/bootstrap", BOOTSTRAP.format(folder=self.folder))

    def _fill_spool(self):
        changes = {"execd_spool_dir": self.folder / "execution", "min_uid": 0, "min_gid": 0,
                   "load_report_time": "00:00:01"}
        text = changed((DEFAULTS / "default-configuration").read_text(), changes)
        resources = DEFAULTS / "util/resources"
        self.run([LIBRARY / "spoolinit", "berkeleydb", "libspoolb", self.folder / "spool", "init"])
        for kind, source in {
            "configuration": self._file("configuration", text),
            "complexes": resources / "centry", "usersets": resources / "usersets", "managers": "root",
        }.items():
            self.run([LIBRARY / "spooldefaults", kind, source])

    def _configure(self, *arguments) -> bool:
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return self.popen(["qconf", *arguments], **quiet).wait(30) == 0

    def _make_queue(self):
        # The template is shown in an editor; this one keeps what it would show.
        keep = self._file("keep", f'#!/bin/sh\ncp "$1" {self.folder}/queue\n')
        keep.chmod(0o700)
        self.popen(
            ["qconf", "-aq", "all.q"], env=os.environ | self.env | {"EDITOR": str(keep)},
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        ).wait(30)
        queue = (self.folder / "queue").read_text()
        assert self._configure("-Aq", self._file("queue", changed(queue, QUEUE))), "no queue"

    def _tune_scheduler(self):
        scheduler = self._file("scheduler", changed(self.run("qconf -ssconf") + "\n", SCHEDULER))
        assert self._configure("-Msconf", scheduler), "the scheduler is not configured"

    def _is_ready(self) -> bool:
        queues = [line.split() for line in self.run("qstat -f").splitlines() if "all.q@" in line]
        return any(row[4].startswith("lx") and len(row) == 5 for row in queues)


def changed(text: str, values: dict) -> str:
    """A file of lines `name value` with some values replaced."""
    lines = (line.split(maxsplit=1) for line in text.splitlines() if not line.startswith("#"))
    return "".join(f"{name} {values.get(name, *rest)}\n" for name, *rest in lines)
