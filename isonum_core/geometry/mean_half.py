"""The mean half: is the cloud centred? Cosines come from one sum of unit vectors; no n x n matrix is ever formed."""

from __future__ import annotations

import warnings

from jaxtyping import Float
from torch import Tensor

from isonum_core.errors import IsonumError, WeakNumberWarning
from isonum_core.geometry.moments import Directions, Moments


def mean_cosine(m: Moments | Directions) -> Float[Tensor, ""]:
    """Mean cosine of two different samples, from -1/(n - 1) to 1; near 0 for a centred cloud whatever its spectrum.

    (|sum x/|x||^2 - n) / (n (n - 1)). Not centred; about `mean_share` when PR is large. Rows of length zero have no
    direction and are left out, with a warning. `Directions` cost O(nd).

    >>> mean_cosine(Directions.of(torch.tensor([[3.0, 0.0], [0.0, 5.0]]))).item()
    0.0
    >>> even = torch.randn(1000, 64, generator=torch.Generator().manual_seed(0))
    >>> round(mean_cosine(Moments.of(even)).item(), 2), round(mean_cosine(Moments.of(even + 1)).item(), 2)
    (-0.0, 0.5)
    >>> line = torch.linspace(-1, 1, 1000)[:, None] * torch.ones(64)  # one direction, and yet the cosine sees nothing
    >>> round(mean_cosine(Moments.of(line)).item(), 3)
    -0.001
    """
    total, n = _directions(m, least=2)
    return ((total @ total).clamp(max=n * n) - n) / (n * (n - 1))


def cosine_shares(m: Moments | Directions) -> Float[Tensor, "d"]:
    """Share of each dimension in the mean cosine, u_i^2 / |u|^2 with u = sum x/|x|; one large share is a rogue.

    They sum to 1. After Timkey and van Schijndel 2021, whose pairs are drawn instead of all taken.
    """
    total, _ = _directions(m, least=1)
    if not total @ total > 0:
        raise IsonumError("shares of the mean cosine need a mean direction, got unit vectors that sum to zero.")
    return total**2 / (total @ total)


def mean_share(m: Moments) -> Float[Tensor, ""]:
    """Share of the mean in the mean squared length: 0 for a centred cloud, near 1 far from the origin. The mean half.

    |mean|^2 / (|mean|^2 + tr C). A cloud with mean zero shows about 1 / (n + 1).

    >>> mean_share(Moments.of(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))).item()
    0.0
    >>> even = torch.randn(1000, 64, generator=torch.Generator().manual_seed(0))
    >>> round(mean_share(Moments.of(even + 1)).item(), 2)
    0.5
    >>> rogue = Moments.of(even + 24 * torch.eye(64)[0])  # one of 64 dimensions sits far out, and is the mean
    >>> round(mean_share(rogue).item(), 2), round(cosine_shares(rogue)[0].item(), 2)
    (0.9, 1.0)
    """
    mean_sq = m.mean @ m.mean
    return mean_sq / (mean_sq + m.trace)


def _directions(m: Moments | Directions, least: int) -> tuple[Tensor, int]:
    found = m.directions if isinstance(m, Moments) else m
    n = found.n - found.zeros
    if n < least:
        raise IsonumError(
            f"a mean cosine needs at least {least} rows of non-zero length, got {n} of n={found.n}. "
            "Rows of zeros have no direction: check the mask for padding."
        )
    if found.zeros:
        warnings.warn(
            f"{found.zeros} of {found.n} rows have length zero and no direction: left out of the mean cosine. "
            "If they are padding, mask them, for they also enter the mean and the covariance.",
            WeakNumberWarning,
            stacklevel=3,
        )
    return found.unit_sum, n
