"""Crossed intervals against closed forms, scipy, slow twins and simulated coverage."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from isonum_core.errors import IsonumError, WeakNumberWarning
from isonum_core.statistics.intervals import crossed_intervals, decided, sides
from isonum_core.statistics.ranks import RANKS, correlations


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


def interval(table, statistic, rng, *factors, draws=2000):
    return crossed_intervals(table, lambda t: {"y": statistic(t)}, rng, factors or ("family", "seed"), draws).loc["y"]


def exact_variance(y):
    """Of the crossed-bootstrap mean: E[(n' Y m)^2] / (FS)^2 - mean^2, n and m the multinomial counts of levels."""
    n, m = (np.eye(k) + (1 - 1 / k) * np.ones((k, k)) for k in y.shape)
    return np.trace(n @ y @ m @ y.T) / y.size**2 - y.mean() ** 2


def test_the_spread_of_the_draws_is_the_exact_one(rng):
    y = rng.normal(size=(6, 4)) + 2 * rng.normal(size=(6, 1))
    found = interval(table_of(y), mean, rng, draws=4000)
    # The mean of 24 values is near normal: 95 % of the draws span 3.92 standard deviations. 4000 draws give each end
    # to 0.04 of one, and 6 x 4 levels are few enough for some skewness.
    assert found.high - found.low == pytest.approx(3.92 * exact_variance(y) ** 0.5, rel=0.08)
    assert found.value == pytest.approx(y.mean(), rel=1e-12)


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
    interval(table, lambda t: seen.append(t) or 0.0, rng, draws=30)
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
    interval(table, lambda t: sizes.add(len(t)) or 0.0, rng, draws=200)
    assert max(sizes) == 12 and min(sizes) < 11


def test_one_factor_is_the_ordinary_bootstrap(rng):
    x = rng.exponential(size=25)
    table = pd.DataFrame({"seed": range(25), "y": x})
    ours = interval(table, mean, rng, "seed", draws=4000)
    peer = stats.bootstrap((x,), np.mean, n_resamples=40_000, method="percentile", rng=rng).confidence_interval
    # An end known from 4000 draws varies by about 0.04 standard deviations of the mean; four of those.
    assert ours.low == pytest.approx(peer.low, abs=0.16 * x.std() / 5)
    assert ours.high == pytest.approx(peer.high, abs=0.16 * x.std() / 5)


def coverage(rng, draw, truth, statistic, *factors, runs=40):
    hits = 0
    for _ in range(runs):
        found = interval(draw(rng), statistic, rng, *factors, draws=80)
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
    naive = coverage(rng, lambda r: crossed(r, 30, 5, f=1, s=0.2, e=0.1).assign(row=range(150)), 0, mean, "row")
    assert naive < 0.75


def related(rng, families=30, seeds=5, between=0.0, within=0.0, noise=0.3):
    """x and y whose family effects correlate by `between` and whose rest correlates by `within`."""

    def pair(r, *size):
        x = rng.normal(size=size)
        return x, r * x + (1 - r * r) ** 0.5 * rng.normal(size=size)

    outer, inner = pair(between, families, 1), pair(within, families, seeds)
    table = table_of(outer[0] + noise * inner[0])
    return table.assign(x=table.y, y=(outer[1] + noise * inner[1]).ravel())


def rank_correlations(table):
    return {kind: float(correlations(ranks(table, ["x", "y"]))[0, 1]) for kind, ranks in RANKS.items()}


def test_intervals_of_both_rank_correlations_cover_them(rng):
    def draw(n):
        return related(rng, n, between=-0.6, within=0.7)

    def rank(r):  # Spearman's of a normal pair of correlation r
        return 6 / np.pi * np.arcsin(r / 2)

    runs, hits = 25, np.zeros(2)
    large = pd.concat([draw(400).assign(family=lambda t, i=i: t.family + 400 * i) for i in range(10)])
    # Averages of five seeds: the rest enters the families' means with a fifth of its variance.
    own = rank_correlations(large)
    truth = rank((-0.6 + 0.09 * 0.7 / 5) / (1 + 0.09 / 5)), own["within"]
    assert own["between"] == pytest.approx(truth[0], abs=0.04)  # 4000 families: +-0.011
    for _ in range(runs):
        found = crossed_intervals(draw(30), rank_correlations, rng, draws=80)
        hits += [found.low[k] <= t <= found.high[k] for k, t in zip(("between", "within"), truth, strict=True)]
    assert (hits / runs >= floor(runs)).all()


def test_between_and_within_may_differ_in_sign(rng):
    found = crossed_intervals(related(rng, between=-0.95, within=0.95), rank_correlations, rng, draws=200)
    assert found.high["between"] < 0 < found.low["within"]


def test_the_same_generator_gives_the_same_interval():
    table = crossed(np.random.default_rng(3))
    one, two = (interval(table, mean, np.random.default_rng(4), draws=50) for _ in "ab")
    assert one.equals(two)


def test_a_resample_is_computed_once(rng):
    """In any order the same levels are one resample: 3 of 3 can be drawn in ten ways."""
    asked = []
    interval(crossed(rng, 4, 3), lambda t: asked.append(t) or mean(t), rng, "seed", draws=400)
    assert len(asked) == 1 + 10


def test_what_cannot_be_said_is_refused(rng):
    table = crossed(rng, 12, 5)  # so many that no resample comes twice
    with pytest.raises(IsonumError, match="no column 'famly'"):
        interval(table, mean, rng, "famly")
    with pytest.raises(IsonumError, match="no rows or a factor with missing"):
        interval(table.iloc[:0], mean, rng)
    with pytest.raises(IsonumError, match="is nan on the whole table"):
        interval(table, lambda t: float("nan"), rng)
    turns = itertools.count()
    with pytest.raises(IsonumError, match="undefined on 10 of 20 resamples"):
        interval(table, lambda t: 1.0 if next(turns) % 2 == 0 else float("nan"), rng, draws=20)
    turns = itertools.count()
    some = interval(table, lambda t: float("nan") if next(turns) == 7 else mean(t), rng, draws=40)
    assert some.low <= some.value <= some.high  # one of 40 is dropped
    with pytest.warns(WeakNumberWarning, match="variation of 'seed'"):
        interval(table[table.seed == 0], mean, rng, draws=20)


def test_a_constant_has_an_interval_of_no_width(rng):
    found = interval(crossed(rng, 4, 3).assign(y=2.0), mean, rng, draws=20)
    assert found.tolist() == [2.0, 2.0, 2.0]


def test_intervals_are_counted_by_the_side_of_zero():
    low, high = pd.Series([-2.0, -1.0, 0.0, 0.1, -3.0]), pd.Series([-1.0, 1.0, 1.0, 0.2, 0.0])
    assert sides(low, high) == (1, 1, 3)
    assert sides(low[:0], high[:0]) == (0, 0, 0)


def test_a_missing_number_decides_nothing():
    assert decided(np.bool_(True), 1.0) is True and decided(False, 1.0, 2.0) is False
    assert decided(True, 1.0, np.nan) is None and decided(np.nan > 0, np.nan) is None
