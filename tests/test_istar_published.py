"""I-STAR as published: the loop without a weight is the stack's, layers are the trunk's, judges decide."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from isonum_core.studies import istar_published as study
from isonum_core.studies.istar import BUDGETS, pretrained, rows_of, task
from isonum_core.studies.istar_stack import Way

QUICK = study.grid("quick")[0]


@pytest.fixture(scope="module")
def published():
    return pd.DataFrame(study.run(QUICK))


def test_layers_are_those_of_the_trunk_and_the_state_is_the_bodys():
    x, h, *_ = task(QUICK, ["range"], "cpu")
    body = pretrained(QUICK.seed, QUICK.size, "cpu")
    with torch.no_grad():
        states, layers = study.layers_of(body, x)
        torch.testing.assert_close(states, h, rtol=1e-5, atol=1e-6)
        # The last third is what `read` takes: two blocks, and what enters the first.
        torch.testing.assert_close(layers[:, -layers.shape[1] // 3 :].flatten(1), body.seen(x), rtol=1e-5, atol=1e-6)


def test_without_a_weight_the_loop_is_the_stack_of_istar(published):
    step = BUDGETS[QUICK.size, "all"].steps
    twin = {row["target"]: row for row in rows_of(QUICK, [step], [(t, Way()) for t in study.TARGETS], "cpu")}
    plain = published[published.weight == 0].set_index("target")
    for name in study.TARGETS:
        # Two orders of summation, over twenty steps of Adam at a rate of 4e-3.
        assert plain.error[name] == pytest.approx(twin[name]["error"], rel=0.02)
        assert plain.train[name] == pytest.approx(twin[name]["train"], rel=0.02)


def test_the_published_weight_moves_all_layers(published):
    means = published.groupby("weight").pooled.mean()
    assert means[-0.3] < means[0.0] < means[0.3]


def made(rng, pooled=0.5, error=0.0, noise=1e-3):
    rows = []
    for seed in range(3):
        for target in study.TARGETS:
            for weight in study.WEIGHTS:
                shift = noise * rng.normal(size=2)
                moved = dict(pooled=0.2 * np.exp(pooled * weight + shift[0]), error=np.exp(error * weight + shift[1]))
                rows.append(dict(seed=seed, target=target, weight=weight) | moved)
    return pd.DataFrame(rows)


def test_effects_are_logs_of_ratios_to_no_weight(rng):
    found = study.against_plain(made(rng, error=0.4), "error")
    assert found["mean"].to_numpy() == pytest.approx([0.4 * weight for weight in found.index], abs=2e-3)


@pytest.mark.parametrize(
    ("which", "held", "facts"),
    [(0, True, {}), (0, False, dict(pooled=-0.5)), (1, True, dict(error=0.0)), (1, False, dict(error=0.4))],
)
def test_every_judge_says_yes_and_no(rng, which, held, facts):
    assert study.EXPECTED[which].judge(made(rng, **facts)).held is held
