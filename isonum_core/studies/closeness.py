"""Does an isotropy number go with the error, site by site and at both horizons, beyond the untrained twin and the data?

A point is a family and a seed: means over the family's knobs. Errors are those of the trained network: `nll` in nats
and `ratio`, log(1 - skill), each over the horizon and, with the ending `_one`, one step ahead, which is what
next-word prediction asks. A family enters the relations to an error if *ridge regression* errs at least 1 % less than
every naive forecast at that horizon (`gated`): no network is asked. Differences are signed: trained minus twin, never
one size against another.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from isonum_core.errors import IsonumError
from isonum_core.statistics.contrasts import holm
from isonum_core.statistics.intervals import crossed_intervals
from isonum_core.statistics.ranks import correlations, exchange_p, partial_correlation, permutation_p, ranks_between
from isonum_core.studies.learnt import HALVES

KEYS = ["family", "seed"]
ERRORS = ("ratio", "ratio_one", "nll", "nll_one")
TWIN = " twin"
READ_ONLY = ("mean_share", "log_i")  # measures of the site `read` alone
INPUT, ENTROPY = "iso_input", "entropy_one"  # IsoScore of the raw windows; how unsure the network is
SKILL = 0.01  # least skill of ridge regression: below it lies what sampling leaves of none
BEST = 1 - 1e-6  # a skill of 1 in the six digits of a table: an error ratio of nothing has no logarithm
LEAST = 5  # families: fewer points carry no rank correlation
DRAWS = 2000


def points(table: pd.DataFrame) -> pd.DataFrame:
    """One row for each family and seed of one model: ERRORS, INPUT, ENTROPY, `ridge`, `ridge_one`, and every measure.

    A measure's column is "mean_cosine block2", its untrained twin's ends in " twin". `ridge` is the log error ratio of
    ridge regression. Knobs where a number is missing count nowhere. IsonumError where a network has no twin.
    """
    told = table[table.trained & (table.site == "read")]
    logs = {"ratio": "skill", "ratio_one": "skill_one", "ridge": "ridge", "ridge_one": "ridge_one"}
    told = told.assign(**{name: np.log1p(-told[skill].clip(upper=BEST)) for name, skill in logs.items()})
    found = told.groupby(KEYS, sort=False)[[*logs, "nll", "nll_one", INPUT, ENTROPY]].mean()
    for trained, ending in ((True, ""), (False, TWIN)):
        rows = table[table.trained == trained]
        wide = rows.groupby([*KEYS, "site"])[list(HALVES)].mean().unstack("site")
        read = rows[rows.site == "read"].groupby(KEYS)[list(READ_ONLY)].mean()
        wide.columns = [f"{half} {site}{ending}" for half, site in wide.columns]
        found = found.join([wide, read.add_suffix(f" read{ending}")])
    if (twins := [name for name in found if name.endswith(TWIN)]) and found[twins].isna().all(axis=1).any():
        raise IsonumError("A twin was expected for every network, got none for some. Complete the table first.")
    return found.reset_index()


def measures_of(points: pd.DataFrame) -> list[str]:
    """The columns that are a measure at a site: those that have a twin's beside them."""
    return [name for name in points if name + TWIN in points]


def gated(points: pd.DataFrame, error: str) -> pd.DataFrame:
    """The points of families on which ridge regression has SKILL at the error's horizon, in the median over seeds."""
    ridge = points.groupby("family")["ridge_one" if error.endswith("_one") else "ridge"].median()
    return points[points.family.isin(ridge.index[ridge < np.log1p(-SKILL)])]


def site_relations(
    points: pd.DataFrame,
    error: str,
    rng: np.random.Generator,
    measures: Sequence[str] | None = None,
    draws: int = DRAWS,
) -> pd.DataFrame:
    """Rank correlations over families with the error, each with its 95 % crossed bootstrap over families and seeds.

    One row for each measure and `predictor`: trained, untrained, input (IsoScore of the raw windows, whatever the
    measure); trained - untrained and trained - input, signed differences; "given entropy", what is left of the trained
    one when the predictive entropy is held fixed. `p`: shuffled families for correlations, exchanged measures for
    differences (statistics.ranks). Points that lack a number are dropped, and counted. IsonumError below five families.
    """
    measures = measures_of(points) if measures is None else list(measures)
    names = [error, INPUT, ENTROPY, *measures, *(name + TWIN for name in measures)]
    rows = gated(points, error)[[*KEYS, *names]]
    kept = rows.dropna()
    if (families := kept.family.nunique()) < LEAST:
        raise IsonumError(f"At least {LEAST} families with ridge's skill were expected, got {families}. Run more.")

    def numbers(rows: pd.DataFrame) -> dict[tuple[str, str], float]:
        r, found = correlations(ranks_between(rows, names)), {}
        for t, measure in enumerate(measures, start=3):
            trained, untrained, raw = r[0, t], r[0, t + len(measures)], r[0, 1]
            found |= {
                **{(measure, "trained"): trained, (measure, "untrained"): untrained, (measure, "input"): raw},
                (measure, "trained - untrained"): trained - untrained,
                (measure, "trained - input"): trained - raw,
                (measure, "given entropy"): partial_correlation(float(trained), float(r[0, 2]), float(r[t, 2])),
            }
        return found

    found = crossed_intervals(kept, numbers, rng, draws=draws).rename_axis(["measure", "predictor"])
    ranks = dict(zip(names, ranks_between(kept, names).T, strict=True))
    y, tests = ranks[error], rng.spawn(1)[0]
    p = {}
    for measure in measures:
        own, twin = ranks[measure], ranks[measure + TWIN]
        p[measure, "trained"] = permutation_p(own, y, tests)
        p[measure, "trained - untrained"] = exchange_p(own, twin, y, tests)
        p[measure, "trained - input"] = exchange_p(own, ranks[INPUT], y, tests)
        p[measure, "given entropy"] = permutation_p(own, y, tests, given=ranks[ENTROPY])
    facts = dict(error=error, families=families, dropped=len(rows) - len(kept))
    return found.rename(columns={"value": "rho"}).assign(p=pd.Series(p), **facts).reset_index()


def every_relation(points: pd.DataFrame, rng: np.random.Generator, draws: int = DRAWS) -> pd.DataFrame:
    """`site_relations` with all errors; `p_holm` over site and horizon for each half, kind of error and predictor."""
    found = pd.concat([site_relations(points, error, rng, draws=draws) for error in ERRORS], ignore_index=True)
    together = [found.measure.str.split().str[0], found.error.str.removesuffix("_one"), found.predictor]
    return found.assign(p_holm=found.groupby(together).p.transform(lambda p: holm(p) if p.notna().all() else p))


def held_fixed(
    points: pd.DataFrame, error: str, measure: str, given: str, rng: np.random.Generator, draws: int = 300
) -> pd.Series:
    """What is left of a measure's rank correlation with an error, over families, where `given` is held fixed.

    `rho`, in [-1, 1], with `low` and `high`, the 95 % crossed bootstrap over families and seeds. Points that lack one
    of the three numbers are dropped.
    """
    names = [error, measure, given]

    def numbers(rows: pd.DataFrame) -> dict[str, float]:
        r = correlations(ranks_between(rows, names))
        return {"rho": partial_correlation(float(r[0, 1]), float(r[0, 2]), float(r[1, 2]))}

    kept = gated(points, error)[[*KEYS, *names]].dropna()
    return crossed_intervals(kept, numbers, rng, draws=draws).rename(columns={"value": "rho"}).iloc[0]


def changes(points: pd.DataFrame) -> pd.DataFrame:
    """What training does: trained minus twin, mean over seeds. Rows are families, columns measures at sites."""
    moved = {name: points[name] - points[name + TWIN] for name in measures_of(points)}
    return pd.DataFrame(moved).groupby(points.family, sort=False).mean()


def signs(changes: pd.Series) -> tuple[int, int, float]:
    """How many families went up, how many down, and the two-sided p of that under a fair coin."""
    up, down = int((changes > 0).sum()), int((changes < 0).sum())
    return up, down, float(stats.binomtest(up, up + down).pvalue) if up + down else 1.0


def skills(points: pd.DataFrame) -> pd.DataFrame:
    """For each family the skill of network and ridge, at both horizons: medians over seeds of geometric means."""
    logs = points.groupby("family", sort=False)[["ratio", "ridge", "ratio_one", "ridge_one"]].median()
    return (-np.expm1(logs)).rename(columns={"ratio": "network", "ratio_one": "network_one"})


def as_good_as_ridge(points: pd.DataFrame, slack: float = 0.0) -> dict[str, list[str]]:
    """Of the families on which ridge has skill over the horizon: those where the network errs no more, and the others.

    `slack`, in log error ratio, is what counts as the same: .02 is two percent of the error.
    """
    logs = gated(points, "ratio").groupby("family", sort=False)[["ratio", "ridge"]].median()
    as_good = logs.ratio <= logs.ridge + slack
    return {"as good": list(logs.index[as_good]), "worse": list(logs.index[~as_good])}


def least_found(families: int, power: float = 0.8, level: float = 0.05) -> float:
    """The correlation that a two-sided test at that level finds with that power, between so many families.

    Fisher's z with Spearman's variance, 1.06 / (n - 3): tanh((z_level + z_power) sqrt(1.06 / (n - 3))).
    """
    z = stats.norm.isf(level / 2) + stats.norm.isf(1 - power)
    return math.tanh(z * math.sqrt(1.06 / (families - 3)))
