"""The gate: what counts as a family with skill, for the study of skill and for the tables with untrained twins."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from isonum_core.studies.gate import by_family
from isonum_core.worlds.families import FAMILIES


def table(**skills):
    rows = []
    for family, by_seed in skills.items():
        for seed, values in enumerate(by_seed):
            for knob, value in zip(FAMILIES[family].grid, values, strict=True):
                rows.append({"family": family, "model": "patchtst", "seed": seed, "knob": knob, "skill": value})
    return pd.DataFrame(rows)


def test_a_family_is_judged_where_skill_is_possible_by_the_median_over_seeds():
    # fbm at 0.5 is a martingale: whatever stands there does not count.
    found = by_family(
        table(
            fbm=[[0.5, 0.5, -9, 0.5, 0.5], [-15, 0.75, 9.0, 0.75, 0.75], [0.1] * 5],
            jumps=[[-0.1] * 4, [0.1] * 4, [-0.3] * 4],
            garch=[[0.4] * 4],
        )
    ).set_index("family")
    assert list(found.kind) == ["skill possible", "naive is best", "unpredictable"]
    assert found.loc["fbm", "high"] == pytest.approx(0.5)
    assert found.loc["fbm", "median"] == pytest.approx(1 - (16 * 0.25**3) ** 0.25)
    assert found.loc["fbm", "low"] == pytest.approx(0.1)
    assert found.loc["jumps", "median"] == pytest.approx(-0.1)
    assert list(found.seeds) == [3, 3, 1]


BETTER, WORSE = [[0.5] * 5, [-0.5] * 5, [0.1] * 5], [[-0.5] * 5, [-0.5] * 5, [0.9] * 5]


def medians(rows):
    return by_family(rows).set_index(["model", "family"])["median"]


def test_two_of_three_seeds_decide_the_median_and_undefined_skill_stays_undefined():
    found = medians(table(fbm=BETTER, ar1=WORSE, cascade=[[np.nan] * 4])).patchtst
    assert found.fbm == pytest.approx(0.1) and found.ar1 == pytest.approx(-0.5) and math.isnan(found.cascade)


def test_untrained_twins_do_not_count_and_each_model_is_judged_by_itself():
    good, bad = table(fbm=BETTER, ar1=WORSE), table(fbm=WORSE, ar1=BETTER)
    rows = pd.concat(
        [good.assign(trained=True), bad.assign(trained=False), bad.assign(model="t5", trained=True)], ignore_index=True
    )
    found = medians(rows) > 0
    assert found.to_dict() == {
        ("patchtst", "fbm"): True,
        ("patchtst", "ar1"): False,
        ("t5", "fbm"): False,
        ("t5", "ar1"): True,
    }


def test_a_set_that_is_no_family_counts_all_its_rows():
    rows = table(fbm=[[0.1, 0.1, -9, 0.1, 0.1]])  # a martingale at .5, whatever stands there
    assert medians(rows).item() == pytest.approx(0.1)
    told = rows.assign(family="hospital")
    assert list(by_family(told).kind) == ["not told"] and medians(told).item() < 0
