"""Runs a study: every configuration of a grid that its table lacks, here or by joblib, each kept as it finishes."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import math
import multiprocessing
import os
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor
from pathlib import Path
from typing import Any

import torch
from joblib import Parallel, delayed
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from isonum_core.errors import DataAbsent, IsonumError
from isonum_core.lab.journal import Journal, locked
from isonum_core.lab.study import RESULTS, Cells, find_study, table_path
from isonum_core.origin import code_hash, environment


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a run left behind. `failures`: a configuration (or None) and one sentence each."""

    path: Path
    done: int
    expected: int
    failures: tuple[tuple[Any, str], ...]


@dataclasses.dataclass(frozen=True)
class Computed:
    """What comes of a configuration: columns and rows as text, or a sentence that says why there are none."""

    config: Any
    columns: Cells = ()
    rows: tuple[Cells, ...] = ()
    failure: str = ""
    absent: bool = False  # for want of data that the repository does not ship


def compute(module: str, config: Any, device: str) -> Computed:
    """One configuration, on one thread, in whatever process this is. Exceptions come back as a sentence."""
    try:
        study = find_study(module)
        one_thread()
        rows = study.run(config, device=device) if study.takes_device else study.run(config)
        columns, cells = study.cells(config, rows)
        return Computed(config, columns, tuple(cells))
    except IsonumError as error:
        return Computed(config, failure=str(error), absent=isinstance(error, DataAbsent))
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        said = f"{type(error).__name__} at {Path(where.filename).name}:{where.lineno}: {error or 'no message'}"
        starved = isinstance(error, MemoryError | torch.OutOfMemoryError)
        hint = " Use fewer workers or a smaller profile." if starved else ""
        return Computed(config, failure=f"{' '.join(said.split()).rstrip('.')}.{hint}")


def run_study(
    study: str,
    profile: str,
    device: str = "cpu",
    workers: int | None = None,
    folder: Path | str = RESULTS,
    minutes: float = math.inf,
) -> Outcome:
    """Complete the table of a study and return what is done and what failed. Leaves this process on one thread.

    `workers` processes share the work; None is what `joblib.parallel_config` says, else this process alone. After
    `minutes` no further configuration is begun. What finished is kept whatever ends the run, and the same call goes on
    from there; the completed table has the same bytes however it came about on one machine. IsonumError when what is
    on disk is damaged, does not fit the study, was begun on another kind of device, or is being written by another run.
    """
    began, chosen, kind, failures = time.monotonic(), find_study(study), device.partition(":")[0], []
    if kind != "cpu" and not (kind == "cuda" and chosen.takes_device and torch.cuda.is_available()):
        how = "on cpu, and on cuda where its run takes a device and torch sees one"
        raise IsonumError(f"{study} runs {how}, got {device!r}. Use --device cpu.")
    grid, path = chosen.configs(profile), table_path(chosen.name, profile, folder)
    # The run itself changes the tables, so the package alone is asked whether it differs from its commit.
    run = environment(torch.cuda.get_device_name(device) if kind == "cuda" else kind, within=("isonum_core",))
    run["code"] = code_hash(sys.modules[chosen.module].__file__)
    with locked(path):
        journal = Journal(path, chosen)
        strange = journal.blocks.keys() - grid.keys()
        if strange or any((earlier["device"] == "cpu") != (kind == "cpu") for earlier in journal.runs):
            how = f"holds {sorted(strange)[0]}, which its grid has not" if strange else f"was not begun on {kind}"
            raise IsonumError(f"{path.name} {how}. Go on as it was begun, or delete {path.stem}.* to compute it anew.")
        todo = [config for key, config in grid.items() if key not in journal.blocks]
        arrivals = _arrivals(chosen.module, todo, device, workers, began + 60 * minutes)
        try:
            with warnings.catch_warnings(), contextlib.closing(arrivals):
                warnings.filterwarnings(
                    "ignore", r"\d+ tasks"
                )  # joblib's advice to whoever stops early: here it is meant
                # Quiet in a notebook and in a pipe: neither is a terminal.
                for computed in tqdm(arrivals, chosen.name, len(todo), disable=not sys.stderr.isatty()):
                    if computed.failure:
                        failures.append((computed.config, computed.failure))
                    else:
                        journal.enter(computed.config, computed.columns, computed.rows, run)
        finally:
            journal.close(grid, {"study": chosen.module, "profile": profile, "device": kind, "expected": len(grid)})
        return Outcome(path, len(journal.blocks), len(grid), tuple(failures))


def _arrivals(module: str, todo: list, device: str, workers: int | None, deadline: float) -> Iterator[Computed]:
    """What has been computed, in the order in which it finishes. Closing it ends the workers."""
    begun = itertools.takewhile(lambda _: time.monotonic() < deadline, todo)
    # No more in flight than there are workers, so that nothing is begun after the deadline; and none without work.
    count = workers and max(1, min(workers, len(todo)))
    pool = Parallel(count, return_as="generator_unordered", batch_size=1, pre_dispatch="n_jobs")
    try:
        yield from pool(delayed(_worked)(os.getpid(), module, config, device) for config in begun)
    except BrokenExecutor:
        yield Computed(None, failure="A worker was lost, often for want of memory. Run again, with fewer if it recurs.")
    except Exception as error:  # the pool's own trouble: `compute` lets none of the study's out
        yield Computed(None, failure=f"The workers failed with {type(error).__name__}: {error}. Run again.")


def _worked(parent: int, module: str, config: Any, device: str) -> Computed:
    if multiprocessing.current_process().name.startswith("Loky"):
        _end_with(parent)
    return compute(module, config, device)


@functools.cache
def _end_with(parent: int) -> None:
    """In a worker: end when the parent is gone, however that came about. A pool's workers would wait for minutes."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.2)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def one_thread() -> None:
    """One thread for torch and for BLAS: sums in another order would be other bytes, and workers would share cores."""
    torch.set_num_threads(1)
    threadpool_limits(limits=1)
