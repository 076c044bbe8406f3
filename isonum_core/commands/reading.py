"""Numbers from files: one door for every format. What comes in is float64 with NaN at the gaps, or one sentence."""

from __future__ import annotations

import pickle
import sys
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from isonum_core.errors import IsonumError

TEXT = (".csv", ".tsv", ".txt", ".vec")
FORMATS = (".npy", ".npz", ".safetensors", ".pt", ".pth", ".parquet", *TEXT)
# Whole numbers up to here are float64 values exactly.
EXACT = 2**53
# What a torch type of fewer than 24 significant bits keeps of a number.
BITS = {"float16": 11, "bfloat16": 8, "float8_e4m3fn": 4, "float8_e4m3fnuz": 4, "float8_e5m2": 3, "float8_e5m2fnuz": 3}
BITS["float8_e8m0fnu"] = 1
# What netCDF writes where a number is missing (float32 and float64): saving a masked array as .npy leaves it behind.
NETCDF_FILL = 9.969209968386869e36


@dataclass(frozen=True)
class Numbers:
    """The numbers of a file in float64, NaN where it has gaps, and what a reader of them should know."""

    values: np.ndarray
    notes: list[str] = field(default_factory=list)


def read_numbers(
    path: str | Path,
    key: str | None = None,
    columns: list[str] | None = None,
    header: Literal["auto", "yes", "no"] = "auto",
) -> Numbers:
    """The real numbers of a file, of whatever shape they were stored in. Nothing in a file is ever run.

    `key` chooses among the arrays of a container, `columns` (names, or numbers from 1) among columns; for a file that
    has columns and no keys, a key is a column. `header` says whether the first line of a text names them. Whole numbers
    beyond 2^53 are refused, half and eighth precision noted. Raises IsonumError on all that is not real numbers.
    """
    found, notes = _stored(path, key, columns, header)
    return Numbers(_real(found, Path(path).name, notes), notes)


def read_mask(path: str | Path, key: str | None = None) -> np.ndarray:
    """A mask of any shape, true where something counts, from a file of true and false or of 1 and 0."""
    found, _ = _stored(path, key, None, "no")
    name = Path(path).name
    if found.dtype != np.bool_ and found.dtype.kind not in "iuf" or not np.isin(found, (0, 1)).all():
        raise IsonumError(
            f"a mask of true and false, or of 1 and 0, was expected in {name}, got other values ({found.dtype}). "
            "If it is added to attention scores, save mask == 0."
        )
    return found.astype(bool)


def _stored(path, key, columns, header) -> tuple[np.ndarray, list[str]]:
    """What a file holds, as it is stored, and the notes of its reader."""
    path = Path(path)
    suffix = path.suffix.lower() if str(path) != "-" else ".csv"
    if suffix not in FORMATS:
        raise IsonumError(
            f"a file of format {', '.join(FORMATS)} was expected, got {path.name!r}. Save the array as .npy."
        )
    if str(path) != "-" and not path.is_file():
        raise IsonumError(f"a file was expected at {str(path)!r}, got {'a folder' if path.is_dir() else 'nothing'}.")
    try:
        if str(path) != "-" and _starts(path, b"version https://git-lfs"):
            raise IsonumError(
                f"{path.name} is a Git LFS pointer, three lines of text: fetch the file with git lfs pull."
            )
        if suffix in TEXT or suffix == ".parquet":
            if key is not None and columns:
                raise IsonumError(f"{path.name} has columns and no keys: choose with --column alone, not with --key.")
            columns = columns or ([key] if key is not None else None)
        if suffix in TEXT:
            from isonum_core.commands.delimited import read_text

            content = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
            return read_text(content, path.name, suffix, columns, header)
        if suffix == ".parquet":
            from isonum_core.commands.columns import from_frame

            frame = _parquet(path)
            return from_frame(frame, [str(name) for name in frame.columns], path.name, columns)
        found = {".safetensors": _safetensors, ".pt": _torch, ".pth": _torch}.get(suffix, _numpy)(path, key)
        notes: list[str] = []
        if not isinstance(found, np.ndarray):
            found = _from_torch(found, path.name, notes)
        if found.dtype.names:
            import pandas

            from isonum_core.commands.columns import from_frame

            return from_frame(pandas.DataFrame(found), list(found.dtype.names), path.name, columns)
        if columns:
            from isonum_core.commands.columns import nth_column

            found = found[:, [nth_column(path.name, found.shape, column) for column in columns]]
        return found, notes
    except IsonumError:
        raise
    # What readers raise on bytes that they do not expect has no common class: pickles and zips raise nearly anything.
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise IsonumError(
            f"{path.name} was expected to be readable as {suffix}, got: {reason}. Write it again, or check the format."
        ) from None


def _starts(path: Path, words: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(words)) == words


def _real(found: np.ndarray, name: str, notes: list[str]) -> np.ndarray:
    """float64 of what was stored, if it is real numbers that float64 can hold."""
    kinds = {"b": "true and false", "c": "complex numbers", "M": "dates", "m": "spans of time", "O": "Python objects"}
    if found.dtype.kind not in "fiu":
        what = kinds.get(found.dtype.kind, "words")
        raise IsonumError(f"real numbers were expected in {name}, got {what} ({found.dtype}). Convert before saving.")
    if found.dtype.kind in "iu":
        if found.size and (int(found.max()) > EXACT or int(found.min()) < -EXACT):
            raise IsonumError(
                f"whole numbers in {name} were expected within +-2^53, got {found.min()}..{found.max()}: "
                "float64 would round them. Subtract an offset, or scale."
            )
        notes.append(f"stored as {found.dtype}: whole numbers, converted exactly to float64")
    elif found.dtype == np.float16:
        notes.append(_precision("float16"))
    elif found.dtype.itemsize > 8 and np.any(np.isfinite(found) & (np.abs(found) > np.finfo(np.float64).max)):
        raise IsonumError(f"numbers in {name} were expected within float64, got {np.abs(found).max()}. Scale them.")
    values = np.asarray(found, dtype=np.float64, order="C")
    if fills := int((values == NETCDF_FILL).sum()):
        notes.append(f"{fills} values are 9.97e36, what netCDF writes for a missing one: save NaN there if so")
    return values


def _precision(kind: str) -> str:
    bits = BITS[kind]
    return f"stored as {kind}: {bits} significant bits a value, so scores are good to about {2.0**-bits:.0e}"


def _numpy(path: Path, key: str | None) -> np.ndarray:
    with path.open("rb") as file:
        try:
            # an array of objects would run code when read
            found = np.load(file, allow_pickle=False)
            if isinstance(found, np.ndarray):
                if key is not None:
                    raise IsonumError(
                        f"{path.name} holds one array without a name, got --key {key!r}. Leave --key out."
                    )
                return found
            return found[_choose(path, list(found.files), key)]
        except ValueError as error:
            if "allow_pickle" not in str(error) and "pickled" not in str(error):
                raise
    raise IsonumError(
        f"{path.name} was expected to be readable as an array of numbers, got Python objects, which are not unpickled. "
        "Save x.astype(float)."
    )


def _safetensors(path: Path, key: str | None):
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return file.get_tensor(_choose(path, list(file.keys()), key))


def _torch(path: Path, key: str | None):
    import torch

    if _starts(path, b"PK"):
        with zipfile.ZipFile(path) as archive:  # torch reads a damaged one without a word
            if damaged := archive.testzip():
                raise IsonumError(f"{path.name} is damaged: the checksum of {damaged!r} is wrong. Copy it again.")
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise IsonumError(
            f"{path.name} was expected to be readable as tensors, got a file cut short or other Python objects, which "
            "are not loaded. Save the tensor alone: torch.save(x, file), or a .safetensors file."
        ) from None
    tensors = dict(_tensors(found, ""))
    return tensors[_choose(path, list(tensors), key)]


def _tensors(found, name: str):
    import torch

    if isinstance(found, torch.Tensor):
        yield name.lstrip(".") or "the tensor", found
    elif isinstance(found, dict | list | tuple):
        for key, part in found.items() if isinstance(found, dict) else enumerate(found):
            yield from _tensors(part, f"{name}.{key}")


def _from_torch(x, name: str, notes: list[str]) -> np.ndarray:
    import torch

    x = x.detach()
    x = x.dequantize() if x.is_quantized else x.to_dense() if x.layout != torch.strided else x
    kind = str(x.dtype).removeprefix("torch.")
    if kind in BITS:
        notes.append(_precision(kind))
        x = x.float()
    try:
        return x.resolve_conj().resolve_neg().numpy()
    except TypeError:
        raise IsonumError(
            f"numbers of a type that can be read were expected in {name}, got {kind}. Save float32."
        ) from None


def _parquet(path: Path):
    import pandas

    try:
        return pandas.read_parquet(path, engine="pyarrow")
    except ImportError:
        raise IsonumError(f"{path.name} needs the package pyarrow: pip install pyarrow, or write a .csv.") from None


def _choose(path: Path, keys: list[str], key: str | None) -> str:
    names = sorted(keys)
    listed = ", ".join(names if len(names) <= 20 else [*names[:10], f"... ({len(names) - 15} more) ...", *names[-5:]])
    if not keys:
        raise IsonumError(f"at least one array was expected in {path.name}, got an empty container.")
    if {"indices", "indptr", "data"} <= set(keys):
        raise IsonumError(f"an array was expected in {path.name}, got a sparse matrix of scipy. Save its .toarray().")
    if key is None and len(keys) > 1:
        raise IsonumError(f"{path.name} holds {len(keys)} arrays, got no --key. Choose one of: {listed}.")
    if key is not None and key not in keys:
        raise IsonumError(f"an array of {path.name} was expected, got --key {key!r}. It holds: {listed}.")
    return keys[0] if key is None else key
