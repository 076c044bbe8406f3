"""Which columns of a table are numbers: the chosen, or all but row numbers, dates and words, each left out aloud."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from isonum_core.errors import IsonumError

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|[+-]?(inf|infinity)", re.IGNORECASE)
# What pandas reads as missing when it is not told otherwise.
GAPS = frozenset(
    " #N/A #N/A,N/A #NA -1.#IND -1.#QNAN -NaN -nan 1.#IND 1.#QNAN <NA> N/A NA NULL NaN None n/a nan null".split(" ")
)
COMMA = re.compile(r"[+-]?\d*,\d+(e[+-]?\d+)?", re.IGNORECASE)
# A number among decimal commas, where a point would part thousands.
COMMAS = re.compile(r"[+-]?(\d+,?\d*|,\d+)(e[+-]?\d+)?|[+-]?(inf|infinity)", re.IGNORECASE)
THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+")
DATE = re.compile(
    r"\d{4}-\d{1,2}(-\d{1,2})?([T ]\d.*)?|\d{1,4}([./-])\d{1,2}\3\d{1,4}( \d.*)?|\d{1,2}:\d{2}.*|\d{4}[- ]?Q[1-4]"
)


class NotANumber(IsonumError):
    """A cell that is no number stands in a column of numbers; `cells` are all such cells of its column."""

    def __init__(self, message: str, cells: list[str]) -> None:
        super().__init__(message)
        self.cells = cells


def from_frame(
    frame: pd.DataFrame,
    names: Sequence[str] | None,
    file: str,
    wanted: list[str] | None,
    line: Callable[[int], str] = "row {}".format,
    number: re.Pattern = NUMBER,
) -> tuple[np.ndarray, list[str]]:
    """The numbers (n, d) of a table in float64, NaN at its gaps, and a note for every column that was left out.

    `wanted` are names, or numbers from 1; else all columns are taken but those that hold no number: dates, words, true
    and false, nothing at all; and a first one that counts the rows, as pandas and R write it. `line` words the place of
    a row. Raises IsonumError on a column that mixes numbers with other things: nothing is dropped from within.
    """
    k = frame.shape[1]
    # what pandas calls a column without a name once it has read it
    names = names and ["" if re.fullmatch(r"Unnamed: \d+", name) else name for name in names]
    labels = [f"column {j + 1}" + (f" ({names[j]!r})" if names and names[j].strip() else "") for j in range(k)]
    places = [_find(column, names, k, file) for column in wanted] if wanted else range(k)
    columns, notes, left = [], [], []
    for j in places:
        numbers, kind = _numbers(frame.iloc[:, j], labels[j], file, line, number)
        if numbers is None and wanted:
            raise IsonumError(f"numbers were expected in {labels[j]} of {file}, got {kind}. Choose another --column.")
        if numbers is None or (numbers.ndim == 1 and not wanted and k > 1 and np.isnan(numbers).all()):
            left.append(f"{labels[j]} holds {kind or 'nothing'}: left out")
            continue
        nameless = bool(names) and not names[j].strip()
        if j == 0 and k > 1 and not wanted and numbers.ndim == 1 and _counts_rows(numbers, nameless, bool(names), file):
            how = "has no name, as row names have none" if nameless else "counts the rows"
            left.append(f"{labels[j]} {how}: left out (choose it with --column if it is data)")
            continue
        columns.append((j, numbers))
    if not wanted and any(numbers.ndim == 2 for _, numbers in columns):  # beside vectors, numbers are labels
        left += [f"{labels[j]} is not the vectors: left out" for j, numbers in columns if numbers.ndim == 1]
        columns = [(j, numbers) for j, numbers in columns if numbers.ndim == 2]
        if len(columns) > 1:
            raise IsonumError(
                f"one column of vectors was expected in {file}, got {len(columns)}. Choose with --column."
            )
    if not columns:
        raise IsonumError(f"at least one column of numbers was expected in {file}, got none: {'; '.join(left)}.")
    notes += left if len(left) <= 4 else [*left[:3], f"{len(left) - 3} more columns without numbers: left out"]
    return np.concatenate([x if x.ndim == 2 else x[:, None] for _, x in columns], axis=1), notes


def nth_column(file: str, shape: tuple, column: str) -> int:
    """Place of a column of an (n, d) array, whose columns have numbers from 1 and no names."""
    if len(shape) != 2 or not column.isdecimal() or not 1 <= int(column) <= shape[1]:
        raise IsonumError(
            f"{file} holds an array of shape {shape}, whose columns have no names, got --column {column!r}. "
            "Give the number of a column of an (n, d) array, from 1 to d."
        )
    return int(column) - 1


def _find(column: str, names: Sequence[str] | None, k: int, file: str) -> int:
    found = [j for j in range(k) if names and names[j].strip() == column.strip()]
    if not found and column.isdecimal() and 1 <= int(column) <= k:
        found = [int(column) - 1]
    if len(found) != 1:
        listed = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "") if names else "no names"
        raise IsonumError(
            f"one column of {file} was expected, got --column {column!r}, which fits {len(found) or 'none'} of {k}. "
            f"It has: {listed}; or give a number from 1."
        )
    return found[0]


def _numbers(
    column: pd.Series, label: str, file: str, line: Callable, number: re.Pattern
) -> tuple[np.ndarray | None, str]:
    """The numbers of one column, or None and what it holds instead."""
    if pd.api.types.is_bool_dtype(column.dtype):
        return None, "true and false"
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(column.cat.categories.dtype if column.notna().all() else object)
    if pd.api.types.is_complex_dtype(column.dtype):
        raise IsonumError(f"real numbers were expected in {label} of {file}, got complex ones. Save the parts apart.")
    whole = column.dropna() if pd.api.types.is_integer_dtype(column.dtype) else []
    if len(whole) and (large := max(int(whole.max()), -int(whole.min()))) > 2**53:
        raise IsonumError(
            f"whole numbers within +-2^53 were expected in {label} of {file}, got {large}: float64 would round them. "
            "Subtract an offset, or choose other columns with --column."
        )
    if pd.api.types.is_numeric_dtype(column.dtype):
        return column.to_numpy(dtype=np.float64, na_value=np.nan), ""
    if column.dtype.kind in "Mm" or isinstance(column.dtype, pd.DatetimeTZDtype | pd.PeriodDtype):
        return None, "dates"
    there = column.dropna()
    if not len(there):
        return np.full(len(column), np.nan), ""
    if isinstance(there.iloc[0], list | tuple | np.ndarray):
        return _vectors(column, label, file), ""
    cells = [str(cell).strip() for cell in there]
    if set(cells) <= {"True", "False", "TRUE", "FALSE", "true", "false"}:
        return None, "true and false"
    if all(map(DATE.fullmatch, cells)):
        return None, "dates"
    bad = [cell for cell in cells if not number.fullmatch(cell) and cell not in GAPS]
    if not bad:
        texts = [str(cell).strip().replace(",", ".") for cell in column.fillna("")]
        return np.array([np.nan if text in GAPS else float(text) for text in texts]), ""
    # A word starts with a letter; what has a digit, a sign or a currency in front may be a number written otherwise.
    if len(bad) == len(cells) and all(cell[:1].isalpha() for cell in cells):
        return None, "words"
    odd = next((cell for cell in bad if not cell[:1].isalpha()), bad[0])
    at = next(i for i, cell in enumerate(column) if str(cell).strip() == odd)
    advice = "Write it as a number or leave it empty, or choose other columns with --column."
    if COMMA.fullmatch(odd) or THOUSANDS.fullmatch(odd):
        advice = "A decimal comma, or thousands? Write 1234.5, or decimal commas between semicolons."
    raise NotANumber(f"a number was expected in {line(at + 1)}, {label} of {file}, got {odd[:40]!r}. {advice}", bad)


def _vectors(column: pd.Series, label: str, file: str) -> np.ndarray:
    """A column whose cells are lists of equal length, as data sets of embeddings have it."""
    try:
        found = np.stack([np.asarray(cell, dtype=np.float64) for cell in column])
    except (TypeError, ValueError):
        found = np.empty(0)
    if found.ndim != 2:
        raise IsonumError(
            f"lists of numbers of one length were expected in {label} of {file}, got others. Pad or drop."
        )
    return found


def _counts_rows(numbers: np.ndarray, nameless: bool, named: bool, file: str) -> bool:
    n = len(numbers)
    for start in (0, 1):
        # two rows alone count up by chance, so there a name must say that this is a table
        if np.array_equal(numbers, np.arange(start, n + start)) and (n > 2 or named):
            return True
    if not nameless:
        return False
    if len(np.unique(numbers)) == n and (numbers == np.round(numbers)).all():
        return True
    raise IsonumError(
        f"a name for every column of {file} was expected, got none for the first, and it does not count rows. "
        "Name it if it is data, or choose columns with --column."
    )
