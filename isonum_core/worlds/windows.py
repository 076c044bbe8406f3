"""Windows of series: what a model may see, what it is judged on, and the origin and unit in which it reads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from isonum_core.errors import IsonumError

FLAT = 1e-6  # of the largest value: below it float32 cannot tell a context from a constant


@dataclass(frozen=True)
class Windows:
    """Contexts and the targets that follow them. `dropped` windows held a missing value and are not here."""

    context: Float[np.ndarray, "w C"]
    target: Float[np.ndarray, "w H"]
    dropped: int


def windows(values: Float[np.ndarray, "n T"], span: range, context: int, horizon: int) -> Windows:
    """All windows of `context` + `horizon` steps that lie within `span` whole: row by row, one from every step.

    Context and target both stay inside, so that no window straddles the end of a span: split a series in time by its
    spans, and a test context sees no training step. Windows overlap: they are no independent samples. Those with a
    missing value are dropped and counted. Raises IsonumError where none fits or none is complete.

    >>> windows(np.arange(6.0)[None], range(1, 6), context=3, horizon=1).context.tolist()
    [[1.0, 2.0, 3.0], [2.0, 3.0, 4.0]]
    """
    width = context + horizon
    if context < 1 or horizon < 1:
        raise IsonumError(f"windows need context and horizon >= 1, got context={context}, horizon={horizon}.")
    if span.step != 1 or span.start < 0 or span.stop > values.shape[1]:
        raise IsonumError(f"steps within 0 to {values.shape[1]} were expected, got {span}. Take a part of the series.")
    if len(span) < width:
        raise IsonumError(
            f"a window of {context} + {horizon} steps needs a part as long, got {len(span)} steps. Shorten the window."
        )
    cut = np.lib.stride_tricks.sliding_window_view(values[:, span.start : span.stop], width, axis=1)
    complete = np.isfinite(cut).all(axis=2)
    if not complete.any():
        raise IsonumError(f"windows without missing values were expected, got none among {complete.size}.")
    kept = cut[complete]
    return Windows(kept[:, :context], kept[:, context:], int((~complete).sum()))


def anchored(context: Float[Tensor, "n C"]) -> tuple[Float[Tensor, "n 1"], Float[Tensor, "n 1"]]:
    """Last value of each context and its standard deviation, or 1 where the context is constant.

    (x - last) / sd is what a model reads; a shift and a positive rescaling of the series leave it as it is.
    """
    last = context[:, -1:]
    spread = context.std(dim=1, correction=0, keepdim=True)
    flat = spread <= FLAT * context.abs().amax(dim=1, keepdim=True)
    return last, torch.where(flat, 1.0, spread)
