"""verify is green on what the code computes and red on anything else."""

from __future__ import annotations

import json
from argparse import Namespace

import numpy as np
import pandas as pd
import pytest
from toys import walk

from isonum_core.commands import tables as commands
from isonum_core.errors import DataAbsent
from isonum_core.lab.engine import run_study
from isonum_core.lab.study import PROFILES
from isonum_core.lab.verify import FAR, drawn_again, verify_tables


@pytest.fixture
def path(tmp_path):
    return run_study("toys.walk", "quick", folder=tmp_path).path


def verified(path, sample=6, seed=0, **more):
    return verify_tables(sample, np.random.default_rng(seed), path.parent, **more)


def vouch(path, **facts):
    """Make the provenance name the bytes that are there now."""
    import hashlib

    record = json.loads(path.with_suffix(".json").read_text())
    record |= {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), **facts}
    path.with_suffix(".json").write_text(json.dumps(record))


def change(path, row, column, value):
    lines = path.read_text().splitlines(keepends=True)
    # The column counted from the end: the label holds a comma.
    cells = lines[row].rstrip("\n").split(",")
    cells[column] = value(cells[column])
    lines[row] = ",".join(cells) + "\n"
    path.write_text("".join(lines))


def test_a_fresh_table_holds_exactly(path):
    checks = verified(path)
    assert len(checks) == 6 and all((check.verdict, check.share, check.values) == ("holds", 0, 10) for check in checks)
    assert {check.config for check in checks} == set(walk.grid("quick"))


def test_the_sample_is_drawn_by_its_seed(path):
    drawn = [tuple(check.config for check in verified(path, sample=2, seed=seed)) for seed in (*range(20), 0)]
    assert all(len(configs) == 2 for configs in drawn)
    assert drawn[0] == drawn[-1] and len(set(drawn)) > 5


def test_a_digit_changed_by_hand_is_red_whatever_the_sample(path):
    change(path, 1, -3, lambda text: text[:-1] + str((int(text[-1]) + 1) % 10))
    [check] = verified(path, sample=0)
    assert check.verdict == "DIFFERS" and "cut short or edited" in check.said


@pytest.mark.parametrize(
    "row, column, value, words",
    [
        (
            3,
            -3,
            lambda text: repr(float(text) * (1 + 1e-8)),
            "norm is .* in the table and .* now, 10 times what is allowed",
        ),
        (3, -2, lambda text: {"true": "false", "false": "true"}[text], "large is"),
        (2, -1, lambda text: "0.5", "skill is 0.5 in the table and missing now"),
        (1, -1, lambda text: "", "skill is missing in the table"),
        (1, 5, lambda text: "stroll", "label is stroll in the table and walk now"),
    ],
)
def test_a_changed_value_is_red_when_its_configuration_is_drawn(path, row, column, value, words):
    change(path, row, column, value)
    vouch(path)
    wrong = [check for check in verified(path) if check.verdict == "DIFFERS"]
    assert len(wrong) == 1 and wrong[0].share > 1
    pytest.raises(ValueError, _raise, wrong[0].said).match(words)


def _raise(sentence):
    raise ValueError(sentence)


def test_changes_within_the_tolerance_hold_and_their_share_is_said(path):
    change(path, 1, -3, lambda text: repr(float(text) * (1 + 5e-10)))
    vouch(path)
    checks = verified(path)
    # Half of the allowed 1e-9; the change itself is rounded to 2e-16 of the value.
    assert max(check.share for check in checks) == pytest.approx(0.5, rel=1e-5)
    assert {check.verdict for check in checks} == {"holds"} and "share 0.5 (norm)" in {check.said for check in checks}


def test_a_table_from_a_gpu_is_held_to_the_tolerance_of_the_gpu(path, monkeypatch):
    monkeypatch.setitem(walk.TOLERANCES, "skill", {"cpu": 1e-9, "cuda": 1e-9})
    change(path, 1, -3, lambda text: repr(float(text) * (1 + 5e-4)))
    vouch(path, device="cuda")
    assert [check.verdict for check in verified(path)] == ["holds"] * 6
    vouch(path, device="cpu")
    assert [check.verdict for check in verified(path)].count("DIFFERS") == 1


def test_a_tolerance_nobody_stated_is_red(path):
    vouch(path, device="cuda")
    [check] = verified(path)
    assert "no tolerance of 'skill' on {'cuda'}" in check.said


def test_code_that_drifted_is_red(path, monkeypatch):
    known = walk.run
    monkeypatch.setattr(walk, "run", lambda config: known(config)[:1])
    assert all("committed 2 rows" in check.said and "recomputed 1 rows" in check.said for check in verified(path))
    monkeypatch.setattr(walk, "run", lambda config: 1 / 0)
    assert all("ZeroDivisionError" in check.said for check in verified(path))


def test_stale_configurations_and_lost_studies_are_red(path, monkeypatch):
    monkeypatch.setitem(walk.SIZES, "quick", 2)
    [check] = verified(path, sample=2)
    assert check.verdict == "DIFFERS" and "2 of its configurations are not in the grid" in check.said
    monkeypatch.setitem(walk.SIZES, "quick", 3)
    vouch(path, study="gone")
    [check] = verified(path)
    assert "There is no study 'gone'" in check.said


def test_profiles_may_be_chosen_and_no_table_is_no_check(path, tmp_path):
    run_study("toys.walk", "gpu", folder=tmp_path)
    assert len(verified(path, sample=100)) == 8
    assert {check.table for check in verified(path, sample=100, profiles=("gpu",))} == {"walk.gpu.csv"}
    assert verify_tables(3, np.random.default_rng(0), tmp_path / "empty") == []
    assert len(verified(path, sample=100, studies=["walk"])) == 8 and verified(path, studies=["stroll"]) == []


def test_a_provisional_row_is_compared_with_what_another_seed_does(path, monkeypatch, capsys):
    change(path, 3, -3, lambda text: repr(float(text) * (1 + 1e-8)))
    vouch(path)
    options = Namespace(seed=0, sample=6, minutes=None, out=path.parent, profiles=PROFILES, csv=None, studies=[])
    with pytest.raises(SystemExit):
        commands._verify(options)
    assert "DIFFERS: norm" in capsys.readouterr().out
    monkeypatch.setattr(walk, "provisional", lambda config: {"norm"} if config.seed == 0 else set(), raising=False)
    options.csv = path.parent / "checks.csv"
    text = commands._verify(options)
    told = pd.read_csv(options.csv)
    assert told.verdict.value_counts().to_dict() == {"holds": 5, "another draw": 1}
    assert 0 < told.far[told.verdict == "another draw"].item() < 1e-3 and told.far.isna().sum() == 5
    assert "another draw: norm" in text and "5 of 6 hold. 1 came out as another seed might" in text
    # Another column's licence does not cover it.
    monkeypatch.setattr(walk, "provisional", lambda config: {"steps"}, raising=False)
    with pytest.raises(SystemExit):
        commands._verify(options)


def test_a_provisional_row_that_no_seed_comes_near_is_red(path, monkeypatch, capsys):
    monkeypatch.setattr(walk, "provisional", lambda config: {"norm", "end", "skill"}, raising=False)
    change(path, 3, -3, lambda text: repr(2 * float(text)))
    vouch(path)
    [wrong] = [check for check in verified(path) if check.verdict != "holds"]
    assert wrong.verdict == "DIFFERS" and "times as far as two seeds lie apart" in wrong.said
    options = Namespace(seed=0, sample=6, minutes=None, out=path.parent, profiles=PROFILES, csv=None, studies=[])
    with pytest.raises(SystemExit):
        commands._verify(options)
    assert "DIFFERS: " in capsys.readouterr().out


def rows(*values):
    return [dict(a=str(value), b="0.0") for value in values]


def test_the_distance_of_a_second_draw_counts_in_distances_of_seeds():
    others = [rows(3.0, 4.0), rows(1.0, 1.0)]
    assert drawn_again(["a"], rows(0.0, 0.0), rows(-3.0, -4.0), others) == pytest.approx(1.0)
    # The unit is the smaller of two: old or new, the farther one cannot excuse itself.
    assert drawn_again(["a"], rows(0.0, 0.0), rows(300.0, 400.0), others) == pytest.approx(100.0)
    assert drawn_again(["a"], rows(300.0, 400.0), rows(0.0, 0.0), others) == pytest.approx(100.0)
    # A column that nothing moved counts as zero in the root mean square; one that no seed moves may not move.
    assert drawn_again(["a", "b"], rows(0.0, 0.0), rows(-3.0, -4.0), others) == pytest.approx(0.5**0.5)
    assert drawn_again(["b"], rows(0.0), [dict(b="0.1")], [rows(0.0), rows(1.0)]) == np.inf
    assert drawn_again(["a"], rows(0.0), [dict(a="")], [rows(0.0), rows(1.0)]) == np.inf
    assert np.isnan(drawn_again(["a"], rows(0.0), rows(1.0), [rows(2.0)]))


def test_draws_of_one_law_are_as_far_apart_as_seeds(rng):
    def draw():
        return [dict(zip("abcdef", map(repr, rng.normal(size=6).tolist()), strict=True)) for _ in range(4)]

    far = np.array([drawn_again("abcdef", draw(), draw(), [draw(), draw()]) for _ in range(200)])
    assert 0.8 < np.median(far) < 1.2 and np.mean(far > FAR) < 0.01


def test_provisional_rows_of_two_seeds_are_told_and_fail_nothing(tmp_path, monkeypatch):
    monkeypatch.setitem(walk.SIZES, "quick", 2)
    path = run_study("toys.walk", "quick", folder=tmp_path).path
    monkeypatch.setattr(walk, "provisional", lambda config: {"norm"}, raising=False)
    change(path, 3, -3, lambda text: repr(2 * float(text)))
    vouch(path)
    text = commands._verify(
        Namespace(seed=0, sample=4, minutes=None, out=path.parent, profiles=PROFILES, csv=None, studies=[])
    )
    assert "DIFFERS, provisional: norm" in text and "3 of 4 hold. 1 differ among rows" in text


def test_minutes_end_the_comparison_between_two_configurations(path):
    assert len(verified(path, sample=None, minutes=1.0)) == 6
    assert verified(path, sample=None, minutes=0.0) == []


def test_absent_data_is_told_and_is_no_difference(path, monkeypatch, capsys):
    def gone(config):
        raise DataAbsent("the file was expected, got none. Fetch it.")

    monkeypatch.setattr(walk, "run", gone)
    checks = verified(path)
    assert all(check.verdict == "NOT COMPARED" and check.said.startswith("the file was") for check in checks)
    text = commands._verify(
        Namespace(seed=0, sample=2, minutes=None, out=path.parent, profiles=PROFILES, csv=None, studies=[])
    )
    assert "NOT COMPARED: the file" in text and "0 of 2 hold. 2 not compared, for want of data." in text
