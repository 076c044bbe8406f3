"""Recomputes random configurations of committed tables and compares them, so that no table drifts from its code."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from isonum_core.errors import DataAbsent, IsonumError
from isonum_core.lab.engine import compute
from isonum_core.lab.study import PROFILES, RESULTS, Row, Study, find_study
from isonum_core.lab.table import checked, read_table

FAR = 2.0  # seeds' distances that a provisional row may move


class Check(NamedTuple):
    """What came of one configuration, recomputed. `share`: its largest difference over what is allowed.

    `verdict` is "holds", "DIFFERS" (the table is red for it), "NOT COMPARED" (its data was not to be had), or, where
    only columns differ that another processor is known to change, "another draw" (it came out as another seed might)
    or "DIFFERS, provisional" (fewer than three seeds say how far those lie apart: told, and fails nothing).
    """

    table: str
    config: Any
    verdict: str
    said: str
    values: int = 0
    share: float = 0.0
    far: float = math.nan  # `drawn_again` of provisional columns that differ

    def __str__(self) -> str:
        return f"{self.table}  {self.values} values  {self.verdict}: {self.said}"


def verify_tables(
    sample: int | None,
    rng: np.random.Generator,
    folder: Path | str = RESULTS,
    profiles: tuple[str, ...] = PROFILES,
    minutes: float = math.inf,
    studies: Collection[str] = (),
) -> list[Check]:
    """Recompute `sample` random configurations (None: all) of the tables in `folder` on the CPU; no table, no checks.

    Of the tables of `studies` alone, where any are named. After `minutes` no further one is begun. A float holds when
    |recomputed - committed| <= t max(1, |committed|), t the study's tolerance of that column, the larger of the CPU's
    and of the device's that made the table. Provisional columns that do not hold are compared in distribution:
    `drawn_again` at most FAR. Everything else must be equal. A damaged or stale table (edited bytes, other columns,
    configurations that the grid has not) fails whatever the sample is.
    """
    checks, candidates, deadline = [], [], time.monotonic() + 60 * minutes
    for path in sorted(path for profile in profiles for path in Path(folder).glob(f"*.{profile}.csv")):
        if studies and path.name.partition(".")[0] not in studies:
            continue
        try:
            candidates += _opened(path)
        except IsonumError as error:
            checks.append(Check(path.name, None, "DIFFERS", str(error)))
    for i in rng.permutation(len(candidates))[:sample]:
        if time.monotonic() < deadline:
            checks.append(_recomputed(*candidates[i]))
    return checks


def _opened(path: Path) -> list[tuple]:
    """Of each configuration: table, study, allowed differences, itself, its rows there and those of all its seeds."""
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
    found, seeds = [], {}
    for key, rows in blocks.items():
        alike = seeds.setdefault(tuple(rows[0][name] for name in study.columns if name != "seed"), [])
        alike.append(rows)
        found.append((path.name, study, allowed, grid[key], rows, alike))
    return found


def drawn_again(columns: Iterable[str], old: list[Row], new: list[Row], others: list[list[Row]]) -> float:
    """How far the new rows are from the old ones, in distances between two seeds; `others` are the other seeds' rows.

    A column's distance is the root mean square difference over rows. Its unit is the largest between two seeds, with
    the old or with the new rows as this seed's, whichever is less: neither can excuse itself. The root mean square over
    columns is returned: about 1 where the new rows are as another seed's. Infinite where a value is missing on one
    side, or a column moved that no seed moves; NaN with fewer than two others.
    """
    if len(others) < 2:
        return math.nan

    def apart(a: list[Row], b: list[Row], column: str) -> float:
        pairs = [(x[column], y[column]) for x, y in zip(a, b, strict=True) if x[column] != y[column]]
        if not all(itertools.chain.from_iterable(pairs)):
            return math.inf
        return math.sqrt(sum((float(x) - float(y)) ** 2 for x, y in pairs) / len(a))

    def widest(own: list[Row], column: str) -> float:
        known = (apart(a, b, column) for a, b in itertools.combinations([own, *others], 2))
        return max((x for x in known if x < math.inf), default=0.0)

    parts = []
    for column in columns:
        moved, unit = apart(old, new, column), min(widest(old, column), widest(new, column))
        parts.append(0.0 if not moved else moved / unit if unit else math.inf)
    return math.sqrt(sum(part**2 for part in parts) / len(parts))


def _recomputed(
    name: str, study: Study, allowed: dict[str, float], config: Any, rows: list[Row], alike: list[list[Row]]
) -> Check:
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
    if column not in excused:
        return Check(name, config, "DIFFERS", told, len(cells), share)
    others = [x for x in alike if x is not rows and len(x) == len(rows)]
    far = drawn_again([column for column in columns if column in excused], rows, fresh, others)
    verdict = "DIFFERS, provisional" if math.isnan(far) else "another draw" if far <= FAR else "DIFFERS"
    told += "" if math.isnan(far) else f"; {far:.2g} times as far as two seeds lie apart"
    return Check(name, config, verdict, told, len(cells), share, far)


def _share(allowed: float | None, old: str, new: str) -> float:
    """Difference over what is allowed; infinite where nothing but equality is."""
    if old == new:
        return 0.0
    if not allowed or not old or not new:
        return math.inf
    return abs(float(new) - float(old)) / (allowed * max(1.0, abs(float(old))))
