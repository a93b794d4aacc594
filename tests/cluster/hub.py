"""JupyterHub on a machine of many users, set up as docs/jupyterhub.md says, with the files that lie
beside it.

The machine is the head of a cluster of hosts: what is mounted over its folders and who has an
account there ends with it, and no network leads out of it, as on many compute nodes. Only
`Campus.online` commands, those of the admin, have the network that the tests have.
"""

import hashlib
import json
import os
import shutil
import socket
import subprocess
import time
import uuid
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import psutil
import requests
import websocket

from cluster.hosts import Cluster
from cluster.playground import HeadSlurm, open_door
from conftest import PATIENCE, Result, plain, wait_until

HERE = Path(__file__).parent
FILES = HERE.parents[1] / "docs" / "jupyterhub"
PORT = 8000  # of the hub, as its configuration says
USERS = {"anna": "an apple a day", "bert": "two birds"}

# Folders of this machine that the real one does not get to see changed, and accounts.
SET_UP = """
set -eu
overlay() { # overlay LOWER NAME AT
  mkdir -p {folder}/$2/upper {folder}/$2/work $3
  mount -t overlay none -o lowerdir=$1,upperdir={folder}/$2/upper,workdir={folder}/$2/work $3
}
overlay /etc etc /etc
mount -t tmpfs none /srv
mount -t tmpfs none /opt
mount -t tmpfs -o mode=755 none /home
mkdir -p /opt/rust/rustup
mount -o bind,ro {rustup} /opt/rust/rustup
overlay {cargo} cargo /opt/rust/cargo
overlay {python} python /opt/jupyterhub
echo "127.0.0.1 localhost n1 n2
{addresses}" >/etc/hosts
number=61000
while read -r name password; do
  number=$((number + 1)) # of nobody on the real machine
  useradd --no-log-init --uid $number --create-home --shell /bin/bash $name
  chmod 700 /home/$name
  echo "$name:$password" | chpasswd
done
"""


class Campus:
    """A machine with JupyterHub and parcell installed for all, and the users `anna` and `bert`."""

    def __init__(self):
        with ExitStack() as ends:
            self.cluster = Cluster(1)
            ends.callback(self.cluster.close)
            self.head = self.cluster.head
            self.folder = self.cluster.folder / "campus"
            python = python_environment(self.cluster)
            self._set_up(python)
            self._ends = ends.pop_all()

    def install(self, program: str, *crates: str):
        """Does what the guide asks of the admin, and fetches crates for all; from then on nobody can
        write to the installation."""
        installed = "/opt/jupyterhub/share/parcell/bin/parcell"
        fetch = [installed, "cache", "add", "--prefix", "/opt/jupyterhub", *crates]
        for command in ([FILES / "install.sh", program], fetch):
            result = self.online(command)
            assert result.returncode == 0, result.stdout
        for path in ("/opt/rust/cargo", "/opt/jupyterhub"):
            self.head.run(f"mount -o remount,ro {path}")

    def put_home_on_another_host(self, user: str):
        """Has a user's home lie on a host that takes 10 ms to answer: in what comes over the network,
        neither sockets nor locks between hosts work."""
        one = self.cluster[0]
        one.run("mkdir -m 700 -p /srv/home")
        self.head.run(
            f"sshfs -F {self.cluster.ssh_config} -o default_permissions,allow_other "
            f"-o uid=$(id -u {user}),gid=$(id -g {user}) h1:/srv/home /home/{user}"
        )
        one.delay(5)

    def online(self, command: Sequence[str | Path]) -> subprocess.CompletedProcess:
        """Runs a command of the admin to its end: here, but with the network that the tests have."""
        spaces = ["--mount", "--uts", "--ipc", "--pid", "--root", "--wd"]
        enter = ["nsenter", "--target", str(self.head.pid), *spaces, "--"]
        names = {"PATH", *(name for name in os.environ if name.lower().endswith("_proxy"))}
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        env = {name: os.environ[name] for name in names} | {"PATH": path, "HOME": "/root"}
        return subprocess.run(
            [*enter, "env", "-C", "/", *map(str, command)], env=env, text=True, timeout=800,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )

    def hub(self, configuration: str) -> "Hub":
        """Starts JupyterHub with one of the guide's configurations."""
        return Hub(self, configuration)

    def processes_of(self, user: str) -> list[psutil.Process]:
        """What a user has running."""
        number = int(self.head.run(f"id -u {user}"))
        found = []
        for process in self.head.processes():
            try:
                if process.uids().real == number and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.NoSuchProcess:
                continue
        return found

    def close(self):
        self._ends.close()

    def _set_up(self, python: Path):
        home = Path.home()
        folders = {
            "rustup": os.environ.get("RUSTUP_HOME", home / ".rustup"),
            "cargo": os.environ.get("CARGO_HOME", home / ".cargo"),
        }
        text = SET_UP
        values = {"folder": self.folder, "python": python, "addresses": self.cluster.addresses}
        for name, value in (values | folders).items():
            text = text.replace(f"{{{name}}}", str(value))
        users = "".join(f"{name} {password}\n" for name, password in USERS.items())
        with self.head.popen(text, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as script:
            _, complaint = script.communicate(users, timeout=60)
        assert script.returncode == 0, complaint


def python_environment(cluster: Cluster) -> Path:
    """A Python environment with JupyterHub, made for the path /opt/jupyterhub and kept for the next
    test run under the name of its contents."""
    wanted = (FILES / "requirements.txt").read_text()
    version = cluster.head.run("python3 --version")
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "parcell"
    folder = cache / f"test-hub-{hashlib.sha256((wanted + version).encode()).hexdigest()[:12]}"
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        make = (
            "set -e; mount -t tmpfs none /opt; mkdir /opt/jupyterhub; "
            f"mount --bind {folder} /opt/jupyterhub; python3 -m venv /opt/jupyterhub; "
            f"/opt/jupyterhub/bin/pip install --quiet -r {FILES}/requirements.txt"
        )
        subprocess.run(["unshare", "--mount", "bash", "-c", make], check=True,
                       env=os.environ | {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
        (folder / "complete").touch()
    return folder


class Hub:
    """A running JupyterHub, and a door to it from the tests' network."""

    def __init__(self, campus: Campus, configuration: str):
        self.campus = campus
        head = campus.head
        head.run(f"cp {FILES / configuration} /srv/jupyterhub/jupyterhub_config.py")
        self.log = campus.folder / f"{configuration}.log"
        command = "cd /srv/jupyterhub && exec /opt/jupyterhub/bin/jupyterhub"
        with self.log.open("w") as log:
            self.process = head.popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
        self._open_door()
        try:
            wait_until(self._answers, f"the hub answers; see {self.log}", 60)
        except BaseException:
            print(self.log.read_text())
            self.close()
            raise

    def _open_door(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.address = f"127.0.0.1:{listener.getsockname()[1]}"
            self.door = open_door(self.campus.head, listener, PORT)

    def _answers(self) -> bool:
        assert self.process.poll() is None, f"the hub ended:\n{self.log.read_text()}"
        try:
            return requests.get(f"http://{self.address}/hub/api/", timeout=5).ok
        except requests.RequestException:
            return False

    def log_in(self, name: str) -> "User":
        """Logs a user in by name and password."""
        return User(self, name, USERS[name])

    def close(self):
        """Ends the hub as its service manager does; it ends the servers of its users."""
        self.campus.head.run("pkill -TERM -f '^/opt/jupyterhub/bin/python3? /opt/jupyterhub/bin/jupyterhub$'", check=False)
        try:
            self.process.wait(60)
        finally:
            self.process.kill()
            self.process.wait()
            self.door.kill()
            self.door.wait()


class User:
    """Somebody who is logged in."""

    def __init__(self, hub: Hub, name: str, password: str):
        self.hub, self.name = hub, name
        self.session = requests.Session()
        self.session.headers["Referer"] = f"http://{hub.address}/hub/"
        page = f"http://{hub.address}/hub/login"
        self.session.get(page, timeout=30).raise_for_status()
        form = {"username": name, "password": password, "_xsrf": self.session.cookies["_xsrf"]}
        answer = self.session.post(page, data=form, timeout=60, allow_redirects=False)
        assert answer.status_code == 302, f"{name} cannot log in: {answer.status_code}"
        words = {"X-XSRFToken": self.session.cookies.get("_xsrf", path="/hub/")}
        made = self.session.post(self._api("tokens"), json={}, headers=words, timeout=30)
        made.raise_for_status()
        self.token = {"Authorization": f"token {made.json()['token']}"}

    def _api(self, path: str = "") -> str:
        return f"http://{self.hub.address}/hub/api/users/{self.name}/{path}".rstrip("/")

    def ask(self, method: str, path: str, **options) -> requests.Response:
        """Asks the user's own server."""
        address = f"http://{self.hub.address}{path}"
        return requests.request(method, address, headers=self.token, timeout=60, **options)

    def start_server(self):
        """Has the hub start the user's server, and waits until it answers."""
        answer = requests.post(self._api("server"), headers=self.token, timeout=120)
        assert answer.ok, f"{answer.text}\n{self.hub.log.read_text()}"

    def server_is_ready(self) -> bool:
        shown = requests.get(self._api(), headers=self.token, timeout=30).json()
        return shown["servers"].get("", {}).get("ready", False)

    def wait_for_server(self):
        try:
            wait_until(self.server_is_ready, f"the server of {self.name} is ready", 120)
        except AssertionError:
            print(self.hub.log.read_text())
            raise

    def stop_server(self):
        """Has the hub stop the user's server, and waits until it is gone."""
        requests.delete(self._api("server"), headers=self.token, timeout=60).raise_for_status()
        gone = lambda: not requests.get(self._api(), headers=self.token, timeout=30).json()["servers"]
        wait_until(gone, f"the server of {self.name} is gone", 60)

    def kernel(self) -> "WebKernel":
        """Starts a kernel in the user's server."""
        return WebKernel(self)


class WebKernel:
    """A kernel behind a server, as a browser sees it."""

    def __init__(self, user: User):
        self.user = user
        started = user.ask("POST", f"/user/{user.name}/api/kernels", json={"name": "parcell"})
        assert started.ok, started.text
        self.id, self.session = started.json()["id"], uuid.uuid4().hex
        path = f"/user/{user.name}/api/kernels/{self.id}/channels?session_id={self.session}"
        self.socket = websocket.create_connection(
            f"ws://{user.hub.address}{path}", header=user.token, timeout=PATIENCE
        )
        self.ok("")

    def send(self, code: str) -> str:
        """Sends a cell; returns the id of its request."""
        header = {
            "msg_id": uuid.uuid4().hex, "msg_type": "execute_request", "version": "5.3",
            "username": self.user.name, "session": self.session, "date": "2026-01-01T00:00:00Z",
        }
        content = {"code": code, "silent": False, "store_history": True, "allow_stdin": False,
                   "user_expressions": {}, "stop_on_error": True}
        message = {"header": header, "parent_header": {}, "metadata": {}, "content": content,
                   "channel": "shell", "buffers": []}
        self.socket.send(json.dumps(message))
        return header["msg_id"]

    def result(self, request: str, timeout: float = PATIENCE) -> Result:
        """Waits for the reply of a request and its idle."""
        result, idle, end = Result({}), False, time.monotonic() + timeout
        while not (result.reply and idle):
            self.socket.settimeout(max(end - time.monotonic(), 0.01))
            message = json.loads(self.socket.recv())
            if message["parent_header"].get("msg_id") != request:
                continue
            if message["channel"] == "shell":
                result.reply = message["content"]
            elif message["channel"] == "iopub":
                result.iopub.append(message)
                idle = message["content"].get("execution_state") == "idle"
        return result

    def run(self, code: str, timeout: float = PATIENCE) -> Result:
        """Runs a cell to its end."""
        return self.result(self.send(code), timeout)

    def ok(self, code: str, timeout: float = PATIENCE) -> Result:
        """Runs a cell that must succeed."""
        result = self.run(code, timeout)
        assert result.ok, plain("\n".join(result.reply.get("traceback", [str(result.reply)])))
        return result


class CampusSlurm(HeadSlurm):
    """Slurm on the machine of a campus: it is found there without any variable, and jobs run as the
    users who submit them."""

    def __init__(self, campus: Campus):
        self.campus = campus
        super().__init__(campus.head)

    def _configure(self):
        super()._configure()
        self.folder.chmod(0o755)
        usual = "/etc/slurm/slurm.conf"
        self.campus.head.run(f"mkdir -p /etc/slurm && ln -sf {self.folder}/slurm.conf {usual}")
