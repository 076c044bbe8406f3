"""Arrays from files at the edge: .npy, .npz, .safetensors and .csv, as finite float64 or refused with a sentence."""

from __future__ import annotations

import csv
import zipfile
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from isonum_core.errors import IsonumError

FORMATS = (".npy", ".npz", ".safetensors", ".csv")
# Whole numbers up to here are float64 values exactly.
EXACT = 2**53


def read_array(path: str | Path, key: str | None = None, header: Literal["auto", "yes", "no"] = "auto") -> Tensor:
    """The array in a file, as stored. `key` chooses in a container (.npz, .safetensors) that holds several.

    header says whether the first line of a .csv names columns; auto: it does unless all its fields are numbers, and
    refuses the one case that could be either, column names 0, 1, 2, ... Nothing in a file is ever run.
    Raises IsonumError on a missing or unreadable file, another format, an unknown or missing key.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise IsonumError(
            f"a file of format {', '.join(FORMATS)} was expected, got {path.name!r}. Save the array as .npy."
        )
    if not path.is_file():
        raise IsonumError(f"a file was expected at {str(path)!r}, got {'a folder' if path.is_dir() else 'nothing'}.")
    try:
        if suffix == ".csv":
            return torch.from_numpy(_read_csv(path, header))
        if suffix == ".safetensors":
            return _read_safetensors(path, key)
        return _read_numpy(path, key)
    except IsonumError:
        raise
    except (OSError, ValueError, EOFError, SafetensorError, zipfile.BadZipFile, csv.Error) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise IsonumError(
            f"{path.name} was expected to be readable as {suffix}, got: {reason}. Write it again, or check the format."
        ) from None


def as_float64(x: Tensor, what: str = "the array") -> tuple[Tensor, str | None]:
    """x in float64, and a note where its stored type matters to the reader.

    Whole numbers are converted, as they are exact in float64 up to 2^53; beyond that, and for booleans and complex
    numbers, IsonumError. Half precision is converted with a note on its digits.
    """
    if x.dtype == torch.bool or x.is_complex():
        raise IsonumError(f"{what} was expected to hold real numbers, got {x.dtype}. Convert it before saving.")
    if not x.is_floating_point():
        if x.numel() and int(x.max()) > EXACT or x.numel() and int(x.min()) < -EXACT:
            raise IsonumError(
                f"whole numbers in {what} were expected within +-2^53, got {int(x.min())}..{int(x.max())}: "
                "float64 would round them. Subtract an offset, or scale."
            )
        return x.double(), f"stored as {x.dtype}: whole numbers, converted exactly to float64"
    note = None
    if x.dtype in (torch.float16, torch.bfloat16):
        bits = 11 if x.dtype == torch.float16 else 8
        note = f"stored as {x.dtype}: {bits} significant bits a value, so scores are good to about {2.0**-bits:.0e}"
    return x.double(), note


def _read_numpy(path: Path, key: str | None) -> Tensor:
    # allow_pickle=False: an array of objects would run code when read.
    with path.open("rb") as file:
        found = np.load(file, allow_pickle=False)
        if isinstance(found, np.ndarray):
            if key is not None:
                raise IsonumError(f"{path.name} holds one array without a name, got --key {key!r}. Leave --key out.")
        else:
            found = found[_choose(path, list(found.files), key)]
    if found.dtype.kind not in "fiubc":
        raise IsonumError(f"real numbers were expected in {path.name}, got dtype {found.dtype}. Convert before saving.")
    if found.dtype.kind in "fc" and found.dtype.itemsize > (8 if found.dtype.kind == "f" else 16):
        found = found.astype(np.float64)  # extended precision: torch has none
    if found.dtype.kind == "u" and found.dtype.itemsize == 8:
        if found.size and found.max() > EXACT:
            raise IsonumError(f"whole numbers in {path.name} were expected within 2^53, got {found.max()}. Scale them.")
        found = found.astype(np.int64)
    if found.dtype.kind == "u":
        found = found.astype(np.int64)
    return torch.from_numpy(np.ascontiguousarray(found, dtype=found.dtype.newbyteorder("=")))


def _read_safetensors(path: Path, key: str | None) -> Tensor:
    with safe_open(path, framework="pt") as file:
        return file.get_tensor(_choose(path, list(file.keys()), key))


def _choose(path: Path, keys: list[str], key: str | None) -> str:
    listed = ", ".join(sorted(keys)[:20]) + (", ..." if len(keys) > 20 else "")
    if not keys:
        raise IsonumError(f"at least one array was expected in {path.name}, got an empty container.")
    if key is None and len(keys) > 1:
        raise IsonumError(f"{path.name} holds {len(keys)} arrays, got no --key. Choose one of: {listed}.")
    if key is not None and key not in keys:
        raise IsonumError(f"an array of {path.name} was expected, got --key {key!r}. It holds: {listed}.")
    return keys[0] if key is None else key


def _read_csv(path: Path, header: str) -> np.ndarray:
    with path.open(newline="", encoding="utf-8-sig") as file:
        first = next(csv.reader(file), [])
    if not any(field.strip() for field in first):
        raise IsonumError(f"numbers separated by commas were expected in {path.name}, got an empty first line.")
    named = not all(_is_number(field) for field in first)
    if header == "auto" and not named and len(first) > 1 and _counts_up(first):
        raise IsonumError(
            f"the first line of {path.name} is {','.join(first[:3])},...: it may name columns or hold data. "
            "Say which with --header yes or --header no."
        )
    if named and header != "no" and not first[0].strip():
        raise IsonumError(
            f"a name for every column of {path.name} was expected, got none for the first: that looks like "
            "row numbers. Write the file without them (index=False in pandas)."
        )
    skip = header == "yes" or (header == "auto" and named)
    with path.open(encoding="utf-8-sig") as file:
        lines = (line for line in islice(file, int(skip), None) if line.strip())
        rows = list(lines)
    if not rows:
        raise IsonumError(f"rows of numbers were expected in {path.name}, got a line of names alone.")
    return np.loadtxt(rows, delimiter=",", quotechar='"', comments=None, ndmin=2)


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def _counts_up(fields: list[str]) -> bool:
    plain = [field.strip() for field in fields]
    return plain == [str(i) for i in range(len(plain))]
