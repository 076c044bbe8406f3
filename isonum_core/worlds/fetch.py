"""Original files of real sets: pinned address, checksum, where a copy may lie. A file with other bytes is refused."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from isonum_core.errors import DataAbsent, IsonumError

Columns = tuple[list[str], Float[np.ndarray, "n T"]]


@dataclass(frozen=True)
class Dataset:
    """What is known of a set before it is read. `url` gives the file with `sha256`, pinned to a commit.

    `windows` is (context, horizon) of arXiv 2505.17135, or None where the set is not in it; `season` the lag of
    seasonal naive in steps, 1 where there is none. `start` is the decimal year of the first value, None where the file
    has no dates. `identity` says how the numbers relate to those of the paper; `why` is one line of why it is here.
    """

    name: str
    title: str
    unit: str
    frequency: str
    season: int
    start: float | None
    windows: tuple[int, int] | None
    url: str
    sha256: str
    licence: str
    citation: str
    identity: str
    why: str
    read: Callable[[bytes], Columns]

    @property
    def file(self) -> str:
        """Name of the original file."""
        return self.url.rsplit("/", 1)[1]


def original(dataset: Dataset) -> bytes:
    """The bytes of the original file, checked: from the folder ISONUM_DATA (or its subfolder orig), else downloaded.

    A download goes through pooch, which keeps it in the user's cache and checks it each time.
    """
    folder = os.environ.get("ISONUM_DATA")
    path = _local(dataset, Path(folder)) if folder else _downloaded(dataset)
    data = path.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != dataset.sha256:
        raise IsonumError(
            f"{dataset.file} with sha256 {dataset.sha256[:12]} was expected, got {found[:12]} at {path}. "
            f"Fetch it again from {dataset.url}."
        )
    return data


def _local(dataset: Dataset, folder: Path) -> Path:
    for path in (folder / dataset.file, folder / "orig" / dataset.file):
        if path.is_file():
            return path
    raise DataAbsent(
        f"{dataset.file} was expected in the folder of ISONUM_DATA, {folder}, got none. "
        f"Put it there from {dataset.url}, or unset ISONUM_DATA to download it."
    )


def _downloaded(dataset: Dataset) -> Path:
    try:
        import pooch
    except ImportError:
        raise IsonumError(f"pooch was expected, to download {dataset.file}, got none. Install isonum[book].") from None
    pooch.get_logger().setLevel("WARNING")  # its notes go to stderr, which stops the build of the book
    try:
        path = pooch.retrieve(
            dataset.url, f"sha256:{dataset.sha256}", fname=dataset.file, path=pooch.os_cache("isonum")
        )
    except (OSError, ValueError) as error:
        raise DataAbsent(
            f"{dataset.file} could not be had from {dataset.url}: {error}. Put it in the folder ISONUM_DATA."
        ) from error
    return Path(path)
