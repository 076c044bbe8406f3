"""One softmax-attention head at one input: its exact Jacobian and bounds on it, its gradients, how fast scores learn.

    f_i = sum_j P_ij W_V^T x_j,   P = row-softmax(x_i^T A x_j),   A = W_Q W_K^T / sqrt(d_k)

Everything a gradient meets on its way through the scores is the attention-weighted covariance
S_i = sum_j P_ij (x_j - mu_i)(x_j - mu_i)^T with mu_i = sum_j P_ij x_j. Leading dimensions are a batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from isonum_core.errors import IsonumError


@dataclass(frozen=True)
class Attention:
    """Tokens x, score matrix a and attention weights p of one head; mean and covariance are computed on demand."""

    x: Float[Tensor, "*b n d"]
    a: Float[Tensor, "*#b d d"]
    p: Float[Tensor, "*b n n"]

    @classmethod
    def of(cls, x: Tensor, a: Tensor, mask: Tensor | None = None) -> Attention:
        """Attend from every row of x (*b, n, d) to every row that `mask` (n, n) allows, with scores x_i^T a x_j.

        `mask[i, j]` is true where i may look at j; see `causal_mask`. Differentiable in x and a.
        Raises IsonumError on non-finite input and on a row that may look nowhere.
        """
        if not (x.isfinite().all() and a.isfinite().all()):
            raise IsonumError("attention needs finite tokens and scores, got NaN or infinity. Look where it was made.")
        scores = x @ a @ x.mT
        if mask is not None:
            if not mask.any(-1).all():
                row = int((~mask.any(-1)).nonzero()[0, -1])
                raise IsonumError(f"every row must be allowed to look somewhere, got row {row}. Let it see itself.")
            scores = scores.masked_fill(~mask, -torch.inf)
        return cls(x, a, scores.softmax(-1))

    @cached_property
    def mean(self) -> Float[Tensor, "*b n d"]:
        """mu_i = sum_j P_ij x_j, what row i reads."""
        return self.p @ self.x

    @cached_property
    def deviations(self) -> Float[Tensor, "*b n n d"]:
        """x_j - mu_i for every row i, with small relative error however sharp it is.

        Taken from differences with the most attended token, whose own is exactly zero: subtracting mu_i itself would
        leave rounding of the size of x where the truth is of the size of 1 - max P, and S_i would lose its digits.
        """
        x, p = self.x, self.p
        origin = x.gather(-2, p.argmax(-1)[..., None].expand(*p.shape[:-1], x.shape[-1]))
        from_origin = x[..., None, :, :] - origin[..., None, :]
        return from_origin - p[..., None, :] @ from_origin

    @cached_property
    def covariance(self) -> Float[Tensor, "*b n d d"]:
        """S_i = sum_j P_ij (x_j - mu_i)(x_j - mu_i)^T, the spread of what row i reads."""
        return (self.p[..., None] * self.deviations).mT @ self.deviations

    @cached_property
    def pull(self) -> Float[Tensor, "*b n d"]:
        """b_i = A^T x_i, the direction in which a key must move to win the attention of row i."""
        return self.x @ self.a


def causal_mask(n: int) -> Bool[Tensor, "n n"]:
    """Row i may look at rows 0..i. Row 0 sees only itself: S_0 = 0, so no gradient passes through its scores."""
    return torch.ones(n, n, dtype=torch.bool).tril()


def score_matrix(w_q: Float[Tensor, "d k"], w_k: Float[Tensor, "d k"]) -> Float[Tensor, "d d"]:
    """A = W_Q W_K^T / sqrt(k), so that the scores q_i . k_j / sqrt(k) are x_i^T A x_j."""
    return w_q @ w_k.mT / w_q.shape[-1] ** 0.5


def jacobian(head: Attention, w_v: Float[Tensor, "d v"] | None = None) -> Float[Tensor, "*b n v n d"]:
    """All blocks J[i, :, j, :] = d f_i / d x_j, exactly: n^2 v d numbers. Without W_V it is the identity.

    J_ij = W_V^T ( P_ij (I + (x_j - mu_i)(A^T x_i)^T) + [i = j] S_i A^T ).
    """
    w_v = torch.eye(head.x.shape[-1], dtype=head.x.dtype) if w_v is None else w_v
    moved = head.p[..., None] * (head.deviations @ w_v)  # P_ij W_V^T (x_j - mu_i)
    out = moved.mT[..., None] * head.pull[..., :, None, None, :] + head.p[..., :, None, :, None] * w_v.mT[:, None, :]
    own = w_v.mT @ head.covariance @ head.a.mT[..., None, :, :]
    out.diagonal(dim1=-4, dim2=-2).add_(own.movedim(-3, -1))
    return out


@dataclass(frozen=True)
class HeadGradients:
    """Gradients of a loss in the parameters of one head, summed over rows (not over the batch)."""

    a: Float[Tensor, "*b d d"]
    w_q: Float[Tensor, "*b d k"]
    w_k: Float[Tensor, "*b d k"]
    w_v: Float[Tensor, "*b d v"]


def score_gradient(head: Attention, g: Float[Tensor, "*b n d"]) -> Float[Tensor, "*b d d"]:
    """dL/dA = sum_i x_i g_i^T S_i, where g_i = dL/df_i (with values: W_V dL/df_i).

    The only path from the loss to the scores: g_i arrives filtered by the covariance of what row i reads.
    """
    weights = head.p * (head.deviations @ g[..., None]).squeeze(-1)
    return head.x.mT @ (weights[..., None, :] @ head.deviations).squeeze(-2)


def head_gradients(
    head: Attention,
    w_q: Float[Tensor, "d k"],
    w_k: Float[Tensor, "d k"],
    w_v: Float[Tensor, "d v"],
    g: Float[Tensor, "*b n v"],
) -> HeadGradients:
    """Gradients in W_Q, W_K and W_V for dL/df = g, where f = P X W_V and head.a = score_matrix(w_q, w_k).

    dL/dA = sum_i x_i (W_V g_i)^T S_i,  dL/dW_Q = dL/dA W_K / sqrt(k),  dL/dW_K = (dL/dA)^T W_Q / sqrt(k),
    dL/dW_V = sum_i mu_i g_i^T.
    """
    a = score_gradient(head, g @ w_v.mT)
    scale = w_q.shape[-1] ** -0.5
    return HeadGradients(a=a, w_q=scale * a @ w_k, w_k=scale * a.mT @ w_q, w_v=head.mean.mT @ g)


def gauss_newton_spectrum(head: Attention) -> Float[Tensor, "*b dd"]:
    """The d^2 eigenvalues of H = sum_i x_i x_i^T (x) S_i^2, largest first, non-negative: how fast A is learned.

    H is the Gauss-Newton matrix of 1/2 sum_i |f_i - t_i|^2 in vec(A), of rank n d at most. At equal weights (A = 0, no
    mask) and centred tokens of covariance C it is n C (x) C^2: condition number cond(C)^3. From the singular values of
    its (n d, d^2) factor: an eigenvalue is good to eps * the largest *singular* value, so condition numbers up to 1e16
    survive, not 1e8.
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


def jacobian_norm(head: Attention) -> Float[Tensor, "*b"]:
    """Largest singular value of the whole Jacobian (n d, n d): the local Lipschitz constant. Costs (n d)^3.

    Values are left out, W_V = I, here and in the bounds on it: with values multiply by |W_V|.
    """
    n, d = head.x.shape[-2:]
    return _size(jacobian(head).reshape(*head.x.shape[:-2], n * d, n * d))


def quoted_bound(head: Attention) -> Float[Tensor, "*b"]:
    """The bound as it is quoted in the literature. It does not bound |J|; it bounds |J - P (x) I|.

    |A| ( sum_i (P_ii + 1/2) |x_i - mu_i|^2 + sum_{i != j} P_ij |x_j - mu_i|^2 + 1/2 sum_j |x_j|^2 ).

    It vanishes as A -> 0, where J = P (x) I has norm |P| >= 1; the chapter proves what remains true.
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
