"""Recomputes random configurations of committed tables and compares them, so that no table drifts from its code."""

from __future__ import annotations

import dataclasses
import itertools
import math
import time
from pathlib import Path
from typing import Any

import numpy as np

from isonum_core.errors import IsonumError
from isonum_core.lab.engine import compute
from isonum_core.lab.study import PROFILES, RESULTS, Cells, Study, find_study
from isonum_core.lab.table import checked, read_table


@dataclasses.dataclass(frozen=True)
class Check:
    """One recomputed configuration. `share`: its largest difference over what is allowed, in `column`.

    `problem` says what differs. `absent` says which data was not to be had: then nothing was compared, and nothing
    fails. A `provisional` configuration is known to differ on another processor: that is told and fails nothing.
    """

    table: str
    config: Any
    values: int = 0
    column: str = ""
    share: float = 0.0
    problem: str = ""
    absent: str = ""
    provisional: bool = False

    @property
    def fails(self) -> bool:
        """Whether the table is red for it."""
        return bool(self.problem) and not self.provisional

    def __str__(self) -> str:
        if self.absent:
            return f"NOT COMPARED: {self.absent}"
        if self.problem:
            return f"{'DIFFERS, provisional' if self.provisional else 'DIFFERS'}: {self.problem}"
        return f"holds, share {self.share:.2g} ({self.column})"


def verify_tables(
    sample: int | None,
    rng: np.random.Generator,
    folder: Path | str = RESULTS,
    profiles: tuple[str, ...] = PROFILES,
    minutes: float = math.inf,
) -> list[Check]:
    """Recompute `sample` random configurations (None: all) of the tables in `folder` on the CPU; no table, no checks.

    After `minutes` no further one is begun. A float holds when |recomputed - committed| <= t max(1, |committed|), t the
    study's tolerance of that column, the larger of the CPU's and of the device's that made the table. Everything else
    must be equal. A damaged or stale table (edited bytes, other columns, configurations that the grid has not) fails
    whatever the sample is.
    """
    checks, candidates, deadline = [], [], time.monotonic() + 60 * minutes
    for path in sorted(Path(folder).glob("*.csv")):
        try:
            candidates += _opened(path, profiles)
        except IsonumError as error:
            checks.append(Check(path.name, None, problem=str(error)))
    for i in rng.permutation(len(candidates))[:sample]:
        if time.monotonic() < deadline:
            checks.append(_recomputed(*candidates[i]))
    return checks


def _opened(path: Path, profiles: tuple[str, ...]) -> list[tuple]:
    """Name, study, allowed differences, value columns, configuration and committed rows of all that the table holds."""
    provenance = checked(path)[0]
    if provenance["profile"] not in profiles:
        return []
    study = find_study(provenance["study"])
    grid = study.configs(provenance["profile"])
    _, columns, blocks = read_table(path, study)
    if stale := blocks.keys() - grid.keys():
        raise IsonumError(f"{len(stale)} of its configurations are not in the grid. Run the study again.")
    allowed = {}
    for column, known in study.tolerances.items():
        if unstated := {"cpu", provenance["device"]} - known.keys():
            raise IsonumError(f"{study.name} states no tolerance of {column!r} on {unstated}. Add it to TOLERANCES.")
        allowed[column] = max(known["cpu"], known[provenance["device"]])
    return [(path.name, study, allowed, columns, grid[key], rows) for key, rows in blocks.items()]


def _recomputed(name: str, study: Study, allowed: dict, columns: Cells, config: Any, rows: list[Cells]) -> Check:
    check = Check(name, config, provisional=study.provisional(config))
    fresh = compute(study.module, config, "cpu")
    if fresh.failure:
        return dataclasses.replace(check, **{"absent" if fresh.absent else "problem": fresh.failure})
    if (fresh.columns, len(fresh.rows)) != (columns, len(rows)):
        told = f"committed {len(rows)} rows of {[*columns]}, recomputed {len(fresh.rows)} rows of {[*fresh.columns]}"
        return dataclasses.replace(check, problem=told)
    cells = list(zip(columns * len(rows), itertools.chain(*rows), itertools.chain(*fresh.rows), strict=True))
    shares = [_share(allowed.get(column), old, new) for column, old, new in cells]
    share, (column, old, new) = max(shares), cells[shares.index(max(shares))]
    told = f"{column} is {old or 'missing'} in the table and {new or 'missing'} now, {share:.2g} times what is allowed"
    return dataclasses.replace(check, values=len(cells), column=column, share=share, problem=told if share > 1 else "")


def _share(allowed: float | None, old: str, new: str) -> float:
    """Difference over what is allowed; infinite where nothing but equality is."""
    if old == new:
        return 0.0
    if not allowed or not old or not new:
        return math.inf
    return abs(float(new) - float(old)) / (allowed * max(1.0, abs(float(old))))
