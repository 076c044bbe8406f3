"""What a score refuses, and the sentence it says."""

import pytest
import torch

from isonum_core import IsonumError, Moments
from isonum_core.errors import WeakNumberWarning
from isonum_core.geometry import scores
from isonum_core.geometry.scores import SCORES


def cloud(rng, n, d):
    return torch.from_numpy(rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + rng.normal(size=d))


def test_one_dimension_has_no_isotropy(rng):
    m = Moments.of(cloud(rng, 9, 1))
    for name in ("iso_score", "iso_score_star", "iso_score_unbiased"):
        with pytest.raises(IsonumError, match="d >= 2.*d=1.*nothing to spread over"):
            SCORES[name].function(m)
    assert float(scores.participation_ratio(m)) == pytest.approx(1)


SPECTRAL = [k for k, s in SCORES.items() if s.half == "spectral"]


@pytest.mark.parametrize("name", [*SPECTRAL, "mean_share"])
def test_clouds_without_a_spectrum_raise(name):
    for x, words in [(torch.ones(1, 3), "at least 2 samples, got n=1"), (torch.ones(5, 3), "5 equal rows")]:
        with pytest.raises(IsonumError, match=words if "unbiased" not in name else f"{words}|at least 4 samples"):
            SCORES[name].function(Moments.of(x))


def test_rows_of_zeros_are_left_out_of_cosines_with_a_warning(rng):
    x = cloud(rng, 20, 5)
    padded = Moments.of(torch.cat([x, torch.zeros(7, 5, dtype=x.dtype)]))
    with pytest.warns(WeakNumberWarning, match="7 of 27 rows have length zero.*mask them"):
        got = scores.mean_cosine(padded)
    assert float(got) == pytest.approx(float(scores.mean_cosine(Moments.of(x))), rel=1e-12)


def test_cosines_need_directions():
    with pytest.raises(IsonumError, match="at least 2 rows of non-zero length, got 0 of n=4.*check the mask"):
        scores.mean_cosine(Moments.of(torch.zeros(4, 3)))
    with pytest.raises(IsonumError, match="at least 1 rows"):
        scores.cosine_shares(Moments.of(torch.zeros(4, 3)))
    with pytest.raises(IsonumError, match="sum to zero"):
        scores.cosine_shares(Moments.of(torch.tensor([[1.0, 0.0], [-1.0, 0.0]])))


def test_a_pair_has_a_cosine_and_one_row_only_its_shares():
    one = torch.tensor([[3.0, 4.0], [0.0, 0.0]], dtype=torch.float64)
    assert scores.cosine_shares(Moments.of(one[:1])).tolist() == pytest.approx([0.36, 0.64], rel=1e-15)
    with pytest.raises(IsonumError, match="at least 2 rows of non-zero length, got 1 of n=2"):
        scores.mean_cosine(Moments.of(one))
    assert scores.mean_cosine(Moments.of(one.new_tensor([[3, 4], [4, 3]]))).item() == pytest.approx(0.96, rel=1e-15)


@pytest.mark.parametrize("zeta", [-0.1, 1.1, float("nan")])
def test_zeta_is_a_weight(rng, zeta):
    with pytest.raises(IsonumError, match=r"zeta must lie in \[0, 1\], got"):
        scores.iso_score_star(Moments.of(cloud(rng, 9, 4)), zeta)


def test_priors_are_covariances_of_the_same_space(rng):
    m = Moments.of(cloud(rng, 9, 4))
    with pytest.raises(IsonumError, match=r"shape \(4, 4\), got \(3, 3\)"):
        scores.iso_score_star(m, 0.5, torch.eye(3))
    with pytest.raises(IsonumError, match="must be positive, got -.*Check c0"):
        scores.iso_score_star(m, 0.9, -100.0 * torch.eye(4))
    with pytest.raises(IsonumError, match="c0 must be a variance, 0 or more, got -1.0"):
        scores.iso_score_star(m, 0.9, -1.0)
