from __future__ import annotations

import numpy as np
import pytest
from knobs import KNOBS

from isonum_core.errors import IsonumError
from isonum_core.worlds.families import FAMILIES
from isonum_core.worlds.family import LAST, MEAN, SEASONAL

CASES = [(name, knob) for name, family in FAMILIES.items() for knob in family.grid]
GROUPS = 32


def _length(name):
    return 512 if name.startswith("gp_") else 1024  # a Gaussian process costs length^3


def _series(name):
    # The memory of these is long or their signal weak, so that they need more series for the same resolution.
    return 1024 if name.startswith("gp_") or name == "stochastic_volatility" else 256


def _bias(name, target):
    """What the statistic may be off by, beyond sampling error, and why."""
    return {
        # Half a cell of the padded periodogram's grid, and the two sine's lobes overlap by less than another half.
        "sine_period": target**2 / (16 * 1024),
        # Noise of sd 0.1 gives every harmonic a share of about 1e-4 of the power.
        "harmonics": 0.01,
    }.get(name, 1e-9 * max(1, target))  # float64 rounding, for statistics without sampling error


@pytest.mark.parametrize(("name", "knob"), CASES)
def test_the_knob_moves_what_it_claims(name, knob, rng):
    """Within six standard errors over 32 groups (a t with 31 degrees of freedom: once in 800,000), and the error is
    small enough to tell neighbouring knobs apart."""
    family, (statistic, target) = FAMILIES[name], KNOBS[name]
    batch = family.draw(knob, _length(name), rng, _series(name))
    found = [statistic(group) for group in np.split(batch, GROUPS)]
    error = 6 * np.std(found, ddof=1) / np.sqrt(GROUPS) + _bias(name, target(knob))
    assert abs(np.mean(found) - target(knob)) <= error
    others = [target(other) for other in family.grid if other != knob]
    assert error < min(abs(target(knob) - other) for other in others)


def test_the_46_families_stand_in_the_order_that_tables_and_pictures_have():
    assert list(FAMILIES) == list(KNOBS) and len(FAMILIES) == 46


def test_a_family_shows_itself_in_a_notebook():
    shown = FAMILIES["fgn"]._repr_markdown_()
    assert shown.startswith("**fgn**: Fractional Gaussian noise of variance 1. Knob: Hurst exponent; 1/2 is white")
    assert "* Hurst exponent: 0.1, 0.3, 0.5, 0.7, 0.9 (from 0.02 to 0.98)\n* moves memory of noise" in shown
    assert shown.endswith("* skill possible: not at 0.5 (mean)")


def test_where_skill_is_possible_is_said_in_words():
    words = {name: family.skill for name, family in FAMILIES.items()}
    assert words["gp_mixture"] == "everywhere"
    assert words["stable"] == "nowhere (mean)" and words["seasonal_walk"] == "nowhere (seasonal naive)"
    assert words["outliers"] == "not at 0 (seasonal naive)" and words["relaxation"] == "everywhere"


@pytest.mark.parametrize("name", FAMILIES)
def test_the_record_is_complete(name, rng):
    family = FAMILIES[name]
    low, high = family.range
    assert family.name == name and family.draw.__name__ == name
    assert len(family.grid) >= 4 and list(family.grid) == sorted(set(family.grid))
    assert low <= family.grid[0] and family.grid[-1] <= high
    assert "Knob:" in family.draw.__doc__ and family.moves and family.knob
    for knob in family.grid:
        assert family.naive(knob) in (None, MEAN, LAST, SEASONAL) and family.season(knob) >= 1
        assert family.naive(knob) != SEASONAL or family.season(knob) > 1


@pytest.mark.parametrize("name", FAMILIES)
def test_draws_are_finite_float64_and_follow_the_seed(name):
    family = FAMILIES[name]
    for knob in (*family.range, family.grid[1]):
        first, again, other = (family.draw(knob, 100, np.random.default_rng(seed), 3) for seed in (1, 1, 2))
        assert first.shape == (3, 100) and first.dtype == np.float64 and np.isfinite(first).all()
        assert np.array_equal(first, again)
        if knob == family.grid[1]:
            assert not np.array_equal(first, other) and not np.array_equal(first[0], first[1])
    assert family.draw(family.grid[1], 2, np.random.default_rng(0)).shape == (1, 2)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_knob_out_of_range_is_refused(name, rng):
    family = FAMILIES[name]
    low, high = family.range
    for knob in (low - 1e-6, high + 1e-6, float("nan")):
        with pytest.raises(IsonumError, match=f"{name} takes a .* from {low} to {high}, got"):
            family.draw(knob, 10, rng)
    for length, n in ((1, 1), (10, 0)):
        with pytest.raises(IsonumError, match="needs length >= 2 and n >= 1"):
            family.draw(high, length, rng, n)


# For each family one knob at which a forecast can win by enough for 64 series to show it: the second of the grid or
# the first after it, but for a few the one where there is more than 1 % to win, or where the fit is not undone by
# single wild points.
BEATABLE = {name: next((k for k in f.grid[1:] if f.beatable(k)), None) for name, f in FAMILIES.items()}
BEATABLE = {name: knob for name, knob in BEATABLE.items() if knob is not None}
BEATABLE |= {"drift": 1.0, "relaxation": 0.3, "outliers": 0.05, "piecewise_trend": 4.0}
UNBEATABLE = [(name, knob) for name, knob in CASES if not FAMILIES[name].beatable(knob)]


@pytest.mark.parametrize(("name", "knob"), BEATABLE.items())
def test_a_learnt_forecast_beats_all_naive_ones_where_the_record_says_it_can(name, knob, rng):
    assert min(_gains(FAMILIES[name], knob, rng).values()) > 4


@pytest.mark.parametrize(("name", "knob"), UNBEATABLE)
def test_no_learnt_forecast_beats_the_naive_one_that_the_record_calls_best(name, knob, rng):
    family = FAMILIES[name]
    # Five standard errors over 64 series: by chance about once in 300,000. The learnt forecast sees lags, |x| and x^2.
    assert _gains(family, knob, rng)[family.naive(knob)] < 5


def _gains(family, knob, rng):
    """By how many standard errors over series a learnt forecast of the next value beats each naive one.

    Least squares on one batch, judged on another; errors are in units of the sd of the 24 values before.
    """
    train, test = (_next_values(family.draw(knob, 400, rng, 64), family.season(knob)) for _ in range(2))
    centre = train["truth"].mean()
    target = (train["truth"] - train["last"]) / train["scale"]
    coefficients = np.linalg.lstsq(_design(train, centre), target, rcond=1e-9)[0]
    target = (test["truth"] - test["last"]) / test["scale"]
    learnt = (_design(test, centre) @ coefficients - target) ** 2
    forecasts = {MEAN: centre, LAST: test["last"], SEASONAL: test["seasonal"]}
    gains = {}
    for naive, forecast in forecasts.items():
        error = ((forecast - test["truth"]) / test["scale"]) ** 2
        # Per series, the log ratio of mean squared errors, so that no far-off series decides. The constants stand
        # for rounding: where both forecasts are exact, neither wins.
        ratio = np.log((_per_series(test, error) + 1e-20) / (_per_series(test, learnt) + 1e-20))
        gains[naive] = ratio.mean() / (ratio.std(ddof=1) / np.sqrt(len(ratio)) + 1e-4)
    return gains


def _per_series(known, x):
    count = np.bincount(known["series"], minlength=64)
    return (np.bincount(known["series"], x, minlength=64) / np.maximum(count, 1))[count > 0]


def _next_values(x, season):
    """What is known before each value. Windows without variance tell nothing and are left out, unless all are."""
    steps = np.arange(100, x.shape[1])
    lags = np.stack([x[:, steps - lag] for lag in (*range(1, 25), season, season + 1)], axis=-1)
    scale = lags[..., :24].std(axis=-1)
    kept = scale > 1e-9
    if not kept.any():
        kept, scale = ~kept, np.ones_like(scale)
    return {
        "truth": x[:, steps][kept],
        "last": lags[..., 0][kept],
        "seasonal": lags[..., -2][kept],
        "lags": lags[kept][:, 1:],
        "scale": scale[kept],
        "series": np.nonzero(kept)[0],
    }


def _design(known, centre):
    scale = known["scale"][:, None]
    shape = (known["lags"] - known["last"][:, None]) / scale
    middle = (centre - known["last"][:, None]) / scale
    bends = abs(np.hstack([middle, shape[:, :2]]))
    columns = [shape, middle, bends, bends**2, 1 / scale, shape[:, :2] * middle]
    return np.hstack(columns).clip(-20, 20)  # a few windows of a heavy tail would otherwise decide the fit
