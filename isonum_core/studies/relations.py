"""Does an isotropy number go with a model's error, and beyond what an untrained twin or the raw windows already say?

Families on which a model has no skill do not enter, a choice made by the error that is then compared; or, with
`possible_families`, those on which no forecast could have any, which asks no error (`studies.gate`). Between families
one point is a family's mean over knobs and seeds; of the error ratio 1 - skill the logarithm is averaged, because it
has heavy tails.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd
from scipy import stats

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
from isonum_core.studies.gate import Gate, skilled_families

Error = Literal["ratio", "nll", "one"]
FIXED = ("ratio", "nll")  # errors, fixed beforehand; `one`, the ratio at the first step ahead, is exploratory
INPUT = "iso_input"
PREDICTORS = ("trained", "untrained", "input")
LEAST = 5  # families: fewer points carry no rank correlation


def skilled_rows(
    table: pd.DataFrame, measures: Sequence[str] = MEASURES, gate: Gate = skilled_families
) -> pd.DataFrame:
    """Trained rows of each model's families that pass, beside their twins.

    `ratio` and `one`: log(1 - skill), of the whole horizon and of its first step.
    """
    skilled = gate(table)
    passed = [family in skilled[model] for family, model in zip(table.family, table.model, strict=True)]
    both = twinned(table[passed], measures)
    return both.assign(ratio=np.log1p(-both.skill), one=np.log1p(-both.skill_one))


def beside_twins(
    table: pd.DataFrame,
    measures: Sequence[str],
    error: Error,
    rng: np.random.Generator,
    draws: int = 2000,
    gate: Gate = skilled_families,
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
    every, found = skilled_rows(table, measures, gate), []
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
        ranks = dict(zip(names, ranks_between(rows, names).T, strict=True))
        shuffles = rng.spawn(1)[0]  # so that no interval hangs on how p is computed
        p = {m: _p_values(*(ranks[name] for name in (error, m, m + TWIN, INPUT)), shuffles) for m in measures}
        facts = dict(families=families, rows=len(rows), dropped=len(own) - len(rows))
        for key, i in intervals.items():
            measure, kind, predictor = key.split(" ", 2)
            name = dict(model=model, measure=measure, error=error, kind=kind, predictor=predictor)
            of = p[measure].get(predictor) if kind == "between" else None
            found.append(name | dict(rho=i.value, low=i.low, high=i.high, p=of) | facts)
    return pd.DataFrame(found).astype({"p": float})


def relations(
    table: pd.DataFrame,
    rng: np.random.Generator,
    draws: int = 2000,
    measures: Sequence[str] = MEASURES,
    gate: Gate = skilled_families,
) -> pd.DataFrame:
    """`beside_twins` of every measure and both errors, with Holm's p in the column `p_holm`.

    Read together, and so corrected together, are the contrasts between families of one predictor: all measures, both
    errors, all models of the table. The input's correlation stands beside every measure and is one contrast, so it has
    no p_holm. All measures of an error share their resamples, and the rows that lack one of them are dropped for all.
    """
    found = [beside_twins(table, measures, error, rng, draws, gate) for error in FIXED]
    every = pd.concat(found, ignore_index=True).assign(p_holm=np.nan)
    for _, rows in every[every.predictor != "input"].dropna(subset="p").groupby("predictor"):
        every.loc[rows.index, "p_holm"] = holm(rows.p)
    return every


def closer_than_twin(found: pd.DataFrame, error: Error) -> list[str]:
    """The measures of one model's `relations` that go with the error more closely than their twins', between families.

    Two conditions: the difference of sizes lies above zero with its interval, and the signed difference is below .05
    after Holm. Where the two signs agree both ask one thing; where they do not the first alone speaks of size.
    """
    size, signed = (_between(found, error, name) for name in ("|trained| - |untrained|", "trained - untrained"))
    return list(size.index[(size.low > 0) & (signed.p_holm < 0.05)])


def told_beyond_twin(found: pd.DataFrame, error: Error) -> list[str]:
    """The measures of one model's `relations` that go with the error, .05 after Holm, when the twin's is held fixed."""
    given = _between(found, error, "trained given untrained")
    return list(given.index[given.p_holm < 0.05])


def by_model(found: pd.DataFrame) -> pd.DataFrame:
    """`beside_twins` of one measure under several models, one row for each kind and model, in the table's order.

    trained, untrained, input: whether the correlation is positive; sure: whether the trained one's interval excludes
    zero; closer: whether it is larger in size than the twin's, interval and all; p_holm: of the trained correlation
    between families, over the models.
    """
    rows = []
    for (kind, model), part in found.groupby(["kind", "model"], sort=False):
        part = part.set_index("predictor")
        own, closer = part.loc["trained"], part.low["|trained| - |untrained|"] > 0
        signs = {name: part.rho[name] > 0 for name in PREDICTORS}
        rows.append(dict(kind=kind, model=model, **signs, sure=own.low > 0 or own.high < 0, closer=closer, p=own.p))
    told = pd.DataFrame(rows).set_index(["kind", "model"])
    return told.join(holm(told.p.dropna()).rename("p_holm")).drop(columns="p")


def sign_by_family(
    table: pd.DataFrame, measure: str, error: Error, rng: np.random.Generator, draws: int = 1000
) -> pd.DataFrame:
    """Inside each skilled family: rank correlation of measure and error over (knob, seed), for both twins and input.

    One row for each model, family and predictor; `low` and `high` are the bootstrap over seeds, all knobs of a seed
    together. Five seeds make it short; it shows where a sign is not in doubt. Families with fewer than three knobs or
    two seeds left have no row; `dropped` counts the missing rows of the others.
    """
    names, found = [error, measure, measure + TWIN, INPUT], []

    def statistics(rows: pd.DataFrame) -> dict[str, float]:
        r = correlations(stats.rankdata(np.column_stack([rows[x] for x in names]), axis=0))
        return dict(zip(PREDICTORS, r[0, 1:], strict=True))

    for (model, family), every in skilled_rows(table, [measure]).groupby(["model", "family"], sort=False):
        rows = every[["seed", "knob", *names]].dropna()
        if rows.knob.nunique() < 3 or rows.seed.nunique() < 2:
            continue
        facts = dict(knobs=rows.knob.nunique(), rows=len(rows), dropped=len(every) - len(rows))
        intervals = crossed_intervals(rows, statistics, rng, ["seed"], draws)
        for predictor, i in intervals.items():
            numbers = dict(predictor=predictor, rho=i.value, low=i.low, high=i.high)
            found.append(dict(model=model, family=family) | numbers | facts)
    return pd.DataFrame(found)


def _numbers(rows: pd.DataFrame, names: list[str], measures: Sequence[str]) -> dict[str, float]:
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
        found |= {f"{measure} {kind} {name}": value for name, value in numbers.items()}
    return found


def _p_values(
    error: np.ndarray, trained: np.ndarray, untrained: np.ndarray, raw: np.ndarray, rng: np.random.Generator
) -> dict[str, float]:
    others = {"untrained": untrained, "input": raw}
    found = {"trained": permutation_p(trained, error, rng)}
    for name, other in others.items():
        found[name] = permutation_p(other, error, rng)
        found[f"trained - {name}"] = exchange_p(trained, other, error, rng)
        found[f"trained given {name}"] = permutation_p(trained, error, rng, given=other)
    return found


def _between(found: pd.DataFrame, error: Error, predictor: str) -> pd.DataFrame:
    rows = found[(found.kind == "between") & (found.error == error) & (found.predictor == predictor)]
    return rows.set_index("measure")
