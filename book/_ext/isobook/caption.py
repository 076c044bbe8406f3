"""The directive {caption}: what a figure shows, in the text of the chapter, below the cell that draws it.

    ```{caption} fig-pr-law
    :alt: Points below the diagonal, on a curve that bends downwards.

    The gradient occupies fewer directions than what is read: {glue:text}`read:.1f` become {glue:text}`left:.1f`.
    ```

The numbers are those that the cells have said. They are set before the Markdown is parsed, so a formula may hold one.
"""

from __future__ import annotations

import re

from docutils.parsers.rst import directives
from myst_nb.core.variables import format_plain_text
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective

from isobook.render import finish, waiting


class Caption(SphinxDirective):
    required_arguments = 1
    has_content = True
    option_spec = {"alt": directives.unchanged}

    def run(self):
        (id,), said = self.arguments, glued(self.state.document)
        if not (drawn := waiting(self.env).pop(id, None)):
            raise ExtensionError(f"{self.env.docname}: no cell above draws {id}, whose caption stands here")
        caption, alt = (
            filled(" ".join(text.split()), said) for text in ("\n".join(self.content), self.options.get("alt", ""))
        )
        if fault := wrong(caption, alt):
            raise ExtensionError(f"{self.env.docname}: {id} {fault}")
        finish(drawn, caption, alt, self.lineno)
        return []


def glued(document) -> dict[str, str]:
    """What the cells of a page have said, as it is written in their outputs."""
    found = document["nb_renderer"].renderer.nb_client.glue_data if "nb_renderer" in document else {}
    return {name: output["data"]["text/plain"] for name, output in found.items()}


def filled(text: str, said: dict[str, str]) -> str:
    """Markdown with its numbers in place of {glue:text}`name:format`, formatted as MyST-NB does it."""

    def number(role: re.Match) -> str:
        name, _, form = role[1].partition(":")
        if name not in said:
            return role[0]
        return format_plain_text(said[name], form or "s")

    return re.sub(r"\{glue:text\}`([^`]*)`", number, text)


def wrong(caption: str, alt: str) -> str:
    """Why a caption and an alternative text cannot be published, or nothing."""
    if unsaid := re.search(r"\{glue:text\}`([^`:]*)", caption + alt):
        return f"prints {unsaid[1]}, which no cell has said"
    if not re.search(r"[.!?][)*_\"'”]*$", caption):
        return f"has a caption that is no sentence with a full stop: {caption!r}"
    if len(re.findall(r"(?<!\\)\$", caption)) % 2:
        return f"has a caption with an odd number of $ signs: {caption!r}"
    if not alt or "$" in alt or alt == caption:
        return f"needs an alternative text that can be read aloud, plain words and not the caption, got {alt!r}"
    return ""


def all_have_captions(app, doctree):
    """A figure without its caption stops the build."""
    for id in waiting(app.env):
        raise ExtensionError(f"{app.env.docname}: {id} has no caption: write {{caption}} {id} below its cell")


def setup(app):
    app.add_directive("caption", Caption)
    app.connect("doctree-read", all_have_captions)
