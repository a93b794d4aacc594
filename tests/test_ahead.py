"""The next cell of the queue is compiled while one runs: seen in the session's folder, and by what
comes back."""

import pytest
from conftest import wait_until

# Runs until the file is there.
GATE = 'while !std::path::Path::new("{}").exists() {{ parcell::interrupt::sleep(\
std::time::Duration::from_millis(5)); }}'


@pytest.fixture
def spied(start_kernel, tmp_path):
    """A kernel whose modules can be counted, and a gate that cells wait at."""
    kernel = start_kernel(env={"PARCELL_TMP": str(tmp_path / "sessions")})
    kernel.ok("1 + 1")
    kernel.gate = tmp_path / "gate"
    kernel.modules = lambda: len(list((tmp_path / "sessions").glob("*/m*/libcell.so")))
    return kernel


def gate(kernel) -> str:
    return GATE.format(kernel.gate)


def test_the_next_cell_is_compiled_while_one_runs(spied):
    before = spied.modules()
    first = spied.send(f"fn two() -> i32 {{ 2 }}\nlet v = vec![two(); 3];\n{gate(spied)}")
    second = spied.send("v.iter().sum::<i32>() * two()")
    wait_until(lambda: spied.modules() == before + 2, "both cells are compiled", 30)
    spied.gate.touch()
    assert spied.result(first).ok
    assert spied.result(second).result == "12"
    assert spied.modules() == before + 2


def test_nothing_of_a_cell_shows_before_its_turn(spied):
    first = spied.send(f'println!("first"); {gate(spied)}')
    second = spied.send("let wrong: i32 = true;")
    spied.printed(first, "first")
    spied.gate.touch()
    assert spied.result(first).ok
    assert spied.result(second).error["ename"] == "E0308"


def test_what_was_compiled_ahead_is_thrown_away_if_the_first_cell_fails(spied):
    spied.ok("let mut n = 1;")
    before = spied.modules()
    first = spied.send(f'{gate(spied)} n = 5; let m = 1; panic!("no")')
    second = spied.send("n + m", stop_on_error=False)
    third = spied.send("n", stop_on_error=False)
    wait_until(lambda: spied.modules() >= before + 2, "both cells are compiled", 30)
    spied.gate.touch()
    assert spied.result(first).error["ename"] == "Panic"
    assert spied.result(second).reply["status"] == "aborted"
    assert spied.result(third).reply["status"] == "aborted"
    assert spied.run("n + m").error["ename"] == "E0425"
    assert spied.ok("n").result == "5"


def test_a_queue_of_dependent_cells_runs_in_order(spied):
    cells = ["let mut log = vec![0];"]
    cells += [f"fn step() -> i32 {{ {i} }}\nlog.push(step());" for i in range(1, 20)]
    cells += ["let moved = log;", "log", "moved.len()"]
    requests = [spied.send(cell, stop_on_error=False) for cell in cells]
    results = [spied.result(request) for request in requests]
    assert all(result.ok for result in results[:-2])
    assert results[-2].error["ename"] == "E0425"
    assert spied.ok("moved").result == str(list(range(20)))


def test_magics_between_queued_cells_count(spied):
    cells = ["let n = 1;", "%forget n", "let n = 2.5;", "%opt 0", "n * 2.0", "%%opt 1\nn * 3.0"]
    results = [spied.result(request) for request in [spied.send(cell) for cell in cells]]
    assert [result.result for result in results] == [None, None, None, None, "5.0", "7.5"]


def test_an_interrupt_ends_the_running_cell_alone(spied):
    first = spied.send(f'println!("on"); {gate(spied)}')
    spied.printed(first, "on")
    spied.interrupt()
    assert spied.result(first).error["ename"] == "Interrupted"
    assert spied.ok("1 + 1").result == "2"
