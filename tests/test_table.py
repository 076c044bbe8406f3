"""Tables on disk: what is written can be read by anyone, what is damaged is refused, chapters get the best there is."""

from __future__ import annotations

import hashlib
import json
import re

import pytest
from toys import walk

from isonum_core.errors import IsonumError
from isonum_core.lab.engine import run_study
from isonum_core.lab.study import RESULTS, find_study
from isonum_core.lab.table import load_table, read_table
from isonum_core.origin import ROOT, code_hash


@pytest.fixture
def path(tmp_path):
    return run_study("toys.walk", "quick", folder=tmp_path).path


def load(path):
    return load_table("toys.walk", folder=path.parent)


def forge(path, data: bytes):
    """Write a table together with a provenance that vouches for it."""
    path.write_bytes(data)
    record = json.loads(path.with_suffix(".json").read_text())
    record["sha256"] = hashlib.sha256(data).hexdigest()
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
    [run] = record["runs"]
    assert record["seconds"] == run["seconds"] > 0 and run["versions"]["torch"] and {"commit", "dirty"} <= run.keys()
    assert record["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert run["code"] == code_hash(walk.__file__)


@pytest.mark.parametrize("keep", [0, 10, 100, 300, -1])
def test_a_truncated_table_is_refused_with_a_way_out(path, keep):
    path.write_bytes(path.read_bytes()[:keep])
    for use in (lambda: run_study("toys.walk", "quick", folder=path.parent), lambda: load(path)):
        with pytest.raises(IsonumError, match="cut short or edited. Restore it with git, or delete"):
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
        (
            lambda data: data.replace(b"seed,step", b"step,seed"),
            "has the columns .* its study now .* its code has changed",
        ),
        (lambda data: data.replace(b",norm", b",length"), r"'length', .*: its code has changed. Delete walk.quick.\*"),
    ],
)
def test_tables_that_do_not_fit_are_refused_even_when_vouched_for(path, change, words):
    forge(path, change(path.read_bytes()))
    with pytest.raises(IsonumError, match=words):
        read_table(path, find_study("toys.walk"))


@pytest.mark.parametrize("text", ["", "[]", "{}", "\x00"])
def test_unreadable_provenance_is_refused(path, text):
    path.with_suffix(".json").write_text(text)
    with pytest.raises(IsonumError, match="no readable provenance walk.quick.json"):
        load(path)


def test_a_table_without_provenance_is_refused(path):
    path.with_suffix(".json").unlink()
    with pytest.raises(IsonumError, match="no readable provenance walk.quick.json"):
        load(path)


def test_chapters_get_the_best_complete_table(tmp_path, monkeypatch):
    run_study("toys.walk", "quick", folder=tmp_path)
    monkeypatch.setenv("TOY_TROUBLE", "raise")
    run_study("toys.walk", "cpu", folder=tmp_path)
    table = load_table("toys.walk", folder=tmp_path)
    assert (table.profile, table.seeds, len(table.frame)) == ("quick", 3, 12)
    with pytest.raises(IsonumError, match="complete table of toys.walk for cpu .* got 39 of 40 .* --profile cpu`"):
        load_table("toys.walk", ("cpu",), tmp_path)
    monkeypatch.delenv("TOY_TROUBLE")
    run_study("toys.walk", "cpu", folder=tmp_path)
    table = load_table("toys.walk", folder=tmp_path)
    assert (table.profile, table.seeds) == ("cpu", 20)
    assert table.provenance["profile"] == "cpu"
    assert table.frame.dtypes[["tied", "large"]].eq(bool).all()


def test_words_that_look_like_missing_values_stay_words(path):
    forge(path, path.read_bytes().replace(b"walk,", b"nan,").replace(b'"noise, white",', b"NA,"))
    assert set(load(path).frame.label) == {"nan", "NA"}


@pytest.mark.parametrize("label", ['say "no"', "two\nlines", "a\r\nb", " spaces ", "001", "1e5", "null", "é, ψ", "#"])
def test_words_come_back_as_they_went(tmp_path, monkeypatch, label):
    known = walk.run
    monkeypatch.setattr(walk, "run", lambda config: [{**row, "label": label} for row in known(config)])
    path = run_study("toys.walk", "gpu", folder=tmp_path).path
    assert {row["label"] for rows in read_table(path, find_study("toys.walk"))[1].values() for row in rows} == {label}


def test_no_table_says_how_to_make_one(tmp_path):
    with pytest.raises(
        IsonumError, match="for gpu or cpu or quick .* got none. Make it with .* run toys.walk --profile"
    ):
        load_table("toys.walk", folder=tmp_path)


def test_committed_tables_are_small_and_what_their_json_says_and_complete_where_a_chapter_reads_them():
    tables = sorted(RESULTS.glob("*.csv"))
    chapters = "".join(path.read_text(encoding="utf-8") for path in (RESULTS.parent).glob("*.md"))
    shown = set(re.findall(r'load_table\("(\w+)"\)', chapters))
    assert shown <= {path.name.split(".")[0] for path in tables}
    for path in tables:
        name, profile, _ = path.name.split(".")
        rows = json.loads(path.with_suffix(".json").read_text())["rows"]
        assert sum(map(len, read_table(path, find_study(name))[1].values())) == rows > 0
        if name in shown:  # others are begun, and to be gone on with
            assert len(load_table(name, (profile,)).frame) == rows
        assert path.stat().st_size <= 1_000_000, "keep fewer columns or rows: it is read as a diff"


def test_reproduce_says_that_there_is_no_gpu_table_as_long_as_that_is_true():
    says = "No table of this profile exists yet" in (ROOT / "book" / "reproduce.md").read_text(encoding="utf-8")
    assert says == (not list(RESULTS.glob("*.gpu.csv")))
