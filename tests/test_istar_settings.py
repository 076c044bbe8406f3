"""I-STAR as published and at equal fit: the plain loop is the stack's, paths meet where they should, judges decide."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from isonum_core.lab.expectation import judged
from isonum_core.lab.study import find_study
from isonum_core.studies import istar_settings as study
from isonum_core.studies.istar import BUDGETS, pretrained, rows_of, task
from isonum_core.studies.istar_stack import Way

DEEP = next(config for config in study.grid("quick") if config.depth == "all")


@pytest.fixture(scope="module")
def published():
    return pd.DataFrame(study.run(DEEP))


def test_layers_are_those_of_the_trunk_and_the_state_is_the_bodys():
    x, h, *_ = task(DEEP, ["range"], "cpu")
    body = pretrained(DEEP.seed, DEEP.size, "cpu")
    with torch.no_grad():
        states, layers = study.layers_of(body, x)
        torch.testing.assert_close(states, h, rtol=1e-5, atol=1e-6)
        # The last third is what `read` takes: two blocks, and what enters the first.
        torch.testing.assert_close(layers[:, -layers.shape[1] // 3 :].flatten(1), body.seen(x), rtol=1e-5, atol=1e-6)


def test_without_a_weight_the_loop_is_the_stack_of_istar(published):
    step = BUDGETS[DEEP.size, "all"].steps
    twin = {row["target"]: row for row in rows_of(DEEP, [step], [(t, Way()) for t in study.PUBLISHED], "cpu")}
    plain = published[published.weight == 0].set_index("target")
    for name in study.PUBLISHED:
        # Two orders of summation, over twenty steps of Adam at a rate of 4e-3.
        assert plain.error[name] == pytest.approx(twin[name]["error"], rel=0.02)
        assert plain.train[name] == pytest.approx(twin[name]["train"], rel=0.02)


def test_the_published_weight_moves_all_layers(published):
    assert find_study("istar_settings").cells(DEEP, published.to_dict("records"))
    means = published.groupby("weight").pooled.mean()
    assert means[-0.3] < means[0.0] < means[0.3]


def made(rng, effect=None, slower=None, pooled=0.5, deep=None, noise=1e-3, seeds=(6, 7, 8)):
    """Paths along which log error falls by half of log training error, weight adding `effect[weight, target or None]`.

    `slower[weight]` is the log by which a weight fits its training windows less well at every step.
    """
    effect, rows = effect or {}, []
    for depth, targets, steps in (("last", study.TARGETS, (10, 100, 300)), ("all", study.PUBLISHED, (150,))):
        for seed in seeds:
            for target in targets:
                level = rng.normal()
                for weight in study.WEIGHTS[depth]:
                    for step in steps:
                        train = -np.log(step) / 3 + (slower or {}).get(weight, 0.0)
                        added = effect.get((weight, target), effect.get((weight, None), 0.0))
                        added = (deep or {}).get(weight, 0.0) if depth == "all" else added
                        error = level + train / 2 + added + noise * rng.normal()
                        facts = dict(depth=depth, seed=seed, target=target, weight=weight, step=step)
                        facts |= dict(error=np.exp(error), train=np.exp(train))
                        facts["pooled"] = 0.2 * np.exp(pooled * weight + noise * rng.normal())
                        rows.append(facts)
    return pd.DataFrame(rows)


def test_at_equal_fit_what_slowness_explains_is_gone(rng):
    table = made(rng, {(0.3, None): 0.2}, {0.3: 0.6, -0.3: -0.4}, noise=1e-6)
    late, alike = (
        study.contrasts_of(of)["mean"] for of in (study.at_last_step(table, "last"), study.at_equal_fit(table))
    )
    assert late[0.3] == pytest.approx(0.2 + 0.3, abs=1e-4) and alike[0.3] == pytest.approx(0.2, abs=1e-4)
    assert late[-0.3] == pytest.approx(-0.2, abs=1e-4) and alike[-0.3] == pytest.approx(0.0, abs=1e-4)
    assert list(study.at_last_step(table, "all")) == [-0.3, -0.1, 0.1, 0.3]


APART = {(0.3, "b0-2"): 0.1, (0.3, "b20-32"): -0.1}


@pytest.mark.parametrize(
    "which, change",
    [
        (0, dict(effect=APART | {(-0.01, None): 0.05})),
        (1, dict(effect={(0.3, "b0-2"): -0.1, (0.3, "b20-32"): 0.1})),
        (2, dict(effect=APART | {(-0.3, None): -0.1})),
        (3, dict(pooled=-0.5)),
        (4, dict(deep={-0.3: -0.2})),
    ],
)
def test_every_judge_says_yes_and_no(rng, which, change):
    yes = judged(study.EXPECTED, made(rng, APART)).verdicts
    assert [verdict.held for verdict in yes] == [True] * 5
    no = judged(study.EXPECTED, made(rng, **({"effect": APART} | change))).verdicts[which]
    assert no.held is False and "nan" not in no.found
