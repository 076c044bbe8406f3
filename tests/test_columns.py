from __future__ import annotations

from datetime import date
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from isonum_core.commands.columns import from_frame, nth_column
from isonum_core.errors import IsonumError

X = np.random.default_rng(0).normal(size=(6, 3))
FRAME = pd.DataFrame(X, columns=list("abc"))


def _from(frame, wanted=None):
    return from_frame(frame, [str(name) for name in frame.columns], "x.parquet", wanted)


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        (pd.date_range("2020", periods=6), "dates"),
        (pd.date_range("2020", periods=6, tz="UTC"), "dates"),
        (pd.timedelta_range("1h", periods=6), "dates"),
        (pd.period_range("2020", periods=6, freq="Q"), "dates"),
        ([date(2020, 1, 1)] * 6, "dates"),
        (list("uvwxyz"), "words"),
        (pd.Categorical(list("uvwxyz")), "words"),
        ([True, False] * 3, "true and false"),
        (pd.array([True, None] * 3, dtype="boolean"), "true and false"),
        ([True, None] * 3, "true and false"),
        ([None] * 6, "nothing"),
    ],
)
def test_columns_without_a_number_are_left_out_aloud(column, kind):
    found, notes = _from(FRAME.assign(z=column))
    assert np.array_equal(found, X) and notes == [f"column 4 ('z') holds {kind}: left out"]
    if kind != "nothing":
        with pytest.raises(IsonumError, match=rf"expected in column 4 \('z'\) of x.parquet, got {kind}"):
            _from(FRAME.assign(z=column), ["z"])


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pd.array([1, None, 3, 4, 5, 7], dtype="Int64"), [1, np.nan, 3, 4, 5, 7]),
        (pd.array([0.5, None, 3, 4, 5, 7], dtype="Float32"), [0.5, np.nan, 3, 4, 5, 7]),
        (np.array([1, 2, 3, 4, 5, 7], dtype="u2"), [1, 2, 3, 4, 5, 7]),
        ([Decimal("1.5"), None, Decimal(3), Decimal(4), Decimal(5), Decimal(7)], [1.5, np.nan, 3, 4, 5, 7]),
        (["1.5", "NA", "3", "", "5", "7"], [1.5, np.nan, 3, np.nan, 5, 7]),
        (pd.Categorical([1, 2, 3, 4, 5, 7]), [1, 2, 3, 4, 5, 7]),
        ([10**20, 2, 3, 4, 5, 7], [1e20, 2, 3, 4, 5, 7]),
    ],
)
def test_numbers_in_other_clothes(column, expected):
    assert np.array_equal(_from(FRAME.assign(z=column), ["z"])[0][:, 0], expected, equal_nan=True)


@pytest.mark.parametrize("kind", ["int64", "uint64", "Int64"])
def test_whole_numbers_that_float64_would_round_are_refused(kind):
    z = pd.array([2**53 + 1, 2, 3, 4, 5, 7], dtype=kind)
    with pytest.raises(IsonumError, match=r"within \+-2\^53 were expected in column 4 \('z'\).*got 9007199254740993"):
        _from(FRAME.assign(z=z))
    assert np.array_equal(_from(FRAME.assign(z=z), ["a"])[0], X[:, [0]])
    with pytest.raises(IsonumError, match="got 9223372036854775808"):  # of which int64 has no absolute value
        _from(FRAME.assign(z=np.array([-(2**63), 2, 3, 4, 5, 7])))


def test_a_column_of_vectors_is_the_array():
    found, notes = _from(pd.DataFrame({"text": list("uvwxyz"), "embedding": list(X)}))
    assert np.array_equal(found, X) and "'text') holds words" in notes[0]
    found, notes = _from(pd.DataFrame({"label": [3, 1, 3, 1, 0, 2], "embedding": list(X)}))
    assert np.array_equal(found, X) and notes == ["column 1 ('label') is not the vectors: left out"]
    with pytest.raises(IsonumError, match="one column of vectors was expected in x.parquet, got 2"):
        _from(pd.DataFrame({"first": list(X), "last": list(X)}))
    with pytest.raises(IsonumError, match="lists of numbers of one length were expected in column 1"):
        _from(pd.DataFrame({"embedding": [[1.0, 2.0], [3.0]]}))


def test_many_columns_without_numbers_make_one_note():
    notes = _from(FRAME.assign(**{f"w{i}": "word" for i in range(9)}))[1]
    assert len(notes) == 4 and notes[-1] == "6 more columns without numbers: left out"


@pytest.mark.parametrize(("start", "n", "left"), [(0, 6, True), (1, 6, True), (2, 6, False), (0, 2, True)])
def test_row_numbers_in_the_first_place_are_no_dimension(start, n, left):
    frame = FRAME[:n]
    frame.insert(0, "row", np.arange(start, start + n))
    found, notes = _from(frame)
    assert found.shape == (n, 3 if left else 4) and ("counts the rows" in str(notes)) == left
    assert _from(frame, ["row", "a"])[0].shape == (n, 2)  # asked for, it is data
    assert _from(frame[["a", "row"]])[0].shape == (n, 2)  # elsewhere, it is data


def test_one_column_that_counts_is_data():
    assert _from(pd.DataFrame({"v": [1, 2, 3]}))[0][:, 0].tolist() == [1, 2, 3]


def test_two_rows_without_names_count_up_by_chance():
    assert from_frame(pd.DataFrame([[0, 5.0], [1, 6.0]]), None, "x.csv", None)[0].shape == (2, 2)


@pytest.mark.parametrize(
    ("column", "words"),
    [
        ("nope", "--column 'nope', which fits none of 3. It has: a, b, c; or give a number from 1"),
        ("0", "which fits none"),
        ("4", "which fits none"),
        ("", "which fits none"),
    ],
)
def test_columns_that_are_not_there(column, words):
    with pytest.raises(IsonumError, match=words):
        _from(FRAME, [column])


def test_a_name_goes_before_a_number_and_must_be_one():
    frame = pd.DataFrame(X, columns=["2", "a", "a"])
    assert np.array_equal(_from(frame, ["2"])[0], X[:, [0]])
    assert np.array_equal(_from(frame, ["3"])[0], X[:, [2]])
    with pytest.raises(IsonumError, match="'a', which fits 2 of 3"):
        _from(frame, ["a"])


def test_complex_columns_are_refused():
    with pytest.raises(IsonumError, match="got complex ones"):
        _from(FRAME.assign(z=X[:, 0] + 1j))


def test_a_number_and_a_word_in_one_column_are_refused_with_the_row():
    with pytest.raises(IsonumError, match=r"in row 2, column 4 \('z'\) of x.parquet, got 'n.a.'"):
        _from(FRAME.assign(z=["1", "n.a.", "2", "3", "4", "5"]))


def test_of_labels_the_one_that_may_be_a_number_is_named():
    with pytest.raises(IsonumError, match="in row 2, .*got '7SK'. Write it as a number .*, or choose other columns"):
        _from(FRAME.assign(z=["TP53", "7SK", "A", "B", "C", "D"]))


def test_columns_of_an_array_have_numbers_from_one():
    assert [nth_column("x.npy", (5, 3), str(j)) for j in (1, 3)] == [0, 2]
    for shape, column in (((5, 3), "0"), ((5, 3), "a"), ((5,), "1")):
        with pytest.raises(IsonumError, match="columns have no names"):
            nth_column("x.npy", shape, column)
