"""What a cloud without structure scores: caps, the sampling law, and an estimator that needs neither.

A plug-in spectral score of n samples is biased low, so a small value says little until it stands beside its null.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from isonum_core.errors import IsonumError
from isonum_core.geometry.moments import Moments


def iso_score_null(n: int, d: int) -> float:
    """What an isotropic Gaussian cloud scores: (n - 2) / (n + d), so about one half at n = d however large d is.

    This is (PR_n - 1) / (d - 1) with PR_n from `sampled_participation_ratio(d, n)`; read it as n / (n + d) for large n.
    More generally the law takes a population IsoScore to IsoScore (n - 2) / (n + PR).

    >>> iso_score_null(2, 10)  # two points are a line
    0.0
    >>> round(iso_score_null(768, 768), 2), round(iso_score_null(100_000, 768), 2)
    (0.5, 0.99)
    >>> round(iso_score_null(500, 768), 2)  # a layer that scores this on 500 tokens may be perfectly isotropic
    0.39
    """
    _check(n, d)
    return (n - 2) / (n + d)


def sampled_participation_ratio(pr: float, n: int) -> float:
    """The participation ratio that n Gaussian samples show when their law has participation ratio `pr`.

    (PR + 2/nu) / (1 + 1/nu + PR/nu) with nu = n - 1; roughly 1/PR_n = 1/PR + 1/nu. It is the ratio of expectations
    E (tr S)^2 / E tr S^2 of the unbiased covariance S, from the Wishart moments
    E (tr S)^2 = (tr C)^2 + (2/nu) tr C^2 and E tr S^2 = (1 + 1/nu) tr C^2 + (tr C)^2 / nu; not the expectation of the
    ratio, and exact for Gaussian samples only: heavy tails lower it (see `participation_ratio_unbiased`).
    """
    if n < 2 or not pr >= 1:
        raise IsonumError(f"the sampling law needs n >= 2 and PR >= 1, got n={n} and PR={pr}. Give more samples.")
    nu = n - 1
    return (pr + 2 / nu) / (1 + 1 / nu + pr / nu)


def unbiased_traces(m: Moments) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Unbiased estimates of (tr C)^2 and tr C^2, whatever the law of the samples. Needs n >= 4.

    With S the unbiased covariance, nu = n - 1, K = sum |x - mean|^4 / nu and c = nu / (n (n - 2) (n - 3)):
      (tr C)^2: c (2 tr S^2 + (n^2 - 3n + 1) (tr S)^2 - n K)
      tr C^2:   c ((n - 1)(n - 2) tr S^2 + (tr S)^2 - n K)
    Both equal U-statistics, so no law is assumed: the mean over distinct i, j, k, l of |x_i - x_j|^2 |x_k - x_l|^2 / 4
    and of ((x_i - x_j) . (x_k - x_l))^2 / 4. The identity is checked by brute force in the tests.
    """
    n = m.n
    if n < 4:
        raise IsonumError(f"the unbiased estimator needs at least 4 samples, got n={n} (d={m.d}). Give more rows.")
    tr_sq, fro_sq = m.trace**2, m.frobenius_sq
    k = m.fourths / (n - 1)
    c = (n - 1) / (n * (n - 2) * (n - 3))
    return c * (2 * fro_sq + (n * n - 3 * n + 1) * tr_sq - n * k), c * ((n - 1) * (n - 2) * fro_sq + tr_sq - n * k)


def participation_ratio_unbiased(m: Moments | Sequence[Moments]) -> Float[Tensor, ""]:
    """Participation ratio of the law behind the samples: a ratio of two unbiased estimates, for any law with 4 moments.

    Given several batches of one law, numerators and denominators are averaged (weight n) before dividing: averaging
    the ratios instead would keep the bias of each. Merged moments count as one sample. The value may leave [1, d],
    as an unbiased estimate must. Raises IsonumError where the denominator is not positive beyond its rounding: too few
    samples, or orthogonal ones.
    """
    batches = [m] if isinstance(m, Moments) else list(m)
    if not batches or len({b.d for b in batches}) > 1:
        raise IsonumError(f"expected moments of one dimension d, got d={[b.d for b in batches]}. Take one site a time.")
    weights = torch.tensor([float(b.n) for b in batches], dtype=torch.float64)
    pairs = torch.stack([torch.stack(unbiased_traces(b)) for b in batches])
    top, bottom = (weights / weights.sum()).to(pairs) @ pairs
    # What the unbiased tr C^2 subtracts from what; of orthogonal rows nothing is left but the rounding of both.
    terms = [(b.frobenius_sq + b.fourths / ((b.n - 2) * (b.n - 3))).item() for b in batches]
    rounding = 16 * max(b.eps * term for b, term in zip(batches, terms, strict=True))
    if not bottom > rounding:
        raise IsonumError(
            f"the unbiased estimate of tr C^2 must be positive to divide by, got {bottom.item():.3g} of rounding "
            f"{rounding:.1g} from {int(weights.sum())} samples in {len(batches)} batches. Give more rows, or a list of "
            "batches."
        )
    return top / bottom


def iso_score_unbiased(m: Moments | Sequence[Moments]) -> Float[Tensor, ""]:
    """IsoScore of the law behind the samples, from `participation_ratio_unbiased`. May leave [0, 1].

    >>> even = torch.randn(4000, 64, generator=torch.Generator().manual_seed(0))
    >>> round(iso_score_unbiased(Moments.of(even)).item(), 2)
    1.0
    >>> round(iso_score_unbiased(Moments.of(even[:200])).item(), 2)  # where an isotropic cloud shows 0.75
    0.99
    >>> batches = [Moments.of(part) for part in even[:400].split(8)]  # eight samples each, in 64 dimensions
    >>> round(iso_score_unbiased(batches[0]).item(), 1), round(iso_score_unbiased(batches).item(), 1)
    (1.5, 1.0)
    """
    pr = participation_ratio_unbiased(m)
    return from_participation_ratio(pr, m.d if isinstance(m, Moments) else m[0].d)


def from_participation_ratio(pr: Float[Tensor, ""] | float | int, d: int) -> Float[Tensor, ""] | float:
    """IsoScore of a participation ratio, (PR - 1) / (d - 1); of min(n - 1, d), the most that n rows have, their cap."""
    _check(2, d)
    return (pr - 1) / (d - 1)


def _check(n: int, d: int) -> None:
    if n < 2 or d < 2:
        raise IsonumError(
            f"IsoScore needs n >= 2 samples in d >= 2 dimensions, got n={n}, d={d}. "
            "One dimension has one direction: nothing to spread over."
        )
