"""Numbers from files: one door for every format. What comes in is float64 with NaN at the gaps, or one sentence."""

from __future__ import annotations

import contextlib
import math
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
import torch
from safetensors import safe_open

from isonum_core.commands.columns import Table, exact, from_table
from isonum_core.commands.delimited import decoded, read_delimited
from isonum_core.errors import IsonumError

TEXT = (".csv", ".tsv", ".txt", ".vec")
FORMATS = (".npy", ".npz", ".safetensors", ".pt", ".pth", ".parquet", *TEXT)
# What netCDF writes where a number is missing (float32 and float64): saving a masked array as .npy leaves it behind.
NETCDF_FILL = 9.969209968386869e36


class Numbers(NamedTuple):
    """float64 numbers of any shape, notes on how they were read, and the words for where row i, from 1, stands."""

    values: np.ndarray
    notes: list[str]
    place: Callable[[int], str] = "row {}, from 1".format


def read_numbers(
    path: str | Path,
    key: str | None = None,
    columns: list[str] | None = None,
    header: Literal["auto", "yes", "no"] = "auto",
) -> Numbers:
    """The real numbers of a file in float64, NaN at its gaps, of whatever shape. Nothing in it is ever run.

    `key` chooses among the arrays of a container, `columns` (names, or numbers from 1) among columns; for a file that
    has columns and no keys, a key is a column. `header` says whether the first line of a text names them. Whole numbers
    beyond 2^53 are refused, half and eighth precision noted. Raises IsonumError on all that is not real numbers.
    """
    path = Path(path)
    if key is not None and path.suffix.lower() in (*TEXT, ".parquet"):
        if columns:
            raise IsonumError(f"{path.name} has columns and no keys: choose with --column alone, not with --key.")
        key, columns = None, [key]
    with _in_one_sentence(path):
        found, notes = _stored(path, key, header)
        if isinstance(found, np.ndarray):
            found = _real(found, path.name, notes)
            if not columns:
                return Numbers(found, notes)
            found = Table(pd.DataFrame(found))
        values, left = from_table(found, path.name, columns)
        return Numbers(values, notes + left, found.line)


def read_mask(path: str | Path, key: str | None = None) -> np.ndarray:
    """A mask of any shape, true where something counts, from a file of true and false or of 1 and 0."""
    path = Path(path)
    with _in_one_sentence(path):
        found, _ = _stored(path, key, "no")
        found = from_table(found, path.name)[0] if isinstance(found, Table) else found
    if found.dtype.kind not in "biuf" or not np.isin(found, (0, 1)).all():
        raise IsonumError(
            f"a mask of true and false, or of 1 and 0, was expected in {path.name}, got other values ({found.dtype}). "
            "If it is added to attention scores, save mask == 0."
        )
    return found.astype(bool)


def read_prose(path: str) -> tuple[str, list[str]]:
    """A text, and notes on how it was read; - reads it from the pipe."""
    with _in_one_sentence(Path(path)):
        return decoded(sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes(), path)


@contextlib.contextmanager
def _in_one_sentence(path: Path) -> Iterator[None]:
    """What readers raise on unexpected bytes has no common class: pickles and zips raise nearly anything."""
    try:
        yield
    except IsonumError:
        raise
    except (FileNotFoundError, NotADirectoryError):
        raise IsonumError(f"a file was expected at {path}, got nothing there. Check its name and folder.") from None
    except IsADirectoryError:
        raise IsonumError(f"a file was expected at {path}, got a folder. Name a file in it.") from None
    except PermissionError:
        raise IsonumError(f"{path} was expected to be readable, got no permission. Ask its owner.") from None
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        if "pickle" in (type(error).__name__ + reason).lower() or "Weights only" in reason:
            reason = "Python objects, which are not loaded, or a file cut short. Save the numbers alone"
        raise IsonumError(f"{path.name} was expected to be readable as {path.suffix}, got: {reason}.") from None


def _stored(path: Path, key: str | None, header: str) -> tuple[np.ndarray | Table, list[str]]:
    """What a file holds, as it is stored, and the notes of its reader."""
    if str(path) == "-":
        return read_delimited(sys.stdin.buffer.read(), "-", ".csv", header)
    suffix = path.suffix.lower()
    with path.open("rb") as file:
        begin = file.read(30)
    if suffix not in FORMATS:
        raise IsonumError(f"a file of format {', '.join(FORMATS)} was expected, got {path.name!r}. Save it as .npy.")
    if begin.startswith(b"version https://git-lfs"):
        raise IsonumError(f"{path.name} is a Git LFS pointer, three lines of text: fetch the file with git lfs pull.")
    if suffix in TEXT:
        return read_delimited(path.read_bytes(), path.name, suffix, header)
    if suffix == ".parquet":
        frame = pd.read_parquet(path, engine="pyarrow")
        return Table(frame, list(map(str, frame.columns))), []
    if suffix in (".npy", ".npz"):
        with path.open("rb") as file:
            arrays = np.load(file, allow_pickle=False)  # an array of objects would run code when read
            arrays = {"one without a name": arrays} if isinstance(arrays, np.ndarray) else arrays
            found = arrays[_choose(path, list(arrays), key)]
        return (Table(pd.DataFrame(found), list(found.dtype.names)) if found.dtype.names else found), []
    if suffix == ".safetensors":
        with safe_open(path, framework="pt") as file:
            x = file.get_tensor(_choose(path, list(file.keys()), key))
    else:
        if begin.startswith(b"PK"):
            with zipfile.ZipFile(path) as archive:  # torch reads a damaged one without a word
                if damaged := archive.testzip():
                    raise IsonumError(f"{path.name} is damaged: the checksum of {damaged!r} is wrong. Copy it again.")
        tensors = dict(_tensors(torch.load(path, map_location="cpu", weights_only=True), ""))
        x = tensors[_choose(path, list(tensors), key)].detach()
    if x.is_floating_point() and (few := torch.finfo(x.dtype)).bits < 32:
        eps = 0.25 if x.dtype == torch.float8_e5m2fnuz else few.eps  # two bits after the point, though torch says three
        return x.float().numpy(), [_precision(few.dtype, eps)]
    return x.numpy(), []


def _tensors(found: object, name: str) -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(found, torch.Tensor):
        yield name.lstrip(".") or "one without a name", found
    elif isinstance(found, dict | list | tuple):
        for key, part in found.items() if isinstance(found, dict) else enumerate(found):
            yield from _tensors(part, f"{name}.{key}")


def _choose(path: Path, keys: list[str], key: str | None) -> str:
    names = sorted(keys) or ["none"]
    listed = ", ".join(names if len(names) <= 20 else [*names[:10], f"... ({len(names) - 15} more) ...", *names[-5:]])
    if {"indices", "indptr", "data"} <= set(keys):
        raise IsonumError(f"an array was expected in {path.name}, got a sparse matrix of scipy. Save its .toarray().")
    if key not in keys and (key is not None or len(keys) != 1):
        got = "no --key" if key is None else f"--key {key!r}"
        raise IsonumError(f"one array of {path.name} was expected, got {got}. It holds {len(keys)}: {listed}.")
    return keys[0] if key is None else key


def _precision(kind: str, eps: float) -> str:
    return f"stored as {kind}: {1 - math.log2(eps):.0f} significant bits, so scores are good to about {eps / 2:.0e}"


def _real(found: np.ndarray, name: str, notes: list[str]) -> np.ndarray:
    """float64 of what was stored, if it is real numbers that float64 can hold."""
    if found.dtype.kind not in "fiu":
        raise IsonumError(f"real numbers were expected in {name}, got {found.dtype.name}. Convert before saving.")
    if found.dtype.kind in "iu":
        exact(found, name)
        notes.append(f"stored as {found.dtype}: whole numbers, converted exactly to float64")
    elif found.dtype.itemsize == 2:
        notes.append(_precision("float16", float(np.finfo(np.float16).eps)))
    values = np.asarray(found, dtype=np.float64, order="C")
    if fills := int((values == NETCDF_FILL).sum()):
        notes.append(f"{fills} values are 9.97e36, what netCDF writes for a missing one: save NaN there if so")
    return values
