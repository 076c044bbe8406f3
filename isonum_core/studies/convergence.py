"""How long to train, and at which rate: complete trainings of 100 to 5,000 steps, five trunks, four families.

Every length is a training of its own, whose rate has fallen to zero at its end: a mark on a longer run is not what a
shorter one would have given. Ridge regression on the same windows stands beside. These four families chose the rates
and the steps of `families` and `trunks`, so they stand outside every comparison of trunks: of a trunk's rates the best
at which a rounding of its first weights stays a rounding (studies.learnt), and the last length. One seed.
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from isonum_core.errors import among
from isonum_core.studies import learnt
from isonum_core.studies.learnt import RECIPES, family_of, line, pool_of

JUDGES = ("sine_period", "mackey_glass", "noisy_ar", "harmonics")  # a season, chaos, noise, detail
RATES, TRIED, TRIERS = (3e-3, 1e-2, 3e-2), 300, JUDGES[:2]  # rates, and the steps and families that compare them
LENGTHS = (100, 300, 1000, 1500)
LONGEST = 5000  # of gpt2 alone
FLAT = 0.01  # share of its NLL that a trunk may still win over the last third of a length


@dataclass(frozen=True)
class Curve:
    """One training. `model` is a trunk, `size` a key of studies.learnt's RECIPES; `steps` 0 is the untrained twin."""

    family: str
    model: str
    rate: float
    steps: int
    seed: int
    size: str


TOLERANCES = learnt.TOLERANCES
MAY_BE_MISSING = learnt.MAY_BE_MISSING


def grid(profile: str) -> list[Curve]:
    """quick: two rates of one trunk. cpu: all. gpu: the lengths of the cpu on every trunk, and the longest."""
    if profile == "quick":
        return [Curve("sine_noise", "gpt2", rate, 10, 0, profile) for rate in RATES[1:]]
    found, rates = [], RECIPES["cpu"].rates
    for model, chosen in rates.items():
        found += [Curve(f, model, rate, TRIED, 0, profile) for f in TRIERS for rate in RATES]
        lengths = (0, *LENGTHS) + (LONGEST,) * (model == "gpt2" or profile == "gpu")
        found += [Curve(f, model, chosen, steps, 0, profile) for steps in lengths for f in JUDGES]
    return list(dict.fromkeys(found))


def provisional(config: Curve) -> set[str]:
    """Every column above the chosen rate, and beyond 300 steps: there a rounding grows to another network."""
    steep = config.rate > RECIPES[config.size].rates[config.model]
    return set(TOLERANCES) if steep or config.steps > 300 else set()


def run(config: Curve, device: str = "cpu") -> list[dict]:
    """One row for each knob and site: studies.learnt's columns."""
    family, recipe = family_of(config.family), among("size", config.size, RECIPES)
    pool = pool_of(family, config.seed, recipe)
    model = learnt.learnt(config.model, config.seed, pool, recipe, config.rate, config.steps, device)
    return learnt.tested(model, family, config.seed, recipe, line(pool))


def gained(table: pd.DataFrame) -> pd.DataFrame:
    """Share of the NLL that a trunk loses between two lengths, mean over families: rows trunks, columns the later."""
    own = table[table.rate == table.model.map(dict(RECIPES["cpu"].rates))]
    nll = own.groupby(["model", "steps", "family"]).nll.mean().groupby(["model", "steps"]).mean().unstack("steps")
    return 1 - nll / nll.shift(axis=1)


def flat(table: pd.DataFrame) -> pd.Series:
    """For each trunk whether its last third, from 1,000 to 1,500 steps, gains less than FLAT."""
    return gained(table)[LENGTHS[-1]] < FLAT
