"""What the data does, first edition: one GPT-2 for each family and seed after 300 steps in float32, and its twin.

`studies.families` asks the same of networks that have learnt, at every site. This table stands for the fifth trunk of
`architecture`. The state: the one that the heads read. The checkpoint: the last. The errors: nll, and the error ratio
1 - skill. Its four expectations and their judges are in the repository's history; the errata say why two of them could
hardly fail.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isonum_core.errors import among
from isonum_core.networks.patched import Patched
from isonum_core.studies import portrait
from isonum_core.studies.portrait import COLUMNS, JUMPY, SIZES, TEST, TRAIN, network
from isonum_core.worlds.families import FAMILIES


@dataclass(frozen=True)
class Data:
    """One network. `model` is a trunk of networks.patched, `size` a key of studies.portrait's SIZES."""

    family: str
    model: str
    seed: int
    trained: bool
    size: str


TOLERANCES = portrait.TOLERANCES | {"knob": {"cpu": 0.0, "cuda": 0.0}}
MAY_BE_MISSING = set(COLUMNS)
# Without noise the loss falls until rounding decides the next step, so another processor trains another network.
NOISE_FREE = {"chirp", "harmonics", "logistic_map", "henon", "mackey_glass", "outliers", "piecewise_trend", "sawtooth"}
NOISE_FREE |= {"gp_mixture", "gp_scale", "gp_wandering_season", "sine_noise", "sine_period", "square_duty"}
# One machine's plainest kernels against its best moved a column of these by more than its tolerance.
UNSTEADY = {"cascade", "drift", "quantised"}


def grid(profile: str) -> list[Data]:
    """quick: two families, too few steps for skill. cpu: every family, five seeds. gpu: ten seeds, larger, longer."""
    if profile == "quick":
        return [Data(f, "gpt2", 0, t, profile) for f in ("sine_noise", "mackey_glass") for t in (True, False)]
    seeds = range(5 if profile == "cpu" else 10)
    return [Data(f, "gpt2", s, t, profile) for f in FAMILIES for s in seeds for t in (True, False)]


def provisional(config: Data) -> set[str]:
    """Of trained networks what jumps, and all where the family has little noise or was seen to move."""
    if not config.trained:
        return set()
    return set(TOLERANCES) if config.family in NOISE_FREE | UNSTEADY else JUMPY


def run(config: Data, device: str = "cpu") -> list[dict]:
    """One row for each knob of the family's grid: studies.portrait's columns. Twins see the same test windows."""
    family, size = among("family", config.family, FAMILIES), among("size", config.size, SIZES)
    sizes = Patched(config.model, d=size.d)
    length, pool = sizes.context + sizes.horizon, None
    if config.trained:
        rng = np.random.default_rng([TRAIN, config.seed])
        each = size.pool // len(family.grid)
        pool = np.concatenate([family.draw(knob, length, rng, each) for knob in family.grid])
    model = network(sizes, config.seed, pool, size, device)
    rng = np.random.default_rng([TEST, config.seed])
    season, rows = family.season, []
    for knob in family.grid:
        series = family.draw(knob, length, rng, size.test)
        context, actual = series[:, : sizes.context], series[:, sizes.context :]
        rows.append({"knob": float(knob), **portrait.portrait(model, context, actual, season(knob))})
    return rows
