"""Real series: facts to read and to cite each by, its values as published, and where the original files come from.

The facts stand in `series.toml`. None of the files is shipped; the sets without a file travel with statsmodels.
"""

from __future__ import annotations

import importlib
import os
import tomllib
import warnings
from dataclasses import dataclass, field
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from isonum_core.errors import DataAbsent, IsonumError

if TYPE_CHECKING:
    import pandas as pd

TABLE = tomllib.loads(files(__package__).joinpath("series.toml").read_text("utf-8"))
# Steps per year of 365.2425 days, the mean Gregorian year.
PER_YEAR = {
    "half-hourly": 365.2425 * 48,
    "hourly": 365.2425 * 24,
    "daily": 365.2425,
    "weekly": 365.2425 / 7,
    "monthly": 12.0,
    "quarterly": 4.0,
    "yearly": 1.0,
}
_READING = ("csv", "pivot", "rows", "columns", "sums", "ids")  # what series.toml says of how a file is read


@dataclass(frozen=True)
class Series:
    """A set of regularly spaced series of one length. Facts are there at once; `values` reads the file when asked for.

    `start` is the decimal year of the first value, None where the file has no dates; `frequency` a key of PER_YEAR;
    `season` the lag of seasonal naive in steps, 1 where there is none; `windows` (context, horizon) of arXiv
    2505.17135, None where the set is not in it. `file` is empty where the set travels with statsmodels. `identity`
    says how the numbers relate to those of the paper.
    """

    name: str
    title: str
    unit: str
    frequency: str
    source: str
    licence: str
    citation: str
    identity: str
    reading: dict = field(repr=False, compare=False)
    why: str = ""
    file: str = ""
    sha256: str = ""
    start: float | None = None
    season: int = 1
    windows: tuple[int, int] | None = None

    @cached_property
    def values(self) -> Float[np.ndarray, "n T"]:
        """One series a row: float64, read-only, NaN where missing. Nothing is filled, scaled or cut.

        Raises DataAbsent where the file is not to be had.
        """
        values = np.array(self._table.to_numpy(np.float64).T, order="C")
        values[np.isnan(values)] = np.nan  # NA of R is a signalling NaN: a sum of it would raise a floating-point flag
        if steps := self.reading.get("sums"):
            whole = values.shape[1] // steps * steps
            values = values[:, :whole].reshape(len(values), -1, steps).sum(axis=2)
        values.setflags(write=False)
        return values

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """The series' names in the file, else their numbers from 1. They need not be unique: hospital's are not."""
        if "ids" in self.reading:
            return tuple(self.reading["ids"])
        names = self._table.columns
        names = names + 1 if isinstance(names[0], int) else names
        return tuple(" | ".join(name) if isinstance(name, tuple) else str(name) for name in names)

    @property
    def missing(self) -> int:
        """How many values are missing."""
        return int(np.isnan(self.values).sum())

    @property
    def years(self) -> Float[np.ndarray, "T"]:
        """Decimal year of each step, for a time axis: evenly spaced, so good to a day or two."""
        if self.start is None:
            raise IsonumError(f"a time axis needs dates, and {self.name} carries none. Use `values` by step.")
        return self.start + np.arange(self.values.shape[1]) / PER_YEAR[self.frequency]

    @cached_property
    def _table(self) -> pd.DataFrame:
        """Time down, a series in each column."""
        import pandas as pd

        if not self.file:
            import statsmodels.datasets as datasets

            frame = getattr(datasets, self.source.rsplit(".", 1)[1]).load_pandas().data
            return pd.DataFrame({self.name: frame[self.reading["columns"]].to_numpy().ravel()})
        path = original(self.file)
        table = _r_table(path) if path.suffix == ".rda" else pd.read_csv(path, **self.reading.get("csv", {}))
        if "pivot" in self.reading:
            table = table.pivot(**self.reading["pivot"])
        if "rows" in self.reading:
            table = table.loc[:, slice(*self.reading["rows"])].T
        return table[self.reading["columns"]] if "columns" in self.reading else table


def find_series(name: str) -> Series:
    """A set by name: `series_names()` lists them. Raises IsonumError for an unknown one.

    >>> find_series("nile").unit, find_series("nile").values.shape
    ('10^8 m^3 a year', (1, 100))
    """
    if name not in TABLE["series"]:
        raise IsonumError(f"a real set was expected, got {name!r}. These exist: {', '.join(TABLE['series'])}.")
    facts = dict(TABLE["series"][name])
    reading = {key: facts.pop(key) for key in _READING if key in facts}
    windows = tuple(facts.pop("windows", ())) or None
    return Series(name, reading=reading, windows=windows, **facts)


def series_names(packaged: bool | None = None) -> list[str]:
    """Names that `find_series` knows: all, or only those that come with a package, or only those that do not."""
    return [name for name, facts in TABLE["series"].items() if packaged in (None, "file" not in facts)]


def interpolated(values: Float[np.ndarray, "n T"]) -> Float[np.ndarray, "n T"]:
    """The same series with each missing value on the straight line between its neighbours.

    Raises IsonumError where the first or last value of a row is missing: a line needs two ends.
    """
    filled, steps = values.copy(), np.arange(values.shape[1])
    for row in filled:
        absent = np.isnan(row)
        if absent[0] or absent[-1]:
            raise IsonumError(
                "interpolation needs both ends of each series, got one with a missing first or last value. "
                "Cut the series to its first and last observed value."
            )
        row[absent] = np.interp(steps[absent], steps[~absent], row[~absent])
    return filled


def original(file: str) -> Path:
    """Where an original file lies, checked by its sha256: in the folder ISONUM_DATA, else in the user's cache.

    A download goes to the cache, never into ISONUM_DATA. Raises DataAbsent where the file is not to be had.
    """
    pooch = _library("pooch", file)
    pooch.get_logger().setLevel("WARNING")  # its notes go to stderr, which stops the build of the book
    known = {facts["file"]: facts for kind in ("series", "texts") for facts in TABLE[kind].values() if "file" in facts}
    hashes, sources = ({name: facts[key] for name, facts in known.items()} for key in ("sha256", "source"))
    keeper = pooch.create(pooch.os_cache("isonum"), "", registry=hashes, urls=sources, env="ISONUM_DATA")
    path = keeper.abspath / file
    if not os.environ.get("ISONUM_DATA"):
        try:
            return Path(keeper.fetch(file))
        except (OSError, ValueError) as error:
            raise DataAbsent(
                f"{file} could not be had from {sources[file]}: {error}. Put it in a folder and name that ISONUM_DATA."
            ) from error
    if not path.is_file() or pooch.file_hash(str(path)) != hashes[file]:
        raise DataAbsent(
            f"{file} with sha256 {hashes[file][:12]} was expected in the folder of ISONUM_DATA, got "
            f"{'another' if path.is_file() else 'none'}. Put it there from {sources[file]}, or unset ISONUM_DATA."
        )
    return path


def _library(name: str, file: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise IsonumError(f"{name} was expected, to read {file}, got none. Install isonum[book].") from None


def _r_table(path: Path) -> pd.DataFrame:
    import pandas as pd

    rdata = _library("rdata", path.name)
    # R's classes of many series side by side: rdata would take each for one series, and refuse the matrices.
    plain = dict.fromkeys(("mts", "msts"), lambda values, attributes: values)
    known = {**rdata.conversion.DEFAULT_CLASS_MAP, **plain}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it names each class of R for which it has none
        (table,) = rdata.read_rda(path, default_encoding="utf-8", constructor_dict=known).values()
    return table.to_pandas() if hasattr(table, "to_pandas") else pd.DataFrame(table)
