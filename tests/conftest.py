"""Kernels to test: how one is started, fed with cells, listened to and ended."""

import contextlib
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from queue import Empty

import psutil
import pytest
from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel
from jupyter_client.manager import KernelManager

KERNEL = "parcell"
# The notebook that needs a cluster is run by test_playground.py, in one.
NEEDS_CLUSTER = "08-cluster-managers"
PLAYGROUND = "PARCELL_PLAYGROUND"  # the variable that is set there
# Long enough for the first build of the cell library on a loaded machine with two cores.
PATIENCE = 120


def pytest_collection_modifyitems(config, items: list[pytest.Item]):
    """Leaves what needs a cluster to where there is one."""
    if PLAYGROUND not in os.environ:
        elsewhere = [item for item in items if NEEDS_CLUSTER in item.nodeid]
        config.hook.pytest_deselected(items=elsewhere)
        items[:] = [item for item in items if item not in elsewhere]


def wait_until(condition: Callable[[], object], what: str, timeout: float = 10):
    """Polls for a state of the machine that nothing announces; returns what the condition gave."""
    end = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {timeout} s: {what}"
        time.sleep(0.01)
    return value


@dataclass
class Result:
    """What one request caused: its reply's content and its iopub messages, in order."""

    reply: dict
    iopub: list[dict] = field(default_factory=list)
    header: dict = field(default_factory=dict)

    def of(self, kind: str) -> list[dict]:
        """Contents of the iopub messages of one type."""
        return [m["content"] for m in self.iopub if m["msg_type"] == kind]

    @property
    def types(self) -> list[str]:
        """Types of the iopub messages, statuses spelt out."""
        return [
            m["content"]["execution_state"] if m["msg_type"] == "status" else m["msg_type"]
            for m in self.iopub
        ]

    def text(self, name: str) -> str:
        """Everything printed on one of the two streams."""
        return "".join(c["text"] for c in self.of("stream") if c["name"] == name)

    @property
    def stdout(self) -> str:
        return self.text("stdout")

    @property
    def stderr(self) -> str:
        return self.text("stderr")

    @property
    def ok(self) -> bool:
        return self.reply["status"] == "ok"

    @property
    def results(self) -> list[dict]:
        """The MIME bundles of the execute_result messages."""
        return [c["data"] for c in self.of("execute_result")]

    @property
    def result(self) -> str | None:
        """The plain text of the cell's value."""
        return self.results[-1].get("text/plain") if self.results else None

    @property
    def displays(self) -> list[dict]:
        """The MIME bundles of the display_data messages."""
        return [c["data"] for c in self.of("display_data")]

    @property
    def error(self) -> dict:
        """The one error message; it must say what the reply says."""
        errors = self.of("error")
        assert self.reply["status"] == "error", f"no error: {self.reply} {self.iopub}"
        assert len(errors) == 1, f"{len(errors)} error messages"
        for key in ("ename", "evalue", "traceback"):
            assert errors[0][key] == self.reply[key]
        return errors[0]

    @property
    def error_text(self) -> str:
        """Everything the error shows, without its colours."""
        return plain("\n".join([self.error["ename"], self.error["evalue"], *self.error["traceback"]]))


def plain(text: str) -> str:
    """Text without ANSI colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def alive(process: psutil.Process) -> bool:
    """Whether a process still runs; one that only waits to be reaped does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class Kernel:
    """One running kernel and a client of it."""

    def __init__(self, name: str = KERNEL, transport: str = "tcp", prefix: Sequence[str] = (), **start):
        self.manager = KernelManager(kernel_name=name, transport=transport)
        self.manager.kernel_spec.argv[:0] = prefix
        self.manager.start_kernel(**start)
        self.client = self.connect()

    def connect(self):
        """One more client, with a session of its own, ready to talk."""
        client = self.manager.client()
        client.session = type(client.session)(key=client.session.key)
        client.start_channels()
        try:
            client.wait_for_ready(timeout=PATIENCE)
        except RuntimeError:
            client.stop_channels()
            self.manager.shutdown_kernel(now=True)
            raise
        return client

    @property
    def process(self) -> psutil.Process:
        return psutil.Process(self.manager.provisioner.pid)

    def children(self) -> list[psutil.Process]:
        """Everything that the kernel's process started and that still lives."""
        return self.process.children(recursive=True)

    def programs(self) -> set[str]:
        """Names of the programs that the kernel has running, without those that just ended."""
        found = set()
        for process in self.children():
            with contextlib.suppress(psutil.NoSuchProcess):
                found.add(process.name())
        return found

    def send(self, code: str, client=None, **options) -> str:
        """Sends a cell; returns the id of its request."""
        options = {"allow_stdin": False} | options
        return (client or self.client).execute(code, **options)

    def run(self, code: str, client=None, timeout: float = PATIENCE, **options) -> Result:
        """Runs a cell to its end."""
        return self.result(self.send(code, client, **options), client, timeout)

    def ok(self, code: str, **options) -> Result:
        """Runs a cell that must succeed."""
        result = self.run(code, **options)
        assert result.ok, plain("\n".join(result.reply.get("traceback", [str(result.reply)])))
        return result

    def messages(self, request: str, client=None, timeout: float = PATIENCE) -> Iterator[dict]:
        """The iopub messages of a request as they arrive, the closing idle included."""
        end = time.monotonic() + timeout
        while True:
            try:
                message = (client or self.client).get_iopub_msg(timeout=end - time.monotonic())
            except Empty:
                raise AssertionError(f"no idle within {timeout} s") from None
            if message["parent_header"].get("msg_id") != request:
                continue
            yield message
            if message["content"].get("execution_state") == "idle":
                return

    def until(self, request: str, condition: Callable[[dict], object], client=None) -> dict:
        """The first iopub message of the request that fulfils the condition."""
        for message in self.messages(request, client):
            if condition(message):
                return message
        raise AssertionError("the request ended before the awaited message came")

    def printed(self, request: str, text: str):
        """Waits until the cell has printed the text."""
        seen = ""

        def complete(message):
            nonlocal seen
            if message["msg_type"] == "stream":
                seen += message["content"]["text"]
            return text in seen

        self.until(request, complete)

    def result(self, request: str, client=None, timeout: float = PATIENCE) -> Result:
        """Waits for the reply of a request and its idle."""
        iopub = list(self.messages(request, client, timeout))
        reply = self.reply(request, "shell", client)
        return Result(reply["content"], iopub, reply["header"])

    def reply(self, request: str, channel: str = "shell", client=None, timeout: float = 30) -> dict:
        """The reply to a request; replies to others are dropped."""
        get = getattr(client or self.client, f"get_{channel}_msg")
        end = time.monotonic() + timeout
        while True:
            try:
                message = get(timeout=end - time.monotonic())
            except Empty:
                raise AssertionError(f"no reply on {channel} within {timeout} s") from None
            if message["parent_header"].get("msg_id") == request:
                return message

    def ask(self, kind: str, content: dict | None = None, channel="shell", client=None) -> str:
        """Sends any request; returns its id."""
        client = client or self.client
        message = client.session.msg(kind, content or {})
        getattr(client, f"{channel}_channel").send(message)
        return message["header"]["msg_id"]

    def answer(self, kind: str, content: dict | None = None, channel="shell", client=None) -> Result:
        """Sends any request and waits for reply and idle."""
        request = self.ask(kind, content, channel, client)
        reply = self.reply(request, channel, client)
        return Result(reply["content"], list(self.messages(request, client)), reply["header"])

    def interrupt(self):
        """Asks on the control channel to interrupt the running cell."""
        assert self.reply(self.ask("interrupt_request", channel="control"), "control")["content"][
            "status"
        ] == "ok"

    def close(self):
        """Ends client and kernel."""
        self.client.stop_channels()
        if self.manager.has_kernel:
            self.manager.shutdown_kernel()
        self.manager.cleanup_resources()


@pytest.fixture(scope="session", autouse=True)
def installed_kernel() -> str:
    """Folder of the kernelspec under test."""
    try:
        return KernelSpecManager().get_kernel_spec(KERNEL).resource_dir
    except NoSuchKernel:
        pytest.exit("the kernel is not installed: use tests/run", returncode=2)


@pytest.fixture
def start_kernel(monkeypatch) -> Iterator[Callable[..., Kernel]]:
    """Starts kernels that end with the test."""
    started: list[Kernel] = []

    def start(**options) -> Kernel:
        started.append(Kernel(**options))
        return started[-1]

    yield start
    for kernel in started:
        kernel.close()


@pytest.fixture
def fresh(start_kernel) -> Kernel:
    """A kernel for this test alone."""
    return start_kernel()


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    """A kernel that the tests of a file share; those that break it take `fresh`."""
    kernel = Kernel()
    yield kernel
    kernel.close()


@pytest.fixture
def parcell() -> str:
    """The program under test."""
    return os.environ["PARCELL"]
