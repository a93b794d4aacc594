"""Workers in real sessions: what they print, how they fail, and that nothing of them is left."""

import contextlib
import os
import re
import signal
import socket
import time

import psutil
import pytest
from conftest import Kernel, alive, plain, wait_until


def pids(kernel: Kernel) -> dict[int, int]:
    """Process ids of the workers, by their id in the session."""
    text = kernel.ok("everywhere!((myid(), std::process::id()))").result
    return {int(i): int(p) for i, p in re.findall(r"\((\d+), (\d+)\)", text) if int(i) > 1}


@pytest.fixture
def two(fresh) -> Kernel:
    """A kernel with workers 2 and 3."""
    fresh.ok("%workers 2")
    return fresh


def test_workers_come_and_go_and_their_ids_are_not_used_again(fresh):
    assert fresh.ok("%workers 2").stdout == "workers 2, 3 started\n"
    assert fresh.ok("procs()").result == "[1, 2, 3]"
    assert fresh.ok("%rmworkers 3").stdout == "worker 3 removed\n"
    assert fresh.ok("addprocs(1)").result == "[4]"
    assert fresh.ok("(nprocs(), nworkers(), workers(), myid())").result == "(3, 2, [2, 4], 1)"
    table = fresh.ok("%workers").displays[0]
    assert "<table" in table["text/html"]
    rows = [line.split() for line in table["text/plain"].splitlines() if line.strip()]
    assert {"2", "4"} <= {row[0] for row in rows}
    assert fresh.ok("%rmworkers").stdout == "workers 2, 4 removed\n"
    assert fresh.ok("(workers(), nworkers())").result == "([1], 1)"


def test_wrong_ids_are_told_and_change_nothing(two):
    assert "there is no process 9; there are 1, 2, 3" in two.run("spawn_at!(9, 1)").error_text
    assert "there is no worker 9; workers are: 2, 3" in two.run("rmprocs(&[2, 9])").error_text
    assert "process 1 is the driver" in two.run("rmprocs(&[1])").error_text
    assert "0 workers cannot be started" in two.run("addprocs(0)").error_text
    only_driver = two.run("fetch_from!(2, addprocs(1))").error_text
    assert "only process 1 can add and remove workers; this is process 2" in only_driver
    assert two.ok("workers()").result == "[2, 3]"


def test_a_worker_added_later_runs_what_was_defined_before(two):
    two.ok("fn cube(x: u64) -> u64 { x * x * x }\nuse std::sync::atomic::{AtomicU64, Ordering};\nstatic SEEN: AtomicU64 = AtomicU64::new(7);")
    two.ok("fetch_from!(2, cube(2))")
    two.ok("addprocs(1);")
    assert two.ok("fetch_from!(4, cube(3) + SEEN.load(Ordering::Relaxed))").result == "34"


def test_a_redefined_function_is_the_new_one_everywhere(two):
    two.ok('fn name() -> String { "old".into() }')
    assert two.ok("fetch_from!(2, name())").result == '"old"'
    two.ok('fn name() -> String { "new".into() }')
    assert two.ok("fetch_from!(2, name())").result == '"new"'


def test_what_workers_print_comes_whole_in_its_place(two):
    cell = two.ok(
        """
        println!("before");
        fetch_from!(2, { print!("half "); println!("and half"); eprintln!("to stderr"); });
        println!("after");
        """
    )
    assert plain(cell.stdout) == "before\nFrom worker 2:\thalf and half\nafter\n"
    assert plain(cell.stderr) == "From worker 2:\tto stderr\n"


def test_what_a_worker_calls_on_another_prints_in_the_cell(two):
    cell = two.ok("fetch_from!(2, { fetch_from!(3, println!(\"deep\")); println!(\"flat\"); })")
    assert sorted(plain(cell.stdout).splitlines()) == ["From worker 2:\tflat", "From worker 3:\tdeep"]


def test_displays_of_workers_show_in_the_cell(two):
    cell = two.ok('fetch_from!(3, { println!("a"); show(&Html("<b>bold</b>")); println!("b"); })')
    assert [d.get("text/html") for d in cell.displays] == ["<b>bold</b>"]
    kinds = [m["msg_type"] for m in cell.iopub if m["msg_type"] in ("stream", "display_data")]
    assert kinds.index("display_data") not in (0, len(kinds) - 1)


def test_late_output_goes_to_the_cell_that_caused_it(two):
    first = two.send('let late = spawn_at!(2, { sleep(1.0); println!("late"); });')
    two.reply(first)
    second = two.send("late.fetch()")
    two.reply(second)
    parents = {}
    end = time.monotonic() + 10
    while "late" not in parents and time.monotonic() < end:
        message = two.client.get_iopub_msg(timeout=10)
        if message["msg_type"] == "stream":
            text = plain(message["content"]["text"])
            parents[text.strip().split("\t")[-1]] = message["parent_header"]["msg_id"]
    assert parents == {"late": first}


def test_a_long_cell_says_what_runs_where_if_somebody_watches(two):
    request = two.send("fetch_from!(2, sleep(3))", allow_stdin=True)
    shown = [m for m in two.messages(request) if "display" in m["msg_type"]]
    texts = [m["content"]["data"]["text/plain"] for m in shown]
    assert re.match(r"running \[cell 2, line 1\]: 1 call on 2 \(\d\.\d s\)", texts[0])
    assert texts[-1] == ""
    two.reply(request)
    unwatched = two.ok("fetch_from!(2, sleep(2.5))")
    assert not unwatched.displays


def test_a_remote_panic_tells_worker_message_place_and_functions(two):
    two.ok("#[inline(never)]\nfn broken(n: usize) -> i32 {\n    let v = vec![1, 2];\n    v[n]\n}")
    failed = two.run("let n = 7;\nfetch_from!(3, broken(n))")
    assert failed.error["ename"] == "RemoteError"
    text = failed.error_text
    assert "On worker 3: index out of bounds: the len is 2 but the index is 7" in text
    assert "[cell 2, line 4]" in text and "broken" in text
    assert two.ok("fetch_from!(3, 1)").result == "1", "the worker lives on"


def test_several_failures_are_told_together(two):
    failed = two.run('everywhere!(&[2, 3], panic!("no {}", myid()))')
    assert failed.error["ename"] == "CompositeError"
    assert "On worker 2: no 2" in failed.error_text and "On worker 3: no 3" in failed.error_text


@pytest.mark.parametrize(
    ("end", "why"),
    [
        ("unsafe { libc_kill() }", "SIGKILL"),
        ("std::process::exit(3)", "exit status 3"),
        ("std::process::abort()", "SIGABRT"),
        ("unsafe { *(8 as *mut u8) = 1 }", "SIGSEGV"),
    ],
)
def test_a_worker_that_dies_fails_its_calls_and_nothing_else(two, end, why):
    two.ok(
        'unsafe extern "C" { fn raise(signal: i32) -> i32; }\n'
        "unsafe fn libc_kill() { unsafe { raise(9); } }"
    )
    two.ok("let other = spawn_at!(3, { sleep(0.2); 33 });")
    start = time.monotonic()
    failed = two.run(f"fetch_from!(2, {{ {end}; }})")
    assert time.monotonic() - start < 5
    assert failed.error["ename"] == "ProcessExited"
    assert "process 2 is gone" in failed.error_text and why in failed.error_text
    assert two.ok("other.fetch()").result == "33"
    assert two.ok("workers()").result == "[3]"
    assert "gone" in two.ok("%workers").displays[0]["text/plain"]
    assert two.ok("addprocs(1)").result == "[4]"
    assert two.ok("fetch_from!(4, myid())").result == "4"


def test_calls_that_wait_fail_within_a_second_of_a_kill(two):
    pid = pids(two)[2]
    request = two.send('println!("waiting"); spawn_at!(2, { sleep(60); 1 }).fetch()')
    two.printed(request, "waiting")
    os.kill(pid, signal.SIGKILL)
    killed = time.monotonic()
    failed = two.result(request)
    assert time.monotonic() - killed < 1.5
    assert failed.error["ename"] == "ProcessExited"


def test_a_stopped_worker_is_reported_and_not_failed(two):
    pid = pids(two)[2]
    os.kill(pid, signal.SIGSTOP)
    try:
        request = two.send("let slow = spawn_at!(2, 5); slow.fetch()")
        two.until(request, lambda m: "worker 2 does not answer" in str(m["content"].get("text")))
    finally:
        os.kill(pid, signal.SIGCONT)
    assert two.result(request).result == "5"


def test_a_stopped_worker_can_be_removed(two):
    os.kill(pids(two)[2], signal.SIGSTOP)
    two.ok("%rmworkers 2")
    assert two.ok("workers()").result == "[3]"


def test_an_interrupt_ends_what_runs_on_workers_and_they_live_on(two):
    before = pids(two)
    request = two.send('println!("on"); everywhere!(&[2, 3], while true { sleep(0.01) })')
    two.printed(request, "on")
    two.interrupt()
    assert two.result(request).error["ename"] == "Interrupted"
    assert pids(two) == before
    assert two.ok("fetch_from!(2, 1) + fetch_from!(3, 1)").result == "2"
    assert "running: 0" in two.ok("format!(\"{:?}\", parcell::distributed::census()[&2])").result


def test_everywhere_and_px_keep_variables_on_each_process(two):
    two.ok("%%everywhere\nlet mine = myid() * 10;")
    shown = two.ok('%%px\nprintln!("{mine}");')
    assert sorted(plain(shown.stdout).splitlines()) == [
        "From worker 2:\t20",
        "From worker 3:\t30",
    ]
    assert two.ok("mine").result == "10"
    only = two.ok('%%px --targets 3\nprintln!("{}", mine + 1);')
    assert plain(only.stdout) == "From worker 3:\t31\n"


def test_px_groups_outputs_by_worker(two):
    cell = two.ok('%%px --group-outputs engine\nfor i in 0..3 { println!("{i}"); }')
    lines = plain(cell.stdout).splitlines()
    assert lines == [f"From worker {w}:\t{i}" for w in (2, 3) for i in range(3)]


def test_a_failure_of_px_names_the_workers(two):
    failed = two.run('%%px\nif myid() == 3 { panic!("only here"); }')
    assert "On worker 3: only here" in failed.error_text
    assert two.ok("fetch_from!(3, 1)").result == "1"


def test_nothing_lives_after_the_kernel_is_killed(two):
    family = [two.process, *two.children()]
    workers = [psutil.Process(pid) for pid in pids(two).values()]
    two.process.kill()
    wait_until(lambda: not any(map(alive, [*family, *workers])), "all gone", timeout=2.5)


def test_nothing_lives_after_the_driver_is_killed(two):
    workers = [psutil.Process(pid) for pid in pids(two).values()]
    two.run("std::process::abort()")
    wait_until(lambda: not any(map(alive, workers)), "all gone", timeout=2.5)
    assert two.ok("addprocs(1)").result == "[2]"


def test_values_are_freed_on_every_process(two):
    two.ok(
        """
        let kept: Vec<RemoteFuture<Vec<f64>>> =
            (0..50).map(|i| spawn_at!(2 + i % 2, vec![0.5; 1000])).collect();
        let passed: Vec<f64> = kept.iter().map(|f| { let f = f.clone(); fetch_from!(3, f.fetch().len() as f64) }).collect();
        assert_eq!(passed, vec![1000.0; 50]);
        drop(kept);
        """
    )
    census = "format!(\"{:?}\", parcell::distributed::census().values().map(|c| c.values + c.functions + c.channels).collect::<Vec<_>>())"
    wait_until(lambda: two.ok(census).result == '"[0, 0, 0]"', "all freed")


def test_a_stranger_at_a_workers_socket_learns_nothing(two):
    pid = pids(two)[2]
    with open("/proc/net/unix") as table:
        names = [line.split()[-1][1:] for line in table if "@parcell-" in line]
    assert names
    for name in names:
        for rubbish in (b"\x00" * 64, b"GET / HTTP/1.0\r\n\r\n", b"\xff" * 4096, b"p"):
            with socket.socket(socket.AF_UNIX) as stranger:
                stranger.settimeout(15)
                stranger.connect("\0" + name)
                with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                    stranger.sendall(rubbish)
                    stranger.shutdown(socket.SHUT_WR)
                    assert stranger.recv(100) == b""
    assert pids(two)[2] == pid
