"""The form of a study: what is accepted as configuration and rows, and how each value stands in a table."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import types
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from toys import walk

from isonum_core.errors import IsonumError
from isonum_core.lab.study import PROFILES, RESULTS, cell, find_study, study_titles

CONFIG = walk.Config(0, 0.1)
ROW = {"label": "a", "end": 1.0, "norm": 2.0, "large": True, "skill": None}


@pytest.fixture
def study():
    return find_study("toys.walk")


def test_a_study_knows_its_columns_and_grids(study):
    assert (study.name, study.columns) == ("walk", ("seed", "step", "shape", "tied"))
    assert [len(study.configs(profile)) for profile in PROFILES] == [6, 40, 2]
    assert study.title.startswith("A toy study") and not study.takes_device


def test_every_listed_study_has_a_form_the_engine_can_run():
    for name, title in study_titles().items():
        found = find_study(name)
        assert found.title == title
        assert all(found.configs(profile) for profile in PROFILES)
        assert found.tolerances and all("cpu" in known for known in found.tolerances.values())


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_come_back_bit_for_bit(x):
    assert math.copysign(1, float(cell("x", x))) == math.copysign(1, x) and float(cell("x", x)) == x


@pytest.mark.parametrize(
    "value, text",
    [
        (0.1, "0.1"),
        (np.float64(0.1), "0.1"),
        (np.float32(0.1), "0.10000000149011612"),  # what the float32 really is
        (torch.tensor(2), "2"),
        (True, "true"),
        (np.bool_(False), "false"),
        (None, ""),
        (3, "3"),
        ("a, b", "a, b"),
        (("x", 1), '["x", 1]'),
    ],
)
def test_cells(value, text):
    assert cell("x", value) == text


@pytest.mark.parametrize("value", [math.nan, math.inf, "", object(), torch.ones(2), np.ones(1), {1}])
def test_values_that_are_not_plain_are_refused_by_name(value):
    with pytest.raises(IsonumError, match="'loss' is .*expected"):
        cell("loss", value)


def test_rows_may_repeat_what_the_configuration_says(study):
    rows = study.cells(CONFIG, [{"seed": 0, **ROW}, {"seed": 0, **ROW, "skill": math.nan}])
    own, told = ("0", "0.1", "[300, 40]", "false"), ("a", "1.0", "2.0", "true", "")
    assert rows == [dict(zip((*study.columns, *ROW), own + told, strict=True))] * 2
    assert list(rows[0]) == [*study.columns, *ROW]


@pytest.mark.parametrize(
    "rows, words",
    [
        ([], "one row at least, all of the same columns, got 0"),
        ([ROW, {**ROW, "more": 1}], "the same columns"),
        ([ROW, dict(reversed(ROW.items()))], "the same columns"),
        ([{**ROW, "seed": 1}], "seed=1, its configuration 0"),
        ([{**ROW, "gap": 0.5}], "'gap' is a float without a tolerance"),
        ([{**ROW, "end": None}], "'end' is None in walk, which .* MAY_BE_MISSING"),
        ([{**ROW, "end": math.nan}], "'end' is nan in walk, which does not list"),
        ([{**ROW, "skill": math.inf}], "'skill' is inf"),
    ],
)
def test_rows_that_would_lie_are_refused(study, rows, words):
    with pytest.raises(IsonumError, match=words):
        study.cells(CONFIG, rows)


def test_a_number_may_not_hide_in_a_column_that_was_whole_at_first(study):
    # The first row's 0 is an int; the float beside it must still be covered by a tolerance.
    with pytest.raises(IsonumError, match="without a tolerance"):
        study.cells(CONFIG, [{**ROW, "gap": 0}, {**ROW, "gap": 0.5}])


def test_the_list_of_studies_imports_none_of_them():
    script = (
        "import sys; from isonum_core.lab.study import study_titles; print(list(study_titles()), sorted(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("['checkpoints_forecasts', ")
    assert "isonum_core.studies" not in done.stdout and "'transformers'" not in done.stdout


def test_a_study_shows_itself_with_its_grids_and_its_tables():
    shown = find_study("skill")._repr_markdown_()
    table = json.loads((RESULTS / "skill.cpu.json").read_text())
    assert shown.startswith("**skill**: What can be forecast")
    assert f"| cpu | {table['expected']} | {table['configurations']} |" in shown and "| quick | 2 | 0 |" in shown


def test_unknown_studies_and_profiles(study):
    with pytest.raises(IsonumError, match="There is no study 'nothing'. Known:"):
        find_study("nothing")
    with pytest.raises(IsonumError, match="There is no study 'toys.nothing'"):
        find_study("toys.nothing")
    with pytest.raises(IsonumError, match="has no grid"):
        find_study("isonum_core.errors")
    with pytest.raises(IsonumError, match="quick, cpu, gpu, got 'fast'"):
        study.configs("fast")


def test_grids_of_other_things_are_refused(monkeypatch):
    @dataclass
    class Loose:
        seed: int = 0

    module = types.SimpleNamespace(grid=lambda profile: [Loose()], run=lambda config: [], __doc__="")
    monkeypatch.setitem(__import__("sys").modules, "toys.loose", module)
    with pytest.raises(IsonumError, match="frozen dataclasses, got Loose"):
        find_study("toys.loose")
    monkeypatch.setattr(walk, "grid", lambda profile: [CONFIG, CONFIG])
    with pytest.raises(IsonumError, match="twice"):
        find_study("toys.walk").configs("quick")
