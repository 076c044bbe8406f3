"""The directive {last-ran}: when the tests last passed with the newest versions of the core's libraries.

The weekly workflow writes that into last-ran.json (`make float`), the branch of notebooks keeps it, and where the file
is absent the page says so.
"""

from __future__ import annotations

import datetime
import json
import platform
import re
import tomllib
from importlib import metadata
from pathlib import Path

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from isobook.elsewhere import ROOT

FILE = "last-ran.json"


def libraries(root: Path = ROOT) -> list[str]:
    """What the core needs, by name: the libraries that float."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [re.match(r"[\w-]+", line).group() for line in project["dependencies"]]


def record() -> dict:
    """Today, this Python, and the version of each library that is installed here."""
    versions = {name: metadata.version(name) for name in libraries()}
    return {"date": datetime.date.today().isoformat(), "python": platform.python_version(), "versions": versions}


def write(path: Path | str) -> None:
    """Leave the record in a file."""
    Path(path).write_text(json.dumps(record(), indent=1) + "\n", encoding="utf-8")


def sentence(ran: dict | None) -> str:
    """What the page says of a record, or of its absence."""
    if ran is None:
        return "With the newest versions of the libraries the tests have never yet run, as far as this site knows."
    with_these = ", ".join(f"{name} {version}" for name, version in ran["versions"].items())
    return (
        f"With the newest versions of the libraries the tests last passed on {ran['date']}: "
        f"Python {ran['python']}, {with_these}."
    )


class LastRan(SphinxDirective):
    def run(self):
        path = Path(self.env.srcdir) / FILE
        if path.exists():
            self.env.note_dependency(str(path))
        ran = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
        return [nodes.paragraph("", sentence(ran), classes=["last-ran"])]


def setup(app):
    app.add_directive("last-ran", LastRan)
