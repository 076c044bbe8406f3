"""Gaussian processes: the ten kernels of arXiv 2505.17135, and exact draws from any covariance.

Kernels are scikit-learn's, called on times as a column: kernel(x[:, None]) is the covariance. The paper gives names and
no parameters. They are read by the conventions of KernelSynth, whose series have 1024 steps on linspace(0, 1, 1024):
Ansari et al. 2024, "Chronos", and its published generator (scripts/kernel-synth.py).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from sklearn.gaussian_process.kernels import RBF, DotProduct, ExpSineSquared, Kernel, RationalQuadratic, WhiteKernel

from isonum_core.errors import IsonumError

LENGTH = 1024  # steps of a KernelSynth series; periods are given in these

# After mean scaling each line is nearly one law: RationalQuadratic_1, RationalQuadratic_10, RBF_1; both WhiteKernels.
PAPER_KERNELS: dict[str, Kernel] = {
    "DotProduct_0": DotProduct(0.0),  # straight lines through 0: after mean scaling only two series, x and -x
    "DotProduct_1": DotProduct(1.0),
    # 0.5W is not in KernelSynth's bank, where W labels 4, 26 and 52 and 0.5 doubles a period: it may be 8, 52 or 104.
    "Seasonality_0.5W": ExpSineSquared(periodicity=52 / LENGTH),
    # The bank gives 0.25H to the periods 96 (a day) and 672 (a week).
    "Seasonality_0.25H": ExpSineSquared(periodicity=96 / LENGTH),
    "RationalQuadratic_1": RationalQuadratic(alpha=1.0),
    "RationalQuadratic_10": RationalQuadratic(alpha=10.0),
    "RBF_0.1": RBF(0.1),
    "RBF_1": RBF(1.0),
    "WhiteKernel_1": WhiteKernel(1.0),
    "WhiteKernel_0.1": WhiteKernel(0.1),
}


def sample(covariance: Float[np.ndarray, "T T"], rng: np.random.Generator, n: int = 1) -> Float[np.ndarray, "n T"]:
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
