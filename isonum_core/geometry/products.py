"""Three products whose slopes cost half of autograd's: training against a score spends most of its time here."""

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


def squared_lengths(y: Float[Tensor, "n d"]) -> Float[Tensor, "n"]:
    """Squared length of each row. Its slope is one pass through the rows; autograd's rules spend three."""
    return _SquaredLengths.apply(y)


class _Gram(torch.autograd.Function):
    @staticmethod
    def forward(ctx, a):
        ctx.save_for_backward(a)
        if a.device.type == "cpu":  # numpy sees that both factors are one matrix and computes half of the product
            rows = a.numpy(force=True)
            return torch.from_numpy(rows @ rows.T)
        with torch.autocast(a.device.type, enabled=False):  # inside mixed-precision training too
            return a @ a.T

    @staticmethod
    def backward(ctx, g):
        (a,) = ctx.saved_tensors
        g = g + g.T
        return g @ a if a.is_contiguous() else (a.T @ g).T  # in the layout of A, or what is added to it crawls


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


class _SquaredLengths(torch.autograd.Function):
    @staticmethod
    def forward(ctx, y):
        ctx.save_for_backward(y)
        return (y * y).sum(1)

    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        return (2 * g)[:, None] * y
