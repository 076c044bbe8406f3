"""Real series: one network and its untrained twin on the paper's sets, as far as they may be had, and on packaged ones.

A set is split in time: no value of a test target is seen in training, in no series of the set. A test context may reach
back into the training part, as any forecast does. Contexts are shorter than those of arXiv 2505.17135 where a training
window of the published length would not fit before the cut (hospital, carparts); horizons are the published ones.
nn5_weekly is left out: after the cut no window of 24 + 8 weeks is without a missing one.
Everything else (state, checkpoint, errors, training) is as in the study `data`. Windows of a set overlap: they are no
independent sample, so intervals come from sets and seeds and never from windows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from isonum_core.networks.patched import Patched
from isonum_core.studies import portrait
from isonum_core.studies.portrait import COLUMNS, JUMPY, SIZES, TEST, TRAIN, among, network
from isonum_core.worlds.series import find_series, interpolated
from isonum_core.worlds.windows import windows


class Shape(NamedTuple):
    """Window lengths in steps, the length of a patch, and the season that seasonal naive takes."""

    context: int
    horizon: int
    patch: int
    season: int


SETS = {
    "hospital": Shape(48, 12, 12, 12),
    "carparts": Shape(24, 12, 12, 12),
    "jewelry": Shape(24, 8, 8, 1),  # a season of 52 weeks does not fit in the published context
    "fred_md": Shape(36, 12, 12, 12),
    "elec_victoria": Shape(144, 48, 24, 48),
    "exchange_rate": Shape(36, 12, 12, 5),
    "covid_deaths": Shape(90, 30, 15, 1),
    "rain": Shape(90, 30, 15, 1),
    "ett_h1": Shape(96, 24, 24, 24),
    "co2": Shape(104, 26, 26, 52),
    "elnino": Shape(48, 12, 12, 12),
    "sunspots": Shape(33, 11, 11, 11),
    "us_inflation": Shape(24, 8, 4, 1),
    "us_unemployment": Shape(24, 8, 4, 1),
}
TEST_SHARE = 0.2  # share of the steps whose values are test targets


@dataclass(frozen=True)
class Real:
    """One network on one set. `model` is a trunk of networks.patched, `size` a key of studies.portrait's SIZES."""

    dataset: str
    model: str
    seed: int
    trained: bool
    size: str


TOLERANCES = portrait.TOLERANCES
MAY_BE_MISSING = set(COLUMNS)
# One machine's plainest kernels against its best moved a column of these by three quarters of its tolerance or more.
UNSTEADY = {"carparts", "exchange_rate", "jewelry", "rain", "us_unemployment"}


def provisional(config: Real) -> set[str]:
    """Of trained networks what jumps, and all on the sets that were seen to move."""
    if not config.trained:
        return set()
    return set(TOLERANCES) if config.dataset in UNSTEADY else JUMPY


def grid(profile: str) -> list[Real]:
    """quick: one packaged series. cpu: every set, five seeds. gpu: ten seeds, and two more trunks."""
    if profile == "quick":
        return [Real("elnino", "gpt2", 0, t, profile) for t in (True, False)]
    models, seeds = (("gpt2",), range(5)) if profile == "cpu" else (("gpt2", "llama", "patchtst"), range(10))
    return [Real(d, m, s, t, profile) for d in SETS for m in models for s in seeds for t in (True, False)]


def run(config: Real, device: str = "cpu") -> list[dict]:
    """One row: studies.portrait's columns, and `windows`, how many overlapping test windows they were taken on.

    Raises errors.DataAbsent where the set can neither be downloaded nor found in the folder ISONUM_DATA.
    """
    shape, size = among("set", config.dataset, SETS), among("size", config.size, SIZES)
    train, context, actual = split(values(config.dataset), shape)
    sizes = Patched(config.model, size.d, context=shape.context, horizon=shape.horizon, patch=shape.patch)
    pool = _drawn(train, size.pool, np.random.default_rng([TRAIN, config.seed])) if config.trained else None
    model = network(sizes, config.seed, pool, size, device)
    test = _drawn(np.hstack([context, actual]), size.test, np.random.default_rng([TEST, config.seed]))
    context, actual = test[:, : shape.context], test[:, shape.context :]
    return [{**portrait.portrait(model, context, actual, shape.season), "windows": len(test)}]


def values(dataset: str) -> Float[np.ndarray, "n T"]:
    """A set's series in rows; short gaps of packaged series are interpolated, those of the others stay NaN."""
    series = find_series(dataset)
    return series.values if series.file else interpolated(series.values)


def split(
    x: Float[np.ndarray, "n T"], shape: Shape
) -> tuple[Float[np.ndarray, "w L"], Float[np.ndarray, "v C"], Float[np.ndarray, "v H"]]:
    """Training windows before the cut, contexts and targets after it. The cut leaves a fifth, at least a horizon.

    Windows start at every step; those with a missing value are dropped (worlds.windows).
    """
    length = x.shape[1]
    cut = length - max(shape.horizon, round(TEST_SHARE * length))
    before = windows(x, range(cut), shape.context, shape.horizon)
    after = windows(x, range(cut - shape.context, length), shape.context, shape.horizon)
    return np.hstack([before.context, before.target]), after.context, after.target


def _drawn(rows: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    """At most so many rows, evenly at random, in their order."""
    return rows if len(rows) <= most else rows[np.sort(rng.choice(len(rows), most, replace=False))]
