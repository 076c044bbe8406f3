"""The fresh families: drawn as their words say, different at each knob, and not one of the 46 under another name."""

from __future__ import annotations

import numpy as np
import pytest

from isonum_core.errors import IsonumError
from isonum_core.worlds.families import FAMILIES
from isonum_core.worlds.fresh import FRESH


def draw(name, knob, n=400, length=256, seed=0):
    return FRESH[name].draw(knob, length, np.random.default_rng(seed), n)


def lag(x, k):
    """Correlation at lag k over all series and times, about the mean of all."""
    y = x - x.mean()
    return (y[:, k:] * y[:, :-k]).mean() / (y * y).mean()


def test_there_are_at_least_thirty_and_none_is_among_the_46():
    assert len(FRESH) >= 30 and not set(FRESH) & set(FAMILIES)


@pytest.mark.parametrize("name", FRESH)
def test_the_record_is_complete_and_draws_are_finite_and_follow_the_seed(name):
    family = FRESH[name]
    assert family.name == name and len(family.grid) == 4 and list(family.grid) == sorted(set(family.grid))
    assert f"Knob: {family.knob}." in family.draw.__doc__ and family.moves
    for knob in family.grid:
        x = draw(name, knob, 8, 144)
        assert x.shape == (8, 144) and x.dtype == np.float64 and np.isfinite(x).all()
        assert np.array_equal(x, draw(name, knob, 8, 144)) and not np.array_equal(x, draw(name, knob, 8, 144, 1))
        assert family.naive(knob) is None and 1 <= family.season(knob) <= 48
    with pytest.raises(IsonumError, match=f"{name} takes a"):
        draw(name, family.grid[-1] + 1)


@pytest.mark.parametrize("name", FRESH)
def test_series_are_independent_of_each_other(name):
    for knob in (FRESH[name].grid[0], FRESH[name].grid[-1]):
        x = draw(name, knob, 60, 200)
        x = x[x.std(1) > 0]
        x = np.diff(x, axis=1) if name in ("growing_season", "parabola", "saturation", "smooth_trend") else x
        r = np.corrcoef(x)[np.triu_indices(len(x), 1)]
        # growth, S and parabola share a trend, which is their law; of the others no pair of series knows the other
        assert abs(r.mean()) < (0.35 if name in ("growing_season", "parabola", "saturation") else 0.12)


@pytest.mark.parametrize("name", FRESH)
def test_the_knob_moves_the_law(name):
    """Some statistic of the ends of the grid differs by more than six standard errors."""

    def statistics(knob):
        x = draw(name, knob)
        c = x - x.mean(1, keepdims=True)
        s = c.std(1, keepdims=True)
        u = c / np.where(s > 0, s, 1)
        each = [(u[:, k:] * u[:, :-k]).mean(1) for k in (1, 2, 3, 6, 7, 12, 20)]
        each += [(u**4).mean(1), np.log(s[:, 0] + 1e-9), np.log1p(abs(np.diff(u, axis=1)).max(1)), x.mean(1)]
        return np.array([[e.mean(), e.std() / np.sqrt(len(e))] for e in each])

    first, last = statistics(FRESH[name].grid[0]), statistics(FRESH[name].grid[-1])
    apart = abs(first[:, 0] - last[:, 0]) / np.hypot(first[:, 1], last[:, 1])
    assert apart.max() > 6


def test_filters_have_the_correlations_of_their_equations():
    assert lag(draw("window_mean", 4.0), 1) == pytest.approx(0.75, abs=0.02)
    assert lag(draw("late_echo", 5.0), 5) == pytest.approx(0.8, abs=0.03)
    assert lag(draw("shot_noise", 0.7), 1) == pytest.approx(0.7, abs=0.02)
    assert lag(draw("product", 0.8), 1) == pytest.approx(0.64, abs=0.03)
    phi, theta = 0.9, 0.3
    expected = (1 + phi * theta) * (phi + theta) / (1 + 2 * phi * theta + theta**2)
    assert lag(draw("arma", theta), 1) == pytest.approx(expected, abs=0.02)
    steps = np.diff(draw("persistent_steps", 0.7), axis=1)
    assert lag(steps, 1) == pytest.approx(0.7, abs=0.02)


def test_maps_and_flows_obey_their_equations():
    x = draw("tent_map", 1.8, 5)
    assert np.allclose(x[:, 1:], 1.8 * np.minimum(x[:, :-1], 1 - x[:, :-1]))
    x = draw("delayed_map", 2.2, 5)
    assert np.allclose(x[:, 2:], 2.2 * x[:, 1:-1] * (1 - x[:, :-2]))
    # Lorenz' attractor is symmetric in x, and lies within 20
    x = draw("lorenz", 0.1)
    assert abs(x).max() < 20 and abs(x.mean()) < 1
    # a small orbit of Lotka and Volterra has the period 2 pi / sqrt(pull), sampled at 0.4
    x = draw("predators", 1.0, 200)
    power = (abs(np.fft.rfft(x - x.mean(1, keepdims=True), axis=1)) ** 2).mean(0)
    assert 256 / power.argmax() == pytest.approx(2 * np.pi / 0.4, rel=0.15)


def test_queues_wells_counts_and_mirrors_are_what_they_say():
    x = draw("queue", 0.8)
    assert (x >= 0).all() and np.array_equal(x, x.round()) and (np.diff(x, axis=1) >= -1).all()
    x = draw("clipped_walk", 0.4)
    assert abs(x).max() <= 1
    x = draw("seasonal_counts", 0.6)
    assert np.array_equal(x, x.round()) and lag(x, 24) > lag(x, 12)
    x = draw("double_well", 0.3)
    assert abs(abs(x).mean() - 1) < 0.2
    x = draw("missed_cycles", 0.4)
    assert (x.reshape(400, -1)[:, :252].reshape(400, 21, 12) == 0).all(2).mean() == pytest.approx(0.4, abs=0.03)
