"""Permutation tests against full enumeration and simulated level; partial correlation against residuals."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from isonum_core.statistics.ranks import (
    correlations,
    exchange_p,
    partial_correlation,
    permutation_p,
    ranks_between,
    ranks_within,
)


def residual(x, z):
    base = np.column_stack([np.ones(len(z)), z])
    return x - base @ np.linalg.lstsq(base, x, rcond=None)[0]


def test_partial_correlation_is_that_of_residuals(rng):
    x, y, z = rng.normal(size=(3, 40)) + rng.normal(size=40)
    r = np.corrcoef([x, y, z])
    expected = np.corrcoef(residual(x, z), residual(y, z))[0, 1]
    assert partial_correlation(r[0, 1], r[0, 2], r[1, 2]) == pytest.approx(expected, abs=1e-12)
    assert partial_correlation(0.5, 1.0, 0.5) == 0 and np.isnan(partial_correlation(0.5, 0.3, np.nan))


def test_the_p_of_a_correlation_is_the_share_of_all_orders(rng):
    x, y = stats.rankdata(rng.normal(size=6)), stats.rankdata(rng.normal(size=6))
    every = [abs(np.corrcoef(x, order)[0, 1]) for order in itertools.permutations(y)]
    exact = np.mean(np.array(every) >= abs(np.corrcoef(x, y)[0, 1]) - 1e-12)
    # All 720 orders are fewer than the 9999 that are asked for, so none is drawn.
    assert permutation_p(x, y, rng) == pytest.approx(exact, abs=1e-12)
    assert permutation_p(x, 5 - 2 * y, rng) == pytest.approx(exact, abs=1e-12)
    # 9999 random orders of residuals know a share to 0.005; four of those. To hold a constant fixed is to hold nothing.
    assert permutation_p(x, y, rng, given=np.ones(6)) == pytest.approx(exact, abs=0.02)


def test_the_p_of_a_partial_correlation_is_the_share_of_all_orders_of_residuals(rng):
    x, y, z = (stats.rankdata(v) for v in rng.normal(size=(3, 6)) + rng.normal(size=6))
    left = residual(y, z)

    def size(v):
        return abs(np.corrcoef(residual(x, z), residual(v, z))[0, 1])

    exact = np.mean([size(np.array(order)) >= size(left) - 1e-12 for order in itertools.permutations(left)])
    assert permutation_p(x, y, rng, given=z) == pytest.approx(exact, abs=0.02)


def test_the_p_of_an_exchange_is_the_share_of_all_exchanges(rng):
    a, b, y = rng.normal(size=(3, 8))
    signs = np.array(list(itertools.product([-1, 1], repeat=8)))
    swapped = np.array([np.cov(np.where(s > 0, a, b), y)[0, 1] - np.cov(np.where(s > 0, b, a), y)[0, 1] for s in signs])
    observed = abs(np.cov(a, y)[0, 1] - np.cov(b, y)[0, 1])
    assert exchange_p(a, b, y, rng) == pytest.approx(np.mean(abs(swapped) >= observed - 1e-12), abs=1e-12)


def test_both_err_as_often_as_they_say(rng):
    # z makes x and y go together, so that only what is beyond z is null; a and b follow y equally closely.
    runs, wrong = 400, np.zeros(3)
    for _ in range(runs):
        z = rng.normal(size=25)
        x, y, a, b = stats.rankdata(z + 0.7 * rng.normal(size=(4, 25)), axis=-1)
        p = (
            permutation_p(x, y, rng, given=stats.rankdata(z), permutations=199),
            exchange_p(a, b, y, rng, permutations=199),
        )
        free = permutation_p(x, stats.rankdata(rng.normal(size=25)), rng, permutations=199)
        wrong += np.array([*p, free]) <= 0.05
    # An error rate of .05 stays within these counts in all but one of 10,000 simulations; the partial one is of ranks,
    # which hold z fixed only nearly: it may err half as often again.
    low, high = stats.binom.ppf([1e-4, 1 - 1e-4], runs, 0.05)
    assert (wrong >= low).all() and (wrong[1:] <= high).all() and wrong[0] <= 1.5 * high


def test_a_relation_that_is_there_is_found_and_one_made_by_a_third_is_not(rng):
    z = rng.normal(size=30)
    x, y = z + 0.1 * rng.normal(size=(2, 30))
    assert permutation_p(x, y, rng, permutations=999) == 0.001
    assert permutation_p(x, x + y, rng, given=z, permutations=999) < 0.02
    assert permutation_p(2 * z, y, rng, given=z) == 1


def table(rng, families=8, seeds=6):
    family, seed = np.indices((families, seeds)).reshape(2, -1)
    x, y = rng.normal(size=(2, families, 1)) + rng.normal(size=(2, families, seeds))
    return pd.DataFrame(dict(family=family, seed=seed, x=x.ravel(), y=(x + y).ravel()))


def rho(ranks, rows):
    return correlations(ranks(rows, ["x", "y"]))[0, 1]


@pytest.mark.parametrize("digits", [9, 0])  # without and with ties
def test_rank_correlations_are_scipy_s(rng, digits):
    rows = table(rng).round(digits)
    means = rows.groupby("family")[["x", "y"]].mean()
    assert rho(ranks_between, rows) == pytest.approx(stats.spearmanr(means.x, means.y)[0], abs=1e-12)
    if digits:
        own = [stats.spearmanr(part.x, part.y)[0] for _, part in rows.groupby("family")]
        assert rho(ranks_within, rows) == pytest.approx(np.mean(own), abs=1e-12)


def test_within_is_blind_to_the_families_and_neither_sees_the_order(rng):
    rows = table(rng)
    moved = rows.assign(x=rows.x + 10 * rows.family, y=rows.y * (1 + rows.family))
    assert rho(ranks_within, moved) == pytest.approx(rho(ranks_within, rows), abs=1e-12)
    for ranks in (ranks_between, ranks_within):
        assert rho(ranks, rows.sample(frac=1, random_state=1)) == pytest.approx(rho(ranks, rows), abs=1e-12)
    assert np.isnan(rho(ranks_within, rows.assign(x=1.0)))


def test_an_exchange_tells_a_signed_difference(rng):
    # As close as each other, with opposite signs: the signed difference is found, as it must be.
    y, noise = rng.normal(size=30), rng.normal(size=(2, 30))
    assert exchange_p(y + noise[0], -y + noise[1], y, rng, permutations=999) < 0.01
