"""Errors at equal fit: what slowness explains is gone, what it does not is left; judges say yes and no."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from isonum_core.lab.expectation import judged
from isonum_core.studies.istar_equal_fit import BLOCKS, EXPECTED, at_equal_fit, bottom_over_top, mean_effect


def made(rng, effect=None, slower=None, noise=1e-3):
    """Paths along which log error falls by half of log training error; a weight adds effect[weight, target or None].

    `slower[weight]` is the log by which a weight fits its training windows less well at every step.
    """
    effect, rows = effect or {}, []
    for n in (128, 512):
        for seed in range(4):
            for target in (*BLOCKS, "range"):
                level = rng.normal()
                for weight in (0.0, 0.3, -0.3):
                    for step in (30, 100, 300):
                        train = -np.log(step) / 3 + (slower or {}).get(weight, 0.0)
                        added = effect.get((weight, target), effect.get((weight, None), 0.0))
                        error = level + train / 2 + added + noise * rng.normal()
                        facts = dict(part="held", depth="last", n=n, seed=seed, target=target, weight=weight, step=step)
                        rows.append(facts | dict(error=np.exp(error), train=np.exp(train)))
    return pd.DataFrame(rows)


def test_at_equal_fit_what_slowness_explains_is_gone(rng):
    table = made(rng, {(0.3, None): 0.2}, {0.3: 0.6, -0.3: -0.4}, noise=1e-6)
    found = at_equal_fit(pd.concat([table, table.assign(part="build", error=1.0)]))
    assert mean_effect(found, 512, 0.3).mean == pytest.approx(0.2, abs=1e-4)
    assert mean_effect(found, 128, -0.3).mean == pytest.approx(0.0, abs=1e-4)
    assert bottom_over_top(found, 128, 0.3).mean == pytest.approx(0.0, abs=1e-4)


def test_a_path_that_begins_lower_is_read_at_its_first_mark(rng):
    found = at_equal_fit(made(rng, slower={-0.3: -9.0}, noise=1e-9))
    # Weight 0 ends at log 300 / 3; the other begins 9 lower plus log 30 / 3, and half of that is its log error.
    assert mean_effect(found, 128, -0.3).mean == pytest.approx((np.log(10) / 3 - 9) / 2, abs=1e-6)


APART = {(0.3, BLOCKS[0]): 0.1, (0.3, BLOCKS[1]): -0.1}


@pytest.mark.parametrize(
    ("which", "effect"),
    [(0, {(0.3, BLOCKS[0]): -0.1, (0.3, BLOCKS[1]): 0.1}), (1, APART | {(-0.3, None): -0.1})],
)
def test_every_judge_says_yes_and_no(rng, which, effect):
    assert [verdict.held for verdict in judged(EXPECTED, made(rng, APART)).verdicts] == [True, True]
    assert judged(EXPECTED, made(rng, effect)).verdicts[which].held is False
