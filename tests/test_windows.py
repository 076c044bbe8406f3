from __future__ import annotations

import doctest

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isonum_core.errors import IsonumError
from isonum_core.worlds import windows as module
from isonum_core.worlds.windows import anchored, windows


@given(start=st.integers(0, 20), length=st.integers(10, 40), context=st.integers(1, 6), horizon=st.integers(1, 4))
def test_windows_are_all_stretches_of_a_span_and_none_leaves_it(start, length, context, horizon):
    """Twin: cut one by one. Values are their own step numbers, so that a window tells where it was cut."""
    values = np.arange(2.0 * 60).reshape(2, 60)
    cut = windows(values, range(start, start + length), context, horizon)
    width = context + horizon
    twin = [row[s : s + width] for row in values for s in range(start, start + length - width + 1)]
    assert np.array_equal(np.hstack([cut.context, cut.target]), twin)
    assert cut.context.shape[1] == context and cut.dropped == 0


def test_windows_with_gaps_are_dropped_and_counted():
    values = np.arange(20.0).reshape(2, 10)
    values[0, 4] = np.nan
    cut = windows(values, range(10), 2, 1)
    assert cut.dropped == 3 and len(cut.context) == 13
    assert np.isfinite(cut.context).all() and np.isfinite(cut.target).all()
    with pytest.raises(IsonumError, match="without missing values were expected, got none among 8"):
        windows(np.full((1, 10), np.nan), range(10), 2, 1)


def test_anchoring_takes_shift_and_scale_away():
    x = torch.randn(5, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    last, scale = anchored(x)
    assert torch.equal(last, x[:, -1:])
    assert np.allclose(scale[:, 0], x.numpy().std(axis=1), rtol=1e-12)
    moved_last, moved_scale = anchored(7 * x - 40)
    torch.testing.assert_close((7 * x - 40 - moved_last) / moved_scale, (x - last) / scale)  # float64's own tolerance


def test_a_constant_has_the_unit_1_also_where_float32_cannot_tell_it_from_one():
    flat = torch.tensor([[7.0] * 8, [0.0] * 8, [1e4] * 7 + [1e4 + 1e-3]])
    last, scale = anchored(flat)
    assert scale[:, 0].tolist() == [1, 1, 1] and torch.equal(last, flat[:, -1:])


def test_bad_requests_say_what_to_do():
    x = np.zeros((1, 10))
    with pytest.raises(IsonumError, match="a window of 8 \\+ 4 steps needs a part as long, got 10"):
        windows(x, range(10), 8, 4)
    with pytest.raises(IsonumError, match="steps within 0 to 10 were expected, got range\\(5, 12\\)"):
        windows(x, range(5, 12), 2, 1)
    for bad in ((0, 1), (1, 0)):
        with pytest.raises(IsonumError, match="context and horizon >= 1"):
            windows(x, range(10), *bad)


def test_the_examples_run():
    assert doctest.testmod(module).failed == 0 and doctest.testmod(module).attempted == 1
