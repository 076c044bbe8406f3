"""How much a linear read-out of n states errs: from their spectrum, where the target lies in it, and noise.

Every read-out here, but AdamW at the end, is a sum of ridges, w = sum_j a_j (S + k_j)^-1 b, with S the second moment of
the states and b that of states with targets: ridge is one, least squares has k = 0, and gradient descent stopped at a
time is a few with complex k_j (a contour integral). So what is exact for ridge is for all: leaving out, generalised
cross-validation (GCV), the risk at another n. With L_ik = l_k / (l_k + K_i), where k_i = K_i (1 - sum_k L_ik / n),

    E = sum_ij a_i a_j (sum_k (1 - L_ik)(1 - L_jk) c_k^2 + s^2) / (1 - sum_k L_ik L_jk / n),

for one ridge the formula of Canatar et al. 2021 and Simon et al. 2023, applied to states of networks by SNAP (Canatar
et al. 2023). Rows are taken to be independent. That n and n0 rows of equal K are equivalent is due to Patil and Du
2023, so the sums over k can be read off n0 rows: E(n, k) = E(n0, k0) dk0 / dk. GCV (Craven and Wahba 1979) foretells
networks (Wei et al. 2022) but fails for early stopping, where leaving out does not (Patil et al. 2024): here each ridge
is corrected by itself. A preconditioner's sign follows alignment: Amari et al. 2021, Yoshida and Nitanda (2509.25637).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from isonum_core.errors import IsonumError
from isonum_core.geometry.products import gram

# Newton's steps, at most, and when they have come, at last and on the way: the next is nearer by squares.
STEPS, NEAR, TOWARDS = 10, 1e-6, 1e-2
Spectrum = Float[Tensor, " r"]


class Readout(NamedTuple):
    """A read-out as a sum of ridges, by mean square: scikit-learn's `alpha` is a penalty times `Aligned.freedom`."""

    weights: Complex[Tensor, " J"]  # their sum is one
    penalties: Complex[Tensor, " J"]

    def filter(self, spectrum: Spectrum) -> Spectrum:
        """phi_k: the share of direction k that is learned."""
        return (1 / (1 + self.penalties / spectrum[:, None]) @ self.weights).real


def ridge(penalty: float) -> Readout:
    """phi = l / (l + penalty). At penalty 0 least squares, which needs more rows than directions."""
    if not 0 <= penalty < math.inf:
        raise IsonumError(f"a penalty of 0 or more was expected, got {penalty}. It is in units of the spectrum.")
    return Readout(*torch.tensor([[1.0], [penalty]], dtype=torch.complex128))


def early_stopped(time: float, nodes: int = 16) -> Readout:
    """phi = 1 - exp(-time l), to 2e-9: small steps from zero on half the mean square; time = rate x steps.

    A step of any size has 1 - (1 - rate l)^steps. The contour is that of Weideman 2006; its `nodes`, an even
    number, come in pairs of conjugates.
    """
    if not 0 < time < math.inf:
        raise IsonumError(f"a time above 0 was expected, got {time}. It is the rate times the steps.")
    angle = math.pi * ((2 * torch.arange(nodes // 2, dtype=torch.float64) + 1) / nodes - 1)
    cot = 1 / torch.tan(0.6407 * angle)
    s = nodes * (0.5017 * angle * cot - 0.6122 + 0.2645j * angle)
    weights = s.exp() * (0.5017 * cot - 0.5017 * 0.6407 * angle * (1 + cot**2) + 0.2645j) / s
    return Readout(*(_whole(half, nodes) for half in (weights / (2j * weights.imag.sum()), s / time)))


@dataclass(frozen=True)
class Aligned:
    """States in the basis of their second moment, with targets. Sums are divided by `freedom`, n or (centred) n - 1."""

    states: Float[Tensor, "n r"]
    targets: Float[Tensor, "n m"]
    spectrum: Spectrum  # largest first
    freedom: int

    @cached_property
    def shared(self) -> Float[Tensor, "r m"]:
        """Second moment of states with targets."""
        return self.states.mT @ self.targets / self.freedom

    @cached_property
    def squares(self) -> Float[Tensor, "n r"]:
        """Of the states: their leverage under any penalty is one product away."""
        return self.states.square()

    @cached_property
    def power(self) -> Spectrum:
        """c_k^2: the part of the targets' mean square along direction k, with what chance puts there (noise / n)."""
        return (self.shared.square() / self.spectrum[:, None]).sum(1)


def aligned(h: Float[Tensor, "n d"], y: Float[Tensor, "k m"], intercept: bool = True) -> Aligned:
    """Needs three rows that differ. An `intercept` is free, which centres both; without, the mean is a direction."""
    h, y = h.double(), y.double()
    if len(h) != len(y) or len(h) < 3:
        raise IsonumError(f"targets of three states or more were expected, got {len(y)} for {len(h)}. Match the rows.")
    if intercept:
        h, y = h - h.mean(0), y - y.mean(0)
    (n, d), freedom = h.shape, len(h) - intercept
    spectrum, basis = (part.flip(-1) for part in torch.linalg.eigh(gram(h if n < d else h.mT) / freedom))
    seen = spectrum > max(n, d) * torch.finfo(torch.float64).eps * max(float(spectrum[0]), 1e-300)
    if not seen.any():
        raise IsonumError("states that vary were expected, got equal rows. A constant has nothing to read.")
    spectrum, basis = spectrum[seen], basis[:, seen]
    return Aligned(basis * (spectrum * freedom).sqrt() if n < d else h @ basis, y, spectrum, freedom)


def raised(a: Aligned, p: float) -> Aligned:
    """The rows of H U diag(l^((p - 1) / 2)) U^T, at the same mean eigenvalue: p = 1 as they are, 0 whitened.

    `leave_one_out` of these less that of `a`, row by row, is what reshaping would change; with `spread` it has its
    interval.
    """
    l = a.spectrum**p
    l = l * (a.spectrum.sum() / l.sum())
    return replace(a, states=a.states * (l / a.spectrum).sqrt(), spectrum=l)


def left_out(a: Aligned, penalties: Complex[Tensor, " J"]) -> Complex[Tensor, "n m J"]:
    """Residuals of each row under what all others teach each ridge, at the same penalty x freedom. Exact."""
    n, inverse = len(a.states), 1 / (a.spectrum[:, None] + _half(penalties))
    left = a.targets[:, :, None] - _times(a.states, a.shared[:, :, None] * inverse[:, None])
    return _whole(left / (a.freedom / n - _times(a.squares, inverse) / a.freedom)[:, None], len(penalties))


def leave_one_out(
    a: Aligned, readout: Readout, n: int | None = None, spread: bool = False, each: bool = False
) -> Float[Tensor, "n *m"]:
    """Squared error of each row left out; with n, what it would be on average had n rows been learned from.

    Summed over targets, or `each` by itself. `readout` is that at n. With `spread` numbers of the same mean whose
    standard error over rows is that of the mean: each row counts for what it teaches too. Raises IsonumError where
    these rows do not resolve what n would learn.
    """
    penalties, factor = _matched(a.spectrum, a, readout, n)
    left, x = left_out(a, penalties) * readout.weights, a.states
    pull = left @ factor
    errors = (pull * left).sum(2).real
    if not errors.sum() >= 0:  # no error is: next to where nothing is resolved
        raise _unresolved(a, n)
    errors = errors if each else errors.sum(1)
    if not spread:
        return errors
    slopes = _times(x.mT, pull) / a.freedom / (a.spectrum[:, None, None] + penalties)
    taught = (_times(x, slopes) * left).sum(2).real
    taught = taught if each else taught.sum(1)
    return errors - 2 * (taught - taught.mean(0))


def gcv(a: Aligned, readout: Readout, n: int | None = None, spectrum: Spectrum | None = None) -> Float[Tensor, ""]:
    """The mean of `leave_one_out` from spectrum and alignment alone; with `spectrum`, of states reshaped to have it.

    H U diag(l^((p - 1) / 2)) U^T has the spectrum l^p and the same alignment. Differentiable in `spectrum`.
    """
    l = a.spectrum if spectrum is None else spectrum
    penalties, factor = _matched(l, a, readout, n)
    shares = 1 / (1 + penalties / l[:, None])
    rest = a.targets.square().sum() / a.freedom - a.power.sum()  # along no direction
    left = torch.cat([1 - shares, torch.ones_like(shares[:1])]) / (1 - shares.sum(0) / a.freedom) * readout.weights
    errors = ((left @ factor) * left).sum(1).real * torch.cat([a.power, rest[None]])
    return errors.sum() * len(a.states) / a.freedom


def spectral_risk(spectrum: Spectrum, power: Spectrum, noise: float, n: int, readout: Readout) -> Float[Tensor, ""]:
    """E of this file's head for a law of known spectrum, power c_k^2 and noise s^2, which is included; no intercept."""
    l, k = spectrum[:, None], readout.penalties + spectrum.sum() / n
    for _ in range(5000):  # a contraction of the half-plane, slow only where n is about the number of directions
        k, before = readout.penalties + (l * k / (l + k)).sum(0) / n, k
        if (k - before).abs().max() <= 1e-13 * spectrum.max():
            break
    shares = 1 / (1 + k / l)
    pairs = (((1 - shares).mT * power) @ (1 - shares) + noise) / (1 - shares.mT @ shares / n)
    return (readout.weights @ pairs @ readout.weights).real


def istar_effect(a: Aligned, readout: Readout) -> Float[Tensor, ""]:
    """First-order change of log `gcv` when log l_k moves by g_k = 1 - l_k sum(l) / sum(l^2), the pull of I-STAR."""
    l = a.spectrum.clone().requires_grad_()
    (slope,) = torch.autograd.grad(gcv(a, readout, spectrum=l).log(), l)
    return (slope * l * (1 - l * l.sum() / l.square().sum())).sum().detach()


def adamw_weights(
    second: Float[Tensor, "d d"],
    shared: Float[Tensor, "d m"],
    rates: Sequence[float],
    steps: Sequence[int],
    decay: float = 0.01,
) -> Float[Tensor, "g s d m"]:
    """AdamW in full batch, from zero on half the mean squared error: weights by rate and number of steps (rising).

    No sum of ridges, nor a function of the spectrum: each coordinate's step is divided by its own gradients, so a
    rotation of the states changes what is learned. Rows enter by two sums: `second`, the mean of h h^T, and `shared`,
    that of h y^T. After Loshchilov and Hutter 2019; torch.optim.AdamW on the rows does the same to rounding.
    """
    (d, m), found = shared.shape, []
    rate = torch.tensor(rates, dtype=shared.dtype)[:, None].expand(-1, m).reshape(-1)
    w = shared.new_zeros(d, len(rates) * m)
    first, squares, goal = torch.zeros_like(w), torch.zeros_like(w), shared.repeat(1, len(rates))
    for step in range(1, max(steps) + 1):
        slope = second @ w - goal
        first.lerp_(slope, 1 - 0.9)
        squares.lerp_(slope.square(), 1 - 0.999)
        size = (squares / (1 - 0.999**step)).sqrt() + 1e-8
        w = w * (1 - rate * decay) - rate / (1 - 0.9**step) * first / size
        if step in steps:
            found.append(w.view(d, len(rates), m).transpose(0, 1))
    return torch.stack(found, 1)


def _unresolved(a: Aligned, n: int | None) -> IsonumError:
    return IsonumError(f"{len(a.states)} rows do not resolve what {n} would learn at this penalty. Give more rows.")


def _half(penalties: Complex[Tensor, " J"]) -> Complex[Tensor, " H"]:
    """Those of which the others are the conjugates, last first; all where they are not so."""
    pairs = torch.equal(penalties.flip(0), penalties.conj().resolve_conj())
    return penalties[: (len(penalties) + 1) // 2] if pairs else penalties


def _whole(half: Complex[Tensor, "... H"], size: int) -> Complex[Tensor, "... J"]:
    """With the conjugates that `_half` left out."""
    return torch.cat([half, half[..., : size - half.shape[-1]].conj().flip(-1)], -1)


def _times(x: Float[Tensor, "k r"], w: Complex[Tensor, "r ..."]) -> Complex[Tensor, "k ..."]:
    """x w as one real product."""
    parts = x @ torch.view_as_real(w).flatten(1)
    return torch.view_as_complex(parts.view(len(x), *w.shape[1:], 2))


def _matched(l: Tensor, a: Aligned, readout: Readout, n: int | None) -> tuple[Tensor, Tensor]:
    """Penalties k0 of these rows with the K that `readout` has at n, and factors (k0_i - k0_j) / (k_i - k_j) of risks.

    Solves k0 + (n / n0 - 1) K(k0) = (n / n0) k by Newton's steps: while n grows from n0, cut at half of k0, or they
    would leave the side on which K is known; where it shrinks, from above the root, as K is at most k0 + tr(l) / n0.
    """
    k, n0, size = _half(readout.penalties), a.freedom, len(readout.penalties)
    if len(l) >= n0 and not k.abs().min() > 0:
        raise IsonumError(f"least squares needs more rows than {len(l)} directions, got {n0}. Penalise, or give more.")
    if n is None:
        return readout.penalties, torch.ones(size, size, dtype=k.dtype)
    last, k0, far = (n - len(a.states) + n0) / n0, k, math.inf
    weakest = (1 / (readout.weights / readout.penalties).sum()).real
    ratios = torch.logspace(0, math.log10(last), 2 + int(4 * abs(math.log(last))), dtype=torch.float64).tolist()
    if last < 1:
        k0, ratios = k + (1 / last - 1) * l.sum() / n0, [last] * 4
    beyond = len(l) >= n0 and last * weakest < (last - 1) * n0 / (1 / l).sum()
    for ratio in [] if beyond else [*ratios, last]:
        for _ in range(STEPS):
            shares = 1 / (1 + k0 / l[:, None])
            inverse = 1 / (1 - shares.sum(0) / n0)  # K = k0 times this
            slope = 1 + (ratio - 1) * (inverse - (shares * (1 - shares)).sum(0) * inverse**2 / n0)
            step = (k0 + (ratio - 1) * k0 * inverse - ratio * k) / slope
            if last > 1:
                step = step * (k0.abs() / (2 * step.abs()).clamp_min(1e-300)).clamp_max(1)
            k0, far = k0 - step, float((step.abs() / k0.abs().clamp_min(1e-300)).max())
            if far < (NEAR if ratio == last else TOWARDS):
                break
    if not far < NEAR:
        raise _unresolved(a, n)
    k, k0, slope = (_whole(half, size) for half in (k, k0, slope))
    return k0, (k0[:, None] - k0) / (k[:, None] - k + torch.eye(size)) + torch.diag(last / slope)
