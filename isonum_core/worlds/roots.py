"""Draws of Gaussian processes that are the same on every processor, to about 1e-10: the families of `gaussian` again.

`kernels.sample` goes through eigenvectors. Where eigenvalues are equal (a season that fits a whole number of times) or
zero (smooth kernels) their directions, and how many there are, hang on the last digits: draws moved by 3e-8 between two
kinds of arithmetic on one machine, and may change altogether on another. A function of the matrix does neither.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Float
from sklearn.gaussian_process.kernels import RBF, Kernel, RationalQuadratic

from isonum_core.worlds.family import Batch, Family
from isonum_core.worlds.processes_gaussian import SCALE, SEASON, gp_mixture, gp_scale, gp_tails
from isonum_core.worlds.processes_gaussian import gp_wandering_season as gp_season

SOFT = 1e-8  # of the largest eigenvalue: how far a draw's covariance may be off


def root_draws(covariance: Float[np.ndarray, "T T"], rng: np.random.Generator, n: int = 1) -> Float[np.ndarray, "n T"]:
    """n draws of a Gaussian vector of mean 0: white noise times C (C + s I)^(-1/2), s = 1e-8 max eigenvalue.

    A symmetric root, bent where eigenvalues vanish: there the square root is infinitely steep and this is not, so
    that rounding of C (1e-16) moves a draw by 1e-10. Its covariance C^2 (C + s I)^(-1) is off by less than s.
    """
    values, vectors = np.linalg.eigh(covariance)
    values = values.clip(0)
    bent = values / np.sqrt(values + SOFT * values[-1])
    return rng.standard_normal((n, len(bent))) @ ((vectors * bent) @ vectors.T)


def _steady(found: Family, covariance) -> Family:
    def draw(knob: float, length: int, rng: np.random.Generator, n: int = 1) -> Batch:
        kernel: Kernel = covariance(knob)
        return root_draws(kernel(np.arange(float(length))[:, None]), rng, n)

    draw.__doc__ = found.draw.__doc__
    return replace(found, draw=draw)


_MADE = (
    _steady(gp_scale.family, RBF),
    _steady(gp_tails.family, lambda alpha: RationalQuadratic(float(SCALE), alpha)),
    _steady(gp_season.family, lambda scale: SEASON * RBF(scale)),
    _steady(gp_mixture.family, lambda share: share * SEASON + (1 - share) * RBF(float(SCALE))),
)
STEADY: dict[str, Family] = {family.name: family for family in _MADE}
