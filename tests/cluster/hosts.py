"""Hosts on one machine: each with a network card, name, processes, files and sshd of its own.

A host is a set of namespaces, and the cards of all are joined by a bridge in one more network
namespace. Nothing of this has a name outside: it ends with the processes that live in it, and
those end with the tests, however these end. The machine's own network is not touched.
"""

import json
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

import psutil

from cluster.cable import Properties
from cluster.software import end_of_folder, kept_folder
from conftest import KERNEL, Kernel

HERE = Path(__file__).parent
NETWORK = "10.77.0"
USER = pwd.getpwuid(os.getuid())
# Whatever happens to the tests, their hosts end.
WITH_US = ["setpriv", "--pdeathsig", "KILL", "--"]
SSHD = """\
HostKey /etc/ssh/host_key
AuthorizedKeysFile /etc/ssh/authorized_keys
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin yes
StrictModes no
UsePAM no
UseDNS no
PrintMotd no
MaxStartups 200
MaxSessions 200
PidFile none
Subsystem sftp internal-sftp
"""
SSH = """\
Host *
  IdentityFile {key}
  StrictHostKeyChecking no
  UserKnownHostsFile /dev/null
  LogLevel ERROR
"""


class Host:
    """One host; made and ended by its `Cluster`."""

    def __init__(self, cluster: "Cluster", name: str, number: int, head: bool):
        self.cluster, self.name, self.card = cluster, name, f"c{number}"
        self.address = f"{NETWORK}.{number}"
        self.is_head = head
        self.folder = cluster.folder / name
        self.cable: subprocess.Popen | None = None
        self.properties, self.is_cut = Properties(), False
        self.pid = 0
        self._write_identity()
        self.shell = self._start()

    # --- files -----------------------------------------------------------------------------

    def path(self, inside: str | Path) -> Path:
        """Where a file of the host is for the tests."""
        return Path(inside) if self.is_head else self.folder / "root" / str(inside).lstrip("/")

    @property
    def home(self) -> Path:
        """The home folder, as seen from outside."""
        return self.path(USER.pw_dir)

    def _write_identity(self):
        etc = self.folder / "etc"
        shutil.copytree(self.cluster.folder / "ssh", etc / "ssh")
        if not self.is_head:
            (etc / "ssh" / "key").unlink()  # only the head can log in elsewhere
        (etc / "hostname").write_text(f"{self.name}\n")
        (etc / "hosts").write_text(self.cluster.addresses)
        (etc / "machine-id").write_text(f"{uuid.uuid4().hex}\n")
        (self.folder / "boot_id").write_text(f"{uuid.uuid4()}\n")
        others = [user for user in pwd.getpwall() if user.pw_uid != USER.pw_uid]
        users = [(*USER[:6], "/bin/bash"), *others]
        (etc / "passwd").write_text("".join(":".join(map(str, user)) + "\n" for user in users))
        (etc / "shadow").write_text(f"{USER.pw_name}:*:19000:0:99999:7:::\n")

    # --- life ------------------------------------------------------------------------------

    def _start(self) -> subprocess.Popen:
        spaces = ["--net", "--uts", "--ipc", "--pid", "--mount", "--fork", "--kill-child"]
        root = "/" if self.is_head else self.folder / "root"
        script = [HERE / "host.sh", self.folder, self.name, self.address, USER.pw_dir, root]
        shared = [] if self.is_head else self.cluster.shared
        return subprocess.Popen(
            [*WITH_US, "unshare", *spaces, "bash", *script, *shared],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/",
            stderr=(self.folder / "log").open("w"),
        )

    def _expect(self, word: str):
        if (line := self.shell.stdout.readline()) != f"{word}\n":
            log = (self.folder / "log").read_text()
            raise RuntimeError(f"{self.name} does not start: {line}{log}")

    def _connect(self):
        """Gives the host its network card."""
        self._expect("born")
        self.pid = psutil.Process(self.shell.pid).children()[0].pid
        self.space = os.readlink(f"/proc/{self.pid}/ns/pid")
        self.cluster.switch(
            f"link add {self.card} type veth peer name eth0 netns {self.pid}",
            f"link set {self.card} up master switch",
        )
        self.shell.stdin.write("go\n")
        self.shell.stdin.flush()

    def _close(self):
        # When the first process of its namespace ends, all others there end before it is gone.
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
        else:
            self.shell.kill()
        self.shell.communicate()
        if self.cable:
            self.cable.communicate()

    # --- commands --------------------------------------------------------------------------

    @property
    def enter(self) -> list[str]:
        """What stands before a command that is to run here."""
        spaces = ["--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wd"]
        return ["nsenter", "--target", str(self.pid), *spaces, "--"]

    def popen(self, command: str | Sequence[str], **options) -> subprocess.Popen:
        """Starts a command here: a line for bash, or words. It begins in the home folder, with
        nothing of the tests' environment."""
        words = ["bash", "-c", command] if isinstance(command, str) else [str(w) for w in command]
        path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        variables = [path, f"HOME={USER.pw_dir}", f"USER={USER.pw_name}", "LANG=C.UTF-8"]
        clean = ["env", "-i", "-C", USER.pw_dir, *variables]
        return subprocess.Popen([*self.enter, *clean, *words], **{"text": True} | options)

    def run(self, command: str | Sequence[str], timeout: float = 60, check: bool = True) -> str:
        """Runs a command here to its end; what it wrote to stdout, without the last newline."""
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with self.popen(command, **pipes) as process:
            try:
                out, err = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        assert process.returncode == 0 or not check, f"{self.name}: {command}: {out}{err}"
        return out.rstrip("\n")

    def processes(self, pattern: str = "") -> list[psutil.Process]:
        """Processes here whose command line the pattern matches, without those that make the
        host. They have the ids that they have outside."""
        found = []
        for process in psutil.process_iter():
            try:
                here = os.readlink(f"/proc/{process.pid}/ns/pid") == self.space
                line = " ".join(process.cmdline()) if here else ""
            except (OSError, psutil.Error):
                continue  # it just ended
            own = process.pid == self.pid or line == "sleep infinity" or line.startswith("sshd:")
            if here and line and not own and re.search(pattern, line):
                found.append(process)
        return found

    # --- processor -------------------------------------------------------------------------

    def lacks(self, *features: str):
        """Has the host say that its processor lacks these instructions, as older ones do."""
        with open("/proc/cpuinfo") as file:
            text = file.read()
        for feature in features:
            text = re.sub(rf" {feature}\b", "", text)
        self.path("/tmp/cpuinfo").write_text(text)
        self.run("mount --bind /tmp/cpuinfo /proc/cpuinfo")

    # --- network ---------------------------------------------------------------------------

    def delay(self, milliseconds: float):
        """Has every packet to and from the host travel so long: a round trip takes twice that
        longer. 0 takes it back, as for the others."""
        self._change(delay=milliseconds / 1000)

    def loss(self, percent: float):
        """Loses packets of both directions by chance."""
        self._change(loss=percent / 100)

    def slow(self, rate: float):
        """Lets so many bytes per second pass, each way; 0 is no limit."""
        self._change(rate=rate)

    def wall(self, up: bool = True):
        """Has connections that the host opens get no answer; those that others open to it work."""
        self._change(wall=up)

    def cut(self):
        """Pulls the cable at the switch: cards stay up, packets vanish, nobody is told."""
        self.is_cut = True
        self._wire()

    def heal(self):
        """Undoes `cut`."""
        self.is_cut = False
        self._wire()

    def reset_connections(self, ssh: bool = False):
        """Ends the host's TCP connections, those of ssh only on request: both ends are told, by
        ECONNABORTED here and ECONNRESET there."""
        tcp = ["ss", "--kill", "--no-header", "--tcp", "--numeric", "state", "established"]
        self.run(tcp if ssh else [*tcp, "( sport != :22 and dport != :22 )"])

    def _change(self, **properties):
        self.properties = Properties(**asdict(self.properties) | properties)
        if self.properties == Properties():
            self._remove_cable()
            return
        if not self.cable:
            self.cable = self._lay_cable()
            self._wire()
        self.cable.stdin.write(json.dumps(asdict(self.properties)) + "\n")
        self.cable.stdin.flush()
        assert self.cable.stdout.readline() == "ready\n", "the cable's program ended"

    def _lay_cable(self) -> subprocess.Popen:
        program = [sys.executable, "-S", HERE / "cable.py", self.card, f"t{self.card}"]
        cable = subprocess.Popen(
            [*WITH_US, *self.cluster.enter_switch, *program],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        assert cable.stdout.readline() == "ready\n", "the cable's program ended"
        return cable

    def _remove_cable(self):
        if self.cable:
            self.cable.communicate()
            self.cable = None
            self._wire()

    def _wire(self):
        """Plugs the card, or the far end of its cable, into the switch, or nothing if it is cut."""
        free = f"link set {self.card} up nomaster"
        end = f"t{self.card}" if self.cable else self.card
        self.cluster.switch(free, f"link set {end} up {'nomaster' if self.is_cut else 'master switch'}")


class Cluster:
    """Hosts `h1`, `h2`, … and `head`, which has the machine's own files: there the kernel runs, and
    from there `ssh h1` works. The others have no files of the machine but those of its system,
    and none of its compilers; folders in `shared` are the exception."""

    def __init__(self, count: int, shared: Sequence[str | Path] = ()):
        self.folder, keeper = kept_folder("hosts")
        self.shared = [str(Path(path).absolute()) for path in shared]
        names = ["head", *(f"h{n}" for n in range(1, count + 1))]
        lines = [f"{NETWORK}.{n} {name}" for n, name in enumerate(names, 1)]
        self.addresses = "\n".join(["127.0.0.1 localhost", *lines]) + "\n"
        with ExitStack() as ends:
            ends.callback(end_of_folder, keeper)
            self._make_keys()
            self._start_switch()
            ends.callback(self._stop_switch)
            every = []
            for number, name in enumerate(names, 1):
                every.append(Host(self, name, number, head=name == "head"))
                ends.callback(every[-1]._close)
            for host in every:
                host._connect()
            for host in every:
                host._expect("ready")
            self._ends = ends.pop_all()
        self.head, *self.hosts = every

    @property
    def ssh_config(self) -> Path:
        """For `ssh -F`, inside the head; it is also what ssh reads there by itself."""
        return self.folder / "ssh" / "ssh_config"

    def __iter__(self):
        return iter(self.hosts)

    def __getitem__(self, index: int) -> Host:
        return self.hosts[index]

    def kernel(
        self, env: dict[str, str] | None = None, prefix: Sequence[str] = (), name: str = KERNEL
    ) -> Kernel:
        """Starts a kernel in the head, by the command `prefix` if there is one. Jupyter talks with it
        through files, since no network leads from here to there; the process that Jupyter knows is
        the parent of the kernel's."""
        # What the kernel would watch by this id is somebody else where ids are others.
        place = ["env", "-C", os.getcwd(), "-u", "JPY_PARENT_PID"]
        prefix = [*self.head.enter, *place, *prefix]
        return Kernel(name, transport="ipc", prefix=prefix, env=env or os.environ)

    def switch(self, *commands: str):
        """Runs commands of `ip` where the switch is."""
        subprocess.run(
            [*self.enter_switch, "ip", "-batch", "-"],
            input="\n".join(commands), text=True, check=True,
        )

    @property
    def enter_switch(self) -> list[str]:
        return ["nsenter", "--target", str(self._switch.pid), "--net", "--"]

    def close(self):
        """Ends all hosts with everything that runs on them, and removes their files."""
        self._ends.close()

    def _make_keys(self):
        ssh = self.folder / "ssh"
        ssh.mkdir()
        for name in ("key", "host_key"):
            make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", ssh / name]
            subprocess.run(make, check=True)
        shutil.copy(ssh / "key.pub", ssh / "authorized_keys")
        (ssh / "sshd_config").write_text(SSHD)
        (ssh / "ssh_config").write_text(SSH.format(key=ssh / "key"))

    def _start_switch(self):
        script = "ip link add switch type bridge && ip link set switch up && echo ready && exec cat"
        self._switch = subprocess.Popen(
            [*WITH_US, "unshare", "--net", "sh", "-c", script],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        assert self._switch.stdout.readline() == "ready\n", "no bridge can be made"

    def _stop_switch(self):
        self._switch.kill()
        self._switch.communicate()
