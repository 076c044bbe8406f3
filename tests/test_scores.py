"""Every score against a slow twin in the paper's letters, and against the relations that its row in SCORES promises."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from isonum_core import Moments
from isonum_core.geometry import scores
from isonum_core.geometry.scores import SCORES

SHAPES = [(12, 30), (31, 30), (80, 9)]  # fewer rows than dimensions, about as many, more


def cloud(rng, n, d):
    """Correlated, off centre, and skewed: nothing about it is symmetric."""
    x = rng.normal(size=(n, d)) + 0.3 * rng.exponential(size=(n, d))
    return torch.from_numpy(x @ rng.normal(size=(d, d)) + rng.normal(size=d))


def rotation(rng, d):
    return torch.from_numpy(np.linalg.qr(rng.normal(size=(d, d)))[0])


def value(name, x):
    return float(SCORES[name].function(Moments.of(x)))


# Twins. Each follows its source step by step and shares nothing with the core.


def twin_iso_score_of_covariance(sigma):
    """Rudman et al. 2022, Algorithm 1, from step 3 on, in its letters; n is the dimension there."""
    n = len(sigma)
    sigma_d = np.linalg.svd(sigma, compute_uv=False)  # step 3: diagonal of the covariance after PCA
    sigma_hat = math.sqrt(n) * sigma_d / np.linalg.norm(sigma_d)  # step 4: normalised diagonal
    delta = np.linalg.norm(sigma_hat - np.ones(n)) / math.sqrt(2 * (n - math.sqrt(n)))  # step 5: isotropy defect
    phi = (n - delta**2 * (n - math.sqrt(n))) ** 2 / n**2  # step 6: fraction of dimensions used
    return (n * phi - 1) / (n - 1)  # step 7


def twin_iso_score(x):
    x = x - x.mean(0)
    _, vectors = np.linalg.eigh(np.cov(x.T))
    x_pca = x @ vectors  # steps 1 and 2: the points in their principal axes, and their covariance
    return twin_iso_score_of_covariance(np.cov(x_pca.T))


def twin_iso_score_star(x, zeta, c0):
    """I-STAR: shrink the sample covariance towards C0, then the same defect."""
    return twin_iso_score_of_covariance((1 - zeta) * np.cov(x.T) + zeta * c0)


def twin_effective_rank(x):
    sigma = np.linalg.eigvalsh(np.cov(x.T))
    p = sigma / np.abs(sigma).sum()
    return math.exp(-sum(q * math.log(q) for q in p if q > 1e-15))


def twin_cosines(x):
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    return unit @ unit.T


def twin_mean_cosine(x):
    c = twin_cosines(x)
    pairs = [c[i, j] for i in range(len(x)) for j in range(len(x)) if i != j]
    return sum(pairs) / len(pairs)


def twin_explained_dimension(x):
    spectrum = np.sort(np.linalg.eigvalsh(np.cov(x.T)))[::-1]
    held = 0.0
    for k, variance in enumerate(spectrum, start=1):
        held += variance
        if held >= 0.8 * spectrum.sum():
            return k


TWINS = {
    "iso_score": twin_iso_score,
    "iso_score_star": lambda x: twin_iso_score_star(x, 0.2, np.trace(np.cov(x.T)) / x.shape[1] * np.eye(x.shape[1])),
    "participation_ratio": lambda x: (l := np.linalg.eigvalsh(np.cov(x.T))).sum() ** 2 / (l**2).sum(),
    "effective_rank": twin_effective_rank,
    "explained_dimension": twin_explained_dimension,
    "mean_cosine": twin_mean_cosine,
    "mean_share": lambda x: (m := x.mean(0) @ x.mean(0)) / (m + np.trace(np.cov(x.T))),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", TWINS)
def test_a_score_equals_its_twin(rng, name, shape):
    x = cloud(rng, *shape)
    assert value(name, x) == pytest.approx(TWINS[name](x.numpy()), rel=1e-9)


def test_every_score_has_a_twin():
    unbiased = {"iso_score_unbiased", "participation_ratio_unbiased"}  # their twin is a brute force, in test_null
    assert set(TWINS) | unbiased == set(SCORES)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("zeta", [0.0, 0.2, 0.75, 1.0])
def test_iso_score_star_equals_its_twin_for_any_prior(rng, shape, zeta):
    x = cloud(rng, *shape)
    a = cloud(rng, 100, shape[1])
    c0 = np.cov(a.numpy().T)
    m = Moments.of(x)
    for given, full in [(torch.from_numpy(c0), c0), (3.0, 3.0 * np.eye(shape[1]))]:
        got = float(scores.iso_score_star(m, zeta, given))
        assert got == pytest.approx(twin_iso_score_star(x.numpy(), zeta, full), rel=1e-9, abs=1e-12)


def test_zeta_0_is_iso_score_and_zeta_1_is_the_prior(rng):
    x, a = cloud(rng, 40, 7), Moments.of(cloud(rng, 30, 7))
    m = Moments.of(x)
    for c0 in (None, 2.0, a.covariance):
        assert float(scores.iso_score_star(m, 0.0, c0)) == pytest.approx(float(scores.iso_score(m)), rel=1e-12)
    assert float(scores.iso_score_star(m, 1.0, a.covariance)) == pytest.approx(float(scores.iso_score(a)), rel=1e-12)
    assert float(scores.iso_score_star(m, 1.0)) == pytest.approx(1)
    assert float(scores.iso_score_star(m, 1.0, 5.0)) == pytest.approx(1)


def test_the_scale_safe_prior_shrinks_the_distance_to_even(rng):
    m = Moments.of(cloud(rng, 40, 7))
    star = 1 / (float(scores.iso_score_star(m, 0.3)) * 6 + 1)
    assert star - 1 / 7 == pytest.approx(0.7**2 * (1 / float(scores.participation_ratio(m)) - 1 / 7), rel=1e-9)


def test_the_published_prior_is_gamed_by_scale_and_the_default_is_not(rng):
    x = cloud(rng, 200, 8)
    small, large = Moments.of(1e-3 * x), Moments.of(1e3 * x)
    assert float(scores.iso_score_star(small, 0.2, 1.0)) > 0.99
    assert float(scores.iso_score_star(large, 0.2, 1.0)) == pytest.approx(float(scores.iso_score(large)), abs=1e-3)
    assert float(scores.iso_score_star(small, 0.2)) == pytest.approx(float(scores.iso_score_star(large, 0.2)), rel=1e-9)


RELATIONS = {
    "shift": lambda x, rng: x + torch.from_numpy(rng.normal(size=x.shape[1])) * 5,
    "rotate": lambda x, rng: x @ rotation(rng, x.shape[1]),
    "scale": lambda x, rng: 1e-4 * x,
    "duplicate": lambda x, rng: torch.cat([x, x]),
    "pad": lambda x, rng: torch.cat([x, torch.zeros(len(x), 3, dtype=x.dtype)], dim=1),
}


# The unbiased estimates subtract nearly equal numbers when n is small, so they keep fewer digits.
DIGITS = {name: 1e-7 if "unbiased" in name else 1e-9 for name in SCORES}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", range(100))
def test_the_table_says_what_leaves_a_score_unchanged(rng, shape):
    x = cloud(rng, *shape)
    m = Moments.of(x)
    for relation, change in RELATIONS.items():
        changed = Moments.of(change(x, rng))
        for name, score in SCORES.items():
            before, after = float(score.function(m)), float(score.function(changed))
            if relation in score.unchanged_by:
                assert after == pytest.approx(before, rel=DIGITS[name], abs=1e-12), (name, relation)
            else:  # the table leaves out no invariance that holds
                assert after != pytest.approx(before, rel=1e-6, abs=1e-9), (name, relation)


def test_the_table_names_only_relations_that_are_tested():
    assert {r for s in SCORES.values() for r in s.unchanged_by} == set(RELATIONS)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", range(100))
def test_order_split_mask_and_side_do_not_matter(rng, shape):
    x = cloud(rng, *shape)
    n = len(x)
    m = Moments.of(x)
    cut = int(rng.integers(1, n))
    noise = torch.from_numpy(rng.normal(size=(4, x.shape[1])))
    mask = torch.cat([torch.ones(n, dtype=torch.bool), torch.zeros(4, dtype=torch.bool)])
    same = {
        "permuted": Moments.of(x[torch.from_numpy(rng.permutation(n))]),
        "merged": Moments.of(x[:cut]).merge(Moments.of(x[cut:])),
        "masked": Moments.of(torch.cat([x, noise]), mask),
        "covariance side": replace(m, rows=None, dense=m.covariance * (n - 1)),
    }
    if n < x.shape[1]:
        same["gram side"] = replace(m, dense=None, rows=x - x.mean(0))
    for name, score in SCORES.items():
        want = float(score.function(m))
        for how, other in same.items():
            assert float(score.function(other)) == pytest.approx(want, rel=DIGITS[name], abs=1e-12), (name, how)


@pytest.mark.parametrize("shape", SHAPES + [(2, 5), (5, 2), (4, 4)])
@pytest.mark.parametrize("name", [k for k in SCORES if "unbiased" not in k])  # an unbiased estimate has no range
def test_a_score_stays_in_its_range(rng, name, shape):
    n, d = shape
    low, high = (eval(end, {"min": min, "n": n, "d": d}) for end in SCORES[name].range)
    for x in (
        cloud(rng, n, d),
        cloud(rng, n, 1) @ torch.ones(1, d, dtype=torch.float64),
        0.1 + torch.eye(n, d).double(),
    ):
        assert low - 1e-9 <= value(name, x) <= high + 1e-9


@pytest.mark.parametrize("name", SCORES)
def test_centred_scores_ignore_the_mean_and_the_others_do_not(rng, name):
    x = cloud(rng, 40, 6)
    moved = value(name, x + 3.0)
    assert (moved == pytest.approx(value(name, x), rel=1e-7)) == ("shift" in SCORES[name].unchanged_by)


FLAT = {
    "a line": lambda g, n, d: g.normal(size=(n, 1)) * g.normal(size=d),
    "a line far out": lambda g, n, d: 100 + g.normal(size=(n, 1)) * g.normal(size=d),
    "equal directions": lambda g, n, d: (1 + g.random(size=(n, 1))) * g.normal(size=d),
    "a cross": lambda g, n, d: np.concatenate([np.eye(d), -np.eye(d)]) @ np.linalg.qr(g.normal(size=(d, d)))[0],
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", FLAT)
@pytest.mark.parametrize("seed", range(20))
def test_no_rounding_takes_a_score_out_of_its_range(rng, kind, dtype):
    """Lines of float32 had an IsoScore of -1.6e-7. At the ends of a range the bounds hold exactly."""
    for n, d in ((40, 8), (8, 40), (300, 64)):
        x = torch.from_numpy(FLAT[kind](rng, n, d)).to(dtype)
        m = Moments.of(x)
        for name, score in SCORES.items():
            if score.range != ("-inf", "inf"):  # an unbiased estimate may leave any
                low, high = (eval(end, {"min": min, "n": m.n, "d": d}) for end in score.range)
                assert low <= float(score.function(m)) <= high, name
        assert 0 <= float(scores.iso_score_star(m, 0.2, 1.0)) <= 1
        assert 0 <= float(scores.iso_score_star(m, 0.2, torch.eye(d))) <= 1


# k equal variances in d dimensions: every spectral score is known.
@pytest.mark.parametrize("k, d", [(1, 4), (2, 4), (4, 4), (10, 10)])
def test_k_equal_variances(k, d):
    x = torch.cat([torch.eye(k, d), -torch.eye(k, d)]).double()
    m = Moments.of(x)
    assert float(scores.participation_ratio(m)) == pytest.approx(k)
    assert float(scores.iso_score(m)) == pytest.approx((k - 1) / (d - 1))
    assert float(scores.effective_rank(m)) == pytest.approx(k)
    assert scores.explained_dimension(m) == math.ceil(0.8 * k - 1e-9)


@pytest.mark.parametrize("shape", SHAPES)
def test_effective_rank_is_never_below_the_participation_ratio(rng, shape):
    x = cloud(rng, *shape)
    assert value("effective_rank", x) >= value("participation_ratio", x)


def test_after_centring_equal_lengths_have_mean_cosine_of_minus_one_over_n_minus_one(rng):
    t = torch.from_numpy(rng.normal(size=(20, 4)) * [9, 3, 1, 0.1])
    x = t / t.norm(dim=1, keepdim=True)
    x = torch.cat([x, -x])  # centred exactly, of one length, and far from isotropic
    assert value("mean_cosine", x) == pytest.approx(-1 / 39, abs=1e-12)


def test_the_mean_cosine_of_a_centred_cloud_is_the_covariance_of_direction_and_inverse_length(rng):
    x = cloud(rng, 50, 5)
    x = x - x.mean(0)
    r = x.norm(dim=1, keepdim=True)
    link = ((1 / r - (1 / r).mean()) * x).mean(0)
    assert value("mean_cosine", x) == pytest.approx(float((50 * link @ link - 1) / 49), rel=1e-9)


def test_cosine_shares_are_the_summed_contributions_of_all_pairs(rng):
    x = cloud(rng, 15, 6)
    unit = (x / x.norm(dim=1, keepdim=True)).numpy()
    parts = np.einsum("ik,jk->k", unit, unit)
    got = scores.cosine_shares(Moments.of(x))
    np.testing.assert_allclose(got.numpy(), parts / parts.sum(), rtol=1e-9)
    assert float(got.sum()) == pytest.approx(1)


def test_outlier_dimensions_are_those_above_five_mean_variances(rng):
    x = torch.from_numpy(rng.normal(size=(300, 40)))
    x[:, 7] *= 6
    x[:, 3] *= 4
    m = Moments.of(x)
    assert scores.outlier_dimensions(m).tolist() == [7, 3]
    assert scores.outlier_dimensions(Moments.of(x[:, 8:])).tolist() == []


def test_a_count_has_no_gradient(rng):
    assert not SCORES["explained_dimension"].differentiable
    assert isinstance(scores.explained_dimension(Moments.of(cloud(rng, 9, 4).requires_grad_())), int)
