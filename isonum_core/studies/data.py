"""What the data does: one model for each family of series and seed, and its untrained twin, measured knob by knob.

Fixed before the first run. The state: the one that the heads read. The checkpoint: the last. The errors: nll, and the
error ratio 1 - skill. Families without skill enter no relation to error. Each correlation with error stands beside
that of the untrained twin and of the raw windows; intervals come from a crossed bootstrap over families and
seeds; the contrasts that are read together are corrected by Holm.

EXPECTED was written before the first run of this study, from the theory (both halves are gauge), but not blindly: in
pilots with another network (ten kernels, 300 and 1000 steps) IsoScore of the untrained twin had gone with the trained
NLL at +.96 and +.99, and the sign of IsoScore's relation to NLL had differed from family to family (+.9 on AR and fGn,
-.9 on fBm). The first and the fourth expectation repeat what those pilots showed. Both are easy to meet: an interval
that holds zero meets the first, and one family of each sign the fourth, as unrelated curves over five knobs nearly
always have (the tests simulate it).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from isonum_core.lab.expectation import Expectation, Verdict
from isonum_core.networks.patched import Patched
from isonum_core.prose import interval
from isonum_core.statistics.intervals import decided, sides
from isonum_core.studies import portrait
from isonum_core.studies.effects import halves
from isonum_core.studies.portrait import COLUMNS, JUMPY, SIZES, TEST, TRAIN, among, network
from isonum_core.studies.relations import relations, sign_by_family
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


class Evidence(NamedTuple):
    """What judges the expectations: `relations`, `effects.halves`, `sign_by_family`, and a column of the table."""

    relations: pd.DataFrame
    halves: pd.DataFrame
    signs: pd.DataFrame
    cluster_cosine: pd.Series


def evidence(table: pd.DataFrame) -> Evidence:
    """The same from the same table: resamples start from seed 0, and are few, so an end is known to about .05."""
    starts = (np.random.default_rng(0) for _ in range(3))
    return Evidence(
        relations(table, next(starts), draws=400),
        halves(table, next(starts), draws=500).set_index(["kind", "network"]),
        sign_by_family(table, "iso_score", "ratio", next(starts), draws=300),
        table.cluster_cosine.dropna(),
    )


def near_zero(evidence: Evidence) -> float:
    """Share of the cluster-centred cosines within 0.05 of zero."""
    return float((evidence.cluster_cosine.abs() <= 0.05).mean())


def _no_closer(evidence: Evidence) -> Verdict:
    rows = _of(evidence, "iso_score")
    twin, raw = (rows.loc[f"|trained| - |{name}|"] for name in ("untrained", "input"))
    found = f"closer than the twin by {_printed(twin)}, than the raw windows by {_printed(raw)}"
    return Verdict(decided(max(twin.low, raw.low) <= 0, twin.low, raw.low), found)


def _reports_nothing(evidence: Evidence) -> Verdict:
    near, row = near_zero(evidence), _of(evidence, "cluster_cosine").loc["trained"]
    held = near > 0.95 and row.low <= 0 <= row.high
    return Verdict(decided(held, near, row.low, row.high), f"{near:.1%} of rows; between families {_printed(row)}")


def _two_numbers(evidence: Evidence) -> Verdict:
    row = evidence.halves.loc[("between", "trained")]
    least, most = sorted((abs(row.low), abs(row.high)))
    both = least < 0.5 < most
    found = _printed(row) + (": the interval holds both" if both else "")
    return Verdict(None if both else decided(most < 0.5, least, most), found)


def _sign_differs(evidence: Evidence) -> Verdict:
    own = evidence.signs[evidence.signs.predictor == "trained"]
    plus, minus, undecided = sides(own.low, own.high)
    found = f"{minus} families negative, {plus} positive, {undecided} undecided"
    return Verdict(minus > 0 and plus > 0 if len(own) else None, found)


def _of(evidence: Evidence, measure: str) -> pd.DataFrame:
    rows = evidence.relations
    return rows[(rows.kind == "between") & (rows.error == "ratio") & (rows.measure == measure)].set_index("predictor")


def _printed(row: pd.Series) -> str:
    return interval(row.rho, row.low, row.high)


EXPECTED = (
    Expectation(
        "Between families IsoScore of the trained state goes with the error ratio no more closely than that of the "
        "untrained twin or of the raw windows",
        _no_closer,
    ),
    Expectation(
        "The cluster-centred cosine stays within 0.05 of zero on nearly every row, and goes with no error",
        _reports_nothing,
    ),
    Expectation(
        "The two halves are two numbers: their rank correlation over families is below 0.5 in size", _two_numbers
    ),
    Expectation(
        "Within families the sign of the relation of IsoScore to error differs from family to family", _sign_differs
    ),
)
