"""The directive {figure-index}: all figures of the book in reading order, each with its picture and its finding."""

from __future__ import annotations

from docutils import nodes
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.docutils import SphinxDirective

from isobook.render import store, up


class figure_index(nodes.General, nodes.Element):
    """Where the index will stand: it is filled after all pages have been read and numbered."""


class FigureIndex(SphinxDirective):
    def run(self):
        pages(self.env).add(self.env.docname)
        return [figure_index()]


class FillIndex(SphinxPostTransform):
    default_priority = 5  # before references are resolved (10): captions may hold some

    def run(self, **kwargs):
        for place in list(self.document.findall(figure_index)):
            entries = [entry(self.env, self.app.builder, id) for id in ordered(self.env)]
            # Captions bring formulas to a page that has none of its own; this makes Sphinx load MathJax there.
            self.env.get_domain("math").data["has_equations"][self.env.docname] = True
            place.replace_self(nodes.container("", *entries, classes=["fig-index"]))


def entry(env, builder, id: str) -> nodes.container:
    """One figure: picture and number lead to the figure, its whole caption below."""
    figure = store(env)[id]
    href = builder.get_relative_uri(env.docname, figure["docname"]) + "#" + id
    picture = figure["images"].replace("{up}", up(env.docname))
    box = nodes.container(classes=["fig-entry"], ids=[f"index-{id}"])
    box += nodes.raw("", f'<a href="{href}">{picture}<strong>Figure {number(env, id)}</strong></a>', format="html")
    caption = nodes.paragraph("", "", *[child.deepcopy() for child in figure["caption_nodes"]])
    for reference in caption.findall(lambda node: "refdoc" in getattr(node, "attributes", {})):
        reference["refdoc"] = env.docname
    box += caption
    return box


def number(env, id: str) -> str:
    """The figure's number as printed, such as 2.1."""
    return ".".join(map(str, env.toc_fignumbers.get(store(env)[id]["docname"], {}).get("figure", {}).get(id, ())))


def ordered(env) -> list[str]:
    """Ids in reading order: by chapter in the table of contents, then by number inside it."""
    chapters = {name: place for place, name in enumerate(reading_order(env))}

    def place(id: str) -> tuple:
        figure = store(env)[id]
        return chapters.get(figure["docname"], len(chapters)), [int(n) for n in number(env, id).split(".") if n]

    return sorted(store(env), key=place)


def reading_order(env) -> list[str]:
    """Pages as the table of contents lists them."""

    def walk(name: str):
        yield name
        for child in env.toctree_includes.get(name, []):
            yield from walk(child)

    return list(walk(env.config.root_doc))


def pages(env) -> set[str]:
    """Pages that hold an index."""
    if not hasattr(env, "isonum_index_pages"):
        env.isonum_index_pages = set()
    return env.isonum_index_pages


def rewrite(app, env):
    # The index changes whenever any chapter does.
    return sorted(pages(env) & set(env.found_docs))


def setup(app):
    app.add_node(figure_index)
    app.add_directive("figure-index", FigureIndex)
    app.add_post_transform(FillIndex)
    app.connect("env-updated", rewrite)
