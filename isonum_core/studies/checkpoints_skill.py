"""Where a language model forecasts better than its rivals: differences by family, and what was expected of them.

Written before the table `checkpoints_forecasts` was run; what pilots had shown stands there. The unit is a family or a
real set: the mean over its series. Series of which more than half of the judged levels are outermost are left out.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from isonum_core.lab.expectation import Expectation, Verdict
from isonum_core.prose import interval
from isonum_core.statistics.contrasts import paired_t
from isonum_core.statistics.intervals import decided
from isonum_core.worlds.families import FAMILIES

NAIVE = ("walk", "marginal", "seasonal")
MAPS = ("logistic_map", "henon")
ROUNDING = 1 / 12  # variance of a value that is rounded to a level: no error of points is read below it


def against(table: pd.DataFrame, rival: str, score: str = "nll") -> pd.DataFrame:
    """SmolLM2 minus a rival, a row a family or set: `mean` over its series, `least` and `most` of them, `kind`.

    nll: nats a value; mse_one and mse_eight: log of the ratio of squared errors, each with ROUNDING added. Below zero
    the language model is ahead. kind: "told" where the past tells the next value, "untold" where it does not, "real".
    """
    rows = table[table.outermost <= 0.5]
    values = rows[score] if score == "nll" else np.log(rows[score] + ROUNDING)
    wide = rows.assign(value=values).pivot(index=["family", "knob", "seed"], columns="reader", values="value")
    of_each = (wide["smollm2"] - wide[rival]).groupby(["family", "knob"], sort=False)
    found = of_each.agg(mean="mean", least="min", most="max").reset_index()
    return found.assign(kind=[_kind(*row) for row in zip(found.family, found.knob, strict=True)])


def with_best(table: pd.DataFrame, score: str, rivals: tuple[str, ...] = NAIVE, name: str = "naive") -> pd.DataFrame:
    """The table with one reader more: on each series the best of the rivals in `score`, known in hindsight."""
    best = table[table.reader.isin(rivals)].groupby(["family", "knob", "seed", "outermost"], sort=False)[score].min()
    return pd.concat([table, best.reset_index().assign(reader=name)], ignore_index=True)


def above_zero(differences: pd.Series) -> Verdict:
    """Whether their mean is above zero, by Student's 95 % interval; undecided where one is missing."""
    if differences.isna().any():
        return Verdict(None, "values are missing")
    row = paired_t(differences)
    return Verdict(bool(row.low > 0), interval(row.mean, row.low, row.high))


def _kind(family: str, knob: float) -> str:
    if family not in FAMILIES:
        return "real"
    return "told" if FAMILIES[family].predictable(knob) else "untold"


def _told(found: pd.DataFrame) -> pd.DataFrame:
    return found[found.kind != "untold"]


def _ahead_on_maps(table: pd.DataFrame) -> Verdict:
    found = against(table, "ridge").set_index("family").reindex(MAPS)
    words = ", ".join(f"{name} {row['mean']:+.2f}, at most {row.most:+.2f}" for name, row in found.iterrows())
    return Verdict(decided((found.most < 0).all(), *found.most), words)


def _behind_ridge(table: pd.DataFrame) -> Verdict:
    found = _told(against(table, "ridge"))["mean"]
    verdict = above_zero(found)
    return verdict._replace(found=f"{verdict.found}; ahead on {(found < 0).sum()} of {len(found)}")


def _share_ahead(rival: str, least: float) -> Callable[[pd.DataFrame], Verdict]:
    def judge(table: pd.DataFrame) -> Verdict:
        found = _told(against(with_best(table, "nll"), rival))["mean"]
        return Verdict(decided((found < 0).mean() >= least, *found), f"{(found < 0).sum()} of {len(found)}")

    return judge


def _nothing_to_tell(table: pd.DataFrame) -> Verdict:
    found = against(table, "ridge").pipe(lambda t: t[t.kind == "untold"])
    words = ", ".join(f"{name} {value:+.2f}" for name, value in zip(found.family, found["mean"], strict=True))
    return Verdict(decided((found["mean"] > 0).all(), *found["mean"], found["mean"].mean()), words or "none")


def _like_an_analogue(table: pd.DataFrame) -> Verdict:
    """Over families: ahead of ridge where a reader is that does nothing but look for like pasts?"""
    gain = _told(against(table, "ridge")).set_index("family")["mean"]
    analogue = gain - _told(against(table, "analogue")).set_index("family")["mean"]
    rho = gain.corr(analogue, "spearman")
    return Verdict(decided(rho > 0.5, rho), f"Spearman {rho:+.2f} over {len(gain)}")


def _fracast_on_seasons(table: pd.DataFrame) -> Verdict:
    found = _told(against(table, "fracast", "mse_one"))
    seasonal = [f in FAMILIES and FAMILIES[f].season(k) > 1 for f, k in zip(found.family, found.knob, strict=True)]
    behind = found["mean"][seasonal] > 0
    return Verdict(decided(behind.mean() > 0.5, behind.mean()), f"{behind.sum()} of {len(behind)}")


def _worse_further_ahead(table: pd.DataFrame) -> Verdict:
    one, eight = (
        _told(against(table, "ridge", score)).set_index("family")["mean"] for score in ("mse_one", "mse_eight")
    )
    return above_zero(eight - one)


EXPECTED = (
    Expectation("SmolLM2 is ahead of ridge in NLL on every draw of the logistic and the Henon map", _ahead_on_maps),
    Expectation("In the mean over families and sets where the past tells something it is behind ridge", _behind_ridge),
    Expectation("It is ahead of the best naive law on at least three quarters of them", _share_ahead("naive", 0.75)),
    Expectation("Where the past tells nothing it is behind ridge on every family", _nothing_to_tell),
    Expectation(
        "It gains on ridge where a reader gains that only looks for like pasts (Spearman above 0.5 over families)",
        _like_an_analogue,
    ),
    Expectation("On most families with a season fracast errs less one step ahead", _fracast_on_seasons),
    Expectation("Against ridge it does worse at eight steps than at one", _worse_further_ahead),
)
