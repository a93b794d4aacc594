"""How cells, drivers and kernels end, and that nothing is left of them."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from conftest import KERNEL, Kernel, alive, wait_until

# ---------------------------------------------------------------------------------------------
# The driver dies, the kernel lives

DEATHS = {
    "segfault": ("unsafe { std::ptr::null_mut::<i32>().write_volatile(1) }", r"SIGSEGV|segmentation"),
    "abort": ("std::process::abort()", r"SIGABRT|abort"),
    "stack overflow": (
        "#[allow(unconditional_recursion)]\nfn deep(n: u64) -> u64 { std::hint::black_box(deep(n + 1)) + 1 }\ndeep(0)",
        r"stack",
    ),
    "exit": ("std::process::exit(3)", r"exit.*3"),
    "kill": (
        'std::process::Command::new("kill").args(["-9", &std::process::id().to_string()]).status()?;\nloop {}',
        r"SIGKILL|memory",
    ),
}


@pytest.mark.parametrize("death", DEATHS)
def test_a_death_is_named_the_lost_variables_are_listed_and_the_next_cell_works(kernel, death):
    code, cause = DEATHS[death]
    kernel.ok("let precious = 1; let second_one = vec![2];")
    kernel.ok("fn kept(x: i32) -> i32 { x + 1 }")
    result = kernel.run(code)
    assert re.search(cause, result.error_text, re.IGNORECASE | re.DOTALL), result.error_text
    assert "precious" in result.error_text
    assert "second_one" in result.error_text
    assert kernel.ok("kept(41)").result == "42"
    assert "precious" in kernel.run("precious").error_text


def test_a_stack_overflow_in_a_pool_thread_is_named(kernel):
    code = """
        #[allow(unconditional_recursion)]
        fn deep(n: u64) -> u64 { std::hint::black_box(deep(n + 1)) + 1 }
        (0..4u64).into_par_iter().map(deep).sum::<u64>()
    """
    assert "stack" in kernel.run(code).error_text.lower()
    assert kernel.ok("1 + 1").result == "2"


def test_what_was_printed_before_the_death_is_shown(kernel):
    result = kernel.run('println!("last words"); std::process::abort()')
    assert result.stdout == "last words\n"


def test_a_death_between_cells_is_told_by_the_next_one(fresh):
    fresh.ok("let precious = 1;")
    driver = psutil.Process(int(fresh.ok("std::process::id()").result))
    driver.kill()
    wait_until(lambda: not alive(driver), "the driver is gone")
    result = fresh.run("1 + 1")
    shown = result.stdout + result.stderr + (result.error_text if not result.ok else "")
    assert "precious" in shown
    assert fresh.ok("1 + 1").result == "2"


# ---------------------------------------------------------------------------------------------
# Interrupts

PATIENT = {
    "sleep": "sleep(60.);",
    "a parallel loop": "(0..10_000).into_par_iter().for_each(|_| sleep(0.01));",
    "a blocking read": 'input("?")',
    "progress": "for _ in progress(0..u32::MAX) { sleep(0.001); }",
}


@pytest.mark.parametrize("case", [c for c in PATIENT if c != "a blocking read"])
def test_an_interrupt_ends_own_waits_within_a_second_and_keeps_variables(kernel, case):
    kernel.ok("let kept = 5;")
    request = kernel.send('println!("on");' + PATIENT[case])
    kernel.printed(request, "on")
    begin = time.monotonic()
    kernel.interrupt()
    result = kernel.result(request)
    assert time.monotonic() - begin < 1
    assert result.error["ename"] == "Interrupted"
    assert kernel.ok("kept").result == "5"


STUBBORN = {
    "a loop": "loop { std::hint::spin_loop() }",
    "a foreign sleep": "std::thread::sleep(std::time::Duration::from_secs(60));",
    "a lock": "let m = std::sync::Mutex::new(0); let a = m.lock(); drop(m.lock());",
    "a read": "std::io::stdin().read_line(&mut String::new())?; loop {}",
}


@pytest.mark.parametrize("case", STUBBORN)
def test_a_second_interrupt_ends_what_does_not_cooperate(kernel, case):
    kernel.ok("let lost = 5;")
    request = kernel.send('println!("on");' + STUBBORN[case])
    kernel.printed(request, "on")
    kernel.interrupt()
    kernel.interrupt()
    result = kernel.result(request, timeout=10)
    assert result.error["ename"] == "Interrupted"
    assert "lost" in result.error_text
    assert kernel.ok("1 + 1").result == "2"


def test_one_interrupt_ends_a_stubborn_cell_after_a_grace_time(kernel):
    request = kernel.send('println!("on"); loop { std::hint::spin_loop() }')
    kernel.printed(request, "on")
    kernel.interrupt()
    assert kernel.result(request, timeout=30).error["ename"] == "Interrupted"
    assert kernel.ok("1 + 1").result == "2"


def test_an_interrupt_of_a_running_compiler_ends_the_cell(kernel):
    code = "".join(f"fn f{i}(x: u64) -> u64 {{ (0..x).map(|y| y ^ {i}).sum() }}\n" for i in range(3000))
    request = kernel.send(code + "f0(1)")
    kernel.until(request, lambda m: m["msg_type"] == "execute_input")
    kernel.interrupt()
    assert kernel.result(request, timeout=20).reply["status"] == "error"
    assert kernel.ok("1 + 1").result == "2"


def test_an_interrupt_that_comes_as_soon_as_a_cell_is_taken_up_is_not_lost(kernel):
    for n in range(10):
        request = kernel.send(f"sleep({60 + n});")
        kernel.until(request, lambda m: m["msg_type"] == "execute_input")
        kernel.interrupt()
        assert kernel.result(request, timeout=20).error["ename"] == "Interrupted"
    assert kernel.ok("1 + 1").result == "2"


def test_an_interrupt_while_nothing_runs_harms_nothing(kernel):
    kernel.ok("let kept = 6;")
    for _ in range(3):
        kernel.interrupt()
    assert kernel.ok("sleep(0.05); kept").result == "6"


def test_a_signal_interrupts_like_the_message(kernel):
    request = kernel.send('println!("on"); sleep(60.);')
    kernel.printed(request, "on")
    os.kill(kernel.process.pid, signal.SIGINT)
    assert kernel.result(request, timeout=10).error["ename"] == "Interrupted"


def test_an_interrupt_drops_the_queue_behind_the_cell(kernel):
    request = kernel.send('println!("on"); sleep(60.);')
    queued = kernel.send("1")
    kernel.printed(request, "on")
    kernel.interrupt()
    assert kernel.result(request).reply["status"] == "error"
    assert kernel.result(queued).reply["status"] in ("aborted", "error")


# ---------------------------------------------------------------------------------------------
# Nothing is left


class Traces:
    """A kernel whose temporary files, sockets and processes are all known."""

    def __init__(self, start, folder: Path, transport="tcp"):
        self.temporary = folder / "tmp"
        self.runtime = folder / "run"
        for path in (self.temporary, self.runtime):
            path.mkdir(mode=0o700)
        self.shared_memory = set(os.listdir("/dev/shm"))
        env = os.environ | {"TMPDIR": str(self.temporary), "XDG_RUNTIME_DIR": str(self.runtime)}
        self.kernel: Kernel = start(env=env, transport=transport)
        self.kernel.ok("let x = vec![1, 2]; x.par_iter().sum::<i32>()")
        request = self.kernel.client.complete("x.pus")
        self.kernel.reply(request, timeout=60)
        self.processes = [self.kernel.process, *self.kernel.children()]
        self.sockets = connection_sockets(self.kernel)

    def left(self) -> list:
        """What still exists of them."""
        return [
            *[p for p in self.processes if alive(p)],
            *[p for p in self.sockets if p.exists()],
            *self.temporary.iterdir(),
            *self.runtime.rglob("*.sock"),
            *(set(os.listdir("/dev/shm")) - self.shared_memory),
        ]


def connection_sockets(kernel: Kernel) -> list[Path]:
    """Socket files of a kernel that talks over ipc; they lie in the working directory."""
    if kernel.manager.transport != "ipc":
        return []
    sockets = [Path(f"{kernel.manager.ip}-{port}").resolve() for port in kernel.manager.ports]
    assert all(s.exists() for s in sockets)
    return sockets


ENDS = {
    "a shutdown": lambda k: k.ask("shutdown_request", {"restart": False}, "control"),
    "kill -9": lambda k: os.kill(k.process.pid, signal.SIGKILL),
    "kill -9 while a cell runs": lambda k: (
        k.printed(k.send('println!("on"); loop {}'), "on"),
        os.kill(k.process.pid, signal.SIGKILL),
    ),
    "a segfault of the driver and a shutdown": lambda k: (
        k.run(DEATHS["segfault"][0]),
        k.ask("shutdown_request", {"restart": False}, "control"),
    ),
    "SIGTERM": lambda k: os.kill(k.process.pid, signal.SIGTERM),
}


@pytest.mark.parametrize("transport", ["tcp", "ipc"])
@pytest.mark.parametrize("way", ENDS)
def test_nothing_is_left_after(start_kernel, tmp_path, monkeypatch, way, transport):
    monkeypatch.chdir(tmp_path)
    traces = Traces(start_kernel, tmp_path, transport)
    assert len(traces.processes) >= 2
    ENDS[way](traces.kernel)
    try:
        wait_until(lambda: not traces.left(), "nothing is left", timeout=5)
    except AssertionError:
        pytest.fail(f"left after {way}: {traces.left()}")


def test_a_program_started_by_a_cell_ends_with_the_kernel(fresh):
    fresh.ok('let child = std::process::Command::new("sleep").arg("600").spawn()?;')
    processes = fresh.children()
    assert any(p.name() == "sleep" for p in processes)
    os.kill(fresh.process.pid, signal.SIGKILL)
    wait_until(lambda: not any(map(alive, processes)), "all processes end")


PARENT = f"""
import sys
from jupyter_client.manager import KernelManager
manager = KernelManager(kernel_name={KERNEL!r})
manager.start_kernel()
print(manager.provisioner.pid, flush=True)
sys.stdin.read()
"""


def test_a_kernel_ends_when_its_parent_dies(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        kernel = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    wait_until(lambda: not alive(kernel), "the kernel ends")


def test_a_restart_forgets_everything(fresh):
    fresh.ok("let x = 1;")
    fresh.client.stop_channels()
    fresh.manager.restart_kernel()
    fresh.client = fresh.connect()
    assert "x" in fresh.run("x").error_text
    assert fresh.ok("2").result == "2"
