"""What a cell says is what a sentence can print."""

from __future__ import annotations

import jupytext
from nbclient import NotebookClient

from isonum_core.prose import interval


def test_what_is_said_is_glued_as_words_and_not_shown():
    notebook = jupytext.reads("from isonum_core.prose import say\nsay(share=0.5, name='drift')", fmt="py:light")
    NotebookClient(notebook, kernel_name="python3").execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert {o.metadata["scrapbook"]["name"]: list(o.data.items()) for o in outputs} == {
        "share": [("application/papermill.record/text/plain", "'0.5'")],
        "name": [("application/papermill.record/text/plain", "'drift'")],
    }


def test_an_interval_keeps_its_signs():
    assert interval(0.286, -0.12, 0.591) == "+0.29 [-0.12, +0.59]"
    assert interval(-1.0, -1.25, 0.0, digits=1) == "-1.0 [-1.2, +0.0]"
