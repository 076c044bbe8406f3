"""Predictions with their judges: a sentence written before a run, and the function that decides it from the table.

A study lists them, before it runs, as EXPECTED = (Expectation("Drift stays below 0.001.", drift_stays), ...).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from isonum_core.prose import spoken

WORDS = {True: "as expected", False: "**not as expected**", None: "**not decided**"}


class Verdict(NamedTuple):
    """`held`: True, False, or None where the numbers allow both. `found`: what came, with its numbers, as text."""

    held: bool | np.bool_ | None
    found: str


class Expectation(NamedTuple):
    """What was expected, in a sentence, and who decides: `judge` takes the study's table, or what is made of it."""

    sentence: str
    judge: Callable[[Any], Verdict]


class Judged(NamedTuple):
    """Expectations beside their verdicts, in the order given. Shows itself in a notebook as a table."""

    expected: tuple[Expectation, ...]
    verdicts: tuple[Verdict, ...]

    @property
    def held(self) -> int:
        """How many came as expected: neither those that did not nor those that are not decided."""
        return sum(bool(verdict.held) for verdict in self.verdicts)

    def _repr_markdown_(self) -> str:
        rows = [("written down before the run", "what came", "verdict"), ("---",) * 3]
        rows += [(e.sentence, spoken(v.found), WORDS[v.held]) for e, v in zip(*self, strict=True)]
        # A bar that is not escaped yet would end its cell, a line end its row.
        cells = [[re.sub(r"(?<!\\)\|", r"\\|", " ".join(text.split())) for text in row] for row in rows]
        return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def judged(expected: Iterable[Expectation], table: Any) -> Judged:
    """Every expectation, judged once by the same table: `judged(EXPECTED, found)` as the last line of a cell."""
    expected = tuple(expected)
    return Judged(expected, tuple(expectation.judge(table) for expectation in expected))
