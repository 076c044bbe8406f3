"""Execute one chapter into a notebook beside it, a line for each cell: `python -m isobook.rerun book/isotropy.md`."""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path

import jupytext
import nbformat
from myst_nb.core.variables import format_plain_text
from nbclient import NotebookClient

from isobook.caption import filled
from isobook.execute import PRIVATE, tell

DIRECTIVE = re.compile(r"```\{caption\} (\S+)\n:alt: .*\n\n(.*)\n```")  # which a plain notebook would show as code


def rerun(source: Path, timeout: float = 600) -> Path:
    """The executed notebook's path. A cell that fails raises; what ran before it is written all the same."""
    notebook, target, begun = jupytext.read(source), source.with_suffix(".ipynb"), time.monotonic()
    cells = [place for place, cell in enumerate(notebook.cells) if cell.cell_type == "code"]

    def report(cell, cell_index, **reply):
        line = next((line for line in cell.source.splitlines() if line.strip()), "")
        now = time.monotonic() - begun
        tell(f"{cells.index(cell_index) + 1:3}/{len(cells)}  {now:5.0f} s  {line[:70]}")

    client = NotebookClient(
        notebook,
        timeout=timeout,
        config=PRIVATE,
        resources={"metadata": {"path": str(source.parent)}},
        on_cell_executed=report,
    )
    try:
        client.execute()
    finally:
        say_aloud(notebook)
        nbformat.write(notebook, target)
    return target


def say_aloud(notebook) -> None:
    """What a cell hands to the text of the book, a notebook shows below the cell, and the text with its numbers."""
    said = {}
    for output in (output for cell in notebook.cells for output in cell.get("outputs", [])):
        if glued := output.get("metadata", {}).get("scrapbook"):
            said[glued["name"]] = next(iter(output["data"].values()))
            shown = f"{glued['name'].replace('_', ' ')}: {format_plain_text(said[glued['name']], 's')}"
            output |= {"data": {"text/plain": shown}, "metadata": {}}

    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = re.sub(DIRECTIVE, r"**\1.** \2", filled(cell.source, said))


if __name__ == "__main__":
    tell(f"Executed {rerun(Path(sys.argv[1]).resolve())}")
