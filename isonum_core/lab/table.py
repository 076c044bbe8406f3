"""The table of a study on disk: tidy CSV beside the JSON that says what made it, written so that a kill harms neither.

The JSON holds the sha256 of its CSV. During a run it is written first and names both the new bytes and the old, so that
a crash between the two files is no contradiction, while a truncated or edited table is. The end of a run seals it.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import hashlib
import io
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from isonum_core.errors import IsonumError
from isonum_core.lab.study import PROFILES, Cells, Study, find_study
from isonum_core.origin import ROOT

RESULTS = ROOT / "book" / "results"

Blocks = dict[Cells, list[Cells]]


@dataclasses.dataclass(frozen=True)
class StudyTable:
    """A table as a chapter shows it. `complete`: every configuration of the grid it was made for is there."""

    frame: pd.DataFrame
    provenance: dict
    profile: str
    seeds: int
    complete: bool


@dataclasses.dataclass
class TableFile:
    """CSV and JSON of one study and profile. `blocks` maps a configuration's cells to its rows of value cells."""

    path: Path
    config_columns: Cells
    value_columns: Cells | None = None
    blocks: Blocks = dataclasses.field(default_factory=dict)
    provenance: dict = dataclasses.field(default_factory=dict)

    @classmethod
    def read(cls, path: Path, study: Study) -> TableFile:
        """What is on disk, nothing when there is none. IsonumError when it is damaged or does not fit the study."""
        table = cls(path, study.columns)
        if not path.exists():
            return table
        table.provenance, text = checked(path)
        try:
            header, *lines = csv.reader(io.StringIO(text, newline=""), strict=True)
        except (csv.Error, ValueError) as error:
            raise _damaged(path, f"is not a CSV with a header ({error})") from None
        n = len(study.columns)
        table.value_columns = tuple(header[n:])
        if unknown := set(study.tolerances) - set(header[n:]):
            raise _damaged(path, f"lacks the columns {sorted(unknown)} of the study, whose code has changed")
        if tuple(header[:n]) != study.columns:
            raise _damaged(path, f"starts with the columns {header[:n]}, the study's are now {list(study.columns)}")
        for number, line in enumerate(lines, start=2):
            if len(line) != len(header):
                raise _damaged(path, f"has {len(line)} cells in line {number}, expected {len(header)}")
            table.blocks.setdefault(tuple(line[:n]), []).append(tuple(line[n:]))
        return table

    def write(self, order: Sequence[Cells], provenance: dict) -> None:
        """Replace both files, JSON first; configurations stand in the given order. A reader sees the old or the new."""
        sink = io.StringIO(newline="")
        writer = csv.writer(sink, lineterminator="\n")
        writer.writerow((*self.config_columns, *self.value_columns))
        writer.writerows((*key, *row) for key in order if key in self.blocks for row in self.blocks[key])
        new = sink.getvalue().encode()
        old = self.path.read_bytes() if self.path.exists() else new
        hashes = list(dict.fromkeys(map(_sha256, (new, old))))
        self.provenance = {**provenance, "sha256": hashes}
        self._write_provenance()
        _replace(self.path, new)

    def seal(self) -> None:
        """At the end of a run: from here on the JSON names the bytes of its CSV alone."""
        hashes = self.provenance.get("sha256", [])
        if len(hashes) > 1 and _sha256(self.path.read_bytes()) == hashes[0]:
            self.provenance = {**self.provenance, "sha256": hashes[:1]}
            self._write_provenance()

    def _write_provenance(self) -> None:
        text = json.dumps(self.provenance, indent=2, ensure_ascii=False) + "\n"
        _replace(self.path.with_suffix(".json"), text.encode())


def table_path(study: Study, profile: str, folder: Path) -> Path:
    """Where the table of one study and profile lies: <folder>/<study>.<profile>.csv."""
    return Path(folder) / f"{study.name}.{profile}.csv"


def load_table(
    study: str, profiles: tuple[str, ...] = ("gpu", "cpu", "quick"), folder: Path | str = RESULTS
) -> StudyTable:
    """The best table there is: the first complete one in the order of `profiles`, else the first incomplete one.

    IsonumError when there is none, or when its bytes are not those that its provenance describes.
    """
    chosen, found = find_study(study), []
    for profile in profiles:
        path = table_path(chosen, profile, Path(folder))
        if not path.exists():
            continue
        provenance, text = checked(path)
        # Words such as "nan" or "NA" stay words: an empty cell is the only missing value. Floats pass through text
        # because the reader of pandas before 3.1 is off by a last digit here and there.
        texts = dict.fromkeys(chosen.tolerances, str)
        frame = pd.read_csv(io.StringIO(text), keep_default_na=False, na_values=[""], dtype=texts)
        frame = frame.astype(dict.fromkeys(chosen.tolerances, float))
        seeds = frame["seed"].nunique() if "seed" in frame else 1
        # An unsealed JSON may already count what the CSV does not hold yet.
        complete = len(provenance["sha256"]) == 1 and provenance["configurations"] == provenance["expected"]
        table = StudyTable(frame, provenance, profile, seeds, complete)
        if complete:
            return table
        found.append(table)
    if not found:
        raise IsonumError(
            f"There is no table of {study} for {' or '.join(profiles)} in {folder}. Make one with "
            f"`python -m isonum_core run {study} --profile {profiles[-1] if profiles else PROFILES[0]}`."
        )
    return found[0]


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the table alone, or IsonumError. The system frees the lock when its process ends, however it ends.

    The empty file `<table>.lock` may stay behind after a crash and means nothing. Where Python has no fcntl (Windows)
    there is no lock: start one run at a time.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    name = path.with_suffix(".lock")
    while True:
        file = os.open(name, os.O_CREAT | os.O_RDWR)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(file)
            raise IsonumError(f"Another run is writing {path.name}. Wait for it, or end it.") from None
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file), os.stat(name)):
                break
        os.close(file)  # the run before us removed this file while we were opening it
    try:
        yield
    finally:
        os.unlink(name)
        os.close(file)


def checked(path: Path) -> tuple[dict, str]:
    """Provenance and text of a table whose bytes are those that the provenance names."""
    record = path.with_suffix(".json")
    data = path.read_bytes()
    try:
        provenance = json.loads(record.read_text())
        known = _sha256(data) in provenance["sha256"]
        [provenance[name] for name in ("study", "profile", "device", "configurations", "expected", "runs")]
    except FileNotFoundError:
        raise _damaged(path, f"has no provenance {record.name} beside it") from None
    except (ValueError, KeyError, TypeError):
        raise _damaged(path, f"has an unreadable provenance {record.name}") from None
    if not known:
        raise _damaged(path, f"is not the file that {record.name} describes: it was cut short or edited")
    return provenance, data.decode()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _damaged(path: Path, how: str) -> IsonumError:
    return IsonumError(f"{path.name} {how}. Restore it with git, or delete it with its JSON and run the study again.")


def _replace(path: Path, data: bytes) -> None:
    # One fixed name, which the lock makes ours: what a kill leaves of it is overwritten by the next write.
    part = path.with_name(path.name + ".part")
    with open(part, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)
