"""What the regulariser should do to an error, said before any training: from the states and targets of the first step.

To first order a weight above zero moves log l_k, the spectrum of the states, in proportion to

    g_k = 1 - l_k sum(l) / sum(l^2)      (up where an eigenvalue is small, down where it is large),

and a read-out that learns the share phi_k = l_k / (l_k + kappa) of direction k errs by

    E = sum (1 - phi)^2 c^2 + s^2 sum phi^2 / n   (+ s^2 where targets are judged with their noise),

so dE / d log l_k = 2 phi (1 - phi) (s^2 phi / n - (1 - phi) c_k^2), and the forecast of the change of log E, for one
unit of dose, is P = sum g_k (dE / d log l_k) / E. c_k is the target's covariance with direction k at unit variance.
The filter and its error are those of Canatar et al. 2021 and Simon et al. 2023; g_k is the slope of IsoScore.

kappa from rate times steps. Adam divides a slope by its root mean square, here that of mini-batch noise: the slope of a
head's weight j is 2 mean(residual h_j), so with residuals of variance v and b windows a step its square is
4 v mean(h_j^2) / b. Then the error of direction k decays at rate l_k / sqrt(v mean(h^2) / b) a unit of step size, and
kappa = sqrt(v mean(h^2) / b) / (sum of the rates so far). The body's own motion is left out; a study
divides kappa by how much faster body and head learn together.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from isonum_core.geometry.moments import Moments


class Alignment(NamedTuple):
    """Where a target lies in a cloud: eigenvalues, largest first, with the power c_k^2 in each and the noise s^2.

    `size` is the mean square of a coordinate of the states, mean included; n windows were seen. Powers are corrected
    for chance, c^2 - s^2 / n, and not below zero.
    """

    spectrum: Float[Tensor, "d"]
    power: Float[Tensor, "d"]
    noise: float
    variance: float
    size: float
    n: int

    @property
    def pull(self) -> Float[Tensor, "d"]:
        """g_k: how the regulariser moves log l_k."""
        return 1 - self.spectrum * self.spectrum.sum() / self.spectrum.square().sum()

    @property
    def index(self) -> float:
        """A = sum c_k^2 g_k / sum c_k^2, at most 1: above zero where the target lies off the dominant directions."""
        return float((self.power * self.pull).sum() / self.power.sum().clamp_min(1e-12))


def alignment(h: Float[Tensor, "n d"], y: Float[Tensor, " n"]) -> Alignment:
    """Alignment of targets y with states h, n > d + 1 of them."""
    m = Moments.of(h.double())
    spectrum, basis = torch.linalg.eigh(m.covariance)
    spectrum, basis = spectrum.flip(0).clamp_min(1e-12), basis.flip(1)
    z = (h.double() - m.mean) @ basis / spectrum.sqrt()
    centred = y.double() - y.double().mean()
    n, d = h.shape
    c = z.mT @ centred / n
    noise = float((centred - z @ c).square().sum() / (n - d - 1))
    size = float(h.double().square().mean())
    return Alignment(spectrum, (c.square() - noise / n).clamp_min(0), noise, float(centred.var()), size, n)


def adam_penalty(found: Alignment, batch: int, path: float) -> float:
    """kappa of a head that Adam has trained along `path`, the sum of its rates, with `batch` windows a step."""
    return math.sqrt(found.variance * found.size / batch) / path


def forecast(found: Alignment, kappa: float, noisy: bool) -> float:
    """P: change of log error for a unit of dose; `noisy` where the error is taken against targets with their noise."""
    phi = found.spectrum / (found.spectrum + kappa)
    spread = found.noise / found.n
    error = ((1 - phi) ** 2 * found.power + spread * phi**2).sum() + noisy * found.noise
    slope = 2 * phi * (1 - phi) * (spread * phi - (1 - phi) * found.power)
    return float((found.pull * slope).sum() / error)


def dose(weight: float) -> float:
    """Log odds by which a weight moves IsoScore: asinh(10 weight), read off the IsoScore of pilots."""
    return math.asinh(10 * weight)
