"""Predictions with their judges: a sentence written before a run, and the function that decides it from the table.

A study lists them, before it runs, as EXPECTED = (Expectation("Drift stays below 0.001.", drift_stays), ...).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

WORDS = {True: "as expected", False: "**not as expected**", None: "**not decided**"}


@dataclasses.dataclass(frozen=True)
class Verdict:
    """`held`: True, False, or None where the numbers allow both. `found`: what came, with its numbers, as text."""

    held: bool | np.bool_ | None
    found: str


@dataclasses.dataclass(frozen=True)
class Expectation:
    """What was expected, in a sentence, and who decides: `judge` takes the study's table, or what is made of it."""

    sentence: str
    judge: Callable[[Any], Verdict]


@dataclasses.dataclass(frozen=True)
class Judged:
    """Expectations beside their verdicts, in the order given. Shows itself in a notebook as a table."""

    expected: tuple[Expectation, ...]
    verdicts: tuple[Verdict, ...]

    @property
    def held(self) -> int:
        """How many came as expected: neither those that did not nor those that are not decided."""
        return sum(verdict.held is not None and bool(verdict.held) for verdict in self.verdicts)

    def _repr_markdown_(self) -> str:
        rows = [(e.sentence, v.found, WORDS[v.held]) for e, v in zip(self.expected, self.verdicts, strict=True)]
        head = [("written down before the run", "what came", "verdict"), ("---",) * 3]
        return "\n".join(f"| {' | '.join(map(_in_cell, row))} |" for row in [*head, *rows])


def judged(expected: Iterable[Expectation], table: Any) -> Judged:
    """Every expectation, judged once by the same table: `judged(EXPECTED, found)` as the last line of a cell."""
    expected = tuple(expected)
    return Judged(expected, tuple(expectation.judge(table) for expectation in expected))


def _in_cell(text: str) -> str:
    return re.sub(r"(?<!\\)\|", r"\\|", " ".join(text.split()))
