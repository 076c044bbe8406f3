"""The verbs studies, run and verify, as a person or a CI job meets them."""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from isonum_core.commands.tables import add_commands
from isonum_core.lab.engine import run_study
from isonum_core.lab.study import study_titles

# The command line without its other verbs, so that a fault of theirs is not ours.
MAIN = """
import argparse
from isonum_core.commands.tables import add_commands
parser = argparse.ArgumentParser()
add_commands(parser.add_subparsers())
words = parser.parse_args()
if __name__ == "__main__":
    print(words.function(words))
"""


@pytest.fixture
def say(tmp_path, capsys):
    """Words -> exit status and text, with the tables in a folder of the test."""

    def call(*words):
        parser = argparse.ArgumentParser()
        add_commands(parser.add_subparsers())
        options = parser.parse_args([*words, "--out", str(tmp_path)])
        try:
            text, status = options.function(options), 0
        except SystemExit as end:
            text, status = "", end.code
        return status, text + capsys.readouterr().out

    return call


def test_studies_lists_every_study_with_its_grids(say):
    status, text = say("studies")
    assert status == 0 and all(f"{name}: {title}\n" in text for name, title in study_titles().items())
    assert text.count("no table") == 3 * len(study_titles())
    status, text = say("studies", "--json")
    listed = json.loads(text)
    assert status == 0 and [entry["name"] for entry in listed] == list(study_titles())
    for entry in listed:
        assert entry["title"] and entry["columns"] and entry["tolerances"]
        assert list(entry["profiles"]) == ["quick", "cpu", "gpu"]
        assert all(state["configurations"] > 0 and state["done"] == 0 for state in entry["profiles"].values())


def test_studies_counts_what_a_table_holds(say, tmp_path, monkeypatch):
    monkeypatch.setattr("isonum_core.commands.tables.study_titles", lambda: {"toys.walk": "A toy"})
    assert say("run", "toys.walk")[0] == 0
    [entry] = json.loads(say("studies", "--json")[1])
    assert entry["profiles"]["quick"]["done"] == 6 and entry["profiles"]["quick"]["device"] == "cpu"
    assert "quick  6 of 6 configurations" in say("studies")[1]


def test_run_says_what_it_did_and_fails_when_a_configuration_failed(say, monkeypatch):
    monkeypatch.setenv("TOY_TROUBLE", "raise")
    status, text = say("run", "toys.walk", "--profile", "quick")
    assert status == 1 and "5 of 6 configurations." in text
    assert "Failed: Config(seed=1, step=0.1" in text and "the loss went up." in text
    monkeypatch.setenv("TOY_TROUBLE", "interrupt")
    status, text = say("run", "toys.walk", "--profile", "cpu")
    assert status == 130 and "Interrupted. What finished is in the table" in text
    monkeypatch.delenv("TOY_TROUBLE")
    status, text = say("run", "toys.walk", "--profile", "quick")
    assert status == 0 and text.endswith("walk.quick.csv: 6 of 6 configurations.")


def test_like_failures_are_said_once(say, monkeypatch):
    monkeypatch.setattr("toys.walk.run", lambda config: [])
    status, text = say("run", "toys.walk")
    assert status == 1 and text.count("one row at least") == 1 and "and 5 more" in text


def test_rows_of_two_states_of_the_code_are_pointed_out(say, monkeypatch):
    monkeypatch.setenv("TOY_TROUBLE", "raise")
    say("run", "toys.walk")
    monkeypatch.delenv("TOY_TROUBLE")
    monkeypatch.setattr("isonum_core.lab.engine.code_hash", lambda file: "0" * 64)
    assert "more than one state of the code" in say("run", "toys.walk")[1]


def test_verify_is_quiet_without_tables_green_with_them_and_red_after_a_change_by_hand(say, tmp_path):
    status, text = say("verify")
    assert status == 0 and "There are no tables" in text
    path = run_study("toys.walk", "quick", folder=tmp_path).path
    status, text = say("verify", "--sample", "4")
    assert status == 0 and text.endswith("4 of 4 hold.")
    seed = re.search(r"--seed (\d+)", text).group(1)
    assert say("verify", "--sample", "4", "--seed", seed) == (0, text)
    path.write_text(path.read_text().replace("true", "false", 1))
    status, text = say("verify", "--sample", "1")
    assert status == 1 and "DIFFERS: walk.quick.csv is not the file that walk.quick.json describes" in text


def children(pid):
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(word) for task in tasks for word in task.read_text().split()]


def gone(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finding a process's children needs /proc")
@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGINT])
def test_two_workers_end_with_their_parent_and_the_next_run_completes(tmp_path, blow):
    reference = run_study("toys.walk", "cpu", folder=tmp_path / "quiet").path.read_bytes()
    main, out = tmp_path / "main.py", tmp_path / "out"
    main.write_text(MAIN)
    words = [sys.executable, main, "run", "toys.walk", "--profile", "cpu", "--workers", "2", "--out", out]
    tests = Path(__file__).parent
    environment = {
        **os.environ,
        "PYTHONPATH": f"{tests.parent}{os.pathsep}{tests}",
        "TOY_PAUSE": "5",
    }  # long enough to be met at work
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    with subprocess.Popen(words, env=environment, **pipes) as process:
        path = out / "walk.cpu.csv"
        _until(path.with_suffix(".journal").exists)
        workers = children(process.pid)
        # Ctrl-C reaches the whole group, as a terminal sends it; once, though Python may drop it in a callback.
        os.kill(process.pid, blow) if blow == signal.SIGKILL else os.killpg(process.pid, blow)
        said, complained = process.communicate(timeout=120)
    assert len(workers) >= 2
    _until(lambda: all(map(gone, workers)))
    if blow == signal.SIGINT:
        assert process.returncode == 130 and said.startswith("Interrupted.")
        assert not complained or "Exception ignored" in complained
        assert len(path.read_bytes()) < len(reference)
    assert run_study("toys.walk", "cpu", folder=out).path.read_bytes() == reference


def _until(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
