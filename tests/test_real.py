"""Real series: nothing after the cut is trained on, absent data is told, packaged series run everywhere."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from isonum_core.errors import DataAbsent, IsonumError
from isonum_core.studies import real
from isonum_core.studies.portrait import SIZES
from isonum_core.studies.real import SETS, TEST_SHARE, Real, Shape, run, split
from isonum_core.worlds.series import find_series, series_names

TWIN = Real("elnino", "gpt2", 0, False, "quick")


def test_no_value_of_a_test_target_is_seen_in_training():
    x = np.arange(3 * 100, dtype=float).reshape(3, 100)
    train, context, actual = split(x, Shape(20, 10, 10, 1))
    assert actual.min() % 100 == 80 and (train % 100).max() == 79
    assert not set(actual.flatten()) & set(train.flatten())
    assert np.array_equal(actual[:, 0] - 1, context[:, -1])
    assert len(actual) == 3 * 11 and len(train) == 3 * 51


def test_the_cut_leaves_at_least_a_horizon_and_windows_with_gaps_are_dropped():
    x = np.arange(50, dtype=float)[None]
    assert split(x, Shape(12, 12, 12, 1))[2].tolist() == [list(range(38, 50))]
    x[0, 10] = np.nan
    assert np.isfinite(split(x, Shape(12, 12, 12, 1))[0]).all() and len(split(x, Shape(12, 12, 12, 1))[0]) == 4


def test_every_set_is_known_and_its_lengths_fit_its_patches():
    assert set(SETS) <= set(series_names()) and 0 < TEST_SHARE < 1
    for name, shape in SETS.items():
        assert shape.context % shape.patch == 0 and shape.season <= shape.context
        if windows := find_series(name).windows:
            assert shape.horizon == windows[1] and shape.context <= windows[0]


def test_a_packaged_series_runs_without_a_download(monkeypatch):
    monkeypatch.setitem(SIZES, "quick", dataclasses.replace(SIZES["quick"], steps=3))
    monkeypatch.setenv("ISONUM_DATA", "/nowhere")
    [trained], [twin] = run(dataclasses.replace(TWIN, trained=True)), run(TWIN)
    assert trained["windows"] == twin["windows"] == 64 and trained["iso_input"] == twin["iso_input"]
    assert trained["nll"] != twin["nll"] and trained["skill"] < 1


def test_a_set_that_is_not_there_says_so(monkeypatch, tmp_path):
    monkeypatch.setenv("ISONUM_DATA", str(tmp_path))
    with pytest.raises(DataAbsent, match=r"hospital.rda .* was expected in the folder of ISONUM_DATA"):
        run(dataclasses.replace(TWIN, dataset="hospital"))


def test_every_set_leaves_windows_on_both_sides(monkeypatch, shared):
    monkeypatch.setenv("ISONUM_DATA", str(shared / "data"))
    for name, shape in SETS.items():
        train, context, _ = split(real.values(name), shape)
        assert len(train) > 100 and len(context) > 32, name


def test_unknown_sets_are_refused():
    with pytest.raises(IsonumError, match="A set is one of hospital, .* got 'weather'"):
        run(dataclasses.replace(TWIN, dataset="weather"))
