"""What the data does: one model for each family of series and seed, and its untrained twin, measured knob by knob.

Fixed before the first run. The state: the one that the heads read. The checkpoint: the last. The errors: nll, and the
error ratio 1 - skill. Families without skill enter no relation to error. Each correlation with error stands beside
that of the untrained twin and of the raw windows; intervals come from a crossed bootstrap over families and
seeds; the contrasts that are read together are corrected by Holm.

Expected before the first run, from the theory (both halves are gauge):
 1. between families IsoScore of the trained state goes with the error ratio no more closely than that of the untrained
    twin or of the raw windows, within the interval of the difference;
 2. the cluster-centred cosine stays within 0.05 of zero on nearly every row, and goes with no error;
 3. the two halves are two numbers: their rank correlation over families is below 0.5 in size;
 4. within families the sign of the relation of IsoScore to error differs from family to family.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isonum_core.errors import IsonumError
from isonum_core.networks.patched import Patched
from isonum_core.studies import portrait
from isonum_core.studies.portrait import COLUMNS, SIZES, TEST, TRAIN, network
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


def grid(profile: str) -> list[Data]:
    """quick: two families, too few steps for skill. cpu: every family, five seeds. gpu: ten seeds, larger, longer."""
    if profile == "quick":
        return [Data(f, "gpt2", 0, t, profile) for f in ("sine_noise", "mackey_glass") for t in (True, False)]
    seeds = range(5 if profile == "cpu" else 10)
    return [Data(f, "gpt2", s, t, profile) for f in FAMILIES for s in seeds for t in (True, False)]


def provisional(config: Data) -> bool:
    """Trained on a family with little or no noise."""
    return config.trained and config.family in NOISE_FREE


def run(config: Data, device: str = "cpu") -> list[dict]:
    """One row for each knob of the family's grid: studies.portrait's columns. Twins see the same test windows."""
    if config.family not in FAMILIES or config.size not in SIZES:
        raise IsonumError(
            f"A family is one of {', '.join(FAMILIES)} and a size one of {', '.join(SIZES)}, got {config.family!r} and "
            f"{config.size!r}. Choose among them."
        )
    family, size = FAMILIES[config.family], SIZES[config.size]
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
