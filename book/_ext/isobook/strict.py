"""What stops the build besides warnings: a naked image, a cell that did not run, a directive that reads as text."""

from __future__ import annotations

import re

from docutils import nodes
from sphinx.errors import ExtensionError

from isobook.render import MIME

# Tags under which a cell is left alone.
EXCUSED = {"skip-execution"}


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


def all_cells_ran(app, doctree):
    """A strict build has passed while empty elsewhere: so every code cell of the page must carry its count."""
    for cell in doctree.findall(nodes.container):
        if cell.get("nb_element") == "cell_code" and not ran(cell):
            raise ExtensionError(f"{app.env.docname}: a code cell did not run: {cell.astext().strip()[:60]!r}")


def ran(cell: nodes.container) -> bool:
    """Whether a code cell was executed, or has a reason not to be: no content, or a tag."""
    excused = EXCUSED & set(cell["cell_metadata"].get("tags", []))
    return bool(cell["exec_count"] or excused or not cell.astext().strip())


def no_raw_directives(app, doctree):
    """A fence that something stands before is no fence: the reader would see its backticks."""
    for text in doctree.findall(nodes.Text):
        if re.search(r"(```|:::)\{[a-z:-]+\}", text) and not isinstance(
            text.parent, nodes.literal | nodes.literal_block
        ):
            raise ExtensionError(f"{app.env.docname}: a directive reads as text: {text.strip()[:60]!r}")


def setup(app):
    app.connect("doctree-read", no_raw_directives)
    app.connect("doctree-read", no_naked_images)
    app.connect("doctree-read", all_cells_ran)
