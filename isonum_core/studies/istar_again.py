"""A second forecast of what I-STAR does, on targets and seeds that neither half of `istar` has; and weights of 0.01.

The first forecast missed its marks on the half `held`: decided errors that were to fall and rose, most of them where
the run has over-fitted. It knows what n windows teach from expectations: c_k^2 less chance, s^2 phi^2 / n. The second
one takes what *these* windows teach: `theory.readout.istar_effect`, the slope of the log of generalised
cross-validation under the regulariser's pull, for a ridge of the same kappa. Where targets are judged without their
noise, the noise is taken out of that error, of which a twentieth stays at least. One number is free, as before: how
much faster body and head learn than the head alone.

Chosen on the half `build`, among two filters (ridge, early stopping), with and without the noise, and nine speeds from
2 to 15 each, by the sum of sign accuracy and rank correlation over decided cells: .91 and .70, where the first forecast
has .86 and .57; over clear cells .94 and .73 for .84 and .41. A finite dose and the windows' other coordinates were
tried too and gave no more. `held` had been seen with the first forecast and not with this one. Networks, paces and
noise are those of `istar` with the last layer tuned. EXPECTED was committed before the first row.

The part `third` came when all of that had been read: too few cells were clear there. Sixteen targets and eight seeds
more, both forecasts as they stood; THIRD, which judges clear cells, was committed before the first row of it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from jaxtyping import Float
from torch import Tensor

from isonum_core.lab.expectation import Expectation, Verdict
from isonum_core.prose import interval
from isonum_core.statistics.contrasts import crossed_t
from isonum_core.statistics.intervals import decided
from isonum_core.studies import istar
from isonum_core.studies.istar import BUDGETS, Istar, rows_of, task
from isonum_core.studies.istar_forecast import adam_penalty, alignment
from isonum_core.studies.istar_stack import Way, path_length
from isonum_core.studies.istar_verdicts import cells, effects, enough, forecasts
from isonum_core.studies.proxy_readouts import place, slope_at_one
from isonum_core.theory.readout import aligned, gcv, istar_effect, ridge

BLOCKS = ("b0-6", "b1-4", "b2-8", "b6-14", "b12-24", "b14-22", "b18-32", "b22-28", "b28-32")
TARGETS = {
    "again": ("b0-4", "b4-10", "b10-18", "b18-26", "b26-32", "late", "jump", "zigzag", "far"),
    "third": (*BLOCKS, "half", "end", "energy", "drop", "peak", "positive", "ahead"),
}
FIRST_SEED = {"again": 60, "third": 70}
WEIGHTS = (0.0, 0.01, -0.01, *istar.WEIGHTS["last"][1:])
# All of it would be 1.6 MB: validation is kept at the first mark, where the probe reads it, IsoScore at the last mark,
# and where a cell lies on the map at the weight that stands there.
KEPT, ON_MAP = ("target", "weight", "step", "error", "valid", "iso_score", "index", "forecast"), 0.3
SPEED, LEAST = 6.0, 0.05
TOLERANCES = {name: tolerance for name, tolerance in istar.TOLERANCES.items() if name in KEPT}
TOLERANCES |= {name: {"cpu": 0.5, "cuda": 0.5} for name in ("second", "place", "slope")}
MAY_BE_MISSING = {"valid", "iso_score", "place", "slope"}


def grid(profile: str) -> list[Istar]:
    """quick: one. cpu: of each part eight seeds and two amounts of data. gpu: ten, and a third amount."""
    seeds, amounts = dict(quick=(1, (64,)), cpu=(8, (128, 512)), gpu=(10, (128, 512, 2048)))[profile]
    cells = [(part, n, FIRST_SEED[part] + seed) for part in TARGETS for seed in range(seeds) for n in amounts]
    return [Istar(part, "last", n, seed, profile) for part, n, seed in cells[: 1 if profile == "quick" else None]]


def provisional(config: Istar) -> set[str]:
    """All: as the study `istar`."""
    return set(TOLERANCES)


def run(config: Istar, device: str = "cpu") -> list[dict]:
    """The rows of `istar`, what the second forecast says, and where a cell lies on the map of `proxy`."""
    pace = BUDGETS[config.size, config.depth]
    arms = [(target, Way("istar", weight)) for target in TARGETS[config.part] for weight in WEIGHTS]
    rows = rows_of(config, pace.marks, arms, device)
    _, h, _, noised, noisy = task(config, TARGETS[config.part], device)
    said = {}  # by target and step
    for target, step in {(row["target"], row["step"]) for row in rows}:
        states, y = h[: config.n].cpu(), noised[target][: config.n].cpu()
        kappa = adam_penalty(alignment(states, y), pace.batch, path_length(pace.rate, pace.steps, step)) / SPEED
        taught = aligned(states, y[:, None])
        found = dict(second=second_forecast(states, y, kappa, target in noisy), place=float(place(taught)))
        found |= dict(slope=slope_at_one(taught, lambda l, kappa=kappa: ridge(kappa)))
        said[target, step] = {name: float(f"{value:.4g}") for name, value in found.items()}
    named = [{"weight" if k == "value" else k: v for k, v in row.items() if k != "arm"} for row in rows]
    return [_kept(row, said[row["target"], row["step"]], pace.marks) for row in named]


def _kept(row: dict, said: dict[str, float], marks: tuple[int, ...]) -> dict:
    first, last = (row["step"] == mark for mark in (marks[0], marks[-1]))
    here = dict(valid=first, iso_score=last) | dict.fromkeys(("place", "slope"), last and row["weight"] == ON_MAP)
    found = {name: row[name] for name in KEPT} | said
    return {name: value if here.get(name, True) else None for name, value in found.items()}


def second_forecast(h: Float[Tensor, "n d"], y: Float[Tensor, " n"], kappa: float, noisy: bool) -> float:
    """Change of log error for a unit of dose; `noisy` where the error is taken against targets with their noise."""
    a, readout = aligned(h, y[:, None]), ridge(kappa)
    (n, d), error = h.shape, float(gcv(a, readout))
    noise = float(a.targets.square().sum() - a.power.sum() * a.freedom) / (n - d - 1)
    return float(istar_effect(a, readout)) * error / max(error - (not noisy) * noise, LEAST * error)


def again(
    table: pd.DataFrame, part: str = "again", which: str = "decided", draws: int = 400
) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """Cells of a part, and scores of the predictors with intervals where enough cells are decided, or clear."""
    found = effects(table[table.part == part])
    own = cells(found)
    return own, forecasts(found, np.random.default_rng(0), draws, which) if enough(own, which) else None


def little(table: pd.DataFrame) -> pd.DataFrame:
    """Effect of the weights 0.01 and -0.01 at the last step: crossed t over targets and seeds, by n and weight."""
    rows = effects(table[table.part == "again"]).query("step == step.max() and abs(weight) == 0.01")
    found = {
        key: crossed_t(part.pivot(index="target", columns="seed", values="effect").to_numpy())
        for key, part in rows.groupby(["n", "weight"])
    }
    return pd.DataFrame(found.values(), index=pd.MultiIndex.from_tuples(found, names=["n", "weight"]))


def _over(part: str, which: str, name: str, judged: Callable[[pd.DataFrame, str, str], Verdict]):
    def judge(table: pd.DataFrame) -> Verdict:
        own, scores = again(table if name == "second" else table.drop(columns="second"), part, which)
        chosen = own[own[which]]
        words = f"{int((chosen.effect > 0).sum())} {which} cells up, {int((chosen.effect < 0).sum())} down"
        return Verdict(None, f"{words}: too few") if scores is None else judged(scores, name, words)

    return judge


def _holds(scores: pd.DataFrame, name: str, words: str) -> Verdict:
    sign, rank = (scores.loc[name, what] for what in ("sign", "rank"))
    words = f"sign {_printed(sign)}, rank {interval(rank.value, rank.low, rank.high, 3)}; {words}"
    return Verdict(bool(sign.value >= 0.8 and rank.value >= 0.6), words)


def _leads(scores: pd.DataFrame, name: str, words: str) -> Verdict:
    leads = scores.xs("lead rank", level="what")
    return Verdict(
        decided((leads.low > 0).all(), *leads.low),
        "; ".join(f"{rival} {_printed(row)}" for rival, row in leads.iterrows()),
    )


def _little(table: pd.DataFrame) -> Verdict:
    rows = little(table)
    words = "; ".join(
        f"n = {n}, {weight:+g}: {interval(row['mean'], row.low, row.high, 3)}" for (n, weight), row in rows.iterrows()
    )
    return Verdict(decided((rows.low > -0.01).all() and (rows.high < 0.01).all(), *rows.low), words)


def _printed(row: pd.Series) -> str:
    return interval(row.value, row.low, row.high)


EXPECTED = (
    Expectation(
        "Over decided cells the second forecast has a balanced sign accuracy of at least .8 and a rank correlation of "
        "at least .6",
        _over("again", "decided", "second", _holds),
    ),
    Expectation(
        "and a larger rank correlation than the first forecast and each of its rivals",
        _over("again", "decided", "second", _leads),
    ),
    Expectation("Weights of 0.01 and -0.01 move the mean log error by less than 0.01, at both n", _little),
)
THIRD = (
    Expectation(
        "Over clear cells of the third part the first forecast has a balanced sign accuracy of at least .8 and a rank "
        "correlation of at least .6",
        _over("third", "clear", "forecast", _holds),
    ),
    Expectation(
        "and a larger rank correlation than alignment alone, less isotropy and an early probe",
        _over("third", "clear", "forecast", _leads),
    ),
    Expectation("The second forecast has .8 and .6 there too", _over("third", "clear", "second", _holds)),
)
