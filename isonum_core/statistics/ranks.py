"""Rank correlations between families and within, what is left of one when a third number is held, and permutations.

Between families one point is a family's mean; within, ranks are taken inside each family. The two may differ in sign.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import linalg, stats


def ranks_between(table: pd.DataFrame, names: Sequence[str], family: str = "family") -> np.ndarray:
    """Ranks of the families' means, one row a family and one column a name."""
    codes = pd.factorize(table[family])[0]
    sums = [np.bincount(codes, table[x].to_numpy(float)) for x in names]
    return stats.rankdata(np.column_stack(sums) / np.bincount(codes)[:, None], axis=0)


def ranks_within(table: pd.DataFrame, names: Sequence[str], family: str = "family") -> np.ndarray:
    """Ranks inside each family, centred there, one row a row of the table and one column a name.

    With equally many rows and no ties their correlation is the mean of the families' own Spearman correlations. It is
    blind to any difference between families.
    """
    codes = pd.factorize(table[family])[0]
    size = np.bincount(codes)
    # Families side by side in one ranking: a family's ranks follow each other, and their mean is known.
    middle, far = (np.cumsum(size) - size / 2 + 0.5)[codes], codes * (len(codes) + 1)
    places = np.column_stack([table[x].to_numpy(float) for x in names])
    return stats.rankdata(stats.rankdata(places, axis=0) + far[:, None], axis=0) - middle[:, None]


RANKS = {"between": ranks_between, "within": ranks_within}


def correlations(ranks: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "k k"]:
    """Spearman's, of every two columns of ranks, in [-1, 1]; NaN where one is constant, which the bootstrap drops."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.corrcoef(ranks.T)


def partial_correlation(xy: float, xz: float, yz: float) -> float:
    """Correlation of x and y with z held fixed, from the three pairwise ones.

    (xy - xz yz) / sqrt((1 - xz^2) (1 - yz^2)). Of ranks it removes what is linear in the ranks of z. Where z determines
    x or y nothing is left, and the number is 0: so it is on some resamples of few families, which draws intervals
    towards 0 rather than away from it.
    """
    rest = (1 - xz * xz) * (1 - yz * yz)
    return (xy - xz * yz) / math.sqrt(rest) if not rest <= 1e-12 else 0.0


def permutation_p(
    x: Float[np.ndarray, "n"],
    y: Float[np.ndarray, "n"],
    rng: np.random.Generator,
    given: Float[np.ndarray, "n"] | None = None,
    permutations: int = 9999,
) -> float:
    """Two-sided p of "x says nothing about y" (beyond `given`): how rarely shuffled points correlate as closely.

    Without `given` y is permuted (scipy), which is exact when points are exchangeable. With it the residuals of y given
    `given` are, and regressed again (Freedman and Lane 1983, which no library here has): nearly exact, as the tests
    simulate. Pass ranks for a rank test. Never zero; 1 where nothing of x or y is left to test.
    """
    base = np.ones((len(x), 1)) if given is None else np.column_stack([np.ones(len(x)), given])
    q = linalg.orth(base)  # of one column where `given` is constant
    x, y = x - q @ (q.T @ x), y - q @ (q.T @ y)
    if x @ x < 1e-12 or y @ y < 1e-12:
        return 1.0
    if given is None:
        return _p(y, lambda y, axis: np.abs(np.vecdot(y, x)), "pairings", permutations, rng)
    shuffled = rng.permuted(np.tile(y, (permutations, 1)), axis=1)
    shuffled -= (shuffled @ q) @ q.T
    close = np.abs(shuffled @ x) / np.linalg.norm(shuffled, axis=1)
    observed = abs(y @ x) / np.linalg.norm(y)
    return float((1 + np.sum(close >= observed * (1 - 1e-9))) / (1 + permutations))


def exchange_p(
    a: Float[np.ndarray, "n"],
    b: Float[np.ndarray, "n"],
    y: Float[np.ndarray, "n"],
    rng: np.random.Generator,
    permutations: int = 9999,
) -> float:
    """Two-sided p of "a goes with y as b does": a and b change places in a random half of the points, many times.

    Exact when (a, b) and (b, a) are equally likely given y; the statistic is the difference of the two covariances with
    y. Pass ranks, so that a and b have one scale. It asks about the signed difference: under "as closely, but with the
    opposite sign" a and b are not exchangeable, and no exchange tests that.
    """
    each = (a - b) * (y - y.mean())
    return _p(each, lambda each, axis: np.abs(each.sum(axis)), "samples", permutations, rng)


def _p(x: np.ndarray, size: Callable, kind: str, permutations: int, rng: np.random.Generator) -> float:
    test = stats.permutation_test(
        (x,), size, permutation_type=kind, n_resamples=permutations, alternative="greater", rng=rng
    )
    return float(test.pvalue)
