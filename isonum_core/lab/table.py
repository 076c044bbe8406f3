"""The table of a study on disk: a tidy CSV beside the JSON that says what made it and holds the sha256 of its bytes."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import json
from pathlib import Path

import pandas as pd

from isonum_core.errors import IsonumError
from isonum_core.lab.study import RESULTS, Cells, Study, find_study, table_path

Blocks = dict[Cells, list[Cells]]  # a configuration's key -> its rows


@dataclasses.dataclass(frozen=True)
class StudyTable:
    """A table as a chapter shows it. `complete`: every configuration of the grid it was made for is there."""

    frame: pd.DataFrame
    provenance: dict
    profile: str
    seeds: int
    complete: bool


def load_table(
    study: str,
    profiles: tuple[str, ...] = ("gpu", "cpu", "quick"),
    folder: Path | str = RESULTS,
    incomplete: bool = False,
) -> StudyTable:
    """The first complete table in the order of `profiles`; where there is none, the first `incomplete` one if asked.

    IsonumError when there is neither, or when its bytes are not those that its provenance describes.
    """
    chosen, found, state = find_study(study), [], "none"
    for path in (table_path(chosen.name, profile, folder) for profile in profiles):
        if path.exists():
            provenance, text = checked(path)
            # Words such as "nan" or "NA" stay words: an empty cell is the only missing value. Floats pass through text
            # because the reader of pandas before 3.1 is off by a last digit here and there.
            texts = dict.fromkeys(chosen.tolerances, str)
            frame = pd.read_csv(io.StringIO(text), keep_default_na=False, na_values=[""], dtype=texts)
            frame = frame.astype(dict.fromkeys(chosen.tolerances, float))
            done, expected = provenance["configurations"], provenance["expected"]
            seeds = frame["seed"].nunique() if "seed" in frame else 1
            found.append(StudyTable(frame, provenance, provenance["profile"], seeds, done == expected))
            state = f"{done} of {expected} configurations"
    found.sort(key=lambda table: not table.complete)
    if found and (found[0].complete or incomplete):
        return found[0]
    raise IsonumError(
        f"A complete table of {study} for {' or '.join(profiles)} was expected in {folder}, got {state}. Make it with "
        f"`python -m isonum_core run {study} --profile {found[-1].profile if found else profiles[-1]}`."
    )


def read_table(path: Path, study: Study) -> tuple[dict, Cells | None, Blocks]:
    """Provenance, value columns and rows; nothing when there is no file. IsonumError when it does not fit the study."""
    if not path.exists():
        return {}, None, {}
    provenance, text = checked(path)
    header, *lines = csv.reader(io.StringIO(text, newline=""))
    n, blocks = len(study.columns), {}
    if tuple(header[:n]) != study.columns or not study.tolerances.keys() <= set(header[n:]):
        raise IsonumError(
            f"{path.name} has the columns {header}, its study now {[*study.columns, *study.tolerances]}: its code has "
            f"changed. Delete {path.stem}.* and run the study again."
        )
    for line in lines:
        blocks.setdefault(tuple(line[:n]), []).append(tuple(line[n:]))
    return provenance, tuple(header[n:]), blocks


def checked(path: Path) -> tuple[dict, str]:
    """Provenance and text of a table whose bytes are those that the provenance names."""
    beside, data = path.with_suffix(".json"), path.read_bytes()
    try:
        provenance = json.loads(beside.read_text())
        [provenance[name] for name in ("study", "profile", "device", "configurations", "expected", "runs")]
        if sha256(data) == provenance["sha256"]:
            return provenance, data.decode()
        how = f"is not the file that {beside.name} describes: it was cut short or edited"
    except FileNotFoundError:
        how = f"has no provenance {beside.name} beside it"
    except (ValueError, KeyError, TypeError):
        how = f"has an unreadable provenance {beside.name}"
    if path.with_suffix(".journal").exists():
        raise IsonumError(f"{path.name} was being written when its run was killed. Start the run again: it goes on.")
    raise IsonumError(f"{path.name} {how}. Restore it with git, or delete {path.stem}.* and run the study again.")


def sha256(data: bytes) -> str:
    """The hash by which a JSON knows its CSV."""
    return hashlib.sha256(data).hexdigest()
