"""Windows of series and splits in time: what a model may see, and what it is judged on, never overlap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from isonum_core.errors import IsonumError


@dataclass(frozen=True)
class Split:
    """Steps of a series in time order: train, then validation, then test. Each is a range; together they are all."""

    train: range
    validation: range
    test: range


@dataclass(frozen=True)
class Windows:
    """Contexts and the targets that follow them; `series` and `start` say from which row and step each was cut.

    `dropped` windows held a missing value and are not here.
    """

    context: Float[np.ndarray, "w C"]
    target: Float[np.ndarray, "w H"]
    series: Int[np.ndarray, "w"]
    start: Int[np.ndarray, "w"]
    dropped: int


def time_split(length: int, validation: float = 0.1, test: float = 0.2) -> Split:
    """Cut `length` steps in time: the last share `test` for testing, the share before it for validation.

    Shares are of the length, rounded to whole steps. Raises IsonumError where a part would be empty.
    """
    n_test, n_validation = round(length * test), round(length * validation)
    n_train = length - n_validation - n_test
    if min(n_train, n_validation, n_test) < 1:
        raise IsonumError(
            "a split needs a step in each part, got "
            f"{n_train} to train, {n_validation} to validate and {n_test} to test. Lengthen it or change the shares."
        )
    return Split(range(n_train), range(n_train, n_train + n_validation), range(n_train + n_validation, length))


def windows(values: Float[np.ndarray, "n T"], span: range, context: int, horizon: int, stride: int = 1) -> Windows:
    """All windows of `context` + `horizon` steps that lie within `span` whole, every `stride` steps from its start.

    Context and target both stay inside, so that no window straddles a split: a test context sees no training step.
    Windows with a missing value are dropped and counted. Windows that overlap are not independent samples: with
    stride = context + horizon none do. Raises IsonumError where none fits or none is complete.
    """
    width = context + horizon
    if context < 1 or horizon < 1 or stride < 1:
        raise IsonumError(
            f"windows need context, horizon and stride >= 1, got context={context}, horizon={horizon}, stride={stride}."
        )
    if span.step != 1 or span.start < 0 or span.stop > values.shape[1]:
        raise IsonumError(
            f"steps within 0 to {values.shape[1]} were expected, got {span}. Take a part of a `time_split`."
        )
    if len(span) < width:
        raise IsonumError(
            f"a window of {context} + {horizon} steps needs a part as long, got {len(span)} steps. Shorten the window."
        )
    starts = np.arange(span.start, span.stop - width + 1, stride)
    cut = values[:, starts[:, None] + np.arange(width)]
    complete = np.isfinite(cut).all(axis=2)
    if not complete.any():
        raise IsonumError(f"windows without missing values were expected, got none among {complete.size}.")
    series, place = np.nonzero(complete)
    cut = cut[complete]
    return Windows(cut[:, :context], cut[:, context:], series, starts[place], int((~complete).sum()))
