"""What the architecture does, second edition: five trunks on twenty families, three seeds, each at its own rate.

Families: those of the 46 on which ridge regression has a skill of .01 over the horizon (seed 0, geometric mean over
knobs), less those that chose rates and steps; of these 27, twenty drawn by a seed. The rule asks no trunk. All trunks
have the same number of weights to 2 %, but T5, whose two blocks beside two cost 12 % more. They see the same series in
the same order, each at its rate of `convergence`. No prediction was made: everything here describes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from isonum_core.studies import families, learnt
from isonum_core.studies.anatomy import short
from isonum_core.studies.closeness import DRAWS
from isonum_core.studies.effects import variance_sources
from isonum_core.studies.families import FamilyNet
from isonum_core.studies.learnt import HALVES, RECIPES

TOLERANCES, MAY_BE_MISSING = learnt.TOLERANCES, learnt.MAY_BE_MISSING
ELIGIBLE = (
    *("fgn", "arfima", "ar2_period", "ar2_damping", "local_level", "drift", "seasonal_amplitude", "sine_noise"),
    *("square_duty", "chirp", "trend", "piecewise_trend", "quantised", "outliers", "stuck", "student_ar"),
    *("intermittent", "inar", "ingarch", "regimes", "logistic_map", "henon", "cascade"),
    *("gp_scale", "gp_tails", "gp_wandering_season", "gp_mixture"),
)
CHOSEN = tuple(ELIGIBLE[i] for i in sorted(np.random.default_rng(2025).permutation(len(ELIGIBLE))[:20]))
SKILLS = ("skill", "skill_one", "ridge", "ridge_one")


def grid(profile: str) -> list[FamilyNet]:
    """quick: two trunks. cpu, gpu: five trunks, three seeds, seed by seed."""
    if profile == "quick":
        return [FamilyNet("sine_noise", m, 0, t, profile) for m in ("t5", "patchtst") for t in (True, False)]
    trunks = RECIPES[profile].rates
    return [FamilyNet(f, m, s, t, profile) for s in range(3) for f in CHOSEN for m in trunks for t in (True, False)]


def run(config: FamilyNet, device: str = "cpu") -> list[dict]:
    """One row for each site: the rows of `families`, means over the knobs; of skills the geometric mean of errors."""
    rows = pd.DataFrame(families.run(config, device)).drop(columns="knob")
    rows[list(SKILLS)] = np.log1p(-rows[list(SKILLS)].astype(float))
    found = rows.groupby("site", sort=False).mean()
    found[list(SKILLS)] = -np.expm1(found[list(SKILLS)])
    return [{"site": site} | {name: short(value) for name, value in row.items()} for site, row in found.iterrows()]


def shares(
    table: pd.DataFrame,
    site: str,
    rng: np.random.Generator,
    measures: Sequence[str] = HALVES,
    draws: int = DRAWS,
) -> pd.DataFrame:
    """Which share of a measure's variance at a site goes with trunk, family, both and seed ("rest"), and its interval.

    `effects.variance_sources` for each `without` (a trunk left out, or "none") and network, trained or not. A share
    that moves with one trunk is that trunk's.
    """
    rows, found = table[table.site == site], {}
    for without in ("none", *table.model.unique()):
        for trained, part in rows[rows.model != without].groupby("trained"):
            own = variance_sources(part, measures, rng, draws).set_index(["measure", "part"])
            found[without, "trained" if trained else "untrained"] = own
    return pd.concat(found, names=["without", "network"]).reset_index()


def skill_by_trunk(table: pd.DataFrame) -> pd.DataFrame:
    """Skill over the horizon: a row a family, a column a trunk, and `ridge`; geometric means over seeds."""
    rows = table[table.trained & (table.site == "read")]
    logs = np.log1p(-rows[["skill", "ridge"]]).assign(family=rows.family, model=rows.model)
    found = logs.groupby(["family", "model"]).skill.mean().unstack().join(logs.groupby("family").ridge.mean())
    return -np.expm1(found)
