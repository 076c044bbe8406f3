"""Execute the chapters side by side, one on each core, before Sphinx reads them one after another; a line for each.

Each finished chapter is in the execution cache, where Sphinx finds it; so an interrupted build goes on where it was.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from pathlib import Path

import zmq
from jupyter_cache import get_cache
from jupyter_cache.executors.basic import ExecutionWorkerLocalMProc, ProcessData
from jupyter_cache.executors.utils import single_nb_execution
from myst_nb.core.read import is_myst_markdown_notebook
from traitlets.config import Config

FAILED = {0: "", 1: ", FAILED: Sphinx runs it once more and says where", 2: ", FAILED to start"}


# Kernels are spoken to in cipher where that can be had: otherwise each would warn, at length, that it is not.
PRIVATE = Config({"KernelManager": {"transport_encryption": "auto" if zmq.has("curve") else "disabled"}})


class Worker(ExecutionWorkerLocalMProc):
    """Executes one chapter in a process of its own and says how long it took, in seconds."""

    def __call__(self, data):
        begun = time.monotonic()
        status, uri = super().__call__(data)
        return status, uri, time.monotonic() - begun

    def log_info(self, message):
        """The parent prints one line for each chapter."""

    @staticmethod
    def execute(project_nb, data):
        folder = str(Path(project_nb.uri).parent)
        return single_nb_execution(project_nb.nb, folder, data.timeout, data.allow_errors, config=PRIVATE)


def side_by_side(app, env, docnames):
    """Execute those of the pages to be read that are notebooks and not in the cache yet."""
    if app.config.nb_execution_mode != "cache":
        return
    paths = [str(env.doc2path(name)) for name in sorted(docnames)]
    chapters = [path for path in paths if is_myst_markdown_notebook(Path(path).read_text(encoding="utf-8"))]
    cache = get_cache(app.config.nb_execution_cache_path)
    for chapter in chapters:
        cache.add_nb_to_project(chapter, read_data={"type": "plugin", "name": "myst_nb_md"})
    records = cache.list_unexecuted(filter_uris=chapters) if chapters else []
    workers = min(len(records), os.cpu_count() or 1)
    if records:
        tell(f"{len(records)} of {len(chapters)} chapters to execute, {workers} at a time")
        limit = app.config.nb_execution_timeout
        work = [ProcessData(record.pk, record.uri, cache, limit, allow_errors=False) for record in records]
        # A chapter that fails stays out of the cache: Sphinx executes it again, and says in its words what is wrong.
        with multiprocessing.Pool(workers) as pool:
            for count, (status, uri, seconds) in enumerate(pool.imap_unordered(Worker(), work), start=1):
                tell(f"{count:3}/{len(records)}  {Path(uri).stem:<20} {seconds:5.0f} s{FAILED[status]}")
    if docnames:
        tell(f"{len(docnames)} pages to read")


def tell(line: str) -> None:
    print(line, flush=True)


def setup(app):
    app.connect("env-before-read-docs", side_by_side)
