"""Does a number of the states tell after how many steps of training, or at which site, a read-out will err least?

`proxy` compares sites of one network. Here the same worlds that it held out are read by the same small nets (t5,
patchtst) after LENGTHS steps of training; each length is a whole training, the rate falling to zero. Rows, natural
targets, numbers and the tuned ridge are those of `proxy` at `many`.

EXPECTED was written before any row. Of these nets at 0 and 300 steps all numbers of `proxy` had been seen but
Self-Cluster and the H-score, and of the lengths between none. Partition isotropy and the spectral risk came when all of
that had been read.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from scipy import stats

from isonum_core.lab.expectation import Expectation, Verdict
from isonum_core.prose import interval
from isonum_core.statistics.intervals import crossed_intervals, decided
from isonum_core.statistics.ranks import correlations
from isonum_core.studies.anatomy import short
from isonum_core.studies.learnt import CONTEXT
from isonum_core.studies.proxy import AMOUNTS, NETS, SERIES, TESTED, net_states, world_of
from isonum_core.studies.proxy_readouts import (
    FREE,
    LABELLED,
    Taught,
    filters_of,
    free_numbers,
    h_scores,
    log_me,
    risks,
    shares_of_gcv,
)

LENGTHS, SKILL = (0, 30, 100, 300), 0.9
NUMBERS = ("steps", *FREE, *LABELLED)  # "steps": the longer, the better
FACTORS = ["network", "world", "target"]
ALONG = {"steps": "site", "depth": "steps"}  # what a cell runs along, and what it holds fixed beside FACTORS
TOLERANCES = {name: {"cpu": 2e-2, "cuda": 2e-1} for name in (*NUMBERS[1:], "error")}
MAY_BE_MISSING = {"two_nn", "alpha"}


@dataclass(frozen=True)
class Length:
    """A net after so many steps on one world."""

    world: str
    network: str
    steps: int
    seed: int


def grid(profile: str) -> list[Length]:
    """quick: one twin. cpu: one seed. gpu: three."""
    if profile == "quick":
        return [Length("ar1", "patchtst", 0, 0)]
    seeds = range(3 if profile == "gpu" else 1)
    nets = [(world, network) for world in SERIES["held"] for network in NETS["held"]]
    return [Length(*net, steps, seed) for net in nets for steps in LENGTHS for seed in seeds]


def run(config: Length) -> list[dict]:
    """A row a site and target: NUMBERS of the rows that teach, and the tuned ridge's mean squared `error` on others."""
    many = AMOUNTS["net"][1]
    world = world_of(config.world, config.seed)
    context = world.rows[: many + TESTED, :CONTEXT]
    states = net_states(config.world, config.network, config.seed, config.steps, context)
    y = torch.from_numpy(np.column_stack([*world.targets.values()]))[: len(context)]
    y, rows = (y - y.mean(0)) / y.std(0), []
    for depth, (site, h) in enumerate(states.items()):
        taught = Taught.of(h[:many], y[:many])
        filters, left = filters_of(taught.cloud, "tuned")
        errors = {"train": slice(many), "error": slice(many, None)}
        found = {name: taught.misses(h[part], y[part], filters).square().mean(0) for name, part in errors.items()}
        found |= {"log_me": log_me(taught.cloud), "loo": left, "gcv": shares_of_gcv(taught.cloud, "tuned", even=False)}
        found |= {"h_score": h_scores(h[:many], y[:many]), "risk": risks(taught.cloud)}
        alike = free_numbers(h[:many])
        for j, target in enumerate(world.targets):
            own = alike | {name: float(values[j]) for name, values in found.items()}
            rows.append(
                dict(site=site, depth=depth, target=target) | {name: short(value) for name, value in own.items()}
            )
    return rows


def correlated(table: pd.DataFrame, along: str) -> pd.DataFrame:
    """One row a cell with skill: the rank correlation of each of NUMBERS with the error, along "steps" or "depth"."""
    found = []
    for key, part in table.groupby([*FACTORS, ALONG[along]]):
        if len(part) >= len(LENGTHS) and part.error.min() < SKILL:
            ranks = stats.rankdata(part[["error", *NUMBERS]].to_numpy(float), axis=0, nan_policy="propagate")
            found.append((*key, *correlations(ranks)[0, 1:]))
    return pd.DataFrame(found, columns=[*FACTORS, "fixed", *NUMBERS])


def means_of(table: pd.DataFrame, along: str, draws: int = 300) -> pd.DataFrame:
    """Means over the cells of `correlated`, with intervals crossed over FACTORS, by (number, how).

    how: "plain"; or "lead" of its size, the sign being that of the whole table, over that of steps: the order of the
    lengths alone. A number with gaps in a network, or that does not vary (steps along depth), is left out.
    """
    each = correlated(table, along)
    names = [name for name in NUMBERS if each.groupby("network")[name].count().min() > 0]
    signs = np.sign(each[names].mean())

    def means(rows: pd.DataFrame) -> dict[tuple[str, str], float]:
        mean = rows[names].mean()
        found = {(name, "plain"): mean[name] for name in names}
        leads = {(name, "lead"): signs[name] * mean[name] + mean["steps"] for name in names if along == "steps"}
        return found | {key: value for key, value in leads.items() if key[0] != "steps"}

    found = crossed_intervals(each[[*FACTORS, *names]], means, np.random.default_rng(0), FACTORS, draws)
    return found.rename_axis(["number", "how"]).sort_index()


def along_both(table: pd.DataFrame, draws: int = 300) -> dict[str, pd.DataFrame]:
    """`means_of` along "steps" and "depth", which EXPECTED is judged by."""
    return {along: means_of(table, along, draws) for along in ALONG}


def _between(along: str, number: str, holds, how: str = "plain"):
    def judge(found: dict[str, pd.DataFrame]) -> Verdict:
        row = found[along].loc[(number, how)]
        return Verdict(decided(holds(row), row.value), interval(row.value, row.low, row.high))

    return judge


def _none_leads(found: dict[str, pd.DataFrame]) -> Verdict:
    leads = found["steps"].xs("lead", level="how").drop(index=[*LABELLED])
    ahead = [number for number, row in leads.iterrows() if row.low > 0]
    return Verdict(not ahead, f"ahead: {', '.join(ahead) or 'none'}; {len(leads)} compared")


EXPECTED = (
    Expectation("Over the lengths of training no number without labels leads their mere order surely", _none_leads),
    Expectation(
        "There the mean rank correlation of IsoScore with the error is below .5 in size, with its interval",
        _between("steps", "iso_score", lambda row: -0.5 < row.low < row.high < 0.5),
    ),
    Expectation(
        "There that of leaving one out is .7 or more, with its interval",
        _between("steps", "loo", lambda row: row.low >= 0.7),
    ),
    Expectation(
        "Over sites that of Self-Cluster is below .5 in size, with its interval",
        _between("depth", "self_cluster", lambda row: -0.5 < row.low < row.high < 0.5),
    ),
    Expectation(
        "Over sites that of the H-score is below -.5, with its interval",
        _between("depth", "h_score", lambda row: row.high < -0.5),
    ),
    Expectation(
        "Over lengths the H-score leads their mere order surely",
        _between("steps", "h_score", lambda row: row.low > 0, "lead"),
    ),
)
