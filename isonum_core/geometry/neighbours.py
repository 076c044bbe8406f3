"""Measures that need the points themselves: intrinsic dimension from neighbours, and the cluster-centred cosine.

The cluster-centred cosine is here to be audited. It reports the size of the clusters, not isotropy.
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.cluster import KMeans
from sklearn.metrics import pairwise_distances, silhouette_score
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from isonum_core.errors import IsonumError, WeakNumberWarning
from isonum_core.geometry.rows import Rows, plain_rows, stored_eps

# Rows nearer than this many eps of their length are one: eight roundings, and the half that storing them adds.
ROUNDINGS = 8.5
# The share of ratios that TwoNN leaves out, the largest: there density is no longer even, and the last has no height.
DISCARD = 0.1
# The settings of the published cluster-centred cosine.
_SAMPLE, _PER_KEY, _MOST_CLUSTERS, _THRESHOLD = 2000, 1000, 16, 0.1


def two_nn(x: Rows, roundings: float = ROUNDINGS) -> float:
    """Intrinsic dimension from the ratio of the distances to the second and the first neighbour, above 0.

    The ratios r2 / r1 follow a Pareto law whose exponent is the dimension, if density is even at that scale: the slope
    through the origin of -log(1 - i/N) on the sorted log(r2 / r1), the largest tenth left out. Same convention as
    scikit-dimension's default, but on distinct rows: rows that repeat another, up to `roundings` eps of their length
    (float32's where all values are float32 values), count once, with a warning that counts them. Biased low in high
    dimension. O(n^2 d) time above 15 dimensions. Raises IsonumError where distances are equal: on a grid, after
    whitening with n <= d, with or without a ridge. Facco et al. 2017.

    >>> cloud = torch.randn(500, 3, generator=torch.Generator().manual_seed(0))
    >>> round(two_nn(cloud), 1)
    2.7
    >>> round(two_nn(cloud @ torch.ones(3, 50)), 1)  # fifty columns, one dimension
    1.1
    >>> with warnings.catch_warnings(record=True) as notes:
    ...     warnings.simplefilter("always")
    ...     two_nn(torch.cat([cloud, cloud[:400]])) == two_nn(cloud), str(notes[0].message)[:31]
    (True, '400 of 900 rows repeat another,')
    """
    y, eps = _distinct(x, roundings)
    r = _distances(y, 2)
    ratio = np.log(r[:, 1] / r[:, 0])
    n, keep = len(ratio), int(len(ratio) * (1 - DISCARD))
    # Storing moved each row by up to half an eps of its length, so each distance by up to one.
    ties = int((ratio <= min(roundings, 2.0) * eps * np.linalg.norm(y, axis=1) / r[:, 0]).sum())
    if 2 * ties > n:
        raise IsonumError(
            f"TwoNN needs rows whose two nearest neighbours differ in distance, got {ties} of {n} where they do not. "
            "A grid, whitened or quantised rows have no dimension to read: give rows as they were before."
        )
    if 20 * ties > n:
        warnings.warn(
            f"{ties} of {n} rows have both neighbours equally far, as quantised rows have: their ratios are unknown.",
            WeakNumberWarning,
            stacklevel=2,
        )
    ratio, height = np.sort(ratio)[:keep], -np.log1p(-np.arange(1, keep + 1) / n)
    return _possible(float(ratio @ height / (ratio @ ratio)), y)


def mle_dimension(x: Rows, k: int = 20) -> float:
    """Intrinsic dimension by maximum likelihood of the distances to k neighbours, above 0.

    At one row (k - 1) / sum_j log(r_k / r_j); over rows the inverses are averaged, so that it is one likelihood.
    Biased low in high dimension, where a ball of k neighbours is no longer small. Repeated rows and equal distances as
    in `two_nn`. Levina and Bickel 2004.

    >>> cloud = torch.randn(500, 3, generator=torch.Generator().manual_seed(0))
    >>> round(mle_dimension(cloud), 1), round(mle_dimension(cloud, k=5), 1)
    (3.1, 3.0)
    """
    if k < 2:
        raise IsonumError(f"k must be at least 2 neighbours, got {k}. Ask for more.")
    y, _ = _distinct(x, ROUNDINGS)
    r = _distances(y, k)
    inverse = float(np.sort(np.log(r[:, -1:] / r).sum(1)).mean() / (k - 1))  # sorted: in any order the same sum
    return _possible(1 / max(inverse, np.finfo(float).tiny), y)


def _possible(dimension: float, y: np.ndarray) -> float:
    """The estimate, or IsonumError where no n rows in d columns have it by ten standard errors, or were whitened."""
    n, d = y.shape
    most = min(n - 1, d)
    if dimension > most * (1 + 10 / n**0.5):
        raise IsonumError(
            f"neighbours lie equally far, up to a share of {1 / dimension:.0e}: a dimension of {dimension:.3g}, where "
            f"{n} rows in {d} columns have at most {most}. A grid, or rows whitened with n <= d, have no dimension to "
            "read: give rows as they were before."
        )
    if n - 1 <= d:  # of independent rows 1/PR is 1/(n - 1) more than that of their law, which is 1/d or more
        gram = (y - y.mean(0)) @ (y - y.mean(0)).T
        if d * ((gram**2).sum() / gram.trace() ** 2 - 1 / (n - 1)) < 0.5 - 6 / n:
            raise IsonumError(
                f"the variance of {n} rows in {d} columns is spread more evenly than that of independent rows, as it "
                f"is after whitening with n <= d: {dimension:.3g} says nothing of the rows as they were. Give those."
            )
    return dimension


class ClusterCentredCosine(NamedTuple):
    """The published measure with the facts to judge it: `value` beside `expected`, what cluster sizes alone give."""

    value: float
    expected: float  # mean over clusters of -1 / (size - 1)
    sizes: tuple[int, ...]


def cluster_centred_cosine(
    x: Rows | Float[Tensor, "b t d"] | Float[np.ndarray, "b t d"], rng: np.random.Generator | np.random.RandomState
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

    >>> even = torch.randn(200, 32, generator=torch.Generator().manual_seed(0))
    >>> one = torch.cat([even, -even])  # 400 rows: -1/399 is expected
    >>> found = cluster_centred_cosine(one, np.random.default_rng(0))
    >>> round(found.value, 4), round(found.expected, 4), found.sizes
    (-0.0025, -0.0025, (400,))
    >>> two = torch.cat([one, one + 99])  # two isotropic clusters of 400
    >>> round(cluster_centred_cosine(two, np.random.default_rng(0)).value, 4)
    -0.0025
    >>> lines = torch.cat([one * torch.eye(32)[0], one * torch.eye(32)[0] + 99])  # two lines: it cannot tell
    >>> round(cluster_centred_cosine(lines, np.random.default_rng(0)).value, 4)
    -0.0025
    """
    if x.ndim not in (2, 3):
        raise IsonumError(f"expected states of shape (n, d) or (batch, positions, d), got {tuple(x.shape)}. Reshape.")
    series = x.shape[0] if x.ndim == 3 else 1
    y = plain_rows(x.reshape(-1, x.shape[-1])).numpy()
    y = y - y.mean(0)
    keys = np.arange(len(y)) % series
    if len(y) > _SAMPLE:
        drawn = rng.choice(len(y), _SAMPLE, replace=False)
        y, keys = y[drawn], keys[drawn]
    labels = _best_clusters(y)
    sizes = np.bincount(labels)
    values = [_published_cosine(y[labels == c], keys[labels == c], rng) for c in np.flatnonzero(sizes > 1)]
    expected = float(np.mean(-1 / (sizes[sizes > 1] - 1)))
    return ClusterCentredCosine(float(np.mean(values)), expected, tuple(sizes.tolist()))


def _best_clusters(y: np.ndarray) -> np.ndarray:
    """Labels of the k with the largest silhouette; one cluster where none reaches the threshold."""
    if len(y) <= _MOST_CLUSTERS:
        raise IsonumError(
            f"k-means with k = 2..{_MOST_CLUSTERS} needs more than {_MOST_CLUSTERS} rows, got n={len(y)}. Give more."
        )
    distances = pairwise_distances(y)  # once for every k
    if not distances.any():
        raise IsonumError(f"clusters need samples that differ, got {len(y)} equal rows. Check for padding.")
    tried = [KMeans(n_clusters=k, random_state=42).fit_predict(y) for k in range(2, _MOST_CLUSTERS + 1)]
    scores = [silhouette_score(distances, labels, metric="precomputed") for labels in tried]
    best = tried[np.argmax(scores)] if max(scores) >= _THRESHOLD else np.zeros(len(y), dtype=int)
    return np.unique(best, return_inverse=True)[1]


def _published_cosine(y: np.ndarray, keys: np.ndarray, rng: np.random.Generator | np.random.RandomState) -> float:
    y = y - y.mean(0)
    # Every key draws, even all of its rows, so that one seed gives the published draw.
    groups = (y[keys == key] for key in np.unique(keys))
    y = np.concatenate([group[rng.choice(len(group), min(_PER_KEY, len(group)), replace=False)] for group in groups])
    length = np.linalg.norm(y, axis=1, keepdims=True)
    total = (y / np.where(length == 0, 1, length)).sum(0)
    n = len(y)
    return float((total @ total - n) / (n * (n - 1)))


def _distinct(x: Rows, roundings: float) -> tuple[np.ndarray, float]:
    """The first of all rows that are one, in float64, and eps of the type they were stored in; warns of the others."""
    rows = plain_rows(x)
    eps, y, n = stored_eps(rows), rows.double().numpy(), len(rows)
    # In units of a power of two, which is exact, no square leaves float64; + 0 as -0 has bits of its own.
    y = y * 2.0 ** -max(np.frexp(np.abs(y).max())[1], -1000) + 0.0
    bits = np.ascontiguousarray(y).view(f"V{y.shape[1] * y.itemsize}").ravel()
    first = np.sort(np.unique(bits, return_index=True)[1])
    y = y if len(first) == n else y[first]  # most often none repeats, and a copy costs as much as the search
    first = _first_of_each_chain(y, roundings * eps)
    y = y if len(first) == len(y) else y[first]
    if len(y) < n:
        warnings.warn(
            f"{n - len(y)} of {n} rows repeat another, up to rounding ({roundings * eps:.0e} of their length): the "
            f"{len(y)} distinct rows are measured, each once.",
            WeakNumberWarning,
            stacklevel=3,
        )
    return y, eps


def _first_of_each_chain(y: np.ndarray, share: float) -> np.ndarray:
    """Indices of the first row of every set that is linked by distances within this share of a length, link by link."""
    n, d = y.shape
    # Rows within reach of each other are so along any line too: only rows that are near in that order are measured.
    line = np.random.default_rng(0).normal(size=d)
    along = y @ (line / np.linalg.norm(line))
    order = np.argsort(along)
    length = np.linalg.norm(y, axis=1)
    window = (share + 2 * d * np.finfo(float).eps) * length[order]  # and the rounding of `along`
    along = along[order]
    ends = [(order[:0], order[:0])]
    for step in range(1, n):
        near = np.flatnonzero(along[step:] - along[:-step] <= np.maximum(window[step:], window[:-step]))
        if not len(near):
            break
        i, j = order[near], order[near + step]
        linked = np.linalg.norm(y[i] - y[j], axis=1) <= share * np.maximum(length[i], length[j])
        ends.append((i[linked], j[linked]))
    i, j = map(np.concatenate, zip(*ends, strict=True))
    chain = connected_components(coo_array((np.ones(len(i)), (i, j)), shape=(n, n)), directed=False)[1]
    return np.sort(np.unique(chain, return_index=True)[1])


def _distances(y: np.ndarray, k: int) -> np.ndarray:
    """Distances to the k nearest other rows, nearest first."""
    if len(y) <= k:
        raise IsonumError(
            f"{k} neighbours need more than {k} rows that differ, got n={len(y)}. Give more rows, or a smaller k."
        )
    # Searched with |x|^2 + |y|^2 - 2xy, which cancels for near neighbours: a few spare ones, measured again exactly.
    spare = min(k + 2, len(y) - 1)
    found = NearestNeighbors(n_neighbors=spare).fit(y - y.mean(0)).kneighbors(return_distance=False)
    r = np.stack([np.linalg.norm(y - y[found[:, j]], axis=1) for j in range(spare)], axis=1)
    return np.sort(r, axis=1)[:, :k]
