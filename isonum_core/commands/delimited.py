"""Tables in text as pandas, R, spreadsheets and word vectors have them: told from the file, or asked about."""

from __future__ import annotations

import csv
import io
import re

import numpy as np
import pandas as pd

from isonum_core.commands.columns import (
    COMMA,
    COMMAS,
    DATE,
    GAPS,
    NUMBER,
    THOUSANDS,
    NotANumber,
    from_frame,
    nth_column,
)
from isonum_core.errors import IsonumError

SAMPLE = 30  # lines from which separator and names are told
YEARS = range(1500, 2201)  # whole numbers that are as likely names as data
# A field that may be a number written otherwise, or a spreadsheet's error: 0x10, 5 %, #DIV/0!
ODD = re.compile(r"[\W_]*\d.*|#[A-Z/0]+[!?]")


def read_text(
    content: bytes, file: str, suffix: str, wanted: list[str] | None, header: str
) -> tuple[np.ndarray, list[str]]:
    """The numbers (n, d) of a text, NaN at its gaps, and notes. See `from_frame` for the columns that are left out.

    A blank line within is a row of gaps, at the end it is none. Tabs, semicolons, bars and commas separate, in .txt
    spaces too. Raises IsonumError with the line where fields are of unequal number or no number can be read.
    """
    text, notes = _decoded(content, file)
    lines = text.rstrip("\n ").split("\n")
    skipped, separator = 0, None
    if hint := re.fullmatch(r"sep=(.)\s*", lines[0], re.IGNORECASE):  # a spreadsheet's
        lines, skipped, separator = lines[1:], 1, hint[1]
    while lines and lines[0].startswith("# "):  # numpy's: names, where there is one for every field, or a remark
        below = [line for line in lines[1:SAMPLE] if line.strip()]
        parted = [len(_fields(line, _separator(below[:1], ".txt"))) for line in (lines[0][2:], *below[:1])]
        if len(parted) == 2 and parted[0] == parted[1] and not below[0].startswith("# "):
            lines[0] = lines[0][2:]
        else:
            lines, skipped = lines[1:], skipped + 1
    if not lines or not lines[0].strip():
        got = "an empty first line. Write NA if it is a gap, or delete it" if len(lines) > 1 else "an empty file"
        raise IsonumError(f"numbers or names were expected in {file}, got {got}.")
    if suffix in (".txt", ".vec") and (width := _vector_width(lines)):
        found = _read_vectors(lines, width, file, skipped)
        return found[:, [nth_column(file, found.shape, column) for column in wanted]] if wanted else found, notes
    separator = separator or _separator(lines, suffix)
    if spaced := separator == " ":
        lines, separator = ["\t".join(_fields(line, " ")) for line in lines], "\t"
    reader = csv.reader((line + "\n" for line in lines), delimiter=separator, skipinitialspace=True, strict=True)
    rows, line = [], 1  # of every row the number of fields, 0 where it is blank, and its line
    try:
        for row in reader:
            rows.append((len(row) if len(row) > 1 or "".join(row).strip() else 0, line + skipped))
            line = reader.line_num + 1
    except csv.Error as error:
        got = f"{error} by line {reader.line_num + skipped}"
        raise IsonumError(f"quotes in pairs were expected in {file}, got: {got}.") from None
    first = [field.strip() for field in next(csv.reader(lines, delimiter=separator, skipinitialspace=True))]
    names = first if _named(first, lines, separator, file, header) else None
    body = rows[bool(names) :]
    if not body:
        raise IsonumError(f"rows of numbers were expected in {file}, got a line of names alone.")
    width, at = next((row for row in body if row[0]), (1, 1))
    if names and len(names) + 1 == width and (spaced or lines[at - skipped - 1].startswith('"')):
        names = ["", *names]  # R names the columns, and begins every row with its own name
    if names and len(names) != width:
        why = "a gap needs its separator" if width < len(names) else "check its separators and quotes"
        if width > len(names) and all(map(_number, _fields(lines[at - skipped - 1], separator))):
            why = "a decimal comma? Write decimal points"
        raise IsonumError(
            f"as many names as fields were expected in {file}, got {len(names)} name{'s' * (len(names) > 1)} but "
            f"{width} fields in line {at}: {why}."
        )
    if odd := [row for row in body if row[0] not in (0, width)]:
        raise IsonumError(
            f"{width} fields in every line of {file} were expected, got {odd[0][0]} in line {odd[0][1]}. "
            "A gap needs its separator; a comma within a number is none."
        )
    text = "\n".join(lines[body[0][1] - skipped - 1 :]) + "\n"
    if '"' not in text:
        text = re.sub(" +(?=[\n" + re.escape(separator) + "])", "", text)
    found, left, commas = _parsed(text, separator, names, body, file, wanted)
    if names is None and separator == "," and width == 2 and left and not wanted:
        if all(re.fullmatch(r"\s*\d+,\d+\s*", line) for line in lines):
            raise IsonumError(
                f"the first of two columns of {file} counts the rows, or these are decimal commas. Say --column 2 for "
                "the second column alone, or write decimal points."
            )
    return found, [*notes, *(["decimal commas, read as such"] if commas else []), *left]


def _parsed(text: str, separator: str, names, body: list, file: str, wanted) -> tuple[np.ndarray, list[str], bool]:
    # pandas before 3.1 reads the last digit of a number right only when it is asked to
    exact = {} if tuple(map(int, pd.__version__.split(".")[:2])) >= (3, 1) else {"float_precision": "round_trip"}
    options = dict(sep=separator, header=None, names=range(max(row[0] for row in body) or 1), index_col=False, **exact)
    options |= dict(skip_blank_lines=False, skipinitialspace=separator != "\t", low_memory=False)
    for decimal in ".,":
        frame = pd.read_csv(io.StringIO(text), decimal=decimal, **options)
        if len(frame) != len(body):
            raise IsonumError(f"{len(body)} rows were expected in {file}, got {len(frame)}: check its quotes.")
        try:
            number = NUMBER if decimal == "." else COMMAS
            found = from_frame(frame, names, file, wanted, lambda row: f"line {body[row - 1][1]}", number)
            return *found, decimal == ","
        except NotANumber as error:
            commas = [cell for cell in error.cells if COMMA.fullmatch(cell)]
            if decimal == "," or separator == "," or not commas or all(map(THOUSANDS.fullmatch, commas)):
                raise
    raise AssertionError


def _decoded(content: bytes, file: str) -> tuple[str, list[str]]:
    notes = []
    try:
        # the first is what a spreadsheet calls Unicode text
        text = content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
        notes.append("not UTF-8: read as Latin-1")
    if "\0" in text or text.startswith("PK\x03\x04"):
        raise IsonumError(f"a text was expected in {file}, got other bytes. If it is a spreadsheet, save it as .csv.")
    return re.sub(r"\r+\n|\r", "\n", text), notes


def _fields(line: str, separator: str) -> list[str]:
    """The fields of one line; a space stands for any white space."""
    if separator == " " and '"' not in line:
        return line.split()
    spaced = separator == " "
    line = line.strip().replace("\t", " ") if spaced else line
    return next(csv.reader([line], delimiter=separator, skipinitialspace=True, strict=spaced), [])


def _separator(lines: list[str], suffix: str) -> str:
    """What parts the fields of every line but the first, which may be a title; a comma where nothing does."""
    sample = [line for line in lines[:SAMPLE] if line.strip()]
    for separator in "\t;|," + " " * (suffix in (".txt", ".vec")):
        parted = [len(_fields(line, separator)) for line in sample]
        if all(k > 1 for k in parted[1:] or parted):
            return separator
    return ","


def _number(field: str, separator: str = ",") -> bool:
    field = field.strip()
    return bool(NUMBER.fullmatch(field) or (separator != "," and COMMA.fullmatch(field)))


def _named(first: list[str], lines: list[str], separator: str, file: str, header: str) -> bool:
    """Whether the first line names columns: a field of it is neither number nor gap, and stands over numbers."""
    if header != "auto":
        return header == "yes"
    real = [_number(field, separator) for field in first]
    words = [j for j, field in enumerate(first) if not real[j] and field not in GAPS]
    whole = [int(field) for field in first if re.fullmatch(r"\d{1,9}", field)]
    even = len(whole) == sum(real) and len(set(np.diff(whole))) <= 1
    if not words:
        up = even and len(first) > 1 and whole == list(range(whole[0], whole[0] + len(whole))) if whole else False
        if up and first[0] == "" and whole[0] == 0 and len(whole) == len(first) - 1:
            return True  # the default of pandas: row numbers without a name, columns 0, 1, 2, ...
        if len(first) > 1 and lines[0].count('"') == 2 * len(first) and lines[1:] and lines[1].count('"') <= 2:
            return True  # R quotes names and no numbers
        unclear = up and len(whole) == len(first) and (whole[0] == 0 or whole[0] in YEARS)
    else:
        sample = [_fields(line, separator) for line in lines[1:SAMPLE]]
        cells = [(first[j], row[j].strip()) for row in sample for j in words if len(row) > j]
        over = any(_number(cell, separator) or (DATE.fullmatch(cell) and not DATE.fullmatch(w)) for w, cell in cells)
        unclear = any(ODD.fullmatch(first[j]) and not DATE.fullmatch(first[j]) for j in words)
        if not unclear and (over or not any(real)):
            return True
        # words over other words (labels, dates), beside numbers: fractions are data, 1990 and 1991 may be names
        unclear = unclear or (even and not all(DATE.fullmatch(first[j]) for j in words))
    if unclear:
        raise IsonumError(
            f"the first line of {file} is {','.join(first[:3])},...: it may name columns or hold data. "
            "Say which with --header yes or --header no."
        )
    return False


def _vector_width(lines: list[str]) -> int:
    """d of word vectors: a word and d numbers a line, parted by single spaces, perhaps after a line `N d`; else 0."""
    first = lines[0].rstrip(" ").split(" ")
    if len(first) == 2 and all(field.isdecimal() for field in first) and len(lines) > 1:
        return int(first[1]) if 1 < int(first[1]) < len(lines[1].rstrip(" ").split(" ")) else 0
    word = not _number(first[0]) and '"' not in first[0][1:]
    return len(first) - 1 if len(first) > 2 and word and all(map(_number, first[1:])) else 0


def _read_vectors(lines: list[str], d: int, file: str, skipped: int) -> np.ndarray:
    promised = int(lines[0].split()[0]) if len(lines[0].split()) == 2 else None
    body = lines[promised is not None :]
    if promised not in (None, len(body)):
        raise IsonumError(
            f"{promised} vectors were promised in the first line of {file}, got {len(body)}: cut short? Load it again."
        )
    found = np.empty((len(body), d))
    for i, line in enumerate(body):
        word, *numbers = line.rstrip(" ").rsplit(" ", d)  # from the right, as a word may hold spaces
        try:
            found[i] = numbers if len(numbers) == d and "_" not in "".join(numbers) else "others"
        except ValueError:
            line = i + 1 + skipped + (promised is not None)
            raise IsonumError(f"a word and {d} numbers were expected in line {line} of {file}, got others.") from None
    return found
