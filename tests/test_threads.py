"""Thread pools in real cells: their size, their places, and that an interrupt ends every wait."""

import re
from pathlib import Path

import pytest
from conftest import Kernel, wait_until


def driver_of(kernel: Kernel) -> int:
    return int(kernel.ok("std::process::id()").result)


def threads_of(process: int) -> dict[str, list[str]]:
    """Names of a process's threads, each with the cores that the threads of that name may use."""
    found: dict[str, list[str]] = {}
    for task in Path(f"/proc/{process}/task").iterdir():
        try:
            status = (task / "status").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        name = re.search(r"^Name:\t(.*)$", status, re.M)[1]
        cores = re.search(r"^Cpus_allowed_list:\t(.*)$", status, re.M)[1]
        found.setdefault(name, []).append(cores)
    return found


def test_a_hundred_resizes_keep_variables_and_leave_no_thread(fresh):
    fresh.ok("%threads 2")
    fresh.ok("let kept = vec![1, 2, 3];")
    driver = driver_of(fresh)
    before = sorted(threads_of(driver))
    for n in range(100):
        fresh.ok(f"%threads {1 + n % 4}")
    fresh.ok("%threads 2")
    assert fresh.ok("kept.par_iter().sum::<i32>()").result == "6"
    assert driver_of(fresh) == driver

    def names():
        threads = threads_of(driver)
        return sorted(name for name in threads for _ in threads[name])

    wait_until(lambda: sorted(set(names())) == before and len(names()) == len(before), "no more")


def test_pinned_threads_stay_on_cores_of_their_own_until_let_go(fresh):
    fresh.ok("%threads 2")
    driver = driver_of(fresh)
    free = threads_of(driver)["cell"][0]
    shown = fresh.ok("%threads --pin")
    assert "core 0 only" in shown.displays[-1]["text/plain"]
    assert "<table" in shown.displays[-1]["text/html"]

    def each_on_one_core():
        """Cores of the pool's two threads, once those of the pool before are gone."""
        pinned = threads_of(driver)
        of_pool = pinned["cell"] + pinned["parcell-1"]
        return of_pool if len(of_pool) == 2 and all(cores.isdigit() for cores in of_pool) else None

    first, second = wait_until(each_on_one_core, "each thread on one core")
    assert (first != second) == (free != first)
    # Threads that are not of the pool are not squeezed onto the core of the one that starts them.
    fresh.ok("spawn_interactive(|| 1).fetch()")
    assert threads_of(driver)["interactive-0"] == [free]
    fresh.ok("%threads 3")
    assert all(cores.isdigit() for cores in threads_of(driver)["cell"])
    fresh.ok("%threads --pin off")

    def all_free():
        return all(cores == free for of_name in threads_of(driver).values() for cores in of_name)

    wait_until(all_free, "no thread is held to a core")


def test_an_interactive_task_answers_while_all_threads_compute(kernel):
    kernel.ok("%threads 2,1")
    code = """
        use std::io::{Read, Write};
        let server = std::net::TcpListener::bind("127.0.0.1:0")?;
        let address = server.local_addr()?;
        let served = spawn_interactive(move || {
            let mut client = server.accept().unwrap().0;
            client.write_all(b"still here").unwrap();
        });
        let asked = Atomic::new(false);
        par_for(0..nthreads()).chunk(1).for_each(|i| {
            if i == 0 {
                let mut answer = String::new();
                std::net::TcpStream::connect(address).unwrap().read_to_string(&mut answer).unwrap();
                println!("{answer}");
                asked.store(true);
            }
            while !asked.load() { std::hint::spin_loop(); }
        });
        served.wait();
    """
    assert kernel.ok(code).stdout == "still here\n"


def test_without_an_interactive_pool_its_tasks_are_tasks_like_others(kernel):
    kernel.ok("%threads 2,0")
    assert kernel.ok("spawn_interactive(|| 6 * 7).fetch()").result == "42"
    kernel.ok("%threads 2,1")


def test_the_threads_of_a_driver_that_was_started_anew_are_as_before(fresh):
    fresh.ok("%threads 3,2 --pin")
    fresh.ok("%restart")
    assert fresh.ok("(nthreads(), parcell::threads::interactive_threads())").result == "(3, 2)"
    assert all(cores.isdigit() for cores in threads_of(driver_of(fresh))["cell"])


WAITS = {
    "par_for": "par_for(0..u64::MAX).for_each(|i| { std::hint::black_box(i); });",
    "par_for static": (
        "par_for(0..u64::MAX).schedule(Schedule::Static)"
        ".for_each(|i| { std::hint::black_box(i); });"
    ),
    "par_for guided": (
        "par_for(0..u64::MAX).schedule(Schedule::Guided)"
        ".for_each(|i| { std::hint::black_box(i); });"
    ),
    "slow iterations": "par_for(0..1000).for_each(|_| sleep(1.));",
    "nested": (
        "par_for(0..u64::MAX).for_each(|i| "
        "par_for(0..1000).for_each(|j| { std::hint::black_box(i ^ j); }));"
    ),
    "an endless iterator": "par_for_iter(0u64..).for_each(|i| { std::hint::black_box(i); });",
    "a reduction": "let s = par_for(0..u64::MAX).map_reduce(std::hint::black_box, |a, b| a ^ b, 0);",
    "sync": "sync(|s| { for _ in 0..3 { s.spawn(|| sleep(60.)); } });",
    "fetch": "spawn(|| sleep(60.)).fetch();",
    "an interactive task": "spawn_interactive(|| sleep(60.)).fetch();",
    "take": "Channel::<i32>::new(0).take();",
    "put": "Channel::new(0).put(1);",
    "a semaphore": (
        "let s = parcell::threads::Semaphore::new(1); let p = s.acquire(); s.acquire();"
    ),
    "an event": "parcell::threads::Event::new().wait();",
    "a lock": "let l = parcell::threads::Lock::new(0); let g = l.lock(); l.lock();",
    "await": "spawn(|| sleep(60.)).await;",
}


@pytest.mark.parametrize("wait", WAITS)
def test_an_interrupt_ends_every_wait_and_keeps_driver_and_variables(kernel, wait):
    kernel.ok("%threads 2")
    driver = driver_of(kernel)
    kernel.ok("let kept = 5;")
    request = kernel.send('println!("on");' + WAITS[wait])
    kernel.printed(request, "on")
    kernel.interrupt()
    result = kernel.result(request)
    assert result.error["ename"] == "Interrupted", result.error_text
    assert kernel.ok("kept").result == "5"
    assert kernel.ok("(0..100).into_par_iter().sum::<i32>()").result == "4950"
    assert driver_of(kernel) == driver


def test_panics_of_several_iterations_are_told_together_with_their_indices(kernel):
    error = kernel.run(
        "par_for(0..100).for_each(|i| if i % 40 == 7 { panic!(\"no {i}\") });"
    ).error_text
    assert "3 of 100 iterations panicked" in error
    for index in (7, 47, 87):
        assert f"iteration {index}: no {index}" in error


def test_a_loop_gives_each_iteration_to_one_thread(kernel):
    kernel.ok("%threads 2")
    for schedule in ("Static", "Dynamic", "Guided", "Greedy"):
        code = f"""
            let mut seen = vec![0; 1001];
            par_for(&mut seen).schedule(Schedule::{schedule}).for_each(|n| *n += 1);
            seen.iter().all(|&n| n == 1)
        """
        assert kernel.ok(code).result == "true"


def test_a_detached_task_that_fails_is_told_with_its_place(kernel):
    code = "parcell::threads::spawn_detached(|| panic!(\"all alone\")).wait();"
    error = kernel.ok(code).stderr
    assert "all alone" in error and re.search(r"\[cell \d+, line 1\]|In\[\d+\]:1", error)
