"""Small repairs and additions to single pages."""

from __future__ import annotations

from pathlib import Path

import nbformat
from jupyter_cache import get_cache

from isobook.render import MIME

# Roles that docutils 0.21 writes on bibliographies, where they contradict each other (axe: critical), and ids that
# sphinx-proof writes on every theorem and proof, though an id may stand only once.
SURPLUS = (' role="list"', ' role="doc-biblioentry"', ' role="doc-backlink"', ' id="proof-content"', ' id="proof"')


def drop_surplus(app, pagename, templatename, context, doctree):
    for attribute in SURPLUS if "body" in context else ():
        context["body"] = context["body"].replace(attribute, "")


def offer_notebook(app, pagename, templatename, context, doctree):
    """Give the download menu the executed notebook; the theme offers it only beside a launch service."""
    written = Path(app.outdir).parent / "jupyter_execute" / f"{pagename}.ipynb"
    if pagename not in app.env.found_docs or not written.exists():
        return
    notebook = nbformat.read(written, as_version=4)
    if app.config.nb_execution_mode == "cache":
        # myst_nb writes the notebook without its outputs whenever they came from the cache.
        _, notebook = get_cache(app.config.nb_execution_cache_path).merge_match_into_notebook(notebook)
    for cell in notebook.cells:
        for output in cell.get("outputs", []):  # the figure in five formats is on the site; here its picture is enough
            output.get("data", {}).pop(MIME, None)
    target = Path(app.outdir) / "_sources" / f"{pagename}.ipynb"
    target.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, target)
    context["ipynb_source"] = f"{pagename}.ipynb"


def setup(app):
    app.connect("html-page-context", drop_surplus)
    app.connect("html-page-context", offer_notebook, priority=100)  # before the theme collects its buttons
