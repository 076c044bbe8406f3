"""Generators with a drawn shape: waves, trends and breaks, under little or much noise. Each has one knob.

Phases are uniform and drawn per series, so that no two series of a batch are aligned.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool

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
    return _latest(rng.standard_normal((n, length)), fresh)


def _latest(x: Batch, fresh: Bool[np.ndarray, "n T"]) -> Batch:
    """The last fresh value at every step; the first value always is."""
    last_fresh = np.maximum.accumulate(np.where(fresh, np.arange(x.shape[1]), 0), axis=1)
    return np.take_along_axis(x, last_fresh, axis=1)


@family("root mean square", (0.0, 100.0), (0.3, 1.0, 3.0, 10.0), "strength of a season over an AR(1)", season=SEASON)
def seasonal_amplitude(amplitude: float, length: int, rng: np.random.Generator, n: int = 1) -> Batch:
    """Sine of period 12 on an AR(1) of persistence 0.8 and variance 1. Knob: its root mean square."""
    return amplitude * _sine(float(SEASON), length, rng, n) + ar1(0.8, length, rng, n)


@family("noise sd", (0.0, 100.0), (0.1, 0.3, 1.0, 3.0), "noise over a clean season", naive=at(seasonal=0.0), season=24)
def sine_noise(sd: float, length: int, rng: np.random.Generator, n: int = 1) -> Batch:
    """Sine of period 24 and mean square 1 under white noise. Knob: sd of the noise."""
    return _sine(24.0, length, rng, n) + sd * rng.standard_normal((n, length))


@family("period, steps", (2.0, 512.0), (6.0, 12.0, 24.0, 48.0, 96.0), "length of the season", season=round)
def sine_period(period: float, length: int, rng: np.random.Generator, n: int = 1) -> Batch:
    """Sine of mean square 1 under white noise of sd 0.1. Knob: period in steps."""
    return _sine(period, length, rng, n) + 0.1 * rng.standard_normal((n, length))


@family("number of harmonics", (1.0, 16.0), (1.0, 2.0, 4.0, 8.0), "detail within the season", season=48)
def harmonics(count: float, length: int, rng: np.random.Generator, n: int = 1) -> Batch:
    """Equally strong harmonics of period 48, of mean square 1 together, noise of sd 0.1. Knob: how many (rounded)."""
    k = np.arange(1, round(count) + 1)[:, None, None]
    angle = 2 * np.pi * (k * np.arange(length) / 48 + rng.random((len(k), n, 1)))
    wave = np.sin(angle).sum(0) * np.sqrt(2 / len(k))
    return wave + 0.1 * rng.standard_normal((n, length))


@family("share high", (0.0, 1.0), (0.1, 0.25, 0.5, 0.75), "balance of two levels", naive=at(mean=(0.0, 1.0)), season=24)
def square_duty(share: float, length: int, rng: np.random.Generator, n: int = 1) -> Batch:
    """Square wave between -1 and 1 of period 24, noise of sd 0.1. Knob: share of the time spent high."""
    wave = np.where(_cycles(24.0, length, rng, n) < share, 1.0, -1.0)
    return wave + 0.1 * rng.standard_normal((n, length))


@family(
    "share rising", (0.05, 0.95), (0.1, 0.3, 0.5, 0.8), "asymmetry in time of the season", naive=SEASONAL, season=48
)
def sawtooth(rise: float, length: int, rng: np.random.Generator, n: int = 1) -> Batch:
    """Triangle wave between -1 and 1 of period 48, no noise. Knob: share of the period spent rising."""
    u = _cycles(48.0, length, rng, n)
    return 2 * np.where(u < rise, u / rise, (1 - u) / (1 - rise)) - 1


@family("octaves", (0.0, 3.0), (0.0, 0.5, 1.0, 2.0), "drift of the frequency", naive=at(seasonal=0.0), season=24)
def chirp(octaves: float, length: int, rng: np.random.Generator, n: int = 1) -> Batch:
    """Sine whose frequency rises geometrically, at 1/24 per step on average. Knob: octaves from first step to last."""
    s = np.arange(length) / length
    bent = s if octaves == 0 else np.expm1(octaves * np.log(2) * s) / np.expm1(octaves * np.log(2))
    return np.sqrt(2) * np.sin(2 * np.pi * (length / 24 * bent + rng.random((n, 1))))


@family("slope per step", (-1.0, 1.0), (0.0, 0.003, 0.01, 0.03), "a line under noise", naive=at(mean=0.0))
def trend(slope: float, length: int, rng: np.random.Generator, n: int = 1) -> Batch:
    """Straight line through 0 at the first step, under white noise of sd 1. Knob: slope per step; 0 is white noise."""
    return slope * np.arange(length) + rng.standard_normal((n, length))


@family("segment, steps", (1.0, 4096.0), (4.0, 16.0, 64.0, 256.0), "how long a slope lasts", naive=at(last=1.0))
def piecewise_trend(segment: float, length: int, rng: np.random.Generator, n: int = 1) -> Batch:
    """Continuous broken line, no noise; slopes are standard normal. Knob: mean length of a segment, in steps.

    Segments end with probability 1/segment at each step; at 1 it is a random walk.
    """
    return np.cumsum(_held(1 / segment, length, rng, n), axis=1)


@family("shift rate", (0.0, 1.0), (0.01, 0.05, 0.2, 0.5), "how long a level lasts", naive=at(mean=(0.0, 1.0)))
def level_shifts(rate: float, length: int, rng: np.random.Generator, n: int = 1) -> Batch:
    """Constant levels, drawn anew from a standard normal, noise of sd 0.1. Knob: probability of a shift per step."""
    return _held(rate, length, rng, n) + 0.1 * rng.standard_normal((n, length))


@family("step", (0.001, 4.0), (0.01, 0.1, 0.5, 2.0), "digits lost to rounding")
def quantised(step: float, length: int, rng: np.random.Generator, n: int = 1) -> Batch:
    """AR(1) of persistence 0.95 and variance 1, rounded to multiples of a step. Knob: the step, as lost digits cost."""
    return step * np.round(ar1(0.95, length, rng, n) / step)


@family(
    "share thrown",
    (0.0, 1.0),
    (0.0, 0.01, 0.05, 0.2),
    "single wild points in a season",
    naive=at(seasonal=0.0, mean=1.0),
    season=24,
)
def outliers(share: float, length: int, rng: np.random.Generator, n: int = 1) -> Batch:
    """Sine of period 24 in which single points are thrown to +20 or -20. Knob: share of points thrown."""
    thrown = rng.random((n, length)) < share
    return np.where(thrown, rng.choice([-20.0, 20.0], size=(n, length)), _sine(24.0, length, rng, n))


@family("repeat probability", (0.0, 0.99), (0.0, 0.2, 0.5, 0.9), "flat stretches of a hanging sensor")
def stuck(share: float, length: int, rng: np.random.Generator, n: int = 1) -> Batch:
    """A sensor that hangs: AR(1) of persistence 0.95 whose last reading is repeated. Knob: probability of a repeat."""
    path = ar1(0.95, length, rng, n)
    return _latest(path, rng.random((n, length)) >= share)
