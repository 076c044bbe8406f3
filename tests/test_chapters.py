"""Each chapter once more, outside of Sphinx: every code cell in order, nothing on stderr.

Here, and not in a kernel as for the book, so that the core's arguments and results are checked while a chapter calls
it, as everywhere in the tests, and a warning is an error. Kernels are started by `make book`, and once below.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import jupytext
import matplotlib as mpl
import nbformat
import pytest
import torch
from matplotlib import pyplot as plt

from isonum_core import figures

ROOT = Path(__file__).resolve().parents[1]
BOOK = ROOT / "book"
CHAPTERS = [path for path in sorted(BOOK.glob("*.md")) if "{code-cell}" in path.read_text(encoding="utf-8")]


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


@pytest.fixture
def reader(shell, monkeypatch):
    """A shell beside the book, whose traces are taken away."""
    monkeypatch.chdir(BOOK)
    monkeypatch.delitem(figures._METADATA, "pdf")  # half of a figure's time, and `make book` has written each
    dtype, threads = torch.get_default_dtype(), torch.get_num_threads()
    with mpl.rc_context():
        yield shell
    plt.close("all")
    torch.set_default_dtype(dtype)
    torch.set_num_threads(threads)


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_a_chapter_runs_by_itself(chapter, reader, capsys):
    cells = code_cells(jupytext.read(chapter))
    assert cells
    for cell in cells:
        reader.run_cell(cell.source).raise_error()
    assert not capsys.readouterr().err


@pytest.mark.skipif(Path(sys.prefix) != ROOT / ".venv", reason="not the environment that the Makefile sets up")
def test_one_chapter_is_rerun_as_the_readme_says():
    made = BOOK / "scores.ipynb"
    try:
        subprocess.run(["make", "run-scores"], cwd=ROOT, check=True, capture_output=True)
        assert all(cell.execution_count for cell in code_cells(nbformat.read(made, as_version=4)))
    finally:
        made.unlink(missing_ok=True)


def test_every_chapter_is_in_the_table_of_contents():
    contents = (ROOT / "_toc.yml").read_text(encoding="utf-8")
    assert not [path.stem for path in BOOK.glob("*.md") if f"book/{path.stem}\n" not in contents + "\n"]
