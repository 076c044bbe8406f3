"""Non-linear generators: regimes, thresholds, chaos and cascades. Each has one knob."""

from __future__ import annotations

import numpy as np

from isonum_core.worlds.family import Batch, at, family

BURN_IN = 200  # steps thrown away, so that the start is forgotten


@family("switch rate", (0.0, 1.0), (0.01, 0.05, 0.2, 0.5), "how long a regime lasts", naive=at(mean=(0.0, 0.5)))
def regimes(rate: float, length: int, rng: np.random.Generator, n: int = 1) -> Batch:
    """Two levels, -1 and 1, switched by a Markov chain, under noise of sd 0.5. Knob: probability of a switch.

    The correlation of the levels at lag k is (1 - 2 rate)^k: at 1/2 they are white.
    """
    flips = np.where(rng.random((n, length)) < rate, -1.0, 1.0)
    flips[:, 0] = rng.choice([-1.0, 1.0], size=n)
    return np.cumprod(flips, axis=1) + 0.5 * rng.standard_normal((n, length))


@family(
    "bend", (0.0, 0.95), (0.0, 0.3, 0.6, 0.9), "dependence through |x|, nearly hidden from lines", naive=at(mean=0.0)
)
def threshold_ar(bend: float, length: int, rng: np.random.Generator, n: int = 1) -> Batch:
    """Threshold autoregression x_t = -bend |x_{t-1}| + e_t: slope -bend above 0 and +bend below. Knob: bend.

    The past tells the next value through |x|, which lines hardly see.
    """
    e = rng.standard_normal((length + BURN_IN, n))
    for t in range(1, len(e)):
        e[t] -= bend * abs(e[t - 1])
    return e[BURN_IN:].T.copy()


@family(
    "coefficient", (0.0, 0.7), (0.0, 0.2, 0.4, 0.6), "bursts from shocks that multiply the level", naive=at(mean=0.0)
)
def bilinear(b: float, length: int, rng: np.random.Generator, n: int = 1) -> Batch:
    """Bilinear x_t = b x_{t-1} e_{t-1} + e_t, e standard normal. Knob: b. Bursts, and mean b.

    Stationary for b < 1; a variance of x^2 needs 3 b^4 < 1, about b < 0.76.
    """
    e = rng.standard_normal((length + BURN_IN, n))
    x = e.copy()
    for t in range(1, len(e)):
        x[t] += b * x[t - 1] * e[t - 1]
    return x[BURN_IN:].T.copy()


@family("r", (3.57, 4.0), (3.6, 3.7, 3.8, 3.9, 4.0), "strength of chaos")
def logistic_map(r: float, length: int, rng: np.random.Generator, n: int = 1) -> Batch:
    """Logistic map x <- r x (1 - x) from a uniform start, no noise. Knob: r. Chaos but for windows of short cycles.

    At r = 4 an error doubles with each step: float64 follows the true path for about 50 steps, its law for ever.
    """
    x = np.empty((length + BURN_IN, n))
    x[0] = rng.uniform(0.1, 0.9, size=n)
    for t in range(1, len(x)):
        x[t] = r * x[t - 1] * (1 - x[t - 1])
    return x[BURN_IN:].T.copy()


@family("a", (1.06, 1.4), (1.1, 1.2, 1.3, 1.4), "strength of chaos with two steps of memory")
def henon(a: float, length: int, rng: np.random.Generator, n: int = 1) -> Batch:
    """Henon map x_t = 1 - a x_{t-1}^2 + 0.3 x_{t-2}, from near 0, no noise.

    Knob: a; chaotic with windows of cycles.
    """
    x = np.empty((length + BURN_IN, n))
    x[:2] = rng.uniform(-0.1, 0.1, size=(2, n))
    for t in range(2, len(x)):
        x[t] = 1 - a * x[t - 1] ** 2 + 0.3 * x[t - 2]
    return x[BURN_IN:].T.copy()


@family("delay, steps", (5.0, 50.0), (10.0, 17.0, 24.0, 30.0), "complexity of a delayed loop, periodic to chaotic")
def mackey_glass(delay: float, length: int, rng: np.random.Generator, n: int = 1) -> Batch:
    """Mackey-Glass equation x' = 0.2 y / (1 + y^10) - 0.1 x, y = x(t - delay), sampled once per unit of time.

    Knob: delay, in steps (rounded to a tenth); chaos from about 17. Heun's scheme with step 0.1; the past at the start
    is constant, uniform in (0.5, 1.5).
    """
    substeps, step = 10, 0.1
    lag = round(delay * substeps)
    x = np.empty((lag + 1 + (length + BURN_IN) * substeps, n))
    x[: lag + 1] = rng.uniform(0.5, 1.5, size=n)

    def slope(now, past):
        return 0.2 * past / (1 + past**10) - 0.1 * now

    for t in range(lag, len(x) - 1):
        first = slope(x[t], x[t - lag])
        second = slope(x[t] + step * first, x[t - lag + 1])
        x[t + 1] = x[t] + step * (first + second) / 2
    return x[lag + 1 + BURN_IN * substeps :: substeps].T.copy()


@family("weight", (0.5, 0.95), (0.5, 0.6, 0.7, 0.8), "bursts within bursts", naive=at(last=0.5))
def cascade(weight: float, length: int, rng: np.random.Generator, n: int = 1) -> Batch:
    """Binomial cascade of mean 1: at each halving of time, mass is shared `weight` to 1 - weight, sides at random.

    Knob: weight; 1/2 is constant, above it bursts within bursts, at all scales. Cut from the
    next power of two.
    """
    mass = np.ones((n, 1))
    while mass.shape[1] < length:
        left = rng.choice([2 * weight, 2 - 2 * weight], size=mass.shape)
        mass = np.stack([mass * left, mass * (2 - left)], axis=2).reshape(n, -1)
    return mass[:, :length].copy()
