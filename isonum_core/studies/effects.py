"""What the knobs of the data and the training do to the two halves of isotropy, as small tables without any error."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from isonum_core.errors import IsonumError
from isonum_core.studies.learnt import HALVES


def dose_curves(table: pd.DataFrame) -> pd.DataFrame:
    """One row for each model, family, trained, half and knob: mean, lowest and highest of the seeds, and how many.

    A knob under which the measure is undefined for every seed (constant series) has no row.
    """
    long = _long(table).dropna(subset="value")
    groups = long.groupby(["model", "family", "trained", "half", "knob"], sort=False)
    return groups.value.agg(mean="mean", lowest="min", highest="max", seeds="count").reset_index()


def knob_effects(table: pd.DataFrame) -> pd.DataFrame:
    """One row for each model, family, trained and half: how far, and in which direction, the knob moves the half.

    `rho`: Spearman of knob and measure over (knob, seed), in [-1, 1]; `low` and `high` are those of single seeds.
    `span` is the largest minus the smallest median over seeds; rho near 0 beside a large span is a curve that turns.
    `dropped` counts rows without a value. Families with fewer than three knobs left have no row: two points are no
    curve.
    """
    found = []
    for key, every in _long(table).groupby(["model", "family", "trained", "half"], sort=False):
        rows = every.dropna(subset="value")
        medians = rows.groupby("knob").value.median()
        if len(medians) < 3:
            continue
        if medians.nunique() == 1:
            raise IsonumError(f"{key[3]} of {key[1]} is {medians.iloc[0]} at every knob, expected some variation.")
        own = [_rho(seed) for _, seed in rows.groupby("seed") if seed.value.nunique() > 1]
        found.append(
            dict(zip(["model", "family", "trained", "half"], key, strict=True))
            | dict(rho=_rho(rows), low=min(own), high=max(own), span=medians.max() - medians.min())
            | dict(knobs=len(medians), rows=len(rows), dropped=len(every) - len(rows))
        )
    return pd.DataFrame(found)


def compared(effects: pd.DataFrame) -> dict[str, int | float]:
    """One model's `knob_effects` in numbers: the two halves beside each other, and the trained network beside its twin.

    clear: families where both halves have a direction (|rho| >= .5), `opposite` of which they are not the same one;
    together: Spearman over families of how far the knob moves either; larger_*: families on which it moves the trained
    half further than the twin's. On the other `shrunk` of IsoScore, `twice` have a direction in both networks, and on
    `reversed` of these it is not the same one.
    """
    wide = effects.pivot(index="family", columns=["trained", "half"], values=["rho", "span"])
    rho, span = wide["rho"], wide["span"]
    larger = span[True] > span[False]
    clear, shrunk = _directed(rho[True]), rho.xs("iso_score", axis=1, level="half")[~larger.iso_score]
    twice, together = _directed(shrunk), span[True].mean_cosine.corr(span[True].iso_score, method="spearman")
    found = dict(clear=len(clear), opposite=_opposed(clear), together=float(together))
    found |= larger.sum().add_prefix("larger_").to_dict()
    return found | dict(shrunk=len(shrunk), twice=len(twice), reversed=_opposed(twice))


def _long(table: pd.DataFrame) -> pd.DataFrame:
    return table.melt(["model", "family", "trained", "seed", "knob"], list(HALVES), "half")


def _directed(rho: pd.DataFrame) -> pd.DataFrame:
    return rho[(rho.abs() >= 0.5).all(axis=1)]


def _opposed(rho: pd.DataFrame) -> int:
    return int((np.sign(rho.iloc[:, 0]) != np.sign(rho.iloc[:, 1])).sum())


def _rho(rows: pd.DataFrame) -> float:
    return float(spearmanr(rows.knob, rows.value)[0])
