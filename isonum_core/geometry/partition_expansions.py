"""What is proved about log Z on a sphere: expansions whose remainders are written out, not waved at.

Z(h) = sum_i exp <w_i, h> over the rows w_i of W (N, d); delta(r) = max log Z - min log Z over |h| = r, in nats, so that
partition isotropy is I(W; r) = exp(-delta). Means and covariances here are over rows with equal weight, ddof = 0.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import brentq, nnls
from scipy.spatial import ConvexHull
from torch import Tensor

from isonum_core.errors import IsonumError
from isonum_core.geometry.rows import Rows, plain_rows

# Facets of a hull grow like N^(d/2): beyond this dimension an exact inradius is out of reach.
HULL_DIMENSIONS = 8
# Beyond r D = 100 the parabola of slope phi(rD) > 1e39 bounds nothing, and its squares would overflow.
STRAIGHT = 100.0
# Rows whose distances to all others are held at once.
CHUNK = 1024
# Coefficients of phi(y) = sum_k y^k / (k + 2)!, highest first: for |y| <= 1 the first term left out is below 1e-19.
_PHI_SERIES = [1 / math.factorial(k + 2) for k in range(18)][::-1]


class Bracket(NamedTuple):
    """A proved interval for delta(r), in nats, around the leading term that gives it its name."""

    lower: float
    estimate: float
    upper: float


def phi(y: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """(exp y - 1 - y) / y^2, with phi(0) = 1/2: how far a cumulant function bends beyond its parabola.

    phi(y) = integral over (0, 1) of (1 - u) exp(u y), so positive and increasing; 1 / phi(-y) <= 2 + y for y >= 0.
    Infinite where exp y overflows (y > 709). Accurate to rounding near zero, where the formula itself cancels.
    """
    small = y.abs() <= 1
    near = torch.zeros_like(y)
    for c in _PHI_SERIES:  # the quotient loses every digit near 0, the series none
        near = near * torch.where(small, y, 0) + c
    far = torch.where(small, 1, y)
    return torch.where(small, near, (far.expm1() - far) / far**2)


def first_order(w: Rows, radius: float = 1.0) -> Bracket:
    """delta(r) = 2 r |wbar| +- r^2 D^2 / 8: at small radii only the mean row matters.

    wbar is the mean row, D the diameter. Proof: log Z = log N + <wbar, h> + K(h) with 0 <= K <= (rD)^2 / 8, by Jensen
    and Hoeffding; maximum and minimum both sit in that band. The lower end is cut at 0.
    """
    w, r = accepted_head(w, radius)
    middle, slack = 2 * r * float(w.mean(0).norm()), (r * row_diameter(w)) ** 2 / 8
    return Bracket(max(middle - slack, 0.0), middle, middle + slack)


def hull_inradius(w: Rows) -> float:
    """rho = min over |u| = 1 of max_i <w_i, u>: the distance from 0 to the nearest facet of the hull of the rows.

    Negative when 0 lies outside: minus its distance to the hull. Zero when 0 is on the hull, and for a flat hull that
    contains 0. Exact, by facets; raises beyond d = 8.
    """
    w = plain_rows(w).double()
    n, d = w.shape
    if d > HULL_DIMENSIONS:
        raise IsonumError(
            f"the hull's inradius is exact only up to d={HULL_DIMENSIONS}, got d={d}. "
            "Use partition_isotropy at a large radius: log Z / r tends to it from above."
        )
    rows = w.numpy()
    # min |W^T a|^2 + (1 - sum a)^2 over a >= 0 has the nearest point's weights, up to their sum.
    a, _ = nnls(np.vstack([rows.T, np.ones(n)]), np.append(np.zeros(d), 1.0))
    distance = float(np.linalg.norm(rows.T @ a) / a.sum())
    scale = float(np.linalg.norm(rows, axis=1).max())
    if distance > 1e-12 * scale:
        return -distance
    if np.linalg.matrix_rank(rows - rows.mean(0)) < d:
        return 0.0
    if d == 1:
        return float(min(rows.max(), -rows.min()))
    return max(float((-ConvexHull(rows).equations[:, -1]).min()), 0.0)


def log_partition_bounds(w: Tensor, r: float, spread: float) -> tuple[tuple[float, float], tuple[float, float]]:
    """Proved (lower, upper) bounds on min (log Z - log N) and max (log Z - log N) over |h| = r, as two pairs.

    As ((below min, below max), (above min, above max)); `spread` is any number not below the diameter of the rows.
    """
    mean, spectrum, basis = row_spectrum(w)
    lin, push = basis.T @ mean, r * float(mean.norm())
    y = torch.tensor(r * spread, dtype=torch.float64)
    a, b = float(phi(-y)), float(phi(y))
    below = (-sphere_maximum(-lin, -a * spectrum, r), sphere_maximum(lin, a * spectrum, r))
    hoeffding, longest = float(y) ** 2 / 8, r * float(w.norm(dim=1).max())
    above = (-push + hoeffding, min(push + hoeffding, longest))
    if y < STRAIGHT:
        quadratic = (-sphere_maximum(-lin, -b * spectrum, r), sphere_maximum(lin, b * spectrum, r))
        above = (min(above[0], quadratic[0]), min(above[1], quadratic[1]))
    return below, above


def sphere_maximum(lin: Float[Tensor, d], curvature: Float[Tensor, d], radius: float) -> float:
    """max over |x| = radius of <lin, x> + sum_k curvature_k x_k^2, exactly, though the problem need not be convex.

    At the maximum x_k = lin_k / (2 (t - curvature_k)) with the multiplier t >= max curvature at which |x| = radius;
    the dual value t r^2 + sum lin_k^2 / (4 (t - curvature_k)) is convex in t, so bisection on |x| finds it.
    """
    top = float(curvature.max())
    gap, weight = top - curvature.numpy(), lin.numpy() ** 2 / 4
    gap, weight = gap[weight > 0], weight[weight > 0]

    def closeness(s: float) -> float:  # 1 / |x| - 1 / r at t = top + s: rising, and nearly straight
        with np.errstate(divide="ignore"):
            return float(1 / np.sqrt((weight / (s + gap) ** 2).sum())) - 1 / radius

    # At t - top = |lin| / (2 r) every |x_k| is at most r |lin_k| / |lin|, so the root is not above.
    s = high = float(np.sqrt(weight.sum())) / radius
    if closeness(0.0) >= 0:  # |x| falls short at t = top: the rest goes along the top direction, at no cost
        s = 0.0
    elif closeness(high) > 0:
        s = float(brentq(closeness, 0.0, high, xtol=1e-300, rtol=1e-15))
    # Any t >= top gives an upper bound, and the root the least, which is attained. At s = 0 a zero gap has no term.
    terms = np.divide(weight, s + gap, out=np.zeros_like(weight), where=s + gap > 0)
    return (top + s) * radius**2 + float(terms.sum())


def row_spectrum(w: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean row, and eigenvalues (ascending, d of them) and eigenvectors (columns) of C, ddof = 0."""
    mean = w.mean(0)
    y = w - mean
    spectrum, basis = torch.linalg.eigh(y.T @ y / w.shape[0])
    return mean, spectrum.clamp_min(0), basis


def row_diameter(w: Tensor) -> float:
    """D = max_ij |w_i - w_j|, the largest possible range of logits for |h| = 1. Exact, O(N^2 d) time, O(N) memory."""
    return max(float(torch.cdist(a, w[i * CHUNK :]).max()) for i, a in enumerate(w.split(CHUNK)))


def accepted_head(w: Rows, radius: float) -> tuple[Tensor, float]:
    """The rows (N, d) in float64 and a finite, positive radius at which the logits stay below 1e150, or IsonumError."""
    w = plain_rows(w).double()
    if not (math.isfinite(radius) and radius > 0):
        raise IsonumError(f"radius must be a positive number, got {radius}. Use the typical length of a hidden state.")
    longest = radius * float(w.norm(dim=1).max())
    if not longest < 1e150:
        raise IsonumError(f"logits must stay below 1e150, got r * (longest row) = {longest:.3g}. Use a smaller radius.")
    return w, float(radius)
