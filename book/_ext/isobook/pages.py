"""Small repairs and additions to single pages."""

from __future__ import annotations

import shutil
from pathlib import Path

# Roles that docutils 0.21 writes on bibliographies, where they contradict each other (axe: critical), and ids that
# sphinx-proof writes on every theorem and proof, though an id may stand only once.
SURPLUS = (' role="list"', ' role="doc-biblioentry"', ' role="doc-backlink"', ' id="proof-content"', ' id="proof"')


def drop_surplus(app, pagename, templatename, context, doctree):
    for attribute in SURPLUS if "body" in context else ():
        context["body"] = context["body"].replace(attribute, "")


def offer_notebook(app, pagename, templatename, context, doctree):
    """Give the download menu the executed notebook; the theme offers it only beside a launch service."""
    executed = Path(app.outdir).parent / "jupyter_execute" / f"{pagename}.ipynb"
    if executed.exists() and pagename in app.env.found_docs:
        target = Path(app.outdir) / "_sources" / f"{pagename}.ipynb"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(executed, target)
        context["ipynb_source"] = f"{pagename}.ipynb"


def setup(app):
    app.connect("html-page-context", drop_surplus)
    app.connect("html-page-context", offer_notebook, priority=100)  # before the theme collects its buttons
