"""Curvature of a squared loss in the score matrix A: the Gauss-Newton matrix of one head, and how fast A is learned.

With f_i = W_V^T sum_j P_ij x_j and L = 1/2 sum_i |f_i - t_i|^2, a change dA moves f_i by W_V^T S_i dA^T x_i, so in
row-major vec(A)

    H = sum_i x_i x_i^T (x) S_i W_V W_V^T S_i        (d^2, d^2), positive semi-definite.

With equal weights (A = 0, no mask) and centred tokens of covariance C, H = n C (x) C^2: condition number cond(C)^3.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from isonum_core.theory.attention import Attention


def gauss_newton(head: Attention, w_v: Float[Tensor, "d v"] | None = None) -> Float[Tensor, "*b dd dd"]:
    """H itself; index a * d + b stands for A[a, b]. For its spectrum take `gauss_newton_spectrum`."""
    root = _root(head, w_v)
    return root.mT @ root


def gauss_newton_spectrum(head: Attention, w_v: Float[Tensor, "d v"] | None = None) -> Float[Tensor, "*b dd"]:
    """The d^2 eigenvalues of H, largest first, non-negative; exact zeros beyond the rank that n v rows allow.

    From the singular values of the (n v, d^2) factor of H: an eigenvalue is good to eps * the largest *singular*
    value, so condition numbers up to 1e16 survive, not 1e8.
    """
    root = _root(head, w_v)
    found = torch.linalg.svdvals(root) ** 2
    return torch.nn.functional.pad(found, (0, root.shape[-1] - found.shape[-1]))


def uniform_spectrum(x: Float[Tensor, "*b n d"], w_v: Float[Tensor, "d v"] | None = None) -> Float[Tensor, "*b dd"]:
    """The spectrum of H where attention is uniform (A = 0, no mask), largest first, without forming H.

    There H = X^T X (x) C W_V W_V^T C with C the covariance of the tokens (divisor n): every eigenvalue is a product.
    With centred tokens and scores of range rho in every row the condition number is at most exp(4 rho) times this one.
    """
    centred = x - x.mean(-2, keepdim=True)
    c = centred.mT @ centred / x.shape[-2]
    first = torch.linalg.svdvals(x) ** 2
    second = torch.linalg.svdvals(c if w_v is None else c @ w_v) ** 2
    pad = x.shape[-1]
    first, second = (torch.nn.functional.pad(l, (0, pad - l.shape[-1])) for l in (first, second))
    return (first[..., :, None] * second[..., None, :]).flatten(-2).sort(-1, descending=True).values


def score_range(head: Attention) -> Float[Tensor, "*b"]:
    """rho = max_i (max_j s_ij - min_j s_ij) over all pairs; without a mask exp(-rho) C <= S_i <= exp(rho) C."""
    scores = head.pull @ head.x.mT
    return (scores.amax(-1) - scores.amin(-1)).amax(-1)


def _root(head: Attention, w_v: Tensor | None) -> Tensor:
    """Rows x_i (x) (S_i W_V)_v, one for every output number (i, v), so that root^T root = H."""
    s = head.covariance if w_v is None else head.covariance @ w_v
    rows = head.x[..., :, None, :, None] * s.mT[..., :, :, None, :]
    return rows.flatten(-4, -3).flatten(-2, -1)
