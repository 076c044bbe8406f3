"""What can be forecast: a PatchTST, ridge regression and three naive forecasts, on the same windows of each family.

One PatchTST is trained on all knobs of a family, in float64, at its rate of `convergence`, for 300 steps: as long as a
rounding stays a rounding, so any processor finds these rows again. It learns more in 1,500 (`convergence`, `trunks`).
Nothing is chosen on the windows that judge; they are those of `families`, whose GPT-2 can stand beside.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from isonum_core.errors import among
from isonum_core.networks.patched import PatchedModel, read
from isonum_core.studies.anatomy import short
from isonum_core.studies.learnt import CONTEXT, HORIZON, RECIPES, TEST, by_line, family_of, learnt, line, pool_of
from isonum_core.worlds.baselines import EXACT, errors_of, naive_forecasts, varies
from isonum_core.worlds.families import FAMILIES

LEARNED, NAIVE = ("network", "ridge"), ("last", "seasonal", "mean")
AHEAD = {"": HORIZON, "_one": 1}  # steps over which an error is the mean
SCORED = [f"nmse_{name}{ending}" for ending in AHEAD for name in (*LEARNED, *NAIVE)]


@dataclass(frozen=True)
class Skill:
    """One training of a trunk on a family; `size` is a key of studies.learnt's RECIPES."""

    family: str
    model: str
    seed: int
    steps: int
    size: str


# A network's error after 300 steps differs by less from one kind of arithmetic to another (studies.learnt).
TOLERANCES = {name: {"cpu": 1e-5, "cuda": 1e-3} for name in (*SCORED, "knob")}
MAY_BE_MISSING = set(SCORED)


def grid(profile: str) -> list[Skill]:
    """quick: two families, too few steps for skill. cpu: every family of `worlds.families`. gpu: five seeds of each."""
    if profile == "quick":
        return [Skill(f, "patchtst", 0, 10, profile) for f in ("sine_noise", "garch")]
    return [Skill(f, "patchtst", s, 300, profile) for s in range(1 if profile == "cpu" else 5) for f in FAMILIES]


def run(config: Skill, device: str = "cpu") -> list[dict]:
    """One row for each knob: nmse_*, squared errors in units of the context's variance (worlds.baselines).

    Of each forecast over the horizon, and (`_one`) one step ahead. Missing where every context is constant.
    """
    family, recipe = family_of(config.family), among("size", config.size, RECIPES)
    model, ridge = trained(config, device), line(pool_of(family, config.seed, recipe))
    rng, rows = np.random.default_rng([TEST, config.seed]), []
    for knob in family.grid:
        series = family.draw(knob, CONTEXT + HORIZON, rng, recipe.test)
        context, actual = series[:, :CONTEXT], series[:, CONTEXT:]
        found = {"knob": float(knob), **dict.fromkeys(SCORED)}
        if varies(context).any():
            said = {"network": read(model, torch.tensor(context)).said.mean.numpy(), "ridge": by_line(ridge, context)}
            said |= naive_forecasts(context, HORIZON, family.season(knob))
            for ending, steps in AHEAD.items():
                errors = errors_of(context, actual[:, :steps], {name: x[:, :steps] for name, x in said.items()})
                found |= {f"nmse_{name}{ending}": short(error) for name, error in errors.items()}
        rows.append(found)
    return rows


def trained(config: Skill, device: str = "cpu") -> PatchedModel:
    """The network of a configuration, trained from nothing, in eval mode."""
    recipe = among("size", config.size, RECIPES)
    pool = pool_of(family_of(config.family), config.seed, recipe)
    return learnt(config.model, config.seed, pool, recipe, recipe.rates[config.model], config.steps, device)


def skills_of(table: pd.DataFrame) -> pd.DataFrame:
    """The table once for the network and once for `ridge`, told by `model`: 1 - nmse / the smallest naive one.

    `skill` over the horizon and `skill_one` one step ahead, against all three naive forecasts; `skill_two` over the
    horizon, against last value and last season alone. Missing where one of them is never wrong.
    """
    found = []
    for model in LEARNED:
        part = table.assign(model=table.model if model == "network" else model)
        for name, ending, rivals in (("skill", "", 3), ("skill_one", "_one", 3), ("skill_two", "", 2)):
            best = table[[f"nmse_{rival}{ending}" for rival in NAIVE[:rivals]]].min(axis=1)
            part[name] = 1 - table[f"nmse_{model}{ending}"] / best.where(best > EXACT)
        found.append(part)
    return pd.concat(found, ignore_index=True)
