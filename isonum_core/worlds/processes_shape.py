"""Generators with a drawn shape: waves, trends and breaks, under little or much noise. Each has one knob.

Phases are uniform and drawn per series, so that no two series of a batch are aligned.
"""

from __future__ import annotations

import numpy as np

from isonum_core.worlds import estimators as estimate
from isonum_core.worlds.family import SEASONAL, Batch, at, family
from isonum_core.worlds.processes_linear import SEASON, ar1


def _cycles(period: float, length: int, rng: np.random.Generator, n: int) -> Batch:
    """Position in the cycle, in [0, 1), of every step."""
    return (np.arange(length) / period + rng.random((n, 1))) % 1


def _sine(period: float, length: int, rng: np.random.Generator, n: int) -> Batch:
    """Sine of mean square 1."""
    return np.sqrt(2) * np.sin(2 * np.pi * _cycles(period, length, rng, n))


def _held(rate: float, length: int, rng: np.random.Generator, n: int) -> Batch:
    """Standard normal levels; at each step a new one is drawn with probability `rate`."""
    fresh = rng.random((n, length)) < rate
    fresh[:, 0] = True
    last_fresh = np.maximum.accumulate(np.where(fresh, np.arange(length), 0), axis=1)
    return np.take_along_axis(rng.standard_normal((n, length)), last_fresh, axis=1)


@family(
    "noise sd",
    range=(0.0, 100.0),
    grid=(0.1, 0.3, 1.0, 3.0),
    moves="noise over a clean season",
    statistic=lambda x: estimate.wave(x, 24.0)[1],
    naive=at(seasonal=0.0),
    season=24,
)
def sine_noise(sd: float, length: int, rng: np.random.Generator, n: int = 1) -> Batch:
    """Sine of period 24 and mean square 1 under white noise. Knob: sd of the noise."""
    return _sine(24.0, length, rng, n) + sd * rng.standard_normal((n, length))


@family(
    "period, steps",
    range=(2.0, 512.0),
    grid=(6.0, 12.0, 24.0, 48.0, 96.0),
    moves="length of the season",
    statistic=estimate.peak_period,
    season=round,
)
def sine_period(period: float, length: int, rng: np.random.Generator, n: int = 1) -> Batch:
    """Sine of mean square 1 under white noise of sd 0.1. Knob: period in steps."""
    return _sine(period, length, rng, n) + 0.1 * rng.standard_normal((n, length))


@family(
    "root mean square",
    range=(0.0, 100.0),
    grid=(0.3, 1.0, 3.0, 10.0),
    moves="strength of a season over an AR(1)",
    statistic=lambda x: estimate.wave(x, float(SEASON))[0],
    season=SEASON,
)
def seasonal_amplitude(amplitude: float, length: int, rng: np.random.Generator, n: int = 1) -> Batch:
    """Sine of period 12 on an AR(1) of persistence 0.8 and variance 1. Knob: its root mean square."""
    return amplitude * _sine(float(SEASON), length, rng, n) + ar1(0.8, length, rng, n)


@family(
    "number of harmonics",
    range=(1.0, 16.0),
    grid=(1.0, 2.0, 4.0, 8.0),
    moves="detail within the season",
    statistic=lambda x: estimate.harmonic_count(x, 48, 20),
    season=48,
)
def harmonics(count: float, length: int, rng: np.random.Generator, n: int = 1) -> Batch:
    """Equally strong harmonics of period 48, of mean square 1 together, noise of sd 0.1. Knob: how many (rounded)."""
    k = np.arange(1, round(count) + 1)[:, None, None]
    angle = 2 * np.pi * (k * np.arange(length) / 48 + rng.random((len(k), n, 1)))
    wave = np.sin(angle).sum(0) * np.sqrt(2 / len(k))
    return wave + 0.1 * rng.standard_normal((n, length))


@family(
    "share high",
    range=(0.0, 1.0),
    grid=(0.1, 0.25, 0.5, 0.75),
    moves="balance of two levels",
    statistic=lambda x: float((x > 0).mean()),
    naive=at(mean=(0.0, 1.0)),
    season=24,
)
def square_duty(share: float, length: int, rng: np.random.Generator, n: int = 1) -> Batch:
    """Square wave between -1 and 1 of period 24, noise of sd 0.1. Knob: share of the time spent high."""
    wave = np.where(_cycles(24.0, length, rng, n) < share, 1.0, -1.0)
    return wave + 0.1 * rng.standard_normal((n, length))


@family(
    "share rising",
    range=(0.05, 0.95),
    grid=(0.1, 0.3, 0.5, 0.8),
    moves="asymmetry in time of the season",
    statistic=lambda x: float((np.diff(x, axis=1) > 0).mean()),
    target=lambda rise: rise + (1 - 2 * rise) / 48,
    naive=SEASONAL,
    season=48,
)
def sawtooth(rise: float, length: int, rng: np.random.Generator, n: int = 1) -> Batch:
    """Triangle wave between -1 and 1 of period 48, no noise. Knob: share of the period spent rising."""
    u = _cycles(48.0, length, rng, n)
    return 2 * np.where(u < rise, u / rise, (1 - u) / (1 - rise)) - 1


@family(
    "octaves",
    range=(0.0, 3.0),
    grid=(0.0, 0.5, 1.0, 2.0),
    moves="drift of the frequency",
    statistic=estimate.octaves,
    naive=at(seasonal=0.0),
    season=24,
)
def chirp(octaves: float, length: int, rng: np.random.Generator, n: int = 1) -> Batch:
    """Sine whose frequency rises geometrically, at 1/24 per step on average. Knob: octaves from first step to last."""
    s = np.arange(length) / length
    bent = s if octaves == 0 else np.expm1(octaves * np.log(2) * s) / np.expm1(octaves * np.log(2))
    return np.sqrt(2) * np.sin(2 * np.pi * (length / 24 * bent + rng.random((n, 1))))


@family(
    "slope per step",
    range=(-1.0, 1.0),
    grid=(0.0, 0.003, 0.01, 0.03),
    moves="a line under noise",
    statistic=estimate.slope,
    naive=at(mean=0.0),
)
def trend(slope: float, length: int, rng: np.random.Generator, n: int = 1) -> Batch:
    """Straight line through 0 at the first step, under white noise of sd 1. Knob: slope per step; 0 is white noise."""
    return slope * np.arange(length) + rng.standard_normal((n, length))


@family(
    "segment, steps",
    range=(1.0, 4096.0),
    grid=(4.0, 16.0, 64.0, 256.0),
    moves="how long a slope lasts",
    statistic=estimate.kinks,
    target=lambda segment: 1 / segment,
    naive=at(last=1.0),
)
def piecewise_trend(segment: float, length: int, rng: np.random.Generator, n: int = 1) -> Batch:
    """Continuous broken line, no noise; slopes are standard normal. Knob: mean length of a segment, in steps.

    Segments end with probability 1/segment at each step; at 1 it is a random walk.
    """
    return np.cumsum(_held(1 / segment, length, rng, n), axis=1)


@family(
    "shift rate",
    range=(0.0, 1.0),
    grid=(0.01, 0.05, 0.2, 0.5),
    moves="how long a level lasts",
    statistic=lambda x: 1 - estimate.decay(x),
    naive=at(mean=(0.0, 1.0)),
)
def level_shifts(rate: float, length: int, rng: np.random.Generator, n: int = 1) -> Batch:
    """Constant levels, drawn anew from a standard normal, noise of sd 0.1. Knob: probability of a shift per step."""
    return _held(rate, length, rng, n) + 0.1 * rng.standard_normal((n, length))


@family(
    "step",
    range=(0.001, 4.0),
    grid=(0.01, 0.1, 0.5, 2.0),
    moves="digits lost to rounding",
    statistic=estimate.smallest_gap,
)
def quantised(step: float, length: int, rng: np.random.Generator, n: int = 1) -> Batch:
    """AR(1) of persistence 0.95 and variance 1, rounded to multiples of a step. Knob: the step, as lost digits cost."""
    return step * np.round(ar1(0.95, length, rng, n) / step)


@family(
    "share thrown",
    range=(0.0, 1.0),
    grid=(0.0, 0.01, 0.05, 0.2),
    moves="single wild points in a season",
    statistic=lambda x: float((abs(x) > 10).mean()),
    naive=at(seasonal=0.0, mean=1.0),
    season=24,
)
def outliers(share: float, length: int, rng: np.random.Generator, n: int = 1) -> Batch:
    """Sine of period 24 in which single points are thrown to +20 or -20. Knob: share of points thrown."""
    thrown = rng.random((n, length)) < share
    return np.where(thrown, rng.choice([-20.0, 20.0], size=(n, length)), _sine(24.0, length, rng, n))


@family(
    "repeat probability",
    range=(0.0, 0.99),
    grid=(0.0, 0.2, 0.5, 0.9),
    moves="flat stretches of a hanging sensor",
    statistic=lambda x: float((np.diff(x, axis=1) == 0).mean()),
)
def stuck(share: float, length: int, rng: np.random.Generator, n: int = 1) -> Batch:
    """A sensor that hangs: AR(1) of persistence 0.95 whose last reading is repeated. Knob: probability of a repeat."""
    path = ar1(0.95, length, rng, n)
    fresh = rng.random((n, length)) >= share
    fresh[:, 0] = True
    last_fresh = np.maximum.accumulate(np.where(fresh, np.arange(length), 0), axis=1)
    return np.take_along_axis(path, last_fresh, axis=1)
