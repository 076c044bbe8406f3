"""Clouds whose two halves are known: each departs from isotropy in one way, to ask a measure what it sees."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor


def power_law_cloud(
    n: int, d: int, rng: np.random.Generator, decay: float = 0.0, offset: float = 0.0
) -> Float[Tensor, "n d"]:
    """Gaussian cloud of total variance d with spectrum proportional to i^-decay and |mean|^2 = offset^2 d.

    decay = 0 is spectrally isotropic, offset = 0 is centred. The mean points along (1, ..., 1), so that it favours no
    eigenvector. mean_share is offset^2 / (1 + offset^2) in the population, whatever the decay; the participation ratio
    is (sum of eigenvalues)^2 / (sum of squares), whatever the offset.
    """
    spectrum = np.arange(1, d + 1) ** -float(decay)
    spectrum *= d / spectrum.sum()
    return torch.from_numpy(rng.normal(size=(n, d)) * np.sqrt(spectrum) + offset)


def rogue_dimension_cloud(n: int, d: int, rng: np.random.Generator) -> Float[Tensor, "n d"]:
    """Isotropic but for one coordinate, whose mean is 2 sqrt(d): it alone carries 80 % of the mean squared length."""
    x = rng.normal(size=(n, d))
    x[:, 0] += 2 * np.sqrt(d)
    return torch.from_numpy(x)


def clustered_cloud(n: int, d: int, rng: np.random.Generator) -> Float[Tensor, "n d"]:
    """Eight tight clusters at random places, centred as a whole: the variance lies in the seven directions between."""
    centres = 3 * rng.normal(size=(8, d))
    centres -= centres.mean(0)
    return torch.from_numpy(centres[np.arange(n) % 8] + 0.5 * rng.normal(size=(n, d)))


def heavy_tailed_cloud(n: int, d: int, rng: np.random.Generator) -> Float[Tensor, "n d"]:
    """Spherical Student t with 5 degrees of freedom: isotropic in both halves, but a few points are far out."""
    return torch.from_numpy(rng.normal(size=(n, d)) / np.sqrt(rng.chisquare(5.0, size=(n, 1)) / 5.0))


def segment_cloud(n: int, d: int, rng: np.random.Generator) -> Float[Tensor, "n d"]:
    """Points +u and -u in equal number: one dimension, yet the cosine over pairs is -1/(n - 1)."""
    u = rng.normal(size=d)
    return torch.from_numpy(np.where(np.arange(n) % 2, 1.0, -1.0)[:, None] * u / np.linalg.norm(u))


# The rows of the "which measure sees what" figure; the first is the reference.
CLOUDS: dict[str, Callable[[int, int, np.random.Generator], Tensor]] = {
    "isotropic": power_law_cloud,
    "heavy tails": heavy_tailed_cloud,
    "shifted mean": lambda n, d, rng: power_law_cloud(n, d, rng, offset=2.0),
    "rogue dimension": rogue_dimension_cloud,
    "decaying spectrum": lambda n, d, rng: power_law_cloud(n, d, rng, decay=1.5),
    "shifted and decaying": lambda n, d, rng: power_law_cloud(n, d, rng, decay=1.5, offset=2.0),
    "eight clusters": clustered_cloud,
    "two points ±u": segment_cloud,
}
