"""The table of one-parameter families. Each generator stands with its facts in its own file; here is the whole list."""

from __future__ import annotations

from isonum_core.worlds.family import Family
from isonum_core.worlds.processes_gaussian import gp_mixture, gp_scale, gp_tails, gp_wandering_season
from isonum_core.worlds.processes_linear import (
    ar1,
    ar2_damping,
    ar2_period,
    arfima,
    drift,
    fbm,
    fgn,
    local_level,
    ma1,
    noisy_ar,
    relaxation,
    seasonal_ar,
    seasonal_walk,
)  # fmt: skip
from isonum_core.worlds.processes_nonlinear import (
    bilinear,
    cascade,
    henon,
    logistic_map,
    mackey_glass,
    regimes,
    threshold_ar,
)  # fmt: skip
from isonum_core.worlds.processes_shape import (
    chirp,
    harmonics,
    level_shifts,
    outliers,
    piecewise_trend,
    quantised,
    sawtooth,
    seasonal_amplitude,
    sine_noise,
    sine_period,
    square_duty,
    stuck,
    trend,
)  # fmt: skip
from isonum_core.worlds.processes_tails import (
    garch,
    geometric_walk,
    inar,
    ingarch,
    intermittent,
    jumps,
    stable,
    stochastic_volatility,
    student_ar,
)  # fmt: skip

FAMILIES: dict[str, Family] = {
    draw.family.name: draw.family
    for draw in (
        *(fgn, fbm, arfima, ar1, ar2_period, ar2_damping, ma1, noisy_ar, local_level, drift, relaxation),
        *(seasonal_ar, seasonal_walk, seasonal_amplitude, sine_noise, sine_period, harmonics, square_duty, sawtooth),
        *(chirp, trend, piecewise_trend, level_shifts, quantised, outliers, stuck),
        *(student_ar, stable, garch, stochastic_volatility, geometric_walk, jumps, intermittent, inar, ingarch),
        *(regimes, threshold_ar, bilinear, logistic_map, henon, mackey_glass, cascade),
        *(gp_scale, gp_tails, gp_wandering_season, gp_mixture),
    )
}
