"""Linear Gaussian generators: short memory, long memory, and integrated. Each has one knob; the rest is fixed.

Stationary ones start in their stationary law, so that no burn-in is thrown away, and have mean 0.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.linalg import solve_discrete_lyapunov
from scipy.signal import lfilter

from isonum_core.errors import IsonumError
from isonum_core.worlds.family import SEASONAL, Batch, at, family

SEASON = 12  # steps, of the seasonal generators


def stationary_gaussian(
    autocovariance: Float[np.ndarray, "lags"], rng: np.random.Generator, n: int = 1
) -> Float[np.ndarray, "n T"]:
    """Exact draws of a stationary Gaussian process of length T = lags - 1 from its autocovariances 0, ..., T.

    The Toeplitz covariance is embedded in a circulant of size 2 T, which the FFT diagonalises; where no eigenvalue is
    negative the draw is exact, and otherwise this raises IsonumError. The method is known
    as Davies and Harte's.
    """
    length = len(autocovariance) - 1
    eigenvalues = np.fft.rfft(np.concatenate([autocovariance, autocovariance[-2:0:-1]])).real
    # Rounding leaves eigenvalues that are zero in exact arithmetic at a few 1e-16 of the largest.
    if eigenvalues.min() < -1e-10 * eigenvalues.max():
        raise IsonumError(
            f"circulant embedding needs eigenvalues >= 0, got {eigenvalues.min():.3g}. Give more autocovariances."
        )
    white = np.fft.rfft(rng.standard_normal((n, 2 * length)), axis=1)
    return np.fft.irfft(white * np.sqrt(eigenvalues.clip(0)), n=2 * length, axis=1)[:, :length]


@family(
    "Hurst exponent",
    (0.02, 0.98),
    (0.1, 0.3, 0.5, 0.7, 0.9),
    "memory of noise: antipersistent, none, long",
    naive=at(mean=0.5),
)
def fgn(hurst: float, length: int, rng: np.random.Generator, n: int = 1) -> Batch:
    """Fractional Gaussian noise of variance 1. Knob: Hurst exponent; 1/2 is white, above it memory is long.

    Autocovariance at lag k: (|k+1|^2H - 2 |k|^2H + |k-1|^2H) / 2. Exact.
    """
    k = np.arange(length + 1.0)
    return stationary_gaussian(((k + 1) ** (2 * hurst) - 2 * k ** (2 * hurst) + abs(k - 1) ** (2 * hurst)) / 2, rng, n)


@family(
    "Hurst exponent", (0.02, 0.98), (0.1, 0.3, 0.5, 0.7, 0.9), "smoothness of a self-similar path", naive=at(last=0.5)
)
def fbm(hurst: float, length: int, rng: np.random.Generator, n: int = 1) -> Batch:
    """Fractional Brownian motion, the running sum of `fgn`. Knob: Hurst exponent; paths are smoother as it rises."""
    return np.cumsum(fgn(hurst, length, rng, n), axis=1)


@family("order d", (-0.45, 0.45), (-0.3, 0.0, 0.2, 0.4), "power law of the decay of memory", naive=at(mean=0.0))
def arfima(d: float, length: int, rng: np.random.Generator, n: int = 1) -> Batch:
    """ARFIMA(0, d, 0) of variance 1. Knob: order d of fractional integration; 0 is white, 0.45 nearly non-stationary.

    Autocorrelation r_k = r_{k-1} (k - 1 + d) / (k - d). Exact.
    """
    k = np.arange(1.0, length + 1)
    return stationary_gaussian(np.concatenate([[1.0], np.cumprod((k - 1 + d) / (k - d))]), rng, n)


def arma_paths(phi: list[float], theta: list[float], length: int, rng: np.random.Generator, n: int = 1) -> Batch:
    """Stationary ARMA paths, x_t = sum phi_i x_{t-i} + e_t + sum theta_j e_{t-j}, with e standard normal.

    The filter's state is drawn from its stationary law: the covariance P of the state solves P = A P A' + b b'.
    """
    order = max(len(phi), len(theta))
    ar, ma = np.zeros(order + 1), np.zeros(order + 1)
    ar[0] = ma[0] = 1
    ar[1 : len(phi) + 1], ma[1 : len(theta) + 1] = -np.array(phi), theta
    noise = rng.standard_normal((n, length))
    # lfilter's transposed form: x_t = e_t + z_1, then z_i <- z_{i+1} + ma_i e_t - ar_i x_t.
    a = np.eye(order, k=1)
    a[:, 0] -= ar[1:]
    b = (ma - ar)[1:, None]
    state = solve_discrete_lyapunov(a, b @ b.T)
    values, vectors = np.linalg.eigh(state)
    start = rng.standard_normal((n, order)) @ (vectors * np.sqrt(values.clip(0))).T
    return lfilter(ma, ar, noise, axis=1, zi=start)[0]


@family("persistence", (-0.999, 0.999), (-0.5, 0.0, 0.5, 0.9, 0.99), "exponential decay of memory", naive=at(mean=0.0))
def ar1(phi: float, length: int, rng: np.random.Generator, n: int = 1) -> Batch:
    """AR(1) of variance 1. Knob: persistence; the correlation at lag k is phi^k."""
    return arma_paths([phi], [], length, rng, n) * np.sqrt(1 - phi**2)


def _pseudo_cycle(period: float, damping: float) -> list[float]:
    return [2 * damping * np.cos(2 * np.pi / period), -(damping**2)]


@family(
    "period, steps",
    (3.0, 128.0),
    (6.0, 12.0, 24.0, 48.0),
    "period of a cycle that loses its phase within about 20 steps",
)
def ar2_period(period: float, length: int, rng: np.random.Generator, n: int = 1) -> Batch:
    """AR(2) with complex roots of modulus 0.95. Knob: period of the pseudo-cycle, in steps."""
    return arma_paths(_pseudo_cycle(period, 0.95), [], length, rng, n)


@family("root modulus", (0.1, 0.999), (0.5, 0.8, 0.95, 0.99), "how long a cycle of 12 keeps its phase")
def ar2_damping(damping: float, length: int, rng: np.random.Generator, n: int = 1) -> Batch:
    """AR(2) with a pseudo-cycle of 12 steps. Knob: modulus of its roots; near 1 the cycle keeps its phase for long."""
    return arma_paths(_pseudo_cycle(12.0, damping), [], length, rng, n)


@family("theta", (-1.0, 1.0), (-0.8, 0.0, 0.4, 0.8), "dependence that reaches one step", naive=at(mean=0.0))
def ma1(theta: float, length: int, rng: np.random.Generator, n: int = 1) -> Batch:
    """MA(1), x_t = e_t + theta e_{t-1}. Knob: theta. The past tells one step ahead and nothing beyond."""
    return arma_paths([], [theta], length, rng, n)


@family("noise share", (0.0, 1.0), (0.0, 0.25, 0.5, 0.75), "noise over a persistent signal", naive=at(mean=1.0))
def noisy_ar(share: float, length: int, rng: np.random.Generator, n: int = 1) -> Batch:
    """AR(1) of persistence 0.95 seen through white noise, an ARMA(1, 1). Knob: share of the variance that is noise."""
    noise = rng.standard_normal((n, length))
    return np.sqrt(1 - share) * ar1(0.95, length, rng, n) + np.sqrt(share) * noise


@family(
    "signal-to-noise ratio",
    (0.0, 100.0),
    (0.03, 0.3, 3.0, 30.0),
    "how fast a level moves under noise",
    naive=at(mean=0.0),
)
def local_level(ratio: float, length: int, rng: np.random.Generator, n: int = 1) -> Batch:
    """Random walk of step variance `ratio` under white noise of variance 1. Knob: signal-to-noise ratio of the level.

    An ARIMA(0, 1, 1): the best forecast is exponential smoothing, of weight (sqrt(q^2 + 4q) - q) / 2 with q = ratio.
    """
    level = np.cumsum(np.sqrt(ratio) * rng.standard_normal((n, length)), axis=1)
    return level + rng.standard_normal((n, length))


@family("mean step", (-10.0, 10.0), (0.0, 0.1, 0.3, 1.0), "trend of a random walk", naive=at(last=0.0))
def drift(mean: float, length: int, rng: np.random.Generator, n: int = 1) -> Batch:
    """Random walk with standard normal steps and drift. Knob: mean step; at 0 the last value is the best forecast."""
    return np.cumsum(mean + rng.standard_normal((n, length)), axis=1)


@family(
    "rate per step", (0.0, 1.0), (0.01, 0.03, 0.1, 0.3), "speed of return to the mean from far away", naive=at(last=0.0)
)
def relaxation(rate: float, length: int, rng: np.random.Generator, n: int = 1) -> Batch:
    """Ornstein-Uhlenbeck process of stationary variance 1, sampled at unit steps, released at 10. Knob: rate per step.

    Mean 10 exp(-rate t), variance 1 - exp(-2 rate t). Exact at every step, not an Euler scheme; at rate 0 it stands.
    """
    steps = np.arange(length)
    noise = rng.standard_normal((n, length))
    noise[:, 0] = 0
    around = lfilter([np.sqrt(-np.expm1(-2 * rate))], [1, -np.exp(-rate)], noise, axis=1)
    return 10 * np.exp(-rate * steps) + around


@family(
    "seasonal persistence",
    (0.0, 0.99),
    (0.0, 0.3, 0.6, 0.9),
    "years over which a season keeps its shape",
    naive=at(mean=0.0),
    season=SEASON,
)
def seasonal_ar(phi: float, length: int, rng: np.random.Generator, n: int = 1) -> Batch:
    """Seasonal AR, x_t = phi x_{t-12} + e_t: twelve interleaved AR(1) of variance 1. Knob: phi."""
    years = -(-length // SEASON)
    paths = ar1(phi, max(years, 2), rng, n * SEASON).reshape(n, SEASON, -1)
    return paths.transpose(0, 2, 1).reshape(n, -1)[:, :length]


@family(
    "sd of yearly change",
    (0.0, 10.0),
    (0.0, 0.1, 0.3, 1.0),
    "drift of the seasonal shape",
    naive=SEASONAL,
    season=SEASON,
)
def seasonal_walk(sd: float, length: int, rng: np.random.Generator, n: int = 1) -> Batch:
    """Seasonal random walk, x_t = x_{t-12} + sd e_t, from standard normals. Knob: sd of a year's change.

    Seasonal naive is the best forecast whatever the knob; at 0 it is exact.
    """
    years = -(-length // SEASON)
    steps = np.concatenate([np.ones(1), np.full(years - 1, sd)])[:, None] * rng.standard_normal((n, years, SEASON))
    return np.cumsum(steps, axis=1).reshape(n, -1)[:, :length]
