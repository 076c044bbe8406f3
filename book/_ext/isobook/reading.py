"""How long a chapter takes to read, below its title; and the directive {paths}: ways through the book for its readers.

Counted are words, formulas and figures that are open: a folded proof, code and entries to copy are not.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.docutils import SphinxDirective

from isobook.gallery import pages

WORDS_A_MINUTE, SECONDS_A_FORMULA, SECONDS_A_FIGURE = 220, 3, 45
APART = (nodes.literal_block, nodes.raw, nodes.comment, nodes.math, nodes.math_block, addnodes.index)


class reading_paths(nodes.General, nodes.Element):
    """Where the paths will stand: they are filled after all pages have been read."""


class Paths(SphinxDirective):
    """`{paths} FILE`: each path of the TOML file with its reader, its pages and the time they take."""

    required_arguments = 1

    def run(self):
        _, path = self.env.relfn2path(self.arguments[0])
        self.env.note_dependency(path)
        pages(self.env).add(self.env.docname)
        return [reading_paths(file=path)]


def minutes(document: nodes.Node) -> float:
    """Minutes that a page takes."""
    words = formulas = figures = 0

    def count(node):
        nonlocal words, formulas, figures
        if isinstance(node, nodes.Text):
            words += len(node.split())
        elif isinstance(node, nodes.math | nodes.math_block):
            formulas += 1
        elif node.get("design_component") == "dropdown" or isinstance(node, APART):
            return
        else:
            figures += isinstance(node, nodes.figure)
            for child in node.children:
                count(child)

    count(document)
    return words / WORDS_A_MINUTE + (formulas * SECONDS_A_FORMULA + figures * SECONDS_A_FIGURE) / 60


def note(app, doctree):
    store(app.env)[app.env.docname] = minutes(doctree)


def store(env) -> dict[str, float]:
    """Minutes of every page read so far."""
    if not hasattr(env, "isonum_minutes"):
        env.isonum_minutes = {}
    return env.isonum_minutes


def spoken(time: float) -> str:
    """Minutes in words: "7 minutes", "1 h 50 min"; above an hour by tens."""
    if time < 59.5:
        return f"{max(1, round(time))} minute{'' if round(time) <= 1 else 's'}"
    hours, rest = divmod(round(time / 10) * 10, 60)
    return f"{hours} h {rest} min" if rest else f"{hours} h"


class WriteTimes(SphinxPostTransform):
    default_priority = 5  # before references are resolved (10)

    def run(self, **kwargs):
        env = self.env
        if env.toc_secnumbers.get(env.docname) or env.docname == env.config.root_doc:
            title = next(self.document.findall(nodes.title), None)
            if title is not None:
                line = nodes.paragraph("", f"{spoken(store(env)[env.docname])} to read", classes=["reading-time"])
                title.parent.insert(title.parent.index(title) + 1, line)
        for place in list(self.document.findall(reading_paths)):
            listed = tomllib.loads(Path(place["file"]).read_text(encoding="utf-8"))["path"]
            folder = env.docname.rpartition("/")[0]
            place.replace_self(nodes.bullet_list("", *(self.path(path, folder) for path in listed), classes=["paths"]))

    def path(self, path: dict, folder: str) -> nodes.list_item:
        """One path as an item of a list."""
        names = [name for page in path["pages"] if (name := f"{folder}/{page}".lstrip("/")) in store(self.env)]
        time = spoken(sum(store(self.env)[name] for name in names))
        line = nodes.paragraph("", "", nodes.strong("", f"{path['reader']}:"))
        line += nodes.Text(f" {path['wants']} ({time}). ")
        for name in names:
            link = addnodes.pending_xref(
                "", nodes.inline("", name), refdomain="std", reftype="doc", reftarget=f"/{name}"
            )
            link.attributes |= {"refdoc": self.env.docname, "refexplicit": False, "refwarn": True}
            line += [link, nodes.Text(", " if name != names[-1] else ".")]
        return nodes.list_item("", line)


def setup(app):
    app.add_node(reading_paths)
    app.add_directive("paths", Paths)
    app.add_post_transform(WriteTimes)
    app.connect("doctree-read", note, priority=400)  # before the entries to copy are added
