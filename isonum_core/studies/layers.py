"""Which number goes with the error of a read-out: across the layers of one series, and across series at one layer?

For the table of `checkpoints_readouts`. A layer whose ridge read-out has no skill on a target enters no relation there,
and a series enters with six layers or more. The sampled factor is the series: a family of draws, or a real set. Beside
each correlation stand those that need no measure: the depth of the layer; `other targets`, its mean rank by the error
on the other targets of the same series; `elsewhere`, its mean rank on the same target of all other series.

EXPECTED was written before the run of that table; what had been seen is told in `checkpoints_readouts`. Added after it:
the rival `middle`, how far a layer is from the middle one, and `regrets`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from isonum_core.lab.expectation import Expectation, Verdict
from isonum_core.prose import interval
from isonum_core.statistics.contrasts import Contrast, holm, paired_t
from isonum_core.statistics.intervals import crossed_intervals, decided
from isonum_core.statistics.ranks import correlations, partial_correlation
from isonum_core.studies.checkpoints_readouts import HEADS, MEASURES, TARGETS

NETWORKS = ("smollm2", "fracast")
RIVALS = ("depth", "middle", "other targets", "elsewhere")
LEAST_LAYERS, LEAST_SERIES = 6, 5
WITHIN = ["network", "family", "target"]
BEYOND = "measure - other targets"


class LayerReading(NamedTuple):
    """The table read layer by layer.

    rows      one a network, series, target and site: log error ratio of each head, of the untrained twin's ridge, and
              every measure with that of the twin
    each      rank correlations with the log error of ridge over the layers of one series, means over its targets
    summary   their means over series, with Student's 95 % interval, p, and Holm's over what has one `predictor`
    """

    rows: pd.DataFrame
    each: pd.DataFrame
    summary: pd.DataFrame


def layers(table: pd.DataFrame) -> LayerReading:
    """Everything that the chapter reads from the table of `checkpoints_readouts`."""
    rows = layer_rows(table)
    each = ranked(rows)
    return LayerReading(rows, each, over_series(each))


def layer_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Trained rows beside their twins', one for each target; errors as logarithms; rivals as ranks."""
    key = ["network", "family", "site"]
    own = table[table.network.isin(NETWORKS)]
    twin = own[~own.trained].set_index(key).add_suffix("_twin")
    both = own[own.trained].join(twin, on=key, validate="1:1")
    parts = []
    for target in TARGETS:
        errors = {head: np.log(both[f"{head}_{target}"]) for head in HEADS}
        errors |= {"ridge_twin": np.log(both[f"ridge_{target}_twin"])}
        named = [*key, "depth", *MEASURES, *(f"{m}_twin" for m in MEASURES)]
        parts.append(both[named].assign(target=target, **errors))
    rows = pd.concat(parts, ignore_index=True).dropna(subset="ridge")
    rank = rows.groupby(WITHIN).ridge.rank(pct=True)
    return rows.assign(
        **{
            "middle": (rows.depth - rows.groupby("network").depth.transform("max") / 2).abs(),
            "other targets": _others(rank, rows, ["network", "family", "site"]),
            "elsewhere": _others(rank, rows, ["network", "target", "site"]),
        }
    )


def _others(rank: pd.Series, rows: pd.DataFrame, alike: list[str]) -> pd.Series:
    """Mean rank of the rows that are alike, without the row itself."""
    groups = rank.groupby([rows[name] for name in alike])
    return (groups.transform("sum") - rank) / (groups.transform("count") - 1).replace(0, np.nan)


def skilled_layers(rows: pd.DataFrame) -> pd.DataFrame:
    """The layers whose ridge read-out has skill, of series and targets with six such layers."""
    passed = rows[rows.ridge < 0]
    return passed[passed.groupby(WITHIN).site.transform("count") >= LEAST_LAYERS]


def ranked(rows: pd.DataFrame, error: str = "ridge") -> pd.DataFrame:
    """One row for each network, series, measure and `predictor`, with `rho`, the mean over targets.

    trained, untrained: rank correlation with the error, of the measure and of the twin's; given depth, middle, other
    targets: the partial one; a rival stands as a measure of its own, with predictor "trained".
    """
    names, found = [error, *RIVALS, *MEASURES, *(f"{m}_twin" for m in MEASURES)], []
    at = {name: i for i, name in enumerate(names)}
    for (network, family, _), part in skilled_layers(rows).groupby(WITHIN):
        # A column with a gap has ranks of NaN, and one that does not vary a correlation of NaN: both are dropped.
        rho = correlations(stats.rankdata(part[names].to_numpy(float), axis=0))
        for m in MEASURES:
            entries = {"trained": rho[at[m], 0], "untrained": rho[at[f"{m}_twin"], 0]}
            for z in RIVALS[:3]:
                entries[f"given {z}"] = partial_correlation(
                    *map(float, (rho[at[m], 0], rho[at[m], at[z]], rho[at[z], 0]))
                )
            found += [(network, family, m, kind, value) for kind, value in entries.items()]
        found += [(network, family, rival, "trained", rho[at[rival], 0]) for rival in RIVALS]
    each = pd.DataFrame(found, columns=["network", "family", "measure", "predictor", "rho"]).dropna()
    return each.groupby([*each.columns[:-1]], as_index=False).rho.mean()


def over_series(each: pd.DataFrame) -> pd.DataFrame:
    """Mean, interval, p and Holm's p over series, by network, measure and predictor, where five series have one.

    `measure - other targets`: how much closer the measure goes with the error than the rival does, the measure turned
    so that its mean correlation is positive, which favours it.
    """
    wide = each.pivot_table(index=["network", "measure", "family"], columns="predictor", values="rho").reset_index()
    rival = wide[wide.measure == "other targets"].set_index(["network", "family"]).trained
    turned = wide.trained * np.sign(wide.groupby(["network", "measure"]).trained.transform("mean"))
    wide[BEYOND] = turned - rival.reindex(pd.MultiIndex.from_frame(wide[["network", "family"]])).to_numpy()
    wide.loc[wide.measure.isin(RIVALS), BEYOND] = np.nan
    found = {}
    for (network, measure), part in wide.groupby(["network", "measure"]):
        for predictor in wide.columns[3:]:
            values = part[predictor].dropna()
            if len(values) >= LEAST_SERIES and values.nunique() > 1:
                found[network, measure, predictor] = paired_t(values)._asdict()
    summary = pd.DataFrame(found).T.rename_axis(["network", "measure", "predictor"])
    return summary.assign(p_holm=summary.groupby("predictor").p.transform(holm))


def across_series(rows: pd.DataFrame, rng: np.random.Generator, draws: int = 300) -> pd.DataFrame:
    """Rank correlation of measures, and of the twin's, with the error over series at one layer; bootstrap over series.

    Means over the layers and targets where five series have skill. Indexed by network, measure and predictor.
    """

    passed = rows[rows.ridge < 0]
    names = ["ridge", *MEASURES, *(f"{m}_twin" for m in MEASURES)]
    kinds = [(m, kind) for kind in ("trained", "untrained") for m in MEASURES]
    place = passed.groupby(["network", "target", "site"])
    networks = [network for network, _, _ in place.groups]

    def rho(t: pd.DataFrame) -> dict[tuple, float]:
        found: dict[tuple, list] = {}
        values, order = t[names].to_numpy(float), np.argsort(t.place.to_numpy(), kind="stable")
        codes, starts = np.unique(t.place.to_numpy()[order], return_index=True)
        for code, part in zip(codes, np.split(order, starts[1:]), strict=True):
            if len(part) >= LEAST_SERIES:
                # A column with a gap has ranks of NaN, and one that does not vary a correlation of NaN.
                for kind, value in zip(kinds, correlations(stats.rankdata(values[part], axis=0))[0, 1:], strict=True):
                    if np.isfinite(value):
                        found.setdefault((networks[code], *kind), []).append(value)
        return {key: float(np.mean(kept)) for key, kept in found.items()}

    return crossed_intervals(passed.assign(place=place.ngroup()), rho, rng, ["family"], draws)


def regrets(rows: pd.DataFrame) -> pd.DataFrame:
    """What a rule to choose one layer costs: log of the ridge error there over that of the best layer of the series.

    One row for each network, series and rule, means over targets where any layer has skill. "any": a layer at random.
    """
    rules = {"IsoScore": -rows.iso_score, "mean cosine": rows.mean_cosine, "middle": rows.middle, "last": -rows.depth}
    rules |= {name: rows[name] for name in RIVALS[2:]}
    found = []
    for key, part in rows.groupby(WITHIN):
        if part.ridge.min() < 0:
            over = part.ridge - part.ridge.min()
            chosen = {name: over[score[part.index].idxmin()] for name, score in rules.items()}
            found += [(*key, name, cost) for name, cost in (chosen | {"any": over.mean()}).items()]
    each = pd.DataFrame(found, columns=[*WITHIN, "rule", "cost"])
    return each.groupby(["network", "family", "rule"], as_index=False).cost.mean()


def slower_where_steep(rows: pd.DataFrame) -> pd.DataFrame:
    """Rank correlation over layers of IsoScore with log(error of `stopped` / of `ridge`), by network and series."""
    found = [
        (network, family, stats.spearmanr(part.iso_score, part.stopped - part.ridge).statistic)
        for (network, family, _), part in skilled_layers(rows).groupby(WITHIN)
    ]
    each = pd.DataFrame(found, columns=["network", "family", "rho"]).dropna()
    return each.groupby(["network", "family"], as_index=False).rho.mean()


def trained_against_twin(rows: pd.DataFrame) -> pd.DataFrame:
    """Log of the ridge error over the twin's, mean over layers and targets, by network and series."""
    return rows.assign(gain=rows.ridge - rows.ridge_twin).groupby(["network", "family"], as_index=False).gain.mean()


def skilled_share(rows: pd.DataFrame) -> pd.Series:
    """Share of the series in which half of the layers or more have skill, by network and target."""
    half = rows.assign(skill=rows.ridge < 0).groupby(["network", "target", "family"]).skill.mean() >= 0.5
    return half.groupby(["network", "target"]).mean()


def _means(each: pd.DataFrame, value: str) -> dict[str, Contrast]:
    return {n: paired_t(part[value]) for n, part in each.groupby("network") if len(part) >= LEAST_SERIES}


def _told(found: dict) -> str:
    return "; ".join(f"{network} {interval(t.mean, t.low, t.high)}" for network, t in found.items())


def _skill(found: LayerReading) -> Verdict:
    share = skilled_share(found.rows)["smollm2", "next"]
    return Verdict(decided(share >= 0.5, share), f"{share:.0%} of the series")


def _learned(found: LayerReading) -> Verdict:
    gains = _means(trained_against_twin(found.rows), "gain")
    return Verdict(decided(all(t.high < 0 for t in gains.values()), *(t.high for t in gains.values())), _told(gains))


def _one_token(found: LayerReading) -> Verdict:
    middle = found.rows[(found.rows.network == "smollm2") & found.rows.depth.between(4, 8)]
    both = middle.groupby("site")[["iso_all", "iso_kept"]].median()
    least = float((both.iso_kept / both.iso_all).min())
    return Verdict(decided(least > 5, least), f"{least:.0f} times, at the block where it is least")


def _rival_wins(found: LayerReading) -> Verdict:
    rows = found.summary.xs(BEYOND, level="predictor")
    closer = [f"{n} {m}" for (n, m), row in rows.iterrows() if row.low > 0]
    return Verdict(decided(not closer, *rows.low), f"closer: {', '.join(closer) or 'none'}; {len(rows)} compared")


def _depth_explains(found: LayerReading) -> Verdict:
    rows = found.summary.loc[(slice(None), "iso_score", "given depth"), :]
    words = "; ".join(f"{n} {interval(r['mean'], r.low, r.high)}" for (n, *_), r in rows.iterrows())
    return Verdict(decided(bool((rows["mean"].abs() < 0.3).all()) and len(rows) > 0, *rows["mean"]), words)


def _twin_does_it(found: LayerReading) -> Verdict:
    wide = found.each[found.each.measure == "iso_score"].pivot(
        index=["network", "family"], columns="predictor", values="rho"
    )
    signs = np.sign(wide.groupby("network").transform("mean"))
    closer = (wide * signs).trained - (wide * signs).untrained
    told = _means(closer.rename("closer").reset_index(), "closer")
    return Verdict(decided(all(t.low <= 0 for t in told.values()), *(t.low for t in told.values())), _told(told))


def _steep_is_slow(found: LayerReading) -> Verdict:
    told = _means(slower_where_steep(found.rows), "rho")
    return Verdict(decided(all(t.high < 0 for t in told.values()), *(t.high for t in told.values())), _told(told))


EXPECTED = (
    Expectation(
        "A ridge head on SmolLM2's states has skill on the next value at half of the layers, in half of the series or "
        "more",
        _skill,
    ),
    Expectation(
        "Trained states serve better than those of the untrained twin, over layers and targets, in both networks",
        _learned,
    ),
    Expectation(
        "In each of SmolLM2's middle blocks the sinks, few tokens, take IsoScore of all tokens to a fifth or less of "
        "that of the others",
        _one_token,
    ),
    Expectation(
        "No measure goes with the error across layers more closely than the error on the other targets does",
        _rival_wins,
    ),
    Expectation(
        "With depth held fixed the mean rank correlation of IsoScore with the error across layers is below .3 in size",
        _depth_explains,
    ),
    Expectation(
        "IsoScore of the trained states goes with their error across layers no more closely than that of the untrained "
        "twin's",
        _twin_does_it,
    ),
    Expectation(
        "Where IsoScore is smaller, gradient descent stopped early falls further behind ridge, across layers, in both "
        "networks",
        _steep_is_slow,
    ),
)
