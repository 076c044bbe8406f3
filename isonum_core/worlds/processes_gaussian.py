"""Gaussian processes with one knob, on the grid 0, 1, 2, ...: scales and periods are in steps, whatever the length."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from sklearn.gaussian_process.kernels import RBF, ExpSineSquared, RationalQuadratic

from isonum_core.worlds.family import Batch, family
from isonum_core.worlds.kernels import sample

PERIOD = 24  # steps, of the season
SCALE = 16  # steps, length scale of `gp_tails` and `gp_mixture`
SEASON = ExpSineSquared(periodicity=float(PERIOD))


def _steps(length: int) -> Float[np.ndarray, "T 1"]:
    """Times as scikit-learn's kernels take them: a column."""
    return np.arange(float(length))[:, None]


@family("length scale, steps", (1.0, 1024.0), (4.0, 8.0, 16.0, 32.0), "smoothness of a smooth path")
def gp_scale(length_scale: float, length: int, rng: np.random.Generator, n: int = 1) -> Batch:
    """Smooth Gaussian process of variance 1 with an RBF kernel. Knob: its length scale, in steps."""
    return sample(RBF(length_scale)(_steps(length)), rng, n)


@family("alpha", (0.05, 100.0), (0.1, 0.3, 1.0, 10.0), "slowness of forgetting at large distances")
def gp_tails(alpha: float, length: int, rng: np.random.Generator, n: int = 1) -> Batch:
    """Gaussian process, rational quadratic kernel of length scale 16. Knob: alpha; memory decays as d^(-2 alpha)."""
    return sample(RationalQuadratic(float(SCALE), alpha)(_steps(length)), rng, n)


@family(
    "length scale, steps", (4.0, 4096.0), (16.0, 32.0, 64.0, 128.0), "how long a season keeps its shape", season=PERIOD
)
def gp_wandering_season(length_scale: float, length: int, rng: np.random.Generator, n: int = 1) -> Batch:
    """Season of period 24 that changes its shape: ExpSineSquared times RBF. Knob: length scale of the RBF, in steps."""
    x = _steps(length)
    return sample(SEASON(x) * RBF(length_scale)(x), rng, n)


@family("share of the season", (0.0, 1.0), (0.0, 0.3, 0.6, 0.9), "season against level in a smooth path", season=PERIOD)
def gp_mixture(share: float, length: int, rng: np.random.Generator, n: int = 1) -> Batch:
    """Sum of a season (ExpSineSquared, period 24) and a smooth level (RBF, scale 16). Knob: the season's share of
    the variance."""
    x = _steps(length)
    return sample(share * SEASON(x) + (1 - share) * RBF(float(SCALE))(x), rng, n)
