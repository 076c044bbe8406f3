"""Differences between readers, and judges that say yes, no and undecided, each on a made-up table."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from isonum_core.lab.expectation import judged
from isonum_core.studies.checkpoints_skill import EXPECTED, ROUNDING, against, with_best

FOUND = ("logistic_map", "henon", "ar1", "seasonal_ar", "sine_noise", "trend", "fgn", "stable", "elnino")
KNOBS = dict.fromkeys(FOUND, 1.0) | {"fgn": 0.5, "elnino": 0.0}


def table(ahead=(), **shifts):
    """SmolLM2 half a nat behind ridge, ahead on MAPS and on `ahead`; `shifts` are added to (reader, score)."""
    rows = []
    for i, family in enumerate(FOUND):
        for seed in range(2):
            won = family in ("logistic_map", "henon", *ahead)
            nll = dict(
                smollm2=3.0 + 0.1 * i + 0.01 * seed, ridge=2.5 + 0.12 * i + won, walk=4.0 + 0.1 * i, marginal=4.5
            )
            nll |= dict(analogue=2.5 + 0.1 * i, fracast=np.nan, seasonal=np.nan)
            for reader, value in nll.items():
                row = dict(family=family, knob=KNOBS[family], seed=seed, reader=reader, outermost=0.0, nll=value)
                row |= dict(
                    mse_one=50.0 + (reader == "smollm2") * 30, mse_eight=80.0 + (reader == "smollm2") * (90 + i)
                )
                rows.append(row | {s: row[s] + shift for (r, s), shift in _pairs(shifts) if r == reader})
    return pd.DataFrame(rows)


def _pairs(shifts):
    return [(tuple(name.split("__")), shift) for name, shift in shifts.items()]


def test_a_difference_is_that_of_the_means_of_a_family():
    rows = table()
    found = against(rows, "ridge").set_index("family")
    one = rows[rows.family == "ar1"].pivot(index="seed", columns="reader", values="nll")
    assert found["mean"]["ar1"] == pytest.approx((one.smollm2 - one.ridge).mean())
    assert (
        found.most["ar1"] == pytest.approx((one.smollm2 - one.ridge).max()) and found.least["ar1"] < found.most["ar1"]
    )
    assert found.kind.to_dict() == {
        **dict.fromkeys(FOUND[:6], "told"),
        "fgn": "untold",
        "stable": "untold",
        "elnino": "real",
    }
    points = against(rows, "fracast", "mse_one")["mean"]
    assert points.to_numpy() == pytest.approx(np.log((80 + ROUNDING) / (50 + ROUNDING)))


def test_series_that_have_left_their_range_are_left_out():
    rows = table()
    rows.loc[(rows.family == "ar1") & (rows.seed == 1), "outermost"] = 0.6
    rows.loc[rows.family == "trend", "outermost"] = 0.51
    found = against(rows, "ridge").set_index("family")
    assert "trend" not in found.index and found.least["ar1"] == found.most["ar1"]


def test_the_naive_reader_is_the_best_of_three_on_each_series():
    rows = table()
    best = with_best(rows, "nll").query("reader == 'naive'")
    assert len(best) == 2 * len(FOUND) and (best.nll == np.minimum(4.5, 4.0 + 0.1 * np.arange(9).repeat(2))).all()


ALL = FOUND


@pytest.mark.parametrize(
    ("which", "held", "rows"),
    [
        (0, True, table()),
        (0, False, table(smollm2__nll=2.0)),
        (0, None, table(smollm2__nll=float("nan"))),
        (1, True, table(smollm2__nll=0.5)),
        (1, False, table(ahead=ALL)),
        (1, None, table(smollm2__nll=float("nan"))),
        (2, True, table()),
        (2, False, table(smollm2__nll=2.0)),
        (2, None, table(smollm2__nll=float("nan"))),
        (3, True, table(smollm2__nll=1.0)),
        (3, False, table(ahead=("fgn",), smollm2__nll=0.2)),
        (3, None, table().query("family != 'fgn' and family != 'stable'")),
        (4, True, table()),
        (4, None, table().query("family == 'henon'")),
        (5, True, table()),
        (5, False, table(smollm2__mse_one=-40.0)),
        (5, None, table().query("family == 'henon'")),
        (6, True, table()),
        (6, False, table(smollm2__mse_eight=-120.0 + 30)),
    ],
)
def test_the_judges_of_forecasts(which, held, rows):
    verdict = EXPECTED[which].judge(rows)
    assert verdict.held is held and verdict.found


def test_gains_that_go_against_an_analogue_are_not_as_expected(rng):
    rows = table()
    gains = dict(zip(FOUND, rng.permutation(len(FOUND)), strict=True))
    rows.loc[rows.reader == "analogue", "nll"] = rows.family.map(gains) + 2.0
    rows.loc[rows.reader == "smollm2", "nll"] = 9.0 - rows.family.map(gains)
    rows.loc[rows.reader == "ridge", "nll"] = 5.0
    assert EXPECTED[4].judge(rows).held is False


def test_all_are_judged_once():
    assert len(judged(EXPECTED, table()).verdicts) == len(EXPECTED)
