"""The journal of a run: what finishes is appended to it at once, and the end of the run turns it into the table.

A line is JSON: a configuration's rows and what computed them. A kill leaves the journal beside the table as it was, and
the next run reads both.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from isonum_core.errors import IsonumError
from isonum_core.lab.study import Cells, Study, record
from isonum_core.lab.table import read_table, sha256


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
        raise IsonumError(
            f"{path.name} cannot be written: {error}. What finished is kept; make room, run again."
        ) from error


class Journal:
    """A table and what has come to it since it was written: `columns` of values, and `blocks`. Needs the lock."""

    def __init__(self, path: Path, study: Study):
        self.path, self.study = path, study
        self.file, self.part = path.with_suffix(".journal"), path.with_name(path.name + ".part")
        if self.part.exists() and sha256(self.part.read_bytes()) == record(path).get("sha256"):
            os.replace(self.part, path)  # the run before was killed between the two files of the table
        provenance, self.columns, self.blocks = read_table(path, study)
        self.runs = provenance.get("runs", [])
        text = self.file.read_bytes() if self.file.exists() else b""
        self.size = text.rfind(b"\n") + 1  # what a kill has left of a last line is no line
        try:
            for line in text[: self.size].splitlines():
                self._take(**json.loads(line))
        except (ValueError, TypeError) as error:
            raise IsonumError(f"{self.file.name} does not fit {path.name} ({error}). Delete it, run again.") from None
        self.since = time.monotonic()

    def enter(self, config: Any, columns: Cells, rows: Iterable[Cells], run: dict) -> None:
        """Append one configuration and what computed it. IsonumError when its columns are not those of the table."""
        seconds, self.since = time.monotonic() - self.since, time.monotonic()
        line = {"key": self.study.key(config), "columns": columns, "rows": rows, "run": run, "seconds": seconds}
        self._take(**line)
        self.size = _write(self.file, json.dumps(line) + "\n", self.size)

    def _take(self, key: Iterable, columns: Iterable, rows: Iterable, run: dict, seconds: float) -> None:
        if tuple(key) in self.blocks:
            return  # it has come into the table by another way: a kill between its files, or git
        if self.columns not in (None, tuple(columns)):
            raise IsonumError(
                f"New rows have the columns {list(columns)}, {self.path.name} has {list(self.columns)}: the code has "
                f"changed. Delete {self.path.stem}.* and run again."
            )
        self.columns, self.blocks[tuple(key)] = tuple(columns), [tuple(row) for row in rows]
        if not self.runs or any(self.runs[-1].get(name) != run[name] for name in run):
            self.runs.append({**run, "configurations": 0, "seconds": 0.0})
        self.runs[-1]["configurations"] += 1
        self.runs[-1]["seconds"] = round(self.runs[-1]["seconds"] + seconds, 3)

    def close(self, order: Iterable[Cells], facts: dict) -> None:
        """Write the table, configurations in the given order, and end the journal. Nothing new: nothing is touched."""
        if not (self.blocks and self.file.exists()):
            return
        sink = io.StringIO(newline="")
        lines = [(*key, *row) for key in order if key in self.blocks for row in self.blocks[key]]
        csv.writer(sink, lineterminator="\n").writerows([(*self.study.columns, *self.columns), *lines])
        totals = {"configurations": len(self.blocks), "rows": len(lines)}
        totals["seconds"] = round(sum(run["seconds"] for run in self.runs), 3)
        facts = {**facts, **totals, "runs": self.runs, "sha256": sha256(sink.getvalue().encode())}
        beside = self.path.with_suffix(".json")
        waiting = beside.with_name(beside.name + ".part")
        _write(waiting, json.dumps(facts, indent=2, ensure_ascii=False) + "\n")
        # The CSV takes its place last: until then all that it needs lies beside it.
        _write(self.part, sink.getvalue())
        os.replace(waiting, beside)
        os.replace(self.part, self.path)
        self.file.unlink()


def _write(path: Path, text: str, start: int = 0) -> int:
    """Write from byte `start` to the end of the file, down to the disk, and return its size."""
    with open(path, "ab") as file:
        file.truncate(start)  # a full disk or Ctrl-C may have left half a line behind it
        file.write(text.encode())
        file.flush()
        os.fsync(file.fileno())
        return file.tell()
