"""Does an isotropy number go with a model's error, and beyond what an untrained twin or the raw windows already say?

The first edition's: families on which a model has no skill do not enter, a choice made by the error that is then
compared; `studies.closeness` asks ridge regression instead. Between families one point is a family's mean over knobs
and seeds; of the error ratio 1 - skill the logarithm is averaged, because it has heavy tails.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd

from isonum_core.errors import IsonumError
from isonum_core.statistics.contrasts import holm
from isonum_core.statistics.intervals import crossed_intervals
from isonum_core.statistics.ranks import (
    RANKS,
    correlations,
    exchange_p,
    partial_correlation,
    permutation_p,
    ranks_between,
)
from isonum_core.studies.anatomy import MEASURES
from isonum_core.studies.effects import TWIN, twinned
from isonum_core.studies.gate import skilled_families

Error = Literal["ratio", "nll", "one"]
INPUT = "iso_input"
PREDICTORS = ("trained", "untrained", "input")
LEAST = 5  # families: fewer points carry no rank correlation


def skilled_rows(table: pd.DataFrame, measures: Sequence[str] = MEASURES) -> pd.DataFrame:
    """Trained rows of each model's families with skill, beside their twins.

    `ratio` and `one`: log(1 - skill), of the whole horizon and of its first step.
    """
    skilled = skilled_families(table)
    passed = [family in skilled[model] for family, model in zip(table.family, table.model, strict=True)]
    both = twinned(table[passed], measures)
    return both.assign(ratio=np.log1p(-both.skill), one=np.log1p(-both.skill_one))


def beside_twins(
    table: pd.DataFrame,
    measures: Sequence[str],
    error: Error,
    rng: np.random.Generator,
    draws: int = 2000,
) -> pd.DataFrame:
    """Rank correlations with the trained error, of measures, their untrained twins' and IsoScore of the raw windows.

    One row for each model, measure, kind ("between" families' means, "within" families over knobs and seeds) and
    `predictor`:

    trained, untrained, input              the correlation, in [-1, 1]; `input` is iso_input whatever the measure
    trained - untrained, - input           difference of two correlations
    |trained| - |untrained|, - |input|     how much closer the trained measure goes with the error, whatever the sign
    trained given untrained, given input   partial correlation: what is left when the other is held fixed

    `low` and `high` are the 95 % crossed bootstrap over families and seeds, the same resamples for all rows of a model.
    `p`, between families only and for fixed seeds: shuffled families for correlations and partial ones
    (`ranks.permutation_p`), places changed between the two measures for signed differences (`ranks.exchange_p`);
    elsewhere missing, and for differences of sizes: where the two signs differ their exchange errs (20 % at 5 %,
    simulated for 29 points, correlations with the error of .35 and -.35, and .6 with each other).
    `dropped` counts the rows that lack one of the numbers. IsonumError for a model with skill on fewer than five
    families.
    """
    every, found = skilled_rows(table, measures), {}
    names = [error, INPUT, *measures, *(measure + TWIN for measure in measures)]
    for model in table.model.unique():
        own = every[every.model == model]
        rows = own[["family", "seed", *names]].dropna()
        families = rows.family.nunique()
        if families < LEAST:
            raise IsonumError(
                f"{model} has skill, and {', '.join(measures)} and {error}, on {families} families, expected at least "
                f"{LEAST}. Leave it out, and say so."
            )
        intervals = crossed_intervals(rows, lambda t: _numbers(t, names, measures), rng, draws=draws)
        p = pd.Series(_p_values(rows, names, measures, rng.spawn(1)[0]))  # no interval hangs on how p is computed
        facts = dict(families=families, rows=len(rows), dropped=len(own) - len(rows))
        found[model] = intervals.assign(p=p, **facts)
    every = pd.concat(found, names=["model", "measure", "kind", "predictor"]).reset_index()
    every.insert(2, "error", error)
    return every.rename(columns={"value": "rho"})


def by_model(found: pd.DataFrame) -> pd.DataFrame:
    """`beside_twins` of one measure under several models, one row for each kind and model, in the table's order.

    trained, untrained, input: whether the correlation is positive; sure: whether the trained one's interval excludes
    zero; closer: whether it is larger in size than the twin's, interval and all; p_holm: of the trained correlation
    between families, over the models.
    """
    of = dict(list(found.set_index(["kind", "model"]).groupby("predictor")))
    own, size = of["trained"], of["|trained| - |untrained|"]
    signs = {name: of[name].rho > 0 for name in PREDICTORS}
    told = pd.DataFrame(signs | dict(sure=(own.low > 0) | (own.high < 0), closer=size.low > 0))
    return told.assign(p_holm=holm(own.p.dropna()))


def _numbers(rows: pd.DataFrame, names: list[str], measures: Sequence[str]) -> dict[tuple[str, str, str], float]:
    found = {}
    tables = {kind: correlations(ranks(rows, names)) for kind, ranks in RANKS.items()}
    for (t, measure), (kind, r) in itertools.product(enumerate(measures, start=2), tables.items()):
        u = t + len(measures)
        trained, untrained, raw = float(r[0, t]), float(r[0, u]), float(r[0, 1])
        numbers = {
            **{"trained": trained, "untrained": untrained, "input": raw},
            "trained - untrained": trained - untrained,
            "trained - input": trained - raw,
            "|trained| - |untrained|": abs(trained) - abs(untrained),
            "|trained| - |input|": abs(trained) - abs(raw),
            "trained given untrained": partial_correlation(trained, untrained, float(r[t, u])),
            "trained given input": partial_correlation(trained, raw, float(r[t, 1])),
        }
        found |= {(measure, kind, name): value for name, value in numbers.items()}
    return found


def _p_values(
    rows: pd.DataFrame, names: list[str], measures: Sequence[str], rng: np.random.Generator
) -> dict[tuple[str, str, str], float]:
    found, ranks = {}, dict(zip(names, ranks_between(rows, names).T, strict=True))
    error = ranks[names[0]]
    for measure in measures:
        trained, key = ranks[measure], (measure, "between")
        found[*key, "trained"] = permutation_p(trained, error, rng)
        for name, other in {"untrained": ranks[measure + TWIN], "input": ranks[INPUT]}.items():
            found[*key, name] = permutation_p(other, error, rng)
            found[*key, f"trained - {name}"] = exchange_p(trained, other, error, rng)
            found[*key, f"trained given {name}"] = permutation_p(trained, error, rng, given=other)
    return found
