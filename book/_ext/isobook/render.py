"""Turn a citable figure in a notebook's output into a numbered figure of the page.

Its name, files and provenance travel in the output itself. Caption and alternative text do too, or come from the
directive {caption} below the cell.
"""

from __future__ import annotations

import base64
import hashlib
import re
from html import escape

import myst_nb.core.render as notebooks
from docutils import nodes
from sphinx.errors import ExtensionError

from isobook.cite import first_sentence
from isobook.entries import cite_block

MIME = "application/vnd.isonum.figure+json"  # isonum_core.figures.MIME; a test holds the two equal
LABELS = {"svg": "SVG", "pdf": "PDF", "png": "PNG", "csv": "CSV", "json": "provenance"}


class FigureRenderer:
    """myst_nb asks it for nodes whenever an output holds our MIME type, and prefers that type on web pages."""

    mime_priority_overrides = [("html", MIME, 1), ("dirhtml", MIME, 1)]

    @staticmethod
    def handle_mime(renderer, data, inline):
        if data.mime_type != MIME:
            return None
        payload, parser = data.content, renderer.renderer
        require(payload, parser.sphinx_env)
        files = {kind: base64.b64decode(text) for kind, text in payload["files"].items()}
        for kind, content in files.items():
            renderer.write_file(["figures", payload["id"], f"{payload['id']}.{kind}"], content, overwrite=True)
        figure = figure_node(payload["id"], parser, data.line)
        waiting(parser.sphinx_env)[payload["id"]] = (payload, files, figure, parser)
        return [figure, *footer_nodes(parser.sphinx_env, payload)]


def require(payload: dict, env) -> None:
    """A figure without name, files or provenance, or with another's name, stops the build."""
    for field in ("id", "files", "provenance"):
        if not payload.get(field):
            name = payload.get("id") or "without a name"
            raise ExtensionError(f"figure {name} has no {field}: make it with citable()")
    if payload["id"] in store(env) or payload["id"] in waiting(env):
        where = store(env).get(payload["id"], {"docname": env.docname})["docname"]
        raise ExtensionError(f"{env.docname}: {payload['id']} is already a figure of {where}")


def waiting(env) -> dict[str, tuple]:
    """Figures of the page that is being read and that have no caption yet."""
    return env.temp_data.setdefault("isonum_waiting", {})


def figure_node(id: str, parser, line: int) -> nodes.figure:
    """The figure in its place on the page, still empty."""
    figure = nodes.figure(classes=["citable"], names=[id])
    figure.source, figure.line = parser.document["source"], line
    parser.document.note_explicit_target(figure, figure)
    return figure


def finish(drawn: tuple, caption: str, alt: str, line: int) -> None:
    """Put in the image for light and dark pages, and the caption parsed as the chapter's own Markdown."""
    payload, files, figure, parser = drawn
    said = {"alt": alt, "html": images(payload["id"], alt, files, "{up}")}
    figure += nodes.raw("", frame(said["html"].replace("{up}", up(parser.sphinx_env.docname))), format="html")
    node = nodes.caption(caption, "")
    node.source, node.line = figure.source, line
    with parser.current_node_context(node):
        parser.nested_render_text(caption, line, inline=True)
    figure += node
    remember(parser.sphinx_env, payload, files, figure, said)


def images(id: str, alt: str, files: dict, prefix: str) -> str:
    """Both images, of which the theme shows one. Width and height are given, so the page does not jump on loading."""
    wide, tall = re.search(rb'viewBox="0 0 ([\d.]+) ([\d.]+)"', files["svg"]).groups()  # in points, 3/4 of a pixel
    pixels = f'width="{round(float(wide) * 4 / 3)}" height="{round(float(tall) * 4 / 3)}"'
    base, alt = f"{prefix}figures/{id}/{id}", escape(alt)
    both = "".join(
        f'<img class="{mode}" src="{base}.{kind}" {pixels} alt="{alt}" loading="lazy" decoding="async">'
        for mode, kind in (("only-light", "svg"), ("only-dark", "dark.svg"))
    )
    # In a box of their own: the theme hides every caption that is a sibling of a hidden image.
    return f'<span class="fig-picture">{both}</span>'


def frame(picture: str) -> str:
    """A picture that a tap enlarges, and a button that says so, which site.css shows on narrow screens; no script."""
    cue = '<span class="fig-cue"><input type="checkbox" aria-label="Enlarge the figure"> Enlarge</span>'
    return f'<label class="fig-frame">{picture}{cue}</label>'


def footer_nodes(env, payload: dict) -> list[nodes.Node]:
    """Permanent address and downloads; folded below them, how to cite and what made the figure."""
    id, prefix = payload["id"], up(env.docname)
    links = [f'<a href="{prefix}fig/{id}.html">permalink</a>']
    links += [f'<a href="{prefix}figures/{id}/{id}.{kind}" download>{label}</a>' for kind, label in LABELS.items()]
    source, chapter = env.doc2path(env.docname, base=False), env.docname.rsplit("/")[-1]
    opening = (
        f'<details><summary>Cite and reproduce</summary><p class="fig-facts">{escape(facts(payload["provenance"]))}</p>'
        f"<p>Drawn by <code>{source}</code>; <code>make run-{chapter}</code> draws it again.</p>"
    )
    box = nodes.container(classes=["fig-tools"])
    box += nodes.raw("", f'<p class="fig-links">{" · ".join(links)}</p>{opening}', format="html")
    box += cite_block("figure", id)
    box += nodes.raw("", "</details>", format="html")
    return [box]


def facts(provenance: dict) -> str:
    """The provenance in one readable line; the whole of it is in the JSON."""
    tree = {True: " with uncommitted changes", False: "", None: ""}[provenance["dirty"]]
    parts = [f"commit {provenance['commit'][:12]}{tree}", provenance["device"], f"Python {provenance['python']}"]
    parts += [f"{name} {provenance['versions'][name]}" for name in ("torch", "numpy") if name in provenance["versions"]]
    return " · ".join(parts + [f"{name} = {value}" for name, value in provenance["facts"].items()])


def remember(env, payload: dict, files: dict, figure: nodes.figure, said: dict) -> None:
    """Keep what the index, the permanent addresses and the crate need; the files themselves lie on disk."""
    store(env)[payload["id"]] = {
        "docname": env.docname,
        "title": first_sentence(figure[-1].astext()),
        "caption": figure[-1].astext(),
        "caption_nodes": [child.deepcopy() for child in figure[-1].children],
        "images": said["html"],
        "alt": said["alt"],
        "files": {
            kind: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for kind, content in sorted(files.items())
        },
        "provenance": payload["provenance"],
    }


def store(env) -> dict[str, dict]:
    """All figures read so far, by id."""
    if not hasattr(env, "isonum_figures"):
        env.isonum_figures = {}
    return env.isonum_figures


def up(docname: str) -> str:
    """From a page back to the root of the site."""
    return "../" * docname.count("/")


def purge(app, env, docname):
    for id in [id for id, figure in store(env).items() if figure["docname"] == docname]:
        del store(env)[id]


def setup(app):
    # The list is cached by myst_nb, so appending registers the renderer without packaging metadata.
    if FigureRenderer not in (known := notebooks.load_mime_renders()):
        known.append(FigureRenderer)
    app.connect("env-purge-doc", purge)
