"""A BibTeX entry below every figure, chapter and theorem, and one for the book.

They are written when a page is, as only then all numbers, in titles too, are known.
"""

from __future__ import annotations

from docutils import nodes
from sphinx.transforms.post_transforms import SphinxPostTransform

from isobook.cite import entry, first_sentence, short, tex, words


def cite_block(kind: str, what: str) -> nodes.literal_block:
    """Where the entry of a "figure" (its id), "theorem" (its label) or "page" (its name) will stand."""
    return nodes.literal_block("", "", language="bibtex", classes=["bibtex"], cites=(kind, what))


class WriteEntries(SphinxPostTransform):
    default_priority = 300  # after references are resolved (10): a caption may hold some

    def run(self, **kwargs):
        for block in list(self.document.findall(lambda node: "cites" in getattr(node, "attributes", {}))):
            kind, what = block["cites"]
            block.rawsource = {"figure": self.figure, "theorem": self.theorem, "page": self.page}[kind](what)
            block += nodes.Text(block.rawsource)

    def figure(self, id: str) -> str:
        env = self.env
        figure = next(figure for figure in self.document.findall(nodes.figure) if id in figure["ids"])
        title = short(first_sentence(tex(figure[-1], macros(env))))
        number = ".".join(map(str, env.toc_fignumbers.get(env.docname, {}).get("figure", {}).get(id, ())))
        made = env.isonum_figures[id]["provenance"]
        state = {True: ", with uncommitted changes", False: "", None: ""}[made["dirty"]]
        note = f"Commit {made['commit'][:12]}{state}. CC BY 4.0"
        return entry(
            env.isonum_citation, f"isonum:{id}", title, edition(env, f"Figure {number}"), f"fig/{id}.html", note
        )

    def theorem(self, label: str) -> str:
        theorem = self.env.isonum_theorems[label]
        name = f"{theorem['kind'].title()} {theorem_number(self.env, label)}"
        title = short(tex(nodes.inline("", "", *theorem["title"]), macros(self.env)))
        path = self.app.builder.get_target_uri(theorem["docname"]) + "#" + label
        return entry(self.env.isonum_citation, f"isonum:{label}", title, edition(self.env, name), path)

    def page(self, docname: str) -> str:
        meta, path = self.env.isonum_citation, self.app.builder.get_target_uri(docname)
        if docname == self.config.root_doc:
            return entry(meta, "isonum", words(meta["title"]), f"Version {meta['version']}", "")
        number = self.env.toc_secnumbers.get(docname, {}).get("", ())
        name = f"Chapter {'.'.join(map(str, number))}" if number else "Page"
        title = short(tex(self.env.titles[docname], macros(self.env)))
        return entry(meta, f"isonum:{docname.rsplit('/')[-1]}", title, edition(self.env, name), path)


def edition(env, part: str) -> str:
    """The book with its version, after the part of it that is cited."""
    meta = env.isonum_citation
    return f"{part} in: {words(meta['title'])}, version {meta['version']}"


def macros(env) -> dict:
    """The book's own TeX macros, which no reader's document has."""
    return (env.config.mathjax3_config or {}).get("tex", {}).get("macros", {})


def theorem_number(env, label: str) -> str:
    """The number of a theorem as printed, such as 2.1."""
    theorem = env.isonum_theorems[label]
    numbers = env.toc_fignumbers.get(theorem["docname"], {}).get(theorem["counted_as"], {})
    return ".".join(map(str, numbers.get(label, ())))


def offer(app, doctree):
    """At the end of each page, folded: how to cite it; and its address, for those who read it on paper."""
    what = "book" if app.env.docname == app.config.root_doc else "page"
    box = nodes.container(classes=["cite-page"])
    box += nodes.raw("", f"<details><summary>Cite this {what}</summary>", format="html")
    box += cite_block("page", app.env.docname)
    meta = app.env.isonum_citation
    address = f"{meta['url']}{app.builder.get_target_uri(app.env.docname)}, version {meta['version']}"
    box += nodes.raw("", f'</details><p class="paper-address">{address}</p>', format="html")
    next(doctree.findall(nodes.section)).append(box)


def setup(app):
    app.add_post_transform(WriteEntries)
    app.connect("doctree-read", offer)
