"""What is asked of a site: read-outs against scikit-learn, numbers against their formulas, laws that are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import optimize
from sklearn.linear_model import Ridge

from isonum_core.studies.proxy_readouts import (
    FREE,
    PENALTIES,
    READOUTS,
    TIE,
    Taught,
    curve,
    filters_of,
    foretold,
    free_numbers,
    h_scores,
    log_me,
    place,
    preferred,
    risks,
    self_cluster,
    sensitivity,
    shares_of_gcv,
    slope_at_one,
    subsampled,
    whitened,
)
from isonum_core.theory.readout import aligned, gcv, leave_one_out, ridge

D = 8
SPECTRUM = 2.0 ** -np.arange(D)


def rows(rng, n, along=None, noise=0.5):
    """States with spectrum 1, 1/2, ... about a mean; targets of unit power in each listed set of directions."""
    z = torch.from_numpy(rng.normal(size=(n, D)))
    columns = [z[:, k].sum(1) / len(k) ** 0.5 for k in (along or [[0], [D - 1]])]
    return z * torch.from_numpy(SPECTRUM**0.5) + 2, torch.stack(columns, 1) + noise * torch.from_numpy(
        rng.normal(size=(n, len(columns)))
    )


@pytest.mark.parametrize("n", [6, 40])  # fewer rows than directions, and more
def test_misses_are_scikit_learns(rng, n):
    h, y = rows(rng, n + 30)
    taught = Taught.of(h[:n], y[:n])
    filters, _ = filters_of(taught.cloud, "fixed")
    a = taught.cloud
    x, t = h.numpy(), y.numpy()
    theirs = t[n:] - Ridge(float(a.spectrum.mean() / 10 * a.freedom)).fit(x[:n], t[:n]).predict(x[n:])
    np.testing.assert_allclose(taught.misses(h[n:], y[n:], filters), theirs, atol=1e-10)


def test_whitened_misses_are_those_of_states_that_were_whitened(rng):
    h, y = rows(rng, 70)
    taught = Taught.of(h[:40], y[:40])
    even = whitened(taught.cloud)
    l, u = np.linalg.eigh(np.cov(h[:40].T))
    z, t = (h.numpy() - h[:40].numpy().mean(0)) @ u * (l.mean() / l) ** 0.5, y.numpy()
    theirs = t[40:] - Ridge(float(l.mean() / 10 * 39)).fit(z[:40], t[:40]).predict(z[40:])
    filters, left = filters_of(even, "fixed")
    np.testing.assert_allclose(taught.misses(h[40:], y[40:], filters), theirs, atol=1e-10)
    np.testing.assert_allclose(left, filters_of(aligned(torch.from_numpy(z[:40]), y[:40]), "fixed")[1], rtol=1e-9)


def test_the_strength_is_that_which_leaving_one_out_prefers(rng):
    h, y = rows(rng, 40)
    a = aligned(h, y)
    readouts = READOUTS["tuned"](a.spectrum)
    place, errors = preferred(a, readouts)
    for j in range(2):
        one = replace(a, targets=a.targets[:, j : j + 1])
        means = np.array([float(leave_one_out(one, readout).mean()) for readout in readouts])
        np.testing.assert_allclose(errors[:, j], means, rtol=1e-9)
        assert means[place[j]] <= TIE * means.min() and not (means[place[j] + 1 :] <= TIE * means.min()).any()


def test_where_all_strengths_are_as_good_the_strongest_is_taken(rng):
    """With fewer rows than directions, whitened rows say nothing of each other."""
    h, y = rows(rng, 6)
    place, errors = preferred(whitened(aligned(h, y)), READOUTS["tuned"](aligned(h, y).spectrum))
    assert (place == len(PENALTIES) - 1).all() and errors.std(0).max() < 1e-3 * errors.max()


def test_numbers_without_labels_are_their_formulas(rng):
    h = torch.from_numpy(rng.normal(size=(60, 20)) * np.arange(1, 21) ** -0.7 + 1)
    found = free_numbers(h)
    assert tuple(found) == FREE
    s = np.linalg.svd(h.numpy(), compute_uv=False)
    p = s / s.sum()
    assert found["rank_me"] == pytest.approx(np.exp(-(p * np.log(p)).sum()), rel=1e-9)
    variances = h.numpy().var(0)
    assert found["top_share"] == pytest.approx(variances.max() / variances.sum(), rel=1e-9)
    l = np.sort(np.linalg.eigvalsh(np.cov(h.numpy().T)))[::-1]
    assert found["alpha"] == pytest.approx(-np.polyfit(np.log(np.arange(5, 11)), np.log(l[4:10]), 1)[0], rel=1e-9)


def test_a_number_that_is_not_defined_is_missing(rng):
    h = torch.from_numpy(rng.normal(size=(2, 9))).repeat(5, 1)
    found = free_numbers(h)
    assert found["two_nn"] is None and found["alpha"] is None and found["iso_score"] is not None


@pytest.mark.parametrize("n", [6, 40])
def test_log_me_is_the_largest_evidence(rng, n):
    h, y = rows(rng, n)
    a = aligned(h, y)
    x = a.states.numpy()

    def evidence(logs, y):
        """Of y ~ N(0, 1/beta + x x^T / alpha) in the centred rows, per row: equation (2) of You et al. 2021."""
        alpha, beta = np.exp(logs)
        k = alpha * np.eye(x.shape[1]) + beta * x.T @ x
        m = beta * np.linalg.solve(k, x.T @ y)
        fit = (n - 1) / 2 * np.log(beta / 2 / np.pi) + x.shape[1] / 2 * np.log(alpha) - np.linalg.slogdet(k)[1] / 2
        return (fit - beta / 2 * np.square(y - x @ m).sum() - alpha / 2 * (m @ m)) / (n - 1)

    for j, value in enumerate(log_me(a)):
        best = max(
            -optimize.minimize(lambda logs, y: -evidence(logs, y), start, a.targets[:, j].numpy(), "Nelder-Mead").fun
            for start in ([0.0, 0.0], [3.0, 1.0])
        )
        # where no strength is best the search goes on for ever, and both stop near the same value
        assert value == pytest.approx(best, abs=2e-3)


def test_a_says_where_a_target_lies(rng):
    h, y = rows(rng, 4000, [[0], [D - 1], list(range(D)), [3, 4]], noise=0.1)
    np.testing.assert_allclose(place(aligned(h, y)), [1 - 0.5 / D, 0.5 / D, 0.5, 0.5], atol=0.02)


@pytest.mark.parametrize("a, b, c", [(0.5, 2.0, 1.0), (0.0, 1.0, 0.5), (0.7, 0.0, 1.0)])
def test_a_power_law_is_continued(a, b, c):
    sizes = np.array([16.0, 24, 32, 48, 64])
    assert curve(sizes, a + b * sizes**-c, 384) == pytest.approx(a + b * 384**-c, rel=0.02)  # exponents are a grid


def test_subsets_say_what_was_left_out_at_the_size_at_hand(rng):
    h, y = rows(rng, 400)
    said = subsampled(h, y, ["tuned", "fixed"], 400, rng)
    for name, values in said.items():
        np.testing.assert_allclose(values, filters_of(aligned(h, y), name)[1], rtol=0.1)  # the law smooths
    assert min(subsampled(h, y, ["weak"], 4000, rng)["weak"]) > 0.15  # noise of 1/4 is not learned away


def test_what_more_rows_would_bring_is_leave_one_out_at_their_number(rng):
    h, y = rows(rng, 40)
    a = aligned(h, y)
    one = replace(a, targets=a.targets[:, 1:])
    want = float(leave_one_out(one, READOUTS["weak"](a.spectrum)[0], 240).mean())
    assert foretold(a, "weak", 240)[1] == pytest.approx(want, rel=1e-12)
    many = [float(leave_one_out(one, r, 240).mean()) for r in READOUTS["tuned"](a.spectrum)]
    assert foretold(a, "tuned", 240)[1] == pytest.approx(min(many), rel=1e-12)


def test_what_rows_do_not_resolve_is_not_said(rng):
    h, y = torch.from_numpy(rng.normal(size=(10, 40))), torch.from_numpy(rng.normal(size=(10, 1)))
    assert foretold(aligned(h, y), "weak", 1000) == [None]
    assert foretold(aligned(h, y), "tuned", 1000)[0] > 0  # strong penalties are resolved


def test_gcv_is_the_least_over_strengths_before_and_after_whitening(rng):
    a = aligned(*rows(rng, 40))
    one = replace(a, targets=a.targets[:, :1])
    for even in (False, True):
        l = torch.full_like(a.spectrum, float(a.spectrum.mean())) if even else a.spectrum
        want = min(float(gcv(one, ridge(float(p * l.mean())), spectrum=l)) for p in PENALTIES)
        assert shares_of_gcv(a, "tuned", even)[0] == pytest.approx(want, rel=1e-12)


def test_whitening_costs_on_top_and_pays_at_the_bottom(rng):
    h, y = rows(rng, 2000, noise=0.1)
    taught = Taught.of(h[:1000], y[:1000])
    plain, white = (
        taught.misses(h[1000:], y[1000:], filters_of(a, "fixed")[0]).square().mean(0)
        for a in (taught.cloud, whitened(taught.cloud))
    )
    assert white[0] > plain[0] and white[1] < plain[1]


def test_self_cluster_is_a_mean_over_pairs(rng):
    h = torch.from_numpy(rng.normal(size=(30, 5)) + 0.5)
    cosines = torch.nn.functional.cosine_similarity(h[:, None], h[None], dim=2).square().numpy()
    pairs = cosines[~np.eye(30, dtype=bool)].mean()
    assert self_cluster(h) == pytest.approx((pairs - 1 / 5) / (1 - 1 / 5), abs=1e-12)
    assert self_cluster(torch.ones(8, 3, dtype=torch.float64)) == pytest.approx(1)
    round_cloud = torch.from_numpy(rng.normal(size=(4000, 5)))
    assert abs(self_cluster(round_cloud)) < 0.002  # 1 / n and its spread


def test_h_score_is_the_share_between_fifths_and_feels_no_scale(rng):
    h = torch.from_numpy(rng.normal(size=(2000, 4)) * [3.0, 2.0, 1.0, 0.5])  # of a round cloud shrinkage leaves nothing
    y = torch.stack([h[:, 0], torch.from_numpy(rng.normal(size=2000))], 1)
    told, chance = h_scores(h, y)
    # a Gaussian cut into fifths keeps .897 of its variance between them; the shrinkage takes a little
    assert 0.85 < told < 0.92 and chance < 0.02
    np.testing.assert_allclose(h_scores(7 * h + 3, -y), [told, chance], rtol=1e-6)
    by_hand = []
    x, centre = h.numpy(), h.numpy().mean(0)
    order = np.argsort(y[:, 1].numpy(), kind="stable")
    for k in range(5):
        gap = x[order[k * 400 : (k + 1) * 400]].mean(0) - centre
        by_hand.append(gap @ np.linalg.solve(np.cov(x.T, ddof=0), gap))
    assert chance == pytest.approx(np.mean(by_hand), rel=0.1)  # without shrinkage, which is small at this n


def test_the_spectral_risk_of_the_sample_is_near_what_was_left_out(rng):
    h, y = rows(rng, 600, along=[[0, 1, 2], [5, 6]])
    a = Taught.of(h, y).cloud
    np.testing.assert_allclose(risks(a), filters_of(a, "tuned")[1], rtol=0.1)


def test_sensitivity_is_zero_for_least_squares_and_has_the_sign_of_where_the_target_lies(rng):
    spectrum = torch.linspace(1, 12, 12, dtype=torch.float64).flip(0)
    h = torch.from_numpy(rng.normal(size=(400, 12))) * spectrum.sqrt()
    y = torch.stack([h[:, 0], h[:, -1] / h[:, -1].std()], 1) + 0.3 * torch.from_numpy(rng.normal(size=(400, 2)))
    a = Taught.of(h, y).cloud
    assert abs(slope_at_one(a, lambda l: ridge(0.0))) < 1e-9
    for name in ("fixed", "stopped"):
        top, bottom = sensitivity(a, name)
        assert top < 0 < bottom or (abs(top) < 0.05 and bottom > 0.1)


def test_sensitivity_is_the_slope_of_reshaped_states(rng):
    h, y = rows(rng, 300, along=[[2, 3], [0, 7]])
    a = Taught.of(h, y).cloud
    slope = sensitivity(a, "fixed")
    errors = []
    for p in (1.001, 0.999):
        l = a.spectrum**p
        l = l * (a.spectrum.sum() / l.sum())
        other = Taught.of(a.states * (l / a.spectrum).sqrt(), a.targets).cloud
        errors.append(np.log(shares_of_gcv(other, "fixed", even=False)))
    np.testing.assert_allclose(slope, (errors[0] - errors[1]) / 0.002, rtol=1e-2, atol=1e-4)
