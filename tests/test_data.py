"""The study of the data, first edition: errors by hand, twins on the same windows, streams apart, grids as stated."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from isonum_core.errors import IsonumError
from isonum_core.geometry.moments import Moments
from isonum_core.geometry.scores import iso_score
from isonum_core.lab.engine import one_thread
from isonum_core.lab.study import find_study
from isonum_core.networks.patched import Patched, patched_model, read
from isonum_core.studies import data
from isonum_core.studies.data import Data, run
from isonum_core.studies.portrait import COLUMNS, ORDER, SIZES, TEST, TRAIN
from isonum_core.worlds.families import FAMILIES

TWIN = Data("sine_noise", "gpt2", 0, False, "quick")


@pytest.fixture(autouse=True)
def small(monkeypatch):
    one_thread()
    monkeypatch.setitem(SIZES, "quick", dataclasses.replace(SIZES["quick"], steps=3, test=40))


def test_errors_of_the_untrained_twin_by_hand():
    rows = run(TWIN)
    assert [row["knob"] for row in rows] == list(FAMILIES["sine_noise"].grid)
    x = FAMILIES["sine_noise"].draw(0.1, 144, np.random.default_rng([TEST, 0]), 40)
    c, y = x[:, :128], x[:, 128:]
    said = read(patched_model(Patched("gpt2", d=16), 0).eval(), torch.tensor(c)).said.mean.numpy()
    variance = c.var(1, keepdims=True)
    error = {
        name: ((y - f) ** 2 / variance).mean()
        for name, f in dict(model=said, last=c[:, -1:], season=c[:, 104:120], mean=c.mean(1, keepdims=True)).items()
    }
    assert rows[0]["nmse"] == pytest.approx(error["model"], rel=1e-5)
    naive = min(error["last"], error["season"], error["mean"])
    assert rows[0]["skill"] == pytest.approx(1 - error["model"] / naive, rel=1e-5)
    z = (c - c[:, -1:]) / c.std(1, keepdims=True)
    assert rows[0]["iso_input"] == pytest.approx(float(iso_score(Moments.of(torch.from_numpy(z)))), rel=1e-5)
    assert rows[0]["nll"] == pytest.approx(np.log(64), abs=0.3)  # it knows nothing yet
    assert rows[0]["distinct"] == 40


def test_twins_share_windows_and_training_changes_the_rest():
    twin, trained = run(TWIN), run(dataclasses.replace(TWIN, trained=True))
    assert [row["iso_input"] for row in twin] == [row["iso_input"] for row in trained]
    assert all(a["nll"] != b["nll"] and a["iso_score"] != b["iso_score"] for a, b in zip(twin, trained, strict=True))


def test_a_run_is_a_function_of_its_configuration():
    state = torch.get_rng_state()
    config = dataclasses.replace(TWIN, trained=True)
    assert run(config) == run(config) != run(dataclasses.replace(config, seed=1))
    assert torch.equal(torch.get_rng_state(), state)


def test_streams_are_apart_from_each_other_and_from_those_of_the_skill_study():
    assert len({TRAIN, TEST, ORDER, 0, 1, 2}) == 6
    for family in FAMILIES.values():
        train, test = (family.draw(family.grid[1], 144, np.random.default_rng([s, 0]), 4) for s in (TRAIN, TEST))
        assert not any(np.array_equal(a, b) for a in train for b in test)


def test_constant_contexts_leave_every_number_missing_and_are_counted():
    rows = {row["knob"]: row for row in run(dataclasses.replace(TWIN, family="cascade"))}
    assert all(rows[0.5][name] is None for name in COLUMNS) and rows[0.5]["distinct"] <= 40
    assert rows[0.8]["nll"] is not None


def test_an_exact_naive_forecast_leaves_no_skill_but_an_error():
    rows = {row["knob"]: row for row in run(dataclasses.replace(TWIN, family="seasonal_walk"))}
    assert rows[0.0]["skill"] is None and rows[0.0]["nmse"] > 0


@pytest.mark.parametrize(("profile", "seeds"), [("cpu", 5), ("gpu", 10)])
def test_grids_hold_what_they_say(profile, seeds):
    configs = find_study("data").configs(profile).values()
    kinds = {(c.family, c.model, c.seed) for c in configs}
    assert len(configs) == 2 * len(kinds)
    assert {c.trained for c in configs} == {True, False} and {c.model for c in configs} == {"gpt2"}
    assert len({c.family for c in data.grid(profile)}) == 46 and {c.seed for c in data.grid(profile)} == {*range(seeds)}


@pytest.mark.parametrize("wrong", [dict(family="weather"), dict(size="huge")])
def test_unknown_names_are_refused(wrong):
    with pytest.raises(IsonumError, match=f"got .*{next(iter(wrong.values()))}"):
        run(dataclasses.replace(TWIN, **wrong))
