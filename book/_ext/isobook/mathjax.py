"""Mathematics rendered by the site itself: the few MathJax files it needs, copied from an installed package."""

from __future__ import annotations

import shutil
from importlib import metadata
from pathlib import Path

PACKAGE = "sphinx-mathjax-offline"
# The combined component, and the fonts it draws with. The other 22 MB of the package are never asked for.
NEEDED = ("tex-mml-chtml.js", "output/chtml/fonts/woff-v2/*.woff")


def copy(app):
    if app.builder.format != "html":
        return
    source = Path(metadata.distribution(PACKAGE).locate_file(PACKAGE)) / "static" / "mathjax"
    for pattern in NEEDED:
        found = sorted(source.glob(pattern))
        if not found:
            raise FileNotFoundError(f"{PACKAGE} no longer holds {pattern}: look for another version of it")
        for path in found:
            target = Path(app.outdir) / "_static" / "mathjax" / path.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)


def setup(app):
    app.connect("builder-inited", copy)
