"""Numbers in running text with a true minus, and intervals that do not break over a line."""

from __future__ import annotations

import re

from docutils import nodes
from sphinx.transforms.post_transforms import SphinxPostTransform

# A hyphen with a digit behind it, and before it neither a letter nor a digit (2026-11-26, 1e-05) nor a path or option.
MINUS = re.compile(r"(?<![\w/.\-−–])-(?=\.?\d)")
NUMBER = r"[+−]?\d[\d.,]*\d*(?: ?%)?"
INTERVAL = re.compile(rf"(?:(?<=\d)|(?<=%)) (?=\[{NUMBER}, {NUMBER}\])|(?<=,) (?={NUMBER}\])")
VERBATIM = (nodes.literal, nodes.literal_block, nodes.math, nodes.math_block, nodes.raw, nodes.comment)


def set_numbers(text: str) -> str:
    """ "-0.1 [-0.2, 0.1]" as it is printed."""
    return INTERVAL.sub("\N{NO-BREAK SPACE}", MINUS.sub("\N{MINUS SIGN}", text))


class SetNumbers(SphinxPostTransform):
    default_priority = 400  # after values have come into the text, and after BibTeX entries were written

    def run(self, **kwargs):
        for text in list(self.document.findall(nodes.Text)):
            if not isinstance(text.parent, VERBATIM) and (printed := set_numbers(text.astext())) != text.astext():
                text.parent.replace(text, nodes.Text(printed))


def setup(app):
    app.add_post_transform(SetNumbers)
