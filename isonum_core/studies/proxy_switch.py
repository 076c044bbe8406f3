"""Another penalty, another stopping time: is what it will do to the error known from the rows that teach?

Made of the table of `proxy`, of its half held out, at the fewer rows that teach. The tuned ridge is given up for one
with a fixed weak penalty, or for descent stopped at a fixed step. Said: the log ratio of the two errors left out. Came:
that of the errors on other rows. The tuned one errs least where rows are left out, so of the weak one,
which is among those tried, nothing but harm can be said. Written after the table had been seen; nothing was predicted.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from isonum_core.statistics.intervals import crossed_intervals
from isonum_core.studies.proxy_verdicts import CELL, DRAWS, FACTORS, with_rivals

TO, LEAST = ("weak", "stopped"), np.log(1.05)


def switched(table: pd.DataFrame) -> pd.DataFrame:
    """What was `said` and what `came`, a row a site, target and new read-out (`end`) of the worlds held out."""
    rows = with_rivals(table)
    rows = rows[rows.part == "held"]
    parts = [
        rows[[*CELL, "kind", "site"]].assign(
            end=end,
            said=np.log(rows[f"left_out_{end}"] / rows.left_out_tuned),
            came=np.log(rows[f"error_few_{end}"] / rows.error_few_tuned),
        )
        for end in TO
    ]
    return pd.concat(parts, ignore_index=True)


def switch_scores(moves: pd.DataFrame, rng: np.random.Generator, draws: int = DRAWS) -> pd.DataFrame:
    """By (kind, end, what), with 95 % bootstrap crossed over networks, worlds and targets.

    rank: Spearman's correlation of what was said with what came; beyond: 1 less the squared misses over the squares
    about the mean of what came, so that saying this mean for all, which needs hindsight, has 0.
    """

    def scores(rows: pd.DataFrame) -> dict[tuple[str, str], float]:
        found = {}
        for end, part in rows.groupby("end"):
            found[end, "rank"] = part.said.corr(part.came, method="spearman")
            found[end, "beyond"] = (
                1 - (part.said - part.came).pow(2).sum() / (part.came - part.came.mean()).pow(2).sum()
            )
        return found

    found = {kind: crossed_intervals(rows, scores, rng, FACTORS, draws) for kind, rows in moves.groupby("kind")}
    return pd.concat(found).rename_axis(["kind", "end", "what"])


def foreseen(part: pd.DataFrame) -> tuple[int, int]:
    """Of the changes that lowered the error by more than a twentieth, how many were said to lower it, and how many."""
    helped = part[part.came < -LEAST]
    return int((helped.said < 0).sum()), len(helped)
