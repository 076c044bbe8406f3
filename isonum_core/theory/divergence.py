"""How far a forecast moves when its logits move by dz: exact KL, the bands around it, and the exact error identity.

Everything here is a function of two logit vectors over one vocabulary: z, and dz = z' - z. Nothing asks where they come
from, so all of it holds for any two heads and any two hidden states. KL is in nats.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from isonum_core.errors import IsonumError
from isonum_core.geometry.partition_expansions import phi


def chi(y: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """((y - 1) exp y + 1) / y^2, with chi(0) = 1/2: the same for the reverse divergence. chi(y) = exp(y) phi(-y).

    chi(y) = integral over (0, 1) of u exp(u y), so positive and increasing.
    """
    small = y.abs() <= 1
    near = torch.where(small, y, 0)
    far = torch.where(small, 1, y)
    return torch.where(small, near.exp() * phi(-near), ((far - 1) * far.exp() + 1) / far**2)


def spread(dz: Float[Tensor, "*b N"]) -> Float[Tensor, "*b"]:
    """Range of the logit differences over the vocabulary, max dz - min dz. Zero exactly for a pure shift."""
    return dz.amax(-1) - dz.amin(-1)


def forecast_mean(z: Float[Tensor, "*b N"], x: Float[Tensor, "*b N"]) -> Float[Tensor, "*b"]:
    """E_p[x] under p = softmax(z)."""
    return (z.softmax(-1) * x).sum(-1)


def forecast_variance(z: Float[Tensor, "*b N"], x: Float[Tensor, "*b N"]) -> Float[Tensor, "*b"]:
    """Var_p(x) under p = softmax(z). Unchanged when x shifts by a constant."""
    return forecast_mean(z, (x - forecast_mean(z, x).unsqueeze(-1)) ** 2)


def kl_divergence(z: Float[Tensor, "*b N"], dz: Float[Tensor, "*b N"]) -> Float[Tensor, "*b"]:
    """KL(p || p') in nats, from p = softmax(z) to p' = softmax(z + dz). The reverse is kl_divergence(z + dz, -dz).

    log(1 + E_p[y^2 phi(y)]),  y = dz - E_p dz.   Exact: E_p exp(y) = 1 + E_p[exp(y) - 1 - y], as E_p y = 0.
    Every term is positive, so even KL = 1e-25 keeps its digits; the usual sum of p log(p/p') loses them near 1e-16.
    Raises IsonumError when a value is not finite.
    """
    if not (z.isfinite().all() and dz.isfinite().all()):
        raise IsonumError("logits and their differences must be finite, got NaN or infinity. Masked tokens: drop them.")
    y = dz - forecast_mean(z, dz).unsqueeze(-1)
    safe = y.amax(-1) < 500  # beyond, exp overflows, and the plain form has digits enough
    capped = torch.where(safe.unsqueeze(-1), y, 0)
    exact = torch.log1p(forecast_mean(z, capped**2 * phi(capped)))
    return torch.where(safe, exact, (z.log_softmax(-1) + y).logsumexp(-1))


def dlog_partition(z: Float[Tensor, "*b N"], dz: Float[Tensor, "*b N"]) -> Float[Tensor, "*b"]:
    """log Z' - log Z = log E_p exp(dz), in nats, with its digits where the plain difference of two logs has none."""
    plain = (z.log_softmax(-1) + dz).logsumexp(-1)
    small = forecast_mean(z, dz.clamp_max(500).expm1())
    near = (small > -0.5) & (dz.amax(-1) < 500)  # log1p needs its argument away from -1, expm1 from overflow
    return torch.where(near, torch.log1p(torch.where(near, small, 0)), plain)


class Band(NamedTuple):
    """A lower and an upper bound for the same number."""

    lower: Tensor
    upper: Tensor


def kl_band(variance: Float[Tensor, "*b"], spread: Float[Tensor, "*b"]) -> Band:
    """Bounds on KL(p || p') from v = Var_p(dz) and Delta = spread(dz) alone.

    v phi(-Delta) <= KL <= min(v phi(Delta), Delta^2 / 8).   Both sides tend to v/2 as Delta -> 0. Bach 2010, Prop. 1.
    """
    return Band(variance * phi(-spread), torch.minimum(_times(variance, phi(spread)), spread**2 / 8))


def reverse_kl_band(variance: Float[Tensor, "*b"], spread: Float[Tensor, "*b"]) -> Band:
    """Bounds on the reverse divergence KL(p' || p) from the same v = Var_p(dz), under the first forecast p.

    v chi(-Delta) <= KL(p' || p) <= min(v chi(Delta), Delta^2 / 8).
    """
    return Band(variance * chi(-spread), torch.minimum(_times(variance, chi(spread)), spread**2 / 8))


def one_sided_kl_band(variance: Float[Tensor, "*b"], below: Float[Tensor, "*b"], above: Float[Tensor, "*b"]) -> Band:
    """Bounds on KL(p || p') that know how far dz reaches below and above its mean: sharper above than `kl_band`.

    log(1 + v phi(-below)) <= KL <= log(1 + v phi(above)),  below = E_p dz - min dz,  above = max dz - E_p dz.
    The upper bound never exceeds that of `kl_band` before Hoeffding; the lower one may be on either side of it.
    """
    return Band(torch.log1p(variance * phi(-below)), torch.log1p(_times(variance, phi(above))))


def _times(variance: Tensor, bend: Tensor) -> Tensor:
    """The product; infinite where `bend` has overflowed, though the variance be zero."""
    return torch.where(bend.isinf(), torch.inf, variance * bend)


def variance_bound(kl: Float[Tensor, "*b"], spread: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """The most that Var_p(dz) can be at a given KL and range of dz: (2 + Delta) KL. Needs no isotropy of any kind.

    The same bound holds for E_p[(log p'/p)^2], with max log p/p' <= Delta for `spread`: Yang and Barron 1998.
    """
    return (2 + spread) * kl


def log_ratio_bound(kl: Float[Tensor, "*b"], p: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """The most that |log p'_i / p_i| can be for a token of probability p_i: g^-1(KL / p_i), g(x) = exp(-x) - 1 + x.

    From KL = sum_j p_j (exp u_j - 1 - u_j), u = log p'/p, whose terms are all non-negative. Near sqrt(2 KL / p_i) while
    KL is small beside p_i, near 1 + KL / p_i beyond. Attained in the limit of a rare token.
    """
    y = kl / p
    x = (y + (y**2 + 8 * y).sqrt()) / 2  # not below the root, as g(x) >= x^2 / (2 + x); g is convex, so Newton descends
    for _ in range(6):
        slope = -(-x).expm1()
        x = torch.where(y > 0, x - (x**2 * phi(-x) - y) / torch.where(y > 0, slope, 1), 0)
    return x


class LogitError(NamedTuple):
    """Mean squared logit error under p, split exactly: mean_square = variance + (dlog_partition - kl)^2."""

    mean_square: Tensor  # E_p[dz^2]
    variance: Tensor  # Var_p(dz): what centred logits feel
    dlog_partition: Tensor  # log Z' - log Z: the part that no forecast shows
    kl: Tensor  # KL(p || p')


def logit_error(z: Float[Tensor, "*b N"], dz: Float[Tensor, "*b N"]) -> LogitError:
    """Split the squared error of raw logits into what the forecasts show and what they cannot.

    E_p[dz] = (log Z' - log Z) - KL, hence E_p[dz^2] = Var_p(dz) + (log Z' - log Z - KL)^2. Exact for any two heads.
    """
    return LogitError(forecast_mean(z, dz**2), forecast_variance(z, dz), dlog_partition(z, dz), kl_divergence(z, dz))
