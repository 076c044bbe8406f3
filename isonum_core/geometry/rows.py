"""Rows at the door: what is refused, what the mask leaves, how they were rounded, and their lengths at any scale."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import reduce
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from isonum_core.errors import IsonumError, WeakNumberWarning

Sums = TypeVar("Sums")
# What the public functions of this wing take, a sample a row; a mistake in it is told by `accepted_rows`.
Array = Tensor | np.ndarray
Rows = Float[Tensor, "n d"] | Float[np.ndarray, "n d"]

# Squares of float32 values outside this range underflow or overflow, so such states are multiplied in float64;
# fourth powers of float64 values outside the wider one do, and no score depends on units: the caller should rescale.
SAFE_SCALE = (1e-15, 1e15)
WIDEST_SCALE = (1e-70, 1e70)


def accepted_rows(x: object, mask: Array | None = None) -> tuple[Tensor, int]:
    """The rows (m, d) of x (n, d) that count, in float32 or float64, and how many the mask (n,) dropped: n - m.

    Warns of half precision. Raises IsonumError on a wrong type or shape, integers, a mask that is none, and no rows.
    """
    if isinstance(x, np.ndarray):
        x = torch.as_tensor(np.require(x, requirements="CW"))  # torch has no negative strides, and nothing read-only
    if not isinstance(x, Tensor):
        raise IsonumError(
            f"rows must be a tensor or array of shape (n, d), got {type(x).__name__}. Use torch.as_tensor."
        )
    if x.ndim != 2 or x.shape[1] < 1:
        raise IsonumError(f"rows must have shape (n, d), d >= 1, got {tuple(x.shape)}. Flatten batch and position.")
    if not x.is_floating_point():
        raise IsonumError(f"rows must be real floating point, got {x.dtype}. If they are vectors, use x.double().")
    dropped = 0
    if mask is not None:
        mask = torch.as_tensor(mask)
        if mask.dtype != torch.bool or mask.shape != x.shape[:1]:
            raise IsonumError(
                f"mask must be boolean of shape ({x.shape[0]},), one entry a row, got {mask.dtype} {tuple(mask.shape)}."
            )
        total, x = x.shape[0], x[mask]
        dropped = total - x.shape[0]
    if x.shape[0] == 0:
        why = f": the mask dropped all {dropped}" if dropped else ""
        raise IsonumError(f"no rows are left{why}. Expected at least one row to count: check the mask.")
    if x.dtype in (torch.float16, torch.bfloat16):
        bits = 11 if x.dtype == torch.float16 else 8
        warnings.warn(
            f"states are {x.dtype}: each value carries {bits} significant bits, so scores are good to about "
            f"{2.0**-bits:.0e}; products are taken in float32. Capture in float32 where you can.",
            WeakNumberWarning,
            stacklevel=3,
        )
        x = x.float()
    return x, dropped


def plain_rows(x: object) -> Tensor:
    """The rows of x (n, d) that a measure without a slope reads: accepted as above, finite, detached, on the CPU."""
    x = accepted_rows(x)[0].detach().cpu()
    refuse_non_finite(x)
    return x


def stored_eps(x: Tensor) -> float:
    """eps of the type that the values of x were stored in: float32's where all are float32 values, converted or not.

    Whole numbers below 2^24 are exact in both types, so their eps is that of float64.
    """
    exact = bool((x.abs() < 2**24).all()) and bool((x == x.round()).all())
    single = x.dtype == torch.float32 or bool((x == x.float()).all())
    return torch.finfo(torch.float32 if single and not exact else torch.float64).eps


def refuse_non_finite(x: Tensor) -> None:
    """IsonumError that counts the rows with NaN or infinity, if there are any."""
    rows = (~x.detach().isfinite().all(1)).nonzero().flatten()
    if len(rows):
        raise IsonumError(
            f"rows must be finite, got {len(rows)} of {x.shape[0]} rows with NaN or infinity, the first at row "
            f"{int(rows[0])}. Drop them on purpose with mask=torch.isfinite(x).all(1)."
        )


def merged_chunks(one_chunk: Callable[[Tensor], Sums], x: Float[Tensor, "n d"], size: int) -> Sums:
    """Sums of every `size` rows of x, merged. A refusal counts the rows of x, not those of a chunk."""
    # A split of one part would still copy the whole slope in the backward pass.
    chunks = [x] if len(x) <= size else x.split(size)
    try:
        with torch.autocast(x.device.type, enabled=False):  # bfloat16 products would cost four digits
            return reduce(lambda a, b: a.merge(b), map(one_chunk, chunks))
    except IsonumError:
        refuse_non_finite(x)
        raise


def inverse_lengths(x: Float[Tensor, "n d"]) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n"], int]:
    """The rows, 1 / |row| of each, 0 where a row has no length that its type can hold, and how many such there are.

    Rows come back in float64 where their squares would leave float32. Raises IsonumError on non-finite rows, and where
    fourth powers would leave float64.
    """
    length = torch.linalg.vector_norm(x, dim=1)
    shortest, longest = (float(value) for value in length.detach().aminmax())
    if SAFE_SCALE[0] < shortest <= longest < SAFE_SCALE[1]:
        return x, 1 / length, 0
    # A length is not finite where an entry is not, or where its square overflows; a short row's square underflows.
    refuse_non_finite(x)
    length = torch.linalg.vector_norm(x, dim=1, dtype=torch.float64)
    longest = float(x.detach().abs().amax())
    if longest and not WIDEST_SCALE[0] < longest < WIDEST_SCALE[1]:
        raise IsonumError(
            f"states must lie between {WIDEST_SCALE[0]:.0e} and {WIDEST_SCALE[1]:.0e} in size, got {longest:.0e}: "
            "their powers leave float64. Divide by a common scale."
        )
    if longest and not SAFE_SCALE[0] < longest < SAFE_SCALE[1]:
        x = x.double()
    zero = length < torch.finfo(x.dtype).tiny
    return x, (1 / torch.where(zero, torch.inf, length)).to(x.dtype), int(zero.sum())
