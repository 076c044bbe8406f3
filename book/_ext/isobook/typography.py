"""Numbers as they are printed: a true minus, powers of ten, percent and intervals in one piece, and no stop alone.

A long inline formula is set in pieces that begin with relations or a plus, so that a narrow screen can break it there.
"""

from __future__ import annotations

import re
from html import unescape

from docutils import nodes
from sphinx.transforms.post_transforms import SphinxPostTransform

from isobook.mathjax import INLINE, width

# A hyphen with a digit behind it, and before it neither a letter nor a digit (2026-11-26, 1e-05) nor a path or option.
MINUS = re.compile(r"(?<![\w/.\-−–])-(?=\.?\d)")
NUMBER = r"[+−]?\d[\d.,]*\d*(?:e[+-]?\d+)?(?:\u00a0?%)?"
INTERVAL = re.compile(rf"(?:(?<=\d)|(?<=%)) (?=\[{NUMBER}, {NUMBER}\])|(?<=,) (?={NUMBER}\])")
# Behind a digit, or at the start of a text, where the digit is a value that was pasted before it.
PERCENT = re.compile(r"(?:(?<=\d)|^) ?%(?!\w)")
# A number as Python prints it when it is large or small. A hash of a commit has more digits on one of its sides.
POWER = re.compile(r"(?<![\w.])(\d(?:\.\d+)?)e([+-]?)0*(\d{1,3})(?!\w)")
VERBATIM = (nodes.literal, nodes.literal_block, nodes.math, nodes.math_block, nodes.raw, nodes.comment)
# An inline formula with the sign before it and what follows it without a space, up to a hyphen.
GLUED = re.compile(
    r'([(\[“‘+−±~≈]?)(<span class="math notranslate nohighlight"[^>]*>.*?</span>)([^\s<\-–—/…]*-?)', re.DOTALL
)

RELATIONS = ("=", r"\le", r"\leq", r"\ge", r"\geq", r"\approx", r"\sim", r"\propto", r"\preceq", r"\mapsto", "+")
LONG = 14  # em


def set_numbers(text: str) -> str:
    """ "-0.1 [-0.2, 0.1]" as it is printed."""
    text = PERCENT.sub("\N{NO-BREAK SPACE}%", text)
    return INTERVAL.sub("\N{NO-BREAK SPACE}", MINUS.sub("\N{MINUS SIGN}", text))


def set_powers(text: str) -> list[nodes.Node]:
    """The text with "2.30e-05" as 2.30 × 10 to the power of −5; "1e+03" is a power alone, "0e+00" is 0."""
    plain, *found = POWER.split(text)
    made = [plain]
    for value, sign, power, after in zip(*[iter(found)] * 4, strict=True):
        if float(value) and power != "0":
            made[-1] += "10" if float(value) == 1 else f"{value}\N{NO-BREAK SPACE}×\N{NO-BREAK SPACE}10"
            made += [nodes.superscript("", "\N{MINUS SIGN}" * (sign == "-") + power), after]
        else:
            made[-1] += f"{float(value):g}{after}"
    return [nodes.Text(part) if isinstance(part, str) else part for part in made if part]


def pieces(tex: str) -> list[str]:
    """A formula, cut before each relation and plus outside of brackets; whole where that could part a pair."""
    depth, cuts = 0, [0]
    for sign in re.finditer(r"\\[a-zA-Z]+|\\?.", tex, re.DOTALL):
        depth += (sign[0].lstrip("\\") in tuple("{([")) - (sign[0].lstrip("\\") in tuple("})]"))
        if not depth and sign[0] in RELATIONS and tex[cuts[-1] : sign.start()].strip(" !,:;&=\\"):
            cuts.append(sign.start())
    made = [tex[a:b] for a, b in zip(cuts, [*cuts[1:], None], strict=True)]
    whole = depth or any(part.count(r"\left") != part.count(r"\right") for part in made) or r"\begin" in tex
    return [tex] if whole else made


def break_formulas(body: str) -> str:
    """HTML in which an inline formula wider than LONG is a row of formulas; {} keeps the space before a relation."""

    def parted(found: re.Match) -> str:
        first, *others = pieces(found[1]) if width(unescape(found[1])) > LONG else [found[1]]
        opening = found[0][: found.start(1) - found.start()]
        return "".join(f"{opening}{part}\\)</span>" for part in (first, *(f"{{}}{part}" for part in others)))

    return INLINE.sub(parted, body)


def keep_with_formulas(body: str) -> str:
    """HTML in which a stop or a bracket stays with its formula, which browsers may else part from anything."""

    def whole(found: re.Match) -> str:
        return f'<span class="whole">{found[0]}</span>' if found[1] or found[3] else found[0]

    return GLUED.sub(whole, body)


class SetNumbers(SphinxPostTransform):
    default_priority = 400  # after values have come into the text, and after BibTeX entries were written

    def run(self, **kwargs):
        for text in list(self.document.findall(nodes.Text)):
            printed = set_powers(set_numbers(text.astext()))
            if not isinstance(text.parent, VERBATIM) and printed and printed != [text]:
                text.parent.replace(text, printed)


def on_page(app, pagename, templatename, context, doctree):
    if "body" in context:
        context["body"] = keep_with_formulas(break_formulas(context["body"]))


def setup(app):
    app.add_post_transform(SetNumbers)
    app.connect("html-page-context", on_page, priority=400)  # before the room for formulas is kept
