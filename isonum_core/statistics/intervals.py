"""How sure a table makes us: the bootstrap crossed over families and seeds.

Thirty families with five seeds each are not 150 independent points. Seeds of one family share the family, families of
one seed share the seed; so both are resampled, whole.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from isonum_core.errors import IsonumError, WeakNumberWarning

FACTORS = ("family", "seed")
MAX_DROPPED = 0.05  # share of resamples on which a statistic may be undefined

Statistics = Callable[[pd.DataFrame], Mapping[str, float]]


class Interval(NamedTuple):
    """A statistic and the ends of its 95 % confidence interval, in its unit."""

    value: float
    low: float
    high: float


def crossed_intervals(
    table: pd.DataFrame,
    statistics: Statistics,
    rng: np.random.Generator,
    factors: Sequence[str] = FACTORS,
    draws: int = 2000,
) -> dict[str, Interval]:
    """95 % intervals of named statistics of a table when each factor's levels are a sample of what might be drawn.

    Each draw takes as many levels of every factor as there are, with replacement, and all rows of each combination. The
    copies of a level count as different levels: in a resample the factors are relabelled 0, 1, 2, ... A combination
    without rows stays empty. One factor gives the ordinary bootstrap of whole groups. All statistics see the same
    resamples: two correlations and their difference. The ends are quantiles of the draws.

    No bootstrap of crossed factors is exact (McCullagh 2000, Bernoulli 6, 285); this one is mildly conservative for
    means of many levels (Owen and Eckles 2012, doi 10.1214/12-AOAS547). In full, for the mean of F x S values whose
    family effects, seed effects and rest have variances f, s, e: the variance between draws is on average

        f/F (1 - 1/F) + s/S (1 - 1/S) + e/(FS) (3 - 2/F - 2/S + 1/(FS))      where the truth is f/F + s/S + e/(FS).

    Five seeds therefore give intervals that are too short where the seeds' common effect dominates, and too long where
    the rest does: simulated coverage at nominal 95 %, 30 families, 5 seeds, 200 tables each, standard deviations of
    family, seed and rest (1, .2, 1): 97.5 %; (1, .5, .1): 88.5 %; (.1, 1, .1): 83.5 %.

    IsonumError when a statistic is undefined on the table or on over 5 % of the draws; WeakNumberWarning when a factor
    has one level, whose variation the interval cannot contain.
    """
    resample = _Crossed(table, factors)
    whole = statistics(resample.relabelled([np.arange(n) for n in resample.shape]))
    for factor, n in zip(factors, resample.shape, strict=True):
        if n == 1:
            sentence = f"The interval does not contain the variation of {factor!r}: the table has one level of it."
            warnings.warn(sentence, WeakNumberWarning, stacklevel=2)
    if bad := [name for name, value in whole.items() if not math.isfinite(value)]:
        raise IsonumError(
            f"The statistic {bad[0]!r} is {whole[bad[0]]} on the whole table, expected a finite number. Look at its "
            "input."
        )
    drawn = pd.DataFrame(resample.drawn(statistics, rng, draws))
    intervals = {}
    for name, value in whole.items():
        found = drawn[name].to_numpy(float)
        kept = found[np.isfinite(found)]
        if len(kept) < (1 - MAX_DROPPED) * draws:
            raise IsonumError(
                f"The statistic {name!r} is undefined on {draws - len(kept)} of {draws} resamples, expected at most "
                "5 %. There are too few levels, or too many alike."
            )
        intervals[name] = Interval(float(value), *map(float, np.quantile(kept, (0.025, 0.975))))
    return intervals


def sides(low: pd.Series, high: pd.Series) -> tuple[int, int, int]:
    """How many intervals lie above zero, how many below it, and how many hold it."""
    above, below = int((low > 0).sum()), int((high < 0).sum())
    return above, below, len(low) - above - below


def decided(held: bool | np.bool_, *numbers: float) -> bool | None:
    """A judge's verdict, or None where a number that it rests on is missing."""
    return bool(held) if np.isfinite(numbers).all() else None


class _Crossed:
    """The rows of a table by combination of factor levels, so that a resample is one gather."""

    def __init__(self, table: pd.DataFrame, factors: Sequence[str]):
        if missing := [name for name in factors if name not in table]:
            raise IsonumError(f"The table has no column {missing[0]!r}, expected the factors {list(factors)}.")
        if table.empty or table[list(factors)].isna().any(axis=None):
            raise IsonumError("The table has no rows or a factor with missing values. Fill or drop them first.")
        codes = [pd.factorize(table[name])[0] for name in factors]
        self.columns = {name: table[name].to_numpy() for name in table}
        self.factors = tuple(factors)
        self.shape = tuple(int(code.max()) + 1 for code in codes)
        cell = np.ravel_multi_index(codes, self.shape)
        self.order = np.argsort(cell, kind="stable")
        self.count = np.bincount(cell, minlength=math.prod(self.shape))
        self.start = np.cumsum(self.count) - self.count

    def drawn(self, statistics: Statistics, rng: np.random.Generator, draws: int) -> list[Mapping[str, float]]:
        """The statistics of every resample. The order of its levels says nothing, and five seeds have 126 resamples."""
        known, drawn = {}, []
        for _ in range(draws):
            levels = [np.sort(rng.integers(n, size=n)) for n in self.shape]
            key = b"".join(chosen.tobytes() for chosen in levels)
            if key not in known:
                known[key] = statistics(self.relabelled(levels))
            drawn.append(known[key])
        return drawn

    def relabelled(self, levels: list[np.ndarray]) -> pd.DataFrame:
        """All rows of the given levels; the factor columns hold positions in `levels`."""
        cells = np.ravel_multi_index(np.ix_(*levels), self.shape).ravel()
        count = self.count[cells]
        # The rows of cell c stand in `order` from start[c] on; `within` counts 0, 1, ... anew in each chosen cell.
        within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        rows = self.order[np.repeat(self.start[cells], count) + within]
        positions = np.unravel_index(np.arange(len(cells)), [len(chosen) for chosen in levels])
        labels = {name: np.repeat(p, count) for name, p in zip(self.factors, positions, strict=True)}
        return pd.DataFrame({name: values[rows] for name, values in self.columns.items()} | labels, copy=False)
