"""What the knobs of the data and the training do to the two halves of isotropy, as small tables without any error."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from isonum_core.errors import IsonumError
from isonum_core.statistics.intervals import crossed_intervals, paired_t
from isonum_core.statistics.ranks import ranks_between, ranks_within

HALVES = ("mean_cosine", "iso_score")  # the mean half, the spectral half
KEYS = ["family", "model", "size", "seed", "knob"]
RANKS = {"between": ranks_between, "within": ranks_within}
TWIN = "_untrained"


def twinned(table: pd.DataFrame, measures: Sequence[str] = HALVES) -> pd.DataFrame:
    """The trained rows, with `measures` of the untrained twin (family, model, size, seed, knob alike) beside them.

    The twin's columns end in "_untrained". IsonumError where a network has no twin or several.
    """
    trained, other = table[table.trained], table.loc[~table.trained, [*KEYS, *measures]]
    if trained.duplicated(KEYS).any() or other.duplicated(KEYS).any():
        raise IsonumError(f"Several rows agree in {', '.join(KEYS)} and trained, expected one. Take one table.")
    both = trained.merge(other, on=KEYS, suffixes=("", TWIN))
    if not len(both) == len(trained) == len(other):
        raise IsonumError(
            f"{len(trained)} trained and {len(other)} untrained rows make {len(both)} pairs, expected as many. "
            "Complete the table, or leave out what has no twin and say so."
        )
    return both


def dose_curves(table: pd.DataFrame, measures: Sequence[str] = HALVES) -> pd.DataFrame:
    """One row for each model, family, trained, half and knob: mean, lowest and highest of the seeds, and how many.

    A knob under which the measure is undefined for every seed (constant series) has no row.
    """
    long = _long(table, measures).dropna(subset="value")
    groups = long.groupby(["model", "family", "trained", "half", "knob"], sort=False)
    return groups.value.agg(mean="mean", lowest="min", highest="max", seeds="count").reset_index()


def knob_effects(table: pd.DataFrame, measures: Sequence[str] = HALVES) -> pd.DataFrame:
    """One row for each model, family, trained and half: how far, and in which direction, the knob moves the half.

    `rho`: Spearman of knob and measure over (knob, seed), in [-1, 1]; `low` and `high` are those of single seeds.
    `span` is the largest minus the smallest median over seeds, `ratio` the one over the other, missing where a median
    is not positive (a cosine has no ratio); `at_smallest` and `at_largest` are the knobs where these stand. rho near 0
    beside a large span is a curve that turns. `dropped` counts rows without a value. Families with fewer than three
    knobs left have no row: two points are no curve.
    """
    found = []
    groups = _long(table, measures).groupby(["model", "family", "trained", "half"], sort=False)
    for key, every in groups:
        rows = every.dropna(subset="value")
        medians = rows.groupby("knob").value.median()
        if len(medians) < 3:
            continue
        if medians.nunique() == 1:
            raise IsonumError(f"{key[3]} of {key[1]} is {medians.iloc[0]} at every knob, expected some variation.")
        own = [_rho(seed) for _, seed in rows.groupby("seed") if seed.value.nunique() > 1]
        smallest, largest = medians.min(), medians.max()
        found.append(
            dict(zip(["model", "family", "trained", "half"], key, strict=True))
            | dict(rho=_rho(rows), low=min(own), high=max(own), span=largest - smallest)
            | dict(ratio=largest / smallest if smallest > 0 else np.nan)
            | dict(at_smallest=medians.idxmin(), at_largest=medians.idxmax())
            | dict(knobs=len(medians), rows=len(rows), dropped=len(every) - len(rows))
        )
    return pd.DataFrame(found)


def halves(table: pd.DataFrame, rng: np.random.Generator, draws: int = 2000) -> pd.DataFrame:
    """How closely the two halves go together: their rank correlation, with crossed-bootstrap intervals.

    One row for each model, kind (between families, within) and network: trained, untrained, and their difference on
    the same resamples. All families count: no error is in it.
    """
    both, found = twinned(table), []
    names = [*HALVES, *(name + TWIN for name in HALVES)]

    def statistics(rows: pd.DataFrame) -> dict[str, float]:
        values = {}
        for kind, ranks in RANKS.items():
            r = np.corrcoef(ranks(rows, names).T)
            numbers = {"trained": r[0, 1], "untrained": r[2, 3], "trained - untrained": r[0, 1] - r[2, 3]}
            values |= {f"{kind} {name}": value for name, value in numbers.items()}
        return values

    for model, every in both.groupby("model", sort=False):
        rows = every[["family", "seed", *names]].dropna()
        facts = dict(families=rows.family.nunique(), rows=len(rows), dropped=len(every) - len(rows))
        for key, i in crossed_intervals(rows, statistics, rng, draws=draws).items():
            kind, network = key.split(" ", 1)
            found.append(dict(model=model, kind=kind, network=network, rho=i.value, low=i.low, high=i.high) | facts)
    return pd.DataFrame(found)


def training_changes(table: pd.DataFrame, measures: Sequence[str] = HALVES) -> pd.DataFrame:
    """One row for each model, family and half: trained minus untrained, mean over knobs, and its t interval over seeds.

    `untrained` is where it started. `dropped` counts the pairs without a value on one side. IsonumError with one seed.
    """
    both, found = twinned(table, measures), []
    for (model, family), rows in both.groupby(["model", "family"], sort=False):
        for half in measures:
            kept = rows.dropna(subset=[half, half + TWIN])
            means = kept.groupby("seed")[[half, half + TWIN]].mean()
            change = paired_t(means[half] - means[half + TWIN])
            facts = dict(model=model, family=family, half=half, untrained=means[half + TWIN].mean())
            numbers = dict(change=change.mean, low=change.low, high=change.high, seeds=change.n)
            found.append(facts | numbers | dict(dropped=len(rows) - len(kept)))
    return pd.DataFrame(found)


def _long(table: pd.DataFrame, measures: Sequence[str]) -> pd.DataFrame:
    return table.melt(["model", "family", "trained", "seed", "knob"], list(measures), "half")


def _rho(rows: pd.DataFrame) -> float:
    return float(spearmanr(rows.knob, rows.value)[0])
