"""Which number goes with the error over the sets of `published_table`, in each network and beside its untrained twin.

The sampled factor is the set. Kernels and real sets are also read apart: kernels without noise have everything small
and white noise everything large, so that the two kinds together make one number of two.

EXPECTED: the first four were written before any row. They are of Fracast and were judged on it alone, as there was no
time for the language model that two of them name; they stay so. The next six were written when Fracast's rows had been
seen, before a row of any twin, of SmolLM2 or of our GPT-2: what Fracast showed is their pilot. There, at the last
states, IsoScore went with the error put right by +.93 over kernels and by -.65 over real sets, the published cosine
with the published error by -.17 over all, and Fracast was ahead of the better naive forecast on 13 of 20 sets.

The last four are of SmolLM2 alone, and were written before a row of it or of its twin. Seen by then: all rows of
Fracast, of our GPT-2 and of their twins, and SmolLM2 on other series (`checkpoints_forecasts`). Over kernels IsoScore
of the twin of our GPT-2 had gone with the error by +.95, the mean cosine by -.91 in our GPT-2 and by +.62 in Fracast,
and our GPT-2 was ahead of naive forecasts on 13 of 20 sets too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import product
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from isonum_core.lab.expectation import Expectation, Verdict
from isonum_core.prose import interval
from isonum_core.statistics.intervals import crossed_intervals, decided
from isonum_core.statistics.ranks import correlations
from isonum_core.studies.published_table import CHANGES, ERRORS, NUMBERS, SITES, TWIN
from isonum_core.worlds.kernels import PAPER_KERNELS

LAST = {"fracast": "final_norm", "smollm2": "final_norm", "gpt2": "read"}  # the states that the last layer reads
NEW = ("smollm2", "gpt2")
MEASURES = ("cluster_cosine", "iso_score", "mean_cosine")
BESIDE = (*MEASURES, *(measure + TWIN for measure in MEASURES))
PAIR = [*ERRORS[:2]]
INDEX = ["kind", "network", "site", "measure", "error", "whose"]


class Seen(NamedTuple):
    """The table, and `across_sets` of it."""

    table: pd.DataFrame
    relations: pd.DataFrame


def seen(table: pd.DataFrame, draws: int = 500) -> Seen:
    """What judges the expectations; resamples start from seed 0."""
    return Seen(table, across_sets(table, draws))


def across_sets(table: pd.DataFrame, draws: int = 500) -> pd.DataFrame:
    """Rank correlations of MEASURES with both errors over sets; bootstrap over sets from seed 0. Indexed by INDEX.

    kind: "all" sets, or "kernels" and "real" apart. whose: the measure of the "trained" network, of its "untrained"
    twin, both with the trained one's error, and the "difference" of the two. As published alone; without sets whose
    error put right is missing. measure "errors", error "with each other": of the two errors.
    """
    rows = with_twins(table)
    parts = [rows.set_index(["dataset", "network", "site"])[list(BESIDE)].unstack(["network", "site"])]
    parts.append(rows.drop_duplicates(["dataset", "network"]).pivot(index="dataset", columns="network", values=PAIR))
    wide = pd.concat([part.set_axis([*map(" ".join, part)], axis=1) for part in parts], axis=1)
    wide = wide.dropna(axis=1, how="all").dropna().reset_index()  # a column without a value is of a twin without a row
    kernels = wide.dataset.isin(PAPER_KERNELS)
    found = {
        kind: crossed_intervals(sets, _over_sets, np.random.default_rng(0), ["dataset"], draws)
        for kind, sets in {"all": wide, "kernels": wide[kernels], "real": wide[~kernels]}.items()
    }
    return pd.concat(found).rename_axis(INDEX)


def with_twins(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of trained networks as published, with MEASURES of their twins under names that end in TWIN."""
    key = ["network", "dataset", "site"]
    plain = table[table.change == CHANGES[0]]
    twins = plain[plain.network.str.endswith(TWIN)]
    twins = twins.assign(network=twins.network.str.removesuffix(TWIN)).set_index(key)[[*MEASURES]].add_suffix(TWIN)
    return plain[plain.network.isin(SITES)].join(twins, on=key, validate="1:1")


def _over_sets(sets: pd.DataFrame) -> dict[tuple, float]:
    names = [name for name in sets if name != "dataset"]
    at, found = {name: i for i, name in enumerate(names)}, {}
    rho = correlations(stats.rankdata(sets[names].to_numpy(float), axis=0))
    for network, site in ((n, site) for n, sites in SITES.items() if f"nmse {n}" in at for site in sites):
        errors = [at[f"{error} {network}"] for error in PAIR]
        found[network, site, "errors", "with each other", "trained"] = rho[*errors]
        for measure, (error, i) in product(MEASURES, zip(PAIR, errors, strict=True)):
            place, twin = (at.get(f"{measure}{end} {network} {site}") for end in ("", TWIN))
            own = found[network, site, measure, error, "trained"] = rho[i, place]
            if twin is not None:
                found[network, site, measure, error, "untrained"] = rho[i, twin]
                found[network, site, measure, error, "difference"] = own - rho[i, twin]
    return found


def effects_of(table: pd.DataFrame, change: str, site: str = "final_norm") -> pd.DataFrame:
    """Of each kernel, the differences that a change makes in Fracast's NUMBERS at a site and in the log of `nmse`."""
    rows = table[(table.network == "fracast") & (table.site == site)].assign(error=np.log(table.nmse))
    wide = rows.pivot(index="dataset", columns="change", values=[*NUMBERS, "error"])
    kernels = [name for name in PAPER_KERNELS if name in wide.index]
    return pd.DataFrame({m: wide[m][change] - wide[m][CHANGES[0]] for m in (*NUMBERS, "error")}).loc[kernels]


def ahead(table: pd.DataFrame) -> pd.DataFrame:
    """Of each trained network, whether it errs less than the better naive forecast: a row a set, a column a network."""
    first = with_twins(table).drop_duplicates(["network", "dataset"])
    return first.assign(ahead=first.nmse < first.nmse_naive).pivot(index="dataset", columns="network", values="ahead")


def _sizes_say_it(*networks: str) -> Callable[[Seen], Verdict]:
    def judge(found: Seen) -> Verdict:
        rows = found.table[found.table.network.isin(networks)]
        near = float(((rows.cluster_cosine - rows.expected_cosine).abs() <= 0.05).mean())
        if missing := [name for name in networks if name not in {*rows.network}]:
            return Verdict(None, f"{near:.0%} of rows; " * (len(rows) > 0) + f"{' and '.join(missing)} was not run")
        return Verdict(decided(near >= 0.9, near), f"{near:.0%} of rows")

    return judge


def _no_relation(found: Seen) -> Verdict:
    rows = found.relations.xs(("all", "fracast", "cluster_cosine", "nmse_published", "trained"), level=(0, 1, 3, 4, 5))
    away = rows[(rows.low > 0) | (rows.high < 0)]
    told = "; ".join(f"{site} {interval(*row)}" for site, row in away.iterrows())
    return Verdict(decided(away.empty, *rows.low), told or f"none of {len(rows)} sites")


def _errors_differ(found: Seen) -> Verdict:
    row = found.relations.loc[("all", "fracast", LAST["fracast"], "errors", "with each other", "trained")]
    held = None if row.low < 0.8 <= row.value else decided(row.value < 0.8, row.value)
    return Verdict(held, interval(*row))


def _noise_rounds(found: Seen) -> Verdict:
    up = effects_of(found.table, "noisy").iso_score > 0
    return Verdict(decided(up.sum() >= 8, float(len(up))), f"{up.sum()} of {len(up)} kernels")


def _at_last(
    kind: str, measure: str, error: str, whose: str, networks: Iterable[str], lies: Callable[[pd.Series], bool]
) -> Callable[[Seen], Verdict]:
    """Whether the interval at the last states lies so in each of the networks."""

    def judge(found: Seen) -> Verdict:
        keys = {n: (kind, n, LAST[n], measure, error, whose) for n in networks}
        rows = {n: found.relations.loc[key] for n, key in keys.items() if key in found.relations.index}
        words = "; ".join(f"{n} {interval(*rows[n]) if n in rows else 'was not run'}" for n in keys)
        held = decided(all(map(lies, rows.values())), *(row.low for row in rows.values()))
        return Verdict(None if held and len(rows) < len(keys) else held, words)  # one that fails is enough

    return judge


def _above(row: pd.Series) -> bool:
    return bool(row.low > 0)


def _not_above(row: pd.Series) -> bool:
    return bool(row.low <= 0)


def _not_below(row: pd.Series) -> bool:
    return bool(row.high >= 0)


def _holds_zero(row: pd.Series) -> bool:
    return bool(row.low <= 0 <= row.high)


def _skill(found: Seen) -> Verdict:
    sets = ahead(found.table)
    count = sets.sum()
    words = "; ".join(f"{n} {count[n]} of {len(sets)}" if n in count else f"{n} was not run" for n in LAST)
    held = bool((count >= len(sets) / 2).all())
    return Verdict(decided(held, float(len(sets))) if len(count) == len(LAST) or not held else None, words)


def _least_skill(found: Seen) -> Verdict:
    count = ahead(found.table).sum()
    if "smollm2" not in count:
        return Verdict(None, "smollm2 was not run")
    words = "; ".join(f"{n} {count[n]}" for n in LAST if n in count)
    return Verdict(bool(count.smollm2 < count.drop("smollm2").min()), words)


EXPECTED = (
    Expectation(
        "The published cosine is what the sizes of its clusters give, to .05, in nine rows of ten or more",
        _sizes_say_it("fracast"),
    ),
    Expectation(
        "Over sets it goes with the published error at no site of either network: every interval holds zero",
        _no_relation,
    ),
    Expectation(
        "Pooled over the mean square and divided by the variance, the error orders the sets differently: the rank "
        "correlation of the two is below .8",
        _errors_differ,
    ),
    Expectation(
        "Noise on the context raises IsoScore of Fracast's last states on eight of the ten kernels or more",
        _noise_rounds,
    ),
    Expectation(
        "Over the ten kernels IsoScore of the last states rises with the error put right in SmolLM2 and in our GPT-2: "
        "both intervals lie above zero",
        _at_last("kernels", "iso_score", "nmse", "trained", NEW, _above),
    ),
    Expectation(
        "So does IsoScore of each of the three untrained twins, with the error of the trained network",
        _at_last("kernels", "iso_score", "nmse", "untrained", LAST, _above),
    ),
    Expectation(
        "and no trained network's is closer to its error than the twin's: no interval of the difference is above zero",
        _at_last("kernels", "iso_score", "nmse", "difference", LAST, _not_above),
    ),
    Expectation(
        "Over the real sets it rises with the error in neither SmolLM2 nor our GPT-2: no interval above zero",
        _at_last("real", "iso_score", "nmse", "trained", NEW, _not_above),
    ),
    Expectation(
        "Over all sets the published cosine of their last states goes with the published error in neither: both "
        "intervals hold zero",
        _at_last("all", "cluster_cosine", "nmse_published", "trained", NEW, _holds_zero),
    ),
    Expectation("Each of the three is ahead of the better naive forecast on half of the sets or more", _skill),
    Expectation(
        "Over the kernels IsoScore of SmolLM2's untrained twin rises with SmolLM2's error put right, as that of our "
        "GPT-2's twin does: the interval lies above zero",
        _at_last("kernels", "iso_score", "nmse", "untrained", NEW[:1], _above),
    ),
    Expectation(
        "What our GPT-2 shows of the mean half does not repeat: over the kernels the mean cosine of SmolLM2's last "
        "states does not fall with the error put right, no interval below zero",
        _at_last("kernels", "mean_cosine", "nmse", "trained", NEW[:1], _not_below),
    ),
    Expectation(
        "SmolLM2 is ahead of the better naive forecast on fewer sets than Fracast and than our GPT-2", _least_skill
    ),
    Expectation(
        "Of SmolLM2 and its twin the published cosine is what the sizes of its clusters give, to .05, in nine rows of "
        "ten or more",
        _sizes_say_it("smollm2", "smollm2" + TWIN),
    ),
)
