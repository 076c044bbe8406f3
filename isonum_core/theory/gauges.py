"""Three changes of (W, h) that no forecast can show, what they leave unchanged, and how to fix them.

Row gauge: (W + 1 a^T, h) shifts every logit of a context by <a, h>. Always there.
Shift direction: h + t u with W u = 1. Only when the constant vector lies in the column space of W.
Linear gauge: (W T, T^-1 h) changes no logit at all. Always there.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from isonum_core.errors import IsonumError
from isonum_core.geometry.moments import Moments
from isonum_core.theory.loglinear import log_partition


def row_gauge(w: Float[Tensor, "N d"], a: Float[Tensor, " d"]) -> Float[Tensor, "N d"]:
    """W + 1 a^T: the same vector added to every row. Every forecast of every h stays; the mean row becomes mean + a."""
    return w + a


def centre_rows(w: Float[Tensor, "N d"]) -> Float[Tensor, "N d"]:
    """W with the mean of its rows taken away: the one head in the row gauge's orbit whose rows sum to zero."""
    return w - w.mean(0)


def linear_gauge(
    w: Float[Tensor, "N d"], h: Float[Tensor, "*b d"], t: Float[Tensor, "d d"]
) -> tuple[Float[Tensor, "N d"], Float[Tensor, "*b d"]]:
    """(W T, T^-1 h) for an invertible T: other coordinates, the same logits."""
    return w @ t, h @ torch.linalg.inv(t).mT


def shift_direction(w: Float[Tensor, "N d"]) -> Float[Tensor, " d"] | None:
    """The shortest u with W u = 1, or None where the constant vector is not in the column space of W.

    A generic W with N > d has none. Decided to rounding: u is returned when W u = 1 up to N eps |W| |u|.
    """
    one = w.new_ones(len(w))
    u = torch.linalg.pinv(w, rtol=_rounding(w)) @ one
    size = 1 + torch.linalg.matrix_norm(w) * u.norm()
    return u if (w @ u - one).norm() <= _rounding(w) * size else None


def visible_and_hidden(w: Float[Tensor, "N d"]) -> tuple[Float[Tensor, "d r"], Float[Tensor, "d k"]]:
    """Orthonormal bases of the range and the kernel of F(h): what forecasts show of h, and what they do not. r + k = d.

    They depend on W alone. The kernel is {v : W v constant}: k is dim ker W, plus one where `shift_direction` exists.
    """
    r = torch.linalg.qr(centre_rows(w)).R
    _, s, vt = torch.linalg.svd(r)  # full right factor, of the small triangle only
    # Compared with |W| before centring: what is left of a constant column is rounding of that size.
    rank = int((s > _rounding(w) * torch.linalg.matrix_norm(w)).sum())
    return vt[:rank].mT, vt[rank:].mT


def logit_spectrum(m: Moments, w: Float[Tensor, "N d"]) -> Float[Tensor, " d"]:
    """Eigenvalues of Cov(h) C, largest first, where C is the covariance of the rows of W: unchanged by every gauge.

    Equal to the non-zero eigenvalues of Cov(centred logits) / N. `m` holds the moments of the hidden states; Cov(h) has
    ddof = 1 and C has ddof = 0, as the vocabulary is the whole population.
    """
    # R^T R = N C: the symmetric form R Cov(h) R^T has the spectrum of Cov(h) C without the square root of C.
    r = torch.linalg.qr(centre_rows(w.double())).R
    found = torch.linalg.eigvalsh(r @ m.covariance @ r.mT / len(w)).flip(0).clamp_min(0)
    return torch.cat([found, found.new_zeros(m.d - len(found))])


def logit_participation_ratio(m: Moments, w: Float[Tensor, "N d"]) -> Float[Tensor, ""]:
    """Participation ratio of the centred logits, in [1, d]: how many directions the *forecasts* use, in any gauge.

    (sum l)^2 / sum l^2 over l = `logit_spectrum`. Where PR(h) and PR(W) can be set to anything, this cannot.
    """
    l = logit_spectrum(m, w)
    if not l[0] > 0:
        raise IsonumError("the centred logits do not vary, so they have no spectrum. Expected rows of W that differ.")
    return l.sum() ** 2 / (l**2).sum()


def mean_invariant(m: Moments) -> Float[Tensor, ""]:
    """M = mu^T Cov(h)^-1 mu: how far the mean of the states is from zero, in a unit that no linear gauge changes.

    The mean share |mu|^2 / (|mu|^2 + tr Cov) can be any number below M / (1 + M); it is M / (M + d) in the gauge where
    the states are round. So states of large M cannot be centred and round at once. Raises where Cov(h) is singular.
    """
    factor, info = torch.linalg.cholesky_ex(m.covariance)
    if info.any():
        raise IsonumError(f"mean_invariant needs a covariance of full rank, got n={m.n}, d={m.d}. Take n > d states.")
    return torch.linalg.solve_triangular(factor, m.mean[:, None], upper=False).square().sum()


class Anchor(NamedTuple):
    """The affine function of h nearest to log Z: in the row gauge W - 1 v^T, log Z is constant up to `residual`."""

    v: Tensor  # (d,)
    constant: Tensor  # nats
    residual: Tensor  # standard deviation over the states of log Z - <v, h> - constant, nats
    spread: Tensor  # that of log Z itself


def anchor(w: Float[Tensor, "N d"], h: Float[Tensor, "n d"]) -> Anchor:
    """Least squares of log Z(h) on h over n states. With residual 0, z_i = log p_i + constant in the gauge W - 1 v^T.

    After the anchor vector of Wu, Lee and Ge 2023; a nearly constant Z is the case v = 0.
    """
    log_z, mean = log_partition(w, h), h.mean(0)
    centred = log_z - log_z.mean()
    v = torch.linalg.lstsq(h - mean, centred[:, None], driver="gelsd").solution[:, 0]
    residual = (centred - (h - mean) @ v).square().mean().sqrt()
    return Anchor(v, log_z.mean() - mean @ v, residual, centred.square().mean().sqrt())


def _rounding(w: Tensor) -> float:
    """Relative size below which a singular value of W is rounding."""
    return max(w.shape) * torch.finfo(w.dtype).eps
