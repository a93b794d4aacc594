"""What of the software that clusters are made of is installed."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

# Programs by what needs them, and the packages of Debian that have them.
PROGRAMS = {
    "hosts": {
        "ip": "iproute2", "ss": "iproute2", "ping": "iputils-ping", "ssh": "openssh-client",
        "/usr/sbin/sshd": "openssh-server", "unshare": "util-linux", "setpriv": "util-linux",
    },
    "Slurm": {
        "munged": "munge", "slurmctld": "slurm-wlm", "slurmd": "slurm-wlm", "srun": "slurm-wlm",
        "sbatch": "slurm-wlm", "salloc": "slurm-wlm", "scancel": "slurm-wlm",
    },
    "Grid Engine": {
        "sge_qmaster": "gridengine-master", "sge_execd": "gridengine-exec",
        "qconf": "gridengine-client", "qsub": "gridengine-client",
    },
    "JupyterHub": {
        "/usr/bin/python3": "python3-venv", "useradd": "passwd", "chpasswd": "passwd",
        "runuser": "util-linux", "rustup": "rustup",
    },
    "a home on another host": {"sshfs": "sshfs"},
    "MPI": {"mpiexec": "openmpi-bin", "mpicc": "libopenmpi-dev"},
}
PROGRAMS["MPI in cells"] = PROGRAMS["MPI"]
LIBCLANG = "usr/lib*/llvm*/lib*/libclang*.so*"
# What was asked for in vain, with the reason: the closing line of a test run names it.
missed: dict[str, str] = {}


def need(what: str):
    """Skips the test, and has the closing line say so, where something is missing."""
    if reason := missing(what):
        missed[what] = reason
        pytest.skip(f"not run: {what} ({reason})")


def missing(what: str) -> str | None:
    """What keeps it from running here."""
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    absent = [name for name in PROGRAMS[what] if not shutil.which(name, path=path)]
    if absent:
        packages = sorted({PROGRAMS[what][name] for name in absent})
        names = ", ".join(os.path.basename(name) for name in absent)
        verb = "is" if len(absent) == 1 else "are"
        return f"{names} {verb} not installed: apt-get install {' '.join(packages)}"
    if what == "MPI in cells" and not any(Path("/").glob(LIBCLANG)):
        return "libclang is not installed: apt-get install libclang-dev"
    if what == "Grid Engine" and os.geteuid() != 0:
        return "a Grid Engine in a folder of its own needs root"
    if what == "JupyterHub":
        return missing("hosts") or python_missing()
    return namespaces_missing() if what == "hosts" else None


def python_missing() -> str | None:
    """Why no Python environment can be made that all users can read."""
    command = ["/usr/bin/python3", "-c", "import venv, ensurepip"]
    if subprocess.run(command, capture_output=True).returncode:
        return "/usr/bin/python3 has no venv: apt-get install python3-venv"
    return None


def namespaces_missing() -> str | None:
    """Why this process cannot make hosts."""
    if os.geteuid() != 0:
        return "making network namespaces needs root"
    command = ["unshare", "--net", "--uts", "--ipc", "--pid", "--fork", "--mount", "true"]
    if (result := subprocess.run(command, capture_output=True, text=True)).returncode:
        return result.stderr.strip()
    return None
