"""Contrasts between arms: pairs by name, t over both factors, Holm over all rows."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from isonum_core.errors import IsonumError
from isonum_core.statistics.contrasts import (
    crossed_t,
    holm,
    paired_contrasts,
    paired_differences,
    paired_t,
    variance_shares,
)


def table(rng, families=6, seeds=4, effect=1.0):
    rows = []
    for f in range(families):
        for s in range(seeds):
            common = rng.normal() * 10  # of the pair: cancels in a paired difference
            for arm, shift in (("plain", 0.0), ("one", effect), ("none", 0.0)):
                x = common + shift + 0.3 * rng.normal()
                rows.append(dict(family=f"f{f}", seed=s, arm=arm, x=x, y=-2 * x))
    return pd.DataFrame(rows)


def slow_crossed_t(x):
    """Two squared standard errors, one over rows and one over columns, and Welch's degrees of freedom."""
    n_rows, n_columns = len(x), len(x[0])
    rows = [sum(row) / n_columns for row in x]
    columns = [sum(row[j] for row in x) / n_rows for j in range(n_columns)]
    mean = sum(rows) / n_rows
    a = sum((r - mean) ** 2 for r in rows) / (n_rows - 1) / n_rows
    b = sum((c - mean) ** 2 for c in columns) / (n_columns - 1) / n_columns
    df = (a + b) ** 2 / (a**2 / (n_rows - 1) + b**2 / (n_columns - 1))
    half = stats.t.ppf(0.975, df) * math.sqrt(a + b)
    return mean, mean - half, mean + half, 2 * stats.t.sf(abs(mean) / math.sqrt(a + b), df)


def test_crossed_t_is_the_slow_one():
    x = np.random.default_rng(0).normal(1.0, 1.0, size=(5, 3))
    found = crossed_t(x)
    assert (found.mean, found.low, found.high, found.p) == pytest.approx(slow_crossed_t(x.tolist()), rel=1e-12)
    assert found.n == 15


def test_crossed_t_over_rows_alone_is_students():
    """Where columns differ by nothing only the rows' error is left, with its degrees of freedom."""
    rows = np.random.default_rng(1).normal(size=7)
    found, plain = crossed_t(np.tile(rows[:, None], 3)), paired_t(rows)
    assert (found.low, found.high, found.p) == pytest.approx((plain.low, plain.high, plain.p), rel=1e-9)


def test_crossed_t_does_not_care_which_factor_comes_first():
    x = np.random.default_rng(2).normal(size=(4, 6))
    one, other = crossed_t(x), crossed_t(x.T)
    assert (one.low, one.p) == pytest.approx((other.low, other.p), rel=1e-12)


@pytest.mark.parametrize("sd", [(1, 0.2, 1), (1, 0.5, 0.1), (0.1, 1, 0.1)])
def test_crossed_t_holds_the_truth_about_as_often_as_it_says(sd):
    rng, hits, tables = np.random.default_rng(3), 0, 1000
    for _ in range(tables):
        x = sd[0] * rng.normal(size=(10, 1)) + sd[1] * rng.normal(size=(1, 3)) + sd[2] * rng.normal(size=(10, 3))
        found = crossed_t(x)
        hits += found.low <= 0 <= found.high
    # 94.3 % is the smallest of the three in 4000 tables; three standard errors of 1000 are 2.1 %
    assert 0.92 <= hits / tables <= 0.995


@pytest.mark.parametrize(
    "x, words",
    [
        (np.ones((1, 3)), "got shape (1, 3)"),
        (np.array([[0.0, np.nan], [1.0, 2.0]]), "missing values"),
        (np.full((3, 3), 0.1), "All 9 differences are equal"),
        (np.ones(4), "got shape (4,)"),
    ],
)
def test_crossed_t_refuses(x, words):
    with pytest.raises(Exception) as caught:
        crossed_t(x)
    if x.ndim == 2:  # another number of axes is refused by the annotation already
        assert isinstance(caught.value, IsonumError) and words in str(caught.value)


def test_paired_contrasts_are_those_of_the_statistics_file_and_holm_counts_all_rows():
    rows = table(np.random.default_rng(4))
    found = paired_contrasts(rows, "arm", [("one", "plain"), ("none", "plain")], ["x", "y"], ["family", "seed"])
    assert list(found.value) == ["x", "x", "y", "y"] and list(found.treated) == ["one", "none"] * 2
    wide = rows.pivot(index=["family", "seed"], columns="arm", values="x")
    own, first = paired_t(wide.one - wide.plain), found.iloc[0]
    assert (first["mean"], first.low, first.high, first.p) == pytest.approx((own.mean, own.low, own.high, own.p))
    assert (first.least, first.most) == pytest.approx(((wide.one - wide.plain).min(), (wide.one - wide.plain).max()))
    assert list(found.p_holm) == pytest.approx(list(holm(found.p)))
    assert found.n.eq(24).all() and found.p_holm[0] < 1e-6 < 0.05 < found.p_holm[1]
    assert list(found["mean"][2:]) == pytest.approx(list(-2 * found["mean"][:2]))


def test_a_missing_pair_is_an_error():
    rows = table(np.random.default_rng(6))
    lacking = rows[~((rows.family == "f0") & (rows.seed == 0) & (rows.arm == "one"))]
    with pytest.raises(IsonumError, match="1 of 24 pairs of 'one' and 'plain' lack a value"):
        paired_contrasts(lacking, "arm", [("one", "plain")], ["x"], ["family", "seed"])


def test_variance_shares_sum_to_one_and_name_their_source():
    rng = np.random.default_rng(7)
    x = rng.normal(size=(4, 5, 3))
    found = variance_shares(x)
    assert sum(found.values()) == pytest.approx(1, abs=1e-12)
    turned = variance_shares(x.transpose(1, 0, 2))
    assert (turned["first"], turned["second"]) == pytest.approx((found["second"], found["first"]))
    for axis, name in enumerate(("first", "second")):
        shape = [1, 1, 1]
        shape[axis] = x.shape[axis]
        alone = variance_shares(np.broadcast_to(rng.normal(size=shape), x.shape))
        assert alone[name] == pytest.approx(1, abs=1e-12)
    product = np.array([-1.0, 1.0])[:, None, None] * np.array([-1.0, 1.0])[:, None] * np.ones((2, 2, 3))
    assert variance_shares(product)["both"] == pytest.approx(1)


def test_variance_shares_are_those_of_the_slow_sums():
    x = np.random.default_rng(8).normal(size=(3, 4, 2))
    mean, total, first = x.mean(), 0.0, 0.0
    for i in range(3):
        for j in range(4):
            for k in range(2):
                total += (x[i, j, k] - mean) ** 2
                first += (x[i].mean() - mean) ** 2
    assert variance_shares(x)["first"] == pytest.approx(first / total, rel=1e-12)


@pytest.mark.parametrize("x", [np.ones((2, 2, 2)), np.full((2, 2, 2), np.nan)])
def test_variance_shares_refuse_what_does_not_vary(x):
    with pytest.raises(IsonumError, match="needs finite values that vary"):
        variance_shares(x)


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
    assert found.droplevel("order").to_numpy() == pytest.approx(wide["with"] - wide["without"])


def test_paired_t_is_student_s(rng):
    table = arms(rng)
    found = paired_t(paired_differences(table, "loss", "arm", "with", "without", by=["seed"]))
    a, b = (table[table.arm == arm].sort_values("seed").loss for arm in ("with", "without"))
    peer = stats.ttest_rel(a, b)
    assert found.p == pytest.approx(peer.pvalue) and (found.low, found.high) == pytest.approx(
        peer.confidence_interval()
    )
    x = a.to_numpy() - b.to_numpy()
    half = stats.t.ppf(0.975, 7) * x.std(ddof=1) / 8**0.5
    assert (found.mean, found.low) == pytest.approx((x.mean(), x.mean() - half))
    assert found.n == 8


def test_paired_t_covers_five_seeds(rng):
    # Exact for normal differences; 1000 runs know .95 to +-.007.
    hits = [(lambda c: c.low <= 1 <= c.high)(paired_t(1 + rng.normal(size=5))) for _ in range(1000)]
    assert np.mean(hits) == pytest.approx(0.95, abs=0.028)


@pytest.mark.parametrize(
    "change, by, words",
    [
        (lambda t: t[t.arm == "with"], ["seed"], r"8 of 8 pairs .* lack a value on one side; the table has \['with'\]"),
        (lambda t: t.drop(index=t.index[0]), ["seed"], "1 of 8 pairs .* lack a value"),
        (lambda t: t, ["order"], "several rows for one order"),
        (lambda t: t.assign(loss=t.loss.where(t.seed > 0)), ["seed"], "1 of 8 pairs"),
        (lambda t: t[:0], ["seed"], "0 of 0 pairs"),
    ],
)
def test_broken_pairs_are_refused(rng, change, by, words):
    with pytest.raises(IsonumError, match=words):
        paired_differences(change(arms(rng)), "loss", "arm", "with", "without", by)


@pytest.mark.parametrize("x", [[], [1.0], [1.0, float("nan")], [2.0, 2.0, 2.0], [0.0, 0.0]])
def test_differences_without_an_interval_are_refused(x):
    with pytest.raises(IsonumError, match="at least two finite|are equal"):
        paired_t(x)


def test_holm_is_statsmodels_and_keeps_the_index(rng):
    p = pd.Series(np.concatenate([rng.uniform(size=9) ** 3, [0.02, 0.02]])).sample(frac=1, random_state=1)
    found = holm(p)
    assert found.index.equals(p.index) and list(found) == pytest.approx(multipletests(p, method="holm")[1], abs=1e-15)
    assert list(holm(pd.Series([0.01, 0.04, 0.03]))) == pytest.approx([0.03, 0.06, 0.06])
    assert holm(pd.Series([0.01, np.nan])).isna().tolist() == [False, True]
