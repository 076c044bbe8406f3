"""Permutation tests against full enumeration and simulated level; partial correlation against residuals."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from isonum_core.statistics.ranks import exchange_p, partial_correlation, permutation_p


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
    # 9999 random orders know a share to 0.005; four of those.
    assert permutation_p(x, y, rng) == pytest.approx(exact, abs=0.02)
    assert permutation_p(x, 5 - 2 * y, rng) == pytest.approx(exact, abs=0.02)


def test_the_p_of_an_exchange_is_the_share_of_all_exchanges(rng):
    a, b, y = rng.normal(size=(3, 8))
    signs = np.array(list(itertools.product([-1, 1], repeat=8)))
    swapped = np.array([np.cov(np.where(s > 0, a, b), y)[0, 1] - np.cov(np.where(s > 0, b, a), y)[0, 1] for s in signs])
    observed = abs(np.cov(a, y)[0, 1] - np.cov(b, y)[0, 1])
    assert exchange_p(a, b, y, rng) == pytest.approx(np.mean(abs(swapped) >= observed - 1e-12), abs=0.02)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_p_of_an_exchange_of_sizes_is_the_share_of_all_exchanges(rng, sign):
    b, y, noise = rng.normal(size=(3, 8))
    a = sign * y + 0.3 * noise
    exchanges = list(itertools.product([True, False], repeat=8))
    pairs = [(np.where(s, a, b), np.where(s, b, a)) for s in exchanges]
    size = lambda u, v: abs(abs(np.cov(u, y)[0, 1]) - abs(np.cov(v, y)[0, 1]))  # noqa: E731
    exact = np.mean([size(u, v) >= size(a, b) - 1e-12 for u, v in pairs])
    assert exchange_p(a, b, y, rng, sizes=True) == pytest.approx(exact, abs=0.02)


def test_both_err_as_often_as_they_say(rng):
    # z makes x and y go together, so that only what is beyond z is null; a and b follow y equally closely.
    runs, wrong = 400, np.zeros(4)
    ranks = lambda x: np.apply_along_axis(stats.rankdata, -1, x)  # noqa: E731
    for _ in range(runs):
        z = rng.normal(size=25)
        x, y, a, b = ranks(z + 0.7 * rng.normal(size=(4, 25)))
        p = permutation_p(x, y, rng, given=ranks(z), permutations=199), exchange_p(a, b, y, rng, permutations=199)
        sized = exchange_p(a, b, y, rng, permutations=199, sizes=True)
        free = permutation_p(x, ranks(rng.normal(size=25)), rng, permutations=199)
        wrong += np.array([*p, free, sized]) <= 0.05
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
