"""What a cloud without structure scores: exact algebra where it exists, else Monte Carlo with standard errors."""

from itertools import permutations

import numpy as np
import pytest
import torch

from isonum_core import Directions, IsonumError, Moments
from isonum_core.geometry import null, scores
from isonum_core.geometry.scores import SCORES


def gaussian(rng, n, d, spectrum=None):
    x = rng.normal(size=(n, d))
    return torch.from_numpy(x if spectrum is None else x * np.sqrt(spectrum))


def skewed(rng, n, d):
    return torch.from_numpy(rng.exponential(size=(n, d)) ** 2 @ rng.normal(size=(d, d)) + 5)


def mean_and_error(draws):
    draws = np.asarray(draws)
    return draws.mean(), draws.std(ddof=1) / np.sqrt(len(draws))


@pytest.mark.parametrize("n, d", [(2, 5), (3, 5), (6, 5), (9, 40), (40, 40), (100, 3)])
def test_the_cap_holds_and_is_reached(n, d):
    k = min(n - 1, d)
    cap = null.from_participation_ratio(k, d)
    # A simplex: k + 1 points with equal variance in k directions, some of them repeated until there are n.
    simplex = (torch.eye(k + 1) - 1 / (k + 1)).double()
    basis = torch.linalg.svd(simplex)[0][:, :k]
    if n == k + 1:
        x = torch.cat([basis, torch.zeros(n, d - k, dtype=torch.float64)], dim=1)
        assert float(scores.iso_score(Moments.of(x))) == pytest.approx(cap, abs=1e-12)
    x = gaussian(np.random.default_rng(0), n, d)
    assert float(scores.iso_score(Moments.of(x))) <= cap + 1e-12


def test_an_isotropic_cloud_scores_one_half_at_n_equal_to_d():
    assert null.iso_score_null(768, 768) == pytest.approx(0.5, abs=0.002)
    for n, d in [(8, 64), (64, 64), (500, 10)]:
        from_law = (SCORES["participation_ratio"].null(n, d) - 1) / (d - 1)
        assert null.iso_score_null(n, d) == pytest.approx(from_law, rel=1e-12)  # (n - 2)/(n + d), by algebra
        assert null.iso_score_null(n, d) < null.from_participation_ratio(min(n - 1, d), d)


@pytest.mark.parametrize("n", [5, 50])
@pytest.mark.parametrize("pr", [1.0, 7.3, 64.0])
def test_the_law_scales_iso_score_by_n_minus_2_over_n_plus_pr(n, pr):
    d = 64
    of_sample = (null.sampled_participation_ratio(pr, n) - 1) / (d - 1)
    assert of_sample == pytest.approx((pr - 1) / (d - 1) * (n - 2) / (n + pr), rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("n, d", [(6, 20), (20, 20), (60, 20)])
def test_the_law_is_the_harmonic_mean_of_an_isotropic_gaussian(rng, n, d):
    inverse = [1 / float(scores.participation_ratio(Moments.of(gaussian(rng, n, d)))) for _ in range(400)]
    mean, error = mean_and_error(inverse)
    assert abs(mean - 1 / SCORES["participation_ratio"].null(n, d)) < 4.5 * error  # exact, so only Monte Carlo is left
    assert error < 0.01 * mean


def test_the_law_is_a_ratio_of_expectations_for_any_gaussian(rng):
    spectrum = np.arange(1, 17) ** -1.0
    pr = spectrum.sum() ** 2 / (spectrum**2).sum()
    pairs = []
    for _ in range(1000):
        m = Moments.of(gaussian(rng, 12, 16, spectrum))
        pairs.append((float(m.trace**2), float(m.frobenius_sq)))
    top, bottom = np.array(pairs).T
    ratio = top.mean() / bottom.mean()
    error = np.std(top - ratio * bottom, ddof=1) / np.sqrt(len(top)) / bottom.mean()
    assert abs(ratio - null.sampled_participation_ratio(pr, 12)) < 4.5 * error
    assert error < 0.1


def test_heavy_tails_lower_the_sampled_ratio_below_the_law(rng):
    def draw():
        x = rng.normal(size=(8, 64)) / np.sqrt(rng.chisquare(8, size=(8, 1)) / 8)
        return float(scores.participation_ratio(Moments.of(torch.from_numpy(x))))

    mean, error = mean_and_error([draw() for _ in range(300)])
    assert mean + 10 * error < SCORES["participation_ratio"].null(8, 64)  # 5.2 against 6.25: Gaussian data only


def test_the_null_of_the_mean_cosine_is_an_exact_expectation(rng):
    mean, error = mean_and_error([float(scores.mean_cosine(Directions.of(gaussian(rng, 10, 6)))) for _ in range(600)])
    assert abs(mean - SCORES["mean_cosine"].null(10, 6)) < 4.5 * error


def test_null_of_the_mean_share_is_a_ratio_of_expectations(rng):
    pairs = []
    for _ in range(600):
        m = Moments.of(gaussian(rng, 10, 6))
        pairs.append((float(m.mean @ m.mean), float(m.trace)))
    mean_sq, trace = np.array(pairs).mean(0)
    assert mean_sq / (mean_sq + trace) == pytest.approx(
        SCORES["mean_share"].null(10, 6), rel=0.1
    )  # 4.5 standard errors


def brute_force_traces(x):
    """Means over all ordered choices of four distinct rows."""
    top, bottom = [], []
    for i, j, k, l in permutations(range(len(x)), 4):
        u, v = x[i] - x[j], x[k] - x[l]
        top.append((u @ u) * (v @ v) / 4)
        bottom.append((u @ v) ** 2 / 4)
    return np.mean(top), np.mean(bottom)


@pytest.mark.parametrize("n, d", [(4, 3), (6, 3), (6, 9)])
def test_the_unbiased_traces_are_u_statistics(rng, n, d):
    x = skewed(rng, n, d)
    want = brute_force_traces(x.numpy())
    split = Moments.of(x[:2]).merge(Moments.of(x[2:]))
    for m in (Moments.of(x), split):
        # Subtracts terms about n times the result, so ten digits of the sixteen are left.
        np.testing.assert_allclose([float(t) for t in null.unbiased_traces(m)], want, rtol=1e-7, atol=1e-9 * want[0])
    assert float(null.participation_ratio_unbiased(split)) == pytest.approx(want[0] / want[1], rel=1e-6)


LAWS = {
    "Gaussian": lambda rng, n, d: rng.normal(size=(n, d)),
    "Student t8": lambda rng, n, d: rng.normal(size=(n, d)) / np.sqrt(rng.chisquare(8, size=(n, 1)) / 8),
    "exponential": lambda rng, n, d: rng.exponential(size=(n, d)),
}


@pytest.mark.parametrize("law", LAWS)
def test_eight_samples_in_64_dimensions_show_the_true_ratio(rng, law):
    batches = [Moments.of(torch.from_numpy(LAWS[law](rng, 8, 64))) for _ in range(400)]
    together = float(null.participation_ratio_unbiased(batches))
    pairs = np.array([[float(t) for t in null.unbiased_traces(b)] for b in batches])
    error = np.std(pairs[:, 0] - together * pairs[:, 1], ddof=1) / np.sqrt(len(pairs)) / pairs[:, 1].mean()
    assert abs(together - 64) < 4.5 * error
    assert error < 6
    assert np.mean([float(scores.participation_ratio(b)) for b in batches]) < 8  # what the plug-in makes of it


def test_batches_are_averaged_before_dividing(rng):
    batches = [Moments.of(skewed(rng, n, 5)) for n in (6, 9, 30)]
    top, bottom = zip(*(null.unbiased_traces(b) for b in batches), strict=True)
    want = sum(b.n * t for b, t in zip(batches, top, strict=True)) / sum(
        b.n * t for b, t in zip(batches, bottom, strict=True)
    )
    assert float(null.participation_ratio_unbiased(batches)) == pytest.approx(float(want), rel=1e-12)
    assert float(null.iso_score_unbiased(batches)) == pytest.approx((float(want) - 1) / 4, rel=1e-12)
    one = batches[0]
    assert float(null.participation_ratio_unbiased([one])) == float(null.participation_ratio_unbiased(one))


def test_large_samples_need_no_correction(rng):
    m = Moments.of(gaussian(rng, 20_000, 4, [4, 3, 2, 1]))
    assert float(null.participation_ratio_unbiased(m)) == pytest.approx(float(scores.participation_ratio(m)), rel=1e-3)


def test_gradients_pass_through_a_list_of_batches(rng):
    x = skewed(rng, 12, 3).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: null.iso_score_unbiased([Moments.of(x[:5]), Moments.of(x[5:])]), (x,), atol=1e-5, rtol=1e-4
    )


def test_too_few_samples_raise(rng):
    with pytest.raises(IsonumError, match="at least 4 samples, got n=3.*Give more rows"):
        null.participation_ratio_unbiased(Moments.of(gaussian(rng, 3, 5)))
    with pytest.raises(IsonumError, match="n >= 2 and PR >= 1, got n=1"):
        null.sampled_participation_ratio(4.0, 1)
    with pytest.raises(IsonumError, match="n >= 2 samples in d >= 2 dimensions, got n=5, d=1"):
        null.iso_score_null(5, 1)
    with pytest.raises(IsonumError, match="one dimension d, got d=\\[3, 4\\]"):
        null.participation_ratio_unbiased([Moments.of(gaussian(rng, 9, d)) for d in (3, 4)])
    with pytest.raises(IsonumError, match="one dimension d, got d=\\[\\]"):
        null.participation_ratio_unbiased([])


def test_a_denominator_that_is_not_positive_raises():
    even = torch.eye(4).double()  # four orthogonal rows: the differences of disjoint pairs are orthogonal
    with pytest.raises(IsonumError, match="positive to divide by, got .* from 4 samples in 1 batches.*list of batches"):
        null.participation_ratio_unbiased(Moments.of(even))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n, d", [(4, 4), (5, 9), (20, 20), (40, 100)])
def test_a_denominator_of_rounding_is_no_denominator(rng, n, d, dtype):
    """Orthogonal rows of one length, turned: what is left of the estimate of tr C^2 is the rounding of the products."""
    rows = torch.from_numpy(np.linalg.qr(rng.normal(size=(d, n)))[0].T.copy()).to(dtype)
    m = Moments.of(rows).merge(Moments.of(torch.from_numpy(np.linalg.qr(rng.normal(size=(d, n)))[0].T.copy())))
    assert m.eps == torch.finfo(dtype).eps  # of merged sums, that of the coarser
    for states in (rows, rows.double(), 1e3 * rows):
        with pytest.raises(IsonumError, match="must be positive to divide by, got .* of rounding"):
            null.participation_ratio_unbiased(Moments.of(states))


def test_a_far_row_is_no_reason_to_refuse(rng):
    """One row of a thousand times the others' length takes six of the sixteen digits, not all."""
    x = gaussian(rng, 400, 64)
    with_sink = torch.cat([x, 1e3 * torch.eye(64)[:1].double()])
    traces = [float(t) for t in null.unbiased_traces(Moments.of(with_sink))]
    assert float(null.participation_ratio_unbiased(Moments.of(with_sink))) == pytest.approx(traces[0] / traces[1])
