"""Does I-STAR change the error beyond how fast it lets a network fit? Runs of `istar` compared at equal training error.

Made of the committed table, of its half `held` with the last layer tuned; no network is trained for it. Written after
the errors at equal steps had been seen, before any at equal fit. EXPECTED is judged by the same table.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from isonum_core.lab.expectation import Expectation, Verdict
from isonum_core.prose import interval
from isonum_core.statistics.contrasts import Contrast, crossed_t, paired_t
from isonum_core.statistics.intervals import decided

BLOCKS = ("b0-2", "b20-32")  # the strongest directions and the weakest


def at_equal_fit(table: pd.DataFrame) -> pd.DataFrame:
    """log error over that of weight 0 where both have the same training error; rows (n, target, seed), columns weights.

    That is the larger of the two least training errors. Each path is read there along its three marks, linear in log
    error over log training error, of which the least so far counts; at its first mark where it begins lower.
    """
    return equal_fit(table[(table.part == "held") & (table.depth == "last")].sort_values("step"))


def equal_fit(rows: pd.DataFrame) -> pd.DataFrame:
    """`at_equal_fit` of runs (n, target, seed) along their steps, under each `weight`."""
    found = {}
    for run, own in rows.groupby(["n", "target", "seed"]):
        paths = {w: np.log([path.train.cummin(), path.error])[:, ::-1] for w, path in own.groupby("weight")}
        for weight in set(paths) - {0.0}:
            level = max(paths[weight][0, 0], paths[0.0][0, 0])
            found[*run, weight] = float(np.interp(level, *paths[weight]) - np.interp(level, *paths[0.0]))
    return pd.Series(found).rename_axis(["n", "target", "seed", "weight"]).unstack()


def bottom_over_top(effects: pd.DataFrame, n: int, weight: float) -> Contrast:
    """Effect on the weakest block of directions minus that on the strongest: t over seeds."""
    wide = effects.loc[n, weight].unstack("target")
    return paired_t(wide[BLOCKS[1]] - wide[BLOCKS[0]])


def mean_effect(effects: pd.DataFrame, n: int, weight: float) -> Contrast:
    """Effect averaged over targets and seeds: crossed t over both."""
    return crossed_t(effects.loc[n, weight].unstack().to_numpy())


def _both(of: Callable, weight: float, holds: Callable) -> Callable[[pd.DataFrame], Verdict]:
    def judge(table: pd.DataFrame) -> Verdict:
        effects = at_equal_fit(table)
        rows = {n: of(effects, n, weight) for n in effects.index.unique("n")}
        words = "; ".join(f"n = {n}: {interval(row.mean, row.low, row.high, 3)}" for n, row in rows.items())
        return Verdict(decided(all(map(holds, rows.values())), *(row.low for row in rows.values())), words)

    return judge


EXPECTED = (
    Expectation(
        "At equal training error 0.3 still does more for the bottom block than for the top one, at both n",
        _both(bottom_over_top, 0.3, lambda row: row.high < 0),
    ),
    Expectation(
        "At equal training error -0.3 lowers the mean log error by less than 0.01, at both n",
        _both(mean_effect, -0.3, lambda row: row.low > -0.01),
    ),
)
