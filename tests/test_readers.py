from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isonum_core.errors import IsonumError
from isonum_core.worlds.readers import csv_rows, decompressed, numbers, r_columns, read_rdata

finite = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(st.lists(st.none() | finite, min_size=2, max_size=2), min_size=1, max_size=8))
def test_numbers_written_as_csv_come_back_exactly(table):
    text = "".join(",".join("" if x is None else repr(x) for x in row) + "\n" for row in table)
    back = [numbers(row) for row in csv_rows(text.encode())]
    expected = np.array([[np.nan if x is None else x for x in row] for row in table])
    assert np.array_equal(back, expected, equal_nan=True)
    assert sum(int(np.isnan(row).sum()) for row in back) == sum(x is None for row in table for x in row)


@given(st.text(alphabet='0123456789.,-+eE"\n\r ;naNinf_٣', max_size=40) | st.text(max_size=20))
def test_any_text_is_read_back_or_refused(text):
    """Reject or round-trip: cells that are accepted, written by the csv module and read again, are the same cells."""
    try:
        rows = csv_rows(text.encode("utf-8", "surrogatepass"))
    except IsonumError:
        return
    out = io.StringIO(newline="")
    csv.writer(out).writerows(rows)
    assert csv_rows(out.getvalue().encode()) == rows
    for row in rows:
        try:
            values = numbers(row)
        except IsonumError:
            continue
        again = numbers(["" if np.isnan(v) else repr(float(v)) for v in values])
        assert np.array_equal(values, again, equal_nan=True) and not np.isinf(values).any()
        assert np.isnan(values).sum() == sum(cell == "" for cell in row)


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(data):
    for reader in (csv_rows, read_rdata, decompressed):
        try:
            reader(data)
        except IsonumError:
            pass


@pytest.mark.parametrize("cell", ["nan", "NA", "inf", "1_0", " 1", "1 ", "0x1", "1e", "--1", "٣", "1,0", "1e999", "?"])
def test_what_is_no_number_is_no_guess(cell):
    with pytest.raises(IsonumError, match="a decimal number was expected, got|float64 cannot hold it"):
        numbers(["1", cell])


def test_missing_is_what_the_caller_says():
    assert np.array_equal(numbers(["1", "", "-2.5e3"]), [1, np.nan, -2500], equal_nan=True)
    assert np.array_equal(numbers(["1", "?"], missing="?"), [1, np.nan], equal_nan=True)
    with pytest.raises(IsonumError, match="got '' in cell 2"):
        numbers(["1", ""], missing="?")


def test_damaged_csv_is_refused():
    assert csv_rows(b'\xef\xbb\xbfa,"b, c"\r\n1,2') == [["a", "b, c"], ["1", "2"]]
    assert csv_rows(b"note\na,b\n", skip=1) == [["a", "b"]]
    for data, words in (
        (b"", "rows after the first 0 lines was expected, got none"),
        (b"a,b\n", "rows after the first 3 lines"),
        (b"a,b\n1\n", "rows of 2 cells were expected, got 1 in row 2"),
        (b"a,b\n1,2\n\n3,4\n", "got 0 in row 3"),
        (b'a,"b\n', "a row that is none"),
        (b"\xff\xfe1", "in UTF-8 was expected, got invalid start byte at byte 0"),
    ):
        with pytest.raises(IsonumError, match=words):
            csv_rows(data, skip=3 if "3 lines" in words else 0)


# A writer of the same format, from its description: enough of R to make small files.
def _int(*values):
    return struct.pack(f">{len(values)}i", *values)


def _string(text):
    return _int(9) + (_int(-1) if text is None else _int(len(text)) + text.encode())


def _pair(name, item):
    return _int(2 | 1024) + _int(1) + _string(name) + item


def _vector(kind, values, **attributes):
    body = {
        13: lambda: np.array(values, ">i4").tobytes(),
        14: lambda: np.array(values, ">f8").tobytes(),
        16: lambda: b"".join(map(_string, values)),
        19: lambda: b"".join(values),
    }[kind]()
    tail = b"".join(_pair(k, v) for k, v in attributes.items()) + _int(254) if attributes else b""
    return _int(kind | (512 if attributes else 0), len(values)) + body + tail


def _file(*pairs):
    return b"RDX2\nX\n" + _int(2, 0x020602, 0x020300) + b"".join(pairs) + _int(254)


def _matrix():
    names = _vector(19, [_int(254), _vector(16, ["a", "b", "c"])])
    return _file(_pair("m", _vector(13, [1, 2, 3, -(2**31), 5, 6], dim=_vector(13, [2, 3]), dimnames=names)))


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_an_r_matrix_is_read_by_columns(pack):
    names, values = r_columns(read_rdata(pack(_matrix()))["m"])
    assert names == ["a", "b", "c"]
    assert np.array_equal(values, [[1, 2], [3, np.nan], [5, 6]], equal_nan=True)


def test_r_lists_keep_names_and_missing_values():
    na = struct.unpack(">d", bytes.fromhex("7ff00000000007a2"))[0]  # R's NA: a NaN with payload 1954
    columns = [_vector(14, [1.5, na, float("inf")]), _vector(16, ["x", None])]
    found = read_rdata(
        _file(_pair("one", _vector(19, columns, names=_vector(16, ["u", "v"]))), _pair("two", _int(254)))
    )
    assert list(found) == ["one", "two"] and found["two"].values == []
    table = found["one"]
    assert table.attributes["names"].values == ["u", "v"]
    assert np.array_equal(table.values[0].values, [1.5, np.nan, np.inf], equal_nan=True)
    assert np.isfinite(table.values[0].values).sum() == 1 and table.values[1].values == ["x", "NA"]


def test_a_name_seen_before_is_a_reference():
    inner = _int(14 | 512, 1) + struct.pack(">d", 2.0)
    again = _int(2 | 1024) + _int(255 | 1 << 8) + _vector(16, ["k"]) + _int(254)
    found = read_rdata(_file(_pair("names", inner + again)))
    assert found["names"].attributes["names"].values == ["k"]
    with pytest.raises(IsonumError, match="a name was expected"):
        read_rdata(_file(_int(2 | 1024) + _int(255 | 7 << 8) + _int(254)))


def test_a_cut_file_is_refused_wherever_it_is_cut():
    whole = _matrix()
    for length in range(len(whole)):
        with pytest.raises(IsonumError):
            read_rdata(whole[:length])
    with pytest.raises(IsonumError, match="got 1 bytes more"):
        read_rdata(whole + b"\x00")
    with pytest.raises(IsonumError, match="a compressed file was expected, got a damaged one"):
        read_rdata(gzip.compress(whole)[:-9])


@given(st.integers(0, len(_matrix()) - 1), st.integers(0, 255))
def test_a_changed_byte_is_read_or_refused(place, byte):
    data = bytearray(_matrix())
    data[place] = byte
    try:
        for table in read_rdata(bytes(data)).values():
            r_columns(table)
    except IsonumError:
        pass


def test_other_r_objects_are_refused():
    for data, words in (
        (b"RDX3\nX\n" + _int(3, 0, 0), "version 2 in XDR order was expected, got b'RDX3"),
        (b"RDX2\nX\n" + _int(3, 0, 0), "serialisation version 2 was expected, got 3"),
        (_file(_pair("f", _int(3))), "a vector or a list was expected at byte .*, got an item of type 3"),
        (_file(_vector(13, [1])), "a list of named objects was expected"),
    ):
        with pytest.raises(IsonumError, match=words):
            read_rdata(data)
    with pytest.raises(IsonumError, match="nested a few levels deep"):
        read_rdata(_file(_pair("deep", _int(19, 1) * 5000)))
    with pytest.raises(IsonumError, match="a matrix of numbers was expected"):
        r_columns(read_rdata(_file(_pair("v", _vector(13, [1, 2], dim=_vector(13, [2, 3])))))["v"])
