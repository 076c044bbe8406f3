"""Reading a real set: the original file, checked, as an array of series with what is needed to cite them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from isonum_core.errors import IsonumError
from isonum_core.worlds.datasets import DATASETS
from isonum_core.worlds.fetch import Dataset, original
from isonum_core.worlds.series import Series


@dataclass(frozen=True)
class Panel:
    """All series of a set, in rows of `values`: float64, read-only, NaN where missing; `missing` counts these."""

    dataset: Dataset
    ids: tuple[str, ...]
    values: Float[np.ndarray, "n T"]
    missing: int

    def series(self, row: int) -> Series:
        """One row with its unit, time axis and source. Raises IsonumError where the set has no dates.

        By number and not by id, since published ids need not be unique: those of hospital are not.
        """
        if not 0 <= row < len(self.ids):
            raise IsonumError(f"a row from 0 to {len(self.ids) - 1} of {self.dataset.name} was expected, got {row}.")
        if self.dataset.start is None:
            raise IsonumError(f"a time axis needs dates, and {self.dataset.name} carries none. Use `values` by step.")
        d, name, values = self.dataset, self.ids[row], self.values[row]
        return Series(
            name=f"{d.name}/{name}",
            title=f"{d.title}: {name}",
            values=values,
            unit=d.unit,
            frequency=d.frequency,
            start=d.start,
            missing=int(np.isnan(values).sum()),
            source=d.url,
            licence=d.licence,
            citation=d.citation,
        )


def load(name: str) -> Panel:
    """Read a set of `DATASETS`: values as published, nothing filled, scaled or cut.

    Raises IsonumError for an unknown name, a file that is absent or not the published one, and a damaged file.
    """
    if name not in DATASETS:
        raise IsonumError(f"a real set was expected, got {name!r}. These exist: {', '.join(DATASETS)}.")
    dataset = DATASETS[name]
    ids, values = dataset.read(original(dataset))
    values = np.array(values, dtype=np.float64)
    values.setflags(write=False)
    return Panel(dataset, tuple(ids), values, int(np.isnan(values).sum()))
