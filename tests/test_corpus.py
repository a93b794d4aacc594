"""The corpus: sequences of cells and what each cell gives back, written in `corpus/*.md`.

A `##` heading names a sequence, which begins with an empty session. A block of `rust` is a cell;
`rust 500 times` repeats its text, with `«i»` counting from 0. Blocks that follow say what comes
back, and what they do not name must not come: `result` (the value's plain text), `stdout` and
`stderr` (with `unfinished`: without a line break at the end), `error` (its name, then lines that
its traceback has). `[cell {2}` stands for the number that the sequence's second cell got. One that
starts workers gets a new driver, so that they are 2, 3, …
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from conftest import Kernel, Result, plain

CORPUS = Path(__file__).parent / "corpus"


@dataclass
class Cell:
    """A cell, where it is written, and what must come back: texts by the kind of block."""

    code: str
    place: str
    expected: dict[str, str] = field(default_factory=dict)


def sequences_in(text: str, file: str) -> dict[str, list[Cell]]:
    """The sequences of a corpus file by their headings."""
    sequences: dict[str, list[Cell]] = {}
    pattern = r"^## +(.+)$|^```(\w+)(?: +(.*))?\n(|(?s:.*?)\n)```$"
    for match in re.finditer(pattern, text, re.MULTILINE):
        heading, kind, option, block = match.groups()
        if heading:
            assert heading not in sequences, f"{file}: two sequences `{heading}`"
            cells = sequences[heading] = []
        elif kind == "rust":
            times = int((option or "1").split()[0])
            code = "".join(block.replace("«i»", str(i)) for i in range(times)).removesuffix("\n")
            cells.append(Cell(code, f"{file}:{text.count(chr(10), 0, match.start()) + 1}"))
        else:
            assert kind not in cells[-1].expected, f"{cells[-1].place}: two blocks of {kind}"
            whole = kind in ("stdout", "stderr") and option != "unfinished"
            cells[-1].expected[kind] = block if whole else block.removesuffix("\n")
    return sequences


def given_back(result: Result) -> dict[str, str]:
    """What a cell gave back, in the terms of the corpus."""
    given = {"stdout": plain(result.stdout), "stderr": plain(result.stderr)}
    given["display"] = "\n".join(bundle.get("text/plain", "") for bundle in result.displays)
    if results := [bundle["text/plain"] for bundle in result.results]:
        given["result"] = "\n".join(results)
    if not result.ok:
        given["error"] = plain("\n".join([result.error["ename"], *result.error["traceback"]]))
    return {kind: text for kind, text in given.items() if text or kind == "result"}


def as_expected(kind: str, expected: str | None, given: str | None) -> bool:
    """Whether a kind of output is what the corpus says."""
    if kind != "error" or expected is None or given is None:
        return expected == given
    name, *lines = expected.splitlines()
    return given.splitlines()[0] == name and all(line.strip() in given for line in lines)


def complaint(cell: Cell, expected: dict[str, str], given: dict[str, str]) -> str:
    """The cell and, of each kind of output that differs, both texts; empty if none differs."""
    kinds = sorted(expected.keys() | given.keys())
    wrong = [k for k in kinds if not as_expected(k, expected.get(k), given.get(k))]
    if not wrong:
        return ""
    code = cell.code if len(cell.code) < 4000 else cell.code[:4000] + "\n…"
    parts = [f"{cell.place}\n{code}"]
    for kind in wrong:
        parts += [f"--- {kind} expected\n{expected.get(kind, '(none)')}"]
        parts += [f"--- {kind} given\n{given.get(kind, '(none)')}"]
    return "\n".join(parts)


def check(kernel: Kernel, cells: list[Cell]):
    """Runs a sequence in an empty session; fails at the first cell that gives back other things."""
    kernel.ok("%reset")
    if any("addprocs" in cell.code for cell in cells):
        kernel.ok("%restart")
    numbers: list[int] = []
    for cell in cells:
        result = kernel.run(cell.code, stop_on_error=False)
        numbers.append(result.reply["execution_count"])
        number = lambda m: str(numbers[int(m[1]) - 1])  # noqa: E731
        filled = {k: re.sub(r"(?<=\[cell )\{(\d+)\}", number, t) for k, t in cell.expected.items()}
        if difference := complaint(cell, filled, given_back(result)):
            pytest.fail(difference, pytrace=False)


def corpus() -> list[tuple[str, list[Cell]]]:
    """Every sequence with its name."""
    found = []
    for path in sorted(CORPUS.glob("*.md")):
        for heading, cells in sequences_in(path.read_text(), path.name).items():
            found.append((f"{path.stem}: {heading}", cells))
    return found


@pytest.mark.parametrize("cells", [pytest.param(cells, id=name) for name, cells in corpus()])
def test_sequence(kernel, cells):
    check(kernel, cells)


def test_the_corpus_is_large_and_every_sequence_has_cells():
    assert len(corpus()) >= 150
    assert all(cells for _, cells in corpus())


WRONG = ["result\n3", "stdout\n2", "error\nE0308", "error\nPanic\nno such line", ""]


@pytest.mark.parametrize("block", WRONG)
@pytest.mark.parametrize("cell", ["1 + 1", 'panic!("yes")'])
def test_the_runner_sees_what_is_wrong(kernel, cell, block):
    text = f"## A wrong sequence\n```rust\n{cell}\n```\n" + (f"```{block}\n```\n" if block else "")
    [cells] = sequences_in(text, "wrong.md").values()
    with pytest.raises(pytest.fail.Exception, match="expected"):
        check(kernel, cells)
