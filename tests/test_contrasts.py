"""Contrasts between arms: pairs by name, t over both factors, Holm over all rows."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from isonum_core.errors import IsonumError
from isonum_core.statistics.contrasts import crossed_contrasts, crossed_t, paired_contrasts, variance_shares
from isonum_core.statistics.intervals import holm, paired_t


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
    assert found.n == 15 and found.effect == pytest.approx(x.mean() / x.std(ddof=1), rel=1e-12)


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
    assert list(found.p_holm) == pytest.approx(list(holm({str(i): p for i, p in found.p.items()}).values()))
    assert found.n.eq(24).all() and found.p_holm[0] < 1e-6 < 0.05 < found.p_holm[1]
    assert list(found["mean"][2:]) == pytest.approx(list(-2 * found["mean"][:2]))


def test_crossed_contrasts_find_the_shift_and_leave_the_null():
    rows = table(np.random.default_rng(5))
    found = crossed_contrasts(
        rows, "arm", [("one", "plain"), ("none", "plain")], ["x"], np.random.default_rng(0), draws=300
    )
    shift, null = found.iloc[0], found.iloc[1]
    assert shift.t_low < shift.low < 1.0 < shift.high < shift.t_high
    assert null.t_low < 0 < null.t_high and null.p_holm > 0.05 > 1e-3 > shift.p_holm
    wide = rows.pivot(index=["family", "seed"], columns="arm", values="x")
    grid = (wide.one - wide.plain).unstack().to_numpy()
    assert shift.p == pytest.approx(crossed_t(grid).p) and shift["mean"] == pytest.approx(grid.mean())


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
