"""What must not grow with the number of workers, hosts of different kinds, and slow links."""

import os
import re
import signal

import pytest
from cluster.test_workers_elsewhere import computes, started
from conftest import wait_until

FILLER = """
fn filler(by: u64) -> u64 { (0..64u64).map(|k| k.wrapping_mul(by)).fold(0, |a, b| a ^ b) }
"""


def numbers(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", text)]


def sent(kernel, process: int = 1) -> tuple[int, int]:
    """How many modules a process has sent to other hosts, and how many bytes of them."""
    where = "" if process == 1 else f"fetch_from!({process}, "
    code = f"{{ let s = {where}parcell::distributed::code_sent(){')' if where else ''}; (s.modules, s.bytes) }}"
    return tuple(numbers(kernel.ok(code).result))


def shipped(kernel, call: str) -> tuple[int, int]:
    """The modules and bytes that the driver sends for a cell."""
    before = sent(kernel)
    kernel.ok(call)
    after = sent(kernel)
    return after[0] - before[0], after[1] - before[1]


def process_of(host, worker: str):
    """The process of a worker on a host, by the number that the host knows it by."""
    for process in host.processes("."):
        with open(f"/proc/{process.pid}/status") as file:
            if re.search(rf"^NSpid:.*\t{worker}$", file.read(), re.M):
                return process
    raise AssertionError(f"no process {worker} on {host.name}")


# ---------------------------------------------------------------------------------------------
# Code


def test_the_driver_sends_a_module_once_to_each_host(hosts):
    cluster = hosts(3)
    kernel = cluster.kernel()
    kernel.ok("%workers --manager ssh --hosts h1,h2,h3")
    kernel.ok(FILLER)
    modules, few = shipped(kernel, "everywhere!(&workers(), filler(3));")
    assert modules == 3
    assert started(kernel.ok("%workers --manager ssh --hosts h1*3,h2*3,h3*3")) == 9
    modules, many = shipped(kernel, "everywhere!(&workers(), filler(5));")
    assert modules == 3, "12 workers are sent no more than 3"
    assert many == pytest.approx(few, rel=0.05)
    # Of each host one has passed it on, and calls between workers take the same way.
    kernel.ok("for _ in 0..2 { everywhere!(&workers(), filler(7)); }")
    assert [sent(kernel, process)[0] >= 6 for process in (2, 3, 4, 5)] == [True, True, True, False]
    assert kernel.ok("fetch_from!(2, fetch_from!(12, filler(1)))").result == "0"
    computes(kernel, 12)
    kernel.close()
    wait_until(lambda: not any(host.processes() for host in cluster), "nothing is left", 10)


def test_libraries_travel_once_to_each_host(hosts, tmp_path):
    (tmp_path / "src").mkdir()
    (tmp_path / "Cargo.toml").write_text('[package]\nname = "tiny"\nversion = "0.1.0"\nedition = "2021"\n')
    (tmp_path / "src/lib.rs").write_text("""
        use std::sync::atomic::{AtomicU32, Ordering};
        static SEEN: AtomicU32 = AtomicU32::new(0);
        pub fn seen() -> u32 { SEEN.fetch_add(1, Ordering::Relaxed) }
    """)
    cluster = hosts(2)
    kernel = cluster.kernel()
    kernel.ok(f':dep tiny = {{ path = "{tmp_path}" }}', timeout=300)
    kernel.ok("%workers 6 --manager ssh --hosts h1,h2")
    modules, first = shipped(kernel, "everywhere!(&workers(), tiny::seen());")
    assert modules == 2
    # One copy of the library in each process, so its variables are those of the cell before.
    assert kernel.ok("everywhere!(&workers(), tiny::seen())").result == "[1, 1, 1, 1, 1, 1]"
    modules, second = shipped(kernel, "everywhere!(&workers(), tiny::seen());")
    assert modules == 2 and second < first
    kernel.close()


def test_hosts_fetch_from_each_other_and_outlive_those_above(hosts):
    cluster = hosts(6)
    kernel = cluster.kernel()
    kernel.ok("%workers --manager ssh --hosts h1,h2,h3,h4,h5,h6")
    kernel.ok(FILLER)
    modules, _ = shipped(kernel, "everywhere!(&workers(), filler(3));")
    assert modules == 4, "hosts 5 and 6 ask host 1"
    above = process_of(cluster[0], kernel.ok("fetch_from!(2, std::process::id())").result)
    above.send_signal(signal.SIGSTOP)
    # Nobody who asks the worker on host 1 gets an answer, until it is dead and the driver is asked.
    request = kernel.send('println!("begun");\nfetch_from!(7, filler(5))')
    kernel.printed(request, "begun")
    above.send_signal(signal.SIGKILL)
    assert kernel.result(request).ok
    modules, _ = shipped(kernel, "everywhere!(&[3, 4, 5, 6, 7], filler(9));")
    assert modules == 4, "host 2 stands where host 1 was, for those that can still ask it"
    kernel.close()


def test_code_passes_a_worker_that_was_stopped(hosts):
    cluster = hosts(1)
    kernel = cluster.kernel()
    kernel.ok("%workers 2 --manager ssh --hosts h1")
    kernel.ok(FILLER)
    kernel.ok("everywhere!(&workers(), filler(3));")
    first = process_of(cluster[0], kernel.ok("fetch_from!(2, std::process::id())").result)
    first.send_signal(signal.SIGSTOP)
    assert kernel.ok("fetch_from!(3, filler(5))", timeout=30).ok
    first.send_signal(signal.SIGCONT)
    assert kernel.ok("everywhere!(&workers(), filler(7)).len()").result == "2"
    kernel.close()


# ---------------------------------------------------------------------------------------------
# Processors


def a_feature() -> str:
    """An instruction set that this machine has and older ones have not."""
    with open("/proc/cpuinfo") as file:
        have = next(line for line in file if line.startswith(("flags", "Features"))).split()
    younger = ("avx512f", "avx2", "fma", "avx", "sve", "atomics")
    return next(name for name in younger if name in have)


def test_a_host_of_another_kind_is_refused_with_the_way_out(hosts):
    cluster = hosts(2)
    lacking = a_feature()
    cluster[1].lacks(lacking)
    kernel = cluster.kernel()
    refused = kernel.run("%workers --manager ssh --hosts h1,h2").error_text
    assert f"the processor of h2 has no {lacking}" in refused
    assert "--target-cpu" in refused
    assert kernel.ok("workers()").result == "[2]", "the other host takes part"
    kernel.close()


@pytest.mark.timeout(900)
def test_cells_compiled_for_an_older_kind_run_on_all_hosts(hosts):
    """Builds a cell library, unless one of an earlier run lies in the cache."""
    younger = ["avx", "avx2", "fma", "f16c", "bmi1", "bmi2", "movbe", "abm", "gfni", "sha_ni", "adx"]
    younger += ["avx512f", "avx512vl", "avx512bw", "avx512_vpopcntdq", "vaes", "avx_vnni", "sse4a"]
    cluster = hosts(2)
    cluster[1].lacks(*younger)
    kernel = cluster.kernel(env={**os.environ, "PARCELL_TARGET_CPU": "x86-64-v2"})
    assert started(kernel.ok("%workers --manager ssh --hosts h1,h2", timeout=800)) == 2
    assert kernel.ok('cfg!(target_feature = "avx2")').result == "false"
    assert kernel.ok('everywhere!(cfg!(target_feature = "sse4.2"))').result == "[true, true, true]"
    computes(kernel, 2)
    kernel.close()
    unknown = cluster.kernel(env={**os.environ, "PARCELL_TARGET_CPU": "abacus"})
    assert "abacus is no processor that rustc knows" in unknown.run("1 + 1").error_text
    unknown.close()


# ---------------------------------------------------------------------------------------------
# Slow links


def test_all_works_over_slow_links(hosts):
    cluster = hosts(3)
    cluster[0].delay(100)
    cluster[1].slow(6e6)
    cluster[2].delay(50)
    cluster[2].slow(12e6)
    kernel = cluster.kernel()
    assert started(kernel.ok("%workers 6 --manager ssh --hosts h1,h2,h3", timeout=90)) == 6
    kernel.ok(FILLER)
    modules, _ = shipped(kernel, "everywhere!(&workers(), filler(3));")
    assert modules == 3
    computes(kernel, 6)
    rows = "DArray::<f64, _>::from_fn((2000, 100), |(i, j): (usize, usize)| (i + j) as f64)"
    assert kernel.ok(f"{rows}.sum()").result == "209800000.0"
    request = kernel.send('println!("begun");\nfetch_from!(2, parcell::interrupt::sleep(60));')
    kernel.printed(request, "begun")
    kernel.interrupt()
    assert not kernel.result(request, timeout=10).ok
    kernel.ok("%rmworkers", timeout=30)
    wait_until(lambda: not any(host.processes() for host in cluster), "nothing is left", 10)
    kernel.close()
