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
    naive: Callable[[float], str | None]
    season: Callable[[float], int]

    def predictable(self, knob: float) -> bool:
        """Whether the expectation of the next value depends on the past at all."""
        return self.naive(knob) != MEAN

    def beatable(self, knob: float) -> bool:
        """Whether some point forecast beats mean, last value and seasonal naive: where skill is possible."""
        return self.naive(knob) is None

    @property
    def skill(self) -> str:
        """Where on the grid skill is possible, in words: 'everywhere', 'not at 0 (mean)', 'nowhere (last value)'."""
        best = {knob: self.naive(knob) for knob in self.grid if not self.beatable(knob)}
        if len(best) == len(self.grid):
            return f"nowhere ({self.naive(self.grid[0])})"
        return f"not at {', '.join(f'{k:g} ({name})' for k, name in best.items())}" if best else "everywhere"

    def _repr_markdown_(self) -> str:
        knobs = ", ".join(f"{knob:g}" for knob in self.grid)
        return (
            f"**{self.name.replace('_', ' ')}**: {' '.join(self.draw.__doc__.split())}\n\n"
            f"* {self.knob}: {knobs} (from {self.range[0]:g} to {self.range[1]:g})\n"
            f"* moves {self.moves}\n* skill possible: {self.skill}"
        )


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
    naive: Callable[[float], str | None] | str | None = None,
    season: Callable[[float], int] | int = 1,
) -> Callable[[Generator], Generator]:
    """Let a generator check its knob, length and n, and carry its `Family` as the attribute `.family`: here the facts.

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

        told = naive if callable(naive) else lambda value: naive
        lag = season if callable(season) else lambda value: season
        checked.family = Family(draw.__name__, knob, range, grid, moves, checked, told, lag)
        return checked

    return described
