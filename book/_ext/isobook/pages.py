"""Small repairs and additions to single pages."""

from __future__ import annotations

import shutil
from pathlib import Path

REPAIRS = {
    # Roles that docutils 0.21 writes on bibliographies, where they contradict each other (axe: critical).
    ' role="list"': "",
    ' role="doc-biblioentry"': "",
    ' role="doc-backlink"': "",
    # Ids that sphinx-proof writes on every theorem and proof; an id may stand only once.
    ' id="proof-content"': "",
    ' id="proof"': "",
    # What scrolls sideways can be reached by keyboard; the theme sees to that only where it is not folded away.
    '<div class="highlight"><pre>': '<div class="highlight"><pre tabindex="0">',
    '<div class="pst-scrollable-table-container">': '<div class="pst-scrollable-table-container" tabindex="0">',
}


def repair(app, pagename, templatename, context, doctree):
    for written, wanted in REPAIRS.items() if "body" in context else ():
        context["body"] = context["body"].replace(written, wanted)


def offer_notebook(app, pagename, templatename, context, doctree):
    """Give the download menu the executed notebook; the theme offers it only beside a launch service."""
    executed = Path(app.outdir).parent / "jupyter_execute" / f"{pagename}.ipynb"
    if executed.exists() and pagename in app.env.found_docs:
        target = Path(app.outdir) / "_sources" / f"{pagename}.ipynb"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(executed, target)
        context["ipynb_source"] = f"{pagename}.ipynb"


def setup(app):
    app.connect("html-page-context", repair)
    app.connect("html-page-context", offer_notebook, priority=100)  # before the theme collects its buttons
