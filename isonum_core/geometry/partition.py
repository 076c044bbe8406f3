"""Partition isotropy I(W; r) = min Z / max Z over |h| = r: does the softmax normaliser depend on direction?

Z(h) = sum_i exp <w_i, h> over the rows w_i of W (N, d). I depends on the radius r and on the gauge: adding one vector
to all rows changes I as far as one likes and no prediction at all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from scipy.optimize import minimize
from torch import Tensor

from isonum_core.errors import IsonumError
from isonum_core.geometry.partition_expansions import accepted_head, log_partition_bounds, row_diameter, row_spectrum
from isonum_core.geometry.rows import Rows

# Candidate rows offered as starting directions, and how many starts survive the first look.
LONGEST_ROWS, STARTS = 64, 24
# Steps that all starts take, and how many of them are then polished; nearer than this share of r they are one valley.
STEPS, FINALISTS, APART = 60, 4, 1e-3
# When no start's step moves log Z by this share of its size, the polish takes over; below the second is rounding.
SETTLED, ROUNDING = 1e-12, 1e-15
# Up to this many rows the diameter is computed; beyond, twice the largest distance from the mean bounds it in O(N d).
EXACT_DIAMETER = 2048
# An end is called proved when what is left between it and its bound is below this, in nats.
PROVED = 1e-8


@dataclass(frozen=True)
class PartitionIsotropy:
    """I(W; r) as found, in logarithms, with what is needed to judge it.

    It is an upper bound on I: it compares two points of the sphere, and no search shows that none is better.
    log I lies in [log_lower_bound, log_value]; min_gap and max_gap are the shares of the two ends in that interval.
    """

    log_value: float  # log I = min log Z - max log Z, in nats, at most 0
    min_gap: float  # the minimum of log Z that was found exceeds the true one by at most this
    max_gap: float  # the true maximum exceeds the one that was found by at most this

    @property
    def value(self) -> float:
        """I itself, in (0, 1]. Raises IsonumError below e^-745, which no float holds."""
        value = math.exp(self.log_value)
        if not value > 0:
            raise IsonumError(
                f"I = e^{self.log_value:.0f} is smaller than any float (e^-745). Read log_value, in nats, or take a "
                "smaller radius: the length of the rows times the radius sets the scale."
            )
        return value

    @property
    def log_lower_bound(self) -> float:
        """Proved: log I is not below it."""
        return self.log_value - self.min_gap - self.max_gap

    @property
    def certified(self) -> tuple[str, ...]:
        """Which ends are proved to be global, to 1e-8 nats: any of "minimum", "maximum". Both: value is I itself."""
        return tuple(name for name, gap in (("minimum", self.min_gap), ("maximum", self.max_gap)) if gap <= PROVED)


def partition_isotropy(w: Rows, radius: float = 1.0) -> PartitionIsotropy:
    """I(W; r) = min_{|h|=r} Z(h) / max_{|h|=r} Z(h), in (0, 1]: 1 when the normaliser ignores the direction of h.

    Not a property of the predictor: W + 1 a^T predicts the same and scores anything (see `partition_isotropy_centred`).
    Not scale-free either: I falls with r |w|, for isotropic rows too. Use the radius of the hidden states.
    Both ends by monotone steps from many starts: the longest rows, + and - the eigenvectors of C, + and - the mean.
    Where r |w| passes a hundred nats log Z has as many valleys as its hull has sides: the minimum may be missed.
    Deterministic, float64, O(N d) a step. Not differentiable. Raises IsonumError on a bad shape, integers, non-finite
    rows, a radius that is not positive, and on logits beyond 1e150.

    >>> line = torch.tensor([[1.0], [-1.0]])  # two rows, h = 1 or -1: Z is e + 1/e at both
    >>> partition_isotropy(line).value
    1.0
    >>> even = torch.cat([torch.eye(3), -torch.eye(3)])  # isotropic rows, and yet I falls with the radius
    >>> [round(partition_isotropy(even, radius).value, 3) for radius in (0.5, 2.0, 8.0)]
    [0.999, 0.908, 0.102]
    >>> moved = partition_isotropy(even + 500)  # the same predictor in another gauge: e^-1732 is no float, its log is
    >>> round(moved.log_value, 1), round(partition_isotropy_centred(even + 500).value, 3)
    (-1732.1, 0.992)
    """
    return _measure(*accepted_head(w, radius))


def partition_isotropy_centred(w: Rows, radius: float = 1.0) -> PartitionIsotropy:
    """I(W - 1 wbar^T; r): the same in the gauge where rows have mean zero, so that I speaks of the predictor.

    Unchanged by W -> W + 1 a^T. Still changed by (W, h) -> (W T, T^-1 h), which reshapes the sphere.
    """
    w, r = accepted_head(w, radius)
    return _measure(w - w.mean(0), r)


def eigenvector_heuristic(w: Rows, radius: float = 1.0) -> float:
    """log of min Z / max Z over h = +-r v, v the eigenvectors of W^T W, in nats: never below the true log I.

    It looks at 2 d points of the sphere, so it is always optimistic. An eigenvector has no sign: both are tried.
    Mu and Viswanath 2018, at r = 1.
    """
    w, r = accepted_head(w, radius)
    _, v = torch.linalg.eigh(w.T @ w)
    values = _log_z(w, r * torch.cat([v.T, -v.T]))
    return float(values.min() - values.max())


def _measure(w: Tensor, r: float) -> PartitionIsotropy:
    """Both ends, and by how much the true minimum may lie below the one found and the true maximum above, proved."""
    (n, d), (mean, spectrum, basis) = w.shape, row_spectrum(w)
    h_min, h_max = _ends(w, r, mean, basis)
    (low, pull), (high, push) = ((float(value), grad[0]) for value, grad in (_look(w, h[None]) for h in (h_min, h_max)))
    if d == 1:  # the sphere is two points, and both were starts
        return PartitionIsotropy(low - high, 0.0, 0.0)
    spread = row_diameter(w) if n <= EXACT_DIAMETER else 2 * float((w - mean).norm(dim=1).max())
    below, above = log_partition_bounds(w, r, spread)
    # log Z is convex: it lies above its tangent at h_min, whose lowest value in the ball is log Z - <g, h> - r |g|.
    min_gap = min(r * float(pull.norm()) + float(pull @ h_min), low - math.log(n) - below[0])
    max_gap = math.log(n) + above[1] - high
    # h -> r g / |g| has one fixed point where it contracts: Lipschitz constant r L / |g|, with L >= the curvature of
    # log Z in the ball and |g| >= |wbar| - r L there. Only the maximum can then be a fixed point.
    curvature = spread**2 / 4
    if r * spread < 700:
        curvature = min(curvature, math.exp(r * spread) * float(spectrum[-1]))
    least = float(mean.norm()) - r * curvature
    if least > r * curvature:
        off = float((_on_sphere(push[None], r, h_max[None])[0] - h_max).norm()) / (1 - r * curvature / least)
        max_gap = min(max_gap, off * float(push.norm()) + curvature * off**2)
    return PartitionIsotropy(low - high, max(min_gap, 0.0), max(max_gap, 0.0))


def _ends(w: Tensor, r: float, mean: Tensor, basis: Tensor) -> tuple[Tensor, Tensor]:
    """Where log Z is smallest and largest on the sphere, as far as the search sees."""
    longest = w.norm(dim=1).topk(min(LONGEST_ROWS, len(w))).indices
    pool = torch.cat([basis.T, mean[None], w[longest]])
    pool = pool[pool.norm(dim=1) > 0]
    pool = r * torch.nn.functional.normalize(torch.cat([pool, -pool]), dim=1, eps=0.0)
    order = _log_z(w, pool).argsort()
    return _best(w, r, pool[order[:STARTS]], -1), _best(w, r, pool[order.flip(0)[:STARTS]], 1)


def _best(w: Tensor, r: float, h: Tensor, sign: int) -> Tensor:
    """The best end, lowest for sign -1, after every start has taken its steps and the finalists are polished."""
    # A fall begins at the mean curvature of log Z at 0; any positive one would do: it is corrected by factors of two.
    bend = (sign < 0) * (w - w.mean(0)).square().mean().clamp_min(1e-300)
    state = (h, *_look(w, h), bend.expand(len(h)))
    for _ in range(STEPS):
        new, refused = _step(w, r, sign, *state)
        settled = ~refused & (sign * (new[1] - state[1]) <= SETTLED * new[1].abs().clamp_min(1))
        state = new
        if bool(settled.all()):
            break
    order = (-sign * state[1]).argsort()[:FINALISTS]
    finalists = state[0][order]
    repeated = (torch.cdist(finalists, finalists) < APART * r).tril(-1).any(1)
    value, h = max((_polish(w, r, h, sign) for h in finalists[~repeated]), key=lambda end: sign * end[0])
    # Symmetric rows, +-e_i say, can hold every start on a ridge, where the slope shows no way off: a step aside does.
    noise = torch.randn(len(h), generator=torch.Generator().manual_seed(0), dtype=h.dtype)
    aside = h / r + APART * noise / len(h) ** 0.5
    other, end = _polish(w, r, r * aside / aside.norm(), sign)
    return end if sign * (other - value) > 1e-9 * max(1.0, abs(value)) else h


def _polish(w: Tensor, r: float, h: Tensor, sign: int) -> tuple[float, Tensor]:
    """Quasi-Newton steps on h / |h|, each an improvement: what is left of a slow linear convergence ends in a few."""

    def objective(x):
        x = torch.from_numpy(x)
        u = x / x.norm()
        value, grad = _look(w, r * u[None])
        slope = r * (grad[0] - (grad[0] @ u) * u) / x.norm()
        return -sign * float(value), -sign * slope.numpy()

    options = dict(maxiter=1000, maxcor=20, ftol=0.0, gtol=1e-13)
    found = minimize(objective, (h / r).numpy(), jac=True, method="L-BFGS-B", options=options)
    x = torch.from_numpy(found.x)
    end = r * x / x.norm()
    values = _log_z(w, torch.stack([h, end]))
    kept = int((sign * values).argmax())
    return float(values[kept]), (h, end)[kept]


def _step(
    w: Tensor, r: float, sign: int, h: Tensor, value: Tensor, grad: Tensor, bend: Tensor
) -> tuple[tuple[Tensor, Tensor, Tensor, Tensor], Tensor]:
    """h <- r (L h +- g) / |L h +- g|, g the gradient of log Z: a step up or down of each start, and who was refused it.

    Up with L = 0: the tangent lies below a convex function, so log Z cannot fall. Down to the sphere's lowest point on
    a parabola of curvature L (`bend`) that touches log Z at h: where it does not lie above log Z at the new point the
    start stays and doubles its L; the others halve it. So log Z never rises.
    """
    trial = _on_sphere(bend[:, None] * h + sign * grad, r, h)
    new_value, new_grad = _look(w, trial)
    move = trial - h
    parabola = value + (grad * move).sum(1) + bend / 2 * (move**2).sum(1)
    rounding = ROUNDING * value.abs().clamp_min(1)
    refused = (bend > 0) & (new_value > torch.minimum(parabola, value) + rounding)
    h, grad = (torch.where(refused[:, None], old, new) for old, new in ((h, trial), (grad, new_grad)))
    return (h, torch.where(refused, value, new_value), grad, torch.where(refused, 2 * bend, bend / 2)), refused


def _look(w: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    """log Z at each row of h, and its gradient E_p[w]."""
    z = h @ w.T
    value = z.logsumexp(1)
    return value, (z - value[:, None]).exp() @ w


def _log_z(w: Tensor, h: Tensor) -> Tensor:
    return (h @ w.T).logsumexp(1)


def _on_sphere(direction: Tensor, r: float, otherwise: Tensor) -> Tensor:
    length = direction.norm(dim=1, keepdim=True)
    return torch.where(length > 0, r * direction / length.clamp_min(torch.finfo(torch.float64).tiny), otherwise)
