"""Maps and loops whose workers die, stop or are interrupted, and every way to ask for a map."""

import os
import re
import signal
import time
from itertools import product

import pytest
from conftest import Kernel, plain
from test_processes import pids


@pytest.fixture
def two(fresh) -> Kernel:
    """A kernel with workers 2 and 3."""
    fresh.ok("%workers 2")
    return fresh


def kill_when_printed(kernel: Kernel, code: str, end: signal.Signals = signal.SIGKILL):
    """Runs a cell, and kills worker 2 once it has printed `now`."""
    pid = pids(kernel)[2]
    request = kernel.send(code)
    kernel.printed(request, "now")
    os.kill(pid, end)
    return request, pid


SLOW = 'fn slow(x: i32) -> i32 { if x == 4 { println!("now"); } sleep(0.02); x }\n'


def running(kernel: Kernel) -> str:
    """How many calls run on each worker."""
    census = kernel.ok('format!("{:?}", parcell::distributed::census())').result
    return re.findall(r"running: (\d+)", census)[1:]


@pytest.mark.parametrize("batch", ["", ".batch_size(5)"])
def test_a_map_with_retries_outlives_a_worker(two, batch):
    code = SLOW + f"let all = pmap(slow, 0..60).retries(1){batch}.collect(); all == (0..60).collect::<Vec<_>>()"
    request, _ = kill_when_printed(two, code)
    result = two.result(request)
    assert result.ok, plain("\n".join(result.reply["traceback"]))
    assert result.result == "true"
    assert two.ok("workers()").result == "[3]"


def test_a_map_without_retries_names_the_worker_that_died(two):
    request, _ = kill_when_printed(two, SLOW + "pmap(slow, 0..60).collect()")
    failed = two.result(request)
    assert failed.error["ename"] == "ProcessExited"
    assert "process 2 is gone" in failed.error_text
    assert two.ok("pmap(slow, 0..3).collect()").result == "[0, 1, 2]"


def test_the_items_of_a_worker_that_died_can_be_replaced(two):
    code = SLOW + "let all = pmap(slow, 0..60).on_error(|_| -1).collect();"
    request, _ = kill_when_printed(two, code)
    assert two.result(request).ok
    lost = int(two.ok("all.iter().filter(|x| **x < 0).count()").result)
    assert 1 <= lost <= 8
    assert two.ok("all.len()").result == "60"


def test_a_map_whose_workers_all_died_says_so(fresh):
    fresh.ok("%workers 1")
    request, _ = kill_when_printed(fresh, SLOW + "pmap(slow, 0..60).retries(5).collect()")
    failed = fresh.result(request)
    assert failed.error["ename"] == "ProcessExited"
    assert fresh.ok("pmap(slow, 0..3).collect()").result == "[0, 1, 2]"


def test_a_map_waits_for_a_worker_that_is_stopped(two):
    request, pid = kill_when_printed(two, SLOW + "pmap(slow, 0..60).collect()", signal.SIGSTOP)
    try:
        two.until(request, lambda m: "worker 2 does not answer" in str(m["content"].get("text")))
    finally:
        os.kill(pid, signal.SIGCONT)
    assert two.result(request).result == str(list(range(60)))


def test_a_loop_names_the_worker_that_died(two):
    code = 'distributed!(+, for i in 0..60 { if i == 4 { println!("now"); } sleep(0.02); i })'
    request, _ = kill_when_printed(two, code)
    failed = two.result(request)
    assert failed.error["ename"] == "ProcessExited"
    assert "process 2 is gone" in failed.error_text
    assert two.ok("distributed!(+, for i in 0..60 { i })").result == "1770"


@pytest.mark.parametrize(
    "work",
    [
        "pmap(nap, 0..100).collect()",
        "pmap(nap, 0..100).batch_size(10).retries(3).collect()",
        "pmap(nap, 0..).into_iter().count()",
        "distributed!(+, for i in 0..100 { nap(i) })",
        "distributed!(schedule = Schedule::Dynamic, for i in 0..100 { nap(i) }).wait()",
    ],
)
def test_an_interrupt_ends_a_map_or_loop_everywhere(two, work):
    before = pids(two)
    two.ok('fn nap(x: i32) -> i32 { if x == 0 { println!("now"); } sleep(0.5); x }')
    request = two.send(work)
    two.printed(request, "now")
    start = time.monotonic()
    two.interrupt()
    assert two.result(request).error["ename"] == "Interrupted"
    assert time.monotonic() - start < 1
    assert two.ok("fetch_from!(2, 1) + fetch_from!(3, 1)").result == "2"
    assert running(two) == ["0", "0"]
    assert pids(two) == before


def test_the_first_failure_ends_what_runs(two):
    two.ok("fn boom(x: i32) -> i32 { if x == 1 { panic!(\"boom\") } sleep(0.2); x }")
    failed = two.run("pmap(boom, 0..1000).batch_size(20).collect()")
    assert "boom" in failed.error_text
    start = time.monotonic()
    two.ok("fetch_from!(2, 1) + fetch_from!(3, 1)")
    assert time.monotonic() - start < 3, "the rest of the batches was run"


def test_a_failure_that_nobody_waits_for_is_printed(two):
    code = """
        distributed!(for i in 0..4 { if i == 3 { panic!("unseen") } });
        sleep(0.5);
    """
    assert re.search(r"cell \d+, line 2.*On worker 3: unseen", two.ok(code).stderr)
    two.ok('let kept = distributed!(for i in 0..4 { if i == 3 { panic!("seen") } });')
    failed = two.run("kept.wait()")
    assert "seen" in failed.error_text and "On worker 3" in failed.error_text


WAYS = {
    "distributed": ["", ".distributed(false)"],
    "batch_size": ["", ".batch_size(1)", ".batch_size(7)"],
    "on_error": ["", ".on_error(|_| 1000)"],
    "retry_delays": ["", ".retry_delays([0.001; 5])", ".retries(5)"],
    "retry_check": ["", ".retry_check(|e| e.to_string().contains(\"moody\"))"],
    "ordered": ["", ".ordered(false)"],
}


def test_every_way_to_ask_for_a_map(two):
    """Worker 2 always fails: retries move work to worker 3."""
    two.ok("""
        fn square(x: i32) -> i32 { x * x }
        fn moody(x: i32) -> i32 { assert!(myid() == 3, "moody"); x * x }
        fn squares(n: i32) -> Vec<i32> { (0..n).map(|x| x * x).collect() }
        fn sorted(mut v: Vec<i32>) -> Vec<i32> { v.sort(); v }
    """)
    lines = []
    for place, size, error, again, check, order in product(*WAYS.values()):
        function = "moody" if again and not place else "square"
        call = f"pmap({function}, 0..30){place}{size}{error}{again}{check}{order}.collect()"
        lines.append(f"assert_eq!(sorted({call}.into_vec()), squares(30), \"{{}}\", {len(lines)});")
        if not order:
            lines.append(f"assert_eq!({call}, squares(30), \"{{}}\", {len(lines)});")
    two.ok("\n".join(lines))
    replaced = two.ok("pmap(moody, 0..30).on_error(|_| -1).collect().into_vec()").result
    assert "-1" in replaced
    refused = two.run("pmap(moody, 0..30).retries(5).retry_check(|_| false).collect()")
    assert "On worker 2: moody" in refused.error_text

