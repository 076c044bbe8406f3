"""The readers of levels that stand beside the language model: each against its definition, and none sees ahead."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from isonum_core.networks.numerals import levelled
from isonum_core.studies import checkpoints_forecasts as study
from isonum_core.studies.checkpoints_forecasts import AHEAD, EIGHT, KNOWN, LENGTH, LEVELS, ONE


@pytest.fixture
def levels(rng):
    return levelled(np.cumsum(rng.normal(size=LENGTH)), KNOWN, LEVELS)


@pytest.mark.parametrize("reader", [study._ridge, study._walk, study._marginal, lambda x: study._seasonal(x, 12)])
def test_a_reader_sees_no_value_before_its_turn(levels, reader):
    """What comes after the last judged origin moves nothing but the judgement of itself."""
    before = reader(levels)
    seen = levels.copy()
    seen[LENGTH - 1] = (levels[LENGTH - 1] + 37) % LEVELS
    after = reader(seen)
    assert LENGTH - 1 not in ONE and max(EIGHT) + AHEAD < LENGTH
    assert after[1:] == before[1:]


def test_the_walk_is_a_walk(levels):
    nll, one, eight = study._walk(levels)
    steps = np.arange(KNOWN, LENGTH)
    assert one == pytest.approx(np.mean([(levels[t] - levels[t - 1]) ** 2 for t in ONE]))
    assert eight == pytest.approx(np.mean([(levels[t : t + AHEAD] - levels[t - 1]) ** 2 for t in EIGHT]))
    sds = [max(0.5, np.sqrt(np.mean(np.diff(levels[:t]) ** 2))) for t in steps]
    want = []
    for t, sd in zip(steps, sds, strict=True):
        law = norm(levels[t - 1], sd)
        inside = law.cdf(LEVELS - 0.5) - law.cdf(-0.5)
        p = (law.cdf(levels[t] + 0.5) - law.cdf(levels[t] - 0.5)) / inside
        want.append(-np.log(0.999 * p + 0.001 / LEVELS))
    assert nll == pytest.approx(np.mean(want), rel=1e-9)


def test_ridge_finds_a_linear_law_and_knows_its_spread(rng):
    x = np.zeros(LENGTH)
    for t in range(2, LENGTH):
        x[t] = 1.6 * x[t - 1] - 0.8 * x[t - 2] + rng.normal()
    levels = levelled(x, KNOWN, LEVELS)
    nll, one, _ = study._ridge(levels)
    walk = study._walk(levels)
    sd = 100 / (1.2 * np.ptp(x[:KNOWN]))  # of the noise, in levels
    assert one < 0.5 * walk[1] and nll < walk[0]
    assert nll == pytest.approx(0.5 * np.log(2 * np.pi * np.e * sd**2), abs=0.25)  # the entropy of that noise


def test_the_marginal_counts_what_it_has_seen(levels):
    nll, one, _ = study._marginal(levels)
    want = [(levels[:t] == levels[t]).sum() + 0.1 for t in range(KNOWN, LENGTH)] / (np.arange(KNOWN, LENGTH) + 10)
    assert nll == pytest.approx(-np.log(want).mean())
    assert one == pytest.approx(np.mean([(levels[t] - levels[:t].mean()) ** 2 for t in ONE]))
    assert study._seasonal(np.tile(np.arange(20), 10), 20)[1:] == (0.0, 0.0)


def test_the_grid_is_one_of_draws_that_exist():
    configs = study.grid("cpu")
    assert len(set(configs)) == len(configs) and len({c.family for c in configs}) == 46
    assert {c.family for c in study.grid("quick")} == {"henon", "ar1"}
