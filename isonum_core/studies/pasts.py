"""What a past is worth: the contrasts between arms of the study `pretraining`, and what was expected of them.

Written into `pretraining` before the grid was run; single pilot runs of other seeds had been seen. An arm is a source
with Zipf's exponent ("zipf 1.5"); a pair is a target and a seed, ten in all. Two targets are no sample of targets: the
intervals say nothing of a third.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd

from isonum_core.lab.expectation import Expectation, Verdict
from isonum_core.prose import interval
from isonum_core.statistics.contrasts import holm, paired_contrasts
from isonum_core.statistics.intervals import Interval, crossed_intervals, decided
from isonum_core.statistics.ranks import correlations, ranks_within

PASTS = ("none", "numeric", "zipf 1", "text", "target")
MEASURED = ("mean_share", "iso_score", "nll")  # read together: 21 contrasts of one way to adapt
PAIRS = (*((past, "none") for past in PASTS[1:]), *((past, "target") for past in PASTS[1:-1]))
KEPT = ("sgd", "coupled_adam")  # theory: the sum of the output rows stays
RULES = tuple((rule, "adamw") for rule in ("tied", *KEPT))
NAMES = {"mean_share": "mean share", "iso_score": "IsoScore", "nll": "NLL", "zipf 1": "Zipf 1", "text": "text"}


class Pasts(NamedTuple):
    """The table by arm, and its contrasts.

    arms       the table, with `arm`, `variant` (the optimiser, or "tied") and `one`, the log of the one-step error
    last       the plain arms (untied, AdamW) after their last step of adaptation
    contrasts  `paired_contrasts` of PAIRS, by (way, value, treated, control); `one` is corrected by itself
    dose       exponent 1.5 minus 0.5, by (step, value): where adaptation begins, and after all of it
    rules      RULES, by arm, first target; Holm over all of them
    """

    arms: pd.DataFrame
    last: pd.DataFrame
    contrasts: pd.DataFrame
    dose: pd.DataFrame
    rules: pd.DataFrame

    @property
    def steps(self) -> int:
        return int(self.arms.step.max())

    @property
    def drift(self) -> pd.DataFrame:
        """Every full adaptation at its end: how far the mean output row has moved, and under which rule."""
        return self.arms[(self.arms.adaptation == "full") & (self.arms.step == self.steps)]


def pasts(table: pd.DataFrame) -> Pasts:
    """The table of `pretraining` with every contrast that was fixed beforehand."""
    arm = [f"{s} {e:g}" if s == "zipf" else s for s, e in zip(table.source, table.exponent, strict=True)]
    arms = table.assign(one=np.log(table.nmse_one), arm=arm, variant=np.where(table.tied, "tied", table.optimiser))
    steps, pair = arms.step.max(), ["target", "seed"]
    plain = arms[(arms.variant == "adamw") & (arms.phase == "adaptation")]
    last = plain[plain.step == steps]
    found = {}
    for way, rows in last.groupby("adaptation"):
        parts = [paired_contrasts(rows, "arm", PAIRS, values, pair) for values in (MEASURED, ("one",))]
        found[way] = pd.concat(parts, ignore_index=True)
    full = plain[plain.adaptation == "full"]
    dose = {
        step: paired_contrasts(full[full.step == step], "arm", [("zipf 1.5", "zipf 0.5")], MEASURED, pair)
        for step in (0, steps)
    }
    first = arms[(arms.target == arms.target.iloc[0]) & (arms.adaptation == "full") & (arms.step == steps)]
    rules = {
        arm: paired_contrasts(first[first.arm == arm], "variant", RULES, MEASURED, ["seed"])
        for arm in ("none", "zipf 1", "numeric")
    }
    rules = pd.concat(rules, names=["arm", None]).reset_index("arm").reset_index(drop=True)
    keys = ["value", "treated", "control"]
    return Pasts(
        arms,
        last,
        pd.concat(found, names=["way", None]).reset_index().set_index(["way", *keys]).drop(columns="level_1"),
        pd.concat(dose, names=["step", None]).reset_index().set_index(["step", "value"]).drop(columns="level_1"),
        rules.assign(p_holm=holm(rules.p)),
    )


Judge = Callable[[Pasts], Verdict]


def skill_at_the_end(last: pd.DataFrame) -> pd.Series:
    """Median over seeds of the one-step skill, for each way to adapt, arm and target: above zero, it has skill."""
    return last.groupby(["adaptation", "arm", "target"]).skill_one.median()


def with_skill(last: pd.DataFrame) -> pd.DataFrame:
    """The rows of PASTS under the ways and targets where all five have skill; `pair` names target and seed.

    Without skill a half is not set beside the error.
    """
    rows = last[last.arm.isin(PASTS)].assign(pair=lambda t: t.target + t.seed.astype(str))
    worst = skill_at_the_end(rows).groupby(level=["adaptation", "target"]).min()
    return rows[[worst[key] > 0 for key in zip(rows.adaptation, rows.target, strict=True)]]


def ranks_across_pasts(rows: pd.DataFrame, rng: np.random.Generator, draws: int = 2000) -> dict[str, Interval]:
    """Rank correlation of each half with NLL over the pasts, inside a pair, of rows of one way; bootstrap over pairs.

    Exploratory. The interval says how sure the pairs are; the pasts were chosen and not drawn.
    """

    def rho(t: pd.DataFrame) -> dict[str, float]:
        r = correlations(ranks_within(t, MEASURED, "pair"))
        return dict(zip(MEASURED[:2], map(float, r[2, :2]), strict=True))

    return crossed_intervals(rows, rho, rng, ["pair"], draws)


def _rows_stay(found: Pasts) -> Verdict:
    kept, moved = (found.drift[found.drift.optimiser.isin(rules)].drift for rules in (KEPT, ["adamw"]))
    kept, moved = kept.max(skipna=False), moved.min(skipna=False)
    return Verdict(decided(kept < 1e-3 and moved > 0.01, kept, moved), f"at most {kept:.0e}; at least {moved:.2f}")


def _dose_is_handed_over(found: Pasts) -> Verdict:
    begin = found.dose.loc[(0, "mean_share")]
    return Verdict(decided(begin.low > 0, begin.low), _printed(begin))


def _dose_is_forgotten(found: Pasts) -> Verdict:
    begin, end = (found.dose.loc[(step, "mean_share")] for step in (0, found.steps))
    half, share = begin["mean"] / 2, end["mean"] / begin["mean"]
    words = f"{share:.0%}: {_printed(end)}, half of it would be {half:+.2f}"
    if end["mean"] < half <= end.high:
        return Verdict(None, words + ": the interval holds both")
    return Verdict(decided(end.high < half, end["mean"], end.high, half), words)


def _language_is_forgotten(found: Pasts) -> Verdict:
    rows = {
        (past, value): found.contrasts.loc[("full", value, past, "none")] for past in PASTS[2:4] for value in MEASURED
    }
    moved = [f"{NAMES[v]} by {NAMES[a]} ({_printed(row)})" for (a, v), row in rows.items() if not row.p_holm > 0.05]
    held = decided(not moved, *(row.p_holm for row in rows.values()))
    return Verdict(held, "moved: " + (", ".join(moved) or "none"))


def _numbers_help(way: str) -> Judge:
    def judge(found: Pasts) -> Verdict:
        row = _nll(found, way, "numeric")
        return Verdict(decided(_lower(row), row["mean"], row.p_holm), _printed(row))

    return judge


def _target_helps_more(found: Pasts) -> Verdict:
    own, rest = _nll(found, "full", "target"), _nll(found, "full", "numeric", "target")
    held = decided(_lower(own) and rest.low > 0, own["mean"], own.p_holm, rest.low)
    return Verdict(held, f"target − none {_printed(own)}; numeric − target {_printed(rest)}")


def _language_does_not_help(found: Pasts) -> Verdict:
    zipf, text = (_nll(found, "frozen", past) for past in ("zipf 1", "text"))
    numbers = [number for row in (zipf, text) for number in (row["mean"], row.p_holm)]
    held = decided(not (_lower(zipf) or _lower(text)), *numbers)
    return Verdict(held, f"Zipf {_printed(zipf)}; text {_printed(text)}")


def _nll(found: Pasts, way: str, past: str, against: str = "none") -> pd.Series:
    return found.contrasts.loc[(way, "nll", past, against)]


def _lower(row: pd.Series) -> bool:
    return bool(row["mean"] < 0 and not row.p_holm > 0.05)


def _printed(row: pd.Series) -> str:
    return interval(row["mean"], row.low, row.high)


EXPECTED = (
    Expectation(
        "The sum of the output rows stays (drift below 0.001) under SGD and coupled Adam; under AdamW it moves (above "
        "0.01), tied or not, on every pair",
        _rows_stay,
    ),
    Expectation("Where adaptation begins the mean share is larger at exponent 1.5 than at 0.5", _dose_is_handed_over),
    Expectation("After full adaptation less than half of that difference is left", _dose_is_forgotten),
    Expectation(
        "After full adaptation Zipf and text have moved neither half nor NLL away from none", _language_is_forgotten
    ),
    Expectation("After full adaptation numeric lowers NLL", _numbers_help("full")),
    Expectation("and target lowers it more", _target_helps_more),
    Expectation("With frozen blocks numeric lowers NLL below random blocks", _numbers_help("frozen")),
    Expectation("With frozen blocks Zipf and text do not", _language_does_not_help),
)
