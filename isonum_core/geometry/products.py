"""Products of states that cost as little as they can, in value and in slope: autograd takes two to three times as much.

Each is an autograd function because training against a score spends most of its time here.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable


def gram(a: Float[Tensor, "k n"]) -> Float[Tensor, "k k"]:
    """A A^T. Its slope (G + G^T) A is one product; autograd's rule spends two."""
    return _Gram.apply(a)


def quadratic(a: Float[Tensor, "n d"], b: Float[Tensor, "d d"]) -> Float[Tensor, ""]:
    """Sum of row B row^T over the rows of A, for symmetric B: one product gives the value and its slope in A."""
    return _Quadratic.apply(a, b)


def centred(x: Float[Tensor, "n d"], shift: Float[Tensor, "d"]) -> tuple[Float[Tensor, "n d"], Float[Tensor, "d"]]:
    """Rows of x about their mean, and mean minus shift. Subtracting a constant near the mean first loses no digits."""
    return _Centred.apply(x, shift)


def weighted_sum(weights: Float[Tensor, "n"], x: Float[Tensor, "n d"]) -> Float[Tensor, "d"]:
    """Sum of the rows of x, each times its weight."""
    return _WeightedSum.apply(weights, x)


def squared_lengths(y: Float[Tensor, "n d"]) -> Float[Tensor, "n"]:
    """Squared length of each row."""
    return _SquaredLengths.apply(y)


class _Gram(torch.autograd.Function):
    @staticmethod
    def forward(ctx, a):
        ctx.save_for_backward(a)
        with torch.autocast(a.device.type, enabled=False):  # inside mixed-precision training too
            return _symmetric(a)

    @staticmethod
    def backward(ctx, g):
        (a,) = ctx.saved_tensors
        g = g + g.T
        return g @ a if a.is_contiguous() else (a.T @ g).T  # in the layout of A, or what is added to it crawls


def _symmetric(a: Tensor) -> Tensor:
    """A A^T. Numpy sees that both factors are one matrix and computes half of the product; torch computes all of it."""
    if a.device.type != "cpu":
        return a @ a.T
    rows = a.numpy(force=True)
    return torch.from_numpy(rows @ rows.T)


class _Quadratic(torch.autograd.Function):
    @staticmethod
    def forward(ctx, a, b):
        with torch.autocast(a.device.type, enabled=False):
            product = a @ b.to(a.dtype)
        ctx.save_for_backward(a, product)
        return (product * a).sum(1).double().sum()

    @staticmethod
    @once_differentiable
    def backward(ctx, g):
        a, product = ctx.saved_tensors
        slope_b = g * (a.T @ a).double() if ctx.needs_input_grad[1] else None
        return (2 * g).to(a.dtype) * product, slope_b


class _Centred(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, shift):
        y = x - shift
        rest = y.mean(0)
        return y.sub_(rest), rest

    @staticmethod
    def backward(ctx, slope, slope_rest):
        return slope + (slope_rest - slope.sum(0)) / slope.shape[0], None


class _WeightedSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx, weights, x):
        ctx.save_for_backward(weights, x)
        if x.device.type != "cpu":
            return weights @ x
        rows = x if 1 in x.stride() else x.contiguous()  # else numpy's product is no library's
        return torch.from_numpy(weights.numpy(force=True) @ rows.numpy(force=True))  # half of torch's time

    @staticmethod
    def backward(ctx, slope):
        weights, x = ctx.saved_tensors
        return x @ slope, torch.outer(weights, slope)


class _SquaredLengths(torch.autograd.Function):
    @staticmethod
    def forward(ctx, y):
        ctx.save_for_backward(y)
        return (y * y).sum(1)

    @staticmethod
    def backward(ctx, slope):
        (y,) = ctx.saved_tensors
        return (2 * slope)[:, None] * y
