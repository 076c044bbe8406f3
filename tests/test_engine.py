"""Runs that are killed, interrupted, starved or spread over processes end in the same bytes as one quiet run."""

from __future__ import annotations

import io
import json
import multiprocessing
import signal
import sys
import time

import joblib
import numpy as np
import pytest
import torch
from joblib.externals.loky import get_reusable_executor
from toys import walk

from isonum_core.errors import IsonumError
from isonum_core.lab import engine, table
from isonum_core.lab.engine import compute, run_study
from isonum_core.lab.study import find_study
from isonum_core.lab.table import Journal, load_table, locked, read_table


@pytest.fixture(scope="module")
def quiet(tmp_path_factory):
    """Profile -> bytes of an uninterrupted run in this process."""
    folder = tmp_path_factory.mktemp("quiet")
    outcomes = {profile: run_study("toys.walk", profile, folder=folder) for profile in ("quick", "cpu")}
    assert all(outcome.done == outcome.expected and not outcome.failures for outcome in outcomes.values())
    return {profile: outcome.path.read_bytes() for profile, outcome in outcomes.items()}


@pytest.fixture
def fresh_workers():
    """joblib keeps its workers for the next call; these have, or should not keep, the environment of one test."""
    get_reusable_executor().shutdown(wait=True, kill_workers=True)
    yield
    get_reusable_executor().shutdown(wait=True, kill_workers=True)


def forkserver():
    """Starts processes in milliseconds, because torch is imported once; and outside this process's threads."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["isonum_core.lab.engine", "toys.walk"])
    return context


def on_disk(path):
    """What the next run would find: the table and the journal beside it."""
    return Journal(path, find_study("toys.walk")).blocks


def whole(path):
    """The record of a table that says each configuration was computed once."""
    record = json.loads(path.with_suffix(".json").read_text())
    return record["expected"] == record["configurations"] == sum(run["configurations"] for run in record["runs"])


def left(folder):
    return {path.name for path in folder.iterdir()} - {"walk.quick.lock", "walk.cpu.lock"}


def test_twenty_kills_at_random_moments_change_no_byte(tmp_path, quiet):
    context, rng, path = forkserver(), np.random.default_rng(), tmp_path / "walk.cpu.csv"
    kills, hits, before = 0, 0, 0
    while kills < 20:
        process = context.Process(target=walk.run_under, args=({"TOY_PAUSE": "0.01"}, "cpu", "cpu", None, tmp_path))
        process.start()
        process.join(rng.uniform(0, 0.6))
        process.kill()
        process.join()
        done = on_disk(path)
        assert len(done) >= before  # what was on disk is still there
        before = len(done)
        kills += process.exitcode == -9
        hits += process.exitcode == -9 and 0 < len(done) < 40
        if len(done) == 40:  # killed or not: start afresh, so that later kills hit something
            assert run_study("toys.walk", "cpu", folder=tmp_path).path.read_bytes() == quiet["cpu"] and whole(path)
            path.unlink()
            before = 0
    outcome = run_study("toys.walk", "cpu", folder=tmp_path)
    assert outcome.path.read_bytes() == quiet["cpu"] and whole(path)
    assert hits  # else all kills came too early or too late to show anything
    assert left(tmp_path) == {"walk.cpu.csv", "walk.cpu.json"}


@pytest.mark.parametrize("begun", [0, 2])
@pytest.mark.parametrize("survived", range(5))
def test_a_kill_between_any_two_steps_of_writing_the_table(tmp_path, quiet, monkeypatch, begun, survived):
    """Two files cannot be replaced at once. What a kill leaves after each step, the next run completes."""
    path = tmp_path / "walk.quick.csv"
    if begun:
        monkeypatch.setitem(walk.SIZES, "quick", begun)
        run_study("toys.walk", "quick", folder=tmp_path)
    monkeypatch.setitem(walk.SIZES, "quick", 3)
    study, steps = find_study("toys.walk"), iter(range(5))
    grid = study.configs("quick")
    opened = Journal(path, study)
    for config in [config for key, config in grid.items() if key not in opened.blocks]:
        opened.enter(compute("toys.walk", config, "cpu")[1], {"device": "cpu", "code": "another state of it"})

    def mortal(step):
        def taken(*words):
            if next(steps) == survived:
                raise SystemExit
            return step(*words)

        return taken

    with monkeypatch.context() as patch:
        patch.setattr(table, "_write", mortal(table._write))
        patch.setattr(table.os, "replace", mortal(table.os.replace))
        patch.setattr(table.Path, "unlink", mortal(table.Path.unlink))
        with pytest.raises(SystemExit):
            opened.close(grid, {"study": "toys.walk", "profile": "quick", "device": "cpu", "expected": 6})
    assert path.with_suffix(".journal").exists()
    if begun and survived == 3:  # the JSON is new, the CSV is not
        with pytest.raises(IsonumError, match="was being written when its run was killed. Start the run again"):
            load_table("toys.walk", ("quick",), tmp_path)
    elif begun:
        assert len(load_table("toys.walk", ("quick",), tmp_path).frame) == (12 if survived == 4 else 8)
    monkeypatch.setattr(walk, "run", lambda config: pytest.fail("a finished configuration ran again"))
    assert run_study("toys.walk", "quick", folder=tmp_path).path.read_bytes() == quiet["quick"] and whole(path)
    assert left(tmp_path) == {"walk.quick.csv", "walk.quick.json"}


def test_the_order_of_finishing_leaves_no_trace(tmp_path, quiet):
    study, path = find_study("toys.walk"), tmp_path / "walk.quick.csv"
    grid = study.configs("quick")
    opened = Journal(path, study)
    for config in reversed(grid.values()):
        opened.enter(compute("toys.walk", config, "cpu")[1], {"device": "cpu", "code": "another state of it"})
    opened.close(grid, {})
    assert path.read_bytes() == quiet["quick"]


def test_half_a_line_is_computed_again_and_a_damaged_one_is_refused(tmp_path, quiet, monkeypatch):
    monkeypatch.setattr(Journal, "close", lambda *words: None)  # as a kill would leave it
    path = run_study("toys.walk", "quick", folder=tmp_path).path
    lines = path.with_suffix(".journal").read_bytes()
    path.with_suffix(".journal").write_bytes(lines[:-20])
    assert len(on_disk(path)) == 5
    monkeypatch.undo()
    assert run_study("toys.walk", "quick", folder=tmp_path).path.read_bytes() == quiet["quick"] and whole(path)
    path.with_suffix(".journal").write_bytes(lines[40:])
    with pytest.raises(IsonumError, match="walk.quick.journal does not fit walk.quick.csv"):
        run_study("toys.walk", "quick", folder=tmp_path)


def test_rows_that_came_by_another_way_are_not_doubled(tmp_path, quiet, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "close", lambda *words: None)
        path = run_study("toys.walk", "quick", folder=tmp_path).path
    elsewhere = run_study("toys.walk", "quick", folder=tmp_path / "elsewhere").path
    for suffix in (".csv", ".json"):
        elsewhere.with_suffix(suffix).rename(path.with_suffix(suffix))
    assert run_study("toys.walk", "quick", folder=tmp_path).path.read_bytes() == quiet["quick"] and whole(path)


def test_a_full_disk_is_one_sentence_and_costs_what_was_in_flight(tmp_path, quiet):
    resource = pytest.importorskip("resource", reason="limits of a process need a POSIX system")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    path = tmp_path / "walk.quick.csv"
    kept = []
    for size in (100, 1000, 1800):  # no line of the journal, one, two; the third leaves room for the table
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))  # a write beyond it fails in the middle
            with pytest.raises(IsonumError, match="walk.quick.csv cannot be written: .*too large.* make room"):
                run_study("toys.walk", "quick", folder=tmp_path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        kept.append(len(on_disk(path)))
    assert kept == sorted(kept) and kept[0] == 0 < kept[-1] < 6
    assert run_study("toys.walk", "quick", folder=tmp_path).path.read_bytes() == quiet["quick"] and whole(path)


def test_two_processes_and_two_threads_write_the_same_bytes(tmp_path, quiet, fresh_workers):
    outcome = run_study("toys.walk", "cpu", workers=2, folder=tmp_path / "processes")
    assert not outcome.failures and outcome.path.read_bytes() == quiet["cpu"]
    with joblib.parallel_config("threading", n_jobs=2):
        outcome = run_study("toys.walk", "cpu", folder=tmp_path / "threads")
    assert not outcome.failures and outcome.path.read_bytes() == quiet["cpu"]


def test_a_worker_takes_one_thread(tmp_path, fresh_workers, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    with joblib.parallel_config("loky", n_jobs=2, inner_max_num_threads=2):
        tasks = (joblib.delayed(walk.threads_of)(config) for config in walk.grid("gpu"))
        assert set(joblib.Parallel()(tasks)) == {1}


def test_a_dask_cluster_writes_the_same_bytes(tmp_path, quiet, monkeypatch):
    monkeypatch.setenv("DASK_DISTRIBUTED__WORKER__MULTIPROCESSING_METHOD", "forkserver")  # read at the import
    forkserver()
    distributed = pytest.importorskip("distributed", reason="Dask (distributed) is not installed")
    with (
        distributed.LocalCluster(2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        distributed.Client(cluster),
        joblib.parallel_config("dask"),
    ):
        outcome = run_study("toys.walk", "cpu", folder=tmp_path)
    assert not outcome.failures and outcome.path.read_bytes() == quiet["cpu"]


@pytest.mark.parametrize(
    "trouble, words",
    [
        ("raise", "RuntimeError at walk.py:.*: the loss went up."),
        ("memory", "OutOfMemoryError .* fewer workers"),
        ("nan", "'end' is nan in walk, which does not list"),
        ("nothing", "one row at least, all of the same columns, got 0"),
    ],
)
def test_a_failing_configuration_costs_itself_and_nothing_else(tmp_path, quiet, monkeypatch, trouble, words):
    monkeypatch.setenv("TOY_TROUBLE", trouble)
    outcome = run_study("toys.walk", "quick", folder=tmp_path)
    [(config, sentence)] = outcome.failures
    assert config == walk.Config(1, 0.1) and (outcome.done, outcome.expected) == (5, 6)
    pytest.raises(IsonumError, _raise, sentence).match(words)
    monkeypatch.delenv("TOY_TROUBLE")
    outcome = run_study("toys.walk", "quick", folder=tmp_path)
    assert not outcome.failures and outcome.path.read_bytes() == quiet["quick"]


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


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_ctrl_c_that_python_drops_in_a_callback_ends_the_run_at_the_next_arrival(tmp_path, quiet, monkeypatch):
    class Callback:
        def __del__(self):
            signal.raise_signal(signal.SIGINT)

    def computed(*words):
        found = compute(*words)
        Callback()  # collected at once; what is raised there goes nowhere
        return found

    monkeypatch.setattr(engine, "compute", computed)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run_study("toys.walk", "quick", folder=tmp_path)
    assert signal.getsignal(signal.SIGINT) is before
    monkeypatch.setattr(engine, "compute", compute)
    assert 0 < len(read_table(tmp_path / "walk.quick.csv", find_study("toys.walk"))[1]) < len(walk.grid("quick"))
    assert run_study("toys.walk", "quick", folder=tmp_path).path.read_bytes() == quiet["quick"]


def test_a_lost_worker_ends_the_run_with_a_sentence_and_the_next_completes(tmp_path, quiet, fresh_workers, monkeypatch):
    monkeypatch.setenv("TOY_TROUBLE", "lost")
    outcome = run_study("toys.walk", "quick", workers=2, folder=tmp_path)
    [(config, sentence)] = outcome.failures
    assert (
        config is None and sentence.startswith("The workers failed with TerminatedWorkerError: ") and outcome.done < 6
    )
    assert sentence.endswith("Run again, with fewer workers if it recurs.") and "\n" not in sentence
    monkeypatch.delenv("TOY_TROUBLE")
    assert run_study("toys.walk", "quick", folder=tmp_path).path.read_bytes() == quiet["quick"]


def test_minutes_end_a_run_between_two_configurations(tmp_path, quiet, monkeypatch):
    outcome = run_study("toys.walk", "cpu", folder=tmp_path, minutes=0.0)
    assert (outcome.done, outcome.failures, left(tmp_path)) == (0, (), set())
    monkeypatch.setenv("TOY_PAUSE", "0.02")
    outcome = run_study("toys.walk", "cpu", folder=tmp_path, minutes=0.3 / 60)
    assert 0 < outcome.done < 40 and not outcome.failures
    assert left(tmp_path) == {"walk.cpu.csv", "walk.cpu.json"}  # nothing in waiting: it can be committed
    assert len(read_table(outcome.path, find_study("toys.walk"))[1]) == outcome.done
    with pytest.raises(IsonumError, match=f"complete table .* got {outcome.done} of 40"):
        load_table("toys.walk", ("cpu",), tmp_path)
    monkeypatch.delenv("TOY_PAUSE")
    outcome = run_study("toys.walk", "cpu", folder=tmp_path, minutes=10.0)
    assert outcome.path.read_bytes() == quiet["cpu"] and whole(outcome.path)


def test_workers_begin_nothing_after_the_deadline(tmp_path, quiet, fresh_workers, monkeypatch):
    monkeypatch.setenv("TOY_PAUSE", "0.5")
    began = time.monotonic()
    outcome = run_study("toys.walk", "cpu", workers=2, folder=tmp_path, minutes=1 / 60)
    took = time.monotonic() - began
    assert 2 <= outcome.done <= 2 + 2 * took / 0.5 and outcome.done < 12 and not outcome.failures
    assert outcome.path.read_text().splitlines()[0] == quiet["cpu"].decode().splitlines()[0]


def test_a_complete_table_is_not_touched(tmp_path, monkeypatch):
    run_study("toys.walk", "quick", folder=tmp_path)
    before = [(p.name, p.stat().st_mtime_ns) for p in sorted(tmp_path.iterdir()) if p.suffix != ".lock"]
    monkeypatch.setattr(walk, "run", lambda config: pytest.fail("a finished configuration ran again"))
    assert run_study("toys.walk", "quick", folder=tmp_path).done == 6
    assert [(p.name, p.stat().st_mtime_ns) for p in sorted(tmp_path.iterdir()) if p.suffix != ".lock"] == before


def test_a_larger_grid_keeps_what_is_there_and_a_smaller_one_is_refused(tmp_path, monkeypatch, quiet):
    monkeypatch.setitem(walk.SIZES, "quick", 2)
    run_study("toys.walk", "quick", folder=tmp_path)
    monkeypatch.setitem(walk.SIZES, "quick", 3)
    outcome = run_study("toys.walk", "quick", folder=tmp_path)
    assert outcome.path.read_bytes() == quiet["quick"]
    monkeypatch.setitem(walk.SIZES, "quick", 2)
    with pytest.raises(IsonumError, match=r"holds .'2', '0.1', .*, which its grid has not. .* delete walk.quick.\*"):
        run_study("toys.walk", "quick", folder=tmp_path)


def test_a_study_with_other_columns_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("TOY_TROUBLE", "raise")
    path = run_study("toys.walk", "quick", folder=tmp_path).path
    before = path.read_bytes()
    monkeypatch.delenv("TOY_TROUBLE")
    known = walk.run
    monkeypatch.setattr(walk, "run", lambda config: [{**row, "n": 300} for row in known(config)])
    with pytest.raises(IsonumError, match="New rows have the columns .*: the code has changed. Delete walk.quick"):
        run_study("toys.walk", "quick", folder=tmp_path)
    assert path.read_bytes() == before
    monkeypatch.setitem(walk.TOLERANCES, "gap", {"cpu": 0.0})
    with pytest.raises(IsonumError, match="'gap'.: its code has changed"):
        run_study("toys.walk", "quick", folder=tmp_path)


def test_two_runs_at_once_are_refused_and_a_crash_leaves_no_lock(tmp_path):
    process = forkserver().Process(target=walk.run_under, args=({"TOY_PAUSE": "30"}, "quick", "cpu", None, tmp_path))
    process.start()
    lock = tmp_path / "walk.quick.lock"
    deadline = time.monotonic() + 20
    while not lock.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)  # from the file to the lock
    with pytest.raises(IsonumError, match="Another run is writing walk.quick.csv. Wait for it, or end it."):
        run_study("toys.walk", "quick", folder=tmp_path)
    process.kill()
    process.join()
    assert run_study("toys.walk", "quick", folder=tmp_path).done == 6
    with pytest.raises(KeyError), locked(tmp_path / "walk.quick.csv"):
        raise KeyError
    with locked(tmp_path / "walk.quick.csv"):
        pass


def test_devices(tmp_path, monkeypatch):
    for device in ("cuda", "tpu"):
        with pytest.raises(IsonumError, match=f"runs on cpu, and on cuda where .*, got '{device}'. Use --device cpu."):
            run_study("toys.walk", "quick", device=device, folder=tmp_path)
    seen, known = [], walk.run
    monkeypatch.setattr(walk, "run", lambda config, device: seen.append(device) or known(config))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(IsonumError, match="torch sees one, got 'cuda:0'"):
        run_study("toys.walk", "quick", device="cuda:0", folder=tmp_path)
    run_study("toys.walk", "quick", folder=tmp_path)
    assert seen == ["cpu"] * 6
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a GPU")
    with pytest.raises(IsonumError, match="walk.quick.csv was not begun on cuda"):
        run_study("toys.walk", "quick", device="cuda", folder=tmp_path)
    outcome = run_study("toys.walk", "gpu", device="cuda:1", folder=tmp_path)
    record = json.loads(outcome.path.with_suffix(".json").read_text())
    assert (record["device"], record["runs"][0]["device"], seen[-1]) == ("cuda", "a GPU", "cuda:1")


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_progress_bar_is_for_a_terminal(tmp_path, capfd, monkeypatch):
    run_study("toys.walk", "quick", folder=tmp_path)
    assert capfd.readouterr() == ("", "")
    monkeypatch.setattr(sys, "stderr", Terminal())
    run_study("toys.walk", "gpu", folder=tmp_path)
    assert "walk: 100%" in sys.stderr.getvalue()
