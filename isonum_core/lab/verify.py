"""Recomputes random configurations of committed tables and compares them, so that no table drifts from its code."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from isonum_core.errors import DataAbsent, IsonumError
from isonum_core.lab.engine import compute
from isonum_core.lab.study import PROFILES, RESULTS, Row, Study, find_study
from isonum_core.lab.table import checked, read_table


class Check(NamedTuple):
    """What came of one configuration, recomputed. `share`: its largest difference over what is allowed.

    `verdict` is "holds", "DIFFERS" (the table is red for it), "DIFFERS, provisional" (only in columns that another
    processor is known to change: told, and fails nothing) or "NOT COMPARED" (its data was not to be had). `said` says
    more.
    """

    table: str
    config: Any
    verdict: str
    said: str
    values: int = 0
    share: float = 0.0

    def __str__(self) -> str:
        return f"{self.table}  {self.values} values  {self.verdict}: {self.said}"


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
    for path in sorted(path for profile in profiles for path in Path(folder).glob(f"*.{profile}.csv")):
        try:
            candidates += _opened(path)
        except IsonumError as error:
            checks.append(Check(path.name, None, "DIFFERS", str(error)))
    for i in rng.permutation(len(candidates))[:sample]:
        if time.monotonic() < deadline:
            checks.append(_recomputed(*candidates[i]))
    return checks


def _opened(path: Path) -> list[tuple]:
    """Name, study, allowed differences, configuration and committed rows of all that the table holds."""
    provenance = checked(path)[0]
    study = find_study(provenance["study"])
    grid, blocks = study.configs(provenance["profile"]), read_table(path, study)[1]
    if stale := blocks.keys() - grid.keys():
        raise IsonumError(f"{len(stale)} of its configurations are not in the grid. Run the study again.")
    allowed, devices = {}, {"cpu", provenance["device"]}
    for column, known in study.tolerances.items():
        if unstated := devices - known.keys():
            raise IsonumError(f"{study.name} states no tolerance of {column!r} on {unstated}. Add it to TOLERANCES.")
        allowed[column] = max(known[device] for device in devices)
    return [(path.name, study, allowed, grid[key], rows) for key, rows in blocks.items()]


def _recomputed(name: str, study: Study, allowed: dict[str, float], config: Any, rows: list[Row]) -> Check:
    _, fresh = compute(study.module, config, "cpu")
    if isinstance(fresh, IsonumError):
        return Check(name, config, "NOT COMPARED" if isinstance(fresh, DataAbsent) else "DIFFERS", str(fresh))
    if [*map(list, fresh)] != [*map(list, rows)]:
        told = f"committed {len(rows)} rows of {[*rows[0]]}, recomputed {len(fresh)} rows of {[*fresh[0]]}"
        return Check(name, config, "DIFFERS", told)
    pairs, columns = list(zip(rows, fresh, strict=True)), [name for name in rows[0] if name not in study.columns]
    cells = [(column, old[column], new[column]) for old, new in pairs for column in columns]
    shares = [_share(allowed.get(column), old, new) for column, old, new in cells]
    excused = study.provisional(config)
    # The worst of the columns that must hold; only where all of them do, the worst of all.
    worst = max(range(len(cells)), key=lambda at: (shares[at] > 1 and cells[at][0] not in excused, shares[at]))
    share, (column, old, new) = shares[worst], cells[worst]
    if share <= 1:
        return Check(name, config, "holds", f"share {share:.2g} ({column})", len(cells), share)
    told = f"{column} is {old or 'missing'} in the table and {new or 'missing'} now, {share:.2g} times what is allowed"
    return Check(name, config, "DIFFERS, provisional" if column in excused else "DIFFERS", told, len(cells), share)


def _share(allowed: float | None, old: str, new: str) -> float:
    """Difference over what is allowed; infinite where nothing but equality is."""
    if old == new:
        return 0.0
    if not allowed or not old or not new:
        return math.inf
    return abs(float(new) - float(old)) / (allowed * max(1.0, abs(float(old))))
