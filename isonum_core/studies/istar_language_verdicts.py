"""What I-STAR did to a language model and to a sentence encoder, by weight and by task; what was expected of it.

Written before the first row of `istar_language` existed; what had been seen by then stands there. That states become
rounder was written before ar1 was seen, where they did not. An effect is a
difference to weight 0 of the same task and seed after the last step, in nats a label. Intervals: crossed t over tasks
and seeds; of one task, Student's over its seeds.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from isonum_core.lab.expectation import Expectation, Verdict
from isonum_core.prose import interval
from isonum_core.statistics.contrasts import Contrast, crossed_t, holm, paired_t
from isonum_core.statistics.intervals import decided

MODELS = ("smollm2", "minilm")


def moved_by(table: pd.DataFrame, model: str, value: str, weight: float | None = None) -> pd.DataFrame:
    """How a value differs after the last step, tasks by seeds: from weight 0, or (None) weight 0 from before it began.

    `length` and `longest`: the log of the ratio.
    """
    rows = table[table.model == model]
    end, first = rows[rows.step == rows.step.max()], rows[rows.step == 0]
    plain = end[end.weight == 0]
    one, two = (plain, first[first.weight == 0]) if weight is None else (end[end.weight == weight], plain)
    a, b = (t.pivot(index="task", columns="seed", values=value) for t in (one, two))
    return np.log(a / b) if value in ("length", "longest") else a - b


def effects_by_weight(table: pd.DataFrame, value: str = "nll") -> pd.DataFrame:
    """Mean effect of each weight in each model, by (model, weight): crossed t over tasks and seeds, Holm over all."""
    weights = sorted(set(table.weight) - {0.0})
    found = {
        (model, weight): crossed_t(moved_by(table, model, value, weight).to_numpy())
        for model in MODELS
        for weight in weights
    }
    frame = pd.DataFrame(found.values(), index=pd.MultiIndex.from_tuples(found, names=["model", "weight"]))
    return frame.assign(p_holm=holm(frame.p))


def effects_by_task(table: pd.DataFrame, value: str = "nll") -> pd.DataFrame:
    """Of each model, task and weight: mean, low, high and p over its seeds; Holm over all."""
    found = []
    for model in MODELS:
        for weight in sorted(set(table.weight) - {0.0}):
            for task, row in moved_by(table, model, value, weight).iterrows():
                found.append(dict(model=model, task=task, weight=weight) | paired_t(row)._asdict())
    return pd.DataFrame(found).assign(p_holm=lambda rows: holm(rows.p))


def adapted(table: pd.DataFrame, value: str, model: str = "smollm2") -> Contrast:
    """How tuning with weight 0 moved a value, from before the first step to after the last."""
    return crossed_t(moved_by(table, model, value).to_numpy())


def _printed(row: Contrast | pd.Series, digits: int = 3) -> str:
    mean = row.mean if isinstance(row, Contrast) else row["mean"]
    return interval(mean, row.low, row.high, digits)


def _adapts(value: str, sign: int):
    def judge(table: pd.DataFrame) -> Verdict:
        row = adapted(table, value)
        return Verdict(decided(sign * row.low > 0 and sign * row.high > 0, row.low), _printed(row))

    return judge


def _no_new_sink(table: pd.DataFrame) -> Verdict:
    row = adapted(table, "longest")
    return Verdict(decided(row.high < np.log(1.5), row.high), _printed(row, 2))


def _both_follow(table: pd.DataFrame) -> Verdict:
    rows = effects_by_weight(table, "iso_score")
    words = "; ".join(f"{m} {w:+g}: {_printed(row)}" for (m, w), row in rows.iterrows() if abs(w) == 5)
    up, down = rows.xs(5.0, level="weight"), rows.xs(-5.0, level="weight")
    return Verdict(decided((up.low > 0).all() and (down.high < 0).all(), *rows.low), words)


def _dear_for_its_own_head(table: pd.DataFrame) -> Verdict:
    row = effects_by_weight(table).loc["smollm2", 5.0]
    return Verdict(decided(row["mean"] > 0 and row.p_holm < 0.05, row.p_holm), _printed(row))


def _another_dose(table: pd.DataFrame) -> Verdict:
    rows = effects_by_weight(table).loc[[("smollm2", -0.3), ("smollm2", 0.3)]]
    words = "; ".join(f"{w:+g}: {_printed(row, 4)}" for (_, w), row in rows.iterrows())
    return Verdict(decided((rows.low > -0.005).all() and (rows.high < 0.005).all(), *rows.low), words)


def _good_for_labels(table: pd.DataFrame) -> Verdict:
    row, wrong = (effects_by_weight(table, value).loc["minilm", 0.3] for value in ("nll", "wrong"))
    words = f"NLL {_printed(row)}, wrong {_printed(wrong)}"
    return Verdict(decided(row["mean"] < 0 and wrong.low < 0 < wrong.high, row.low, wrong.low), words)


def _majority(table: pd.DataFrame) -> Verdict:
    rows = effects_by_task(table).query("weight < 0")
    better, worse = int((rows.high < 0).sum()), int((rows.low > 0).sum())
    words = f"of {len(rows)}: {better} better, {worse} worse, the rest not decided"
    return Verdict(bool(better < len(rows) / 2), words)


EXPECTED = (
    Expectation("Tuned on a family without a weight, SmolLM2 tells new series of it better (NLL)", _adapts("nll", -1)),
    Expectation("and the states that its head reads become rounder (IsoScore)", _adapts("iso_score", 1)),
    Expectation("and no sink is made: the longest token grows by less than half, over the median", _no_new_sink),
    Expectation("In both models IsoScore follows the weight: up at 5, down at -5", _both_follow),
    Expectation(
        "A weight of 5 raises the NLL of SmolLM2, whose head stays and must still be met (Holm)", _dear_for_its_own_head
    ),
    Expectation("Weights of 0.3 and -0.3 move the NLL of SmolLM2 by less than 0.005 nats a digit", _another_dose),
    Expectation(
        "A weight of 0.3 lowers the NLL of MiniLM in the mean and does not surely change which labels are right",
        _good_for_labels,
    ),
    Expectation("Decreasing isotropy (-0.3, -5) lowers the NLL in fewer than half of the tasks and weights", _majority),
)
