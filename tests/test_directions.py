"""Directions are one sum of unit vectors, however split, merged, masked or scaled, with or without moments."""

import numpy as np
import pytest
import torch

from isonum_core import Directions, IsonumError, Moments
from isonum_core.geometry import moments as module


def cloud(rng, n, d):
    return torch.from_numpy(rng.normal(size=(n, d)) + 3 * rng.normal(size=d))


def slow(x):
    x = x.double().numpy()
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return torch.from_numpy(np.divide(x, length, where=length > 0, out=np.zeros_like(x)).sum(0))


def assert_sum(found, x, rel=1e-12):
    assert found.n == len(x) and found.unit_sum.dtype == torch.float64
    torch.testing.assert_close(found.unit_sum, slow(x), rtol=0, atol=rel * len(x))


@pytest.mark.parametrize("n, d", [(1, 5), (2, 7), (30, 30), (200, 9), (50, 1)])
def test_the_sum_is_its_definition_with_and_without_moments(rng, n, d):
    x = cloud(rng, n, d)
    for found in (Directions.of(x), Moments.of(x).directions):
        assert_sum(found, x)


def test_merging_any_split_equals_one_pass(rng, monkeypatch):
    x = cloud(rng, 64 * 3 + 5, 7)
    x[[3, 100]] = 0
    a, b, c = (Directions.of(part) for part in x.tensor_split([30, 31]))
    assert_sum(c.merge(a.merge(b)), x)
    assert c.merge(a).zeros == a.merge(c).zeros == 2
    monkeypatch.setattr(module, "CHUNK", 64)
    assert_sum(Directions.of(x), x)
    with pytest.raises(IsonumError, match="equal d, got d=7 and d=6.*same site"):
        a.merge(Directions.of(x[:, :6]))


def test_float32_is_summed_to_its_rounding(rng):
    x = (cloud(rng, 20_000, 12) + 1e3).float()
    assert_sum(Directions.of(x), x, rel=1e-6)


def test_a_mask_equals_deletion_and_hides_anything(rng):
    x = cloud(rng, 60, 9)
    mask = torch.from_numpy(rng.random(60) < 0.6)
    x[~mask] = float("nan")
    assert_sum(Directions.of(x, mask), x[mask])


def test_zero_rows_are_counted_and_have_no_direction(rng):
    x = cloud(rng, 30, 5)
    x[[2, 7, 11]] = 0
    for dtype in (torch.float64, torch.float32):
        found = Directions.of(x.to(dtype))
        assert found.zeros == 3
        assert_sum(found, x, rel=1e-12 if dtype == torch.float64 else 1e-6)


def test_short_rows_are_not_zero_rows():
    x = torch.tensor([[1.0, 0.0], [0.0, 1e-30], [1.0, 1.0]])  # the square of 1e-30 is 0 in float32
    assert Directions.of(x).zeros == 0
    assert_sum(Directions.of(x), x, rel=1e-6)


@pytest.mark.parametrize("scale", [1e-30, 1e-18, 1e18, 1e30])
def test_float32_of_any_scale(rng, scale):
    x = (cloud(rng, 50, 6) * scale).float()
    assert_sum(Directions.of(x), x, rel=1e-6)


def test_slopes(rng):
    x = cloud(rng, 6, 4)
    x[2] = 0
    rows = torch.tensor([0, 1, 3, 4, 5])  # a row of zeros has no direction, and no slope to compare with

    def total(free):
        return Directions.of(x.index_copy(0, rows, free)).unit_sum

    free = x[rows].requires_grad_()
    assert torch.autograd.gradcheck(total, (free,)) and torch.autograd.gradgradcheck(total, (free,))
    whole = x.clone().requires_grad_()
    Directions.of(whole).unit_sum.sum().backward()
    assert torch.equal(whole.grad[2], torch.zeros(4, dtype=torch.float64))


def test_layouts_of_memory_do_not_matter(rng):
    x = cloud(rng, 40, 12).float()
    negative = torch.complex(x, -x).conj().imag  # a view that holds minus what it shows
    for view in (negative, x.T.contiguous().T, x.repeat_interleave(2, 1)[:, ::2], torch.cat([x, x], 1)[:, :12], x[::3]):
        assert_sum(Directions.of(view), view, rel=1e-6)
