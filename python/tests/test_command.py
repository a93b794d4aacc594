"""The command line as people call it, up to the notebook that would run."""

import subprocess
import sys

import nbformat


def test_parameters_arrive_in_the_notebook(tmp_path):
    notebook = nbformat.v4.new_notebook(
        metadata={"kernelspec": {"name": "parcell", "language": "rust", "display_name": "Rust"}},
        cells=[nbformat.v4.new_code_cell("let n: i64 = 1;", metadata={"tags": ["parameters"]})],
    )
    given, made = tmp_path / "in.ipynb", tmp_path / "out.ipynb"
    nbformat.write(notebook, given)
    command = [sys.executable, "-m", "parcell_papermill", given, made, "--prepare-only"]
    subprocess.run([*command, "-p", "n", "100", "-r", "label", "100"], check=True)
    cells = nbformat.read(made, 4).cells
    assert cells[1].metadata.tags == ["injected-parameters"]
    assert cells[1].source.splitlines() == [
        "// Parameters",
        "let n: i64 = 100;",
        'let label: String = "100".to_string();',
    ]
