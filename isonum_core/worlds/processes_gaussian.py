"""Gaussian processes with one knob, on the grid 0, 1, 2, ...: scales and periods are in steps, whatever the length."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from isonum_core.worlds import estimators as estimate
from isonum_core.worlds.family import Batch, family
from isonum_core.worlds.kernels import exp_sine_squared, rational_quadratic, rbf, sample

PERIOD = 24  # steps, of the periodic kernels
SCALE = 16  # steps, length scale of `gp_tails` and `gp_mixture`
LEVEL = float(np.exp(-((PERIOD / SCALE) ** 2) / 2))  # correlation of the level of `gp_mixture` after one period


def _steps(length: int) -> Float[np.ndarray, "T"]:
    return np.arange(float(length))


@family(
    "length scale, steps",
    range=(1.0, 1024.0),
    grid=(4.0, 8.0, 16.0, 32.0),
    moves="smoothness of a smooth path",
    statistic=lambda x: estimate.gaussian_scale(x, 1),
)
def gp_scale(length_scale: float, length: int, rng: np.random.Generator, n: int = 1) -> Batch:
    """Smooth Gaussian process of variance 1 with an RBF kernel. Knob: its length scale, in steps."""
    return sample(rbf(_steps(length), length_scale), rng, n)


@family(
    "alpha",
    range=(0.05, 100.0),
    grid=(0.1, 0.3, 1.0, 10.0),
    moves="slowness of forgetting at large distances",
    statistic=lambda x: estimate.correlation(x, 2 * SCALE),
    target=lambda alpha: (1 + 2 / alpha) ** -alpha,
)
def gp_tails(alpha: float, length: int, rng: np.random.Generator, n: int = 1) -> Batch:
    """Gaussian process, rational quadratic kernel of length scale 16. Knob: alpha; memory decays as d^(-2 alpha)."""
    return sample(rational_quadratic(_steps(length), alpha, float(SCALE)), rng, n)


@family(
    "length scale, steps",
    range=(4.0, 4096.0),
    grid=(16.0, 32.0, 64.0, 128.0),
    moves="how long a season keeps its shape",
    statistic=lambda x: estimate.gaussian_scale(x, PERIOD),
    season=PERIOD,
)
def gp_wandering_season(length_scale: float, length: int, rng: np.random.Generator, n: int = 1) -> Batch:
    """Season of period 24 that changes its shape: ExpSineSquared times RBF. Knob: length scale of the RBF, in steps."""
    x = _steps(length)
    return sample(exp_sine_squared(x, float(PERIOD)) * rbf(x, length_scale), rng, n)


@family(
    "share of the season",
    range=(0.0, 1.0),
    grid=(0.0, 0.3, 0.6, 0.9),
    moves="season against level in a smooth path",
    statistic=lambda x: (estimate.correlation(x, PERIOD) - LEVEL) / (1 - LEVEL),
    season=PERIOD,
)
def gp_mixture(share: float, length: int, rng: np.random.Generator, n: int = 1) -> Batch:
    """Sum of a season (ExpSineSquared, period 24) and a smooth level (RBF, scale 16). Knob: the season's share of
    the variance."""
    x = _steps(length)
    return sample(share * exp_sine_squared(x, float(PERIOD)) + (1 - share) * rbf(x, float(SCALE)), rng, n)
