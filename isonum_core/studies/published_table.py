"""The experiment of arXiv 2505.17135 as far as it can be run again: its kernels, its real sets, its measure, its error.

Its checkpoints (Chronos, Moirai, Lag-Llama) are not here. Fracast forecasts in their place, at the published windows
(kernels: 500 steps, of whose 64 to come the 48 that Fracast says at once; real sets: as their facts say), 48 windows a
set. Two more characteristics of the data, on the kernels: a context of a quarter, and white noise of half its standard
deviation added to it.

States: at the last step of each window; the published code takes what attention adds, and Fracast has no attention.
EXPECTED was written before the run, with a language model beside Fracast for which there was no time; no row had been
seen.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from scipy import stats

from isonum_core.errors import WeakNumberWarning
from isonum_core.geometry.moments import Moments
from isonum_core.geometry.neighbours import cluster_centred_cosine
from isonum_core.geometry.scores import iso_score, mean_cosine
from isonum_core.lab.expectation import Expectation, Verdict
from isonum_core.networks.packaged import fracast, fracast_states
from isonum_core.prose import interval
from isonum_core.statistics.intervals import crossed_intervals, decided
from isonum_core.studies.anatomy import short
from isonum_core.worlds.baselines import last_value, mean_value, nmse
from isonum_core.worlds.kernels import LENGTH, PAPER_KERNELS, sample
from isonum_core.worlds.series import find_series, series_names
from isonum_core.worlds.windows import windows

CHANGES = ("as published", "short", "noisy")
NUMBERS = ("cluster_cosine", "expected_cosine", "iso_score", "mean_cosine")
ERRORS = ("nmse_published", "nmse", "nmse_naive")
SITES = ("embed", "block.0", "block.3", "block.6", "block.9", "final_norm")
STREAM, WINDOWS = 94, 48
KERNEL = (500, 48)
# k-means takes another cluster where two are nearly as good; sums in another order move the rest by 1e-5.
TOLERANCES = {name: {"cpu": 2e-2, "cuda": 1e-1} for name in (*NUMBERS, *ERRORS)}
MAY_BE_MISSING = {*ERRORS}


@dataclass(frozen=True)
class Published:
    """One set, kernel or real, one of CHANGES. `network`: Fracast alone so far."""

    dataset: str
    network: str
    change: str


def grid(profile: str) -> list[Published]:
    """quick: one kernel. cpu and gpu: every set as published, the changes on kernels."""
    if profile == "quick":
        return [Published("RBF_0.1", "fracast", "as published")]
    real = [name for name in series_names() if find_series(name).windows]
    found = [Published(name, "fracast", CHANGES[0]) for name in (*PAPER_KERNELS, *real)]
    return found + [Published(name, "fracast", change) for change in CHANGES[1:] for name in PAPER_KERNELS]


def run(config: Published) -> list[dict]:
    """A row a site. Raises errors.DataAbsent where a real set is not to be had.

    nmse_published: squared error over the mean square of what came, all windows and steps together. nmse: over the
    variance of each context, mean over windows (worlds.baselines); nmse_naive: that of the better of last value and
    mean of the context. cluster_cosine is the published measure, expected_cosine what its cluster sizes alone give.
    """
    context, actual = published_windows(config)
    said, states = _series(context, actual.shape[1])
    errors: dict[str, float | None] = dict.fromkeys(ERRORS)
    errors["nmse_published"] = float(np.square(said - actual).mean() / np.square(actual).mean())
    if (context.std(1) > 1e-12 * abs(context).max(1)).any():
        naive = [nmse(context, actual, f(context, actual.shape[1])).value for f in (last_value, mean_value)]
        errors |= {"nmse": nmse(context, actual, said).value, "nmse_naive": min(naive)}
    rows = []
    for site, x in states.items():
        m = Moments.of(x)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", WeakNumberWarning)  # clusters of equal points: the published code has them
            cosine = cluster_centred_cosine(x, np.random.default_rng(0))
        measured = cosine.value, cosine.expected, float(iso_score(m)), float(mean_cosine(m))
        row = dict(site=site, states=len(x), clusters=len(cosine.sizes), **dict(zip(NUMBERS, measured, strict=True)))
        rows.append({name: short(x) if isinstance(x, float) else x for name, x in (row | errors).items()})
    return rows


def published_windows(config: Published) -> tuple[Float[np.ndarray, "n C"], Float[np.ndarray, "n H"]]:
    """Contexts and what follows them. The same windows under every change."""
    rng = np.random.default_rng([STREAM, len(config.dataset), *config.dataset.encode()])
    if config.dataset in PAPER_KERNELS:
        length, horizon = KERNEL
        times = np.linspace(0, 1, LENGTH)[: length + horizon, None]
        x = sample(PAPER_KERNELS[config.dataset](times), rng, WINDOWS)
    else:
        length, horizon = find_series(config.dataset).windows
        values = find_series(config.dataset).values
        cut = windows(values, range(values.shape[1]), length, horizon)
        x = np.hstack([cut.context, cut.target])[np.sort(rng.choice(len(cut.context), WINDOWS, replace=False))]
    context, actual = x[:, :length], x[:, length:]
    if config.change == "short":
        context = context[:, -(length // 4) :]
    if config.change == "noisy":
        context = context + 0.5 * context.std(1, keepdims=True) * rng.normal(size=context.shape)
    return context, actual


class _Kept:
    """Fracast whose forecast is kept while its states are read: one pass for both."""

    def __init__(self, model):
        self.core, self.model, self.said = model.core, model, []

    def forecast_batch(self, series):
        self.said.append(self.model.forecast_batch(series).mean(-1))


def _series(context: np.ndarray, horizon: int) -> tuple[np.ndarray, dict[str, torch.Tensor]]:
    kept = _Kept(_model())
    parts = [fracast_states(kept, x) for x in torch.from_numpy(context).float().split(4)]
    states = {site: torch.cat([part[site] for part in parts]).double() for site in SITES}
    return np.concatenate(kept.said)[:, :horizon].astype(float), states


@cache
def _model():
    return fracast().model


def across_sets(table: pd.DataFrame, rng: np.random.Generator, draws: int = 500) -> pd.DataFrame:
    """Rank correlations with both errors over sets, at each site; bootstrap over sets. As published alone."""
    plain = table[(table.change == CHANGES[0]) & table.nmse.notna()]
    numbers = [*NUMBERS, *ERRORS[:2]]

    def rho(t: pd.DataFrame) -> dict[tuple, float]:
        found = {}
        for (network, site), part in t.groupby(["network", "site"], sort=False):
            matrix = np.corrcoef(stats.rankdata(part[numbers], axis=0).T)
            for j, error in enumerate(ERRORS[:2], start=len(NUMBERS)):
                found |= {(network, site, m, error): matrix[i, j] for i, m in enumerate(NUMBERS)}
            found[network, site, "errors", "with each other"] = matrix[-2, -1]
        return found

    return crossed_intervals(plain, rho, rng, ["dataset"], draws)


class Seen(NamedTuple):
    """The table, and `across_sets` of it."""

    table: pd.DataFrame
    relations: pd.DataFrame


def seen(table: pd.DataFrame, draws: int = 500) -> Seen:
    """What judges the expectations; resamples start from seed 0."""
    return Seen(table, across_sets(table, np.random.default_rng(0), draws))


def effects_of(table: pd.DataFrame, change: str, site: str = "final_norm") -> pd.DataFrame:
    """Of each kernel, the differences that a change makes in Fracast's NUMBERS at a site and in the log of `nmse`."""
    rows = table[(table.network == "fracast") & (table.site == site)].assign(error=np.log(table.nmse))
    wide = rows.pivot(index="dataset", columns="change", values=[*NUMBERS, "error"])
    kernels = [name for name in PAPER_KERNELS if name in wide.index]
    return pd.DataFrame({m: wide[m][change] - wide[m][CHANGES[0]] for m in (*NUMBERS, "error")}).loc[kernels]


def _sizes_say_it(found: Seen) -> Verdict:
    near = float(((found.table.cluster_cosine - found.table.expected_cosine).abs() <= 0.05).mean())
    return Verdict(decided(near >= 0.9, near), f"{near:.0%} of rows")


def _no_relation(found: Seen) -> Verdict:
    rows = found.relations.xs(("cluster_cosine", "nmse_published"), level=(2, 3))
    away = rows[(rows.low > 0) | (rows.high < 0)]
    told = "; ".join(f"{n} {s} {interval(*row)}" for (n, s), row in away.iterrows())
    return Verdict(decided(away.empty, *rows.low), told or f"none of {len(rows)} sites")


def _errors_differ(found: Seen) -> Verdict:
    row = found.relations.loc[("fracast", SITES[0], "errors", "with each other")]
    held = None if row.low < 0.8 <= row.value else decided(row.value < 0.8, row.value)
    return Verdict(held, interval(*row))


def _noise_rounds(found: Seen) -> Verdict:
    up = effects_of(found.table, "noisy").iso_score > 0
    return Verdict(decided(up.sum() >= 8, float(len(up))), f"{up.sum()} of {len(up)} kernels")


EXPECTED = (
    Expectation(
        "The published cosine is what the sizes of its clusters give, to .05, in nine rows of ten or more",
        _sizes_say_it,
    ),
    Expectation(
        "Over sets it goes with the published error at no site of either network: every interval holds zero",
        _no_relation,
    ),
    Expectation(
        "Pooled over the mean square and divided by the variance, the error orders the sets differently: the rank "
        "correlation of the two is below .8",
        _errors_differ,
    ),
    Expectation(
        "Noise on the context raises IsoScore of Fracast's last states on eight of the ten kernels or more",
        _noise_rounds,
    ),
)
