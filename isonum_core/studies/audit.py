"""What published code computes beside what was meant: pairs of formulas, in our own words, for the audit chapter.

Nothing else of the package calls these. A function named `..._as_published` keeps a slip on purpose.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

from isonum_core.errors import IsonumError

Cloud = Float[np.ndarray, "n d"]
Spectrum = Float[np.ndarray, "k"]
SEVERITIES = ("cosmetic", "changes numbers", "changes a conclusion")


def explained_dimension_as_published(x: Cloud, share: float = 0.8, components: int = 3) -> int:
    """Principal components that explain `share` of the variance, searched among the first `components` only.

    Never above components + 1: the search runs off its end. stg_trust_indicator at f2cfeb4, `plot_attention_pca`.
    """
    y = np.linalg.svd(x - x.mean(0), compute_uv=False) ** 2
    return int(np.searchsorted(np.cumsum(y / y.sum())[:components], share) + 1)


def partition_score(x: Cloud) -> float:
    """min F / max F over the eigenvectors c of X'X, F(c) = sum_i exp <c, x_i>, above 0 and at most 1.

    Signs as LAPACK returns them, which the definition leaves open. Mu and Viswanath 2018.
    """
    f = np.exp(x @ np.linalg.eigh(x.T @ x)[1]).sum(0)
    return float(f.min() / f.max())


def partition_score_as_published(x: Cloud) -> float:
    """The same walk over the *rows* of the eigenvector matrix, with the elementwise product inside the exponential.

    No inner product is taken, so the sum runs over coordinates too. p_eickhoff_isoscore at 1edad0b, existing_scores.
    """
    f = [np.exp(c * x).sum() for c in np.linalg.eig(x.T @ x)[1]]
    return float((min(f, key=np.real) / max(f, key=np.real)).real)


def iso_score_steps(spectrum: Spectrum, root: type[np.floating] = np.float64) -> float:
    """IsoScore of a spectrum by its seven steps, the square root of d taken in the precision `root`.

    The package 2.0.1 takes it of an integer tensor, so in float32, and the steps cancel. Rudman et al. 2022.
    """
    d = len(spectrum)
    sqrt = float(np.sqrt(root(d)))
    unit = spectrum * sqrt / np.linalg.norm(spectrum)
    defect = np.linalg.norm(unit - 1) / math.sqrt(2 * (d - sqrt))
    return float(((d - defect**2 * (d - sqrt)) ** 2 - d) / (d * (d - 1)))


def cosine_regulariser(x: Cloud) -> float:
    """Sum of the cosines of all pairs i != j over n^2: CosReg as published, (n - 1) / n times the mean cosine."""
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    return float((np.square(unit.sum(0)).sum() - len(x)) / len(x) ** 2)


def power_law_decay(singular: Spectrum) -> float:
    """alpha of lambda_j ~ j^-alpha: minus the slope of log sigma_j^2 on log j, by least squares over all j."""
    return -float(np.polyfit(np.log(np.arange(1, len(singular) + 1)), 2 * np.log(singular), 1)[0])


def power_law_decay_as_published(singular: Spectrum) -> float:
    """Slope of log sigma_j on a line from 1 to 0: the rate of an exponential over the whole range, no power of j.

    google-research at 0d140c5, graph_embedding/metrics, `alpha_req`.
    """
    return float(np.polyfit(np.linspace(1, 0, len(singular)), np.log(singular), 1)[0])


def matrix_entropy(gram: Float[np.ndarray, "m m"], order: float = 1.0, clamp: bool = False) -> float:
    """Rényi entropy, in nats, of the eigenvalues of a Gram matrix divided by its trace.

    `clamp` first sets negative entries to 0, as information_flow at 703d566 does: the result may have negative
    eigenvalues, which are then dropped, and it depends on the basis. Skean et al. 2025.
    """
    k = np.maximum(gram, 0) if clamp else gram
    p = np.linalg.eigvalsh(k)
    p = p[p > 1e-12 * p.max()]
    p = p / p.sum()
    return float(-(p * np.log(p)).sum() if order == 1 else np.log((p**order).sum()) / (1 - order))


def matrix_entropy_shortcut(gram: Float[np.ndarray, "m m"]) -> float:
    """Entropy of order 2 from the Frobenius norm over m^2: right if the diagonal is 1, off by 2 log m if the trace is.

    repitl, `frobeniusGIP`.
    """
    return float(-np.log(np.square(gram).sum() / len(gram) ** 2))


def rank_me(x: Cloud) -> float:
    """exp of the entropy of the singular values of X, not centred. Garrido et al. 2023."""
    return _exp_entropy(np.linalg.svd(x, compute_uv=False))


def rank_me_as_published(x: Cloud) -> float:
    """The same of the *eigenvalues of the covariance*: centred and squared. reptrix 0.1.0, `get_rankme`."""
    return _exp_entropy(np.linalg.svd(x - x.mean(0), compute_uv=False) ** 2)


def two_nn_dropping(x: Cloud, discard: float = 0.1) -> float:
    """TwoNN where a row with a twin is left out, and the twin with it, while both stay neighbours of the others.

    A row whose two nearest are twins has ratio 1, which pulls the estimate up. scikit-dimension 0.5.0, `TwoNN`.
    """
    r = np.sort(np.linalg.norm(x[:, None] - x[None], axis=2), axis=1)[:, 1:3]
    r = r[r[:, 0] > 0]
    ratio = np.sort(np.log(r[:, 1] / r[:, 0]))
    keep = int(len(ratio) * (1 - discard))
    if keep < 2:
        raise IsonumError(f"two or more rows without a twin were expected, got {len(ratio)}. Give each row once.")
    height = -np.log1p(-np.arange(1, keep + 1) / len(ratio))
    return float(ratio[:keep] @ height / (ratio[:keep] @ ratio[:keep]))


def _exp_entropy(weights: Spectrum) -> float:
    p = weights[weights > 0] / weights.sum()
    return float(np.exp(-(p * np.log(p)).sum()))
