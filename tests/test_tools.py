"""The programs around the kernel: those of Jupyter, and parcell's own command line."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbclient
import nbformat
import pytest
from conftest import KERNEL, alive, wait_until
from jupyter_client.kernelspec import KernelSpecManager
from nbformat.v4 import new_code_cell, new_notebook

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted(
    p for p in (ROOT / "notebooks").rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts
)


def call(*command, **options) -> subprocess.CompletedProcess:
    """Runs a program and keeps its output."""
    return subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=280, **options
    )


def notebook(path: Path, *cells: str, tags: list[str] | None = None) -> Path:
    """Writes a notebook of code cells; the tags go to the first."""
    made = new_notebook(
        cells=[new_code_cell(c) for c in cells],
        metadata={
            "kernelspec": {"name": KERNEL, "display_name": "Rust (parcell)", "language": "rust"},
            "language_info": {"name": "rust"},
        },
    )
    made.cells[0].metadata["tags"] = tags or []
    nbformat.write(made, path)
    return path


# ---------------------------------------------------------------------------------------------
# Jupyter's tools


def test_nbclient_runs_a_notebook(tmp_path):
    made = nbformat.read(ROOT / "notebooks" / "01-threads-and-processes.ipynb", as_version=4)
    ran = nbclient.NotebookClient(made, timeout=120, kernel_name=KERNEL).execute(cwd=str(tmp_path))
    assert ran.metadata["language_info"]["name"] == "rust"
    counts = [c.execution_count for c in ran.cells if c.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))


def test_nbclient_sees_a_panic_as_a_failure(tmp_path):
    made = nbformat.read(notebook(tmp_path / "a.ipynb", 'panic!("seen")'), as_version=4)
    with pytest.raises(nbclient.exceptions.CellExecutionError, match="seen"):
        nbclient.NotebookClient(made, kernel_name=KERNEL).execute()


def test_nbclient_interrupts_a_cell_that_takes_too_long(tmp_path):
    made = nbformat.read(notebook(tmp_path / "a.ipynb", "sleep(60.)", "1 + 1"), as_version=4)
    client = nbclient.NotebookClient(
        made, kernel_name=KERNEL, timeout=5, interrupt_on_timeout=True, allow_errors=True
    )
    ran = client.execute()
    assert ran.cells[0].outputs[-1]["ename"] == "Interrupted"
    assert ran.cells[1].outputs[0]["data"]["text/plain"] == "2"


def test_papermill_passes_parameters(tmp_path):
    source = notebook(tmp_path / "in.ipynb", "let n = 1; let name = String::new();", '(n, name.clone())', tags=["parameters"])
    out = tmp_path / "out.ipynb"
    done = call(
        sys.executable, "-m", "parcell_papermill", source, out, "-p", "n", 5, "-p", "name", "a \"b\"",
        env=os.environ | {"PYTHONPATH": str(ROOT / "python")},
    )
    assert done.returncode == 0, done.stderr
    cells = nbformat.read(out, as_version=4).cells
    assert cells[-1].outputs[0]["data"]["text/plain"] == r'(5, "a \"b\"")'


# ---------------------------------------------------------------------------------------------
# parcell run


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: str(p.relative_to(ROOT)))
def test_parcell_run_executes_every_notebook(parcell, tmp_path, path):
    done = call(parcell, "run", path, "--output", tmp_path / "out.ipynb")
    assert done.returncode == 0, done.stdout + done.stderr


def test_there_are_notebooks_and_each_has_its_solutions():
    names = {p.name for p in NOTEBOOKS if p.parent.name == "notebooks"}
    assert {"01-threads-and-processes.ipynb", "02-threads-slow-series.ipynb"} <= names
    assert names == {p.name for p in NOTEBOOKS if p.parent.name == "solutions"}


def test_parcell_run_prints_outputs(parcell, tmp_path):
    path = notebook(tmp_path / "a.ipynb", 'println!("printed"); 6 * 7')
    done = call(parcell, "run", path)
    assert done.returncode == 0, done.stderr
    assert "printed" in done.stdout
    assert "42" in done.stdout


def test_parcell_run_stops_at_the_first_error_with_status_1(parcell, tmp_path):
    path = notebook(tmp_path / "a.ipynb", 'println!("one")', 'panic!("two")', 'println!("three")')
    before = path.read_bytes()
    done = call(parcell, "run", path)
    assert done.returncode == 1
    assert "two" in done.stdout + done.stderr
    assert "three" not in done.stdout
    assert path.read_bytes() == before


def test_parcell_run_goes_on_after_an_error_that_is_meant(parcell, tmp_path):
    path = notebook(tmp_path / "a.ipynb", 'panic!("meant")', 'println!("after")', tags=["raises-exception"])
    done = call(parcell, "run", path)
    assert done.returncode == 0, done.stderr
    assert "after" in done.stdout


def test_parcell_run_stores_outputs_in_place(parcell, tmp_path):
    path = notebook(tmp_path / "a.ipynb", 'print!("a"); show(&Html("<b>b</b>")); 3', 'panic!("x")', tags=[])
    made = json.loads(path.read_text())
    made["cells"][1]["metadata"]["tags"] = ["raises-exception"]
    path.write_text(json.dumps(made))
    assert call(parcell, "run", path, "--inplace").returncode == 0
    ran = nbformat.read(path, as_version=4)
    nbformat.validate(ran)
    first, second = ran.cells
    assert [o["output_type"] for o in first.outputs] == ["stream", "display_data", "execute_result"]
    assert (first.execution_count, second.execution_count) == (1, 2)
    assert second.outputs[0]["ename"] == "Panic"


def test_parcell_run_ends_a_cell_at_its_timeout(parcell, tmp_path):
    path = notebook(tmp_path / "a.ipynb", "loop {}")
    done = call(parcell, "run", path, "--timeout", 3)
    assert done.returncode == 1
    assert "time" in (done.stdout + done.stderr).lower()


def test_parcell_run_of_no_notebook_says_so(parcell, tmp_path):
    (tmp_path / "b.ipynb").write_text("{not json")
    for name in ("a.ipynb", "b.ipynb"):
        done = call(parcell, "run", tmp_path / name)
        assert done.returncode not in (0, 101)
        assert name in done.stderr


# ---------------------------------------------------------------------------------------------
# install, uninstall, doctor


def test_install_writes_a_complete_kernelspec(parcell, tmp_path):
    done = call(
        parcell, "install", "--prefix", tmp_path, "--name", "mine", "--display-name", "My Rust",
        "--env", "ANSWER=42", "--env", "EMPTY=",
    )
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "share/jupyter/kernels/mine"
    spec = json.loads((folder / "kernel.json").read_text())
    assert (spec["display_name"], spec["language"]) == ("My Rust", "rust")
    assert spec["interrupt_mode"] == "message"
    assert spec["env"]["ANSWER"] == "42"
    assert spec["env"]["EMPTY"] == ""
    assert Path(spec["argv"][0]).is_absolute()
    assert "{connection_file}" in spec["argv"]
    for logo in ("logo-32x32.png", "logo-64x64.png", "logo-svg.svg"):
        assert (folder / logo).stat().st_size > 100
    assert call(parcell, "uninstall", "--prefix", tmp_path, "--name", "mine").returncode == 0
    assert not folder.exists()


def test_uninstall_of_what_is_not_there_says_so(parcell, tmp_path):
    done = call(parcell, "uninstall", "--prefix", tmp_path, "--name", "absent")
    assert done.returncode == 1
    assert "absent" in done.stderr


@pytest.mark.parametrize(
    "options", [["--name", "has space"], ["--env", "NOVALUE"], ["--user", "--sys-prefix"]]
)
def test_wrong_install_options_are_refused(parcell, tmp_path, options):
    done = call(parcell, "install", *options, env=os.environ | {"HOME": str(tmp_path)})
    assert done.returncode == 2, done.stderr
    assert not list(tmp_path.rglob("kernel.json"))


def test_the_environment_of_the_kernelspec_reaches_cells(parcell, tmp_path, monkeypatch, start_kernel):
    call(parcell, "install", "--prefix", tmp_path, "--name", "mine", "--env", "ANSWER=42")
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "share/jupyter"))
    assert start_kernel(name="mine").ok('std::env::var("ANSWER")?').result == '"42"'


def elsewhere(home: Path) -> dict[str, str]:
    """The environment of a user whose home holds neither cargo nor caches."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("XDG_")}
    cargo = os.environ.get("CARGO_HOME", f"{Path.home()}/.cargo")
    rustup = os.environ.get("RUSTUP_HOME", f"{Path.home()}/.rustup")
    return env | {"HOME": str(home), "CARGO_HOME": cargo, "RUSTUP_HOME": rustup}


def snapshot(folder: Path) -> dict[str, int]:
    """Every file below a folder and when it was changed."""
    return {str(p): p.lstat().st_mtime_ns for p in folder.rglob("*")}


def test_a_read_only_install_serves_another_user(parcell, tmp_path, monkeypatch, start_kernel):
    prefix, home = tmp_path / "prefix", tmp_path / "home"
    home.mkdir()
    done = call(parcell, "install", "--prefix", prefix)
    assert done.returncode == 0, done.stderr
    call("chmod", "-R", "a-w", prefix)
    before = snapshot(prefix)
    monkeypatch.setenv("JUPYTER_PATH", str(prefix / "share/jupyter"))
    try:
        kernel = start_kernel(env=elsewhere(home))
        assert kernel.ok("(0..100).into_par_iter().sum::<i32>()").result == "4950"
        assert snapshot(prefix) == before
    finally:
        call("chmod", "-R", "u+w", prefix)


@pytest.fixture
def bare(parcell, tmp_path, monkeypatch) -> str:
    """Name of a kernel without a cell library beside its program."""
    program = shutil.copy(parcell, tmp_path)
    folder = tmp_path / "kernels" / "bare"
    folder.mkdir(parents=True)
    spec = {"argv": [program, "kernel", "-f", "{connection_file}"], "display_name": "Bare"}
    spec |= {"language": "rust", "interrupt_mode": "message"}
    (folder / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    return "bare"


@pytest.mark.timeout(600)
def test_an_interrupted_build_of_the_cell_library_heals_itself(bare, tmp_path, start_kernel):
    """The first start builds into an empty cache; it is killed on the way and started again."""
    env = elsewhere(tmp_path) | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    first = start_kernel(name=bare, env=env)
    request = first.send("1")
    shown = ("stream", "display_data")
    progress = first.until(request, lambda m: m["msg_type"] in shown)
    assert "library" in str(progress["content"])
    wait_until(lambda: "rustc" in first.programs(), "rustc runs", 60)
    builders = [first.process, *first.children()]
    first.process.kill()
    wait_until(lambda: not any(map(alive, builders)), "the build has ended", 5)
    assert start_kernel(name=bare, env=env).ok("6 * 7", timeout=500).result == "42"


def test_doctor_names_the_toolchain_and_is_content(parcell):
    done = call(parcell, "doctor")
    assert done.returncode == 0, done.stdout + done.stderr
    for word in ("rustc", "cargo", "cache", "thread"):
        assert word in done.stdout.lower()


def test_doctor_says_what_to_do_without_a_toolchain(parcell, tmp_path):
    env = {"PATH": str(tmp_path), "HOME": str(tmp_path)}
    done = call(parcell, "doctor", env=env)
    assert done.returncode == 1
    assert "rustup" in done.stdout + done.stderr


def test_a_kernel_without_a_toolchain_says_so_in_the_cell(bare, tmp_path, start_kernel):
    env = {"PATH": "/nowhere", "HOME": str(tmp_path)}
    assert "rustup" in start_kernel(name=bare, env=env).run("1 + 1").error_text


def test_a_kernel_without_a_linker_says_how_to_get_one(bare, tmp_path, start_kernel):
    env = elsewhere(tmp_path) | {"PATH": f"{elsewhere(tmp_path)['CARGO_HOME']}/bin"}
    text = start_kernel(name=bare, env=env).run("1 + 1").error_text
    assert "cc" in text
    assert "install" in text


def test_the_kernelspec_under_test_is_the_one_just_built(parcell):
    spec = KernelSpecManager().get_kernel_spec(KERNEL)
    assert Path(spec.argv[0]).exists()
    assert call(spec.argv[0], "--version").stdout == call(parcell, "--version").stdout
