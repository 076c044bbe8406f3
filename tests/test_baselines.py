from __future__ import annotations

import numpy as np
import pytest

from isonum_core.errors import IsonumError
from isonum_core.worlds.baselines import (
    errors_of,
    last_value,
    mean_value,
    naive_forecasts,
    nmse,
    seasonal_naive,
    skill,
    skill_among,
    varies,
)
from isonum_core.worlds.series import find_series

# Seasonal-naive MASE and normalised deviation at horizon 12 and season 12, from the table published with Chronos.
PUBLISHED = {
    "hospital": (0.9205278266364826, 0.0726263373268254),
    "carparts": (1.2014638390969912, 1.5999522140809177),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_seasonal_naive_has_the_published_error(name, shared, monkeypatch):
    monkeypatch.setenv("ISONUM_DATA", str(shared / "data"))
    values = find_series(name).values
    train, actual = values[:, :-12], values[:, -12:]
    forecast = seasonal_naive(train, 12, 12)
    error, points = _mase_letter_by_letter(train, actual, forecast, 12)
    assert error == pytest.approx(PUBLISHED[name][0], abs=1e-9)
    seen = np.isfinite(actual - forecast)
    deviation = abs(actual - forecast)[seen].sum() / abs(actual)[seen].sum()
    assert deviation == pytest.approx(PUBLISHED[name][1], abs=1e-9)
    assert (points == actual.size) == (name == "hospital")


def test_exchange_rates_have_the_published_error_to_single_precision(shared, monkeypatch):
    monkeypatch.setenv("ISONUM_DATA", str(shared / "data"))
    values = find_series("exchange_rate").values
    train, actual = values[:, :-30], values[:, -30:]
    error, _ = _mase_letter_by_letter(train, actual, seasonal_naive(train, 30, 5), 5)
    assert error == pytest.approx(1.7401824286954128, rel=1e-6)  # published from float32


def test_naive_forecasts_by_hand():
    context = np.array([[1.0, 2.0, 3.0, 4.0, 5.0], [0.0, 0.0, 0.0, 0.0, 10.0]])
    assert last_value(context, 2).tolist() == [[5, 5], [10, 10]]
    assert mean_value(context, 2).tolist() == [[3, 3], [2, 2]]
    assert seasonal_naive(context, 5, 3).tolist() == [[3, 4, 5, 3, 4], [0, 0, 10, 0, 0]]


def _mase_letter_by_letter(train, actual, forecast, season):
    """Hyndman and Koehler's scaled error, one point at a time, and how many points have one."""
    errors = []
    for x, y, f in zip(train, actual, forecast, strict=True):
        steps = [abs(x[t] - x[t - season]) for t in range(season, len(x)) if abs(x[t] - x[t - season]) >= 0]
        scale = sum(steps) / len(steps) if steps else 0
        errors += [abs(a - b) / scale for a, b in zip(y, f, strict=True) if scale > 0 and abs(a - b) >= 0]
    return sum(errors) / len(errors), len(errors)


def test_nmse_is_one_for_the_mean_and_ignores_scale_and_offset(rng):
    context, actual = rng.normal(size=(4000, 200)), rng.normal(size=(4000, 3))
    forecast = mean_value(context, 3)
    score = nmse(context, actual, forecast)
    # 12,000 squares of variance 2; the mean and the variance of 200 values each add about 1/200.
    assert abs(score.value - 1.01) < 6 * np.sqrt(2 / 12_000)
    assert nmse(context, actual, last_value(context, 3)).value > 1.8
    a, b = rng.uniform(0.1, 1e3, size=(4000, 1)), rng.normal(size=(4000, 1)) * 1e3
    moved = nmse(a * context + b, a * actual + b, a * forecast + b)
    assert moved.value == pytest.approx(score.value, rel=1e-6)  # 1e4 / 0.1 of the digits is lost to the offset


def test_nmse_leaves_flat_contexts_out(rng):
    context = np.vstack([np.full(50, 0.1), rng.normal(size=50)])
    actual = np.zeros((2, 4))
    score = nmse(context, actual, actual + 1)
    assert score.points == score.dropped == 4
    assert score.value == pytest.approx(1 / context[1].var(), rel=1e-12)
    with pytest.raises(IsonumError, match="got none. Look at the variance of the context"):
        nmse(context[:1], actual[:1], actual[:1])
    with pytest.raises(IsonumError, match="nmse needs contexts without missing values"):
        nmse(np.full((1, 5), np.nan), actual[:1], actual[:1])


def test_skill_compares_with_the_better_naive_error():
    assert skill(0.5, 2.0, 1.0) == 0.5
    assert skill(1.0, 2.0, 1.0) == 0 and skill(0.0, 1.0) == 1 and skill(3.0, 1.0) == -2
    for error, naive in ((1.0, ()), (1.0, (0.0,)), (float("nan"), (1.0,)), (1.0, (float("inf"),))):
        with pytest.raises(IsonumError, match="skill needs an error >= 0 and naive errors > 0"):
            skill(error, *naive)


def test_what_cannot_be_forecast_is_refused():
    x = np.arange(6.0)[None]
    assert seasonal_naive(x, 1, 6).tolist() == [[0]], "the whole context may be one season"
    for call in (lambda: seasonal_naive(x, 3, 7), lambda: seasonal_naive(x, 0, 1), lambda: mean_value(x, 0)):
        with pytest.raises(IsonumError, match="horizon >= 1 and a season within the context of 6 steps"):
            call()


def test_errors_and_skill_among_all_naive_forecasts_by_hand(rng):
    x = rng.normal(size=(50, 36)).cumsum(1)
    context, actual = x[:, :32], x[:, 32:]
    naive = naive_forecasts(context, 4, 3)
    assert np.array_equal(naive["seasonal"], context[:, [29, 30, 31, 29]])
    errors = errors_of(context, actual, {"model": actual + 0.1, **naive})
    variance = context.var(1, keepdims=True)
    by_hand = {"model": 0.01 / variance, "last": (actual - context[:, -1:]) ** 2 / variance}
    for name, error in by_hand.items():
        assert errors[name] == pytest.approx(error.mean(), rel=1e-9)
    assert skill_among(errors) == 1 - errors["model"] / min(errors["last"], errors["seasonal"], errors["mean"])
    assert skill_among(errors | {"last": 0.0}) is None and skill_among(errors | {"model": 0.0}) == 1
    assert varies(np.stack([np.full(5, 7.0), np.arange(5.0)])).tolist() == [False, True]
