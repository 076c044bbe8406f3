"""Intervals against closed forms, scipy, slow twins and simulated coverage; contrasts and ranks against scipy."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from isonum_core.errors import IsonumError, WeakNumberWarning
from isonum_core.statistics.intervals import crossed_bootstrap, holm, paired_differences, paired_t
from isonum_core.statistics.ranks import spearman, spearman_between, spearman_within


def effects(rng, families, seeds, f, s, e):
    """Values of families x seeds with random effects of the given standard deviations."""
    return f * rng.normal(size=(families, 1)) + s * rng.normal(size=(1, seeds)) + e * rng.normal(size=(families, seeds))


def crossed(rng, families=30, seeds=5, f=1.0, s=0.5, e=0.5):
    return table_of(effects(rng, families, seeds, f, s, e))


def table_of(y):
    family, seed = np.indices(y.shape)
    return pd.DataFrame({"family": family.ravel(), "seed": seed.ravel(), "y": y.ravel()})


def mean(table):
    return float(table["y"].mean())


def exact_variance(y):
    """Of the crossed-bootstrap mean: E[(n' Y m)^2] / (FS)^2 - mean^2, n and m the multinomial counts of levels."""
    n, m = (np.eye(k) + (1 - 1 / k) * np.ones((k, k)) for k in y.shape)
    return np.trace(n @ y @ m @ y.T) / y.size**2 - y.mean() ** 2


def test_the_spread_of_the_draws_is_the_exact_one(rng):
    y = rng.normal(size=(6, 4)) + 2 * rng.normal(size=(6, 1))
    found = crossed_bootstrap(table_of(y), mean, rng, draws=4000)
    # The mean of 24 values is near normal: 95 % of the draws span 3.92 standard deviations. 4000 draws give each end
    # to 0.04 of one, and 6 x 4 levels are few enough for some skewness.
    assert found.high - found.low == pytest.approx(3.92 * exact_variance(y) ** 0.5, rel=0.08)
    assert found.value == pytest.approx(y.mean(), rel=1e-12)
    assert (found.draws, found.dropped, found.levels) == (4000, 0, {"family": 6, "seed": 4})


def test_the_documented_average_of_that_spread(rng):
    F, S, f, s, e = 7, 4, 1.3, 0.8, 1.1
    stated = f**2 / F * (1 - 1 / F) + s**2 / S * (1 - 1 / S) + e**2 / (F * S) * (3 - 2 / F - 2 / S + 1 / (F * S))
    drawn = [exact_variance(effects(rng, F, S, f, s, e)) for _ in range(20_000)]
    # A variance varies by about its own size; 20,000 of them are averaged.
    assert np.mean(drawn) == pytest.approx(stated, rel=0.03)


def test_a_resample_is_a_table_of_whole_levels_with_new_names(rng):
    table = table_of(np.arange(12.0).reshape(4, 3))
    table = pd.concat([table, table.assign(y=table.y + 100)])  # two rows a cell
    seen = []
    crossed_bootstrap(table, lambda t: seen.append(t) or 0.0, rng, draws=30)
    values = {cell: set(rows.y) for cell, rows in table.groupby(["family", "seed"])}
    for t in seen[1:]:
        assert len(t) == 24 and t.groupby(["family", "seed"]).ngroups == 12
        # Slow twin: some old family stands behind each new one, some old seed behind each new one.
        old = {
            cell: next(k for k, v in values.items() if v == set(rows.y)) for cell, rows in t.groupby(["family", "seed"])
        }
        assert all(len({old[f, s][0] for s in range(3)}) == 1 for f in range(4))
        assert all(len({old[f, s][1] for f in range(4)}) == 1 for s in range(3))


def test_a_missing_combination_stays_missing(rng):
    table = table_of(np.arange(12.0).reshape(4, 3)).drop(index=5)
    sizes = set()
    crossed_bootstrap(table, lambda t: sizes.add(len(t)) or 0.0, rng, draws=200)
    assert max(sizes) == 12 and min(sizes) < 11


@pytest.mark.parametrize("method, theirs", [("percentile", "percentile"), ("bca", "BCa")])
def test_one_factor_is_the_ordinary_bootstrap(rng, method, theirs):
    x = rng.exponential(size=25)  # skewed, so that bca and percentile differ
    table = pd.DataFrame({"seed": range(25), "y": x})
    ours = crossed_bootstrap(table, mean, rng, factors=["seed"], draws=4000, method=method)
    peer = stats.bootstrap((x,), np.mean, n_resamples=40_000, method=theirs, rng=rng).confidence_interval
    # An end known from 4000 draws varies by about 0.04 standard deviations of the mean; four of those.
    assert ours.low == pytest.approx(peer.low, abs=0.16 * x.std() / 5)
    assert ours.high == pytest.approx(peer.high, abs=0.16 * x.std() / 5)


def test_two_factors_accelerate_as_two_samples_do(rng):
    # y = a_f + b_s: the mean over the table is the sum of two means, and crossing resamples them apart.
    a, b = rng.exponential(size=20), 3 * rng.exponential(size=12)
    ours = crossed_bootstrap(table_of(a[:, None] + b[None]), mean, rng, draws=4000, method="bca")
    peer = stats.bootstrap(
        (a, b), lambda a, b, axis: a.mean(axis) + b.mean(axis), n_resamples=40_000, method="BCa", rng=rng
    ).confidence_interval
    sd = np.sqrt(a.var() / 20 + b.var() / 12)
    assert ours.low == pytest.approx(peer.low, abs=0.16 * sd)
    assert ours.high == pytest.approx(peer.high, abs=0.16 * sd)


def coverage(rng, draw, truth, statistic, runs=40, **how):
    hits = 0
    for _ in range(runs):
        found = crossed_bootstrap(draw(rng), statistic, rng, draws=80, **how)
        hits += found.low <= truth <= found.high
    return hits / runs


def floor(runs):
    """What a coverage of .95 falls below in one of 10,000 simulations of so many runs."""
    return stats.binom.ppf(1e-4, runs, 0.95) / runs


def test_intervals_of_a_mean_cover_it(rng):
    # Too long by the rest is allowed: see the formula.
    found = coverage(rng, lambda r: crossed(r, 30, 5, f=1, s=0.2, e=1), 0, mean)
    assert found >= floor(40)
    # Resampling rows as if they were independent is what this is for: it covers far less.
    naive = coverage(
        rng, lambda r: crossed(r, 30, 5, f=1, s=0.2, e=0.1).assign(row=range(150)), 0, mean, factors=["row"]
    )
    assert naive < 0.75


def related(rng, families=30, seeds=5, between=0.0, within=0.0, noise=0.3):
    """x and y whose family effects correlate by `between` and whose rest correlates by `within`."""

    def pair(r, *size):
        x = rng.normal(size=size)
        return x, r * x + (1 - r * r) ** 0.5 * rng.normal(size=size)

    outer, inner = pair(between, families, 1), pair(within, families, seeds)
    table = table_of(outer[0] + noise * inner[0])
    return table.assign(x=table.y, y=(outer[1] + noise * inner[1]).ravel())


def test_intervals_of_both_rank_correlations_cover_them(rng):
    rank = lambda r: 6 / np.pi * np.arcsin(r / 2)  # noqa: E731  Spearman's of a normal pair of correlation r
    runs, hits = 25, np.zeros(2)
    draw = lambda n: related(rng, n, between=-0.6, within=0.7)  # noqa: E731
    large = pd.concat([draw(400).assign(family=lambda t, i=i: t.family + 400 * i) for i in range(10)])
    # Averages of five seeds: the rest enters the families' means with a fifth of its variance.
    truth = rank((-0.6 + 0.09 * 0.7 / 5) / (1 + 0.09 / 5)), spearman_within(large, "x", "y")
    assert spearman_between(large, "x", "y") == pytest.approx(truth[0], abs=0.04)  # 4000 families: +-0.011
    for _ in range(runs):
        found = spearman(draw(30), "x", "y", rng, draws=80)
        hits += [found[k].low <= t <= found[k].high for k, t in zip(("between", "within"), truth, strict=True)]
    assert (hits / runs >= floor(runs)).all()


def test_between_and_within_may_differ_in_sign(rng):
    found = spearman(related(rng, between=-0.95, within=0.95), "x", "y", rng, draws=200)
    assert found["between"].high < 0 < found["within"].low


def test_rank_correlations_are_scipy_s(rng):
    table = related(rng, 8, 6, between=0.5, within=0.5)
    means = table.groupby("family")[["x", "y"]].mean()
    assert spearman_between(table, "x", "y") == pytest.approx(stats.spearmanr(means.x, means.y)[0], abs=1e-12)
    own = [stats.spearmanr(rows.x, rows.y)[0] for _, rows in table.groupby("family")]
    assert spearman_within(table, "x", "y") == pytest.approx(np.mean(own), abs=1e-12)
    tied = table.round(0)
    means = tied.groupby("family")[["x", "y"]].mean()
    assert spearman_between(tied, "x", "y") == pytest.approx(stats.spearmanr(means.x, means.y)[0], abs=1e-12)


def test_within_is_blind_to_the_families_and_between_to_their_order(rng):
    table = related(rng, within=0.4)
    moved = table.assign(x=table.x + 10 * table.family, y=table.y * (1 + table.family))
    assert spearman_within(moved, "x", "y") == pytest.approx(spearman_within(table, "x", "y"), abs=1e-12)
    shuffled = table.sample(frac=1, random_state=1)
    for f in (spearman_between, spearman_within):
        assert f(shuffled, "x", "y") == pytest.approx(f(table, "x", "y"), abs=1e-12)


def test_the_same_generator_gives_the_same_interval():
    table = crossed(np.random.default_rng(3))
    one, two = (crossed_bootstrap(table, mean, np.random.default_rng(4), draws=50) for _ in "ab")
    assert one == two


def arms(rng, effect=0.5, seeds=8):
    base = rng.normal(size=seeds)
    rows = [
        {"arm": arm, "seed": seed, "order": 0, "loss": base[seed] + shift + 0.1 * rng.normal()}
        for arm, shift in (("with", effect), ("without", 0.0))
        for seed in range(seeds)
    ]
    return pd.DataFrame(rows).sample(frac=1, random_state=2)


def test_pairs_are_made_by_name_not_by_position(rng):
    table = arms(rng)
    found = paired_differences(table, "loss", "arm", "with", "without", by=["seed", "order"])
    wide = table.pivot(index="seed", columns="arm", values="loss")
    assert found.set_index("seed").difference.sort_index().to_numpy() == pytest.approx(wide["with"] - wide["without"])


def test_paired_t_is_student_s(rng):
    table = arms(rng)
    found = paired_t(paired_differences(table, "loss", "arm", "with", "without", by=["seed"]).difference)
    a, b = (table[table.arm == arm].sort_values("seed").loss for arm in ("with", "without"))
    peer = stats.ttest_rel(a, b)
    assert found.p == pytest.approx(peer.pvalue) and (found.low, found.high) == pytest.approx(
        peer.confidence_interval()
    )
    x = a.to_numpy() - b.to_numpy()
    half = stats.t.ppf(0.975, 7) * x.std(ddof=1) / 8**0.5
    assert (found.mean, found.low, found.effect) == pytest.approx((x.mean(), x.mean() - half, x.mean() / x.std(ddof=1)))
    assert found.n == 8


def test_paired_t_covers_five_seeds(rng):
    # Exact for normal differences; 1000 runs know .95 to +-.007.
    hits = [(lambda c: c.low <= 1 <= c.high)(paired_t(1 + rng.normal(size=5))) for _ in range(1000)]
    assert np.mean(hits) == pytest.approx(0.95, abs=0.028)


@pytest.mark.parametrize(
    "change, by, words",
    [
        (lambda t: t[t.arm == "with"], ["seed"], r"no row with arm = 'without'. It has \['with'\]"),
        (lambda t: t.drop(index=t.index[0]), ["seed"], "1 of 8 pairs .* lack a value"),
        (lambda t: t, ["order"], "several rows for one order"),
        (lambda t: t.assign(loss=t.loss.where(t.seed > 0)), ["seed"], "1 of 8 pairs"),
    ],
)
def test_broken_pairs_are_refused(rng, change, by, words):
    with pytest.raises(IsonumError, match=words):
        paired_differences(change(arms(rng)), "loss", "arm", "with", "without", by)


@pytest.mark.parametrize("x", [[], [1.0], [1.0, float("nan")], [2.0, 2.0, 2.0], [0.0, 0.0]])
def test_differences_without_an_interval_are_refused(x):
    with pytest.raises(IsonumError, match="at least two finite|are equal"):
        paired_t(x)


def test_holm(rng):
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06})
    p = np.concatenate([rng.uniform(size=9) ** 3, [0.02, 0.02]])
    found = list(holm({str(k): v for k, v in enumerate(p)}).values())
    assert found == pytest.approx(multipletests(p, method="holm")[1], abs=1e-15)
    assert holm({}) == {}
    with pytest.raises(IsonumError, match="'a' is 1.5, expected a number in"):
        holm({"a": 1.5})


def test_holm_errs_at_most_as_often_as_it_says(rng):
    # All six hypotheses true: 4000 runs know .05 to +-.0035.
    wrong = [min(holm(dict(zip("abcdef", rng.uniform(size=6), strict=True))).values()) < 0.05 for _ in range(4000)]
    assert np.mean(wrong) == pytest.approx(0.05, abs=0.012)


def test_a_resample_is_computed_once(rng):
    """In any order the same levels are one resample: 3 of 3 can be drawn in ten ways."""
    asked = []
    crossed_bootstrap(crossed(rng, 4, 3), lambda t: asked.append(t) or mean(t), rng, factors=["seed"], draws=400)
    assert len(asked) == 1 + 10


def test_what_cannot_be_said_is_refused(rng):
    table = crossed(rng, 12, 5)  # so many that no resample comes twice
    with pytest.raises(IsonumError, match="no column 'famly'"):
        crossed_bootstrap(table, mean, rng, factors=["famly"])
    with pytest.raises(IsonumError, match="no rows or a factor with missing"):
        crossed_bootstrap(table.iloc[:0], mean, rng)
    with pytest.raises(IsonumError, match="is nan on the whole table"):
        crossed_bootstrap(table, lambda t: float("nan"), rng)
    turns = itertools.count()
    with pytest.raises(IsonumError, match="undefined on 10 of 20 resamples"):
        crossed_bootstrap(table, lambda t: 1.0 if next(turns) % 2 == 0 else float("nan"), rng, draws=20)
    turns = itertools.count()
    some = crossed_bootstrap(table, lambda t: float("nan") if next(turns) == 7 else mean(t), rng, draws=40)
    assert (some.draws, some.dropped) == (39, 1)
    with pytest.raises(IsonumError, match="one side of the statistic"):
        turns = itertools.count()
        crossed_bootstrap(table, lambda t: float(next(turns)), rng, draws=40, method="bca")
    with pytest.raises(IsonumError, match="'y' has missing values"):
        spearman(table.assign(x=1.0, y=table.y.where(table.seed > 0)), "x", "y", rng)
    with pytest.warns(WeakNumberWarning, match="variation of 'seed'"):
        crossed_bootstrap(table[table.seed == 0], mean, rng, draws=20)


def test_a_constant_has_an_interval_of_no_width(rng):
    for method in ("percentile", "bca"):
        found = crossed_bootstrap(crossed(rng, 4, 3).assign(y=2.0), mean, rng, draws=20, method=method)
        assert found.low == found.value == found.high == 2.0
