"""Every covariance score as a pure function of `Moments`, and the table `SCORES` from which they are listed.

Isotropy is two numbers. The mean half asks whether the cloud is centred; the spectral half whether its variance is
spread evenly. PR, IsoScore and IsoScore* need only tr C and ||C||_F, never an eigenvalue.

No score warns of few samples: a number beside its null (`Score.null`) informs better. What is undefined raises.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from isonum_core.errors import IsonumError
from isonum_core.geometry import null
from isonum_core.geometry.mean_half import cosine_shares as cosine_shares  # handed on, so that all are found here
from isonum_core.geometry.mean_half import mean_cosine, mean_share
from isonum_core.geometry.moments import Moments
from isonum_core.geometry.rows import Array


def participation_ratio(m: Moments) -> Float[Tensor, ""]:
    """How many directions carry the variance: 1 on a line, d when all directions have equal variance.

    PR = (tr C)^2 / ||C||_F^2 = (sum l)^2 / sum l^2. With n samples at most n - 1.

    >>> round(float(participation_ratio(Moments.of(torch.tensor([[0.0, 0.0], [1.0, 2.0], [2.0, 4.0]])))), 6)
    1.0
    >>> cross = torch.cat([torch.eye(3), -torch.eye(3)])  # six points, the same variance along three axes
    >>> round(float(participation_ratio(Moments.of(cross))), 6)
    3.0
    >>> even = torch.randn(100, 100, generator=torch.Generator().manual_seed(0))
    >>> round(float(participation_ratio(Moments.of(even))))  # of 100 even directions, 100 samples show half
    50
    """
    return (m.concentration**-2).clamp(1, max(1, min(m.n - 1, m.d)))  # the bounds hold, but for rounding


def iso_score(m: Moments) -> Float[Tensor, ""]:
    """Share of directions used evenly: 0 on a line, 1 when all directions have equal variance.

    (PR - 1) / (d - 1). With n samples at most (n - 2) / (d - 1), and about n / (n + d) for an isotropic cloud:
    compare with `null.iso_score_null(n, d)` before reading anything into a small value. Raises for d = 1.
    Rudman et al. 2022 (arXiv 2108.07344), seven steps that reduce to this line.

    >>> line = torch.tensor([[0.0, 0.0], [1.0, 2.0], [2.0, 4.0]])
    >>> iso_score(Moments.of(line)).item()
    0.0
    >>> cross = torch.cat([torch.eye(3), -torch.eye(3)])
    >>> round(iso_score(Moments.of(cross)).item(), 6), round(iso_score(Moments.of(cross + 1000)).item(), 6)
    (1.0, 1.0)
    >>> even = torch.randn(50, 500, generator=torch.Generator().manual_seed(0))
    >>> round(iso_score(Moments.of(even)).item(), 2)  # perfectly isotropic, but 50 samples in 500 dimensions
    0.09
    """
    return null.from_participation_ratio(participation_ratio(m), m.d)


def iso_score_star(m: Moments, zeta: float, c0: float | Array | None = None) -> Float[Tensor, ""]:
    """IsoScore of the shrunk covariance S = (1 - zeta) C + zeta C0, in [0, 1] for a positive semi-definite C0.

    c0=None takes C0 = (tr C / d) I, which is unchanged by scaling; then 1/PR* - 1/d = (1 - zeta)^2 (1/PR - 1/d).
    c0=c takes c I. With c fixed, shrinking all states raises the score; c = 1 is what the authors advise.
    A matrix (d, d) is C0 itself, such as a pooled covariance, taken to be positive semi-definite. S is never
    formed, and no C is either when n < d.
    Rudman and Eickhoff 2024 (arXiv 2305.19358), I-STAR; zeta = 0 is IsoScore, zeta = 1 the score of C0.

    >>> line = Moments.of(torch.tensor([[0.0, 0.0], [1.0, 2.0], [2.0, 4.0]]))
    >>> [round(iso_score_star(line, zeta).item(), 3) for zeta in (0.0, 0.2, 1.0)]
    [0.0, 0.22, 1.0]
    >>> pooled = torch.tensor([[1.0, 0.0], [0.0, 3.0]])
    >>> round(iso_score_star(line, 0.5, pooled).item(), 3)
    0.328
    >>> small = Moments.of(torch.tensor([[0.0, 0.0], [0.01, 0.02], [0.02, 0.04]]))  # the same line, and C0 = I
    >>> round(iso_score_star(line, 0.2, 1.0).item(), 3), round(iso_score_star(small, 0.2, 1.0).item(), 3)
    (0.095, 1.0)
    """
    if not 0 <= zeta <= 1:
        raise IsonumError(f"zeta must lie in [0, 1], got {zeta}. It is the weight of C0 in (1 - zeta) C + zeta C0.")
    # Everything in units of tr C, so that squares of very small or very large variances stay finite.
    own_sq = m.concentration**2
    if isinstance(c0, Array):
        c0 = torch.as_tensor(c0)
        if c0.shape != (m.d, m.d):
            raise IsonumError(f"c0 must be a number or a matrix of shape ({m.d}, {m.d}), got {tuple(c0.shape)}.")
        trace, cross = c0.diagonal().sum().double() / m.trace, m.inner(c0) / m.trace**2
        prior_sq = (torch.linalg.vector_norm(c0, dtype=torch.float64) / m.trace) ** 2
    else:
        if c0 is not None and not c0 >= 0:
            raise IsonumError(f"c0 must be a variance, 0 or more, got {c0}. It is shrunk towards c0 I.")
        trace = own_sq.new_ones(()) if c0 is None else m.d * c0 / m.trace
        cross, prior_sq = trace / m.d, trace**2 / m.d
    total = (1 - zeta) + zeta * trace
    if not total > 0:
        raise IsonumError(
            f"(1 - zeta) tr C + zeta tr C0 must be positive, got {(total * m.trace).item():.3g}. Check c0."
        )
    squares = (1 - zeta) ** 2 * own_sq + 2 * zeta * (1 - zeta) * cross + zeta**2 * prior_sq
    return null.from_participation_ratio((total**2 / squares).clamp(1, m.d), m.d)


def effective_rank(m: Moments) -> Float[Tensor, ""]:
    """Number of directions in use by entropy: exp of the entropy (nats) of the eigenvalue shares, from 1 to d.

    exp(-sum p log p), p = l / sum l. Never below PR. Entropy sees the rounding that float32 leaves in empty
    directions: give low-rank states in float64. Differentiable on the directions that carry variance.
    Roy and Vetterli 2007, applied to eigenvalues of C (their definition takes singular values of the data).
    """
    shares = m.eigenvalues / m.trace
    shares = shares[shares > torch.finfo(shares.dtype).eps]  # rounding; and log has no slope at exactly zero
    return (-(shares * shares.log()).sum()).exp().clamp(1, max(1, min(m.n - 1, m.d)))


def explained_dimension(m: Moments) -> int:
    """d(0.8): the least number of principal directions that hold four fifths of the variance. Unstable at ties."""
    held = torch.cumsum(m.eigenvalues, 0)
    # One part in 1e12 forgives the rounding of the sum where the share is met exactly (8 of 10 equal directions).
    return int((held < held[-1] * 0.8 * (1 - 1e-12)).sum()) + 1


def outlier_dimensions(m: Moments) -> Int[Tensor, "k"]:
    """Indices of dimensions whose variance exceeds five times the mean variance, the largest first; often none.

    A statement about the coordinate axes: a rotation changes it, while every spectral score stays.
    """
    variances = m.variances.detach()
    outliers = (variances > 5 * variances.mean()).nonzero().flatten()
    return outliers[variances[outliers].argsort(descending=True)]


@dataclass(frozen=True)
class Score:
    """What there is to know about one score before using it; the glossary, tests and figures are printed from these."""

    name: str
    function: Callable[[Moments], Tensor | int]
    half: Literal["mean", "spectral"]
    formula: str
    range: tuple[str, str]  # expressions in n and d
    unchanged_by: frozenset[str]  # of shift, rotate, scale, duplicate (every row twice), pad (columns of zeros)
    n_less_than_d: str
    null: Callable[[int, int], float] | None  # (n, d) -> what a cloud without structure scores
    source: str
    errata: str = ""
    differentiable: bool = True


_spectral = partial(
    Score,
    half="spectral",
    range=("1", "min(n - 1, d)"),
    unchanged_by=frozenset({"shift", "rotate", "scale", "duplicate", "pad"}),
    n_less_than_d="biased low; cannot exceed n - 1",
    null=None,
)
_mean = partial(
    Score,
    half="mean",
    range=("0", "1"),
    unchanged_by=frozenset({"rotate", "scale", "pad"}),
    n_less_than_d="no restriction",
)
_unbiased = partial(
    _spectral,
    range=("-inf", "inf"),
    n_less_than_d="made for it; needs n >= 4",
    source="U-statistics of order 4; Chun et al. 2026 have the estimator",
)

SCORES: dict[str, Score] = {
    "iso_score": _spectral(
        name="IsoScore",
        function=iso_score,
        formula="(PR - 1)/(d - 1)",
        range=("0", "min((n - 2)/(d - 1), 1)"),
        unchanged_by=frozenset({"shift", "rotate", "scale", "duplicate"}),
        n_less_than_d="biased low; cannot exceed (n - 2)/(d - 1)",
        null=null.iso_score_null,
        source="Rudman et al. 2022, arXiv 2108.07344, in seven steps",
        errata="The PyPI package IsoScore 2.0.1 takes sqrt(d) in float32, so it agrees to 5e-7 only.",
    ),
    "iso_score_star": _spectral(
        name="IsoScore*",
        function=partial(iso_score_star, zeta=0.2),
        formula="(PR(S) - 1)/(d - 1), S = (1 - zeta) C + zeta (tr C/d) I, here zeta = 0.2",
        range=("0", "1"),
        unchanged_by=frozenset({"shift", "rotate", "scale", "duplicate"}),
        n_less_than_d="biased low, lifted by (tr C/d) I",
        source="Rudman and Eickhoff 2024, arXiv 2305.19358",
        errata="With C0 = I, advised where no larger sample is at hand, it rises as the states shrink.",
    ),
    "participation_ratio": _spectral(
        name="participation ratio",
        function=participation_ratio,
        formula="(tr C)^2/||C||_F^2",
        null=lambda n, d: null.sampled_participation_ratio(float(d), n),
        source="common in physics; IsoScore is its affine image",
    ),
    "participation_ratio_unbiased": _unbiased(
        name="participation ratio, unbiased",
        function=null.participation_ratio_unbiased,
        formula="estimate of (tr C)^2 / estimate of tr C^2",
        unchanged_by=frozenset({"shift", "rotate", "scale", "pad"}),
        null=lambda n, d: float(d),
    ),
    "iso_score_unbiased": _unbiased(
        name="IsoScore, unbiased",
        function=null.iso_score_unbiased,
        formula="(unbiased PR - 1)/(d - 1)",
        unchanged_by=frozenset({"shift", "rotate", "scale"}),
        null=lambda n, d: 1.0,
    ),
    "effective_rank": _spectral(
        name="effective rank",
        function=effective_rank,
        formula="exp(-sum p log p), p = l/sum l",
        source="Roy and Vetterli 2007, on eigenvalues of C",
    ),
    "explained_dimension": _spectral(
        name="d(0.8)",
        function=explained_dimension,
        formula="least k with (l_1 + ... + l_k)/sum l >= 0.8",
        differentiable=False,
        source="principal components, as in arXiv 2505.17135",
        errata="The code of arXiv 2505.17135 fits 3 components, so what it records cannot exceed 4.",
    ),
    "mean_cosine": _mean(
        name="mean cosine",
        function=mean_cosine,
        formula="(|sum x/|x||^2 - n)/(n(n - 1))",
        range=("-1/(n - 1)", "1"),
        null=lambda n, d: 0.0,  # exact in expectation, for directions drawn uniformly
        source="Ethayarajh 2019, on all pairs i != j",
        errata="CosReg of arXiv 2305.19358 counts the pairs i = j, but for 1/n: it is this times (n - 1)/n.",
    ),
    "mean_share": _mean(
        name="mean share",
        function=mean_share,
        formula="|mean|^2/(|mean|^2 + tr C)",
        null=lambda n, d: 1 / (n + 1),  # a ratio of expectations: E |mean|^2 is tr C / n
        source="leading order of the mean cosine, derived here",
    ),
}
