"""Was the effect of I-STAR forecast? Cells, predictors and their rivals, and what was expected of the studies.

Written after the half `build` of study `istar` was seen and before any row of `held` or of `istar_controls` existed.
An effect is the log of an error over that of weight 0, same target, windows, seed and step. A cell is target, n, step
and weight; its effect is the mean over seeds, decided where Student's 95 % interval over seeds leaves out zero; clear
where it lies beyond two standard deviations of the seeds, which is stricter. "Decided" was set after part of `build`
was seen. Changed after rows of `held` were seen: scores of fewer cells than the rule of `enough`, which stood before,
are not computed, where that raised an error. No verdict and no threshold was changed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats
from scipy.stats import spearmanr

from isonum_core.lab.expectation import Expectation, Verdict
from isonum_core.prose import interval
from isonum_core.statistics.contrasts import crossed_t, holm
from isonum_core.statistics.intervals import crossed_intervals, decided
from isonum_core.studies.istar_forecast import dose

RUN = ["part", "depth", "n", "seed", "target", "step"]
CELL = ["n", "target", "step", "weight"]
# What each says of the effect, up to a positive factor. The probe has seen a tenth of the run with the regulariser on;
# "less isotropy" is the abstract of arXiv 2305.19358 (a weight below zero helps). The majority sign has accuracy .5.
# `istar_again` judges a "second" forecast, before these: the first of those that a table has leads or not.
PREDICTORS = ("forecast", "alignment", "less isotropy", "probe")
LOOKED_AT = ("log_length", "mean_share", "iso_score", "log_error")
# Ways to act: arms of the controls and the values among which validation chooses.
WAYS = {
    "weight > 0": ("istar", (0.03, 0.1, 0.3, 1.0)),
    "weight < 0": ("istar", (-0.03, -0.1, -0.3, -1.0)),
    "weight decay": ("weight_decay", (0.1, 0.3, 1.0, 3.0)),
    "dropout": ("dropout", (0.05, 0.1, 0.2, 0.4)),
    "rate": ("rate", (0.1, 0.3, 0.6, 2.0)),
    "CosReg": ("cosreg", (-0.3, -0.1, 0.1, 0.3)),
    "mean share": ("mean_share", (-0.3, -0.1, 0.1, 0.3)),
}


def effects(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of `istar` with weight and after the first mark, each with its `effect` and what PREDICTORS say of it.

    `fit` is the log of the error of weight 0 over its least at any mark: above zero, the run has over-fitted.
    """
    base = table[table.weight == 0].set_index(RUN)
    least = base.error.groupby([name for name in RUN if name != "step"]).min()
    found = table[table.weight != 0].join(base[["error", "valid"]].add_suffix("_0"), on=RUN)
    own = [name for name in RUN if name != "step"]
    found = found.join(least.rename("least"), on=own)
    found = found.assign(effect=np.log(found.error / found.error_0), fit=np.log(found.error_0 / found.least))
    begun = found.step == found.groupby("depth").step.transform("min")
    probes = found.assign(probe=np.log(found.valid / found.valid_0))[begun]
    doses = found.weight.map(dose)
    said = {name: doses * found[name] for name in ("second", "forecast") if name in found}
    found = found.assign(**said, **{"alignment": -doses * found["index"], "less isotropy": doses})
    found = found.join(probes.set_index([*own, "weight"]).probe, on=[*own, "weight"])
    return found[~begun].reset_index(drop=True)


def _told(table: pd.DataFrame) -> list[str]:
    """The predictors of a table, the one to judge first."""
    return ["second"] * ("second" in table) + [*PREDICTORS]


def cells(effects: pd.DataFrame) -> pd.DataFrame:
    """One row a cell of one part and depth: mean effect over seeds, `sd`, decided or clear, and what was said of it."""
    groups = effects.groupby(CELL)
    found = groups[["effect", "fit", "iso_score", *_told(effects)]].mean().assign(sd=groups.effect.std())
    size, seeds = found.effect.abs() / found.sd, groups.effect.count()
    return found.assign(decided=size > stats.t.ppf(0.975, seeds - 1) / np.sqrt(seeds), clear=size > 2).reset_index()


def hits(found: pd.DataFrame) -> dict[tuple[str, str], float]:
    """Of each predictor the balanced sign accuracy and rank correlation over cells; the lead of the first in both."""
    up, scores, names = found.effect > 0, {}, _told(found)
    for name in names:
        right = (found[name] > 0) == up
        balanced = (right[up].mean() + right[~up].mean()) / 2
        scores |= {(name, "sign"): balanced, (name, "rank"): spearmanr(found[name], found.effect)[0]}
    pairs = [(name, what) for name in names[1:] for what in ("sign", "rank")]
    return scores | {(name, f"lead {what}"): scores[names[0], what] - scores[name, what] for name, what in pairs}


def forecasts(
    effects: pd.DataFrame, rng: np.random.Generator, draws: int = 400, which: str = "decided"
) -> pd.DataFrame:
    """`hits` over the `which` cells of one part and depth, with 95 % bootstrap crossed over targets and seeds."""
    chosen = cells(effects).set_index(CELL)[which]
    rows = effects.assign(decided=chosen.reindex(pd.MultiIndex.from_frame(effects[CELL])).to_numpy())
    rows = rows.loc[rows.decided, [*CELL, "seed", "effect", *_told(rows)]]

    def statistics(rows: pd.DataFrame) -> dict[tuple[str, str], float]:
        return hits(rows.groupby(CELL)[["effect", *_told(rows)]].mean())

    return crossed_intervals(rows, statistics, rng, ["target", "seed"], draws).rename_axis(["predictor", "what"])


def tuned(controls: pd.DataFrame, ways: dict[str, tuple] = WAYS) -> pd.DataFrame:
    """Log error of each way to act at the value that validation prefers, over that of plain training to the last step.

    One row for each (way, stop, n, target, seed), with the `value` chosen; way "nothing" at stop "best" is early
    stopping alone. Doing nothing is not among the values, so a way that only harms shows.
    """
    keys, parts = ["n", "target", "seed"], [controls[controls.arm == "none"].assign(way="nothing")]
    for way, (arm, values) in ways.items():
        rows = controls[(controls.arm == arm) & controls.value.isin(values)]
        best = rows.reset_index(drop=True)
        parts.append(best.loc[best.groupby([*keys, "stop"]).valid.idxmin()].assign(way=way))
    found = pd.concat(parts)
    plain = found[(found.way == "nothing") & (found.stop == "last")].set_index(keys).error
    return found.assign(effect=np.log(found.error / plain.reindex(pd.MultiIndex.from_frame(found[keys])).to_numpy()))


def against_stopping(controls: pd.DataFrame) -> pd.DataFrame:
    """Each way with early stopping minus early stopping alone, by (n, way): crossed t over targets and seeds, Holm."""
    best = tuned(controls).query("stop == 'best'")
    wide = best.pivot(index=["n", "target", "seed"], columns="way", values="effect")
    lead = wide.drop(columns="nothing").sub(wide.nothing, axis=0)
    found = {(n, way): crossed_t(rows[way].unstack().to_numpy()) for n, rows in lead.groupby("n") for way in WAYS}
    frame = pd.DataFrame(found.values(), index=pd.MultiIndex.from_tuples(found, names=["n", "way"]))
    return frame.assign(p_holm=holm(frame.p))


def moved(controls: pd.DataFrame, arm: str, value: float) -> pd.DataFrame:
    """How an arm differs from plain training at the last step, a row each for LOOKED_AT: t over targets and seeds."""
    last = controls[controls.stop == "last"]
    last = last.assign(log_length=np.log(last.length), log_error=np.log(last.error))
    sides = ((arm, value), ("none", 0.0))
    one, two = (
        last[(last.arm == a) & (last.value == v)].set_index(["n", "target", "seed"])[[*LOOKED_AT]] for a, v in sides
    )
    apart = (one - two).groupby(["target", "seed"]).mean()
    return pd.DataFrame([crossed_t(apart[name].unstack().to_numpy()) for name in LOOKED_AT], index=list(LOOKED_AT))


class Acted(NamedTuple):
    """What the judges see: per-seed `effects` of the half held out, the table itself, and that of the controls."""

    table: pd.DataFrame
    effects: pd.DataFrame
    scores: dict[str, pd.DataFrame]  # by depth: `forecasts`
    controls: pd.DataFrame

    def cells(self, depth: str = "last") -> pd.DataFrame:
        return cells(self.effects[self.effects.depth == depth])

    @property
    def end(self) -> pd.DataFrame:
        """Cells of the last layer after the last step."""
        found = self.cells()
        return found[found.step == found.step.max()]


def acted(table: pd.DataFrame, controls: pd.DataFrame, rng: np.random.Generator, draws: int = 400) -> Acted:
    """The half held out, and the controls, ready to be judged."""
    held = table[table.part == "held"]
    found = effects(held)
    scores = {depth: forecasts(rows, rng, draws) for depth, rows in found.groupby("depth") if enough(cells(rows))}
    return Acted(held, found, scores, controls)


def enough(found: pd.DataFrame, which: str = "decided") -> bool:
    """Forty decided (or clear) cells, ten of each sign: with fewer a forecast is not judged."""
    up, many = int((found.effect[found[which]] > 0).sum()), int(found[which].sum())
    return min(up, many - up) >= 10 and many >= 40


def _forecast_holds(depth: str, sign: float, rank: float):
    def judge(found: Acted) -> Verdict:
        chosen = found.cells(depth).query("decided")
        up = int((chosen.effect > 0).sum())
        words = f"{up} decided cells up, {len(chosen) - up} down"
        if depth not in found.scores:
            return Verdict(None, f"{words}: too few")
        scores = found.scores[depth].loc["forecast"]
        words = f"sign {_printed(scores.loc['sign'])}, rank {_printed(scores.loc['rank'])}; {words}"
        return Verdict(bool(scores.value["sign"] >= sign and scores.value["rank"] >= rank), words)

    return judge


def _forecast_leads(found: Acted) -> Verdict:
    leads = found.scores["last"].xs("lead rank", level="what")
    words = "; ".join(f"{name} {_printed(row)}" for name, row in leads.iterrows())
    return Verdict(decided((leads.low > 0).all(), *leads.low), words)


def _order_of_blocks(found: Acted) -> Verdict:
    end = found.end.query("weight == 0.3 and n == 512").set_index("target")
    top, bottom = end.loc["b0-2"], end.loc["b20-32"]
    held = top.decided and top.effect > 0 and bottom.decided and bottom.effect < 0
    return Verdict(decided(held, top.effect, bottom.effect), f"top {_cell(top)}, bottom {_cell(bottom)}")


def _negative_helps_late(found: Acted) -> Verdict:
    rows = found.effects.query("depth == 'last' and weight == -0.3")
    rows = rows[rows.step == rows.step.max()]
    rho = crossed_intervals(
        rows[["n", "target", "seed", "effect", "fit"]],
        lambda t: {"rho": _over_cells(t)},
        np.random.default_rng(0),
        ["target", "seed"],
        400,
    ).loc["rho"]
    return Verdict(decided(rho.high < 0, rho.high), _printed(rho))


def _over_cells(rows: pd.DataFrame) -> float:
    means = rows.groupby(["n", "target"])[["effect", "fit"]].mean()
    return spearmanr(means.effect, means.fit)[0]


def _stopping_is_enough(found: Acted) -> Verdict:
    rows = against_stopping(found.controls).xs("weight < 0", level="way")
    words = "; ".join(f"n = {n}: {interval(row['mean'], row.low, row.high, 3)}" for n, row in rows.iterrows())
    return Verdict(decided(not ((rows["mean"] < 0) & (rows.p_holm < 0.05)).any(), *rows.p_holm), words)


def _states_shrink(found: Acted) -> Verdict:
    gaming = moved(found.controls, "istar_identity", 1.0).loc["log_length"]
    safe = moved(found.controls, "istar", 1.0).loc["log_length"]
    words = f"C0 = I {_three(gaming)}, scale-safe {_three(safe)}"
    return Verdict(decided(gaming.high < np.log(0.9) and safe.low > np.log(0.9), gaming.high, safe.low), words)


def _halves_apart(found: Acted) -> Verdict:
    cosine, star = moved(found.controls, "cosreg", 0.3), moved(found.controls, "istar", 0.3)
    held = cosine.high["mean_share"] < -0.02 and cosine.low["iso_score"] > -0.02 and cosine.high["iso_score"] < 0.02
    held = held and star.low["iso_score"] > 0.1
    words = f"CosReg: mean share {_three(cosine.loc['mean_share'])}, IsoScore {_three(cosine.loc['iso_score'])}"
    return Verdict(
        decided(held, *cosine.low, *cosine.high), words + f"; I-STAR: IsoScore {_three(star.loc['iso_score'])}"
    )


def _dimension_follows(found: Acted) -> Verdict:
    last = found.table.query("depth == 'last'").dropna(subset="two_nn")
    own = last.groupby(["n", "seed", "target"]).apply(
        lambda t: spearmanr(t.iso_score, t.two_nn)[0], include_groups=False
    )
    row = crossed_t(own.groupby(["target", "seed"]).mean().unstack().to_numpy())
    return Verdict(decided(row.low > 0.5, row.low), interval(row.mean, row.low, row.high))


def _majority(found: Acted) -> Verdict:
    ends = pd.concat([rows[rows.step == rows.step.max()] for rows in map(found.cells, ("last", "all"))])
    rows = ends[ends.weight.isin([-0.1, -0.3])]
    better, worse = (int((rows.decided & (side * rows.effect > 0)).sum()) for side in (-1, 1))
    words = f"of {len(rows)}: {better} better, {worse} worse, the rest not decided"
    return Verdict(bool(better < len(rows) / 2), words)


def _printed(row: pd.Series) -> str:
    return interval(row.value, row.low, row.high)


def _three(row: pd.Series) -> str:
    return interval(row["mean"], row.low, row.high)


def _cell(row: pd.Series) -> str:
    return f"{row.effect:+.2f} (sd {row.sd:.2f})"


EXPECTED = (
    Expectation(
        "Last layer: over decided held-out cells the forecast has a balanced sign accuracy of at least .8 and a rank "
        "correlation of at least .6",
        _forecast_holds("last", 0.8, 0.6),
    ),
    Expectation(
        "and a larger rank correlation than alignment alone, less isotropy and an early probe", _forecast_leads
    ),
    Expectation("All layers: at least .7 and .4", _forecast_holds("all", 0.7, 0.4)),
    Expectation(
        "Weight 0.3 (n = 512, last step) raises the error of the top block and lowers the bottom's", _order_of_blocks
    ),
    Expectation(
        "Weight -0.3 helps the more, the more weight 0 has over-fitted (rank correlation below 0)", _negative_helps_late
    ),
    Expectation("and nothing beyond early stopping, at equal tuning", _stopping_is_enough),
    Expectation(
        "With C0 = I states shrink by more than a tenth at weight 1, with the scale-safe C0 they do not", _states_shrink
    ),
    Expectation(
        "CosReg lowers the mean share and leaves IsoScore within 0.02; I-STAR raises it by more than 0.1", _halves_apart
    ),
    Expectation(
        "Lower IsoScore goes with lower dimension (TwoNN) across weights: rank correlation above .5", _dimension_follows
    ),
    Expectation("Decreasing isotropy (weights -0.1, -0.3) lowers the error in fewer than half of the cells", _majority),
)
