"""Recomputes random configurations of committed tables and compares them, so that no table drifts from its code."""

from __future__ import annotations

import dataclasses
import math
import time
from pathlib import Path
from typing import Any

import numpy as np

from isonum_core.errors import IsonumError
from isonum_core.lab.engine import compute
from isonum_core.lab.study import PROFILES, Cells, Study, find_study
from isonum_core.lab.table import RESULTS, TableFile, checked


@dataclasses.dataclass(frozen=True)
class Check:
    """One recomputed configuration. `share`: its largest difference over what is allowed; above 1, or `problem`, fails.

    `column` is where the share is largest, `device` where the committed rows were computed. `absent` says which data
    was not to be had: then nothing was compared, and nothing failed. A `provisional` configuration is known to
    give other rows on another processor: a difference is told and fails nothing.
    """

    table: str
    config: Any
    device: str
    values: int = 0
    column: str = ""
    share: float = 0.0
    problem: str = ""
    absent: str = ""
    provisional: bool = False

    @property
    def holds(self) -> bool:
        return not self.problem and self.share <= 1

    @property
    def fails(self) -> bool:
        return not self.holds and not self.provisional


def verify_tables(
    sample: int | None,
    rng: np.random.Generator,
    folder: Path | str = RESULTS,
    profiles: tuple[str, ...] = PROFILES,
    minutes: float = math.inf,
) -> list[Check]:
    """Recompute `sample` random configurations of the tables in `folder` on the CPU; no table, no checks.

    None is all of them. After `minutes` no further one is begun.

    A float holds when |recomputed - committed| <= t max(1, |committed|), t the study's tolerance of that column, the
    larger of the CPU's and of the device's that made the table. Everything else must be equal. A damaged or stale
    table (edited bytes, other columns, configurations that the grid has not) fails whatever the sample is.
    """
    checks, candidates, deadline = [], [], time.monotonic() + 60 * minutes
    for path in sorted(Path(folder).glob("*.csv")):
        try:
            table, study, grid = _opened(path)
        except IsonumError as error:
            checks.append(Check(path.name, None, "", problem=str(error)))
            continue
        if table.provenance["profile"] not in profiles:
            continue
        if stale := table.blocks.keys() - grid.keys():
            problem = f"{len(stale)} of its configurations are not in the grid. Run the study again."
            checks.append(Check(path.name, sorted(stale)[0], "", problem=problem))
        candidates += [(table, study, key, grid[key]) for key in table.blocks if key in grid]
    for i in rng.permutation(len(candidates))[:sample]:
        if time.monotonic() >= deadline:
            break
        checks.append(_recomputed(*candidates[i]))
    return checks


def _opened(path: Path) -> tuple[TableFile, Study, dict[Cells, Any]]:
    """A table, its study and the study's grid. The study is the one that the provenance names."""
    provenance = checked(path)[0]
    study = find_study(provenance["study"])
    for column in study.tolerances:
        study.tolerance(column, "cpu", provenance["device"])  # raises now what would stop the comparison
    table = TableFile.read(path, study)
    return table, study, study.configs(table.provenance["profile"])


def _recomputed(table: TableFile, study: Study, key: Cells, config: Any) -> Check:
    device = table.provenance["device"]
    check = Check(table.path.name, config, device, provisional=study.provisional(config))
    fresh = compute(study.module, config, "cpu")
    committed = table.blocks[key]
    if fresh.absent:
        return dataclasses.replace(check, absent=fresh.failure)
    if fresh.failure:
        return dataclasses.replace(check, problem=fresh.failure)
    if fresh.columns != table.value_columns or len(fresh.rows) != len(committed):
        problem = (
            f"committed {len(committed)} rows of {list(table.value_columns)}, recomputed {len(fresh.rows)} rows of "
            f"{list(fresh.columns)}"
        )
        return dataclasses.replace(check, problem=problem)
    worst = (-1.0, "", "")
    for old_row, new_row in zip(committed, fresh.rows, strict=True):
        for column, old, new in zip(fresh.columns, old_row, new_row, strict=True):
            worst = max(worst, _difference(study, device, column, old, new))
    share, column, problem = worst
    values = len(committed) * len(fresh.columns)
    return dataclasses.replace(check, values=values, column=column, share=max(share, 0.0), problem=problem)


def _difference(study: Study, device: str, column: str, old: str, new: str) -> tuple[float, str, str]:
    """Difference over what is allowed, its column, and a sentence when it is more than allowed."""
    if column not in study.tolerances or not old or not new:
        share = 0.0 if old == new else float("inf")
        allowed = 0.0
    else:
        allowed = study.tolerance(column, "cpu", device) * max(1.0, abs(float(old)))
        off = abs(float(new) - float(old))
        share = off / allowed if allowed else float("inf") if off else 0.0
    said = f"{column} is {old or 'missing'} in the table and {new or 'missing'} now, allowed difference {allowed:.1e}"
    return share, column, said if share > 1 else ""
