"""What one token does to the layer profile of a language model, and what was expected of it.

Written before the table `checkpoints_layers` was run; what a pilot had shown stands there. The sampled factor is the
text with its partner in numbers: intervals are Student's over the 21 pairs, `pooled` rows stand apart.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from isonum_core.lab.expectation import Expectation, Verdict
from isonum_core.statistics.contrasts import paired_t
from isonum_core.statistics.intervals import decided
from isonum_core.studies.checkpoints_skill import above_zero

DEEP = tuple(f"block.{i}" for i in range(15, 26))


def single(table: pd.DataFrame, network: str = "pretrained") -> pd.DataFrame:
    """Rows of one text each; of the twins the mean over their seeds, so that a pair is one number."""
    rows = table[(table["last"] - table["first"] == 1) & (table.network == network)]
    numbers = rows.columns.difference(["first", "last", "network", "seed", "side", "site"])
    return rows.groupby(["first", "side", "site"], sort=False)[list(numbers)].mean().reset_index()


def layer_profile(rows: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """Mean and Student's 95 % interval over texts of each column, for each side and site of `single` rows."""
    found = []
    for (side, site), part in rows.groupby(["side", "site"], sort=False):
        for column in columns:
            values = part[column].dropna()
            mean = float(values.mean())
            low, high = paired_t(values)[1:3] if values.nunique() > 1 else (mean, mean)
            found.append(dict(side=side, site=site, column=column, mean=mean, low=low, high=high, texts=len(values)))
    return pd.DataFrame(found)


def text_over_numbers(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    """log of (text / its partner in numbers), a row a site and a column a pair."""
    wide = np.log(rows.pivot(index=["site", "first"], columns="side", values=column))
    return (wide["text"] - wide["numbers"]).unstack("first")


def _deep(table: pd.DataFrame, side: str | None = None) -> pd.DataFrame:
    rows = single(table)
    return rows[rows.site.isin(DEEP) & ((rows.side == side) | (side is None))]


def _first_is_sink(table: pd.DataFrame) -> Verdict:
    share = _deep(table).groupby("side", sort=False).at_start.mean()
    words = ", ".join(f"{side} {value:.0%}" for side, value in share.items())
    return Verdict(decided((share == 1).all(), *share), f"of texts and blocks: {words}")


def _pr_is_one(table: pd.DataFrame) -> Verdict:
    largest = float(_deep(table, "text").pr_all.max(skipna=False))
    return Verdict(decided(largest < 2, largest), f"at most {largest:.2f}")


def _five_times(table: pd.DataFrame) -> Verdict:
    rows = _deep(table, "text")
    ratio = np.log(rows.pr_without / rows.pr_all)
    lows = ratio.groupby(rows.site, sort=False).apply(lambda x: paired_t(x).low if x.notna().all() else np.nan)
    least = float(lows.min(skipna=False))
    return Verdict(decided(least > np.log(5), least), f"lower ends from {np.exp(least):.1f} times on")


def _cosine_is_blind(table: pd.DataFrame) -> Verdict:
    rows = single(table)
    rows = rows[rows.site.str.startswith("block") & (rows.side == "text")]
    moved = (rows.cosine_all - rows.cosine_without).groupby(rows.site).mean().abs()
    most = float(moved.max(skipna=False))
    return Verdict(
        decided(most < 0.05, most), f"at most {most:.3f}, at {moved.idxmax()}" if most == most else "missing"
    )


def _no_sink_untrained(table: pd.DataFrame) -> Verdict:
    rows = table[table.network == "random"]
    longest = float(rows.longest.max(skipna=False))
    return Verdict(decided(rows.sinks.sum() == 0, longest), f"longest state {longest:.1f} times the median")


def _no_collapse_left(table: pd.DataFrame) -> Verdict:
    rows = single(table)
    rows = rows[rows.site.str.startswith("block") & (rows.side == "text")]
    means = rows.groupby("site", sort=False).pr_without.mean()
    least = float(means.min(skipna=False))
    return Verdict(
        decided(least >= 5, least), f"least {least:.1f}, at {means.idxmin()}" if least == least else "missing"
    )


def _lead_at_the_end(table: pd.DataFrame, network: str = "pretrained") -> pd.Series:
    return text_over_numbers(single(table, network), "pr_matched").loc["final_norm"]


def _text_is_rounder(table: pd.DataFrame) -> Verdict:
    return above_zero(_lead_at_the_end(table))


def _more_than_untrained(table: pd.DataFrame) -> Verdict:
    return above_zero(_lead_at_the_end(table) - _lead_at_the_end(table, "random"))


EXPECTED = (
    Expectation("In blocks 15 to 25 the first token is a sink of every text and every series", _first_is_sink),
    Expectation("With it the participation ratio of a text is below 2 there", _pr_is_one),
    Expectation("Without sinks it is over five times as large, in each of these blocks", _five_times),
    Expectation("In no block do sinks move a text's mean cosine by 0.05 or more, in the mean", _cosine_is_blind),
    Expectation("The untrained twins have no sink anywhere", _no_sink_untrained),
    Expectation("Without sinks no block has a mean participation ratio below 5 on text", _no_collapse_left),
    Expectation(
        "At equal types and tokens text has the larger participation ratio at the final norm (log of the ratio)",
        _text_is_rounder,
    ),
    Expectation("and its lead is larger than in the untrained twins", _more_than_untrained),
)
