"""Runs that are killed, interrupted, starved or spread over processes end in the same bytes as one quiet run."""

from __future__ import annotations

import json
import multiprocessing
import time
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest
import torch
from toys import walk

from isonum_core.errors import IsonumError
from isonum_core.lab.engine import run_study
from isonum_core.lab.study import find_study
from isonum_core.lab.table import TableFile


@pytest.fixture(scope="module")
def quiet(tmp_path_factory):
    """Profile -> bytes of an uninterrupted run in this process."""
    folder = tmp_path_factory.mktemp("quiet")
    reports = {profile: run_study("toys.walk", profile, folder=folder) for profile in ("quick", "cpu")}
    assert all(report.done == report.expected and not report.failures for report in reports.values())
    return {profile: report.path.read_bytes() for profile, report in reports.items()}


def forkserver():
    """Starts processes in milliseconds, because torch is imported once; and outside this process's threads."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["isonum_core.lab.engine", "toys.walk"])
    return context


def test_twenty_kills_at_random_moments_change_no_byte(tmp_path, quiet):
    context, rng = forkserver(), np.random.default_rng()
    study, path = find_study("toys.walk"), tmp_path / "walk.cpu.csv"
    reference = quiet["cpu"].decode().splitlines()
    kills, completed, before = 0, 0, 0
    while kills < 20:
        process = context.Process(target=walk.run_under, args=({"TOY_PAUSE": "0.005"}, "cpu", "cpu", None, tmp_path))
        process.start()
        process.join(rng.uniform(0, 0.4))
        process.kill()
        process.join()
        done = TableFile.read(path, study).blocks
        assert len(done) >= before  # what was on disk is still there
        if path.exists():
            assert set(path.read_text().splitlines()) <= set(reference)
        before = len(done)
        kills += process.exitcode == -9
        if len(done) == 40:  # killed or not: start afresh, so that later kills hit something
            assert path.read_bytes() == quiet["cpu"]
            path.unlink()
            completed, before = completed + 1, 0
    report = run_study("toys.walk", "cpu", folder=tmp_path)
    assert report.path.read_bytes() == quiet["cpu"]
    record = json.loads(report.path.with_suffix(".json").read_text())
    assert sum(run["configurations"] for run in record["runs"]) == record["configurations"] == record["expected"] == 40
    assert completed < 15  # else the kills came too late to show anything
    assert sorted(p.name for p in tmp_path.iterdir()) == ["walk.cpu.csv", "walk.cpu.json"]


def test_two_spawned_processes_and_two_threads_write_the_same_bytes(tmp_path, quiet):
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        report = run_study("toys.walk", "cpu", executor=pool, folder=tmp_path / "processes")
    assert not report.failures and report.path.read_bytes() == quiet["cpu"]
    threads = torch.get_num_threads()
    with ThreadPoolExecutor(2) as pool:
        report = run_study("toys.walk", "cpu", executor=pool, folder=tmp_path / "threads")
    assert not report.failures and report.path.read_bytes() == quiet["cpu"]
    assert torch.get_num_threads() == threads


def test_two_dask_workers_write_the_same_bytes(tmp_path, quiet, monkeypatch):
    monkeypatch.setenv("DASK_DISTRIBUTED__WORKER__MULTIPROCESSING_METHOD", "forkserver")  # read at the import
    forkserver()
    distributed = pytest.importorskip("distributed", reason="Dask (distributed) is not installed")
    with (
        distributed.LocalCluster(2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        report = run_study("toys.walk", "cpu", executor=client.get_executor(), folder=tmp_path)
    assert not report.failures and report.path.read_bytes() == quiet["cpu"]


class Reversed(Executor):
    """Finishes the last submitted first, and offers nothing but submit and result."""

    def __init__(self):
        self.left = []

    def submit(self, fn, *args):
        self.left.append(future := Late(self, fn, args))
        return future


class Late:
    def __init__(self, owner, fn, args):
        self.owner, self.fn, self.args = owner, fn, args

    def result(self, timeout):
        if self.owner.left[-1] is not self:
            raise TimeoutError
        self.owner.left.pop()
        return self.fn(*self.args)


def test_the_order_of_finishing_leaves_no_trace(tmp_path, quiet):
    report = run_study("toys.walk", "quick", executor=Reversed(), folder=tmp_path)
    assert report.path.read_bytes() == quiet["quick"]


@pytest.mark.parametrize(
    "trouble, words",
    [
        ("raise", "RuntimeError at walk.py:.*: the loss went up."),
        ("memory", "OutOfMemoryError .* fewer workers"),
        ("nan", "'end' is nan, expected a finite number"),
        ("nothing", "returned no rows"),
    ],
)
def test_a_failing_configuration_costs_itself_and_nothing_else(tmp_path, quiet, monkeypatch, trouble, words):
    monkeypatch.setenv("TOY_TROUBLE", trouble)
    report = run_study("toys.walk", "quick", folder=tmp_path)
    [(config, sentence)] = report.failures
    assert config == walk.Config(1, 0.1) and (report.done, report.expected) == (5, 6)
    pytest.raises(IsonumError, _raise, sentence).match(words)
    monkeypatch.delenv("TOY_TROUBLE")
    report = run_study("toys.walk", "quick", folder=tmp_path)
    assert not report.failures and report.path.read_bytes() == quiet["quick"]


def _raise(sentence):
    raise IsonumError(sentence)


def test_ctrl_c_keeps_what_was_finished(tmp_path, quiet, monkeypatch):
    monkeypatch.setenv("TOY_TROUBLE", "interrupt")
    with pytest.raises(KeyboardInterrupt):
        run_study("toys.walk", "quick", folder=tmp_path)
    path = tmp_path / "walk.quick.csv"
    assert path.read_text().splitlines() == quiet["quick"].decode().splitlines()[:5]  # header, two configurations
    monkeypatch.delenv("TOY_TROUBLE")
    assert run_study("toys.walk", "quick", folder=tmp_path).path.read_bytes() == quiet["quick"]


def test_a_lost_worker_is_named_and_the_next_run_completes(tmp_path, quiet):
    with ProcessPoolExecutor(1, forkserver(), walk.set_environment, ({"TOY_TROUBLE": "lost"},)) as pool:
        report = run_study("toys.walk", "quick", executor=pool, folder=tmp_path)
    assert report.done + len(report.failures) == 6 and report.done < 6
    assert all("worker was lost" in sentence for _, sentence in report.failures)
    assert run_study("toys.walk", "quick", folder=tmp_path).path.read_bytes() == quiet["quick"]


def test_a_complete_table_is_not_touched(tmp_path, monkeypatch):
    run_study("toys.walk", "quick", folder=tmp_path)
    before = [(p.name, p.stat().st_mtime_ns) for p in sorted(tmp_path.iterdir())]
    monkeypatch.setattr(walk, "run", lambda config: pytest.fail("a finished configuration ran again"))
    assert run_study("toys.walk", "quick", folder=tmp_path).done == 6
    assert [(p.name, p.stat().st_mtime_ns) for p in sorted(tmp_path.iterdir())] == before


def test_a_larger_grid_keeps_what_is_there_and_a_smaller_one_is_refused(tmp_path, monkeypatch, quiet):
    monkeypatch.setitem(walk.SIZES, "quick", 2)
    run_study("toys.walk", "quick", folder=tmp_path)
    monkeypatch.setitem(walk.SIZES, "quick", 3)
    report = run_study("toys.walk", "quick", folder=tmp_path)
    assert report.path.read_bytes() == quiet["quick"]
    monkeypatch.setitem(walk.SIZES, "quick", 2)
    with pytest.raises(IsonumError, match="holds 2 configurations that its grid does not have"):
        run_study("toys.walk", "quick", folder=tmp_path)


def test_a_study_with_other_columns_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("TOY_TROUBLE", "raise")
    run_study("toys.walk", "quick", folder=tmp_path)
    monkeypatch.delenv("TOY_TROUBLE")
    known = walk.run
    monkeypatch.setattr(walk, "run", lambda config: [{**row, "n": 300} for row in known(config)])
    report = run_study("toys.walk", "quick", folder=tmp_path)
    assert report.done == 5 and "code has changed" in report.failures[0][1]
    monkeypatch.setitem(walk.TOLERANCES, "gap", {"cpu": 0.0})
    with pytest.raises(IsonumError, match=r"lacks the columns \['gap'\] of the study, whose code has changed"):
        run_study("toys.walk", "quick", folder=tmp_path)


def test_two_runs_at_once_are_refused_and_a_crash_leaves_no_lock(tmp_path):
    process = forkserver().Process(target=walk.run_under, args=({"TOY_PAUSE": "30"}, "quick", "cpu", None, tmp_path))
    process.start()
    lock = tmp_path / "walk.quick.lock"
    deadline = time.monotonic() + 20
    while not lock.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)  # from the file to the lock
    with pytest.raises(IsonumError, match="Another run is writing walk.quick.csv"):
        run_study("toys.walk", "quick", folder=tmp_path)
    process.kill()
    process.join()
    assert lock.exists()
    assert run_study("toys.walk", "quick", folder=tmp_path).done == 6
    assert not lock.exists()


def test_devices(tmp_path, monkeypatch):
    with pytest.raises(IsonumError, match="runs on the CPU alone"):
        run_study("toys.walk", "quick", device="cuda", folder=tmp_path)
    with pytest.raises(IsonumError, match="cpu or cuda, got 'tpu'"):
        run_study("toys.walk", "quick", device="tpu", folder=tmp_path)
    seen, known = [], walk.run
    monkeypatch.setattr(walk, "run", lambda config, device: seen.append(device) or known(config))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(IsonumError, match="no CUDA device"):
        run_study("toys.walk", "quick", device="cuda:0", folder=tmp_path)
    run_study("toys.walk", "quick", folder=tmp_path)
    assert seen == ["cpu"] * 6
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(IsonumError, match="was begun on cpu, not cuda"):
        run_study("toys.walk", "quick", device="cuda", folder=tmp_path)


def test_a_table_that_grows_too_large_is_kept_and_named(tmp_path, monkeypatch):
    monkeypatch.setattr("isonum_core.lab.engine.MAX_BYTES", 100)
    report = run_study("toys.walk", "quick", folder=tmp_path)
    assert report.done == 6 and "larger than 100 bytes" in report.failures[0][1]


def test_no_progress_bar_outside_a_terminal(tmp_path, capfd):
    run_study("toys.walk", "quick", folder=tmp_path)
    assert capfd.readouterr() == ("", "")
