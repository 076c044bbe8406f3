"""Generators of heavy tails, bursts, changing variance, jumps and counts. Each has one knob."""

from __future__ import annotations

import numpy as np
from scipy.signal import lfilter

from isonum_core.worlds.family import LAST, MEAN, Batch, at, family
from isonum_core.worlds.processes_linear import ar1

ALPHA = 0.1  # weight of the last squared shock in `garch`
COUNT_MEAN = 5.0  # of the count processes


@family("degrees of freedom", (1.0, 100.0), (1.5, 3.0, 5.0, 10.0), "tails of the shocks of an AR(1)")
def student_ar(dof: float, length: int, rng: np.random.Generator, n: int = 1) -> Batch:
    """AR(1) of persistence 0.7 driven by Student t shocks, from 0. Knob: degrees of freedom; the variance needs > 2."""
    return lfilter([1.0], [1.0, -0.7], rng.standard_t(dof, size=(n, length)), axis=1)


@family("stability alpha", (1.05, 2.0), (1.2, 1.5, 1.8, 2.0), "tails of white noise", naive=MEAN)
def stable(alpha: float, length: int, rng: np.random.Generator, n: int = 1) -> Batch:
    """White symmetric stable noise, E exp(i s x) = exp(-|s|^alpha). Knob: stability; 2 is normal, of variance 2.

    Chambers, Mallows and Stuck 1976, with V uniform on (-pi/2, pi/2) and W exponential:
    x = sin(alpha V) / cos(V)^(1/alpha) (cos((1 - alpha) V) / W)^((1 - alpha)/alpha).
    """
    v = np.pi * (rng.random((n, length)) - 0.5)
    w = rng.standard_exponential((n, length))
    bend = (np.cos((1 - alpha) * v) / w) ** ((1 - alpha) / alpha)
    return np.sin(alpha * v) / np.cos(v) ** (1 / alpha) * bend


@family("persistence", (ALPHA, 0.99), (0.5, 0.8, 0.9, 0.97), "how long a storm of shocks lasts", naive=MEAN)
def garch(persistence: float, length: int, rng: np.random.Generator, n: int = 1) -> Batch:
    """GARCH(1, 1) of variance 1 with weight 0.1 on the last squared shock. Knob: persistence alpha + beta of variance.

    s_t = 1 - persistence + 0.1 x_{t-1}^2 + (persistence - 0.1) s_{t-1}, x_t = sqrt(s_t) e_t.
    The signs stay unpredictable: only the size of the next value is told. 200 steps of burn-in.
    """
    e = rng.standard_normal((length + 200, n))
    x, s = np.empty_like(e), np.ones(n)
    for t in range(len(e)):
        x[t] = np.sqrt(s) * e[t]
        s = 1 - persistence + ALPHA * x[t] ** 2 + (persistence - ALPHA) * s
    return x[200:].T.copy()


@family("persistence", (0.0, 0.999), (0.6, 0.8, 0.9, 0.98), "how long a calm or a storm lasts", naive=MEAN)
def stochastic_volatility(persistence: float, length: int, rng: np.random.Generator, n: int = 1) -> Batch:
    """White noise times exp(h / 2), h an AR(1) of variance 1. Knob: persistence of the log variance h."""
    return np.exp(ar1(persistence, length, rng, n) / 2) * rng.standard_normal((n, length))


@family("volatility per step", (0.0, 0.3), (0.01, 0.03, 0.1, 0.3), "size of relative change", naive=LAST)
def geometric_walk(volatility: float, length: int, rng: np.random.Generator, n: int = 1) -> Batch:
    """Geometric Brownian motion from 1, a martingale: exp of a walk with drift -volatility^2/2. Knob: volatility."""
    steps = volatility * rng.standard_normal((n, length)) - volatility**2 / 2
    steps[:, 0] = 0
    return np.exp(np.cumsum(steps, axis=1))


@family("jump rate", (0.0, 1.0), (0.0, 0.01, 0.05, 0.2), "rare large steps of a random walk", naive=LAST)
def jumps(rate: float, length: int, rng: np.random.Generator, n: int = 1) -> Batch:
    """Random walk with standard normal steps, some of which jump by +10 or -10. Knob: probability of a jump.

    Merton's jump diffusion in discrete time; the last value is the best forecast.
    """
    steps = rng.standard_normal((n, length))
    jump = rng.random((n, length)) < rate
    return np.cumsum(steps + jump * rng.choice([-10.0, 10.0], size=(n, length)), axis=1)


@family("share of zeros", (0.0, 0.99), (0.0, 0.3, 0.6, 0.9), "intermittency of demand")
def intermittent(share: float, length: int, rng: np.random.Generator, n: int = 1) -> Batch:
    """Intermittent demand: zero or a size 1 + Poisson(m), log m an AR(1) of persistence 0.95 around log 4.
    Knob: share of zeros. When a demand comes is not told by the past; how large it will be is, a little."""
    size = 1 + rng.poisson(4 * np.exp(ar1(0.95, length, rng, n) / 2))
    return np.where(rng.random((n, length)) < share, 0.0, size)


@family("thinning", (0.0, 0.99), (0.0, 0.3, 0.6, 0.9), "persistence of counts", naive=at(mean=0.0))
def inar(thinning: float, length: int, rng: np.random.Generator, n: int = 1) -> Batch:
    """Poisson INAR(1) of mean 5: each unit survives with probability `thinning`, new ones arrive. Knob: thinning.

    The marginal law is Poisson(5) and the correlation at lag k is thinning^k.
    """
    arrivals = rng.poisson((1 - thinning) * COUNT_MEAN, size=(length, n))
    x = np.empty((length, n), dtype=np.int64)
    x[0] = rng.poisson(COUNT_MEAN, size=n)
    for t in range(1, length):
        x[t] = rng.binomial(x[t - 1], thinning) + arrivals[t]
    return x.T.astype(np.float64)


@family(
    "excitation",
    (0.0, 0.95),
    (0.0, 0.4, 0.7, 0.9),
    "bursts of counts: their variance over their mean",
    naive=at(mean=0.0),
)
def ingarch(excitation: float, length: int, rng: np.random.Generator, n: int = 1) -> Batch:
    """Self-exciting counts of mean 5: x_t is Poisson((1 - a) 5 + a x_{t-1}). Knob: excitation a.

    Bursts: variance over mean is 1 / (1 - a^2), where `inar` keeps it at 1. 200 steps of burn-in.
    """
    x = np.empty((length + 200, n))
    x[0] = COUNT_MEAN
    for t in range(1, len(x)):
        x[t] = rng.poisson((1 - excitation) * COUNT_MEAN + excitation * x[t - 1])
    return x[200:].T.copy()
