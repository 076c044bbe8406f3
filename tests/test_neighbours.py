"""Intrinsic dimension and the published cluster-centred cosine, each against a letter-by-letter twin."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import silhouette_score
from sklearn.metrics.pairwise import cosine_similarity

from isonum_core import IsonumError
from isonum_core.errors import WeakNumberWarning
from isonum_core.geometry.neighbours import cluster_centred_cosine, mle_dimension, two_nn
from isonum_core.geometry.rows import stored_eps


def gaussian(rng, *shape):
    return torch.from_numpy(rng.normal(size=shape))


def clusters(rng, k, n, d, scale=8.0):
    centres = scale * rng.normal(size=(k, d))
    return torch.from_numpy(centres[rng.integers(0, k, size=n)] + rng.normal(size=(n, d)))


def sorted_distances(x):
    x = x.numpy()
    return np.sort(np.linalg.norm(x[:, None] - x[None], axis=2), axis=1)[:, 1:]


def twin_two_nn(x, discard=0.1):
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
    assert two_nn(x) == pytest.approx(twin_two_nn(x), rel=1e-9)
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
    moved = [
        x + 100,
        x @ turn,
        1e-5 * x,
        1e-200 * x,
        1e200 * x,
        x[torch.randperm(80)],
        torch.cat([x, torch.zeros(80, 30)], dim=1),
    ]
    for other in moved:
        assert measure(other) == pytest.approx(measure(x), rel=1e-7)


def test_near_neighbours_far_from_the_origin_keep_their_digits(rng):
    """|x|^2 + |y|^2 - 2xy has an error near 1e-16 |x|^2, here a part in 1e6 of the squared distances."""
    x = 1e-3 * gaussian(rng, 200, 30)
    assert two_nn(torch.cat([x + 1e3, x - 1e3])) == pytest.approx(two_nn(torch.cat([x, x + 1])), rel=1e-8)


def test_float32_states_agree_with_float64(rng):
    x = gaussian(rng, 200, 30)
    assert two_nn(x.float()) == pytest.approx(two_nn(x), rel=1e-4)
    # Stored a thousand spreads from zero, values keep four digits, and log ratios, near 1/30, between two and three.
    assert two_nn((x + 1e3).float()) == pytest.approx(two_nn(x), rel=1e-2)


MEASURES = [two_nn, lambda x: mle_dimension(x, 5)]
quiet = pytest.mark.filterwarnings("ignore::isonum_core.errors.WeakNumberWarning")


@pytest.mark.parametrize("measure", MEASURES)
def test_repeated_rows_count_once_and_are_counted(rng, measure):
    x = gaussian(rng, 60, 5)
    with pytest.warns(WeakNumberWarning, match="6 of 66 rows repeat another.*the 60 distinct rows"):
        assert measure(torch.cat([x, x[:3], x[:3]])) == measure(x)


@quiet
@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_any_repeats_in_any_order_leave_the_value_exactly(seed):
    g = np.random.default_rng(seed)
    n, d = int(g.integers(8, 60)), int(g.integers(1, 20))
    x = torch.from_numpy(g.normal(size=(n, d)) + g.integers(0, 100)).to(g.choice([torch.float32, torch.float64]))
    repeated = torch.cat([x, x[torch.from_numpy(g.integers(0, n, size=int(g.integers(1, 3 * n))))]])
    shuffled = repeated[torch.from_numpy(g.permutation(len(repeated)))]
    for measure in MEASURES:
        assert measure(repeated) == measure(shuffled) == measure(x)


@quiet
@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_encoding_anew_leaves_the_value_to_its_digits(seed):
    """Copies that differ by up to 8 eps of a row's length: one row, however many, linked through the one they copy."""
    g = np.random.default_rng(seed)
    n, d = int(g.integers(40, 90)), int(g.integers(2, 20))
    x = g.normal(size=(n, d)).astype(np.float32)
    copied = x[g.integers(0, n, size=3 * n)].astype(np.float64)
    noise = g.normal(size=copied.shape)
    noise *= 8 * 2.0**-23 * np.linalg.norm(copied, axis=1, keepdims=True) / np.linalg.norm(noise, axis=1, keepdims=True)
    again = np.concatenate([x, (copied + noise * g.random((len(noise), 1))).astype(np.float32)])
    again = torch.from_numpy(again[g.permutation(len(again))])
    for measure in MEASURES:
        # The copy that stands for the row is off by 1e-6 of a length, its nearest distance by somewhat more: dimensions
        # up to 20 make of it a few 1e-5 in the worst row, and a mean over rows is below.
        assert measure(again) == pytest.approx(measure(torch.from_numpy(x)), rel=1e-5)
        assert measure(again.double()) == measure(again)  # known by its values, not by its type


def test_rows_equal_up_to_the_rounding_of_their_type_are_one(rng):
    x = np.random.default_rng(4).normal(size=(500, 16)).astype("f4")
    near = torch.from_numpy(np.r_[x, np.nextafter(x[:100], np.float32(9))])
    for rows in (near, near.double()):
        with pytest.warns(WeakNumberWarning, match="100 of 600 rows repeat another, up to rounding"):
            assert two_nn(rows) == pytest.approx(14.1429, abs=1e-4)  # scikit-dimension 0.5.0 on the 500
    apart = near.double() + 1e-12 * torch.arange(600)[:, None]  # no longer values of float32: 1e-7 is a distance
    assert two_nn(apart) < 1


def test_repeats_hide_in_no_peer(rng):
    """Recorded values of the distinct rows; with the repeats scikit-dimension itself gives 16.0458 and 3.5222."""
    x = torch.from_numpy(np.random.default_rng(3).uniform(size=(1000, 10)))
    for rows, value in ((x, 8.34877), (x[:, :2], None)):
        with pytest.warns(WeakNumberWarning, match="500 of 1500 rows"):
            found = two_nn(torch.cat([rows, rows[:500]]))
        assert found == pytest.approx(value or twin_two_nn(rows), rel=1e-6)
    two_columns = torch.from_numpy(np.random.default_rng(3).uniform(size=(1000, 2)))
    with pytest.warns(WeakNumberWarning, match="500 of 1500 rows"):
        assert two_nn(torch.cat([two_columns, two_columns[:500]])) == pytest.approx(1.88971, rel=1e-5)


def test_a_chain_of_links_is_one_row(rng):
    """Each link is 4 eps, the ends are 400 eps apart; and the copies of one row need not be near each other."""
    x = gaussian(rng, 80, 6)
    chain = x[:1] * (1 + 4 * 2.0**-52 * torch.arange(100)[:, None])
    with pytest.warns(WeakNumberWarning, match="99 of 179 rows"):
        assert two_nn(torch.cat([chain, x[1:]])) == pytest.approx(two_nn(x), rel=1e-9)


def test_whole_numbers_are_exact_in_every_type(rng):
    """Rows as long as 1e7 whose neighbours are 3 apart: less than 8 eps of float32, and no rounding at all."""
    x = torch.cat([torch.full((300, 1), 1e7), torch.from_numpy(rng.normal(size=(300, 3)) * 40).round().float()], dim=1)
    assert stored_eps(x) == stored_eps(x.double()) == 2.0**-52
    assert two_nn(x) == pytest.approx(two_nn(x[:, 1:]), rel=1e-9)
    assert stored_eps(torch.full((2, 2), 0.1)) == 2.0**-23 and stored_eps(torch.full((2, 2), 0.1).double()) == 2.0**-23
    assert stored_eps(torch.full((2, 2), 0.1, dtype=torch.float64)) == 2.0**-52


def grid(side, step=0.1):
    return torch.cartesian_prod(*[torch.from_numpy(np.arange(side) * step)] * 2)


def whitened(rng, n, d):
    u = np.linalg.svd(rng.normal(size=(n, d)) * np.arange(1, d + 1), full_matrices=False)[0]
    return torch.from_numpy(u)


EQUAL = {
    "a grid": lambda rng: grid(20),
    "a grid of float32": lambda rng: grid(20).float(),
    "a grid of float32, converted": lambda rng: grid(20).float().double(),
    "a grid of whole numbers": lambda rng: grid(20, 1.0),
    "a grid, measured": lambda rng: grid(20) + 1e-6 * torch.from_numpy(rng.normal(size=(400, 2))),
    "whitened, n < d": lambda rng: whitened(rng, 50, 100),
    "whitened, n < d, float32": lambda rng: whitened(rng, 200, 768).float(),
    "whitened, n = d": lambda rng: whitened(rng, 100, 100),
    "one-hot": lambda rng: torch.eye(40),
    "quantised": lambda rng: torch.from_numpy(rng.normal(size=(500, 2)).round(1)),
}


@quiet
@pytest.mark.parametrize("kind", EQUAL)
def test_equal_distances_have_no_dimension(rng, kind):
    with pytest.raises(IsonumError, match="differ in distance, got|neighbours lie equally far.*have at most"):
        two_nn(EQUAL[kind](rng))
    if kind not in ("quantised", "a grid, measured"):
        with pytest.raises(IsonumError, match="neighbours lie equally far"):
            mle_dimension(EQUAL[kind](rng), 2)


@quiet
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("n", "d"), [(60, 400), (200, 300), (300, 300), (33, 32)])
def test_whitening_with_a_ridge_leaves_no_dimension_and_its_rows_do(rng, n, d):
    """With a ridge the distances are no longer equal: 107 to 330 came out where the rows had 12."""
    for x in (rng.normal(size=(n, d)), rng.standard_t(3, size=(n, d)), rng.normal(size=(n, d)) / np.arange(1, d + 1)):
        assert 0 < two_nn(x) < d
        value, vector = np.linalg.eigh(np.cov(x.T))
        ridged = (x - x.mean(0)) @ vector / np.sqrt(value.clip(0) + 1e-5)
        for dimension in (two_nn, lambda y: mle_dimension(y, 2)):
            with pytest.raises(IsonumError, match="neighbours lie equally far|more evenly than .* independent rows"):
                dimension(ridged)


def test_some_equal_distances_are_noted(rng):
    x = torch.from_numpy(rng.integers(0, 2, size=(300, 64)).astype(float))
    with pytest.warns(WeakNumberWarning, match=r"\d+ of 300 rows have both neighbours equally far, as quantised rows"):
        assert 10 < two_nn(x) < 64


def test_without_roundings_only_equal_rows_are_one(rng):
    """What the tables of the studies were made with: the rule of rounding came later."""
    x = gaussian(rng, 90, 4).float().double()
    near = torch.cat([x, x[:30] * (1 + 2.0**-22)])
    assert two_nn(near, roundings=0.0) == pytest.approx(twin_two_nn(near), rel=1e-9)


@quiet
def test_dimensions_refuse_what_has_none(rng):
    with pytest.raises(IsonumError, match="2 neighbours need more than 2 rows that differ, got n=2.*Give more rows"):
        two_nn(gaussian(rng, 2, 3))
    with pytest.raises(IsonumError, match="20 neighbours need more than 20 rows that differ, got n=20.*smaller k"):
        mle_dimension(gaussian(rng, 20, 3))
    with pytest.raises(IsonumError, match="k must be at least 2"):
        mle_dimension(gaussian(rng, 20, 3), k=1)
    with pytest.raises(IsonumError, match="finite, got 1 of 9 rows"):
        two_nn(torch.cat([gaussian(rng, 8, 3), torch.full((1, 3), float("nan"))]))
    for measure in (two_nn, mle_dimension):
        with pytest.raises(IsonumError, match="rows that differ, got n=1"):
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
    labels = tried[best][1] if tried[best][0] >= 0.1 else np.zeros(len(y), dtype=int)
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
    return np.mean(values), len(np.unique(labels))


CASES = {
    "one blob": lambda rng: gaussian(rng, 150, 8),
    "three clusters": lambda rng: clusters(rng, 3, 150, 8),
    "a batch of series": lambda rng: clusters(rng, 4, 120, 6).reshape(6, 20, 6),
    "a pair and one row": lambda rng: (
        torch.cat([clusters(rng, 2, 80, 4), torch.eye(4)[[0, 0, 1]].double() * 900])
        + torch.from_numpy(rng.normal(size=(83, 4)))
    ),
    "more than are sampled": lambda rng: gaussian(rng, 2300, 4),  # one cluster: 2000 drawn, then 1000 of them
}


@pytest.mark.parametrize("case", CASES)
def test_the_published_measure_equals_its_twin(rng, case):
    x = CASES[case](rng)
    got = cluster_centred_cosine(x, np.random.RandomState(5))
    value, k = twin_cluster_centred_cosine(x, 5)
    assert len(got.sizes) == k and sum(got.sizes) == min(2000, x.shape[:-1].numel())
    assert got.value == pytest.approx(value, rel=1e-9, abs=1e-12)
    assert got.expected == pytest.approx(np.mean([-1 / (m - 1) for m in got.sizes if m > 1]))
    assert ({1, 2} <= set(got.sizes)) == (case == "a pair and one row")


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
    assert got.sizes == (200,)
    y = x - x.mean(0)
    inverse = 1 / y.norm(dim=1, keepdim=True)
    link = ((inverse - inverse.mean()) * y).mean(0)
    assert got.value - got.expected == pytest.approx(float(200 * link @ link / 199), rel=1e-9)


def test_clusters_need_rows_that_differ(rng):
    with pytest.raises(IsonumError, match="k = 2..16 needs more than 16 rows, got n=16"):
        cluster_centred_cosine(gaussian(rng, 16, 3), rng)
    with pytest.raises(IsonumError, match="samples that differ, got 40 equal rows"):
        cluster_centred_cosine(torch.ones(40, 3), rng)
    with pytest.warns(ConvergenceWarning, match=r"distinct clusters \(5\) found smaller than n_clusters"):
        cluster_centred_cosine(gaussian(rng, 5, 3).repeat(8, 1), rng)
