"""The study of skill: honest splits, and scores by hand."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from isonum_core.errors import IsonumError
from isonum_core.lab.engine import one_thread
from isonum_core.lab.study import find_study
from isonum_core.networks.forecast import direct_forecast
from isonum_core.studies.skill import SCORED, TEST, TRAIN, Skill, grid, run, trained
from isonum_core.worlds.families import FAMILIES

TINY = Skill("sine_noise", "patchtst", 0, steps=5, pool=64, test=20)


def test_rows_are_errors_computed_by_hand():
    rows = run(TINY)
    assert [row["knob"] for row in rows] == list(FAMILIES["sine_noise"].grid)
    rng = np.random.default_rng([TEST, 0])
    x = FAMILIES["sine_noise"].draw(0.1, 144, rng, 20)
    said = direct_forecast(trained(TINY), torch.tensor(x[:, :128]).float()).detach().double().numpy()
    naive = {"last": x[:, 127:128], "seasonal": x[:, 104:120], "mean": x[:, :128].mean(1, keepdims=True), "model": said}
    variance, steps = x[:, :128].var(1, keepdims=True), abs(x[:, 24:128] - x[:, :104]).mean(1, keepdims=True)
    for name, forecast in naive.items():
        assert rows[0][f"nmse_{name}"] == pytest.approx(((x[:, 128:] - forecast) ** 2 / variance).mean(), rel=1e-9)
        assert rows[0][f"mase_{name}"] == pytest.approx((abs(x[:, 128:] - forecast) / steps).mean(), rel=1e-9)
    nmse = {name: rows[0][f"nmse_{name}"] for name in naive}
    assert rows[0]["skill"] == 1 - nmse["model"] / min(nmse["last"], nmse["seasonal"])
    assert rows[0]["skill_mean"] == 1 - nmse["model"] / min(nmse["last"], nmse["seasonal"], nmse["mean"])
    assert rows[0]["dropped"] == 0


def test_training_and_test_series_come_from_different_streams():
    for family in FAMILIES.values():
        knob = family.grid[1]
        train, test = (family.draw(knob, 144, np.random.default_rng([s, 0]), 8) for s in (TRAIN, TEST))
        assert not any(np.array_equal(a, b) for a in train for b in test)


def test_a_run_is_a_function_of_its_configuration():
    one_thread()
    state = torch.get_rng_state()
    first = run(TINY)
    assert first == run(TINY) and first != run(dataclasses.replace(TINY, seed=1))
    assert torch.equal(torch.get_rng_state(), state)


def test_constant_contexts_are_counted_and_exact_naive_forecasts_leave_no_skill():
    rows = {row["knob"]: row for row in run(dataclasses.replace(TINY, family="cascade"))}
    assert rows[0.5]["dropped"] == 20 * 16 and all(rows[0.5][name] is None for name in SCORED)
    rows = {row["knob"]: row for row in run(dataclasses.replace(TINY, family="seasonal_walk"))}
    assert rows[0.0]["skill"] is None and rows[0.0]["nmse_seasonal"] == 0 and rows[0.0]["nmse_model"] > 0
    assert rows[0.0]["naive"] == "seasonal naive" and math.isfinite(rows[1.0]["skill"])


def test_grids_hold_what_they_say():
    study = find_study("skill")
    assert len(study.configs("cpu")) == 5 * len(FAMILIES) and len(study.configs("gpu")) == 10 * len(FAMILIES)
    assert set(study.tolerances) == {*SCORED, "knob"}
    assert {config.seed for config in grid("cpu")} == set(range(5))


def test_an_unknown_family_is_named():
    with pytest.raises(IsonumError, match="A family is one of fgn, .* got 'weather'"):
        run(dataclasses.replace(TINY, family="weather"))
