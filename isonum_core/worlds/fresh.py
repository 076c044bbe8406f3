"""Families that confirm or refute: written after the predictions of the study `families` were fixed in a commit.

Other kinds of generator than the 46: modulated and interrupted waves, shapes drawn anew for each series, flows and
maps, events and queues, products. Names and knobs were chosen by kind, and no network was run on them. No knob is white
noise or a martingale. Linear filters and flows forget their start for 200 steps.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from scipy.ndimage import maximum_filter1d
from scipy.signal import lfilter

from isonum_core.worlds.family import Batch, Family, family

FRESH: dict[str, Family] = {}
BURN_IN = 200
Rng = np.random.Generator


def _add(
    name: str, knob: str, grid: tuple[float, ...], words: str, draw: Callable, season: Callable[[float], int] | int = 1
) -> None:
    def drawn(value: float, length: int, rng: Rng, n: int = 1) -> Batch:
        return draw(value, length, rng, n)

    drawn.__name__, drawn.__doc__ = name, f"{words} Knob: {knob}."
    first = words[0] if words.startswith(("AR", "Poisson", "Lotka")) else words[0].lower()
    made = family(knob, (min(grid), max(grid)), grid, first + words[1:-1], season=season)(drawn)
    FRESH[name] = made.family


def _white(T: int, rng: Rng, n: int) -> Batch:
    return rng.standard_normal((n, T))


def _filtered(recursion: list[float], shocks: Callable[[int], np.ndarray], T: int) -> Batch:
    """x_t = a_1 x_{t-1} + a_2 x_{t-2} + ... + shock."""
    return lfilter([1.0], [1.0, *(-a for a in recursion)], shocks(T + BURN_IN), axis=1)[:, BURN_IN:]


def _ar(a: float, T: int, rng: Rng, n: int) -> Batch:
    """AR(1) of variance 1."""
    return np.sqrt(1 - a * a) * _filtered([a], lambda length: _white(length, rng, n), T)


def _sine(period: float, T: int, rng: Rng, n: int, phase: Batch | float = 0.0) -> Batch:
    return np.sqrt(2) * np.sin(2 * np.pi * (np.arange(T) / period + rng.random((n, 1))) + phase)


def _shape(period: int, T: int, rng: Rng, n: int) -> Batch:
    """A season whose shape is drawn for each series."""
    return rng.standard_normal((n, period))[:, np.arange(T) % period]


def _cum(sd: float, T: int, rng: Rng, n: int) -> Batch:
    return np.cumsum(sd * _white(T, rng, n), 1)


def _levels(rate: float, T: int, rng: Rng, n: int, most: int) -> np.ndarray:
    """Whole levels from 0 on, drawn anew at each step with a probability."""
    last = np.arange(T) - _since(rng.random((n, T)) < rate)
    return np.take_along_axis(rng.integers(most, size=(n, T)), last, 1)


def _roots(modulus: float, period: float) -> list[float]:
    """Coefficients of the AR(2) with this pair of roots."""
    return [2 * modulus * np.cos(2 * np.pi / period), -(modulus**2)]


def _since(event: np.ndarray) -> np.ndarray:
    """Steps since the last event, or since the start."""
    t = np.arange(event.shape[1])
    return t - np.maximum.accumulate(np.where(event, t, 0), axis=1)


def _path(step: Callable, start: tuple[np.ndarray, ...], T: int, every: int = 1) -> Batch:
    """First coordinate of x <- step(x, t), taken every so many steps, less the first BURN_IN that are taken."""
    kept, x = [], start
    for t in range((T + BURN_IN) * every):
        x = step(x, t)
        if t % every == every - 1:
            kept.append(x[0])
    return np.stack(kept[BURN_IN:], axis=1)


def _flow(slope: Callable, dt: float) -> Callable:
    """One step of Heun's scheme: sums and products alone, so that chaos is the same on every processor."""

    def step(x: tuple, t: int) -> tuple:
        first = slope(*x)
        second = slope(*(a + dt * s for a, s in zip(x, first, strict=True)))
        return tuple(a + dt / 2 * (s + z) for a, s, z in zip(x, first, second, strict=True))

    return step


def _somewhere(x: Float[np.ndarray, "n longer"], T: int, rng: Rng) -> Batch:
    """T steps of each path, from anywhere in it: else all would be in phase."""
    return np.take_along_axis(x, rng.integers(x.shape[1] - T + 1, size=(len(x), 1)) + np.arange(T), 1)


def _starts(rng: Rng, n: int, *middle: float) -> tuple[np.ndarray, ...]:
    return tuple(m + 0.2 * rng.random(n) for m in middle)


def _queue(load: float, T: int, rng: Rng, n: int) -> Batch:
    arrivals = rng.poisson(load, size=(T + BURN_IN, n))
    return _path(lambda x, t: (np.maximum(x[0] + arrivals[t] - 1.0, 0.0),), (np.zeros(n),), T)


def _stays(tail: float, T: int, rng: Rng, n: int) -> Batch:
    ends = np.cumsum(np.ceil(5 * rng.pareto(tail, size=(n, T)) + 1), 1)
    stay = (ends[:, None, :] <= np.arange(T)[:, None]).sum(2)
    return np.take_along_axis(rng.standard_normal((n, T)), stay, 1) + 0.2 * _white(T, rng, n)


def _well(sd: float, T: int, rng: Rng, n: int) -> Batch:
    e = sd * np.sqrt(0.1) * _white((T + BURN_IN) * 5, rng, n)
    start = (rng.choice([-1.0, 1.0], size=n),)
    return _path(lambda x, t: (x[0] + 0.1 * (x[0] - x[0] ** 3) + e[:, t],), start, T, every=5)


def _fires(drive: float, T: int, rng: Rng, n: int) -> Batch:
    e = drive + 0.03 * _white(T + BURN_IN, rng, n)
    return _path(lambda x, t: (np.where(x[0] > 1, 0.0, 0.95 * x[0]) + e[:, t],), (rng.random(n),), T)


def _expar(weight: float, T: int, rng: Rng, n: int) -> Batch:
    e = 0.3 * _white(T + BURN_IN, rng, n)

    def step(x: tuple, t: int) -> tuple:
        return (0.9 * x[0] - (0.8 + weight * np.exp(-(x[0] ** 2))) * x[1] + e[:, t], x[0])

    return _path(step, _starts(rng, n, 0.0, 0.0), T)


def _arch(weight: float, T: int, rng: Rng, n: int) -> Batch:
    e = _white(T + BURN_IN, rng, n)

    def step(x: tuple, t: int) -> tuple:
        shock = np.sqrt(1 - weight + weight * x[1] ** 2) * e[:, t]
        return (0.8 * x[0] + shock, shock)

    return _path(step, _starts(rng, n, 0.0, 0.0), T)


def _late_brake(growth: float) -> Callable:
    return lambda x, t: (growth * x[0] * (1 - x[1]), x[0])


def _lorenz(dt: float, T: int, rng: Rng, n: int) -> Batch:
    step = _flow(lambda x, y, z: (10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z), 0.005)
    return _somewhere(_path(step, _starts(rng, n, 1.0, 1.0, 20.0), T + 50, every=round(dt / 0.005)), T, rng)


def _rossler(c: float, T: int, rng: Rng, n: int) -> Batch:
    step = _flow(lambda x, y, z: (-y - z, x + 0.2 * y, 0.2 + z * (x - c)), 0.02)
    return _somewhere(_path(step, _starts(rng, n, 1.0, 1.0, 0.0), T + 50, every=25), T, rng)


def _predator(pull: float, T: int, rng: Rng, n: int) -> Batch:
    step = _flow(lambda x, y: (x * (1 - y), pull * y * (x - 1)), 0.02)
    start = (0.3 + 0.6 * rng.random(n), 0.5 + rng.random(n))
    return _somewhere(_path(step, start, T + 50, every=20), T, rng) + 0.05 * _white(T, rng, n)


# fmt: off
_add("beats", "gap of the frequencies", (0.02, 0.05, 0.1, 0.2), "Sines of period 16 and a little less, under noise.",
     lambda k, T, r, n: _sine(16.0, T, r, n) + _sine(16.0 / (1 + k), T, r, n) + 0.1 * _white(T, r, n), 16)
_add("swelling_sine", "sd of the log amplitude", (0.1, 0.3, 0.6, 1.0), "Sine of period 20 whose loudness wanders.",
     lambda k, T, r, n: np.exp(k * _ar(0.97, T, r, n)) * _sine(20.0, T, r, n), 20)
_add("loose_phase", "sd of the phase a step, cycles", (0.005, 0.01, 0.02, 0.05), "Sine of period 18, wandering phase.",
     lambda k, T, r, n: _sine(18.0, T, r, n, np.cumsum(k * _white(T, r, n), 1)), 18)
_add("hopping_period", "chance of a hop a step", (0.005, 0.02, 0.05, 0.1), "Sine whose period hops among 8, 16, 32.",
     lambda k, T, r, n: np.sin(2 * np.pi * (np.cumsum(0.125 / 2.0 ** _levels(k, T, r, n, 3), 1) + r.random((n, 1)))))
_add("struck_bell", "chance of a stroke a step", (0.02, 0.05, 0.1, 0.3), "Strokes at random times, which ring and die.",
     lambda k, T, r, n: _filtered(_roots(0.95, 12.0), lambda L: r.random((n, L)) < k, T))
_add("folded_sine", "noise sd", (0.05, 0.1, 0.3, 0.6), "Absolute value of a sine of period 30, under noise.",
     lambda k, T, r, n: abs(_sine(30.0, T, r, n)) + k * _white(T, r, n), 15)
_add("missed_cycles", "chance that a cycle is missed", (0.1, 0.2, 0.4, 0.6), "Season of 12 of which cycles drop out.",
     lambda k, T, r, n: _shape(12, T, r, n) * np.repeat(r.random((n, T // 12 + 1)) >= k, 12, 1)[:, :T], 12)
_add("own_season", "noise sd", (0.1, 0.3, 1.0, 2.0), "Season of 24, its shape drawn for each series, under noise.",
     lambda k, T, r, n: _shape(24, T, r, n) + k * _white(T, r, n), 24)
_add("week_and_month", "share of the month", (0.1, 0.3, 0.6, 0.9), "Seasons of 7 and 30, their shapes drawn anew.",
     lambda k, T, r, n: (1 - k) * _shape(7, T, r, n) + k * _shape(30, T, r, n) + 0.1 * _white(T, r, n), 7)
_add("week_on_level", "size of the week", (0.2, 0.5, 1.0, 2.0), "Season of 7, its shape drawn anew, on a slow level.",
     lambda k, T, r, n: k * _shape(7, T, r, n) + _ar(0.95, T, r, n), 7)
_add("narrow_pulses", "steps of a pulse", (1.0, 2.0, 4.0, 8.0), "Pulses every 20 steps, under noise of sd 0.1.",
     lambda k, T, r, n: ((np.arange(T) + r.integers(20, size=(n, 1))) % 20 < k) + 0.1 * _white(T, r, n), 20)
_add("growing_season", "growth a step", (0.002, 0.005, 0.01, 0.02), "A season of 12 that multiplies a growing level.",
     lambda k, T, r, n: np.exp(k * np.arange(T)) * (1 + 0.3 * _sine(12.0, T, r, n) + 0.05 * _white(T, r, n)), 12)
_add("saturation", "steepness a step", (0.02, 0.05, 0.1, 0.3), "Growth along an S to a limit, under noise.",
     lambda k, T, r, n: 1 / (1 + np.exp(-k * (np.arange(T) - T * r.random((n, 1))))) + 0.03 * _white(T, r, n))
_add("parabola", "height over noise", (1.0, 3.0, 10.0, 30.0), "A parabola whose foot lies anywhere, under noise.",
     lambda k, T, r, n: 4 * k * (np.arange(T) / T - r.random((n, 1))) ** 2 + _white(T, r, n))
_add("ramps", "chance of a reset a step", (0.02, 0.05, 0.1, 0.2), "A ramp that falls to zero at random times.",
     lambda k, T, r, n: _since(r.random((n, T + BURN_IN)) < k)[:, BURN_IN:] + 0.3 * _white(T, r, n))
_add("clipped_walk", "sd of a step", (0.05, 0.1, 0.2, 0.4), "A random walk between two mirrors, at -1 and 1.",
     lambda k, T, r, n: abs((_cum(k, T, r, n) + r.random((n, 1)) * 4 + 1) % 4 - 2) - 1)
_add("persistent_steps", "persistence of a step", (0.3, 0.5, 0.7, 0.9), "Sum of an AR(1).",
     lambda k, T, r, n: np.cumsum(_ar(k, T, r, n), 1))
_add("smooth_trend", "sd of a bend", (0.003, 0.01, 0.03, 0.1), "Twice summed noise, under noise of sd 1.",
     lambda k, T, r, n: np.cumsum(_cum(k, T, r, n), 1) + _white(T, r, n))
_add("follower", "share caught up a step", (0.05, 0.1, 0.3, 0.6), "What follows a random walk late.",
     lambda k, T, r, n: lfilter([k], [1, k - 1], _cum(1.0, T, r, n), axis=1) + 0.1 * _white(T, r, n))
_add("arma", "moving part", (-0.6, -0.3, 0.3, 0.6), "ARMA(1, 1) of persistence 0.9.",
     lambda k, T, r, n: lfilter([1.0, k], [1.0], _ar(0.9, T + 1, r, n), axis=1)[:, 1:])
_add("two_resonances", "modulus of the roots", (0.8, 0.9, 0.95, 0.98), "AR(2) of period 6 plus AR(2) of period 20.",
     lambda k, T, r, n: sum(_filtered(_roots(k, p), lambda L: _white(L, r, n), T) for p in (6.0, 20.0)))
_add("window_mean", "steps of the window", (2.0, 4.0, 8.0, 16.0), "Moving mean of white noise.",
     lambda k, T, r, n: lfilter(np.ones(round(k)) / k, [1.0], _white(T + BURN_IN, r, n), axis=1)[:, BURN_IN:])
_add("window_maximum", "steps of the window", (2.0, 4.0, 8.0, 16.0), "Moving maximum of exponential noise.",
     lambda k, T, r, n: maximum_filter1d(r.exponential(size=(n, T)), round(k), axis=1))
_add("late_echo", "lag", (2.0, 5.0, 10.0, 20.0), "x_t is 0.8 of what it was some steps ago, and noise.",
     lambda k, T, r, n: _filtered([0.0] * (round(k) - 1) + [0.8], lambda L: _white(L, r, n), T), round)
_add("shot_noise", "share kept a step", (0.5, 0.7, 0.9, 0.97), "Exponential arrivals, each decays.",
     lambda k, T, r, n: _filtered([k], lambda L: r.exponential(size=(n, L)), T))
_add("product", "persistence", (0.7, 0.8, 0.9, 0.98), "Product of two AR(1).",
     lambda k, T, r, n: _ar(k, T, r, n) * _ar(k, T, r, n))
_add("lognormal_level", "sd of the logarithm", (0.3, 0.6, 1.0, 1.5), "Exponential of an AR(1) of persistence 0.95.",
     lambda k, T, r, n: np.exp(k * _ar(0.95, T, r, n)))
_add("seasonal_counts", "sd of the log rate", (0.3, 0.6, 1.0, 1.5), "Poisson counts whose rate has a season of 24.",
     lambda k, T, r, n: r.poisson(3 * np.exp(k * _sine(24.0, T, r, n))).astype(float), 24)
_add("long_stays", "tail index of a stay", (1.2, 1.5, 2.0, 3.0), "Levels held for Pareto times, under noise.", _stays)
_add("queue", "load", (0.7, 0.8, 0.9, 0.97), "Customers in line: Poisson arrivals, one served a step.", _queue)
_add("double_well", "noise sd", (0.3, 0.5, 0.8, 1.2), "A ball in two wells, pushed by noise.", _well)
_add("leaky_spikes", "drive a step", (0.055, 0.06, 0.08, 0.12), "Charges up through a leak, and resets at 1.", _fires)
_add("bent_cycle", "weight of the bend", (0.0, 0.05, 0.1, 0.15), "Exponential autoregression of two lags.", _expar)
_add("arch", "weight of the last shock", (0.1, 0.3, 0.6, 0.9), "AR(1) of 0.8 with ARCH shocks.", _arch)
_add("lorenz", "steps of time between samples", (0.02, 0.05, 0.1, 0.2), "First coordinate of Lorenz' flow.", _lorenz)
_add("rossler", "c", (4.0, 5.7, 9.0, 13.0), "First coordinate of Rössler's flow, sampled at 0.5.", _rossler)
_add("predators", "pull of the predators", (0.5, 1.0, 2.0, 4.0), "Lotka and Volterra's prey, under noise.", _predator)
_add("tent_map", "slope", (1.2, 1.5, 1.8, 1.95), "Tent map, no noise.",
     lambda k, T, r, n: _path(lambda x, t: (k * np.minimum(x[0], 1 - x[0]),), (r.uniform(0.1, 0.9, n),), T))
_add("delayed_map", "growth", (2.05, 2.1, 2.2, 2.26), "Logistic map that brakes one step late, no noise.",
     lambda k, T, r, n: _somewhere(_path(_late_brake(k), _starts(r, n, 0.4, 0.4), T + 50), T, r))
# fmt: on
