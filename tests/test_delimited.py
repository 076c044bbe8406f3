from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isonum_core.commands.columns import Table, from_table
from isonum_core.commands.delimited import read_delimited
from isonum_core.errors import IsonumError

NAN = np.nan
X = np.random.default_rng(0).normal(size=(60, 4))
FRAME = pd.DataFrame(X, columns=list("abcd"))


def _read(text, suffix=".csv", columns=None, header="auto"):
    content = text if isinstance(text, bytes) else text.encode()
    found, notes = read_delimited(content, f"x{suffix}", suffix, header)
    found = found if isinstance(found, Table) else Table(pd.DataFrame(found))
    values, left = from_table(found, f"x{suffix}", columns)
    return values, notes + left


def _same(text, expected, *options):
    found = _read(text, *options)[0]
    return np.array_equal(found, np.array(expected, dtype=float), equal_nan=True)


# --- what pandas, R, numpy and spreadsheets write by default: the numbers, all of them and no others ---


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (FRAME.to_csv(), "no name"),
        (FRAME.to_csv(index=False), ""),
        (FRAME.to_csv(header=False), "column 1 counts the rows: left out"),
        (FRAME.to_csv(header=False, index=False), ""),
        (pd.DataFrame(X).to_csv(), "no name"),
        (FRAME.rename_axis("id").to_csv(), r"column 1 \('id'\) counts the rows"),
        (FRAME.set_axis(range(1, 61)).rename_axis("n").to_csv(), r"column 1 \('n'\) counts the rows"),
        (FRAME.set_axis(np.random.default_rng(1).permutation(60)).to_csv(), "no name"),
        (FRAME.set_axis(np.linspace(0, 1, 60)).to_csv(), "no name"),
        (FRAME.set_axis(pd.date_range("2020", periods=60)).to_csv(), "column 1 holds dates"),
        (FRAME.set_axis(pd.date_range("2020", periods=60, freq="h")).to_csv(header=False), "holds dates"),
        (FRAME.set_axis([f"w{i}" for i in range(60)]).to_csv(), "holds words"),
        (FRAME.set_axis([f"w{i}" for i in range(60)]).to_csv(header=False), "column 1 holds words"),
        (pd.read_csv(io.StringIO(FRAME.to_csv())).to_csv(index=False), "no name"),  # "Unnamed: 0"
        (FRAME.to_csv(sep=";", decimal=","), "decimal commas"),
        (FRAME.to_csv(sep=";", decimal=",", index=False), "decimal commas"),
        (FRAME.to_csv(sep="\t", decimal=",", index=False), "decimal commas"),
        (FRAME.to_csv(sep="|", index=False), ""),
        ("sep=;\n" + FRAME.to_csv(sep=";", index=False), ""),
        (FRAME.to_csv(sep="\t", index=False).encode("utf-16"), ""),  # a spreadsheet's Unicode text
        (FRAME.to_csv(index=False).encode("utf-8-sig"), ""),
        (FRAME.rename(columns={"a": "größe"}).to_csv(index=False).encode("latin-1"), "read as Latin-1"),
        (FRAME.to_csv(index=False, lineterminator="\r\n"), ""),
        (FRAME.to_csv(index=False, lineterminator="\r"), ""),
        (FRAME.to_csv(index=False, lineterminator="\r\r\n"), ""),  # Windows, written twice
        (FRAME.to_csv(index=False, quoting=1), ""),
        (FRAME.assign(day="2020-01-01").to_csv(index=False), r"column 5 \('day'\) holds dates"),
        (FRAME.assign(ok=True).to_csv(index=False), r"column 5 \('ok'\) holds true and false"),
        (FRAME.assign(e=NAN).to_csv(index=False), r"column 5 \('e'\) holds nothing"),
        (FRAME.to_csv(index=False) + "\n\n", ""),
    ],
)
def test_a_table_as_programs_write_it(text, left):
    found, notes = _read(text)
    assert np.array_equal(found, X)
    assert not notes if not left else pd.Series(notes).str.contains(left).any()


def _r(separator, corner):
    """As R writes a data frame: names and row names in quotes, by write.table without a name for the latter."""
    head = separator.join(corner + [f'"{name}"' for name in "abcd"])
    rows = [separator.join([f'"{i}"', *map(repr, row)]) for i, row in enumerate(X.tolist(), 1)]
    return "\n".join([head, *rows]) + "\n"


@pytest.mark.parametrize(
    ("text", "suffix"),
    [(_r(" ", []), ".txt"), (_r("\t", []), ".tsv"), (_r(",", ['""']), ".csv"), (_r(",", []), ".csv")],
)
def test_a_table_as_r_writes_it(text, suffix):
    found, notes = _read(text, suffix)
    assert np.array_equal(found, X) and "has no name" in notes[0]


@pytest.mark.parametrize("head", ["", "a b c d", "made on a Monday by me", "one\n# two"])
def test_a_table_as_numpy_writes_it(tmp_path, head):
    np.savetxt(tmp_path / "x.txt", X, header=head)
    assert np.array_equal(_read((tmp_path / "x.txt").read_bytes(), ".txt")[0], np.loadtxt(tmp_path / "x.txt"))
    np.savetxt(tmp_path / "y.txt", X, fmt="%14.6f")  # padded by spaces from the left
    assert np.array_equal(_read((tmp_path / "y.txt").read_bytes(), ".txt")[0], np.loadtxt(tmp_path / "y.txt"))


def test_names_from_numpy_choose_columns(tmp_path):
    np.savetxt(tmp_path / "x.csv", X, delimiter=",", header="a,b,c,d")
    assert np.array_equal(_read((tmp_path / "x.csv").read_bytes(), columns=["c"])[0], X[:, [2]])


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("1,2\n3,4\n", 2),
        ("x,y\n1,2\n3,4", 2),
        ('"a, b",c\n1,2\n', 1),
        ("1e-3, -2.5\r\n3,4\r\n", 2),
        ("h\n1\n2\n3\n", 3),
        ("5\n6\n", 2),
        ('"1","2"\n0.5,0.6\n0.7,0.8\n', 2),
        ("2019-01,2019-02\n1,2\n3,5\n", 2),
        ("day,0.5\n2020-01-01,0.25\n", 1),
    ],
)
def test_with_and_without_names(text, rows):
    assert len(_read(text)[0]) == rows


# --- gaps: every cell keeps its place ---


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("v\n1\n2\n\n4\n5\n\n6\n", [1, 2, NAN, 4, 5, NAN, 6]),
        (pd.DataFrame({"v": [1, 2, NAN, 4]}).to_csv(index=False), [1, 2, NAN, 4]),
        ("v\n1\nNA\n3\n", [1, NAN, 3]),
        ("NA\n1\n2\n3\n", [NAN, 1, 2, 3]),
        ('""\n1\n2\n', [NAN, 1, 2]),
        ("v\n\n1\n2\n\n\n", [NAN, 1, 2]),
        ("v\r\n1\r\n\r\n3\r\n", [1, NAN, 3]),
        ("v\nnan\nNULL\nNone\n-1\n", [NAN, NAN, NAN, -1]),
        ("v\n1 \n NA \n3\n", [1, NAN, 3]),
    ],
)
def test_gaps_are_values(text, expected):
    assert _same(text, np.array(expected)[:, None])


@given(
    st.lists(st.one_of(st.none(), st.floats(allow_nan=False, width=64)), min_size=1, max_size=8).filter(
        lambda values: any(value is not None for value in values)
    ),
    st.sampled_from(["NA", "", "nan", '""', "NULL"]),
    st.sampled_from(["name\n", ""]),
)
def test_a_series_comes_back_bit_by_bit_with_its_gaps_in_place(values, gap, head):
    if not head and values[0] is None and gap == "":
        values = [0.5, *values]  # a blank first line may be a title: asked about
    text = head + "\n".join(gap if value is None else repr(value) for value in values) + "\n"
    expected = [NAN if value is None else value for value in values]
    if gap == "":  # blank lines at the end are none
        while np.isnan(expected[-1]):
            expected.pop()
    found, _ = _read(text)
    assert np.array_equal(found[:, 0].view(np.int64), np.array(expected).view(np.int64)) or np.array_equal(
        found[:, 0], expected, equal_nan=True
    )


@given(
    st.lists(st.lists(st.floats(-1e9, 1e9).map(lambda v: v + 0.5), min_size=3, max_size=3), min_size=2, max_size=6),
    st.sampled_from([(",", "."), (";", "."), (";", ","), ("\t", "."), ("\t", ","), ("|", ".")]),
    st.booleans(),
    st.booleans(),
)
def test_how_pandas_writes_a_table_does_not_matter(rows, marks, index, header):
    separator, decimal = marks
    frame = pd.DataFrame(rows, columns=list("xyz"))
    if index and not header and len(rows) < 3:
        return  # two rows without names count up by chance
    text = frame.to_csv(sep=separator, decimal=decimal, index=index, header=header)
    try:
        assert np.array_equal(_read(text)[0], frame.to_numpy())
    except IsonumError as error:  # 1,234 and nothing else in a column
        assert decimal == "," and "thousands" in str(error)


# --- what could be read in two ways is asked about, what cannot be read is refused, with the line of the file ---


@pytest.mark.parametrize(
    "text",
    [
        "0,1,2\n5,6,7\n8,9,9\n",
        "1990,1991\n1,2\n3,5\n",
        "country,1990,1991\na,1,2\nb,3,4\n",
        "apple,5\npear,6\n",
        "0x10,2\n1,4\n",
        "#DIV/0!\n1\n2\n",
        "1_000\n2\n3\n",
        "5%\n6\n",
    ],
)
def test_a_first_line_that_may_be_names_or_data_is_asked_about(text):
    with pytest.raises(IsonumError, match="may name columns or hold data. Say which with --header yes or --header no"):
        _read(text)
    assert len(_read(text, header="yes")[0]) == text.count("\n") - 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "got an empty file"),
        ("\n \n", "got an empty file"),
        ("\n1,2\n3,4", "empty first line. Write NA if it is a gap"),
        ("a,b\n", "a line of names alone"),
        ("1,2\n3,x\n", "in line 2, column 2 of x.csv, got 'x'"),
        ("a,b\n1,2\n\n3,x\n", r"in line 4, column 2 \('b'\) of x.csv, got 'x'"),
        ('a,b\n"1\n",2\n3,y\n', r"in line 4, column 2 \('b'\)"),
        ("# remark\na,b\n1,2\n3,x\n", "in line 4, column 2"),
        ("1,2\n3,4,5\n", "2 fields in every line of x.csv were expected, as in line 1, got 3 in line 2"),
        ("a,b\n1,2\n3\n", "got 1 in line 3: .*a gap without its separator"),
        ("wert\n1,5\n2,5\n3,75\n", "2 fields .* as in line 2, got 1 in line 1: a decimal comma"),
        ("a,b,c\n1,2\n3,4\n", "2 fields .* as in line 2, got 3 in line 1: .*a gap without its separator"),
        ("<!DOCTYPE html>\n<body>404, not found</body>\n", "2 fields .* as in line 2, got 1 in line 1"),
        ("1\n2,5\n3\n", "1 fields .* as in line 1, got 2 in line 2: a decimal comma"),
        ("1,5\n2,5\n3,75\n", "counts the rows, or these are decimal commas"),
        ('a,b\n"1,5","2,5"\n', "got '1,5'. A decimal comma, or thousands?"),
        ("a;b\n1,234;5\n2,345;6\n", "got '1,234'. A decimal comma, or thousands?"),
        ('a\n"1,234.5"\n"2,000.0"\n', "got '1,234.5'. A decimal comma, or thousands?"),
        ('v\n"[0.5, 1.5]"\n"[1.0, 2.0]"\n', r"got '\[0.5, 1.5\]'. .* Lists are read from .parquet"),
        ("a;b\n1.234,5;5\n2,5;6\n", r"got '1.234,5'"),
        ("a;b\n1.5;5\n2,5;6\n", "in line 2, .* got '1.5'"),
        ("a;b\n1.500;0,5\n2;0,25\n", "in line 2, .* got '1.500'"),
        # that one rounds to 2^53, so it is not larger once it is a float
        ("a\n9007199254740993\n1\n", "got 9007199254740993: float64 would round"),
        ("price\n$5\n$6\n", "got '\\$5'. Write it as a number"),
        ("a\n1\n#DIV/0!\n", "line 3, .*got '#DIV/0!'"),
        ("a\n1\n0x10\n", "got '0x10'"),
        ("a\n1\n1_0\n", "got '1_0'"),
        ("a\n1\n1+2j\n", "got '1\\+2j'"),
        ("word\na\nb\n", "got none: column 1 \\('word'\\) holds words"),
        ('a,b\n"1,2\n3,4\n', "quotes in pairs were expected in x.csv, got: .* by line 3"),
        ("a,b\n1,2\0\n", "a text was expected"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(text, words):
    with pytest.raises(IsonumError, match=words) as caught:
        _read(text)
    assert "\n" not in str(caught.value) and ".." not in str(caught.value)


# --- word vectors ---

WORDS = ["the", ",", '"', "null", ". . .", "1", "NA", "at name@x.y", "\x85", '"quoted"']


def _vectors(head=""):
    x = X[: len(WORDS)]
    return head + "".join(f"{word} {' '.join(map(repr, row))}\n" for word, row in zip(WORDS, x.tolist(), strict=True))


@pytest.mark.parametrize("suffix", [".txt", ".vec"])
@pytest.mark.parametrize("head", ["", f"{len(WORDS)} 4\n"])
def test_word_vectors_whatever_the_words(suffix, head):
    assert np.array_equal(_read(_vectors(head), suffix)[0], X[: len(WORDS)])
    assert np.array_equal(_read(_vectors(head), suffix, ["2"])[0], X[: len(WORDS), [1]])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (_vectors("400000 4\n"), "400000 vectors were promised in the first line of x.vec, got 10: cut short"),
        (_vectors("10 4\n").replace("null ", "null x"), "a word and 4 numbers were expected in line 5 of x.vec"),
        (_vectors().replace("null ", ""), "a word and 4 numbers were expected in line 4"),
        (_vectors().replace("null ", "null 1_0"), "a word and 4 numbers were expected in line 4"),
    ],
)
def test_word_vectors_that_are_not_whole(text, words):
    with pytest.raises(IsonumError, match=words):
        _read(text, ".vec")


@pytest.mark.parametrize("header", ["", "a b c d"])
def test_spaces_of_savetxt_part_numbers_under_every_name(header):
    file = io.BytesIO()
    np.savetxt(file, X, header=header)
    assert _same(file.getvalue(), np.array([[float(f"{v:.18e}") for v in row] for row in X]))
    file = io.BytesIO()
    np.savetxt(file, X, header=header, comments="")
    assert _same(file.getvalue(), np.array([[float(f"{v:.18e}") for v in row] for row in X]))


@pytest.mark.parametrize("text", ["v\n1 234\n2 345\n", "1 234\n2 345 678\n", "1 234.5\nx 2\n"])
def test_spaces_within_numbers_of_thousands_part_nothing(text):
    with pytest.raises(IsonumError, match="1 234"):
        _read(text)
