"""Words that people search for lead to the page that answers them, though the page may say it in others.

The list is `words.toml` in the folder of the chapters. Sphinx's search looks into the index: an entry there is enough.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.transforms import SphinxTransform


def places(listed: dict[str, list[str]], exists) -> dict[str, dict[str, str]]:
    """Page -> {word: place on it, or ""}; of a word's pages the first that `exists` is taken."""
    found = {}
    for word, candidates in listed.items():
        for candidate in candidates:
            page, _, place = candidate.partition("#")
            if exists(page):
                found.setdefault(page, {})[word] = place
                break
    return found


class IndexWords(SphinxTransform):
    default_priority = 840  # before the domains look for index entries (850)

    def apply(self, **kwargs):
        env = self.env
        path = Path(env.srcdir, "book", "words.toml")
        if not path.exists():
            return
        env.note_dependency(str(path))
        listed = tomllib.loads(path.read_text(encoding="utf-8"))
        here = places(listed, lambda page: f"book/{page}" in env.found_docs)
        top = next(self.document.findall(nodes.section), None)
        for word, place in here.get(env.docname.removeprefix("book/"), {}).items() if top is not None else ():
            place = place if place in self.document.ids else ""
            top.insert(1, addnodes.index(entries=[("single", word, place, "main", None)]))


def setup(app):
    app.add_transform(IndexWords)
