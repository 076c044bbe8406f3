from __future__ import annotations

import numpy as np
import pytest

from isonum_core.errors import IsonumError
from isonum_core.worlds.kernels import LENGTH, PAPER_KERNELS, sample

# Twins: the formulas on paper, of the distance d and of two times x, y on [0, 1].
FORMULAS = {
    "DotProduct_0": lambda x, y: x * y,
    "DotProduct_1": lambda x, y: 1 + x * y,
    "Seasonality_0.5W": lambda x, y: np.exp(-2 * np.sin(np.pi * abs(x - y) * LENGTH / 52) ** 2),
    "Seasonality_0.25H": lambda x, y: np.exp(-2 * np.sin(np.pi * abs(x - y) * LENGTH / 96) ** 2),
    "RationalQuadratic_1": lambda x, y: 1 / (1 + (x - y) ** 2 / 2),
    "RationalQuadratic_10": lambda x, y: (1 + (x - y) ** 2 / 20) ** -10.0,
    "RBF_0.1": lambda x, y: np.exp(-50 * (x - y) ** 2),
    "RBF_1": lambda x, y: np.exp(-((x - y) ** 2) / 2),
    "WhiteKernel_1": lambda x, y: 1.0 * (x == y),
    "WhiteKernel_0.1": lambda x, y: 0.1 * (x == y),
}
# Names of the same kernels in the record of the published generator; it holds 33 and their values to float64.
RECORDED = {
    "DotProduct_0": "DotProduct sigma_0=0",
    "DotProduct_1": "DotProduct sigma_0=1",
    "Seasonality_0.5W": "ExpSineSquared p=52/1024",
    "Seasonality_0.25H": "ExpSineSquared p=96/1024",
    "RationalQuadratic_1": "RationalQuadratic l=1 alpha=1",
    "RationalQuadratic_10": "RationalQuadratic l=1 alpha=10",
    "RBF_0.1": "RBF l=0.1",
    "RBF_1": "RBF l=1",
    "WhiteKernel_1": "White 1",
    "WhiteKernel_0.1": "White 0.1",
}


def _covariance(name, length=LENGTH):
    return PAPER_KERNELS[name](np.linspace(0, 1, length)[:, None])


def test_the_ten_kernels_of_the_paper_have_their_formulas():
    assert list(PAPER_KERNELS) == list(FORMULAS)
    x = np.linspace(0, 1, 200)
    for name, formula in FORMULAS.items():
        # a few roundings of numbers up to 2; sines of up to 60 lose two digits
        assert np.abs(_covariance(name, 200) - formula(x[:, None], x)).max() < 1e-12


def test_covariances_are_the_published_ones(oracles):
    synth = oracles["kernelsynth"]
    assert list(PAPER_KERNELS) == list(RECORDED) == synth["paper_kernels"] and synth["length"] == LENGTH
    at = np.ix_(synth["grid_indices"], synth["grid_indices"])
    for name, label in RECORDED.items():
        assert np.abs(_covariance(name)[at] - synth["covariances"][label]).max() < 1e-6


def test_covariances_at_published_points():
    """The same reference, three values by hand: ends of the 1024-point grid and its step."""
    assert _covariance("RBF_0.1")[0, 511] == pytest.approx(3.8188011618322565e-06, abs=1e-6)
    assert _covariance("RationalQuadratic_10")[0, 1023] == pytest.approx(0.6139132535407591, abs=1e-6)
    assert _covariance("DotProduct_1")[1023, 1023] == 2


def test_kernels_said_to_be_nearly_one_law_are():
    smooth = ("RationalQuadratic_1", "RationalQuadratic_10", "RBF_1")
    for group in (smooth, ("WhiteKernel_1", "WhiteKernel_0.1")):
        shapes = [_covariance(name, 256) / _covariance(name, 256).max() for name in group]
        # After division by a scale only the correlations count; "nearly" is 0.06 at most, and the far ends differ.
        assert max(np.abs(one - other).max() for one in shapes for other in shapes) < 0.07
    assert np.abs(_covariance("RBF_0.1", 256) - _covariance("RBF_1", 256)).max() > 0.5


def test_the_degenerate_kernel_has_two_series(rng):
    draws = sample(_covariance("DotProduct_0", 64), rng, 50)
    scaled = draws / abs(draws).mean(axis=1, keepdims=True)
    assert len(np.unique(np.round(scaled, 9), axis=0)) == 2


@pytest.mark.parametrize("name", PAPER_KERNELS)
def test_draws_have_the_covariance(name, rng):
    n = 20_000
    covariance = _covariance(name, 24)
    x = sample(covariance, rng, n)
    spread = np.sqrt((covariance**2 + np.outer(np.diag(covariance), np.diag(covariance))) / n)
    # Six standard errors of a covariance of normals, plus what rounding eigenvalues away may cost.
    assert (np.abs(x.T @ x / n - covariance) <= 6 * spread + 1e-11).all()


def test_sampling_a_singular_covariance_needs_no_jitter(rng):
    x = sample(_covariance("RBF_1"), rng, 3)
    assert np.isfinite(x).all()
    # The second difference of a path with length scale 1 on this grid is about sqrt(3) / 1023^2 = 1.7e-6.
    assert np.abs(np.diff(x, 2)).max() < 1e-4


def test_what_is_no_covariance_is_refused(rng):
    with pytest.raises(IsonumError, match="a covariance has eigenvalues >= 0, got -1"):
        sample(np.diag([1.0, -1.0]), rng)
    with pytest.raises(IsonumError, match="eigenvalues >= 0, got"):
        sample(-np.eye(2), rng)
