"""AdamW in full batch as a linear read-out: rows enter it through two sums alone, so it runs on these.

It divides each coordinate's step by that coordinate's own gradients, so unlike the read-outs of `theory.readout` it is
no function of the spectrum: a rotation of the states changes what it learns. There is no formula here, only the run.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor


def adamw_weights(
    second: Float[Tensor, "d d"],
    shared: Float[Tensor, "d m"],
    rates: Sequence[float],
    steps: Sequence[int],
    decay: float = 0.01,
    betas: tuple[float, float] = (0.9, 0.999),
) -> Float[Tensor, "g s d m"]:
    """Weights under each rate after each number of steps (rising), from zero, on half the mean squared error.

    `second` is the mean of h h^T over rows, `shared` that of h y^T: the slope is second w - shared. After Loshchilov
    and Hutter 2019; torch.optim.AdamW on the rows, with its defaults, does the same to rounding.
    """
    (d, m), found = shared.shape, []
    rate = torch.tensor(rates, dtype=shared.dtype)[:, None].expand(-1, m).reshape(-1)
    w = shared.new_zeros(d, len(rates) * m)
    first, squares, goal = torch.zeros_like(w), torch.zeros_like(w), shared.repeat(1, len(rates))
    for step in range(1, max(steps) + 1):
        slope = second @ w - goal
        first.lerp_(slope, 1 - betas[0])
        squares.lerp_(slope.square(), 1 - betas[1])
        size = (squares / (1 - betas[1] ** step)).sqrt() + 1e-8
        w = w * (1 - rate * decay) - rate / (1 - betas[0] ** step) * first / size
        if step in steps:
            found.append(w.view(d, len(rates), m).transpose(0, 1))
    return torch.stack(found, 1)
