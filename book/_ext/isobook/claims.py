"""The directive {claims}: the rulings of a TOML file as a table that can be read without scripts, or their counts.

Each row is a permanent address, `claim-<id>`, and a target for {ref}. claims.js makes the table sortable.
"""

from __future__ import annotations

import json
import tomllib
from collections import Counter
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst.directives import flag
from sphinx.util.docutils import SphinxDirective

VERDICTS = {
    "proved": "a theorem of this book says so, in the form and under the conditions that stand beside it",
    "supported": "what was measured here speaks for it, under those conditions",
    "mixed": "one part or case holds and another does not",
    "contradicted": "a theorem or a measurement speaks against it as it is worded",
    "not tested yet": "it can be tested here; what that needs stands beside it",
    "not testable here": "it needs what we do not have",
}
ROLES = {"thm": "prf:ref", "prop": "prf:ref", "lem": "prf:ref", "cor": "prf:ref", "def": "prf:ref", "fig": "numref"}


class Claims(SphinxDirective):
    """`{claims} FILE` prints the table; with `:summary:` one line of counts that lead to it, for any page."""

    required_arguments = 1
    option_spec = {"summary": flag}

    def run(self):
        _, path = self.env.relfn2path(self.arguments[0])
        self.env.note_dependency(path)
        book = read(Path(path))
        if "summary" in self.options:
            return self.parse_text_to_nodes(summary(book["claim"]))
        tables = self.parse_text_to_nodes(table(book, Path(path).parent / "results"))
        for row, claim in zip(tables[0].findall(nodes.tbody).__next__().children, book["claim"], strict=True):
            anchor = f"claim-{claim['id']}"
            row["ids"].append(anchor)
            row["classes"].append(slug(claim["verdict"]))
            self.env.get_domain("std").note_hyperlink_target(anchor, self.env.docname, anchor, claim["says"])
        tables[0]["classes"].append("claims")
        return tables


def read(path: Path) -> dict:
    return tomllib.loads(path.read_text(encoding="utf-8"))


def summary(claims: list[dict]) -> str:
    """How many claims have which verdict, in the order of VERDICTS; a line of Markdown."""
    count = Counter(claim["verdict"] for claim in claims)
    parts = ", ".join(f"{count[verdict]} {verdict}" for verdict in VERDICTS if count[verdict])
    return f"Of {len(claims)} claims, these are the verdicts: {parts}."


def table(book: dict, results: Path) -> str:
    """The claims as a table in Markdown: verdict, claim with its conditions, where it stands, evidence."""
    lines = ["| Verdict | Claim, and under which conditions | Where | Evidence |", "|---|---|---|---|"]
    for claim in book["claim"]:
        source = book["sources"][claim["source"]]
        says = claim["says"].replace("*", r"\*")
        said = f"**{says}** {claim['conditions']} [#](#claim-{claim['id']})"
        where = f"[{source['name']}]({source['url']}), {claim['place']}"
        evidence = ", ".join(map(role, claim["evidence"])) or "none yet"
        if older(claim, book["rows"]["older"], results):
            evidence += " *(rows older than the code)*"
        lines.append(f"| {claim['verdict']} | {said} | {where} | {evidence} |")
    return "\n".join(lines)


def role(label: str) -> str:
    """A reference to a theorem, a figure, or anything else that has a title."""
    return f"{{{ROLES.get(label.split('-')[0], 'ref')}}}`{label}`"


def older(claim: dict, commits: list[str], results: Path) -> bool:
    """Whether a table that the verdict leans on has rows that were made by code of an earlier edition."""
    for name in claim.get("tables", ()):
        for path in results.glob(f"{name}.*.json"):
            runs = json.loads(path.read_text(encoding="utf-8"))["runs"]
            if any(run["commit"] in commits for run in runs):
                return True
    return False


def slug(words: str) -> str:
    return words.replace(" ", "-")


def on_its_page(app, pagename, templatename, context, doctree):
    """Script and style go to the page that has the table, and to no other."""
    if doctree is not None and any("claims" in node["classes"] for node in doctree.findall(nodes.table)):
        app.add_js_file("claims.js", loading_method="defer")
        app.add_css_file("claims.css")


def setup(app):
    app.add_directive("claims", Claims)
    app.connect("html-page-context", on_its_page)
