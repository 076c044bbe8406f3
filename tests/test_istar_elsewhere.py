"""The controls of I-STAR on text and from scratch, on tables whose effects are known; judges say yes and no."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from isonum_core.lab.expectation import judged
from isonum_core.studies.istar_elsewhere import (
    EXPECTED,
    FROM_SCRATCH,
    ON_TEXT,
    WAYS_FROM_SCRATCH,
    WAYS_ON_TEXT,
    Elsewhere,
    at_equal_loss,
    on_top_of_stopping,
    over_pairs,
    shifted,
)

STEPS = (0, 20, 40)
TEXTS = [("smollm2", f"family {i}") for i in range(5)] + [("minilm", "praise"), ("minilm", "package")]


def path(rng, arm, value, better, shift, noise):
    """NLL and more along STEPS: learning lowers it by 1 to step 20, over-fitting raises it by 0.2 after that."""
    rows = []
    for step, nll, train in zip(STEPS, (3.0, 2.0, 2.2), (3.0, 1.9, 1.5), strict=True):
        moved = step > 0
        nll += moved * better.get((arm, value), 0.0) + noise * rng.normal()
        found = dict(step=step, nll=nll, valid=nll + noise * rng.normal(), train=train, iso_score=0.1, mean_share=0.2)
        for name in ("train", "iso_score", "mean_share"):
            found[name] += moved * shift.get((arm, value), {}).get(name, 0.0) + noise * rng.normal()
        rows.append(found)
    return rows


def made(rng, better=None, shift=None, noise=0.001):
    """Tables in which (arm, value) adds better[arm, value] to NLL and validation loss, and shifts other columns."""
    better, text, scratch = better or {}, [], []
    shift = {("cosreg", 0.3): dict(iso_score=0.001), ("istar", 0.3): dict(iso_score=0.1)} | (shift or {})
    shift = {("mean_share", 5.0): dict(mean_share=-0.1)} | shift
    for model, task in TEXTS:
        for seed in range(3):
            for arm, value in (("none", 0.0), *ON_TEXT):
                facts = dict(model=model, task=task, arm=arm, value=value, seed=seed)
                text += [facts | row for row in path(rng, arm, value, better, shift, noise)]
    for seed in range(4):
        for arm, value in (("none", 0.0), *FROM_SCRATCH):
            rows = path(rng, arm, value, better, shift, noise)
            scratch += [dict(arm=arm, value=value, seed=seed) | row for row in rows]
    return Elsewhere(pd.DataFrame(text), pd.DataFrame(scratch))


def test_every_way_has_at_most_four_values_and_each_is_run_once():
    for ways, arms in ((WAYS_ON_TEXT, ON_TEXT), (WAYS_FROM_SCRATCH, FROM_SCRATCH)):
        assert all(len(values) <= 4 for _, values in ways.values()) and len(set(arms)) == len(arms)
        assert {(arm, value) for arm, values in ways.values() for value in values} <= set(arms)


def test_pairs_are_targets_where_there_are_several_and_seeds_otherwise(rng):
    keys = [("a", f"t{i}", s) for i in range(4) for s in range(3)] + [("b", "t", s) for s in range(3)]
    values = pd.Series(rng.normal(size=15), pd.MultiIndex.from_tuples(keys, names=["n", "target", "seed"]))
    found = over_pairs(values)
    assert found.n.to_dict() == {"a": 4, "b": 3}
    assert found["mean"]["a"] == pytest.approx(values["a"].mean()) and found["mean"]["b"] == values["b"].mean()


def test_a_way_is_judged_at_its_best_value_and_mark_against_stopping_alone(rng):
    found = on_top_of_stopping(made(rng, {("istar", 0.3): -0.5, ("rate", 0.3): 0.4}))
    assert len(found) == 4 * 7 and set(found.index.unique("n")) == {"smollm2", "praise", "package", "scratch"}
    # Stopping takes the middle mark; the best value of the way is chosen there, and its gain is all that is left.
    assert found["mean"].xs("weight > 0", level="way").to_numpy() == pytest.approx(-0.5, abs=0.01)
    assert found["mean"].drop("weight > 0", level="way").abs().max() < 0.01


def test_at_equal_loss_a_run_that_only_lags_has_no_effect(rng):
    found = made(rng, noise=1e-6)
    slow = found.text.step.map({0: 0, 20: 0, 40: 20})  # the same path, one mark behind
    twin = found.text[found.text.arm == "none"].set_index(["task", "seed", "step"])
    rows = found.text.assign(at=slow)
    at = pd.MultiIndex.from_frame(rows[["task", "seed", "at"]])
    late = (rows.arm == "istar") & (rows.value == -0.3)
    for name in ("nll", "train"):
        rows[name] = np.where(late, twin[name].reindex(at).to_numpy() + 1e-6 * rng.normal(size=len(rows)), rows[name])
    told = at_equal_loss(Elsewhere(rows, found.scratch), -0.3)
    assert told["mean"].abs().max() < 1e-5
    assert shifted(Elsewhere(rows, found.scratch), "nll", "istar", -0.3)["mean"]["praise"] == pytest.approx(
        -0.2, abs=1e-5
    )


@pytest.mark.parametrize(
    "which, better, shift",
    [
        (0, {("dropout", 0.2): -0.3}, {}),
        (1, {("istar", 0.1): 0.02}, {}),
        (2, {}, {("mean_share", 5.0): dict(mean_share=0.1)}),
        (3, {}, {("cosreg", 0.3): dict(iso_score=0.08)}),
        (4, {("istar", -0.3): -0.3}, {}),
    ],
)
def test_every_judge_says_yes_and_no(rng, which, better, shift):
    yes = judged(EXPECTED, made(rng, {("istar", 5.0): 0.3})).verdicts
    assert [verdict.held for verdict in yes] == [True] * len(EXPECTED)
    no = EXPECTED[which].judge(made(rng, better, shift))
    assert no.held is False and "nan" not in no.found
