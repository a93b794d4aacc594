"""Completion and inspection: at once from the session, in full once rust-analyzer is ready."""

import os
import re
import signal
from pathlib import Path

import psutil
import pytest
from conftest import Kernel, alive, wait_until

NAMES = Path(__file__).parents[1] / "src/engine/analyst/std_names.txt"
# The answers must come while a cell runs; how fast they do is `benches/answers.py`'s business.
SOON = 2
ITEMS = """
/// A point in the plane.
#[derive(Debug, Clone)]
struct Point { abscissa: f64, ordinate: f64 }
impl Point { fn norm(&self) -> f64 { self.abscissa.hypot(self.ordinate) } }
enum Colour { Red, Green }
fn largest(v: &[f64]) -> f64 { v.iter().copied().fold(0.0, f64::max) }
"""
VARIABLES = "let numbers = vec![1.0, 2.0];\nlet point = Point { abscissa: 1., ordinate: 2. };"


def complete(kernel: Kernel, code: str, timeout: float = SOON) -> dict:
    """The reply to a completion at the end of the code."""
    return kernel.reply(kernel.client.complete(code), timeout=timeout)["content"]


def offers(kernel: Kernel, code: str) -> dict[str, dict]:
    """What is offered at the end of the code, with types and signatures."""
    typed = complete(kernel, code)["metadata"]["_jupyter_types_experimental"]
    return {offer["text"]: offer for offer in typed}


def inspect(kernel: Kernel, code: str, timeout: float = SOON) -> str:
    """The plain text of the tooltip at the end of the code."""
    content = kernel.reply(kernel.client.inspect(code), timeout=timeout)["content"]
    return content["data"].get("text/plain", "")


def analyst(kernel: Kernel) -> psutil.Process | None:
    """The analyst's process."""
    def is_analyst(process):
        try:
            return process.cmdline()[1:] == ["analyst"]
        except psutil.NoSuchProcess:
            return False

    return next(filter(is_analyst, kernel.process.children()), None)


def ready(kernel: Kernel):
    """Waits until rust-analyzer answers: the session does not know signatures of others."""
    def knows():
        return offers(kernel, "String::ne").get("new", {}).get("signature")

    wait_until(knows, "an answer of rust-analyzer", timeout=60)


@pytest.fixture
def defined(fresh) -> Kernel:
    """A kernel of one's own that knows the items and variables; nobody has asked it anything."""
    fresh.ok(ITEMS)
    fresh.ok(VARIABLES)
    return fresh


@pytest.fixture(scope="module")
def warm(kernel) -> Kernel:
    """A kernel that knows the items and variables and whose analyst is ready."""
    kernel.ok(ITEMS)
    kernel.ok(VARIABLES)
    ready(kernel)
    return kernel


def check_all(kernel: Kernel):
    """Asks for everything that somebody who types asks for."""
    assert offers(kernel, "let a = numb")["numbers"]["signature"] == "Vec<f64>"
    assert "largest" in complete(kernel, "larg")["matches"]
    assert {"abscissa", "ordinate", "norm"} <= set(complete(kernel, "point.")["matches"])
    assert {"Red", "Green"} <= set(complete(kernel, "let c = Colour::")["matches"])
    assert "A point in the plane" in inspect(kernel, "Point")
    assert "Vec<f64>" in inspect(kernel, "numbers")
    status = kernel.reply(kernel.client.is_complete("fn f() {"), timeout=SOON)["content"]["status"]
    assert status == "incomplete"
    kernel.reply(kernel.ask("kernel_info_request", channel="control"), "control", timeout=SOON)


def check_while_running(kernel: Kernel):
    """Asks for everything while a cell sleeps that only an interrupt ends."""
    running = kernel.send('println!("on"); sleep(600.)')
    kernel.printed(running, "on")
    check_all(kernel)
    kernel.interrupt()
    assert kernel.result(running).reply["ename"] == "Interrupted"


def test_everything_is_answered_while_a_cell_runs_and_the_analyst_starts(defined):
    check_while_running(defined)


def test_everything_is_answered_while_a_cell_runs_and_the_analyst_is_ready(warm):
    check_while_running(warm)


def test_nobody_waits_for_an_inspection(defined):
    # rust-analyzer is needed for it and has to start.
    slow = defined.client.inspect("String::with_capacity")
    order = [
        defined.client.complete("larg"),
        defined.client.is_complete("1 +"),
        defined.client.inspect("largest"),
    ]
    left = {*order, slow}
    while left - {slow}:
        reply = defined.client.get_shell_msg(timeout=SOON)["parent_header"]["msg_id"]
        left.discard(reply)
        assert slow in left, "the inspection was answered first"
    content = defined.reply(slow, timeout=30)["content"]
    assert "fn with_capacity" in content["data"]["text/plain"]


def test_the_analyst_starts_with_the_first_question_that_needs_it(fresh):
    fresh.answer("comm_info_request")
    fresh.ok(ITEMS)
    fresh.ok(VARIABLES)
    complete(fresh, "%thr")
    inspect(fresh, "largest")
    assert analyst(fresh) is None
    assert "largest" in complete(fresh, "larg")["matches"]
    wait_until(lambda: analyst(fresh), "the analyst's process")
    ready(fresh)


def test_the_analyst_can_be_started_early(start_kernel, monkeypatch):
    monkeypatch.setenv("PARCELL_ANALYST", "eager")
    kernel = start_kernel()
    kernel.answer("comm_info_request")
    wait_until(lambda: analyst(kernel), "the analyst's process")


@pytest.mark.parametrize("moment", ["while it starts", "when it is ready", "while it stands still"])
def test_an_analyst_that_is_killed_comes_back(defined, moment):
    complete(defined, "larg")
    first = wait_until(lambda: analyst(defined), "the analyst's process")
    if moment != "while it starts":
        ready(defined)
    if moment == "while it stands still":
        first.suspend()
        assert "largest" in complete(defined, "larg")["matches"]
        first.resume()
    os.kill(first.pid, signal.SIGKILL)
    check_all(defined)
    wait_until(lambda: analyst(defined) not in (None, first), "another process")
    ready(defined)
    check_all(defined)
    assert not alive(first)


def test_what_a_cell_defines_is_known_at_once(fresh):
    fresh.ok("fn first_helper() -> i32 { 1 }")
    assert "first_helper" in complete(fresh, "first_")["matches"]
    definitions = "fn second_helper() -> String { String::new() }\nlet later = vec![1];\n"
    running = fresh.send(definitions + 'println!("on"); sleep(600.)')
    fresh.printed(running, "on")
    assert "first_helper" in complete(fresh, "first_")["matches"]
    assert "second_helper" in complete(fresh, "second_")["matches"]
    assert "fn second_helper() -> String" in inspect(fresh, "second_helper")
    assert "to_uppercase" in complete(fresh, "second_helper().to_upp")["matches"]
    assert "push" in complete(fresh, "later.pu")["matches"]
    ready(fresh)
    assert "second_helper" in complete(fresh, "second_")["matches"]
    assert "push" in complete(fresh, "later.pu")["matches"]
    fresh.interrupt()
    fresh.result(running)
    # The cell did not finish: its variable is not there, its function is.
    assert "later" not in complete(fresh, "late")["matches"]
    assert "second_helper" in complete(fresh, "second_")["matches"]


def test_rust_analyzer_knows_types_that_are_nowhere_written(warm):
    assert "sqrt" in complete(warm, "numbers.iter().map(|number| number.sq")["matches"]
    code = "let q = [point.clone()]; q.last().map(|p| p.absc"
    assert "abscissa" in complete(warm, code)["matches"]
    assert "par_iter" in complete(warm, "%time numbers.par_it")["matches"]
    assert "numbers" in complete(warm, 'println!("{numb')["matches"]
    assert offers(warm, "numbers.pu")["push"]["signature"] == "pub fn push(&mut self, value: T)"
    assert "Appends an element" in inspect(warm, "numbers.push", timeout=30)
    assert "Prints to the standard output" in inspect(warm, "println", timeout=30)


def test_crates_of_the_notebook_are_known(fresh, tmp_path):
    source = tmp_path / "helpful" / "src"
    source.mkdir(parents=True)
    (source.parent / "Cargo.toml").write_text('[package]\nname = "helpful"\nedition = "2024"\n')
    (source / "lib.rs").write_text("/// Says yes.\npub fn agree() -> bool { true }\n")
    complete(fresh, "larg")
    fresh.ok(f':dep helpful = {{ path = "{source.parent}" }}')
    assert "helpful" in complete(fresh, "helpf")["matches"]
    ready(fresh)
    assert offers(fresh, "helpful::")["agree"]["signature"] == "pub fn agree() -> bool"
    assert "Says yes" in inspect(fresh, "helpful::agree", timeout=30)


def std_names() -> dict[str, list[str]]:
    """The lists of names that need no rust-analyzer."""
    lists, heading = {}, ""
    for line in NAMES.read_text().splitlines():
        if line.startswith(" "):
            lists.setdefault(heading, []).extend(line.split())
        elif not line.startswith("#"):
            heading = line
    return lists


TYPES = {
    "Vec": "Vec<i32>", "[]": "[i32]", "Option": "Option<i32>", "Result": "Result<i32, String>",
    "Iterator": "std::ops::Range<i32>", "ParallelIterator": "rayon::vec::IntoIter<i32>",
    "HashMap": "HashMap<String, i32>", "BTreeMap": "BTreeMap<String, i32>",
    "HashSet": "HashSet<i32>", "BTreeSet": "BTreeSet<i32>", "VecDeque": "VecDeque<i32>",
    "BinaryHeap": "BinaryHeap<i32>", "Mutex": "Mutex<i32>", "RwLock": "RwLock<i32>",
    "RefCell": "RefCell<i32>", "Cell": "Cell<i32>", "Box": "Box<String>", "Rc": "Rc<String>",
    "Arc": "Arc<String>", "Sender": "mpsc::Sender<i32>", "Receiver": "mpsc::Receiver<i32>",
    "JoinHandle": "JoinHandle<i32>",
}
USES = (
    "use std::{cell::*, collections::*, hash::Hash, path::*, rc::Rc, time::*};\n"
    "use std::{sync::{atomic::*, mpsc, *}, thread::JoinHandle};\n"
)


def probe(heading: str) -> str:
    """Code that ends where the names under a heading can stand."""
    name, separator = re.fullmatch(r"(.*?)(\.|::)", heading).groups()
    if name in ("Clone", "PartialEq", "PartialOrd", "Ord", "Hash", "Default"):
        return f"{USES}fn f<T: {name}>(x: &T) {{ {'T::' if separator == '::' else 'x.'}"
    ty = TYPES.get(name, name)
    if separator == ".":
        return f"{USES}fn f(x: &mut {ty}) {{ x."
    return f"{USES}fn f() {{ {f'<{ty}>' if '<' in ty else ty}::"


@pytest.mark.parametrize("heading", std_names())
def test_names_that_need_no_rust_analyzer_are_those_that_it_offers(warm, heading):
    def answered():
        found = offers(warm, probe(heading))
        # What the session offers by itself has no signature.
        return found if any(offer["signature"] for offer in found.values()) else None

    found = wait_until(answered, "an answer of rust-analyzer")
    assert set(std_names()[heading]) <= found.keys()
