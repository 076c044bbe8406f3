"""The directive {explore}: a picture that the reader moves, and the sentence that stands in for it without scripts.

Scripts and style go to the pages that have one, and to no other; book/_static/explorers holds them.
"""

from __future__ import annotations

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

# Explorer -> the scripts of formulas that it calls; each has a script of its own name besides.
EXPLORERS = {
    "two-halves": ("math", "risk"),
    "gauge-dial": ("math",),
    "null-curve": ("math",),
    "read-out": ("math", "risk"),
}


class Explore(SphinxDirective):
    """`{explore} NAME`; the content is what a reader without scripts gets, such as a pointer to a figure."""

    required_arguments = 1
    has_content = True

    def run(self):
        name = self.arguments[0]
        if name not in EXPLORERS:
            raise self.error(f"an explorer is one of {', '.join(EXPLORERS)}; got {name}")
        self.assert_has_content()
        place = nodes.container(classes=["explorer"], names=[f"explore-{name}"])
        self.state.document.note_explicit_target(place, place)
        still = nodes.container(classes=["explorer-still"])
        still += self.parse_content_to_nodes()
        place += still
        return [place]


def scripts(names: list[str]) -> list[str]:
    """Files that a page with these explorers loads, each once and after what it calls."""
    wanted = [file for name in names for file in EXPLORERS[name]]
    ordered = [file for file in ("math", "risk") if file in wanted]
    return [f"explorers/{file}.js" for file in (*ordered, "stage", *names)] if names else []


def on_its_page(app, pagename, templatename, context, doctree):
    places = doctree.findall(nodes.container) if doctree is not None else ()
    names = [place["names"][0].removeprefix("explore-") for place in places if "explorer" in place["classes"]]
    for file in scripts(names):
        app.add_js_file(file, loading_method="defer")
    if names:
        app.add_css_file("explorers/explorers.css")


def setup(app):
    app.add_directive("explore", Explore)
    app.connect("html-page-context", on_its_page)
