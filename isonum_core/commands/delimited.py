"""Tables in text as pandas, R, spreadsheets and word vectors have them: told from the file, or asked about."""

from __future__ import annotations

import csv
import re

import numpy as np
import pandas as pd

from isonum_core.commands.columns import DATE, GAPS, Table, number
from isonum_core.errors import IsonumError

SAMPLE = 30  # lines from which separator and names are told
YEARS = range(1500, 2201)  # whole numbers that are as likely names as data
GROUPS = re.compile(r"\s*[+-]?\d{1,3}( \d{3})+\s*")  # thousands
# A field that may be a number written otherwise, or a spreadsheet's error: 0x10, 5 %, #DIV/0!
ODD = re.compile(r"[\W_]*\d.*|#[A-Z/0]+[!?]")


def read_delimited(content: bytes, file: str, suffix: str, header: str) -> tuple[Table | np.ndarray, list[str]]:
    """The table of a text, or the array (n, d) of word vectors, and notes.

    A blank line within is a row of gaps, at the end it is none. Tabs, semicolons, bars and commas separate, spaces in
    .txt and between numbers. Raises IsonumError with the line of the file where fields are of unequal number.
    """
    text, notes = decoded(content, file)
    lines = text.rstrip("\n ").split("\n")
    hint = re.fullmatch(r"sep=(.)\s*", lines[0], re.IGNORECASE)  # a spreadsheet's
    skipped, remark = int(bool(hint)), None
    while lines[skipped:] and lines[skipped].startswith("# "):  # numpy's: names, or a remark
        skipped, remark = skipped + 1, lines[skipped][2:]
    lines = lines[skipped:]
    if not lines or not lines[0].strip():
        got = "an empty first line. Write NA if it is a gap, or delete it" if len(lines) > 1 else "an empty file"
        raise IsonumError(f"numbers or names were expected in {file}, got {got}.")
    if suffix in (".txt", ".vec") and (vectors := _vectors(lines, file, skipped)) is not None:
        return vectors, notes
    separator = hint[1] if hint else _separator(lines, suffix)
    if separator == " ":
        lines = [" ".join(line.split()) for line in lines]
    reader = csv.reader((line + "\n" for line in lines), delimiter=separator, skipinitialspace=True, strict=True)
    rows, begins = [], [skipped + 1]  # the fields of every row, none where it is blank; and its line in the file
    try:
        for row in reader:
            rows.append([field.strip() for field in row] if len(row) > 1 or "".join(row).strip() else [])
            begins.append(skipped + reader.line_num + 1)
    except csv.Error as error:
        got = f"{error} by line {reader.line_num + skipped}"
        raise IsonumError(f"quotes in pairs were expected in {file}, got: {got}.") from None
    names = _fields([remark], separator)[0] if remark else []
    if len(names) != len(rows[0]) or None in map(number, rows[0]):
        names = rows[0] if _named(rows, lines, separator, file, header) else None
        rows, begins = rows[names is not None :], begins[names is not None :]
    if not rows:
        raise IsonumError(f"rows of numbers were expected in {file}, got a line of names alone.")
    full = next((i for i, row in enumerate(rows) if row), 0)
    width, quoted = len(rows[full]) or 1, lines[begins[full] - skipped - 1].startswith('"')
    if names and len(names) + 1 == width and (separator == " " or quoted):
        names = ["", *names]  # R names the columns, and begins every row with its own name
    odd = [(skipped + 1, len(names))] if names and len(names) != width else []
    odd += [(begin, len(row)) for begin, row in zip(begins, rows, strict=False) if len(row) not in (0, width)]
    if odd:
        raise IsonumError(
            f"{width} fields in every line of {file} were expected, as in line {begins[full]}, got {odd[0][1]} in line "
            f"{odd[0][0]}: a decimal comma, a gap without its separator, or a quote?"
        )
    frame = pd.DataFrame([row or [""] * width for row in rows], dtype=object)
    return Table(frame, names, separator, lambda row: f"line {begins[row - 1]}"), notes


def decoded(content: bytes, file: str) -> tuple[str, list[str]]:
    """Text with plain line ends, and a note where its encoding was guessed. IsonumError on what is no text."""
    notes = []
    try:
        # the first is what a spreadsheet calls Unicode text
        text = content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
        notes.append("not UTF-8: read as Latin-1")
    if "\0" in text or text.startswith("PK\x03\x04"):
        raise IsonumError(f"a text was expected in {file}, got other bytes. If it is a spreadsheet, save it as .csv.")
    return re.sub(r"\r+\n|\r", "\n", text) if "\r" in text else text, notes  # the search takes longer than the reading


def _fields(lines: list[str], separator: str) -> list[list[str]]:
    lines = [" ".join(line.split()) for line in lines] if separator == " " else lines
    return list(csv.reader(lines, delimiter=separator, skipinitialspace=True))


def _separator(lines: list[str], suffix: str) -> str:
    """What parts the fields of every line but the first, which may be a title; a comma where nothing does."""
    sample = [line for line in lines[:SAMPLE] if line.strip()]
    for separator in "\t;|, ":
        rows = _fields(sample, separator)
        if all(len(row) > 1 for row in rows[1:] or rows):
            # what numpy's savetxt writes whatever the name; 1 234 alone in a line is a number of thousands
            even = len(rows[0]) == len(rows[-1]) and not all(map(GROUPS.fullmatch, sample[1:] or sample))
            numbers = even and all(_is_number(cell) for row in rows[1:] or rows for cell in row)
            if separator != " " or suffix in (".txt", ".vec") or numbers:
                return separator
    return ","


def _is_number(field: str, separator: str = ",") -> bool:
    """Neither a gap nor a word; where commas do not separate, they may be decimal."""
    return field not in GAPS and any(number(field, comma) is not None for comma in (False, separator != ","))


def _named(rows: list[list[str]], lines: list[str], separator: str, file: str, header: str) -> bool:
    """Whether the first line names columns: a field of it is neither number nor gap, and stands over numbers."""
    if header != "auto":
        return header == "yes"
    first = rows[0]
    real = [_is_number(field, separator) for field in first]
    words = [j for j, field in enumerate(first) if not real[j] and field not in GAPS]
    dated = all(DATE.fullmatch(first[j]) for j in words)
    whole = [int(field) for field in first if re.fullmatch(r"\d{1,9}", field)]
    steps = set(np.diff(whole))
    if not words:
        if len(first) > 1 and first == ["", *map(str, range(len(first) - 1))]:
            return True  # the default of pandas: row numbers without a name, columns 0, 1, 2, ...
        if len(first) > 1 and lines[0].count('"') == 2 * len(first) and lines[1:] and lines[1].count('"') <= 2:
            return True  # R quotes names and no numbers
        unclear = steps == {1} and len(whole) == len(first) and (whole[0] == 0 or whole[0] in YEARS)
    else:
        cells = [(first[j], row[j]) for row in rows[1:SAMPLE] for j in words if len(row) > j]
        over = any(_is_number(cell, separator) or (DATE.fullmatch(cell) and not DATE.fullmatch(w)) for w, cell in cells)
        unclear = any(ODD.fullmatch(first[j]) and not DATE.fullmatch(first[j]) for j in words)
        if not unclear and (over or not any(real)):
            return True
        # words over other words (labels, dates), beside numbers: fractions are data, 1990 and 1991 may be names
        unclear = unclear or (len(whole) == sum(real) and len(steps) <= 1 and not dated)
    if unclear:
        raise IsonumError(
            f"the first line of {file} is {','.join(first[:3])},...: it may name columns or hold data. "
            "Say which with --header yes or --header no."
        )
    return False


def _vectors(lines: list[str], file: str, skipped: int) -> np.ndarray | None:
    """Word vectors (n, d): a word and d numbers a line between single spaces, perhaps after a line `N d`; or None."""
    first = lines[0].rstrip(" ").split(" ")
    head = len(first) == 2 and all(map(str.isdecimal, first)) and len(lines) > 1
    parted = lines[head].rstrip(" ").split(" ")
    d = int(first[1]) if head else len(parted) - 1
    words = not _is_number(parted[0]) and '"' not in parted[0][1:] and all(map(_is_number, parted[1:]))
    if not 1 < d < len(parted) or not (head or words):
        return None
    body = lines[head:]
    if head and int(first[0]) != len(body):
        raise IsonumError(
            f"{first[0]} vectors were promised in the first line of {file}, got {len(body)}: cut short? Load it again."
        )
    found = np.empty((len(body), d))
    for i, line in enumerate(body):
        numbers = line.rstrip(" ").rsplit(" ", d)[1:]  # from the right, as a word may hold spaces
        try:
            found[i] = numbers if len(numbers) == d and "_" not in "".join(numbers) else "others"
        except ValueError:
            at = skipped + head + i + 1
            raise IsonumError(f"a word and {d} numbers were expected in line {at} of {file}, got others.") from None
    return found
