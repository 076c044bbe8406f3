"""Runs a study: every configuration of a grid that its table lacks, over any executor, each written as it finishes."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import sys
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor, Executor
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from isonum_core.errors import DataAbsent, IsonumError
from isonum_core.lab.provenance import environment
from isonum_core.lab.study import Cells, Study, find_study
from isonum_core.lab.table import RESULTS, TableFile, locked, table_path

MAX_BYTES = 1_000_000  # of a table: larger ones do not belong into a repository
POLL = 0.1  # seconds between two looks at the futures


@dataclasses.dataclass(frozen=True)
class Report:
    """What a run left behind. `failures`: a configuration (or None) and one sentence each."""

    path: Path
    done: int
    expected: int
    failures: tuple[tuple[Any, str], ...]


@dataclasses.dataclass(frozen=True)
class Computed:
    """What comes back from a worker: columns and rows as text, or a sentence that says why there are none."""

    columns: Cells = ()
    rows: tuple[Cells, ...] = ()
    failure: str = ""
    absent: bool = False  # for want of data that the repository does not ship


LOST = Computed(failure="Its worker was lost, often for want of memory. Run again, with fewer workers if it recurs.")


def compute(module: str, config: Any, device: str) -> Computed:
    """One configuration, on one thread, in whatever process this is. Exceptions come back as a sentence."""
    try:
        study = find_study(module)
        one_thread()
        rows = study.run(config, device=device) if study.takes_device else study.run(config)
        columns, cells = study.cells(config, rows)
        return Computed(columns, tuple(cells))
    except IsonumError as error:
        return Computed(failure=str(error), absent=isinstance(error, DataAbsent))
    except Exception as error:
        hint = " Use fewer workers or a smaller profile." if _is_memory(error) else ""
        where = traceback.extract_tb(error.__traceback__)[-1]
        said = " ".join(str(error).split()) or "no message"
        place = f"{Path(where.filename).name}:{where.lineno}"
        return Computed(failure=f"{type(error).__name__} at {place}: {said}{'' if said[-1] in '.!?' else '.'}{hint}")


def run_study(
    study: str, profile: str, device: str = "cpu", executor: Executor | None = None, folder: Path | str = RESULTS
) -> Report:
    """Complete the table of a study and return what is done and what failed. Without an executor: in this process.

    Of the executor only submit is used, of its futures only result: whoever made it cancels and closes it. Everything
    that finished is on disk whatever ends the run, and the same call goes on from there. The completed table has the
    same bytes however it came about on one machine. IsonumError when the table on disk is damaged, does not fit the
    study, was begun on another kind of device, or is being written by another run.
    """
    chosen = find_study(study)
    kind = _device_kind(chosen, device)
    grid = chosen.configs(profile)
    path = table_path(chosen, profile, Path(folder))
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path), _threads_restored():
        table = TableFile.read(path, chosen)
        _check_fits(table, grid, kind)
        book = _Book(table, chosen, profile, kind, device, list(grid))
        todo = {key: config for key, config in grid.items() if key not in table.blocks}
        failures = []
        arrivals = _arrivals(executor or _InProcess(), chosen.module, todo, device)
        # Quiet in a notebook and in a pipe: neither is a terminal.
        for key, computed in tqdm(arrivals, chosen.name, len(todo), disable=not sys.stderr.isatty()):
            sentence = computed.failure or book.enter(key, computed)
            if sentence:
                failures.append((grid[key], sentence))
        table.seal()
        if path.exists() and path.stat().st_size > MAX_BYTES:
            failures.append((None, f"{path.name} is larger than {MAX_BYTES} bytes. Keep fewer columns or rows."))
        return Report(path, len(table.blocks), len(grid), tuple(failures))


class _Book:
    """Enters finished configurations into a table, with the facts of the run."""

    def __init__(self, table: TableFile, study: Study, profile: str, kind: str, device: str, order: list[Cells]):
        self.table, self.order, self.began = table, order, time.monotonic()
        here = environment(device, importlib.import_module(study.module).__file__)
        before = table.provenance
        runs = before.get("runs", [])
        # A kill may fall between counting a configuration and writing it; what is in the table decides.
        self.runs = [*runs[:-1], {**runs[-1], "configurations": len(table.blocks) - _count(runs[:-1])}] if runs else []
        if not self.runs or any(self.runs[-1].get(name) != here[name] for name in here):
            self.runs.append({**here, "configurations": 0, "seconds": 0.0})
        self.seconds = self.runs[-1]["seconds"]
        self.facts = {"study": study.module, "profile": profile, "device": kind, "expected": len(order)}

    def enter(self, key: Cells, computed: Computed) -> str:
        """Write one configuration; a sentence instead when its columns are not those of the table."""
        table = self.table
        if table.value_columns not in (None, computed.columns):
            return (
                f"Its columns are {list(computed.columns)}, the table has {list(table.value_columns)}. If the study's "
                "code has changed, delete the table and its JSON and run again."
            )
        table.value_columns = computed.columns
        table.blocks[key] = list(computed.rows)
        last = self.runs[-1]
        last["configurations"] = len(table.blocks) - _count(self.runs[:-1])
        last["seconds"] = round(self.seconds + time.monotonic() - self.began, 3)
        latest = {name: last[name] for name in ("commit", "dirty", "versions")}
        total = {
            "configurations": len(table.blocks),
            "rows": sum(map(len, table.blocks.values())),
            "seconds": round(sum(run["seconds"] for run in self.runs), 3),
        }
        table.write(self.order, {**self.facts, **total, **latest, "runs": self.runs})
        return ""


class _Now:
    """A future that computes when asked."""

    def __init__(self, fn, args):
        self.fn, self.args = fn, args

    def result(self, timeout=None):
        return self.fn(*self.args)


class _InProcess:
    """The least that an executor is: one thing after the other, here."""

    def submit(self, fn, *args):
        return _Now(fn, args)


def _arrivals(executor: Any, module: str, todo: dict[Cells, Any], device: str) -> Iterator[tuple[Cells, Computed]]:
    """Results in the order in which they finish."""
    waiting = {key: _submitted(executor, module, config, device) for key, config in todo.items()}
    while waiting:
        # Wait for the oldest, then look at all: what has finished is never kept waiting by what has not.
        for number, (key, future) in enumerate(list(waiting.items())):
            try:
                computed = future.result(timeout=0 if number else POLL)
            except TimeoutError:
                continue
            except BrokenExecutor:
                computed = LOST
            except Exception as error:  # a worker's own trouble: `compute` lets none of the study's out
                computed = Computed(failure=f"The executor failed with {type(error).__name__}: {error}")
            del waiting[key]
            yield key, computed


def _submitted(executor: Any, module: str, config: Any, device: str) -> Any:
    try:
        return executor.submit(compute, module, config, device)
    except BrokenExecutor:  # the pool broke while it was being filled
        return _Now(lambda: LOST, ())


def _check_fits(table: TableFile, grid: dict[Cells, Any], kind: str) -> None:
    name = table.path.name
    if strange := table.blocks.keys() - grid.keys():
        raise IsonumError(
            f"{name} holds {len(strange)} configurations that its grid does not have, such as {sorted(strange)[0]}. "
            "Delete the table and its JSON to compute it anew, or restore the grid."
        )
    begun = table.provenance.get("device", kind)
    if begun != kind:
        raise IsonumError(f"{name} was begun on {begun}, not {kind}. Go on there, or delete it with its JSON.")


def _device_kind(study: Study, device: str) -> str:
    kind = device.partition(":")[0]
    if kind not in ("cpu", "cuda"):
        raise IsonumError(f"A device is cpu or cuda, got {device!r}. Choose one of them.")
    if kind == "cuda" and not study.takes_device:
        raise IsonumError(f"{study.name} runs on the CPU alone: its run takes no device. Use --device cpu.")
    if kind == "cuda" and not torch.cuda.is_available():
        raise IsonumError("torch sees no CUDA device here. Use --device cpu.")
    return kind


def one_thread() -> None:
    """One thread for torch and for BLAS: sums in another order would be other bytes, and workers would share cores."""
    from threadpoolctl import threadpool_limits  # comes with scikit-learn

    torch.set_num_threads(1)
    threadpool_limits(limits=1)


@contextlib.contextmanager
def _threads_restored() -> Iterator[None]:
    from threadpoolctl import threadpool_limits

    count = torch.get_num_threads()
    with threadpool_limits(limits=1):
        try:
            yield
        finally:
            torch.set_num_threads(count)


def _count(runs: list[dict]) -> int:
    return sum(run["configurations"] for run in runs)


def _is_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError | torch.OutOfMemoryError)
