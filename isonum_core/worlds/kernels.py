"""Gaussian processes as KernelSynth uses them: its bank of kernels, the ten of the paper, and random compositions.

Formulas are written out, on a grid of shape (T,), with d = |x - y|. Ansari et al. 2024, "Chronos", and its
published generator (scripts/kernel-synth.py): series of 1024 steps on the grid linspace(0, 1, 1024).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from isonum_core.errors import IsonumError

Grid = Float[np.ndarray, "T"]
Matrix = Float[np.ndarray, "T T"]
LENGTH = 1024  # of a KernelSynth series; periods are given in steps of it


@dataclass(frozen=True)
class Kernel:
    """A covariance function. `duplicates` names kernels of the same or nearly the same law after mean scaling.

    `degenerate` says so where that law has no shape of its own, `ambiguous` what the source leaves open.
    """

    name: str
    covariance: Callable[[Grid], Matrix]
    duplicates: tuple[str, ...] = ()
    degenerate: str = ""
    ambiguous: str = ""


def distances(x: Grid) -> Matrix:
    """|x_i - x_j|."""
    return abs(x[:, None] - x[None, :])


def rbf(x: Grid, length_scale: float) -> Matrix:
    """exp(-d^2 / (2 length_scale^2)): smooth paths that forget over length_scale."""
    return np.exp(-((distances(x) / length_scale) ** 2) / 2)


def rational_quadratic(x: Grid, alpha: float, length_scale: float = 1.0) -> Matrix:
    """(1 + d^2 / (2 alpha length_scale^2))^-alpha: RBF kernels of many scales; the RBF itself as alpha grows."""
    return (1 + (distances(x) / length_scale) ** 2 / (2 * alpha)) ** -alpha


def exp_sine_squared(x: Grid, period: float, length_scale: float = 1.0) -> Matrix:
    """exp(-2 sin^2(pi d / period) / length_scale^2): a smooth shape repeated exactly every period."""
    return np.exp(-2 * (np.sin(np.pi * distances(x) / period) / length_scale) ** 2)


def dot_product(x: Grid, sigma_0: float) -> Matrix:
    """sigma_0^2 + x y: straight lines of standard normal slope, with an intercept of sd sigma_0."""
    return sigma_0**2 + x[:, None] * x[None, :]


def white(x: Grid, variance: float) -> Matrix:
    """Independent noise."""
    return variance * np.eye(len(x))


def _seasonal(steps: int) -> Kernel:
    return Kernel(f"ExpSineSquared_{steps}", lambda x: exp_sine_squared(x, steps / LENGTH))


_PERIODS = [24, 48, 96, 168, 336, 672, 7, 14, 30, 60, 365, 730, 4, 26, 52, 4, 6, 12, 4, 40, 10]  # 4 stands there thrice

# The 33 of the published generator, in its order; a composition draws from them with equal probability.
BANK: tuple[Kernel, ...] = (
    *(_seasonal(steps) for steps in _PERIODS),
    *(Kernel(f"DotProduct_{s:g}", lambda x, s=s: dot_product(x, s)) for s in (0.0, 1.0, 10.0)),
    *(Kernel(f"RBF_{l:g}", lambda x, l=l: rbf(x, l)) for l in (0.1, 1.0, 10.0)),
    *(Kernel(f"RationalQuadratic_{a:g}", lambda x, a=a: rational_quadratic(x, a)) for a in (0.1, 1.0, 10.0)),
    *(Kernel(f"WhiteKernel_{v:g}", lambda x, v=v: white(x, v)) for v in (0.1, 1.0)),
    Kernel("Constant_1", lambda x: np.ones((len(x), len(x)))),
)

_SMOOTH = ("RationalQuadratic_1", "RationalQuadratic_10", "RBF_1")


def _paper(name: str, covariance: Callable[[Grid], Matrix], duplicates: tuple[str, ...] = (), **remarks: str) -> Kernel:
    return Kernel(name, covariance, tuple(other for other in duplicates if other != name), **remarks)


# arXiv 2505.17135 names these ten and gives no parameters: names are read by the generator's conventions.
PAPER_KERNELS: dict[str, Kernel] = {
    kernel.name: kernel
    for kernel in (
        _paper(
            "DotProduct_0", lambda x: dot_product(x, 0.0), degenerate="after mean scaling, only two series: x and -x"
        ),
        _paper("DotProduct_1", lambda x: dot_product(x, 1.0)),
        _paper(
            "Seasonality_0.5W",
            lambda x: exp_sine_squared(x, 52 / LENGTH),
            ambiguous="not in the bank, where W labels 4, 26 and 52 and 0.5 doubles a period: this may "
            "be 8, 52 or 104; 52 is the one that the bank holds",
        ),
        _paper(
            "Seasonality_0.25H",
            lambda x: exp_sine_squared(x, 96 / LENGTH),
            ambiguous="the bank gives this label to periods 96 (a day) and 672 (a week); 96 is taken",
        ),
        _paper("RationalQuadratic_1", lambda x: rational_quadratic(x, 1.0), _SMOOTH),
        _paper("RationalQuadratic_10", lambda x: rational_quadratic(x, 10.0), _SMOOTH),
        _paper("RBF_0.1", lambda x: rbf(x, 0.1)),
        _paper("RBF_1", lambda x: rbf(x, 1.0), _SMOOTH),
        _paper("WhiteKernel_1", lambda x: white(x, 1.0), ("WhiteKernel_0.1",)),
        _paper("WhiteKernel_0.1", lambda x: white(x, 0.1), ("WhiteKernel_1",)),
    )
}


def grid(length: int = LENGTH) -> Grid:
    """`length` points from 0 to 1, both included."""
    if length < 2:
        raise IsonumError(f"a grid needs length >= 2, got {length}.")
    return np.linspace(0, 1, length)


def sample(covariance: Matrix, rng: np.random.Generator, n: int = 1) -> Float[np.ndarray, "n T"]:
    """n independent draws of a Gaussian vector of mean 0, through the eigenvectors of its covariance. No jitter.

    A Cholesky factor would need jitter: smooth kernels on 1024 points have numerical rank 10 or less. Eigenvalues below
    1e-12 of the largest are rounding and count as 0; so a draw's covariance is off by at most that. Raises IsonumError
    where one is below -1e-9 of the largest, since such a matrix is no covariance.
    """
    values, vectors = np.linalg.eigh(covariance)
    if not values[0] >= -1e-9 * abs(values[-1]):
        raise IsonumError(f"a covariance has eigenvalues >= 0, got {values[0]:.3g}. Check the kernel.")
    kept = values > 1e-12 * values[-1]
    return rng.standard_normal((n, int(kept.sum()))) @ (vectors[:, kept] * np.sqrt(values[kept])).T


@dataclass(frozen=True)
class Composition:
    """Kernels folded from the left by + and *, ((k1 o1 k2) o2 k3) ..., without precedence, as in KernelSynth."""

    kernels: tuple[Kernel, ...]
    operators: tuple[str, ...]

    @property
    def name(self) -> str:
        """For instance '(RBF_1 + WhiteKernel_1) * DotProduct_0'."""
        text = self.kernels[0].name
        for place, (operator, kernel) in enumerate(zip(self.operators, self.kernels[1:], strict=True)):
            text = f"{f'({text})' if place else text} {operator} {kernel.name}"
        return text

    def covariance(self, x: Grid) -> Matrix:
        """Sum or entrywise product of the kernels' covariances."""
        total = self.kernels[0].covariance(x)
        for operator, kernel in zip(self.operators, self.kernels[1:], strict=True):
            total = total + kernel.covariance(x) if operator == "+" else total * kernel.covariance(x)
        return total


def random_composition(rng: np.random.Generator, at_most: int = 5) -> Composition:
    """1 to `at_most` kernels of the bank, drawn with replacement, joined by + or * with equal probability."""
    if at_most < 1:
        raise IsonumError(f"a composition has at least one kernel, got at_most={at_most}.")
    picks = rng.integers(len(BANK), size=rng.integers(1, at_most + 1))
    operators = rng.choice(["+", "*"], size=len(picks) - 1)
    return Composition(tuple(BANK[i] for i in picks), tuple(str(o) for o in operators))


def kernel_synth(length: int, rng: np.random.Generator, at_most: int = 5) -> tuple[Composition, Float[np.ndarray, "T"]]:
    """One synthetic series as KernelSynth makes it, with the composition it was drawn from."""
    composition = random_composition(rng, at_most)
    return composition, sample(composition.covariance(grid(length)), rng)[0]
