"""How much downstream error a given excess KL can hide: the transfer constants, and the guarantee for raw logits.

A read-out g of the hidden state with gradient c errs, to first order, by at most err^2 = 2 KL kappa with
kappa = c^T F(h)^-1 c, and some change of h attains it. In the read-out's own unit, its variance over contexts, that is
2 KL c^T F^-1 c / c^T Cov(h) c: what a change of basis cannot move is the spectrum of F Cov(h).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from isonum_core.errors import IsonumError
from isonum_core.theory.divergence import variance_bound
from isonum_core.theory.gauges import visible_and_hidden
from isonum_core.theory.loglinear import mean_embedding, weighted_rows

# A gradient whose share inside ker F(h) is below this is taken to have none: that much is left by its own rounding.
HIDDEN_SHARE = 1e-10


def transfer_constant(
    w: Float[Tensor, "N d"], h: Float[Tensor, "*b d"], c: Float[Tensor, "*b d"]
) -> Float[Tensor, "*b"]:
    """kappa = c^T F(h)^-1 c: the most that (change of the read-out)^2 / (2 KL) can be, for small changes of h.

    c is the read-out's gradient in h: W^T a for a sum <a, z> of raw logits, beta for a probe <beta, h>. Infinite where
    c points into ker F(h): the read-out can then move at KL = 0.
    Raises IsonumError where p is so concentrated that F(h) has lost its digits.
    """
    seen, hidden = visible_and_hidden(w)
    rows = weighted_rows(w, h) @ seen
    s, v = torch.linalg.svd(rows, full_matrices=False)[1:]
    floor = max(rows.shape[-2:]) * torch.finfo(rows.dtype).eps * torch.linalg.matrix_norm(w)
    if not (s > floor).all():
        raise IsonumError(
            f"F(h) is singular to rounding: its smallest singular factor is {float(s.min()):.1e}, expected more than "
            f"{float(floor):.1e}. The forecast puts almost all mass on few tokens; use a smaller |h|."
        )
    size = torch.linalg.vector_norm(c, dim=-1)
    escapes = torch.linalg.vector_norm(c @ hidden, dim=-1) > HIDDEN_SHARE * size
    parts = (v @ (c @ seen).unsqueeze(-1)).squeeze(-1) / s
    return torch.where(escapes, torch.inf, (parts**2).sum(-1))


def shift_susceptibility(w: Float[Tensor, "N d"], h: Float[Tensor, "*b d"]) -> Float[Tensor, "*b"]:
    """S(h) = m^T F(h)^-1 m with m = sum_i p_i w_i: how much common logit shift a small KL can hide, in [0, inf].

    Largest (mean logit shift)^2 / (2 KL) over small changes of h; the largest E_p[dz^2] / (2 KL) is 1 + S, where that
    of centred logits, Var_p(dz) / (2 KL), is 1. Infinite exactly when `shift_direction` exists.
    1 / (1 + S) is the squared distance, under p, from the constant vector to the column space of W.
    """
    return transfer_constant(w, h, mean_embedding(w, h))


def shared_head_guarantee(
    kl: Float[Tensor, "*b"], spread: Float[Tensor, "*b"], susceptibility: Float[Tensor, "*#b"]
) -> Float[Tensor, "*b"]:
    """Bound on the root mean square of raw logit error under p when both use one head: sqrt((1 + S) (2 + Delta) KL).

    Delta is the range of dz and S = `shift_susceptibility` at the teacher's state. Vanishes with KL, in nats.
    """
    return ((1 + susceptibility) * variance_bound(kl, spread)).sqrt()


def rms_guarantee(
    kl: Float[Tensor, "*b"], spread: Float[Tensor, "*b"], shift: Float[Tensor, "*#b"]
) -> Float[Tensor, "*b"]:
    """Bound on the root mean square of raw logit error under p, whatever the heads: sqrt((2 + Delta) KL) + shift.

    Delta is the range of dz and `shift` a bound on |log Z' - log Z|; log-probabilities need the first term only, and so
    no isotropy. For one head and |h| = |h'| = r, -log I(W; r) bounds the shift; `shared_head_guarantee` is then better
    at small KL.
    """
    return variance_bound(kl, spread).sqrt() + shift


def readout_spectrum(
    w: Float[Tensor, "N d"], h: Float[Tensor, "*b d"], covariance: Float[Tensor, "d d"]
) -> Float[Tensor, "*b d"]:
    """Eigenvalues of F(h) Cov(h), largest first: no gauge changes them, and they decide what a probe can lose at a KL.

    Over probes of unit variance, (error)^2 / (2 KL) is at most 1 / the smallest, and on average (uniform over such
    functions of the context) the mean of the inverses: least, at a given sum, when all are equal. `covariance` is that
    of the states over contexts.
    """
    # R L with R^T R = F and L L^T = Cov(h) has the singular values whose squares are wanted: half of the digits' loss.
    root = torch.linalg.cholesky(covariance)
    return torch.linalg.svdvals(weighted_rows(w, h) @ root)[..., : w.shape[-1]] ** 2
