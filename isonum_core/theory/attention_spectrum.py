"""Curvature of a squared loss in the score matrix A: the Gauss-Newton matrix of one head, and how fast A is learned.

With f_i = sum_j P_ij x_j and L = 1/2 sum_i |f_i - t_i|^2, a change dA moves f_i by S_i dA^T x_i, so in row-major vec(A)

    H = sum_i x_i x_i^T (x) S_i^2        (d^2, d^2), positive semi-definite.

With equal weights (A = 0, no mask) and centred tokens of covariance C, H = n C (x) C^2: condition number cond(C)^3.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from isonum_core.theory.attention import Attention


def gauss_newton_spectrum(head: Attention) -> Float[Tensor, "*b dd"]:
    """The d^2 eigenvalues of H, largest first, non-negative; exact zeros beyond the rank that n d rows allow.

    From the singular values of the (n d, d^2) factor of H: an eigenvalue is good to eps * the largest *singular*
    value, so condition numbers up to 1e16 survive, not 1e8.
    """
    rows = head.x[..., :, None, :, None] * head.covariance[..., :, :, None, :]  # x_i (x) (S_i)_v for each output (i, v)
    root = rows.flatten(-4, -3).flatten(-2, -1)
    found = torch.linalg.svdvals(root) ** 2
    return torch.nn.functional.pad(found, (0, root.shape[-1] - found.shape[-1]))


def learned_share(curvature: Float[Tensor, "*b"], steps: int, step: float = 0.7) -> Float[Tensor, "*b"]:
    """Share of an entry of A that gradient descent has learned near A = 0: 1 - (1 - step * curvature)^steps.

    `curvature` is the entry's eigenvalue of H over the largest one, l_a l_b^2 / l_1^3; `step` in units of that largest.
    """
    return 1 - (1 - step * curvature) ** steps


def score_range(head: Attention) -> Float[Tensor, "*b"]:
    """rho = max_i (max_j s_ij - min_j s_ij) over all pairs; without a mask exp(-rho) C <= S_i <= exp(rho) C."""
    scores = head.pull @ head.x.mT
    return (scores.amax(-1) - scores.amin(-1)).amax(-1)
