"""One softmax-attention head at one input: its exact Jacobian and its parameter gradients.

    f_i = sum_j P_ij W_V^T x_j,   P = row-softmax(x_i^T A x_j),   A = W_Q W_K^T / sqrt(d_k)

Everything a gradient meets on its way through the scores is the attention-weighted covariance
S_i = sum_j P_ij (x_j - mu_i)(x_j - mu_i)^T with mu_i = sum_j P_ij x_j. Leading dimensions are a batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from isonum_core.errors import IsonumError

# Deviations x_j - mu_i are held for a few rows i at a time: at most this many numbers (32 MiB in float64).
CHUNK = 2**22


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
        Raises IsonumError on shapes that do not fit, non-finite input and a row that may look nowhere.
        """
        _accept(x, a, mask)
        scores = x @ a @ x.mT
        if mask is not None:
            scores = scores.masked_fill(~mask, -torch.inf)
        return cls(x, a, scores.softmax(-1))

    @cached_property
    def mean(self) -> Float[Tensor, "*b n d"]:
        """mu_i = sum_j P_ij x_j, what row i reads."""
        return self.p @ self.x

    @cached_property
    def covariance(self) -> Float[Tensor, "*b n d d"]:
        """S_i = sum_j P_ij (x_j - mu_i)(x_j - mu_i)^T, the spread of what row i reads."""
        return torch.cat([(p[..., None] * u).mT @ u for p, u in self.rows()], -3)

    @cached_property
    def pull(self) -> Float[Tensor, "*b n d"]:
        """b_i = A^T x_i, the direction in which a key must move to win the attention of row i."""
        return self.x @ self.a

    def covariance_times(self, v: Float[Tensor, "*b n d"]) -> Float[Tensor, "*b n d"]:
        """S_i v_i for every row, without forming S_i."""
        out, start = [], 0
        for p, u in self.rows():
            part = v[..., start : start + p.shape[-2], :]
            start += p.shape[-2]
            weight = p * (u @ part[..., None]).squeeze(-1)
            out.append((weight[..., None, :] @ u).squeeze(-2))
        return torch.cat(out, -2)

    def rows(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Rows of P with their deviations x_j - mu_i (*b, rows, n, d), a few rows at a time."""
        height = max(1, CHUNK // self.x.numel())
        for p in self.p.split(height, -2):
            yield p, deviations(p, self.x)


def deviations(p: Float[Tensor, "*b r n"], x: Float[Tensor, "*b n d"]) -> Float[Tensor, "*b r n d"]:
    """x_j - mu_i, with small relative error however sharp row i is.

    Differences are taken from the most attended token, whose own term is then exactly zero. Subtracting mu_i itself
    would leave rounding of the size of x where the truth is of the size of 1 - max P, and S_i would lose its digits.
    """
    origin = x.gather(-2, p.argmax(-1)[..., None].expand(*p.shape[:-1], x.shape[-1]))
    from_origin = x[..., None, :, :] - origin[..., None, :]
    return from_origin - p[..., None, :] @ from_origin


def causal_mask(n: int) -> Bool[Tensor, "n n"]:
    """Row i may look at rows 0..i. Row 0 sees only itself: S_0 = 0, so no gradient passes through its scores."""
    return torch.ones(n, n, dtype=torch.bool).tril()


def score_matrix(w_q: Float[Tensor, "d k"], w_k: Float[Tensor, "d k"]) -> Float[Tensor, "d d"]:
    """A = W_Q W_K^T / sqrt(k), so that the scores q_i . k_j / sqrt(k) are x_i^T A x_j."""
    return w_q @ w_k.mT / w_q.shape[-1] ** 0.5


def jacobian(head: Attention, w_v: Float[Tensor, "d v"] | None = None) -> Float[Tensor, "*b n v n d"]:
    """All blocks J[i, :, j, :] = d f_i / d x_j, exactly. W_V is the identity where it is left out.

    J_ij = W_V^T ( P_ij (I + (x_j - mu_i)(A^T x_i)^T) + [i = j] S_i A^T ).

    Holds n^2 v d numbers.
    """
    moved = torch.cat([p[..., None] * _values(u, w_v) for p, u in head.rows()], -3)  # P_ij W_V^T (x_j - mu_i)
    out = moved.mT[..., None] * head.pull[..., :, None, None, :]
    if w_v is None:
        out.diagonal(dim1=-3, dim2=-1).add_(head.p[..., None])
    else:
        out += head.p[..., :, None, :, None] * w_v.mT[:, None, :]
    own = _values((head.covariance @ head.a.mT[..., None, :, :]).mT, w_v).mT
    out.diagonal(dim1=-4, dim2=-2).add_(own.movedim(-3, -1))
    return out


def _values(t: Tensor, w_v: Tensor | None) -> Tensor:
    """W_V^T applied to the last axis; the identity where W_V is left out."""
    return t if w_v is None else t @ w_v


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
    return head.x.mT @ head.covariance_times(g)


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


def _accept(x: Tensor, a: Tensor, mask: Tensor | None) -> None:
    if not x.is_floating_point() or x.ndim < 2 or x.shape[-2] < 1:
        raise IsonumError(
            f"attention needs tokens of shape (n, d), floating point, got {x.dtype} {tuple(x.shape)}. "
            "Give one row per token; further axes go in front."
        )
    d = x.shape[-1]
    if a.shape[-2:] != (d, d) or a.dtype != x.dtype:
        raise IsonumError(
            f"the score matrix must be ({d}, {d}) of {x.dtype} for tokens of shape {tuple(x.shape)}, "
            f"got {a.dtype} {tuple(a.shape)}. Build it with score_matrix(w_q, w_k)."
        )
    if not (x.isfinite().all() and a.isfinite().all()):
        raise IsonumError(
            "attention needs finite tokens and scores, got NaN or infinity. Look for the layer that made it."
        )
    if mask is None:
        return
    n = x.shape[-2]
    if mask.dtype != torch.bool or mask.shape[-2:] != (n, n):
        raise IsonumError(
            f"mask must be boolean of shape ({n}, {n}), got {mask.dtype} {tuple(mask.shape)}. See causal_mask."
        )
    if not mask.any(-1).all():
        row = int((~mask.any(-1)).nonzero()[0, -1])
        raise IsonumError(
            f"every row must be allowed to look somewhere, got row {row} with no allowed key. Let it see itself."
        )
