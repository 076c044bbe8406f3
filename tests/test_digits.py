from __future__ import annotations

import datetime
import doctest

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isonum_core.errors import IsonumError
from isonum_core.worlds import digits
from isonum_core.worlds.digits import from_text, real_numbers, to_text
from isonum_core.worlds.series import find_series, series_names

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


@pytest.mark.parametrize("name", series_names(packaged=True))
def test_real_series_survive_text(name):
    values = find_series(name).values[0]
    assert np.array_equal(from_text(to_text(values)), values, equal_nan=True)


def test_the_shortest_decimal_is_written():
    assert to_text([316.1, 5.0, -0.25, 1e300, 0.1 + 0.2]) == "316.1, 5, -0.25, 1e+300, 0.30000000000000004"


@pytest.mark.parametrize(
    "text", ["1_0", " 1", "1, ", "Infinity", "٣", "1,2", "0x1", "1e5", ".5", "5.", "5.0", "-nan", "inf"]
)
def test_text_that_float_would_accept_but_we_never_write(text):
    with pytest.raises(IsonumError, match="numbers separated by ', ' were expected, got .* at place"):
        from_text(text)


def test_text_beyond_float64():
    with pytest.raises(IsonumError, match="were expected, got '1e\\+999' at place 0"):
        from_text("1e+999")


def test_masked_values_are_missing_and_every_precision_is_read():
    masked = np.ma.masked_array([1.0, 2.0, 9.96921e36, 4.0], mask=[0, 0, 1, 0])
    assert to_text(masked) == "1, 2, nan, 4" and masked.data[2] == 9.96921e36, "the original is untouched"
    assert to_text(np.ma.masked_array([1, 2], mask=[1, 0])) == "nan, 2"
    assert to_text(pd.Series([1, None, 3], dtype="Int64")) == "1, nan, 3" == to_text([1, None, 3])
    for dtype in (torch.bfloat16, torch.float64, torch.int8):
        assert real_numbers(torch.tensor([1, 2], dtype=dtype)).tolist() == [1, 2]
    assert real_numbers(torch.ones(2, requires_grad=True)).dtype == np.float64
    frozen = np.arange(3.0)
    frozen.setflags(write=False)
    assert not np.shares_memory(real_numbers(frozen), frozen)


NO_NUMBERS = [
    np.array([1 + 2j]),
    torch.ones(2, dtype=torch.complex64),
    np.array(["2020-01-01"], dtype="M8[D]"),
    np.array([1, 2], dtype="m8[s]"),
    [datetime.date(2020, 1, 1)],
    [datetime.timedelta(1)],
    pd.Series(pd.date_range("2020", periods=2)),
    ["1"],
    np.array([(1, 2.0)], dtype="i4,f8"),
    [[1.0], [2.0, 3.0]],
    [10**400],
    object(),
]


@pytest.mark.parametrize("values", NO_NUMBERS, ids=lambda v: f"{type(v).__name__} {getattr(v, 'dtype', '')}")
def test_what_holds_no_real_numbers_is_refused_in_one_sentence(values):
    with pytest.raises(IsonumError, match=f"real numbers was expected, got {type(values).__name__} that does not hold"):
        real_numbers(values)


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
