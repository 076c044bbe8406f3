"""Each cloud has the halves that its docstring promises."""

import numpy as np
import pytest
import torch

from isonum_core import Moments
from isonum_core.geometry.clouds import CLOUDS, power_law_cloud, rogue_dimension_cloud, segment_cloud


def halves(x):
    m = Moments.of(x)
    mean_sq = float(m.mean @ m.mean)
    return mean_sq / (mean_sq + float(m.trace)), float(m.trace**2 / m.frobenius_sq)


@pytest.mark.parametrize("decay", [0.0, 1.5])
@pytest.mark.parametrize("offset", [0.0, 2.0])
def test_power_law_sets_each_half_alone(decay, offset):
    spectrum = np.arange(1, 33) ** -decay
    mean_share, pr = halves(power_law_cloud(20_000, 32, np.random.default_rng(0), decay, offset))
    # 20,000 draws: the standard error of either half is below 1 % here
    assert mean_share == pytest.approx(offset**2 / (1 + offset**2), abs=0.01)
    assert pr == pytest.approx(spectrum.sum() ** 2 / (spectrum**2).sum(), rel=0.05)


def test_rogue_dimension_carries_four_fifths_of_the_length():
    x = rogue_dimension_cloud(20_000, 32, np.random.default_rng(0))
    share = x[:, 0].square().mean() / x.square().sum(1).mean()
    assert float(share) == pytest.approx((4 * 32 + 1) / (5 * 32), abs=0.01)


def test_segment_is_one_dimensional_and_centred():
    mean_share, pr = halves(segment_cloud(100, 16, np.random.default_rng(0)))
    assert mean_share == pytest.approx(0, abs=1e-12)
    assert pr == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("name", CLOUDS)
def test_every_cloud_is_seeded_and_finite(name):
    a, b = (CLOUDS[name](50, 8, np.random.default_rng(3)) for _ in range(2))
    assert a.shape == (50, 8) and torch.equal(a, b) and bool(a.isfinite().all())
