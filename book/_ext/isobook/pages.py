"""Small repairs to pages."""

from __future__ import annotations

from docutils.statemachine import StringList
from sphinx_proof.directive import ProofDirective

# Roles that docutils 0.21 writes on bibliographies, where they contradict each other (axe: critical), and ids that
# sphinx-proof writes on every theorem and proof, though an id may stand only once.
SURPLUS = (' role="list"', ' role="doc-biblioentry"', ' role="doc-backlink"', ' id="proof-content"', ' id="proof"')


def drop_surplus(app, pagename, templatename, context, doctree):
    for attribute in SURPLUS if "body" in context else ():
        context["body"] = context["body"].replace(attribute, "")


class Proof(ProofDirective):
    """A proof may begin with a directive, such as a fold: its word stands on a line of its own then."""

    def run(self):
        if self.content and self.content[0].lstrip().startswith(("```", ":::")):
            self.content.insert(0, StringList(["", ""], self.content.source(0)))
        return super().run()


def setup(app):
    if "sphinx_proof" in app.config.extensions:
        app.setup_extension("sphinx_proof")
        app.add_directive_to_domain("prf", "proof", Proof, override=True)
    app.connect("html-page-context", drop_surplus)
