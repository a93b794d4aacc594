"""Batch systems that Debian does not have, played by the commands in `fakes`."""

import importlib
import os
import shlex
import sys
from pathlib import Path

from cluster.fakes.queue import Job, Queue
from cluster.software import Software

SCRIPT = "#!/bin/sh\nexec {program} {folder} {flavour} {name} \"$@\"\n"


class Batch(Software):
    """One batch system: its commands come first on the path."""

    FLAVOUR = ""

    def hold(self):
        """Lets nothing start until `release`."""
        (self.folder / "hold").touch()

    def release(self):
        """Lets what waits start."""
        (self.folder / "hold").unlink()

    def refuse(self, text: str):
        """Has submitting fail with this text from now on."""
        (self.folder / "refuse").write_text(text)

    def jobs(self) -> dict[str, str]:
        """States of all tasks that were ever submitted, named `101.2`: `queued`, `running`,
        `done CODE` or `cancelled`. A job that is no array has task 0."""
        return {f"{job.number}.{task}": state for job, task, state in self.queue.all()}

    def asked(self) -> list[Job]:
        """What was submitted, in order, with all options."""
        return list({job.number: job for job, _, _ in self.queue.all()}.values())

    def _start(self):
        self.queue = Queue(self.folder)
        (self.folder / "bin").mkdir()
        self.env["PATH"] = f"{self.folder}/bin:{os.environ['PATH']}"
        front = Path(__file__).parent / "fakes" / "__main__.py"
        program = shlex.join([sys.executable, "-S", str(front)])
        for name in importlib.import_module(f"cluster.fakes.{self.FLAVOUR}").COMMANDS:
            path = self.folder / "bin" / name
            path.write_text(SCRIPT.format(
                program=program, folder=self.folder, flavour=self.FLAVOUR, name=name,
            ))
            path.chmod(0o755)


class Pbs(Batch):
    """OpenPBS, as far as `qsub`, `qdel` and `qstat` show it."""

    FLAVOUR = "pbs"


class Lsf(Batch):
    """LSF, as far as `bsub`, `bkill` and `bjobs` show it."""

    FLAVOUR = "lsf"


class Condor(Batch):
    """HTCondor, as far as `condor_submit`, `condor_rm` and `condor_q` show it."""

    FLAVOUR = "condor"
