"""Which columns of a table are numbers: the chosen, or all but row numbers, dates and words, each left out aloud."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd

from isonum_core.errors import IsonumError

# What pandas reads as missing when it is not told otherwise.
GAPS = frozenset(
    " #N/A #N/A,N/A #NA -1.#IND -1.#QNAN -NaN -nan 1.#IND 1.#QNAN <NA> N/A NA NULL NaN None n/a nan null".split(" ")
)
EXACT = 2**53  # whole numbers up to here are float64 values
THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d*)?")
DATE = re.compile(
    r"\d{4}-\d{1,2}(-\d{1,2})?([T /]\d.*)?|\d{1,4}([./-])\d{1,2}\3\d{1,4}( \d.*)?|\d{1,2}:\d{2}.*|\d{4}[- ]?Q[1-4]"
    r"|-?\d+ days.*"
)


class Table(NamedTuple):
    """Columns (n, k) of a file: typed, or all of text where a `separator` parted them; `line` words a row's place."""

    frame: pd.DataFrame
    names: list[str] | None = None
    separator: str = ""
    line: Callable[[int], str] = "row {}".format


def number(cell: str, comma: bool = False) -> float | None:
    """A cell as float64, NaN where it is a gap, None where it is neither; beside decimal commas a point is none."""
    if cell in GAPS:
        return math.nan
    try:
        value = None if "_" in cell or (comma and "." in cell) else float(cell.replace(",", ".") if comma else cell)
    except ValueError:
        return None
    return value if value == value else None


def from_table(table: Table, file: str, wanted: list[str] | None = None) -> tuple[np.ndarray, list[str]]:
    """The numbers (n, d) of a table in float64, NaN at its gaps, and a note for every column that was left out.

    `wanted` are names, or numbers from 1; else all columns are taken but those that hold no number: dates, words, true
    and false, nothing at all; and a first one that counts the rows, as pandas and R write it.
    Raises IsonumError on a column that mixes numbers with other things: nothing is dropped from within.
    """
    frame, names, separator, line = table
    k, left, columns = frame.shape[1], [], {}
    # what pandas calls a column without a name once it has read it
    names = names and ["" if re.fullmatch(r"Unnamed: \d+", name) else name for name in names]
    labels = [f"column {j + 1}" + (f" ({names[j]!r})" if names and names[j].strip() else "") for j in range(k)]
    places = [_find(column, names, k, file) for column in wanted] if wanted else range(k)
    commas = []
    if separator not in ("", ","):
        cells = (cell for j in places for cell in frame.iloc[:, j] if "," in cell)
        commas = [cell for cell in cells if number(cell, comma=True) is not None]
    comma = not all(map(THOUSANDS.fullmatch, commas))
    for j in places:
        found = _numbers(frame.iloc[:, j], f"{labels[j]} of {file}", line, comma)
        if isinstance(found, str) and wanted:
            raise IsonumError(f"numbers were expected in {labels[j]} of {file}, got {found}. Choose another --column.")
        if isinstance(found, str):
            left.append(f"{labels[j]} holds {found}: left out")
        elif j == 0 and k > 1 and not wanted and found.ndim == 1 and (how := _row_numbers(found, names)):
            left.append(f"{labels[0]} {how}: left out (choose it with --column if it is data)")
            if k == 2 and separator == "," and not names and all(map(str.isdecimal, frame[1])):
                raise IsonumError(
                    f"the first of two columns of {file} counts the rows, or these are decimal commas. Say --column 2 "
                    "for the second column alone, or write decimal points."
                )
        else:
            columns[j] = found
    vectors = [j for j in columns if columns[j].ndim == 2]
    if vectors and not wanted:  # beside vectors, numbers are labels
        if len(vectors) > 1:
            raise IsonumError(f"one column of vectors was expected in {file}, got {len(vectors)}. Choose a --column.")
        left += [f"{labels[j]} is not the vectors: left out" for j in columns if j not in vectors]
        columns = {vectors[0]: columns[vectors[0]]}
    if not columns:
        raise IsonumError(f"at least one column of numbers was expected in {file}, got none: {'; '.join(left)}.")
    notes = ["decimal commas, read as such"] if comma else []
    notes += left if len(left) <= 4 else [*left[:3], f"{len(left) - 3} more columns without numbers: left out"]
    return np.column_stack(list(columns.values())), notes


def exact(whole: np.ndarray | pd.Series, where: str) -> None:
    """Raises IsonumError on whole numbers that float64 would round."""
    if whole.size and (large := max(int(whole.max()), -int(whole.min()))) > EXACT:
        raise IsonumError(
            f"whole numbers within +-2^53 were expected in {where}, got {large}: float64 would round them. "
            "Subtract an offset, or leave them out."
        )


def _find(column: str, names: list[str] | None, k: int, file: str) -> int:
    found = [j for j in range(k) if names and names[j].strip() == column.strip()]
    found = found or [j for j in range(k) if column == str(j + 1)]
    if len(found) != 1:
        listed = ", ".join(names[:20]) + ", ..." * (len(names) > 20) if names else "no names"
        raise IsonumError(
            f"one column of {file} was expected, got --column {column!r}, which fits {len(found) or 'none'} of {k}. "
            f"It has: {listed}; or give a number from 1."
        )
    return found[0]


def _numbers(column: pd.Series, where: str, line: Callable[[int], str], comma: bool) -> np.ndarray | str:
    """The numbers of one column, a row of them for each row where its cells are lists; or what it holds instead."""
    types = pd.api.types
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = pd.Series(column.tolist())
    if types.is_complex_dtype(column.dtype):
        raise IsonumError(f"real numbers were expected in {where}, got complex ones. Save the parts apart.")
    if types.is_numeric_dtype(column.dtype) and not types.is_bool_dtype(column.dtype):
        if types.is_integer_dtype(column.dtype):
            exact(column.dropna(), where)
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    if not comma:  # the usual column of text, in a tenth of the time; what is no text does not join
        with contextlib.suppress(TypeError, ValueError):
            if "_" not in "".join(column) and (abs(found := np.array(list(map(float, column)))) < EXACT).all():
                return found
    if isinstance(next(iter(column.dropna()), None), list | tuple | np.ndarray):
        try:
            return np.stack([np.array(cell, dtype=np.float64, ndmin=1) for cell in column]).reshape(len(column), -1)
        except (TypeError, ValueError):
            raise IsonumError(
                f"lists of numbers of one length were expected in {where}, got others. Pad or drop."
            ) from None
    cells = [str(cell).strip() for cell in column.astype(object).where(column.notna(), "")]
    there = [cell for cell in cells if cell not in GAPS]
    if not there:
        return "nothing"
    if set(map(str.lower, there)) <= {"true", "false"}:
        return "true and false"
    if all(map(DATE.fullmatch, there)):
        return "dates"
    values = [number(cell, comma) for cell in cells]
    bad = [cell for cell, value in zip(cells, values, strict=True) if value is None]
    if not bad:
        found = np.array(values)
        whole = [int(cells[i]) for i in np.flatnonzero(abs(found) >= EXACT) if cells[i].lstrip("+-").isdecimal()]
        exact(np.array([cell for cell in whole if cell != float(cell)], dtype=object), where)
        return found
    # A word starts with a letter; what has a digit, a sign or a currency in front may be a number written otherwise.
    odd = next((cell for cell in bad if not cell[:1].isalpha()), None)
    if len(bad) == len(there) and odd is None:
        return "words"
    odd = odd or bad[0]
    advice = "Write it as a number or leave it empty, or choose other columns with --column."
    advice += " Lists are read from .parquet, arrays from .npy." * odd.startswith("[")
    if number(odd, comma=True) is not None or THOUSANDS.fullmatch(odd):
        advice = "A decimal comma, or thousands? Write 1234.5, or decimal commas between semicolons."
    place = line(cells.index(odd) + 1)
    raise IsonumError(f"a number was expected in {place}, {where}, got {odd[:40]!r}. {advice}")


def _row_numbers(numbers: np.ndarray, names: list[str] | None) -> str:
    """Why a first column is no data; nothing where it is."""
    if names and not names[0].strip():
        return "has no name, as row names have none"
    # two rows alone count up by chance, so there a name must say that this is a table
    counts = any(np.array_equal(numbers, np.arange(len(numbers)) + start) for start in (0, 1))
    return "counts the rows" if counts and (len(numbers) > 2 or names) else ""
