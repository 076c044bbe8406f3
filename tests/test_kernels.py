from __future__ import annotations

import numpy as np
import pytest
from sklearn.gaussian_process import kernels as peer

from isonum_core.errors import IsonumError
from isonum_core.worlds.kernels import (
    BANK,
    PAPER_KERNELS,
    Composition,
    exp_sine_squared,
    grid,
    kernel_synth,
    random_composition,
    sample,
)

PEERS = {
    "DotProduct_0": peer.DotProduct(0.0),
    "DotProduct_1": peer.DotProduct(1.0),
    "DotProduct_10": peer.DotProduct(10.0),
    "RBF_0.1": peer.RBF(0.1),
    "RBF_1": peer.RBF(1.0),
    "RBF_10": peer.RBF(10.0),
    "RationalQuadratic_0.1": peer.RationalQuadratic(alpha=0.1),
    "RationalQuadratic_1": peer.RationalQuadratic(alpha=1.0),
    "RationalQuadratic_10": peer.RationalQuadratic(alpha=10.0),
    "WhiteKernel_0.1": peer.WhiteKernel(0.1),
    "WhiteKernel_1": peer.WhiteKernel(1.0),
    "Constant_1": peer.ConstantKernel(),
}


def _peer(name):
    if name.startswith("ExpSineSquared_"):
        return peer.ExpSineSquared(periodicity=int(name.split("_")[1]) / 1024)
    return PEERS[name]


@pytest.mark.parametrize("kernel", BANK, ids=lambda kernel: kernel.name)
def test_the_bank_is_that_of_scikit_learn(kernel):
    x = grid()
    assert np.abs(kernel.covariance(x) - _peer(kernel.name)(x[:, None])).max() < 1e-12  # a few roundings, |k| <= 101


@pytest.mark.parametrize("name", PAPER_KERNELS)
def test_the_ten_kernels_of_the_paper(name):
    x = grid()
    periods = {"Seasonality_0.5W": 52, "Seasonality_0.25H": 96}
    other = peer.ExpSineSquared(periodicity=periods[name] / 1024) if name in periods else PEERS[name]
    assert np.abs(PAPER_KERNELS[name].covariance(x) - other(x[:, None])).max() < 1e-12


def test_covariances_are_the_published_ones(oracles):
    synth = oracles["kernelsynth"]
    x = grid(synth["length"])
    at = np.ix_(synth["grid_indices"], synth["grid_indices"])
    ours = {kernel.name: kernel.covariance(x)[at] for kernel in BANK}
    words = {
        "ExpSineSquared p=": "ExpSineSquared_",
        "/1024": "",
        "DotProduct sigma_0=": "DotProduct_",
        "RBF l=": "RBF_",
    }
    words |= {"RationalQuadratic l=1 alpha=": "RationalQuadratic_", "White ": "WhiteKernel_", "Constant ": "Constant_"}
    seen = set()
    for label, covariance in synth["covariances"].items():
        name = label
        for word, ours_word in words.items():
            name = name.replace(word, ours_word)
        assert np.abs(ours[name] - covariance).max() < 1e-6
        seen.add(name)
    assert seen == set(ours) and len(BANK) == synth["bank_size"] == 33
    assert list(PAPER_KERNELS) == synth["paper_kernels"]


def test_covariances_at_published_points():
    """The same reference, three values by hand: ends of the 1024-point grid and its step."""
    x = grid()
    assert exp_sine_squared(x, 24 / 1024)[0, 1] == pytest.approx(0.9664357682901129, abs=1e-6)
    assert PAPER_KERNELS["RBF_0.1"].covariance(x)[0, 511] == pytest.approx(3.8188011618322565e-06, abs=1e-6)
    assert PAPER_KERNELS["RationalQuadratic_10"].covariance(x)[0, 1023] == pytest.approx(0.6139132535407591, abs=1e-6)


def test_duplicates_are_duplicates_and_marked_both_ways():
    x = grid(256)
    for name, kernel in PAPER_KERNELS.items():
        for other in kernel.duplicates:
            assert name in PAPER_KERNELS[other].duplicates
            ours, theirs = kernel.covariance(x), PAPER_KERNELS[other].covariance(x)
            # After division by a scale only the correlations count; "nearly" is 0.06 at most, and the far ends differ.
            assert np.abs(ours / ours.max() - theirs / theirs.max()).max() < 0.07
    assert PAPER_KERNELS["WhiteKernel_1"].duplicates == ("WhiteKernel_0.1",)
    assert [name for name, kernel in PAPER_KERNELS.items() if kernel.ambiguous] == [
        "Seasonality_0.5W",
        "Seasonality_0.25H",
    ]


def test_the_degenerate_kernel_has_two_series(rng):
    draws = sample(PAPER_KERNELS["DotProduct_0"].covariance(grid(64)), rng, 50)
    scaled = draws / abs(draws).mean(axis=1, keepdims=True)
    assert len(np.unique(np.round(scaled, 9), axis=0)) == 2
    assert [name for name, kernel in PAPER_KERNELS.items() if kernel.degenerate] == ["DotProduct_0"]


@pytest.mark.parametrize("name", PAPER_KERNELS)
def test_draws_have_the_covariance(name, rng):
    n = 20_000
    covariance = PAPER_KERNELS[name].covariance(grid(24))
    x = sample(covariance, rng, n)
    spread = np.sqrt((covariance**2 + np.outer(np.diag(covariance), np.diag(covariance))) / n)
    # Six standard errors of a covariance of normals, plus what rounding eigenvalues away may cost.
    assert (np.abs(x.T @ x / n - covariance) <= 6 * spread + 1e-11).all()


def test_sampling_a_singular_covariance_needs_no_jitter(rng):
    x = sample(PAPER_KERNELS["RBF_1"].covariance(grid()), rng, 3)
    assert np.isfinite(x).all()
    # The second difference of a path with length scale 1 on this grid is about sqrt(3) / 1023^2 = 1.7e-6.
    assert np.abs(np.diff(x, 2)).max() < 1e-4


def test_what_is_no_covariance_is_refused(rng):
    with pytest.raises(IsonumError, match="a covariance has eigenvalues >= 0, got -1"):
        sample(np.diag([1.0, -1.0]), rng)
    with pytest.raises(IsonumError, match="eigenvalues >= 0, got"):
        sample(-np.eye(2), rng)
    with pytest.raises(IsonumError, match="length >= 2"):
        grid(1)
    with pytest.raises(IsonumError, match="at least one kernel"):
        random_composition(rng, 0)


def test_compositions_fold_from_the_left():
    rbf, white, ramp = (next(k for k in BANK if k.name == name) for name in ("RBF_1", "WhiteKernel_1", "DotProduct_0"))
    x = grid(5)
    composed = Composition((rbf, white, ramp), ("+", "*"))
    assert composed.name == "(RBF_1 + WhiteKernel_1) * DotProduct_0"
    expected = (rbf.covariance(x) + white.covariance(x)) * ramp.covariance(x)
    assert np.array_equal(composed.covariance(x), expected)
    peers = (_peer("RBF_1") + _peer("WhiteKernel_1")) * _peer("DotProduct_0")
    assert np.allclose(composed.covariance(x), peers(x[:, None]), atol=1e-14)


def test_compositions_use_one_to_five_kernels_equally_often(rng):
    drawn = [random_composition(rng) for _ in range(3000)]
    counts = np.bincount([len(c.kernels) for c in drawn], minlength=7)
    assert counts[0] == counts[6] == 0
    assert np.abs(counts[1:6] - 600).max() < 6 * np.sqrt(3000 * 0.2 * 0.8)
    pluses = np.mean([o == "+" for c in drawn for o in c.operators])
    assert abs(pluses - 0.5) < 6 * 0.5 / np.sqrt(6000)
    assert {k.name for c in drawn for k in c.kernels} == {k.name for k in BANK}


def test_kernel_synth_series_are_finite_and_follow_the_seed():
    for seed in range(10):
        first, again = (kernel_synth(256, np.random.default_rng(seed)) for _ in range(2))
        assert first[0].name == again[0].name and np.array_equal(first[1], again[1])
        assert first[1].shape == (256,) and np.isfinite(first[1]).all()
