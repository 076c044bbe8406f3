"""The table of a study on disk: a tidy CSV beside the JSON that says what made it, and a journal while a run goes on.

What finishes is appended to the journal at once, a configuration a line; the end of the run turns it into the table. A
kill leaves the journal as it was, and the next run reads both.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from filelock import FileLock, Timeout

from isonum_core.errors import IsonumError
from isonum_core.lab.study import RESULTS, Cells, Row, Study, find_study, record, table_path


class StudyTable(NamedTuple):
    """A complete table as a chapter shows it: `seeds` is how many it holds."""

    frame: pd.DataFrame
    provenance: dict
    profile: str
    seeds: int


def load_table(
    study: str, profiles: tuple[str, ...] = ("gpu", "cpu", "quick"), folder: Path | str = RESULTS
) -> StudyTable:
    """The first complete table in the order of `profiles`: every configuration of the grid it was made for is there.

    IsonumError when there is none, or when its bytes are not those that its provenance describes.
    """
    chosen, begun, state = find_study(study), profiles[-1], "none"
    for profile in profiles:
        if (path := table_path(chosen.name, profile, folder)).exists():
            provenance, text = checked(path)
            if provenance["configurations"] == provenance["expected"]:
                # Words such as "nan" or "NA" stay words: an empty cell is the only missing value. Floats pass through
                # text because the reader of pandas before 3.1 is off by a last digit here and there.
                texts = dict.fromkeys(chosen.tolerances, str)
                frame = pd.read_csv(io.StringIO(text), keep_default_na=False, na_values=[""], dtype=texts)
                frame = frame.astype(dict.fromkeys(texts, float))
                return StudyTable(frame, provenance, profile, frame["seed"].nunique() if "seed" in frame else 1)
            begun, state = profile, f"{provenance['configurations']} of {provenance['expected']} configurations"
    raise IsonumError(
        f"A complete table of {study} for {' or '.join(profiles)} was expected in {folder}, got {state}. Make it with "
        f"`python -m isonum_core run {study} --profile {begun}`."
    )


def read_table(path: Path, study: Study) -> tuple[dict, dict[Cells, list[Row]]]:
    """Provenance, and the rows of each configuration by its key. IsonumError when they do not fit the study."""
    provenance, text = checked(path)
    lines, blocks = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False), {}
    head, n = tuple(lines.columns), len(study.columns)
    if head[:n] != study.columns or not study.tolerances.keys() <= set(head[n:]):
        raise IsonumError(
            f"{path.name} has the columns {head}, its study now {(*study.columns, *study.tolerances)}: its code has "
            f"changed. Delete {path.stem}.* and run the study again."
        )
    for row in lines.to_dict("records"):
        blocks.setdefault(tuple(row[name] for name in study.columns), []).append(row)
    return provenance, blocks


def checked(path: Path) -> tuple[dict, str]:
    """Provenance and text of a table whose bytes are those that the provenance names."""
    beside, data = path.with_suffix(".json"), path.read_bytes()
    how = f"is not the file that {beside.name} describes: it was cut short or edited"
    try:
        provenance = json.loads(beside.read_text())
        if hashlib.sha256(data).hexdigest() == provenance["sha256"]:
            return provenance, data.decode()
    except (OSError, ValueError, KeyError, TypeError):
        how = f"has no readable provenance {beside.name} beside it"
    if path.with_suffix(".journal").exists():
        raise IsonumError(f"{path.name} was being written when its run was killed. Start the run again: it goes on.")
    raise IsonumError(f"{path.name} {how}. Restore it with git, or delete {path.stem}.* and run the study again.")


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the table alone, or IsonumError; also when the disk refuses to write. A lock ends with its process."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock"), timeout=0):
            yield
    except Timeout:
        raise IsonumError(f"Another run is writing {path.name}. Wait for it, or end it.") from None
    except OSError as error:
        how = "What finished is kept; make room, run again."
        raise IsonumError(f"{path.name} cannot be written: {error}. {how}") from error


class Journal:
    """A table with what has come to it since it was written: `blocks`, rows by configuration. Needs the lock."""

    def __init__(self, path: Path, study: Study):
        self.path, self.columns, self.since = path, study.columns, time.monotonic()
        self.file, self.part = path.with_suffix(".journal"), path.with_name(path.name + ".part")
        if self.part.exists() and hashlib.sha256(self.part.read_bytes()).hexdigest() == record(path).get("sha256"):
            os.replace(self.part, path)  # the run before was killed between the two files of the table
        provenance, self.blocks = read_table(path, study) if path.exists() else ({"runs": []}, {})
        self.runs = provenance["runs"]
        if self.file.exists():
            text = self.file.read_bytes()
            whole = text.rfind(b"\n") + 1
            os.truncate(self.file, whole)  # what a kill or a full disk has left of a last line is no line
            try:
                for line in text[:whole].splitlines():
                    self._take(*json.loads(line))
            except (ValueError, TypeError, KeyError, IndexError) as error:
                how = f"does not fit {path.name} ({error}). Delete it, run again."
                raise IsonumError(f"{self.file.name} {how}") from None

    def enter(self, rows: list[Row], run: dict) -> None:
        """Append one configuration and what computed it. IsonumError when its columns are not those of the table."""
        seconds, self.since = time.monotonic() - self.since, time.monotonic()
        self._take(rows, run, seconds)
        _write(self.file, json.dumps([rows, run, seconds]) + "\n", "ab")

    def _take(self, rows: list[Row], run: dict, seconds: float) -> None:
        key = tuple(rows[0][name] for name in self.columns)
        if key in self.blocks:
            return  # it has come into the table by another way: a kill between its files, or git
        known = next(iter(self.blocks.values()), rows)[0]
        if [*known] != [*rows[0]]:
            raise IsonumError(
                f"New rows have the columns {[*rows[0]]}, {self.path.name} has {[*known]}: the code has changed. "
                f"Delete {self.path.stem}.* and run again."
            )
        self.blocks[key] = rows
        if not self.runs or self.runs[-1] | run != self.runs[-1]:
            self.runs.append({**run, "configurations": 0, "seconds": 0.0})
        self.runs[-1]["configurations"] += 1
        self.runs[-1]["seconds"] = round(self.runs[-1]["seconds"] + seconds, 3)

    def close(self, order: Iterable[Cells], facts: dict) -> None:
        """Write the table, configurations in the given order, and end the journal. Nothing new: nothing is touched."""
        if not (self.blocks and self.file.exists()):
            return
        rows = [row for key in order for row in self.blocks.get(key, ())]
        text = pd.DataFrame(rows).to_csv(index=False, lineterminator="\n")
        totals = {"configurations": len(self.blocks), "rows": len(rows)}
        totals["seconds"] = round(sum(run["seconds"] for run in self.runs), 3)
        facts = {**facts, **totals, "runs": self.runs, "sha256": hashlib.sha256(text.encode()).hexdigest()}
        beside, waiting = self.path.with_suffix(".json"), self.path.with_suffix(".json.part")
        _write(waiting, json.dumps(facts, indent=2, ensure_ascii=False) + "\n")
        # The CSV takes its place last: until then all that it needs lies beside it.
        _write(self.part, text)
        os.replace(waiting, beside)
        os.replace(self.part, self.path)
        self.file.unlink()


def _write(path: Path, text: str, mode: str = "wb") -> None:
    with open(path, mode) as file:
        file.write(text.encode())
        file.flush()
        os.fsync(file.fileno())
