"""Runs a study: every configuration of a grid that its table lacks, here or by joblib, each kept as it finishes."""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
import multiprocessing
import os
import signal
import threading
import time
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from joblib import Parallel, delayed
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from isonum_core.errors import IsonumError
from isonum_core.lab.study import RESULTS, Row, find_study, table_path
from isonum_core.lab.table import Journal, locked
from isonum_core.origin import code_hash, environment


class Outcome(NamedTuple):
    """What a run left behind. `failures`: a configuration (or None) and one sentence each."""

    path: Path
    done: int
    expected: int
    failures: tuple[tuple[Any, str], ...]


Computed = tuple[Any, list[Row] | IsonumError]  # a configuration with its rows, or with why there are none


def compute(module: str, config: Any, device: str) -> Computed:
    """One configuration, on one thread, in whatever process this is. An exception comes back as one sentence."""
    try:
        if multiprocessing.current_process().name.startswith("Loky"):
            _end_with(multiprocessing.parent_process().pid)
        one_thread()
        study = find_study(module)
        rows = study.run(config, device=device) if study.takes_device else study.run(config)
        return config, study.cells(config, rows)
    except IsonumError as error:
        return config, error
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        said = f"{type(error).__name__} at {Path(where.filename).name}:{where.lineno}: {error or 'no message'}"
        starved = isinstance(error, MemoryError | torch.OutOfMemoryError)
        hint = " Use fewer workers or a smaller profile." if starved else ""
        return config, IsonumError(f"{' '.join(said.split()).rstrip('.')}.{hint}")


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
    deadline, chosen, kind, failures = time.monotonic() + 60 * minutes, find_study(study), device.partition(":")[0], []
    if kind != "cpu" and not (kind == "cuda" and chosen.takes_device and torch.cuda.is_available()):
        how = "on cpu, and on cuda where its run takes a device and torch sees one"
        raise IsonumError(f"{study} runs {how}, got {device!r}. Use --device cpu.")
    grid, path = chosen.configs(profile), table_path(chosen.name, profile, folder)
    # The run itself changes the tables, so the package alone is asked whether it differs from its commit.
    run = environment(torch.cuda.get_device_name(device) if kind == "cuda" else kind, within=("isonum_core",))
    run["code"] = code_hash(chosen.file)
    with locked(path):
        journal = Journal(path, chosen)
        strange = journal.blocks.keys() - grid.keys()
        if strange or any((earlier["device"] == "cpu") != (kind == "cpu") for earlier in journal.runs):
            how = f"holds {sorted(strange)[0]}, which its grid has not" if strange else f"was not begun on {kind}"
            raise IsonumError(f"{path.name} {how}. Go on as it was begun, or delete {path.stem}.* to compute it anew.")
        todo = [config for key, config in grid.items() if key not in journal.blocks]
        try:
            arrivals = _arrivals(chosen.module, todo, device, workers, deadline)
            with warnings.catch_warnings(), contextlib.closing(arrivals), _heard() as pressed:
                warnings.filterwarnings("ignore", r"\d+ tasks")  # joblib's to whoever stops early: here it is meant
                for config, found in tqdm(arrivals, chosen.name, len(todo), disable=None):  # None: only on a terminal
                    if isinstance(found, IsonumError):
                        failures.append((config, str(found)))
                    else:
                        journal.enter(found, run)
                    if pressed.is_set():
                        raise KeyboardInterrupt
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
        yield from pool(delayed(compute)(module, config, device) for config in begun)
    except Exception as error:  # the pool's own trouble, such as a lost worker: `compute` lets none of the study's out
        said, how = str(error).partition("\n")[0], "Run again, with fewer workers if it recurs."
        yield None, IsonumError(f"The workers failed with {type(error).__name__}: {said} {how}")


@contextlib.contextmanager
def _heard() -> Iterator[threading.Event]:
    """An event that says whether Ctrl-C was pressed: Python drops the interrupt where it meets it in a callback."""
    pressed = threading.Event()
    if threading.current_thread() is not threading.main_thread() or (
        signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    ):
        yield pressed  # signals are not heard here, or they are somebody else's
        return

    def press(*_: Any) -> None:
        pressed.set()
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, press)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


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
