"""How long the longest chapters take: 220 words a minute, 3 s a formula, 45 s a figure; folded text is not counted."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import jupytext
import pytest

BOOK = Path(__file__).resolve().parents[1] / "book"
DISPLAY = r"\$\$.+?\$\$|```\{math\}.+?```"
FORMULA = rf"{DISPLAY}|(?<!\\)\$[^$\n]+\$"


def unfolded(text: str) -> str:
    """The Markdown without what a reader has to open: dropdowns, however many backticks fence them."""
    return re.sub(r"^(`{3,})\{dropdown\}.*?^\1`*$", "", text, flags=re.MULTILINE | re.DOTALL)


def captions(source: str) -> list[str]:
    """What the figures of a cell say under them: the literal parts of the captions, with a word for each number."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "citable":
            caption = next(k.value for k in node.keywords if k.arg == "caption")
            parts = caption.values if isinstance(caption, ast.JoinedStr) else [caption]
            found.append("".join(str(p.value) if isinstance(p, ast.Constant) else "0" for p in parts))
    return found


def minutes(chapter: str) -> float:
    cells = jupytext.read(BOOK / f"{chapter}.md").cells
    shown = [caption for cell in cells if cell.cell_type == "code" for caption in captions(cell.source)]
    text = "\n".join([unfolded(cell.source) for cell in cells if cell.cell_type == "markdown"] + shown)
    formulas = len(re.findall(FORMULA, text, re.DOTALL))
    prose = re.sub(FORMULA, " ", text, flags=re.DOTALL)
    prose = re.sub(r"\{[a-z:]+\}`([^`]*)`", r" \1 ", re.sub(r"^\s*(`{3,}|:|\(ch-).*$", "", prose, flags=re.MULTILINE))
    words = len(re.findall(r"[^\W\d_][\w'’-]*|\d[\d.,]*", prose))
    return words / 220 + formulas * 3 / 60 + len(shown) * 45 / 60


@pytest.mark.parametrize("chapter", ["guarantee", "attention"])
def test_a_long_chapter_is_read_in_35_minutes(chapter):
    assert minutes(chapter) <= 35


def test_folded_text_formulas_and_figures_are_counted_as_they_are_shown():
    assert unfolded("a\n````{prf:proof}\nb\n```{dropdown} c\nd $x$\n```\ne\n````") == "a\n````{prf:proof}\nb\n\ne\n````"
    assert captions('citable(fig, "fig-a", caption=f"two {x} $y$ words.")') == ["two 0 $y$ words."]
    assert re.findall(FORMULA, "$a$ and\n$$\nb\n$$\n```{math}\nc\n```", re.DOTALL).__len__() == 3
