"""The executed notebook of a chapter, to take along: its text is that of the page, in plain Markdown.

Numbers, references, citations and theorems stand there as they stand on the page, so it reads in any Jupyter; its code
cells and their outputs are those of the execution.
"""

from __future__ import annotations

import re
import textwrap
from html import escape
from pathlib import Path
from urllib.parse import urljoin

import nbformat
from docutils import nodes
from jupyter_cache import get_cache
from nbformat import v4
from sphinx import addnodes

from isobook.elsewhere import install_cell
from isobook.entries import macros
from isobook.gallery import number
from isobook.render import MIME
from isobook.theorems import is_theorem, theorem_number

SILENT = (nodes.raw, nodes.comment, nodes.target, nodes.system_message, addnodes.index)
LEFT_OUT = {"cite-page", "reading-time", "fig-tools"}
AROUND = {"emphasis": "*", "strong": "**", "literal": "`"}


class Writer:
    """Nodes of a page as Markdown. `address` is that of the page, to which its links are relative."""

    def __init__(self, address: str, env, docname: str):
        self.address, self.env, self.docname = address, env, docname

    def write(self, node: nodes.Node, level: int = 0) -> str:
        """One node with all that it holds; blocks end with an empty line."""
        if isinstance(node, nodes.Text):
            return re.sub(r"([\\`*$])", r"\\\1", node.astext())
        if isinstance(node, SILENT) or LEFT_OUT & set(node.get("classes", [])):
            return ""
        kind = next((name for name in AROUND if isinstance(node, getattr(nodes, name))), type(node).__name__)
        if method := getattr(self, f"_{kind}", None):
            return method(node, level)
        if kind in AROUND:
            inner = node.astext() if kind == "literal" else self.inside(node, level)
            return f"{AROUND[kind]}{inner}{AROUND[kind]}"
        if is_theorem(node):
            return self.theorem(node, level)
        return self.inside(node, level)

    def inside(self, node: nodes.Node, level: int = 0) -> str:
        return "".join(self.write(child, level) for child in node.children)

    def _section(self, node, level):
        return self.inside(node, level + 1)

    def _title(self, node, level):
        return f"{'#' * level} {self.inside(node)}\n\n"

    def _paragraph(self, node, level):
        return f"{self.inside(node, level).strip()}\n\n"

    def _superscript(self, node, level):
        return f"<sup>{self.inside(node)}</sup>"

    def _math(self, node, level):
        return f"${node.astext().strip()}$"

    def _math_block(self, node, level):
        text, ids = node.astext().strip(), set(node["ids"])
        numbers = self.env.toc_fignumbers.get(self.docname, {}).get("displaymath", {})
        tag = next((rf"\tag{{{'.'.join(map(str, n))}}}" for id, n in numbers.items() if id in ids), "")
        if r"\\" in text:  # as Sphinx does on the page
            text = rf"\begin{{split}}{text}\end{{split}}"
        return f"$$\n{text}{tag}\n$$\n\n"

    def _reference(self, node, level):
        to = node.get("refuri") or "#" + node.get("refid", "")
        return f"[{self.inside(node, level)}]({urljoin(self.address, to)})"

    def _bullet_list(self, node, level):
        return self.items(node, level, lambda place: "-")

    def _enumerated_list(self, node, level):
        return self.items(node, level, lambda place: f"{place}.")

    def items(self, node, level, mark) -> str:
        made = []
        for place, item in enumerate(node.children, start=1):
            made.append(f"{mark(place)} " + textwrap.indent(self.inside(item, level).strip(), "   ").lstrip())
        return "\n".join(made) + "\n\n"

    def _term(self, node, level):
        return f"**{self.inside(node, level)}**: "

    def _dropdown_title(self, node, level):
        return f"*{self.inside(node, level)}.*\n\n"

    def _literal_block(self, node, level):
        return f"```{node.get('language', '').replace('none', '')}\n{node.astext()}\n```\n\n"

    def _block_quote(self, node, level):
        return textwrap.indent(self.inside(node, level).strip(), "> ", lambda line: True) + "\n\n"

    def theorem(self, node, level) -> str:
        """A statement with its number, set off as a quotation."""
        said = f"**{node['realtype'].title()} {theorem_number(self.env, node['label'])}{self.inside(node[0])}.**\n\n"
        said += "".join(self.inside(child, level) for child in node.children[1:])
        return textwrap.indent(said.strip(), "> ", lambda line: True) + "\n\n"

    def _table(self, node, level):
        title = next(iter(node.findall(nodes.title)), None)
        rows = []
        for row in node.findall(nodes.row):
            cells = (" ".join(self.inside(cell, level).split()).replace("|", r"\|") for cell in row.children)
            rows.append(f"| {' | '.join(cells)} |")
        if rows:
            rows.insert(1, "|" + "---|" * rows[0].replace(r"\|", "").count(" | ") + "---|")
        return (f"**{self.inside(title)}**\n\n" if title is not None else "") + "\n".join(rows) + "\n\n"


def opening(app, docname: str, address: str) -> str:
    """What the notebook is, how to run it, and the book's own TeX macros."""
    chapter, repository = docname.rsplit("/")[-1], app.env.isonum_citation["repository-code"]
    own = "".join(
        rf"\newcommand{{\{name}}}{'' if isinstance(body, str) else f'[{body[1]}]'}"
        rf"{{{body if isinstance(body, str) else body[0]}}}"
        for name, body in macros(app.env).items()
    )
    said = f"*Executed from [this page]({address}). To run it again, run all cells: the first installs the book's\n"
    said += f"code where it is missing. In a clone of [the book]({repository}), `make run-{chapter}` does it with the\n"
    said += "exact versions of the figures.*\n"
    return said + (f"\n$${own}$$\n" if own else "")


def notebook(doctree, executed, app, docname: str):
    """The text of the page between the code cells of its execution."""
    address = app.env.isonum_citation["url"] + app.builder.get_target_uri(docname)
    writer, cells = Writer(address, app.env, docname), [v4.new_markdown_cell(opening(app, docname, address))]
    waiting, pending = [cell for cell in executed.cells if cell.cell_type == "code"], []
    cells.append(install_cell(app.env.isonum_citation, "\n".join(cell.source for cell in waiting)))

    def flush():
        if text := "".join(pending).strip():
            cells.append(v4.new_markdown_cell(text))
        pending.clear()

    def walk(node, level):
        if isinstance(node, nodes.container) and node.get("nb_element") == "cell_code":
            flush()
            while waiting and (waiting[0].execution_count or 0) <= (node["exec_count"] or 0):
                cells.append(waiting.pop(0))  # with those before it that the page does not show
            for figure in node.findall(nodes.figure):
                name = number(app.env, figure["ids"][0])
                pending.append(f"**Figure {name}.** {writer.inside(figure[-1])}\n\n")
        elif any(True for child in node.findall(is_cell)):
            for child in node.children:
                walk(child, level + isinstance(node, nodes.section))
        else:
            pending.append(writer.write(node, level))

    walk(doctree, 0)
    flush()
    made = v4.new_notebook(cells=cells + waiting, metadata=executed.metadata)
    for count, cell in enumerate(made.cells):
        cell["id"] = f"cell-{count}"  # the same from build to build
        if cell.cell_type == "code":  # what the text says is in the text
            cell["outputs"] = [output for output in cell["outputs"] if "scrapbook" not in output.get("metadata", {})]
        for output in cell.get("outputs", []):  # the figure in five formats is on the site; here its picture is enough
            if drawn := output.get("data", {}).pop(MIME, None):
                output["data"]["text/html"] = picture(output["data"]["text/html"], app.env.isonum_figures[drawn["id"]])
    return made


def picture(html: str, figure: dict) -> str:
    """The output of a figure with its alternative text and without its caption, which is a cell of its own."""
    html = re.sub("<figcaption>.*?</figcaption>", "", html, flags=re.DOTALL)
    return re.sub(r'(?<= )alt="[^"]*"', lambda _: f'alt="{escape(figure["alt"])}"', html, count=1)


def is_cell(node) -> bool:
    return isinstance(node, nodes.container) and node.get("nb_element") == "cell_code"


def offer(app, pagename, templatename, context, doctree):
    """Give the download menu the executed notebook; the theme offers it only beside a launch service."""
    written = Path(app.outdir).parent / "jupyter_execute" / f"{pagename}.ipynb"
    if doctree is None or not written.exists():
        return
    executed = nbformat.read(written, as_version=4)
    if app.config.nb_execution_mode == "cache":
        # myst_nb writes the notebook without its outputs whenever they came from the cache.
        _, executed = get_cache(app.config.nb_execution_cache_path).merge_match_into_notebook(executed)
    target = Path(app.outdir) / "_sources" / f"{pagename}.ipynb"
    target.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook(doctree, executed, app, pagename), target)
    context["ipynb_source"] = f"{pagename}.ipynb"


def setup(app):
    app.connect("html-page-context", offer, priority=100)  # before the theme collects its buttons
