"""Each chapter once more, outside of Sphinx: every code cell in order, nothing on stderr.

Here, and not in a kernel as for the book, so that the core's arguments and results are checked while a chapter calls
it, as everywhere in the tests, and a warning is an error. What the text and the captions print, a cell has said.
Kernels are started by `make book`, and once below.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import jupytext
import matplotlib as mpl
import nbformat
import pytest
import torch
from IPython.utils.capture import capture_output
from isobook.caption import filled
from matplotlib import pyplot as plt

from isonum_core import figures
from isonum_core.prose import SPOKEN

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
    notebook = jupytext.read(chapter)
    with capture_output(stdout=False, stderr=False) as shown:
        for cell in code_cells(notebook):
            reader.run_cell(cell.source).raise_error()
    assert not capsys.readouterr().err
    glued = [(output.metadata["scrapbook"]["name"], output.data) for output in shown.outputs if output.metadata]
    said = {name: data["application/papermill.record/text/plain"] for name, data in glued}
    assert len(said) == len(glued), "two numbers under one name"
    code = re.compile(rf"\b([a-z]+_[a-z_]+|{'|'.join(SPOKEN)})\b")
    assert not [words for words in said.values() if code.search(words)], "a name of code: say spoken(name)"
    printed = filled("\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown"), said)
    assert re.findall(r"\{glue:text\}`[^`]*`", printed) == [], "no cell has said these"


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


def test_next_is_the_next_page_of_the_table_of_contents():
    order = re.findall(r"file: book/(\S+)", (ROOT / "_toc.yml").read_text(encoding="utf-8"))
    order = order[order.index("isotropy") : order.index("claims") + 1]
    texts = {stem: (BOOK / f"{stem}.md").read_text(encoding="utf-8") for stem in order[:-1]}
    said = [re.search(r"\*\*Next\.\*\* \{\w+\}`(\S+)`", text) for text in texts.values()]
    assert [hit and hit[1] for hit in said] == order[1:]
