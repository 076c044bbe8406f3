"""Digits and slopes of every score: error bounds by type of number, gradients by finite differences and closed form."""

import math

import numpy as np
import pytest
import torch

from isonum_core import Moments
from isonum_core.geometry import scores
from isonum_core.geometry.scores import SCORES


def cloud(rng, n, d):
    return torch.from_numpy(rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + rng.normal(size=d))


def value(name, x):
    return float(SCORES[name].function(Moments.of(x)))


# Relative error against float64 of the same states; inputs are rounded too, which is most of it.
BOUNDS = {torch.float64: 1e-12, torch.float32: 3e-6, torch.float16: 1e-2, torch.bfloat16: 6e-2}


@pytest.mark.parametrize("offset", [0.0, 10.0])
@pytest.mark.parametrize("dtype", BOUNDS)
@pytest.mark.filterwarnings("ignore::isonum_core.errors.WeakNumberWarning")
def test_precision_by_type_of_number(rng, dtype, offset):
    """Mean cosine and mean share get the bound as absolute error: they pass through zero."""
    x = torch.from_numpy(rng.normal(size=(600, 24)) * np.arange(1, 25) ** -0.5 + offset * rng.normal(size=24))
    for name, score in SCORES.items():
        if name == "explained_dimension":
            continue  # a count
        want, got = value(name, x), float(score.function(Moments.of(x.to(dtype))))
        assert got == pytest.approx(want, rel=BOUNDS[dtype], abs=BOUNDS[dtype] if score.half == "mean" else 0), name


def test_float32_products_do_not_invent_rank(rng):
    """Rank 3 in 64 dimensions: entropy sees rounding, so the bound is looser; PR does not."""
    x = torch.from_numpy(rng.normal(size=(500, 3)) @ rng.normal(size=(3, 64)))
    for name, bound in [("participation_ratio", 1e-6), ("effective_rank", 2e-4)]:
        assert value(name, x.float()) == pytest.approx(value(name, x), rel=bound)


def even_cloud():
    """C = I exactly: rows +-e_i, scaled so that the variance of every direction is one."""
    return torch.cat([torch.eye(4), -torch.eye(4)]).double() * math.sqrt(7 / 2)


POINTS = {
    "many rows": lambda rng: cloud(rng, 9, 4),
    "few rows": lambda rng: cloud(rng, 5, 8),
    "C = I": lambda rng: even_cloud(),
    "rank 1": lambda rng: torch.from_numpy(np.outer(rng.normal(size=6), rng.normal(size=4))),
}


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("name", [k for k, s in SCORES.items() if s.differentiable])
def test_gradients_are_those_of_the_formula(rng, name, point):
    x = POINTS[point](rng).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: SCORES[name].function(Moments.of(x)), (x,), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("shape", [(9, 4), (5, 8)])
def test_the_gradient_of_iso_score_star_with_any_prior(rng, shape):
    x, a = cloud(rng, *shape), cloud(rng, 30, shape[1])
    c0 = Moments.of(a).covariance
    assert torch.autograd.gradcheck(
        lambda x, c0: scores.iso_score_star(Moments.of(x), 0.3, c0), (x.requires_grad_(), c0.requires_grad_())
    )
    # In closed form: 2 (1 - zeta)/((n - 1)(d - 1)) Xc (2 tr/F) (I - (tr/F) S), F = ||S||_F^2, C0 fixed.
    n, d = shape
    scores.iso_score_star(Moments.of(x), 0.3, c0.detach()).backward()
    with torch.no_grad():
        y = x - x.mean(0)
        s = 0.7 * y.T @ y / (n - 1) + 0.3 * c0
        tr, f = s.trace(), (s**2).sum()
        want = 2 * 0.7 / ((n - 1) * (d - 1)) * y @ (2 * tr / f * (torch.eye(d) - tr / f * s))
    torch.testing.assert_close(x.grad, want, rtol=1e-9, atol=1e-13)


def test_an_even_cloud_is_a_summit(rng):
    x = even_cloud().requires_grad_()
    score = scores.iso_score(Moments.of(x))
    score.backward()
    assert score.item() == pytest.approx(1)
    assert float(x.grad.abs().max()) < 1e-12
