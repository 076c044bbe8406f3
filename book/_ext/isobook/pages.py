"""Small repairs and additions to single pages."""

from __future__ import annotations

import shutil
from pathlib import Path


def plain_bibliography(app, pagename, templatename, context, doctree):
    """Drop the ARIA roles of docutils 0.21 on bibliographies: they contradict each other (axe: critical)."""
    if "body" in context:
        for role in (' role="list"', ' role="doc-biblioentry"', ' role="doc-backlink"'):
            context["body"] = context["body"].replace(role, "")


def offer_notebook(app, pagename, templatename, context, doctree):
    """Give the download menu the executed notebook; the theme offers it only beside a launch service."""
    executed = Path(app.outdir).parent / "jupyter_execute" / f"{pagename}.ipynb"
    if executed.exists() and pagename in app.env.found_docs:
        target = Path(app.outdir) / "_sources" / f"{pagename}.ipynb"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(executed, target)
        context["ipynb_source"] = f"{pagename}.ipynb"


def setup(app):
    app.connect("html-page-context", plain_bibliography)
    app.connect("html-page-context", offer_notebook, priority=100)  # before the theme collects its buttons
