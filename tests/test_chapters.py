"""Each chapter once more, outside of Sphinx: from a clean kernel, every code cell, nothing on stderr."""

from __future__ import annotations

from pathlib import Path

import jupytext
import pytest
from nbclient import NotebookClient

BOOK = Path(__file__).resolve().parents[1] / "book"
CHAPTERS = [path for path in sorted(BOOK.glob("*.md")) if "{code-cell}" in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_a_chapter_runs_by_itself(chapter):
    notebook = jupytext.read(chapter)
    where = {"metadata": {"path": str(BOOK)}}
    # Nothing is asked of the kernel after the last cell, so it need not say goodbye.
    NotebookClient(notebook, timeout=600, kernel_name="python3", shutdown_kernel="immediate", resources=where).execute()
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert cells and all(cell.execution_count for cell in cells)
    assert not [output.text for cell in cells for output in cell.outputs if output.get("name") == "stderr"]


def test_every_chapter_is_in_the_table_of_contents():
    contents = (BOOK.parent / "_toc.yml").read_text(encoding="utf-8")
    assert not [path.stem for path in BOOK.glob("*.md") if f"book/{path.stem}\n" not in contents + "\n"]
