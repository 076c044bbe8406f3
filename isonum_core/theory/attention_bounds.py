"""How large the Jacobian of one softmax-attention head can be, and how far one pass pulls tokens together.

The Jacobian (values left out, W_V = I) is J = P (x) I + D + B with D = blockdiag(S_i A^T) and
(B v)_i = sum_j P_ij (x_j - mu_i)(A^T x_i . v_j). Each bound is in the spectral norm; with values multiply by |W_V|.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from isonum_core.theory.attention import Attention, jacobian


def jacobian_norm(head: Attention) -> Float[Tensor, "*b"]:
    """Largest singular value of the whole Jacobian (n d, n d): the local Lipschitz constant. Costs (n d)^3."""
    n, d = head.x.shape[-2:]
    return _size(jacobian(head).reshape(*head.x.shape[:-2], n * d, n * d))


def quoted_bound(head: Attention) -> Float[Tensor, "*b"]:
    """The bound as it is quoted in the literature. It does not bound |J|; it bounds |J - P (x) I|.

    |A| ( sum_i (P_ii + 1/2) |x_i - mu_i|^2 + sum_{i != j} P_ij |x_j - mu_i|^2 + 1/2 sum_j |x_j|^2 ).

    It vanishes as A -> 0, where J = P (x) I has norm |P| >= 1. Quoted from secondary sources; see the chapter
    on the gradient of self-attention for the counterexample and the proof of what remains true.
    """
    own = head.x - head.mean
    spread = (head.p * (head.deviations**2).sum(-1)).sum(-1)  # tr S_i
    return _size(head.a) * (spread.sum(-1) + _squares(own) / 2 + _squares(head.x) / 2)


def repaired_bound(head: Attention) -> Float[Tensor, "*b"]:
    """|P| + quoted_bound: the smallest repair of the quoted formula, true for every input."""
    return _size(head.p) + quoted_bound(head)


def sharp_bound(head: Attention) -> Float[Tensor, "*b"]:
    """|P| + max_i |S_i A^T| + sqrt( max_j sum_i P_ij |S_i| |A^T x_i|^2 ), true for every input and mask."""
    spread = torch.linalg.matrix_norm(head.covariance, 2)
    own = torch.linalg.matrix_norm(head.covariance @ head.a.mT[..., None, :, :], 2).amax(-1)
    weight = (spread * (head.pull**2).sum(-1))[..., None]
    return _size(head.p) + own + (head.p * weight).sum(-2).amax(-1).sqrt()


def simple_bound(head: Attention) -> Float[Tensor, "*b"]:
    """|P| + |A| ( 3/2 max_i |S_i| + 1/2 sum_i |x_i|^2 ): looser than `sharp_bound`, easier to read."""
    spread = torch.linalg.matrix_norm(head.covariance, 2).amax(-1)
    return _size(head.p) + _size(head.a) * (1.5 * spread + _squares(head.x) / 2)


def collapse_bound(head: Attention) -> Float[Tensor, "*b"]:
    """tanh(|A| D^2 / 4) D with D = diameter(x): the most that diameter(P x) can be without a mask. At most |A| D^3/4.

    Two rows of scores differ by a row of range at most |A| D^2, so their weights by at most tanh(|A| D^2 / 4) in total
    variation. Dong, Cordonnier and Loukas 2021 have the cubic rate.
    """
    size = diameter(head.x)
    return (_size(head.a) * size**2 / 4).tanh() * size


def diameter(x: Float[Tensor, "*b n d"]) -> Float[Tensor, "*b"]:
    """Largest distance between two tokens, from exact differences."""
    return torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist").amax((-2, -1))


def preservation_floor(condition: float | Tensor) -> float | Tensor:
    """2 sqrt(k) / (1 + k): least cosine between M and M S over all M, for a covariance S of condition number k.

    1 at k = 1 and only there: an isotropic S rescales the gradient, any other S can turn it. Attained.
    """
    return 2 * condition**0.5 / (1 + condition)


def _size(m: Tensor) -> Tensor:
    return torch.linalg.matrix_norm(m, 2)


def _squares(x: Tensor) -> Tensor:
    return (x**2).sum((-2, -1))
