from __future__ import annotations

import estimators as estimate
import numpy as np
import pytest
from scipy import stats

from isonum_core.errors import IsonumError
from isonum_core.worlds.processes_gaussian import gp_mixture
from isonum_core.worlds.processes_linear import (
    ar1,
    ar2_period,
    arfima,
    arma_paths,
    fbm,
    fgn,
    ma1,
    noisy_ar,
    relaxation,
    seasonal_ar,
    stationary_gaussian,
)
from isonum_core.worlds.processes_nonlinear import bilinear, cascade, henon, logistic_map, mackey_glass
from isonum_core.worlds.processes_shape import harmonics, piecewise_trend, sawtooth, stuck
from isonum_core.worlds.processes_tails import garch, geometric_walk, inar, ingarch, stable, stochastic_volatility

# Sampling error of a covariance of N independent products of standard normals is at most sqrt(2/N); six of them.
N = 40_000
SIX = 6 * np.sqrt(2 / N)


def _covariance(draw, knob, rng, length=6):
    x = draw(knob, length, rng, N)
    return x.T @ x / N


@pytest.mark.parametrize("hurst", [0.1, 0.5, 0.8])
def test_fgn_has_the_covariance_of_its_definition(hurst, rng):
    """Twin: Cov(B_s, B_t) = (s^2H + t^2H - |t - s|^2H) / 2, differenced."""
    t = np.arange(7.0)
    motion = (t[:, None] ** (2 * hurst) + t[None] ** (2 * hurst) - abs(t[:, None] - t[None]) ** (2 * hurst)) / 2
    expected = motion[1:, 1:] - motion[1:, :-1] - motion[:-1, 1:] + motion[:-1, :-1]
    assert np.abs(_covariance(fgn, hurst, rng) - expected).max() < SIX
    path = fbm(hurst, 6, rng, N)
    assert np.abs(path.T @ path / N - motion[1:, 1:]).max() < SIX * motion.max()


def test_arfima_is_the_filter_of_white_noise_by_its_binomial_weights(rng):
    """Twin: (1 - B)^-d = sum psi_j B^j with psi_j = psi_{j-1} (j - 1 + d) / j; autocovariance sum psi_j psi_{j+k}."""
    d = 0.2
    j = np.arange(1, 200_000)
    psi = np.concatenate([[1.0], np.cumprod((j - 1 + d) / j)])
    gamma = np.array([psi[: len(psi) - k] @ psi[k:] for k in range(4)])
    x = arfima(d, 6, rng, N)
    # The cut tail of the weights, about 200000^(2d - 1), is 7e-4.
    found = [estimate.lagged(x, k) for k in range(4)]
    assert np.abs(np.array(found) - gamma / gamma[0]).max() < SIX + 1e-3


def test_linear_filters_start_in_their_stationary_law(rng):
    """Variance and correlation are the same at the first step as later, and those of the textbook."""
    for phi in (-0.7, 0.95):
        lags = abs(np.subtract.outer(np.arange(6), np.arange(6)))
        assert np.abs(_covariance(ar1, phi, rng) - phi**lags).max() < SIX
    for theta in (-0.8, 0.4):
        expected = (1 + theta**2) * np.eye(6) + theta * (np.eye(6, k=1) + np.eye(6, k=-1))
        assert np.abs(_covariance(ma1, theta, rng) - expected).max() < 2 * SIX
    mixed = noisy_ar(0.3, 6, rng, N)
    assert np.abs(np.diag(mixed.T @ mixed / N) - 1).max() < SIX


def test_an_arma_path_obeys_its_recursion():
    """Twin: the same noise through the textbook recursion gives the same path once the first values are given."""
    phi, theta = [0.5, -0.3], [0.4]
    x = arma_paths(phi, theta, 30, np.random.default_rng(5), 2)
    e = np.random.default_rng(5).standard_normal((2, 30))  # the noise is drawn first
    for t in range(2, 30):
        twin = phi[0] * x[:, t - 1] + phi[1] * x[:, t - 2] + e[:, t] + theta[0] * e[:, t - 1]
        assert np.allclose(x[:, t], twin, rtol=0, atol=1e-12)  # rounding of ten additions


def test_a_matrix_that_no_circulant_holds_is_refused(rng):
    with pytest.raises(IsonumError, match="circulant embedding needs eigenvalues >= 0"):
        stationary_gaussian(np.array([1.0, 0.9, -0.9, 0.9]), rng)


def test_pseudo_cycles_have_the_roots_they_name():
    """x_t = 2 r cos(w) x_{t-1} - r^2 x_{t-2} has the roots r exp(+-iw); here they are read off a path by regression."""
    x = ar2_period(24.0, 20_000, np.random.default_rng(0), 1)[0]
    design = np.stack([x[1:-1], x[:-2]], axis=1)
    a, b = np.linalg.lstsq(design, x[2:], rcond=None)[0]
    roots = np.roots([1, -a, -b])
    # Six standard errors of an AR(2) coefficient, sqrt((1 - b^2)/T) = 0.003.
    assert abs(abs(roots[0]) - 0.95) < 0.02
    assert abs(abs(np.angle(roots[0])) - 2 * np.pi / 24) < 0.02


def test_seasons_do_not_speak_to_each_other(rng):
    x = seasonal_ar(0.9, 48, rng, N // 10)
    c = x.T @ x / len(x)
    expected = np.where(np.subtract.outer(np.arange(48), np.arange(48)) % 12 == 0, 1.0, 0.0)
    expected *= 0.9 ** (abs(np.subtract.outer(np.arange(48), np.arange(48))) / 12)
    assert np.abs(c - expected).max() < SIX * np.sqrt(10)


def test_relaxation_follows_the_exact_mean_and_variance(rng):
    x = relaxation(0.1, 40, rng, N)
    t = np.arange(40)
    assert np.abs(x.mean(0) - 10 * np.exp(-0.1 * t)).max() < 6 / np.sqrt(N)
    assert np.abs(x.var(0) - (1 - np.exp(-0.2 * t))).max() < SIX


@pytest.mark.parametrize("alpha", [1.1, 1.5, 2.0])
def test_stable_noise_has_its_characteristic_function(alpha, rng):
    x = stable(alpha, N, rng)[0]
    for s in (0.3, 1.0, 2.0):
        assert abs(np.cos(s * x).mean() - np.exp(-(s**alpha))) < 6 / np.sqrt(N)  # |cos| <= 1
    if alpha == 2:
        assert stats.kstest(x / np.sqrt(2), "norm").pvalue > 1e-6


def test_changing_variance_leaves_signs_unpredictable_and_sizes_not(rng):
    for x in (garch(0.9, 500, rng, 200), stochastic_volatility(0.9, 500, rng, 200)):
        size = x**2
        assert abs(estimate.correlation(x)) < 0.05  # fat tails widen 1/sqrt(100,000) = 0.003 several times
        assert estimate.correlation(size - size.mean()) > 0.1
    assert abs(garch(0.9, 500, rng, 200).var() - 1) < 0.1


def test_geometric_walk_is_a_martingale_from_one(rng):
    x = geometric_walk(0.1, 10, rng, N)
    assert (x[:, 0] == 1).all()
    assert np.abs(x.mean(0) - 1).max() < 6 * x.std(0).max() / np.sqrt(N)


def test_counts_are_counts(rng):
    x = inar(0.6, 20, rng, N)
    assert np.array_equal(x, np.round(x)) and x.min() >= 0
    shares = np.bincount(x[:, -1].astype(int), minlength=30)[:12] / N
    assert np.abs(shares - stats.poisson.pmf(np.arange(12), 5)).max() < 6 * np.sqrt(0.2 / N)
    bursts = ingarch(0.7, 20, rng, N)
    assert np.array_equal(bursts, np.round(bursts))
    assert bursts.var() / bursts.mean() > 1.5 > 1.1 > x.var() / x.mean()


def test_maps_obey_their_equations():
    rng = np.random.default_rng(0)
    x = logistic_map(3.9, 50, rng, 3)
    assert np.allclose(x[:, 1:], 3.9 * x[:, :-1] * (1 - x[:, :-1]), rtol=1e-14)  # the same three operations
    x = henon(1.4, 50, rng, 3)
    assert np.allclose(x[:, 2:], 1 - 1.4 * x[:, 1:-1] ** 2 + 0.3 * x[:, :-2], rtol=0, atol=1e-14)


def test_the_logistic_map_at_four_doubles_errors(rng):
    """Its Lyapunov exponent, the mean of log |r (1 - 2x)|, is log 2; the log of a distance to 1/2 has sd below 1."""
    x = logistic_map(4.0, 2000, rng, 50)
    assert abs(np.log(abs(4 * (1 - 2 * x))).mean() - np.log(2)) < 0.02


def test_mackey_glass_solves_its_equation():
    """Differences over two steps equal the right-hand side, up to x''' / 6 of a wave of period 30."""
    lag = 8
    x = mackey_glass(float(lag), 200, np.random.default_rng(1), 1)[0]
    left = (x[lag + 2 :] - x[lag:-2]) / 2
    right = 0.2 * x[1 : -lag - 1] / (1 + x[1 : -lag - 1] ** 10) - 0.1 * x[lag + 1 : -1]
    assert np.abs(left - right).max() < 0.02 < np.ptp(left)
    # 0.2 / (1 + 1) = 0.1: paths swing around the fixed point 1.
    assert x.min() < 1 < x.max()


def test_a_bilinear_path_has_the_moments_of_its_recursion(rng):
    """E x = b; E x^2 = (1 + 2 b^2) / (1 - b^2), from E x^2 = b^2 E x^2 e^2 + 1 and E x^2 e^2 = E x^2 + 2."""
    b = 0.4
    x = bilinear(b, 1000, rng, 400)
    assert abs(x.mean() - b) < 0.02
    assert abs((x**2).mean() - (1 + 2 * b**2) / (1 - b**2)) < 0.05


def test_a_cascade_conserves_mass(rng):
    x = cascade(0.7, 1024, rng, 5)
    assert np.allclose(x.mean(1), 1, rtol=1e-12)
    assert x.max() == pytest.approx(1.4**10, rel=1e-12)
    assert cascade(0.7, 1000, rng).shape == (1, 1000)


def test_shapes_are_what_they_say(rng):
    wave = sawtooth(0.25, 96, rng, 4)
    assert np.allclose(wave[:, :48], wave[:, 48:], atol=1e-9)  # one rounding of t/48
    assert abs(wave).max() <= 1
    pure = harmonics(3.0, 96, rng, 400)
    assert abs((pure**2).mean() - 1.01) < 0.01
    line = piecewise_trend(1e3, 200, rng, 50)
    assert (abs(np.diff(line, 2)) > 1e-9).mean() < 0.01
    held = stuck(0.9, 500, rng, 20)
    assert all(len(np.unique(row)) < 100 for row in held)


def test_a_mixture_of_kernels_is_a_sum_of_independent_paths(rng):
    x = gp_mixture(0.5, 60, rng, 4000)
    d = np.arange(60)
    expected = 0.5 * np.exp(-2 * np.sin(np.pi * d / 24) ** 2) + 0.5 * np.exp(-((d / 16) ** 2) / 2)
    assert np.abs(x.T @ x[:, 0] / 4000 - expected).max() < 6 * np.sqrt(2 / 4000)
