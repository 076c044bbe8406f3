"""What is made of the table of `proxy`, and what was expected of its half `held` before any row of that half existed.

A cell is a world, a network, trained or not, and a target. For a relation a cell needs four sites, and one whose tuned
ridge errs less than SKILL of the target's variance. Over its sites Spearman's correlation of each number with the log
of that error; then the mean over cells, and a bootstrap crossed over networks, worlds and targets. `elsewhere` is the
static ranking: the mean rank of a site by its error in other worlds on other targets. `given depth`: ranks less what is
linear in depth and in the distance from the middle, in cells of six sites or more. Added after part of `held` was
seen: `factor`, `hindsight` and `rank` of `foresight`, against which its leads look smaller. No verdict was changed.
When all was read, four numbers came, and the sensitivity, its expectation written when two networks had been seen.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import linalg, stats

from isonum_core.lab.expectation import Expectation, Verdict
from isonum_core.prose import interval
from isonum_core.statistics.intervals import crossed_intervals, decided
from isonum_core.statistics.ranks import correlations
from isonum_core.studies.proxy import ACTED, ENDS, SERIES, TEXTS, WAYS
from isonum_core.studies.proxy_readouts import FREE, LABELLED

CELL, FACTORS = ["network", "trained", "world", "target"], ["network", "world", "target"]
NUMBERS = (*FREE, *LABELLED, "elsewhere")
FIRST = ("first", "first lead", "factor")
SKILL, LEAST, WITH_DEPTH, DRAWS = 0.9, 4, 6, 300
CALLED = {"left_out": "leaving one out", "foretold": "spectrum and alignment", "curve": "the power law"}
READERS = {"weak": "weak ridge", "tuned": "tuned ridge", "fixed": "fixed penalty", "stopped": "descent, 32 steps"}


def with_rivals(table: pd.DataFrame) -> pd.DataFrame:
    """The table with `part` (build or held), `kind` of world, the log of the tuned error, and `elsewhere`."""
    held = table.world.isin([*SERIES["held"], *TEXTS["held"]])
    text = table.world.isin([*TEXTS["build"], *TEXTS["held"]])
    rows = table.assign(part=np.where(held, "held", "build"), kind=np.where(text, "text", "series"))
    rows = rows.assign(log_error=np.log(rows.error_tuned))
    rank, alike = rows.groupby(CELL).log_error.rank(pct=True), ["network", "trained", "kind", "site"]
    sums = dict(sum=0.0, count=0)
    for sign, by in ((1, []), (-1, ["world"]), (-1, ["target"]), (1, ["world", "target"])):
        groups = rank.groupby([rows[name] for name in (*alike, *by)])
        sums = {how: total + sign * groups.transform(how) for how, total in sums.items()}
    return rows.assign(elsewhere=sums["sum"] / sums["count"].where(sums["count"] > 0))


def over_sites(rows: pd.DataFrame) -> pd.DataFrame:
    """One row a cell with skill: the rank correlation of each of NUMBERS with the error; "... given depth" likewise."""
    found = []
    for key, part in rows.groupby([*CELL, "kind"]):
        if len(part) < LEAST or not part.error_tuned.min() < SKILL:
            continue
        # A column with a gap has ranks of NaN, and one that does not vary a correlation of NaN: both count nowhere.
        ranks = stats.rankdata(part[["log_error", *NUMBERS]].to_numpy(float), axis=0, nan_policy="propagate")
        row = dict(zip([*CELL, "kind"], key, strict=True)) | dict(zip(NUMBERS, correlations(ranks)[0, 1:], strict=True))
        if len(part) >= WITH_DEPTH:
            depth = part.depth.to_numpy(float)
            base = linalg.orth(np.column_stack([np.ones(len(part)), depth, abs(depth - depth.mean())]))
            rest = ranks - base @ (base.T @ ranks)
            nothing = abs(rest).max(0) < 1e-9  # left of it: no correlation, as in `partial_correlation`
            given = np.where(nothing, 0.0, correlations(np.where(nothing, np.nan, rest))[0])[1:]
            row |= {f"{name} given depth": value for name, value in zip(NUMBERS, given, strict=True)}
        found.append(row)
    return pd.DataFrame(found)


def proxies(each: pd.DataFrame, rng: np.random.Generator, draws: int = DRAWS) -> pd.DataFrame:
    """Means of `over_sites` over cells, with intervals: by (number, how), how "plain", "given depth" or "lead".

    The lead is that of a number without labels over `elsewhere`, the number turned so that its mean is above zero,
    which favours it. A number that one of the networks lacks in every cell is left out.
    """
    parts = []
    for how, end in (("plain", ""), ("given depth", " given depth")):
        own = each.dropna(subset=f"elsewhere{end}")
        names = {f"{name}{end}": name for name in NUMBERS}
        names = {c: name for c, name in names.items() if own.groupby("network")[c].count().min() > 0}

        signs = np.sign(own[[*names]].mean())

        def means(rows: pd.DataFrame, how=how, names=names, signs=signs) -> dict[tuple[str, str], float]:
            mean = rows[[*names]].mean()
            found = {(name, how): mean[c] for c, name in names.items()}
            leads = {(c, "lead"): signs[c] * mean[c] - mean["elsewhere"] for c in FREE if c in names}
            return found | leads  # with depth held fixed the columns have other names, and no lead is taken

        parts.append(crossed_intervals(own[[*FACTORS, *names]], means, rng, FACTORS, draws))
    return pd.concat(parts).rename_axis(["number", "how"]).sort_index()


def beforehand(rows: pd.DataFrame) -> pd.DataFrame:
    """One row a site, target and end, where all WAYS say something: `measured` log error at `many`, and its `change`
    from `few`; of each way what it says of both (`<way>`, `<way> change`) and `<way> off`, its mean squared miss.
    `factor`: left_out times what n / (n - d) changes by, which is all that more rows do to least squares.
    """
    parts = []
    for end in ENDS:
        log = {way: np.log(rows[f"{way}_{end}"]) for way in WAYS}
        shrinks = np.log((1 - rows.d / (rows.few - 1)) / (1 - rows.d / (rows.many - 1)))
        part = rows[[*CELL, "kind", "site", "d", "few", "many"]].assign(
            end=end,
            measured=np.log(rows[f"error_{end}"]),
            change=np.log(rows[f"error_{end}"] / rows[f"error_few_{end}"]),
            **log,
            factor=log["left_out"] + shrinks,
            **{f"{way} change": log[way] - log["left_out"] for way in WAYS},
            **{f"{way} off": rows[f"off_{way}_{end}"] for way in WAYS},
        )
        parts.append(part[part.notna().all(axis=1)])
    return pd.concat(parts, ignore_index=True)


def foresight(told: pd.DataFrame, rng: np.random.Generator, draws: int = DRAWS) -> pd.DataFrame:
    """What is said beforehand against what came, by (end, what, way).

    error    R² about the line where said is measured, over all draws; lead: of foretold over the way, in this
    change   1 less the squared misses of the change over those of saying none; hindsight: of the mean change
    rank     Spearman's correlation of the change that is said with that which came
    first    R² of the first draw alone, where factor can be compared; first lead: of foretold over the way, in this
    """
    names = ["measured", "change", *WAYS, "factor", *(f"{way}{end}" for way in WAYS for end in (" off", " change"))]
    at = {name: i for i, name in enumerate(names)}

    def scores(rows: pd.DataFrame) -> dict[tuple[str, str, str], float]:
        found, values, ends = {}, rows[names].to_numpy(), rows["end"].to_numpy()
        for end in set(ends):  # a resample may have none: networks and worlds are not all combined
            x = values[ends == end].T
            y, change = x[0], x[1]
            spread, moved = np.square(y - y.mean()).sum(), np.square(change).sum()
            for way in WAYS:
                found[end, "error", way] = 1 - x[at[f"{way} off"]].sum() / spread
                found[end, "change", way] = 1 - np.square(x[at[f"{way} change"]] - change).sum() / moved
                if way != "left_out":
                    found[end, "rank", way] = stats.spearmanr(x[at[f"{way} change"]], change).statistic
            found[end, "change", "hindsight"] = 1 - np.square(change - change.mean()).sum() / moved
            for way in (*WAYS, "factor"):
                found[end, "first", way] = 1 - np.square(x[at[way]] - y).sum() / spread
            for what, lead, way in (("error", "lead", "left_out"), ("error", "lead", "curve"), FIRST):
                found[end, lead, way] = found[end, what, "foretold"] - found[end, what, way]
        return found

    return crossed_intervals(told, scores, rng, FACTORS, draws).rename_axis(["end", "what", "way"]).sort_index()


def acted_on(rows: pd.DataFrame) -> pd.DataFrame:
    """What whitening does, one row a site, target with skill, read-out and amount: `ratio` n / d, `place`, the log
    ratio `white`, and `z`, how many standard errors the squared misses differ by."""
    skilled = rows[rows.error_tuned < SKILL]
    parts = [
        skilled[[*CELL, "kind", "site", "d", "place"]].assign(
            readout=name,
            amount=amount,
            ratio=skilled[amount] / skilled.d,
            slope=skilled[f"slope{end}_{name}"],
            white=skilled[f"white{end}_{name}"],
            z=skilled[f"sure{end}_{name}"],
        )
        for amount, end in (("many", ""), ("few", "_few"))
        for name in ACTED
    ]
    return pd.concat(parts, ignore_index=True)


def whitening(acted: pd.DataFrame, rng: np.random.Generator, draws: int = DRAWS) -> pd.DataFrame:
    """By (readout, amount, what): Spearman's `rho` of white with place, `sensed` with minus the slope, and how far this
    is `ahead` of the size of rho; shares that it helps, harms (|z| > 2 as if each stood alone) and that change by more
    than a tenth, `large`."""
    groups = acted.groupby(["readout", "amount"])

    def numbers(rows: pd.DataFrame) -> dict[tuple[str, str, str], float]:
        found, code = {}, rows["code"].to_numpy()
        white, where, z, slope = (rows[name].to_numpy() for name in ("white", "place", "z", "slope"))
        for i, key in enumerate(groups.groups):
            if not (own := code == i).any():
                continue
            found[*key, "rho"] = stats.spearmanr(white[own], where[own]).statistic
            found[*key, "sensed"] = -stats.spearmanr(white[own], slope[own]).statistic
            found[*key, "ahead"] = found[*key, "sensed"] - abs(found[*key, "rho"])
            shares = dict(helps=z[own] < -2, harms=z[own] > 2, large=abs(white[own]) > np.log(1.1))
            found |= {(*key, name): float(yes.mean()) for name, yes in shares.items()}
        return found

    found = crossed_intervals(acted.assign(code=groups.ngroup()), numbers, rng, FACTORS, draws)
    return found.rename_axis(["readout", "amount", "what"]).sort_index()


class Proxies(NamedTuple):
    """What judges the expectations, of one half. The last two of networks whose `few` is 2 d: nets and Fracast."""

    relations: dict[str, pd.DataFrame]  # `proxies`, by kind of world
    foresight: pd.DataFrame
    whitening: pd.DataFrame


def judged_from(table: pd.DataFrame, part: str = "held", draws: int = DRAWS) -> Proxies:
    """Everything from the table of `proxy`; resamples start from seed 0."""
    rows = with_rivals(table)
    rows = rows[rows.part == part]
    twice, each = rows[rows.few == 2 * rows.d], over_sites(rows).groupby("kind")
    relations = {kind: proxies(own, np.random.default_rng(0), draws) for kind, own in each}
    told = foresight(beforehand(twice), np.random.default_rng(0), draws)
    return Proxies(relations, told, whitening(acted_on(twice), np.random.default_rng(0), draws))


def _printed(row: pd.Series, sign: bool = True) -> str:
    return interval(row.value, row.low, row.high, sign=sign)


def _static_wins(found: Proxies) -> Verdict:
    leads = pd.concat({kind: rows.xs("lead", level="how") for kind, rows in found.relations.items()})
    ahead = [f"{number} ({kind})" for (kind, number), row in leads.iterrows() if row.low > 0]
    return Verdict(decided(not ahead, *leads.low), f"ahead: {', '.join(ahead) or 'none'}; {len(leads)} compared")


def _correlation_of(number: str, holds):
    def judge(found: Proxies) -> Verdict:
        rows = {kind: of.loc[(number, "plain")] for kind, of in found.relations.items()}
        words = "; ".join(f"{kind} {_printed(row)}" for kind, row in rows.items())
        held = all(holds(row.value) for row in rows.values())
        return Verdict(decided(held, *(row.value for row in rows.values())), words)

    return judge


def _nearer(end: str, holds):
    def judge(found: Proxies) -> Verdict:
        rows = found.foresight.loc[(end, "lead")]
        words = "; ".join(f"over {CALLED[way]} {_printed(row)}" for way, row in rows.iterrows())
        return Verdict(decided(holds(rows.loc["left_out"], rows.loc["curve"]), *rows.low), words)

    return judge


def _change_told(found: Proxies) -> Verdict:
    rows = found.foresight.xs("change", level="what").drop(index=["left_out", "hindsight"], level="way")
    held = all(rows.value[end, "foretold"] > max(0.5, rows.value[end, "curve"]) for end in ENDS)
    words = "; ".join(f"{READERS[end]} by {CALLED[way]} {_printed(row)}" for (end, way), row in rows.iterrows())
    return Verdict(decided(held, *rows.value), words)


def _with_many(what: str):
    def judge(found: Proxies) -> Verdict:
        rows = found.whitening.loc[[("fixed", "many", what), ("stopped", "many", what)]]
        words = "; ".join(f"{READERS[readout]} {_printed(row)}" for (readout, *_), row in rows.iterrows())
        return Verdict(decided((rows.low > 0).all(), *rows.low), words)

    return judge


def _share(amount: str, what: str, holds):
    def judge(found: Proxies) -> Verdict:
        row = found.whitening.loc[("tuned", amount, what)]
        return Verdict(decided(holds(row.value), row.value), _printed(row, sign=False))

    return judge


EXPECTED = (
    Expectation(
        "No number without labels goes with the error over the sites of a network more closely than the static ranking "
        "does, on series or on texts",
        _static_wins,
    ),
    Expectation(
        "The mean rank correlation of IsoScore with the error is below .5 in size, on series and on texts",
        _correlation_of("iso_score", lambda rho: abs(rho) < 0.5),
    ),
    Expectation("That of leaving one out is .7 or more, on both", _correlation_of("loo", lambda rho: rho >= 0.7)),
    Expectation(
        "Weak ridge: from 2 d rows the error at 12 d is foretold nearer by spectrum and alignment than by leaving one "
        "out and than by a power law; both intervals of the lead in R² lie above zero",
        _nearer("weak", lambda left_out, curve: left_out.low > 0 and curve.low > 0),
    ),
    Expectation(
        "Tuned ridge: nearer than by the power law, and by less than .1 of R² nearer or farther than leaving one out",
        _nearer("tuned", lambda left_out, curve: curve.low > 0 and abs(left_out.value) < 0.1),
    ),
    Expectation(
        "What six times the rows will change is foretold by spectrum and alignment, for each of the three read-outs, "
        "with more than half of its mean square, and better than by the power law",
        _change_told,
    ),
    Expectation(
        "At 12 d the log ratio that whitening makes rises with A, for the fixed ridge and for descent stopped at a "
        "fixed step: both rank correlations have an interval above zero",
        _with_many("rho"),
    ),
    Expectation(
        "At 12 d whitening changes the error of the tuned ridge by more than a tenth on fewer than one in ten",
        _share("many", "large", lambda share: share < 0.1),
    ),
    Expectation("At 2 d it raises that error, decided, on more than half", _share("few", "harms", lambda x: x > 0.5)),
    Expectation(
        "At 12 d that log ratio goes with the sensitivity to the exponent more closely than with A: for both read-outs "
        "the lead has an interval above zero",
        _with_many("ahead"),
    ),
)
