"""Statistics that recover a generator's knob. Each takes a batch (n, T) and gives one number for all of it, pooled."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize_scalar
from scipy.signal import lfilter

Batch = Float[np.ndarray, "n T"]


def lagged(x: Batch, lag: int) -> float:
    """Mean of x_t x_{t+lag}, about 0 and not about the sample mean: unbiased for series of known mean 0."""
    return float((x[:, : x.shape[1] - lag] * x[:, lag:]).mean())


def correlation(x: Batch, lag: int = 1) -> float:
    """Autocorrelation at a lag, for series of known mean 0."""
    return lagged(x, lag) / lagged(x, 0)


def decay(x: Batch, span: int = 1) -> float:
    """phi of an autocovariance phi^k from lags 1 and 1 + span, whatever white noise lies on top.

    A long span resolves slow decays.
    """
    ratio = lagged(x, 1 + span) / lagged(x, 1)
    assert ratio > 0, "noise hides the memory: draw more"
    return ratio ** (1 / span)


def gaussian_scale(x: Batch, lag: int) -> float:
    """Length scale l from the correlation exp(-lag^2 / (2 l^2)), itself from the mean square of differences."""
    rho = 1 - ((x[:, lag:] - x[:, :-lag]) ** 2).mean() / (2 * lagged(x, 0))
    return float(lag / np.sqrt(-2 * np.log(rho)))


def increment_hurst(path: Batch, step: int = 8) -> float:
    """Hurst exponent from the growth of increments: mean (x_{t+2s} - x_t)^2 / mean (x_{t+s} - x_t)^2 = 2^(2H)."""
    longer, shorter = ((path[:, s:] - path[:, :-s]) ** 2 for s in (2 * step, step))
    return float(np.log2(longer.mean() / shorter.mean()) / 2)


def level_ratio(x: Batch, step: int = 16) -> float:
    """Signal-to-noise ratio q of a local level: mean (x_{t+k} - x_t)^2 = k q + 2, at k = 1 and k = step."""
    longer, shorter = (float(((x[:, k:] - x[:, :-k]) ** 2).mean()) for k in (step, 1))
    return (longer - shorter) / (step - 1)


def yule_walker2(x: Batch) -> tuple[float, float]:
    """Period and modulus of the roots of an AR(2), from its correlations at lags 1 and 2.

    Where the roots are real the period is infinite: the cosine is clipped to [-1, 1].
    """
    r1, r2 = correlation(x, 1), correlation(x, 2)
    phi2 = (r2 - r1**2) / (1 - r1**2)
    phi1 = r1 * (1 - phi2)
    modulus = np.sqrt(max(-phi2, 1e-12))
    angle = np.arccos(np.clip(phi1 / (2 * modulus), -1, 1))
    return (float(2 * np.pi / angle) if angle else float("inf")), float(modulus)


def wave(x: Batch, period: float) -> tuple[float, float]:
    """Root mean square of the least-squares sine of a known period, and of what it leaves; pooled over series.

    Noise adds 2/T of its variance to the squared amplitude; T - 2 degrees of freedom are left.
    """
    angle = 2 * np.pi * np.arange(x.shape[1]) / period
    design = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    fit = design @ np.linalg.lstsq(design, x.T, rcond=None)[0]
    rest = ((x.T - fit) ** 2).sum(0).mean() / (x.shape[1] - 2)
    power = ((fit**2).sum(0).mean() - 2 * rest) / x.shape[1]
    return float(np.sqrt(max(power, 0.0))), float(np.sqrt(rest))


def peak_period(x: Batch) -> float:
    """Period of the largest ordinate of the mean periodogram, on a grid 16 times finer than Fourier's, in steps."""
    padded = 16 * x.shape[1]
    power = (abs(np.fft.rfft(x, n=padded, axis=1)) ** 2).mean(0)
    return padded / float(1 + power[1:].argmax())


def harmonic_count(x: Batch, period: int, highest: int) -> float:
    """Participation ratio (sum p)^2 / sum p^2 of the power at the harmonics of a period: k equal ones give k."""
    k = np.arange(1, highest + 1)
    waves = np.exp(-2j * np.pi * np.outer(np.arange(x.shape[1] // period * period), k) / period)
    power = (abs(x[:, : len(waves)] @ waves) ** 2).mean(0)
    return float(power.sum() ** 2 / (power**2).sum())


def octaves(x: Batch) -> float:
    """Octaves that a frequency rises by: 2 log2 of the sign changes in the second half over those in the first."""
    changes = np.diff(np.signbit(x), axis=1)
    half = changes.shape[1] // 2
    return float(2 * np.log2(changes[:, half:].mean() / changes[:, :half].mean()))


def slope(x: Batch) -> float:
    """Mean slope of the least-squares lines, per step."""
    t = np.arange(x.shape[1]) - (x.shape[1] - 1) / 2
    return float((x @ t).mean() / (t**2).sum())


def kinks(x: Batch) -> float:
    """Share of steps at which the slope changes by more than 1e-6."""
    return float((abs(np.diff(x, n=2, axis=1)) > 1e-6).mean())


def smallest_gap(x: Batch) -> float:
    """Smallest distance between two different values of a series, the median over series: the step of a rounding."""
    gaps = [np.diff(np.unique(row)) for row in x]
    return float(np.median([row[row > 1e-9].min() for row in gaps]))


def tail_spread(x: Batch) -> float:
    """log of the 99th over the 75th percentile of |x|: large for heavy tails, whatever the scale."""
    high, low = np.quantile(abs(x), [0.99, 0.75])
    return float(np.log(high / low))


def stability(x: Batch) -> float:
    """alpha of a symmetric stable law, from E cos(s x) = exp(-s^alpha) at s = 1 and s = 1/2."""
    return float(np.log2(np.log(np.cos(x).mean()) / np.log(np.cos(x / 2).mean())))


def garch_persistence(x: Batch, alpha: float) -> float:
    """Persistence of a GARCH(1, 1) of variance 1 and known alpha, by Gaussian quasi-likelihood, to about 1e-5."""

    def loss(persistence: float) -> float:
        beta = persistence - alpha
        driven = np.concatenate([np.ones((len(x), 1)), 1 - persistence + alpha * x[:, :-1] ** 2], axis=1)
        variance = lfilter([1.0], [1.0, -beta], driven, axis=1)
        return float((np.log(variance) + x**2 / variance).mean())

    return float(minimize_scalar(loss, bounds=(alpha, 0.9999), method="bounded").x)


def regression(y: Float[np.ndarray, "n T"], x: Float[np.ndarray, "n T"]) -> float:
    """Least-squares coefficient of y on x through the origin."""
    return float((x * y).sum() / (x**2).sum())


def best_delay(x: Batch, longest: int = 64) -> float:
    """Delay at which x' + 0.1 x is closest to the Mackey-Glass production of the past, in steps; x' by differences."""
    rate = (x[:, longest + 1 :] - x[:, longest - 1 : -2]) / 2 + 0.1 * x[:, longest:-1]
    made = 0.2 * x / (1 + x**10)
    misfit = [((rate - made[:, longest - lag : -1 - lag]) ** 2).mean() for lag in range(1, longest)]
    return float(1 + np.argmin(misfit))


def cascade_weight(x: Batch) -> float:
    """Weight of a binomial cascade: sums of squares grow by w^2 + (1 - w)^2 when pairs are split."""
    pairs = x[:, 0::2] + x[:, 1::2]
    share = (x**2).sum() / (pairs**2).sum()
    return float((1 + np.sqrt(max(2 * share - 1, 0))) / 2)
