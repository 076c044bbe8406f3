"""Command-line verbs of the lab: studies, run, verify. Exit status 1 when something failed, 130 when interrupted."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import math
import multiprocessing
import os
import secrets
import signal
import threading
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from pathlib import Path

import numpy as np

from isonum_core.lab.engine import one_thread, run_study
from isonum_core.lab.study import PROFILES, find_study, study_names
from isonum_core.lab.table import RESULTS, checked, table_path
from isonum_core.lab.verify import verify_tables


def add_commands(subparsers: argparse._SubParsersAction) -> None:
    """Add the verbs. Each sets `function`: from the parsed words to the text to print; SystemExit when it failed."""
    studies = subparsers.add_parser("studies", help="list the studies, their grids and their tables")
    studies.add_argument("--json", action="store_true", help="for programs")
    studies.set_defaults(function=_studies)

    run = subparsers.add_parser("run", help="compute what a study's table lacks; after a kill, go on from there")
    run.add_argument("study", help="a name that `studies` lists, or an importable module with a dot in its name")
    run.add_argument("--profile", choices=PROFILES, default="quick")
    run.add_argument("--device", default="cpu", help="cpu, cuda or cuda:1 (default: cpu)")
    run.add_argument("--workers", type=int, default=1, help="processes of one thread each (default: 1, this one)")
    run.set_defaults(function=_run)

    verify = subparsers.add_parser("verify", help="recompute random committed configurations and compare")
    verify.add_argument("--sample", type=int, metavar="K", help="how many (default: 10, or all that fit in --minutes)")
    verify.add_argument("--minutes", type=float, metavar="M", help="begin no further one after M minutes")
    verify.add_argument("--seed", type=int, help="of the sample; printed when it is drawn")
    verify.add_argument("--profiles", nargs="+", choices=PROFILES, default=PROFILES, help="default: all")
    verify.set_defaults(function=_verify)

    for parser in (studies, run, verify):
        parser.add_argument("--out", type=Path, default=RESULTS, metavar="DIR", help="folder of the tables")


def _studies(words: argparse.Namespace) -> str:
    listed = []
    for study in map(find_study, study_names()):
        profiles = {}
        for profile in PROFILES:
            path = table_path(study, profile, words.out)
            table = checked(path)[0] if path.exists() else {}
            profiles[profile] = {
                "configurations": len(study.configs(profile)),
                "done": table.get("configurations", 0),
                "device": table.get("device"),
                "commit": table.get("commit"),
            }
        entry = {"name": study.name, "title": study.title, "columns": study.columns}
        listed.append({**entry, "tolerances": study.tolerances, "profiles": profiles})
    if words.json:
        return json.dumps(listed, indent=2, ensure_ascii=False)
    lines = []
    for entry in listed:
        lines.append(f"{entry['name']}: {entry['title']}")
        for profile, state in entry["profiles"].items():
            lines.append(f"  {profile:<5}  {state['done']} of {state['configurations']} configurations")
    return "\n".join(lines or ["There are no studies yet."])


def _run(words: argparse.Namespace) -> str:
    try:
        with _processes(words.workers) as executor:
            report = run_study(words.study, words.profile, words.device, executor, words.out)
    except KeyboardInterrupt:
        return _end(["Interrupted. What finished is in the table; the same command goes on from there."], 130)
    lines = [f"{report.path}: {report.done} of {report.expected} configurations."]
    if report.done and len({run["code"] for run in checked(report.path)[0]["runs"]}) > 1:
        lines.append(
            "Its rows were computed by more than one state of the code: `verify` says whether they still hold."
        )
    alike = defaultdict(list)
    for config, sentence in report.failures:
        alike[sentence].append(config)
    for sentence, configs in alike.items():
        more = f" and {len(configs) - 1} more" if len(configs) > 1 else ""
        lines.append(f"{f'Failed: {configs[0]}{more}. ' if configs[0] else ''}{sentence}")
    return _end(lines, int(bool(report.failures)))


def _verify(words: argparse.Namespace) -> str:
    seed = secrets.randbits(32) if words.seed is None else words.seed
    timed = words.minutes is not None
    sample, minutes = words.sample or (None if timed else 10), words.minutes if timed else math.inf
    checks = verify_tables(sample, np.random.default_rng(seed), words.out, tuple(words.profiles), minutes)
    if not checks:
        return f"There are no tables in {words.out}, so there is nothing to verify."
    lines = [f"Recomputed on the CPU, --seed {seed}. Share: largest difference over what is allowed."]
    for check in checks:
        word = "DIFFERS, provisional" if check.provisional else "DIFFERS"
        verdict = f"share {check.share:.2g} ({check.column})" if check.holds else f"{word}: {check.problem}"
        verdict = f"NOT COMPARED: {check.absent}" if check.absent else verdict
        lines.append(f"{check.table}  {check.device}  {check.values} values  {verdict}  {_short(check.config)}")
    absent = sum(bool(check.absent) for check in checks)
    without = f" {absent} not compared, for want of data." if absent else ""
    if excused := sum(check.provisional and not check.holds for check in checks):
        without += f" {excused} differ among rows that are known to depend on the processor."
    held = sum(check.holds for check in checks) - absent
    return _end([*lines, f"{held} of {len(checks)} hold.{without}"], int(any(check.fails for check in checks)))


def _end(lines: list[str], status: int) -> str:
    text = "\n".join(lines)
    if status:
        print(text)
        raise SystemExit(status)
    return text


def _short(config) -> str:
    if not dataclasses.is_dataclass(config):
        return "" if config is None else str(config)
    return " ".join(f"{name}={value}" for name, value in dataclasses.asdict(config).items())


@contextlib.contextmanager
def _processes(workers: int) -> Iterator[Executor | None]:
    """A pool of spawned workers, none for one worker. Leaving by an exception ends the workers at once.

    They are ended, not cancelled: a pool that breaks while it holds cancelled futures fails with InvalidStateError.
    """
    if workers == 1:
        yield None
        return
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=spawn, initializer=_start_worker) as pool:
        try:
            yield pool
        except BaseException:
            for child in multiprocessing.active_children():
                child.terminate()
            raise


def _start_worker() -> None:
    # Ctrl-C reaches the whole group: the worker ends without a traceback, and the parent reports.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    one_thread()


def _end_with_parent() -> None:
    # A pool's workers wait for ever for a parent that was killed.
    multiprocessing.parent_process().join()
    os._exit(1)
