"""Knobs, halves and training on tables whose truth is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from isonum_core.errors import IsonumError
from isonum_core.studies.effects import compared, knob_effects


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
    names = [f"{what}{half}" for half in ("", "_mean_cosine", "_iso_score") for what in ("clear", "opposite")]
    counts, spans = dict.fromkeys(names, 0), []
    for i in range(150):
        (m, s), (m0, s0) = ([r for r in rows if r["family"] == f"f{i}" and r["trained"] is t] for t in (True, False))
        for name, a, b in (("", m, s), ("_mean_cosine", m, m0), ("_iso_score", s, s0)):
            clear = min(abs(a["rho"]), abs(b["rho"])) >= 0.5
            counts[f"clear{name}"] += clear
            counts[f"opposite{name}"] += clear and a["rho"] * b["rho"] < 0
        spans.append((m["span"], s["span"]))
    found = compared(pd.DataFrame(rows))
    assert found.pop("together") == pytest.approx(stats.spearmanr(*zip(*spans, strict=True))[0])
    assert found == counts and min(counts.values()) > 0
