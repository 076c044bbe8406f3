"""Measures that need the points themselves: intrinsic dimension from neighbours, and the cluster-centred cosine.

The cluster-centred cosine is here to be audited. It reports the size of the clusters, not isotropy.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from isonum_core.errors import IsonumError, WeakNumberWarning
from isonum_core.geometry.rows import accepted_rows, refuse_non_finite

# The settings of the published cluster-centred cosine.
_SAMPLE, _PER_KEY, _MOST_CLUSTERS, _THRESHOLD = 2000, 1000, 16, 0.1


def two_nn(x: Float[Tensor, "n d"], discard: float = 0.1) -> float:
    """Intrinsic dimension from the ratio of the distances to the second and the first neighbour, above 0.

    The ratios r2 / r1 follow a Pareto law whose exponent is the dimension, if density is even at that scale: the slope
    through the origin of -log(1 - i/N) on the sorted log(r2 / r1), the largest share `discard` left out. Same
    convention as scikit-dimension's default. A row whose first neighbour is at distance 0 has no ratio: it is left
    out, with a warning that counts. Biased low in high dimension. O(n^2 d) time above 15 dimensions.
    Facco et al. 2017.
    """
    if not 0 < discard < 1:
        raise IsonumError(f"discard must lie in (0, 1), got {discard}. The largest ratio has -log(1 - 1), infinite.")
    r = _distances(x, 2)
    ratio = np.sort(np.log(r[:, 1] / r[:, 0]))
    n, keep = len(ratio), int(len(ratio) * (1 - discard))
    if keep < 2 or not ratio[keep - 1] > 0:
        raise IsonumError(
            f"TwoNN needs at least 2 ratios r2/r1 and one above 1, got {keep} of which the largest is "
            f"{np.exp(ratio[:keep]).max(initial=1):.3g}. Give more rows that differ; a lattice has no such ratios."
        )
    ratio, height = ratio[:keep], -np.log1p(-np.arange(1, keep + 1) / n)
    return float(ratio @ height / (ratio @ ratio))


def mle_dimension(x: Float[Tensor, "n d"], k: int = 20) -> float:
    """Intrinsic dimension by maximum likelihood of the distances to k neighbours, above 0.

    At one row (k - 1) / sum_j log(r_k / r_j); over rows the inverses are averaged, so that it is one likelihood.
    Biased low in high dimension, where a ball of k neighbours is no longer small. Duplicates as in `two_nn`.
    Levina and Bickel 2004.
    """
    if k < 2:
        raise IsonumError(f"k must be at least 2 neighbours, got {k}.")
    r = _distances(x, k)
    inverse = float(np.log(r[:, -1:] / r).sum(1).mean() / (k - 1))
    if not inverse > 0:
        raise IsonumError(f"the likelihood needs neighbours at different distances, got all {k} equal at every row.")
    return 1 / inverse


@dataclass(frozen=True)
class ClusterCentredCosine:
    """The published measure with the facts to judge it: `value` beside `expected`, what cluster sizes alone give."""

    value: float
    expected: float  # mean over clusters of -1 / (size - 1)
    clusters: int
    silhouette: float  # 0 where no clustering passed the threshold
    sizes: tuple[int, ...]
    n: int  # rows that were clustered


def cluster_centred_cosine(
    x: Float[Tensor, "n d"] | Float[Tensor, "b t d"], rng: np.random.Generator | np.random.RandomState
) -> ClusterCentredCosine:
    """Mean cosine within k-means clusters, each about its own mean, averaged over clusters; from -1 to 1.

    At most 2000 rows drawn without replacement; k-means for k = 2..16 with random state 42; the k of the largest
    silhouette if that reaches 0.1, else one cluster; mean cosine over pairs i != j (rows of length zero count as pairs
    of cosine 0), of at most 1000 rows a key; clusters of one row skipped. Keys are row index modulo b, though rows of
    (b, t, d) are laid out series by series: a quirk of the published code, kept, which only steers the 1000.

    What it reports: centred rows of equal length have mean cosine -1 / (m - 1) whatever the spectrum, so `expected`
    is read off the cluster sizes. Exactly, with r = |x|, it is (m |Cov(1/r, x)|^2 - 1) / (m - 1): only a link between
    length and direction adds to the size.
    arXiv 2505.17135, as its published code computes it (`inter` of its utils, centred).
    """
    if x.ndim not in (2, 3):
        raise IsonumError(f"expected states of shape (n, d) or (batch, positions, d), got {tuple(x.shape)}.")
    series = x.shape[0] if x.ndim == 3 else 1
    y = _array(x.reshape(-1, x.shape[-1]))
    y = y - y.mean(0)
    keys = np.arange(len(y)) % series
    if len(y) > _SAMPLE:
        drawn = rng.choice(len(y), _SAMPLE, replace=False)
        y, keys = y[drawn], keys[drawn]
    labels, silhouette = _best_clusters(y)
    values, sizes = [], np.bincount(labels)
    for cluster in range(len(sizes)):
        if sizes[cluster] > 1:
            inside = labels == cluster
            values.append(_published_cosine(y[inside], keys[inside], rng))
    expected = float(np.mean(-1 / (sizes[sizes > 1] - 1)))
    return ClusterCentredCosine(
        float(np.mean(values)), expected, len(sizes), silhouette, tuple(int(size) for size in sizes), len(y)
    )


def _best_clusters(y: np.ndarray) -> tuple[np.ndarray, float]:
    """Labels of the k with the largest silhouette, and that silhouette; one cluster below the threshold."""
    if len(y) <= _MOST_CLUSTERS:
        raise IsonumError(
            f"k-means with k = 2..{_MOST_CLUSTERS} needs more than {_MOST_CLUSTERS} rows, got n={len(y)}."
        )
    best, silhouette = np.zeros(len(y), dtype=int), 0.0
    squared = _squared_distances(y)
    distances = np.sqrt(squared)
    if not distances.any():
        raise IsonumError(f"clusters need samples that differ, got {len(y)} equal rows.")
    merged = []
    for k in range(2, _MOST_CLUSTERS + 1):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # reported below, with what it means
            labels = KMeans(n_clusters=k, init=y[_starts(squared, k)], n_init=1).fit_predict(y)
        if len(np.unique(labels)) < k:
            merged.append(k)
        score = _silhouette(distances, labels)
        if score >= _THRESHOLD and score > silhouette:
            best, silhouette = labels, score
    if merged:
        warnings.warn(
            f"fewer than {merged[0]} distinct rows: k-means found fewer clusters than asked from k={merged[0]} on. "
            "Duplicated rows make clusters of equal points, whose cosines are rounding.",
            WeakNumberWarning,
            stacklevel=3,
        )
    return np.unique(best, return_inverse=True)[1], silhouette


def _squared_distances(y: np.ndarray) -> np.ndarray:
    lengths = (y * y).sum(1)
    squared = lengths[:, None] + lengths - 2 * (y @ y.T)
    np.fill_diagonal(squared, 0)
    return np.maximum(squared, 0)


def _starts(squared: np.ndarray, k: int) -> list[int]:
    """The rows that greedy k-means++ with random state 42 starts from: scikit-learn's draws, from distances at hand.

    Each next row is the best of 2 + log k drawn with probability proportional to the squared distance to the starts.
    """
    random, n = np.random.RandomState(42), len(squared)
    chosen = [int(random.choice(n, p=np.full(n, 1 / n)))]
    nearest = squared[chosen[0]]
    for _ in range(1, k):
        reach = np.cumsum(nearest, dtype=np.float64)
        drawn = np.searchsorted(reach, random.uniform(size=2 + int(np.log(k))) * float(nearest.sum(dtype=np.float64)))
        trials = np.minimum(nearest, squared[np.minimum(drawn, n - 1)])
        best = trials.sum(1, dtype=np.float64).argmin()
        chosen.append(int(min(drawn[best], n - 1)))
        nearest = trials[best]
    return chosen


def _silhouette(distances: np.ndarray, labels: np.ndarray) -> float:
    """Mean of (b - a) / max(a, b), from distances that are taken once for all k."""
    member = np.eye(labels.max() + 1, dtype=distances.dtype)[labels]
    sizes, rows = member.sum(0), np.arange(len(labels))
    totals = distances @ member
    own = totals[rows, labels] / np.maximum(sizes[labels] - 1, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        others = np.where(sizes > 0, totals / sizes, np.inf)
    others[rows, labels] = np.inf
    nearest = others.min(1)
    widest = np.maximum(own, nearest)
    alone = (sizes[labels] == 1) | (widest == 0)
    return float(np.where(alone, 0, (nearest - own) / np.where(alone, 1, widest)).mean())


def _published_cosine(y: np.ndarray, keys: np.ndarray, rng: np.random.Generator | np.random.RandomState) -> float:
    y = y - y.mean(0)
    parts = []
    for key in np.unique(keys):  # every key draws, even all of its rows, so that one seed gives the published draw
        group = y[keys == key]
        parts.append(group[rng.choice(len(group), min(_PER_KEY, len(group)), replace=False)])
    y = np.concatenate(parts)
    length = np.linalg.norm(y, axis=1, keepdims=True)
    total = (y / np.where(length == 0, 1, length)).sum(0)
    n = len(y)
    return float((total @ total - n) / (n * (n - 1)))


def _array(x: Tensor) -> np.ndarray:
    x = accepted_rows(x)[0]
    refuse_non_finite(x)
    return x.detach().cpu().numpy()


def _distances(x: Tensor, k: int) -> np.ndarray:
    """Distances to the k nearest other rows, nearest first, without rows that repeat another."""
    y = _array(x).astype(np.float64)
    if len(y) <= k:
        raise IsonumError(f"{k} neighbours need more than {k} rows, got n={len(y)}. Give more rows, or a smaller k.")
    y = y - y.mean(0)
    # Searched with |x|^2 + |y|^2 - 2xy, which cancels for near neighbours: a few spare ones, measured again exactly.
    spare = min(k + 2, len(y) - 1)
    found = NearestNeighbors(n_neighbors=spare).fit(y).kneighbors(return_distance=False)
    r = np.stack([np.linalg.norm(y - y[found[:, j]], axis=1) for j in range(spare)], axis=1)
    r = np.sort(r, axis=1)[:, :k]
    twins = r[:, 0] == 0
    if twins.all():
        raise IsonumError(f"neighbours need rows that differ, got {len(y)} rows that all repeat another.")
    if twins.any():
        warnings.warn(
            f"{twins.sum()} of {len(y)} rows repeat another row and have no distance ratio: left out. "
            "Give each distinct row once, with x.unique(dim=0).",
            WeakNumberWarning,
            stacklevel=3,
        )
    return r[~twins]
