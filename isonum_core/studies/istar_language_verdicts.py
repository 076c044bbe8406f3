"""What I-STAR did to a language model and to a sentence encoder, by weight; what was expected of it.

Written before the first row of `istar_language` existed; what had been seen by then stands there. That states become
rounder was written before ar1 was seen, where they did not. The way of averaging was set once two families had been
run. An effect is a difference to weight 0 of the same task and seed after the last step, in nats a label. Of SmolLM2
the sampled factor is the family (its seeds are averaged), of each task of MiniLM the seed; intervals are Student's.
Holm's family grew by the weights of 0.1, which came later.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from isonum_core.lab.expectation import Expectation, Verdict
from isonum_core.prose import interval
from isonum_core.statistics.contrasts import Contrast, holm, paired_t
from isonum_core.statistics.intervals import decided


def of_weights(table: pd.DataFrame, arm: str = "istar") -> pd.DataFrame:
    """The rows of one regulariser, with its `weight`; those of weight 0 are of all of them."""
    found = table[table.arm.isin((arm, "none"))] if "arm" in table else table
    return found.rename(columns={"value": "weight"})


def moved_by(table: pd.DataFrame, value: str, weight: float | None = None) -> pd.DataFrame:
    """How a value differs after the last step: from weight 0, or (None) weight 0 from before it began.

    A row a pair, with `task`, `what` (the group whose pairs are alike) and the difference `by`; of `longest` the log of
    the ratio.
    """
    table = of_weights(table)
    table = table.assign(**{value: np.log(table[value])}) if value == "longest" else table
    end = table[table.step == table.groupby("model").step.transform("max")]
    plain = end[end.weight == 0]
    one, two = (
        (plain, table[(table.step == 0) & (table.weight == 0)])
        if weight is None
        else (end[end.weight == weight], plain)
    )
    pair = ["model", "task", "seed"]
    by = (one.set_index(pair)[value] - two.set_index(pair)[value]).rename("by").reset_index()
    families = by[by.model == "smollm2"].groupby(["model", "task"], as_index=False).by.mean()
    found = pd.concat([families, by[by.model != "smollm2"]])
    return found.assign(what=np.where(found.model == "smollm2", "smollm2", found.task))


def effects_on(table: pd.DataFrame, value: str = "nll") -> pd.DataFrame:
    """Effect of each weight on each group, by (what, weight): Student's t over its pairs, Holm over all.

    Where no pair differs (a share of wrong labels, at small weights) the interval is that one number and p is 1.
    """
    found = {}
    for weight in sorted(set(of_weights(table).weight) - {0.0}):
        for what, rows in moved_by(table, value, weight).groupby("what"):
            found[what, weight] = paired_t(rows.by) if rows.by.any() else Contrast(0.0, 0.0, 0.0, 1.0, len(rows))
    frame = pd.DataFrame(found.values(), index=pd.MultiIndex.from_tuples(found, names=["what", "weight"]))
    return frame.assign(p_holm=holm(frame.p)).sort_index()


def adapted(table: pd.DataFrame, value: str) -> pd.DataFrame:
    """How tuning with weight 0 moved a value of each group, from before the first step to after the last."""
    found = {what: paired_t(rows.by) for what, rows in moved_by(table, value).groupby("what")}
    return pd.DataFrame(found.values(), index=[*found])


def _printed(row: pd.Series, digits: int = 3) -> str:
    return interval(row["mean"], row.low, row.high, digits)


def _adapts(value: str, sign: int):
    def judge(table: pd.DataFrame) -> Verdict:
        row = adapted(table, value).loc["smollm2"]
        return Verdict(decided(sign * row.low > 0 and sign * row.high > 0, row.low), _printed(row, 4))

    return judge


def _no_new_sink(table: pd.DataFrame) -> Verdict:
    row = adapted(table, "longest").loc["smollm2"]
    return Verdict(decided(row.high < np.log(1.5), row.high), _printed(row, 2))


def _all_follow(table: pd.DataFrame) -> Verdict:
    rows = effects_on(table, "iso_score")
    words = "; ".join(f"{what} {w:+g}: {_printed(row, 4)}" for (what, w), row in rows.iterrows() if abs(w) == 5)
    up, down = rows.xs(5.0, level="weight"), rows.xs(-5.0, level="weight")
    return Verdict(decided((up.low > 0).all() and (down.high < 0).all(), *rows.low), words)


def _dear_for_its_own_head(table: pd.DataFrame) -> Verdict:
    row = effects_on(table).loc["smollm2", 5.0]
    return Verdict(decided(row["mean"] > 0 and row.p_holm < 0.05, row.p_holm), _printed(row, 4))


def _another_dose(table: pd.DataFrame) -> Verdict:
    rows = effects_on(table).loc["smollm2"].loc[[-0.3, 0.3]]
    words = "; ".join(f"{w:+g}: {_printed(row, 4)}" for w, row in rows.iterrows())
    return Verdict(decided((rows.low > -0.005).all() and (rows.high < 0.005).all(), *rows.low), words)


def _majority(table: pd.DataFrame) -> Verdict:
    rows = effects_on(table).query("weight in (-0.3, -5)")
    better, worse = int((rows.high < 0).sum()), int((rows.low > 0).sum())
    words = f"of {len(rows)}: {better} better, {worse} worse, the rest not decided"
    return Verdict(bool(better < len(rows) / 2), words)


EXPECTED = (
    Expectation("Tuned on a family without a weight, SmolLM2 tells new series of it better (NLL)", _adapts("nll", -1)),
    Expectation("and the states that its head reads become rounder (IsoScore)", _adapts("iso_score", 1)),
    Expectation("and no sink is made: the longest token grows by less than half, over the median", _no_new_sink),
    Expectation("Everywhere IsoScore follows the weight: up at 5, down at -5", _all_follow),
    Expectation(
        "A weight of 5 raises the NLL of SmolLM2, whose head stays and must still be met (Holm)", _dear_for_its_own_head
    ),
    Expectation("Weights of 0.3 and -0.3 move the NLL of SmolLM2 by less than 0.005 nats a digit", _another_dose),
    Expectation(
        "Decreasing isotropy (-0.3, -5) lowers the NLL surely in fewer than half of the groups and weights", _majority
    ),
)
