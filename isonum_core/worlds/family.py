"""The record of a one-parameter family, and the decorator that puts it beside the generator it describes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps

import numpy as np
from jaxtyping import Float

from isonum_core.errors import IsonumError

Batch = Float[np.ndarray, "n T"]
Generator = Callable[..., Batch]
MEAN, LAST, SEASONAL = "mean", "last value", "seasonal naive"


@dataclass(frozen=True)
class Family:
    """A generator and what is known of it. `draw(knob, length, rng, n)` gives float64 of shape (n, length).

    `range` holds the knobs that draw accepts, `grid` at least four of them for a study, `moves` what the knob moves.
    `statistic` of a batch estimates `target(knob)`, which is the knob itself unless said otherwise.
    `naive(knob)` names the naive forecast that no point forecast beats in squared error at that knob, or is None where
    a better one exists. At 'mean' the next value is expected at the mean of the series, whatever came last (its
    variance may be told); at 'last value' the process is a martingale; at 'seasonal naive' the last season
    is the best forecast.
    `season(knob)` is the lag in steps that seasonal naive needs, 1 where there is none.
    """

    name: str
    knob: str
    range: tuple[float, float]
    grid: tuple[float, ...]
    moves: str
    draw: Generator
    statistic: Callable[[Batch], float]
    target: Callable[[float], float]
    naive: Callable[[float], str | None]
    season: Callable[[float], int]

    def predictable(self, knob: float) -> bool:
        """Whether the expectation of the next value depends on the past at all."""
        return self.naive(knob) != MEAN

    def beatable(self, knob: float) -> bool:
        """Whether some point forecast beats mean, last value and seasonal naive: where skill is possible."""
        return self.naive(knob) is None


def at(**knobs: float | tuple[float, ...]) -> Callable[[float], str | None]:
    """The naive forecast that wins at single knobs, as at(mean=0.5), at(last=0), at(seasonal=0, mean=1)."""
    names = {"mean": MEAN, "last": LAST, "seasonal": SEASONAL}
    table = {k: names[key] for key, where in knobs.items() for k in (where if isinstance(where, tuple) else (where,))}
    return table.get


def family(
    knob: str,
    range: tuple[float, float],
    grid: tuple[float, ...],
    moves: str,
    statistic: Callable[[Batch], float],
    target: Callable[[float], float] | None = None,
    naive: Callable[[float], str | None] | str | None = None,
    season: Callable[[float], int] | int = 1,
) -> Callable[[Generator], Generator]:
    """Let a generator check its knob, length and n, and carry its `Family` as the attribute `.family`.

    `naive` and `season` may be given as one value for all knobs. The generator keeps the signature
    (knob, length, rng, n=1); it raises IsonumError for a knob outside `range`, length < 2 or n < 1.
    """

    def described(draw: Generator) -> Generator:
        @wraps(draw)
        def checked(value: float, length: int, rng: np.random.Generator, n: int = 1) -> Float[np.ndarray, "n T"]:
            if not range[0] <= value <= range[1]:
                raise IsonumError(f"{draw.__name__} takes a {knob} from {range[0]} to {range[1]}, got {value}.")
            if length < 2 or n < 1:
                raise IsonumError(f"{draw.__name__} needs length >= 2 and n >= 1, got length={length}, n={n}.")
            return draw(value, length, rng, n)

        checked.family = Family(
            name=draw.__name__,
            knob=knob,
            range=range,
            grid=grid,
            moves=moves,
            draw=checked,
            statistic=statistic,
            target=target or (lambda value: value),
            naive=naive if callable(naive) else lambda value: naive,
            season=season if callable(season) else lambda value: season,
        )
        return checked

    return described
