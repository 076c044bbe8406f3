"""Forecasts that need no training, and the errors by which any forecast is compared with them.

Batches are (n, T): one series a row. A missing value is NaN: a forecast made from it is missing, and a score counts the
points that it had to leave out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from isonum_core.errors import IsonumError

Context = Float[np.ndarray, "n C"]
Target = Float[np.ndarray, "n H"]
EXACT = 1e-12  # an nmse that is rounding error: a naive forecast that is never wrong leaves nothing to win


def last_value(context: Context, horizon: int) -> Float[np.ndarray, "n H"]:
    """The last value, repeated. The best forecast of a martingale."""
    return seasonal_naive(context, horizon, 1)


def mean_value(context: Context, horizon: int) -> Float[np.ndarray, "n H"]:
    """The mean of the context, repeated."""
    _check(context, horizon, 1)
    return np.repeat(context.mean(axis=1, keepdims=True), horizon, axis=1)


def seasonal_naive(context: Context, horizon: int, season: int) -> Float[np.ndarray, "n H"]:
    """The last `season` values, repeated in their order."""
    _check(context, horizon, season)
    return context[:, context.shape[1] - season + np.arange(horizon) % season]


@dataclass(frozen=True)
class PooledError:
    """An error, the number of points it is the mean of, and the number of points that had to be left out."""

    value: float
    points: int
    dropped: int


def nmse(context: Context, actual: Target, forecast: Target) -> PooledError:
    """Squared error in units of the context's variance: mean over all points of (actual - forecast)^2 / variance.

    Unchanged when context, actual and forecast of a series are multiplied and shifted alike. The scale is known before
    the forecast is made. Around 1 for the mean of a long stationary context; smaller is better. Series whose context is
    constant to 1e-12 of its size are dropped, and so are missing points.
    """
    if not np.isfinite(context).all():
        raise IsonumError("nmse needs contexts without missing values, got some. Drop or interpolate them first.")
    variance = context.var(axis=1)
    flat = context.std(axis=1) <= 1e-12 * abs(context).max(axis=1)
    return _pooled((actual - forecast) ** 2, np.where(flat, 0, variance), "variance of the context")


def skill(error: float, *naive: float) -> float:
    """1 - error / the smallest naive error: 1 is perfect, 0 no better than the best naive forecast, below it worse."""
    if not naive or not all(np.isfinite(e) and e > 0 for e in naive) or not error >= 0:
        raise IsonumError(
            f"skill needs an error >= 0 and naive errors > 0, got {error} against {naive}. "
            "A naive forecast without error leaves no room for skill."
        )
    return 1 - error / min(naive)


def varies(context: Context) -> Bool[np.ndarray, "n"]:
    """Which contexts have a variance, the unit of errors."""
    return context.std(axis=1) > 1e-12 * abs(context).max(axis=1)


def naive_forecasts(context: Context, steps: int, season: int) -> dict[str, Float[np.ndarray, "n H"]]:
    """The three forecasts that skill is measured against."""
    seasonal = seasonal_naive(context, steps, season)
    return {"last": last_value(context, steps), "seasonal": seasonal, "mean": mean_value(context, steps)}


def errors_of(context: Context, actual: Target, forecasts: Mapping[str, np.ndarray]) -> dict[str, float]:
    """nmse of each forecast."""
    return {name: nmse(context, actual, forecast).value for name, forecast in forecasts.items()}


def skill_among(errors: Mapping[str, float]) -> float | None:
    """1 - the model's error / the smallest of the others; None where one of them is never wrong."""
    naive = [error for name, error in errors.items() if name != "model"]
    return skill(errors["model"], *naive) if min(naive) > EXACT else None


def _check(context: Context, horizon: int, season: int) -> None:
    if horizon < 1 or not 1 <= season <= context.shape[1]:
        raise IsonumError(
            f"forecasts need horizon >= 1 and a season within the context of {context.shape[1]} steps, got "
            f"horizon={horizon}, season={season}."
        )


def _pooled(error: Target, scale: Float[np.ndarray, "n"], meaning: str) -> PooledError:
    kept = np.isfinite(error) & (scale > 0)[:, None]
    if not kept.any():
        raise IsonumError(f"a point with a value and a positive scale was expected, got none. Look at the {meaning}.")
    value = (error / np.where(scale > 0, scale, 1)[:, None])[kept].mean()
    return PooledError(float(value), int(kept.sum()), int((~kept).sum()))
