"""What the knobs of the data and the training do to the two halves of isotropy, as small tables without any error."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from isonum_core.errors import IsonumError
from isonum_core.studies.learnt import HALVES


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

    clear: families where both halves of the trained network have a direction (|rho| >= .5), `opposite` of which they
    are not the same one; clear_* and opposite_*: the same of one half, trained and untrained; together: Spearman over
    families of how far the knob moves either half.
    """
    wide = effects.pivot(index="family", columns=["trained", "half"], values=["rho", "span"])
    rho, span = wide["rho"], wide["span"][True]
    pairs = {"": rho[True]} | {f"_{half}": rho.xs(half, axis=1, level="half") for half in HALVES}
    clear = {name: np.sign(pair[(pair.abs() >= 0.5).all(axis=1)]) for name, pair in pairs.items()}
    found = {f"clear{name}": len(pair) for name, pair in clear.items()}
    found |= {f"opposite{name}": int((pair.iloc[:, 0] != pair.iloc[:, 1]).sum()) for name, pair in clear.items()}
    return found | dict(together=float(span.mean_cosine.corr(span.iso_score, method="spearman")))


def _long(table: pd.DataFrame) -> pd.DataFrame:
    return table.melt(["model", "family", "trained", "seed", "knob"], list(HALVES), "half")


def _rho(rows: pd.DataFrame) -> float:
    return float(spearmanr(rows.knob, rows.value)[0])
