"""Another penalty, another stopping time: is what it will do to the error known from the rows that teach?

Made of the table of `proxy`, of its half held out, at the fewer rows that teach. The tuned ridge is given up for one
with a fixed weak penalty, or for descent stopped at a fixed step. Said: the log ratio of the two errors left out. Came:
that of the errors on other rows. Written after the table had been seen; nothing was predicted.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from isonum_core.statistics.intervals import crossed_intervals
from isonum_core.studies.proxy_verdicts import CELL, DRAWS, FACTORS, with_rivals

TO, LEAST = ("weak", "stopped"), np.log(1.05)  # a change counts for its sign beyond a twentieth


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

    sign: the share of changes by more than a twentieth whose sign was said; share: 1 less the squared misses over the
    squares of what came.
    """

    def scores(rows: pd.DataFrame) -> dict[tuple[str, str], float]:
        found = {}
        for end, part in rows.groupby("end"):
            large = part[part.came.abs() > LEAST]
            found[end, "sign"] = float((large.said * large.came > 0).mean())
            found[end, "share"] = float(1 - (part.said - part.came).pow(2).sum() / part.came.pow(2).sum())
        return found

    found = {kind: crossed_intervals(rows, scores, rng, FACTORS, draws) for kind, rows in moves.groupby("kind")}
    return pd.concat(found).rename_axis(["kind", "end", "what"])
