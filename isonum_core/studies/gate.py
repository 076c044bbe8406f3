"""The gate before every claim about error: where does a model forecast better than the naive forecasts?"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from isonum_core.errors import IsonumError
from isonum_core.worlds.families import FAMILIES

Gate = Callable[[pd.DataFrame], dict[str, list[str]]]

KINDS = ("skill possible", "naive is best", "unpredictable", "not told")


def by_family(table: pd.DataFrame, score: str = "skill") -> pd.DataFrame:
    """One row for each family and model: median, lowest and highest skill over seeds, and the kind of family.

    The model stands in the column `architecture` or `model`; where there is a column `trained`, trained rows alone
    count. A seed's skill is 1 - exp(mean of log(1 - skill) over knobs): the geometric mean of error ratios, in which no
    knob decides alone. kind "skill possible" counts the knobs where some forecast beats all naive ones; families
    without such a knob count those where the past tells the next value and some naive forecast errs ("naive is best"),
    and families without those count all ("unpredictable"). Names that are not of `worlds.families`, as real sets, count
    all their rows ("not told"). Families where skill is undefined throughout stand with NaN.
    """
    column, found = _model(table), []
    if "trained" in table:
        table = table[table.trained]
    for (name, model), rows in table.groupby(["family", column], sort=False):
        kind, counts = _kind(name)
        kept = (rows[rows.knob.map(counts)] if counts else rows).dropna(subset=score)
        seeds = kept.groupby("seed")[score].apply(lambda s: -np.expm1(np.log1p(-s).mean()))
        low, median, high = (seeds.min(), seeds.median(), seeds.max()) if len(seeds) else (np.nan,) * 3
        facts = {"family": name, column: model, "kind": kind, "seeds": len(seeds)}
        found.append({**facts, "median": median, "low": low, "high": high})
    return pd.DataFrame(found)


def both_skills(table: pd.DataFrame) -> pd.DataFrame:
    """`by_family` of one model of the study `skill`, best first; `_mean`: the same where the mean competes too."""
    mean = by_family(table, "skill_mean")[["family", "median", "low", "high"]]
    found = by_family(table).merge(mean, on="family", suffixes=("", "_mean"))
    return found.sort_values("median", ascending=False, ignore_index=True)


def sorted_out(found: pd.DataFrame) -> dict[str, list[str]]:
    """The families of `both_skills` by what is said of them: medians over seeds are judged, `sure_mean` by the lowest.

    predictable: the past tells something; of these `possible` and `naive_best`. skilled: predictable, and better than
    last value and last season; skilled_mean, sure_mean: possible, and better than the mean too. unskilled: possible,
    and not skilled; only_naive: possible and skilled, but not better than the mean. exact: skill is undefined.
    """
    possible, best = (found.kind == kind for kind in KINDS[:2])
    skilled, skilled_mean = found["median"] > 0, found.median_mean > 0
    chosen = dict(
        **dict(predictable=possible | best, possible=possible, naive_best=best, unpredictable=found.kind == KINDS[2]),
        **dict(skilled=(possible | best) & skilled, skilled_mean=possible & skilled_mean),
        **dict(sure_mean=possible & (found.low_mean > 0), unskilled=possible & (found["median"] <= 0)),
        **dict(only_naive=possible & skilled & (found.median_mean <= 0), exact=found["median"].isna()),
    )
    return {name: list(found.family[rows]) for name, rows in chosen.items()}


def skilled_families(table: pd.DataFrame) -> dict[str, list[str]]:
    """For each model the families on which it beats the naive forecasts in the median over seeds.

    Families where no forecast can (see `by_family`) are not among them, whatever stands there: it is luck. On the
    others no relation between a model's insides and its error is reported.
    """
    found = by_family(table)
    return _passed(found, (found["median"] > 0) & found.kind.isin(["skill possible", "not told"]))


def possible_families(table: pd.DataFrame) -> dict[str, list[str]]:
    """For each model the families where some forecast beats the naive ones, as their law says: no error is asked.

    A relation to an error on the families of `skilled_families` is one on families that this error has chosen. What
    holds there and not here may be the choice.
    """
    found = by_family(table)
    return _passed(found, found.kind == "skill possible")


def _passed(found: pd.DataFrame, passed: pd.Series) -> dict[str, list[str]]:
    models = found[_model(found)]
    return {model: list(found.family[passed & (models == model)]) for model in models.unique()}


def _model(table: pd.DataFrame) -> str:
    for column in ("architecture", "model"):
        if column in table:
            return column
    raise IsonumError(f"The table has no column 'model' or 'architecture', got {list(table)}. Say whose skill it is.")


def _kind(name: str):
    if name not in FAMILIES:
        return KINDS[3], None
    family = FAMILIES[name]
    for kind, counts in zip(KINDS, (family.beatable, family.predictable), strict=False):
        if any(map(counts, family.grid)):
            return kind, counts
    return KINDS[2], None
