"""A book of a few pages, built by Sphinx with the extension of this one: what tests of it look at."""

from __future__ import annotations

import contextlib
import io
import warnings
from pathlib import Path

from sphinx.cmd.build import main as sphinx

ROOT = Path(__file__).resolve().parents[1]


def built(folder: Path, *extensions: str) -> tuple[int, str]:
    """Exit status of Sphinx and what it complained of; pages lie in the folder, the site in its `_build/html`."""
    (folder / "CITATION.cff").write_text((ROOT / "CITATION.cff").read_text())
    (folder / "conf.py").write_text(
        f"import sys; sys.path.insert(0, {str(ROOT / 'book' / '_ext')!r})\n"
        f"extensions = {['myst_nb', 'sphinx.ext.mathjax', *extensions, 'isobook']}\n"
        "nb_execution_mode, numfig, html_baseurl, exclude_patterns = 'off', True, 'https://example.org/', ['_build']\n"
        "myst_enable_extensions, mathjax_path = ['dollarmath'], 'mathjax/tex-chtml.js'\n"
    )
    said = io.StringIO()
    # Here and not in a process of its own, most of whose time would go into loading Sphinx.
    with contextlib.redirect_stderr(said), warnings.catch_warnings(action="ignore"):
        status = sphinx(["-q", "-W", "-n", "-b", "html", str(folder), str(folder / "_build" / "html")])
    return status, said.getvalue()
