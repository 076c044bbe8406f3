"""Intrinsic dimension and the published cluster-centred cosine, each against a letter-by-letter twin."""

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans, kmeans_plusplus
from sklearn.metrics import silhouette_score
from sklearn.metrics.pairwise import cosine_similarity

from isonum_core import IsonumError
from isonum_core.errors import WeakNumberWarning
from isonum_core.geometry.neighbours import (
    _squared_distances,
    _starts,
    cluster_centred_cosine,
    mle_dimension,
    two_nn,
)


def gaussian(rng, *shape):
    return torch.from_numpy(rng.normal(size=shape))


def clusters(rng, k, n, d, scale=8.0):
    centres = scale * rng.normal(size=(k, d))
    return torch.from_numpy(centres[rng.integers(0, k, size=n)] + rng.normal(size=(n, d)))


def sorted_distances(x):
    x = x.numpy()
    return np.sort(np.linalg.norm(x[:, None] - x[None], axis=2), axis=1)[:, 1:]


def twin_two_nn(x, discard):
    """Facco et al. 2017, steps 1 to 6: ratios, their empirical law, a line through the origin."""
    r = sorted_distances(x)
    mu = sorted(r[:, 1] / r[:, 0])
    n = len(mu)
    points = [(np.log(mu[i]), -np.log(1 - (i + 1) / n)) for i in range(int(n * (1 - discard)))]
    return sum(a * b for a, b in points) / sum(a * a for a, _ in points)


def twin_mle(x, k):
    """Levina and Bickel 2004, equation 8, whose inverses are averaged over the rows."""
    r = sorted_distances(x)
    return 1 / np.mean([np.mean([np.log(row[k - 1] / row[j]) for j in range(k - 1)]) for row in r])


@pytest.mark.parametrize("n, d", [(60, 3), (40, 20), (15, 40)])
def test_dimensions_equal_their_twins(rng, n, d):
    x = gaussian(rng, n, d)
    assert two_nn(x) == pytest.approx(twin_two_nn(x, 0.1), rel=1e-9)
    assert two_nn(x, discard=0.3) == pytest.approx(twin_two_nn(x, 0.3), rel=1e-9)
    assert mle_dimension(x, 10) == pytest.approx(twin_mle(x, 10), rel=1e-9)


@pytest.mark.parametrize("dimension", [2, 5])
def test_a_flat_sheet_shows_its_own_dimension(rng, dimension):
    x = torch.from_numpy(rng.random(size=(2000, dimension)) @ np.linalg.qr(rng.normal(size=(40, dimension)))[0].T)
    # 2000 exponential ratios: 1/sqrt(2000) = 2 % standard error, and faces of the cube bias it low
    assert two_nn(x) == pytest.approx(dimension, rel=0.1)
    assert mle_dimension(x) == pytest.approx(dimension, rel=0.15)


@pytest.mark.parametrize("measure", [two_nn, mle_dimension])
def test_dimensions_ignore_shift_rotation_scale_order_and_empty_columns(rng, measure):
    x = gaussian(rng, 80, 6) * torch.arange(1, 7)
    turn = torch.from_numpy(np.linalg.qr(rng.normal(size=(6, 6)))[0])
    moved = [x + 100, x @ turn, 1e-5 * x, x[torch.randperm(80)], torch.cat([x, torch.zeros(80, 30)], dim=1)]
    for other in moved:
        assert measure(other) == pytest.approx(measure(x), rel=1e-7)


def test_near_neighbours_far_from_the_origin_keep_their_digits(rng):
    """|x|^2 + |y|^2 - 2xy has an error near 1e-16 |x|^2, here a part in 1e6 of the squared distances."""
    x = 1e-3 * gaussian(rng, 200, 30)
    assert two_nn(torch.cat([x + 1e3, x - 1e3])) == pytest.approx(two_nn(torch.cat([x, x + 1])), rel=1e-8)


def test_float32_states_agree_with_float64(rng):
    x = gaussian(rng, 200, 30)
    assert two_nn(x.float()) == pytest.approx(two_nn(x), rel=1e-4)


@pytest.mark.parametrize("measure", [two_nn, lambda x: mle_dimension(x, 5)])
def test_repeated_rows_are_left_out_and_counted(rng, measure):
    x = gaussian(rng, 60, 5)
    with pytest.warns(WeakNumberWarning, match=r"6 of 63 rows repeat another row.*x\.unique"):
        assert measure(torch.cat([x, x[:3]])) == pytest.approx(measure(x), rel=0.3)


def test_dimensions_refuse_what_has_none(rng):
    with pytest.raises(IsonumError, match="2 neighbours need more than 2 rows, got n=2.*Give more rows"):
        two_nn(gaussian(rng, 2, 3))
    with pytest.raises(IsonumError, match="20 neighbours need more than 20 rows, got n=20.*smaller k"):
        mle_dimension(gaussian(rng, 20, 3))
    with pytest.raises(IsonumError, match="k must be at least 2"):
        mle_dimension(gaussian(rng, 20, 3), k=1)
    with pytest.raises(IsonumError, match=r"discard must lie in \(0, 1\)"):
        two_nn(gaussian(rng, 20, 3), discard=0.0)
    with pytest.raises(IsonumError, match="finite, got 1 of 9 rows"):
        two_nn(torch.cat([gaussian(rng, 8, 3), torch.full((1, 3), float("nan"))]))
    lattice = torch.cartesian_prod(torch.arange(4.0), torch.arange(4.0))
    with pytest.raises(IsonumError, match="one above 1.*a lattice has no such ratios"):
        two_nn(lattice)
    with pytest.raises(IsonumError, match="different distances, got all 2 equal"):
        mle_dimension(lattice, k=2)
    for measure in (two_nn, mle_dimension):
        with pytest.raises(IsonumError, match="rows that differ, got 30 rows that all repeat"):
            measure(torch.ones(30, 3))


def twin_cluster_centred_cosine(x, seed):
    """The published steps with scikit-learn's own silhouette and the full matrix of cosines."""
    random = np.random.RandomState(seed)
    keys = np.zeros(len(x)) if x.ndim == 2 else np.tile(np.arange(x.shape[0]), x.shape[1])
    y = x.reshape(-1, x.shape[-1]).numpy()
    y = y - y.mean(0)
    if len(y) > 2000:
        drawn = random.choice(len(y), 2000, replace=False)
        y, keys = y[drawn], keys[drawn]
    tried = {}
    for k in range(2, 17):
        labels = KMeans(n_clusters=k, random_state=42).fit_predict(y)
        tried[k] = (silhouette_score(y, labels), labels)
    best = max(tried, key=lambda k: tried[k][0])
    silhouette, labels = tried[best] if tried[best][0] >= 0.1 else (0.0, np.zeros(len(y), dtype=int))
    values = []
    for label in np.unique(labels):
        group, key = y[labels == label], keys[labels == label]
        group = group - group.mean(0)
        drawn = []
        for one in np.unique(key):
            rows = group[key == one]
            drawn.append(rows[random.choice(len(rows), min(1000, len(rows)), replace=False)])
        group = np.vstack(drawn)
        if len(group) > 1:
            cosines = cosine_similarity(group)
            values.append((cosines.sum() - len(group)) / (len(group) * (len(group) - 1)))
    return np.mean(values), len(np.unique(labels)), silhouette


CASES = {
    "one blob": lambda rng: gaussian(rng, 150, 8),
    "three clusters": lambda rng: clusters(rng, 3, 150, 8),
    "a batch of series": lambda rng: clusters(rng, 4, 120, 6).reshape(6, 20, 6),
    "more than are sampled": lambda rng: gaussian(rng, 2300, 4),  # one cluster: 2000 drawn, then 1000 of them
}


@pytest.mark.parametrize("case", CASES)
def test_the_published_measure_equals_its_twin(rng, case):
    x = CASES[case](rng)
    got = cluster_centred_cosine(x, np.random.RandomState(5))
    value, k, silhouette = twin_cluster_centred_cosine(x, 5)
    assert got.clusters == k == len(got.sizes)
    assert got.value == pytest.approx(value, rel=1e-9, abs=1e-12)
    assert got.silhouette == pytest.approx(silhouette, rel=1e-6)
    assert got.n == sum(got.sizes) == min(2000, x.shape[:-1].numel())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_starts_are_those_of_scikit_learn(rng, dtype):
    """Taken from distances at hand, not measured again; a scikit-learn that draws otherwise shows here."""
    y = clusters(rng, 5, 200, 6).to(dtype).numpy()
    for k in (2, 7, 16):
        assert _starts(_squared_distances(y), k) == kmeans_plusplus(y, k, random_state=42)[1].tolist()


def test_it_reports_cluster_size_whatever_the_spectrum(rng):
    """Isotropic, decaying and one-dimensional clusters of one size: one answer, exactly where each is symmetric."""
    centres = torch.tensor([[60.0, 0], [0, 60], [-60, 0], [0, -60]]).double()
    where = torch.cat([centres.repeat(30, 1), torch.zeros(120, 14)], dim=1)
    for spectrum in (torch.ones(16), torch.arange(1, 17) ** -1.0, torch.eye(16)[0]):
        half = gaussian(rng, 60, 16) * spectrum.sqrt()
        got = cluster_centred_cosine(where + torch.cat([half, -half]), np.random.default_rng(0))
        assert got.sizes == (30, 30, 30, 30)
        assert got.value == pytest.approx(-1 / 29, rel=1e-9)
        assert got.expected == pytest.approx(-1 / 29)


def test_what_is_not_size_is_the_link_of_length_and_direction(rng):
    x = gaussian(rng, 200, 20)
    x = torch.where(x[:, :1] > 0, 1.5 * x, x)  # one side of the cloud is longer
    got = cluster_centred_cosine(x, np.random.default_rng(0))
    assert got.clusters == 1
    y = x - x.mean(0)
    inverse = 1 / y.norm(dim=1, keepdim=True)
    link = ((inverse - inverse.mean()) * y).mean(0)
    assert got.value - got.expected == pytest.approx(float(200 * link @ link / 199), rel=1e-9)


def test_clusters_need_rows_that_differ(rng):
    with pytest.raises(IsonumError, match="k = 2..16 needs more than 16 rows, got n=16"):
        cluster_centred_cosine(gaussian(rng, 16, 3), rng)
    with pytest.raises(IsonumError, match="samples that differ, got 40 equal rows"):
        cluster_centred_cosine(torch.ones(40, 3), rng)
    with pytest.warns(WeakNumberWarning, match="fewer than 6 distinct rows.*from k=6 on"):
        cluster_centred_cosine(gaussian(rng, 5, 3).repeat(8, 1), rng)
