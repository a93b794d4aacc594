#!/usr/bin/env python3
"""A cluster to play with, on one machine: notebook 08 runs in it, and anybody may.

    playground.py [--door PORT] COMMAND...

runs the command in the head of a cluster: `ssh h1`, `ssh h2`, `ssh h3` reach three hosts that have
nothing but a shell, a Slurm has the nodes n1 and n2, and mpiexec may start as many processes as it
likes. The head has this machine's files, and no network but the cluster's. With `--door` the
machine's port is led to the same port of the head, for a browser. All ends with the command.
"""

import argparse
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from cluster.hosts import WITH_US, Cluster, Host
from cluster.mpi import SETTINGS
from cluster.slurm import Slurm
from conftest import PLAYGROUND


class HeadSlurm(Slurm):
    """Slurm in the head of a cluster."""

    def __init__(self, head: Host):
        self.enter = [*head.enter, "env", "-C", "/"]
        super().__init__()


class Playground:
    """Three hosts, and a head with Slurm and MPI."""

    def __init__(self):
        self.cluster = Cluster(3)
        try:
            self.slurm = HeadSlurm(self.cluster.head)
        except BaseException:
            self.cluster.close()
            raise

    def popen(self, command: Sequence[str | Path], **options) -> subprocess.Popen:
        """Starts a command in the head, in this process's folder and with its environment."""
        env = os.environ | SETTINGS | self.slurm.env | {PLAYGROUND: "1"}
        enter = [*self.cluster.head.enter, "env", "-C", os.getcwd(), "-u", "JPY_PARENT_PID"]
        return subprocess.Popen([*enter, *map(str, command)], env=env, **options)

    def open_door(self, port: int, inside: int) -> subprocess.Popen:
        """Leads a port of this machine, on the loopback interface, to one of the head."""
        with socket.create_server(("127.0.0.1", port)) as listener:
            return open_door(self.cluster.head, listener, inside)

    def close(self):
        """Ends the cluster and all that runs on it."""
        self.slurm.close()
        self.cluster.close()


def open_door(host: Host, listener: socket.socket, port: int) -> subprocess.Popen:
    """Passes what comes to a listening socket of this network on to a port of a host; see `door.py`."""
    enter = ["nsenter", "--target", str(host.pid), "--net", "--"]
    words = [sys.executable, "-S", HERE / "door.py", listener.fileno(), port]
    return subprocess.Popen([*WITH_US, *enter, *map(str, words)], pass_fds=[listener.fileno()])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--door", type=int, metavar="PORT")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    given = parser.parse_args()
    with closing(Playground()) as playground:
        door = playground.open_door(given.door, given.door) if given.door else None
        try:
            status = playground.popen(given.command or ["bash"]).wait()
        finally:
            if door:
                door.kill()
                door.wait()
    sys.exit(status)


if __name__ == "__main__":
    main()
