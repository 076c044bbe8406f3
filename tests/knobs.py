"""For each family a statistic of a batch (n, T) and what it estimates: the knob itself, unless said otherwise."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import estimators as estimate
import numpy as np
from scipy.stats import t as student_t

from isonum_core.worlds.processes_gaussian import PERIOD, SCALE
from isonum_core.worlds.processes_linear import SEASON
from isonum_core.worlds.processes_tails import ALPHA, COUNT_MEAN

LEVEL = float(np.exp(-((PERIOD / SCALE) ** 2) / 2))  # correlation of the level of `gp_mixture` after one period
LOG_CHI2 = -np.euler_gamma - np.log(2)  # mean of the log of a squared standard normal


class Knob(NamedTuple):
    statistic: Callable[[estimate.Batch], float]
    target: Callable[[float], float] = lambda knob: knob


KNOBS = {
    "fgn": Knob(lambda x: estimate.increment_hurst(np.cumsum(x, axis=1))),
    "fbm": Knob(estimate.increment_hurst),
    "arfima": Knob(lambda x: estimate.correlation(x) / (1 + estimate.correlation(x))),
    "ar1": Knob(estimate.correlation),
    "ar2_period": Knob(lambda x: estimate.yule_walker2(x)[0]),
    "ar2_damping": Knob(lambda x: estimate.yule_walker2(x)[1]),
    "ma1": Knob(estimate.correlation, lambda theta: theta / (1 + theta**2)),
    "noisy_ar": Knob(lambda x: 1 - estimate.correlation(x) / 0.95),
    "local_level": Knob(estimate.level_ratio),
    "drift": Knob(lambda x: float(np.diff(x, axis=1).mean())),
    "relaxation": Knob(lambda x: -float(np.log(x[:, 1:9].mean() / x[:, :8].mean()))),
    "seasonal_ar": Knob(lambda x: estimate.correlation(x, SEASON)),
    "seasonal_walk": Knob(lambda x: float(np.sqrt(((x[:, SEASON:] - x[:, :-SEASON]) ** 2).mean()))),
    "seasonal_amplitude": Knob(lambda x: estimate.wave(x, float(SEASON))[0]),
    "sine_noise": Knob(lambda x: estimate.wave(x, 24.0)[1]),
    "sine_period": Knob(estimate.peak_period),
    "harmonics": Knob(lambda x: estimate.harmonic_count(x, 48, 20)),
    "square_duty": Knob(lambda x: float((x > 0).mean())),
    "sawtooth": Knob(lambda x: float((np.diff(x, axis=1) > 0).mean()), lambda rise: rise + (1 - 2 * rise) / 48),
    "chirp": Knob(estimate.octaves),
    "trend": Knob(estimate.slope),
    "piecewise_trend": Knob(estimate.kinks, lambda segment: 1 / segment),
    "level_shifts": Knob(lambda x: 1 - estimate.decay(x)),
    "quantised": Knob(estimate.smallest_gap),
    "outliers": Knob(lambda x: float((abs(x) > 10).mean())),
    "stuck": Knob(lambda x: float((np.diff(x, axis=1) == 0).mean())),
    "student_ar": Knob(
        lambda x: estimate.tail_spread(x[:, 1:] - 0.7 * x[:, :-1]),
        lambda dof: float(np.log(student_t.ppf(0.995, dof) / student_t.ppf(0.875, dof))),
    ),
    "stable": Knob(estimate.stability),
    "garch": Knob(lambda x: estimate.garch_persistence(x, ALPHA)),
    "stochastic_volatility": Knob(lambda x: estimate.decay(np.log(x**2) - LOG_CHI2, span=2)),
    "geometric_walk": Knob(lambda x: float(np.diff(np.log(x), axis=1).std())),
    "jumps": Knob(lambda x: float((abs(np.diff(x, axis=1)) > 5).mean())),
    "intermittent": Knob(lambda x: float((x == 0).mean())),
    "inar": Knob(lambda x: estimate.correlation(x - COUNT_MEAN)),
    "ingarch": Knob(lambda x: float(((x - COUNT_MEAN) ** 2).mean() / COUNT_MEAN), lambda a: 1 / (1 - a**2)),
    "regimes": Knob(lambda x: (1 - estimate.lagged(x, 1)) / 2),
    "threshold_ar": Knob(lambda x: estimate.regression(x[:, 1:], -abs(x[:, :-1]))),
    "bilinear": Knob(lambda x: float(x.mean())),
    "logistic_map": Knob(lambda x: estimate.regression(x[:, 1:], x[:, :-1] * (1 - x[:, :-1]))),
    "henon": Knob(lambda x: estimate.regression(1 + 0.3 * x[:, :-2] - x[:, 2:], x[:, 1:-1] ** 2)),
    "mackey_glass": Knob(estimate.best_delay),
    "cascade": Knob(estimate.cascade_weight),
    "gp_scale": Knob(lambda x: estimate.gaussian_scale(x, 1)),
    "gp_tails": Knob(lambda x: estimate.correlation(x, 2 * SCALE), lambda alpha: (1 + 2 / alpha) ** -alpha),
    "gp_wandering_season": Knob(lambda x: estimate.gaussian_scale(x, PERIOD)),
    "gp_mixture": Knob(lambda x: (estimate.correlation(x, PERIOD) - LEVEL) / (1 - LEVEL)),
}
