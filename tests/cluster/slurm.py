"""Slurm on this machine: a controller and two nodes with names of their own, in one folder."""

import os
import pwd
import socket
from contextlib import ExitStack

from cluster.hosts import Cluster
from cluster.software import Software
from conftest import wait_until

# What waits for the scheduler waits for no clock; a node has more CPUs than the machine may have.
CONFIGURATION = """\
ClusterName=parcell
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CryptoType=crypto/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=1,batch_sched_delay=0,sched_min_interval=0,bf_interval=1
PriorityType=priority/basic
ReturnToService=2
CompleteWait=0
KillWait=2
MinJobAge=60
MpiDefault=none
SwitchType=switch/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
NodeName=n1 NodeHostname=localhost NodeAddr=127.0.0.1 Port={ports[1]} CPUs=4 RealMemory=1000
NodeName=n2 NodeHostname=localhost NodeAddr=127.0.0.1 Port={ports[2]} CPUs=4 RealMemory=1000
PartitionName=debug Nodes=n1,n2 Default=YES MaxTime=60 DefaultTime=10 State=UP OverSubscribe=NO
PartitionName=closed Nodes=n1,n2 MaxTime=60 DefaultTime=10 State=DOWN
"""


class Slurm(Software):
    """A running Slurm with the nodes `n1` and `n2` of four CPUs each, and the partitions `debug` and
    `closed`, where jobs stay pending."""

    OWN = ("munged", "slurmctld", "slurmd", "slurmstepd")

    def jobs(self) -> dict[int, str]:
        """The states of all jobs that are not finished, as `squeue` names them."""
        lines = self.run("squeue --noheader --format=%A:%T").split()
        return {int(job): state for job, state in (line.split(":") for line in lines)}

    def _start(self):
        self.env["SLURM_CONF"] = str(self.folder / "slurm.conf")
        self._configure()
        self._start_munge()
        self._daemon("slurmctld", "-D", "-i")
        self._start_nodes()
        wait_until(self._is_ready, f"both nodes are idle; see {self.folder}", 30)

    def _start_nodes(self):
        for node in ("n1", "n2"):
            self._daemon("slurmd", "-D", "-N", node)

    def _configure(self):
        user = pwd.getpwuid(os.getuid()).pw_name
        for name in ("state", "spool-n1", "spool-n2"):
            (self.folder / name).mkdir()
        values = {"folder": self.folder, "user": user, "ports": free_ports(3)}
        (self.folder / "slurm.conf").write_text(CONFIGURATION.format(**values))

    def _start_munge(self):
        key, listening = self.folder / "munge.key", self.folder / "munge.socket"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        files = [f"--{name}-file={self.folder}/munge.{name}" for name in ("pid", "log", "seed")]
        self._daemon("munged", "-F", "--force", f"--key-file={key}", f"--socket={listening}", *files)
        wait_until(listening.exists, f"munged listens; see {self.folder}/munged.log")

    def _is_ready(self) -> bool:
        return self.run("sinfo -h -p debug -N -o %T", check=False).split() == ["idle", "idle"]


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


class SlurmOfHosts(Slurm):
    """Slurm whose nodes `h1` and `h2` are hosts with files of their own; commands run in the head of
    their cluster."""

    def _start(self):
        # Its configuration and the socket of munge are all that the hosts have in common.
        self.folder.chmod(0o755)
        self.cluster = Cluster(2, shared=[self.folder])
        super()._start()

    def _configure(self):
        self.enter = [*self.cluster.head.enter, "env", "-C", "/"]
        super()._configure()
        file = self.folder / "slurm.conf"
        text = file.read_text().replace("localhost(127.0.0.1)", f"head({self.cluster.head.address})")
        for node, host in zip(("n1", "n2"), self.cluster, strict=True):
            old = f"NodeName={node} NodeHostname=localhost NodeAddr=127.0.0.1"
            assert old in text
            text = text.replace(old, f"NodeName={host.name} NodeAddr={host.address}")
        file.write_text(text.replace("Nodes=n1,n2", "Nodes=h1,h2"))
        for host in self.cluster:
            (self.folder / f"spool-{host.name}").mkdir()

    def _start_nodes(self):
        for host in self.cluster:
            self._daemon("slurmd", "-D", "-N", host.name, enter=host.enter)

    def close(self):
        # First, since what the folder's keeper ends are also processes that name the folder: the hosts.
        if hasattr(self, "cluster"):
            self.cluster.close()
        super().close()
