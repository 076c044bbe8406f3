"""What stops the build besides warnings: an image that is not citable, a code cell that did not run."""

from __future__ import annotations

from pathlib import Path

import nbformat
from docutils import nodes
from sphinx.errors import ExtensionError

from isobook.render import MIME

# Tags under which myst_nb leaves a cell alone, or a failure is the point.
EXCUSED = {"skip-execution", "raises-exception"}


def no_naked_images(app, doctree):
    """Every picture in an output goes through citable(): else it has no data, no provenance and no alternative text."""
    for bundle in doctree.findall(nodes.container):
        if bundle.get("nb_element") != "mime_bundle":
            continue
        kinds = [child["mime_type"] for child in bundle.children]
        drawn = [kind for kind in kinds if kind.startswith("image/")]
        drawn += ["text/html" for raw in bundle.findall(nodes.raw) if "<img" in raw.astext() or "<svg" in raw.astext()]
        if drawn and MIME not in kinds:
            raise ExtensionError(f"{app.env.docname}: a {drawn[0]} output is not citable: pass the figure to citable()")


def all_cells_ran(app, error):
    """A strict build has passed while empty elsewhere: so look at the executed notebooks themselves."""
    if error:
        return
    executed = Path(app.outdir).parent / "jupyter_execute"
    for path in (executed / f"{page}.ipynb" for page in sorted(app.env.found_docs)):
        for cell in idle_cells(nbformat.read(path, as_version=4)) if path.exists() else ():
            raise ExtensionError(f"{path.name}: a code cell did not run: {cell.source[:60]!r}")


def idle_cells(notebook) -> list:
    """Code cells with content that carry no execution count."""
    return [
        cell
        for cell in notebook.cells
        if cell.cell_type == "code"
        and cell.source.strip()
        and cell.execution_count is None
        and not EXCUSED & set(cell.metadata.get("tags", []))
    ]


def setup(app):
    app.connect("doctree-read", no_naked_images)
    app.connect("build-finished", all_cells_ran)
