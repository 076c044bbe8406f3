"""I-STAR on text and from scratch beside its controls: the twins of the mean half, decay, dropout, rate, equal loss.

What `istar_controls` and `istar_equal_fit` ask of fine-tuned forecasters, asked of `istar_language` (groups smollm2,
praise, package) and `istar_scratch`. Every way has at most four values, among which validation examples choose, and
stops at the mark that they prefer. Errors are the NLL; an effect is its difference. Intervals are Student's, over
families of SmolLM2 (their seeds averaged) or over seeds.

Written after the rows of I-STAR without these controls had been read, and before any other arm, any weight of 0.1 on
text, or any validation loss had been seen. No pilots.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from isonum_core.lab.expectation import Expectation, Verdict
from isonum_core.prose import interval
from isonum_core.statistics.contrasts import holm, paired_t
from isonum_core.statistics.intervals import decided
from isonum_core.studies.istar_equal_fit import equal_fit
from isonum_core.studies.istar_verdicts import tuned

RUN = ["n", "target", "arm", "value", "seed"]
CALLED = {"smollm2": "SmolLM2", "praise": "MiniLM, praise", "package": "MiniLM, package", "scratch": "from scratch"}
BOTH = {"CosReg": "cosreg", "mean share": "mean_share"}
WAYS_ON_TEXT = {
    "weight > 0": ("istar", (0.1, 0.3, 5.0)),
    "weight < 0": ("istar", (-0.1, -0.3, -5.0)),
    "weight decay": ("weight_decay", (1.0, 10.0, 30.0)),
    "dropout": ("dropout", (0.1, 0.2, 0.4)),
    "rate": ("rate", (0.3, 0.6, 2.0)),
    **{way: (arm, (-5.0, -0.3, 0.3, 5.0)) for way, arm in BOTH.items()},
}
WAYS_FROM_SCRATCH = {
    "weight > 0": ("istar", (0.1, 0.3)),
    "weight < 0": ("istar", (-0.1, -0.3)),
    "weight decay": ("weight_decay", (0.1, 0.3)),
    "dropout": ("dropout", (0.1, 0.2)),
    "rate": ("rate", (0.5, 2.0)),
    **{way: (arm, (-0.3, -0.1, 0.1, 0.3)) for way, arm in BOTH.items()},
}
FROM_SCRATCH = tuple((arm, value) for arm, values in WAYS_FROM_SCRATCH.values() for value in values)
ON_TEXT = tuple((arm, value) for arm, values in WAYS_ON_TEXT.values() for value in values)
ON_TEXT += tuple((arm, value) for arm in BOTH.values() for value in (-0.1, 0.1))


class Elsewhere(NamedTuple):
    """Tables of `istar_language` and of `istar_scratch`."""

    text: pd.DataFrame
    scratch: pd.DataFrame

    @property
    def rows(self) -> pd.DataFrame:
        """Both in the columns of `istar_controls`: n is the group, target what its seeds share, an error exp(NLL)."""
        text = self.text.assign(n=np.where(self.text.model == "smollm2", "smollm2", self.text.task))
        both = pd.concat(
            [text.rename(columns={"task": "target"}), self.scratch.assign(n="scratch", target="words")],
            ignore_index=True,
        )
        return both.assign(error=np.exp(both.nll), train=np.exp(both.train))


def over_pairs(effects: pd.Series) -> pd.DataFrame:
    """Student's t of each group of a Series by (n, target, seed): over targets where there are several, else seeds."""
    found = {}
    for group, rows in effects.groupby("n"):
        means = rows.groupby("target").mean()
        found[group] = paired_t(means if len(means) > 1 else rows)
    return pd.DataFrame(found.values(), index=list(found))


def on_top_of_stopping(found: Elsewhere) -> pd.DataFrame:
    """NLL of each way, its value and its mark chosen by validation, minus that of the run without, at its best mark.

    By (n, way), with Holm over all.
    """
    rows = found.rows
    picks = {"last": rows.groupby(RUN).step.idxmax(), "best": rows.groupby(RUN).valid.idxmin()}
    marked = pd.concat([rows.loc[at].assign(stop=stop) for stop, at in picks.items()])
    parts = {}
    for ways, own in (
        (WAYS_ON_TEXT, marked[marked.n != "scratch"]),
        (WAYS_FROM_SCRATCH, marked[marked.n == "scratch"]),
    ):
        best = (
            tuned(own, ways)
            .query("stop == 'best'")
            .pivot(index=["n", "target", "seed"], columns="way", values="effect")
        )
        parts |= {way: [*parts.get(way, []), over_pairs(best[way] - best.nothing)] for way in ways}
    frame = (
        pd.concat({way: pd.concat(each) for way, each in parts.items()}, names=["way", "n"]).swaplevel().sort_index()
    )
    return frame.assign(p_holm=holm(frame.p))


def at_equal_loss(found: Elsewhere, weight: float, arm: str = "istar") -> pd.DataFrame:
    """NLL under an arm minus that without, where both have the same training loss: a row a group."""
    own = found.rows.query("arm in ('none', @arm)").rename(columns={"value": "weight"})
    return over_pairs(equal_fit(own.sort_values("step"))[weight].dropna())


def shifted(found: Elsewhere, value: str, arm: str, weight: float) -> pd.DataFrame:
    """How a value after the last step differs under an arm from that without: a row a group."""
    rows = found.rows
    end = rows[rows.step == rows.groupby("n").step.transform("max")].set_index(["n", "target", "seed"])
    return over_pairs((end[(end.arm == arm) & (end.value == weight)][value] - end[end.arm == "none"][value]).dropna())


def _none_is_better(found: Elsewhere) -> Verdict:
    rows = on_top_of_stopping(found)
    sure = [f"{way} ({CALLED[n]})" for (n, way), row in rows.iterrows() if row["mean"] < 0 and row.p_holm < 0.05]
    return Verdict(decided(not sure, *rows.low), f"surely better, of {len(rows)}: {', '.join(sure) or 'none'}")


def _little(found: Elsewhere) -> Verdict:
    row = {w: shifted(found, "nll", "istar", w).loc["smollm2"] for w in (-0.1, 0.1)}
    words = "; ".join(f"{w:+g}: {_printed(r)}" for w, r in row.items())
    return Verdict(decided(all(-0.005 < r.low and r.high < 0.005 for r in row.values()), row[0.1].low), words)


def _mean_falls(found: Elsewhere) -> Verdict:
    rows = shifted(found, "mean_share", "mean_share", 5.0)
    words = "; ".join(f"{CALLED[group]}: {_printed(row)}" for group, row in rows.iterrows())
    return Verdict(decided((rows.high < 0).all(), *rows.high), words)


def _halves_apart(found: Elsewhere) -> Verdict:
    cos, star = (shifted(found, "iso_score", arm, 0.3).loc["scratch"] for arm in ("cosreg", "istar"))
    words = f"CosReg {_printed(cos)}, I-STAR {_printed(star)}"
    return Verdict(decided(star.low > 0 and max(abs(cos.low), abs(cos.high)) < star["mean"] / 3, star.low), words)


def _equal_loss(found: Elsewhere) -> Verdict:
    rows = at_equal_loss(found, -0.3)
    words = "; ".join(f"{CALLED[group]}: {_printed(row)}" for group, row in rows.iterrows())
    return Verdict(decided((rows.low > -0.01).all(), *rows.low), words)


def _printed(row: pd.Series) -> str:
    return interval(row["mean"], row.low, row.high, 4)


EXPECTED = (
    Expectation("On top of early stopping no way surely lowers the NLL of any group (Holm over all)", _none_is_better),
    Expectation("Weights of 0.1 and -0.1 move the NLL of SmolLM2 by less than 0.005 nats a digit", _little),
    Expectation("A weight of 5 on the mean share lowers it in all three groups on text", _mean_falls),
    Expectation(
        "From scratch CosReg at 0.3 moves IsoScore by less than a third of what I-STAR at 0.3 does", _halves_apart
    ),
    Expectation("At equal training loss -0.3 lowers the NLL by less than 0.01 in every group", _equal_loss),
)
