"""`parcell export`: the programs that it writes print what their notebooks show."""

import fcntl
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from conftest import KERNEL, plain
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

ROOT = Path(__file__).parent.parent
RUST = {
    "kernelspec": {"name": KERNEL, "display_name": "Rust (parcell)", "language": "rust"},
    "language_info": {"name": "rust"},
}


def call(*command, **options) -> subprocess.CompletedProcess:
    """Runs a program and keeps its output."""
    options = {"timeout": 280} | options
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, **options)


def write(path: Path, *cells: str, **tags: list[str]) -> Path:
    """Writes a notebook; a cell that begins with `#` and a space is text, `tags` go to cells by
    number: `c2=["raises-exception"]`."""
    made = new_notebook(metadata=RUST)
    for number, source in enumerate(cells, 1):
        cell = new_markdown_cell(source) if source.startswith("# ") else new_code_cell(source)
        cell.metadata["tags"] = tags.get(f"c{number}", [])
        made.cells.append(cell)
    nbformat.write(made, path)
    return path


class Workshop:
    """A folder in which one notebook after the other becomes a program. It is the same in all runs,
    so the library, which takes a minute and more, is built only when it has changed."""

    def __init__(self, parcell: str, folder: Path):
        self.parcell, self.project, self.target = parcell, folder / "project", folder / "target"

    def build(self, notebook: Path) -> Path:
        """Exports and builds; returns the program."""
        done = call(self.parcell, "export", notebook, "--to", self.project, "--force")
        assert done.returncode == 0, done.stderr
        env = os.environ | {"CARGO_TARGET_DIR": str(self.target)}
        done = call("cargo", "build", "--release", cwd=self.project, env=env, timeout=900)
        assert done.returncode == 0, done.stderr
        assert "warning" not in done.stderr, done.stderr
        name = re.search(r'^name = "(.*)"', (self.project / "Cargo.toml").read_text(), re.M)[1]
        return self.target / "release" / name


@pytest.fixture(scope="module")
def workshop() -> Iterator[Workshop]:
    """The folder of this user's tests; runs beside each other wait."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "parcell/test-export"
    cache.mkdir(parents=True, exist_ok=True)
    with open(cache / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield Workshop(os.environ["PARCELL"], cache)


def run(program: Path, **options) -> list[str]:
    """The lines that a program prints."""
    done = call(program, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    # A notebook shows a worker's value on the line that names the worker, a program below it.
    return re.sub(r"(From worker \d+:)\n", r"\1\t", done.stdout).splitlines()


def stored(notebook: Path, but: tuple[int, ...] = ()) -> list[str]:
    """The lines of text that a notebook shows, without those of magics and without what may differ."""
    lines = []
    for number, cell in enumerate(nbformat.read(notebook, as_version=4).cells, 1):
        tags = cell.metadata.get("tags", [])
        remote = cell.source.startswith(("%%px", "%%everywhere"))
        magic = cell.source.startswith(("%", "!")) and not remote
        if cell.cell_type != "code" or tags or magic or number in but:
            continue
        for output in cell.outputs:
            if output.get("name") == "stderr":
                continue
            text = output.get("text") or output.get("data", {}).get("text/plain", "")
            lines += plain(text).splitlines()
    return lines


def assert_in_order(lines: list[str], printed: list[str]):
    """All lines were printed, in this order; there may be others."""
    rest = iter(printed)
    for line in lines:
        assert any(line == other for other in rest), f"not printed in its place: {line}\n{printed}"


# Cells that depend on one that is left out, since it ends worker 3.
DIFFERENT = {"05-processes": (39, 41)}


@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    "name",
    [
        "01-threads-and-processes",
        "02-threads-slow-series",
        "05-processes",
        "06-slow-series-processes",
        "07-state-on-workers",
        "09-distributed-arrays",
    ],
)
def test_a_notebook_of_the_course_computes_the_same(workshop, name):
    notebook = ROOT / "notebooks" / f"{name}.ipynb"
    expected = stored(notebook, DIFFERENT.get(name, ()))
    assert len(expected) > 3
    assert_in_order(expected, run(workshop.build(notebook)))


# What the course does not have: definitions that change, magics of all kinds, awaits.
CELLS = [
    "# A title\n\nand a paragraph",
    "%dep itoa\n%threads 2\n%workers 2",
    "// the first\nfn f(x: i32) -> i32 { x + 1 }\nstruct P { x: i32 }",
    "fn g(x: i32) -> i32 { f(x) * 10 }",
    "let p = P { x: g(1) };\nlet n = -5;\np.x",
    "let mut shifted = p.x + f(0);",
    "fn f(x: i32) -> i32 { x + 2 }",
    "shifted += g(1);\n(shifted, n.abs(), fetch_from!(2, g(1)))",
    "#[derive(Debug)]\nstruct P { y: f64 }\nlet q = P { y: 0.5 };\nq",
    'let text = "two\n  lines";\ntext.len()',
    'panic!("meant");',
    "let answer: i32 = \"42\".parse()?;\nanswer",
    "let later = async { answer + 1 };\nlater.await",
    "%%everywhere\nlet mut own = 10 * myid();",
    "%%px --targets 3\nown += 1;\nprintln!(\"own is {own}\");",
    "%%px --targets 3\nown",
    "own",
    "%time let timed = f(40);\ntimed",
    "macro_rules! twice { ($x:expr) => { $x * 2 } }\ntwice!(timed)",
    "let bytes = itoa::Buffer::new().format(timed).len();\n%forget shifted\nbytes",
    "fn spawn(x: i32) -> i32 { -x }\nspawn(3)",
    "!echo shell\n%who\n%env SEASON=the winter",
    "%%writefile nothing\nof use",
    "use std::fmt::Write;\nlet mut s = String::new();\nwrite!(s, \"{}\", timed)?;\ns",
    "use std::io::Write;\nlet mut v: Vec<u8> = Vec::new();\nv.write_all(b\"ab\")?;\nv",
    "everywhere!(myid())",
    "%rmworkers",
]


@pytest.fixture(scope="module")
def everything(workshop, tmp_path_factory) -> tuple[Path, Path, list[str]]:
    """A notebook with all that is special, the program made of it, and what the program prints."""
    folder = tmp_path_factory.mktemp("everything")
    notebook = write(folder / "every-thing.ipynb", *CELLS, c11=["raises-exception"])
    program = workshop.build(notebook)
    project = folder / "project"
    shutil.copytree(workshop.project, project)
    return notebook, project, run(program)


@pytest.mark.timeout(1200)
def test_a_program_prints_what_parcell_run_prints(parcell, everything, tmp_path):
    notebook, _, printed = everything
    done = call(parcell, "run", notebook, "--output", tmp_path / "out.ipynb")
    assert done.returncode == 0, done.stdout + done.stderr
    assert_in_order(stored(tmp_path / "out.ipynb"), printed)
    # What was defined anew changes what comes after it only.
    assert_in_order(["20", "(51, 5, 30)"], printed)


@pytest.mark.timeout(1200)
def test_a_program_is_one_that_a_person_would_write(everything):
    main = (everything[1] / "src/main.rs").read_text()
    for text in (
        "    // # A title\n    //\n    // and a paragraph\n",
        "    // Cell 2: %workers 2\n    start_workers(Workers::new(2));\n",
        "// Cell 7\nfn f(x: i32) -> i32 { x + 2 }\n",
        "    // `P`: as defined until cell 9.\n    let (n, mut shifted) = {\n        struct P { x: i32 }\n",
        "        // `f`, `g`: as defined until cell 7.\n        let (n, mut shifted) = {\n",
        "let n: i32 = -5;\n",
        'let text = "two\n  lines";\n',
        "    // Left out, since it is there to fail:\n    // panic!(\"meant\");\n",
        "    // !echo shell\n",
        "    // %%writefile nothing\n    // of use\n",
        "    rmprocs(&procs()[1..]);\n",
    ):
        assert text in main, f"{text}\n{main}"
    manifest = (everything[1] / "Cargo.toml").read_text()
    assert 'itoa = "*"' in manifest and "tokio" in manifest and "ndarray" not in manifest
    job = (everything[1] / "job.sh").read_text()
    assert "#SBATCH --ntasks=2\n" in job and "#SBATCH --cpus-per-task=2\n" in job
    assert "export SEASON='the winter'\n" in job
    assert len((everything[1] / "README.md").read_text().strip().splitlines()) <= 6


@pytest.mark.timeout(1200)
def test_pictures_of_a_program_become_files(workshop, tmp_path):
    cells = ["plot(&[1.0, 2.0, 3.0], &[1.0, 4.0, 9.0])", "Svg(\"<svg xmlns='http://www.w3.org/2000/svg'/>\")", "table(&[[1, 2]])"]
    program = workshop.build(write(tmp_path / "drawn.ipynb", *cells))
    folder = tmp_path / "pictures"
    done = call(program, env=os.environ | {"PARCELL_DISPLAYS": str(folder)})
    assert done.returncode == 0, done.stderr
    assert sorted(path.name[:3] for path in folder.iterdir()) == ["001", "002"]
    assert f"in {folder}/002.svg" in done.stdout
    assert (folder / "002.svg").read_text() == "<svg xmlns='http://www.w3.org/2000/svg'/>"
    (tmp_path / "file").touch()
    done = call(program, env=os.environ | {"PARCELL_DISPLAYS": str(tmp_path / "file")})
    assert done.returncode == 0 and "PARCELL_DISPLAYS" in done.stderr


@pytest.mark.timeout(1200)
def test_a_project_that_does_not_compile_is_told_on_request(workshop, parcell, tmp_path):
    env = os.environ | {"CARGO_TARGET_DIR": str(workshop.target)}
    right = write(tmp_path / "right.ipynb", "let a = 1;", "a + 1")
    done = call(parcell, "export", right, "--to", tmp_path / "right", "--check", env=env, timeout=900)
    assert done.returncode == 0, done.stderr
    wrong = write(tmp_path / "wrong.ipynb", "let a = 1;", "a + one")
    done = call(parcell, "export", wrong, "--to", tmp_path / "wrong", "--check", env=env, timeout=900)
    assert done.returncode == 1
    assert "cannot find value `one`" in done.stderr and "comments there name the cells" in done.stderr


def refused(parcell: str, *arguments) -> str:
    done = call(parcell, "export", *arguments)
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stderr


def test_what_cannot_be_exported_is_told(parcell, tmp_path):
    there, to = tmp_path / "there", tmp_path / "to"
    assert "absent.ipynb" in refused(parcell, tmp_path / "absent.ipynb", "--to", to)
    python = write(tmp_path / "python.ipynb", "1 + 1")
    made = json.loads(python.read_text())
    made["metadata"] = {"language_info": {"name": "python"}}
    python.write_text(json.dumps(made))
    assert "its language is python" in refused(parcell, python, "--to", to)
    for cells, words in (
        (["1;", "let x = "], "cell 2 of"),
        (["fn main() {}"], "`main`"),
        (["# t", "%run other.rs"], "cell 2"),
        (["%workers four"], "not a number"),
        (["%%px\nlet a = 1;", "%%px\nlet b = a + 1;"], "bind both in one cell"),
    ):
        told = refused(parcell, write(tmp_path / "a.ipynb", *cells), "--to", to)
        assert words in told, told
    assert not to.exists()
    there.mkdir()
    (there / "mine").write_text("kept")
    good = write(tmp_path / "b.ipynb", "1 + 1")
    assert "--force" in refused(parcell, good, "--to", there)
    assert [p.name for p in there.iterdir()] == ["mine"]
    assert call(parcell, "export", good, "--to", there, "--force").returncode == 0
    assert (there / "mine").read_text() == "kept" and (there / "src/main.rs").exists()
