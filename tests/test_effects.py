"""Knobs, halves and training on tables whose truth is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from isonum_core.errors import IsonumError
from isonum_core.studies.effects import (
    compared,
    dose_curves,
    knob_effects,
)


def made(rng, families=8, seeds=4, knobs=(1.0, 2.0, 3.0, 4.0), noise=0.0):
    """iso_score 0.1 + 0.1 knob in trained networks and 0.1 - 0.01 knob in untrained, mean cosine 1 - its iso_score.

    Families add 0.01 of their number, seeds 0.001 of theirs.
    """
    rows = []
    for family in range(families):
        for seed in range(seeds):
            for trained in (True, False):
                for knob in knobs:
                    slope = 0.1 if trained else -0.01
                    iso = 0.1 + slope * knob + 0.01 * family + 0.001 * seed + noise * rng.normal()
                    facts = dict(family=f"f{family}", model="m", size="cpu", seed=seed, knob=knob, trained=trained)
                    rows.append(facts | dict(iso_score=iso, mean_cosine=1 - iso))
    return pd.DataFrame(rows).sample(frac=1, random_state=1, ignore_index=True)


def test_a_dose_curve_is_mean_and_range_of_the_seeds(rng):
    found = dose_curves(made(rng)).set_index(["family", "trained", "half", "knob"]).sort_index()
    row = found.loc[("f2", True, "iso_score", 3.0)]
    assert (row["mean"], row.lowest, row.highest) == pytest.approx((0.4215, 0.42, 0.423))
    assert row.seeds == 4 and len(found) == 8 * 2 * 2 * 4


def test_knob_effects_say_how_far_and_which_way(rng):
    table = made(rng)
    hole = (table.family == "f1") & (table.knob == 2) & (table.seed == 0) & table.trained
    found = knob_effects(table.assign(iso_score=table.iso_score.where(~hole)))
    found = found.set_index(["family", "trained", "half"])
    row = found.loc[("f0", True, "iso_score")]
    assert (row.low, row.high) == (1, 1) and row.span == pytest.approx(0.3)
    knobs, values = (
        np.indices((4, 4)).reshape(2, -1)[0],
        (0.1 * np.arange(1, 5)[:, None] + 0.001 * np.arange(4)).ravel(),
    )
    assert row.rho == pytest.approx(stats.spearmanr(knobs, values)[0])
    assert found.loc[("f0", False, "iso_score"), "high"] == -1 == found.loc[("f0", True, "mean_cosine"), "high"]
    row = found.loc[("f1", True, "iso_score")]
    assert (row.knobs, row.rows, row.dropped) == (4, 15, 1)


def test_two_knobs_make_no_curve_and_one_value_no_effect(rng):
    table = made(rng)
    assert knob_effects(table[table.knob < 3]).empty
    with pytest.raises(IsonumError, match="iso_score of f. is 0.5 at every knob"):
        knob_effects(table.assign(iso_score=0.5))


def test_the_halves_are_compared_family_by_family(rng):
    rows = [
        dict(family=f"f{i}", trained=trained, half=half, rho=rng.uniform(-1, 1), span=rng.uniform())
        for i in range(150)
        for trained in (True, False)
        for half in ("mean_cosine", "iso_score")
    ]
    counts = dict.fromkeys("clear opposite larger_mean_cosine larger_iso_score shrunk twice reversed".split(), 0)
    spans = []
    for i in range(150):
        (m, s), (m0, s0) = ([r for r in rows if r["family"] == f"f{i}" and r["trained"] is t] for t in (True, False))
        clear = min(abs(m["rho"]), abs(s["rho"])) >= 0.5
        counts["clear"] += clear
        counts["opposite"] += clear and m["rho"] * s["rho"] < 0
        counts["larger_mean_cosine"] += m["span"] > m0["span"]
        counts["larger_iso_score"] += s["span"] > s0["span"]
        if s["span"] <= s0["span"]:
            counts["shrunk"] += 1
            twice = min(abs(s["rho"]), abs(s0["rho"])) >= 0.5
            counts["twice"] += twice
            counts["reversed"] += twice and s["rho"] * s0["rho"] < 0
        spans.append((m["span"], s["span"]))
    found = compared(pd.DataFrame(rows))
    assert found.pop("together") == pytest.approx(stats.spearmanr(*zip(*spans, strict=True))[0])
    assert found == counts and min(counts.values()) > 0
