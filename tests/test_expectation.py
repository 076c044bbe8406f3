"""A prediction is decided by its judge alone, and each of the three verdicts is said in its own words."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from isonum_core.lab.expectation import Expectation, Verdict, judged


def below(limit):
    """A judge: the interval of `gap` lies below the limit, above it, or holds it."""

    def judge(table):
        low, high = table.gap.min(), table.gap.max()
        return Verdict(high < limit or (None if low < limit else False), f"{low:.1f} to {high:.1f}")

    return Expectation(f"The gap is below {limit:g}.", judge)


@pytest.mark.parametrize(
    "gaps, words",
    [([0.0, 0.5], "as expected"), ([1.5, 2.0], "**not as expected**"), ([0.5, 1.5], "**not decided**")],
)
def test_the_table_decides(gaps, words):
    shown = judged([below(1.0)], pd.DataFrame({"gap": gaps}))._repr_markdown_()
    assert shown.splitlines()[0] == "| written down before the run | what came | verdict |"
    assert shown.splitlines()[2:] == [f"| The gap is below 1. | {gaps[0]} to {gaps[1]} | {words} |"]


def test_what_is_not_decided_has_not_held_and_the_order_stays():
    found = judged(map(below, (3.0, 1.0, 0.1)), pd.DataFrame({"gap": [0.5, 1.5]}))
    assert [verdict.held for verdict in found.verdicts] == [True, None, False] and found.held == 1


@pytest.mark.parametrize("held", [True, False, None])
def test_truth_may_come_from_numpy(held):
    plain, numpys = (
        judged([Expectation("It is.", lambda _, v=v: Verdict(v, "1"))], None)
        for v in (held, None if held is None else np.bool_(held))
    )
    assert (plain.held, plain._repr_markdown_()) == (numpys.held, numpys._repr_markdown_())


def test_a_bar_or_a_line_end_in_the_words_breaks_no_table():
    shown = judged([Expectation("|r| is\nsmall.", lambda _: Verdict(True, r"\|r\| = 0.1"))], None)._repr_markdown_()
    assert shown.splitlines()[2] == r"| \|r\| is small. | \|r\| = 0.1 | as expected |"


def test_a_judge_that_fails_is_not_silenced():
    with pytest.raises(AttributeError):
        judged([below(1.0)], pd.DataFrame({"other": [1.0]}))
