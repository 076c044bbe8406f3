"""The directive {theorem-index}: every definition, theorem, lemma, proposition and corollary, and what each rests on.

What a statement rests on is read off its own text and that of its proof: the statements and numbered equations that
they refer to. Each statement is in the index of words under its label and its title, so that the search finds it.
"""

from __future__ import annotations

from collections import Counter

from docutils import nodes
from sphinx import addnodes
from sphinx.transforms import SphinxTransform
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.docutils import SphinxDirective

from isobook.entries import cite_block, theorem_number
from isobook.gallery import pages, reading_order


class theorem_index(nodes.General, nodes.Element):
    """Where the list will stand: it is filled after all pages have been read and numbered."""


class TheoremIndex(SphinxDirective):
    def run(self):
        pages(self.env).add(self.env.docname)
        return [theorem_index()]


class CollectTheorems(SphinxTransform):
    """Note each statement of a page with its proof, and put it into the index."""

    default_priority = 840  # before the domains look for index entries (850)

    def apply(self, **kwargs):
        last = None
        for node in list(self.document.findall(lambda node: is_theorem(node) or is_proof(node))):
            if is_theorem(node):
                last = store(self.env)[node["label"]] = {
                    "docname": self.env.docname,
                    "kind": node["realtype"],
                    "counted_as": node["countertype"],
                    "title": title(node),
                    "equations": equations(node),
                    "names": references(node),
                    "proved": False,
                }
                words = [node["label"], nodes.inline("", "", *last["title"]).astext().replace(";", ",")]
                entries = [("single", word, node["label"], "main", None) for word in words if word]
                node.parent.insert(node.parent.index(node), addnodes.index(entries=entries))
            elif last:  # a proof belongs to the statement before it
                last["proved"] = True
                last["equations"] |= equations(node)
                last["names"] |= references(node)


def is_theorem(node) -> bool:
    return "realtype" in getattr(node, "attributes", {})


def is_proof(node) -> bool:
    """A proof of sphinx-proof, whose class has the same name as its node."""
    return type(node).__name__ == "proof_node"


def title(node) -> list[nodes.Node]:
    """The words in brackets after "Theorem 2.1", without the brackets."""
    made = node[0].deepcopy()
    texts = list(made.findall(nodes.Text))
    if texts:
        texts[0].parent.replace(texts[0], nodes.Text(texts[0].astext().removeprefix(" (")))
        texts = list(made.findall(nodes.Text))
        texts[-1].parent.replace(texts[-1], nodes.Text(texts[-1].astext().removesuffix(")")))
    return made.children


def equations(node) -> set[str]:
    return {block["label"] for block in node.findall(nodes.math_block) if block.get("label")}


def references(node) -> set[tuple[str, str]]:
    """Statements ("prf") and equations ("math") that a text refers to, by domain and label."""
    found = node.findall(addnodes.pending_xref)
    return {(x["refdomain"], x["reftarget"]) for x in found if x.get("refdomain") in ("prf", "math")}


def store(env) -> dict[str, dict]:
    """All statements read so far, by label."""
    if not hasattr(env, "isonum_theorems"):
        env.isonum_theorems = {}
    return env.isonum_theorems


def rests_on(theorems: dict[str, dict]) -> dict[str, list[str]]:
    """Label -> labels of the other statements that its text or its proof refers to, in the order of `theorems`."""
    home = {("math", equation): label for label, theorem in theorems.items() for equation in theorem["equations"]}
    home |= {("prf", label): label for label in theorems}
    return {
        label: [other for other in theorems if other in {home.get(name) for name in theorem["names"]} - {label}]
        for label, theorem in theorems.items()
    }


class FillTheorems(SphinxPostTransform):
    default_priority = 5  # before references are resolved (10)

    def run(self, **kwargs):
        for place in list(self.document.findall(theorem_index)):
            theorems = {label: store(self.env)[label] for label in ordered(self.env)}
            below = rests_on(theorems)
            made = [nodes.paragraph("", summary(self.env, theorems))]
            for docname in dict.fromkeys(theorem["docname"] for theorem in theorems.values()):
                number = ".".join(map(str, self.env.toc_secnumbers.get(docname, {}).get("", ())))
                heading = nodes.title("", f"{number}. " if number else "")
                heading += [child.deepcopy() for child in self.env.titles[docname].children]
                section = nodes.section("", heading, ids=[f"theorems-{docname.rsplit('/')[-1]}"])
                section += [self.entry(label, below) for label in theorems if theorems[label]["docname"] == docname]
                made.append(section)
            self.env.get_domain("math").data["has_equations"][self.env.docname] = True  # titles may bring formulas
            place.replace_self(made)

    def entry(self, label: str, below: dict[str, list[str]]) -> nodes.container:
        """One statement: number, title and label; what it rests on and what rests on it; its BibTeX entry."""
        theorem = store(self.env)[label]
        line = nodes.paragraph("", "", nodes.strong("", "", self.link(label)), nodes.Text(" "))
        line += [child.deepcopy() for child in theorem["title"]]
        line += [nodes.Text(" "), nodes.literal("", label)]
        box = nodes.container("", line, classes=["thm-entry"], ids=[f"index-{label}"])
        if not theorem["proved"] and theorem["kind"] != "definition":
            box += nodes.paragraph("", "No proof of its own.", classes=["thm-links"])
        above = [other for other in below if label in below[other]]
        for words, others in (("Rests on", below[label]), ("Used by", above)):
            if others:
                links = nodes.paragraph("", f"{words} ", classes=["thm-links"])
                for other in others:
                    links += [self.link(other), nodes.Text(", " if other != others[-1] else ".")]
                box += links
        box += nodes.raw("", "<details><summary>Cite</summary>", format="html")
        box += cite_block("theorem", label)
        box += nodes.raw("", "</details>", format="html")
        return box

    def link(self, label: str) -> nodes.reference:
        to = self.app.builder.get_relative_uri(self.env.docname, store(self.env)[label]["docname"]) + "#" + label
        return nodes.reference("", name(self.env, label), internal=True, refuri=to)


def summary(env, theorems: dict[str, dict]) -> str:
    """How many statements of which kind there are, and which of those that need a proof have none below them."""
    kinds = Counter(theorem["kind"] for theorem in theorems.values())
    parts = ", ".join(f"{count} {kind if count == 1 else plural(kind)}" for kind, count in kinds.most_common())
    bare = [label for label, theorem in theorems.items() if theorem["kind"] != "definition" and not theorem["proved"]]
    but = ", ".join(name(env, label) for label in bare)
    return (
        f"The book makes {len(theorems)} numbered statements: {parts}. "
        f"Each that is no definition is followed by its proof{', except ' * bool(but)}{but}."
    )


def name(env, label: str) -> str:
    """A statement as it is printed, such as "Theorem 2.1"."""
    return f"{store(env)[label]['kind'].title()} {theorem_number(env, label)}"


def plural(kind: str) -> str:
    return kind[:-1] + "ies" if kind.endswith("y") else kind + "s"


def ordered(env) -> list[str]:
    """Labels in reading order: by chapter in the table of contents, then by place on the page."""
    chapters = {name: place for place, name in enumerate(reading_order(env))}
    return sorted(store(env), key=lambda label: chapters.get(store(env)[label]["docname"], len(chapters)))


def purge(app, env, docname):
    for label in [label for label, theorem in store(env).items() if theorem["docname"] == docname]:
        del store(env)[label]


def setup(app):
    app.add_node(theorem_index)
    app.add_directive("theorem-index", TheoremIndex)
    app.add_transform(CollectTheorems)
    app.add_post_transform(FillTheorems)
    app.connect("env-purge-doc", purge)
