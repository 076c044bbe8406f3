from __future__ import annotations

import doctest

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isonum_core.errors import IsonumError
from isonum_core.worlds import digits
from isonum_core.worlds.digits import from_text, to_text
from isonum_core.worlds.series import names, packaged

NUMBERS = st.lists(st.floats(allow_infinity=False, allow_nan=True), max_size=20)


@settings(max_examples=300, deadline=None)
@given(NUMBERS)
def test_text_reads_back_as_the_same_bits(values):
    x = np.array(values, dtype=np.float64)
    back = from_text(to_text(x))
    seen = ~np.isnan(x)
    assert np.array_equal(np.isnan(back), ~seen)
    assert back[seen].tobytes() == x[seen].tobytes(), "minus zero and subnormals included"


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="0123456789+-.,e_ nainfINF٣\n", max_size=12))
def test_any_text_is_rejected_or_round_trips(text):
    try:
        values = from_text(text)
    except IsonumError as error:
        assert "expected" in str(error)
        return
    assert np.array_equal(from_text(to_text(values)), values, equal_nan=True)


@pytest.mark.parametrize("name", names())
def test_real_series_survive_text(name):
    values = packaged(name).values
    assert np.array_equal(from_text(to_text(values)), values, equal_nan=True)


def test_the_shortest_decimal_is_written():
    assert to_text([316.1, 5.0, -0.25, 1e300, 0.1 + 0.2]) == "316.1, 5, -0.25, 1e+300, 0.30000000000000004"


@pytest.mark.parametrize("text", ["1_0", " 1", "1, ", "Infinity", "٣", "1,2", "0x1", "1e5", ".5", "5."])
def test_text_that_float_would_accept_but_we_never_write(text):
    with pytest.raises(IsonumError, match="numbers separated by ', ' were expected, got .* at place"):
        from_text(text)


def test_text_beyond_float64():
    with pytest.raises(IsonumError, match="below 1.8e308 were expected, got '1e\\+999'"):
        from_text("1e+999")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([1.0, np.inf], "must be finite or NaN to be written in digits, got 1 infinite"),
        ([[1.0]], r"must have shape \(T,\), got \(1, 1\)"),
        (["a"], "a series of real numbers was expected, got list"),
    ],
)
def test_bad_input(values, words):
    with pytest.raises(IsonumError, match=words):
        to_text(values)


def test_the_examples_run():
    assert doctest.testmod(digits).failed == 0 and doctest.testmod(digits).attempted == 2
