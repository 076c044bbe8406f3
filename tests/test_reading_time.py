"""How long the longest chapters take: 220 words a minute, 3 s a formula, 45 s a figure; folded text is not counted."""

from __future__ import annotations

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


def minutes(chapter: str) -> float:
    cells = jupytext.read(BOOK / f"{chapter}.md").cells
    text = "\n".join(unfolded(cell.source) for cell in cells if cell.cell_type == "markdown")
    text = re.sub(r"\{glue:text\}`[^`]*`", "0", text)
    formulas = len(re.findall(FORMULA, text, re.DOTALL))
    prose = re.sub(FORMULA, " ", text, flags=re.DOTALL)
    prose = re.sub(r"\{[a-z:]+\}`([^`]*)`", r" \1 ", re.sub(r"^\s*(`{3,}|:|\(ch-).*$", "", prose, flags=re.MULTILINE))
    words = len(re.findall(r"[^\W\d_][\w'’-]*|\d[\d.,]*", prose))
    return words / 220 + formulas * 3 / 60 + text.count("```{caption}") * 45 / 60


@pytest.mark.parametrize("chapter", ["guarantee", "attention"])
def test_a_long_chapter_is_read_in_35_minutes(chapter):
    assert minutes(chapter) <= 35


def test_folded_text_formulas_and_figures_are_counted_as_they_are_shown():
    assert unfolded("a\n````{prf:proof}\nb\n```{dropdown} c\nd $x$\n```\ne\n````") == "a\n````{prf:proof}\nb\n\ne\n````"
    assert re.findall(FORMULA, "$a$ and\n$$\nb\n$$\n```{math}\nc\n```", re.DOTALL).__len__() == 3
