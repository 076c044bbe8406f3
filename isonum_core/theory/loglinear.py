"""The log-linear model: a head W (N, d) and a hidden state h (d,) give logits z = W h and forecasts p = softmax(z).

Every function takes one state h (d,) or any batch of them (..., d), and returns the same batch.
Works in the precision it is given; theory is checked in float64, so give float64.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from isonum_core.errors import IsonumError


def logits(w: Float[Tensor, "N d"], h: Float[Tensor, "*b d"]) -> Float[Tensor, "*b N"]:
    """Logits z_i = <w_i, h>, one for each token of the vocabulary, in nats.

    Raises IsonumError when the dimensions differ or a value is not finite.
    """
    if w.ndim != 2 or h.ndim < 1 or h.shape[-1] != w.shape[-1]:
        raise IsonumError(
            f"a head W (N, d) and states h (..., d) must share d, got {tuple(w.shape)} and {tuple(h.shape)}. "
            "Rows of W are tokens; transpose W if its columns are."
        )
    if not (w.isfinite().all() and h.isfinite().all()):
        raise IsonumError("W and h must be finite, got NaN or infinity. Drop those rows on purpose first.")
    return h @ w.mT


def log_partition(w: Float[Tensor, "N d"], h: Float[Tensor, "*b d"]) -> Float[Tensor, "*b"]:
    """log Z(h) = log sum_i exp <w_i, h>, in nats: convex; gradient `mean_embedding`, Hessian `fisher_information`."""
    return logits(w, h).logsumexp(-1)


def probabilities(w: Float[Tensor, "N d"], h: Float[Tensor, "*b d"]) -> Float[Tensor, "*b N"]:
    """Forecast p = softmax(W h): positive, sums to one over the vocabulary."""
    return logits(w, h).softmax(-1)


def mean_embedding(w: Float[Tensor, "N d"], h: Float[Tensor, "*b d"]) -> Float[Tensor, "*b d"]:
    """Mean of the output embeddings weighted by the forecast, sum_i p_i w_i: the gradient of log Z at h."""
    return probabilities(w, h) @ w


def weighted_rows(w: Float[Tensor, "N d"], h: Float[Tensor, "*b d"]) -> Float[Tensor, "*b N d"]:
    """Rows sqrt(p_i) (w_i - sum_j p_j w_j): the factor R with R^T R = F(h), of half the digits' loss that F(h) has."""
    p = probabilities(w, h).unsqueeze(-1)
    return p.sqrt() * (w - (p * w).sum(-2, keepdim=True))


def fisher_information(w: Float[Tensor, "N d"], h: Float[Tensor, "*b d"]) -> Float[Tensor, "*b d d"]:
    """Fisher information of h in the forecast, F(h) = W^T (diag p - p p^T) W: the covariance of the rows w_i under p.

    Positive semidefinite; the Hessian of log Z at h, and KL(p_h || p_{h+dh}) = dh^T F(h) dh / 2 to second order.
    Unchanged by W -> W + 1 a^T. Computed from centred rows, so a large common row costs no digits.
    """
    rows = weighted_rows(w, h)
    return rows.mT @ rows
