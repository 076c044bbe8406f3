"""The gate before every claim about error: where does a model forecast better than the naive forecasts?"""

from __future__ import annotations

import numpy as np
import pandas as pd

from isonum_core.worlds.families import FAMILIES

KINDS = ("skill possible", "naive is best", "unpredictable", "not told")


def by_family(table: pd.DataFrame, score: str = "skill") -> pd.DataFrame:
    """One row for each family and model: median, lowest and highest skill over seeds, and the kind of family.

    Where there is a column `trained`, trained rows alone count. A seed's skill is 1 - exp(mean of log(1 - skill) over
    knobs): the geometric mean of error ratios, in which no knob decides alone. kind "skill possible" counts the knobs
    where some forecast beats all naive ones; families without such a knob count those where the past tells the next
    value and some naive forecast errs ("naive is best"), and families without those count all ("unpredictable"). Names
    that are not of `worlds.families`, as real sets, count all their rows ("not told"). Families where skill is
    undefined throughout stand with NaN.
    """
    found = []
    if "trained" in table:
        table = table[table.trained]
    for (name, model), rows in table.groupby(["family", "model"], sort=False):
        kind, counts = _kind(name)
        kept = (rows[rows.knob.map(counts)] if counts else rows).dropna(subset=score)
        skills = -np.expm1(np.log1p(-kept[score]).groupby(kept.seed).mean())
        facts = dict(family=name, model=model, kind=kind, seeds=len(skills))
        found.append(facts | dict(median=skills.median(), low=skills.min(), high=skills.max()))
    return pd.DataFrame(found)


def _kind(name: str):
    if name not in FAMILIES:
        return KINDS[3], None
    family = FAMILIES[name]
    for kind, counts in zip(KINDS, (family.beatable, family.predictable), strict=False):
        if any(map(counts, family.grid)):
            return kind, counts
    return KINDS[2], None
