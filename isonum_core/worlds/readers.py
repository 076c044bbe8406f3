"""Readers of published files: numeric CSV, and the data files of R. Each refuses what it does not fully understand."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import re
import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from isonum_core.errors import IsonumError

# Stricter than float(), which also takes "1_0", "nan", "Infinity", blanks and digits of other scripts.
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?", re.ASCII)
_NA_INTEGER = -(2**31)


def csv_rows(data: bytes, skip: int = 0) -> list[list[str]]:
    """Cells of a CSV file in UTF-8, after `skip` lines, all rows of one width. Raises IsonumError otherwise.

    Quoted cells may hold commas; a byte order mark is dropped; the last line may lack its end.
    """
    try:
        text = io.StringIO(data.decode("utf-8-sig"), newline="")
        for _ in range(skip):
            text.readline()
        rows = list(csv.reader(text, strict=True))
    except UnicodeDecodeError as error:
        raise IsonumError(f"a CSV file in UTF-8 was expected, got {error.reason} at byte {error.start}.") from None
    except csv.Error as error:
        raise IsonumError(f"a CSV file was expected, got a row that is none: {error}.") from None
    if not rows:
        raise IsonumError(f"a CSV file with rows after the first {skip} lines was expected, got none.")
    for place, row in enumerate(rows):
        if len(row) != len(rows[0]) or not row:
            raise IsonumError(
                f"rows of {len(rows[0])} cells were expected, got {len(row)} in row {place + 1 + skip}: a damaged file."
            )
    return rows


def numbers(cells: list[str], missing: str = "") -> Float[np.ndarray, "T"]:
    """Decimal numbers as float64; a cell equal to `missing` becomes NaN. Raises IsonumError on any other cell."""
    for place, cell in enumerate(cells):
        if cell != missing and not _NUMBER.fullmatch(cell):
            raise IsonumError(f"a decimal number was expected, got {cell[:40]!r} in cell {place + 1}.")
    values = np.array([np.nan if cell == missing else float(cell) for cell in cells])
    if np.isinf(values).any():
        raise IsonumError("numbers below 1.8e308 were expected, got a larger one. float64 cannot hold it.")
    return values


@dataclass
class RVector:
    """A vector of R with its attributes: 'dim', 'names', 'tsp', 'class' ... as R has them."""

    values: Any
    attributes: dict[str, RVector] = field(default_factory=dict)


def read_rdata(data: bytes) -> dict[str, RVector]:
    """Objects of an R data file (.rda) by name: logical, integer, real, string vectors and lists, with attributes.

    The serialisation is that of R internals, section 1.8: version 2 in XDR order, plain or compressed with gzip, bzip2
    or xz. Integer NA and real NA become NaN; lists are lists of RVector. Functions, environments and anything else
    raise IsonumError, as do truncated files and bytes left over.
    """
    data = decompressed(data)
    if data[:7] != b"RDX2\nX\n":
        raise IsonumError(f"an R data file of version 2 in XDR order was expected, got {data[:7]!r} at its start.")
    reader = _XdrReader(data, 7)
    version = reader.integers(3)[0]
    if version != 2:
        raise IsonumError(f"serialisation version 2 was expected, got {version}.")
    try:
        objects = reader.pairs(reader.integers(1)[0])
    except RecursionError:
        raise IsonumError("lists nested a few levels deep were expected, got hundreds. The file is damaged.") from None
    if reader.place != len(data):
        raise IsonumError(f"the file should end after its objects, got {len(data) - reader.place} bytes more.")
    return objects


def decompressed(data: bytes) -> bytes:
    """The file behind gzip, bzip2 or xz, told by its first bytes; any other file as it is."""
    openers = {b"\x1f\x8b": gzip.decompress, b"BZh": bz2.decompress, b"\xfd7zXZ": lzma.decompress}
    for magic, opener in openers.items():
        if data.startswith(magic):
            try:
                return opener(data)
            except (OSError, EOFError, ValueError, lzma.LZMAError) as error:
                raise IsonumError(f"a compressed file was expected, got a damaged one: {error}.") from None
    return data


class _XdrReader:
    """Reads items one after another; `place` is the next byte. Flags: type in bits 0-7, attributes 9, tag 10."""

    def __init__(self, data: bytes, place: int) -> None:
        self.data, self.place = data, place
        self.symbols: list[str] = []

    def take(self, count: int) -> bytes:
        if count < 0 or self.place + count > len(self.data):
            raise IsonumError(f"{count} bytes were expected at byte {self.place}, got the end of the file: it is cut.")
        self.place += count
        return self.data[self.place - count : self.place]

    def integers(self, count: int) -> tuple[int, ...]:
        return struct.unpack(f">{count}i", self.take(4 * count))

    def vector(self, dtype: str, missing: int | None = None) -> np.ndarray:
        (length,) = self.integers(1)
        raw = np.frombuffer(self.take(length * np.dtype(dtype).itemsize), dtype)
        values = raw.astype(np.float64)
        # NA of a real vector is a signalling NaN with a payload: sums of it would raise a floating-point flag.
        values[np.isnan(values) if missing is None else raw == missing] = np.nan
        return values

    def symbol(self, flags: int) -> str:
        """A name: new (type 1), or a reference to one seen before (type 255), whose index is in the upper bits."""
        kind = flags & 255
        if kind == 1:
            self.symbols.append(self.text(self.integers(1)[0]))
            return self.symbols[-1]
        if kind == 255:
            index = flags >> 8 or self.integers(1)[0]
            if 1 <= index <= len(self.symbols):
                return self.symbols[index - 1]
        raise IsonumError(f"a name was expected at byte {self.place}, got an item of type {kind}.")

    def text(self, flags: int) -> str:
        if flags & 255 != 9:
            raise IsonumError(f"a string was expected at byte {self.place}, got an item of type {flags & 255}.")
        (length,) = self.integers(1)
        return "NA" if length == -1 else self.take(length).decode("utf-8", "replace")

    def pairs(self, flags: int) -> dict[str, RVector]:
        """A pairlist: names with values, closed by type 254."""
        found: dict[str, RVector] = {}
        while flags & 255 != 254:
            if flags & 255 != 2 or not flags & 1024:
                raise IsonumError(f"a list of named objects was expected at byte {self.place}, got type {flags & 255}.")
            if flags & 512:
                raise IsonumError(f"a plain list was expected at byte {self.place}, got one with attributes.")
            name = self.symbol(self.integers(1)[0])
            found[name] = self.item(self.integers(1)[0])
            (flags,) = self.integers(1)
        return found

    def item(self, flags: int) -> RVector:
        kind = flags & 255
        if kind == 254:
            return RVector([])
        if kind in (10, 13):
            values = self.vector(">i4", _NA_INTEGER)
        elif kind == 14:
            values = self.vector(">f8")
        elif kind == 16:
            values = [self.text(self.integers(1)[0]) for _ in range(self.integers(1)[0])]
        elif kind == 19:
            values = [self.item(self.integers(1)[0]) for _ in range(self.integers(1)[0])]
        else:
            raise IsonumError(f"a vector or a list was expected at byte {self.place}, got an item of type {kind}.")
        return RVector(values, self.pairs(self.integers(1)[0]) if flags & 512 else {})


def r_columns(table: RVector) -> tuple[list[str], Float[np.ndarray, "n T"]]:
    """Names and columns of an R matrix of numbers, as series in rows; unnamed columns are numbered from 1."""
    dim = table.attributes.get("dim")
    if dim is None or len(dim.values) != 2 or np.prod(dim.values) != len(table.values):
        raise IsonumError("a matrix of numbers was expected, got an object without two dimensions that fit its length.")
    length, n = (int(size) for size in dim.values)
    named = table.attributes.get("dimnames")
    names = named.values[1].values if named is not None else []
    return list(names) or [str(i + 1) for i in range(n)], np.asarray(table.values).reshape(n, length)
