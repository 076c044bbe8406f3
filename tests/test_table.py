"""Tables on disk: what is written can be read by anyone, what is damaged is refused, chapters get the best there is."""

from __future__ import annotations

import hashlib
import json

import pytest
from toys import walk

from isonum_core.errors import IsonumError
from isonum_core.lab.engine import run_study
from isonum_core.lab.provenance import code_hash, environment
from isonum_core.lab.study import find_study
from isonum_core.lab.table import TableFile, load_table, locked


@pytest.fixture
def path(tmp_path):
    return run_study("toys.walk", "quick", folder=tmp_path).path


def load(path):
    return load_table("toys.walk", folder=path.parent)


def forge(path, data: bytes):
    """Write a table together with a provenance that vouches for it."""
    path.write_bytes(data)
    record = json.loads(path.with_suffix(".json").read_text())
    record["sha256"] = [hashlib.sha256(data).hexdigest()]
    path.with_suffix(".json").write_text(json.dumps(record))


def test_the_table_is_plain_csv_in_the_order_of_the_grid(path):
    data = path.read_bytes()
    assert data.startswith(b"seed,step,shape,tied,label,end,norm,large,skill\n") and b"\r" not in data
    frame = load(path).frame
    assert list(zip(frame.seed, frame.step, strict=True)) == [
        (c.seed, c.step) for c in walk.grid("quick") for _ in "ab"
    ]
    row = walk.run(walk.Config(2, 0.1))[0]
    assert frame.norm[8] == row["norm"] and frame.end[8] == row["end"].item()  # equality of what was computed alike
    assert frame.skill.isna().tolist() == [False, True] * 6


def test_the_provenance_says_what_made_the_table(path):
    record = json.loads(path.with_suffix(".json").read_text())
    assert (record["study"], record["profile"], record["device"]) == ("toys.walk", "quick", "cpu")
    assert (record["configurations"], record["expected"], record["rows"]) == (6, 6, 12)
    assert record["seconds"] > 0 and record["versions"]["torch"] and {"commit", "dirty"} <= record.keys()
    assert record["sha256"][0] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert record["runs"][0]["code"] == code_hash(walk.__file__)


def test_the_code_hash_follows_the_study(tmp_path):
    a, b = tmp_path / "a.py", tmp_path / "b.py"
    a.write_text("x = 1\n")
    b.write_text("x = 2\n")
    assert code_hash(a) != code_hash(b) and len(code_hash(a)) == 64


def test_a_tree_without_history_may_be_told_its_commit(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))  # no git
    monkeypatch.setenv("ISONUM_COMMIT", "abc")
    found = environment("cpu", walk.__file__)
    assert (found["commit"], found["dirty"]) == ("abc", None)


@pytest.mark.parametrize("keep", [0, 10, 100, 300, -1])
def test_a_truncated_table_is_refused_with_a_way_out(path, keep):
    path.write_bytes(path.read_bytes()[:keep])
    for use in (lambda: run_study("toys.walk", "quick", folder=path.parent), lambda: load(path)):
        with pytest.raises(IsonumError, match="cut short or edited. Restore it with git, or delete it"):
            use()


@pytest.mark.parametrize("drop", range(1, 6))
def test_a_table_cut_between_rows_is_refused_too(path, drop):
    # The rest is a perfect table of fewer rows: only the hash can tell.
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-drop]))
    with pytest.raises(IsonumError, match="cut short or edited"):
        load(path)


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda data: b"", "is not a CSV with a header"),
        (lambda data: data[:-20], "cells in line 13, expected 9"),
        (lambda data: data.replace(b"seed,step", b"step,seed"), "starts with the columns"),
        (lambda data: data.replace(b",norm", b",length"), r"lacks the columns \['norm'\]"),
        (lambda data: data[:-1] + b'"x', "is not a CSV"),
    ],
)
def test_tables_that_do_not_fit_are_refused_even_when_vouched_for(path, change, words):
    forge(path, change(path.read_bytes()))
    with pytest.raises(IsonumError, match=words):
        TableFile.read(path, find_study("toys.walk"))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"sha256": 3}', '{"sha256": []}', "\x00"])
def test_unreadable_provenance_is_refused(path, text):
    path.with_suffix(".json").write_text(text)
    with pytest.raises(IsonumError, match="unreadable provenance walk.quick.json"):
        load(path)


def test_a_table_without_provenance_is_refused(path):
    path.with_suffix(".json").unlink()
    with pytest.raises(IsonumError, match="no provenance walk.quick.json"):
        load(path)


def test_a_crash_between_the_two_files_is_no_contradiction(path):
    study = find_study("toys.walk")
    before = path.read_bytes()
    complete = TableFile.read(path, study)
    smaller = TableFile.read(path, study)
    del smaller.blocks[list(smaller.blocks)[-1]]
    order = list(study.configs("quick"))
    smaller.write(order, {**complete.provenance, "configurations": 5})
    shorter = path.read_bytes()
    complete.write(order, complete.provenance)
    assert path.read_bytes() == before
    path.write_bytes(shorter)  # as if the process had died after the JSON and before the CSV
    assert not load(path).complete
    assert run_study("toys.walk", "quick", folder=path.parent).path.read_bytes() == before
    assert json.loads(path.with_suffix(".json").read_text())["runs"][0]["configurations"] == 6


def test_chapters_get_the_best_complete_table(tmp_path, monkeypatch):
    run_study("toys.walk", "quick", folder=tmp_path)
    monkeypatch.setenv("TOY_TROUBLE", "raise")
    run_study("toys.walk", "cpu", folder=tmp_path)
    table = load_table("toys.walk", folder=tmp_path)
    assert (table.profile, table.seeds, table.complete, len(table.frame)) == ("quick", 3, True, 12)
    assert not load_table("toys.walk", ("cpu",), tmp_path).complete
    monkeypatch.delenv("TOY_TROUBLE")
    run_study("toys.walk", "cpu", folder=tmp_path)
    table = load_table("toys.walk", folder=tmp_path)
    assert (table.profile, table.seeds, table.complete) == ("cpu", 20, True)
    assert table.provenance["profile"] == "cpu"
    assert table.frame.dtypes[["tied", "large"]].eq(bool).all()


def test_words_that_look_like_missing_values_stay_words(path):
    forge(path, path.read_bytes().replace(b"walk,", b"nan,").replace(b'"noise, white",', b"NA,"))
    assert set(load(path).frame.label) == {"nan", "NA"}


def test_no_table_says_how_to_make_one(tmp_path):
    with pytest.raises(IsonumError, match="no table of toys.walk for gpu or cpu or quick .* run toys.walk --profile"):
        load_table("toys.walk", folder=tmp_path)


def test_a_lock_is_free_again_after_an_exception(tmp_path):
    target = tmp_path / "x.csv"
    with pytest.raises(KeyError), locked(target):
        with pytest.raises(IsonumError, match="Another run is writing x.csv"), locked(target):
            pass
        raise KeyError
    with locked(target):
        pass
    assert not list(tmp_path.iterdir())
