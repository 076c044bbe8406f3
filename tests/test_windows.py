from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isonum_core.errors import IsonumError
from isonum_core.worlds.windows import time_split, windows


@given(
    length=st.integers(20, 200),
    validation=st.floats(0.1, 0.4),
    test=st.floats(0.1, 0.4),
    context=st.integers(1, 6),
    horizon=st.integers(1, 4),
    stride=st.integers(1, 5),
)
def test_no_window_straddles_a_split(length, validation, test, context, horizon, stride):
    """Values are their own step numbers, so that a window tells where it was cut."""
    split = time_split(length, validation, test)
    parts = (split.train, split.validation, split.test)
    assert [step for part in parts for step in part] == list(range(length))
    values = np.arange(2.0 * length).reshape(2, length)
    for part in parts:
        if len(part) < context + horizon:
            continue
        cut = windows(values, part, context, horizon, stride)
        steps = np.hstack([cut.context, cut.target]) - length * cut.series[:, None]
        assert set(steps.ravel().astype(int)) <= set(part)
        assert np.array_equal(steps, cut.start[:, None] + np.arange(context + horizon))
        assert cut.dropped == 0 and cut.context.shape[1] == context


def test_every_window_is_there_once():
    cut = windows(np.arange(10.0)[None], range(2, 9), 3, 2, 1)
    assert cut.context.tolist() == [[2, 3, 4], [3, 4, 5], [4, 5, 6]]
    assert cut.target.tolist() == [[5, 6], [6, 7], [7, 8]]
    assert windows(np.arange(10.0)[None], range(10), 3, 2, 5).start.tolist() == [0, 5]


def test_windows_with_gaps_are_dropped_and_counted():
    values = np.arange(20.0).reshape(2, 10)
    values[0, 4] = np.nan
    cut = windows(values, range(10), 2, 1)
    assert cut.dropped == 3 and len(cut.context) == 13
    assert np.isfinite(cut.context).all() and np.isfinite(cut.target).all()
    with pytest.raises(IsonumError, match="without missing values were expected, got none among 8"):
        windows(np.full((1, 10), np.nan), range(10), 2, 1)


def test_the_default_split_keeps_the_last_fifth_for_testing():
    split = time_split(100)
    assert (split.train, split.validation, split.test) == (range(70), range(70, 80), range(80, 100))


def test_bad_requests_say_what_to_do():
    with pytest.raises(IsonumError, match="got 1 to train, 0 to validate and 0 to test"):
        time_split(1)
    with pytest.raises(IsonumError, match="needs a step in each part"):
        time_split(100, 0.5, 0.5)
    x = np.zeros((1, 10))
    with pytest.raises(IsonumError, match="a window of 8 \\+ 4 steps needs a part as long, got 10"):
        windows(x, range(10), 8, 4)
    with pytest.raises(IsonumError, match="steps within 0 to 10 were expected, got range\\(5, 12\\)"):
        windows(x, range(5, 12), 2, 1)
    for bad in ((0, 1, 1), (1, 0, 1), (1, 1, 0)):
        with pytest.raises(IsonumError, match="context, horizon and stride >= 1"):
            windows(x, range(10), *bad)
